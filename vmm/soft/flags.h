/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lazy flags: the last result is kept, and flags are computed from it when somebody asks.
 *
 * cc.op is a kind plus the operand size (0 to 3 for 1, 2, 4, 8 bytes). res and src are
 * zero-extended. The first operand is had back from them: res - src after an addition, res + src
 * after a subtraction.
 */
#ifndef SOFT_FLAGS_H
#define SOFT_FLAGS_H

#include "soft/cpu.h"

enum cc_op {
	CC_EXPLICIT = 0,
	CC_ADD = 4,
	CC_ADC = 8, /* addition with a carry of one */
	CC_SUB = 12,
	CC_SBB = 16, /* subtraction with a borrow of one */
	CC_LOGIC = 20,
	CC_RES = 24, /* SF ZF PF from res; src holds CF, AF and OF as in RFLAGS */
};

static inline uint64_t cc_mask(unsigned op)
{
	return ~0ULL >> (64 - (8U << (op & 3)));
}

static inline uint64_t cc_sign(unsigned op)
{
	return 1ULL << ((8U << (op & 3)) - 1);
}

/* The arithmetic flags of @cc, which is not CC_EXPLICIT. */
uint32_t cc_arith(const struct lazy_flags *cc);

static inline uint32_t cc_arith_of(unsigned op, uint64_t res, uint64_t src)
{
	struct lazy_flags cc = { .op = op, .res = res, .src = src };

	return cc_arith(&cc);
}

static inline bool cc_cf(const struct cpu *cpu)
{
	const struct lazy_flags *cc = &cpu->cc;

	switch (cc->op & ~3U) {
	case CC_EXPLICIT: return cpu->rflags & FL_CF;
	case CC_ADD: return cc->res < cc->src;
	case CC_ADC: return cc->res <= cc->src;
	case CC_SUB: return ((cc->res + cc->src) & cc_mask(cc->op)) < cc->src;
	case CC_SBB: return ((cc->res + cc->src + 1) & cc_mask(cc->op)) <= cc->src;
	case CC_RES: return cc->src & FL_CF;
	default: return false;
	}
}

static inline bool cc_zf(const struct cpu *cpu)
{
	return cpu->cc.op == CC_EXPLICIT ? cpu->rflags & FL_ZF : cpu->cc.res == 0;
}

static inline bool cc_sf(const struct cpu *cpu)
{
	return cpu->cc.op == CC_EXPLICIT ? cpu->rflags & FL_SF : cpu->cc.res & cc_sign(cpu->cc.op);
}

static inline bool cc_pf(const struct cpu *cpu)
{
	return cpu->cc.op == CC_EXPLICIT ? cpu->rflags & FL_PF
					 : !__builtin_parity(cpu->cc.res & 0xff);
}

static inline bool cc_of(const struct cpu *cpu)
{
	const struct lazy_flags *cc = &cpu->cc;
	uint64_t dst;

	switch (cc->op & ~3U) {
	case CC_EXPLICIT: return cpu->rflags & FL_OF;
	case CC_ADD:
	case CC_ADC:
		dst = cc->res - cc->src - ((cc->op & ~3U) == CC_ADC);
		return (dst ^ cc->res) & (cc->src ^ cc->res) & cc_sign(cc->op);
	case CC_SUB:
	case CC_SBB:
		dst = cc->res + cc->src + ((cc->op & ~3U) == CC_SBB);
		return (dst ^ cc->src) & (dst ^ cc->res) & cc_sign(cc->op);
	case CC_RES: return cc->src & FL_OF;
	default: return false;
	}
}

/* Condition codes 0-15 as encoded in Jcc, SETcc, CMOVcc. */
static inline __attribute__((always_inline)) bool cc_cond(const struct cpu *cpu, unsigned cond)
{
	bool r;

	switch (cond >> 1) {
	case 0: r = cc_of(cpu); break;
	case 1: r = cc_cf(cpu); break;
	case 2: r = cc_zf(cpu); break;
	case 3: r = cc_zf(cpu) || cc_cf(cpu); break;
	case 4: r = cc_sf(cpu); break;
	case 5: r = cc_pf(cpu); break;
	case 6: r = cc_sf(cpu) != cc_of(cpu); break;
	default: r = cc_zf(cpu) || cc_sf(cpu) != cc_of(cpu); break;
	}
	return r ^ (cond & 1);
}

/* The same for complete RFLAGS. */
static inline bool fl_cond(uint32_t fl, unsigned cond)
{
	bool r, lt = !(fl & FL_SF) != !(fl & FL_OF);

	switch (cond >> 1) {
	case 0: r = fl & FL_OF; break;
	case 1: r = fl & FL_CF; break;
	case 2: r = fl & FL_ZF; break;
	case 3: r = fl & (FL_ZF | FL_CF); break;
	case 4: r = fl & FL_SF; break;
	case 5: r = fl & FL_PF; break;
	case 6: r = lt; break;
	default: r = lt || (fl & FL_ZF); break;
	}
	return r ^ (cond & 1);
}

#endif
