/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the guest's kernel that are watched on a KVM that interprets: against a stand-in
 * kernel. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "kvm/entry.h"
#include "test.h"

#define RAM	   (1 << 20)
#define TABLES	   0x1000 /* a page a level: VA is mapped to 0, 2 MiB of it by 4 KiB pages */
#define VA	   0xffffffff80000000ULL
#define LSTAR	   (VA + 0x20040)
#define IDT	   (VA + 0x6000)
#define GDT	   (VA + 0x7000)
#define STACK	   (VA + 0x9000)
#define USER_VA	   (VA + 0x30000) /* which half it is in does not matter to the walk */
#define HANDLER(v) (VA + 0x21000 + (v)*16)
#define MSR_LSTAR  0xc0000082
#define SFMASK_IF  0x200
#define EFER_LMA   0x500
#define EFER_SCE   1
#define RFLAGS_RF  0x10000
#define USER_CS	   0x33
#define USER_SS	   0x2b
#define KERNEL_CS  0x08

static struct {
	struct kvm_sregs sregs;
	uint64_t lstar, refused_msr;
	uint64_t rip;
	unsigned filters, exits, dropped, refuse_slots;
	struct kvm_userspace_memory_region slots[KVM_N_SLOTS];
	uint64_t dirty_word;
} kernel;

static int fake_msrs(struct kvm_msrs *m, bool set)
{
	if (set && m->entries[0].index == kernel.refused_msr)
		return 0;
	if (m->entries[0].index == MSR_LSTAR) {
		if (set)
			kernel.lstar = m->entries[0].data;
		else
			m->entries[0].data = kernel.lstar;
	}
	return 1;
}

static int fake_slot(const struct kvm_userspace_memory_region *slot)
{
	if (kernel.refuse_slots) {
		errno = ENOMEM;
		return -1;
	}
	assert_true(slot->slot < KVM_N_SLOTS);
	if (!slot->memory_size)
		kernel.dropped++;
	/* As KVM has it: a slot that exists can't be resized. */
	else if (kernel.slots[slot->slot].memory_size)
		assert_int_equal(kernel.slots[slot->slot].memory_size, slot->memory_size);
	kernel.slots[slot->slot] = *slot;
	return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct kvm_msr_filter *filter = arg;
	struct kvm_dirty_log *log = arg;

	switch (request) {
	case KVM_ENABLE_CAP: kernel.exits++; return 0;
	case KVM_X86_SET_MSR_FILTER:
		kernel.filters++;
		assert_int_equal(filter->ranges[0].base, MSR_LSTAR);
		assert_int_equal(filter->ranges[0].flags, KVM_MSR_FILTER_WRITE);
		return 0;
	case KVM_SET_USER_MEMORY_REGION: return fake_slot(arg);
	case KVM_GET_DIRTY_LOG: *(uint64_t *)log->dirty_bitmap = kernel.dirty_word; return 0;
	case KVM_GET_SREGS: memcpy(arg, &kernel.sregs, sizeof(kernel.sregs)); return 0;
	case KVM_GET_REGS: ((struct kvm_regs *)arg)->rip = kernel.rip; return 0;
	case KVM_GET_MSRS: return fake_msrs(arg, false);
	case KVM_SET_MSRS: return fake_msrs(arg, true);
	default: errno = EINVAL; return -1;
	}
}

/* ---- a guest ---- */

static void put64(struct gmem *mem, gpa_t gpa, uint64_t val)
{
	uint8_t raw[8];

	le64_store(raw, val);
	assert_int_equal(gmem_write(mem, gpa, raw, sizeof(raw)), 0);
}

static void map_low_memory(struct gmem *mem)
{
	put64(mem, TABLES + 511 * 8, (TABLES + 0x1000) | 7);
	put64(mem, TABLES + 0x1000 + 510 * 8, (TABLES + 0x2000) | 7);
	put64(mem, TABLES + 0x2000, (TABLES + 0x3000) | 7);
	for (uint64_t i = 0; i < RAM >> 12; i++)
		put64(mem, TABLES + 0x3000 + i * 8, i << 12 | 3);
}

static void set_gate(struct gmem *mem, unsigned vector, uint64_t to)
{
	gpa_t at = IDT - VA + vector * 16;

	put64(mem, at, (to & 0xffff) | KERNEL_CS << 16 | 0x8eULL << 40 | (to >> 16 & 0xffff) << 48);
	put64(mem, at + 8, to >> 32);
}

static struct hv_vcpu *add_vcpu(struct hv_vm *vm, unsigned id)
{
	struct hv_vcpu *vcpu = calloc(1, sizeof(*vcpu));

	assert_non_null(vcpu);
	vcpu->run = calloc(1, sizeof(*vcpu->run));
	assert_non_null(vcpu->run);
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->entries_stale = true;
	for (unsigned k = 0; k < KVM_N_ENTRIES; k++)
		vcpu->entry[k].gpa = vcpu->gates[k] = KVM_NO_ENTRY;
	vm->vcpus[id] = vcpu;
	return vcpu;
}

static int setup(void **state)
{
	struct hv_vm *vm = calloc(1, sizeof(*vm));
	struct gmem *mem;

	memset(&kernel, 0, sizeof(kernel));
	if (!vm || gmem_new(&mem, NULL) < 0 || gmem_add_anon(mem, 0, RAM, GMEM_RAM, NULL) < 0 ||
	    gmem_add_anon(mem, 1 << 30, 1 << 16, GMEM_SHARED, NULL) < 0)
		return -1;
	vm->ioctl = fake_ioctl;
	vm->config.mem = mem;
	vm->interprets = true;
	pthread_mutex_init(&vm->lock, NULL);
	map_low_memory(mem);
	kernel.sregs = (struct kvm_sregs){ .cr3 = TABLES,
					   .efer = EFER_LMA | EFER_SCE,
					   .idt = { .base = IDT, .limit = 0xfff } };
	add_vcpu(vm, 0);
	*state = vm;
	return kvm_entry_init(vm, NULL) < 0 || kvm_set_slots(vm, false, NULL) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct hv_vm *vm = *state;

	for (unsigned i = 0; i < HV_MAX_VCPUS; i++) {
		if (vm->vcpus[i])
			free(vm->vcpus[i]->run);
		free(vm->vcpus[i]);
	}
	kvm_entry_done(vm);
	gmem_free(vm->config.mem);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
	return 0;
}

static void follow(struct hv_vcpu *vcpu)
{
	struct err err = { 0 };

	kvm_entry_watch(vcpu);
	if (kvm_entry_follow(vcpu, &err) < 0)
		fail_msg("%s", err.msg);
}

static void enter_at_lstar(struct hv_vm *vm)
{
	kernel.lstar = LSTAR;
	vm->vcpus[0]->entries_stale = true;
	follow(vm->vcpus[0]);
}

static const uint8_t *guest_page(const struct hv_vm *vm, gpa_t gpa)
{
	for (unsigned i = 0; i < KVM_N_SLOTS; i++) {
		const struct kvm_userspace_memory_region *s = &kernel.slots[i];

		if (gpa - s->guest_phys_addr < s->memory_size)
			return (const uint8_t *)(uintptr_t)s->userspace_addr +
			       (gpa - s->guest_phys_addr);
	}
	fail_msg("no slot has %#llx", (unsigned long long)gpa);
	return NULL;
}

/* ---- slots ---- */

static void leaves_a_kvm_with_a_cpu_alone(void **state)
{
	struct hv_vm *vm = *state;
	unsigned filters = kernel.filters;

	kvm_entry_done(vm);
	vm->interprets = false;
	assert_int_equal(kvm_entry_init(vm, NULL), 0);
	assert_null(vm->entries);
	assert_int_equal(kernel.filters, filters);
	enter_at_lstar(vm);
	assert_int_equal(kernel.dropped, 0);
	assert_int_equal(kernel.slots[0].memory_size, RAM);
}

static void splits_the_slot_around_the_page(void **state)
{
	struct hv_vm *vm = *state;
	uint8_t own[2] = { 0x0f, 0x01 };
	const uint8_t *page;

	assert_int_equal(kernel.filters, 1);
	assert_int_equal(gmem_write(vm->config.mem, LSTAR - VA, own, 2), 0);
	enter_at_lstar(vm);
	assert_int_equal(kernel.slots[0].memory_size, 0x20000);
	assert_int_equal(kernel.slots[1].guest_phys_addr, 0x20000);
	assert_int_equal(kernel.slots[1].memory_size, 0x1000);
	assert_int_equal(kernel.slots[1].flags, KVM_MEM_READONLY);
	assert_int_equal(kernel.slots[2].guest_phys_addr, 0x21000);
	assert_int_equal(kernel.slots[2].memory_size, RAM - 0x21000);
	assert_int_equal(kernel.slots[3].guest_phys_addr, 1 << 30);
	page = guest_page(vm, 0x20000);
	assert_int_equal(page[0x40], 0xe6);
	assert_int_equal(page[0x41], KVM_ENTRY_PORT);
	/* Memory has what the guest wrote. */
	assert_int_equal(gmem_read(vm->config.mem, LSTAR - VA, own, 2), 0);
	assert_int_equal(own[0], 0x0f);
}

static void takes_slots_back_when_the_entry_moves(void **state)
{
	struct hv_vm *vm = *state;

	enter_at_lstar(vm);
	kernel.lstar = VA; /* the first page */
	vm->vcpus[0]->entries_stale = true;
	follow(vm->vcpus[0]);
	assert_int_equal(kernel.slots[0].memory_size, 0x1000);
	assert_int_equal(kernel.slots[1].memory_size, RAM - 0x1000);
	assert_int_equal(kernel.slots[1].flags, 0);
	assert_int_equal(kernel.slots[3].memory_size, 0);
	kernel.lstar = 0x400000; /* not mapped */
	vm->vcpus[0]->entries_stale = true;
	follow(vm->vcpus[0]);
	assert_int_equal(kernel.slots[0].memory_size, RAM);
}

static void an_entry_in_two_pages_is_left_alone(void **state)
{
	struct hv_vm *vm = *state;

	kernel.lstar = VA + 0x20fff;
	follow(vm->vcpus[0]);
	assert_int_equal(kernel.slots[0].memory_size, RAM);
}

static void copies_follow_memory(void **state)
{
	struct hv_vm *vm = *state;
	const uint8_t *page;

	enter_at_lstar(vm);
	page = guest_page(vm, 0x20000);
	assert_int_equal(gmem_fill(vm->config.mem, 0x20000, 0x5a, 4096), 0);
	kvm_entry_watch(vm->vcpus[0]);
	assert_int_equal(page[0x3f], 0x5a);
	assert_int_equal(page[0x40], 0xe6);
	assert_int_equal(page[0x42], 0x5a);
}

static void finds_handlers_by_the_idt(void **state)
{
	struct hv_vm *vm = *state;

	follow(vm->vcpus[0]); /* the IDT is seen */
	follow(vm->vcpus[0]);
	assert_int_equal(kernel.slots[0].memory_size, RAM);
	set_gate(vm->config.mem, 13, HANDLER(13));
	follow(vm->vcpus[0]);
	assert_int_equal(guest_page(vm, HANDLER(13) - VA)[0], 0xe6);
	assert_true(kvm_entry_at(vm->vcpus[0], HANDLER(13)));
	set_gate(vm->config.mem, 13, HANDLER(14));
	follow(vm->vcpus[0]);
	assert_int_equal(guest_page(vm, HANDLER(13) - VA)[0], 0);
	assert_int_equal(guest_page(vm, HANDLER(14) - VA)[0], 0xe6);
}

static void bounds_the_pages_of_many_vcpus(void **state)
{
	struct hv_vm *vm = *state;

	for (unsigned i = 0; i < HV_MAX_VCPUS; i++) {
		struct hv_vcpu *vcpu = i ? add_vcpu(vm, i) : vm->vcpus[0];

		vcpu->pid = vcpu->tid = -1; /* nobody to interrupt */
		kernel.lstar = VA + 0x20000 + i * 0x2000;
		follow(vcpu);
	}
	assert_int_equal(vm->entries->n_pages, KVM_N_ENTRY_PAGES);
	assert_int_equal(guest_page(vm, 0x20000)[0], 0xe6);
}

static void names_a_slot_that_is_refused(void **state)
{
	struct hv_vm *vm = *state;
	struct err err = { 0 };

	kernel.lstar = LSTAR;
	kernel.refuse_slots = 1;
	assert_int_equal(kvm_entry_follow(vm->vcpus[0], &err), -ENOMEM);
	assert_non_null(strstr(err.msg, "refuses the memory slot"));
}

static void a_slot_that_goes_leaves_its_dirty_log(void **state)
{
	struct hv_vm *vm = *state;
	const uint8_t *flags = vm->config.mem->regions[0].page_flags;

	vm->config.mem->dirty_log = true;
	assert_int_equal(kvm_dirty_follow(vm, NULL), 0);
	kernel.dirty_word = 1ULL << 50;
	enter_at_lstar(vm);
	assert_true(flags[50] & GMEM_PAGE_DIRTY);
	/* The log of a piece counts from its start. */
	kernel.dirty_word = 2;
	kvm_dirty_sync(vm);
	assert_true(flags[0x22] & GMEM_PAGE_DIRTY);
	assert_false(flags[0x21] & GMEM_PAGE_DIRTY);
	assert_int_equal(kernel.slots[1].flags, KVM_MEM_READONLY);
	assert_int_equal(kernel.slots[2].flags, KVM_MEM_LOG_DIRTY_PAGES);
}

static void an_entry_that_kvm_refuses_is_gp(void **state)
{
	struct hv_vm *vm = *state;
	struct hv_vcpu *vcpu = vm->vcpus[0];

	vcpu->run->msr.index = kernel.refused_msr = MSR_LSTAR;
	vcpu->run->msr.data = 1ULL << 63;
	kvm_entry_wrmsr(vcpu);
	assert_int_equal(vcpu->run->msr.error, 1);
	kernel.refused_msr = 0;
	vcpu->run->msr.data = LSTAR;
	kvm_entry_wrmsr(vcpu);
	assert_int_equal(vcpu->run->msr.error, 0);
	assert_int_equal(kernel.lstar, LSTAR);
	follow(vcpu);
	assert_true(kvm_entry_at(vcpu, LSTAR));
}

/* ---- what is put right ---- */

static void only_its_own_trap_is_an_entry(void **state)
{
	struct hv_vm *vm = *state;
	struct hv_vcpu *vcpu = vm->vcpus[0];

	enter_at_lstar(vm);
	vcpu->run->io.direction = KVM_EXIT_IO_OUT;
	vcpu->run->io.size = 1;
	vcpu->run->io.count = 1;
	vcpu->run->io.port = KVM_ENTRY_PORT;
	kernel.rip = LSTAR + 2;
	assert_true(kvm_entry_hit(vcpu));
	vcpu->run->io.size = 2;
	assert_false(kvm_entry_hit(vcpu));
	vcpu->run->io.size = 1;
	kernel.rip = LSTAR + 3; /* the guest's own access to that port */
	assert_false(kvm_entry_hit(vcpu));
}

/* At the handler of @vector, with the frame of ring 3 that stood at @rip. */
static void at_handler(struct hv_vm *vm, unsigned vector, uint64_t rip, uint64_t rflags,
		       struct hv_vcpu_state *s)
{
	struct gmem *mem = vm->config.mem;
	gpa_t at = STACK - VA;

	for (unsigned v = 6; v <= 14; v++)
		set_gate(mem, v, HANDLER(v));
	follow(vm->vcpus[0]);
	follow(vm->vcpus[0]);
	put64(mem, GDT - VA + (USER_CS & ~7), 0x00affb000000ffff);
	put64(mem, GDT - VA + (USER_SS & ~7), 0x00cff3000000ffff);
	if (vector != 6)
		put64(mem, (at += 8) - 8, 0x15);
	put64(mem, at, rip);
	put64(mem, at + 8, USER_CS);
	put64(mem, at + 16, rflags | RFLAGS_RF);
	put64(mem, at + 24, 0x7fff0000);
	put64(mem, at + 32, USER_SS);
	*s = (struct hv_vcpu_state){ .rip = HANDLER(vector) + KVM_ENTRY_BYTES,
				     .rflags = 2,
				     .lstar = LSTAR,
				     .cr2 = rip,
				     .star = (uint64_t)KERNEL_CS << 32,
				     .sfmask = SFMASK_IF,
				     .efer = EFER_LMA | EFER_SCE,
				     .gdt = { .base = GDT, .limit = 0xff } };
	s->gpr[HV_RSP] = STACK;
	s->gpr[HV_RCX] = USER_VA + 2;
	s->gpr[HV_R11] = 0x202;
	s->seg[HV_CS].selector = KERNEL_CS;
	gmem_write(mem, USER_VA - VA, "\x0f\x05", 2); /* syscall */
}

static void a_page_fault_at_the_entry_is_a_system_call(void **state)
{
	struct hv_vm *vm = *state;
	struct hv_vcpu_state s;

	enter_at_lstar(vm);
	for (unsigned vector = 13; vector <= 14; vector++) {
		at_handler(vm, vector, LSTAR, 2, &s);
		kvm_entry_correct(vm->vcpus[0], &s);
		assert_int_equal(s.rip, LSTAR);
		assert_int_equal(s.gpr[HV_RSP], 0x7fff0000);
		assert_int_equal(s.rflags, 2);
		assert_int_equal(s.seg[HV_CS].selector, KERNEL_CS);
		assert_int_equal(s.seg[HV_CS].attr & (HV_SEG_DPL | HV_SEG_L), HV_SEG_L);
		assert_int_equal(s.seg[HV_SS].selector, KERNEL_CS + 8);
	}
}

static void what_ring_3_can_do_itself_is_no_system_call(void **state)
{
	struct hv_vm *vm = *state;
	struct hv_vcpu_state s;

	enter_at_lstar(vm);
	at_handler(vm, 14, LSTAR, 0x202, &s); /* a jump there: IF is set */
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, HANDLER(14));
	at_handler(vm, 14, LSTAR, 2, &s);
	s.gpr[HV_RCX] += 8; /* no SYSCALL before it */
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, HANDLER(14));
	at_handler(vm, 14, USER_VA, 2, &s); /* any other page fault */
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, HANDLER(14));
	assert_int_equal(s.gpr[HV_RSP], STACK);
}

static void a_system_call_that_is_off_is_tried_again(void **state)
{
	struct hv_vm *vm = *state;
	struct hv_vcpu_state s;

	enter_at_lstar(vm);
	at_handler(vm, 14, LSTAR, 2, &s);
	s.efer &= ~(uint64_t)EFER_SCE;
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, USER_VA);
	assert_int_equal(s.rflags, 0x202);
	assert_int_equal(s.seg[HV_CS].selector, USER_CS);
}

static void an_invalid_opcode_of_ring_3_is_tried_again(void **state)
{
	struct hv_vm *vm = *state;
	struct hv_vcpu_state s;

	at_handler(vm, 6, USER_VA, 0x202, &s);
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, USER_VA);
	assert_int_equal(s.rflags, 0x202);
	assert_int_equal(s.gpr[HV_RSP], 0x7fff0000);
	assert_int_equal(s.seg[HV_CS].selector, USER_CS);
	assert_int_equal(s.seg[HV_CS].attr, 0xafb);
	assert_int_equal(s.seg[HV_CS].limit, 0xffffffff);
	assert_int_equal(s.seg[HV_SS].attr, 0xcf3);
}

static void nothing_is_undone_without_its_segments(void **state)
{
	struct hv_vm *vm = *state;
	struct hv_vcpu_state s;

	at_handler(vm, 6, USER_VA, 0x202, &s);
	s.gdt.limit = 7;
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, HANDLER(6));
	assert_int_equal(s.gpr[HV_RSP], STACK);
	/* Nor without a stack, nor when it was ring 0's own. */
	at_handler(vm, 6, USER_VA, 0x202, &s);
	s.gpr[HV_RSP] = 0x1000;
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, HANDLER(6));
	at_handler(vm, 6, USER_VA, 0x202, &s);
	put64(vm->config.mem, STACK - VA + 8, KERNEL_CS);
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, HANDLER(6));
}

/* Frames are the guest kernel's to write. */
static void nothing_is_undone_to_what_ring_3_cannot_be(void **state)
{
	static const uint64_t refused[] = {
		0x00af9b000000ffff, /* ring 0's */
		0x00cff3000000ffff, /* data */
		0x00effb000000ffff, /* 64-bit and 32-bit at once */
		0x00af7b000000ffff, /* not present */
		0x00afe9000000ffff, /* a TSS */
	};
	struct hv_vm *vm = *state;
	struct hv_vcpu_state s;

	for (unsigned i = 0; i < ARRAY_LEN(refused); i++) {
		at_handler(vm, 6, USER_VA, 0x202, &s);
		put64(vm->config.mem, GDT - VA + (USER_CS & ~7), refused[i]);
		kvm_entry_correct(vm->vcpus[0], &s);
		assert_int_equal(s.rip, HANDLER(6));
	}
	at_handler(vm, 6, USER_VA, 0x202, &s);
	put64(vm->config.mem, GDT - VA + (USER_SS & ~7), 0x00cff1000000ffff); /* read-only */
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, HANDLER(6));
	at_handler(vm, 6, USER_VA, ~0ULL, &s);
	kvm_entry_correct(vm->vcpus[0], &s);
	assert_int_equal(s.rip, USER_VA);
	assert_int_equal(s.rflags, 0x3c7fd7);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(leaves_a_kvm_with_a_cpu_alone),
		T(splits_the_slot_around_the_page),
		T(takes_slots_back_when_the_entry_moves),
		T(an_entry_in_two_pages_is_left_alone),
		T(copies_follow_memory),
		T(finds_handlers_by_the_idt),
		T(bounds_the_pages_of_many_vcpus),
		T(names_a_slot_that_is_refused),
		T(a_slot_that_goes_leaves_its_dirty_log),
		T(an_entry_that_kvm_refuses_is_gp),
		T(only_its_own_trap_is_an_entry),
		T(a_page_fault_at_the_entry_is_a_system_call),
		T(what_ring_3_can_do_itself_is_no_system_call),
		T(a_system_call_that_is_off_is_tried_again),
		T(an_invalid_opcode_of_ring_3_is_tried_again),
		T(nothing_is_undone_without_its_segments),
		T(nothing_is_undone_to_what_ring_3_cannot_be),
	};

	return cmocka_run_group_tests_name("vmm/kvm/entry", tests, NULL, NULL);
}
