/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the system instruction files and soft.c. */
#ifndef SOFT_SYS_H
#define SOFT_SYS_H

#include "soft/cpu.h"

/* ---- cpuid.c ---- */

/* Entry of the VM's CPUID table, or NULL. */
const struct hv_cpuid *cpuid_find(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf);

/* Test bits; @reg 0 to 3 is EAX, EBX, ECX, EDX. */
bool cpuid_bit(const struct cpu *cpu, uint32_t leaf, unsigned reg, uint32_t bits);

/* Fill the feature words and sizes that struct cpu caches. */
void cpuid_init(struct cpu *cpu);

/* ---- cr.c ---- */

bool cr0_write(struct cpu *cpu, uint64_t val); /* false: #GP */
bool cr3_write(struct cpu *cpu, uint64_t val); /* the same */
void dr_changed(struct cpu *cpu);	       /* after a change to DR0-3 or DR7 */

/* ---- msr.c ---- */

bool msr_read(struct cpu *cpu, uint32_t msr, uint64_t *ret); /* false: #GP */
bool msr_write(struct cpu *cpu, uint32_t msr, uint64_t val);
bool pat_valid(uint64_t val);
/* After the LAPIC's base or mode changed. */
void apic_base_changed(struct cpu *cpu);

/* ---- kvmclock.c ---- */

bool kvmclock_has_msr(const struct cpu *cpu, uint32_t msr);
uint64_t kvmclock_read(const struct cpu *cpu, uint32_t msr);
void kvmclock_write(struct cpu *cpu, uint32_t msr, uint64_t val);

#endif
