/* SPDX-License-Identifier: Apache-2.0 */
/* Register numbers (page offset / 16) and what the parts of the LAPIC share. */
#ifndef DEVICES_LAPIC_PRIV_H
#define DEVICES_LAPIC_PRIV_H

#include "devices/lapic.h"

enum lapic_reg {
	LAPIC_ID = 0x02, LAPIC_VERSION = 0x03, LAPIC_TPR = 0x08, LAPIC_APR = 0x09, LAPIC_PPR = 0x0a,
	LAPIC_EOI = 0x0b, LAPIC_RRD = 0x0c, LAPIC_LDR = 0x0d, LAPIC_DFR = 0x0e, LAPIC_SVR = 0x0f,
	LAPIC_ISR = 0x10, LAPIC_TMR = 0x18, LAPIC_IRR = 0x20, LAPIC_ESR = 0x28,
	LAPIC_ESR_PENDING = 0x29, /* no register there: errors since the last write to ESR */
	LAPIC_ICR = 0x30, LAPIC_ICR2 = 0x31, LAPIC_LVT_TIMER = 0x32, LAPIC_LVT_THERMAL = 0x33,
	LAPIC_LVT_PERF = 0x34, LAPIC_LVT_LINT0 = 0x35, LAPIC_LVT_LINT1 = 0x36,
	LAPIC_LVT_ERROR = 0x37, LAPIC_TMICT = 0x38, LAPIC_TMCCT = 0x39, LAPIC_TDCR = 0x3e,
	LAPIC_SELF_IPI = 0x3f,
};

#define LVT_MASKED	(1U << 16)
#define LVT_TIMER_MODE	(3U << 17)
#define LVT_PERIODIC	(1U << 17)
#define LVT_TSCDEADLINE (2U << 17)
#define SVR_ENABLE	(1U << 8)

#define ICR_WRITABLE	0x000ccfffU
#define ICR_LOGICAL	(1U << 11)
#define ICR_BUSY	(1U << 12)
#define ICR_ASSERT	(1U << 14)
#define ICR_LEVEL	(1U << 15)
#define ICR_SHORTHAND	(3U << 18)
#define ICR_SELF	(1U << 18)
#define ICR_ALL		(2U << 18)
#define ICR_OTHERS	(3U << 18)

#define ESR_SEND_VECTOR (1U << 5)
#define ESR_RECV_VECTOR (1U << 6)
#define ESR_ILLEGAL_REG (1U << 7)

static inline bool lapic_sw_enabled(const struct lapic *l)
{
	return (l->base_msr & APIC_BASE_EN) && (l->regs[LAPIC_SVR] & SVR_ENABLE);
}

/* Logical destination: fixed by the id in x2APIC mode. */
static inline uint32_t lapic_ldr(const struct lapic *l)
{
	if (l->base_msr & APIC_BASE_EXTD)
		return (l->id >> 4) << 16 | 1U << (l->id & 15);
	return l->regs[LAPIC_LDR];
}

void lapic_error_locked(struct lapic *l, uint32_t bit);
void lapic_accept_locked(struct lapic *l, uint8_t vector, bool level);

/* lapic_timer.c */
uint32_t lapic_timer_count_locked(struct lapic *l);
void lapic_timer_mode_locked(struct lapic *l, uint32_t old_lvt);
void lapic_timer_start_locked(struct lapic *l, uint32_t count);
void lapic_timer_divide_locked(struct lapic *l, uint32_t tdcr);
void lapic_timer_rearm_locked(struct lapic *l);

/* lapic_ipi.c */
void lapic_icr_send(struct lapic *l, uint32_t low, uint32_t dest, bool x2apic);

#endif
