/* SPDX-License-Identifier: Apache-2.0 */
/* Specialised handlers: two-operand arithmetic, all operand forms. */
#include "soft/interp/fast.h"

FAST const struct op *alu_rr(struct cpu *cpu, const struct op *op, unsigned o, unsigned s,
			     bool dead)
{
	uint64_t r = alu_do(cpu, o, s, reg_get(cpu, s, op->r0), reg_get(cpu, s, op->r1), dead);

	if (alu_writes(o))
		reg_set(cpu, s, op->r0, r);
	NEXT;
}

FAST const struct op *alu_ri(struct cpu *cpu, const struct op *op, unsigned o, unsigned s,
			     bool dead)
{
	uint64_t r = alu_do(cpu, o, s, reg_get(cpu, s, op->r0), trunc_to(s, op->imm), dead);

	if (alu_writes(o))
		reg_set(cpu, s, op->r0, r);
	NEXT;
}

FAST const struct op *alu_rm(struct cpu *cpu, const struct op *op, unsigned o, unsigned s,
			     unsigned ea, bool dead)
{
	uint64_t va = ea_of(cpu, op, ea), r;
	READ_PTR(p, va, s);

	r = alu_do(cpu, o, s, reg_get(cpu, s, op->r0), host_get(s, p), dead);
	if (alu_writes(o))
		reg_set(cpu, s, op->r0, r);
	NEXT;
}

/* Memory first operand; the other one is register or immediate. */
FAST const struct op *alu_mx(struct cpu *cpu, const struct op *op, unsigned o, unsigned s,
			     unsigned ea, bool imm, bool dead)
{
	uint64_t va = ea_of(cpu, op, ea), r, b;

	b = imm ? trunc_to(s, op->imm) : reg_get(cpu, s, op->r0);
	if (alu_writes(o)) {
		WRITE_PTR(p, va, s);
		r = alu_do(cpu, o, s, host_get(s, p), b, dead);
		host_set(s, p, r);
	} else {
		READ_PTR(p, va, s);
		alu_do(cpu, o, s, host_get(s, p), b, dead);
	}
	NEXT;
}

#define NAME(o, s, form, ea, dead) alu_##o##_##s##_##form##_##ea##_##dead

#define DEF_REG(o, s, dead)                              \
	HANDLER(NAME(o, s, rr, 0, dead))                 \
	{                                                \
		return alu_rr(cpu, op, OP_##o, s, dead); \
	}                                                \
	HANDLER(NAME(o, s, ri, 0, dead))                 \
	{                                                \
		return alu_ri(cpu, op, OP_##o, s, dead); \
	}
#define DEF_MEM(o, s, ea, dead)                                     \
	HANDLER(NAME(o, s, rm, ea, dead))                           \
	{                                                           \
		return alu_rm(cpu, op, OP_##o, s, ea, dead);        \
	}                                                           \
	HANDLER(NAME(o, s, mr, ea, dead))                           \
	{                                                           \
		return alu_mx(cpu, op, OP_##o, s, ea, false, dead); \
	}                                                           \
	HANDLER(NAME(o, s, mi, ea, dead))                           \
	{                                                           \
		return alu_mx(cpu, op, OP_##o, s, ea, true, dead);  \
	}
#define DEF_DEAD(o, s, dead) \
	DEF_REG(o, s, dead) DEF_MEM(o, s, 0, dead) DEF_MEM(o, s, 1, dead) DEF_MEM(o, s, 2, dead)
#define DEF_SIZE(o, s) DEF_DEAD(o, s, 0) DEF_DEAD(o, s, 1)
#define DEF_OP(o)      DEF_SIZE(o, 0) DEF_SIZE(o, 1) DEF_SIZE(o, 2) DEF_SIZE(o, 3)

/* clang-format off */
DEF_OP(ADD) DEF_OP(OR) DEF_OP(ADC) DEF_OP(SBB) DEF_OP(AND) DEF_OP(SUB) DEF_OP(XOR) DEF_OP(CMP)
DEF_OP(TEST)

#define ROW(o, s, dead) { \
	[OP_RR] = NAME(o, s, rr, 0, dead), [OP_RI] = NAME(o, s, ri, 0, dead), \
	[OP_RM] = NAME(o, s, rm, 0, dead), NAME(o, s, rm, 1, dead), NAME(o, s, rm, 2, dead), \
	[OP_MR] = NAME(o, s, mr, 0, dead), NAME(o, s, mr, 1, dead), NAME(o, s, mr, 2, dead), \
	[OP_MI] = NAME(o, s, mi, 0, dead), NAME(o, s, mi, 1, dead), NAME(o, s, mi, 2, dead) }
#define SIZES(o) { { ROW(o, 0, 0), ROW(o, 0, 1) }, { ROW(o, 1, 0), ROW(o, 1, 1) }, \
		   { ROW(o, 2, 0), ROW(o, 2, 1) }, { ROW(o, 3, 0), ROW(o, 3, 1) } }

static const op_fn table[9][4][2][OP_OPERANDS_MAX_] = {
	SIZES(ADD), SIZES(OR), SIZES(ADC), SIZES(SBB), SIZES(AND), SIZES(SUB), SIZES(XOR), SIZES(CMP),
	SIZES(TEST),
};
/* clang-format on */

op_fn fast_alu(unsigned op, unsigned size, unsigned operands, bool dead)
{
	unsigned i = op == OP_TEST ? 8 : op - OP_ADD;

	return table[i][size][dead][operands];
}
