/* SPDX-License-Identifier: Apache-2.0 */
/* What far jumps and calls share with far returns. */
#ifndef SOFT_FAR_H
#define SOFT_FAR_H

#include "soft/desc.h"
#include "soft/insn.h"

/* Offset against a new code segment: canonical or within the limit; else #GP(0) is recorded. */
bool far_offset_ok(struct cpu *cpu, const struct desc *cs, uint64_t off);

/* L and D both set is reserved in long mode. */
bool far_code_bits_ok(const struct cpu *cpu, const struct desc *d);

/* To @sel:@off in real or virtual-8086 mode. */
enum insn_result far_jump_real(struct cpu *cpu, uint16_t sel, uint64_t off);

#endif
