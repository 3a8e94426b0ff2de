/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net behind a driver of the test's own; a pair of sockets is the tap. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "look.h"
#include "virtio_driver.h"

#define RX	    0
#define TX	    1
#define HDR	    12
#define FLAGS	    0
#define GSO_TYPE    1
#define GSO_SIZE    4
#define NUM_BUFFERS 10
#define RX_AT(i)    (DRIVER_DATA + (i)*0x1000ULL)
#define TX_AT	    0x300000
#define CSUM	    (1ULL << 0)
#define GUEST_CSUM  (1ULL << 1)
#define MTU	    (1ULL << 3)
#define GUEST_TSO4  (1ULL << 7)
#define HOST_TSO4   (1ULL << 11)
#define MRG_RXBUF   (1ULL << 15)
#define BIG	    65562 /* bytes of the longest packet without a tag, header included */

struct fixture {
	struct driver d;
	struct device *other;
	int tap[2]; /* the device's end, ours */
	uint8_t buf[2 * BIG];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int big = 1 << 20;

	if (!f || driver_init(&f->d) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, f->tap) < 0)
		return -1;
	setsockopt(f->tap[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	setsockopt(f->tap[1], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	driver_done(&f->d);
	device_free(f->other);
	fd_close(f->tap[0]);
	fd_close(f->tap[1]);
	free(f);
	return 0;
}

static void make(struct fixture *f, uint16_t mtu, struct device **ret)
{
	struct virtio_env env = driver_env(&f->d);
	struct vm_net config = { .tap_fd = f->tap[0], .mac = { 2, 3, 4, 5, 6, 7 }, .mtu = mtu };

	assert_int_equal(virtio_net_new(&env, &config, ret, NULL), 0);
}

static void begin(struct fixture *f, uint64_t features)
{
	make(f, 0, &f->d.dev);
	driver_start_loop(&f->d);
	driver_bring_up(&f->d, features, 2);
	assert_int_equal(driver_rd(&f->d, DRIVER_STATUS), 15);
}

/* A packet of @len bytes, header included, in f->buf. */
static void pattern(struct fixture *f, size_t len, uint8_t flags, uint8_t gso)
{
	memset(f->buf, 0, HDR);
	f->buf[FLAGS] = flags;
	f->buf[GSO_TYPE] = gso;
	for (size_t i = HDR; i < len; i++)
		f->buf[i] = (uint8_t)(i * 7 >> 3);
}

static void arrive(struct fixture *f, size_t len, uint8_t flags, uint8_t gso)
{
	pattern(f, len, flags, gso);
	assert_int_equal(send(f->tap[1], f->buf, len, 0), len);
}

static void give(struct fixture *f, unsigned first, unsigned n, uint32_t len)
{
	for (unsigned i = first; i < first + n; i++) {
		driver_desc(&f->d, RX, i, RX_AT(i), len, true, false);
		driver_offer(&f->d, RX, i);
	}
	driver_wr(&f->d, DRIVER_QUEUE_NOTIFY, RX);
}

static void send_packet(struct fixture *f, unsigned i, size_t len, uint8_t flags, uint8_t gso)
{
	pattern(f, len, flags, gso);
	memcpy(driver_ram(&f->d, TX_AT), f->buf, len);
	driver_desc(&f->d, TX, i, TX_AT, (uint32_t)len, false, false);
	driver_offer(&f->d, TX, i);
	driver_wr(&f->d, DRIVER_QUEUE_NOTIFY, TX);
}

/* The next packet that left, or -EAGAIN when there is none. */
static ssize_t left(struct fixture *f)
{
	ssize_t n = recv(f->tap[1], f->buf, sizeof(f->buf), 0);

	return n < 0 ? -errno : n;
}

static uint64_t faults(struct fixture *f)
{
	uint64_t n;

	pthread_mutex_lock(&f->d.dev->lock);
	n = f->d.dev->n_guest_faults;
	pthread_mutex_unlock(&f->d.dev->lock);
	return n;
}

static void tells_address_and_mtu(void **state)
{
	struct fixture *f = *state;

	make(f, 1400, &f->d.dev);
	assert_int_equal(driver_rd(&f->d, 8), VIRTIO_ID_NET);
	assert_int_equal(driver_rd(&f->d, DRIVER_CONFIG), 0x05040302);
	assert_int_equal(driver_rd(&f->d, DRIVER_CONFIG + 4), 1 << 16 | 0x0706);
	assert_int_equal(driver_rd(&f->d, DRIVER_CONFIG + 8), 1400U << 16 | 1);
	assert_int_equal(driver_rd(&f->d, DRIVER_CONFIG + 12), 0); /* behind the end */
	driver_bring_up(&f->d, MTU, 2);
	assert_int_equal(driver_rd(&f->d, DRIVER_STATUS), 15);
}

static void offers_no_mtu_it_does_not_know(void **state)
{
	struct fixture *f = *state;

	make(f, 0, &f->d.dev);
	driver_bring_up(&f->d, MTU, 2);
	assert_int_equal(driver_rd(&f->d, DRIVER_STATUS) & 8, 0); /* no FEATURES_OK */
}

static void moves_packets_both_ways(void **state)
{
	struct fixture *f = *state;

	begin(f, 0);
	give(f, 0, 2, 0x1000);
	arrive(f, 100, 0, 0);
	arrive(f, 1514 + HDR, 0, 0);
	assert_true(driver_wait_used(&f->d, RX, 2));
	assert_int_equal(driver_used_len(&f->d, RX, 0), 100);
	assert_int_equal(driver_used_len(&f->d, RX, 1), 1514 + HDR);
	assert_memory_equal(driver_ram(&f->d, RX_AT(1) + HDR), f->buf + HDR, 1514);
	assert_int_equal(le16_load(driver_ram(&f->d, RX_AT(1) + NUM_BUFFERS)), 1);
	send_packet(f, 0, 60 + HDR, 0, 0);
	assert_true(driver_wait_used(&f->d, TX, 1));
	assert_int_equal(left(f), 60 + HDR);
	assert_memory_equal(f->buf + HDR, driver_ram(&f->d, TX_AT + HDR), 60);
	assert_true(driver_wait_irqs(&f->d, 2));
}

static void spreads_a_packet_over_buffers(void **state)
{
	struct fixture *f = *state;
	size_t at = HDR;

	begin(f, GUEST_CSUM | GUEST_TSO4 | MRG_RXBUF);
	give(f, 0, 20, 0x1000);
	arrive(f, BIG, 1, 1);
	assert_true(driver_wait_used(&f->d, RX, 17));
	assert_int_equal(le16_load(driver_ram(&f->d, RX_AT(0) + NUM_BUFFERS)), 17);
	assert_int_equal(*driver_ram(&f->d, RX_AT(0) + GSO_TYPE), 1);
	for (unsigned i = 0; i < 17; i++) {
		uint32_t len = driver_used_len(&f->d, RX, i), skip = i ? 0 : HDR;

		assert_int_equal(len, i < 16 ? 0x1000 : BIG % 0x1000);
		assert_memory_equal(driver_ram(&f->d, RX_AT(i) + skip), f->buf + at, len - skip);
		at += len - skip;
	}
	assert_int_equal(at, BIG);
}

/* One that is split in the middle of the header, too. */
static void takes_any_layout_of_descriptors(void **state)
{
	struct fixture *f = *state;

	begin(f, 0);
	driver_desc(&f->d, RX, 0, RX_AT(0), 5, true, true);
	driver_desc(&f->d, RX, 1, RX_AT(1), 10, true, true);
	driver_desc(&f->d, RX, 2, RX_AT(2), 1600, true, false);
	driver_offer(&f->d, RX, 0);
	driver_wr(&f->d, DRIVER_QUEUE_NOTIFY, RX);
	arrive(f, 100, 0, 0);
	assert_true(driver_wait_used(&f->d, RX, 1));
	assert_int_equal(le16_load(driver_ram(&f->d, RX_AT(1) + NUM_BUFFERS - 5)), 1);
	assert_memory_equal(driver_ram(&f->d, RX_AT(1) + HDR - 5), f->buf + HDR, 3);
	assert_memory_equal(driver_ram(&f->d, RX_AT(2)), f->buf + HDR + 3, 85);
	pattern(f, 100, 0, 0);
	memcpy(driver_ram(&f->d, TX_AT), f->buf, 100);
	driver_desc(&f->d, TX, 0, TX_AT, 7, false, true);
	driver_desc(&f->d, TX, 1, TX_AT + 7, 6, false, true);
	driver_desc(&f->d, TX, 2, TX_AT + 13, 87, false, false);
	driver_offer(&f->d, TX, 0);
	driver_wr(&f->d, DRIVER_QUEUE_NOTIFY, TX);
	assert_true(driver_wait_used(&f->d, TX, 1));
	assert_int_equal(left(f), 100);
	assert_memory_equal(f->buf, driver_ram(&f->d, TX_AT), 100);
}

static void waits_for_receive_buffers(void **state)
{
	struct fixture *f = *state;

	begin(f, 0);
	for (unsigned i = 0; i < 30; i++)
		arrive(f, 100 + i, 0, 0);
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(driver_used(&f->d, RX), i);
		give(f, i, 1, 0x800);
		assert_true(driver_wait_used(&f->d, RX, i + 1));
		assert_int_equal(driver_used_len(&f->d, RX, i), 100 + i);
	}
}

/* The buffers are too few for the longest packet: what fits goes through once no more can come. */
static void drops_what_no_buffer_holds(void **state)
{
	struct fixture *f = *state;

	begin(f, 0);
	give(f, 0, 2, 0x200);
	arrive(f, 0x201, 0, 0);
	arrive(f, 0x200, 0, 0);
	assert_true(driver_wait_used(&f->d, RX, 1));
	assert_int_equal(driver_used_len(&f->d, RX, 0), 0x200);
	arrive(f, HDR, 0, 0);	   /* nothing behind the header */
	arrive(f, HDR + 60, 1, 1); /* was not negotiated */
	arrive(f, HDR + 60, 0, 0);
	assert_true(driver_wait_used(&f->d, RX, 2));
	assert_int_equal(driver_used_len(&f->d, RX, 1), HDR + 60);
}

static void holds_packets_until_the_tap_takes_them(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	begin(f, 0);
	/* More than the socket's buffer holds. */
	pattern(f, 60000, 0, 0);
	memcpy(driver_ram(&f->d, TX_AT), f->buf, 60000);
	for (unsigned i = 0; i < DRIVER_SIZE; i++) {
		driver_desc(&f->d, TX, i, TX_AT, 60000, false, false);
		driver_offer(&f->d, TX, i);
	}
	driver_wr(&f->d, DRIVER_QUEUE_NOTIFY, TX);
	while (n < DRIVER_SIZE) {
		assert_true(look_readable(f->tap[1]));
		assert_int_equal(left(f), 60000);
		n++;
	}
	assert_true(driver_wait_used(&f->d, TX, DRIVER_SIZE));
	assert_int_equal(left(f), -EAGAIN);
}

static void refuses_packets_that_break_rules(void **state)
{
	static const struct {
		size_t len;
		uint8_t flags, gso;
	} bad[] = {
		{ HDR - 1, 0, 0 },     { HDR + 13, 0, 0 },
		{ HDR + 65554, 0, 0 }, { HDR + 60, 1, 0 }, /* checksums were not negotiated */
		{ HDR + 60, 1, 1 },    { HDR + 60, 0, 2 },
		{ HDR + 60, 0, 0x81 }, { HDR + 60, 0, 0x7f },
	};
	struct fixture *f = *state;

	begin(f, 0);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		send_packet(f, i, bad[i].len, bad[i].flags, bad[i].gso);
		assert_true(driver_wait_used(&f->d, TX, i + 1));
		assert_int_equal(left(f), -EAGAIN);
		assert_int_equal(faults(f), i + 1);
	}
	send_packet(f, 20, HDR + 60, 0, 0);
	assert_true(driver_wait_used(&f->d, TX, ARRAY_LEN(bad) + 1));
	assert_int_equal(left(f), HDR + 60);
	assert_int_equal(driver_rd(&f->d, DRIVER_STATUS), 15);
}

static void passes_negotiated_offloads_on(void **state)
{
	struct fixture *f = *state;

	begin(f, CSUM | HOST_TSO4);
	pattern(f, 9000, 0xff, 1);
	le16_store(f->buf + GSO_SIZE, 1460);
	memcpy(driver_ram(&f->d, TX_AT), f->buf, 9000);
	driver_desc(&f->d, TX, 0, TX_AT, 9000, false, false);
	driver_offer(&f->d, TX, 0);
	driver_wr(&f->d, DRIVER_QUEUE_NOTIFY, TX);
	assert_true(driver_wait_used(&f->d, TX, 1));
	assert_int_equal(left(f), 9000);
	assert_int_equal(f->buf[FLAGS], 1); /* only what a driver may say */
	assert_int_equal(f->buf[GSO_TYPE], 1);
	assert_int_equal(le16_load(f->buf + GSO_SIZE), 1460);
}

static void bad_receive_buffers_need_a_reset(void **state)
{
	struct fixture *f = *state;

	for (unsigned how = 0; how < 2; how++) {
		if (!f->d.dev)
			begin(f, 0);
		else
			driver_bring_up(&f->d, 0, 2);
		driver_desc(&f->d, RX, 0, RX_AT(0), how ? 0x800 : HDR - 1, !how, false);
		driver_offer(&f->d, RX, 0);
		driver_wr(&f->d, DRIVER_QUEUE_NOTIFY, RX);
		for (unsigned n = 0; driver_rd(&f->d, DRIVER_STATUS) == 15 && look_again(&n);)
			;
		assert_int_equal(driver_rd(&f->d, DRIVER_STATUS) & 0x40, 0x40);
	}
	/* Taken buffers are forgotten by a reset. */
	driver_bring_up(&f->d, 0, 2);
	give(f, 0, 4, 0x800);
	driver_bring_up(&f->d, 0, 2);
	give(f, 7, 1, 0x800);
	arrive(f, 100, 0, 0);
	assert_true(driver_wait_used(&f->d, RX, 1));
	assert_memory_equal(driver_ram(&f->d, RX_AT(7) + HDR), f->buf + HDR, 88);
}

static void survives_the_end_of_its_tap(void **state)
{
	struct fixture *f = *state;

	begin(f, 0);
	give(f, 0, 4, 0x800);
	fd_close(fd_steal(&f->tap[1]));
	for (unsigned i = 0; i < 3; i++) {
		send_packet(f, i, HDR + 60, 0, 0);
		assert_true(driver_wait_used(&f->d, TX, i + 1));
	}
}

/* Taken buffers and a held packet are there again for whoever loads the state. */
static void state_survives_with_packets_in_flight(void **state)
{
	struct fixture *f = *state;
	const struct state_desc *desc;
	size_t size;
	uint8_t *a, *b;
	struct err err = { 0 };
	struct virtio *v;

	begin(f, GUEST_CSUM | GUEST_TSO4 | MRG_RXBUF);
	make(f, 0, &f->other);
	give(f, 0, 20, 0x1000);
	arrive(f, 100, 0, 0);
	assert_true(driver_wait_used(&f->d, RX, 1));
	loop_pause(f->d.loop);
	desc = f->d.dev->ops->state;
	size = state_size(desc);
	a = calloc(2, size);
	assert_non_null(a);
	b = a + size;
	state_save(desc, f->d.dev, a);
	if (state_load(desc, f->other, a, size, &err) < 0)
		fail_msg("%s", err.msg);
	v = (struct virtio *)f->other;
	assert_int_equal(v->vqs[RX].next_avail, 1);
	assert_int_equal(v->vqs[RX].n_out, 0);
	state_save(desc, f->other, b);
	assert_memory_equal(a, b, size);
	memset(a + 4 + 5 * 4, 0xff, 8); /* features nobody offered */
	assert_int_equal(state_load(desc, f->other, a, size, NULL), -EBADMSG);
	free(a);
	device_free(f->other);
	f->other = NULL;
	/* The one that was saved goes on. */
	loop_resume(f->d.loop);
	arrive(f, 200, 0, 0);
	assert_true(driver_wait_used(&f->d, RX, 2));
	assert_int_equal(driver_used_len(&f->d, RX, 1), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(tells_address_and_mtu),
		T(offers_no_mtu_it_does_not_know),
		T(moves_packets_both_ways),
		T(spreads_a_packet_over_buffers),
		T(takes_any_layout_of_descriptors),
		T(waits_for_receive_buffers),
		T(drops_what_no_buffer_holds),
		T(holds_packets_until_the_tap_takes_them),
		T(refuses_packets_that_break_rules),
		T(passes_negotiated_offloads_on),
		T(bad_receive_buffers_need_a_reset),
		T(survives_the_end_of_its_tap),
		T(state_survives_with_packets_in_flight),
	};

	return cmocka_run_group_tests_name("vmm/net", tests, NULL, NULL);
}
