/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock behind a driver of the test's own, well-behaved and not. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "look.h"
#include "virtio_driver.h"

#define TX_DATA DRIVER_DATA
#define RX_DATA 0x200000
#define RX_SIZE 4096
#define HDR	44
#define RX	0
#define TX	1
#define A_WHILE	(LOOKS_EAGER + 50) /* looks at what shall not come */

enum {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_CREDIT_UPDATE,
	OP_CREDIT_REQUEST
};

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
	uint8_t data[RX_SIZE];
};

struct fixture {
	struct driver d;
	struct vsock_backend backend;
	uint16_t rx_seen;
	int host; /* the test's end of the last connection the guest made */
	unsigned n_connects;
	int shared[2]; /* port 6000: every connection gets a duplicate of [0] */
};

static int on_connect(void *opaque, uint32_t port)
{
	struct fixture *f = opaque;
	int pair[2];

	if (port == 6000) {
		int fd = fcntl(f->shared[0], F_DUPFD_CLOEXEC, 0);

		return fd < 0 ? -errno : fd;
	}
	if (port != 5000)
		return -ECONNREFUSED;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	fd_close(f->host);
	f->host = pair[1];
	f->n_connects++;
	return pair[0];
}

static void bring_up(struct fixture *f)
{
	driver_bring_up(&f->d, 0, 3);
	f->rx_seen = 0;
}

static void offer(struct fixture *f, unsigned queue, unsigned i, gpa_t gpa, uint32_t len,
		  bool write)
{
	driver_desc(&f->d, queue, i, gpa, len, write, false);
	driver_offer(&f->d, queue, i);
}

static void give_rx(struct fixture *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned slot = f->d.avail[RX] % DRIVER_SIZE;

		offer(f, RX, slot, RX_DATA + slot * (gpa_t)RX_SIZE, RX_SIZE, true);
	}
	driver_wr(&f->d, DRIVER_QUEUE_NOTIFY, RX);
}

static void send_raw(struct fixture *f, const struct packet *p, const void *data, uint32_t data_len)
{
	unsigned slot = f->d.avail[TX] % DRIVER_SIZE;
	gpa_t gpa = TX_DATA + slot * 0x4000ULL;
	uint8_t *h = driver_ram(&f->d, gpa);

	le64_store(h, p->src_cid);
	le64_store(h + 8, p->dst_cid);
	le32_store(h + 16, p->src_port);
	le32_store(h + 20, p->dst_port);
	le32_store(h + 24, p->len);
	le16_store(h + 28, p->type);
	le16_store(h + 30, p->op);
	le32_store(h + 32, p->flags);
	le32_store(h + 36, p->buf_alloc);
	le32_store(h + 40, p->fwd_cnt);
	if (data_len)
		memcpy(h + HDR, data, data_len);
	offer(f, TX, slot, gpa, HDR + data_len, false);
	driver_wr(&f->d, DRIVER_QUEUE_NOTIFY, TX);
	assert_true(driver_wait_used(&f->d, TX, f->d.avail[TX]));
}

static struct packet packet(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	return (struct packet){ .src_cid = 3,
				.dst_cid = 2,
				.src_port = guest_port,
				.dst_port = host_port,
				.type = 1,
				.op = op,
				.buf_alloc = 65536 };
}

static void send_op(struct fixture *f, uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	struct packet p = packet(guest_port, host_port, op);

	send_raw(f, &p, NULL, 0);
}

static bool try_recv(struct fixture *f, struct packet *ret, unsigned n_looks)
{
	unsigned n = 0;
	uint8_t *h;

	while (driver_used(&f->d, RX) == f->rx_seen)
		if (n == n_looks || !look_again(&n))
			return false;
	h = driver_ram(&f->d, RX_DATA + driver_used_id(&f->d, RX, f->rx_seen) * (gpa_t)RX_SIZE);
	*ret = (struct packet){ .src_cid = le64_load(h),
				.dst_cid = le64_load(h + 8),
				.src_port = le32_load(h + 16),
				.dst_port = le32_load(h + 20),
				.len = le32_load(h + 24),
				.type = le16_load(h + 28),
				.op = le16_load(h + 30),
				.flags = le32_load(h + 32),
				.buf_alloc = le32_load(h + 36),
				.fwd_cnt = le32_load(h + 40) };
	assert_int_equal(driver_used_len(&f->d, RX, f->rx_seen), HDR + ret->len);
	f->rx_seen++;
	memcpy(ret->data, h + HDR, MIN(ret->len, (uint32_t)(RX_SIZE - HDR)));
	return true;
}

static struct packet recv_packet(struct fixture *f)
{
	struct packet p;

	if (!try_recv(f, &p, LOOKS_MAX))
		fail_msg("no packet came");
	return p;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_env env;

	if (!f || driver_init(&f->d) < 0)
		return -1;
	f->host = -1;
	f->backend = (struct vsock_backend){ .opaque = f, .connect = on_connect };
	env = driver_env(&f->d);
	if (virtio_vsock_new(&env, &f->backend, &f->d.dev, NULL) < 0)
		return -1;
	*state = f;
	return 0;
}

static void start(struct fixture *f)
{
	driver_start_loop(&f->d);
	bring_up(f);
	give_rx(f, 32);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	driver_done(&f->d);
	fd_close(f->host);
	free(f);
	return 0;
}

static void open_connection(struct fixture *f, uint32_t guest_port)
{
	struct packet p;

	send_op(f, guest_port, 5000, OP_REQUEST);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_RESPONSE);
	assert_int_equal(p.src_cid, 2);
	assert_int_equal(p.dst_cid, 3);
	assert_int_equal(p.src_port, 5000);
	assert_int_equal(p.dst_port, guest_port);
	assert_true(p.buf_alloc >= 4096);
}

static void refuses_ports_nobody_has(void **state)
{
	struct fixture *f = *state;
	struct packet p;

	start(f);
	send_op(f, 10, 4999, OP_REQUEST);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_RST);
	assert_int_equal(p.dst_port, 10);
	assert_int_equal(p.src_port, 4999);
}

static void carries_bytes_both_ways(void **state)
{
	struct fixture *f = *state;
	struct packet p = packet(11, 5000, OP_RW);
	char buf[16] = { 0 };

	start(f);
	open_connection(f, 11);
	p.len = 5;
	send_raw(f, &p, "hello", 5);
	assert_int_equal(fd_read_full(f->host, buf, 5), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(fd_write_full(f->host, "world!", 6), 0);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_RW);
	assert_int_equal(p.len, 6);
	assert_memory_equal(p.data, "world!", 6);
	assert_int_equal(p.fwd_cnt, 5);
}

static void connects_to_the_guest(void **state)
{
	struct fixture *f = *state;
	struct packet p;
	int pair[2];
	char c;

	start(f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(virtio_vsock_connect(f->d.dev, 1024, pair[0], NULL), 0);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_REQUEST);
	assert_int_equal(p.dst_port, 1024);
	send_op(f, 1024, p.src_port, OP_RESPONSE);
	assert_int_equal(fd_write_full(pair[1], "x", 1), 0);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_RW);
	assert_int_equal(p.data[0], 'x');
	send_op(f, 1024, p.src_port, OP_RST);
	assert_int_equal(fd_read_full(pair[1], &c, 1), 0);
	fd_close(pair[1]);
}

static void passes_ends_on(void **state)
{
	struct fixture *f = *state;
	struct packet p;
	char c;

	start(f);
	open_connection(f, 12);
	assert_int_equal(fd_write_full(f->host, "ab", 2), 0);
	shutdown(f->host, SHUT_WR);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_RW); /* the last bytes come before the end */
	p = recv_packet(f);
	assert_int_equal(p.op, OP_SHUTDOWN);
	assert_int_equal(p.flags, 2);
	p = packet(12, 5000, OP_SHUTDOWN);
	p.flags = 3;
	send_raw(f, &p, NULL, 0);
	assert_int_equal(fd_read_full(f->host, &c, 1), 0);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_RST);
	open_connection(f, 12); /* the pair of ports is free again */
}

static void respects_the_guests_credit(void **state)
{
	struct fixture *f = *state;
	struct packet p = packet(13, 5000, OP_REQUEST);
	static uint8_t big[10000];
	uint32_t got = 0;

	start(f);
	p.buf_alloc = 100;
	send_raw(f, &p, NULL, 0);
	assert_int_equal(recv_packet(f).op, OP_RESPONSE);
	assert_int_equal(fd_write_full(f->host, big, sizeof(big)), 0);
	while (got < 100) {
		p = recv_packet(f);
		assert_int_equal(p.op, OP_RW);
		got += p.len;
	}
	assert_int_equal(got, 100);
	assert_false(try_recv(f, &p, A_WHILE));
	p = packet(13, 5000, OP_CREDIT_UPDATE);
	p.buf_alloc = 100;
	p.fwd_cnt = 60;
	send_raw(f, &p, NULL, 0);
	while (got < 160)
		got += recv_packet(f).len;
	assert_int_equal(got, 160);
	assert_false(try_recv(f, &p, A_WHILE));
}

/* The guest may fill the buffer of a reader that sleeps, and not one byte more. */
static void resets_who_exceeds_its_credit(void **state)
{
	struct fixture *f = *state;
	struct packet p = packet(14, 5000, OP_RW);
	static uint8_t chunk[8192];
	int small = 4096;
	bool reset = false;

	start(f);
	open_connection(f, 14);
	setsockopt(f->host, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	p.len = sizeof(chunk);
	for (unsigned i = 0; i < 200 && !reset; i++) {
		struct packet in;

		send_raw(f, &p, chunk, sizeof(chunk));
		while (!reset && try_recv(f, &in, i < 199 ? 0 : LOOKS_MAX)) {
			reset = in.op == OP_RST;
			give_rx(f, 1);
		}
	}
	assert_true(reset);
}

static void ignores_forged_packets(void **state)
{
	struct fixture *f = *state;
	struct packet p = packet(15, 5000, OP_RW), in;

	start(f);
	open_connection(f, 15);
	p.src_cid = 77;
	send_raw(f, &p, NULL, 0);
	p = packet(15, 5000, OP_RW);
	p.dst_cid = 3;
	send_raw(f, &p, NULL, 0);
	p = packet(15, 5000, OP_RW);
	p.len = 1000; /* more than the descriptor holds */
	send_raw(f, &p, NULL, 0);
	p.len = UINT32_MAX;
	send_raw(f, &p, NULL, 0);
	assert_int_equal(f->d.dev->n_guest_faults, 4);
	assert_false(try_recv(f, &in, A_WHILE));
	p = packet(15, 5000, OP_RW);
	p.len = 1;
	send_raw(f, &p, "k", 1);
	assert_int_equal(fd_read_full(f->host, &in, 1), 1); /* still alive */
}

static void answers_what_belongs_to_nobody(void **state)
{
	struct fixture *f = *state;
	struct packet p;

	start(f);
	send_op(f, 20, 5000, OP_RW);
	assert_int_equal(recv_packet(f).op, OP_RST);
	send_op(f, 20, 5000, OP_RST); /* a reset is never answered */
	p = packet(20, 5000, OP_REQUEST);
	p.type = 2;
	send_raw(f, &p, NULL, 0);
	assert_int_equal(recv_packet(f).op, OP_RST);
	assert_int_equal(f->n_connects, 0);
	assert_false(try_recv(f, &p, A_WHILE));
	open_connection(f, 21);
	send_op(f, 21, 5000, 99);
	assert_int_equal(recv_packet(f).op, OP_RST);
	open_connection(f, 22);
	send_op(f, 22, 5000, OP_REQUEST); /* twice */
	assert_int_equal(recv_packet(f).op, OP_RST);
}

static void bounds_the_number_of_connections(void **state)
{
	struct fixture *f = *state;
	unsigned n_open = 0, n_refused = 0;
	struct rlimit limit = { 4096, 4096 }, old;

	getrlimit(RLIMIT_NOFILE, &old);
	limit.rlim_max = MAX(old.rlim_max, limit.rlim_max);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		skip();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->shared), 0);
	start(f);
	for (uint32_t port = 100; port < 1300; port++) {
		struct packet p;

		send_op(f, port, 6000, OP_REQUEST);
		p = recv_packet(f);
		give_rx(f, 1);
		assert_int_equal(p.dst_port, port);
		n_open += p.op == OP_RESPONSE;
		n_refused += p.op == OP_RST;
		if (p.op != OP_RESPONSE)
			continue;
		p = packet(port, 6000, OP_SHUTDOWN); /* half-closed, left lying */
		p.flags = 1;
		send_raw(f, &p, NULL, 0);
	}
	assert_int_equal(n_open + n_refused, 1200);
	assert_int_equal(n_open, 1024);
	fd_close(f->shared[0]);
	fd_close(f->shared[1]);
}

static void holds_answers_while_the_guest_gives_no_room(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;
	struct packet p;

	driver_start_loop(&f->d);
	bring_up(f);
	for (uint32_t i = 0; i < 60; i++)
		send_op(f, 30 + i, 4999, OP_REQUEST);
	give_rx(f, 60);
	while (n < 60) {
		p = recv_packet(f);
		assert_int_equal(p.op, OP_RST);
		n++;
	}
}

static void reset_drops_connections(void **state)
{
	struct fixture *f = *state;
	char c;

	start(f);
	open_connection(f, 40);
	bring_up(f); /* resets first */
	assert_int_equal(fd_read_full(f->host, &c, 1), 0);
	give_rx(f, 8);
	open_connection(f, 40);
}

static void loses_no_byte_through_full_buffers(void **state)
{
	struct fixture *f = *state;
	struct packet p = packet(50, 5000, OP_RW), in;
	static uint8_t chunk[4096], back[4096];
	uint32_t sent = 0, got = 0, host_fwd = 0;
	int flags;

	start(f);
	open_connection(f, 50);
	flags = fcntl(f->host, F_GETFL);
	fcntl(f->host, F_SETFL, flags | O_NONBLOCK);
	while (got < 1000000) {
		ssize_t n;

		while (try_recv(f, &in, 0)) {
			assert_int_equal(in.op, OP_CREDIT_UPDATE);
			host_fwd = in.fwd_cnt;
			give_rx(f, 1);
		}
		if (sent - host_fwd + sizeof(chunk) <= 65536 && sent < 1000000 + 65536) {
			for (size_t i = 0; i < sizeof(chunk); i++)
				chunk[i] = (uint8_t)((sent + i) * 13 >> 2);
			p.len = sizeof(chunk);
			send_raw(f, &p, chunk, sizeof(chunk));
			sent += sizeof(chunk);
			continue;
		}
		n = read(f->host, back, sizeof(back) / 2);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(back[i], (uint8_t)((got + (size_t)i) * 13 >> 2));
		got += n > 0 ? (uint32_t)n : 0;
	}
}

/* Save the device, go on with another one made from that. */
static int move_on(struct fixture *f, void (*change)(uint8_t *section, size_t len))
{
	struct virtio_env env = driver_env(&f->d);
	const struct state_desc *desc = f->d.dev->ops->state;
	size_t len = state_size(desc);
	uint8_t *buf = malloc(len);
	struct device *next = NULL;
	int r;

	loop_pause(f->d.loop);
	state_save(desc, f->d.dev, buf);
	if (change)
		change(buf, len);
	assert_int_equal(virtio_vsock_new(&env, &f->backend, &next, NULL), 0);
	r = state_load(desc, next, buf, len, NULL);
	device_free(r == 0 ? f->d.dev : next);
	if (r == 0)
		f->d.dev = next;
	loop_resume(f->d.loop);
	free(buf);
	return r;
}

static void connections_live_on_with_other_descriptors(void **state)
{
	struct fixture *f = *state;
	struct packet p = packet(60, 5000, OP_RW);
	char buf[8] = "";

	start(f);
	open_connection(f, 60);
	p.len = 5;
	send_raw(f, &p, "hello", 5);
	assert_int_equal(fd_read_full(f->host, buf, 5), 5);
	assert_int_equal(move_on(f, NULL), 0);
	assert_int_equal(f->n_connects, 2);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_CREDIT_UPDATE);
	assert_int_equal(p.fwd_cnt, 5);
	p = packet(60, 5000, OP_RW);
	p.len = 4;
	send_raw(f, &p, "more", 4);
	assert_int_equal(fd_read_full(f->host, buf, 4), 4);
	assert_memory_equal(buf, "more", 4);
	assert_int_equal(fd_write_full(f->host, "back", 4), 0);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_RW);
	assert_memory_equal(p.data, "back", 4);
	assert_int_equal(p.fwd_cnt, 9);
}

static void resets_saved_connections_that_nobody_takes(void **state)
{
	struct fixture *f = *state;
	struct packet p;

	start(f);
	open_connection(f, 61);
	f->backend.connect = NULL;
	assert_int_equal(move_on(f, NULL), 0);
	p = recv_packet(f);
	assert_int_equal(p.op, OP_RST);
	assert_int_equal(p.dst_port, 61);
}

/* The last connection's fields stand at the end; the first one's 255 * 36 bytes before. */
static void spoil_flags(uint8_t *section, size_t len)
{
	section[len - 256 * 36 + 8] = 0xf0;
}

static void refuses_a_saved_connection_that_cannot_be(void **state)
{
	struct fixture *f = *state;

	start(f);
	open_connection(f, 62);
	assert_int_equal(move_on(f, spoil_flags), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(refuses_ports_nobody_has, setup, teardown),
		cmocka_unit_test_setup_teardown(carries_bytes_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(connects_to_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(passes_ends_on, setup, teardown),
		cmocka_unit_test_setup_teardown(respects_the_guests_credit, setup, teardown),
		cmocka_unit_test_setup_teardown(resets_who_exceeds_its_credit, setup, teardown),
		cmocka_unit_test_setup_teardown(ignores_forged_packets, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_what_belongs_to_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_the_number_of_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(holds_answers_while_the_guest_gives_no_room, setup,
						teardown),
		cmocka_unit_test_setup_teardown(reset_drops_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(loses_no_byte_through_full_buffers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(connections_live_on_with_other_descriptors, setup,
						teardown),
		cmocka_unit_test_setup_teardown(resets_saved_connections_that_nobody_takes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(refuses_a_saved_connection_that_cannot_be, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("vmm/virtio/vsock", tests, NULL, NULL);
}
