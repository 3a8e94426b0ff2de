/* SPDX-License-Identifier: Apache-2.0 */
/* One translation in progress: shared by the files of jit/. */
#ifndef SOFT_JIT_PRIV_H
#define SOFT_JIT_PRIV_H

#include "soft/decode.h"
#include "soft/flags.h"
#include "soft/jit/emit.h"
#include "soft/jit/jit.h"

#define JIT_N_CACHE	 8 /* host registers that hold guest registers */
#define JIT_MAX_EXITS	 512
#define JIT_N_WINDOWS	 2
#define JIT_MAX_PARTS	 24
#define JIT_MAX_CALLS	 8
#define JIT_MAX_INSNS	 160

/* Register numbers of the guest as in op.h: 0 to 15, and 17 for the page's address. */
#define GUEST_PAGE_VA	 INSN_REG_RIP
#define GUEST_NONE	 0xff

#define CPU_DISP(member) ((int32_t)offsetof(struct cpu, member))
#define GPR_DISP(g)	 ((int32_t)((g)*8))

/*
 * HANDLER: run the op's handler; STOP_HEAD: stop before the block whose head is in RSI; SIDE: go on
 * where the trace does not; HOT: count no more and translate again.
 */
enum jit_exit_kind {
	JIT_SLOW,
	JIT_HANDLER,
	JIT_FOLLOW0,
	JIT_FOLLOW1,
	JIT_STOP0,
	JIT_STOP1,
	JIT_STOP_SELF,
	JIT_STOP_HEAD,
	JIT_SIDE0,
	JIT_SIDE1,
	JIT_HOT
};

/* A jump to cold code that has yet to be written. */
struct jit_exit {
	uint32_t at;
	uint8_t kind;
	bool cold;	     /* the jump is in cold code itself */
	const struct op *op; /* STOP: branch or end whose successor it is */
	int32_t page;	     /* SIDE: jit_part.page */
};

/* One block of a trace: trace.c. */
struct jit_part {
	struct block *block;
	unsigned first; /* instruction */
	int32_t page;	/* bytes from the page of the first part */
	/* How it goes on, unless it is the last: direction, and the step to the next one's page. */
	uint8_t dir;
	uint16_t returns_to; /* RET: offset in that page */
	int64_t page_step;
};

/* A checked stretch of memory: window.c. */
struct jit_window {
	uint8_t guest;	/* distances are from this register; GUEST_NONE: no window */
	bool writes;	/* checked for writing too */
	int32_t lo, hi; /* from its value when the window was checked */
	int32_t moved;	/* by how much it has changed since */
};

struct jit {
	struct emit e, cold; /* what runs, and what is seldom needed, away from it */
	struct block_cpu *code;
	struct op *ops;	     /* of the first part, behind the head */
	unsigned n, i;	     /* instructions; the one at hand */
	unsigned half;	     /* of the address space, where the block is at home */
	const struct op *at; /* the op that jumps to cold code are about */
	int32_t page;	     /* jit_part.page, at this point of the code */
	struct jit_part parts[JIT_MAX_PARTS];
	unsigned n_parts, part;
	uint8_t calls[JIT_MAX_CALLS]; /* parts that end with a call not returned from */
	unsigned depth;
	const struct op *op[JIT_MAX_INSNS];
	struct insn in[JIT_MAX_INSNS];
	bool dead[JIT_MAX_INSNS];    /* nobody reads the flags it sets */
	bool general[JIT_MAX_INSNS]; /* it has no handler of its own */
	uint8_t guest[JIT_N_CACHE];  /* whose value a cache register has */
	uint32_t used[JIT_N_CACHE], tick;
	struct jit_window windows[JIT_N_WINDOWS];
	bool sse_checked;
	bool mxcsr_checked; /* its control bits are the usual ones: simd.c */
	bool flags_live; /* the host's flags are the guest's, as the last flag setter left them */
	unsigned cc;	 /* what cc.op holds, 0 when that is not known */
	unsigned
		guess; /* what it held when the block became hot, while it is as on entry: else 0 */
	uint32_t entry; /* of the block, if its first op is translated: ~0 otherwise */
	bool in_cold;	/* e and cold have changed places */
	struct jit_exit exits[JIT_MAX_EXITS];
	unsigned n_exits;
};

/* ---- what to translate (trace.c) ---- */

/* @b, and with @trace what follows on it; false: code has changed meanwhile. */
bool jit_select(struct cpu *cpu, struct jit *j, struct block *b, bool trace);
/* What runs instruction @i of a block. */
op_fn jit_handler(const struct block *b, unsigned i);

/* ---- registers (regs.c) ---- */

/* Host register with the value of guest register @g. */
unsigned jit_use(struct jit *j, unsigned g);
/* Host register that is going to hold @g, whatever is in it now. */
unsigned jit_def(struct jit *j, unsigned g);
/* The register of @g has changed: write it through. */
void jit_commit(struct jit *j, unsigned g, unsigned host);
/* The same for RSP, which has only moved. */
void jit_commit_sp(struct jit *j, unsigned host, int32_t by);
/* The value of @g has changed in struct cpu. */
void jit_drop(struct jit *j, unsigned g);
void jit_forget(struct jit *j);
/* Call a C function with the CPU for argument; RBX stays, and what RAX has is its result. */
void jit_call(struct jit *j, uintptr_t fn);

/* Byte registers AH to BH have no templates. */
static inline bool jit_byte_ok(const struct insn *in, unsigned r, unsigned size)
{
	return size != 1 || in->rex || r < 4 || r > 7;
}

/* dst (64 bits) = value of 2^@s bytes in src, zero-extended. Flags stay. */
static inline void jit_zext(struct jit *j, unsigned s, unsigned dst, unsigned src)
{
	if (s < 2)
		emit_rr(&j->e, s == 0 ? 0 : 2, s == 0 ? 0x0fb6 : 0x0fb7, dst, src);
	else
		emit_rr(&j->e, s, 0x8b, dst, src);
}

/* ---- memory (mem.c) ---- */

void jit_exit_to(struct jit *j, int cond, enum jit_exit_kind kind);
/*
 * RAX = host address of the operand of 2^@s bytes, @writes: checked for writing. RCX and RDX are
 * lost, flags too. jit_address() has the same for an address that is in RAX already.
 */
void jit_operand(struct jit *j, const struct insn *in, unsigned s, bool writes);
void jit_address(struct jit *j, unsigned bytes, bool writes);
/* RDX = TLB entry for the address in RAX, checked; RCX is lost. */
void jit_tlb_check(struct jit *j, unsigned bytes, bool writes);
/* RAX = effective address, segment base included; only where jit_ea_ok(). */
bool jit_ea_ok(const struct jit *j, const struct insn *in);
void jit_ea(struct jit *j, const struct insn *in);

/* ---- windows (window.c) ---- */

/* RAX = host address of guest register @g + @off by a window; false, with nothing emitted: no use
 * here. Flags stay if the window was there before, else they are lost, and RCX and RDX. */
bool jit_window_address(struct jit *j, unsigned g, int32_t off, unsigned bytes, bool writes);
/* The same for the memory operand of @in. */
bool jit_window_operand(struct jit *j, const struct insn *in, unsigned bytes, bool writes);
/* Guest register @g has a new value. */
void jit_window_written(struct jit *j, unsigned g);
/* Other translations hold from here on. */
void jit_drop_windows(struct jit *j);
/* @in moves RSP, and that does no harm to its window. */
bool jit_window_moves(struct jit *j, const struct insn *in, int32_t *ret_by);

/* ---- the stack (move.c) ---- */

/* RAX = checked host address of the new top after a push; the host register of RSP. */
unsigned jit_push_address(struct jit *j);
/* The same of the top that a pop reads. */
unsigned jit_pop_address(struct jit *j);
/* Guest RSP, in host register @sp, moves. */
void jit_move_sp(struct jit *j, unsigned sp, int32_t by);

/* ---- flags and two-operand arithmetic (arith.c, carry.c) ---- */

struct jit_alu {
	unsigned s, digit, kind; /* size, group-1 number, CC_ADD, CC_SUB or CC_LOGIC */
	bool writes, dead, imm;
};

/* @dst op= @src or the immediate; the flags' other operand is stored before. RDX is lost. */
void jit_alu_apply(struct jit *j, const struct jit_alu *a, unsigned dst, unsigned src,
		   uint64_t imm);
void jit_store_cc(struct jit *j, unsigned op);
/* cc.res = the 2^@s bytes in @host; flags stay. RDX is lost. */
void jit_store_res(struct jit *j, unsigned s, unsigned host);
/* ADC and SBB with a register for destination; INC and DEC, which leave the carry as it was. */
bool jit_with_carry(struct jit *j, const struct insn *in);
bool jit_incdec(struct jit *j, const struct insn *in);

/* ---- templates: false, with nothing emitted, when the handler has to do it ---- */

bool jit_move(struct jit *j, const struct insn *in);
bool jit_arith(struct jit *j, const struct insn *in);
bool jit_stack(struct jit *j, const struct insn *in);
bool jit_branch(struct jit *j, const struct insn *in);
bool jit_simd(struct jit *j, const struct insn *in);
bool jit_system(struct jit *j, const struct insn *in);

/* Check j->guess, if that is what there is to know of cc.op, and take it for known. */
void jit_check_guess(struct jit *j);

/* Have the guest's flags in the host's for condition @cond, if that can be done. Only RAX is lost.
 */
bool jit_flags(struct jit *j, unsigned cond);

/* Go on to successor @dir of the op @last, as OP_BRANCH does. */
void jit_go(struct jit *j, const struct op *last, unsigned dir);
/* On to the next part of the trace, behind successor @dir of @last. */
void jit_continue(struct jit *j, const struct op *last, unsigned dir);
/* The instruction at hand is its part's last, and another part follows. */
static inline bool jit_continues(const struct jit *j)
{
	return j->part + 1 < j->n_parts && j->i + 1 == j->parts[j->part + 1].first;
}

#endif
