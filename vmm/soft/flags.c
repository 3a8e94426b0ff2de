/* SPDX-License-Identifier: Apache-2.0 */
/* Computing RFLAGS from the last result. */
#include "soft/flags.h"

uint32_t cc_arith(const struct lazy_flags *cc)
{
	uint64_t mask = cc_mask(cc->op), sign = cc_sign(cc->op);
	uint64_t res = cc->res, src = cc->src, dst;
	uint32_t fl = 0;

	switch (cc->op & ~3U) {
	case CC_ADD:
	case CC_ADC: {
		unsigned cin = (cc->op & ~3U) == CC_ADC;

		dst = (res - src - cin) & mask;
		fl |= cin ? res <= src : res < src;
		fl |= (dst ^ src ^ res) & FL_AF;
		fl |= (dst ^ res) & (src ^ res) & sign ? FL_OF : 0;
		break;
	}
	case CC_SUB:
	case CC_SBB: {
		unsigned cin = (cc->op & ~3U) == CC_SBB;

		dst = (res + src + cin) & mask;
		fl |= cin ? dst <= src : dst < src;
		fl |= (dst ^ src ^ res) & FL_AF;
		fl |= (dst ^ src) & (dst ^ res) & sign ? FL_OF : 0;
		break;
	}
	case CC_RES: fl |= src & (FL_CF | FL_AF | FL_OF); break;
	default: break;
	}
	fl |= res == 0 ? FL_ZF : 0;
	fl |= res & sign ? FL_SF : 0;
	fl |= __builtin_parity(res & 0xff) ? 0 : FL_PF;
	return fl;
}

uint32_t flags_sync(struct cpu *cpu)
{
	if (cpu->cc.op != CC_EXPLICIT) {
		cpu->rflags = (cpu->rflags & ~FL_ARITH) | cc_arith(&cpu->cc);
		cpu->cc.op = CC_EXPLICIT;
	}
	return cpu->rflags;
}
