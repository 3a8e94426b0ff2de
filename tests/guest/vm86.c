/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual-8086 mode, without VME. Ref: Intel SDM 3B 20.2-20.3, AMD APM 2 8.2.9 and 4.13. */
#include "lib/guest32.h"

#define V_SEG	0x1000 /* where the code is copied */
#define V_STACK 0x2000
#define V_SP	0x800
#define FLAT(seg, off) ((uint8_t *)(((seg) << 4) + (off)))

#define SEL_B 0x30
#define SEL_X 0x38

/* 16-bit code, relocated to V_SEG:0; it ends by trapping. */
#define V86(name, text)                                                                     \
	extern const char name[], name##_end[];                                             \
	__asm__(".pushsection .text\n.code16\n" #name ": " text "\n" #name "_end: .code32\n" \
		".popsection")

static struct trap_frame last;

static void leave(struct trap_frame *f)
{
	last = *f;
	outer_leave(f->vector & 0xff);
}

static void on_int(struct trap_frame *f)
{
	leave(f);
}

static uint32_t run_v86(const char *code, const char *end, uint32_t flags)
{
	const uint32_t frame[9] = { 0,	  V_SEG,  flags | FLAG_VM | 2, V_SP, V_STACK,
				    0x3000, 0x4000, 0x5000,	       0x6000 };
	uint8_t *to = FLAT(V_SEG, 0);

	while (code < end)
		*to++ = (uint8_t)*code++;
	return outer_enter(frame, 9);
}

#define RUN(name, flags) run_v86(name, name##_end, flags)

V86(v_state, "movw %ds, %ax; movw %es, %bx; movw %fs, %cx; movw %gs, %dx; int $0x40");
GUEST_TEST(enters_by_iret_and_leaves_by_int)
{
	uint16_t ds, es;

	trap_handlers[0x40] = on_int;
	idt_set(0x40, ATTR_INT32 | ATTR_DPL3);
	CHECK_EQ(RUN(v_state, FLAG_IOPL | FLAG_IF), 0x40);
	CHECK_EQ(last.eax & 0xffff, 0x4000);
	CHECK_EQ(last.ebx & 0xffff, 0x3000);
	CHECK_EQ(last.ecx & 0xffff, 0x5000);
	CHECK_EQ(last.edx & 0xffff, 0x6000);
	CHECK_EQ(last.cs & 0xffff, V_SEG);
	CHECK_EQ(last.eip, 10);
	CHECK_EQ(last.esp, V_SP);
	CHECK_EQ(last.ss & 0xffff, V_STACK);
	CHECK_EQ(last.vm_es & 0xffff, 0x3000);
	CHECK_EQ(last.vm_ds & 0xffff, 0x4000);
	CHECK_EQ(last.vm_fs & 0xffff, 0x5000);
	CHECK_EQ(last.vm_gs & 0xffff, 0x6000);
	CHECK_EQ(last.eflags & (FLAG_VM | FLAG_IOPL | FLAG_IF), FLAG_VM | FLAG_IOPL | FLAG_IF);
	/* The handler starts with null data segments: pushed by trap_common before it loads its own. */
	CHECK_EQ(last.ds & 0xffff, 0);
	CHECK_EQ(last.es & 0xffff, 0);
	__asm__ volatile("mov %%ds, %0; mov %%es, %1" : "=r"(ds), "=r"(es));
	CHECK_EQ(ds, SEL_DATA);
	CHECK_EQ(es, SEL_DATA);
	CHECK(!(eflags() & FLAG_VM));
}

V86(v_cli, "cli; sti; int3");
V86(v_sti, "sti; int3");
V86(v_pushf, "pushf; popw %ax; int3");
V86(v_popf, "pushw $0x3202; popf; int3");
V86(v_popfl, "pushl $0x23202; popfl; int3");
V86(v_int, "int $0x41; int3");
V86(v_iret, "pushw $0x3002; pushw %cs; pushw $8; iret; nop; int3");
V86(v_int3, "int3");
V86(v_into, "movb $0x7f, %al; addb $1, %al; into; int3");
static const struct {
	const char *code, *end;
} sensitive[] = { { v_cli, v_cli_end },	  { v_sti, v_sti_end },	    { v_pushf, v_pushf_end },
		  { v_popf, v_popf_end }, { v_popfl, v_popfl_end }, { v_iret, v_iret_end },
		  { v_int, v_int_end } };
#define N_SENSITIVE (sizeof(sensitive) / sizeof(sensitive[0]))

GUEST_TEST(iopl_sensitive_instructions)
{
	trap_handlers[BP] = trap_handlers[GP] = trap_handlers[0x41] = trap_handlers[OF] = on_int;
	idt_set(BP, ATTR_INT32 | ATTR_DPL3);
	idt_set(OF, ATTR_INT32 | ATTR_DPL3);
	idt_set(0x41, ATTR_INT32 | ATTR_DPL3);
	for (unsigned i = 0; i < N_SENSITIVE; i++) {
		uint32_t want = i == N_SENSITIVE - 1 ? 0x41 : BP;

		for (uint32_t iopl = 0; iopl < FLAG_IOPL; iopl += 0x1000) {
			uint32_t vec = run_v86(sensitive[i].code, sensitive[i].end, iopl);

			if (vec != GP || last.error || (last.eip != 0 && i != 3 && i != 4 && i != 5))
				guest_fail("sensitive", (int)i, "#GP(0)", vec, GP);
		}
		if (run_v86(sensitive[i].code, sensitive[i].end, FLAG_IOPL) != want)
			guest_fail("sensitive", (int)i, "IOPL 3", last.vector, want);
		CHECK_EQ(last.eflags & (FLAG_VM | FLAG_IOPL), FLAG_VM | FLAG_IOPL);
	}
	/* These are not. */
	CHECK_EQ(RUN(v_int3, 0), BP);
	CHECK_EQ(RUN(v_into, 0), OF);
}

V86(v_popf_iopl, "pushw $0x0202; popf; pushf; popw %ax; int3");
GUEST_TEST(popf_changes_if_but_not_iopl)
{
	trap_handlers[BP] = on_int;
	idt_set(BP, ATTR_INT32 | ATTR_DPL3);
	CHECK_EQ(RUN(v_popf_iopl, FLAG_IOPL), BP);
	CHECK_EQ(last.eax & 0x3200, 0x3200);
}

V86(v_hlt, "hlt");
V86(v_movcr, "movl %cr0, %eax");
V86(v_clts, "clts");
V86(v_lgdt, "lgdt 0");
V86(v_lmsw, "lmsw %ax");
V86(v_rdmsr, "rdmsr");
V86(v_invlpg, "invlpg 0");
V86(v_wbinvd, "wbinvd");
V86(v_movdr, "movl %dr7, %eax");
V86(v_gate, "int $0x42"); /* its DPL is 0 */
static const struct {
	const char *code, *end;
} privileged[] = { { v_hlt, v_hlt_end },	 { v_movcr, v_movcr_end }, { v_clts, v_clts_end },
		   { v_lgdt, v_lgdt_end },	 { v_lmsw, v_lmsw_end },   { v_rdmsr, v_rdmsr_end },
		   { v_invlpg, v_invlpg_end }, { v_wbinvd, v_wbinvd_end }, { v_movdr, v_movdr_end } };

GUEST_TEST(privileged_instructions)
{
	trap_handlers[GP] = on_int;
	for (unsigned i = 0; i < sizeof(privileged) / sizeof(privileged[0]); i++) {
		uint32_t vec = run_v86(privileged[i].code, privileged[i].end, FLAG_IOPL);

		if (vec != GP || last.error || last.eip)
			guest_fail("privileged", (int)i, "#GP(0)", vec, GP);
	}
	CHECK_EQ(RUN(v_gate, FLAG_IOPL), GP);
	CHECK_EQ(last.error, 0x42 * 8 + 2);
}

V86(v_sldt, "sldt %ax");
V86(v_str, "str %ax");
V86(v_lldt, "lldt %ax");
V86(v_ltr, "ltr %ax");
V86(v_lar, "lar %ax, %ax");
V86(v_lsl, "lsl %ax, %ax");
V86(v_verr, "verr %ax");
V86(v_arpl, ".byte 0x63, 0xc0");
V86(v_lock, ".byte 0xf0, 0x90");
static const struct {
	const char *code, *end;
} unknown[] = { { v_sldt, v_sldt_end }, { v_str, v_str_end },	{ v_lldt, v_lldt_end },
		{ v_ltr, v_ltr_end },	{ v_lar, v_lar_end },	{ v_lsl, v_lsl_end },
		{ v_verr, v_verr_end }, { v_arpl, v_arpl_end }, { v_lock, v_lock_end } };

GUEST_TEST(protected_mode_instructions_are_invalid)
{
	trap_handlers[UD] = on_int;
	for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		uint32_t vec = run_v86(unknown[i].code, unknown[i].end, FLAG_IOPL);

		if (vec != UD || last.eip)
			guest_fail("unknown", (int)i, "#UD", vec, UD);
	}
}

V86(v_in, "inb $0x80, %al; int3");
V86(v_in_other, "movw $0x90, %dx; inb %dx, %al; int3");
V86(v_in_word, "inw $0x80, %ax; int3");
V86(v_out, "outb %al, $0x80; int3");
V86(v_insb, "cld; movw $0x90, %dx; xorw %di, %di; insb; int3");
GUEST_TEST(io_looks_at_the_bitmap_whatever_iopl)
{
	static struct {
		struct tss32 tss;
		uint8_t map[0x100 / 8 + 1];
	} big;

	trap_handlers[BP] = trap_handlers[GP] = on_int;
	idt_set(BP, ATTR_INT32 | ATTR_DPL3);
	CHECK_EQ(RUN(v_in, FLAG_IOPL), GP); /* no bitmap at all */
	CHECK_EQ(RUN(v_out, FLAG_IOPL), GP);
	big.tss = tss_main;
	big.tss.iomap = offsetof(__typeof__(big), map);
	for (unsigned i = 0; i < sizeof(big.map); i++)
		big.map[i] = 0xff;
	big.map[0x80 / 8] = 0xfe;
	gdt[SEL_MAIN / 8] = seg_desc(&big, sizeof(big) - 1, ATTR_TSS32);
	__asm__ volatile("ltr %w0" ::"r"(SEL_MAIN));
	for (uint32_t iopl = 0; iopl <= FLAG_IOPL; iopl += 0x3000) {
		CHECK_EQ(RUN(v_in, iopl), BP);
		CHECK_EQ(RUN(v_out, iopl), BP);
		CHECK_EQ(RUN(v_in_word, iopl), GP);
		CHECK_EQ(RUN(v_in_other, iopl), GP);
		CHECK_EQ(RUN(v_insb, iopl), GP);
	}
	/* The byte behind the port's must be within the limit too. */
	gdt[SEL_MAIN / 8] = seg_desc(&big, big.tss.iomap + 0x80 / 8, ATTR_TSS32);
	__asm__ volatile("ltr %w0" ::"r"(SEL_MAIN));
	CHECK_EQ(RUN(v_in, 0), GP);
}

V86(v_segments, "movw $0x2345, %ax; movw %ax, %ds; movw $0xbeef, 0x10; movw $0x7777, %ax; movw %ax, %es;"
		"movb $0x5a, %es:0xffff; movw %ds, %cx; pushw %ds; popw %gs; movw %gs, %dx; int3");
V86(v_limit, "movw %ax, 0xffff");
V86(v_limit_ss, "movw $0xffff, %bp; movw %ax, (%bp)");
V86(v_far, "lcall $0x1000, $far_target - v_far; int3; far_target: movw $0x55, %bx; lret");
V86(v_jump_out, ".byte 0x66, 0xea; .long 0x10000; .word 0x1000");
GUEST_TEST(segments_are_as_in_real_mode)
{
	trap_handlers[BP] = trap_handlers[GP] = trap_handlers[SS_] = on_int;
	idt_set(BP, ATTR_INT32 | ATTR_DPL3);
	*FLAT(0x7777, 0xffff) = 0;
	CHECK_EQ(RUN(v_segments, 0), BP);
	CHECK_EQ(*(uint16_t *)FLAT(0x2345, 0x10), 0xbeef);
	CHECK_EQ(*FLAT(0x7777, 0xffff), 0x5a);
	CHECK_EQ(last.ecx & 0xffff, 0x2345);
	CHECK_EQ(last.edx & 0xffff, 0x2345);
	CHECK_EQ(last.vm_gs & 0xffff, 0x2345);
	CHECK_EQ(RUN(v_limit, 0), GP);
	CHECK_EQ(last.error, 0);
	CHECK_EQ(RUN(v_limit_ss, 0), SS_);
	CHECK_EQ(last.error, 0);
	CHECK_EQ(RUN(v_far, 0), BP);
	CHECK_EQ(last.ebx & 0xffff, 0x55);
	CHECK_EQ(RUN(v_jump_out, 0), GP);
}

GUEST_TEST(pages_are_a_users)
{
	trap_handlers[PF] = on_int;
	paging_on();
	*pte_of(FLAT(0x2345, 0)) &= ~4U;
	invlpg(FLAT(0x2345, 0));
	CHECK_EQ(RUN(v_segments, 0), PF);
	CHECK_EQ(last.error, 7);
	CHECK_EQ(trap.cr2, (uintptr_t)FLAT(0x2345, 0x10));
}

V86(v_spin, "1: incl %eax; jmp 1b");
V86(v_steps, "nop; nop; int3");

static void on_irq(struct trap_frame *f)
{
	*(volatile uint32_t *)0xfee000b0 = 0;
	leave(f);
}

GUEST_TEST(interrupts_come)
{
	volatile uint32_t *apic = (volatile uint32_t *)0xfee00000;

	trap_handlers[0x50] = on_irq;
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	apic[0xf0 / 4] = 0x1ff;
	for (unsigned i = 0; i < 4; i++) {
		apic[0x3e0 / 4] = 0xb;
		apic[0x320 / 4] = 0x50;
		apic[0x380 / 4] = 1000 << (3 * i);
		CHECK_EQ(RUN(v_spin, FLAG_IF | (i & 1 ? FLAG_IOPL : 0)), 0x50);
		CHECK(last.eflags & FLAG_VM);
		CHECK(last.eip <= 2);
	}
}

static uint32_t n_steps;

static void on_step(struct trap_frame *f)
{
	n_steps++;
	CHECK_EQ(f->eip, n_steps);
	CHECK(f->eflags & FLAG_VM);
	WRITE_DR(6, 0xffff0ff0);
}

GUEST_TEST(single_steps_trap_and_handlers_return)
{
	trap_handlers[DB] = on_step; /* back by IRET to virtual-8086 mode */
	trap_handlers[BP] = on_int;
	idt_set(BP, ATTR_INT32 | ATTR_DPL3);
	CHECK_EQ(RUN(v_steps, FLAG_TF), BP);
	CHECK_EQ(n_steps, 2);
	CHECK_EQ(last.vm_ds & 0xffff, 0x4000);
}

GUEST_TEST(handlers_must_be_at_level_0)
{
	trap_handlers[GP] = on_int;
	idt[0x41] = gate_desc(SEL_UCODE, 0x100000, ATTR_INT32 | ATTR_DPL3);
	CHECK_EQ(RUN(v_int, FLAG_IOPL), GP);
	CHECK_EQ(last.error, SEL_UCODE & ~3);
	/* Conforming code would run at level 3. */
	gdt[SEL_X / 8] = 0x00cf9f000000ffff;
	idt[0x41] = gate_desc(SEL_X, 0x100000, ATTR_INT32 | ATTR_DPL3);
	CHECK_EQ(RUN(v_int, FLAG_IOPL), GP);
	CHECK_EQ(last.error, SEL_X);
}

/* ---- with tasks ---- */

static struct tss32 b;
static uint8_t b_stack[4096] __attribute__((aligned(16)));

GUEST_TEST(a_task_can_be_in_virtual_8086_mode)
{
	const char *code = v_state;

	trap_handlers[0x40] = on_int;
	idt_set(0x40, ATTR_INT32 | ATTR_DPL3);
	for (uint8_t *to = FLAT(V_SEG, 0); code < v_state_end;)
		*to++ = (uint8_t)*code++;
	b = tss_main;
	b.eip = 0;
	b.eflags = 2 | FLAG_VM | FLAG_IOPL;
	b.cs = V_SEG, b.ss = V_STACK, b.esp = V_SP;
	b.es = 0x3000, b.ds = 0x4000, b.fs = 0x5000, b.gs = 0x6000;
	gdt[SEL_B / 8] = seg_desc(&b, sizeof(b) - 1, ATTR_TSS32);
	last.vector = 0;
	/* outer_leave() needs a frame to go back to: it is that of this call. */
	{
		extern const char go_to_b[];
		const uint32_t frame[3] = { (uintptr_t)go_to_b, SEL_CODE, 2 };

		CHECK_EQ(outer_enter(frame, 3), 0x40);
	}
	CHECK_EQ(last.eax & 0xffff, 0x4000);
	CHECK_EQ(last.edx & 0xffff, 0x6000);
	CHECK(last.eflags & FLAG_VM);
	CHECK_EQ(last.vm_fs & 0xffff, 0x5000);
	CHECK_EQ(str(), SEL_B);
}
struct far_ptr to_b = { 0, SEL_B };
__asm__(".pushsection .text\ngo_to_b: ljmp *to_b\n.popsection");

static volatile uint32_t task_saw_vm;
__asm__(".pushsection .text\n"
	"by_int: movl tss_main+36, %eax\n movl %eax, task_saw_vm\n iret\n jmp by_int\n"
	".popsection");
extern const char by_int[];
V86(v_int_task, "movw $0x1111, %ax; int $0x41; movw $0x2222, %bx; int3");

GUEST_TEST(an_interrupt_through_a_task_gate_comes_back)
{
	trap_handlers[BP] = on_int;
	idt_set(BP, ATTR_INT32 | ATTR_DPL3);
	b = (struct tss32){ .eip = (uintptr_t)by_int, .eflags = 2, .cs = SEL_CODE, .ds = SEL_DATA,
			    .ss = SEL_DATA, .es = SEL_DATA,
			    .esp = (uintptr_t)b_stack + sizeof(b_stack) };
	gdt[SEL_B / 8] = seg_desc(&b, sizeof(b) - 1, ATTR_TSS32);
	idt[0x41] = gate_desc(SEL_B, 0, ATTR_TASK_GATE | ATTR_DPL3);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(RUN(v_int_task, FLAG_IOPL), BP);
		CHECK(task_saw_vm & FLAG_VM);
		CHECK_EQ(last.eax & 0xffff, 0x1111);
		CHECK_EQ(last.ebx & 0xffff, 0x2222);
		CHECK_EQ(last.vm_gs & 0xffff, 0x6000);
		CHECK_EQ(str(), SEL_MAIN);
	}
}

__asm__(".pushsection .text\n"
	"on_sysenter: movl $0x10, %eax\n movl %eax, %ds\n movl %eax, %es\n"
	" pushfl\n popl seen_flags\n pushl $0x99\n call outer_leave\n"
	".popsection");
extern const char on_sysenter[];
volatile uint32_t seen_flags;
V86(v_sysenter, "sysenter");

GUEST_TEST(sysenter_leaves_it)
{
	trap_handlers[GP] = on_int;
	wrmsr(0x174, 0);
	CHECK_EQ(RUN(v_sysenter, 0), GP);
	wrmsr(0x174, SEL_CODE);
	wrmsr(0x175, (uintptr_t)b_stack + sizeof(b_stack));
	wrmsr(0x176, (uintptr_t)on_sysenter);
	CHECK_EQ(RUN(v_sysenter, FLAG_IF), 0x99);
	CHECK_EQ(seen_flags & (FLAG_VM | FLAG_IF), 0);
}

/* ---- IRET where the flag does not count ---- */

__asm__(".pushsection .text\n"
	"user_iret: pushl $0x23202\n pushl $0x1b\n pushl $1f\n iret\n1: int $0x40\n"
	".popsection");
extern const char user_iret[];

GUEST_TEST(ring_3_cannot_set_vm)
{
	const uint32_t frame[] = { (uintptr_t)user_iret, SEL_UCODE, 2,
				   (uintptr_t)b_stack + sizeof(b_stack), SEL_UDATA };

	trap_handlers[0x40] = on_int;
	idt_set(0x40, ATTR_INT32 | ATTR_DPL3);
	CHECK_EQ(outer_enter(frame, 5), 0x40);
	CHECK_EQ(last.cs & 0xffff, SEL_UCODE);
	CHECK_EQ(last.eflags & FLAG_VM, 0);
}

const struct test_entry guest_tests[] = {
	ENTRY(enters_by_iret_and_leaves_by_int),
	ENTRY(iopl_sensitive_instructions),
	ENTRY(popf_changes_if_but_not_iopl),
	ENTRY(privileged_instructions),
	ENTRY(protected_mode_instructions_are_invalid),
	ENTRY(io_looks_at_the_bitmap_whatever_iopl),
	ENTRY(segments_are_as_in_real_mode),
	ENTRY(pages_are_a_users),
	ENTRY(interrupts_come),
	ENTRY(single_steps_trap_and_handlers_return),
	ENTRY(handlers_must_be_at_level_0),
	ENTRY(a_task_can_be_in_virtual_8086_mode),
	ENTRY(an_interrupt_through_a_task_gate_comes_back),
	ENTRY(sysenter_leaves_it),
	ENTRY(ring_3_cannot_set_vm),
	{ 0 }
};
