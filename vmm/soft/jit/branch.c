/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: jumps and the way from block to block. */
#include "soft/jit/jit_priv.h"

/* The block jumps to its own start, and its first op is translated: charge the budget and go. */
static void go_self(struct jit *j)
{
	struct emit *e = &j->e;

	emit_rm(e, 3, 0x8b, RAX, RDI, CPU_DISP(budget));
	emit_rm(e, 3, 0x3b, RAX, RDI, CPU_DISP(stop_at));
	jit_exit_to(j, COND_LE, JIT_STOP_SELF);
	emit_alu_imm(e, 3, 5, RAX, j->n);
	emit_rm(e, 3, 0x89, RAX, RDI, CPU_DISP(budget));
	emit_bind(e, emit_jump(e, -1), j->entry);
}

void jit_go(struct jit *j, unsigned last, unsigned dir)
{
	const struct op_exit *x = op_exit(&j->ops[last]);
	struct emit *e = &j->e;
	unsigned i = j->i;

	j->i = last;
	if (j->entry != ~0U && x->target[dir] == j->ops[0].off) {
		go_self(j);
		j->i = i;
		return;
	}
	if (!x->link[dir]) { /* another page, or not taken so far */
		jit_exit_to(j, -1, dir ? JIT_FOLLOW1 : JIT_FOLLOW0);
		j->i = i;
		return;
	}
	emit_rm(e, 3, 0x8b, RAX, RDI, CPU_DISP(budget));
	emit_rm(e, 3, 0x3b, RAX, RDI, CPU_DISP(stop_at));
	jit_exit_to(j, COND_LE, dir ? JIT_STOP1 : JIT_STOP0);
	emit_alu_imm(e, 3, 5, RAX, x->link[dir]->left);
	emit_rm(e, 3, 0x89, RAX, RDI, CPU_DISP(budget));
	emit_mov_imm(e, RSI, (uintptr_t)(x->link[dir] + 1));
	emit8(e, 0xff); /* jmp [rsi]: fn comes first */
	emit_mem(e, 4, RSI, 0);
	j->i = i;
}

_Static_assert(offsetof(struct op, fn) == 0, "jumps through [rsi]");

static bool jcc(struct jit *j, const struct insn *in)
{
	uint32_t taken;

	if (!jit_flags(j, in->opcode & 15))
		return false;
	taken = emit_jump(&j->e, in->opcode & 15);
	jit_go(j, j->i, 0);
	emit_bind(&j->e, taken, j->e.len);
	jit_go(j, j->i, 1);
	return true;
}

bool jit_branch(struct jit *j, const struct insn *in)
{
	if (in->op == OP_JCC)
		return jcc(j, in);
	if (in->op != OP_JMP || in->form != FORM_REL)
		return false;
	jit_go(j, j->i, 1);
	return true;
}
