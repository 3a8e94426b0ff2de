/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The intermediate representation between the front end and the three back ends.
 *
 * A program is a list of symbols: functions, constant data, and globals that start as zero. A
 * function is a list of basic blocks over 64-bit virtual registers that may be written more than
 * once (not SSA); the first block is the entry, parameters arrive in the first registers. Narrow
 * types exist only as explicit sign and zero extensions. Every operation has a defined result for
 * every input; ir.md lists them. The textual form (print.c) reads back to the same program
 * (read.c).
 */
#ifndef INITX_IR_IR_H
#define INITX_IR_IR_H

#include <stdbool.h>
#include <stdint.h>

#include "rtg/arena.h"
#include "rtg/strbuf.h"

#define IR_NONE	    UINT32_MAX
#define IR_MAX_ARGS 6

enum ir_shape {
	IRS_UN,
	IRS_BIN,
	IRS_CMP,
	IRS_LD,
	IRS_ST,
	IRS_SLOT,
	IRS_SYM,
	IRS_CALL,
	IRS_CALLR,
	IRS_SYSC,
	IRS_NONE,
	IRS_JMP,
	IRS_BR,
	IRS_RET
};

#define IRF_P 1 /* pure */
#define IRF_T 2 /* terminator */
#define IRF_C 4 /* clobbers caller-saved registers */

enum ir_op {
#define OP(name, text, shape, flags) IR_##name,
#include "ir/ops.def"
#undef OP
	IR_MAX_,
};

struct ir_op_info {
	const char *text;
	enum ir_shape shape;
	unsigned flags;
};

extern const struct ir_op_info ir_ops[IR_MAX_];

/* Pairs that negate each other differ in bit 0. */
enum ir_cc {
	IR_EQ,
	IR_NE,
	IR_SLT,
	IR_SGE,
	IR_SLE,
	IR_SGT,
	IR_ULT,
	IR_UGE,
	IR_ULE,
	IR_UGT,
	IR_CC_MAX_
};

extern const char *const ir_cc_names[IR_CC_MAX_];

static inline enum ir_cc ir_cc_negate(enum ir_cc cc)
{
	return (enum ir_cc)(cc ^ 1);
}

/* a cc b == b ir_cc_swap(cc) a */
enum ir_cc ir_cc_swap(enum ir_cc cc);
bool ir_cc_eval(enum ir_cc cc, uint64_t a, uint64_t b);

/* The value every back end must produce; see ir.md for the edges. */
uint64_t ir_eval_binary(enum ir_op op, uint64_t a, uint64_t b);
uint64_t ir_eval_unary(enum ir_op op, uint64_t a);

enum ir_val_kind {
	IRV_NONE,
	IRV_REG,
	IRV_IMM,
	IRV_SLOT, /* only as the base of a load or store */
};

struct ir_val {
	enum ir_val_kind kind;
	uint32_t reg; /* or slot */
	int64_t imm;
};

struct ir_ins {
	uint8_t op; /* enum ir_op */
	uint8_t cc; /* enum ir_cc */
	uint8_t n_args;
	uint32_t dst; /* IR_NONE: no result wanted */
	union {
		uint32_t sym; /* IRS_SYM, IRS_CALL */
		uint32_t t;   /* IRS_JMP, IRS_BR: successor, when the condition holds */
	};
	uint32_t f; /* IRS_BR: the other successor */
	struct ir_val a, b;
	union {
		int64_t disp;	     /* IRS_LD, IRS_ST, IRS_SLOT, IRS_SYM */
		struct ir_val *args; /* n_args of them: IRS_CALL, IRS_CALLR, IRS_SYSC */
	};
};

struct ir_block {
	VEC(struct ir_ins) ins;
};

/* Every instruction of a block, which does not grow meanwhile. */
#define IR_EACH(i, blk) \
	for (struct ir_ins *i = (blk)->ins.v, *end_ = i + (blk)->ins.n; i < end_; i++)

struct ir_slot {
	uint32_t size; /* bytes, multiple of 8 */
};

struct ir_func {
	uint32_t n_params;
	uint32_t n_regs;
	VEC(struct ir_block) blocks;
	VEC(struct ir_slot) slots;
};

enum ir_sym_kind { IR_SYM_FUNC, IR_SYM_DATA, IR_SYM_GLOBAL };

struct ir_sym {
	enum ir_sym_kind kind;
	const char *name;
	struct ir_func *func;
	const uint8_t *bytes; /* DATA */
	uint64_t size;	      /* DATA, GLOBAL */
	uint32_t align;
	uint32_t pointer_to; /* DATA of 8 bytes holding the absolute address of a symbol, or IR_NONE
			      */
	bool used;	     /* reachable from the entry, set by ir_prepare(); others are ignored */
};

struct ir_prog {
	struct arena *arena;
	struct arena *scratch; /* of the pass at work on one function, which clears it at its end */
	VEC(struct ir_sym) syms;
	uint32_t entry; /* function symbol */
};

static inline struct ir_val ir_reg(uint32_t r)
{
	return (struct ir_val){ .kind = IRV_REG, .reg = r };
}

static inline struct ir_val ir_imm(int64_t i)
{
	return (struct ir_val){ .kind = IRV_IMM, .imm = i };
}

static inline struct ir_val ir_slot(uint32_t s)
{
	return (struct ir_val){ .kind = IRV_SLOT, .reg = s };
}

uint32_t ir_sym_add(struct ir_prog *p, enum ir_sym_kind kind, const char *name);
uint32_t ir_block_add(struct ir_prog *p, struct ir_func *f);

/* Bytes that a load or store moves. */
unsigned ir_mem_width(enum ir_op op);

typedef void (*ir_use_fn)(void *opaque, struct ir_val *v);

/* Calls @fn for every register the instruction reads. Most of a pass's time: inlined with @fn. */
static inline __attribute__((always_inline)) void ir_each_use(struct ir_ins *ins, ir_use_fn fn,
							      void *opaque)
{
	if (ins->a.kind == IRV_REG)
		fn(opaque, &ins->a);
	if (ins->b.kind == IRV_REG)
		fn(opaque, &ins->b);
	for (unsigned i = 0; i < ins->n_args; i++)
		if (ins->args[i].kind == IRV_REG)
			fn(opaque, &ins->args[i]);
}

/**
 * ir_verify() - Check the rules every pass must keep, in the symbols that are used
 *
 * Return: NULL, or what is wrong and where (arena string): a bug of the compiler, or a bad .ir
 * file.
 */
const char *ir_verify(const struct ir_prog *p);
/* Its two halves: one function; the entry and the data. */
const char *ir_verify_func(const struct ir_prog *p, const struct ir_sym *s);
const char *ir_verify_symbols(const struct ir_prog *p);

void ir_print(const struct ir_prog *p, struct strbuf *sb);

/**
 * ir_read() - Parse the textual form
 * @text:	Untrusted
 *
 * Return: NULL and *@ret_prog filled, or the error as "line N: ..." (arena string).
 */
const char *ir_read(struct arena *a, const char *text, size_t len, struct ir_prog *ret_prog);

/* Fold constants, forward copies, simplify branches and addresses. True: a branch became a jump. */
bool ir_fold(struct ir_prog *p, struct ir_func *f);
/* Remove what cannot be reached or is not used; renumber blocks and registers. */
void ir_dead(struct ir_prog *p, struct ir_func *f);
/* Whether a block is there only to jump on: ir_dead() would thread it. */
bool ir_has_bare_jump(struct ir_func *f);

/**
 * ir_prepare() - Mark what is reachable from the entry as used, verify it, and optimise it if asked
 *
 * Return: NULL, or ir_verify_func()'s complaint behind the pass's name.
 */
const char *ir_prepare(struct ir_prog *p, bool optimize);

#endif
