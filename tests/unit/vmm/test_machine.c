/* SPDX-License-Identifier: Apache-2.0 */
/* Address space that is given out once, and the CPU model's promises. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "machine/cpumodel.h"
#include "machine/layout.h"
#include "machine/mmioalloc.h"
#include "vmm/vm.h"

static void windows_never_overlap(void **state)
{
	struct mmioalloc a = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(mmioalloc_reserve(&a, 0x1000, 0x1000, "one", NULL), 0);
	assert_int_equal(mmioalloc_reserve(&a, 0x1fff, 1, "two", &err), -EEXIST);
	assert_non_null(strstr(err.msg, "'one'"));
	assert_non_null(strstr(err.msg, "'two'"));
	assert_int_equal(mmioalloc_reserve(&a, 0, 0x1001, "two", NULL), -EEXIST);
	assert_int_equal(mmioalloc_reserve(&a, 0, 0x10000, "two", NULL), -EEXIST);
	assert_int_equal(mmioalloc_reserve(&a, 0x2000, 0, "two", NULL), -EINVAL);
	assert_int_equal(mmioalloc_reserve(&a, UINT64_MAX, 2, "two", NULL), -EINVAL);
	assert_int_equal(mmioalloc_reserve(&a, 0x2000, 0x1000, "two", NULL), 0);
	assert_int_equal(mmioalloc_reserve(&a, 0, 0x1000, "zero", NULL), 0);
	assert_int_equal(mmioalloc_reserve(&a, UINT64_MAX, 1, "last", NULL), 0);
}

static void free_windows_fill_gaps_and_end(void **state)
{
	struct mmioalloc a = { 0 };
	uint64_t base = 0;
	unsigned n = 0;

	(void)state;
	assert_int_equal(mmioalloc_reserve(&a, 0x1000, 0x1000, "fixed", NULL), 0);
	assert_int_equal(mmioalloc_take(&a, 0, 0x8000, 0x1000, "a", &base, NULL), 0);
	assert_int_equal(base, 0);
	assert_int_equal(mmioalloc_take(&a, 0, 0x8000, 0x2000, "b", &base, NULL), 0);
	assert_int_equal(base, 0x2000);
	assert_int_equal(mmioalloc_take(&a, 0x800, 0x8000, 0x4000, "c", &base, NULL), 0);
	assert_int_equal(base, 0x4000);
	assert_int_equal(mmioalloc_take(&a, 0, 0x8000, 0x1000, "d", &base, NULL), -ENOSPC);
	assert_int_equal(mmioalloc_take(&a, UINT64_MAX - 10, UINT64_MAX, 0x1000, "e", &base, NULL),
			 -ENOSPC);
	while (mmioalloc_take(&a, 0x10000, 0x10000000, 0x1000, "many", &base, NULL) == 0)
		n++;
	assert_int_equal(n, MMIOALLOC_MAX - 4);
}

static const struct hv_cpuid *leaf(const struct hv_cpuid_table *t, uint32_t leaf, uint32_t sub)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->entries[i].leaf == leaf &&
		    (!t->entries[i].has_subleaf || t->entries[i].subleaf == sub))
			return &t->entries[i];
	}
	return NULL;
}

static void base_model_is_x86_64_v2_without_xsave(void **state)
{
	/* cx16, lahf, popcnt, sse3, sse4.1, sse4.2, ssse3: what x86-64-v2 asks for */
	const uint32_t v2 = 1U << 13 | 1U << 23 | 1U << 0 | 1U << 19 | 1U << 20 | 1U << 9;
	const uint32_t xsave_avx_fma = 1U << 26 | 1U << 27 | 1U << 28 | 1U << 12;
	struct hv_cpuid_table t;

	(void)state;
	assert_int_equal(cpumodel_fill("base", 4, VM_TSC_KHZ, &t, NULL), 0);
	assert_true(t.n <= HV_MAX_CPUID);
	assert_int_equal(t.tsc_khz, VM_TSC_KHZ);
	assert_int_equal(leaf(&t, 1, 0)->ecx & v2, v2);
	assert_int_equal(leaf(&t, 1, 0)->ecx & xsave_avx_fma, 0);
	assert_int_equal(leaf(&t, 0x80000001, 0)->ecx & 1, 1);
	assert_int_equal(leaf(&t, 1, 0)->ebx >> 24, 0); /* the APIC id is the back end's */
	assert_memory_equal(&leaf(&t, 0x40000000, 0)->ebx, "KVMK", 4);
	assert_true(leaf(&t, 0, 0)->eax >= 0xb);
}

static void topology_counts_every_cpu(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= HV_MAX_VCPUS; n++) {
		struct hv_cpuid_table t;
		unsigned bits;

		assert_int_equal(cpumodel_fill("base", n, VM_TSC_KHZ, &t, NULL), 0);
		assert_int_equal(leaf(&t, 1, 0)->ebx >> 16 & 0xff, n);
		assert_int_equal(leaf(&t, 0xb, 1)->ebx, n);
		assert_int_equal((leaf(&t, 0x80000008, 0)->ecx & 0xff) + 1, n);
		bits = leaf(&t, 0xb, 1)->eax;
		assert_true((1U << bits) >= n && (bits == 0 || (1U << (bits - 1)) < n));
		assert_int_equal(!!(leaf(&t, 1, 0)->edx & 1U << 28), n > 1);
	}
}

static void unknown_models_are_refused(void **state)
{
	struct hv_cpuid_table t;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(cpumodel_fill("486", 1, VM_TSC_KHZ, &t, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "'486'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_never_overlap),
		cmocka_unit_test(free_windows_fill_gaps_and_end),
		cmocka_unit_test(base_model_is_x86_64_v2_without_xsave),
		cmocka_unit_test(topology_counts_every_cpu),
		cmocka_unit_test(unknown_models_are_refused),
	};

	return cmocka_run_group_tests_name("vmm/machine", tests, NULL, NULL);
}
