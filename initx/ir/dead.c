/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead code: blocks that cannot be reached, chains of jumps, pure instructions whose result is not
 * used, symbols that nothing refers to. Blocks come out in reverse postorder, so that loops are
 * contiguous and the fall-through is the likely way.
 */
#include "ir/ir.h"

#include <string.h>

static struct ir_ins *terminator(struct ir_func *f, uint32_t b)
{
	return &f->blocks.v[b].ins.v[f->blocks.v[b].ins.n - 1];
}

/* Where a jump to @b ends up, past blocks that only jump on. */
static uint32_t thread(struct ir_func *f, uint32_t b)
{
	for (unsigned hops = 0; hops < 16; hops++) {
		const struct ir_ins *t = terminator(f, b);

		if (f->blocks.v[b].ins.n != 1 || t->op != IR_JMP || t->t == b)
			break;
		b = t->t;
	}
	return b;
}

static void thread_jumps(struct ir_func *f)
{
	for (uint32_t b = 0; b < f->blocks.n; b++) {
		struct ir_ins *t = terminator(f, b);

		if (t->op == IR_RET)
			continue;
		t->t = thread(f, t->t);
		if (t->op != IR_BR)
			continue;
		t->f = thread(f, t->f);
		if (t->t == t->f)
			*t = (struct ir_ins){ .op = IR_JMP, .dst = IR_NONE, .t = t->t };
	}
}

/* Append a block to its only predecessor when that one jumps to it. */
static void merge_blocks(struct ir_prog *p, struct ir_func *f)
{
	uint32_t *n_preds = arena_alloc(p->scratch, f->blocks.n * sizeof(*n_preds));

	n_preds[0] = 1;
	for (uint32_t b = 0; b < f->blocks.n; b++) {
		const struct ir_ins *t = terminator(f, b);

		if (t->op != IR_RET)
			n_preds[t->t]++;
		if (t->op == IR_BR)
			n_preds[t->f]++;
	}
	for (uint32_t b = 0; b < f->blocks.n; b++) {
		struct ir_ins *t = terminator(f, b);

		while (t->op == IR_JMP && n_preds[t->t] == 1 && t->t != b && t->t != 0) {
			struct ir_block *from = &f->blocks.v[t->t];
			struct ir_block *to = &f->blocks.v[b];

			n_preds[t->t] = 0;
			to->ins.n--;
			for (uint32_t i = 0; i < from->ins.n; i++)
				VEC_PUSH(p->arena, &to->ins, from->ins.v[i]);
			from->ins.v[0] =
				(struct ir_ins){ .op = IR_RET, .dst = IR_NONE, .a = ir_imm(0) };
			from->ins.n = 1;
			t = terminator(f, b);
		}
	}
}

/* Reverse postorder without recursion. Returns the number of blocks reached. */
static uint32_t order_blocks(struct ir_prog *p, struct ir_func *f, uint32_t *order)
{
	uint32_t n = f->blocks.n, top = 0, n_out = 0;
	uint32_t *stack = arena_alloc(p->scratch, n * sizeof(*stack));
	uint8_t *state = arena_alloc(p->scratch, n); /* 0 new, else 1 + successors visited */

	stack[top++] = 0;
	state[0] = 1;
	while (top) {
		uint32_t b = stack[top - 1], s = IR_NONE;
		const struct ir_ins *t = terminator(f, b);

		/* The false side first: it is then placed last, and the true side falls through. */
		if (state[b] == 1 && t->op == IR_BR)
			s = t->f;
		else if ((state[b] == 1 && t->op == IR_JMP) || (state[b] == 2 && t->op == IR_BR))
			s = t->t;
		if (s == IR_NONE) {
			order[n_out++] = b;
			top--;
			continue;
		}
		state[b]++;
		if (!state[s]) {
			state[s] = 1;
			stack[top++] = s;
		}
	}
	for (uint32_t i = 0; i < n_out / 2; i++) {
		uint32_t t = order[i];

		order[i] = order[n_out - 1 - i];
		order[n_out - 1 - i] = t;
	}
	return n_out;
}

static void renumber_blocks(struct ir_prog *p, struct ir_func *f)
{
	uint32_t *order = arena_alloc(p->scratch, f->blocks.n * sizeof(*order));
	uint32_t *number = arena_alloc(p->scratch, f->blocks.n * sizeof(*number));
	uint32_t n = order_blocks(p, f, order);
	struct ir_block *blocks = arena_alloc(p->scratch, n * sizeof(*blocks));

	for (uint32_t i = 0; i < n; i++) {
		number[order[i]] = i;
		blocks[i] = f->blocks.v[order[i]];
	}
	memcpy(f->blocks.v, blocks, n * sizeof(*blocks));
	f->blocks.n = n;
	for (uint32_t i = 0; i < n; i++) {
		struct ir_ins *t = terminator(f, i);

		if (t->op != IR_RET)
			t->t = number[t->t];
		if (t->op == IR_BR)
			t->f = number[t->f];
	}
}

static void count_use(void *opaque, struct ir_val *v)
{
	((uint32_t *)opaque)[v->reg]++;
}

static void drop_use(void *opaque, struct ir_val *v)
{
	((uint32_t *)opaque)[v->reg]--;
}

static bool is_useless(const struct ir_ins *ins, const uint32_t *uses)
{
	if (ins->op == IR_COPY && ins->a.kind == IRV_REG && ins->a.reg == ins->dst)
		return true;
	return (ir_ops[ins->op].flags & IRF_P) && !uses[ins->dst];
}

/* Backwards, until nothing more falls away. */
static void remove_unused(struct ir_prog *p, struct ir_func *f)
{
	uint32_t *uses = arena_alloc(p->scratch, f->n_regs * sizeof(*uses));
	bool again = true;

	for (uint32_t b = 0; b < f->blocks.n; b++)
		for (uint32_t i = 0; i < f->blocks.v[b].ins.n; i++)
			ir_each_use(&f->blocks.v[b].ins.v[i], count_use, uses);
	while (again) {
		again = false;
		for (uint32_t b = f->blocks.n; b-- > 0;) {
			struct ir_block *blk = &f->blocks.v[b];
			uint32_t w = blk->ins.n;

			for (uint32_t i = blk->ins.n; i-- > 0;) {
				struct ir_ins *ins = &blk->ins.v[i];

				if (is_useless(ins, uses)) {
					ir_each_use(ins, drop_use, uses);
					again = true;
					continue;
				}
				if ((ir_ops[ins->op].flags & IRF_C) && ins->dst != IR_NONE &&
				    !uses[ins->dst])
					ins->dst = IR_NONE;
				blk->ins.v[--w] = *ins;
			}
			memmove(blk->ins.v, blk->ins.v + w, (blk->ins.n - w) * sizeof(*blk->ins.v));
			blk->ins.n -= w;
		}
	}
}

static void rename_reg(void *opaque, struct ir_val *v)
{
	v->reg = ((uint32_t *)opaque)[v->reg];
}

static void note_reg(void *opaque, struct ir_val *v)
{
	((uint32_t *)opaque)[v->reg] = 1;
}

static void renumber_regs(struct ir_prog *p, struct ir_func *f)
{
	uint32_t *map = arena_alloc(p->scratch, f->n_regs * sizeof(*map));
	uint32_t n = f->n_params;

	for (uint32_t b = 0; b < f->blocks.n; b++) {
		for (uint32_t i = 0; i < f->blocks.v[b].ins.n; i++) {
			struct ir_ins *ins = &f->blocks.v[b].ins.v[i];

			ir_each_use(ins, note_reg, map);
			if (ins->dst != IR_NONE)
				map[ins->dst] = 1;
		}
	}
	for (uint32_t r = 0; r < f->n_regs; r++) {
		if (r < f->n_params)
			map[r] = r;
		else if (map[r])
			map[r] = n++;
	}
	for (uint32_t b = 0; b < f->blocks.n; b++) {
		for (uint32_t i = 0; i < f->blocks.v[b].ins.n; i++) {
			struct ir_ins *ins = &f->blocks.v[b].ins.v[i];

			ir_each_use(ins, rename_reg, map);
			if (ins->dst != IR_NONE)
				ins->dst = map[ins->dst];
		}
	}
	f->n_regs = n;
}

void ir_dead(struct ir_prog *p, struct ir_func *f)
{
	thread_jumps(f);
	renumber_blocks(p, f);
	merge_blocks(p, f);
	renumber_blocks(p, f);
	remove_unused(p, f);
	renumber_regs(p, f);
	arena_clear(p->scratch);
}

void ir_prune(struct ir_prog *p)
{
	uint32_t *stack = arena_alloc(p->arena, p->syms.n * sizeof(*stack));
	uint32_t top = 0;

	for (uint32_t i = 0; i < p->syms.n; i++)
		p->syms.v[i].used = false;
	p->syms.v[p->entry].used = true;
	stack[top++] = p->entry;
	while (top) {
		const struct ir_sym *s = &p->syms.v[stack[--top]];

		if (s->kind == IR_SYM_DATA && s->pointer_to != IR_NONE &&
		    !p->syms.v[s->pointer_to].used) {
			p->syms.v[s->pointer_to].used = true;
			stack[top++] = s->pointer_to;
		}
		if (s->kind != IR_SYM_FUNC)
			continue;
		for (uint32_t b = 0; b < s->func->blocks.n; b++) {
			const struct ir_block *blk = &s->func->blocks.v[b];

			for (uint32_t i = 0; i < blk->ins.n; i++) {
				enum ir_shape sh = ir_ops[blk->ins.v[i].op].shape;
				uint32_t t = blk->ins.v[i].sym;

				if ((sh != IRS_SYM && sh != IRS_CALL) || p->syms.v[t].used)
					continue;
				p->syms.v[t].used = true;
				stack[top++] = t;
			}
		}
	}
}

/* Whether a block is there only to jump on: removing dead code again would thread it. */
static bool has_bare_jump(struct ir_func *f)
{
	for (uint32_t b = 0; b < f->blocks.n; b++)
		if (thread(f, b) != b)
			return true;
	return false;
}

static const char *verified(struct ir_prog *p, const struct ir_sym *s, const char *when)
{
	const char *e = ir_verify_func(p, s);

	return e ? arena_printf(p->arena, "%s: %s", when, e) : NULL;
}

/* Every pass over one function, each with the rules checked behind it. */
static const char *optimize_func(struct ir_prog *p, struct ir_sym *s)
{
	const char *e = verified(p, s, "before optimising");

	for (int round = 0; !e && round < 2; round++) {
		if (!ir_fold(p, s->func) && round && !has_bare_jump(s->func))
			break;
		e = verified(p, s, "after folding");
		if (!e)
			ir_dead(p, s->func);
		if (!e)
			e = verified(p, s, "after removing dead code");
	}
	return e;
}

const char *ir_optimize(struct ir_prog *p)
{
	const char *e = ir_verify_symbols(p);

	if (e)
		return e;
	ir_prune(p);
	for (uint32_t i = 0; !e && i < p->syms.n; i++)
		if (p->syms.v[i].kind == IR_SYM_FUNC && p->syms.v[i].used)
			e = optimize_func(p, &p->syms.v[i]);
	ir_prune(p);
	return e;
}
