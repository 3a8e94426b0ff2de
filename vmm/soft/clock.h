/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's time. One linear relation for the whole VM: guest ns = host monotonic ns + offset,
 * and the guest's TSC is that times tsc_khz, plus what a vCPU has added by writing its TSC. So TSC,
 * LAPIC timers and kvm-clock never drift apart, on any host and at any frequency.
 */
#ifndef SOFT_CLOCK_H
#define SOFT_CLOCK_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "soft/cpu.h"

struct soft_clock {
	uint32_t tsc_khz;
	uint64_t tsc_mult;	 /* TSC ticks a ns, 32.32 */
	_Atomic uint64_t offset; /* added to the host's clock */
	pthread_mutex_t lock;
	/* Host time at which all states of a stop are taken, 0 while a vCPU runs; guarded by lock.
	 */
	uint64_t stopped_at;
	bool restored; /* the offset comes from a saved state of this stop */
};

static inline uint64_t soft_clock_ns(struct soft_clock *c)
{
	return clock_monotonic_ns() + atomic_load_explicit(&c->offset, memory_order_relaxed);
}

static inline uint64_t soft_clock_ns_to_tsc(const struct soft_clock *c, uint64_t ns)
{
	return (uint64_t)((unsigned __int128)ns * c->tsc_mult >> 32);
}

/* Smallest time at which the TSC has reached @tsc. */
static inline uint64_t soft_clock_tsc_to_ns(const struct soft_clock *c, uint64_t tsc)
{
	unsigned __int128 n = ((unsigned __int128)tsc << 32) + c->tsc_mult - 1;
	unsigned __int128 ns = n / c->tsc_mult;

	return ns >> 64 ? ~0ULL : (uint64_t)ns;
}

static inline uint64_t cpu_tsc(const struct cpu *cpu)
{
	struct soft_clock *c = cpu->vm->clock;

	return soft_clock_ns_to_tsc(c, soft_clock_ns(c)) + cpu->tsc_offset;
}

#endif
