/* SPDX-License-Identifier: Apache-2.0 */
/* The passes over what is reachable from the entry, each with the rules checked behind it. */
#include "ir/ir.h"

static const char *verified(struct ir_prog *p, const struct ir_sym *s, const char *when)
{
	const char *e = ir_verify_func(p, s);

	return e ? arena_printf(p->arena, "%s: %s", when, e) : NULL;
}

static const char *optimize_func(struct ir_prog *p, struct ir_sym *s)
{
	const char *e = NULL;
	bool again = true;

	for (int round = 0; !e && again && round < 2; round++) {
		again = ir_fold(p, s->func);
		e = verified(p, s, "after folding");
		if (!e)
			ir_dead(p, s->func);
		if (!e)
			e = verified(p, s, "after removing dead code");
		again |= ir_has_bare_jump(s->func);
	}
	return e;
}

struct walk {
	struct ir_prog *p;
	uint32_t *todo; /* symbols reached, not looked at */
	uint32_t n_todo;
};

static void reach(struct walk *w, uint32_t sym)
{
	struct ir_sym *s = &w->p->syms.v[sym];

	if (s->used)
		return;
	s->used = true;
	w->todo[w->n_todo++] = sym;
}

static void reach_from_func(struct walk *w, const struct ir_func *f)
{
	for (uint32_t b = 0; b < f->blocks.n; b++)
		IR_EACH(ins, &f->blocks.v[b])
	if (ins->op == IR_ADDR || ins->op == IR_CALL)
		reach(w, ins->sym);
}

const char *ir_prepare(struct ir_prog *p, bool optimize)
{
	struct walk w = { .p = p, .todo = arena_alloc(p->arena, p->syms.n * sizeof(*w.todo)) };
	const char *e = ir_verify_symbols(p);

	for (uint32_t i = 0; i < p->syms.n; i++)
		p->syms.v[i].used = false;
	if (!e)
		reach(&w, p->entry);
	while (!e && w.n_todo) {
		struct ir_sym *s = &p->syms.v[w.todo[--w.n_todo]];

		if (s->kind == IR_SYM_DATA && s->pointer_to != IR_NONE)
			reach(&w, s->pointer_to);
		if (s->kind != IR_SYM_FUNC)
			continue;
		e = verified(p, s, "before optimising");
		if (!e && optimize)
			e = optimize_func(p, s);
		if (!e)
			reach_from_func(&w, s->func);
	}
	return e;
}
