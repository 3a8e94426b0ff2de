/* SPDX-License-Identifier: Apache-2.0 */
/* Port devices: what drivers rely on, and state that survives saving, loading and saving again. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "devices/devices.h"
#include "look.h"

struct fixture {
	struct loop *loop;
	struct gmem *mem; /* NULL: none */
	struct device *dev, *other;
	int in[2], out[2];
	bool level;
	unsigned n_edges; /* atomic */
	unsigned n_power;
	enum power_event event;
	uint32_t value;
};

static void on_irq(void *opaque, unsigned gsi, bool level)
{
	struct fixture *f = opaque;

	if (level && !f->level)
		__atomic_fetch_add(&f->n_edges, 1, __ATOMIC_SEQ_CST);
	f->level = level;
}

static void on_power(void *opaque, enum power_event event, uint32_t value)
{
	struct fixture *f = opaque;

	f->n_power++;
	f->event = event;
	f->value = value;
}

static struct irq_line line(struct fixture *f)
{
	return (struct irq_line){ .set = on_irq, .opaque = f, .gsi = 4 };
}

static struct power_line power(struct fixture *f)
{
	return (struct power_line){ .request = on_power, .opaque = f };
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || loop_new(&f->loop, NULL) < 0 || pipe2(f->in, O_CLOEXEC) < 0 ||
	    pipe2(f->out, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	device_free(f->other);
	device_free(f->dev);
	gmem_free(f->mem);
	loop_free(f->loop);
	for (int i = 0; i < 2; i++) {
		close(f->in[i]);
		close(f->out[i]);
	}
	free(f);
	return 0;
}

static uint8_t rd(struct device *dev, unsigned off)
{
	uint64_t val = 0xff;

	pthread_mutex_lock(&dev->lock);
	dev->ops->read(dev, off, 1, &val);
	pthread_mutex_unlock(&dev->lock);
	return (uint8_t)val;
}

static void wr(struct device *dev, unsigned off, uint8_t val)
{
	pthread_mutex_lock(&dev->lock);
	dev->ops->write(dev, off, 1, val);
	pthread_mutex_unlock(&dev->lock);
}

static void save_load_save(struct device *from, struct device *to)
{
	const struct state_desc *desc = from->ops->state;
	size_t n = state_size(desc);
	uint8_t *a = calloc(2, n), *b = a + n;
	struct err err = { 0 };

	assert_non_null(a);
	assert_int_equal(state_save(desc, from, a), n);
	if (state_load(desc, to, a, n, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(state_save(desc, to, b), n);
	assert_memory_equal(a, b, n);
	assert_true(state_load(desc, to, a, n - 1, NULL) < 0);
	free(a);
}

static void make_serial(struct fixture *f, struct device **ret)
{
	struct console_backend backend = { .in_fd = f->in[0], .out_fd = f->out[1] };
	struct irq_line irq = line(f);

	assert_int_equal(serial_new(f->loop, &backend, &irq, ret, NULL), 0);
}

/* ---- serial ---- */

static void serial_is_a_16550a_that_drivers_detect(void **state)
{
	struct fixture *f = *state;

	make_serial(f, &f->dev);
	wr(f->dev, 1, 0);
	assert_int_equal(rd(f->dev, 1), 0);
	wr(f->dev, 7, 0x5a);
	assert_int_equal(rd(f->dev, 7), 0x5a);
	wr(f->dev, 2, 1);
	assert_int_equal(rd(f->dev, 2) & 0xc0, 0xc0); /* FIFO works */
	wr(f->dev, 3, 0x80);
	wr(f->dev, 0, 0x34);
	wr(f->dev, 1, 0x12);
	assert_int_equal(rd(f->dev, 0), 0x34);
	assert_int_equal(rd(f->dev, 1), 0x12);
	wr(f->dev, 3, 3);
	/* loopback: modem control shows up in modem status */
	wr(f->dev, 4, 0x1f);
	assert_int_equal(rd(f->dev, 6) & 0xf0, 0xf0);
	wr(f->dev, 0, 'L');
	assert_int_equal(rd(f->dev, 5) & 1, 1);
	assert_int_equal(rd(f->dev, 0), 'L');
}

static void serial_transmit_interrupt_fires_once_for_each_byte_taken(void **state)
{
	struct fixture *f = *state;

	make_serial(f, &f->dev);
	assert_int_equal(rd(f->dev, 5) & 0x60, 0x60);
	wr(f->dev, 1, 2);
	assert_true(f->level);
	assert_int_equal(rd(f->dev, 2) & 0x0f, 2);
	assert_false(f->level);
	assert_int_equal(rd(f->dev, 2) & 0x0f, 1);
	wr(f->dev, 0, 'x');
	assert_true(f->level);
	wr(f->dev, 1, 0);
	assert_false(f->level);
}

static void serial_stops_taking_when_nobody_reads(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	make_serial(f, &f->dev);
	while ((rd(f->dev, 5) & 0x20) && n < 1000000) {
		wr(f->dev, 0, 'a');
		n++;
	}
	/* The loop does not run: the ring fills and THRE goes. */
	assert_true(n > 1000 && n < 100000);
	f->dev->ops->quiesce(f->dev);
	assert_int_equal(rd(f->dev, 5) & 0x20, 0x20);
}

static void *run_loop(void *opaque)
{
	loop_run(opaque);
	return NULL;
}

static void serial_input_waits_for_the_guest_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t sent[4000], got[4000];
	pthread_t thread;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7);
	make_serial(f, &f->dev);
	assert_int_equal(write(f->in[1], sent, sizeof(sent)), (ssize_t)sizeof(sent));
	close(f->in[1]);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, f->loop), 0);
	while (n < sizeof(got)) {
		if (rd(f->dev, 5) & 1)
			got[n++] = rd(f->dev, 0);
		else
			sched_yield();
	}
	loop_stop(f->loop);
	pthread_join(thread, NULL);
	assert_memory_equal(sent, got, sizeof(sent));
	assert_int_equal(rd(f->dev, 5) & 2, 0); /* no overrun */
	f->in[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void serial_keeps_input_while_a_driver_starts_up(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	make_serial(f, &f->dev);
	assert_int_equal(write(f->in[1], "ab", 2), 2);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, f->loop), 0);
	while (!(rd(f->dev, 5) & 1))
		sched_yield();
	wr(f->dev, 4, 0x08); /* OUT2 only */
	assert_int_equal(rd(f->dev, 5) & 1, 0);
	wr(f->dev, 2, 0x07);
	assert_int_equal(rd(f->dev, 0), 0);
	wr(f->dev, 4, 0x0b);
	assert_int_equal(rd(f->dev, 5) & 1, 1);
	assert_int_equal(rd(f->dev, 0), 'a');
	loop_stop(f->loop);
	pthread_join(thread, NULL);
	assert_int_equal(rd(f->dev, 0), 'b');
}

static void serial_state_survives(void **state)
{
	struct fixture *f = *state;
	struct console_backend none = { .in_fd = -1, .out_fd = -1 };
	struct irq_line irq = line(f);

	make_serial(f, &f->dev);
	assert_int_equal(serial_new(f->loop, &none, &irq, &f->other, NULL), 0);
	wr(f->dev, 4, 0x1b);
	wr(f->dev, 0, 'q');
	wr(f->dev, 1, 5);
	save_load_save(f->dev, f->other);
	assert_int_equal(rd(f->other, 0), 'q');
}

static void serial_refuses_bad_ring_state(void **state)
{
	struct fixture *f = *state;
	const struct state_desc *desc;
	size_t n;
	uint8_t *buf;

	make_serial(f, &f->dev);
	desc = f->dev->ops->state;
	n = state_size(desc);
	buf = calloc(1, n);
	assert_non_null(buf);
	state_save(desc, f->dev, buf);
	memset(buf + n - 8, 0xff, 8); /* the output ring's indices come last */
	assert_int_equal(state_load(desc, f->dev, buf, n, NULL), -EBADMSG);
	memset(buf + n - 8, 0, 8);
	assert_int_equal(state_load(desc, f->dev, buf, n, NULL), 0);
	free(buf);
}

/* ---- reset and power ---- */

static void i8042_resets_and_passes_its_self_test(void **state)
{
	struct fixture *f = *state;
	struct power_line p = power(f);

	assert_int_equal(i8042_new(&p, &f->dev, NULL), 0);
	assert_int_equal(i8042_data_new(f->dev, &f->other, NULL), 0);
	assert_int_equal(rd(f->dev, 0) & 1, 0);
	wr(f->dev, 0, 0xaa);
	assert_int_equal(rd(f->dev, 0) & 1, 1);
	assert_int_equal(rd(f->other, 0), 0x55);
	assert_int_equal(rd(f->dev, 0) & 1, 0);
	wr(f->dev, 0, 0x60);
	wr(f->other, 0, 0x47);
	wr(f->dev, 0, 0x20);
	assert_int_equal(rd(f->other, 0), 0x47);
	assert_int_equal(f->n_power, 0);
	wr(f->dev, 0, 0xfe);
	assert_int_equal(f->n_power, 1);
	assert_int_equal(f->event, POWER_EVENT_RESET);
	wr(f->dev, 0, 0xd1);
	wr(f->other, 0, 0xfe); /* output port with the reset line low */
	assert_int_equal(f->n_power, 2);
}

static void i8042_state_survives(void **state)
{
	struct fixture *f = *state;
	struct power_line p = power(f);

	assert_int_equal(i8042_new(&p, &f->dev, NULL), 0);
	assert_int_equal(i8042_new(&p, &f->other, NULL), 0);
	wr(f->dev, 0, 0xaa);
	wr(f->dev, 0, 0x60);
	save_load_save(f->dev, f->other);
	assert_int_equal(rd(f->other, 0) & 1, 1);
}

static void acpi_registers_power_off_and_reset(void **state)
{
	struct fixture *f = *state;
	struct power_line p = power(f);

	assert_int_equal(acpi_power_new(&p, &f->dev, NULL), 0);
	wr(f->dev, 0, 5 << 2); /* type without enable */
	wr(f->dev, 0, 3 << 2 | 0x20);
	wr(f->dev, 2, 0);
	assert_int_equal(f->n_power, 0);
	wr(f->dev, 0, 5 << 2 | 0x20);
	assert_int_equal(f->event, POWER_EVENT_OFF);
	wr(f->dev, 2, 1);
	assert_int_equal(f->event, POWER_EVENT_RESET);
	assert_int_equal(f->n_power, 2);
}

static void testexit_value_is_doubled_and_odd(void **state)
{
	struct fixture *f = *state;
	struct power_line p = power(f);

	assert_int_equal(testexit_new(&p, &f->dev, NULL), 0);
	wr(f->dev, 1, 7);
	assert_int_equal(f->n_power, 0);
	wr(f->dev, 0, 7);
	assert_int_equal(f->event, POWER_EVENT_TEST_EXIT);
	assert_int_equal(f->value, 15);
}

static void debugport_shows_bytes_and_says_it_is_there(void **state)
{
	struct fixture *f = *state;
	char out[3] = "";

	assert_int_equal(debugport_new(f->loop, f->out[1], &f->dev, NULL), 0);
	assert_int_equal(rd(f->dev, 0), 0xe9);
	wr(f->dev, 0, 'o');
	wr(f->dev, 0, 'k');
	f->dev->ops->quiesce(f->dev);
	assert_int_equal(read(f->out[0], out, 2), 2);
	assert_string_equal(out, "ok");
}

/* ---- clock ---- */

static uint8_t cmos(struct device *dev, uint8_t reg)
{
	wr(dev, 0, reg);
	return rd(dev, 1);
}

static void set_cmos(struct device *dev, uint8_t reg, uint8_t val)
{
	wr(dev, 0, reg);
	wr(dev, 1, val);
}

static void make_rtc(struct fixture *f, struct device **ret)
{
	struct irq_line irq = line(f);

	assert_int_equal(rtc_new(512 * MIB, f->loop, &irq, ret, NULL), 0);
}

static void rtc_tells_the_time_in_bcd(void **state)
{
	struct fixture *f = *state;
	struct tm before, after;
	time_t t = time(NULL);
	uint8_t year, min;

	make_rtc(f, &f->dev);
	gmtime_r(&t, &before);
	year = cmos(f->dev, 9);
	min = cmos(f->dev, 2);
	t = time(NULL);
	gmtime_r(&t, &after);
	assert_true((year >> 4) * 10 + (year & 15) == before.tm_year % 100 ||
		    (year >> 4) * 10 + (year & 15) == after.tm_year % 100);
	assert_true((min >> 4) * 10 + (min & 15) == before.tm_min ||
		    (min >> 4) * 10 + (min & 15) == after.tm_min);
	assert_int_equal(cmos(f->dev, 13), 0x80);
	assert_int_equal(cmos(f->dev, 10) & 0x80, 0);
	assert_int_equal(cmos(f->dev, 0x34) | cmos(f->dev, 0x35) << 8, (512 - 16) * 16);
}

static void rtc_can_be_set(void **state)
{
	struct fixture *f = *state;

	make_rtc(f, &f->dev);
	set_cmos(f->dev, 11, 0x82); /* SET, 24 hours */
	set_cmos(f->dev, 0, 0x00);
	set_cmos(f->dev, 2, 0x30);
	set_cmos(f->dev, 4, 0x12);
	set_cmos(f->dev, 7, 0x29);
	set_cmos(f->dev, 8, 0x02);
	set_cmos(f->dev, 9, 0x00);
	set_cmos(f->dev, 0x32, 0x20);
	set_cmos(f->dev, 11, 0x02);
	assert_int_equal(cmos(f->dev, 9), 0x00);
	assert_int_equal(cmos(f->dev, 8), 0x02);
	assert_int_equal(cmos(f->dev, 7), 0x29);
	assert_int_equal(cmos(f->dev, 4), 0x12);
	assert_int_equal(cmos(f->dev, 2), 0x30);
	assert_int_equal(cmos(f->dev, 6), 3); /* 2000-02-29 was a Tuesday */
}

static void rtc_state_survives(void **state)
{
	struct fixture *f = *state;

	make_rtc(f, &f->dev);
	make_rtc(f, &f->other);
	set_cmos(f->dev, 0x40, 0x99);
	save_load_save(f->dev, f->other);
	assert_int_equal(cmos(f->other, 0x40), 0x99);
	assert_int_equal(cmos(f->other, 0x35), cmos(f->dev, 0x35));
}

static bool wait_edges(struct fixture *f, unsigned n)
{
	unsigned looks = 0;

	while (__atomic_load_n(&f->n_edges, __ATOMIC_SEQ_CST) < n)
		if (!look_again(&looks))
			return false;
	return true;
}

static void rtc_events_show_without_interrupts(void **state)
{
	struct fixture *f = *state;
	unsigned looks = 0;
	uint8_t c = 0;

	make_rtc(f, &f->dev);
	while (!(c & 0x40) && look_again(&looks))
		c = cmos(f->dev, 12); /* at 1024 Hz */
	assert_int_equal(c & 0xc0, 0x40);
	set_cmos(f->dev, 10, 0x20); /* tap off */
	assert_int_equal(f->n_edges, 0);
}

static void rtc_interrupts_when_enabled(void **state)
{
	struct fixture *f = *state;
	uint8_t periodic, update;
	pthread_t thread;
	bool ok;

	make_rtc(f, &f->dev);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, f->loop), 0);
	set_cmos(f->dev, 11, 0x42); /* PIE, 24 hours */
	ok = wait_edges(f, 1);
	periodic = cmos(f->dev, 12);
	ok = ok && wait_edges(f, 2); /* the next one comes when the first has been read */
	set_cmos(f->dev, 11, 0x02);
	cmos(f->dev, 12);
	pthread_mutex_lock(&f->dev->lock);
	f->n_edges = 0;
	pthread_mutex_unlock(&f->dev->lock);
	set_cmos(f->dev, 11, 0x12); /* UIE */
	ok = ok && wait_edges(f, 1);
	update = cmos(f->dev, 12);
	set_cmos(f->dev, 11, 0x02);
	loop_stop(f->loop);
	pthread_join(thread, NULL);
	assert_true(ok);
	assert_int_equal(periodic & 0xc0, 0xc0);
	assert_int_equal(update & 0x90, 0x90);
	assert_false(f->level);
}

static void rtc_alarm_comes_at_its_time(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;
	uint8_t c, hour;
	bool ok;

	make_rtc(f, &f->dev);
	set_cmos(f->dev, 11, 0x82); /* SET, 24 hours */
	set_cmos(f->dev, 0, 0x59);
	set_cmos(f->dev, 2, 0x59);
	set_cmos(f->dev, 4, 0x12);
	set_cmos(f->dev, 1, 0x00);
	set_cmos(f->dev, 3, 0x00);
	set_cmos(f->dev, 5, 0xff); /* any hour */
	set_cmos(f->dev, 11, 0x22); /* the clock goes; AIE */
	assert_int_equal(pthread_create(&thread, NULL, run_loop, f->loop), 0);
	ok = wait_edges(f, 1);
	hour = cmos(f->dev, 4);
	c = cmos(f->dev, 12);
	loop_stop(f->loop);
	pthread_join(thread, NULL);
	assert_true(ok);
	assert_int_equal(hour, 0x13); /* not before its time */
	assert_int_equal(c & 0xa0, 0xa0);
	assert_false(f->level);
}

/* ---- generation id ---- */

static void vmgenid_is_in_memory_and_changes(void **state)
{
	struct fixture *f = *state;
	struct irq_line irq = line(f);
	uint8_t first[VMGENID_BYTES], *p;

	assert_int_equal(gmem_new(&f->mem, NULL), 0);
	assert_int_equal(gmem_add_anon(f->mem, 0, 8192, GMEM_RAM, NULL), 0);
	assert_int_equal(vmgenid_new(f->mem, 4096, &irq, &f->dev, NULL), 0);
	p = gmem_ptr(f->mem, 4096, VMGENID_BYTES);
	memcpy(first, p, VMGENID_BYTES);
	assert_int_equal(vmgenid_change(f->dev, NULL), 0);
	assert_memory_not_equal(first, p, VMGENID_BYTES);
	assert_int_equal(f->n_edges, 1);
	assert_false(f->level);
	assert_int_equal(vmgenid_new(f->mem, 4096, &irq, &f->other, NULL), 0);
	memcpy(first, p, VMGENID_BYTES);
	save_load_save(f->dev, f->other);
	assert_memory_not_equal(first, p, VMGENID_BYTES);
}

static void vmgenid_refuses_memory_that_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct irq_line irq = line(f);

	assert_int_equal(gmem_new(&f->mem, NULL), 0);
	assert_int_equal(vmgenid_new(f->mem, 4096, &irq, &f->dev, NULL), -EINVAL);
}

/* ---- PIT ---- */

static void make_pit(struct fixture *f, struct device **ret)
{
	struct irq_line irq = line(f);

	assert_int_equal(pit_new(f->loop, &irq, ret, NULL), 0);
}

static void pit_channel_2_times_what_the_gate_lets(void **state)
{
	struct fixture *f = *state;
	uint64_t start, ns;

	make_pit(f, &f->dev);
	assert_int_equal(pit_gate_new(f->dev, &f->other, NULL), 0);
	wr(f->other, 0, 1);  /* gate on, speaker off */
	wr(f->dev, 3, 0xb0); /* channel 2, both halves, mode 0 */
	start = clock_monotonic_ns();
	wr(f->dev, 2, 0xa9);
	wr(f->dev, 2, 0x04); /* 1193 ticks: a millisecond */
	while (!(rd(f->other, 0) & 0x20))
		;
	ns = clock_monotonic_ns() - start;
	assert_true(ns >= 999 * NSEC_PER_USEC);
}

static unsigned latched(struct device *pit)
{
	unsigned n;

	wr(pit, 3, 0x00); /* latch channel 0 */
	n = rd(pit, 0);
	return n | (unsigned)rd(pit, 0) << 8;
}

static void pit_counts_down_and_latches(void **state)
{
	struct fixture *f = *state;
	unsigned a, b;
	uint64_t start;

	make_pit(f, &f->dev);
	wr(f->dev, 3, 0x34); /* channel 0, both halves, mode 2 */
	wr(f->dev, 0, 0xff);
	wr(f->dev, 0, 0xff);
	do { /* two looks within half a turn of the counter */
		start = clock_monotonic_ns();
		a = latched(f->dev);
		assert_true(a > 0 && a <= 0xffff);
		do
			b = latched(f->dev);
		while (b == a);
	} while (clock_monotonic_ns() - start > 20 * NSEC_PER_MSEC);
	assert_true(b < a || a < 0x8000);
	wr(f->dev, 3, 0xe2); /* read back the status of channel 0 */
	assert_int_equal(rd(f->dev, 0) & 0x3f, 0x34);
}

static void pit_ticks_while_periodic_and_once_in_mode_0(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;
	unsigned n;
	bool ok;

	make_pit(f, &f->dev);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, f->loop), 0);
	wr(f->dev, 3, 0x34);
	wr(f->dev, 0, 0xa9);
	wr(f->dev, 0, 0x04);
	ok = wait_edges(f, 5);
	wr(f->dev, 3, 0x30); /* mode 0: silent until loaded */
	pthread_mutex_lock(&f->dev->lock);
	n = f->n_edges;
	pthread_mutex_unlock(&f->dev->lock);
	wr(f->dev, 0, 0xa9);
	wr(f->dev, 0, 0x04);
	ok = ok && wait_edges(f, n + 1);
	loop_stop(f->loop);
	pthread_join(thread, NULL);
	assert_true(ok);
	assert_int_equal(f->n_edges, n + 1);
}

static void pit_state_survives(void **state)
{
	struct fixture *f = *state;
	const struct state_desc *desc;
	size_t n;
	uint8_t *a, *b;

	make_pit(f, &f->dev);
	make_pit(f, &f->other);
	wr(f->dev, 3, 0xb6);
	wr(f->dev, 2, 0x12);
	desc = f->dev->ops->state;
	n = state_size(desc);
	a = calloc(2, n);
	assert_non_null(a);
	b = a + n;
	state_save(desc, f->dev, a);
	assert_int_equal(state_load(desc, f->other, a, n, NULL), 0);
	state_save(desc, f->other, b);
	/* Times are relative to the moment of saving; all else is the same. */
	assert_memory_equal(a + 4, b + 4, 4);
	wr(f->dev, 2, 0x34);
	wr(f->other, 2, 0x34);
	wr(f->other, 3, 0xe8);
	assert_int_equal(rd(f->other, 2) & 0x3f, 0x36);
	memset(a + 4, 0xff, 4); /* a reload value beyond 65536 */
	assert_int_equal(state_load(desc, f->other, a, n, NULL), -EBADMSG);
	free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(serial_is_a_16550a_that_drivers_detect),
		T(serial_transmit_interrupt_fires_once_for_each_byte_taken),
		T(serial_stops_taking_when_nobody_reads),
		T(serial_input_waits_for_the_guest_and_loses_nothing),
		T(serial_keeps_input_while_a_driver_starts_up),
		T(serial_state_survives),
		T(serial_refuses_bad_ring_state),
		T(i8042_resets_and_passes_its_self_test),
		T(i8042_state_survives),
		T(acpi_registers_power_off_and_reset),
		T(testexit_value_is_doubled_and_odd),
		T(debugport_shows_bytes_and_says_it_is_there),
		T(rtc_tells_the_time_in_bcd),
		T(rtc_can_be_set),
		T(rtc_state_survives),
		T(rtc_events_show_without_interrupts),
		T(rtc_interrupts_when_enabled),
		T(rtc_alarm_comes_at_its_time),
		T(vmgenid_is_in_memory_and_changes),
		T(vmgenid_refuses_memory_that_is_not_there),
		T(pit_channel_2_times_what_the_gate_lets),
		T(pit_counts_down_and_latches),
		T(pit_ticks_while_periodic_and_once_in_mode_0),
		T(pit_state_survives),
	};

	return cmocka_run_group_tests_name("vmm/devices", tests, NULL, NULL);
}
