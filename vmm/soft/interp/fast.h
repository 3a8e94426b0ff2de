/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of the specialised handlers. Everything is always_inline and called with constants, so
 * that each handler comes out as straight code for its size and operand form. A handler has no
 * locals whose address escapes: else its calls would not be tail calls.
 */
#ifndef SOFT_INTERP_FAST_H
#define SOFT_INTERP_FAST_H

#include "soft/decode.h"
#include "soft/flags.h"
#include "soft/mmu.h"
#include "soft/op.h"

#define FAST	      static inline __attribute__((always_inline))
#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

#define NEXT	      OP_GO(op + 1)

FAST uint64_t reg_get(struct cpu *cpu, unsigned s, unsigned r)
{
	switch (s) {
	case 0: return OP_R8(r);
	case 1: return OP_R16(r);
	case 2: return OP_R32(r);
	default: return OP_R64(r);
	}
}

FAST void reg_set(struct cpu *cpu, unsigned s, unsigned r, uint64_t v)
{
	switch (s) {
	case 0: OP_R8(r) = v; break;
	case 1: OP_R16(r) = v; break;
	case 2: OP_R64(r) = (uint32_t)v; break;
	default: OP_R64(r) = v; break;
	}
}

FAST uint64_t trunc_to(unsigned s, uint64_t v)
{
	return s == 3 ? v : v & ((1ULL << (8 << (s & 3))) - 1);
}

FAST int64_t sext_from(unsigned s, uint64_t v)
{
	switch (s) {
	case 0: return (int8_t)v;
	case 1: return (int16_t)v;
	case 2: return (int32_t)v;
	default: return (int64_t)v;
	}
}

FAST uint64_t host_get(unsigned s, const void *p)
{
	switch (s) {
	case 0: return *(const op_u8 *)p;
	case 1: return *(const op_u16 *)p;
	case 2: return *(const op_u32 *)p;
	default: return *(const op_u64 *)p;
	}
}

FAST void host_set(unsigned s, void *p, uint64_t v)
{
	switch (s) {
	case 0: *(op_u8 *)p = v; break;
	case 1: *(op_u16 *)p = v; break;
	case 2: *(op_u32 *)p = v; break;
	default: *(op_u64 *)p = v; break;
	}
}

FAST uint64_t ea_of(struct cpu *cpu, const struct op *op, unsigned ea)
{
	uint64_t va = OP_R64(op->base) + (int64_t)op->disp;

	if (ea != OP_EA_BD)
		va += OP_R64(op->index) << op->scale;
	if (ea == OP_EA_GEN) {
		if (op->addr32)
			va = (uint32_t)va;
		va += OP_R64(op->seg);
	}
	return va;
}

/* READ_PTR(p, va, s), WRITE_PTR(p, va, s): host pointer, or off to the slow path. */
#define MEM_PTR(p, va, s, tag)                                             \
	void *p;                                                           \
	do {                                                               \
		const struct tlb_entry *e_ = tlb_slot(cpu, (va));          \
                                                                           \
		if (unlikely((va)-e_->tag > GMEM_PAGE_SIZE - (1U << (s)))) \
			return op_slow(cpu, op);                           \
		p = tlb_host(e_, (va));                                    \
	} while (0)
#define READ_PTR(p, va, s)  MEM_PTR(p, va, s, tag_r)
#define WRITE_PTR(p, va, s) MEM_PTR(p, va, s, tag_w)

FAST void set_cc(struct cpu *cpu, unsigned op, uint64_t res, uint64_t src)
{
	cpu->cc.op = op;
	cpu->cc.res = res;
	cpu->cc.src = src;
}

/* Two-operand arithmetic with its flags; operands are zero-extended, so is the result. */
FAST uint64_t alu_do(struct cpu *cpu, unsigned o, unsigned s, uint64_t a, uint64_t b, bool dead)
{
	uint64_t r;
	unsigned c;

	switch (o) {
	case OP_ADD:
		r = trunc_to(s, a + b);
		if (!dead)
			set_cc(cpu, CC_ADD | s, r, b);
		return r;
	case OP_ADC:
		c = cc_cf(cpu);
		r = trunc_to(s, a + b + c);
		set_cc(cpu, (CC_ADD | s) + 4 * c, r, b);
		return r;
	case OP_SUB:
	case OP_CMP:
		r = trunc_to(s, a - b);
		if (!dead)
			set_cc(cpu, CC_SUB | s, r, b);
		return r;
	case OP_SBB:
		c = cc_cf(cpu);
		r = trunc_to(s, a - b - c);
		set_cc(cpu, (CC_SUB | s) + 4 * c, r, b);
		return r;
	case OP_OR: r = a | b; break;
	case OP_XOR: r = a ^ b; break;
	default: r = a & b; break;
	}
	if (!dead) {
		cpu->cc.op = CC_LOGIC | s;
		cpu->cc.res = r;
	}
	return r;
}

FAST bool alu_writes(unsigned o)
{
	return o != OP_CMP && o != OP_TEST;
}

#endif
