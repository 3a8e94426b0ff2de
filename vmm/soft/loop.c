/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPU loop: events, timers, interrupts, HLT, and guest code in between.
 *
 * Theory of operation. Other threads post events (cpu->events) and raise stop_at, which brings the
 * vCPU out of its blocks. Each turn of the loop clears stop_at first and looks at events after, so
 * none is missed. Priorities follow the architecture: an exception of the last instruction, debug
 * traps, NMI, external interrupts. in_guest is true only around guest code; outside, the vCPU is at
 * a safe point. A sleeping vCPU waits on the futex cpu->events until the LAPIC timer's next
 * deadline, and costs nothing.
 */
#include "soft/vm.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "soft/block.h"
#include "soft/mmu.h"
#include "soft/single.h"
#include "soft/stub.h"

#define BUDGET_MAX    40000 /* instructions between looks at the clock: 50 us, more or less */
#define BUDGET_MIN    2000
#define VEC_NMI_INDEX 2

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Sleep while *word is @val, until host time @deadline (LAPIC_NEVER: no end). */
static void futex_wait(_Atomic uint32_t *word, uint32_t val, uint64_t deadline)
{
	struct timespec ts = { .tv_sec = (time_t)(deadline / NSEC_PER_SEC),
			       .tv_nsec = (long)(deadline % NSEC_PER_SEC) };

	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, val,
		deadline == LAPIC_NEVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
}

void cpu_post(struct cpu *cpu, uint32_t events)
{
	struct hv_vcpu *vcpu = vcpu_of(cpu);

	atomic_fetch_or(&cpu->events, events);
	cpu_attention(cpu);
	if (atomic_load(&vcpu->sleeping))
		futex_wake(&cpu->events);
}

static uint32_t events_take(struct cpu *cpu, uint32_t which)
{
	return atomic_fetch_and(&cpu->events, ~which) & which;
}

/* ---- what wakes a halted vCPU ---- */

static bool extint_pending(struct hv_vcpu *v, uint32_t events)
{
	return (events & CPU_EV_EXTINT) && pic_output(v->cpu.vm->pic) &&
	       lapic_accepts_extint(&v->lapic);
}

static bool can_wake(struct hv_vcpu *v, uint32_t events)
{
	struct cpu *cpu = &v->cpu;

	if (events & (CPU_EV_KICK | CPU_EV_INIT))
		return true;
	if (cpu->mp_state == HV_MP_WAIT_SIPI || cpu->mp_state == HV_MP_INIT)
		return events & CPU_EV_SIPI;
	if ((events & CPU_EV_NMI) && !cpu->nmi_masked)
		return true;
	if (!(cpu->rflags & FL_IF))
		return false;
	return ((events & CPU_EV_IRQ) && lapic_has_irq(&v->lapic)) || extint_pending(v, events);
}

static void sleep_until_event(struct hv_vcpu *v)
{
	struct cpu *cpu = &v->cpu;
	struct soft_clock *clock = cpu->vm->clock;
	uint64_t next = lapic_poll(&v->lapic, soft_clock_ns(clock));
	uint64_t now = clock_monotonic_ns(), idle_until = block_idle_until(cpu, now);
	uint32_t seen;

	if (now >= idle_until) {
		block_give_back(cpu);
		idle_until = UINT64_MAX;
	}
	atomic_store(&v->sleeping, 1);
	seen = atomic_load(&cpu->events);
	if (!can_wake(v, seen)) {
		/* guest time to host time */
		uint64_t deadline = next == LAPIC_NEVER ? next : next - atomic_load(&clock->offset);

		futex_wait(&cpu->events, seen, MIN(deadline, idle_until));
	}
	atomic_store(&v->sleeping, 0);
}

/* ---- one turn ---- */

/* INIT, SIPI, kick. Return: true to leave run(). */
static bool take_events(struct hv_vcpu *v, struct hv_exit *ret)
{
	struct cpu *cpu = &v->cpu;
	uint32_t ev = atomic_load(&cpu->events);

	if (likely(!(ev & (CPU_EV_INIT | CPU_EV_SIPI | CPU_EV_KICK | CPU_EV_PURGE))))
		return false;
	ev = events_take(cpu, CPU_EV_KICK | CPU_EV_PURGE);
	vcpu_take_init(v);
	if (!(ev & CPU_EV_KICK))
		return false;
	cpu->stats.n_kicks++;
	ret->reason = HV_EXIT_INTERRUPTED;
	return true;
}

/* Exceptions and traps that the last instruction left. false: triple fault. */
static bool deliver_own(struct cpu *cpu)
{
	if (cpu->exc.pending) {
		cpu->db_pending = 0;
		return cpu_deliver_exception(cpu);
	}
	if (cpu->db_pending && cpu->shadow != 2) {
		cpu_raise(cpu, VEC_DB);
		cpu->exc.dr6 = cpu->db_pending;
		cpu->db_pending = 0;
		return cpu_deliver_exception(cpu);
	}
	return true;
}

static bool deliver_vector(struct cpu *cpu, int vector)
{
	cpu->halted = false;
	cpu->stats.n_irqs++;
	return cpu_deliver_interrupt(cpu, (uint8_t)vector);
}

/* NMI, then maskable interrupts. false: triple fault. */
static bool deliver_external(struct hv_vcpu *v)
{
	struct cpu *cpu = &v->cpu;
	uint32_t ev = atomic_load(&cpu->events);
	int vec;

	if (likely(!(ev & (CPU_EV_NMI | CPU_EV_IRQ | CPU_EV_EXTINT))))
		return true;
	if ((ev & CPU_EV_NMI) && !cpu->nmi_masked && cpu->shadow != 2) {
		events_take(cpu, CPU_EV_NMI);
		if (!deliver_vector(cpu, VEC_NMI_INDEX))
			return false;
		cpu->nmi_masked = true;
		return true;
	}
	if (!(cpu->rflags & FL_IF) || cpu->shadow)
		return true;
	if (ev & CPU_EV_IRQ) {
		events_take(cpu, CPU_EV_IRQ);
		vec = lapic_ack(&v->lapic);
		if (lapic_has_irq(&v->lapic))
			atomic_fetch_or(&cpu->events, CPU_EV_IRQ);
		if (vec >= 0)
			return deliver_vector(cpu, vec);
	}
	if (extint_pending(v, ev))
		return deliver_vector(cpu, pic_ack(cpu->vm->pic));
	return true;
}

static int64_t budget_for(uint64_t now, uint64_t next)
{
	uint64_t ns = next > now ? next - now : 0;

	/* About one instruction a ns; a deadline is met within some us. */
	return ns >= BUDGET_MAX ? BUDGET_MAX : (int64_t)MAX(ns, BUDGET_MIN);
}

static void run_guest(struct hv_vcpu *v, int64_t budget)
{
	struct cpu *cpu = &v->cpu;

	atomic_store(&cpu->in_guest, true);
	/* A request made before in_guest was seen: page unknown by now, so all write tags go. */
	if (unlikely(atomic_load(&cpu->purge_wanted) !=
		     atomic_load_explicit(&cpu->purge_done, memory_order_relaxed))) {
		mmu_drop_write_tags(cpu);
		atomic_store(&cpu->purge_done, atomic_load(&cpu->purge_wanted));
	}
	cpu->budget = budget;
	cpu_exec(cpu);
	mmu_serve_purge(cpu);
	atomic_store_explicit(&cpu->in_guest, false, memory_order_release);
}

static bool must_sleep(struct hv_vcpu *v)
{
	struct cpu *cpu = &v->cpu;

	if (cpu->mp_state == HV_MP_WAIT_SIPI || cpu->mp_state == HV_MP_INIT)
		return true;
	return cpu->halted && !can_wake(v, atomic_load(&cpu->events));
}

static void shutdown_exit(struct hv_exit *ret)
{
	ret->reason = HV_EXIT_SHUTDOWN;
}

static void run_loop(struct hv_vcpu *v, struct hv_exit *ret)
{
	struct cpu *cpu = &v->cpu;
	struct soft_clock *clock = cpu->vm->clock;

	for (;;) {
		uint64_t now, next;

		atomic_store(&cpu->stop_at, 0);
		if (take_events(v, ret))
			return;
		now = soft_clock_ns(clock);
		next = lapic_poll(&v->lapic, now);
		if (must_sleep(v)) {
			cpu->stats.n_hlt++;
			sleep_until_event(v);
			continue;
		}
		if (!deliver_own(cpu) || !deliver_external(v)) {
			shutdown_exit(ret);
			return;
		}
		if (!cpu->halted)
			run_guest(v, budget_for(now, next));
	}
}

bool soft_single(struct hv_vcpu *v)
{
	struct cpu *cpu = &v->cpu;

	__builtin_ia32_ldmxcsr(MXCSR_MASKS);
	atomic_store(&cpu->stop_at, 0);
	if (!cpu->exc.pending)
		run_guest(v, 1);
	mxcsr_sync(cpu);
	return deliver_own(cpu);
}

void soft_single_tsc(struct hv_vcpu *v, uint64_t tsc)
{
	struct soft_clock *clock = v->cpu.vm->clock;

	v->cpu.tsc_offset = tsc - soft_clock_ns_to_tsc(clock, soft_clock_ns(clock));
}

void soft_run(struct hv_vcpu *v, struct hv_exit *ret)
{
	struct soft_clock *clock = v->cpu.vm->clock;

	pthread_mutex_lock(&clock->lock);
	clock->stopped_at = 0;
	pthread_mutex_unlock(&clock->lock);
	if (v->cpu.vm->mem->dirty_log)
		mmu_drop_write_tags(&v->cpu); /* the log may have been cleared since */
	*ret = (struct hv_exit){ 0 };
	__builtin_ia32_ldmxcsr(
		MXCSR_MASKS); /* flags of the host's own arithmetic are not the guest's */
	run_loop(v, ret);
	mxcsr_sync(&v->cpu); /* others may read the state now */
}
