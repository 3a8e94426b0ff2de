/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translator: host code for blocks that run often.
 *
 * Theory of operation. A new block's first handler is jit_warm(), which counts. When the count is
 * up the block is translated: each instruction with a template becomes host code, the others stay
 * with their handlers. Translated code is entered like any handler, through op->fn with the CPU in
 * RDI, and leaves to handlers the same way, so that the two mix freely:
 *  1. An op behind one that has no template gets its place in the host code as its fn; the handler
 *     before it comes back by itself.
 *  2. Guest registers are read from struct cpu once and then kept in host registers, but every
 * write goes to struct cpu at once: at each point where code may leave, the state there is exact.
 *  3. A memory operand that misses the TLB, or a fault, goes to op_slow() for that op; the rest of
 *     the block is then interpreted. Flags follow the same rules as in handlers (op.h, 4).
 *  4. Killing a block replaces the fn of its first op, as ever: translated blocks jump to their
 *     successors through that pointer, never directly; only a block's jump to itself is direct, and
 * it passes the budget check, where attention is noticed.
 *  5. A translated block counts on. One that stays hot is translated once more, with the blocks that
 *     mostly follow it: trace.c.
 * Only 64-bit code is translated. Host code uses all registers but RSP: run_op() in block.c saves
 * those that C functions keep, and the handlers in between keep them as any function does.
 */
#ifndef SOFT_JIT_H
#define SOFT_JIT_H

#include "soft/block_priv.h"

#define JIT_COLD_START	(20 * MIB) /* code that is seldom run lies behind */

/* Memory for code of one vCPU; -ENOMEM leaves the interpreter alone. */
int jit_cpu_new(struct cpu *cpu, struct err *err);
void jit_cpu_free(struct cpu *cpu);

/* All blocks are gone: start over. */
void jit_reset(struct block_cpu *code);

/* First handler of a block that is not translated yet; its own is in the head's fn. */
const struct op *jit_warm(struct cpu *cpu, const struct op *op);

/* Translate a block with jit_warm() in front, however often it has run. */
void jit_translate(struct cpu *cpu, struct block *b);

/* Put jit_warm() in front of a new block. */
void jit_watch(struct cpu *cpu, struct block *b);

#endif
