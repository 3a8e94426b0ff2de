/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mmio: the status machine, and the rng and console devices behind a well-behaved driver. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "look.h"
#include "virtio_driver.h"

/* One-descriptor requests a queue holds at a time here. */
#define SIZE 16
#define DATA DRIVER_DATA

struct fixture {
	struct driver d;
	struct device *other;
	struct console_backend backend;
	int in[2], out[2];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || driver_init(&f->d) < 0 || pipe2(f->in, O_CLOEXEC) < 0 ||
	    pipe2(f->out, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	f->backend = (struct console_backend){ .in_fd = f->in[0], .out_fd = f->out[1] };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	driver_stop_loop(&f->d);
	device_free(f->other);
	driver_done(&f->d);
	for (int i = 0; i < 2; i++) {
		close(f->in[i]);
		close(f->out[i]);
	}
	free(f);
	return 0;
}

static uint32_t rd(struct fixture *f, unsigned off)
{
	return driver_rd(&f->d, off);
}

static void wr(struct fixture *f, unsigned off, uint32_t val)
{
	driver_wr(&f->d, off, val);
}

static uint8_t *ram(struct fixture *f, gpa_t gpa)
{
	return driver_ram(&f->d, gpa);
}

static void bring_up(struct fixture *f, unsigned n_queues)
{
	driver_bring_up(&f->d, 0, n_queues);
	assert_int_equal(rd(f, DRIVER_STATUS), 15);
}

/* One-descriptor request in slot @i. */
static void offer(struct fixture *f, unsigned queue, unsigned i, gpa_t gpa, uint32_t len,
		  bool write)
{
	driver_desc(&f->d, queue, i, gpa, len, write, false);
	driver_offer(&f->d, queue, i);
}

static void make_rng(struct fixture *f, struct device **ret)
{
	struct virtio_env e = driver_env(&f->d);

	assert_int_equal(virtio_rng_new(&e, ret, NULL), 0);
}

static void make_console(struct fixture *f, struct device **ret)
{
	struct virtio_env e = driver_env(&f->d);

	assert_int_equal(virtio_console_new(&e, &f->backend, ret, NULL), 0);
}

/* ---- transport ---- */

static void registers_say_who_is_there(void **state)
{
	struct fixture *f = *state;
	uint64_t val = 1;

	make_rng(f, &f->d.dev);
	assert_int_equal(rd(f, 0), 0x74726976);
	assert_int_equal(rd(f, 4), 2);
	assert_int_equal(rd(f, 8), VIRTIO_ID_RNG);
	assert_int_equal(rd(f, DRIVER_QUEUE_NUM_MAX), 64);
	wr(f, DRIVER_QUEUE_SEL, 1);
	assert_int_equal(rd(f, DRIVER_QUEUE_NUM_MAX), 0);
	wr(f, DRIVER_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(rd(f, DRIVER_DEVICE_FEATURES) & 1, 1); /* VERSION_1 */
	wr(f, DRIVER_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(rd(f, DRIVER_DEVICE_FEATURES), 0);
	assert_int_equal(rd(f, 0x0b0), UINT32_MAX);
	f->d.dev->ops->read(f->d.dev, 1, 2, &val);
	assert_int_equal(val, 0);
}

static void status_goes_forward_only(void **state)
{
	struct fixture *f = *state;

	make_rng(f, &f->d.dev);
	wr(f, DRIVER_STATUS, 2); /* DRIVER before ACKNOWLEDGE */
	assert_int_equal(rd(f, DRIVER_STATUS), 0);
	wr(f, DRIVER_STATUS, 1);
	wr(f, DRIVER_STATUS, 5); /* DRIVER_OK before FEATURES_OK */
	assert_int_equal(rd(f, DRIVER_STATUS), 1);
	wr(f, DRIVER_STATUS, 3);
	wr(f, DRIVER_STATUS, 1); /* backwards */
	assert_int_equal(rd(f, DRIVER_STATUS), 3);
	wr(f, DRIVER_STATUS, 11); /* no VERSION_1: not accepted */
	assert_int_equal(rd(f, DRIVER_STATUS), 3);
	wr(f, DRIVER_FEATURES_SEL, 1);
	wr(f, DRIVER_FEATURES, 1 | 1U << 20); /* a feature nobody offered */
	wr(f, DRIVER_STATUS, 11);
	assert_int_equal(rd(f, DRIVER_STATUS), 3);
	wr(f, DRIVER_FEATURES, 1);
	wr(f, DRIVER_STATUS, 11);
	assert_int_equal(rd(f, DRIVER_STATUS), 11);
	assert_true(f->d.dev->n_guest_faults >= 4);
	wr(f, DRIVER_STATUS, 0);
	assert_int_equal(rd(f, DRIVER_STATUS), 0);
}

static void queue_fields_are_fixed_once_running(void **state)
{
	struct fixture *f = *state;
	const struct virtio *v;

	make_rng(f, &f->d.dev);
	v = (const struct virtio *)f->d.dev;
	wr(f, DRIVER_QUEUE_SEL, 0);
	wr(f, DRIVER_QUEUE_NUM, SIZE); /* before FEATURES_OK */
	assert_int_equal(v->vqs[0].size, 0);
	bring_up(f, 1);
	wr(f, DRIVER_QUEUE_NUM, 32);
	wr(f, DRIVER_DESC, 0xdead0);
	assert_int_equal(v->vqs[0].size, DRIVER_SIZE);
	assert_int_equal(v->vqs[0].desc_gpa, DRIVER_RINGS);
	driver_negotiate(&f->d, VIRTIO_F_VERSION_1);
	wr(f, DRIVER_QUEUE_NUM, 3);
	wr(f, DRIVER_QUEUE_NUM, 128);
	wr(f, DRIVER_QUEUE_NUM, 0);
	assert_int_equal(v->vqs[0].size, 0);
}

static void rings_outside_memory_need_a_reset(void **state)
{
	struct fixture *f = *state;

	make_rng(f, &f->d.dev);
	driver_negotiate(&f->d, VIRTIO_F_VERSION_1);
	driver_set_queue(&f->d, 0);
	wr(f, DRIVER_USED, DRIVER_RAM - 4);
	wr(f, DRIVER_STATUS, 15);
	assert_int_equal(rd(f, DRIVER_STATUS) & 0x40, 0x40);
	assert_int_equal(rd(f, DRIVER_INTERRUPT_STATUS), 2);
	wr(f, DRIVER_QUEUE_NOTIFY, 0);
	wr(f, DRIVER_STATUS, 0);
	assert_int_equal(rd(f, DRIVER_STATUS), 0);
	assert_int_equal(rd(f, DRIVER_INTERRUPT_STATUS), 0);
}

static void violation_needs_a_reset_and_a_reset_heals(void **state)
{
	struct fixture *f = *state;
	unsigned looks = 0;

	make_rng(f, &f->d.dev);
	driver_start_loop(&f->d);
	bring_up(f, 1);
	offer(f, 0, 0, DRIVER_RAM - 1, 16, true);
	wr(f, DRIVER_QUEUE_NOTIFY, 0);
	while (!(rd(f, DRIVER_STATUS) & 0x40) && look_again(&looks))
		;
	assert_int_equal(rd(f, DRIVER_STATUS) & 0x40, 0x40);
	bring_up(f, 1);
	offer(f, 0, 0, DATA, 16, true);
	wr(f, DRIVER_QUEUE_NOTIFY, 0);
	assert_true(driver_wait_used(&f->d, 0, 1));
}

/* ---- rng ---- */

static void rng_fills_requests_and_caps_them(void **state)
{
	struct fixture *f = *state;
	unsigned zeros = 0;

	make_rng(f, &f->d.dev);
	driver_start_loop(&f->d);
	bring_up(f, 1);
	offer(f, 0, 0, DATA, 64, true);
	offer(f, 0, 1, DATA + 0x1000, 100000, true);
	wr(f, DRIVER_QUEUE_NOTIFY, 0);
	assert_true(driver_wait_used(&f->d, 0, 2));
	assert_int_equal(driver_used_len(&f->d, 0, 0), 64);
	assert_int_equal(driver_used_len(&f->d, 0, 1), 65536);
	for (unsigned i = 0; i < 64; i++)
		zeros += *ram(f, DATA + i) == 0;
	assert_true(zeros < 16);
	assert_int_equal(*ram(f, DATA + 0x1000 + 65536), 0);
	assert_true(driver_wait_irqs(&f->d, 1));
	assert_int_equal(rd(f, DRIVER_INTERRUPT_STATUS), 1);
	wr(f, DRIVER_INTERRUPT_ACK, 1);
	assert_int_equal(rd(f, DRIVER_INTERRUPT_STATUS), 0);
}

static void rng_serves_more_than_one_turn(void **state)
{
	struct fixture *f = *state;

	make_rng(f, &f->d.dev);
	driver_start_loop(&f->d);
	bring_up(f, 1);
	for (unsigned i = 0; i < SIZE; i++)
		offer(f, 0, i, DATA + 0x100 * i, 0x100, true);
	wr(f, DRIVER_QUEUE_NOTIFY, 0);
	assert_true(driver_wait_used(&f->d, 0, SIZE));
}

/* As a back end does it that turns the register write into a signal. */
static void rng_serves_a_signal_in_place_of_a_write(void **state)
{
	struct fixture *f = *state;
	struct hv_ioevent event;
	int fd = -1;

	make_rng(f, &f->d.dev);
	assert_true(virtio_notify_event((struct virtio *)f->d.dev, 0, 0xd0001000, &event, &fd));
	assert_int_equal(event.gpa, 0xd0001000 + DRIVER_QUEUE_NOTIFY);
	assert_int_equal(event.value, 0);
	assert_int_equal(event.size, 4);
	assert_false(virtio_notify_event((struct virtio *)f->d.dev, 1, 0xd0001000, &event, &fd));
	virtio_notified_outside((struct virtio *)f->d.dev, 0);
	driver_start_loop(&f->d);
	assert_int_equal(eventfd_write(fd, 1), 0); /* too early: nothing is set up */
	bring_up(f, 1);
	offer(f, 0, 0, DATA, 64, true);
	assert_int_equal(eventfd_write(fd, 1), 0);
	assert_true(driver_wait_used(&f->d, 0, 1));
	assert_int_equal(driver_used_len(&f->d, 0, 0), 64);
}

/* ---- console ---- */

static void console_moves_bytes_both_ways(void **state)
{
	struct fixture *f = *state;
	char buf[8] = "";

	make_console(f, &f->d.dev);
	driver_start_loop(&f->d);
	bring_up(f, 2);
	memcpy(ram(f, DATA), "out!", 4);
	offer(f, 1, 0, DATA, 4, false);
	wr(f, DRIVER_QUEUE_NOTIFY, 1);
	assert_true(driver_wait_used(&f->d, 1, 1));
	offer(f, 0, 0, DATA + 0x100, 2, true);
	offer(f, 0, 1, DATA + 0x200, 64, true);
	wr(f, DRIVER_QUEUE_NOTIFY, 0);
	assert_int_equal(write(f->in[1], "input", 5), 5);
	assert_true(driver_wait_used(&f->d, 0, 2));
	assert_int_equal(driver_used_len(&f->d, 0, 0), 2);
	assert_int_equal(driver_used_len(&f->d, 0, 1), 3);
	assert_memory_equal(ram(f, DATA + 0x200), "put", 3);
	driver_stop_loop(&f->d);
	f->d.dev->ops->quiesce(f->d.dev);
	assert_int_equal(read(f->out[0], buf, sizeof(buf)), 4);
	assert_string_equal(buf, "out!");
}

static void console_makes_the_guest_wait_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	size_t total = 0;
	unsigned sent = 0, looks = 0;
	uint8_t buf[4096];

	make_console(f, &f->d.dev);
	driver_start_loop(&f->d);
	bring_up(f, 2);
	for (unsigned i = 0; i < 0x8000; i++)
		*ram(f, DATA + i) = (uint8_t)(i * 13 >> 3);
	/* 16 requests of 32 KiB: more than pipe and ring together hold. */
	for (; sent < SIZE; sent++)
		offer(f, 1, sent, DATA, 0x8000, false);
	wr(f, DRIVER_QUEUE_NOTIFY, 1);
	while (total < SIZE * 0x8000) {
		ssize_t n = read(f->out[0], buf, sizeof(buf));

		if (n <= 0 && !look_again(&looks))
			break;
		for (ssize_t i = 0; i < n; i++) {
			size_t at = (total + (size_t)i) % 0x8000;

			assert_int_equal(buf[i], (uint8_t)(at * 13 >> 3));
		}
		total += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(total, SIZE * 0x8000);
	assert_true(driver_wait_used(&f->d, 1, SIZE));
}

static void console_tells_its_size(void **state)
{
	struct fixture *f = *state;
	uint32_t gen;

	make_console(f, &f->d.dev);
	bring_up(f, 2);
	gen = rd(f, DRIVER_GENERATION);
	virtio_console_resize(f->d.dev, 132, 43);
	assert_int_equal(rd(f, DRIVER_CONFIG), 43U << 16 | 132);
	assert_int_not_equal(rd(f, DRIVER_GENERATION), gen);
	assert_int_equal(rd(f, DRIVER_INTERRUPT_STATUS), 2);
	assert_int_equal(rd(f, DRIVER_CONFIG + 12), 0); /* behind the end */
}

static void check_state(struct fixture *f)
{
	const struct state_desc *desc = f->d.dev->ops->state;
	size_t n = state_size(desc);
	uint8_t *a = calloc(2, n), *b = a + n;
	struct err err = { 0 };

	assert_non_null(a);
	state_save(desc, f->d.dev, a);
	if (state_load(desc, f->other, a, n, &err) < 0)
		fail_msg("%s", err.msg);
	state_save(desc, f->other, b);
	assert_memory_equal(a, b, n);
	memset(a + 4 + 5 * 4, 0xff, 8); /* features nobody offered */
	assert_int_equal(state_load(desc, f->other, a, n, NULL), -EBADMSG);
	free(a);
}

static void rng_state_survives(void **state)
{
	struct fixture *f = *state;

	make_rng(f, &f->d.dev);
	make_rng(f, &f->other);
	bring_up(f, 1);
	check_state(f);
}

static void console_state_survives(void **state)
{
	struct fixture *f = *state;
	struct virtio_env e = driver_env(&f->d);
	struct console_backend none = { .in_fd = -1, .out_fd = -1 };

	make_console(f, &f->d.dev);
	assert_int_equal(virtio_console_new(&e, &none, &f->other, NULL), 0);
	bring_up(f, 2);
	virtio_console_resize(f->d.dev, 100, 30);
	check_state(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(registers_say_who_is_there),
		T(status_goes_forward_only),
		T(queue_fields_are_fixed_once_running),
		T(rings_outside_memory_need_a_reset),
		T(violation_needs_a_reset_and_a_reset_heals),
		T(rng_fills_requests_and_caps_them),
		T(rng_serves_more_than_one_turn),
		T(rng_serves_a_signal_in_place_of_a_write),
		T(console_moves_bytes_both_ways),
		T(console_makes_the_guest_wait_and_loses_nothing),
		T(console_tells_its_size),
		T(rng_state_survives),
		T(console_state_survives),
	};

	return cmocka_run_group_tests_name("vmm/virtio", tests, NULL, NULL);
}
