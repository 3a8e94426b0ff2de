/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Specialised handlers: conditional jumps, alone and fused with the comparison or arithmetic before them.
 * A fused handler still leaves the flags for whoever reads them behind the jump.
 */
#include "soft/interp/fast.h"

/* Condition after a - b, or of a result whose flags have just been set. */
FAST bool cond_of(struct cpu *cpu, unsigned o, unsigned s, unsigned cond, uint64_t a, uint64_t b,
		  uint64_t r)
{
	bool t;

	if (o != OP_CMP && o != OP_SUB)
		return cc_cond(cpu, cond);
	switch (cond >> 1) {
	case 1: t = a < b; break;
	case 2: t = a == b; break;
	case 3: t = a <= b; break;
	case 4: t = sext_from(s, r) < 0; break;
	case 6: t = sext_from(s, a) < sext_from(s, b); break;
	case 7: t = sext_from(s, a) <= sext_from(s, b); break;
	default: return cc_cond(cpu, cond);
	}
	return t ^ (cond & 1);
}

FAST const struct op *fused(struct cpu *cpu, const struct op *op, unsigned o, unsigned s,
			    unsigned cond, uint64_t a, uint64_t b)
{
	uint64_t r = alu_do(cpu, o, s, a, b, false);

	op++; /* the plain jump: its exit is behind it */
	if (cond_of(cpu, o, s, cond, a, b, r))
		OP_BRANCH(op, 1);
	OP_BRANCH(op, 0);
}

FAST const struct op *fused_rr(struct cpu *cpu, const struct op *op, unsigned o, unsigned s,
			       unsigned cond)
{
	uint64_t a = reg_get(cpu, s, op->r0), b = reg_get(cpu, s, op->r1);

	if (alu_writes(o))
		reg_set(cpu, s, op->r0, alu_do(cpu, o, s, a, b, true));
	return fused(cpu, op, o, s, cond, a, b);
}

FAST const struct op *fused_ri(struct cpu *cpu, const struct op *op, unsigned o, unsigned s,
			       unsigned cond)
{
	uint64_t a = reg_get(cpu, s, op->r0), b = trunc_to(s, op->imm);

	if (alu_writes(o))
		reg_set(cpu, s, op->r0, alu_do(cpu, o, s, a, b, true));
	return fused(cpu, op, o, s, cond, a, b);
}

FAST const struct op *fused_rm(struct cpu *cpu, const struct op *op, unsigned o, unsigned s,
			       unsigned cond, unsigned ea)
{
	uint64_t va = ea_of(cpu, op, ea);
	READ_PTR(p, va, s);

	return fused(cpu, op, o, s, cond, reg_get(cpu, s, op->r0), host_get(s, p));
}

FAST const struct op *fused_mx(struct cpu *cpu, const struct op *op, unsigned o, unsigned s,
			       unsigned cond, unsigned ea, bool imm)
{
	uint64_t va = ea_of(cpu, op, ea);
	READ_PTR(p, va, s);

	return fused(cpu, op, o, s, cond, host_get(s, p),
		     imm ? trunc_to(s, op->imm) : reg_get(cpu, s, op->r0));
}

/* clang-format off */
#define NAME(o, s, form, ea, cond) f_##o##_##s##_##form##_##ea##_##cond

#define DEF_REG(o, s, cond) \
	HANDLER(NAME(o, s, rr, 0, cond)) { return fused_rr(cpu, op, OP_##o, s, 0x##cond); } \
	HANDLER(NAME(o, s, ri, 0, cond)) { return fused_ri(cpu, op, OP_##o, s, 0x##cond); }
#define DEF_RM(o, s, ea, cond) \
	HANDLER(NAME(o, s, rm, ea, cond)) { return fused_rm(cpu, op, OP_##o, s, 0x##cond, ea); }
#define DEF_MX(o, s, ea, cond) \
	HANDLER(NAME(o, s, mr, ea, cond)) { return fused_mx(cpu, op, OP_##o, s, 0x##cond, ea, false); } \
	HANDLER(NAME(o, s, mi, ea, cond)) { return fused_mx(cpu, op, OP_##o, s, 0x##cond, ea, true); }

#define DEF_CMP(s, cond) DEF_REG(CMP, s, cond) DEF_RM(CMP, s, 0, cond) DEF_RM(CMP, s, 1, cond) \
	DEF_MX(CMP, s, 0, cond) DEF_MX(CMP, s, 1, cond)
#define DEF_TEST(s, cond) DEF_REG(TEST, s, cond) DEF_MX(TEST, s, 0, cond) DEF_MX(TEST, s, 1, cond)

#define CMP_CONDS(M, s) M(s, 2) M(s, 3) M(s, 4) M(s, 5) M(s, 6) M(s, 7) M(s, 8) M(s, 9) M(s, c) M(s, d) \
	M(s, e) M(s, f)
#define TEST_CONDS(M, s) M(s, 4) M(s, 5) M(s, 8) M(s, 9) M(s, e) M(s, f)

CMP_CONDS(DEF_CMP, 0) CMP_CONDS(DEF_CMP, 1) CMP_CONDS(DEF_CMP, 2) CMP_CONDS(DEF_CMP, 3)
TEST_CONDS(DEF_TEST, 0) TEST_CONDS(DEF_TEST, 1) TEST_CONDS(DEF_TEST, 2) TEST_CONDS(DEF_TEST, 3)

#define DEF_ALU4(o, s) DEF_REG(o, s, 4) DEF_REG(o, s, 5) DEF_REG(o, s, 8) DEF_REG(o, s, 9)
#define DEF_ALU(o) DEF_ALU4(o, 2) DEF_ALU4(o, 3)
DEF_ALU(ADD) DEF_ALU(AND) DEF_ALU(SUB) DEF_ALU(OR) DEF_ALU(XOR)
DEF_REG(SUB, 2, 2) DEF_REG(SUB, 2, 3) DEF_REG(SUB, 3, 2) DEF_REG(SUB, 3, 3)
DEF_REG(ADD, 2, 2) DEF_REG(ADD, 2, 3) DEF_REG(ADD, 3, 2) DEF_REG(ADD, 3, 3)

#define ROW_CMP(s, cond) [s][0x##cond] = { \
	[OP_RR] = NAME(CMP, s, rr, 0, cond), [OP_RI] = NAME(CMP, s, ri, 0, cond), \
	[OP_RM] = NAME(CMP, s, rm, 0, cond), NAME(CMP, s, rm, 1, cond), \
	[OP_MR] = NAME(CMP, s, mr, 0, cond), NAME(CMP, s, mr, 1, cond), \
	[OP_MI] = NAME(CMP, s, mi, 0, cond), NAME(CMP, s, mi, 1, cond) },
#define ROW_TEST(s, cond) [s][0x##cond] = { \
	[OP_RR] = NAME(TEST, s, rr, 0, cond), [OP_RI] = NAME(TEST, s, ri, 0, cond), \
	[OP_MR] = NAME(TEST, s, mr, 0, cond), NAME(TEST, s, mr, 1, cond), \
	[OP_MI] = NAME(TEST, s, mi, 0, cond), NAME(TEST, s, mi, 1, cond) },
#define ROW_REG(o, s, cond) [s][0x##cond] = { \
	[OP_RR] = NAME(o, s, rr, 0, cond), [OP_RI] = NAME(o, s, ri, 0, cond) },
#define ROWS_ALU(o) ROW_REG(o, 2, 4) ROW_REG(o, 2, 5) ROW_REG(o, 2, 8) ROW_REG(o, 2, 9) \
	ROW_REG(o, 3, 4) ROW_REG(o, 3, 5) ROW_REG(o, 3, 8) ROW_REG(o, 3, 9)
#define ROWS_B(o) ROW_REG(o, 2, 2) ROW_REG(o, 2, 3) ROW_REG(o, 3, 2) ROW_REG(o, 3, 3)

enum { F_CMP, F_TEST, F_ADD, F_AND, F_SUB, F_OR, F_XOR, F_MAX_ };

static const op_fn table[F_MAX_][4][16][OP_OPERANDS_MAX_] = {
	[F_CMP] = { CMP_CONDS(ROW_CMP, 0) CMP_CONDS(ROW_CMP, 1) CMP_CONDS(ROW_CMP, 2)
		    CMP_CONDS(ROW_CMP, 3) },
	[F_TEST] = { TEST_CONDS(ROW_TEST, 0) TEST_CONDS(ROW_TEST, 1) TEST_CONDS(ROW_TEST, 2)
		     TEST_CONDS(ROW_TEST, 3) },
	[F_ADD] = { ROWS_ALU(ADD) ROWS_B(ADD) }, [F_AND] = { ROWS_ALU(AND) },
	[F_SUB] = { ROWS_ALU(SUB) ROWS_B(SUB) }, [F_OR] = { ROWS_ALU(OR) }, [F_XOR] = { ROWS_ALU(XOR) },
};
/* clang-format on */

op_fn fast_alu_jcc(unsigned op, unsigned size, unsigned operands, unsigned cond)
{
	unsigned i;

	switch (op) {
	case OP_CMP: i = F_CMP; break;
	case OP_TEST: i = F_TEST; break;
	case OP_ADD: i = F_ADD; break;
	case OP_AND: i = F_AND; break;
	case OP_SUB: i = F_SUB; break;
	case OP_OR: i = F_OR; break;
	case OP_XOR: i = F_XOR; break;
	default: return NULL;
	}
	return table[i][size][cond][operands];
}

/* ---- alone ---- */

/* clang-format off */
#define DEF_JCC(c) HANDLER(jcc_##c) { if (cc_cond(cpu, 0x##c)) OP_BRANCH(op, 1); OP_BRANCH(op, 0); }
#define ALL(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(a) M(b) M(c) M(d) M(e) M(f)
#define ENTRY(c) [0x##c] = jcc_##c,
ALL(DEF_JCC)

op_fn fast_jcc(unsigned cond)
{
	static const op_fn jcc[16] = { ALL(ENTRY) };

	return jcc[cond];
}
/* clang-format on */
