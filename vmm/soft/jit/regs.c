/* SPDX-License-Identifier: Apache-2.0 */
/* Guest registers in host registers: read once, written through. */
#include "soft/jit/jit_priv.h"

/* RAX, RBX, RCX and RDX are for the templates, R14 and R15 for windows, RDI is the CPU. */
static const uint8_t pool[JIT_N_CACHE] = { RSI, RBP, R8, R9, R10, R11, R12, R13 };

static unsigned slot_for(struct jit *j, unsigned g)
{
	unsigned best = 0;

	for (unsigned i = 0; i < JIT_N_CACHE; i++) {
		if (j->guest[i] == g)
			return i;
		if (j->used[i] < j->used[best])
			best = i;
	}
	return best;
}

unsigned jit_use(struct jit *j, unsigned g)
{
	unsigned i = slot_for(j, g);

	j->used[i] = ++j->tick;
	if (j->guest[i] != g) {
		j->guest[i] = g;
		emit_rm(&j->e, 3, 0x8b, pool[i], RDI, GPR_DISP(g));
	}
	return pool[i];
}

unsigned jit_def(struct jit *j, unsigned g)
{
	unsigned i = slot_for(j, g);

	j->used[i] = ++j->tick;
	j->guest[i] = g;
	return pool[i];
}

void jit_commit(struct jit *j, unsigned g, unsigned host)
{
	emit_rm(&j->e, 3, 0x89, host, RDI, GPR_DISP(g));
	jit_window_written(j, g);
}

void jit_commit_sp(struct jit *j, unsigned host, int32_t by)
{
	emit_rm(&j->e, 3, 0x89, host, RDI, GPR_DISP(HV_RSP));
	j->windows[0].moved += by;
}

void jit_drop(struct jit *j, unsigned g)
{
	for (unsigned i = 0; i < JIT_N_CACHE; i++)
		if (j->guest[i] == g)
			j->guest[i] = GUEST_NONE;
	jit_window_written(j, g);
}

void jit_call(struct jit *j, uintptr_t fn)
{
	struct emit *e = &j->e;

	emit8(e, 0x57); /* push rdi: aligns the stack too, see run_op() */
	emit_function(e, RAX, fn);
	emit8(e, 0xff);
	emit8(e, 0xd0); /* call rax */
	emit8(e, 0x5f); /* pop rdi */
	for (unsigned i = 0; i < JIT_N_CACHE; i++)
		if (pool[i] == RSI || (pool[i] >= R8 && pool[i] <= R11))
			j->guest[i] = GUEST_NONE;
	j->flags_live = false;
}

void jit_forget(struct jit *j)
{
	memset(j->guest, GUEST_NONE, sizeof(j->guest));
	memset(j->used, 0, sizeof(j->used));
	jit_drop_windows(j);
	j->sse_checked = false;
	j->mxcsr_checked = false;
	j->flags_live = false;
	j->cc = CC_EXPLICIT;
	j->guess = 0;
}
