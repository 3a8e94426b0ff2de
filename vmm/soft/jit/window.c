/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: one TLB check for several accesses.
 *
 * Theory of operation. Operands at small distances from the same register mostly lie in one page:
 * pushes, the stack frame, the fields of a structure. Where at least two of them come, the whole
 * stretch is checked once, and a host register keeps what is to be added to guest addresses in it.
 * No translation can change under translated code, so a window holds until the register is written
 * or a handler runs. One window is for RSP, whose movements are followed; one for another register.
 * A stretch that does not lie in one page with the rights it needs makes the block's rest run in
 * the interpreter, this time.
 */
#include "soft/jit/jit_priv.h"

#define WINDOW_MAX 192 /* bytes: a longer one would seldom lie in one page */

/* For RSP, and for another register. */
static const uint8_t addends[JIT_N_WINDOWS] = { R15, R14 };

/* One access relative to a register. */
struct access {
	int32_t off;
	unsigned bytes;
	bool writes;
};

static bool plain_operand(const struct insn *in, unsigned g)
{
	return insn_is_mem(in) && in->op != OP_LEA && in->op != OP_NOP && in->base == g &&
	       in->index == INSN_REG_NONE && in->seg < HV_FS && in->addr_size == 8;
}

/* What @in accesses by way of @g. */
static bool access_by(const struct insn *in, unsigned g, struct access *ret)
{
	if (g == HV_RSP && (in->op == OP_PUSH || in->op == OP_CALL))
		*ret = (struct access){ -8, 8, true };
	else if (g == HV_RSP && ((in->op == OP_POP && !insn_is_mem(in)) || in->op == OP_RET))
		*ret = (struct access){ 0, 8, false };
	else if (plain_operand(in, g))
		*ret = (struct access){ in->disp, in->mem_size, in->mem_rw & INSN_MEM_W };
	else
		return false;
	return true;
}

/* How far ADD and SUB of an immediate move a register. */
static bool moves_by(const struct insn *in, unsigned g, int32_t *ret)
{
	if ((in->op != OP_ADD && in->op != OP_SUB) || in->form != FORM_RM_I || insn_is_mem(in) ||
	    in->rm != g || in->op_size != 8 || in->imm + 4096 > 8192)
		return false;
	*ret = in->op == OP_ADD ? (int32_t)in->imm : -(int32_t)in->imm;
	return true;
}

/* Whether @in leaves @g as it is, or (RSP) moves it by something that is added to *at. */
static bool keeps(const struct insn *in, unsigned g, int32_t *at)
{
	int32_t by = in->op == OP_PUSH || in->op == OP_CALL ? -8 : 8;

	if (g == HV_RSP &&
	    (in->op == OP_PUSH || in->op == OP_CALL || (in->op == OP_POP && in->rm != g) ||
	     (in->op == OP_RET && !in->imm) || moves_by(in, g, &by))) {
		*at += by;
		return true;
	}
	if (in->op == OP_JCC || in->op == OP_JMP || in->op == OP_CALL || in->op == OP_RET)
		return true;
	if (in->op == OP_CMP || in->op == OP_TEST || in->op == OP_PUSH)
		return true;
	if (in->op == OP_LEAVE)
		return g != HV_RSP && g != HV_RBP;
	return in->form == FORM_R_RM ? in->reg != g : insn_is_mem(in) || in->rm != g;
}

/* What a window for @g should hold from here on; false: not worth one. */
static bool look_ahead(const struct jit *j, unsigned g, struct jit_window *w)
{
	unsigned n = 0;
	bool sure = true; /* what comes here comes to pass */
	int32_t at = 0;

	*w = (struct jit_window){ .guest = g };
	for (unsigned i = j->i; i < j->n; i++) {
		const struct insn *in = &j->in[i];
		struct access a;

		if (i != j->i &&
		    (j->op[i]->fn == op_general || (in->op == OP_OTHER && !j->general[i])))
			break;
		sure &= in->op != OP_JCC || g == HV_RSP;
		if (access_by(in, g, &a)) {
			int32_t lo = at + a.off, hi = lo + (int32_t)a.bytes;

			if (n && lo > w->lo)
				lo = w->lo;
			if (n && hi < w->hi)
				hi = w->hi;
			if (hi - lo > WINDOW_MAX || (a.writes && !w->writes && !sure))
				break;
			w->lo = lo;
			w->hi = hi;
			w->writes |= a.writes;
			n++;
		}
		if (!keeps(in, g, &at))
			break;
	}
	return n > 1;
}

static bool covers(const struct jit_window *w, int32_t off, unsigned bytes, bool writes)
{
	return off + w->moved >= w->lo && off + w->moved + (int32_t)bytes <= w->hi &&
	       (w->writes || !writes);
}

bool jit_window_address(struct jit *j, unsigned g, int32_t off, unsigned bytes, bool writes)
{
	unsigned slot = g != HV_RSP, base;
	struct jit_window *w = &j->windows[slot], next;

	if (off < -4096 || off > 4096)
		return false;
	if (w->guest != g || !covers(w, off, bytes, writes)) {
		if (!look_ahead(j, g, &next) || !covers(&next, off, bytes, writes))
			return false;
		base = jit_use(j, g);
		emit_rm(&j->e, 3, 0x8d, RAX, base, next.lo);
		jit_tlb_check(j, next.hi - next.lo, next.writes);
		emit_rm(&j->e, 3, 0x8b, addends[slot], RDX, offsetof(struct tlb_entry, addend));
		*w = next;
	}
	base = jit_use(j, g);
	emit_lea(&j->e, RAX, base, addends[slot], 0, off);
	return true;
}

bool jit_window_operand(struct jit *j, const struct insn *in, unsigned bytes, bool writes)
{
	return in->base < HV_N_GPR && plain_operand(in, in->base) &&
	       jit_window_address(j, in->base, in->disp, bytes, writes);
}

void jit_window_written(struct jit *j, unsigned g)
{
	for (unsigned i = 0; i < JIT_N_WINDOWS; i++)
		if (j->windows[i].guest == g)
			j->windows[i].guest = GUEST_NONE;
}

void jit_drop_windows(struct jit *j)
{
	for (unsigned i = 0; i < JIT_N_WINDOWS; i++)
		j->windows[i].guest = GUEST_NONE;
}

bool jit_window_moves(struct jit *j, const struct insn *in, int32_t *ret_by)
{
	return j->windows[0].guest == HV_RSP && moves_by(in, HV_RSP, ret_by);
}
