/* SPDX-License-Identifier: Apache-2.0 */
/* Decoded code: set-up and tear-down, for soft.c; cpu_exec() and block_code_written() are in cpu.h.
 */
#ifndef SOFT_BLOCK_H
#define SOFT_BLOCK_H

#include "soft/cpu.h"

/* Per VM: which pages hold decoded code. Sets vm->code; after vm->mem is complete. */
int block_vm_new(struct soft_vm *vm, struct err *err);
void block_vm_free(struct soft_vm *vm);

/* Per vCPU: its blocks. Sets cpu->code; after cpu->vm and cpu->step. */
int block_cpu_new(struct cpu *cpu, struct err *err);
void block_cpu_free(struct cpu *cpu);

/* Forget all blocks of this vCPU: after set_state, say. Own thread or vCPU stopped. */
void block_flush(struct cpu *cpu);

/* One lock of the VM for LOCKed accesses that no host atomic can do: page-crossing ones, MMIO. */
bool block_split_lock(struct cpu *cpu);
void block_split_unlock(struct cpu *cpu);

#endif
