/* SPDX-License-Identifier: Apache-2.0 */
/* Four CPUs: start-up, atomics, IPIs, TLB shoot-down, code changed by another CPU. */
#include "lib/guest.h"

static volatile uint64_t counter, ticket, done;
static volatile uint32_t seen_by[8];

static unsigned my_id(void)
{
	return apic_is_x2 ? apic_read(0x20) : apic_read(0x20) >> 24;
}

/* Run @work on every secondary CPU once, and @here meanwhile. */
static void (*volatile job)(void);
static volatile uint32_t job_started, job_done;
static volatile uint32_t job_mask[8];

static void run_job(void)
{
	unsigned id = my_id();

	if (!job || job_mask[id])
		return;
	job_mask[id] = 1;
	job();
	__atomic_add_fetch(&job_done, 1, __ATOMIC_SEQ_CST);
}

static void on_all(void (*work)(void), bool here)
{
	unsigned n = guest_n_cpus();

	while (ap_ready < n - 1)
		ap_start_one(ap_ready + 1);
	job_done = 0;
	for (unsigned i = 0; i < 8; i++)
		job_mask[i] = 0;
	job = work;
	ap_work = run_job;
	if (here)
		work();
	while (job_done < n - 1)
		cpu_relax();
	job = NULL;
}

static void note_id(void)
{
	seen_by[my_id()] = 1;
}

GUEST_TEST(secondary_cpus_start_with_their_ids)
{
	CHECK_EQ(guest_n_cpus(), 4);
	on_all(note_id, true);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(seen_by[i], 1);
}

#define N_ADDS 100000
static volatile uint8_t *const split = (uint8_t *)0x3000ffd; /* 4 bytes across two pages */

static void add_all_ways(void)
{
	for (int i = 0; i < N_ADDS; i++) {
		uint64_t old = counter, one = 1;

		__asm__ volatile("lock; incq %0" : "+m"(counter));
		__asm__ volatile("lock; xaddq %1, %0" : "+m"(counter), "+r"(one));
		do
			old = counter;
		while (!__atomic_compare_exchange_n(&counter, &old, old + 1, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
		if (i % 64 == 0)
			__asm__ volatile("lock; addl $1, %0" : "+m"(*(volatile uint32_t *)split));
	}
}

GUEST_TEST(locked_operations_lose_nothing)
{
	*(volatile uint32_t *)split = 0;
	on_all(add_all_ways, true);
	CHECK_EQ(counter, 4ULL * 3 * N_ADDS);
	CHECK_EQ(*(volatile uint32_t *)split, 4 * ((N_ADDS + 63) / 64));
}

static struct {
	volatile uint64_t lo, hi;
} pair __attribute__((aligned(16)));

static void add_pairs(void)
{
	for (int i = 0; i < 20000; i++) {
		uint64_t lo = pair.lo, hi = pair.hi;
		uint8_t ok;

		do
			__asm__ volatile("lock; cmpxchg16b %1; setz %0"
					 : "=q"(ok), "+m"(pair), "+a"(lo), "+d"(hi)
					 : "b"(lo + 1), "c"(hi + 3));
		while (!ok);
	}
}

GUEST_TEST(cmpxchg16b_is_atomic)
{
	on_all(add_pairs, true);
	CHECK_EQ(pair.lo, 80000);
	CHECK_EQ(pair.hi, 240000);
}

static volatile uint32_t lock_word;
static uint64_t unlocked_counter;

static void spin_and_add(void)
{
	for (int i = 0; i < 20000; i++) {
		while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE))
			cpu_relax();
		unlocked_counter++;
		__atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE);
	}
}

GUEST_TEST(spinlocks_exclude)
{
	on_all(spin_and_add, true);
	CHECK_EQ(unlocked_counter, 80000);
}

/* Message passing and store buffering as x86 allows them: the first never fails. */
static volatile uint64_t data_word, flag_word, order_errors;

static void reader(void)
{
	if (my_id() != 1)
		return;
	for (uint64_t i = 1; i <= 50000; i++) {
		while (flag_word < i)
			;
		if (data_word < i)
			order_errors++;
	}
	done = 1;
}

static void pass_messages(void)
{
	if (my_id() == 0) {
		for (uint64_t i = 1; i <= 50000; i++) {
			data_word = i;
			flag_word = i;
		}
		return;
	}
	reader();
}

GUEST_TEST(stores_are_seen_in_order)
{
	on_all(pass_messages, true);
	CHECK_EQ(order_errors, 0);
	CHECK_EQ(done, 1);
}

static void on_ipi(struct trap_frame *f)
{
	__atomic_add_fetch(&seen_by[my_id()], 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&ticket, 1, __ATOMIC_SEQ_CST);
	if (f->vector != NMI)
		apic_write(APIC_EOI, 0);
}

static void wait_in_hlt(void)
{
	while (!done)
		__asm__ volatile("sti; hlt; cli");
}

static void nothing(void)
{
}

static bool wait_for(volatile uint64_t *p, uint64_t want)
{
	for (uint64_t end = rdtsc() + 20000000000ULL; *p < want;) {
		if (rdtsc() > end)
			return false;
		cpu_relax();
	}
	return true;
}

GUEST_TEST(ipis_wake_halted_cpus)
{
	trap_handlers[0x40] = trap_handlers[0x41] = on_ipi;
	on_all(nothing, false);
	job_done = 0;
	for (unsigned i = 0; i < 8; i++)
		job_mask[i] = 0;
	job = wait_in_hlt;
	while (!job_mask[1] || !job_mask[2] || !job_mask[3])
		cpu_relax();
	for (int round = 0; round < 200; round++) {
		uint64_t before = ticket;

		apic_icr(1 + round % 3, 0x4040); /* one CPU */
		CHECK(wait_for(&ticket, before + 1));
		apic_icr(0, 0xc4041); /* all but this one */
		CHECK(wait_for(&ticket, before + 4));
	}
	CHECK_EQ(seen_by[0], 0);
	CHECK_EQ(seen_by[1] + seen_by[2] + seen_by[3], 800);
	done = 1;
	apic_icr(0, 0xc4040);
	while (job_done < 3)
		cpu_relax();
}

GUEST_TEST(nmi_ipis_arrive_with_interrupts_off)
{
	trap_handlers[NMI] = on_ipi;
	on_all(nothing, false);
	ticket = 0;
	apic_icr(0, 0xc4400);
	CHECK(wait_for(&ticket, 3));
	CHECK_EQ(seen_by[0], 0);
}

/* Shoot-down: the others read through a mapping that CPU 0 changes, then tells them to drop. */
static volatile uint64_t shot, value_errors;
static volatile uint64_t expected;

static void on_shootdown(struct trap_frame *f)
{
	invlpg((void *)PAGING_BASE);
	__atomic_add_fetch(&shot, 1, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
}

static void read_mapped(void)
{
	if (my_id() == 0) {
		uint64_t pages[2] = { 0x3100000, 0x3101000 };

		for (uint64_t i = 1; i <= 300; i++) {
			uint64_t before = shot;

			*(volatile uint64_t *)pages[i & 1] = i;
			*pte_at(PAGING_BASE, 1) = pages[i & 1] | PTE_P | PTE_W;
			invlpg((void *)PAGING_BASE);
			apic_icr(0, 0xc4050);
			if (!wait_for(&shot, before + 3))
				guest_fail("smp", 0, "shoot-down answered", shot, before + 3);
			expected = i;
		}
		done = 1;
		return;
	}
	__asm__ volatile("sti");
	while (!done) {
		uint64_t low = expected, v = *(volatile uint64_t *)PAGING_BASE;

		if (v < low)
			value_errors++;
	}
	__asm__ volatile("cli");
}

GUEST_TEST(tlb_shootdown)
{
	trap_handlers[0x50] = on_shootdown;
	*(volatile uint64_t *)0x3100000 = 0;
	*pte_at(PAGING_BASE, 1) = 0x3100000 | PTE_P | PTE_W;
	on_all(read_mapped, true);
	CHECK_EQ(value_errors, 0);
}

/* Cross-modifying code, the safe protocol: write, publish a number, the other serialises and calls.
 */
static uint8_t *const shared_code = (uint8_t *)0x3200000;
static volatile uint64_t published, answered[8];

static void call_shared(void)
{
	unsigned id = my_id();

	if (id == 0) {
		for (uint64_t i = 1; i <= 2000; i++) {
			*(volatile uint32_t *)(shared_code + 1) = (uint32_t)i;
			published = i;
			for (unsigned c = 1; c < 4; c++)
				while (answered[c] < i)
					cpu_relax();
		}
		return;
	}
	for (uint64_t i = 1; i <= 2000; i++) {
		uint64_t r;

		while (published < i)
			cpu_relax();
		(void)cpuid(0, 0);
		__asm__ volatile("call *%1" : "=a"(r) : "r"(shared_code) : "memory");
		if (r != i)
			value_errors++;
		answered[id] = i;
	}
}

GUEST_TEST(code_changed_by_another_cpu)
{
	shared_code[0] = 0xb8;
	shared_code[5] = 0xc3;
	on_all(call_shared, true);
	CHECK_EQ(value_errors, 0);
}

/* One CPU decodes code again and again on pages that the others keep writing data to. */
static void write_beside_code(void)
{
	unsigned id = my_id();

	for (uint64_t i = 0; i < 20000; i++) {
		uint8_t *p = shared_code + (i & 7) * 4096;

		if (id == 0) {
			uint64_t r;

			*(volatile uint32_t *)(p + 1) = (uint32_t)i;
			__asm__ volatile("call *%1" : "=a"(r) : "r"(p) : "memory");
			if (r != i)
				value_errors++;
		} else {
			*(volatile uint64_t *)(p + 512 * id) = i;
			if (*(volatile uint64_t *)(p + 512 * id) != i)
				value_errors++;
		}
	}
}

GUEST_TEST(data_written_beside_code_by_others)
{
	for (int i = 0; i < 8; i++) {
		shared_code[i * 4096] = 0xb8;
		shared_code[i * 4096 + 5] = 0xc3;
	}
	on_all(write_beside_code, true);
	CHECK_EQ(value_errors, 0);
}

#define MSR_LSTAR 0xc0000082
static volatile uint8_t *entry_pages[2];

/* Each CPU has its own words, in the pages of entries too; the locked counter is elsewhere. */
static void work_while_entries_move(void)
{
	unsigned id = my_id();

	for (uint64_t i = 0; i < 1000; i++) {
		volatile uint64_t *word = (volatile uint64_t *)(entry_pages[i & 1] + 8 * id);

		if (id == 0)
			wrmsr(MSR_LSTAR, (uintptr_t)entry_pages[i & 1] + 0x800);
		*word = i;
		if (*word != i)
			value_errors++;
		__asm__ volatile("lock; incq %0" : "+m"(counter));
		invlpg((void *)word);
	}
}

/* A back end may have to rearrange memory around them. */
GUEST_TEST(system_call_entries_move_while_others_run)
{
	for (int i = 0; i < 2; i++)
		entry_pages[i] = page_alloc();
	on_all(work_while_entries_move, true);
	CHECK_EQ(value_errors, 0);
	CHECK_EQ(counter, 4 * 1000);
	for (unsigned id = 0; id < 4; id++) {
		CHECK_EQ(((volatile uint64_t *)entry_pages[0])[id], 998);
		CHECK_EQ(((volatile uint64_t *)entry_pages[1])[id], 999);
	}
	CHECK_EQ(rdmsr(MSR_LSTAR), (uintptr_t)entry_pages[1] + 0x800);
}

const struct test_entry guest_tests[] = {
	ENTRY(secondary_cpus_start_with_their_ids),
	ENTRY(locked_operations_lose_nothing),
	ENTRY(cmpxchg16b_is_atomic),
	ENTRY(spinlocks_exclude),
	ENTRY(stores_are_seen_in_order),
	ENTRY(ipis_wake_halted_cpus),
	ENTRY(nmi_ipis_arrive_with_interrupts_off),
	ENTRY(tlb_shootdown),
	ENTRY(code_changed_by_another_cpu),
	ENTRY(data_written_beside_code_by_others),
	ENTRY(system_call_entries_move_while_others_run),
	{ 0 },
};
