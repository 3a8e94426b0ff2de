/* SPDX-License-Identifier: Apache-2.0 */
/* The KVM back end without KVM: a kernel that lacks things or refuses, and the CPUID filter. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/kvm.h"
#include "machine/cpumodel.h"
#include "test.h"

/* What the stand-in kernel answers; one test at a time sets it. */
static struct {
	int api;
	unsigned long absent_cap;
	unsigned refused_slot;
	unsigned n_slots;
	uint32_t slot_flags;
	uint64_t dirty_word;
	int dirty_errno;
	unsigned n_interrupts; /* of what makes a VM */
} kernel;

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct kvm_userspace_memory_region *slot = arg;
	struct kvm_dirty_log *log = arg;

	switch (request) {
	case KVM_GET_API_VERSION: errno = ENOTTY; return kernel.api;
	case KVM_CHECK_EXTENSION: return (unsigned long)arg != kernel.absent_cap;
	case KVM_CREATE_VM:
		if (kernel.n_interrupts) {
			kernel.n_interrupts--;
			errno = EINTR;
			return -1;
		}
		return 7;
	case KVM_SET_USER_MEMORY_REGION:
		if (slot->slot == kernel.refused_slot) {
			errno = EEXIST;
			return -1;
		}
		kernel.n_slots++;
		kernel.slot_flags = slot->flags;
		return 0;
	case KVM_GET_DIRTY_LOG:
		if (kernel.dirty_errno) {
			errno = kernel.dirty_errno;
			return -1;
		}
		*(uint64_t *)log->dirty_bitmap = kernel.dirty_word;
		return 0;
	default: errno = EINVAL; return -1;
	}
}

static int setup(void **state)
{
	struct hv_vm *vm = calloc(1, sizeof(*vm));
	struct gmem *mem;

	(void)state;
	memset(&kernel, 0, sizeof(kernel));
	kernel.api = KVM_API_VERSION;
	kernel.refused_slot = ~0U;
	kernel.absent_cap = ~0UL;
	if (!vm || gmem_new(&mem, NULL) < 0 || gmem_add_anon(mem, 0, 1 << 20, GMEM_RAM, NULL) < 0 ||
	    gmem_add_anon(mem, 1 << 30, 1 << 16, GMEM_SHARED, NULL) < 0)
		return -1;
	vm->ioctl = fake_ioctl;
	vm->config.mem = mem;
	pthread_mutex_init(&vm->lock, NULL);
	*state = vm;
	return 0;
}

static int teardown(void **state)
{
	struct hv_vm *vm = *state;

	gmem_free(vm->config.mem);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
	return 0;
}

static void accepts_a_kernel_that_has_all(void **state)
{
	assert_int_equal(kvm_check(3, fake_ioctl, NULL), 0);
}

static void refuses_another_api_version(void **state)
{
	struct err err = { 0 };

	kernel.api = 11;
	assert_int_equal(kvm_check(3, fake_ioctl, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "version 11"));
	kernel.api = -1;
	assert_int_equal(kvm_check(3, fake_ioctl, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "does not answer like KVM"));
}

static void names_the_capability_that_is_missing(void **state)
{
	struct err err = { 0 };

	kernel.absent_cap = KVM_CAP_IMMEDIATE_EXIT;
	assert_int_equal(kvm_check(3, fake_ioctl, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "KVM_CAP_IMMEDIATE_EXIT"));
}

static void says_when_there_is_no_device(void **state)
{
	struct err err = { 0 };

	assert_int_equal(kvm_open("/nonexistent/kvm", fake_ioctl, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "no KVM ('/nonexistent/kvm' is missing)"));
	/* A device that is none. */
	assert_int_equal(kvm_open("/dev/null", kvm_ioctl, &err), -EOPNOTSUPP);
}

static void makes_a_vm_also_when_signals_come(void **state)
{
	kernel.n_interrupts = 3;
	assert_int_equal(kvm_create_vm(3, fake_ioctl), 7);
	assert_int_equal(kernel.n_interrupts, 0);
}

static void says_when_it_is_not_permitted(void **state)
{
	char path[] = "/tmp/husk-test-kvm-XXXXXX";
	int fd = mkstemp(path);
	struct err err = { 0 };
	uid_t uid = geteuid();
	int r;

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(chmod(path, 0), 0);
	if (uid == 0)
		assert_int_equal(seteuid(65534), 0);
	r = kvm_open(path, fake_ioctl, &err);
	if (uid == 0)
		assert_int_equal(seteuid(uid), 0);
	unlink(path);
	assert_int_equal(r, -EACCES);
	assert_non_null(strstr(err.msg, "no permission to use"));
}

static void gives_each_region_a_slot(void **state)
{
	struct hv_vm *vm = *state;

	assert_int_equal(kvm_set_slots(vm, false, NULL), 0);
	assert_int_equal(kernel.n_slots, 2);
	assert_int_equal(kernel.slot_flags, 0);
}

static void names_the_slot_that_is_refused(void **state)
{
	struct err err = { 0 };

	kernel.refused_slot = 1;
	assert_int_equal(kvm_set_slots(*state, false, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "refuses the memory slot at 0x40000000 of 64 KiB"));
}

static void folds_the_dirty_log_into_page_flags(void **state)
{
	struct hv_vm *vm = *state;
	const uint8_t *flags = vm->config.mem->regions[0].page_flags;

	vm->config.mem->dirty_log = true;
	assert_int_equal(kvm_dirty_follow(vm, NULL), 0);
	assert_int_equal(kernel.slot_flags, KVM_MEM_LOG_DIRTY_PAGES);
	kernel.dirty_word = 1ULL << 63 | 4;
	kvm_dirty_sync(vm);
	assert_int_equal(flags[1] & GMEM_PAGE_DIRTY, 0);
	assert_int_equal(flags[2] & GMEM_PAGE_DIRTY, GMEM_PAGE_DIRTY);
	assert_int_equal(flags[63] & GMEM_PAGE_DIRTY, GMEM_PAGE_DIRTY);
	assert_int_equal(flags[64] & GMEM_PAGE_DIRTY, 0);
}

static void takes_all_pages_for_dirty_when_the_log_fails(void **state)
{
	struct hv_vm *vm = *state;

	vm->config.mem->dirty_log = true;
	assert_int_equal(kvm_dirty_follow(vm, NULL), 0);
	kernel.dirty_errno = ENOENT;
	kvm_dirty_sync(vm);
	assert_int_equal(vm->config.mem->regions[1].page_flags[15] & GMEM_PAGE_DIRTY,
			 GMEM_PAGE_DIRTY);
}

/* ---- CPUID ---- */

static const struct kvm_cpuid_entry2 *entry(const struct kvm_cpuid2 *t, uint32_t leaf)
{
	for (uint32_t i = 0; i < t->nent; i++) {
		if (t->entries[i].function == leaf)
			return &t->entries[i];
	}
	return NULL;
}

static struct kvm_cpuid2 *supported(void)
{
	struct kvm_cpuid2 *s = calloc(1, sizeof(*s) + 8 * sizeof(s->entries[0]));

	assert_non_null(s);
	s->nent = 3;
	s->entries[0] = (struct kvm_cpuid_entry2){
		.function = 0, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69
	};
	s->entries[1] = (struct kvm_cpuid_entry2){
		.function = 1, .eax = 0x306c3, .ecx = 1U << 13, .edx = 1U << 25
	};
	s->entries[2] = (struct kvm_cpuid_entry2){ .function = 0x80000001, .edx = 1U << 29 };
	return s;
}

static void shows_only_features_that_both_have(void **state)
{
	struct kvm_cpuid2 *s = supported(), *t = NULL;
	struct hv_cpuid_table table;

	assert_int_equal(cpumodel_fill("base", 2, 1000000, &table, NULL), 0);
	assert_int_equal(kvm_cpuid_build(&table, s, &t, NULL), 0);
	assert_int_equal(t->nent, table.n);
	assert_int_equal(entry(t, 1)->ecx, 1U << 13);
	/* SSE, and HTT, which tells of topology only. */
	assert_int_equal(entry(t, 1)->edx, 1U << 25 | 1U << 28);
	assert_int_equal(entry(t, 7)->ebx, 0);
	assert_int_equal(entry(t, 0x80000001)->edx, 1U << 29);
	assert_int_equal(entry(t, 0x40000001)->eax, 0);
	free(s);
	free(t);
}

static void takes_vendor_and_family_from_the_host(void **state)
{
	struct kvm_cpuid2 *s = supported(), *t = NULL;
	struct hv_cpuid_table table;

	assert_int_equal(cpumodel_fill("base", 1, 1000000, &table, NULL), 0);
	assert_int_equal(kvm_cpuid_build(&table, s, &t, NULL), 0);
	assert_int_equal(entry(t, 0)->ebx, 0x756e6547);
	assert_int_equal(entry(t, 1)->eax, 0x306c3);
	free(t);
	/* On AMD's the model keeps its own family. */
	s->entries[0].ebx = 0x68747541;
	assert_int_equal(kvm_cpuid_build(&table, s, &t, NULL), 0);
	assert_int_equal(entry(t, 1)->eax, table.entries[1].eax);
	free(s);
	free(t);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(accepts_a_kernel_that_has_all),
		T(refuses_another_api_version),
		T(names_the_capability_that_is_missing),
		T(says_when_there_is_no_device),
		T(makes_a_vm_also_when_signals_come),
		T(says_when_it_is_not_permitted),
		T(gives_each_region_a_slot),
		T(names_the_slot_that_is_refused),
		T(folds_the_dirty_log_into_page_flags),
		T(takes_all_pages_for_dirty_when_the_log_fails),
		T(shows_only_features_that_both_have),
		T(takes_vendor_and_family_from_the_host),
	};

	return cmocka_run_group_tests_name("vmm/kvm", tests, NULL, NULL);
}
