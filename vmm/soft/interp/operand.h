/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands of the general (slow, any mode) instruction implementations: registers, addresses with
 * all segment rules, memory, read-modify-write with and without LOCK, stack.
 */
#ifndef SOFT_INTERP_OPERAND_H
#define SOFT_INTERP_OPERAND_H

#include "soft/cpu.h"
#include "soft/insn.h"

/* Register @r of 0 to 16: gpr[16] is the zero behind the array. */
static inline uint64_t reg_raw(const struct cpu *cpu, unsigned r)
{
	return ((const uint64_t *)(const void *)cpu)[r];
}

static inline uint64_t size_mask(unsigned size)
{
	return ~0ULL >> (64 - 8 * size);
}

static inline int64_t sign_extend(uint64_t v, unsigned size)
{
	unsigned sh = 64 - 8 * size;

	return (int64_t)(v << sh) >> sh;
}

/* Offset in struct cpu of a byte register: AH to BH without REX. */
static inline unsigned reg8_offset(unsigned r, bool rex)
{
	return !rex && r >= 4 && r < 8 ? (r - 4) * 8 + 1 : r * 8;
}

static inline uint64_t reg_read(const struct cpu *cpu, const struct insn *in, unsigned r,
				unsigned size)
{
	if (size == 1)
		return ((const uint8_t *)cpu)[reg8_offset(r, in->rex != 0)];
	return cpu->gpr[r] & size_mask(size);
}

/* A 32-bit write clears the upper half; narrower ones leave the rest alone. */
static inline void reg_write(struct cpu *cpu, const struct insn *in, unsigned r, unsigned size,
			     uint64_t v)
{
	switch (size) {
	case 1: ((uint8_t *)cpu)[reg8_offset(r, in->rex != 0)] = v; break;
	case 2: cpu->gpr[r] = (cpu->gpr[r] & ~0xffffULL) | (v & 0xffff); break;
	case 4: cpu->gpr[r] = (uint32_t)v; break;
	default: cpu->gpr[r] = v; break;
	}
}

/* Offset part of the memory operand's address. */
static inline uint64_t insn_ea(const struct cpu *cpu, const struct insn *in)
{
	uint64_t base = in->base == INSN_REG_RIP ? cpu->next_rip : reg_raw(cpu, in->base);

	return (base + (reg_raw(cpu, in->index) << in->scale) + in->disp) &
	       size_mask(in->addr_size);
}

/**
 * seg_linear() - Linear address of @size bytes at @ea in a segment, with limit and type checks
 * @write:	Will be written
 *
 * In 64-bit mode only FS and GS have a base and nothing is checked here (the MMU refuses
 * non-canonical addresses).
 *
 * Return: false with #GP or #SS recorded.
 */
bool seg_linear(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, bool write,
		uint64_t *ret_va);

/* Memory at seg:ea; size 1, 2, 4, 8 (or up to 64 by the _buf forms). false: exception recorded. */
bool mem_read(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t *ret);
bool mem_write(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t val);
bool mem_read_buf(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, void *buf);
bool mem_write_buf(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, const void *buf);

/* The rm operand, register or memory, of @size bytes. */
bool rm_read(struct cpu *cpu, const struct insn *in, unsigned size, uint64_t *ret);
bool rm_write(struct cpu *cpu, const struct insn *in, unsigned size, uint64_t val);

/* Read-modify-write of rm: begin, compute new from old, commit; again while commit says RMW_RETRY.
 */
struct rmw {
	void *host; /* NULL: register, or memory that has to be read and written apart */
	uint64_t va;
	uint64_t old;
	unsigned size;
	bool mem, lock, held; /* held: the VM's lock for split and MMIO accesses */
};

enum rmw_result { RMW_FAULT, RMW_OK, RMW_RETRY };

bool rmw_begin(struct cpu *cpu, const struct insn *in, unsigned size, struct rmw *ret);
/* The same at seg:ea. */
bool rmw_begin_at(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, bool lock,
		  struct rmw *ret);
enum rmw_result rmw_commit(struct cpu *cpu, const struct insn *in, struct rmw *m, uint64_t val);
/* Leave without writing. */
void rmw_abort(struct cpu *cpu, struct rmw *m);

/* Stack pointer arithmetic follows SS.B; the pointer itself is the caller's to update, at the end.
 */
unsigned stack_addr_size(const struct cpu *cpu);
bool stack_write(struct cpu *cpu, uint64_t sp, unsigned size, uint64_t val);
bool stack_read(struct cpu *cpu, uint64_t sp, unsigned size, uint64_t *ret);
void stack_set(struct cpu *cpu, uint64_t sp);

/* Check for write without writing. */
bool stack_probe(struct cpu *cpu, uint64_t sp, unsigned size);
bool stack_push(struct cpu *cpu, unsigned size, uint64_t val);

/**
 * branch_to() - Set RIP for a near branch of operand size @size, with limit and canonical checks
 */
bool branch_check(struct cpu *cpu, uint64_t *rip, unsigned size);

/* Arithmetic flags into complete RFLAGS. */
static inline void set_arith(struct cpu *cpu, uint32_t mask, uint32_t fl)
{
	cpu->rflags = (cpu->rflags & ~mask) | (fl & mask);
}

#endif
