/* SPDX-License-Identifier: Apache-2.0 */
/* Liveness and register allocation. */
#ifndef INITX_IR_REGALLOC_H
#define INITX_IR_REGALLOC_H

#include "ir/ir.h"

/* One range per virtual register; positions are 2 * (instruction number + 1), results one later. */
struct live_range {
	uint32_t start, end; /* start > end: never used */
	float weight;	     /* uses, those in loops counted more */
};

struct live {
	struct live_range *ranges;
	uint32_t *calls;      /* how many of the instructions up to number i clobber registers */
	uint32_t n_positions; /* all of them are below */
};

void live_compute(struct arena *a, struct ir_func *f, struct live *ret);

struct regset_info {
	uint32_t caller_saved; /* allocatable, lost in calls */
	uint32_t callee_saved; /* allocatable, kept in calls */
	uint8_t args[IR_MAX_ARGS];
	uint8_t sys_args[IR_MAX_ARGS];
	uint8_t ret;
};

struct allocation {
	int16_t *reg;	 /* physical register, or -1: in memory */
	uint32_t *spill; /* index of the 8-byte stack cell when reg is -1 */
	uint32_t n_spills;
	uint32_t used; /* mask of registers given to anyone */
};

/**
 * regalloc() - Linear scan over live ranges
 *
 * Always succeeds: what does not fit lives in the stack frame, and back ends keep registers of
 * their own for moving such values. Registers given are only from the two masks.
 */
void regalloc(struct arena *a, struct ir_func *f, const struct regset_info *regs,
	      struct allocation *ret);

#endif
