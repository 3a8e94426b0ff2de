/* SPDX-License-Identifier: Apache-2.0 */
/* Specialised handlers: shifts, one-operand arithmetic, multiplication, bit tests, odds and ends. */
#include "soft/interp/fast.h"

#include "soft/interp/shift.h"

/* clang-format off */

/* ---- shifts of registers; the count is in imm (masked, not 0) or in CL ---- */

FAST uint64_t shift_do(struct cpu *cpu, unsigned o, unsigned s, uint64_t v, unsigned c, bool dead)
{
	unsigned bits = 8U << s;
	uint64_t r, cf, of;

	switch (o) {
	case OP_SHL:
		r = trunc_to(s, v << c);
		cf = c <= bits ? v >> (bits - c) & 1 : 0;
		of = (r >> (bits - 1)) ^ cf;
		break;
	case OP_SHR:
		r = v >> c;
		cf = v >> (c - 1) & 1;
		of = (r ^ r << 1) >> (bits - 1) & 1;
		break;
	default:
		r = trunc_to(s, sext_from(s, v) >> c);
		cf = (uint64_t)(sext_from(s, v) >> (c - 1)) & 1;
		of = 0;
		break;
	}
	if (!dead)
		set_cc(cpu, CC_RES | s, r, cf | (of & 1) << 11);
	return r;
}

FAST const struct op *shift_ri(struct cpu *cpu, const struct op *op, unsigned o, unsigned s, bool dead)
{
	reg_set(cpu, s, op->r0, shift_do(cpu, o, s, reg_get(cpu, s, op->r0), op->cond, dead));
	NEXT;
}

FAST const struct op *shift_cl(struct cpu *cpu, const struct op *op, unsigned o, unsigned s, bool dead)
{
	unsigned c = cpu->gpr[HV_RCX] & (s == 3 ? 63 : 31);

	if (c)
		reg_set(cpu, s, op->r0, shift_do(cpu, o, s, reg_get(cpu, s, op->r0), c, dead));
	else if (s == 2)
		reg_set(cpu, s, op->r0, reg_get(cpu, s, op->r0));
	NEXT;
}

/* Rotates keep most flags: make them explicit when they are wanted. */
FAST const struct op *rotate_ri(struct cpu *cpu, const struct op *op, bool left, unsigned s, bool dead)
{
	unsigned bits = 8U << s, c = op->cond & (bits - 1);
	uint64_t v = reg_get(cpu, s, op->r0), r;
	uint32_t fl;

	if (!left)
		c = (bits - c) & (bits - 1);
	r = c ? trunc_to(s, v << c | v >> (bits - c)) : v;
	reg_set(cpu, s, op->r0, r);
	if (!dead) {
		fl = flags_sync(cpu) & ~(FL_CF | FL_OF);
		if (left)
			fl |= (r & 1) | (((r >> (bits - 1)) ^ r) & 1 ? FL_OF : 0);
		else
			fl |= (r >> (bits - 1) & 1) | ((r ^ r << 1) >> (bits - 1) & 1 ? FL_OF : 0);
		cpu->rflags = fl;
	}
	NEXT;
}

#define SH(o, s, d) \
	HANDLER(o##_i_##s##_##d) { return shift_ri(cpu, op, OP_##o, s, d); } \
	HANDLER(o##_c_##s##_##d) { return shift_cl(cpu, op, OP_##o, s, d); }
#define SHS(o) SH(o, 0, 0) SH(o, 1, 0) SH(o, 2, 0) SH(o, 3, 0) SH(o, 0, 1) SH(o, 1, 1) SH(o, 2, 1) SH(o, 3, 1)
SHS(SHL) SHS(SHR) SHS(SAR)
#define RO(n, left, s, d) HANDLER(n##_i_##s##_##d) { return rotate_ri(cpu, op, left, s, d); }
#define ROS(n, left) RO(n, left, 1, 0) RO(n, left, 2, 0) RO(n, left, 3, 0) RO(n, left, 1, 1) RO(n, left, 2, 1) \
	RO(n, left, 3, 1)
ROS(ROL, true) ROS(ROR, false)

#define SHROW(o, k) { { o##_##k##_0_0, o##_##k##_0_1 }, { o##_##k##_1_0, o##_##k##_1_1 }, \
		      { o##_##k##_2_0, o##_##k##_2_1 }, { o##_##k##_3_0, o##_##k##_3_1 } }
#define ROROW(o) { { NULL, NULL }, { o##_i_1_0, o##_i_1_1 }, { o##_i_2_0, o##_i_2_1 }, \
		   { o##_i_3_0, o##_i_3_1 } }

op_fn fast_shift(unsigned op, unsigned size, bool by_cl, bool dead)
{
	static const op_fn by_imm[8][4][2] = {
		[OP_ROL - OP_ROL] = ROROW(ROL), [OP_ROR - OP_ROL] = ROROW(ROR),
		[OP_SHL - OP_ROL] = SHROW(SHL, i), [OP_SHR - OP_ROL] = SHROW(SHR, i),
		[OP_SAL - OP_ROL] = SHROW(SHL, i), [OP_SAR - OP_ROL] = SHROW(SAR, i),
	};
	static const op_fn cl[8][4][2] = {
		[OP_SHL - OP_ROL] = SHROW(SHL, c), [OP_SHR - OP_ROL] = SHROW(SHR, c),
		[OP_SAL - OP_ROL] = SHROW(SHL, c), [OP_SAR - OP_ROL] = SHROW(SAR, c),
	};

	return (by_cl ? cl : by_imm)[op - OP_ROL][size][dead];
}

/* ---- INC DEC NOT NEG ---- */

FAST uint64_t unary_do(struct cpu *cpu, unsigned o, unsigned s, uint64_t v, bool dead)
{
	uint64_t r, fl;

	switch (o) {
	case OP_NOT: return trunc_to(s, ~v);
	case OP_NEG:
		r = trunc_to(s, -v);
		if (!dead)
			set_cc(cpu, CC_SUB | s, r, v);
		return r;
	case OP_INC:
		r = trunc_to(s, v + 1);
		fl = (r & 15) == 0 ? FL_AF : 0;
		fl |= r == 1ULL << ((8U << s) - 1) ? FL_OF : 0;
		break;
	default:
		r = trunc_to(s, v - 1);
		fl = (v & 15) == 0 ? FL_AF : 0;
		fl |= v == 1ULL << ((8U << s) - 1) ? FL_OF : 0;
		break;
	}
	if (!dead)
		set_cc(cpu, CC_RES | s, r, fl | (cc_cf(cpu) ? FL_CF : 0));
	return r;
}

FAST const struct op *unary_r(struct cpu *cpu, const struct op *op, unsigned o, unsigned s, bool dead)
{
	reg_set(cpu, s, op->r0, unary_do(cpu, o, s, reg_get(cpu, s, op->r0), dead));
	NEXT;
}

FAST const struct op *unary_m(struct cpu *cpu, const struct op *op, unsigned o, unsigned s, unsigned ea,
			      bool dead)
{
	uint64_t va = ea_of(cpu, op, ea);
	WRITE_PTR(p, va, s);

	host_set(s, p, unary_do(cpu, o, s, host_get(s, p), dead));
	NEXT;
}

#define UN(o, s, d) \
	HANDLER(o##_r_##s##_##d) { return unary_r(cpu, op, OP_##o, s, d); } \
	HANDLER(o##_0_##s##_##d) { return unary_m(cpu, op, OP_##o, s, 0, d); } \
	HANDLER(o##_1_##s##_##d) { return unary_m(cpu, op, OP_##o, s, 1, d); } \
	HANDLER(o##_2_##s##_##d) { return unary_m(cpu, op, OP_##o, s, 2, d); }
#define UNS(o) UN(o, 0, 0) UN(o, 1, 0) UN(o, 2, 0) UN(o, 3, 0) UN(o, 0, 1) UN(o, 1, 1) UN(o, 2, 1) UN(o, 3, 1)
UNS(INC) UNS(DEC) UNS(NOT) UNS(NEG)
#define UNCELL(o, s, d) { o##_0_##s##_##d, o##_1_##s##_##d, o##_2_##s##_##d, o##_r_##s##_##d }
#define UNROW(o) { { UNCELL(o, 0, 0), UNCELL(o, 0, 1) }, { UNCELL(o, 1, 0), UNCELL(o, 1, 1) }, \
		   { UNCELL(o, 2, 0), UNCELL(o, 2, 1) }, { UNCELL(o, 3, 0), UNCELL(o, 3, 1) } }

op_fn fast_unary(unsigned op, unsigned size, bool mem, unsigned ea, bool dead)
{
	static const op_fn table[4][4][2][4] = { UNROW(INC), UNROW(DEC), UNROW(NOT), UNROW(NEG) };

	return table[op - OP_INC][size][dead][mem ? ea : 3];
}

/* ---- IMUL with two or three operands ---- */

FAST void imul_do(struct cpu *cpu, unsigned s, unsigned r0, int64_t a, int64_t b)
{
	uint64_t r;
	bool over;

	if (s == 3) {
		int64_t p;

		over = __builtin_mul_overflow(a, b, &p);
		r = p;
	} else {
		int64_t p = a * b;

		r = (uint32_t)p;
		over = p != (int32_t)p;
	}
	reg_set(cpu, s, r0, r);
	set_cc(cpu, CC_RES | s, r, over ? FL_CF | FL_OF : 0);
}

FAST const struct op *imul_rr(struct cpu *cpu, const struct op *op, unsigned s)
{
	imul_do(cpu, s, op->r0, sext_from(s, reg_get(cpu, s, op->r0)), sext_from(s, reg_get(cpu, s, op->r1)));
	NEXT;
}

FAST const struct op *imul_rri(struct cpu *cpu, const struct op *op, unsigned s)
{
	imul_do(cpu, s, op->r0, sext_from(s, reg_get(cpu, s, op->r1)), op->imm);
	NEXT;
}

FAST const struct op *imul_rm(struct cpu *cpu, const struct op *op, unsigned s, unsigned ea)
{
	uint64_t va = ea_of(cpu, op, ea);
	READ_PTR(p, va, s);

	imul_do(cpu, s, op->r0, sext_from(s, reg_get(cpu, s, op->r0)), sext_from(s, host_get(s, p)));
	NEXT;
}

#define IM(s) HANDLER(imul_rr_##s) { return imul_rr(cpu, op, s); } \
	HANDLER(imul_rri_##s) { return imul_rri(cpu, op, s); } \
	HANDLER(imul_0_##s) { return imul_rm(cpu, op, s, 0); } \
	HANDLER(imul_1_##s) { return imul_rm(cpu, op, s, 1); } \
	HANDLER(imul_2_##s) { return imul_rm(cpu, op, s, 2); }
IM(2) IM(3)

op_fn fast_imul(unsigned size, unsigned operands)
{
	static const op_fn table[2][OP_RM + 3] = { { imul_rr_2, imul_rri_2, imul_0_2, imul_1_2, imul_2_2 },
						   { imul_rr_3, imul_rri_3, imul_0_3, imul_1_3, imul_2_3 } };

	return size < 2 || operands >= OP_RM + 3 ? NULL : table[size - 2][operands];
}

/* ---- BT and its kin on registers: only CF changes ---- */

FAST const struct op *bt_r(struct cpu *cpu, const struct op *op, unsigned o, unsigned s, bool imm)
{
	uint64_t i = (imm ? (uint64_t)op->imm : OP_R64(op->r1)) & (s == 3 ? 63 : 31), bit = 1ULL << i;
	uint64_t v = reg_get(cpu, s, op->r0);

	cpu->rflags = (flags_sync(cpu) & ~FL_CF) | (v >> i & 1);
	if (o == OP_BTS)
		reg_set(cpu, s, op->r0, v | bit);
	else if (o == OP_BTR)
		reg_set(cpu, s, op->r0, v & ~bit);
	else if (o == OP_BTC)
		reg_set(cpu, s, op->r0, v ^ bit);
	NEXT;
}

#define BTD(o, s) HANDLER(o##_r_##s) { return bt_r(cpu, op, OP_##o, s, false); } \
	HANDLER(o##_i_##s) { return bt_r(cpu, op, OP_##o, s, true); }
#define BTS_(o) BTD(o, 2) BTD(o, 3)
BTS_(BT) BTS_(BTS) BTS_(BTR) BTS_(BTC)
#define BTROW(o) { { o##_r_2, o##_i_2 }, { o##_r_3, o##_i_3 } }

op_fn fast_bt(unsigned op, unsigned size, bool imm)
{
	static const op_fn table[4][2][2] = { BTROW(BT), BTROW(BTS), BTROW(BTR), BTROW(BTC) };

	return size < 2 ? NULL : table[op - OP_BT][size - 2][imm];
}

/* ---- odds and ends ---- */

HANDLER(nop) { NEXT; }
HANDLER(cwde) { OP_R64(HV_RAX) = (uint32_t)(int16_t)OP_R16(HV_RAX); NEXT; }
HANDLER(cdqe) { OP_R64(HV_RAX) = (int64_t)(int32_t)OP_R32(HV_RAX); NEXT; }
HANDLER(cdq) { OP_R64(HV_RDX) = (uint32_t)((int32_t)OP_R32(HV_RAX) >> 31); NEXT; }
HANDLER(cqo) { OP_R64(HV_RDX) = (int64_t)OP_R64(HV_RAX) >> 63; NEXT; }
HANDLER(bswap_2) { OP_R64(op->r0) = __builtin_bswap32(OP_R32(op->r0)); NEXT; }
HANDLER(bswap_3) { OP_R64(op->r0) = __builtin_bswap64(OP_R64(op->r0)); NEXT; }

FAST const struct op *xchg_r(struct cpu *cpu, const struct op *op, unsigned s)
{
	uint64_t a = reg_get(cpu, s, op->r0), b = reg_get(cpu, s, op->r1);

	reg_set(cpu, s, op->r0, b);
	reg_set(cpu, s, op->r1, a);
	NEXT;
}

HANDLER(xchg_2) { return xchg_r(cpu, op, 2); }
HANDLER(xchg_3) { return xchg_r(cpu, op, 3); }

/* One-operand multiplication of registers: rDX:rAX. */
FAST const struct op *mul_r(struct cpu *cpu, const struct op *op, unsigned s, bool sign)
{
	uint64_t lo, hi;
	bool over;

	if (s == 2) {
		uint64_t p = sign ? (uint64_t)((int64_t)(int32_t)OP_R32(HV_RAX) * (int32_t)OP_R32(op->r0))
				  : (uint64_t)OP_R32(HV_RAX) * OP_R32(op->r0);

		lo = (uint32_t)p;
		hi = p >> 32;
		over = sign ? (int64_t)p != (int32_t)p : hi != 0;
	} else {
		unsigned __int128 p;

		p = sign ? (unsigned __int128)((__int128)(int64_t)OP_R64(HV_RAX) * (int64_t)OP_R64(op->r0))
			 : (unsigned __int128)OP_R64(HV_RAX) * OP_R64(op->r0);
		lo = p;
		hi = p >> 64;
		over = sign ? hi != (uint64_t)((int64_t)lo >> 63) : hi != 0;
	}
	OP_R64(HV_RAX) = lo;
	OP_R64(HV_RDX) = hi;
	set_cc(cpu, CC_RES | s, lo, over ? FL_CF | FL_OF : 0);
	NEXT;
}

HANDLER(mul_2) { return mul_r(cpu, op, 2, false); }
HANDLER(mul_3) { return mul_r(cpu, op, 3, false); }
HANDLER(imul1_2) { return mul_r(cpu, op, 2, true); }
HANDLER(imul1_3) { return mul_r(cpu, op, 3, true); }

/* DIV of registers, when the quotient surely fits: upper half below the divisor. */
HANDLER(div_2)
{
	uint64_t n = (uint64_t)OP_R32(HV_RDX) << 32 | OP_R32(HV_RAX), d = OP_R32(op->r0);

	if (unlikely(OP_R32(HV_RDX) >= d))
		return op_slow(cpu, op);
	OP_R64(HV_RAX) = n / d;
	OP_R64(HV_RDX) = n % d;
	NEXT;
}

HANDLER(div_3)
{
	uint64_t d = OP_R64(op->r0), n = OP_R64(HV_RAX);

	if (unlikely(OP_R64(HV_RDX) != 0 || d == 0))
		return op_slow(cpu, op);
	OP_R64(HV_RAX) = n / d;
	OP_R64(HV_RDX) = n % d;
	NEXT;
}

FAST const struct op *scan_r(struct cpu *cpu, const struct op *op, unsigned s, bool reverse)
{
	uint64_t v = reg_get(cpu, s, op->r1);

	if (unlikely(v == 0))
		return op_slow(cpu, op);
	v = reverse ? 63 - __builtin_clzll(v) : __builtin_ctzll(v);
	reg_set(cpu, s, op->r0, v);
	/* ZF clear; PF as the index has it */
	cpu->rflags &= ~FL_ARITH;
	cpu->rflags |= __builtin_parity(v & 0xff) ? 0 : FL_PF;
	cpu->cc.op = CC_EXPLICIT;
	NEXT;
}

HANDLER(bsf_2) { return scan_r(cpu, op, 2, false); }
HANDLER(bsf_3) { return scan_r(cpu, op, 3, false); }
HANDLER(bsr_2) { return scan_r(cpu, op, 2, true); }
HANDLER(bsr_3) { return scan_r(cpu, op, 3, true); }

op_fn fast_misc(unsigned op, unsigned size)
{
	static const op_fn table[OP_MAX_][2] = {
		[OP_CBW] = { cwde, cdqe }, [OP_CWD] = { cdq, cqo }, [OP_BSWAP] = { bswap_2, bswap_3 },
		[OP_XCHG] = { xchg_2, xchg_3 }, [OP_MUL] = { mul_2, mul_3 }, [OP_IMUL1] = { imul1_2, imul1_3 },
		[OP_DIV] = { div_2, div_3 }, [OP_BSF] = { bsf_2, bsf_3 }, [OP_BSR] = { bsr_2, bsr_3 },
	};

	if (op == OP_NOP)
		return nop;
	return size < 2 ? NULL : table[op][size - 2];
}
/* clang-format on */
