/* SPDX-License-Identifier: Apache-2.0 */
/* Executes IR directly: what every back end has to agree with. */
#ifndef INITX_IR_INTERP_H
#define INITX_IR_INTERP_H

#include "initx/rtg.h"
#include "ir/ir.h"

struct interp_result {
	int64_t value;
	const char *trap; /* NULL when it ended by itself */
	uint64_t n_steps;
	struct strbuf out; /* what it wrote to descriptors 1 and 2 */
};

struct interp_sys {
	int64_t write, exit, exit_group; /* system call numbers */
	rtg_syscall_fn call;		 /* instead of these, unless NULL */
	void *opaque;
};

/**
 * ir_interpret() - Run from the entry, which gets the address of an empty argument block
 * @max_steps:	Instructions until it is stopped with a trap
 *
 * Memory is its own: accesses outside it trap. Return: false when stopped by a trap.
 */
bool ir_interpret(struct ir_prog *p, const struct interp_sys *sys, uint64_t max_steps,
		  struct interp_result *ret);

#endif
