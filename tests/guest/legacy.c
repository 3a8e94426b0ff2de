/* SPDX-License-Identifier: Apache-2.0 */
/* Segments, call gates, 16-bit code and real mode. Ref: Intel SDM 3A 3.4, 5, 9.9, 20; AMD APM 2 4. */
#include "lib/guest32.h"

#define SEL_X 0x30
#define SEL_Y 0x38
#define SEL_Z 0x40
#define FLAG_B (1ULL << 54) /* of a descriptor: 32-bit */
#define FLAG_G (1ULL << 55)

static struct trap_frame last;
static uint8_t stack3[4096] __attribute__((aligned(16)));
#define TOP3 ((uint32_t)(uintptr_t)stack3 + sizeof(stack3))

static void on_int(struct trap_frame *f)
{
	last = *f;
	outer_leave(f->vector & 0xff);
}

static uint32_t run_user(const char *code)
{
	const uint32_t frame[5] = { (uintptr_t)code, SEL_UCODE, 2, TOP3, SEL_UDATA };

	trap_handlers[0x40] = on_int;
	idt_set(0x40, ATTR_INT32 | ATTR_DPL3);
	return outer_enter(frame, 5);
}

/* ---- call gates ---- */

static volatile uint32_t gate_esp, gate_words[8], gate_ss;
struct far_ptr gate_ptr = { 0, SEL_X | 3 };
__asm__(".pushsection .text\n"
	"gate_look: movl %esp, %ss:gate_esp\n movl %ss, %eax\n movl %eax, gate_ss\n"
	" pushl %ds\n movl $0x10, %eax\n movl %eax, %ds\n xorl %ecx, %ecx\n"
	"1: movl 4(%esp, %ecx, 4), %eax\n movl %eax, gate_words(, %ecx, 4)\n incl %ecx\n cmpl $7, %ecx\n jb 1b\n"
	" popl %ds\n lret $12\n"
	"user_call: movl $0x23, %eax\n movl %eax, %ds\n pushl $0x111\n pushl $0x222\n pushl $0x333\n"
	" lcall *gate_ptr\n int $0x40\n"
	"conforming: movl %cs, %ebx\n lret\n"
	"user_conforming: movl $0x23, %eax\n movl %eax, %ds\n lcall *gate_ptr\n int $0x40\n"
	".popsection");
extern const char gate_look[], user_call[], conforming[], user_conforming[];

GUEST_TEST(call_gate_copies_parameters)
{
	gdt[SEL_X / 8] = gate_desc(SEL_CODE, (uintptr_t)gate_look, 0xec) | 3ULL << 32;
	CHECK_EQ(run_user(user_call), 0x40);
	CHECK_EQ(gate_esp, tss_main.esp0 - 7 * 4);
	CHECK_EQ(gate_words[1], SEL_UCODE);
	CHECK_EQ(gate_words[2], 0x333);
	CHECK_EQ(gate_words[3], 0x222);
	CHECK_EQ(gate_words[4], 0x111);
	CHECK_EQ(gate_words[5], TOP3 - 12);
	CHECK_EQ(gate_words[6], SEL_UDATA);
	CHECK_EQ(last.esp, TOP3); /* both stacks have lost them */
	CHECK_EQ(last.cs & 0xffff, SEL_UCODE);
}

/* An inner stack that expands down: its limit is the bound below. */
GUEST_TEST(call_gate_to_an_expand_down_stack)
{
	gdt[SEL_X / 8] = gate_desc(SEL_CODE, (uintptr_t)gate_look, 0xec) | 3ULL << 32;
	gdt[SEL_Y / 8] = seg_desc(NULL, 0xf, 0x97) | FLAG_B | FLAG_G; /* from 64 KiB on */
	tss_main.ss0 = SEL_Y;
	CHECK_EQ(run_user(user_call), 0x40);
	CHECK_EQ(gate_ss, SEL_Y);
	CHECK_EQ(gate_words[2], 0x333);
	CHECK_EQ(last.esp, TOP3);
}

GUEST_TEST(conforming_code_keeps_the_level)
{
	gdt[SEL_Y / 8] = 0x00cf9f000000ffff;
	gate_ptr = (struct far_ptr){ (uintptr_t)conforming, SEL_Y };
	CHECK_EQ(run_user(user_conforming), 0x40);
	CHECK_EQ(last.ebx & 0xffff, SEL_Y | 3);
	gdt[SEL_Y / 8] = 0x00cf9b000000ffff; /* not conforming: for level 0 only */
	CHECK_EQ(run_user(user_conforming), GP);
	CHECK_EQ(trap.error, SEL_Y);
}

GUEST_TEST(far_jumps_are_checked)
{
	TRY_FAR("ljmp", 0);
	CHECK_TRAP_ERR(GP, 0);
	TRY_FAR("ljmp", SEL_DATA);
	CHECK_TRAP_ERR(GP, SEL_DATA);
	TRY_FAR("ljmp", SEL_UCODE);
	CHECK_TRAP_ERR(GP, SEL_UCODE & ~3);
	TRY_FAR("ljmp", SEL_CODE | 1);
	CHECK_TRAP_ERR(GP, SEL_CODE);
	gdt[SEL_X / 8] = 0x00cf1b000000ffff;
	TRY_FAR("lcall", SEL_X);
	CHECK_TRAP_ERR(NP, SEL_X);
	gdt[SEL_X / 8] = seg_desc(NULL, 0xffff, 0x9b) | FLAG_B;
	TRY("ljmp *%0", ::"m"((struct far_ptr){ 0x10000, SEL_X }) : "memory");
	CHECK_TRAP_ERR(GP, 0);
	/* A gate's own DPL and what it leads to. */
	gdt[SEL_X / 8] = gate_desc(SEL_DATA, 0, 0x8c);
	TRY_FAR("lcall", SEL_X);
	CHECK_TRAP_ERR(GP, SEL_DATA);
	gdt[SEL_X / 8] = gate_desc(SEL_CODE, 0, 0x0c);
	TRY_FAR("lcall", SEL_X);
	CHECK_TRAP_ERR(NP, SEL_X);
	gdt[SEL_X / 8] = gate_desc(0, 0, 0x8c);
	TRY_FAR("lcall", SEL_X);
	CHECK_TRAP_ERR(GP, 0);
}

__asm__(".pushsection .text\nuser_int: int $0x40\n.popsection");
extern const char user_int[];

GUEST_TEST(data_segments_of_inner_levels_become_null)
{
	__asm__ volatile("movl %0, %%fs\n\tmovl %1, %%gs" ::"r"(SEL_DATA), "r"(SEL_UDATA));
	CHECK_EQ(run_user(user_int), 0x40);
	CHECK_EQ(last.ds & 0xffff, 0);
	CHECK_EQ(last.es & 0xffff, 0);
	{
		uint16_t fs, gs;

		__asm__ volatile("movw %%fs, %0\n\tmovw %%gs, %1" : "=r"(fs), "=r"(gs));
		CHECK_EQ(fs, 0);
		CHECK_EQ(gs, SEL_UDATA);
	}
}

/* ---- accesses ---- */

#define LOAD_FS(sel) __asm__ volatile("movw %w0, %%fs" ::"r"(sel) : "memory")
#define READ_FS(off) TRY("movl %%fs:(%0), %%eax", ::"r"(off) : "eax", "memory")
#define WRITE_FS(off) TRY("movl %%eax, %%fs:(%0)", ::"r"(off) : "memory")

GUEST_TEST(limits_and_types)
{
	static uint8_t area[0x3000] __attribute__((aligned(4096)));
	uint32_t base = (uintptr_t)area;

	gdt[SEL_X / 8] = seg_desc(area, 0xfff, 0x93) | FLAG_B;
	LOAD_FS(SEL_X);
	READ_FS(0xffcU);
	CHECK_TRAP(NO_TRAP);
	READ_FS(0xffdU);
	CHECK_TRAP_ERR(GP, 0);
	READ_FS(0xffffffffU); /* wraps */
	CHECK_TRAP_ERR(GP, 0);
	/* Expand down, 32-bit: above the limit, to the top. */
	gdt[SEL_X / 8] = seg_desc(area, 0xfff, 0x97) | FLAG_B;
	LOAD_FS(SEL_X);
	READ_FS(0xfffU);
	CHECK_TRAP_ERR(GP, 0);
	READ_FS(0x1000U);
	CHECK_TRAP(NO_TRAP);
	READ_FS(0x1ffcU);
	CHECK_TRAP(NO_TRAP);
	/* 16-bit: to 64 KiB. */
	gdt[SEL_X / 8] = seg_desc((void *)(base - 0xe000), 0xfff, 0x97);
	LOAD_FS(SEL_X);
	READ_FS(0xfffcU);
	CHECK_TRAP(NO_TRAP);
	READ_FS(0xfffdU);
	CHECK_TRAP_ERR(GP, 0);
	gdt[SEL_X / 8] = seg_desc(area, 0xfff, 0x91) | FLAG_B; /* read-only */
	LOAD_FS(SEL_X);
	READ_FS(0U);
	CHECK_TRAP(NO_TRAP);
	WRITE_FS(0U);
	CHECK_TRAP_ERR(GP, 0);
	gdt[SEL_X / 8] = seg_desc(area, 0xfff, 0x9b) | FLAG_B; /* code, readable */
	LOAD_FS(SEL_X);
	READ_FS(0U);
	CHECK_TRAP(NO_TRAP);
	WRITE_FS(0U);
	CHECK_TRAP_ERR(GP, 0);
	gdt[SEL_X / 8] = seg_desc(area, 0xfff, 0x99) | FLAG_B; /* execute-only */
	TRY("movw %w0, %%fs", ::"r"(SEL_X));
	CHECK_TRAP_ERR(GP, SEL_X);
	LOAD_FS(0);
	READ_FS(0U);
	CHECK_TRAP_ERR(GP, 0);
}

__asm__(".pushsection .text\nuser_stack_limit: movl $0xffc, %ebp\n movl (%ebp), %eax\n incl %ebp\n"
	" movl (%ebp), %eax\n.popsection");
extern const char user_stack_limit[];

GUEST_TEST(stack_limits_are_stack_faults)
{
	const uint32_t frame[5] = { (uintptr_t)user_stack_limit, SEL_UCODE, 2, 0x800, SEL_X | 3 };

	gdt[SEL_X / 8] = seg_desc(stack3, 0xfff, 0xf3) | FLAG_B;
	CHECK_EQ(outer_enter(frame, 5), SS_);
	CHECK_EQ(trap.error, 0);
	CHECK_EQ(trap.rip, (uintptr_t)user_stack_limit + 9);
	CHECK_EQ(trap.rsp, 0x800);
}

/* ---- 16-bit code and real mode ---- */

#define LOW 0x10000 /* where 16-bit code is copied: real mode reaches it as 1000:0 */

static void *copy_low(const char *code, const char *end)
{
	uint8_t *to = (uint8_t *)LOW;

	while (code < end)
		*to++ = (uint8_t)*code++;
	return (void *)LOW;
}

volatile uint32_t seen16[8] __attribute__((used));
__asm__(".pushsection .text\n.code16\n"
	"prot16: movl $0x11223344, %eax\n pushw %ax\n movl %esp, %ebx\n pushl %eax\n movl %esp, %ecx\n"
	" addw $6, %sp\n movw $0xffff, %dx\n addw $1, %dx\n pushf\n popw %si\n lretl\n"
	"prot16_end: .code32\n"
	"call16: pusha\n movl %esp, %edi\n lcall *to_16\n movl %eax, seen16\n movl %ebx, seen16+4\n"
	" movl %ecx, seen16+8\n movzwl %si, %esi\n movl %esi, seen16+12\n movl %edi, seen16+16\n popa\n ret\n"
	".popsection");
extern const char prot16[], prot16_end[];
void call16(void);
struct far_ptr to_16 = { 0, SEL_X };

GUEST_TEST(sixteen_bit_protected_code)
{
	gdt[SEL_X / 8] = seg_desc(copy_low(prot16, prot16_end), 0xffff, 0x9b);
	call16();
	CHECK_EQ(seen16[0], 0x11223344);
	CHECK_EQ(seen16[1], seen16[4] - 8 - 2); /* the stack stays 32-bit */
	CHECK_EQ(seen16[2], seen16[4] - 8 - 6);
	CHECK_EQ(seen16[3] & 0x41, 0x41); /* CF, ZF of a 16-bit addition */
}

/*
 * Into real mode and back: vectors 0, 0x40 and 13 of the table at 0 lead to code that counts. DS is
 * 1000, the results lie at 0x800 there. FS keeps its 4 GiB limit.
 */
__asm__(".pushsection .text\n"
	"go_real: pusha\n sidt old_idt\n movl %esp, old_esp\n movw $0x38, %ax\n movw %ax, %ds\n ljmp $0x30, $real16 - real_code\n"
	"back32: movw $0x10, %ax\n movw %ax, %ds\n movw %ax, %es\n movw %ax, %ss\n movl old_esp, %esp\n"
	" lidt old_idt\n popa\n ret\n"
	".code16\n"
	"real_code:\n"
	"on_40: incw %ds:0x800\n iret\n"
	"on_de: incw %ds:0x802\n pushw %bp\n movw %sp, %bp\n addw $2, 2(%bp)\n popw %bp\n iret\n"
	"on_gp: incw %ds:0x804\n pushw %bp\n movw %sp, %bp\n movw 2(%bp), %ax\n movw %ax, %ds:0x806\n"
	" addw $3, 2(%bp)\n popw %bp\n iret\n"
	"real_idt: .word 0x3ff\n .long 0\n"
	"real16: movl %cr0, %eax\n andb $0xfe, %al\n movl %eax, %cr0\n ljmp $0x1000, $1f - real_code\n"
	"1: movw $0x1000, %ax\n movw %ax, %ds\n movw %ax, %es\n movw $0x2000, %ax\n movw %ax, %ss\n"
	" movl $0x1000, %esp\n lidtl real_idt - real_code\n"
	" int $0x40\n xorw %cx, %cx\n divw %cx\n"		      /* F7 F1: two bytes */
	" movw 0xffff, %ax\n"				      /* A1 FF FF: three bytes, over the limit */
	" movw $0x3000, %ax\n movw %ax, %fs\n movl $0xf0000, %ebx\n"  /* 4 GiB limit: over 64 KiB */
	" movb $0x77, %fs:(%ebx)\n"
	" pushf\n popw %ax\n movw %ax, %ds:0x808\n movw %sp, %ds:0x80a\n"
	" pushw %cs\n pushw $2f - real_code\n lret\n"
	"2: movw $0x55, %ds:0x80c\n"
	" movl %cr0, %eax\n orb $1, %al\n movl %eax, %cr0\n ljmpl $0x08, $back32\n"
	"real_end: .code32\n"
	".popsection");
void go_real(void);
extern const char real_code[], real_end[], on_40[], on_de[], on_gp[];
uint8_t old_idt[6];
uint32_t old_esp;

GUEST_TEST(real_mode_and_back)
{
	volatile uint16_t *ivt = (volatile uint16_t *)0, *out = (volatile uint16_t *)(LOW + 0x800);
	const char *const handlers[] = { on_40, on_de, on_gp };
	static const uint8_t vectors[] = { 0x40, 0, 13 };

	__asm__("" : "+r"(ivt)); /* address 0 it is */
	gdt[SEL_X / 8] = seg_desc(copy_low(real_code, real_end), 0xffff, 0x9b);
	gdt[SEL_Y / 8] = seg_desc(NULL, 0xffff, 0x93); /* DS takes its limit along */
	for (unsigned i = 0; i < 3; i++) {
		ivt[2 * vectors[i]] = (uint16_t)(handlers[i] - real_code);
		ivt[2 * vectors[i] + 1] = LOW >> 4;
	}
	for (unsigned i = 0; i < 8; i++)
		out[i] = 0;
	*(volatile uint8_t *)(0x30000 + 0xf0000) = 0;
	LOAD_FS(SEL_DATA);
	go_real();
	CHECK_EQ(out[0], 1);
	CHECK_EQ(out[1], 1);
	CHECK_EQ(out[2], 1);
	CHECK_EQ(out[4] & 0xf000, 0); /* IOPL and NT as they were */
	CHECK_EQ(out[5], 0x1000);
	CHECK_EQ(out[6], 0x55);
	CHECK_EQ(*(volatile uint8_t *)(0x30000 + 0xf0000), 0x77);
}

/* ---- PAE ---- */

GUEST_TEST(page_directory_pointers_are_checked)
{
	static uint64_t pdpt[4] __attribute__((aligned(32))), bad[4] __attribute__((aligned(32)));
	static uint64_t pd[2048] __attribute__((aligned(4096)));

	for (uint64_t i = 0; i < 2048; i++)
		pd[i] = i << 21 | 0x83;
	for (unsigned i = 0; i < 4; i++)
		bad[i] = pdpt[i] = ((uintptr_t)pd + i * 4096) | 1;
	WRITE_CR(4, READ_CR(4) | CR4_PAE);
	bad[2] |= 2; /* reserved */
	WRITE_CR(3, bad); /* nothing looks at it yet */
	TRY("movl %0, %%cr0", ::"r"(READ_CR(0) | CR0_PG) : "memory");
	CHECK_TRAP_ERR(GP, 0);
	CHECK(!(READ_CR(0) & CR0_PG));
	WRITE_CR(3, pdpt);
	WRITE_CR(0, READ_CR(0) | CR0_PG);
	TRY("movl %0, %%cr3", ::"r"(bad) : "memory");
	CHECK_TRAP_ERR(GP, 0);
	CHECK_EQ(READ_CR(3), (uintptr_t)pdpt);
	bad[2] = 0x8000000000000000; /* not present: nothing is checked */
	WRITE_CR(3, bad);
	TRY("movl 0x80000000, %%eax", ::: "eax");
	CHECK_TRAP_ERR(PF, 0);
}

const struct test_entry guest_tests[] = {
	ENTRY(call_gate_copies_parameters),
	ENTRY(call_gate_to_an_expand_down_stack),
	ENTRY(conforming_code_keeps_the_level),
	ENTRY(far_jumps_are_checked),
	ENTRY(data_segments_of_inner_levels_become_null),
	ENTRY(limits_and_types),
	ENTRY(stack_limits_are_stack_faults),
	ENTRY(sixteen_bit_protected_code),
	ENTRY(real_mode_and_back),
	ENTRY(page_directory_pointers_are_checked),
	{ 0 }
};
