/* SPDX-License-Identifier: Apache-2.0 */
/* Operand access of the general instruction implementations. */
#include "soft/interp/operand.h"

#include <string.h>

#include "soft/block.h"
#include "soft/mmu.h"

static bool seg_fault(struct cpu *cpu, unsigned seg)
{
	cpu_raise_err(cpu, seg == HV_SS ? VEC_SS : VEC_GP, 0);
	return false;
}

static bool seg_limit_ok(const struct hv_segment *s, uint64_t ea, unsigned size)
{
	uint64_t last = ea + size - 1;

	/* expand-down data segment */
	if ((s->attr & 0x1c) == 0x14)
		return ea > s->limit && last <= (s->attr & HV_SEG_DB ? 0xffffffff : 0xffff);
	return last <= s->limit;
}

bool seg_linear(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, bool write,
		uint64_t *ret_va)
{
	const struct hv_segment *s = &cpu->seg[seg];

	if (cpu->mode == CPU_LONG64) {
		*ret_va = seg >= HV_FS ? ea + cpu->seg_base[seg] : ea;
		return true;
	}
	if (cpu->mode != CPU_REAL16 && cpu->mode != CPU_VM86) {
		bool code = s->attr & 8;

		if ((s->attr & HV_SEG_UNUSABLE) || (write && (code || !(s->attr & 2))) ||
		    (!write && code && !(s->attr & 2)))
			return seg_fault(cpu, seg);
	}
	if (!seg_limit_ok(s, ea, size))
		return seg_fault(cpu, seg);
	*ret_va = (uint32_t)(s->base + ea);
	return true;
}

/* The MMU knows no segments: a non-canonical address through SS is #SS. */
static bool access_result(struct cpu *cpu, unsigned seg, bool ok)
{
	if (unlikely(!ok) && cpu->exc.noncanonical && seg == HV_SS)
		cpu->exc.vector = VEC_SS;
	return ok;
}

bool mem_read_buf(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, void *buf)
{
	uint64_t va;

	if (!seg_linear(cpu, seg, ea, size, false, &va))
		return false;
	return access_result(cpu, seg, mmu_read_slow(cpu, va, buf, size));
}

bool mem_write_buf(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, const void *buf)
{
	uint64_t va;

	if (!seg_linear(cpu, seg, ea, size, true, &va))
		return false;
	return access_result(cpu, seg, mmu_write_slow(cpu, va, buf, size));
}

static bool va_read(struct cpu *cpu, uint64_t va, unsigned size, uint64_t *ret)
{
	union {
		uint8_t b;
		uint16_t w;
		uint32_t l;
		uint64_t q;
	} v = { .q = 0 };
	bool ok;

	switch (size) {
	case 1: ok = mmu_read(cpu, va, &v.b, 1); break;
	case 2: ok = mmu_read(cpu, va, &v.w, 2); break;
	case 4: ok = mmu_read(cpu, va, &v.l, 4); break;
	default: ok = mmu_read(cpu, va, &v.q, 8); break;
	}
	if (ok)
		*ret = v.q;
	return ok;
}

static bool va_write(struct cpu *cpu, uint64_t va, unsigned size, uint64_t val)
{
	switch (size) {
	case 1: return mmu_write(cpu, va, &val, 1);
	case 2: return mmu_write(cpu, va, &val, 2);
	case 4: return mmu_write(cpu, va, &val, 4);
	default: return mmu_write(cpu, va, &val, 8);
	}
}

bool mem_read(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t *ret)
{
	uint64_t va;

	if (!seg_linear(cpu, seg, ea, size, false, &va))
		return false;
	return access_result(cpu, seg, va_read(cpu, va, size, ret));
}

bool mem_write(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t val)
{
	uint64_t va;

	if (!seg_linear(cpu, seg, ea, size, true, &va))
		return false;
	return access_result(cpu, seg, va_write(cpu, va, size, val));
}

bool rm_read(struct cpu *cpu, const struct insn *in, unsigned size, uint64_t *ret)
{
	if (insn_is_mem(in))
		return mem_read(cpu, in->seg, insn_ea(cpu, in), size, ret);
	*ret = reg_read(cpu, in, in->rm, size);
	return true;
}

bool rm_write(struct cpu *cpu, const struct insn *in, unsigned size, uint64_t val)
{
	if (insn_is_mem(in))
		return mem_write(cpu, in->seg, insn_ea(cpu, in), size, val);
	reg_write(cpu, in, in->rm, size, val);
	return true;
}

/* ---- read-modify-write ---- */

static uint64_t host_load(const void *p, unsigned size)
{
	uint64_t v = 0;

	switch (size) {
	case 1: v = *(const volatile uint8_t *)p; break;
	case 2: memcpy(&v, p, 2); break;
	case 4: memcpy(&v, p, 4); break;
	default: memcpy(&v, p, 8); break;
	}
	return v;
}

static void host_store(void *p, unsigned size, uint64_t v)
{
	switch (size) {
	case 1: memcpy(p, &v, 1); break;
	case 2: memcpy(p, &v, 2); break;
	case 4: memcpy(p, &v, 4); break;
	default: memcpy(p, &v, 8); break;
	}
}

#define CAS(type, p, old, new)                                                                 \
	({                                                                                     \
		type old_ = (type) * (old);                                                    \
		bool ok_ = __atomic_compare_exchange_n((type *)(p), &old_, (type)(new), false, \
						       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);    \
		*(old) = old_;                                                                 \
		ok_;                                                                           \
	})

/* Host atomics work at any alignment on this architecture. */
__attribute__((no_sanitize("alignment"))) static bool host_cas(void *p, unsigned size,
							       uint64_t *old, uint64_t val)
{
	switch (size) {
	case 1: return CAS(uint8_t, p, old, val);
	case 2: return CAS(uint16_t, p, old, val);
	case 4: return CAS(uint32_t, p, old, val);
	default: return CAS(uint64_t, p, old, val);
	}
}

static bool rmw_begin_va(struct cpu *cpu, uint64_t va, unsigned size, bool lock, struct rmw *ret)
{
	*ret = (struct rmw){ .va = va, .size = size, .mem = true, .lock = lock };
	ret->host = mmu_rmw(cpu, va, size);
	if (ret->host) {
		ret->old = host_load(ret->host, size);
		return true;
	}
	if (cpu->exc.pending)
		return false;
	if (lock)
		ret->held = block_split_lock(cpu);
	if (va_read(cpu, va, size, &ret->old))
		return true;
	rmw_abort(cpu, ret);
	return false;
}

bool rmw_begin_at(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, bool lock,
		  struct rmw *ret)
{
	uint64_t va;

	if (!seg_linear(cpu, seg, ea, size, true, &va))
		return false;
	return access_result(cpu, seg, rmw_begin_va(cpu, va, size, lock, ret));
}

bool rmw_begin(struct cpu *cpu, const struct insn *in, unsigned size, struct rmw *ret)
{
	if (insn_is_mem(in))
		return rmw_begin_at(cpu, in->seg, insn_ea(cpu, in), size,
				    in->prefixes & INSN_PFX_LOCK, ret);
	*ret = (struct rmw){ .size = size, .old = reg_read(cpu, in, in->rm, size) };
	return true;
}

void rmw_abort(struct cpu *cpu, struct rmw *m)
{
	if (m->held)
		block_split_unlock(cpu);
	m->held = false;
}

enum rmw_result rmw_commit(struct cpu *cpu, const struct insn *in, struct rmw *m, uint64_t val)
{
	bool ok;

	if (!m->mem) {
		reg_write(cpu, in, in->rm, m->size, val);
		return RMW_OK;
	}
	if (m->host) {
		if (!m->lock)
			host_store(m->host, m->size, val);
		else if (!host_cas(m->host, m->size, &m->old, val))
			return RMW_RETRY;
		mmu_rmw_end(cpu, m->va, m->size);
		return RMW_OK;
	}
	ok = va_write(cpu, m->va, m->size, val);
	rmw_abort(cpu, m);
	return ok ? RMW_OK : RMW_FAULT;
}

/* ---- stack and branches ---- */

unsigned stack_addr_size(const struct cpu *cpu)
{
	if (cpu->mode == CPU_LONG64)
		return 8;
	return cpu->seg[HV_SS].attr & HV_SEG_DB ? 4 : 2;
}

bool stack_write(struct cpu *cpu, uint64_t sp, unsigned size, uint64_t val)
{
	return mem_write(cpu, HV_SS, sp & size_mask(stack_addr_size(cpu)), size, val);
}

bool stack_read(struct cpu *cpu, uint64_t sp, unsigned size, uint64_t *ret)
{
	return mem_read(cpu, HV_SS, sp & size_mask(stack_addr_size(cpu)), size, ret);
}

void stack_set(struct cpu *cpu, uint64_t sp)
{
	uint64_t mask = size_mask(stack_addr_size(cpu));

	if (mask == 0xffffffff)
		cpu->gpr[HV_RSP] = (uint32_t)sp;
	else
		cpu->gpr[HV_RSP] = (cpu->gpr[HV_RSP] & ~mask) | (sp & mask);
}

bool stack_push(struct cpu *cpu, unsigned size, uint64_t val)
{
	uint64_t sp = cpu->gpr[HV_RSP] - size;

	if (!stack_write(cpu, sp, size, val))
		return false;
	stack_set(cpu, sp);
	return true;
}

bool stack_probe(struct cpu *cpu, uint64_t sp, unsigned size)
{
	struct rmw m;

	return rmw_begin_at(cpu, HV_SS, sp & size_mask(stack_addr_size(cpu)), size, false, &m);
}

bool branch_check(struct cpu *cpu, uint64_t *rip, unsigned size)
{
	if (cpu->mode == CPU_LONG64) {
		if (size == 2)
			*rip &= 0xffff;
		if (mmu_canonical(*rip))
			return true;
	} else {
		*rip &= size == 2 ? 0xffff : 0xffffffff;
		if (*rip <= cpu->seg[HV_CS].limit)
			return true;
	}
	cpu_raise_err(cpu, VEC_GP, 0);
	return false;
}
