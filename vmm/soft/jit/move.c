/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: moves, extensions, LEA, stack. */
#include "soft/jit/jit_priv.h"

/* Guest register @g, 2^@s bytes, = host register @src. */
static void set_reg(struct jit *j, unsigned g, unsigned s, unsigned src)
{
	unsigned d = s < 2 ? jit_use(j, g) : jit_def(j, g);

	emit_rr(&j->e, s, s == 0 ? 0x8a : 0x8b, d, src);
	jit_commit(j, g, d);
}

static bool mov(struct jit *j, const struct insn *in)
{
	unsigned s = insn_log2_size(in->op_size), src;
	bool mem = insn_is_mem(in);

	if ((in->form != FORM_RM_I && !jit_byte_ok(in, in->reg, in->op_size)) ||
	    (!mem && !jit_byte_ok(in, in->rm, in->op_size)))
		return false;
	if (in->form == FORM_RM_I && !mem) {
		if (s < 2) {
			emit_mov_imm(&j->e, RAX, (uint32_t)in->imm);
			set_reg(j, in->rm, s, RAX);
		} else {
			unsigned d = jit_def(j, in->rm);

			emit_mov_imm(&j->e, d, s == 2 ? (uint32_t)in->imm : in->imm);
			jit_commit(j, in->rm, d);
		}
	} else if (in->form == FORM_RM_I) {
		jit_operand(j, in, s, true);
		emit_prefix(&j->e, s, 0, 0, RAX, false);
		emit8(&j->e, s == 0 ? 0xc6 : 0xc7);
		emit_mem(&j->e, 0, RAX, 0);
		emit_bytes(&j->e, &in->imm, s == 3 ? 4 : 1U << s);
	} else if (in->form == FORM_R_RM && mem) {
		jit_operand(j, in, s, false);
		if (s < 2) {
			unsigned d = jit_use(j, in->reg);

			emit_rm(&j->e, s, s == 0 ? 0x8a : 0x8b, d, RAX, 0);
			jit_commit(j, in->reg, d);
		} else {
			unsigned d = jit_def(j, in->reg);

			emit_rm(&j->e, s, 0x8b, d, RAX, 0);
			jit_commit(j, in->reg, d);
		}
	} else if (mem) {
		jit_operand(j, in, s, true);
		src = jit_use(j, in->reg);
		emit_rm(&j->e, s, s == 0 ? 0x88 : 0x89, src, RAX, 0);
	} else {
		unsigned from = in->form == FORM_R_RM ? in->rm : in->reg;
		unsigned to = in->form == FORM_R_RM ? in->reg : in->rm;

		src = jit_use(j, from);
		set_reg(j, to, s, src);
	}
	return true;
}

static bool extend(struct jit *j, const struct insn *in)
{
	unsigned from = in->map == INSN_MAP_1 ? 4 : in->opcode & 1 ? 2 : 1, opcode, d;
	unsigned s = insn_log2_size(in->op_size);

	if (s < 2 || (!insn_is_mem(in) && !jit_byte_ok(in, in->rm, from)))
		return false;
	if (in->map == INSN_MAP_1)
		opcode = s == 3 ? 0x63 : 0x8b;
	else
		opcode = (in->op == OP_MOVSX ? 0x0fbe : 0x0fb6) | (from == 2);
	if (insn_is_mem(in)) {
		jit_operand(j, in, insn_log2_size(from), false);
		d = jit_def(j, in->reg);
		emit_rm(&j->e, s, opcode, d, RAX, 0);
	} else {
		unsigned src = jit_use(j, in->rm);

		d = jit_def(j, in->reg);
		emit_prefix(&j->e, s, d, 0, src, from == 1);
		emit_opcode(&j->e, opcode);
		emit8(&j->e, 0xc0 | (d & 7) << 3 | (src & 7));
	}
	jit_commit(j, in->reg, d);
	return true;
}

static bool lea(struct jit *j, const struct insn *in)
{
	unsigned s = insn_log2_size(in->op_size);
	struct insn flat = *in;

	if (s < 2)
		return false;
	flat.seg = HV_DS;
	jit_ea(j, &flat);
	set_reg(j, in->reg, s, RAX);
	return true;
}

static bool widen(struct jit *j, const struct insn *in)
{
	unsigned a, d;

	if (in->op_size < 4)
		return false;
	a = jit_use(j, HV_RAX);
	if (in->op == OP_CBW) {
		emit_rr(&j->e, in->op_size == 8 ? 3 : 2, in->op_size == 8 ? 0x63 : 0x0fbf, a, a);
		jit_commit(j, HV_RAX, a);
		return true;
	}
	d = jit_def(j, HV_RDX);
	emit_rr(&j->e, in->op_size == 8 ? 3 : 2, 0x8b, d, a);
	emit_rr(&j->e, in->op_size == 8 ? 3 : 2, 0xc1, 7, d); /* sar */
	emit8(&j->e, in->op_size * 8 - 1);
	jit_commit(j, HV_RDX, d);
	j->flags_live = false;
	return true;
}

bool jit_move(struct jit *j, const struct insn *in)
{
	switch (in->op) {
	case OP_MOV: return mov(j, in);
	case OP_MOVZX:
	case OP_MOVSX: return extend(j, in);
	case OP_LEA: return lea(j, in);
	case OP_CBW:
	case OP_CWD: return widen(j, in);
	case OP_NOP: return true;
	default: return false;
	}
}

/* ---- stack, 64-bit operands ---- */

unsigned jit_push_address(struct jit *j)
{
	unsigned sp = jit_use(j, HV_RSP);

	if (jit_window_address(j, HV_RSP, -8, 8, true))
		return sp;
	emit_rm(&j->e, 3, 0x8d, RAX, sp, -8);
	jit_address(j, 8, true);
	return sp;
}

void jit_move_sp(struct jit *j, unsigned sp, int32_t by)
{
	emit_rm(&j->e, 3, 0x8d, sp, sp, by);
	jit_commit_sp(j, sp, by);
}

unsigned jit_pop_address(struct jit *j)
{
	unsigned sp = jit_use(j, HV_RSP);

	if (jit_window_address(j, HV_RSP, 0, 8, false))
		return sp;
	emit_rr(&j->e, 3, 0x8b, RAX, sp);
	jit_address(j, 8, false);
	return sp;
}

static bool push(struct jit *j, const struct insn *in)
{
	unsigned src, sp;

	if (insn_is_mem(in)) {
		jit_operand(j, in, 3, false);
		emit_rm(&j->e, 3, 0x8b, RBX, RAX, 0);
		sp = jit_push_address(j);
		emit_rm(&j->e, 3, 0x89, RBX, RAX, 0);
	} else if (in->form == FORM_I) {
		if ((int64_t)in->imm != (int32_t)in->imm)
			return false;
		sp = jit_push_address(j);
		emit_prefix(&j->e, 3, 0, 0, RAX, false);
		emit8(&j->e, 0xc7);
		emit_mem(&j->e, 0, RAX, 0);
		emit32(&j->e, in->imm);
	} else {
		src = jit_use(j, in->rm);
		sp = jit_push_address(j);
		emit_rm(&j->e, 3, 0x89, src, RAX, 0);
	}
	jit_move_sp(j, sp, -8);
	return true;
}

static bool pop(struct jit *j, const struct insn *in)
{
	unsigned sp = jit_pop_address(j);

	emit_rm(&j->e, 3, 0x8b, RCX, RAX, 0);
	jit_move_sp(j, sp, 8);
	set_reg(j, in->rm, 3, RCX);
	return true;
}

static bool leave(struct jit *j)
{
	unsigned bp = jit_use(j, HV_RBP), sp;

	emit_rr(&j->e, 3, 0x8b, RAX, bp);
	jit_address(j, 8, false);
	emit_rm(&j->e, 3, 0x8b, RCX, RAX, 0);
	sp = jit_def(j, HV_RSP);
	emit_rm(&j->e, 3, 0x8d, sp, bp, 8);
	jit_commit(j, HV_RSP, sp);
	set_reg(j, HV_RBP, 3, RCX);
	return true;
}

bool jit_stack(struct jit *j, const struct insn *in)
{
	switch (in->op) {
	case OP_PUSH: return push(j, in);
	case OP_POP: return pop(j, in);
	case OP_LEAVE: return leave(j);
	default: return false;
	}
}
