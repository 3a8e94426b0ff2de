/* SPDX-License-Identifier: Apache-2.0 */
/* Specialised handlers: moves, address computation, conditional moves, stack, near branches. */
#include "soft/interp/fast.h"

/* clang-format off */

/* ---- MOV ---- */

FAST const struct op *mov_rr(struct cpu *cpu, const struct op *op, unsigned s)
{
	reg_set(cpu, s, op->r0, reg_get(cpu, s, op->r1));
	NEXT;
}

FAST const struct op *mov_ri(struct cpu *cpu, const struct op *op, unsigned s)
{
	reg_set(cpu, s, op->r0, op->imm);
	NEXT;
}

FAST const struct op *mov_rm(struct cpu *cpu, const struct op *op, unsigned s, unsigned ea)
{
	uint64_t va = ea_of(cpu, op, ea);
	READ_PTR(p, va, s);

	reg_set(cpu, s, op->r0, host_get(s, p));
	NEXT;
}

FAST const struct op *mov_mx(struct cpu *cpu, const struct op *op, unsigned s, unsigned ea, bool imm)
{
	uint64_t va = ea_of(cpu, op, ea);
	WRITE_PTR(p, va, s);

	host_set(s, p, imm ? (uint64_t)op->imm : reg_get(cpu, s, op->r0));
	NEXT;
}

#define DEF_EA(s, ea) \
	HANDLER(mov_rm_##s##_##ea) { return mov_rm(cpu, op, s, ea); } \
	HANDLER(mov_mr_##s##_##ea) { return mov_mx(cpu, op, s, ea, false); } \
	HANDLER(mov_mi_##s##_##ea) { return mov_mx(cpu, op, s, ea, true); }
#define DEF(s) \
	HANDLER(mov_rr_##s) { return mov_rr(cpu, op, s); } \
	HANDLER(mov_ri_##s) { return mov_ri(cpu, op, s); } \
	DEF_EA(s, 0) DEF_EA(s, 1) DEF_EA(s, 2)
DEF(0) DEF(1) DEF(2) DEF(3)

#define ROW(s) { [OP_RR] = mov_rr_##s, [OP_RI] = mov_ri_##s, \
	[OP_RM] = mov_rm_##s##_0, mov_rm_##s##_1, mov_rm_##s##_2, \
	[OP_MR] = mov_mr_##s##_0, mov_mr_##s##_1, mov_mr_##s##_2, \
	[OP_MI] = mov_mi_##s##_0, mov_mi_##s##_1, mov_mi_##s##_2 }

op_fn fast_mov(unsigned size, unsigned operands)
{
	static const op_fn table[4][OP_OPERANDS_MAX_] = { ROW(0), ROW(1), ROW(2), ROW(3) };

	return table[size][operands];
}
#undef DEF
#undef DEF_EA
#undef ROW

/* ---- MOVZX, MOVSX, MOVSXD ---- */

FAST const struct op *movx_r(struct cpu *cpu, const struct op *op, bool sign, unsigned from, unsigned to)
{
	uint64_t v = reg_get(cpu, from, op->r1);

	reg_set(cpu, to, op->r0, sign ? (uint64_t)sext_from(from, v) : v);
	NEXT;
}

FAST const struct op *movx_m(struct cpu *cpu, const struct op *op, bool sign, unsigned from, unsigned to,
			     unsigned ea)
{
	uint64_t va = ea_of(cpu, op, ea), v;
	READ_PTR(p, va, from);

	v = host_get(from, p);
	reg_set(cpu, to, op->r0, sign ? (uint64_t)sext_from(from, v) : v);
	NEXT;
}

#define MX(n, sign, from, to) \
	HANDLER(n##_r) { return movx_r(cpu, op, sign, from, to); } \
	HANDLER(n##_0) { return movx_m(cpu, op, sign, from, to, 0); } \
	HANDLER(n##_1) { return movx_m(cpu, op, sign, from, to, 1); } \
	HANDLER(n##_2) { return movx_m(cpu, op, sign, from, to, 2); }
MX(zx02, false, 0, 2) MX(zx12, false, 1, 2) MX(sx02, true, 0, 2) MX(sx12, true, 1, 2)
MX(sx03, true, 0, 3) MX(sx13, true, 1, 3) MX(sx23, true, 2, 3)
#define MXROW(n) { n##_0, n##_1, n##_2, n##_r }

op_fn fast_movx(bool sign, unsigned from, unsigned to, bool mem, unsigned ea)
{
	static const op_fn zx[2][4] = { MXROW(zx02), MXROW(zx12) };
	static const op_fn sx[2][3][4] = { { MXROW(sx02), MXROW(sx12) },
					   { MXROW(sx03), MXROW(sx13), MXROW(sx23) } };
	unsigned i = mem ? ea : 3;

	if (to < 2)
		return NULL;
	if (!sign) /* to 8 bytes is the same as to 4 */
		return from < 2 ? zx[from][i] : NULL;
	return sx[to - 2][from][i];
}

/* ---- LEA ---- */

#define LEA(s, ea) \
	HANDLER(lea_##s##_##ea) { reg_set(cpu, s, op->r0, ea_of(cpu, op, ea)); NEXT; }
LEA(2, 0) LEA(2, 1) LEA(2, 2) LEA(3, 0) LEA(3, 1) LEA(3, 2)

op_fn fast_lea(unsigned size, unsigned ea)
{
	static const op_fn table[2][3] = { { lea_2_0, lea_2_1, lea_2_2 }, { lea_3_0, lea_3_1, lea_3_2 } };

	return size < 2 ? NULL : table[size - 2][ea];
}

/* ---- CMOV, SETcc: the condition is in the op ---- */

static __attribute__((noinline)) bool cond_any(const struct cpu *cpu, unsigned cond)
{
	return cc_cond(cpu, cond);
}

/* The common ones without a call. */
FAST bool cond_now(struct cpu *cpu, unsigned cond)
{
	if ((cond & ~1U) == 4)
		return cc_zf(cpu) ^ (cond & 1);
	return cond_any(cpu, cond);
}

FAST const struct op *cmov_r(struct cpu *cpu, const struct op *op, unsigned s)
{
	uint64_t a = reg_get(cpu, s, op->r0), b = reg_get(cpu, s, op->r1);

	reg_set(cpu, s, op->r0, cond_now(cpu, op->cond) ? b : a);
	NEXT;
}

FAST const struct op *cmov_m(struct cpu *cpu, const struct op *op, unsigned s, unsigned ea)
{
	uint64_t va = ea_of(cpu, op, ea), v;
	READ_PTR(p, va, s);

	v = host_get(s, p);
	reg_set(cpu, s, op->r0, cond_now(cpu, op->cond) ? v : reg_get(cpu, s, op->r0));
	NEXT;
}

#define CMOV(s) HANDLER(cmov_r_##s) { return cmov_r(cpu, op, s); } \
	HANDLER(cmov_0_##s) { return cmov_m(cpu, op, s, 0); } \
	HANDLER(cmov_1_##s) { return cmov_m(cpu, op, s, 1); } \
	HANDLER(cmov_2_##s) { return cmov_m(cpu, op, s, 2); }
CMOV(2) CMOV(3)

op_fn fast_cmov(unsigned size, bool mem, unsigned ea)
{
	static const op_fn table[2][4] = { { cmov_0_2, cmov_1_2, cmov_2_2, cmov_r_2 },
					   { cmov_0_3, cmov_1_3, cmov_2_3, cmov_r_3 } };

	return size < 2 ? NULL : table[size - 2][mem ? ea : 3];
}

HANDLER(setcc_r)
{
	OP_R8(op->r0) = cond_now(cpu, op->cond);
	NEXT;
}

op_fn fast_setcc(void)
{
	return setcc_r;
}

/* ---- stack, 64-bit ---- */

FAST const struct op *push_value(struct cpu *cpu, const struct op *op, uint64_t v)
{
	uint64_t va = cpu->gpr[HV_RSP] - 8;
	WRITE_PTR(p, va, 3);

	host_set(3, p, v);
	cpu->gpr[HV_RSP] = va;
	NEXT;
}

HANDLER(push_r) { return push_value(cpu, op, OP_R64(op->r0)); }
HANDLER(push_i) { return push_value(cpu, op, op->imm); }

FAST const struct op *push_m(struct cpu *cpu, const struct op *op, unsigned ea)
{
	uint64_t va = ea_of(cpu, op, ea);
	READ_PTR(p, va, 3);

	return push_value(cpu, op, host_get(3, p));
}

HANDLER(push_m0) { return push_m(cpu, op, 0); }
HANDLER(push_m1) { return push_m(cpu, op, 1); }
HANDLER(push_m2) { return push_m(cpu, op, 2); }

HANDLER(pop_r)
{
	uint64_t va = cpu->gpr[HV_RSP];
	READ_PTR(p, va, 3);

	cpu->gpr[HV_RSP] = va + 8;
	OP_R64(op->r0) = host_get(3, p);
	NEXT;
}

HANDLER(leave_64)
{
	uint64_t va = cpu->gpr[HV_RBP];
	READ_PTR(p, va, 3);

	cpu->gpr[HV_RSP] = va + 8;
	cpu->gpr[HV_RBP] = host_get(3, p);
	NEXT;
}

op_fn fast_push_pop(unsigned op, unsigned form, bool mem, unsigned ea)
{
	static const op_fn push_mem[OP_EA_MAX_] = { push_m0, push_m1, push_m2 };

	if (op == OP_LEAVE)
		return leave_64;
	if (op == OP_PUSH)
		return mem ? push_mem[ea] : form == FORM_I ? push_i : push_r;
	return mem ? NULL : pop_r;
}

/* ---- branches ---- */

HANDLER(jmp_rel)
{
	OP_BRANCH(op, 1);
}

HANDLER(call_rel)
{
	uint64_t va = cpu->gpr[HV_RSP] - 8;
	WRITE_PTR(p, va, 3);

	host_set(3, p, cpu->page_va + op->off + op->len);
	cpu->gpr[HV_RSP] = va;
	OP_BRANCH(op, 1);
}

HANDLER(ret_near)
{
	uint64_t va = cpu->gpr[HV_RSP], target;
	READ_PTR(p, va, 3);

	target = host_get(3, p);
	if (unlikely(!mmu_canonical(target)))
		return op_slow(cpu, op);
	cpu->gpr[HV_RSP] = va + 8 + op->imm;
	return op_jump(cpu, target);
}

FAST const struct op *call_to(struct cpu *cpu, const struct op *op, uint64_t target)
{
	uint64_t va = cpu->gpr[HV_RSP] - 8;
	WRITE_PTR(p, va, 3);

	if (unlikely(!mmu_canonical(target)))
		return op_slow(cpu, op);
	host_set(3, p, cpu->page_va + op->off + op->len);
	cpu->gpr[HV_RSP] = va;
	return op_jump(cpu, target);
}

FAST const struct op *jmp_m(struct cpu *cpu, const struct op *op, unsigned ea, bool call)
{
	uint64_t va = ea_of(cpu, op, ea), target;
	READ_PTR(p, va, 3);

	target = host_get(3, p);
	if (call)
		return call_to(cpu, op, target);
	if (unlikely(!mmu_canonical(target)))
		return op_slow(cpu, op);
	return op_jump(cpu, target);
}

HANDLER(jmp_r)
{
	uint64_t target = OP_R64(op->r0);

	if (unlikely(!mmu_canonical(target)))
		return op_slow(cpu, op);
	return op_jump(cpu, target);
}

HANDLER(call_r) { return call_to(cpu, op, OP_R64(op->r0)); }
HANDLER(jmp_m0) { return jmp_m(cpu, op, 0, false); }
HANDLER(jmp_m1) { return jmp_m(cpu, op, 1, false); }
HANDLER(jmp_m2) { return jmp_m(cpu, op, 2, false); }
HANDLER(call_m0) { return jmp_m(cpu, op, 0, true); }
HANDLER(call_m1) { return jmp_m(cpu, op, 1, true); }
HANDLER(call_m2) { return jmp_m(cpu, op, 2, true); }

op_fn fast_branch(unsigned op, unsigned form, bool mem, unsigned ea)
{
	static const op_fn jmps[4] = { jmp_m0, jmp_m1, jmp_m2, jmp_r };
	static const op_fn calls[4] = { call_m0, call_m1, call_m2, call_r };

	if (op == OP_RET)
		return ret_near;
	if (form == FORM_REL)
		return op == OP_JMP ? jmp_rel : call_rel;
	return (op == OP_JMP ? jmps : calls)[mem ? ea : 3];
}
/* clang-format on */
