/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware task switches. Ref: Intel SDM 3A 8, AMD APM 2 12. */
#include "lib/guest32.h"

#define SEL_B	 0x30 /* the other task's TSS */
#define SEL_GATE 0x38
#define SEL_LDT	 0x40
#define SEL_X	 0x48 /* whatever a test wants */
#define SEL_Y	 0x50

/* What a task found when it ran. */
static volatile struct {
	uint32_t runs, eflags, esp, eax, esi;
	uint16_t tr, cs, ss, ds, fs;
	uint8_t attr_main, attr_b;
	uint32_t cr0, cr3;
} seen;

static struct tss32 b;
static uint8_t b_stack[4096] __attribute__((aligned(16)));
static uint64_t ldt[4];

#define B_TOP ((uint32_t)(uintptr_t)b_stack + sizeof(b_stack))

static void look(void)
{
	uint16_t v;

	seen.runs++;
	seen.eflags = eflags();
	seen.tr = str();
	__asm__ volatile("mov %%cs, %0" : "=r"(v));
	seen.cs = v;
	__asm__ volatile("mov %%ss, %0" : "=r"(v));
	seen.ss = v;
	__asm__ volatile("mov %%ds, %0" : "=r"(v));
	seen.ds = v;
	__asm__ volatile("mov %%fs, %0" : "=r"(v));
	seen.fs = v;
	seen.attr_main = SEG_ATTR(gdt[SEL_MAIN / 8]);
	seen.attr_b = SEG_ATTR(gdt[SEL_B / 8]);
	seen.cr0 = READ_CR(0);
	seen.cr3 = READ_CR(3);
}

static void jump_main(void)
{
	static const struct far_ptr to_main = { 0, SEL_MAIN };

	__asm__ volatile("ljmp *%0" ::"m"(to_main) : "memory");
}

/* Entered by a jump: goes back by one, again and again. */
void task_look(void);
void task_look(void)
{
	look();
	jump_main();
}
__asm__(".pushsection .text\n"
	"by_jump: movl %eax, seen+12\n movl %esi, seen+16\n movl %esp, seen+8\n"
	"1: call task_look\n jmp 1b\n"
	"by_call: call task_look_only\n iret\n jmp by_call\n"
	".popsection");
void task_look_only(void);
void task_look_only(void)
{
	look();
}
extern const char by_jump[], by_call[];

static void make_b(const void *code)
{
	b = (struct tss32){ .eip = (uintptr_t)code, .esp = B_TOP, .eflags = 2, .cs = SEL_CODE,
			    .ss = SEL_DATA, .ds = SEL_DATA, .es = SEL_DATA, .iomap = sizeof(b) };
	gdt[SEL_B / 8] = seg_desc(&b, sizeof(b) - 1, ATTR_TSS32);
}

GUEST_TEST(jump_saves_one_task_and_loads_the_other)
{
	make_b(by_jump);
	b.eax = 0x11223344;
	b.esi = 0x55667788;
	b.fs = SEL_UDATA;
	b.eflags = 2 | 0x3000 | 0x41; /* IOPL 3, ZF, CF */
	__asm__ volatile("mov %0, %%fs" ::"r"(SEL_DATA));
	__asm__ volatile("movl $0x0badcafe, %%edi; ljmp *%0"
			 :
			 : "m"((struct far_ptr){ 0, SEL_B })
			 : "edi", "memory", "cc");
	CHECK_EQ(seen.runs, 1);
	CHECK_EQ(seen.tr, SEL_B);
	CHECK_EQ(seen.eax, 0x11223344);
	CHECK_EQ(seen.esi, 0x55667788);
	CHECK_EQ(seen.esp, B_TOP);
	CHECK_EQ(seen.fs, SEL_UDATA);
	CHECK_EQ(seen.eflags & (FLAG_NT | FLAG_IOPL), FLAG_IOPL);
	CHECK_EQ(seen.attr_main, ATTR_TSS32);
	CHECK_EQ(seen.attr_b, ATTR_TSS32 | ATTR_BUSY);
	CHECK(seen.cr0 & CR0_TS);
	CHECK_EQ(str(), SEL_MAIN);
	CHECK_EQ(SEG_ATTR(gdt[SEL_MAIN / 8]), ATTR_TSS32 | ATTR_BUSY);
	CHECK_EQ(SEG_ATTR(gdt[SEL_B / 8]), ATTR_TSS32);
	CHECK_EQ(tss_main.edi, 0x0badcafe);
	CHECK_EQ(tss_main.cs, SEL_CODE);
	CHECK_EQ(tss_main.fs, SEL_DATA);
	CHECK_EQ(tss_main.cr3, 0);
	CHECK_EQ(b.link, 0);
	CHECK_EQ(b.fs, SEL_UDATA);
	TRY_FAR("ljmp", SEL_B); /* goes on behind its own jump */
	CHECK_EQ(trap.vector, NO_TRAP);
	CHECK_EQ(seen.runs, 2);
}

GUEST_TEST(call_nests_and_iret_returns)
{
	make_b(by_call);
	b.fs = 0xffff0000; /* the upper half is not the processor's */
	for (unsigned i = 1; i < 4; i++) {
		TRY_FAR("lcall", SEL_B);
		CHECK_TRAP(NO_TRAP);
		CHECK_EQ(seen.runs, i);
		CHECK_EQ(seen.tr, SEL_B);
		CHECK(seen.eflags & FLAG_NT);
		CHECK_EQ(b.link, SEL_MAIN);
		CHECK_EQ(seen.attr_main, ATTR_TSS32 | ATTR_BUSY);
		CHECK_EQ(seen.attr_b, ATTR_TSS32 | ATTR_BUSY);
		CHECK_EQ(b.eflags & FLAG_NT, 0);
		CHECK_EQ(b.fs, 0xffff0000);
		CHECK_EQ(SEG_ATTR(gdt[SEL_B / 8]), ATTR_TSS32);
		CHECK_EQ(SEG_ATTR(gdt[SEL_MAIN / 8]), ATTR_TSS32 | ATTR_BUSY);
		CHECK_EQ(str(), SEL_MAIN);
		CHECK(!(eflags() & FLAG_NT));
	}
}

GUEST_TEST(task_gates_lead_to_a_tss)
{
	make_b(by_call);
	gdt[SEL_GATE / 8] = gate_desc(SEL_B, 0, ATTR_TASK_GATE);
	TRY_FAR("lcall", SEL_GATE);
	CHECK_EQ(seen.runs, 1);
	/* In the LDT too, and an RPL that the gate's DPL admits. */
	ldt[1] = gate_desc(SEL_B | 3, 0, ATTR_TASK_GATE | ATTR_DPL3);
	gdt[SEL_LDT / 8] = seg_desc(ldt, sizeof(ldt) - 1, ATTR_LDT);
	__asm__ volatile("lldt %w0" ::"r"(SEL_LDT));
	tss_main.ldt = SEL_LDT;
	TRY_FAR("lcall", 0x08 | 4 | 3);
	CHECK_TRAP(NO_TRAP);
	CHECK_EQ(seen.runs, 2);
	make_b(by_jump);
	TRY_FAR("ljmp", 0x08 | 4);
	CHECK_EQ(seen.runs, 3);
	CHECK_EQ(seen.attr_main, ATTR_TSS32);
	/* LDTR comes from the TSS: null in the other task, back in this one. */
	__asm__ volatile("sldt %0" : "=m"(seen.fs));
	CHECK_EQ(seen.fs, SEL_LDT);
}

/* 32-bit code at offset 0 of a segment of its own: a 16-bit TSS has no more than 16 bits of EIP. */
static struct tss16 narrow;
static uint16_t narrow_stack[256];
__asm__(".pushsection .text\n"
	"by_call16: movl %eax, seen_regs\n movl %esp, seen_regs+4\n movw %fs, seen_regs+8\n"
	" pushfl\n popl seen_regs+12\n iret\n jmp by_call16\n"
	".popsection");
extern const char by_call16[];
uint32_t seen_regs[4];

GUEST_TEST(sixteen_bit_tss)
{
	gdt[SEL_X / 8] = seg_desc(by_call16, 0xffff, 0x9b) | 1ULL << 54;
	gdt[SEL_Y / 8] = seg_desc(narrow_stack, sizeof(narrow_stack) - 1, 0x93);
	narrow = (struct tss16){ .ip = 0, .flags = 2 | 0x41, .ax = 0x1234,
				 .sp = sizeof(narrow_stack), .cs = SEL_X, .ss = SEL_Y,
				 .ds = SEL_DATA, .es = SEL_DATA };
	gdt[SEL_B / 8] = seg_desc(&narrow, sizeof(narrow) - 1, ATTR_TSS16);
	__asm__ volatile("mov %0, %%fs" ::"r"(SEL_DATA));
	for (unsigned i = 0; i < 2; i++) {
		TRY_FAR("lcall", SEL_B);
		CHECK_TRAP(NO_TRAP);
		CHECK_EQ(seen_regs[0] & 0xffff, 0x1234);
		CHECK_EQ(seen_regs[1] & 0xffff, sizeof(narrow_stack));
		CHECK_EQ(seen_regs[2], 0);
		CHECK_EQ(seen_regs[3] & (FLAG_NT | 0x41), FLAG_NT | 0x41);
		CHECK_EQ(narrow.link, SEL_MAIN);
		CHECK_EQ(narrow.flags & (FLAG_NT | 0x41), 0x41);
		CHECK_EQ(SEG_ATTR(gdt[SEL_B / 8]), ATTR_TSS16);
		CHECK_EQ(tss_main.fs, SEL_DATA);
	}
}

/* ---- interrupts ---- */

/* An error code is on the stack: the handler makes main go on elsewhere. */
static volatile uint32_t task_error, go_on;
__asm__(".pushsection .text\n"
	"by_fault: popl task_error\n call task_look_only\n movl go_on, %eax\n"
	" movl %eax, tss_main+32\n iret\n jmp by_fault\n"
	".popsection");
extern const char by_fault[];

GUEST_TEST(exception_through_a_task_gate)
{
	make_b(by_fault);
	idt[GP] = gate_desc(SEL_B, 0, ATTR_TASK_GATE);
	for (unsigned i = 1; i < 3; i++) {
		uint32_t at;

		b.esp = B_TOP;
		__asm__ volatile("movl $2f, go_on; movl $1f, %0\n"
				 "1: movl %1, %%gs\n2:"
				 : "=&r"(at)
				 : "r"(0x7778)
				 : "memory");
		CHECK_EQ(seen.runs, i);
		CHECK_EQ(task_error, 0x7778);
		CHECK_EQ(seen.tr, SEL_B);
		CHECK_EQ(seen.esp, 0);
		CHECK(seen.eflags & FLAG_NT);
		CHECK_EQ(b.link, SEL_MAIN);
		CHECK(tss_main.eflags & FLAG_RF); /* saved with the fault */
		CHECK_EQ(trap_count[GP], 0);
	}
}

GUEST_TEST(double_fault_through_a_task_gate)
{
	make_b(by_fault);
	idt[DF] = gate_desc(SEL_B, 0, ATTR_TASK_GATE);
	paging_on();
	b.cr3 = tss_main.cr3 = (uintptr_t)page_dir;
	*pte_of((void *)0x200000) = 0;
	invlpg((void *)0x200000);
	task_error = 99;
	/* No stack: the page fault's frame cannot be pushed. */
	__asm__ volatile("movl $2f, go_on; movl %%esp, %%edi; movl $0x200800, %%esp\n"
			 "1: pushl %%eax\n2: movl %%edi, %%esp"
			 :
			 :
			 : "edi", "memory");
	CHECK_EQ(seen.runs, 1);
	CHECK_EQ(task_error, 0);
	CHECK_EQ(tss_main.esp, 0x200800);
	CHECK_EQ(READ_CR(2), 0x2007fc);
	CHECK_EQ(trap_count[PF], 0);
}

GUEST_TEST(software_interrupt_through_a_task_gate)
{
	make_b(by_call);
	idt[0x40] = gate_desc(SEL_B, 0, ATTR_TASK_GATE);
	TRY("int $0x40");
	CHECK_TRAP(NO_TRAP);
	CHECK_EQ(seen.runs, 1);
	CHECK_EQ(seen.tr, SEL_B);
	idt[0x40] = gate_desc(SEL_B, 0, ATTR_TASK_GATE & ~0x80);
	TRY("int $0x40");
	CHECK_TRAP_ERR(NP, 0x40 * 8 + 2);
	idt[0x40] = gate_desc(SEL_B | 4, 0, ATTR_TASK_GATE);
	TRY("int $0x40");
	CHECK_TRAP_ERR(GP, SEL_B | 4);
	idt[0x40] = gate_desc(SEL_MAIN, 0, ATTR_TASK_GATE);
	TRY("int $0x40"); /* it is busy */
	CHECK_TRAP_ERR(GP, SEL_MAIN);
	/* An exception's own trouble has EXT set. */
	idt[UD] = gate_desc(SEL_MAIN, 0, ATTR_TASK_GATE);
	TRY("ud2");
	CHECK_TRAP_ERR(GP, SEL_MAIN | 1);
	CHECK_EQ(seen.runs, 1);
}

static void apic_write32(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(0xfee00000 + reg) = v;
}

__asm__(".pushsection .text\n"
	"by_irq: call task_look_only\n movl $0, 0xfee000b0\n iret\n jmp by_irq\n"
	".popsection");
extern const char by_irq[];

GUEST_TEST(interrupt_through_a_task_gate)
{
	make_b(by_irq);
	idt[0x41] = gate_desc(SEL_B, 0, ATTR_TASK_GATE);
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	apic_write32(0xf0, 0x1ff);
	for (unsigned i = 1; i < 4; i++) {
		apic_write32(0x310, 0);
		apic_write32(0x300, 0x44041); /* to itself */
		CHECK_EQ(seen.runs, i - 1);
		__asm__ volatile("sti; nop; nop; nop; cli" ::: "memory");
		CHECK_EQ(seen.runs, i);
		CHECK(tss_main.eflags & FLAG_IF);
		CHECK(!(seen.eflags & FLAG_IF));
	}
}

/* ---- what is refused before anything changes ---- */

static void check_unmoved(int line)
{
	if (str() != SEL_MAIN || SEG_ATTR(gdt[SEL_MAIN / 8]) != (ATTR_TSS32 | ATTR_BUSY) ||
	    seen.runs || (READ_CR(0) & CR0_TS) || (eflags() & FLAG_NT) || b.link)
		guest_fail("unmoved", line, "the old task is as it was", str(), SEL_MAIN);
}

#define REFUSED(insn, sel, vec, err)           \
	do {                                   \
		TRY_FAR(insn, sel);            \
		CHECK_TRAP_ERR(vec, err);      \
		check_unmoved(__LINE__);       \
	} while (0)

GUEST_TEST(bad_targets_are_refused)
{
	make_b(by_call);
	for (unsigned i = 0; i < 2; i++) {
#define BOTH(sel, vec, err)                                   \
	do {                                                  \
		if (i)                                        \
			REFUSED("lcall", sel, vec, err);      \
		else                                          \
			REFUSED("ljmp", sel, vec, err);       \
	} while (0)
		BOTH(SEL_MAIN, GP, SEL_MAIN); /* busy */
		BOTH(SEL_B | 1, GP, SEL_B);   /* RPL over DPL */
		BOTH(0xf8 + 8, GP, 0x100);    /* outside the table */
		gdt[SEL_B / 8] = seg_desc(&b, sizeof(b) - 1, ATTR_TSS32 & ~0x80);
		BOTH(SEL_B, NP, SEL_B);
		gdt[SEL_B / 8] = seg_desc(&b, 0x66, ATTR_TSS32);
		BOTH(SEL_B, TS, SEL_B);
		gdt[SEL_B / 8] = seg_desc(&b, 0x2a, ATTR_TSS16);
		BOTH(SEL_B, TS, SEL_B);
		gdt[SEL_B / 8] = seg_desc(&b, sizeof(b) - 1, ATTR_TSS32);
		gdt[SEL_GATE / 8] = gate_desc(SEL_B, 0, ATTR_TASK_GATE & ~0x80);
		BOTH(SEL_GATE, NP, SEL_GATE);
		gdt[SEL_GATE / 8] = gate_desc(SEL_B, 0, ATTR_TASK_GATE);
		BOTH(SEL_GATE | 3, GP, SEL_GATE);
		gdt[SEL_GATE / 8] = gate_desc(SEL_MAIN, 0, ATTR_TASK_GATE);
		BOTH(SEL_GATE, GP, SEL_MAIN);
		gdt[SEL_GATE / 8] = gate_desc(SEL_DATA, 0, ATTR_TASK_GATE);
		BOTH(SEL_GATE, GP, SEL_DATA);
		gdt[SEL_GATE / 8] = gate_desc(0, 0, ATTR_TASK_GATE);
		BOTH(SEL_GATE, GP, 0);
		gdt[SEL_GATE / 8] = gate_desc(SEL_B | 4, 0, ATTR_TASK_GATE);
		BOTH(SEL_GATE, GP, SEL_B | 4);
		gdt[SEL_GATE / 8] = gate_desc(0x7f8, 0, ATTR_TASK_GATE);
		BOTH(SEL_GATE, GP, 0x7f8);
	}
}

struct far_ptr to_b = { 0, SEL_B }, to_gate = { 0, SEL_GATE };
__asm__(".pushsection .text\n"
	"user_b: movl $0x23, %eax\n movl %eax, %ds\n lcall *to_b\n int $0x40\n"
	"user_gate: movl $0x23, %eax\n movl %eax, %ds\n lcall *to_gate\n int $0x40\n"
	".popsection");
extern const char user_b[], user_gate[];

GUEST_TEST(ring_3_needs_a_gate_for_it)
{
	uint32_t f[5] = { (uintptr_t)user_b, SEL_UCODE, 2, B_TOP, SEL_UDATA };

	make_b(by_call);
	gdt[SEL_GATE / 8] = gate_desc(SEL_B, 0, ATTR_TASK_GATE | ATTR_DPL3);
	idt_set(0x40, ATTR_INT32 | ATTR_DPL3);
	CHECK_EQ(outer_enter(f, 5), GP);
	CHECK_EQ(trap.error, SEL_B);
	CHECK_EQ(seen.runs, 0);
	f[0] = (uintptr_t)user_gate;
	f[3] = (uintptr_t)narrow_stack + sizeof(narrow_stack);
	CHECK_EQ(outer_enter(f, 5), 0x40);
	CHECK_EQ(seen.runs, 1);
	CHECK_EQ(seen.cs, SEL_CODE);
	CHECK_EQ(trap.cs, SEL_UCODE);
}

static void set_nt(void)
{
	__asm__ volatile("pushfl; orl $0x4000, (%%esp); popfl" ::: "memory", "cc");
}

#define IRET_REFUSED(link_, vec, err)                                                       \
	do {                                                                                \
		tss_main.link = (link_);                                                    \
		trap.error = 99;                                                            \
		TRY("pushfl; orl $0x4000, (%%esp); popfl; iret", ::: "memory", "cc");       \
		__asm__ volatile("pushfl; andl $~0x4000, (%%esp); popfl" ::: "memory", "cc"); \
		CHECK_TRAP_ERR(vec, err);                                                   \
		CHECK_EQ(str(), SEL_MAIN);                                                  \
		CHECK_EQ(seen.runs, 0);                                                     \
	} while (0)

GUEST_TEST(iret_checks_the_back_link)
{
	make_b(by_jump);
	IRET_REFUSED(0, TS, 0);
	IRET_REFUSED(SEL_B | 4, TS, SEL_B | 4);
	IRET_REFUSED(0x7f8, TS, 0x7f8);
	IRET_REFUSED(SEL_B, TS, SEL_B); /* not busy */
	IRET_REFUSED(SEL_DATA, TS, SEL_DATA);
	gdt[SEL_B / 8] = seg_desc(&b, sizeof(b) - 1, (ATTR_TSS32 | ATTR_BUSY) & ~0x80);
	IRET_REFUSED(SEL_B, NP, SEL_B);
	gdt[SEL_B / 8] = seg_desc(&b, 0x66, ATTR_TSS32 | ATTR_BUSY);
	IRET_REFUSED(SEL_B, TS, SEL_B);
	gdt[SEL_B / 8] = seg_desc(&b, sizeof(b) - 1, ATTR_TSS32 | ATTR_BUSY);
	tss_main.link = SEL_B;
	set_nt();
	__asm__ volatile("iret" ::: "memory", "cc");
	CHECK_EQ(seen.runs, 1);
	CHECK_EQ(seen.attr_main, ATTR_TSS32);
	CHECK_EQ(str(), SEL_MAIN);
}

GUEST_TEST(page_faults_come_before_the_switch)
{
	/* Pages of their own. */
	static struct {
		uint8_t before[4096 - 64];
		struct tss32 tss;
		uint8_t after[4096];
	} __attribute__((aligned(4096))) far, old;
	uint32_t second = (uintptr_t)&far + 4096;

	make_b(by_call);
	far.tss = b;
	paging_on();
	far.tss.cr3 = tss_main.cr3 = (uintptr_t)page_dir;
	gdt[SEL_B / 8] = seg_desc(&far.tss, sizeof(b) - 1, ATTR_TSS32);
	*pte_of((void *)second) = 0;
	invlpg((void *)second);
	TRY_FAR("lcall", SEL_B);
	CHECK_TRAP_ERR(PF, 0);
	CHECK_EQ(trap.cr2, second);
	check_unmoved(__LINE__);
	*pte_of((void *)second) = second | 7;
	/* The old one must be writable: no matter that this is ring 0, WP is set. */
	old.tss = tss_main;
	gdt[SEL_MAIN / 8] = seg_desc(&old.tss, sizeof(old.tss) - 1, ATTR_TSS32);
	__asm__ volatile("ltr %w0" ::"r"(SEL_MAIN));
	*pte_of(&old) &= ~2U;
	invlpg(&old);
	TRY_FAR("lcall", SEL_B);
	CHECK_TRAP_ERR(PF, 3);
	CHECK_EQ(trap.cr2 & ~0xfffU, (uintptr_t)&old);
	check_unmoved(__LINE__);
	CHECK_EQ(far.tss.link, 0);
	CHECK_EQ(SEG_ATTR(gdt[SEL_B / 8]), ATTR_TSS32);
	*pte_of(&old) |= 2;
	invlpg(&old);
	TRY_FAR("lcall", SEL_B);
	CHECK_EQ(seen.runs, 1);
	CHECK_EQ(old.tss.cr3, (uintptr_t)page_dir);
}

/* ---- what is found out in the new task ---- */

static volatile uint16_t fault_tr;

static void on_fault_in_b(struct trap_frame *f)
{
	fault_tr = str();
	jump_main();
}

static void faults_in_b(int line, unsigned vec, uint32_t error)
{
	trap_handlers[vec] = on_fault_in_b;
	trap.vector = NO_TRAP;
	fault_tr = 0;
	gdt[SEL_B / 8] = seg_desc(&b, sizeof(b) - 1, ATTR_TSS32);
	__asm__ volatile("ljmp *%0" ::"m"((struct far_ptr){ 0, SEL_B }) : "memory", "cc");
	if (trap.vector != vec || trap.error != error || fault_tr != SEL_B || seen.runs)
		guest_fail("in the new task", line, "vector", trap.vector, vec);
	CHECK_EQ(trap.rip, (uintptr_t)by_jump);
	CHECK_EQ(str(), SEL_MAIN);
	trap_handlers[vec] = NULL;
}

#define B_FAULTS(set, vec, err)                                      \
	do {                                                         \
		make_b(by_jump);                                     \
		b.esp0 = tss_main.esp0, b.ss0 = SEL_DATA;            \
		set;                                                 \
		faults_in_b(__LINE__, vec, err);                     \
	} while (0)
/* At level 3 the handler runs on the new task's inner stack: its own may not be there yet. */
#define B_FAULTS_AT_3(set, vec, err) \
	B_FAULTS((b.cs = SEL_UCODE, b.ss = b.ds = b.es = SEL_UDATA, set), vec, err)

GUEST_TEST(bad_segments_fault_in_the_new_task)
{
	const uint64_t data3 = gdt[SEL_UDATA / 8];

	B_FAULTS_AT_3(b.ldt = SEL_X, TS, SEL_X); /* null descriptor */
	B_FAULTS_AT_3(b.ldt = SEL_X | 4, TS, SEL_X | 4);
	B_FAULTS_AT_3(b.ldt = 0x7f8, TS, 0x7f8);
	gdt[SEL_X / 8] = seg_desc(ldt, sizeof(ldt) - 1, ATTR_LDT & ~0x80);
	B_FAULTS_AT_3(b.ldt = SEL_X, TS, SEL_X);
	B_FAULTS(b.ds = 0x0c, TS, 0x0c); /* no LDT */
	B_FAULTS(b.ds = SEL_B, TS, SEL_B);
	B_FAULTS(b.fs = 0x7f8, TS, 0x7f8);
	B_FAULTS_AT_3(b.es = SEL_DATA, TS, SEL_DATA);
	gdt[SEL_X / 8] = data3 & ~(1ULL << 47);
	B_FAULTS_AT_3(b.gs = SEL_X, NP, SEL_X);
	B_FAULTS_AT_3(b.ss = SEL_X | 3, SS_, SEL_X);
	B_FAULTS_AT_3(b.ss = SEL_DATA, TS, SEL_DATA);
	B_FAULTS_AT_3(b.ss = 0, TS, 0);
	B_FAULTS_AT_3(b.ss = SEL_UCODE, TS, SEL_UCODE & ~3);
	B_FAULTS_AT_3(b.ss = SEL_UDATA & ~3, TS, SEL_UDATA & ~3);
	gdt[SEL_X / 8] = gdt[SEL_UCODE / 8] & ~(1ULL << 47);
	B_FAULTS_AT_3(b.cs = SEL_X | 3, NP, SEL_X);
	B_FAULTS_AT_3(b.cs = SEL_CODE | 3, TS, SEL_CODE);
	B_FAULTS_AT_3(b.cs = SEL_UDATA, TS, SEL_UDATA & ~3);
	B_FAULTS_AT_3(b.cs = 3, TS, 0);
}

static void on_fault_iret(struct trap_frame *f)
{
	fault_tr = str();
	tss_main.eip = go_on;
	set_nt();
	__asm__ volatile("iret");
}

GUEST_TEST(bad_segment_behind_an_exception_has_ext)
{
	make_b(by_jump);
	b.ds = SEL_B;
	trap_handlers[TS] = on_fault_iret;
	idt[UD] = gate_desc(SEL_B, 0, ATTR_TASK_GATE);
	__asm__ volatile("movl $1f, go_on; ud2; 1:" ::: "memory");
	CHECK_TRAP_ERR(TS, SEL_B | 1);
	CHECK_EQ(fault_tr, SEL_B);
	CHECK_EQ(str(), SEL_MAIN);
	/* Not so for a software interrupt. */
	make_b(by_jump);
	b.ds = SEL_B;
	idt[0x40] = gate_desc(SEL_B, 0, ATTR_TASK_GATE);
	__asm__ volatile("movl $1f, go_on; int $0x40; 1:" ::: "memory");
	CHECK_TRAP_ERR(TS, SEL_B);
}

GUEST_TEST(instruction_pointer_beyond_the_limit)
{
	make_b(by_jump);
	gdt[SEL_X / 8] = seg_desc(NULL, 0xffff, 0x9b) | 1ULL << 54;
	b.cs = SEL_X;
	faults_in_b(__LINE__, GP, 0);
}

/* ---- what else changes ---- */

static volatile uint32_t db_dr6, db_eip, db_runs;

static void on_debug(struct trap_frame *f)
{
	db_dr6 = READ_DR(6);
	WRITE_DR(6, 0xffff0ff0);
	db_eip = f->eip;
	db_runs = seen.runs;
	f->eflags &= ~FLAG_TF;
}

GUEST_TEST(trap_flag_of_the_tss)
{
	make_b(by_jump);
	b.trap = 1;
	trap_handlers[DB] = on_debug;
	TRY_FAR("ljmp", SEL_B);
	CHECK_EQ(trap_count[DB], 1);
	CHECK_EQ(db_dr6 & 0xe00f, 0x8000);
	CHECK_EQ(db_eip, (uintptr_t)by_jump);
	CHECK_EQ(db_runs, 0);
	CHECK_EQ(seen.runs, 1);
}

GUEST_TEST(local_breakpoints_go_with_the_task)
{
	static volatile uint32_t watched;

	make_b(by_jump);
	WRITE_DR(0, &watched);
	WRITE_DR(7, 0x400 | 1 | 2 << 2 | 0xd << 16 | 0x100); /* L0 writes, G1, LE */
	TRY_FAR("ljmp", SEL_B);
	CHECK_EQ(seen.runs, 1);
	CHECK_EQ(READ_DR(7) & 0x3ff, 2 << 2);
	watched = 1;
	CHECK_EQ(trap_count[DB], 0);
}

GUEST_TEST(single_step_stays_in_its_task)
{
	make_b(by_jump);
	trap_handlers[DB] = on_debug;
	__asm__ volatile("pushfl; orl $0x100, (%%esp); popfl; ljmp *%0; nop; nop"
			 :
			 : "m"((struct far_ptr){ 0, SEL_B })
			 : "memory", "cc");
	CHECK_EQ(seen.runs, 1);
	CHECK(!(seen.eflags & FLAG_TF));
	CHECK_EQ(db_runs, 1); /* behind the next instruction of this task */
	CHECK_EQ(trap_count[DB], 1);
	CHECK_EQ(db_dr6 & 0xe00f, 0x4000);
}

GUEST_TEST(cr3_comes_from_the_tss)
{
	static uint32_t other_dir[1024] __attribute__((aligned(4096)));

	make_b(by_call);
	paging_on();
	for (unsigned i = 0; i < 1024; i++)
		other_dir[i] = page_dir[i];
	b.cr3 = (uintptr_t)other_dir;
	tss_main.cr3 = (uintptr_t)page_dir;
	TRY_FAR("lcall", SEL_B);
	CHECK_TRAP(NO_TRAP);
	CHECK_EQ(seen.cr3, (uintptr_t)other_dir);
	CHECK_EQ(READ_CR(3), (uintptr_t)page_dir);
	CHECK_EQ(tss_main.cr3, (uintptr_t)page_dir);
}

GUEST_TEST(pae_tables_come_from_cr3_of_the_tss)
{
	static uint64_t pdpt[4] __attribute__((aligned(32))), other[4] __attribute__((aligned(32)));
	static uint64_t pd[2048] __attribute__((aligned(4096)));

	make_b(by_jump);
	for (uint64_t i = 0; i < 2048; i++)
		pd[i] = i << 21 | 0x87;
	for (unsigned i = 0; i < 4; i++)
		other[i] = pdpt[i] = ((uintptr_t)pd + i * 4096) | 1;
	WRITE_CR(3, pdpt);
	WRITE_CR(4, READ_CR(4) | CR4_PAE);
	WRITE_CR(0, READ_CR(0) | CR0_PG);
	tss_main.cr3 = (uintptr_t)pdpt;
	b.cr3 = (uintptr_t)other;
	TRY_FAR("ljmp", SEL_B);
	CHECK_EQ(seen.runs, 1);
	CHECK_EQ(seen.cr3, (uintptr_t)other);
	CHECK_EQ(READ_CR(3), (uintptr_t)pdpt);
}

GUEST_TEST(the_old_tss_can_be_too_small)
{
	make_b(by_call);
	gdt[SEL_MAIN / 8] = seg_desc(&tss_main, 0x5e, ATTR_TSS32);
	__asm__ volatile("ltr %w0" ::"r"(SEL_MAIN));
	REFUSED("lcall", SEL_B, TS, SEL_MAIN);
}

const struct test_entry guest_tests[] = {
	ENTRY(jump_saves_one_task_and_loads_the_other),
	ENTRY(call_nests_and_iret_returns),
	ENTRY(task_gates_lead_to_a_tss),
	ENTRY(sixteen_bit_tss),
	ENTRY(exception_through_a_task_gate),
	ENTRY(double_fault_through_a_task_gate),
	ENTRY(software_interrupt_through_a_task_gate),
	ENTRY(interrupt_through_a_task_gate),
	ENTRY(bad_targets_are_refused),
	ENTRY(ring_3_needs_a_gate_for_it),
	ENTRY(iret_checks_the_back_link),
	ENTRY(page_faults_come_before_the_switch),
	ENTRY(bad_segments_fault_in_the_new_task),
	ENTRY(bad_segment_behind_an_exception_has_ext),
	ENTRY(instruction_pointer_beyond_the_limit),
	ENTRY(trap_flag_of_the_tss),
	ENTRY(local_breakpoints_go_with_the_task),
	ENTRY(single_step_stays_in_its_task),
	ENTRY(cr3_comes_from_the_tss),
	ENTRY(pae_tables_come_from_cr3_of_the_tss),
	ENTRY(the_old_tss_can_be_too_small),
	{ 0 }
};
