/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions to IR. A value of a narrow type is always held sign- or zero-extended to 64 bits, so
 * comparisons and widening conversions cost nothing; what may leave the range is extended again.
 */
#include "rtg/lower.h"

#include <inttypes.h>
#include <string.h>

static uint32_t dest(struct lowerer *l, uint32_t hint)
{
	return hint == IR_NONE ? low_reg(l) : hint;
}

static struct ir_val emit_binary(struct lowerer *l, enum ir_op op, struct ir_val a, struct ir_val b,
				 uint32_t hint)
{
	uint32_t d = dest(l, hint);

	low_emit(l, (struct ir_ins){ .op = (uint8_t)op, .dst = d, .a = a, .b = b });
	return ir_reg(d);
}

static struct ir_val emit_unary(struct lowerer *l, enum ir_op op, struct ir_val a, uint32_t hint)
{
	uint32_t d = dest(l, hint);

	low_emit(l, (struct ir_ins){ .op = (uint8_t)op, .dst = d, .a = a });
	return ir_reg(d);
}

/* The extension that brings a 64-bit value into the range of @t; IR_COPY for none. */
static enum ir_op extension(struct type t)
{
	bool s = type_is_signed(t);

	if (!type_is_int(t))
		return IR_COPY;
	switch (type_bits(t)) {
	case 8: return s ? IR_SEXT8 : IR_ZEXT8;
	case 16: return s ? IR_SEXT16 : IR_ZEXT16;
	case 32: return s ? IR_SEXT32 : IR_ZEXT32;
	default: return IR_COPY;
	}
}

static struct ir_val normalise(struct lowerer *l, struct ir_val v, struct type t, uint32_t hint)
{
	enum ir_op op = extension(t);

	return op == IR_COPY ? v : emit_unary(l, op, v, hint);
}

static enum ir_cc condition(enum tok op, bool is_signed)
{
	switch ((int)op) {
	case TOK_EQ: return IR_EQ;
	case TOK_NE: return IR_NE;
	case TOK_LT: return is_signed ? IR_SLT : IR_ULT;
	case TOK_LE: return is_signed ? IR_SLE : IR_ULE;
	case TOK_GT: return is_signed ? IR_SGT : IR_UGT;
	default: return is_signed ? IR_SGE : IR_UGE;
	}
}

static bool is_compare(const struct expr *e)
{
	return e->kind == EXPR_BINARY && e->op >= TOK_EQ && e->op <= TOK_GE;
}

void low_cond(struct lowerer *l, struct expr *e, uint32_t bt, uint32_t bf)
{
	struct ir_val a, b;

	if (e->is_const) {
		low_jump(l, e->val.i ? bt : bf);
	} else if (e->kind == EXPR_UNARY && e->op == TOK_NOT) {
		low_cond(l, e->x, bf, bt);
	} else if (e->kind == EXPR_BINARY && (e->op == TOK_LAND || e->op == TOK_LOR)) {
		uint32_t mid = low_block(l);

		if (e->op == TOK_LAND)
			low_cond(l, e->x, mid, bf);
		else
			low_cond(l, e->x, bt, mid);
		low_at(l, mid);
		low_cond(l, e->y, bt, bf);
	} else if (is_compare(e)) {
		a = low_expr(l, e->x, IR_NONE);
		b = low_expr(l, e->y, IR_NONE);
		low_emit(l, (struct ir_ins){
				    .op = IR_BR,
				    .dst = IR_NONE,
				    .a = a,
				    .b = b,
				    .t = bt,
				    .f = bf,
				    .cc = (uint8_t)condition(e->op, type_is_signed(e->x->type)) });
	} else {
		a = low_expr(l, e, IR_NONE);
		low_emit(l, (struct ir_ins){ .op = IR_BR,
					     .cc = IR_NE,
					     .dst = IR_NONE,
					     .a = a,
					     .b = ir_imm(0),
					     .t = bt,
					     .f = bf });
	}
}

/* A bool as a value: through control flow. */
static struct ir_val low_bool(struct lowerer *l, struct expr *e)
{
	uint32_t r = low_reg(l), bt = low_block(l), bf = low_block(l), end = low_block(l);

	low_cond(l, e, bt, bf);
	low_at(l, bt);
	low_emit(l, (struct ir_ins){ .op = IR_COPY, .dst = r, .a = ir_imm(1) });
	low_jump(l, end);
	low_at(l, bf);
	low_emit(l, (struct ir_ins){ .op = IR_COPY, .dst = r, .a = ir_imm(0) });
	low_jump(l, end);
	low_at(l, end);
	return ir_reg(r);
}

static enum ir_op binary_op(enum tok op, bool is_signed)
{
	switch ((int)op) {
	case TOK_ADD: return IR_ADD;
	case TOK_SUB: return IR_SUB;
	case TOK_MUL: return IR_MUL;
	case TOK_DIV: return is_signed ? IR_DIV : IR_UDIV;
	case TOK_REM: return is_signed ? IR_REM : IR_UREM;
	case TOK_SHL: return IR_SHL;
	case TOK_SHR: return is_signed ? IR_SAR : IR_SHR;
	case TOK_AND: return IR_AND;
	case TOK_OR: return IR_OR;
	default: return IR_XOR;
	}
}

static bool may_leave_range(enum ir_op op)
{
	return op == IR_ADD || op == IR_SUB || op == IR_MUL || op == IR_SHL || op == IR_DIV;
}

static struct ir_val low_binary(struct lowerer *l, struct expr *e, uint32_t hint)
{
	bool is_signed = type_is_signed(e->x->type);
	enum ir_op op = binary_op(e->op, is_signed);
	bool narrow = may_leave_range(op) && extension(e->type) != IR_COPY;
	struct ir_val a, b;
	uint32_t d;

	if (e->op == TOK_LAND || e->op == TOK_LOR)
		return low_bool(l, e);
	a = low_expr(l, e->x, IR_NONE);
	b = low_expr(l, e->y, IR_NONE);
	if (is_compare(e)) {
		d = dest(l, hint);
		low_emit(l, (struct ir_ins){ .op = IR_SET,
					     .dst = d,
					     .a = a,
					     .b = b,
					     .cc = (uint8_t)condition(e->op, is_signed) });
		return ir_reg(d);
	}
	a = emit_binary(l, op, a, b, narrow ? IR_NONE : hint);
	return narrow ? normalise(l, a, e->type, hint) : a;
}

static struct ir_val low_address(struct lowerer *l, struct expr *x, uint32_t hint)
{
	struct ir_ins ins = { .op = IR_SLOT };
	struct ir_val base;

	if (x->kind == EXPR_INDEX) {
		base = low_index(l, x, &ins.disp);
		if (base.kind == IRV_REG)
			return ins.disp ? emit_binary(l, IR_ADD, base, ir_imm(ins.disp), hint)
					: base;
		ins.a = base;
	} else if (x->sym->kind == SYM_GLOBAL) {
		return low_addr(l, x->sym->ir, hint);
	} else {
		ins.a = ir_slot(x->sym->slot);
	}
	ins.dst = dest(l, hint);
	low_emit(l, ins);
	return ir_reg(ins.dst);
}

struct ir_val low_index(struct lowerer *l, struct expr *e, int64_t *ret_disp)
{
	struct sym *s = e->x->sym;
	struct ir_val base, i;

	*ret_disp = 0;
	if (e->y->is_const) {
		*ret_disp = (int64_t)e->y->val.i;
		return s->kind == SYM_VAR ? ir_slot(s->slot) : low_addr(l, s->ir, IR_NONE);
	}
	i = low_expr(l, e->y, IR_NONE);
	base = low_address(l, e->x, IR_NONE);
	return emit_binary(l, IR_ADD, base, i, IR_NONE);
}

static struct ir_val low_unary(struct lowerer *l, struct expr *e, uint32_t hint)
{
	struct ir_val a;
	bool narrow = extension(e->type) != IR_COPY;

	switch ((int)e->op) {
	case TOK_AND: return low_address(l, e->x, hint);
	case TOK_ADD: return low_expr(l, e->x, hint);
	case TOK_NOT:
		a = low_expr(l, e->x, IR_NONE);
		return emit_binary(l, IR_XOR, a, ir_imm(1), hint);
	case TOK_SUB:
		a = low_expr(l, e->x, IR_NONE);
		a = emit_binary(l, IR_SUB, ir_imm(0), a, narrow ? IR_NONE : hint);
		return normalise(l, a, e->type, hint);
	default:
		a = low_expr(l, e->x, IR_NONE);
		a = emit_binary(l, IR_XOR, a, ir_imm(-1), narrow ? IR_NONE : hint);
		return normalise(l, a, e->type, hint);
	}
}

static struct ir_val low_user_call(struct lowerer *l, struct expr *e, uint32_t hint)
{
	struct ir_val args[IR_MAX_ARGS];

	for (uint32_t i = 0; i < e->n_args; i++)
		args[i] = low_expr(l, e->args[i], IR_NONE);
	return low_call(l, e->sym->ir, args, e->n_args, hint);
}

static struct ir_val low_load_global(struct lowerer *l, struct sym *s, uint32_t hint)
{
	static const uint8_t loads[] = {
		[1] = IR_LOAD8, [8] = IR_LOAD8, [16] = IR_LOAD16, [32] = IR_LOAD32, [64] = IR_LOAD64
	};
	uint32_t d = dest(l, hint);
	struct ir_val base;

	if (s->type.kind == TYPE_BUFFER)
		return low_addr(l, s->ir, hint);
	base = low_addr(l, s->ir, IR_NONE);
	low_emit(l, (struct ir_ins){ .op = loads[type_bits(s->type)], .dst = d, .a = base });
	return type_is_signed(s->type) ? normalise(l, ir_reg(d), s->type, hint) : ir_reg(d);
}

static struct ir_val low_name(struct lowerer *l, struct expr *e, uint32_t hint)
{
	struct sym *s = e->sym;

	if (s->kind == SYM_FUNC)
		return low_addr(l, s->ir, hint);
	if (s->kind == SYM_GLOBAL)
		return low_load_global(l, s, hint);
	if (s->type.kind == TYPE_BUFFER)
		return low_address(l, e, hint);
	return ir_reg(s->reg);
}

static struct ir_val low_call_expr(struct lowerer *l, struct expr *e, uint32_t hint)
{
	struct ir_val v = ir_imm(0);

	if (e->intrinsic) {
		low_intrinsic(l, e, hint, &v);
		return v;
	}
	if (e->sym)
		return low_user_call(l, e, hint);
	/* conversion */
	v = low_expr(l, e->args[0], hint);
	if (type_equal(e->args[0]->type, e->type))
		return v;
	return normalise(l, v, e->type, hint);
}

struct ir_val low_expr(struct lowerer *l, struct expr *e, uint32_t hint)
{
	struct ir_val base;
	int64_t disp;
	uint32_t d;

	if (e->is_const && e->type.kind == TYPE_STRING)
		return low_addr(l, low_string(l, e->val.s, e->val.len), hint);
	if (e->is_const)
		return ir_imm((int64_t)(uint64_t)e->val.i);
	switch ((enum expr_kind)e->kind) {
	case EXPR_NAME: return low_name(l, e, hint);
	case EXPR_UNARY: return low_unary(l, e, hint);
	case EXPR_BINARY: return low_binary(l, e, hint);
	case EXPR_CALL: return low_call_expr(l, e, hint);
	case EXPR_INDEX:
		base = low_index(l, e, &disp);
		d = dest(l, hint);
		low_emit(l, (struct ir_ins){ .op = IR_LOAD8, .dst = d, .a = base, .disp = disp });
		return ir_reg(d);
	case EXPR_BAD:
	case EXPR_INT:
	case EXPR_STRING: break;
	}
	return ir_imm(0);
}

void low_expr_to(struct lowerer *l, struct expr *e, uint32_t dst)
{
	struct ir_val v = low_expr(l, e, dst);

	if (v.kind != IRV_REG || v.reg != dst)
		low_emit(l, (struct ir_ins){ .op = IR_COPY, .dst = dst, .a = v });
}
