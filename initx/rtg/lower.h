/* SPDX-License-Identifier: Apache-2.0 */
/* What lowering statements and lowering expressions share. */
#ifndef INITX_RTG_LOWER_H
#define INITX_RTG_LOWER_H

#include "rtg/compiler.h"

#define STR_BUCKETS 256

struct pooled {
	const char *s;
	uint64_t len;
	uint32_t sym;
	struct pooled *next;
};

struct lowerer {
	struct compiler *c;
	struct arena *a;
	struct ir_prog *p;
	struct ir_func *f;
	uint32_t cur;	     /* block being filled: low_at() */
	bool closed;	     /* it has its terminator: what follows is not reached */
	uint32_t brk, cont;  /* targets of break and continue */
	uint32_t print_slot; /* Printf's buffer in this function, or IR_NONE */
	uint32_t n_strings, n_links, n_blobs;
	struct pooled *strings[STR_BUCKETS];
	struct pooled *blobs; /* s: the key */
	struct pooled *links; /* len: the symbol pointed to */
};

uint32_t low_reg(struct lowerer *l);
uint32_t low_block(struct lowerer *l);
/* Go on in @block; the current one falls into it if it is still open. */
void low_start(struct lowerer *l, uint32_t block);
/* The same without falling in. */
static inline void low_at(struct lowerer *l, uint32_t block)
{
	l->cur = block;
	l->closed = false;
}
struct ir_ins *low_emit(struct lowerer *l, struct ir_ins ins);
void low_jump(struct lowerer *l, uint32_t block);
uint32_t low_slot(struct lowerer *l, uint32_t size);
/* Address of NUL-terminated constant bytes. */
uint32_t low_string(struct lowerer *l, const char *s, uint64_t len);
struct ir_val low_addr(struct lowerer *l, uint32_t sym, uint32_t hint);
struct ir_val low_call(struct lowerer *l, uint32_t sym, struct ir_val *args, unsigned n,
		       uint32_t hint);
uint32_t low_prelude(struct lowerer *l, const char *name);

/* Value of @e; a register result goes to @hint unless that is IR_NONE. */
struct ir_val low_expr(struct lowerer *l, struct expr *e, uint32_t hint);
/* As low_expr(), but always in register @dst. */
void low_expr_to(struct lowerer *l, struct expr *e, uint32_t dst);
void low_cond(struct lowerer *l, struct expr *e, uint32_t bt, uint32_t bf);
void low_intrinsic(struct lowerer *l, struct expr *e, uint32_t hint, struct ir_val *ret);
/* Base and displacement of buffer byte @e (EXPR_INDEX). */
struct ir_val low_index(struct lowerer *l, struct expr *e, int64_t *ret_disp);

#endif
