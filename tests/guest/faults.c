/* SPDX-License-Identifier: Apache-2.0 */
/* Every exception that an instruction can raise in ring 0, with its error code. Ref: Intel SDM 3A 6.15. */
#include "lib/guest.h"

#define NON_CANONICAL "$0x8000000000000000"

GUEST_TEST(divide_error)
{
	uint64_t rip;

	TRY("xorl %%ecx, %%ecx\n\tmovl $1, %%eax\n\txorl %%edx, %%edx\n\tleaq 1f(%%rip), %%rbx\n1:\tdivl %%ecx",
	    : "=b"(rip)::"rax", "rcx", "rdx");
	CHECK_TRAP(DE);
	CHECK_EQ(trap.rip, rip); /* a fault: RIP of the instruction */
	TRY("movq $-1, %%rcx\n\tmovabsq $0x8000000000000000, %%rax\n\tcqto\n\tidivq %%rcx", ::
		    : "rax", "rcx", "rdx");
	CHECK_TRAP(DE);
	TRY("movw $0x100, %%ax\n\tmovb $1, %%cl\n\tdivb %%cl", ::: "rax", "rcx");
	CHECK_TRAP(DE);
	TRY("movb $0, %%cl\n\tmovw $-32768, %%ax\n\tmovb $-1, %%cl\n\tidivb %%cl", ::: "rax", "rcx");
	CHECK_TRAP(DE);
}

GUEST_TEST(breakpoint_and_int_n)
{
	uint64_t rip;

	TRY("leaq 1f(%%rip), %%rbx\n\tint3\n1:\tnop", : "=b"(rip));
	CHECK_TRAP_ERR(BP, 0);
	CHECK_EQ(trap.rip, rip); /* a trap: behind the instruction */
	TRY("leaq 1f(%%rip), %%rbx\n\tint $0x80\n1:\tnop", : "=b"(rip));
	CHECK_TRAP(0x80);
	CHECK_EQ(trap.rip, rip);
	idt[0x81].attr = 0x0e; /* not present */
	TRY("int $0x81", :);
	CHECK_TRAP_ERR(NP, 0x81 * 8 + 2);
	idt[0x81].attr = 0x8c; /* a call gate in the IDT */
	TRY("int $0x81", :);
	CHECK_TRAP_ERR(GP, 0x81 * 8 + 2);
	idt_set(0x81, 0, 0x8e);
	idt[0x81].sel = 0;
	TRY("int $0x81", :);
	CHECK_TRAP_ERR(GP, 0);
	idt[0x81].sel = SEL_DATA;
	TRY("int $0x81", :);
	CHECK_TRAP_ERR(GP, SEL_DATA);
}

GUEST_TEST(invalid_opcode)
{
	TRY("ud2", :);
	CHECK_TRAP_ERR(UD, 0);
	TRY(".byte 0x06", :); /* push es: not in 64-bit mode */
	CHECK_TRAP(UD);
	TRY(".byte 0x27", :); /* daa */
	CHECK_TRAP(UD);
	TRY(".byte 0xce", :); /* into */
	CHECK_TRAP(UD);
	TRY(".byte 0xf0, 0x90", :); /* lock nop */
	CHECK_TRAP(UD);
	TRY(".byte 0xf0, 0x01, 0xc8", :); /* lock add eax, ecx: register destination */
	CHECK_TRAP(UD);
	TRY(".byte 0xf0, 0x8b, 0x04, 0x24", :); /* lock mov */
	CHECK_TRAP(UD);
	TRY(".byte 0x8e, 0xc8", :); /* mov cs, eax */
	CHECK_TRAP(UD);
	TRY(".byte 0x8d, 0xc0", :); /* lea with a register */
	CHECK_TRAP(UD);
	TRY(".byte 0x0f, 0xff, 0xc0", :); /* ud0 */
	CHECK_TRAP(UD);
	TRY(".byte 0x0f, 0x20, 0xc8", :); /* mov eax, cr1 */
	CHECK_TRAP(UD);
	TRY(".byte 0xd6", :); /* salc: not in 64-bit mode */
	CHECK_TRAP(UD);
}

GUEST_TEST(too_long_an_instruction)
{
	TRY(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90", :);
	CHECK_TRAP_ERR(GP, 0);
}

GUEST_TEST(device_not_available)
{
	WRITE_CR(0, READ_CR(0) | CR0_TS);
	TRY("fninit", :);
	CHECK_TRAP_ERR(NM, 0);
	TRY("pxor %%xmm0, %%xmm0", :);
	CHECK_TRAP(NM);
	TRY("fwait", :); /* TS with MP */
	CHECK_TRAP(NM);
	__asm__ volatile("clts");
	CHECK_EQ(READ_CR(0) & CR0_TS, 0);
	TRY("fninit; pxor %%xmm0, %%xmm0", :);
	CHECK_TRAP(NO_TRAP);
	WRITE_CR(0, READ_CR(0) | CR0_EM);
	TRY("fninit", :);
	CHECK_TRAP(NM);
	TRY("pxor %%xmm0, %%xmm0", :);
	CHECK_TRAP(UD); /* SSE with EM is an invalid opcode */
	WRITE_CR(0, READ_CR(0) & ~(uint64_t)CR0_EM);
}

GUEST_TEST(sse_without_osfxsr)
{
	WRITE_CR(4, READ_CR(4) & ~0x200ULL);
	TRY("pxor %%xmm0, %%xmm0", :);
	CHECK_TRAP(UD);
	WRITE_CR(4, READ_CR(4) | 0x200);
	TRY("pxor %%xmm0, %%xmm0", :);
	CHECK_TRAP(NO_TRAP);
}

GUEST_TEST(general_protection)
{
	TRY("movabsq " NON_CANONICAL ", %%rax\n\tmovq (%%rax), %%rcx", ::: "rax", "rcx");
	CHECK_TRAP_ERR(GP, 0);
	TRY("movabsq " NON_CANONICAL ", %%rax\n\tjmp *%%rax", ::: "rax");
	CHECK_TRAP_ERR(GP, 0);
	TRY("movl $0x28c, %%ecx\n\trdmsr", ::: "rax", "rcx", "rdx");
	CHECK_TRAP_ERR(GP, 0);
	TRY("movl $0xdeadbee, %%ecx\n\trdmsr", ::: "rax", "rcx", "rdx");
	CHECK_TRAP_ERR(GP, 0);
	TRY("movl $0xc0000082, %%ecx\n\tmovl $0x80000000, %%edx\n\txorl %%eax, %%eax\n\twrmsr", ::
		    : "rax", "rcx", "rdx"); /* non-canonical LSTAR */
	CHECK_TRAP_ERR(GP, 0);
	TRY("movq %0, %%cr0", ::"r"(READ_CR(0) & ~1ULL)); /* PG without PE */
	CHECK_TRAP_ERR(GP, 0);
	TRY("movq %0, %%cr4", ::"r"(READ_CR(4) & ~0x20ULL)); /* PAE off in long mode */
	CHECK_TRAP_ERR(GP, 0);
	TRY("movq %0, %%cr4", ::"r"(READ_CR(4) | 1ULL << 40));
	CHECK_TRAP_ERR(GP, 0);
	TRY("movq %0, %%cr8", ::"r"(0x10ULL));
	CHECK_TRAP_ERR(GP, 0);
}

GUEST_TEST(selector_faults)
{
	TRY("movw %w0, %%ds", ::"r"(0x1000)); /* beyond the GDT */
	CHECK_TRAP_ERR(GP, 0x1000);
	TRY("movw %w0, %%ds", ::"r"(0x1007)); /* the LDT, which is null */
	CHECK_TRAP_ERR(GP, 0x1004);
	gdt[9] = 0x00cf13000000ffff; /* data, not present */
	TRY("movw %w0, %%ds", ::"r"(SEL_FREE));
	CHECK_TRAP_ERR(NP, SEL_FREE);
	TRY("movw %w0, %%ss", ::"r"(SEL_FREE));
	CHECK_TRAP_ERR(SS_, SEL_FREE);
	TRY("movw %w0, %%ss", ::"r"(SEL_CODE64));
	CHECK_TRAP_ERR(GP, SEL_CODE64);
	TRY("movw %w0, %%ss", ::"r"(SEL_UDATA)); /* DPL 3 at CPL 0 */
	CHECK_TRAP_ERR(GP, SEL_UDATA & ~3);
	TRY("movw %w0, %%es", ::"r"(SEL_TSS)); /* a system descriptor */
	CHECK_TRAP_ERR(GP, SEL_TSS);
	TRY("ltr %w0", ::"r"(SEL_TSS)); /* busy already */
	CHECK_TRAP_ERR(GP, SEL_TSS);
	TRY("ltr %w0", ::"r"(0));
	CHECK_TRAP_ERR(GP, 0);
	TRY("lldt %w0", ::"r"(SEL_DATA));
	CHECK_TRAP_ERR(GP, SEL_DATA);
	TRY("lldt %w0", ::"r"(0));
	CHECK_TRAP(NO_TRAP);
	TRY("movw %w0, %%ds\n\tmovw %w0, %%es", ::"r"(0));
	CHECK_TRAP(NO_TRAP); /* null data selectors are fine in 64-bit mode */
}

GUEST_TEST(stack_fault_for_non_canonical_rsp)
{
	idt_set(SS_, 1, 0x8e); /* the stack is unusable: take it on an IST stack */
	tss.ist[0] = (uintptr_t)page_alloc() + 4096;
	TRY("movq %%rsp, %%rbx\n\tmovabsq " NON_CANONICAL ", %%rsp\n\tpushq %%rax\n"
	    "9:\tmovq %%rbx, %%rsp", ::: "rbx");
	CHECK_TRAP_ERR(SS_, 0);
}

GUEST_TEST(page_fault_codes)
{
	volatile uint64_t *p = (void *)PAGING_BASE;
	uint64_t *pte = pte_at(PAGING_BASE, 1);
	uint64_t page = (uintptr_t)page_alloc();

	TRY("movq (%0), %%rax", ::"r"(p) : "rax");
	CHECK_TRAP_ERR(PF, 0);
	CHECK_EQ(trap.cr2, PAGING_BASE);
	TRY("movq %%rax, 0x18(%0)", ::"r"(p) : "rax");
	CHECK_TRAP_ERR(PF, 2);
	CHECK_EQ(trap.cr2, PAGING_BASE + 0x18);
	*pte = page | PTE_P;
	invlpg((void *)p);
	TRY("movq (%0), %%rax", ::"r"(p) : "rax");
	CHECK_TRAP(NO_TRAP);
	TRY("movq %%rax, (%0)", ::"r"(p) : "rax");
	CHECK_TRAP_ERR(PF, 3); /* write to a read-only page, CR0.WP */
	*pte = page | PTE_P | PTE_W | PTE_NX;
	invlpg((void *)p);
	TRY("movq %%rax, (%0)", ::"r"(p) : "rax");
	CHECK_TRAP(NO_TRAP);
	TRY("jmp *%0", ::"r"(p));
	CHECK_TRAP_ERR(PF, 0x11); /* fetch from a no-execute page */
	CHECK_EQ(trap.cr2, PAGING_BASE);
	CHECK_EQ(trap.rip, PAGING_BASE);
	*pte = page | PTE_P | PTE_W | 1ULL << 51; /* reserved: beyond the physical address width */
	invlpg((void *)p);
	TRY("movq (%0), %%rax", ::"r"(p) : "rax");
	CHECK_TRAP_ERR(PF, 9);
	*pte = 0;
	invlpg((void *)p);
	TRY("jmp *%0", ::"r"(p));
	CHECK_TRAP_ERR(PF, 0x10);
}

GUEST_TEST(write_protect_off_lets_ring_0_write)
{
	volatile uint64_t *p = (void *)PAGING_BASE;

	*pte_at(PAGING_BASE, 1) = (uintptr_t)page_alloc() | PTE_P;
	WRITE_CR(0, READ_CR(0) & ~(uint64_t)CR0_WP);
	*p = 77;
	CHECK_EQ(*p, 77);
	WRITE_CR(0, READ_CR(0) | CR0_WP);
	TRY("movq %%rax, (%0)", ::"r"(p) : "rax");
	CHECK_TRAP_ERR(PF, 3);
}

GUEST_TEST(x87_and_sse_exceptions)
{
	uint16_t cw = 0x037b; /* zero-divide unmasked */
	uint32_t mxcsr = 0x1d80;
	static double one = 1.0, zero = 0.0;

	TRY("fninit\n\tfldcw %0\n\tfld1\n\tfldz\n\tfdivrp\n\tnop", ::"m"(cw));
	CHECK_TRAP(NO_TRAP); /* pending until the next waiting x87 instruction */
	TRY("fwait", :);
	CHECK_TRAP_ERR(MF, 0);
	TRY("fnclex\n\tfwait", :);
	CHECK_TRAP(NO_TRAP);
	TRY("ldmxcsr %0\n\tmovsd %1, %%xmm1\n\tdivsd %2, %%xmm1", ::"m"(mxcsr), "m"(one), "m"(zero));
	CHECK_TRAP_ERR(XM, 0);
	mxcsr = 0x1f80;
	TRY("ldmxcsr %0\n\tmovsd %1, %%xmm1\n\tdivsd %2, %%xmm1", ::"m"(mxcsr), "m"(one), "m"(zero));
	CHECK_TRAP(NO_TRAP);
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	CHECK_EQ(mxcsr, 0x1f84);
	mxcsr = 0x10000;
	TRY("ldmxcsr %0", ::"m"(mxcsr));
	CHECK_TRAP_ERR(GP, 0);
}

GUEST_TEST(misaligned_sse_operand)
{
	static uint8_t buf[64] __attribute__((aligned(16)));

	TRY("movaps %0, %%xmm0", ::"m"(buf[1]));
	CHECK_TRAP_ERR(GP, 0);
	TRY("paddb %0, %%xmm0", ::"m"(buf[8]));
	CHECK_TRAP_ERR(GP, 0);
	TRY("movups %0, %%xmm0\n\tmovaps %1, %%xmm0", ::"m"(buf[1]), "m"(buf[16]));
	CHECK_TRAP(NO_TRAP);
	TRY("cmpxchg16b %0", ::"m"(buf[8]) : "rax", "rdx");
	CHECK_TRAP_ERR(GP, 0);
}

GUEST_TEST(double_fault_when_the_handler_cannot_be_reached)
{
	idt_set(DF, 1, 0x8e);
	tss.ist[0] = (uintptr_t)page_alloc() + 4096;
	idt[GP].attr = 0; /* #GP leads to #NP: contributory twice */
	TRY("movabsq " NON_CANONICAL ", %%rax\n\tmovq (%%rax), %%rcx", ::: "rax", "rcx");
	CHECK_TRAP_ERR(DF, 0);
}

GUEST_TEST(page_fault_during_page_fault_is_double)
{
	idt_set(DF, 1, 0x8e);
	tss.ist[0] = (uintptr_t)page_alloc() + 4096;
	idt_set(PF, 2, 0x8e);
	tss.ist[1] = PAGING_BASE + 0x4000; /* unmapped stack */
	TRY("movq (%0), %%rax", ::"r"(PAGING_BASE) : "rax");
	CHECK_TRAP_ERR(DF, 0);
}

GUEST_TEST(nothing_changes_when_an_instruction_faults)
{
	uint64_t *last = (void *)(PAGING_BASE + 0xff8), kept;

	*pte_at(PAGING_BASE, 1) = (uintptr_t)page_alloc() | PTE_P | PTE_W;
	*last = 0x1111111111111111;
	TRY("movq %1, 4(%0)", ::"r"(last), "r"(-1ULL)); /* crosses into an unmapped page */
	CHECK_TRAP_ERR(PF, 2);
	CHECK_EQ(trap.cr2, PAGING_BASE + 0x1000);
	CHECK_EQ(*last, 0x1111111111111111);
	/* A flag-setting operation whose memory operand faults leaves the flags and the register. */
	TRY("movl $5, %%eax\n\tcmpl $5, %%eax\n\taddq (%1), %%rax\n9:\tmovq %%rax, %0",
	    : "=b"(kept)
	    : "r"(PAGING_BASE + 0x1000)
	    : "rax");
	CHECK_TRAP_ERR(PF, 0);
	CHECK_EQ(trap.rflags & 0x8d5, 0x44); /* of the compare: ZF PF */
	CHECK_EQ(kept, 5);
	/* A push that faults leaves RSP. */
	TRY("movq %%rsp, %0\n\tpushq (%1)", : "=&b"(kept) : "r"(PAGING_BASE + 0x1000));
	CHECK_TRAP_ERR(PF, 0);
	CHECK_EQ(trap.rsp, kept);
}

GUEST_TEST(string_copy_stops_at_the_fault)
{
	uint64_t left, at;

	*pte_at(PAGING_BASE, 1) = (uintptr_t)page_alloc() | PTE_P | PTE_W;
	TRY("rep stosb\n9:", : "=c"(left), "=D"(at) : "c"(100), "D"(PAGING_BASE + 0xfe0), "a"(0x5a));
	CHECK_TRAP_ERR(PF, 2);
	CHECK_EQ(left, 100 - 32);
	CHECK_EQ(at, PAGING_BASE + 0x1000);
	CHECK_EQ(trap.cr2, PAGING_BASE + 0x1000);
	CHECK_EQ(*(uint8_t *)(PAGING_BASE + 0xfff), 0x5a);
}

const struct test_entry guest_tests[] = {
	ENTRY(divide_error),
	ENTRY(breakpoint_and_int_n),
	ENTRY(invalid_opcode),
	ENTRY(too_long_an_instruction),
	ENTRY(device_not_available),
	ENTRY(sse_without_osfxsr),
	ENTRY(general_protection),
	ENTRY(selector_faults),
	ENTRY(stack_fault_for_non_canonical_rsp),
	ENTRY(page_fault_codes),
	ENTRY(write_protect_off_lets_ring_0_write),
	ENTRY(x87_and_sse_exceptions),
	ENTRY(misaligned_sse_operand),
	ENTRY(double_fault_when_the_handler_cannot_be_reached),
	ENTRY(page_fault_during_page_fault_is_double),
	ENTRY(nothing_changes_when_an_instruction_faults),
	ENTRY(string_copy_stops_at_the_fault),
	{ 0 },
};
