/* SPDX-License-Identifier: Apache-2.0 */
/* Decoded code: set-up and tear-down, for soft.c; cpu_exec() and block_code_written() are in cpu.h.
 */
#ifndef SOFT_BLOCK_H
#define SOFT_BLOCK_H

#include "soft/cpu.h"

/* Of each vCPU: decoded code, and host code. */
#define CODE_ARENA_BYTES (64ULL << 20)
#define JIT_ARENA_BYTES	 (32ULL << 20) /* right behind: host code knows the distance */

/* Per VM: which pages hold decoded code. Sets vm->code; after vm->mem is complete. */
int block_vm_new(struct soft_vm *vm, struct err *err);
void block_vm_free(struct soft_vm *vm);

/* Per vCPU: its blocks. Sets cpu->code; after cpu->vm and cpu->step. */
int block_cpu_new(struct cpu *cpu, struct err *err);
void block_cpu_free(struct cpu *cpu);

/* Forget all blocks of this vCPU: after set_state, say. Own thread or vCPU stopped. */
void block_flush(struct cpu *cpu);

/* The same before its next block. Any thread. */
void block_flush_soon(struct cpu *cpu);

/* Blocks made from now on are not for block_image_save(). Any thread. */
void block_enough(struct cpu *cpu);

/*
 * A vCPU that does next to nothing for a second gives back the memory of its decoded code, the start
 * of its guest mostly; each time it takes twice as long, so that one that works now and then keeps
 * its code. block_idle_until() is the host time at which block_give_back() is due if nothing happens
 * before, UINT64_MAX for never. Own thread, outside cpu_exec().
 */
uint64_t block_idle_until(struct cpu *cpu, uint64_t now);
void block_give_back(struct cpu *cpu);

/* One lock of the VM for LOCKed accesses that no host atomic can do: page-crossing ones, MMIO. */
bool block_split_lock(struct cpu *cpu);
void block_split_unlock(struct cpu *cpu);

#endif
