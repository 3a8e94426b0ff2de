/* SPDX-License-Identifier: Apache-2.0 */
/* Mailbox and timeslice page: what is latched, what is ignored. */
#include "test.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/devices.h"

#define DONE  0x444f4e45u
#define READY 0xdeadbeefu

struct seen {
	unsigned n_signals, n_slices;
	uint32_t value, words[GUEST_MAILBOX_WORDS], slice;
};

static struct seen seen;

static void on_signal(void *opaque, uint32_t value, const uint32_t words[GUEST_MAILBOX_WORDS])
{
	struct seen *s = opaque;

	s->n_signals++;
	s->value = value;
	memcpy(s->words, words, sizeof(s->words));
}

static void on_slice(void *opaque, uint32_t id)
{
	struct seen *s = opaque;

	s->n_slices++;
	s->slice = id;
}

static uint32_t on_read(void *opaque, uint32_t off)
{
	(void)opaque;
	return off + 1;
}

static const struct guest_backend backend = { &seen, on_signal, on_slice, on_read };

static struct device *dev;

static void wr(uint64_t off, unsigned size, uint64_t val)
{
	dev->ops->write(dev, off, size, val);
}

static int setup(void **state)
{
	memset(&seen, 0, sizeof(seen));
	return mailbox_new(&backend, &dev, NULL);
}

static int setup_slice(void **state)
{
	memset(&seen, 0, sizeof(seen));
	return timeslice_new(&backend, &dev, NULL);
}

static int teardown(void **state)
{
	device_free(dev);
	return 0;
}

/* The test vectors of the protocol: no exit code is lost. */
static void delivers_every_exit_code(void **state)
{
	static const uint32_t codes[] = { 0, 1, 255, 128 + 9, (uint32_t)-2 };

	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		wr(0x18, 4, 7 + i);
		wr(0x0c, 4, i);
		wr(0x1c, 4, i == 3 ? 9 : 0);
		wr(0x08, 4, codes[i]);
		wr(0x00, 4, DONE);
		assert_int_equal(seen.n_signals, i + 1);
		assert_int_equal(seen.value, DONE);
		assert_int_equal(seen.words[2], codes[i]);
		assert_int_equal(seen.words[3], i);
		assert_int_equal(seen.words[6], 7 + i);
		assert_int_equal(seen.words[7], i == 3 ? 9 : 0);
	}
}

static void ready_clears_after_it_was_seen(void **state)
{
	wr(0x08, 4, 5);
	wr(0x00, 4, DONE);
	wr(0x00, 4, DONE);
	assert_int_equal(seen.words[2], 5); /* DONE clears nothing */
	wr(0x00, 4, READY);
	assert_int_equal(seen.words[2], 5);
	wr(0x00, 4, DONE);
	assert_int_equal(seen.words[2], 0);
}

static void ignores_every_other_access(void **state)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	uint64_t faults = 0, val;

	for (uint64_t off = 0; off < 4096; off++) {
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
			if (off + sizes[i] > 4096 || (sizes[i] == 4 && off % 4 == 0 &&
						      off < 4 * GUEST_MAILBOX_WORDS && off != 4))
				continue;
			wr(off, sizes[i], UINT64_MAX);
			faults++;
		}
	}
	assert_int_equal(dev->n_guest_faults, faults);
	assert_int_equal(seen.n_signals, 0);
	for (uint64_t off = 0; off < 4096; off++) {
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
			val = 1;
			dev->ops->read(dev, off, sizes[i], &val);
			assert_int_equal(val, sizes[i] == 4 && off % 4 == 0 ? off + 1 : 0);
		}
	}
}

/* Lines in the log, from its start. */
static unsigned n_lines(int fd)
{
	unsigned n = 0;
	char buf[4096];
	ssize_t len;

	lseek(fd, 0, SEEK_SET);
	while ((len = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < len; i++)
			n += buf[i] == '\n';
	return n;
}

/* Every offset, width and value that a guest can write: all counted, ten lines a second. */
static void logs_bad_writes_at_a_limited_rate(void **state)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	static const uint64_t values[] = { 0, 1, DONE, READY, UINT64_MAX };
	int AUTO_FD fd = memfd_create("log", MFD_CLOEXEC);
	uint64_t start = clock_monotonic_ns(), n_writes = 0, n_good = 0, seconds;
	unsigned lines;

	assert_true(fd >= 0);
	log_setup(fd, LOG_FORMAT_TEXT, LOG_LEVEL_DEBUG);
	for (size_t v = 0; v < ARRAY_LEN(values); v++) {
		for (uint64_t off = 0; off < 4096; off++) {
			for (size_t i = 0; i < ARRAY_LEN(sizes) && off + sizes[i] <= 4096; i++) {
				wr(off, sizes[i], values[v]);
				n_writes++;
				n_good += sizes[i] == 4 && off % 4 == 0 && off != 4 &&
					  off < 4 * GUEST_MAILBOX_WORDS;
			}
		}
	}
	log_setup(STDERR_FILENO, LOG_FORMAT_TEXT, LOG_LEVEL_WARN);
	seconds = (clock_monotonic_ns() - start) / NSEC_PER_SEC;
	lines = n_lines(fd);
	assert_int_equal(dev->n_guest_faults, n_writes - n_good);
	assert_int_equal(seen.n_signals, ARRAY_LEN(values));
	/* each further second may have its ten, and one line that counts the others */
	assert_in_range(lines, 10, 10 + 11 * (seconds + 1));
}

static void passes_unknown_signals_on_with_their_value(void **state)
{
	wr(0x00, 4, 0x12345678);
	assert_int_equal(seen.value, 0x12345678);
}

static void keeps_its_words_in_a_snapshot(void **state)
{
	uint8_t buf[256];
	size_t len;

	wr(0x08, 4, 42);
	len = state_save(dev->ops->state, dev, buf);
	dev->ops->reset(dev);
	assert_int_equal(state_load(dev->ops->state, dev, buf, len, NULL), 0);
	wr(0x00, 4, DONE);
	assert_int_equal(seen.words[2], 42);
}

static void stamps_timeslices(void **state)
{
	wr(0, 4, 52);
	assert_int_equal(seen.slice, 52);
	wr(0, 2, 53);
	wr(4, 4, 54);
	wr(0, 8, 55);
	assert_int_equal(seen.n_slices, 1);
	assert_int_equal(dev->n_guest_faults, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(delivers_every_exit_code, setup, teardown),
		cmocka_unit_test_setup_teardown(ready_clears_after_it_was_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(ignores_every_other_access, setup, teardown),
		cmocka_unit_test_setup_teardown(logs_bad_writes_at_a_limited_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(passes_unknown_signals_on_with_their_value, setup,
						teardown),
		cmocka_unit_test_setup_teardown(keeps_its_words_in_a_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(stamps_timeslices, setup_slice, teardown),
	};

	return cmocka_run_group_tests_name("vmm/devices/mailbox", tests, NULL, NULL);
}
