/* SPDX-License-Identifier: Apache-2.0 */
/* The soft back end through hv_ops: running, kicks, HLT, interrupts, state, time. */
#include "soft_fixture.h"

#include <errno.h>
#include <unistd.h>

#include "soft/sys.h"
#include "vmm/hv.h"

#define CODE 0x8000

/* Flat 32-bit protected mode without paging, running @code. */
static void load_code(struct fixture *f, const uint8_t *code, size_t n)
{
	struct hv_vcpu_state s;

	gmem_write(f->mem, CODE, code, n);
	hv_soft_ops.get_state(f->vcpus[0], &s);
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		s.seg[i] =
			(struct hv_segment){ .limit = 0xffffffff, .selector = 0x10, .attr = 0xc93 };
	s.seg[HV_CS].attr = 0xc9b;
	s.seg[HV_CS].selector = 8;
	s.cr0 = CR0_PE | CR0_ET;
	s.rip = CODE;
	s.gpr[HV_RSP] = 0x7000;
	s.idt = (struct hv_table){ .base = 0x2000, .limit = 0x7ff };
	s.gdt = (struct hv_table){ .base = 0x1000, .limit = 0x17 };
	*fix_u64(f, 0x1008) = 0x00cf9b000000ffffULL;
	*fix_u64(f, 0x1010) = 0x00cf93000000ffffULL;
	assert_int_equal(hv_soft_ops.set_state(f->vcpus[0], &s, NULL), 0);
}

#define LOAD(f, ...)                                            \
	do {                                                    \
		static const uint8_t code_[] = { __VA_ARGS__ }; \
		load_code(f, code_, sizeof(code_));             \
	} while (0)

static enum hv_exit_reason run(struct fixture *f)
{
	struct hv_exit e;

	hv_soft_ops.run(f->vcpus[0], &e);
	return e.reason;
}

struct later {
	struct fixture *f;
	unsigned delay_us;
	int gsi; /* -1: kick */
};

static void *do_later(void *opaque)
{
	struct later *l = opaque;

	usleep(l->delay_us); /* how long does not matter: the vCPU sleeps until then */
	if (l->gsi >= 0) {
		hv_soft_ops.set_gsi(l->f->vm, (unsigned)l->gsi, true);
		hv_soft_ops.set_gsi(l->f->vm, (unsigned)l->gsi, false);
	} else {
		hv_soft_ops.kick(l->f->vcpus[0]);
	}
	return NULL;
}

static void a_triple_fault_is_a_shutdown(void **state)
{
	struct fixture *f = *state;

	LOAD(f, 0x0f, 0x0b); /* ud2, and the IDT is empty */
	assert_int_equal(run(f), HV_EXIT_SHUTDOWN);
}

static void a_kick_before_run_is_not_lost(void **state)
{
	struct fixture *f = *state;

	LOAD(f, 0xeb, 0xfe); /* jmp . */
	hv_soft_ops.kick(f->vcpus[0]);
	assert_int_equal(run(f), HV_EXIT_INTERRUPTED);
}

static void a_kick_ends_a_loop_and_a_sleep(void **state)
{
	struct fixture *f = *state;
	struct later l = { f, 2000, -1 };
	pthread_t t;

	LOAD(f, 0xeb, 0xfe);
	pthread_create(&t, NULL, do_later, &l);
	assert_int_equal(run(f), HV_EXIT_INTERRUPTED);
	pthread_join(t, NULL);
	LOAD(f, 0xf4, 0xeb, 0xfd); /* hlt; jmp */
	pthread_create(&t, NULL, do_later, &l);
	assert_int_equal(run(f), HV_EXIT_INTERRUPTED);
	pthread_join(t, NULL);
}

static void an_idle_vcpu_costs_nothing(void **state)
{
	struct fixture *f = *state;
	struct later l = { f, 200000, -1 };
	uint64_t used, took;
	pthread_t t;

	LOAD(f, 0xf4);
	took = clock_monotonic_ns();
	used = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	pthread_create(&t, NULL, do_later, &l);
	assert_int_equal(run(f), HV_EXIT_INTERRUPTED);
	used = clock_ns(CLOCK_THREAD_CPUTIME_ID) - used;
	took = clock_monotonic_ns() - took;
	assert_true(used < took / 2); /* time that a busy host took away counts in both */
	pthread_join(t, NULL);
}

static void a_gsi_wakes_a_halted_vcpu_through_the_ioapic(void **state)
{
	struct fixture *f = *state;
	struct later l = { f, 2000, 5 };
	struct hv_vcpu_state s;
	pthread_t t;

	/* sti; hlt; ud2 -- handler: mov dword [0x3000], 0x600d; ud2 (no gate: shutdown) */
	LOAD(f, 0xfb, 0xf4, 0x0f, 0x0b, 0xc7, 0x05, 0x00, 0x30, 0, 0, 0x0d, 0x60, 0, 0, 0x0f, 0x0b);
	*fix_u64(f, 0x2000 + 0x45 * 8) = (uint64_t)(CODE + 4) | 8ULL << 16 | 0x8e00ULL << 32;
	lapic_mmio_write(&f->vcpus[0]->lapic, 0xf0, 4, 0x1ff);
	ioapic_mmio_write(&f->vm->irqchip.ioapic, 0, 4, 0x1a);
	ioapic_mmio_write(&f->vm->irqchip.ioapic, 0x10, 4, 0x45);
	pthread_create(&t, NULL, do_later, &l);
	assert_int_equal(run(f), HV_EXIT_SHUTDOWN);
	pthread_join(t, NULL);
	assert_int_equal((uint32_t)*fix_u64(f, 0x3000), 0x600d);
	hv_soft_ops.get_state(f->vcpus[0], &s);
	assert_int_equal(s.lapic.regs[0x120 / 16], 1U << 5); /* 0x45 in service */
}

static void a_timer_wakes_a_halted_vcpu(void **state)
{
	struct fixture *f = *state;

	LOAD(f, 0xfb, 0xf4, 0x0f, 0x0b, 0xc7, 0x05, 0x00, 0x30, 0, 0, 0x0d, 0x60, 0, 0, 0x0f, 0x0b);
	*fix_u64(f, 0x2000 + 0x46 * 8) = (uint64_t)(CODE + 4) | 8ULL << 16 | 0x8e00ULL << 32;
	lapic_mmio_write(&f->vcpus[0]->lapic, 0xf0, 4, 0x1ff);
	lapic_mmio_write(&f->vcpus[0]->lapic, 0x320, 4, 0x46);
	lapic_mmio_write(&f->vcpus[0]->lapic, 0x3e0, 4, 0xb);
	lapic_mmio_write(&f->vcpus[0]->lapic, 0x380, 4, 3000000);
	assert_int_equal(run(f), HV_EXIT_SHUTDOWN);
	assert_int_equal((uint32_t)*fix_u64(f, 0x3000), 0x600d);
}

static void state_survives_save_and_load(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state one, two;
	uint8_t *a = test_malloc(state_size(&hv_vcpu_state_desc));
	uint8_t *b = test_malloc(state_size(&hv_vcpu_state_desc));
	struct err err = { 0 };
	size_t n;

	LOAD(f, 0xb8, 1, 2, 3, 4, 0x83, 0xe8, 0x7f, 0xf4); /* mov; sub; hlt */
	hv_soft_ops.kick(f->vcpus[0]);
	run(f);
	hv_soft_ops.get_state(f->vcpus[0], &one);
	one.dr[1] = 0x1234;
	one.lstar = 0xffffffff81000000ULL;
	one.pat = 0x0407050600070106ULL;
	one.mtrr_fixed[3] = 0x0606060606060606ULL;
	one.mp_state = HV_MP_HALTED;
	one.interrupt_shadow = 1;
	one.nmi_pending = 1;
	one.tsc += 123456789;
	one.fxsave[200] = 7;
	n = state_save(&hv_vcpu_state_desc, &one, a);
	assert_int_equal(state_load(&hv_vcpu_state_desc, &two, a, n, &err), 0);
	assert_int_equal(hv_soft_ops.set_state(f->vcpus[0], &two, &err), 0);
	hv_soft_ops.get_state(f->vcpus[0], &two);
	assert_in_range(two.tsc, one.tsc, one.tsc + 4); /* same stop, same moment */
	two.tsc = one.tsc;
	assert_int_equal(state_save(&hv_vcpu_state_desc, &two, b), n);
	assert_memory_equal(a, b, n);
	test_free(a);
	test_free(b);
}

static void bad_state_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state good, s;
	struct err err = { 0 };

	hv_soft_ops.get_state(f->vcpus[0], &good);
#define REFUSES(field, value)                                                            \
	do {                                                                             \
		s = good;                                                                \
		s.field = (value);                                                       \
		assert_int_equal(hv_soft_ops.set_state(f->vcpus[0], &s, &err), -EINVAL); \
		assert_non_null(strstr(err.msg, #field));                                \
	} while (0)
	REFUSES(cr0, 1ULL << 40);
	REFUSES(cr0, CR0_PG);
	REFUSES(cr4, 1U << 30);
	REFUSES(efer, EFER_LMA);
	REFUSES(cr3, 1ULL << 45);
	REFUSES(cr8, 16);
	REFUSES(mp_state, 77);
	REFUSES(exc_vector, (s.exc_pending = 1, 40));
	REFUSES(pat, 2);
	s = good;
	s.fxsave[27] = 0xff; /* MXCSR's reserved bits */
	assert_int_equal(hv_soft_ops.set_state(f->vcpus[0], &s, &err), -EINVAL);
	assert_int_equal(hv_soft_ops.set_state(f->vcpus[0], &good, &err), 0);
}

static int setup_two(void **state)
{
	return fixture_new(state, 2);
}

static void tscs_that_agree_agree_after_a_restore(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s[2];
	uint64_t a, b, c;

	for (unsigned i = 0; i < 2; i++) {
		hv_soft_ops.get_state(f->vcpus[i], &s[i]);
		usleep(1000);
	}
	assert_in_range(s[1].tsc - s[0].tsc + 2, 0, 4);
	for (unsigned i = 0; i < 2; i++) {
		s[i].tsc = 1ULL << 50;
		usleep(1000);
		hv_soft_ops.set_state(f->vcpus[i], &s[i], NULL);
	}
	a = cpu_tsc(&f->vcpus[0]->cpu);
	b = cpu_tsc(&f->vcpus[1]->cpu);
	c = cpu_tsc(&f->vcpus[0]->cpu);
	assert_true(a >= 1ULL << 50 && b >= a && c >= b);
	assert_true(f->vcpus[0]->cpu.tsc_offset == f->vcpus[1]->cpu.tsc_offset);
}

static void init_and_sipi_sent_to_a_stopped_vcpu_are_saved(void **state)
{
	struct fixture *f = *state;
	struct lapic *l = &f->vcpus[1]->lapic;
	struct hv_vcpu_state s;

	hv_soft_ops.get_state(f->vcpus[1], &s);
	assert_int_equal(s.mp_state, HV_MP_WAIT_SIPI);
	l->ops->init(l->opaque);
	l->ops->sipi(l->opaque, 0x12);
	hv_soft_ops.get_state(f->vcpus[1], &s);
	assert_int_equal(s.mp_state, HV_MP_RUNNABLE);
	assert_int_equal(s.seg[HV_CS].base, 0x12000);
	assert_int_equal(s.rip, 0);
}

static void kvm_clock_page_gives_the_guests_time(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	uint8_t page[32];
	uint64_t tsc, ns, want, start;
	int8_t shift;

	kvmclock_write(cpu, 0x4b564d01, 0x5000 | 1);
	gmem_read(f->mem, 0x5000, page, sizeof(page));
	assert_int_equal(le32_load(page) & 1, 0);
	assert_int_equal(page[29], 1);
	shift = (int8_t)page[28];
	want = soft_clock_ns(cpu->vm->clock);
	tsc = cpu_tsc(cpu) - le64_load(page + 8);
	tsc = shift < 0 ? tsc >> -shift : tsc << shift;
	ns = (uint64_t)((unsigned __int128)tsc * le32_load(page + 24) >> 32) + le64_load(page + 16);
	assert_in_range(ns, want, soft_clock_ns(cpu->vm->clock));
	do { /* a second between two looks at clocks is not the guest's fault */
		start = clock_monotonic_ns();
		kvmclock_write(cpu, 0x4b564d00, 0x6000);
		gmem_read(f->mem, 0x6000, page, 12);
		want = clock_realtime_ns() - soft_clock_ns(cpu->vm->clock);
	} while (clock_monotonic_ns() - start > NSEC_PER_SEC / 2);
	assert_in_range(le32_load(page + 4) + 1, want / NSEC_PER_SEC, want / NSEC_PER_SEC + 2);
	kvmclock_write(cpu, 0x4b564d01, ~0ULL); /* outside memory: nothing happens */
}

static void msrs_refuse_what_hardware_refuses(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	static const struct {
		uint32_t msr;
		uint64_t val;
		bool ok;
	} cases[] = {
		{ 0xc0000082, 0xffffffff81000000, true }, /* LSTAR */
		{ 0xc0000082, 0x8000000000000000, false },
		{ 0xc0000101, 0x00007fffffffffff, true }, /* GS base */
		{ 0xc0000101, 0x0000800000000000, false },
		{ 0xc0000080, EFER_SCE | EFER_NXE, true },
		{ 0xc0000080, 1ULL << 20, false },
		{ 0x277, 0x0007040600070406, true }, /* PAT */
		{ 0x277, 2, false },
		{ 0x2ff, 0xc06, true }, /* MTRR default type */
		{ 0x2ff, 0xc02, false },
		{ 0x250, 0x0606060606060606, true },
		{ 0x250, 0x0606060606060306, false },
		{ 0x200, 0x80000006, true },
		{ 0x200, 1ULL << 45, false },
		{ 0x1b, APIC_BASE_RESET | APIC_BASE_EN, true },
		{ 0x1b, APIC_BASE_RESET | APIC_BASE_EXTD, false },
		{ 0xc0000103, 1, true }, /* TSC_AUX */
		{ 0xc0000103, 1ULL << 32, false },
		{ 0x12345, 0, false }, /* no such register */
		{ 0x830, 0, false },   /* x2APIC off */
	};
	uint64_t val, start;

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		if (msr_write(cpu, cases[i].msr, cases[i].val) != cases[i].ok)
			fail_msg("MSR %#x = %#llx", cases[i].msr, (unsigned long long)cases[i].val);
		if (cases[i].ok) {
			assert_true(msr_read(cpu, cases[i].msr, &val));
			assert_true((val & cases[i].val) == cases[i].val);
		}
	}
	assert_false(msr_read(cpu, 0x12345, &val));
	start = clock_monotonic_ns();
	assert_true(msr_write(cpu, 0x10, 1000));
	assert_true(msr_read(cpu, 0x10, &val));
	start = clock_monotonic_ns() - start;
	assert_in_range(val, 1000, 1000 + (start + 1) * FIX_TSC_KHZ / 1000000);
}

static void bad_configurations_are_refused(void **state)
{
	struct fixture *f = *state;
	struct hv_vm_config c = f->vm->vm.config;
	struct hv_cpuid_table slow = *c.cpuid;
	struct err err = { 0 };
	struct hv_vcpu *v;
	struct hv_vm *vm;

	c.n_vcpus = 0;
	assert_int_equal(hv_soft_ops.vm_new(&c, &vm, &err), -EINVAL);
	c.n_vcpus = HV_MAX_VCPUS + 1;
	assert_int_equal(hv_soft_ops.vm_new(&c, &vm, &err), -EINVAL);
	c.n_vcpus = 1;
	slow.tsc_khz = 0;
	c.cpuid = &slow;
	assert_int_equal(hv_soft_ops.vm_new(&c, &vm, &err), -EINVAL);
	assert_int_equal(hv_soft_ops.vcpu_new(f->vm, 0, &v, &err), -EINVAL); /* exists */
	assert_int_equal(hv_soft_ops.vcpu_new(f->vm, 7, &v, &err), -EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_triple_fault_is_a_shutdown),
		T(a_kick_before_run_is_not_lost),
		T(a_kick_ends_a_loop_and_a_sleep),
		T(an_idle_vcpu_costs_nothing),
		T(a_gsi_wakes_a_halted_vcpu_through_the_ioapic),
		T(a_timer_wakes_a_halted_vcpu),
		T(state_survives_save_and_load),
		T(bad_state_is_refused_by_name),
		cmocka_unit_test_setup_teardown(init_and_sipi_sent_to_a_stopped_vcpu_are_saved,
						setup_two, fixture_teardown),
		cmocka_unit_test_setup_teardown(tscs_that_agree_agree_after_a_restore, setup_two,
						fixture_teardown),
		T(kvm_clock_page_gives_the_guests_time),
		T(msrs_refuse_what_hardware_refuses),
		T(bad_configurations_are_refused),
	};

	return cmocka_run_group_tests_name("soft/vcpu", tests, NULL, NULL);
}
