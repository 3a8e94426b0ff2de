/* SPDX-License-Identifier: Apache-2.0 */
/* Code under construction: bytes, text, references; values and their registers; parallel moves. */
#include "target/target.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/checked.h"

const struct target *target_get(enum rtg_arch arch)
{
	switch (arch) {
	case RTG_AMD64: return &target_amd64;
	case RTG_ARM64: return &target_arm64;
	case RTG_RISCV64: return &target_riscv64;
	case RTG_ARCH_MAX_: break;
	}
	return NULL;
}

void code_text_put(struct code *c, const char *fmt, ...)
{
	char buf[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	strbuf_putc(c->text, '\t');
	strbuf_puts(c->text, buf);
	strbuf_putc(c->text, '\n');
}

void code_fix(struct code *c, enum fix_kind kind, uint32_t sym, int64_t addend)
{
	*VEC_NEW(c->a, &c->fixes) = (struct code_fix){
		.off = (uint32_t)c->bytes.len, .kind = kind, .sym = sym, .addend = addend
	};
}

void code_branch(struct code *c, struct code_branch b)
{
	b.off = (uint32_t)c->bytes.len;
	VEC_PUSH(c->a, &c->branches, b);
	strbuf_add(&c->bytes, b.long_len); /* finish_branches() writes them */
}

const char *cg_label(const struct codegen *g, uint32_t block, char buf[static 32])
{
	buf[0] = 0;
	if (!g->c->text)
		return buf;
	snprintf(buf, 32, ".L%" PRIu32 "_%" PRIu32, g->func_no, block);
	return buf;
}

unsigned cg_use(struct codegen *g, struct ir_val v, unsigned scratch)
{
	if (cg_in_reg(g, v))
		return (unsigned)g->al.reg[v.reg];
	if (v.kind == IRV_REG)
		g->t->load_frame(g, scratch, cg_spill_off(g, v.reg));
	else
		g->t->move_ri(g, scratch, v.imm);
	return scratch;
}

unsigned cg_def(const struct codegen *g, uint32_t dst, unsigned scratch)
{
	return g->al.reg[dst] >= 0 ? (unsigned)g->al.reg[dst] : scratch;
}

void cg_done(struct codegen *g, uint32_t dst, unsigned r)
{
	if (g->al.reg[dst] < 0)
		g->t->store_frame(g, cg_spill_off(g, dst), r);
	else if ((unsigned)g->al.reg[dst] != r)
		g->t->move_rr(g, (unsigned)g->al.reg[dst], r);
}

struct pair {
	unsigned dst, src;
	bool done;
};

static bool is_source(const struct pair *m, unsigned n, unsigned reg)
{
	for (unsigned i = 0; i < n; i++)
		if (!m[i].done && m[i].src == reg)
			return true;
	return false;
}

/* Register-to-register moves as if at once. Destinations are distinct. */
static void move_parallel(struct codegen *g, struct pair *m, unsigned n, unsigned scratch)
{
	unsigned left = n;

	while (left) {
		bool progress = false;

		for (unsigned i = 0; i < n; i++) {
			if (m[i].done)
				continue;
			m[i].done = true; /* not its own obstacle */
			if (m[i].dst != m[i].src && is_source(m, n, m[i].dst)) {
				m[i].done = false;
				continue;
			}
			if (m[i].dst != m[i].src)
				g->t->move_rr(g, m[i].dst, m[i].src);
			left--;
			progress = true;
		}
		if (progress)
			continue;
		for (unsigned i = 0; i < n; i++) { /* only cycles are left: free one register */
			unsigned victim = m[i].dst;

			if (m[i].done)
				continue;
			g->t->move_rr(g, scratch, victim);
			for (unsigned j = 0; j < n; j++)
				if (!m[j].done && m[j].src == victim)
					m[j].src = scratch;
			break;
		}
	}
}

void cg_moves_in(struct codegen *g, const struct cg_move *m, unsigned n, unsigned scratch)
{
	struct pair pairs[IR_MAX_ARGS + 2];
	unsigned n_pairs = 0;

	for (unsigned i = 0; i < n; i++)
		if (cg_in_reg(g, m[i].src))
			pairs[n_pairs++] =
				(struct pair){ .dst = m[i].dst,
					       .src = (unsigned)g->al.reg[m[i].src.reg] };
	move_parallel(g, pairs, n_pairs, scratch);
	for (unsigned i = 0; i < n; i++)
		if (!cg_in_reg(g, m[i].src))
			cg_use(g, m[i].src, m[i].dst);
}

void cg_params_in(struct codegen *g, unsigned scratch)
{
	struct pair pairs[IR_MAX_ARGS];
	unsigned n_pairs = 0;
	const struct ir_func *f = g->f;

	for (uint32_t i = 0; i < f->n_params; i++) {
		bool placed = g->al.reg[i] >= 0;

		if (placed)
			pairs[n_pairs++] = (struct pair){ .dst = (unsigned)g->al.reg[i],
							  .src = g->t->regs.args[i] };
		else
			g->t->store_frame(g, cg_spill_off(g, i), g->t->regs.args[i]);
	}
	move_parallel(g, pairs, n_pairs, scratch);
}
