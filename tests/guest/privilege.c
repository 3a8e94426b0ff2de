/* SPDX-License-Identifier: Apache-2.0 */
/* Transitions between rings and modes, and what ring 3 may not do. Ref: Intel SDM 3A 5, AMD APM 2 4. */
#include "lib/guest.h"

/* A piece of ring-3 code at file level; it ends by trapping. */
#define USER(name, text)                                                      \
	extern const char name[];                                             \
	__asm__(".pushsection .text\n.code64\n" #name ": " text "\n.popsection")
#define USER32(name, text)                                                            \
	extern const char name[];                                                     \
	__asm__(".pushsection .text\n.code32\n" #name ": " text "\n.code64\n.popsection")

static uint64_t seen_rax;

static void on_int80(struct trap_frame *f)
{
	seen_rax = f->rax;
	user_leave(0x80);
}

static void open_to_users(void)
{
	user_open();
	trap_handlers[0x80] = on_int80;
}

USER(u_int80, "movq $0x1234, %rax; int $0x80");
GUEST_TEST(iret_to_ring_3_and_int_back)
{
	open_to_users();
	CHECK_EQ(run_user(u_int80, FLAG_IF), 0x80);
	CHECK_EQ(seen_rax, 0x1234);
	CHECK_EQ(trap.cs, SEL_USER64);
	CHECK_EQ(trap.ss, SEL_UDATA);
	CHECK_EQ(trap.rsp, (uintptr_t)user_stack + sizeof(user_stack));
	CHECK_EQ(trap.rip, (uintptr_t)u_int80 + 9);
	CHECK(trap.rflags & FLAG_IF);
}

USER(u_int81, "int $0x81");
USER(u_hlt, "hlt");
USER(u_cli, "cli");
USER(u_in, "inb $0x80, %al");
USER(u_out, "outb %al, $0x80");
USER(u_ins, "movl $0x80, %edx; leaq user_stack(%rip), %rdi; insb");
USER(u_movcr, "movq %cr0, %rax");
USER(u_movdr, "movq %dr0, %rax");
USER(u_lgdt, "lgdt (%rsp)");
USER(u_rdmsr, "rdmsr");
USER(u_invlpg, "invlpg (%rsp)");
USER(u_wbinvd, "wbinvd");
USER(u_swapgs, "swapgs");
USER(u_clts, "clts");
USER(u_sysret, "sysretq");
USER(u_ltr, "ltr %ax");
GUEST_TEST(ring_3_may_not)
{
	static const char *const codes[] = { u_hlt,  u_cli,    u_in,	 u_out,	   u_ins,
					     u_movcr, u_movdr, u_lgdt,	 u_rdmsr,  u_invlpg,
					     u_wbinvd, u_swapgs, u_clts, u_sysret, u_ltr };

	open_to_users();
	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		trap.error = 99;
		if (run_user(codes[i], 0) != GP)
			guest_fail("ring_3_may_not", (int)i, "#GP", trap.vector, GP);
		CHECK_EQ(trap.error, 0);
	}
	CHECK_EQ(run_user(u_int81, 0), GP); /* the gate's DPL is 0 */
	CHECK_EQ(trap.error, 0x81 * 8 + 2);
}

USER(u_in_ok, "inb $0x80, %al; int $0x80");
USER(u_in_no, "inb $0x90, %al; int $0x80");
USER(u_cli_ok, "cli; sti; int $0x80");
GUEST_TEST(io_permission)
{
	static struct {
		struct tss tss;
		uint8_t map[33];
	} __attribute__((packed)) big;
	uint64_t t = (uintptr_t)&big;

	open_to_users();
	CHECK_EQ(run_user(u_in_ok, 0x3000), 0x80); /* IOPL 3 */
	CHECK_EQ(run_user(u_cli_ok, 0x3000), 0x80);
	CHECK_EQ(run_user(u_in_ok, 0x2000), GP);
	big.tss = tss;
	big.tss.iomap = sizeof(tss);
	for (unsigned i = 0; i < sizeof(big.map); i++)
		big.map[i] = 0xff;
	big.map[0x80 / 8] &= 0xfe; /* port 0x80 allowed */
	gdt[7] = (sizeof(big) - 1) | (t & 0xffffff) << 16 | 0x89ULL << 40 | (t >> 24 & 0xff) << 56;
	gdt[8] = t >> 32;
	__asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
	CHECK_EQ(run_user(u_in_ok, 0), 0x80);
	CHECK_EQ(run_user(u_in_no, 0), GP);
}

/* Called until they are translated, and longer. Each is "nop", then what ring 3 may not do. */
USER(hot_cli, "nop; cli; nop; sti; nop; pushfq; cli; popq %rax; ret");
USER(hot_sti, "nop; sti; pushfq; popq %rax; cli; ret");
USER(hot_swapgs, "nop; swapgs; rdgsbase %rax; swapgs; ret");
USER(hot_stac, "nop; stac; pushfq; popq %rax; clac; pushfq; popq %rdx; xorq %rdx, %rax; ret");
USER(hot_rdtsc, "nop; rdtsc; shlq $32, %rdx; orq %rdx, %rax; ret");
GUEST_TEST(translated_system_instructions)
{
	static const struct {
		const char *code;
		uint64_t vector;
	} codes[] = { { hot_cli, GP }, { hot_sti, GP }, { hot_swapgs, GP }, { hot_stac, UD },
		      { hot_rdtsc, GP } };
	uint64_t rax[5], tsc = 0;

	WRITE_CR(4, READ_CR(4) | 0x10000); /* FSGSBASE */
	wrmsr(0xc0000102, 0x123456789000);
	for (unsigned turn = 0; turn < 5000; turn++) {
		for (unsigned i = 0; i < 5; i++)
			__asm__ volatile("call *%1"
					 : "=a"(rax[i])
					 : "r"(codes[i].code)
					 : "rdx", "rcx", "memory", "cc");
		CHECK_EQ(rax[0] & FLAG_IF, FLAG_IF);
		CHECK_EQ(rax[1] & FLAG_IF, FLAG_IF);
		CHECK_EQ(rax[2], 0x123456789000);
		CHECK_EQ(rax[3], FLAG_AC);
		CHECK(rax[4] >= tsc);
		tsc = rax[4];
	}
	open_to_users();
	WRITE_CR(4, READ_CR(4) | 4); /* TSD */
	for (unsigned i = 0; i < 5; i++) {
		if (run_user(codes[i].code, 0) != codes[i].vector)
			guest_fail("translated", (int)i, "trap", trap.vector, codes[i].vector);
		CHECK_EQ(trap.rip, (uintptr_t)codes[i].code + 1);
	}
}

USER(u_popf, "pushfq; popq %rbx; xorq %rbx, %rbx; pushq $0x3fd7; popfq; pushfq; popq %rax; int $0x80");
GUEST_TEST(popf_in_ring_3_keeps_if_and_iopl)
{
	open_to_users();
	trap_handlers[DB] = NULL;
	CHECK_EQ(run_user(u_popf, FLAG_IF), DB); /* 0x3fd7 has TF: a trap after the next instruction */
	CHECK_EQ(trap.rflags & 0x3200, FLAG_IF);
}

USER(u_syscall, "movq $0x77, %rax; stc; syscall; ud2");
USER(u_after_sysret, "movq %rcx, %rax; int $0x80");
USER32(u32_after_sysret, "movl $0x32, %eax; int $0x80");
GUEST_TEST(syscall_saves_and_masks)
{
	open_to_users();
	wrmsr(0xc0000081, (uint64_t)0x23 << 48 | (uint64_t)SEL_CODE64 << 32);
	wrmsr(0xc0000082, (uintptr_t)syscall_entry);
	wrmsr(0xc0000084, FLAG_IF | FLAG_CF);
	CHECK_EQ(run_user(u_syscall, FLAG_IF), 0x1000);
	CHECK_EQ(syscall_seen[0], (uintptr_t)u_syscall + 10); /* RCX: behind it */
	CHECK_EQ(syscall_seen[1], FLAG_IF | FLAG_CF | 2);     /* R11: flags before the mask */
	CHECK_EQ(syscall_seen[2], (uintptr_t)user_stack + sizeof(user_stack)); /* RSP is the user's */
	CHECK_EQ(syscall_seen[3], 0x77);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~1ULL);
	CHECK_EQ(run_user(u_syscall, 0), UD);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
}

static void sysret_to(const char *code, bool to64)
{
	uint64_t rsp = (uintptr_t)user_stack + sizeof(user_stack);

	if (to64)
		__asm__ volatile("movq $0x202, %%r11; movq %1, %%rsp; sysretq" ::"c"(code), "a"(rsp) : "r11");
	else
		__asm__ volatile("movq $0x202, %%r11; movq %1, %%rsp; sysretl" ::"c"(code), "a"(rsp) : "r11");
}

static const char *next_code;
static bool next_is64;
static void on_int82(struct trap_frame *f)
{
	sysret_to(next_code, next_is64);
}

USER(u_int82, "int $0x82");
GUEST_TEST(sysret_to_64_and_32_bit)
{
	open_to_users();
	idt_set(0x82, 0, 0xee);
	trap_handlers[0x82] = on_int82;
	wrmsr(0xc0000081, (uint64_t)0x23 << 48 | (uint64_t)SEL_CODE64 << 32);
	next_code = u_after_sysret;
	next_is64 = true;
	CHECK_EQ(run_user(u_int82, 0), 0x80);
	CHECK_EQ(seen_rax, (uintptr_t)u_after_sysret);
	CHECK_EQ(trap.cs, SEL_USER64);
	CHECK_EQ(trap.ss, SEL_UDATA);
	CHECK(trap.rflags & FLAG_IF);
	next_code = u32_after_sysret;
	next_is64 = false;
	CHECK_EQ(run_user(u_int82, 0), 0x80);
	CHECK_EQ(seen_rax, 0x32);
	CHECK_EQ(trap.cs, SEL_USER32);
}

GUEST_TEST(ist_switches_the_stack)
{
	uint64_t top = (uintptr_t)page_alloc() + 4096, rsp;

	tss.ist[2] = top;
	idt_set(0x90, 3, 0x8e);
	TRY("movq %%rsp, %0\n\tint $0x90", : "=r"(rsp));
	CHECK_TRAP(0x90);
	CHECK_EQ(trap.rsp, rsp);
	CHECK_EQ(*(uint64_t *)(top - 8), SEL_DATA);  /* SS */
	CHECK_EQ(*(uint64_t *)(top - 16), rsp);
}

GUEST_TEST(interrupt_gate_clears_if_trap_gate_does_not)
{
	idt_set(0x91, 0, 0x8f);
	__asm__ volatile("sti");
	TRY("int $0x91", :);
	CHECK_TRAP(0x91);
	CHECK(trap.rflags & FLAG_IF);
	__asm__ volatile("cli");
}

USER32(u32_code, "movl $0x11223344, %eax; incl %eax; pushl %eax; popl %ebx; aam; movl %ebx, %eax; int $0x80");
USER32(u32_into, "movb $127, %al; addb $1, %al; into; nop");
USER32(u32_bound, "movl $0x2b, %eax; movl %eax, %ds; movl $5, %eax; boundl %eax, u32_bounds; nop");
USER32(u32_syscall64, "movl $0xffffffff, %eax; incl %eax; pushl $0; popfl; ud2");
uint32_t u32_bounds[2] __asm__("u32_bounds") = { 1, 4 };
USER32(u32_seg_limit, "movw $0x4b, %ax; movw %ax, %ds; movl 0x0ffc, %ecx; movl 0x0ffd, %ecx; nop");
USER32(u32_ss_limit, "movw $0x4b, %ax; movw %ax, %ss; movl $0x1001, %ebp; movl (%ebp), %ecx; nop");
GUEST_TEST(compatibility_mode)
{
	open_to_users();
	CHECK_EQ(run_user_cs(u32_code, 0, SEL_USER32), 0x80);
	CHECK_EQ(seen_rax, 0x11223345);
	CHECK_EQ(run_user_cs(u32_into, 0, SEL_USER32), GP); /* a software interrupt: the gate's DPL counts */
	CHECK_EQ(trap.error, OF * 8 + 2);
	idt_set(OF, 0, 0xee);
	CHECK_EQ(run_user_cs(u32_into, 0, SEL_USER32), OF);
	CHECK_EQ(trap.rip, (uintptr_t)u32_into + 5);
	CHECK_EQ(run_user_cs(u32_bound, 0, SEL_USER32), BR);
	CHECK_EQ(run_user_cs(u32_syscall64, 0, SEL_USER32), UD);
	gdt[9] = 0x0040f30000000fffULL; /* data, DPL 3, 4 KiB byte-granular */
	CHECK_EQ(run_user_cs(u32_seg_limit, 0, SEL_USER32), GP);
	CHECK_EQ(trap.error, 0);
	CHECK_EQ(trap.rip, (uintptr_t)u32_seg_limit + 12);
	CHECK_EQ(run_user_cs(u32_ss_limit, 0, SEL_USER32), SS_);
	CHECK_EQ(trap.error, 0);
}

USER(u_stack4, "pushq $0; pushq $0; movl 1(%rsp), %ecx; int $0x80");
GUEST_TEST(alignment_check_in_ring_3)
{
	open_to_users();
	CHECK_EQ(run_user(u_stack4, FLAG_AC), 0x80); /* CR0.AM off */
	WRITE_CR(0, READ_CR(0) | CR0_AM);
	CHECK_EQ(run_user(u_stack4, 0), 0x80); /* AC off */
	CHECK_EQ(run_user(u_stack4, FLAG_AC), AC);
	CHECK_EQ(trap.error, 0);
}

USER(u_load, "movabsq $0x8000000000, %rbx; movq (%rbx), %rax; int $0x80");
USER(u_store, "movabsq $0x8000000000, %rbx; movq %rax, (%rbx); int $0x80");
USER(u_jump, "movabsq $0x8000000000, %rbx; jmp *%rbx");
GUEST_TEST(page_faults_of_ring_3)
{
	uint64_t *pte = pte_at(PAGING_BASE, 1), page = (uintptr_t)page_alloc();

	open_to_users();
	CHECK_EQ(run_user(u_load, 0), PF);
	CHECK_EQ(trap.error, 4);
	CHECK_EQ(run_user(u_store, 0), PF);
	CHECK_EQ(trap.error, 6);
	CHECK_EQ(run_user(u_jump, 0), PF);
	CHECK_EQ(trap.error, 0x14);
	*pte = page | PTE_P | PTE_W; /* the supervisor's */
	CHECK_EQ(run_user(u_load, 0), PF);
	CHECK_EQ(trap.error, 5);
	CHECK_EQ(run_user(u_store, 0), PF);
	CHECK_EQ(trap.error, 7);
	CHECK_EQ(run_user(u_jump, 0), PF);
	CHECK_EQ(trap.error, 0x15);
	*pte = page | PTE_P | PTE_U | PTE_NX;
	CHECK_EQ(run_user(u_load, 0), 0x80);
	CHECK_EQ(run_user(u_store, 0), PF);
	CHECK_EQ(trap.error, 7);
	CHECK_EQ(run_user(u_jump, 0), PF);
	CHECK_EQ(trap.error, 0x15);
	/* ring 0 touched it first: its rights must not leak to ring 3 */
	*pte = page | PTE_P | PTE_W;
	invlpg((void *)PAGING_BASE);
	*(volatile uint64_t *)PAGING_BASE = 1;
	CHECK_EQ(run_user(u_load, 0), PF);
	CHECK_EQ(trap.error, 5);
}

USER(u_rdtsc, "rdtsc; int $0x80");
GUEST_TEST(tsd_hides_the_tsc)
{
	open_to_users();
	CHECK_EQ(run_user(u_rdtsc, 0), 0x80);
	WRITE_CR(4, READ_CR(4) | 4);
	CHECK_EQ(run_user(u_rdtsc, 0), GP);
	(void)rdtsc();
}

USER(u_fsbase, "movabsq $0x123456789000, %rax; wrfsbase %rax; xorl %eax, %eax; rdfsbase %rax; int $0x80");
GUEST_TEST(fsgsbase_and_swapgs)
{
	open_to_users();
	CHECK_EQ(run_user(u_fsbase, 0), UD); /* CR4.FSGSBASE off */
	wrmsr(0xc0000101, 0x1111);
	wrmsr(0xc0000102, 0x2222);
	__asm__ volatile("swapgs");
	CHECK_EQ(rdmsr(0xc0000101), 0x2222);
	CHECK_EQ(rdmsr(0xc0000102), 0x1111);
	if (!(cpuid(7, 0).ebx & 1))
		return;
	WRITE_CR(4, READ_CR(4) | 0x10000);
	CHECK_EQ(run_user(u_fsbase, 0), 0x80);
	CHECK_EQ(seen_rax, 0x123456789000);
	CHECK_EQ(rdmsr(0xc0000100), 0x123456789000);
	TRY("movabsq $0x8000000000000000, %%rax\n\twrgsbase %%rax", ::: "rax");
	CHECK_TRAP_ERR(GP, 0);
}

GUEST_TEST(iret_refuses)
{
	/* To a data segment as CS, to a null SS in ring 3, to a non-canonical RIP. */
	TRY("movq %%rsp, %%rbx\n\tpushq $0x10\n\tpushq %%rbx\n\tpushfq\n\tpushq $0x10\n\tpushq $0\n\tiretq\n"
	    "9:\tmovq %%rbx, %%rsp", ::: "rbx");
	CHECK_TRAP_ERR(GP, 0x10);
	TRY("movq %%rsp, %%rbx\n\tpushq $3\n\tpushq %%rbx\n\tpushfq\n\tpushq $0x33\n\tpushq $0\n\tiretq\n"
	    "9:\tmovq %%rbx, %%rsp", ::: "rbx");
	CHECK_TRAP_ERR(GP, 0);
	TRY("movq %%rsp, %%rbx\n\tpushq $0x10\n\tpushq %%rbx\n\tpushfq\n\tpushq $8\n\tmovabsq $0x8000000000000000, %%rax\n\t"
	    "pushq %%rax\n\tiretq\n9:\tmovq %%rbx, %%rsp", ::: "rax", "rbx");
	CHECK_TRAP_ERR(GP, 0);
}

GUEST_TEST(null_ss_in_ring_0_is_fine_after_iret)
{
	uint64_t ss;

	__asm__ volatile("movq %%rsp, %%rbx; pushq $0; pushq %%rbx; pushfq; pushq $8; leaq 1f(%%rip), %%rax; pushq %%rax; iretq\n"
			 "1:\tmovq %%ss, %0\n\tmovw $0x10, %%ax\n\tmovw %%ax, %%ss"
			 : "=r"(ss)::"rax", "rbx");
	CHECK_EQ(ss & 0xffff, 0);
}

const struct test_entry guest_tests[] = {
	ENTRY(iret_to_ring_3_and_int_back),
	ENTRY(ring_3_may_not),
	ENTRY(io_permission),
	ENTRY(translated_system_instructions),
	ENTRY(popf_in_ring_3_keeps_if_and_iopl),
	ENTRY(syscall_saves_and_masks),
	ENTRY(sysret_to_64_and_32_bit),
	ENTRY(ist_switches_the_stack),
	ENTRY(interrupt_gate_clears_if_trap_gate_does_not),
	ENTRY(compatibility_mode),
	ENTRY(alignment_check_in_ring_3),
	ENTRY(page_faults_of_ring_3),
	ENTRY(tsd_hides_the_tsc),
	ENTRY(fsgsbase_and_swapgs),
	ENTRY(iret_refuses),
	ENTRY(null_ss_in_ring_0_is_fine_after_iret),
	{ 0 },
};
