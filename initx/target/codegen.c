/* SPDX-License-Identifier: Apache-2.0 */
/* From IR to an image: functions one after the other, branches shrunk, symbols laid out. */
#include "target/target.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"

#define CODE_MAX_BYTES ((size_t)64 << 20)
/* What one function may have: the shortest reach of a long branch (riscv64's jal). */
#define FUNC_MAX_BYTES (((size_t)1 << 20) - 64)

static int64_t branch_len(const struct code_branch *b)
{
	return b->is_long ? b->long_len : b->short_len;
}

/* Where a block begins: minus what the branches before it lost. */
static uint32_t shrunk(const struct codegen *g, const uint32_t *lost, uint32_t block)
{
	return g->block_off[block] - lost[g->block_branch[block]];
}

static void relax(const struct codegen *g, struct code *c, uint32_t *lost)
{
	bool changed = true;

	while (changed) {
		changed = false;
		lost[0] = 0;
		for (uint32_t i = 0; i < c->branches.n; i++) {
			const struct code_branch *b = &c->branches.v[i];

			lost[i + 1] = lost[i] + (uint32_t)(b->long_len - branch_len(b));
		}
		for (uint32_t i = 0; i < c->branches.n; i++) {
			struct code_branch *b = &c->branches.v[i];
			int64_t lo, hi, disp;

			if (b->is_long)
				continue;
			disp = (int64_t)shrunk(g, lost, b->block) - (int64_t)(b->off - lost[i]);
			g->t->branch_reach(b, &lo, &hi);
			if (disp < lo || disp > hi) {
				b->is_long = true;
				changed = true;
			}
		}
	}
}

/* Squeeze out the unused bytes of short branches and write all of them. */
static void finish_branches(struct codegen *g, uint32_t start, uint32_t first_fix)
{
	struct code *c = g->c;
	uint32_t *lost = arena_alloc(g->p->scratch, (c->branches.n + 1) * sizeof(*lost));
	uint32_t from = start, to = start;

	relax(g, c, lost);
	for (uint32_t i = first_fix, before = 0; i < c->fixes.n; i++) {
		while (before < c->branches.n && c->branches.v[before].off < c->fixes.v[i].off)
			before++;
		c->fixes.v[i].off -= lost[before];
	}
	for (uint32_t i = 0; i < c->branches.n; i++) {
		struct code_branch *b = &c->branches.v[i];
		uint32_t gap = b->off - from;
		int64_t disp;

		memmove(c->bytes.s + to, c->bytes.s + from, gap);
		to += gap;
		disp = (int64_t)shrunk(g, lost, b->block) - (int64_t)to;
		from = b->off + b->long_len;
		g->t->branch_put((uint8_t *)c->bytes.s + to, b, disp);
		to += (uint32_t)branch_len(b);
	}
	memmove(c->bytes.s + to, c->bytes.s + from, c->bytes.len - from);
	c->bytes.len = to + (c->bytes.len - from);
	c->branches.n = 0;
}

static void layout_frame(struct codegen *g)
{
	uint64_t off = 0;

	g->slot_off = arena_alloc(g->p->scratch, g->f->slots.n * sizeof(*g->slot_off));
	g->spill_off = 0; /* spills lowest: short displacements */
	off = 8 * (uint64_t)g->al.n_spills;
	for (uint32_t i = 0; i < g->f->slots.n; i++) {
		g->slot_off[i] = (uint32_t)off;
		off += g->f->slots.v[i].size;
		if (off > ((uint64_t)1 << 30))
			arena_fail(g->c->a, 1);
	}
	g->frame = (uint32_t)ALIGN_UP(off, 16);
	g->saved = g->al.used & g->t->regs.callee_saved;
	g->has_calls = false;
	for (uint32_t b = 0; b < g->f->blocks.n; b++)
		IR_EACH(ins, &g->f->blocks.v[b])
	g->has_calls |= ins->op == IR_CALL || ins->op == IR_CALLR;
}

/* Keep only the first @max registers, alternating between the two kinds. */
static void limit_regs(struct regset_info *r, unsigned max)
{
	uint32_t caller = r->caller_saved, callee = r->callee_saved;

	r->caller_saved = r->callee_saved = 0;
	for (unsigned i = 0; i < max; i++) {
		uint32_t *from = i % 2 && caller ? &caller : callee ? &callee : &caller;
		uint32_t *to = from == &caller ? &r->caller_saved : &r->callee_saved;

		*to |= *from & (0 - *from);
		*from &= *from - 1;
	}
}

static void emit_func(struct codegen *g, struct ir_sym *sym)
{
	struct code *c = g->c;
	uint32_t start = (uint32_t)c->bytes.len, first_fix = c->fixes.n;
	char label[32];

	g->f = sym->func;
	g->name = sym->name;
	regalloc(g->p->scratch, g->f, &g->regs, &g->al);
	layout_frame(g);
	g->block_off = arena_alloc(g->p->scratch, g->f->blocks.n * sizeof(*g->block_off));
	g->block_branch = arena_alloc(g->p->scratch, g->f->blocks.n * sizeof(*g->block_branch));
	g->t->prologue(g);
	for (g->block = 0; g->block < g->f->blocks.n; g->block++) {
		struct ir_block *b = &g->f->blocks.v[g->block];

		g->block_off[g->block] = (uint32_t)c->bytes.len;
		g->block_branch[g->block] = c->branches.n;
		if (c->text)
			strbuf_printf(c->text, "%s:\n", cg_label(g, g->block, label));
		IR_EACH(ins, b)
		g->t->ins(g, ins);
		if (c->bytes.len > CODE_MAX_BYTES || c->bytes.len - start > FUNC_MAX_BYTES)
			arena_fail(c->a, 1);
	}
	finish_branches(g, start, first_fix);
	arena_clear(g->p->scratch);
}

static void align_code(struct code *c, const struct target *t)
{
	while (c->bytes.len % t->func_align)
		code_u8(c, t->pad_byte);
	if (c->text && t->func_align > 4)
		strbuf_printf(c->text, "\t.balign %" PRIu32 ", 0x%02x\n", t->func_align,
			      t->pad_byte);
}

static void place_func(struct codegen *g, struct image *im, uint32_t i)
{
	align_code(g->c, g->t);
	im->sym_off[i] = (uint32_t)g->c->bytes.len;
	g->func_no = i;
	if (g->c->text)
		strbuf_printf(g->c->text, "\"%s\":\n", g->p->syms.v[i].name);
	emit_func(g, &g->p->syms.v[i]);
}

static void text_data(struct strbuf *text, const struct ir_prog *p, const struct ir_sym *s)
{
	strbuf_printf(text, "\t.balign %" PRIu32 ", 0\n\"%s\":\n", s->align, s->name);
	if (s->pointer_to != IR_NONE) {
		strbuf_printf(text, "\t.quad \"%s\"\n", p->syms.v[s->pointer_to].name);
		return;
	}
	for (uint64_t i = 0; i < s->size; i++)
		strbuf_printf(text, "%s%u%s", i % 16 ? "," : "\t.byte ", s->bytes[i],
			      i % 16 == 15 || i + 1 == s->size ? "\n" : "");
}

static void place_data(struct image *im, struct ir_prog *p, struct strbuf *text)
{
	if (text)
		strbuf_puts(text, "\t.balign 16, 0\n");
	for (uint32_t i = 0; i < p->syms.n; i++) {
		const struct ir_sym *s = &p->syms.v[i];

		if (!s->used || s->kind != IR_SYM_DATA)
			continue;
		strbuf_align(&im->ro, s->align);
		im->sym_off[i] = (uint32_t)im->ro.len;
		if (s->pointer_to != IR_NONE) {
			VEC_PUSH(p->arena, &im->abs, (uint32_t)im->ro.len);
			VEC_PUSH(p->arena, &im->abs_sym, s->pointer_to);
		}
		strbuf_put(&im->ro, s->bytes, s->size);
		if (text)
			text_data(text, p, s);
	}
	if (text)
		strbuf_puts(text, "\t.balign 16, 0\n");
	strbuf_align(&im->ro, 16);
	for (uint32_t i = 0; i < p->syms.n; i++) {
		const struct ir_sym *s = &p->syms.v[i];

		if (!s->used || s->kind != IR_SYM_GLOBAL)
			continue;
		im->bss_size = ALIGN_UP(im->bss_size, (uint64_t)16);
		im->sym_off[i] = (uint32_t)im->bss_size;
		im->bss_size += s->size;
		if (text)
			strbuf_printf(text, "\t.balign 16, 0\n\"%s\":\n\t.zero %" PRIu64 "\n",
				      s->name, s->size);
	}
	im->bss_size = ALIGN_UP(im->bss_size, (uint64_t)16);
	if (text)
		strbuf_puts(text, "\t.balign 16, 0\n");
}

void codegen_prog(struct ir_prog *p, const struct target *t, bool with_start, unsigned max_regs,
		  struct strbuf *text, struct image *im)
{
	struct codegen g = { .t = t, .p = p, .c = &im->code, .regs = t->regs };

	*im = (struct image){ 0 };
	im->code.a = p->arena;
	im->code.bytes.arena = p->arena;
	im->code.text = text;
	im->ro.arena = p->arena;
	im->sym_off = arena_alloc(p->arena, p->syms.n * sizeof(*im->sym_off));
	if (max_regs)
		limit_regs(&g.regs, max_regs);
	if (text)
		strbuf_puts(text, t->asm_head);
	if (with_start)
		t->start(&im->code, p->entry, p->syms.v[p->entry].name);
	place_func(&g, im, p->entry);
	for (uint32_t i = 0; i < p->syms.n; i++)
		if (p->syms.v[i].used && p->syms.v[i].kind == IR_SYM_FUNC && i != p->entry)
			place_func(&g, im, i);
	place_data(im, p, text);
}

uint64_t image_addr(const struct image *im, const struct ir_prog *p, uint32_t sym, uint64_t code,
		    uint64_t ro, uint64_t bss)
{
	switch (p->syms.v[sym].kind) {
	case IR_SYM_FUNC: return code + im->sym_off[sym];
	case IR_SYM_DATA: return ro + im->sym_off[sym];
	case IR_SYM_GLOBAL: break;
	}
	return bss + im->sym_off[sym];
}

const char *image_patch(struct image *im, const struct ir_prog *p, const struct target *t,
			uint64_t code, uint64_t ro, uint64_t bss)
{
	for (uint32_t i = 0; i < im->code.fixes.n; i++) {
		const struct code_fix *x = &im->code.fixes.v[i];
		uint64_t to = image_addr(im, p, x->sym, code, ro, bss) + (uint64_t)x->addend;

		if (!t->patch((uint8_t *)im->code.bytes.s + x->off, x->kind, code + x->off, to))
			return arena_printf(p->arena, "reference to '%s' does not reach",
					    p->syms.v[x->sym].name);
	}
	for (uint32_t i = 0; i < im->abs.n; i++)
		le64_store(im->ro.s + im->abs.v[i],
			   image_addr(im, p, im->abs_sym.v[i], code, ro, bss));
	return NULL;
}
