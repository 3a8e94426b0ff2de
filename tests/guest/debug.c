/* SPDX-License-Identifier: Apache-2.0 */
/* Single step, debug registers, shadows. Ref: Intel SDM 3B 17. */
#include "lib/guest.h"

#define MAX_STEPS 64
static volatile uint64_t steps[MAX_STEPS], dr6s[MAX_STEPS];
static volatile unsigned n_steps;

static void on_debug(struct trap_frame *f)
{
	if (n_steps < MAX_STEPS) {
		steps[n_steps] = f->rip;
		dr6s[n_steps++] = READ_DR(6);
	}
	if (READ_DR(6) & 1)
		f->rflags |= FLAG_RF;
	WRITE_DR(6, 0xffff0ff0);
}

static void start(void)
{
	n_steps = 0;
	trap_handlers[DB] = on_debug;
	WRITE_DR(6, 0xffff0ff0);
}

#define SET_TF	 "pushfq; orl $0x100, (%%rsp); popfq\n\t"
#define CLEAR_TF "pushfq; andl $~0x100, (%%rsp); popfq\n\t"

GUEST_TEST(single_step_traps_after_each_instruction)
{
	uint64_t begin;

	start();
	__asm__ volatile(SET_TF "1: nop\n2: movl $5, %%eax\n3: addl $6, %%eax\n4: " CLEAR_TF
				"leaq 1b(%%rip), %0"
			 : "=b"(begin)::"rax");
	CHECK_EQ(n_steps, 6); /* nop mov add pushf and popf (which was begun with TF set) */
	CHECK_EQ(steps[0], begin + 1);
	CHECK_EQ(steps[1], begin + 6);
	CHECK_EQ(dr6s[0] & 0x400f, 0x4000);
}

GUEST_TEST(single_step_of_rep_traps_each_iteration)
{
	static uint8_t buf[8];

	start();
	__asm__ volatile(SET_TF "rep stosb\n\t" CLEAR_TF ::"D"(buf), "c"(5), "a"(7) : "memory");
	CHECK_EQ(n_steps, 5 + 3);
	CHECK_EQ(steps[0], steps[3]);
	CHECK_EQ(buf[4], 7);
	CHECK_EQ(buf[5], 0);
}

GUEST_TEST(single_step_into_an_interrupt_and_back)
{
	/* The handler runs without TF; the trap for INT itself is not taken inside. */
	start();
	TRY(SET_TF "int $0x90\n\tnop\n\t", :);
	CHECK_TRAP(0x90);
	CHECK_EQ(trap.rflags & FLAG_TF, FLAG_TF); /* saved image */
	__asm__ volatile(CLEAR_TF "" ::);
	CHECK_EQ(n_steps, 0);
}

GUEST_TEST(mov_ss_delays_the_single_step)
{
	start();
	__asm__ volatile("movw %%ss, %%ax\n\t" SET_TF
			 "movw %%ax, %%ss\n\tnop\n\tnop\n\t" CLEAR_TF ::
				 : "rax");
	CHECK_EQ(n_steps, 5); /* not between MOV SS and the NOP behind it */
}

GUEST_TEST(icebp)
{
	uint64_t rip;

	start();
	__asm__ volatile("leaq 1f(%%rip), %0\n\t.byte 0xf1\n1:" : "=r"(rip));
	CHECK_EQ(n_steps, 1);
	CHECK_EQ(steps[0], rip);
}

GUEST_TEST(execution_breakpoint_faults_before_and_rf_passes_it)
{
	uint64_t count = 0;

	start();
	trap_handlers[DB] = NULL;
	__asm__ volatile(
		"leaq 1f(%%rip), %%rax\n\tmovq %%rax, %%dr0\n\tmovq $0x402, %%rax\n\tmovq %%rax, "
		"%%dr7\n\t"
		"movq $2f, trap_resume\n\tmovq $0x1ff, trap\n\t"
		"1: incq %0\n2: movq $0, trap_resume\n\txorl %%eax, %%eax\n\tmovq %%rax, %%dr7"
		: "+b"(count)::"rax");
	CHECK_TRAP(DB);
	CHECK_EQ(count, 0); /* before the instruction */
	CHECK_EQ(READ_DR(6) & 0x400f, 1);
	CHECK_EQ(trap.rflags & FLAG_RF,
		 0); /* SDM 17.3.1.1: the one fault that does not push RF as 1 */
	start();
	WRITE_DR(7, 0x402);
	__asm__ volatile("leaq 1f(%%rip), %%rax\n\tmovq %%rax, %%dr0\n\t1: incq %0"
			 : "+b"(count)::"rax");
	WRITE_DR(7, 0);
	CHECK_EQ(n_steps, 1); /* on_debug() has set RF in the saved flags: the IRET goes past it */
	CHECK_EQ(count, 1);
}

GUEST_TEST(data_breakpoints)
{
	static volatile uint64_t watched, beside;
	uint64_t v;

	start();
	WRITE_DR(1, (uintptr_t)&watched);
	WRITE_DR(7, 0x400 | 0xc | 0x900000); /* slot 1, local and global: write, 8 bytes (10b) */
	v = watched;
	CHECK_EQ(n_steps, 0); /* a read does not hit a write watch */
	beside = 1;
	CHECK_EQ(n_steps, 0);
	watched = 3;
	__asm__ volatile("" ::: "memory");
	CHECK_EQ(n_steps, 1);
	CHECK_EQ(dr6s[0] & 0xf, 2);
	CHECK_EQ(watched, 3); /* a trap: the write is done */
	((volatile uint8_t *)&watched)[7] = 9;
	CHECK_EQ(n_steps, 2);		     /* any byte of it */
	WRITE_DR(7, 0x400 | 0xc | 0xb00000); /* read or write */
	v += watched;
	CHECK_EQ(n_steps, 3);
	WRITE_DR(7, 0);
	watched = v;
	CHECK_EQ(n_steps, 3);
	(void)beside;
}

GUEST_TEST(general_detect)
{
	start();
	trap_handlers[DB] = NULL;
	WRITE_DR(7, 0x2400);
	TRY("movq %%dr0, %%rax", ::: "rax");
	CHECK_TRAP(DB);
	CHECK_EQ(READ_DR(6) & 0x2000, 0x2000); /* GD was cleared on delivery: this is allowed */
	WRITE_DR(7, 0);
	WRITE_CR(4, READ_CR(4) | 8); /* DE: DR4 and DR5 are gone */
	TRY("movq %%dr4, %%rax", ::: "rax");
	CHECK_TRAP(UD);
}

GUEST_TEST(debug_registers_hold_and_refuse)
{
	WRITE_DR(0, 0x123456789abcULL);
	WRITE_DR(3, 0x7777);
	CHECK_EQ(READ_DR(0), 0x123456789abcULL);
	CHECK_EQ(READ_DR(3), 0x7777);
	TRY("movq %0, %%dr7", ::"r"(1ULL << 32));
	CHECK_TRAP_ERR(GP, 0);
	TRY("movq %0, %%dr6", ::"r"(1ULL << 32));
	CHECK_TRAP_ERR(GP, 0);
}

const struct test_entry guest_tests[] = {
	ENTRY(single_step_traps_after_each_instruction),
	ENTRY(single_step_of_rep_traps_each_iteration),
	ENTRY(single_step_into_an_interrupt_and_back),
	ENTRY(mov_ss_delays_the_single_step),
	ENTRY(icebp),
	ENTRY(execution_breakpoint_faults_before_and_rf_passes_it),
	ENTRY(data_breakpoints),
	ENTRY(general_detect),
	ENTRY(debug_registers_hold_and_refuse),
	{ 0 },
};
