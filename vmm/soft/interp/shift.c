/* SPDX-License-Identifier: Apache-2.0 */
/* Shifts and rotates on values. Ref: Intel SDM 2B "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR". */
#include "soft/interp/shift.h"

#include "soft/flags.h"
#include "soft/interp/operand.h"

static struct shift_result rotate(unsigned op, unsigned bits, uint64_t val, unsigned count)
{
	uint64_t mask = ~0ULL >> (64 - bits);
	unsigned c = count % bits;
	struct shift_result r = { .mask = FL_CF | FL_OF };
	bool msb, cf;

	if (op == OP_ROR)
		c = (bits - c) % bits;
	r.res = c ? ((val << c) | (val >> (bits - c))) & mask : val;
	msb = r.res >> (bits - 1) & 1;
	cf = op == OP_ROR ? msb : r.res & 1;
	r.fl = cf ? FL_CF : 0;
	if (op == OP_ROR ? msb ^ (r.res >> (bits - 2) & 1) : msb ^ cf)
		r.fl |= FL_OF;
	return r;
}

static struct shift_result rotate_carry(unsigned op, unsigned bits, uint64_t val, unsigned count,
					unsigned cf)
{
	struct shift_result r = { .res = val, .mask = FL_CF | FL_OF };
	unsigned __int128 wide, wmask = ((unsigned __int128)1 << (bits + 1)) - 1;
	unsigned n = bits + 1, c = count % n;
	bool msb;

	if (c == 0 && bits < 32) { /* a full turn: nothing changes */
		msb = val >> (bits - 1) & 1;
		r.fl = (cf ? FL_CF : 0) |
		       ((op == OP_RCL ? msb ^ cf : msb ^ (val >> (bits - 2) & 1)) ? FL_OF : 0);
		return r;
	}
	if (op == OP_RCR)
		c = n - c;
	wide = ((unsigned __int128)cf << bits) | val;
	wide = ((wide << c) | (wide >> (n - c))) & wmask;
	r.res = (uint64_t)wide & (~0ULL >> (64 - bits));
	cf = wide >> bits & 1;
	msb = r.res >> (bits - 1) & 1;
	r.fl = cf ? FL_CF : 0;
	if (op == OP_RCL ? msb ^ cf : msb ^ (r.res >> (bits - 2) & 1))
		r.fl |= FL_OF;
	return r;
}

struct shift_result shift_value(unsigned op, unsigned size, uint64_t val, unsigned count,
				unsigned cf)
{
	unsigned bits = size * 8;
	unsigned c = count & (size == 8 ? 63 : 31);
	uint64_t mask = ~0ULL >> (64 - bits);
	struct shift_result r = { .res = val, .mask = FL_ARITH };
	bool carry, of;
	int64_t s;

	if (c == 0) {
		r.mask = 0;
		return r;
	}
	switch (op) {
	case OP_ROL:
	case OP_ROR: return rotate(op, bits, val, c);
	case OP_RCL:
	case OP_RCR: return rotate_carry(op, bits, val, c, cf);
	case OP_SHL:
	case OP_SAL:
		r.res = (val << c) & mask;
		carry = c <= bits ? val >> (bits - c) & 1 : 0;
		of = (r.res >> (bits - 1) & 1) ^ carry;
		break;
	case OP_SHR:
		r.res = val >> c;
		carry = val >> (c - 1) & 1;
		of = (val >> (bits - 1)) & 1;
		if (c != 1)
			of = (r.res ^ (r.res << 1)) >> (bits - 1) & 1;
		break;
	default: /* SAR */
		s = sign_extend(val, size);
		r.res = (uint64_t)(s >> c) & mask;
		carry = s >> (c - 1) & 1;
		of = 0;
		break;
	}
	r.fl = cc_arith_of(CC_RES | insn_log2_size(size), r.res, (carry ? FL_CF : 0) | (of ? FL_OF : 0));
	return r;
}
