/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of IR, checked after every pass. */
#include "ir/ir.h"

#include <inttypes.h>

/* What an instruction of each shape has. */
#define HAS_A	   1
#define HAS_B	   2
#define A_IS_BASE  4 /* a register, a constant or a stack slot */
#define A_IS_SLOT  8
#define HAS_SYM	   16
#define HAS_T	   32
#define HAS_F	   64
#define HAS_CC	   128
#define MAY_RESULT 256
#define RESULT	   (512 | MAY_RESULT)
#define HAS_ARGS   1024

static const uint16_t shapes[] = {
	[IRS_UN] = HAS_A | RESULT,
	[IRS_BIN] = HAS_A | HAS_B | RESULT,
	[IRS_CMP] = HAS_A | HAS_B | HAS_CC | RESULT,
	[IRS_LD] = HAS_A | A_IS_BASE | RESULT,
	[IRS_ST] = HAS_A | A_IS_BASE | HAS_B,
	[IRS_SLOT] = HAS_A | A_IS_SLOT | RESULT,
	[IRS_SYM] = HAS_SYM | RESULT,
	[IRS_CALL] = HAS_SYM | HAS_ARGS | MAY_RESULT,
	[IRS_CALLR] = HAS_A | HAS_ARGS | MAY_RESULT,
	[IRS_SYSC] = HAS_A | HAS_ARGS | MAY_RESULT,
	[IRS_NONE] = 0,
	[IRS_JMP] = HAS_T,
	[IRS_BR] = HAS_A | HAS_B | HAS_CC | HAS_T | HAS_F,
	[IRS_RET] = HAS_A,
};

static bool is_value(const struct ir_func *f, const struct ir_val *v)
{
	return v->kind == IRV_IMM || (v->kind == IRV_REG && v->reg < f->n_regs);
}

static bool is_slot(const struct ir_func *f, const struct ir_val *v)
{
	return v->kind == IRV_SLOT && v->reg < f->slots.n;
}

static const char *check_args(const struct ir_func *f, const struct ir_ins *ins)
{
	if (ins->n_args > IR_MAX_ARGS)
		return "too many arguments";
	for (unsigned i = 0; i < ins->n_args; i++)
		if (!is_value(f, &ins->args[i]))
			return "bad argument";
	return NULL;
}

static const char *check_sym(const struct ir_prog *p, const struct ir_ins *ins)
{
	const struct ir_sym *s;

	if (ins->sym >= p->syms.n)
		return "symbol out of range";
	s = &p->syms.v[ins->sym];
	if (ins->op != IR_CALL)
		return NULL;
	if (s->kind != IR_SYM_FUNC)
		return "call of something that is no function";
	if (s->func->n_params != ins->n_args)
		return "call with the wrong number of arguments";
	return NULL;
}

static const char *check_a(const struct ir_func *f, const struct ir_val *a, unsigned has)
{
	if (has & A_IS_SLOT)
		return is_slot(f, a) ? NULL : "stack slot out of range";
	if (is_value(f, a) || ((has & A_IS_BASE) && is_slot(f, a)))
		return NULL;
	return a->kind == IRV_SLOT ? "stack slot where none may stand" : "bad first operand";
}

static const char *check_ins(const struct ir_prog *p, const struct ir_func *f,
			     const struct ir_ins *ins, bool last)
{
	const char *e = NULL;
	unsigned has;

	if (ins->op >= IR_MAX_)
		return "unknown operation";
	has = shapes[ir_ops[ins->op].shape];
	if (!!(ir_ops[ins->op].flags & IRF_T) != last)
		return last ? "block does not end in a terminator" : "terminator inside a block";
	if (ins->dst == IR_NONE ? (has & RESULT) == RESULT : !(has & MAY_RESULT))
		return "result where none may be, or missing";
	if (ins->dst != IR_NONE && ins->dst >= f->n_regs)
		return "result register out of range";
	if (has & HAS_A)
		e = check_a(f, &ins->a, has);
	if (!e && (has & HAS_B) && !is_value(f, &ins->b))
		e = "bad second operand";
	if (!e && (has & HAS_CC) && ins->cc >= IR_CC_MAX_)
		e = "bad condition";
	if (!e && (has & HAS_SYM))
		e = check_sym(p, ins);
	if (!e &&
	    (((has & HAS_T) && ins->t >= f->blocks.n) || ((has & HAS_F) && ins->f >= f->blocks.n)))
		e = "branch to a block that is not there";
	if (!e && ins->n_args)
		e = has & HAS_ARGS ? check_args(f, ins) : "arguments where none may be";
	return e;
}

const char *ir_verify_func(const struct ir_prog *p, const struct ir_sym *s)
{
	const struct ir_func *f = s->func;

	if (!f->blocks.n)
		return arena_printf(p->arena, "@%s: no blocks", s->name);
	if (f->n_params > IR_MAX_ARGS || f->n_params > f->n_regs)
		return arena_printf(p->arena, "@%s: too many parameters", s->name);
	for (uint32_t b = 0; b < f->blocks.n; b++) {
		const struct ir_block *blk = &f->blocks.v[b];

		if (!blk->ins.n)
			return arena_printf(p->arena, "@%s: b%" PRIu32 " is empty", s->name, b);
		for (uint32_t i = 0; i < blk->ins.n; i++) {
			const char *e = check_ins(p, f, &blk->ins.v[i], i + 1 == blk->ins.n);

			if (e)
				return arena_printf(p->arena,
						    "@%s: b%" PRIu32 " instruction %" PRIu32 ": %s",
						    s->name, b, i, e);
		}
	}
	return NULL;
}

const char *ir_verify_symbols(const struct ir_prog *p)
{
	if (p->entry >= p->syms.n || p->syms.v[p->entry].kind != IR_SYM_FUNC)
		return "entry is no function";
	for (uint32_t i = 0; i < p->syms.n; i++) {
		const struct ir_sym *s = &p->syms.v[i];

		if (s->kind == IR_SYM_DATA && s->pointer_to != IR_NONE &&
		    (s->pointer_to >= p->syms.n || s->size != 8))
			return arena_printf(p->arena, "@%s: bad pointer", s->name);
	}
	return NULL;
}

const char *ir_verify(const struct ir_prog *p)
{
	const char *e = ir_verify_symbols(p);

	for (uint32_t i = 0; !e && i < p->syms.n; i++)
		if (p->syms.v[i].kind == IR_SYM_FUNC && p->syms.v[i].used)
			e = ir_verify_func(p, &p->syms.v[i]);
	return e;
}
