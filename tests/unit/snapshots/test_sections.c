/* SPDX-License-Identifier: Apache-2.0 */
/* The file `state`: what goes in comes out; any change of a byte is found. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "snapshots/sections.h"

struct fixture {
	struct snap_buf buf;
	struct snap_sections sections;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char big[5000];

	memset(big, 0x5a, sizeof(big));
	*state = f;
	return snap_sections_add(&f->buf, "rtc-cmos", 0, true, "abc", 3, NULL) ||
	       snap_sections_add(&f->buf, "vcpu", 0, true, big, sizeof(big), NULL) ||
	       snap_sections_add(&f->buf, "vcpu", 1, true, "12345678", 8, NULL) ||
	       snap_sections_add(&f->buf, "hint", 0, false, NULL, 0, NULL) ||
	       snap_sections_finish(&f->buf, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	snap_sections_done(&f->sections);
	snap_buf_done(&f->buf);
	free(f);
	return 0;
}

static void gives_back_what_was_added(void **state)
{
	struct fixture *f = *state;
	const struct snap_section *s;

	assert_int_equal(snap_sections_parse(f->buf.p, f->buf.len, &f->sections, NULL), 0);
	assert_int_equal(f->sections.n, 4);
	s = snap_sections_find(&f->sections, "rtc-cmos", 0);
	assert_non_null(s);
	assert_int_equal(s->len, 3);
	assert_memory_equal(s->data, "abc", 3);
	s = snap_sections_find(&f->sections, "vcpu", 1);
	assert_memory_equal(s->data, "12345678", 8);
	assert_null(snap_sections_find(&f->sections, "vcpu", 2));
	assert_null(snap_sections_find(&f->sections, "vcp", 0));
}

static void refuses_a_mandatory_section_that_nobody_took(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	assert_int_equal(snap_sections_parse(f->buf.p, f->buf.len, &f->sections, NULL), 0);
	snap_sections_find(&f->sections, "rtc-cmos", 0);
	snap_sections_find(&f->sections, "vcpu", 0);
	assert_int_equal(snap_sections_check_taken(&f->sections, &err), -ESTALE);
	assert_non_null(strstr(err.msg, "'vcpu' (1)"));
	snap_sections_find(&f->sections, "vcpu", 1);
	/* "hint" is not mandatory */
	assert_int_equal(snap_sections_check_taken(&f->sections, NULL), 0);
}

static void refuses_any_flipped_bit(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < f->buf.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct err err = { 0 };
			int r;

			f->buf.p[i] ^= (uint8_t)(1 << bit);
			r = snap_sections_parse(f->buf.p, f->buf.len, &f->sections, &err);
			f->buf.p[i] ^= (uint8_t)(1 << bit);
			if (r != -EBADMSG || !err.msg[0])
				fail_msg("byte %zu, bit %u: %d '%s'", i, bit, r, err.msg);
		}
	}
}

static void refuses_any_cut_and_anything_behind(void **state)
{
	struct fixture *f = *state;
	uint8_t *more = calloc(1, f->buf.len + 8);

	for (size_t len = 0; len < f->buf.len; len++)
		assert_int_equal(snap_sections_parse(f->buf.p, len, &f->sections, NULL), -EBADMSG);
	assert_non_null(more);
	memcpy(more, f->buf.p, f->buf.len);
	for (size_t n = 1; n <= 8; n++)
		assert_int_equal(snap_sections_parse(more, f->buf.len + n, &f->sections, NULL),
				 -EBADMSG);
	free(more);
}

static void refuses_a_section_twice(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	assert_int_equal(snap_sections_add(&f->buf, "vcpu", 1, true, "x", 1, NULL), 0);
	assert_int_equal(snap_sections_finish(&f->buf, NULL), 0);
	assert_int_equal(snap_sections_parse(f->buf.p, f->buf.len, &f->sections, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "'vcpu' comes twice"));
}

static void bounds_what_is_written(void **state)
{
	struct fixture *f = *state;
	char name[SNAP_SECTION_NAME_MAX + 2];

	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = 0;
	assert_int_equal(snap_sections_add(&f->buf, name, 0, true, "x", 1, NULL), -E2BIG);
	assert_int_equal(snap_sections_add(&f->buf, "", 0, true, "x", 1, NULL), -E2BIG);
	for (unsigned i = f->buf.n; i < SNAP_SECTIONS_MAX; i++)
		assert_int_equal(snap_sections_add(&f->buf, "n", i, true, "x", 1, NULL), 0);
	assert_int_equal(snap_sections_add(&f->buf, "n", 0, true, "x", 1, NULL), -E2BIG);
	assert_int_equal(snap_sections_finish(&f->buf, NULL), 0);
	assert_int_equal(snap_sections_parse(f->buf.p, f->buf.len, &f->sections, NULL), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(gives_back_what_was_added), T(refuses_a_mandatory_section_that_nobody_took),
		T(refuses_any_flipped_bit),   T(refuses_any_cut_and_anything_behind),
		T(refuses_a_section_twice),   T(bounds_what_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
