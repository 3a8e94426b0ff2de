/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoded operations and how they run: shared by block.c, build.c and interp/fast_*.c.
 *
 * Theory of operation. A block is a head, one op per instruction, and an end. A handler does its
 * work and goes on to the next op by a tail call (OP_NEXT), so that host branch prediction sees
 * each handler's own jump. Nothing is kept between ops but struct cpu. Blocks do not know their
 * virtual address: an op holds its offset in the page, cpu->page_va is the page's address.
 * Invariants:
 *  1. cpu->budget has been charged for the whole block on entry; whoever leaves early gives back
 *     op->left (and one more if the op itself has not happened).
 *  2. Handlers return NULL to leave to cpu_exec() with rip, flags and budget exact.
 *  3. A fused handler stands at the first instruction; the second keeps its plain op behind it, so
 * that the slow path can run the first alone and go on.
 *  4. Flags that are left out (dead) are overwritten by a later op with nothing between that can
 * fault or leave the block.
 */
#ifndef SOFT_OP_H
#define SOFT_OP_H

#include <stddef.h>

#include "soft/cpu.h"
#include "soft/insn.h"

struct op;
typedef const struct op *(*op_fn)(struct cpu *cpu, const struct op *op);

/* Tail calls unless the build says otherwise: without optimisation the stack would grow. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(SOFT_NO_TAIL_CALLS)
#define OP_TAIL_CALLS 1
#else
#define OP_TAIL_CALLS 0
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#undef OP_TAIL_CALLS
#define OP_TAIL_CALLS 0
#endif
#endif

#if OP_TAIL_CALLS
#define OP_GO(o) return (o)->fn(cpu, (o))
#else
#define OP_GO(o) return (o)
#endif

struct op {
	op_fn fn;
	union {
		int64_t imm;
		const struct insn *insn; /* op_general */
		struct block *block;	 /* heads */
	};
	int32_t disp;
	uint16_t off;	/* of the instruction in its page */
	uint8_t r0, r1; /* register numbers; byte operands: offsets in struct cpu */
	uint8_t base, index, scale,
		seg;	/* memory operand; seg is a register number too (OP_SEG_NONE) */
	uint8_t len;	/* of the instruction */
	uint8_t left;	/* instructions behind it in the block; heads: all of them */
	uint8_t addr32; /* memory operand: address is cut to 32 bits */
	uint8_t cond;
};

_Static_assert(sizeof(struct op) == 32, "two ops a cache line");

/* Behind a direct branch: where it goes. Index 0 falls through, 1 is taken. */
struct op_exit {
	const struct op *link[2]; /* same page: head of the successor once known, else NULL */
	int64_t target[2];	  /* offset from page_va; outside 0..4095: another page */
	/* There only if a target is on another page: head, right if the code there has host address
	 * xhost, which it has for a jump from page xfrom while cpu->code_gen is xgen. */
	const struct op *xlink[2];
	uint64_t xhost[2], xfrom[2], xgen[2];
};

#define OP_EXIT_SLOTS	   3
#define OP_EXIT_SLOTS_SAME 1 /* both targets on the same page */
_Static_assert(sizeof(struct op_exit) == OP_EXIT_SLOTS * sizeof(struct op) &&
		       offsetof(struct op_exit, xlink) == OP_EXIT_SLOTS_SAME * sizeof(struct op),
	       "whole ops behind a branch");

static inline const struct op_exit *op_exit(const struct op *last)
{
	return (const struct op_exit *)(const void *)(last + 1);
}

/* Registers by number, 0 to 17 (16 is zero, 17 page_va); bytes by offset. */
typedef uint16_t __attribute__((aligned(1), may_alias)) op_u16;
typedef uint32_t __attribute__((aligned(1), may_alias)) op_u32;
typedef uint64_t __attribute__((aligned(1), may_alias)) op_u64;
typedef uint8_t __attribute__((may_alias)) op_u8;

#define OP_R64(r)   (((op_u64 *)(void *)cpu)[r])
#define OP_R32(r)   (*(op_u32 *)(void *)&OP_R64(r))
#define OP_R16(r)   (*(op_u16 *)(void *)&OP_R64(r))
#define OP_R8(o)    (((op_u8 *)(void *)cpu)[o])

#define OP_SEG_NONE 16
#define OP_SEG(s)   ((uint8_t)(offsetof(struct cpu, seg_base) / 8 + (s)))

/* ---- leaving (block.c) ---- */

/* Run the op's instruction by its general implementation, whatever the reason, and go on. */
const struct op *op_slow(struct cpu *cpu, const struct op *op);
/* The op of an instruction without a handler: insn is in the op. */
const struct op *op_general(struct cpu *cpu, const struct op *op);
const struct op *op_vector(struct cpu *cpu, const struct op *op); /* the same: SSE without flags */
/* Successor @dir of the branch @op is not linked, or is on another page. */
const struct op *op_follow(struct cpu *cpu, const struct op *op, unsigned dir);
/* Go to @rip, wherever that is. */
const struct op *op_jump(struct cpu *cpu, uint64_t rip);
/* Leave before the block with this head: the budget is spent or attention is wanted. */
const struct op *op_stop(struct cpu *cpu, const struct op *head);
/* Ends of blocks and stand-ins, as handlers. */
const struct op *op_fallthrough(struct cpu *cpu, const struct op *op);
const struct op *op_dead(struct cpu *cpu, const struct op *op);
const struct op *op_check_cross(struct cpu *cpu, const struct op *op);

/* Enter the block with this head. */
#define OP_ENTER(head)                                                                   \
	do {                                                                             \
		const struct op *head_ = (head);                                         \
		int64_t budget_ = cpu->budget;                                           \
                                                                                         \
		if (unlikely(budget_ <=                                                  \
			     atomic_load_explicit(&cpu->stop_at, memory_order_relaxed))) \
			return op_stop(cpu, head_);                                      \
		cpu->budget = budget_ - head_->left;                                     \
		head_++;                                                                 \
		OP_GO(head_);                                                            \
	} while (0)

/* Direct branch whose plain op is @last: dir 1 taken. */
#define OP_BRANCH(last, dir)                                       \
	do {                                                       \
		const struct op *next_ = op_exit(last)->link[dir]; \
                                                                   \
		if (unlikely(!next_))                              \
			return op_follow(cpu, (last), (dir));      \
		OP_ENTER(next_);                                   \
	} while (0)

/* ---- building (build.c, interp/fast_*.c) ---- */

enum op_ea {
	OP_EA_BD,
	OP_EA_BIS,
	OP_EA_GEN,
	OP_EA_MAX_
}; /* base+disp; with index; any segment, 32-bit */
/* Kinds of operands: the memory kinds are followed by one for each op_ea. */
enum op_operands {
	OP_RR,
	OP_RI,
	OP_RM,
	OP_MR = OP_RM + 3,
	OP_MI = OP_MR + 3,
	OP_OPERANDS_MAX_ = OP_MI + 3
};

/* Look-ups of specialised handlers; NULL: none. Sizes are 0 to 3; @dead: flags are not wanted. */
op_fn fast_alu(unsigned op, unsigned size, unsigned operands, bool dead);
op_fn fast_alu_jcc(unsigned op, unsigned size, unsigned operands, unsigned cond);
op_fn fast_mov(unsigned size, unsigned operands);
op_fn fast_movx(bool sign, unsigned from, unsigned to, bool mem, unsigned ea);
op_fn fast_lea(unsigned size, unsigned ea);
op_fn fast_shift(unsigned op, unsigned size, bool by_cl, bool dead);
op_fn fast_unary(unsigned op, unsigned size, bool mem, unsigned ea, bool dead);
op_fn fast_misc(unsigned op, unsigned size); /* register forms of the odds and ends */
op_fn fast_imul(unsigned size, unsigned operands);
op_fn fast_bt(unsigned op, unsigned size, bool imm);
op_fn fast_cmov(unsigned size, bool mem, unsigned ea);
op_fn fast_setcc(void);
op_fn fast_push_pop(unsigned op, unsigned form, bool mem, unsigned ea); /* 64-bit mode, 8 bytes */
op_fn fast_system(const struct insn *in);				/* 64-bit mode */
op_fn fast_jcc(unsigned cond);
op_fn fast_branch(unsigned op, unsigned form, bool mem,
		  unsigned ea); /* 64-bit mode; JMP REL: any */

#endif
