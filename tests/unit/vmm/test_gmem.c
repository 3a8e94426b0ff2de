/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: bounds, overlap, write accounting. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "vmm/gmem.h"

static int setup(void **state)
{
	struct gmem *mem = NULL;

	if (gmem_new(&mem, NULL) < 0)
		return -1;
	*state = mem;
	return 0;
}

static int teardown(void **state)
{
	gmem_free(*state);
	return 0;
}

static void refuses_bad_regions(void **state)
{
	struct gmem *mem = *state;
	struct err err = { 0 };

	assert_int_equal(gmem_add_anon(mem, 0, 0, GMEM_RAM, &err), -EINVAL);
	assert_int_equal(gmem_add_anon(mem, 1, 4096, GMEM_RAM, NULL), -EINVAL);
	assert_int_equal(gmem_add_anon(mem, 0, 4097, GMEM_RAM, NULL), -EINVAL);
	assert_int_equal(gmem_add_anon(mem, UINT64_MAX & ~4095ULL, 8192, GMEM_RAM, NULL), -EINVAL);
	assert_int_equal(gmem_add_anon(mem, 0x10000, 0x10000, GMEM_RAM, NULL), 0);
	assert_int_equal(gmem_add_anon(mem, 0x1f000, 0x2000, GMEM_RAM, NULL), -EEXIST);
	assert_int_equal(gmem_add_anon(mem, 0xf000, 0x2000, GMEM_RAM, NULL), -EEXIST);
	assert_int_equal(gmem_add_anon(mem, 0, 0x100000, GMEM_RAM, NULL), -EEXIST);
	for (unsigned i = 1; i < GMEM_MAX_REGIONS; i++)
		assert_int_equal(gmem_add_anon(mem, (gpa_t)i * MIB, 4096, GMEM_RAM, NULL), 0);
	assert_int_equal(gmem_add_anon(mem, GIB, 4096, GMEM_RAM, NULL), -E2BIG);
}

static void keeps_regions_sorted_and_counts_ram(void **state)
{
	struct gmem *mem = *state;

	assert_int_equal(gmem_add_anon(mem, 4 * GIB, 4 * MIB, GMEM_RAM, NULL), 0);
	assert_int_equal(gmem_add_anon(mem, 0, 8 * MIB, GMEM_RAM, NULL), 0);
	assert_int_equal(gmem_add_anon(mem, 3 * GIB, MIB, GMEM_SHARED, NULL), 0);
	assert_int_equal(mem->n_regions, 3);
	assert_true(mem->regions[0].gpa < mem->regions[1].gpa);
	assert_true(mem->regions[1].gpa < mem->regions[2].gpa);
	assert_int_equal(gmem_ram_bytes(mem), 12 * MIB);
	assert_true(IS_ALIGNED((uintptr_t)mem->regions[0].hva, 2 * MIB));
}

static void refuses_access_outside(void **state)
{
	struct gmem *mem = *state;
	uint8_t buf[16] = { 1 };

	assert_int_equal(gmem_add_anon(mem, 0x1000, 0x1000, GMEM_RAM, NULL), 0);
	assert_int_equal(gmem_add_anon(mem, 0x2000, 0x1000, GMEM_RAM, NULL), 0);
	assert_null(gmem_ptr(mem, 0x1000, 0));
	assert_null(gmem_ptr(mem, 0xfff, 2));
	assert_null(gmem_ptr(mem, 0x1fff, 2)); /* two regions that touch are not joined */
	assert_null(gmem_ptr(mem, 0x2fff, 2));
	assert_null(gmem_ptr(mem, 0x2000, UINT64_MAX));
	assert_null(gmem_ptr(mem, UINT64_MAX, 1));
	assert_non_null(gmem_ptr(mem, 0x2fff, 1));
	assert_int_equal(gmem_read(mem, 0x2ff8, buf, 16), -EFAULT);
	assert_int_equal(buf[0], 1);
	assert_int_equal(gmem_write(mem, 0x2ff8, buf, 16), -EFAULT);
	assert_int_equal(gmem_fill(mem, 0x2ff8, 0, 16), -EFAULT);
	assert_int_equal(gmem_read(mem, 0x9999999, buf, 0), 0);
}

struct seen {
	gpa_t gpa;
	uint64_t len;
	unsigned n;
};

static void on_code_write(void *opaque, gpa_t gpa, uint64_t len)
{
	struct seen *seen = opaque;

	*seen = (struct seen){ .gpa = gpa, .len = len, .n = seen->n + 1 };
}

static void tells_of_writes_to_code_and_logs_dirty_pages(void **state)
{
	struct gmem *mem = *state;
	struct seen seen = { 0 };

	assert_int_equal(gmem_add_anon(mem, 0x10000, 0x10000, GMEM_RAM, NULL), 0);
	mem->code_write = on_code_write;
	mem->code_write_opaque = &seen;
	mem->regions[0].page_flags[2] = GMEM_PAGE_CODE;
	assert_int_equal(gmem_fill(mem, 0x10000, 0xcc, 0x2000), 0);
	assert_int_equal(seen.n, 0);
	assert_int_equal(gmem_fill(mem, 0x11fff, 0xcc, 2), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.gpa, 0x11fff);
	assert_int_equal(seen.len, 2);
	assert_int_equal(mem->regions[0].page_flags[1], 0);
	mem->dirty_log = true;
	assert_int_equal(gmem_fill(mem, 0x13fff, 0xcc, 2), 0);
	assert_int_equal(mem->regions[0].page_flags[3], GMEM_PAGE_DIRTY);
	assert_int_equal(mem->regions[0].page_flags[4], GMEM_PAGE_DIRTY);
	assert_int_equal(mem->regions[0].page_flags[5], 0);
	gmem_written(mem, 0x1fff0, 0x100); /* straddles the end: ignored */
	assert_int_equal(mem->regions[0].page_flags[15], 0);
}

static void reads_back_what_was_written(void **state)
{
	struct gmem *mem = *state;
	char out[6] = { 0 };

	assert_int_equal(gmem_add_anon(mem, 0, 0x2000, GMEM_RAM, NULL), 0);
	assert_int_equal(gmem_write(mem, 0xffd, "husky", 6), 0);
	assert_int_equal(gmem_read(mem, 0xffd, out, 6), 0);
	assert_string_equal(out, "husky");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(refuses_bad_regions, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_regions_sorted_and_counts_ram, setup,
						teardown),
		cmocka_unit_test_setup_teardown(refuses_access_outside, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_of_writes_to_code_and_logs_dirty_pages, setup,
						teardown),
		cmocka_unit_test_setup_teardown(reads_back_what_was_written, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm/gmem", tests, NULL, NULL);
}
