/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead code: blocks that cannot be reached, chains of jumps, pure instructions whose result is not
 * used. Blocks come out in reverse postorder, so that loops are contiguous and the fall-through is
 * the likely way.
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

/* Keep the @n blocks of @order, in that order. */
static void keep_blocks(struct ir_prog *p, struct ir_func *f, const uint32_t *order, uint32_t n)
{
	uint32_t *number = arena_alloc(p->scratch, f->blocks.n * sizeof(*number));
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

/* The instructions of block @from behind those of @to, in place of its jump. */
static void append_block(struct ir_prog *p, struct ir_func *f, uint32_t to, uint32_t from)
{
	struct ir_block *a = &f->blocks.v[to];
	const struct ir_block *b = &f->blocks.v[from];

	a->ins.n--;
	for (uint32_t i = 0; i < b->ins.n; i++)
		VEC_PUSH(p->arena, &a->ins, b->ins.v[i]);
}

/*
 * Order the blocks, and append each to its only predecessor when that one jumps to it: such a block
 * stands right behind that predecessor, so taking it out keeps the order.
 */
static void order_and_merge(struct ir_prog *p, struct ir_func *f)
{
	uint32_t *order = arena_alloc(p->scratch, f->blocks.n * sizeof(*order));
	uint32_t *n_preds = arena_alloc(p->scratch, f->blocks.n * sizeof(*n_preds));
	uint32_t n = order_blocks(p, f, order), kept = 0;

	n_preds[0] = 1;
	for (uint32_t i = 0; i < n; i++) {
		const struct ir_ins *t = terminator(f, order[i]);

		if (t->op != IR_RET)
			n_preds[t->t]++;
		if (t->op == IR_BR)
			n_preds[t->f]++;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct ir_ins *t = terminator(f, order[i]);

		order[kept++] = order[i];
		while (i + 1 < n && t->op == IR_JMP && t->t == order[i + 1] && n_preds[t->t] == 1) {
			append_block(p, f, order[kept - 1], order[++i]);
			t = terminator(f, order[kept - 1]);
		}
	}
	keep_blocks(p, f, order, kept);
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
static void remove_unused(struct ir_func *f, uint32_t *uses)
{
	bool again = true;

	for (uint32_t b = 0; b < f->blocks.n; b++)
		IR_EACH(ins, &f->blocks.v[b])
	ir_each_use(ins, count_use, uses);
	while (again) {
		again = false;
		for (uint32_t b = f->blocks.n; b-- > 0;) {
			struct ir_block *blk = &f->blocks.v[b];
			struct ir_ins *end = blk->ins.v + blk->ins.n, *w = end;

			for (struct ir_ins *ins = end; ins-- > blk->ins.v;) {
				if (is_useless(ins, uses)) {
					ir_each_use(ins, drop_use, uses);
					again = true;
					continue;
				}
				if ((ir_ops[ins->op].flags & IRF_C) && ins->dst != IR_NONE &&
				    !uses[ins->dst])
					ins->dst = IR_NONE;
				if (--w != ins)
					*w = *ins;
			}
			if (w != blk->ins.v)
				memmove(blk->ins.v, w, (size_t)(end - w) * sizeof(*w));
			blk->ins.n = (uint32_t)(end - w);
		}
	}
}

static void rename_reg(void *opaque, struct ir_val *v)
{
	v->reg = ((uint32_t *)opaque)[v->reg];
}

/* Close the gaps between the registers that are read, as @map says, or written. */
static void renumber_regs(struct ir_func *f, uint32_t *map)
{
	uint32_t n = f->n_params;

	for (uint32_t b = 0; b < f->blocks.n; b++)
		IR_EACH(ins, &f->blocks.v[b])
	if (ins->dst != IR_NONE)
		map[ins->dst] = 1;
	for (uint32_t r = 0; r < f->n_params; r++)
		map[r] = r;
	for (uint32_t r = f->n_params; r < f->n_regs; r++)
		map[r] = map[r] ? n++ : 0;
	for (uint32_t b = 0; b < f->blocks.n; b++) {
		IR_EACH(ins, &f->blocks.v[b])
		{
			ir_each_use(ins, rename_reg, map);
			if (ins->dst != IR_NONE)
				ins->dst = map[ins->dst];
		}
	}
	f->n_regs = n;
}

void ir_dead(struct ir_prog *p, struct ir_func *f)
{
	uint32_t *uses = arena_alloc(p->scratch, f->n_regs * sizeof(*uses));

	thread_jumps(f);
	order_and_merge(p, f);
	remove_unused(f, uses);
	renumber_regs(f, uses);
	arena_clear(p->scratch);
}

bool ir_has_bare_jump(struct ir_func *f)
{
	for (uint32_t b = 0; b < f->blocks.n; b++)
		if (thread(f, b) != b)
			return true;
	return false;
}
