/* SPDX-License-Identifier: Apache-2.0 */
/* General implementations: moves, exchanges, stack, conditional moves. */
#include "soft/exec.h"

#include <string.h>

#include "soft/block.h"
#include "soft/decode.h"
#include "soft/flags.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"

enum insn_result exec_nop(struct cpu *cpu, const struct insn *in)
{
	return INSN_DONE;
}

enum insn_result exec_ud(struct cpu *cpu, const struct insn *in)
{
	cpu_raise(cpu, VEC_UD);
	return INSN_FAULT;
}

enum insn_result exec_mov(struct cpu *cpu, const struct insn *in)
{
	uint64_t v;

	if (in->form == FORM_R_RM) {
		/* the short accumulator forms name no register: reg is 0 */
		if (!rm_read(cpu, in, in->op_size, &v))
			return INSN_FAULT;
		reg_write(cpu, in, in->reg, in->op_size, v);
		return INSN_DONE;
	}
	v = in->form == FORM_RM_I ? in->imm : reg_read(cpu, in, in->reg, in->op_size);
	return rm_write(cpu, in, in->op_size, v) ? INSN_DONE : INSN_FAULT;
}

/* Size of MOVZX's and MOVSX's source: by opcode, 4 for MOVSXD (or the operand size, without REX.W).
 */
static unsigned movx_source(const struct insn *in)
{
	if (in->map == INSN_MAP_1)
		return 4;
	return in->opcode & 1 ? 2 : 1;
}

enum insn_result exec_movx(struct cpu *cpu, const struct insn *in)
{
	unsigned size = movx_source(in);
	uint64_t v;

	if (!rm_read(cpu, in, size, &v))
		return INSN_FAULT;
	if (in->op == OP_MOVSX)
		v = sign_extend(v, size);
	reg_write(cpu, in, in->reg, in->op_size, v);
	return INSN_DONE;
}

static uint64_t swap_bytes(uint64_t v, unsigned size)
{
	return __builtin_bswap64(v) >> (64 - 8 * size);
}

enum insn_result exec_movbe(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size;
	uint64_t v;

	if (in->form == FORM_RM_R)
		return rm_write(cpu, in, size, swap_bytes(reg_read(cpu, in, in->reg, size), size))
			       ? INSN_DONE
			       : INSN_FAULT;
	if (!rm_read(cpu, in, size, &v))
		return INSN_FAULT;
	reg_write(cpu, in, in->reg, size, swap_bytes(v, size));
	return INSN_DONE;
}

enum insn_result exec_lea(struct cpu *cpu, const struct insn *in)
{
	reg_write(cpu, in, in->reg, in->op_size, insn_ea(cpu, in));
	return INSN_DONE;
}

enum insn_result exec_xchg(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size;
	uint64_t v = reg_read(cpu, in, in->reg, size);
	enum rmw_result res;
	struct rmw m;

	if (!insn_is_mem(in)) {
		uint64_t other = reg_read(cpu, in, in->rm, size);

		reg_write(cpu, in, in->rm, size, v);
		reg_write(cpu, in, in->reg, size, other);
		return INSN_DONE;
	}
	/* with memory it locks by itself */
	if (!rmw_begin_at(cpu, in->seg, insn_ea(cpu, in), size, true, &m))
		return INSN_FAULT;
	do
		res = rmw_commit(cpu, in, &m, v);
	while (res == RMW_RETRY);
	if (res == RMW_FAULT)
		return INSN_FAULT;
	reg_write(cpu, in, in->reg, size, m.old);
	return INSN_DONE;
}

static uint32_t sub_flags(unsigned size, uint64_t a, uint64_t b)
{
	return cc_arith_of(CC_SUB | __builtin_ctz(size), (a - b) & size_mask(size), b);
}

enum insn_result exec_xadd(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size;
	uint64_t v = reg_read(cpu, in, in->reg, size), sum;
	enum rmw_result res;
	struct rmw m;

	if (!rmw_begin(cpu, in, size, &m))
		return INSN_FAULT;
	if (!m.mem) { /* rm wins when both are the same register */
		reg_write(cpu, in, in->reg, size, m.old);
		sum = (m.old + v) & size_mask(size);
		reg_write(cpu, in, in->rm, size, sum);
	} else {
		do {
			sum = (m.old + v) & size_mask(size);
			res = rmw_commit(cpu, in, &m, sum);
		} while (res == RMW_RETRY);
		if (res == RMW_FAULT)
			return INSN_FAULT;
		reg_write(cpu, in, in->reg, size, m.old);
	}
	set_arith(cpu, FL_ARITH, cc_arith_of(CC_ADD | __builtin_ctz(size), sum, v));
	return INSN_DONE;
}

enum insn_result exec_cmpxchg(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size;
	uint64_t acc = cpu->gpr[HV_RAX] & size_mask(size);
	uint64_t src = reg_read(cpu, in, in->reg, size);
	enum rmw_result res;
	struct rmw m;

	if (!rmw_begin(cpu, in, size, &m))
		return INSN_FAULT;
	do {
		if (m.mem)
			res = rmw_commit(cpu, in, &m, m.old == acc ? src : m.old);
		else
			res = RMW_OK;
	} while (res == RMW_RETRY);
	if (res == RMW_FAULT)
		return INSN_FAULT;
	if (m.old == acc) {
		if (!m.mem)
			reg_write(cpu, in, in->rm, size, src);
	} else {
		reg_write(cpu, in, HV_RAX, size, m.old);
	}
	set_arith(cpu, FL_ARITH, sub_flags(size, acc, m.old));
	return INSN_DONE;
}

/* ---- CMPXCHG8B, CMPXCHG16B ---- */

__attribute__((target("cx16"))) static bool host_cas16(void *p, unsigned __int128 *old,
						       unsigned __int128 val)
{
	uint64_t lo = (uint64_t)*old, hi = (uint64_t)(*old >> 64);
	bool ok;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(ok), "+m"(*(unsigned __int128 *)p), "+a"(lo), "+d"(hi)
			 : "b"((uint64_t)val), "c"((uint64_t)(val >> 64))
			 : "memory");
	*old = (unsigned __int128)hi << 64 | lo;
	return ok;
}

/* At an address without a host pointer: under the VM's lock. */
static bool pair_by_parts(struct cpu *cpu, uint64_t va, unsigned size, unsigned __int128 want,
			  unsigned __int128 val, unsigned __int128 *old)
{
	unsigned __int128 v = 0;
	bool ok;

	block_split_lock(cpu);
	ok = mmu_read_slow(cpu, va, &v, size);
	if (ok) {
		*old = v;
		if (v == want)
			v = val;
		ok = mmu_write_slow(cpu, va, &v, size);
	}
	block_split_unlock(cpu);
	return ok;
}

static void pair_by_host(void *p, unsigned size, unsigned __int128 want, unsigned __int128 val,
			 unsigned __int128 *old)
{
	*old = want;
	if (size == 16) {
		host_cas16(p, old, val);
	} else {
		uint64_t lo = (uint64_t)want;

		__atomic_compare_exchange_n((uint64_t *)p, &lo, (uint64_t)val, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		*old = lo;
	}
}

enum insn_result exec_cmpxchg8b(struct cpu *cpu, const struct insn *in)
{
	unsigned half = in->rex & 8 ? 8 : 4, size = 2 * half;
	uint64_t m = size_mask(half), va;
	unsigned __int128 want, val, old;
	void *p;

	want = (unsigned __int128)(cpu->gpr[HV_RDX] & m) << (8 * half) | (cpu->gpr[HV_RAX] & m);
	val = (unsigned __int128)(cpu->gpr[HV_RCX] & m) << (8 * half) | (cpu->gpr[HV_RBX] & m);
	if (!seg_linear(cpu, in->seg, insn_ea(cpu, in), size, true, &va))
		return INSN_FAULT;
	if (size == 16 && (va & 15)) {
		cpu_raise_err(cpu, VEC_GP, 0);
		return INSN_FAULT;
	}
	p = mmu_rmw(cpu, va, size);
	if (p) {
		pair_by_host(p, size, want, val, &old);
		mmu_rmw_end(cpu, va, size);
	} else if (cpu->exc.pending || !pair_by_parts(cpu, va, size, want, val, &old)) {
		if (cpu->exc.noncanonical && in->seg == HV_SS)
			cpu->exc.vector = VEC_SS;
		return INSN_FAULT;
	}
	if (old != want) {
		reg_write(cpu, in, HV_RAX, half, (uint64_t)old & m);
		reg_write(cpu, in, HV_RDX, half, (uint64_t)(old >> (8 * half)) & m);
	}
	set_arith(cpu, FL_ZF, old == want ? FL_ZF : 0);
	return INSN_DONE;
}

/* ---- conditional ---- */

enum insn_result exec_cmov(struct cpu *cpu, const struct insn *in)
{
	uint64_t v;

	if (!rm_read(cpu, in, in->op_size, &v))
		return INSN_FAULT;
	if (!fl_cond(cpu->rflags, in->opcode & 15))
		v = reg_read(cpu, in, in->reg, in->op_size);
	reg_write(cpu, in, in->reg, in->op_size, v); /* 32-bit: clears the upper half either way */
	return INSN_DONE;
}

enum insn_result exec_setcc(struct cpu *cpu, const struct insn *in)
{
	return rm_write(cpu, in, 1, fl_cond(cpu->rflags, in->opcode & 15)) ? INSN_DONE : INSN_FAULT;
}

/* ---- stack ---- */

enum insn_result exec_push(struct cpu *cpu, const struct insn *in)
{
	uint64_t v = in->imm;

	if (in->form == FORM_RM && !rm_read(cpu, in, in->op_size, &v))
		return INSN_FAULT;
	return stack_push(cpu, in->op_size, v) ? INSN_DONE : INSN_FAULT;
}

enum insn_result exec_pop(struct cpu *cpu, const struct insn *in)
{
	uint64_t sp = cpu->gpr[HV_RSP], v;

	if (!stack_read(cpu, sp, in->op_size, &v))
		return INSN_FAULT;
	stack_set(cpu, sp + in->op_size);
	/* an RSP-based destination address uses the incremented value */
	if (!rm_write(cpu, in, in->op_size, v)) {
		cpu->gpr[HV_RSP] = sp;
		return INSN_FAULT;
	}
	return INSN_DONE;
}

enum insn_result exec_pusha(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size;
	uint64_t sp = cpu->gpr[HV_RSP];

	for (unsigned i = 0; i < 8; i++) {
		sp -= size;
		if (!stack_write(cpu, sp, size, cpu->gpr[i]))
			return INSN_FAULT;
	}
	stack_set(cpu, sp);
	return INSN_DONE;
}

enum insn_result exec_popa(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size;
	uint64_t sp = cpu->gpr[HV_RSP], v[8];

	for (unsigned i = 0; i < 8; i++)
		if (!stack_read(cpu, sp + i * size, size, &v[7 - i]))
			return INSN_FAULT;
	for (unsigned i = 0; i < 8; i++)
		if (i != HV_RSP)
			reg_write(cpu, in, i, size, v[i]);
	stack_set(cpu, sp + 8 * size);
	return INSN_DONE;
}

enum insn_result exec_enter(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size, level = in->imm2 & 31;
	uint64_t sp = cpu->gpr[HV_RSP], bp = cpu->gpr[HV_RBP], frame, v;

	sp -= size;
	if (!stack_write(cpu, sp, size, bp))
		return INSN_FAULT;
	frame = sp;
	for (unsigned i = 1; i < level; i++) {
		bp -= size;
		sp -= size;
		if (!stack_read(cpu, bp, size, &v) || !stack_write(cpu, sp, size, v))
			return INSN_FAULT;
	}
	if (level) {
		sp -= size;
		if (!stack_write(cpu, sp, size, frame))
			return INSN_FAULT;
	}
	sp -= in->imm;
	/* the end of the new frame must be writable */
	if (!stack_probe(cpu, sp, size))
		return INSN_FAULT;
	reg_write(cpu, in, HV_RBP, size, frame & size_mask(stack_addr_size(cpu)));
	stack_set(cpu, sp);
	return INSN_DONE;
}

enum insn_result exec_leave(struct cpu *cpu, const struct insn *in)
{
	uint64_t sp = cpu->gpr[HV_RBP], v;

	if (!stack_read(cpu, sp, in->op_size, &v))
		return INSN_FAULT;
	stack_set(cpu, sp + in->op_size);
	reg_write(cpu, in, HV_RBP, in->op_size, v);
	return INSN_DONE;
}

enum insn_result exec_xlat(struct cpu *cpu, const struct insn *in)
{
	uint64_t ea = cpu->gpr[HV_RBX] + (cpu->gpr[HV_RAX] & 0xff), v;

	if (!mem_read(cpu, in->seg, ea & size_mask(in->addr_size), 1, &v))
		return INSN_FAULT;
	((uint8_t *)&cpu->gpr[HV_RAX])[0] = v;
	return INSN_DONE;
}

enum insn_result exec_bound(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size;
	int64_t i = sign_extend(reg_read(cpu, in, in->reg, size), size);
	uint64_t lo, hi, ea = insn_ea(cpu, in);

	if (!mem_read(cpu, in->seg, ea, size, &lo) ||
	    !mem_read(cpu, in->seg, (ea + size) & size_mask(in->addr_size), size, &hi))
		return INSN_FAULT;
	if (i < sign_extend(lo, size) || i > sign_extend(hi, size)) {
		cpu_raise(cpu, VEC_BR);
		return INSN_FAULT;
	}
	return INSN_DONE;
}
