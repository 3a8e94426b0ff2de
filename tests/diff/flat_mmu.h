/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for the MMU: guest addresses are host addresses, inside the windows below. */
#ifndef TESTS_DIFF_FLAT_MMU_H
#define TESTS_DIFF_FLAT_MMU_H

#include <stdint.h>

#include "soft/cpu.h"

#define DATA_VA	   0x10000000UL
#define DATA_PAGES 3 /* two writable, then one that is not */
#define DATA_RW	   (2 * 4096UL)
#define CODE_VA	   0x20000000UL
#define CODE_PAGES 64
/* The same bytes again, to write them: programs under test see code that is read-only. */
#define CODE_ALIAS 0x6f0000000000UL

/* Map the windows and make a CPU of user mode with flat segments; the caller chooses its mode. */
void flat_init(struct cpu *cpu, struct soft_vm *vm, const struct hv_cpuid_table *cpuid);
void flat_done(struct cpu *cpu);
/* Empty the TLB: the next access takes the slow path. */
void flat_flush(struct cpu *cpu);

#endif
