/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live ranges. Most registers live inside one block and get their range from a single scan; only
 * the rest take part in the data-flow iteration over bit sets.
 */
#include "ir/regalloc.h"

#include "base/checked.h"

#define LIVE_MAX_BITSET_BYTES ((size_t)128 << 20)

struct live_state {
	struct arena *a;
	struct ir_func *f;
	struct live_range *ranges;
	uint32_t
		*home; /* block + 1 of a register seen in one block only, 0 none, IR_NONE several */
	uint32_t *global; /* index among registers of several blocks */
	uint32_t n_global, n_words;
	uint64_t *gen, *kill, *in;
	uint32_t *first, *last; /* positions of a block's ends */
	float *freq;
	uint32_t block, pos;
};

static void see_block(struct live_state *s, uint32_t r)
{
	if (!s->home[r])
		s->home[r] = s->block + 1;
	else if (s->home[r] != s->block + 1)
		s->home[r] = IR_NONE;
}

static void see_use(void *opaque, struct ir_val *v)
{
	see_block(opaque, v->reg);
}

static void find_global_regs(struct live_state *s)
{
	struct ir_func *f = s->f;

	for (uint32_t i = 0; i < f->n_params; i++)
		see_block(s, i);
	for (s->block = 0; s->block < f->blocks.n; s->block++) {
		IR_EACH(ins, &f->blocks.v[s->block])
		{
			ir_each_use(ins, see_use, s);
			if (ins->dst != IR_NONE)
				see_block(s, ins->dst);
		}
	}
	for (uint32_t r = 0; r < f->n_regs; r++) {
		s->global[r] = s->n_global;
		s->n_global += s->home[r] == IR_NONE;
	}
	s->n_words = (s->n_global + 63) / 64;
}

/* Blocks between a backward jump and its target count ten times as much. */
static void estimate_frequency(struct live_state *s)
{
	struct ir_func *f = s->f;
	int32_t *delta = arena_alloc(s->a, (f->blocks.n + 1) * sizeof(*delta));
	int32_t depth = 0;

	for (uint32_t b = 0; b < f->blocks.n; b++) {
		const struct ir_ins *t = &f->blocks.v[b].ins.v[f->blocks.v[b].ins.n - 1];
		uint32_t to[2] = { t->op == IR_RET ? IR_NONE : t->t,
				   t->op == IR_BR ? t->f : IR_NONE };

		for (int i = 0; i < 2; i++) {
			if (to[i] != IR_NONE && to[i] <= b) {
				delta[to[i]]++;
				delta[b + 1]--;
			}
		}
	}
	for (uint32_t b = 0; b < f->blocks.n; b++) {
		depth += delta[b];
		s->freq[b] = 1;
		for (int32_t i = 0; i < depth && i < 4; i++)
			s->freq[b] *= 10;
	}
}

static void extend(struct live_range *r, uint32_t pos)
{
	r->start = MIN(r->start, pos);
	r->end = MAX(r->end, pos);
}

static void use_reg(void *opaque, struct ir_val *v)
{
	struct live_state *s = opaque;
	uint32_t r = v->reg;

	extend(&s->ranges[r], s->pos);
	s->ranges[r].weight += s->freq[s->block];
	if (s->home[r] == IR_NONE) {
		uint32_t g = s->global[r];
		size_t word = (size_t)s->block * s->n_words + g / 64;

		s->gen[word] |= 1ULL << (g % 64) & ~s->kill[word];
	}
}

static void scan_blocks(struct live_state *s, struct live *ret)
{
	struct ir_func *f = s->f;
	uint32_t n_ins = 0, n_calls = 0;

	for (uint32_t b = 0; b < f->blocks.n; b++)
		n_ins += f->blocks.v[b].ins.n;
	ret->calls = arena_alloc(s->a, (n_ins + 1) * sizeof(*ret->calls));
	s->pos = 0;
	for (s->block = 0; s->block < f->blocks.n; s->block++) {
		s->first[s->block] = s->pos + 2;
		IR_EACH(ins, &f->blocks.v[s->block])
		{
			s->pos += 2;
			ir_each_use(ins, use_reg, s);
			n_calls += !!(ir_ops[ins->op].flags & IRF_C);
			ret->calls[s->pos / 2] = n_calls;
			if (ins->dst == IR_NONE)
				continue;
			extend(&s->ranges[ins->dst], s->pos + 1);
			s->ranges[ins->dst].weight += s->freq[s->block];
			if (s->home[ins->dst] == IR_NONE) {
				uint32_t g = s->global[ins->dst];

				s->kill[(size_t)s->block * s->n_words + g / 64] |= 1ULL << (g % 64);
			}
		}
		s->last[s->block] = s->pos + 1;
	}
	ret->n_positions = s->pos + 2;
}

static uint64_t live_out_word(const struct live_state *s, uint32_t b, uint32_t w)
{
	const struct ir_block *blk = &s->f->blocks.v[b];
	const struct ir_ins *t = &blk->ins.v[blk->ins.n - 1];
	uint64_t out = 0;

	if (t->op != IR_RET)
		out |= s->in[(size_t)t->t * s->n_words + w];
	if (t->op == IR_BR)
		out |= s->in[(size_t)t->f * s->n_words + w];
	return out;
}

static void iterate(struct live_state *s)
{
	bool changed = s->n_words > 0;

	while (changed) {
		changed = false;
		for (uint32_t b = s->f->blocks.n; b-- > 0;) {
			size_t base = (size_t)b * s->n_words;

			for (uint32_t w = 0; w < s->n_words; w++) {
				uint64_t in = s->gen[base + w] |
					      (live_out_word(s, b, w) & ~s->kill[base + w]);

				if (in != s->in[base + w]) {
					s->in[base + w] = in;
					changed = true;
				}
			}
		}
	}
}

static void extend_global(struct live_state *s)
{
	uint32_t *reg_of = arena_alloc(s->a, s->n_global * sizeof(*reg_of));

	for (uint32_t r = 0; r < s->f->n_regs; r++)
		if (s->home[r] == IR_NONE)
			reg_of[s->global[r]] = r;
	for (uint32_t b = 0; b < s->f->blocks.n; b++) {
		for (uint32_t w = 0; w < s->n_words; w++) {
			uint64_t in = s->in[(size_t)b * s->n_words + w];
			uint64_t out = live_out_word(s, b, w);

			for (; in; in &= in - 1)
				extend(&s->ranges[reg_of[w * 64 + (uint32_t)__builtin_ctzll(in)]],
				       s->first[b] - 1);
			for (; out; out &= out - 1)
				extend(&s->ranges[reg_of[w * 64 + (uint32_t)__builtin_ctzll(out)]],
				       s->last[b]);
		}
	}
}

void live_compute(struct arena *a, struct ir_func *f, struct live *ret)
{
	struct live_state s = { .a = a, .f = f };
	size_t bytes;

	s.ranges = arena_alloc(a, f->n_regs * sizeof(*s.ranges));
	s.home = arena_alloc(a, f->n_regs * sizeof(*s.home));
	s.global = arena_alloc(a, f->n_regs * sizeof(*s.global));
	s.first = arena_alloc(a, f->blocks.n * sizeof(*s.first));
	s.last = arena_alloc(a, f->blocks.n * sizeof(*s.last));
	s.freq = arena_alloc(a, f->blocks.n * sizeof(*s.freq));
	for (uint32_t r = 0; r < f->n_regs; r++)
		s.ranges[r] = (struct live_range){ .start = UINT32_MAX };
	find_global_regs(&s);
	bytes = (size_t)f->blocks.n * s.n_words * sizeof(uint64_t);
	if (bytes > LIVE_MAX_BITSET_BYTES)
		arena_fail(a, 1);
	s.gen = arena_alloc(a, bytes);
	s.kill = arena_alloc(a, bytes);
	s.in = arena_alloc(a, bytes);
	estimate_frequency(&s);
	for (uint32_t i = 0; i < f->n_params; i++)
		extend(&s.ranges[i], 1);
	scan_blocks(&s, ret);
	iterate(&s);
	extend_global(&s);
	ret->ranges = s.ranges;
}
