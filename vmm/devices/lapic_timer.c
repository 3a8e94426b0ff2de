/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LAPIC timer: one-shot and periodic count-down at 1 GHz before division, and TSC deadline.
 *
 * Nothing counts: a count-down is its start time and initial count. next_event is when the vCPU
 * must poll. A periodic timer that was not polled for several periods fires once.
 */
#include "devices/lapic_priv.h"

#include "base/checked.h"

static uint32_t mode(const struct lapic *l)
{
	return l->regs[LAPIC_LVT_TIMER] & LVT_TIMER_MODE;
}

/* ns a tick: the divider, as the bus clock is 1 GHz. */
static uint64_t tick_ns(const struct lapic *l)
{
	uint32_t tdcr = l->regs[LAPIC_TDCR];
	uint32_t code = (tdcr & 3) | (tdcr & 8) >> 1;

	return 1ULL << ((code + 1) & 7);
}

static uint64_t period(const struct lapic *l)
{
	return l->regs[LAPIC_TMICT] * tick_ns(l);
}

uint32_t lapic_timer_count_locked(struct lapic *l)
{
	uint64_t elapsed, now;

	if (mode(l) == LVT_TSCDEADLINE || l->regs[LAPIC_TMICT] == 0)
		return 0;
	now = l->ops->now(l->opaque);
	elapsed = now > l->timer_start ? now - l->timer_start : 0;
	if (mode(l) == LVT_PERIODIC)
		elapsed %= period(l);
	else if (elapsed >= period(l))
		return 0;
	return l->regs[LAPIC_TMICT] - (uint32_t)(elapsed / tick_ns(l));
}

static void set_next(struct lapic *l, uint64_t when)
{
	atomic_store_explicit(&l->next_event, when, memory_order_relaxed);
}

void lapic_timer_rearm_locked(struct lapic *l)
{
	if (mode(l) == LVT_TSCDEADLINE)
		set_next(l, l->tsc_deadline ? l->ops->tsc_to_ns(l->opaque, l->tsc_deadline)
					    : LAPIC_NEVER);
	else
		/* A one-shot count that has ended has no start, also not after a restore. */
		set_next(l, l->regs[LAPIC_TMICT] && l->timer_start ? l->timer_start + period(l) :
								     LAPIC_NEVER);
}

void lapic_timer_mode_locked(struct lapic *l, uint32_t old_lvt)
{
	uint32_t old = old_lvt & LVT_TIMER_MODE;

	if (old == mode(l))
		return;
	if (old == LVT_TSCDEADLINE || mode(l) == LVT_TSCDEADLINE) {
		l->tsc_deadline = 0;
		l->regs[LAPIC_TMICT] = 0;
		set_next(l, LAPIC_NEVER);
	} else {
		lapic_timer_rearm_locked(l);
	}
}

void lapic_timer_start_locked(struct lapic *l, uint32_t count)
{
	if (mode(l) == LVT_TSCDEADLINE)
		return;
	l->regs[LAPIC_TMICT] = count;
	l->timer_start = l->ops->now(l->opaque);
	lapic_timer_rearm_locked(l);
}

/* The count goes on from where it is, at the new rate. */
void lapic_timer_divide_locked(struct lapic *l, uint32_t tdcr)
{
	uint32_t left = lapic_timer_count_locked(l);
	uint32_t done = l->regs[LAPIC_TMICT] - left;

	l->regs[LAPIC_TDCR] = tdcr;
	if (mode(l) == LVT_TSCDEADLINE || left == 0)
		return;
	l->timer_start = l->ops->now(l->opaque) - done * tick_ns(l);
	lapic_timer_rearm_locked(l);
}

void lapic_deadline_write(struct lapic *l, uint64_t val)
{
	pthread_mutex_lock(&l->lock);
	if (mode(l) == LVT_TSCDEADLINE) {
		l->tsc_deadline = val;
		lapic_timer_rearm_locked(l);
	}
	pthread_mutex_unlock(&l->lock);
}

uint64_t lapic_deadline_read(struct lapic *l)
{
	uint64_t val;

	pthread_mutex_lock(&l->lock);
	val = mode(l) == LVT_TSCDEADLINE ? l->tsc_deadline : 0;
	pthread_mutex_unlock(&l->lock);
	return val;
}

static void fire_locked(struct lapic *l, uint64_t now)
{
	uint32_t lvt = l->regs[LAPIC_LVT_TIMER];

	if (!(lvt & LVT_MASKED))
		lapic_accept_locked(l, (uint8_t)lvt, false);
	if (mode(l) == LVT_PERIODIC) {
		uint64_t p = period(l);

		l->timer_start += (now - l->timer_start) / p * p;
		set_next(l, l->timer_start + p);
	} else {
		l->tsc_deadline = 0;
		l->timer_start = 0;
		set_next(l, LAPIC_NEVER);
	}
}

uint64_t lapic_poll(struct lapic *l, uint64_t now)
{
	uint64_t next = atomic_load_explicit(&l->next_event, memory_order_relaxed);
	bool irq;

	if (next > now)
		return next;
	pthread_mutex_lock(&l->lock);
	next = atomic_load_explicit(&l->next_event, memory_order_relaxed);
	if (next <= now)
		fire_locked(l, now);
	next = atomic_load_explicit(&l->next_event, memory_order_relaxed);
	pthread_mutex_unlock(&l->lock);
	irq = lapic_has_irq(l);
	if (irq)
		l->ops->irq(l->opaque);
	return next;
}
