/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear scan. Ranges are taken in order of their start; a range that spans a call only gets a
 * callee-saved register. When none is free, the cheapest of the candidates (weight per length) goes
 * to the stack frame for all of its life.
 */
#include "ir/regalloc.h"

#include "base/checked.h"

#define N_PHYS 32

struct scan {
	struct arena *a;
	struct ir_func *f;
	const struct regset_info *regs;
	struct live live;
	struct allocation *out;
	int8_t *hint_phys;	 /* register it should have, -1 none */
	uint32_t *hint_virt;	 /* register it is copied from or to, IR_NONE none */
	uint32_t busy;		 /* mask of physical registers in use */
	uint32_t soonest;	 /* none of them is free before this position */
	uint32_t active[N_PHYS]; /* virtual register in each physical one, IR_NONE free */
};

static bool spans_call(const struct scan *s, const struct live_range *r)
{
	return s->live.calls[(r->end - 1) / 2] > s->live.calls[r->start / 2];
}

static void hint_args(struct scan *s, const struct ir_ins *ins, const uint8_t *phys)
{
	for (unsigned i = 0; i < ins->n_args; i++)
		if (ins->args[i].kind == IRV_REG && s->hint_phys[ins->args[i].reg] < 0)
			s->hint_phys[ins->args[i].reg] = (int8_t)phys[i];
}

static void find_hints(struct scan *s)
{
	for (uint32_t r = 0; r < s->f->n_regs; r++) {
		s->hint_phys[r] = r < s->f->n_params ? (int8_t)s->regs->args[r] : -1;
		s->hint_virt[r] = IR_NONE;
	}
	for (uint32_t b = 0; b < s->f->blocks.n; b++) {
		IR_EACH(ins, &s->f->blocks.v[b])
		{
			enum ir_shape sh = ir_ops[ins->op].shape;

			if (ins->op == IR_CALL || ins->op == IR_CALLR)
				hint_args(s, ins, s->regs->args);
			if (ins->op == IR_SYSCALL)
				hint_args(s, ins, s->regs->sys_args);
			if ((ir_ops[ins->op].flags & IRF_C) && ins->dst != IR_NONE &&
			    s->hint_phys[ins->dst] < 0)
				s->hint_phys[ins->dst] = (int8_t)s->regs->ret;
			if ((sh == IRS_UN || sh == IRS_BIN) && ins->a.kind == IRV_REG) {
				if (s->hint_virt[ins->dst] == IR_NONE)
					s->hint_virt[ins->dst] = ins->a.reg;
				if (ins->op == IR_COPY && s->hint_virt[ins->a.reg] == IR_NONE)
					s->hint_virt[ins->a.reg] = ins->dst;
			}
		}
	}
}

static void expire(struct scan *s, uint32_t pos)
{
	if (pos <= s->soonest)
		return;
	s->soonest = UINT32_MAX;
	for (uint32_t left = s->busy; left; left &= left - 1) {
		unsigned p = (unsigned)__builtin_ctz(left);
		uint32_t end = s->live.ranges[s->active[p]].end;

		if (end < pos) {
			s->active[p] = IR_NONE;
			s->busy &= ~(1u << p);
		} else {
			s->soonest = MIN(s->soonest, end);
		}
	}
}

static void spill(struct scan *s, uint32_t r)
{
	s->out->reg[r] = -1;
	s->out->spill[r] = s->out->n_spills++;
}

static void give(struct scan *s, uint32_t r, unsigned p)
{
	s->out->reg[r] = (int16_t)p;
	s->out->used |= 1u << p;
	s->busy |= 1u << p;
	s->active[p] = r;
	s->soonest = MIN(s->soonest, s->live.ranges[r].end);
}

static float cost(const struct scan *s, uint32_t r)
{
	const struct live_range *l = &s->live.ranges[r];

	return l->weight / (float)(l->end - l->start + 1);
}

static unsigned choose(const struct scan *s, uint32_t r, uint32_t free, uint32_t caller)
{
	int h = s->hint_phys[r];
	uint32_t v = s->hint_virt[r];

	if (h >= 0 && free >> h & 1)
		return (unsigned)h;
	if (v != IR_NONE && s->out->reg[v] >= 0 && free >> s->out->reg[v] & 1)
		return (unsigned)s->out->reg[v];
	if (free & caller)
		return (unsigned)__builtin_ctz(free & caller);
	if (free & s->out->used) /* its saving is paid for */
		return (unsigned)__builtin_ctz(free & s->out->used);
	return (unsigned)__builtin_ctz(free);
}

static void place(struct scan *s, uint32_t r)
{
	const struct live_range *l = &s->live.ranges[r];
	bool spans = spans_call(s, l);
	uint32_t allowed = s->regs->callee_saved | (spans ? 0 : s->regs->caller_saved);
	uint32_t free, victim = IR_NONE;
	float best;

	expire(s, l->start);
	free = ~s->busy & allowed;
	if (free) {
		give(s, r, choose(s, r, free, s->regs->caller_saved));
		return;
	}
	best = cost(s, r);
	for (unsigned p = 0; p < N_PHYS; p++) {
		uint32_t v = s->active[p];

		if (!(allowed >> p & 1) || v == IR_NONE || cost(s, v) >= best)
			continue;
		best = cost(s, v);
		victim = v;
	}
	if (victim == IR_NONE) {
		spill(s, r);
		return;
	}
	give(s, r, (unsigned)s->out->reg[victim]);
	spill(s, victim);
}

/* Registers by the start of their range: positions are few, so they are buckets. */
static void place_all(struct scan *s)
{
	uint32_t *first = arena_alloc(s->a, s->live.n_positions * sizeof(*first));
	uint32_t *next = arena_alloc(s->a, s->f->n_regs * sizeof(*next));

	for (uint32_t r = s->f->n_regs; r-- > 0;) {
		const struct live_range *l = &s->live.ranges[r];

		if (l->start > l->end)
			continue;
		next[r] = first[l->start]; /* register + 1, 0 ends the list */
		first[l->start] = r + 1;
	}
	for (uint32_t pos = 0; pos < s->live.n_positions; pos++)
		for (uint32_t r = first[pos]; r; r = next[r - 1])
			place(s, r - 1);
}

void regalloc(struct arena *a, struct ir_func *f, const struct regset_info *regs,
	      struct allocation *ret)
{
	struct scan s = { .a = a, .f = f, .regs = regs, .out = ret };

	*ret = (struct allocation){ 0 };
	ret->reg = arena_alloc(a, f->n_regs * sizeof(*ret->reg));
	ret->spill = arena_alloc(a, f->n_regs * sizeof(*ret->spill));
	s.hint_phys = arena_alloc(a, f->n_regs);
	s.hint_virt = arena_alloc(a, f->n_regs * sizeof(*s.hint_virt));
	live_compute(a, f, &s.live);
	find_hints(&s);
	for (unsigned p = 0; p < N_PHYS; p++)
		s.active[p] = IR_NONE;
	for (uint32_t r = 0; r < f->n_regs; r++)
		ret->reg[r] = -1;
	place_all(&s);
}
