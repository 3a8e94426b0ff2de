/* SPDX-License-Identifier: Apache-2.0 */
/* Task switches and virtual-8086 mode with whatever a guest puts in its tables. */
#include "soft_fixture.h"

#include <errno.h>

#include "soft/single.h"
#include "soft/task.h"

#define TABLES	 0x10000 /* GDT, IDT, LDT, TSSs: random */
#define LDT_AT	 0x1000
#define TSS_AT	 0x2000
#define CODE	 0x8000
#define TSS_STEP 0x100
#define N_DESCS	 32
#define N_GOOD	 4 /* behind the null one: code and data for levels 0 and 3 */
#define TURNS	 20000
#define STEPS	 24

static uint64_t rnd(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static uint64_t descriptor(uint64_t base, uint32_t limit, unsigned attr)
{
	return (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)attr << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 | (base >> 24 & 0xff) << 56;
}

/* Mostly what makes sense: flat segments, TSSs among the tables, gates to other descriptors. */
static uint64_t random_descriptor(uint64_t *s)
{
	static const uint8_t attrs[] = { 0x81, 0x83, 0x82, 0x85, 0x89, 0x8b, 0x8c, 0x86, 0x8e,
					 0x8f, 0x9b, 0x9b, 0x93, 0x93, 0x97, 0x9f, 0xe5, 0xee,
					 0xfb, 0xf3, 0x84, 0x87, 0xe9, 0x09, 0x05, 0x1b, 0x13,
					 0x85, 0x85, 0x89, 0x89, 0x8b, 0x8b, 0xe5 };
	unsigned attr = attrs[rnd(s) % sizeof(attrs)];
	uint64_t d = rnd(s);

	if (d & 0x100)
		attr = d & 0x200 ? 0x89 : d & 0x400 ? 0x85 : 0x8b;
	if (d % 16 == 0)
		return rnd(s);
	if (attr & 0x10)
		return descriptor(d % 4 ? 0 : rnd(s), 0xfffff, attr) | (d & 1 ? 0xcULL << 52 : 0);
	if ((attr & 7) >= 4) /* a gate */
		return (d % (N_DESCS * 8)) << 16 | (CODE + d % 64) | (uint64_t)attr << 40;
	return descriptor(TABLES + TSS_AT + TSS_STEP * (rnd(s) % 16),
			  (uint32_t)(d % 8 ? 0x67 : d % 0x70), attr);
}

static const uint64_t good[N_GOOD] = { 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff,
				       0x00cff3000000ffff };

static uint16_t random_selector(uint64_t *s)
{
	uint64_t d = rnd(s);

	return (uint16_t)(d % 32 == 0 ? d >> 32 : (d % N_DESCS) * 8 + (d & 0xe00 ? 0 : 3));
}

/* Fit for level 0 or 3, but for a word or two. */
static void random_tss(uint8_t *tss, uint64_t *s)
{
	uint64_t d = rnd(s);
	bool user = d & 1;

	for (unsigned i = 0; i < 0x68; i += 4)
		le32_store(tss + i, 0x200 + rnd(s) % 64);
	for (unsigned i = 0x48; i <= 0x5c; i += 4)
		le32_store(tss + i, user ? 0x23 : 0x10);
	le32_store(tss + 0x4c, user ? 0x1b : 0x08);
	le32_store(tss + 0x08, 0x10);
	le32_store(tss + 0x20, CODE + 8 * (rnd(s) % 32));
	le32_store(tss + 0x24, (uint32_t)rnd(s) & (d & 2 ? 0x3fffff : 0x3d7ed7));
	le32_store(tss + 0x60, d & 0x1c ? 0 : random_selector(s));
	le32_store(tss + 0x64, d & 0x20 ? 1 : 0);
	le32_store(tss, random_selector(s));
	for (unsigned n = d >> 8 & 3; n; n--)
		le32_store(tss + 4 * (rnd(s) % 26), random_selector(s));
}

static void random_tables(struct fixture *f, uint64_t *s)
{
	static const uint8_t code[][8] = {
		{ 0xcf },
		{ 0xcd, 0x0d },
		{ 0xcc },
		{ 0x0f, 0x0b },
		{ 0xcd },
		{ 0xff, 0x2c, 0x24 },
		{ 0xff, 0x1c, 0x24 },
		{ 0x9c, 0x9d },
		{ 0xfb, 0xe4, 0x80 },
		{ 0xcb },
		{ 0x17, 0x1f },
		{ 0x0f, 0x00, 0xd8 },
		{ 0x0f, 0x20, 0xc0 },
		{ 0x66, 0xcf },
		{ 0x6c },
		{ 0xf1 },
	};
	uint8_t *t = gmem_ptr(f->mem, TABLES, 0x4000);
	uint8_t *c = gmem_ptr(f->mem, CODE, 256);

	for (unsigned i = 0; i < N_DESCS; i++) {
		uint64_t gdt = random_descriptor(s), ldt = random_descriptor(s);

		memcpy(t + 8 * i, &gdt, 8);
		memcpy(t + 0x800 + 8 * i, &gdt, 8); /* the IDT is much the same */
		memcpy(t + LDT_AT + 8 * i, &ldt, 8);
	}
	for (unsigned i = 0; i < N_GOOD; i++)
		memcpy(t + 8 * (1 + i), &good[i], 8);
	for (unsigned i = TSS_AT; i < 0x3000; i += TSS_STEP)
		random_tss(t + i, s);
	for (unsigned i = 0; i < 256; i += 8) {
		memcpy(c + i, code[rnd(s) % ARRAY_LEN(code)], 8);
		if (c[i] == 0xcd)
			c[i + 1] = (uint8_t)(rnd(s) % N_DESCS);
	}
	for (unsigned i = 0; i < 0x400; i += 2) /* stacks, and the real-mode vectors */
		le16_store((uint8_t *)gmem_ptr(f->mem, i, 2), random_selector(s));
}

static void random_state(struct fixture *f, uint64_t *s)
{
	struct hv_vcpu_state st;
	uint64_t d = rnd(s);

	hv_soft_ops.get_state(f->vcpus[0], &st);
	for (unsigned i = 0; i < 16; i++)
		st.gpr[i] = (d >> i & 1) && i != HV_RSP ? rnd(s) : 0x200 + rnd(s) % 64;
	st.cr0 = CR0_ET | CR0_PE;
	st.cr3 = st.cr4 = st.efer = 0;
	st.rflags = 2 | (rnd(s) & (FL_NT | FL_IOPL | FL_IF | FL_TF | (d % 4 ? 0 : FL_VM)));
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		st.seg[i] = (struct hv_segment){ .limit = 0xffffffff,
						 .selector = random_selector(s),
						 .attr = 0xc93 };
	st.seg[HV_CS].attr = 0xc9b;
	st.seg[HV_TR] = (struct hv_segment){ .base = TABLES + TSS_AT + TSS_STEP * (rnd(s) % 16),
					     .limit = d & 0x700 ? 0x67 : (uint32_t)(rnd(s) % 0x80),
					     .selector = random_selector(s),
					     .attr = d & 0x800 ? 0x8b : 0x83 };
	st.seg[HV_LDTR] =
		(struct hv_segment){ .base = TABLES + LDT_AT, .limit = 0xff, .attr = 0x82 };
	st.gdt = (struct hv_table){ .base = TABLES, .limit = N_DESCS * 8 - 1 };
	st.idt = (struct hv_table){ .base = TABLES + 0x800, .limit = N_DESCS * 8 - 1 };
	st.rip = CODE + 8 * (rnd(s) % 32);
	st.exc_pending = false;
	st.mp_state = HV_MP_RUNNABLE;
	st.interrupt_shadow = 0;
	assert_int_equal(hv_soft_ops.set_state(f->vcpus[0], &st, NULL), 0);
}

static void check_invariants(const struct cpu *cpu)
{
	assert_true(cpu->cpl <= 3);
	assert_int_equal(cpu->mode == CPU_VM86, (cpu->rflags & FL_VM) && (cpu->cr0 & CR0_PE));
	assert_false(cpu->exc.pending);
	assert_int_equal(cpu->rip >> 32, 0);
	if (cpu->mode == CPU_VM86) {
		assert_int_equal(cpu->cpl, 3);
		assert_true(cpu->seg[HV_TR].limit > 0 || cpu->seg[HV_TR].attr);
	}
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		assert_int_equal(cpu->seg_base[i], cpu->seg[i].base);
}

static void whatever_the_tables_say_the_state_stays_sound(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	uint64_t seed = 1;
	unsigned switches = 0, in_vm86 = 0;

	cpu->step = true;
	for (unsigned turn = 0; turn < TURNS; turn++) {
		random_tables(f, &seed);
		random_state(f, &seed);
		for (unsigned i = 0; i < STEPS; i++) {
			uint16_t tr = cpu->seg[HV_TR].selector;

			bool alive = soft_single(f->vcpus[0]);

			switches += cpu->seg[HV_TR].selector != tr;
			if (!alive || cpu->halted)
				break; /* a triple fault, mostly */
			check_invariants(cpu);
			in_vm86 += cpu->mode == CPU_VM86;
		}
	}
	/* or the tables are too random to tell anything */
	assert_true(switches > TURNS / 20);
	assert_true(in_vm86 > TURNS / 10);
}

static void state_in_virtual_8086_mode_is_saved_and_taken(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s, t;
	struct err err = { 0 };

	hv_soft_ops.get_state(f->vcpus[0], &s);
	s.cr0 = CR0_PE | CR0_ET;
	s.rflags = 2 | FL_VM;
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		s.seg[i] = (struct hv_segment){
			.base = 0x10000, .limit = 0xffff, .selector = 0x1000, .attr = 0xf3
		};
	assert_int_equal(hv_soft_ops.set_state(f->vcpus[0], &s, &err), 0);
	assert_int_equal(fix_cpu(f)->mode, CPU_VM86);
	assert_int_equal(fix_cpu(f)->cpl, 3);
	hv_soft_ops.get_state(f->vcpus[0], &t);
	assert_int_equal(t.rflags, s.rflags);
	assert_memory_equal(t.seg, s.seg, 6 * sizeof(s.seg[0]));
	/* It is a mode of protected mode, and long mode has none. */
	s.cr0 = CR0_ET;
	assert_int_equal(hv_soft_ops.set_state(f->vcpus[0], &s, &err), -EINVAL);
	s.cr0 = CR0_PE | CR0_PG | CR0_ET;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LME | EFER_LMA;
	assert_int_equal(hv_soft_ops.set_state(f->vcpus[0], &s, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whatever_the_tables_say_the_state_stays_sound,
						fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(state_in_virtual_8086_mode_is_saved_and_taken,
						fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests_name("vmm/soft_task", tests, NULL, NULL);
}
