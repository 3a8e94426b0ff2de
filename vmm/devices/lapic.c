/* SPDX-License-Identifier: Apache-2.0 */
/* Local APIC: registers, priorities, acceptance of interrupts. Timer and IPIs are in lapic_timer.c
 * and lapic_ipi.c. */
#include "devices/lapic_priv.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

#define LAPIC_VERSION_VALUE 0x00050014U /* integrated, six LVT entries */

/* ---- bit vectors IRR, ISR, TMR: eight registers of 32 bits ---- */

static void vec_set(struct lapic *l, unsigned first, uint8_t vec)
{
	l->regs[first + vec / 32] |= 1U << (vec % 32);
}

static void vec_clear(struct lapic *l, unsigned first, uint8_t vec)
{
	l->regs[first + vec / 32] &= ~(1U << (vec % 32));
}

static bool vec_test(const struct lapic *l, unsigned first, uint8_t vec)
{
	return l->regs[first + vec / 32] & (1U << (vec % 32));
}

static int vec_highest(const struct lapic *l, unsigned first)
{
	for (int i = 7; i >= 0; i--) {
		uint32_t w = l->regs[first + (unsigned)i];

		if (w)
			return i * 32 + 31 - __builtin_clz(w);
	}
	return -1;
}

static uint32_t ppr(const struct lapic *l)
{
	int isr = vec_highest(l, LAPIC_ISR);
	uint32_t tpr = l->regs[LAPIC_TPR] & 0xff;

	if (isr >= 0 && ((uint32_t)isr & 0xf0) > (tpr & 0xf0))
		return (uint32_t)isr & 0xf0;
	return tpr;
}

static int deliverable_locked(const struct lapic *l)
{
	int irr = vec_highest(l, LAPIC_IRR);

	if (irr < 0 || !lapic_sw_enabled(l) || ((uint32_t)irr & 0xf0) <= (ppr(l) & 0xf0))
		return -1;
	return irr;
}

bool lapic_has_irq(struct lapic *l)
{
	bool yes;

	pthread_mutex_lock(&l->lock);
	yes = deliverable_locked(l) >= 0;
	pthread_mutex_unlock(&l->lock);
	return yes;
}

int lapic_ack(struct lapic *l)
{
	int vec;

	pthread_mutex_lock(&l->lock);
	vec = deliverable_locked(l);
	if (vec >= 0) {
		vec_clear(l, LAPIC_IRR, (uint8_t)vec);
		vec_set(l, LAPIC_ISR, (uint8_t)vec);
	}
	pthread_mutex_unlock(&l->lock);
	return vec;
}

/* Tell the vCPU if something can be delivered; without the lock. */
static void notify(struct lapic *l)
{
	if (lapic_has_irq(l))
		l->ops->irq(l->opaque);
}

bool lapic_accepts_extint(struct lapic *l)
{
	uint32_t lint0;
	bool hw_on;

	pthread_mutex_lock(&l->lock);
	hw_on = l->base_msr & APIC_BASE_EN;
	lint0 = l->regs[LAPIC_LVT_LINT0];
	pthread_mutex_unlock(&l->lock);
	if (!hw_on)
		return true;
	return !(lint0 & LVT_MASKED) && ((lint0 >> 8) & 7) == LAPIC_EXTINT;
}

/* ---- errors ---- */

void lapic_error_locked(struct lapic *l, uint32_t bit)
{
	uint32_t lvt = l->regs[LAPIC_LVT_ERROR];

	if (l->regs[LAPIC_ESR_PENDING] & bit)
		return;
	l->regs[LAPIC_ESR_PENDING] |= bit;
	if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
		vec_set(l, LAPIC_IRR, (uint8_t)lvt);
}

void lapic_accept_locked(struct lapic *l, uint8_t vector, bool level)
{
	if (!lapic_sw_enabled(l))
		return;
	if (vector < 16) {
		lapic_error_locked(l, ESR_RECV_VECTOR);
		return;
	}
	vec_set(l, LAPIC_IRR, vector);
	if (level)
		vec_set(l, LAPIC_TMR, vector);
	else
		vec_clear(l, LAPIC_TMR, vector);
}

/* ---- EOI ---- */

static void eoi(struct lapic *l)
{
	bool level = false;
	int vec;

	pthread_mutex_lock(&l->lock);
	vec = vec_highest(l, LAPIC_ISR);
	if (vec >= 0) {
		vec_clear(l, LAPIC_ISR, (uint8_t)vec);
		level = vec_test(l, LAPIC_TMR, (uint8_t)vec);
	}
	pthread_mutex_unlock(&l->lock);
	if (level && l->bus->eoi)
		l->bus->eoi(l->bus->eoi_opaque, (uint8_t)vec);
	notify(l);
}

/* ---- reset ---- */

static void reset_regs_locked(struct lapic *l)
{
	memset(l->regs, 0, sizeof(l->regs));
	l->regs[LAPIC_VERSION] = LAPIC_VERSION_VALUE;
	l->regs[LAPIC_DFR] = 0xffffffff;
	l->regs[LAPIC_SVR] = 0xff;
	for (unsigned i = LAPIC_LVT_TIMER; i <= LAPIC_LVT_ERROR; i++)
		l->regs[i] = LVT_MASKED;
	l->tsc_deadline = 0;
	l->timer_start = 0;
	atomic_store(&l->next_event, LAPIC_NEVER);
}

void lapic_reset(struct lapic *l, bool init)
{
	pthread_mutex_lock(&l->lock);
	reset_regs_locked(l);
	if (!init)
		l->base_msr = APIC_BASE_RESET | APIC_BASE_EN | (l->id == 0 ? APIC_BASE_BSP : 0);
	pthread_mutex_unlock(&l->lock);
}

int lapic_init(struct lapic *l, struct lapic_bus *bus, uint32_t id, const struct lapic_ops *ops,
	       void *opaque, struct err *err)
{
	int r = pthread_mutex_init(&l->lock, NULL);

	if (r)
		return err_errno(err, r, "make a LAPIC's lock");
	l->bus = bus;
	l->id = id;
	l->ops = ops;
	l->opaque = opaque;
	lapic_reset(l, false);
	return 0;
}

void lapic_done(struct lapic *l)
{
	pthread_mutex_destroy(&l->lock);
}

/* ---- registers ---- */

static bool is_x2(const struct lapic *l)
{
	return (l->base_msr & (APIC_BASE_EN | APIC_BASE_EXTD)) == (APIC_BASE_EN | APIC_BASE_EXTD);
}

static uint32_t read_reg_locked(struct lapic *l, unsigned reg)
{
	switch (reg) {
	case LAPIC_ID: return is_x2(l) ? l->id : l->id << 24;
	case LAPIC_PPR: return ppr(l);
	case LAPIC_LDR: return lapic_ldr(l);
	case LAPIC_TMCCT: return lapic_timer_count_locked(l);
	case LAPIC_EOI:
	case LAPIC_SELF_IPI:
	case LAPIC_ESR_PENDING: return 0;
	case LAPIC_ICR: return l->regs[LAPIC_ICR] & ~ICR_BUSY;
	default: return l->regs[reg];
	}
}

static void svr_write_locked(struct lapic *l, uint32_t val)
{
	l->regs[LAPIC_SVR] = val & 0x1ff;
	if (val & SVR_ENABLE)
		return;
	for (unsigned i = LAPIC_LVT_TIMER; i <= LAPIC_LVT_ERROR; i++)
		l->regs[i] |= LVT_MASKED;
}

static void lvt_write_locked(struct lapic *l, unsigned reg, uint32_t val)
{
	static const uint32_t writable[] = {
		/* timer, thermal, perf, LINT0, LINT1, error */
		0x000700ff, 0x000107ff, 0x000107ff, 0x0001a7ff, 0x0001a7ff, 0x000100ff,
	};
	uint32_t old = l->regs[reg];

	val &= writable[reg - LAPIC_LVT_TIMER];
	if (!lapic_sw_enabled(l))
		val |= LVT_MASKED;
	l->regs[reg] = val;
	if (reg == LAPIC_LVT_TIMER)
		lapic_timer_mode_locked(l, old);
}

/* Registers whose write is only a change of state; the rest are in write_reg(). */
static void write_plain_locked(struct lapic *l, unsigned reg, uint32_t val)
{
	switch (reg) {
	case LAPIC_TPR: l->regs[reg] = val & 0xff; break;
	case LAPIC_LDR:
		if (!is_x2(l))
			l->regs[reg] = val & 0xff000000;
		break;
	case LAPIC_DFR:
		if (!is_x2(l))
			l->regs[reg] = val | 0x0fffffff;
		break;
	case LAPIC_SVR: svr_write_locked(l, val); break;
	case LAPIC_ESR:
		l->regs[LAPIC_ESR] = l->regs[LAPIC_ESR_PENDING];
		l->regs[LAPIC_ESR_PENDING] = 0;
		break;
	case LAPIC_ICR2:
		if (!is_x2(l))
			l->regs[reg] = val & 0xff000000;
		break;
	case LAPIC_LVT_TIMER:
	case LAPIC_LVT_THERMAL:
	case LAPIC_LVT_PERF:
	case LAPIC_LVT_LINT0:
	case LAPIC_LVT_LINT1:
	case LAPIC_LVT_ERROR: lvt_write_locked(l, reg, val); break;
	case LAPIC_TMICT: lapic_timer_start_locked(l, val); break;
	case LAPIC_TDCR: lapic_timer_divide_locked(l, val & 0xb); break;
	default: break; /* read-only */
	}
}

static void write_reg(struct lapic *l, unsigned reg, uint32_t val)
{
	uint32_t icr_high;

	switch (reg) {
	case LAPIC_EOI: eoi(l); return;
	case LAPIC_ICR:
		pthread_mutex_lock(&l->lock);
		l->regs[LAPIC_ICR] = val & ICR_WRITABLE;
		icr_high = l->regs[LAPIC_ICR2];
		pthread_mutex_unlock(&l->lock);
		lapic_icr_send(l, val & ICR_WRITABLE, icr_high >> 24, false);
		return;
	default:
		pthread_mutex_lock(&l->lock);
		write_plain_locked(l, reg, val);
		pthread_mutex_unlock(&l->lock);
		notify(l);
		return;
	}
}

static bool xapic_reg_exists(unsigned reg)
{
	switch (reg) {
	case LAPIC_ID:
	case LAPIC_VERSION:
	case LAPIC_TPR:
	case LAPIC_APR:
	case LAPIC_PPR:
	case LAPIC_EOI:
	case LAPIC_RRD:
	case LAPIC_LDR:
	case LAPIC_DFR:
	case LAPIC_SVR:
	case LAPIC_ESR:
	case LAPIC_ICR:
	case LAPIC_ICR2:
	case LAPIC_TMICT:
	case LAPIC_TMCCT:
	case LAPIC_TDCR: return true;
	default:
		return (reg >= LAPIC_ISR && reg < LAPIC_IRR + 8) ||
		       (reg >= LAPIC_LVT_TIMER && reg <= LAPIC_LVT_ERROR);
	}
}

static void illegal_register(struct lapic *l)
{
	pthread_mutex_lock(&l->lock);
	lapic_error_locked(l, ESR_ILLEGAL_REG);
	pthread_mutex_unlock(&l->lock);
	notify(l);
}

uint64_t lapic_mmio_read(struct lapic *l, unsigned off, unsigned size)
{
	unsigned reg = off >> 4;
	uint32_t val;

	if (reg >= HV_LAPIC_N_REGS || !xapic_reg_exists(reg)) {
		illegal_register(l);
		return 0;
	}
	if ((off & 15) + size > 4)
		return 0; /* outside the register's four bytes: undefined, nothing there */
	pthread_mutex_lock(&l->lock);
	val = read_reg_locked(l, reg);
	pthread_mutex_unlock(&l->lock);
	return size == 4 ? val : (val >> ((off & 3) * 8)) & ((1U << (size * 8)) - 1);
}

void lapic_mmio_write(struct lapic *l, unsigned off, unsigned size, uint64_t val)
{
	unsigned reg = off >> 4;

	if (size != 4 || (off & 15))
		return; /* only aligned 32-bit stores are defined */
	if (reg >= HV_LAPIC_N_REGS || !xapic_reg_exists(reg)) {
		illegal_register(l);
		return;
	}
	write_reg(l, reg, (uint32_t)val);
}

/* ---- x2APIC ---- */

static bool x2_exists(unsigned reg)
{
	return xapic_reg_exists(reg) && reg != LAPIC_APR && reg != LAPIC_RRD && reg != LAPIC_DFR &&
	       reg != LAPIC_ICR2;
}

bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *ret)
{
	unsigned reg = msr - 0x800;

	if (!is_x2(l) || reg >= HV_LAPIC_N_REGS || !x2_exists(reg) || reg == LAPIC_EOI)
		return false;
	pthread_mutex_lock(&l->lock);
	*ret = read_reg_locked(l, reg);
	if (reg == LAPIC_ICR)
		*ret |= (uint64_t)l->regs[LAPIC_ICR2] << 32;
	pthread_mutex_unlock(&l->lock);
	return true;
}

/* Bits that may not be set in a write; all ones: read-only. */
static uint64_t x2_reserved(unsigned reg)
{
	switch (reg) {
	case LAPIC_TPR: return ~0xffULL;
	case LAPIC_EOI:
	case LAPIC_ESR: return ~0ULL; /* only 0 may be written */
	case LAPIC_SVR: return ~0x1ffULL;
	case LAPIC_ICR: return 0xfff33000ULL;
	case LAPIC_LVT_TIMER: return ~0x710ffULL;
	case LAPIC_LVT_THERMAL:
	case LAPIC_LVT_PERF: return ~0x117ffULL;
	case LAPIC_LVT_LINT0:
	case LAPIC_LVT_LINT1: return ~0x1f7ffULL;
	case LAPIC_LVT_ERROR: return ~0x110ffULL;
	case LAPIC_TMICT: return ~0xffffffffULL;
	case LAPIC_TDCR: return ~0xbULL;
	case LAPIC_SELF_IPI: return ~0xffULL;
	default: return ~0ULL;
	}
}

static bool x2_writable(unsigned reg)
{
	return reg == LAPIC_EOI || reg == LAPIC_ESR || x2_reserved(reg) != ~0ULL;
}

bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t val)
{
	unsigned reg = msr - 0x800;

	if (!is_x2(l) || reg >= HV_LAPIC_N_REGS || !x2_writable(reg) || (val & x2_reserved(reg)))
		return false;
	if (reg == LAPIC_ICR) {
		pthread_mutex_lock(&l->lock);
		l->regs[LAPIC_ICR] = (uint32_t)val & ICR_WRITABLE;
		l->regs[LAPIC_ICR2] = (uint32_t)(val >> 32);
		pthread_mutex_unlock(&l->lock);
		lapic_icr_send(l, (uint32_t)val & ICR_WRITABLE, (uint32_t)(val >> 32), true);
	} else if (reg == LAPIC_SELF_IPI) {
		lapic_icr_send(l, (uint32_t)val | ICR_SELF, 0, true);
	} else {
		write_reg(l, reg, (uint32_t)val);
	}
	return true;
}

bool lapic_base_write(struct lapic *l, uint64_t val, unsigned phys_bits)
{
	const uint64_t modes = APIC_BASE_EN | APIC_BASE_EXTD;
	const uint64_t known = modes | APIC_BASE_BSP | (((1ULL << phys_bits) - 1) & ~0xfffULL);
	uint64_t from = l->base_msr & modes, to = val & modes;

	if ((val & ~known) || to == APIC_BASE_EXTD)
		return false;
	if (from != to && ((from == modes && to == APIC_BASE_EN) || (from == 0 && to == modes)))
		return false;
	pthread_mutex_lock(&l->lock);
	l->base_msr = val;
	if (to == 0 && from != 0)
		reset_regs_locked(l);
	if (to == modes && from != modes)
		l->regs[LAPIC_ICR2] = 0;
	pthread_mutex_unlock(&l->lock);
	return true;
}

uint8_t lapic_tpr_read(struct lapic *l)
{
	return (uint8_t)(l->regs[LAPIC_TPR] >> 4) & 15; /* own thread is the only writer */
}

void lapic_tpr_write(struct lapic *l, uint8_t cr8)
{
	write_reg(l, LAPIC_TPR, (uint32_t)(cr8 & 15) << 4);
}

/* ---- state ---- */

void lapic_get_state(struct lapic *l, struct hv_lapic_state *ret)
{
	pthread_mutex_lock(&l->lock);
	memcpy(ret->regs, l->regs, sizeof(ret->regs));
	ret->regs[LAPIC_ID] = is_x2(l) ? l->id : l->id << 24;
	ret->regs[LAPIC_LDR] = lapic_ldr(l);
	ret->regs[LAPIC_PPR] = ppr(l);
	ret->regs[LAPIC_TMCCT] = lapic_timer_count_locked(l);
	ret->base_msr = l->base_msr;
	ret->tsc_deadline = l->tsc_deadline;
	ret->timer_start_ns = l->timer_start;
	pthread_mutex_unlock(&l->lock);
}

static int state_check(const struct hv_lapic_state *s, unsigned phys_bits, struct err *err)
{
	const uint64_t modes = APIC_BASE_EN | APIC_BASE_EXTD;
	const uint64_t known = modes | APIC_BASE_BSP | (((1ULL << phys_bits) - 1) & ~0xfffULL);

	if ((s->base_msr & ~known) || (s->base_msr & modes) == APIC_BASE_EXTD)
		return err_set(err, -EINVAL, "lapic.base_msr %#llx is not valid",
			       (unsigned long long)s->base_msr);
	if ((s->regs[LAPIC_IRR] | s->regs[LAPIC_ISR]) & 0xffff)
		return err_set(err, -EINVAL, "lapic.regs has vectors below 16 in IRR or ISR");
	return 0;
}

int lapic_set_state(struct lapic *l, const struct hv_lapic_state *s, unsigned phys_bits,
		    struct err *err)
{
	int r = state_check(s, phys_bits, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&l->lock);
	memcpy(l->regs, s->regs, sizeof(l->regs));
	l->base_msr = s->base_msr;
	l->regs[LAPIC_VERSION] = LAPIC_VERSION_VALUE;
	l->regs[LAPIC_SVR] &= 0x1ff;
	l->regs[LAPIC_TDCR] &= 0xb;
	if (is_x2(l))
		l->regs[LAPIC_LDR] = 0; /* derived */
	else
		l->regs[LAPIC_LDR] &= 0xff000000;
	for (unsigned i = LAPIC_LVT_TIMER; i <= LAPIC_LVT_ERROR; i++)
		l->regs[i] &= 0x0007f7ff;
	l->tsc_deadline = s->tsc_deadline;
	l->timer_start = s->timer_start_ns;
	lapic_timer_rearm_locked(l);
	pthread_mutex_unlock(&l->lock);
	notify(l);
	return 0;
}
