/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of IR, checked after every pass. */
#include "ir/ir.h"

#include <inttypes.h>

static const char *check_val(const struct ir_func *f, struct ir_val v, bool mem_base)
{
	if (v.kind == IRV_REG && v.reg >= f->n_regs)
		return "register out of range";
	if (v.kind == IRV_SLOT && (!mem_base || v.reg >= f->slots.n))
		return "stack slot where none may stand";
	if (v.kind == IRV_NONE)
		return "operand missing";
	return NULL;
}

static const char *check_args(const struct ir_func *f, const struct ir_ins *ins)
{
	if (ins->n_args > IR_MAX_ARGS)
		return "too many arguments";
	for (unsigned i = 0; i < ins->n_args; i++) {
		const char *e = check_val(f, ins->args[i], false);

		if (e)
			return e;
	}
	return NULL;
}

static const char *check_sym(const struct ir_prog *p, const struct ir_ins *ins, bool call)
{
	const struct ir_sym *s;

	if (ins->sym >= p->syms.n)
		return "symbol out of range";
	s = &p->syms.v[ins->sym];
	if (!call)
		return NULL;
	if (s->kind != IR_SYM_FUNC)
		return "call of something that is no function";
	if (s->func->n_params != ins->n_args)
		return "call with the wrong number of arguments";
	return NULL;
}

static const char *check_operands(const struct ir_prog *p, const struct ir_func *f,
				  const struct ir_ins *ins)
{
	enum ir_shape shape = ir_ops[ins->op].shape;
	const char *e = NULL;

	if (shape == IRS_UN || shape == IRS_RET || shape == IRS_CALLR || shape == IRS_SYSC)
		e = check_val(f, ins->a, false);
	if (shape == IRS_BIN || shape == IRS_CMP || shape == IRS_BR) {
		e = check_val(f, ins->a, false);
		e = e ? e : check_val(f, ins->b, false);
		if (ins->cc >= IR_CC_MAX_)
			return "bad condition";
	}
	if (shape == IRS_LD || shape == IRS_ST)
		e = check_val(f, ins->a, true);
	if (!e && shape == IRS_ST)
		e = check_val(f, ins->b, false);
	if (shape == IRS_SLOT && (ins->a.kind != IRV_SLOT || ins->a.reg >= f->slots.n))
		e = "stack slot out of range";
	if (shape == IRS_SYM)
		e = check_sym(p, ins, false);
	if (shape == IRS_CALL)
		e = check_sym(p, ins, true);
	if (!e && (shape == IRS_JMP || shape == IRS_BR) &&
	    (ins->t >= f->blocks.n || (shape == IRS_BR && ins->f >= f->blocks.n)))
		e = "branch to a block that is not there";
	return e ? e : check_args(f, ins);
}

static const char *check_ins(const struct ir_prog *p, const struct ir_func *f,
			     const struct ir_ins *ins, bool last)
{
	enum ir_shape shape;
	bool may_result, must_result;

	if (ins->op >= IR_MAX_)
		return "unknown operation";
	shape = ir_ops[ins->op].shape;
	if (!!(ir_ops[ins->op].flags & IRF_T) != last)
		return last ? "block does not end in a terminator" : "terminator inside a block";
	may_result = shape <= IRS_LD || (shape >= IRS_SLOT && shape <= IRS_SYSC);
	must_result = may_result && shape != IRS_CALL && shape != IRS_CALLR && shape != IRS_SYSC;
	if (ins->dst == IR_NONE ? must_result : !may_result)
		return "result where none may be, or missing";
	if (ins->dst != IR_NONE && ins->dst >= f->n_regs)
		return "result register out of range";
	return check_operands(p, f, ins);
}

static const char *verify_func(const struct ir_prog *p, const struct ir_sym *s)
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

const char *ir_verify(const struct ir_prog *p)
{
	if (p->entry >= p->syms.n || p->syms.v[p->entry].kind != IR_SYM_FUNC)
		return "entry is no function";
	for (uint32_t i = 0; i < p->syms.n; i++) {
		const struct ir_sym *s = &p->syms.v[i];
		const char *e = NULL;

		if (s->kind == IR_SYM_DATA && s->pointer_to != IR_NONE &&
		    (s->pointer_to >= p->syms.n || s->size != 8))
			return arena_printf(p->arena, "@%s: bad pointer", s->name);
		if (s->kind == IR_SYM_FUNC && s->used)
			e = verify_func(p, s);
		if (e)
			return e;
	}
	return NULL;
}
