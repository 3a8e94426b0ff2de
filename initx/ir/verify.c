/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of IR, checked after every pass. */
#include "ir/ir.h"

#include <inttypes.h>

/* Kinds of value, as a set. */
#define NOTHING	   (1 << IRV_NONE)
#define VALUE	   (1 << IRV_REG | 1 << IRV_IMM)
#define STACK	   (1 << IRV_SLOT)
#define BASE	   (VALUE | STACK)

/* What else an instruction may or must have. */
#define MAY_RESULT 1
#define NO_RESULT  2 /* is fine */
#define LAST	   4 /* stands at the end of a block, and only there */
#define HAS_SYM	   8
#define HAS_T	   16
#define HAS_F	   32
#define HAS_CC	   64
#define HAS_ARGS   128
#define MORE	   (HAS_SYM | HAS_T | HAS_F | HAS_CC | HAS_ARGS)

/* Operands a and b, and the rest, by shape. */
#define RULE_UN	   VALUE, NOTHING, MAY_RESULT
#define RULE_BIN   VALUE, VALUE, MAY_RESULT
#define RULE_CMP   VALUE, VALUE, MAY_RESULT | HAS_CC
#define RULE_LD	   BASE, NOTHING, MAY_RESULT
#define RULE_ST	   BASE, VALUE, NO_RESULT
#define RULE_SLOT  STACK, NOTHING, MAY_RESULT
#define RULE_SYM   NOTHING, NOTHING, MAY_RESULT | HAS_SYM
#define RULE_CALL  NOTHING, NOTHING, MAY_RESULT | NO_RESULT | HAS_SYM | HAS_ARGS
#define RULE_CALLR VALUE, NOTHING, MAY_RESULT | NO_RESULT | HAS_ARGS
#define RULE_SYSC  VALUE, NOTHING, MAY_RESULT | NO_RESULT | HAS_ARGS
#define RULE_NONE  NOTHING, NOTHING, NO_RESULT
#define RULE_JMP   NOTHING, NOTHING, NO_RESULT | LAST | HAS_T
#define RULE_BR	   VALUE, VALUE, NO_RESULT | LAST | HAS_CC | HAS_T | HAS_F
#define RULE_RET   VALUE, NOTHING, NO_RESULT | LAST

static const struct rule {
	uint8_t a, b; /* sets of kinds */
	uint8_t has;
} rules[IR_MAX_] = {
#define OP(name, text, shape, flags) [IR_##name] = { RULE_##shape },
#include "ir/ops.def"
#undef OP
};

struct verifier {
	const struct ir_prog *p;
	const struct ir_func *f;
	uint32_t limit[IRV_SLOT + 1]; /* of the number in a value of each kind */
};

static inline bool is_one_of(const struct verifier *v, const struct ir_val *x, unsigned kinds)
{
	return kinds >> x->kind & 1 && x->reg < v->limit[x->kind];
}

static const char *check_sym(const struct verifier *v, const struct ir_ins *ins)
{
	const struct ir_sym *s;

	if (ins->sym >= v->p->syms.n)
		return "symbol out of range";
	s = &v->p->syms.v[ins->sym];
	if (ins->op != IR_CALL)
		return NULL;
	if (s->kind != IR_SYM_FUNC)
		return "call of something that is no function";
	if (s->func->n_params != ins->n_args)
		return "call with the wrong number of arguments";
	return NULL;
}

static const char *check_more(const struct verifier *v, const struct ir_ins *ins, unsigned has)
{
	if ((has & HAS_CC) && ins->cc >= IR_CC_MAX_)
		return "bad condition";
	if (((has & HAS_T) && ins->t >= v->f->blocks.n) ||
	    ((has & HAS_F) && ins->f >= v->f->blocks.n))
		return "branch to a block that is not there";
	if (ins->n_args && !(has & HAS_ARGS))
		return "arguments where none may be";
	if (ins->n_args > IR_MAX_ARGS)
		return "too many arguments";
	for (unsigned i = 0; i < ins->n_args; i++)
		if (!is_one_of(v, &ins->args[i], VALUE))
			return "bad argument";
	return has & HAS_SYM ? check_sym(v, ins) : NULL;
}

static inline const char *check_ins(const struct verifier *v, const struct ir_ins *ins, bool last)
{
	const struct rule *rule;

	if (ins->op >= IR_MAX_)
		return "unknown operation";
	rule = &rules[ins->op];
	if (!!(rule->has & LAST) != last)
		return last ? "block does not end in a terminator" : "terminator inside a block";
	if (!(rule->has & (ins->dst < v->limit[IRV_REG] ? MAY_RESULT : NO_RESULT)) ||
	    (ins->dst >= v->limit[IRV_REG] && ins->dst != IR_NONE))
		return "result where none may be, missing, or out of range";
	if (!is_one_of(v, &ins->a, rule->a))
		return "bad first operand";
	if (!is_one_of(v, &ins->b, rule->b))
		return "bad second operand";
	return (rule->has & MORE) | ins->n_args ? check_more(v, ins, rule->has) : NULL;
}

static const char *check_block(const struct verifier *v, const struct ir_block *blk,
			       uint32_t *ret_at)
{
	const struct ir_ins *i = blk->ins.v, *last;
	const char *e = NULL;

	if (!blk->ins.n)
		return "the block is empty";
	last = i + blk->ins.n - 1;
	while (i < last && !(e = check_ins(v, i, false)))
		i++;
	*ret_at = (uint32_t)(i - blk->ins.v);
	return e ? e : check_ins(v, last, true);
}

const char *ir_verify_func(const struct ir_prog *p, const struct ir_sym *s)
{
	const struct ir_func *f = s->func;
	const struct verifier v = { .p = p,
				    .f = f,
				    .limit = { [IRV_NONE] = UINT32_MAX,
					       [IRV_REG] = f->n_regs,
					       [IRV_IMM] = UINT32_MAX,
					       [IRV_SLOT] = f->slots.n } };

	if (!f->blocks.n)
		return arena_printf(p->arena, "@%s: no blocks", s->name);
	if (f->n_params > IR_MAX_ARGS || f->n_params > f->n_regs)
		return arena_printf(p->arena, "@%s: too many parameters", s->name);
	for (uint32_t b = 0; b < f->blocks.n; b++) {
		uint32_t at = 0;
		const char *e = check_block(&v, &f->blocks.v[b], &at);

		if (e)
			return arena_printf(p->arena,
					    "@%s: b%" PRIu32 " instruction %" PRIu32 ": %s",
					    s->name, b, at, e);
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
