/* SPDX-License-Identifier: Apache-2.0 */
/* Local APIC, IOAPIC, timers, shadows, interrupts at every instruction. Ref: Intel SDM 3A 10. */
#include "lib/guest.h"

#define APIC_ID	     0x20
#define APIC_VERSION 0x30
#define APIC_TPR     0x80
#define APIC_PPR     0xa0
#define APIC_SVR     0xf0
#define APIC_ISR     0x100
#define APIC_IRR     0x200
#define APIC_ESR     0x280
#define APIC_ICR     0x300
#define APIC_LVT_TIMER 0x320
#define APIC_TMICT   0x380
#define APIC_TMCCT   0x390
#define APIC_TDCR    0x3e0
#define APIC_SELF    0x3f0
#define MSR_TSC_DEADLINE 0x6e0

static volatile unsigned n_ticks;
static volatile uint64_t order[16];
static volatile unsigned n_order;

static void on_irq(struct trap_frame *f)
{
	if (n_order < 16)
		order[n_order] = f->vector;
	n_order++;
	n_ticks++;
	apic_write(APIC_EOI, 0);
}

static void apic_setup(void)
{
	apic_enable();
	for (unsigned v = 0x20; v < 0x100; v++)
		trap_handlers[v] = on_irq;
	n_ticks = n_order = 0;
}

static void self_ipi(unsigned vector)
{
	apic_icr(0, 0x44000 | vector);
}

static bool wait_ticks(unsigned n)
{
	for (uint64_t end = rdtsc() + 10000000000ULL; n_ticks < n;) {
		if (rdtsc() > end)
			return false;
		cpu_relax();
	}
	return true;
}

GUEST_TEST(priorities_order_pending_interrupts)
{
	apic_setup();
	self_ipi(0x31);
	self_ipi(0x52);
	self_ipi(0x45);
	self_ipi(0x45); /* once pending is once */
	CHECK_EQ(apic_read(APIC_IRR + 0x10), 1 << 17);
	__asm__ volatile("sti; nop; cli");
	CHECK_EQ(n_order, 3);
	CHECK_EQ(order[0], 0x52);
	CHECK_EQ(order[1], 0x45);
	CHECK_EQ(order[2], 0x31);
}

static void on_nested(struct trap_frame *f)
{
	order[n_order++] = f->vector;
	if (f->vector == 0x40) {
		self_ipi(0x42); /* same class: must wait for EOI */
		self_ipi(0x61); /* higher class: comes at once */
		__asm__ volatile("sti; nop; nop; cli");
		order[n_order++] = 1;
		CHECK_EQ(apic_read(APIC_PPR) >> 4, 4);
	}
	apic_write(APIC_EOI, 0);
}

GUEST_TEST(higher_class_nests_same_class_waits)
{
	apic_setup();
	trap_handlers[0x40] = trap_handlers[0x42] = trap_handlers[0x61] = on_nested;
	self_ipi(0x40);
	__asm__ volatile("sti; nop; nop; cli");
	CHECK_EQ(n_order, 4);
	CHECK_EQ(order[0], 0x40);
	CHECK_EQ(order[1], 0x61);
	CHECK_EQ(order[2], 1);
	CHECK_EQ(order[3], 0x42);
}

GUEST_TEST(task_priority_holds_back)
{
	apic_setup();
	WRITE_CR(8, 5);
	CHECK_EQ(apic_read(APIC_TPR), 0x50);
	self_ipi(0x51);
	__asm__ volatile("sti; nop; nop; cli");
	CHECK_EQ(n_ticks, 0);
	__asm__ volatile("sti");
	WRITE_CR(8, 4);
	__asm__ volatile("nop; cli");
	CHECK_EQ(n_ticks, 1);
}

GUEST_TEST(sti_shadow_lasts_one_instruction)
{
	uint64_t at;

	apic_setup();
	self_ipi(0x40);
	__asm__ volatile("sti; cli"); /* never open */
	CHECK_EQ(n_ticks, 0);
	trap.rip = 0;
	__asm__ volatile("leaq 1f(%%rip), %0\n\tsti\n\tnop\n1: nop\n\tcli" : "=r"(at));
	CHECK_EQ(n_ticks, 1);
	CHECK_EQ(trap.rip, at);
	self_ipi(0x40);
	__asm__ volatile("leaq 1f(%%rip), %0\n\tsti\n\tmovw %%ss, %%ax\n1:\tnop\n\tcli" : "=r"(at)::"rax");
	CHECK_EQ(trap.rip, at);
}

GUEST_TEST(popf_and_iret_open_at_once)
{
	uint64_t at;

	apic_setup();
	self_ipi(0x40);
	__asm__ volatile("pushfq; orl $0x200, (%%rsp)\n\tleaq 1f(%%rip), %0\n\tpopfq\n1: nop\n\tcli" : "=&r"(at));
	CHECK_EQ(n_ticks, 1);
	CHECK_EQ(trap.rip, at);
}

GUEST_TEST(hlt_waits_for_the_timer)
{
	apic_setup();
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVT_TIMER, 0x40);
	apic_write(APIC_TMICT, 1000000);
	__asm__ volatile("sti; hlt; cli");
	CHECK_EQ(n_ticks, 1);
	CHECK_EQ(apic_read(APIC_TMCCT), 0); /* one shot */
}

GUEST_TEST(timer_counts_down_and_repeats)
{
	uint64_t a, b;

	apic_setup();
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVT_TIMER, 0x10040); /* masked */
	apic_write(APIC_TMICT, 0xffffffff);
	a = apic_read(APIC_TMCCT);
	for (volatile int i = 0; i < 1000; i++)
		;
	b = apic_read(APIC_TMCCT);
	CHECK(b < a && b > 0);
	apic_write(APIC_LVT_TIMER, 0x20041); /* periodic */
	apic_write(APIC_TMICT, 300000);
	__asm__ volatile("sti");
	CHECK(wait_ticks(5));
	__asm__ volatile("cli");
	apic_write(APIC_TMICT, 0);
}

GUEST_TEST(tsc_deadline_fires_once_and_clears)
{
	uint64_t deadline;

	if (!(cpuid(1, 0).ecx & 1 << 24))
		return; /* not advertised */
	apic_setup();
	apic_write(APIC_LVT_TIMER, 0x40040);
	deadline = rdtsc() + 2000000;
	wrmsr(MSR_TSC_DEADLINE, deadline);
	CHECK_EQ(rdmsr(MSR_TSC_DEADLINE), deadline);
	__asm__ volatile("sti; hlt; cli");
	CHECK(rdtsc() >= deadline);
	CHECK_EQ(n_ticks, 1);
	CHECK_EQ(rdmsr(MSR_TSC_DEADLINE), 0);
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 500000000000ULL);
	wrmsr(MSR_TSC_DEADLINE, 0); /* disarmed */
	wrmsr(MSR_TSC_DEADLINE, 1); /* in the past: at once */
	__asm__ volatile("sti; nop; nop; cli");
	CHECK_EQ(n_ticks, 2);
}

GUEST_TEST(xapic_registers)
{
	for (unsigned v = 0x20; v < 0x100; v++)
		trap_handlers[v] = on_irq;
	CHECK_EQ(rdmsr(0x1b) & 0xfffff900, 0xfee00900); /* enabled, bootstrap CPU, where it should be */
	XAPIC(APIC_SVR) = 0x1ff;
	CHECK_EQ(XAPIC(APIC_SVR), 0x1ff);
	CHECK_EQ(XAPIC(APIC_ID) >> 24, 0);
	CHECK((XAPIC(APIC_VERSION) & 0xff) >= 0x10);
	XAPIC(APIC_ICR + 0x10) = 0;
	XAPIC(APIC_ICR) = 0x4000 | 0x48; /* to APIC id 0, fixed */
	__asm__ volatile("sti; nop; nop; cli");
	CHECK_EQ(n_ticks, 1);
	XAPIC(APIC_ICR) = 0x44000 | 0x49; /* self */
	__asm__ volatile("sti; nop; nop; cli");
	CHECK_EQ(n_ticks, 2);
	XAPIC(0xd0) = 0x80000000; /* logical id bit 7, flat model */
	XAPIC(0xe0) = 0xffffffff;
	XAPIC(APIC_ICR + 0x10) = 0x80000000;
	XAPIC(APIC_ICR) = 0x4800 | 0x4a; /* logical destination */
	__asm__ volatile("sti; nop; nop; cli");
	CHECK_EQ(n_ticks, 3);
}

GUEST_TEST(illegal_vector_sets_esr)
{
	XAPIC(APIC_SVR) = 0x1ff;
	XAPIC(APIC_ESR) = 0;
	XAPIC(APIC_ICR) = 0x44000 | 5;
	XAPIC(APIC_ESR) = 0;
	CHECK(XAPIC(APIC_ESR) & 0x60); /* send (or receive) illegal vector */
}

GUEST_TEST(x2apic_refuses)
{
	apic_setup();
	if (!apic_is_x2)
		return;
	TRY("wrmsr", ::"c"(X2APIC(APIC_EOI)), "a"(1), "d"(0)); /* only 0 */
	CHECK_TRAP_ERR(GP, 0);
	TRY("wrmsr", ::"c"(X2APIC(APIC_ID)), "a"(1), "d"(0)); /* read-only */
	CHECK_TRAP_ERR(GP, 0);
	TRY("rdmsr", ::"c"(X2APIC(APIC_SELF)) : "rax", "rdx"); /* write-only */
	CHECK_TRAP_ERR(GP, 0);
	TRY("rdmsr", ::"c"(0x80e) : "rax", "rdx"); /* DFR is gone */
	CHECK_TRAP_ERR(GP, 0);
	TRY("wrmsr", ::"c"(0x1b), "a"((uint32_t)(rdmsr(0x1b) & ~0x800ULL)), "d"(0)); /* x2APIC without enable */
	CHECK_TRAP_ERR(GP, 0);
}

/* A serial port interrupt through the IOAPIC: THRE on COM1, pin 4. */
#define IOAPIC(i) (*(volatile uint32_t *)0xfec00000UL = (i), (volatile uint32_t *)0xfec00010UL)
GUEST_TEST(ioapic_routes_masks_and_polarity)
{
	apic_setup();
	CHECK_EQ((*IOAPIC(1) >> 16 & 0xff), 23);
	*IOAPIC(0x10 + 8) = 0x10000 | 0x47;
	*IOAPIC(0x11 + 8) = 0;
	CHECK_EQ(*IOAPIC(0x18), 0x10047);
	outb(0x3fc, 0x0b); /* OUT2 */
	outb(0x3f9, 0x02); /* THRE interrupt */
	__asm__ volatile("sti; nop; nop; cli");
	CHECK_EQ(n_ticks, 0);
	outb(0x3f9, 0x00);
	*IOAPIC(0x18) = 0x47;
	outb(0x3f9, 0x02);
	__asm__ volatile("sti");
	CHECK(wait_ticks(1));
	__asm__ volatile("cli");
	CHECK_EQ(order[0], 0x47);
	CHECK_EQ(inb(0x3fa) & 0xf, 2); /* IIR: THR empty */
	outb(0x3f9, 0x00);
}

/* The timer comes at every instruction of this loop sooner or later; its result never changes. */
static uint64_t mixed_work(void)
{
	uint64_t a = 1, b = 2, sum = 0, c;
	static uint64_t mem[8];
	uint64_t *m = mem;

	for (int i = 0; i < 400; i++) {
		__asm__ volatile("addq %2, %0\n\tadcq $3, %1\n\tmovq %0, (%3)\n\tlock; addq %1, 8(%3)\n\t"
				 "pushq %0\n\tpopq %4\n\trolq $7, %4\n\tsbbq %4, %0\n\tjc 1f\n\tincq %1\n1:\t"
				 "xchgq %0, 16(%3)\n\tpushfq\n\tpopq %4\n\tandl $0x8d5, %k4\n\taddq %4, %1"
				 : "+r"(a), "+r"(b), "+r"(sum)
				 , "+r"(m), "=&r"(c)::"memory", "cc");
		sum = sum * 31 + a + b + c;
	}
	mem[1] = mem[2] = 0;
	return sum;
}

GUEST_TEST(interrupt_at_every_instruction)
{
	uint64_t want;

	apic_setup();
	want = mixed_work();
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVT_TIMER, 0x40);
	for (uint32_t i = 1; i < 1500; i++) {
		uint64_t got;

		apic_write(APIC_TMICT, i * 37);
		__asm__ volatile("sti");
		got = mixed_work();
		__asm__ volatile("cli");
		CHECK_EQ(got, want);
	}
	CHECK(n_ticks > 100);
}

static volatile unsigned nmi_depth, nmi_deepest;

static void on_nmi(struct trap_frame *f)
{
	if (++nmi_depth > nmi_deepest)
		nmi_deepest = nmi_depth;
	if (trap_count[NMI] == 1)
		apic_icr(0, 0x400); /* another one meanwhile */
	__asm__ volatile("nop; nop; nop");
	nmi_depth--;
}

GUEST_TEST(nmi_is_masked_until_iret)
{
	apic_setup();
	trap_handlers[NMI] = on_nmi;
	apic_icr(0, 0x400); /* NMI to APIC id 0, IF is clear */
	__asm__ volatile("nop; nop");
	CHECK_EQ(trap_count[NMI], 2);
	CHECK_EQ(nmi_deepest, 1);
}

GUEST_TEST(rep_is_interrupted_and_goes_on)
{
	uint8_t *p = (uint8_t *)0x2000000;
	uint64_t n = 64 << 20, at = (uintptr_t)p;

	apic_setup();
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVT_TIMER, 0x20040);
	apic_write(APIC_TMICT, 20000);
	__asm__ volatile("sti; rep stosb; cli" : "+D"(at), "+c"(n) : "a"(0x33) : "memory");
	apic_write(APIC_TMICT, 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(at, 0x2000000 + (64 << 20));
	for (uint64_t i = 0; i < 64 << 20; i += 4093)
		CHECK_EQ(p[i], 0x33);
	CHECK(n_ticks > 0);
}

const struct test_entry guest_tests[] = {
	ENTRY(priorities_order_pending_interrupts),
	ENTRY(higher_class_nests_same_class_waits),
	ENTRY(task_priority_holds_back),
	ENTRY(sti_shadow_lasts_one_instruction),
	ENTRY(popf_and_iret_open_at_once),
	ENTRY(hlt_waits_for_the_timer),
	ENTRY(timer_counts_down_and_repeats),
	ENTRY(tsc_deadline_fires_once_and_clears),
	ENTRY(xapic_registers),
	ENTRY(illegal_vector_sets_esr),
	ENTRY(x2apic_refuses),
	ENTRY(ioapic_routes_masks_and_polarity),
	ENTRY(interrupt_at_every_instruction),
	ENTRY(nmi_is_masked_until_iret),
	ENTRY(rep_is_interrupted_and_goes_on),
	{ 0 },
};
