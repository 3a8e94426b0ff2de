/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: jumps, calls, returns, and the way from block to block. */
#include "soft/jit/jit_priv.h"

_Static_assert(offsetof(struct op, fn) == 0, "jumps through [rsi]");

/* The block jumps to its own start, and its first op is translated: charge the budget and go. */
static void go_self(struct jit *j)
{
	struct emit *e = &j->e;

	emit_rm(e, 3, 0x8b, RAX, RDI, CPU_DISP(budget));
	emit_rm(e, 3, 0x3b, RAX, RDI, CPU_DISP(stop_at));
	jit_exit_to(j, COND_LE, JIT_STOP_SELF);
	emit_alu_imm(e, 3, 5, RAX, j->ops[-1].left);
	emit_rm(e, 3, 0x89, RAX, RDI, CPU_DISP(budget));
	emit_bind(e, emit_jump(e, -1), j->in_cold ? j->cold.at + j->entry - e->at : j->entry);
}

/* jmp [rsi] */
static void jump_op(struct emit *e)
{
	emit8(e, 0xff);
	emit_mem(e, 4, RSI, 0);
}

/* On to a block that is known now. */
static void go_linked(struct jit *j, const struct op *head, unsigned dir)
{
	struct emit *e = &j->e;

	emit_rm(e, 3, 0x8b, RAX, RDI, CPU_DISP(budget));
	emit_rm(e, 3, 0x3b, RAX, RDI, CPU_DISP(stop_at));
	jit_exit_to(j, COND_LE, dir ? JIT_STOP1 : JIT_STOP0);
	emit_alu_imm(e, 3, 5, RAX, head->left);
	emit_rm(e, 3, 0x89, RAX, RDI, CPU_DISP(budget));
	emit_address(e, RSI, head + 1);
	jump_op(e);
}

/* On to the block whose head is in RSI, as OP_ENTER does. */
static void go_head(struct jit *j)
{
	struct emit *e = &j->e;

	emit_rm(e, 3, 0x8b, RAX, RDI, CPU_DISP(budget));
	emit_rm(e, 3, 0x3b, RAX, RDI, CPU_DISP(stop_at));
	jit_exit_to(j, COND_LE, JIT_STOP_HEAD);
	emit_rm(e, 2, 0x0fb6, RCX, RSI, offsetof(struct op, left));
	emit_rr(e, 3, 0x2b, RAX, RCX);
	emit_rm(e, 3, 0x89, RAX, RDI, CPU_DISP(budget));
	emit_alu_imm(e, 3, 0, RSI, sizeof(struct op));
	jump_op(e);
}

/* Same page, not taken so far: look whether it has been since. */
static void go_unlinked(struct jit *j, const struct op_exit *x, unsigned dir)
{
	struct emit *e = &j->e;

	emit_address(e, RAX, &x->link[dir]);
	emit_rm(e, 3, 0x8b, RSI, RAX, 0);
	emit_rr(e, 3, 0x85, RSI, RSI);
	jit_exit_to(j, COND_E, dir ? JIT_FOLLOW1 : JIT_FOLLOW0);
	go_head(j);
}

/* Another page: if what op_follow() has kept of it is good still. */
static void go_across(struct jit *j, const struct op_exit *x, unsigned dir)
{
	int64_t pages = x->target[dir] & ~(int64_t)(GMEM_PAGE_SIZE - 1);
	enum jit_exit_kind follow = dir ? JIT_FOLLOW1 : JIT_FOLLOW0;
	struct emit *e = &j->e;

	if (pages != (int32_t)pages) {
		jit_exit_to(j, -1, follow);
		return;
	}
	emit_address(e, RAX, x);
	emit_rm(e, 3, 0x8b, RCX, RDI, CPU_DISP(code_gen) + 8 * j->half);
	emit_rm(e, 3, 0x3b, RCX, RAX, offsetof(struct op_exit, xgen) + 8 * dir);
	jit_exit_to(j, COND_NE, follow);
	emit_rm(e, 3, 0x8b, RCX, RDI, CPU_DISP(page_va));
	emit_rm(e, 3, 0x3b, RCX, RAX, offsetof(struct op_exit, xfrom) + 8 * dir);
	jit_exit_to(j, COND_NE, follow);
	emit_rm(e, 3, 0x8b, RSI, RAX, offsetof(struct op_exit, xlink) + 8 * dir);
	emit_alu_imm(e, 3, 0, RCX, pages);
	emit_rm(e, 3, 0x89, RCX, RDI, CPU_DISP(page_va));
	go_head(j);
}

void jit_go(struct jit *j, const struct op *last, unsigned dir)
{
	const struct op_exit *x = op_exit(last);
	const struct op *at = j->at;

	j->at = last;
	if (j->entry != ~0U && j->page == 0 && x->target[dir] == j->ops[0].off)
		go_self(j);
	else if (x->link[dir])
		go_linked(j, x->link[dir], dir);
	else if ((uint64_t)x->target[dir] < GMEM_PAGE_SIZE)
		go_unlinked(j, x, dir);
	else
		go_across(j, x, dir);
	j->at = at;
}

/* The next part's page, and its charge to the budget. Only RAX is lost; flags stay unless the page
 * is another one. */
static void next_part(struct jit *j)
{
	struct jit_part *p = &j->parts[j->part];
	struct emit *e = &j->e;

	if (p->page_step) {
		unsigned page = jit_use(j, GUEST_PAGE_VA);

		emit_rm(e, 3, 0x8d, page, page, (int32_t)p->page_step);
		emit_rm(e, 3, 0x89, page, RDI, CPU_DISP(page_va));
	}
	emit_rm(e, 3, 0x8b, RAX, RDI, CPU_DISP(budget));
	emit_rm(e, 3, 0x8d, RAX, RAX, -(int32_t)p[1].block->ops[0].left);
	emit_rm(e, 3, 0x89, RAX, RDI, CPU_DISP(budget));
	j->page = p[1].page;
}

/* Leave unless the page that the next part is on is where it was, and the part's block on it. */
static void check_across(struct jit *j, const struct op_exit *x, unsigned dir)
{
	enum jit_exit_kind follow = dir ? JIT_FOLLOW1 : JIT_FOLLOW0;
	unsigned page = jit_use(j, GUEST_PAGE_VA);
	struct emit *e = &j->e;

	emit_address(e, RAX, x);
	emit_rm(e, 3, 0x8b, RCX, RDI, CPU_DISP(code_gen) + 8 * j->half);
	emit_rm(e, 3, 0x3b, RCX, RAX, offsetof(struct op_exit, xgen) + 8 * dir);
	jit_exit_to(j, COND_NE, follow);
	emit_rm(e, 3, 0x3b, page, RAX, offsetof(struct op_exit, xfrom) + 8 * dir);
	jit_exit_to(j, COND_NE, follow);
	emit_address(e, RCX, j->parts[j->part + 1].block->ops);
	emit_rm(e, 3, 0x3b, RCX, RAX, offsetof(struct op_exit, xlink) + 8 * dir);
	jit_exit_to(j, COND_NE, follow);
	j->flags_live = false;
}

void jit_continue(struct jit *j, const struct op *last, unsigned dir)
{
	const struct op_exit *x = op_exit(last);
	const struct op *at = j->at;

	j->at = last;
	if ((uint64_t)x->target[dir] >= GMEM_PAGE_SIZE)
		check_across(j, x, dir);
	next_part(j);
	j->at = at;
}

static bool jcc(struct jit *j, const struct insn *in)
{
	unsigned cond = in->opcode & 15, dir = j->parts[j->part].dir;
	uint32_t taken;

	if (!jit_flags(j, cond))
		return false;
	if (jit_continues(j)) {
		jit_exit_to(j, (int)(cond ^ dir), dir ? JIT_SIDE0 : JIT_SIDE1);
		jit_continue(j, j->at, dir);
		return true;
	}
	taken = emit_jump(&j->e, (int)cond);
	jit_go(j, j->at, 0);
	emit_bind(&j->e, taken, j->e.len);
	jit_go(j, j->at, 1);
	return true;
}

/* ---- targets that are known at run time only ---- */

/*
 * RDX = what is remembered of the target in RBX; where nothing is, the handler runs instead, so
 * this comes before anything changes. RAX is lost. A target that is remembered is canonical.
 */
static void find_target(struct jit *j)
{
	struct emit *e = &j->e;

	emit_rr(e, 3, 0x8b, RDX, RBX);
	emit_rr(e, 3, 0xc1, 5, RDX);
	emit8(e, GMEM_PAGE_SHIFT);
	emit_rr(e, 2, 0x33, RDX, RBX);
	emit_alu_imm(e, 2, 4, RDX, (1 << TARGET_CACHE_BITS) - 1);
	emit_rr(e, 2, 0xc1, 4, RDX);
	emit8(e, 5);
	emit_address(e, RAX, j->code->targets);
	emit_rr(e, 3, 0x03, RDX, RAX);
	emit_rm(e, 3, 0x3b, RBX, RDX, offsetof(struct target_entry, rip));
	jit_exit_to(j, COND_NE, JIT_HANDLER);
	emit_rm(e, 3, 0x8b, RAX, RDI, CPU_DISP(code_gen) + 8 * j->half);
	emit_rm(e, 3, 0x3b, RAX, RDX, offsetof(struct target_entry, gen));
	jit_exit_to(j, COND_NE, JIT_HANDLER);
	j->flags_live = false;
}

_Static_assert(sizeof(struct target_entry) == 32, "shift above");

/* Behind find_target(): go there. */
static void go_target(struct jit *j)
{
	struct emit *e = &j->e;

	emit_alu_imm(e, 3, 4, RBX, -(int32_t)GMEM_PAGE_SIZE);
	emit_rm(e, 3, 0x89, RBX, RDI, CPU_DISP(page_va));
	emit_rm(e, 3, 0x8b, RSI, RDX, offsetof(struct target_entry, head));
	go_head(j);
}

/* A return to where the trace has called from. */
static void ret_in_trace(struct jit *j)
{
	const struct jit_part *p = &j->parts[j->part];
	unsigned sp = jit_pop_address(j), page = jit_use(j, GUEST_PAGE_VA);

	emit_rm(&j->e, 3, 0x8d, RCX, page, (int32_t)p->page_step + p->returns_to);
	emit_rm(&j->e, 3, 0x3b, RCX, RAX, 0);
	jit_exit_to(j, COND_NE, JIT_HANDLER);
	j->flags_live = false;
	jit_move_sp(j, sp, 8);
	next_part(j);
}

static bool ret(struct jit *j, const struct insn *in)
{
	unsigned sp;

	if (jit_continues(j)) {
		ret_in_trace(j);
		return true;
	}
	sp = jit_pop_address(j);
	emit_rm(&j->e, 3, 0x8b, RBX, RAX, 0);
	find_target(j);
	jit_move_sp(j, sp, 8 + (int32_t)in->imm);
	go_target(j);
	return true;
}

/* RBX = target of JMP or CALL by a register or memory. */
static void load_target(struct jit *j, const struct insn *in)
{
	if (insn_is_mem(in)) {
		jit_operand(j, in, 3, false);
		emit_rm(&j->e, 3, 0x8b, RBX, RAX, 0);
	} else {
		unsigned r = jit_use(j, in->rm);

		emit_rr(&j->e, 3, 0x8b, RBX, r);
	}
}

/* The return address of the CALL at hand to [@top]. */
static void store_return(struct jit *j, unsigned top)
{
	const struct op *op = j->op[j->i];
	unsigned page = jit_use(j, GUEST_PAGE_VA);

	emit_rm(&j->e, 3, 0x8d, RAX, page, op->off + op->len);
	emit_rm(&j->e, 3, 0x89, RAX, top, 0);
}

static void go_direct(struct jit *j)
{
	if (jit_continues(j))
		jit_continue(j, j->at, 1);
	else
		jit_go(j, j->at, 1);
}

static bool call(struct jit *j, const struct insn *in)
{
	unsigned sp;

	if (in->form != FORM_REL)
		load_target(j, in);
	sp = jit_push_address(j);
	emit_rr(&j->e, 3, 0x8b, RCX, RAX);
	if (in->form != FORM_REL)
		find_target(j);
	store_return(j, RCX);
	jit_move_sp(j, sp, -8);
	if (in->form == FORM_REL)
		go_direct(j);
	else
		go_target(j);
	return true;
}

bool jit_branch(struct jit *j, const struct insn *in)
{
	switch (in->op) {
	case OP_JCC: return jcc(j, in);
	case OP_CALL: return call(j, in);
	case OP_RET: return ret(j, in);
	default: break;
	}
	if (in->form == FORM_REL) {
		go_direct(j);
	} else {
		load_target(j, in);
		find_target(j);
		go_target(j);
	}
	return true;
}
