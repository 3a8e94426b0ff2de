/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far jumps and calls. Ref: Intel SDM 2 (JMP, CALL), 3A 5.8; AMD APM 2 4.11.
 */
#include "soft/far.h"

#include "soft/exec.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"
#include "soft/task.h"

/* Where a far branch goes. */
struct target {
	uint16_t sel;
	uint64_t off;
	unsigned size; /* operand size */
};

static enum insn_result fault(struct cpu *cpu, enum cpu_vector vec, uint32_t error)
{
	cpu_raise_err(cpu, vec, error);
	return INSN_FAULT;
}

/* The operand: immediate, or offset and selector in memory. */
static bool target_read(struct cpu *cpu, const struct insn *in, struct target *t)
{
	uint64_t ea, sel;

	t->size = in->op_size;
	if (!insn_is_mem(in)) {
		t->off = in->imm & size_mask(in->op_size);
		t->sel = in->imm2;
		return true;
	}
	ea = insn_ea(cpu, in);
	if (!mem_read(cpu, in->seg, ea, in->op_size, &t->off) ||
	    !mem_read(cpu, in->seg, (ea + in->op_size) & size_mask(in->addr_size), 2, &sel))
		return false;
	t->sel = (uint16_t)sel;
	return true;
}

bool far_offset_ok(struct cpu *cpu, const struct desc *cs, uint64_t off)
{
	bool ok = cpu_is_long(cpu) && (cs->attr & HV_SEG_L) ? mmu_canonical(off) : off <= cs->limit;

	if (!ok)
		cpu_raise_err(cpu, VEC_GP, 0);
	return ok;
}

bool far_code_bits_ok(const struct cpu *cpu, const struct desc *d)
{
	return !cpu_is_long(cpu) || (d->attr & (HV_SEG_L | HV_SEG_DB)) != (HV_SEG_L | HV_SEG_DB);
}

static void set_code(struct cpu *cpu, uint16_t sel, const struct desc *d, unsigned cpl,
		     uint64_t rip)
{
	seg_set(cpu, HV_CS, (uint16_t)((sel & ~3U) | cpl), d);
	cpu_set_cpl(cpu, cpl);
	cpu->rip = rip;
	cpu_mode_update(cpu);
}

/* Checks of a direct jump or call to a code segment. */
static bool direct_code_ok(struct cpu *cpu, uint16_t sel, struct desc *d)
{
	unsigned cpl = cpu->cpl;

	if (!far_code_bits_ok(cpu, d))
		return desc_fault(cpu, VEC_GP, sel, false);
	if (desc_is_conforming(d) ? desc_dpl(d) > cpl : (sel & 3U) > cpl || desc_dpl(d) != cpl)
		return desc_fault(cpu, VEC_GP, sel, false);
	if (!(d->attr & HV_SEG_P))
		return desc_fault(cpu, VEC_NP, sel, false);
	return true;
}

/* ---- call gates ---- */

struct gate {
	uint16_t sel;
	uint64_t off;
	unsigned params, size; /* size of what a call pushes: 2, 4 or 8 */
	struct desc cs;
};

static bool gate_type_ok(const struct cpu *cpu, unsigned type)
{
	return type == DESC_CALL32 || (type == DESC_CALL16 && !cpu_is_long(cpu));
}

/* @jump: may not change the level. */
static bool gate_read(struct cpu *cpu, uint16_t sel, const struct desc *d, bool jump,
		      struct gate *ret)
{
	unsigned type = d->attr & (HV_SEG_S | HV_SEG_TYPE);
	bool wide = type == DESC_CALL32;
	uint32_t high[2] = { 0 };
	unsigned dpl;

	if (!gate_type_ok(cpu, type) || desc_dpl(d) < cpu->cpl || desc_dpl(d) < (sel & 3U))
		return desc_fault(cpu, VEC_GP, sel, false);
	if (!(d->attr & HV_SEG_P))
		return desc_fault(cpu, VEC_NP, sel, false);
	if (cpu_is_long(cpu)) {
		if (!mmu_sys_read(cpu, d->va + 8, high, 8))
			return false;
		if (high[1] & 0x1f00) /* type of the upper half must be 0 */
			return desc_fault(cpu, VEC_GP, sel, false);
	}
	ret->sel = (uint16_t)(d->lo >> 16);
	ret->off = (d->lo & 0xffff) | (wide ? d->hi & 0xffff0000 : 0) | (uint64_t)high[0] << 32;
	ret->params = d->hi & 31;
	ret->size = cpu_is_long(cpu) ? 8 : wide ? 4 : 2;
	if (desc_is_null(ret->sel))
		return desc_fault(cpu, VEC_GP, 0, false);
	if (!desc_read(cpu, ret->sel, VEC_GP, false, &ret->cs))
		return false;
	dpl = desc_dpl(&ret->cs);
	if (!desc_is_code(&ret->cs) || dpl > cpu->cpl ||
	    (jump && !desc_is_conforming(&ret->cs) && dpl != cpu->cpl) ||
	    (cpu_is_long(cpu) && (ret->cs.attr & (HV_SEG_L | HV_SEG_DB)) != HV_SEG_L))
		return desc_fault(cpu, VEC_GP, ret->sel, false);
	if (!(ret->cs.attr & HV_SEG_P))
		return desc_fault(cpu, VEC_NP, ret->sel, false);
	return far_offset_ok(cpu, &ret->cs, ret->off) && desc_mark_accessed(cpu, &ret->cs);
}

/* ---- JMP ---- */

enum insn_result far_jump_real(struct cpu *cpu, uint16_t sel, uint64_t off)
{
	if (off > 0xffff)
		return fault(cpu, VEC_GP, 0);
	seg_set_real(cpu, HV_CS, sel);
	cpu->rip = off;
	cpu_mode_update(cpu);
	return INSN_BRANCH;
}

enum insn_result exec_far_jmp(struct cpu *cpu, const struct insn *in)
{
	struct target t;
	struct gate g;
	struct desc d;

	if (!target_read(cpu, in, &t))
		return INSN_FAULT;
	if (!cpu_is_protected(cpu))
		return far_jump_real(cpu, t.sel, t.off);
	if (desc_is_null(t.sel))
		return fault(cpu, VEC_GP, 0);
	if (!desc_read(cpu, t.sel, VEC_GP, false, &d))
		return INSN_FAULT;
	if (task_is_target(cpu, &d))
		return task_far(cpu, t.sel, &d, false) ? INSN_BRANCH : INSN_FAULT;
	if (!(d.attr & HV_SEG_S)) {
		if (!gate_read(cpu, t.sel, &d, true, &g))
			return INSN_FAULT;
		set_code(cpu, g.sel, &g.cs, cpu->cpl, g.off);
		return INSN_BRANCH;
	}
	if (!desc_is_code(&d))
		return fault(cpu, VEC_GP, t.sel & ~3U);
	if (!direct_code_ok(cpu, t.sel, &d) || !far_offset_ok(cpu, &d, t.off) ||
	    !desc_mark_accessed(cpu, &d))
		return INSN_FAULT;
	set_code(cpu, t.sel, &d, cpu->cpl, t.off);
	return INSN_BRANCH;
}

/* ---- CALL ---- */

/* CS and the return address on the present stack, in one write. */
static bool push_return(struct cpu *cpu, unsigned size)
{
	uint64_t cs = cpu->seg[HV_CS].selector;
	uint64_t sp = (cpu->gpr[HV_RSP] - 2 * size) & size_mask(stack_addr_size(cpu));
	uint8_t buf[16];

	memcpy(buf, &cpu->next_rip, size);
	memcpy(buf + size, &cs, size);
	if (!mem_write_buf(cpu, HV_SS, sp, 2 * size, buf))
		return false;
	stack_set(cpu, sp);
	return true;
}

/* Call through a gate to an inner level: new stack from the TSS, parameters copied. */
static enum insn_result call_inner(struct cpu *cpu, const struct gate *g)
{
	unsigned cpl = desc_dpl(&g->cs), size = g->size, n = 4;
	bool lng = cpu_is_long(cpu);
	unsigned params = lng ? 0 : g->params;
	uint8_t frame[35 * 8] = { 0 };
	uint64_t vals[4] = { cpu->next_rip, cpu->seg[HV_CS].selector, cpu->gpr[HV_RSP],
			     cpu->seg[HV_SS].selector };
	struct hv_segment new_ss;
	struct desc ss = { 0 };
	uint64_t sp, start;
	uint16_t ss_sel;
	uint8_t *p = frame;

	if (!tss_stack(cpu, cpl, false, &ss_sel, &sp))
		return INSN_FAULT;
	if (!lng && !seg_check_inner_ss(cpu, ss_sel, cpl, false, &ss))
		return INSN_FAULT;
	for (unsigned i = 0; i < n; i++) {
		if (i == 2) {
			for (unsigned k = 0; k < params; k++, p += size) {
				uint64_t v;

				if (!stack_read(cpu, cpu->gpr[HV_RSP] + k * size, size, &v))
					return INSN_FAULT;
				memcpy(p, &v, size);
			}
		}
		memcpy(p, &vals[i], size);
		p += size;
	}
	n = (unsigned)(p - frame);
	start = lng ? sp - n : (sp - n) & (ss.attr & HV_SEG_DB ? 0xffffffff : 0xffff);
	new_ss = (struct hv_segment){ ss.base, ss.limit, ss_sel, ss.attr };
	if (lng ? !mmu_canonical(start) : !seg_stack_holds(&new_ss, (uint32_t)start, n))
		return fault(cpu, VEC_SS, lng ? 0 : ss_sel & ~3U);
	/* In pieces of at most 64 bytes; a fault leaves garbage only below the inner stack. */
	for (unsigned off = 0; off < n; off += 64)
		if (!mmu_write_as(cpu, ss.base + start + off, frame + off,
				  n - off < 64 ? n - off : 64, cpl == 3 ? TLB_USER : TLB_KERNEL))
			return INSN_FAULT;
	if (lng)
		cpu->seg[HV_SS] = (struct hv_segment){
			.selector = (uint16_t)cpl,
			.limit = 0xffffffff,
			.attr = (uint16_t)(HV_SEG_UNUSABLE | cpl << HV_SEG_DPL_SHIFT)
		};
	else
		seg_set(cpu, HV_SS, ss_sel, &ss);
	cpu->gpr[HV_RSP] = start;
	set_code(cpu, g->sel, &g->cs, cpl, g->off);
	return INSN_BRANCH;
}

static enum insn_result call_gate(struct cpu *cpu, uint16_t sel, const struct desc *d)
{
	struct gate g;

	if (!gate_read(cpu, sel, d, false, &g))
		return INSN_FAULT;
	if (!desc_is_conforming(&g.cs) && desc_dpl(&g.cs) < cpu->cpl)
		return call_inner(cpu, &g);
	if (!push_return(cpu, g.size))
		return INSN_FAULT;
	set_code(cpu, g.sel, &g.cs, cpu->cpl, g.off);
	return INSN_BRANCH;
}

enum insn_result exec_far_call(struct cpu *cpu, const struct insn *in)
{
	struct target t;
	struct desc d;

	if (!target_read(cpu, in, &t))
		return INSN_FAULT;
	if (!cpu_is_protected(cpu)) {
		if (t.off > 0xffff)
			return fault(cpu, VEC_GP, 0);
		return push_return(cpu, t.size) ? far_jump_real(cpu, t.sel, t.off) : INSN_FAULT;
	}
	if (desc_is_null(t.sel))
		return fault(cpu, VEC_GP, 0);
	if (!desc_read(cpu, t.sel, VEC_GP, false, &d))
		return INSN_FAULT;
	if (task_is_target(cpu, &d))
		return task_far(cpu, t.sel, &d, true) ? INSN_BRANCH : INSN_FAULT;
	if (!(d.attr & HV_SEG_S))
		return call_gate(cpu, t.sel, &d);
	if (!desc_is_code(&d))
		return fault(cpu, VEC_GP, t.sel & ~3U);
	if (!direct_code_ok(cpu, t.sel, &d) || !far_offset_ok(cpu, &d, t.off) ||
	    !desc_mark_accessed(cpu, &d) || !push_return(cpu, t.size))
		return INSN_FAULT;
	set_code(cpu, t.sel, &d, cpu->cpl, t.off);
	return INSN_BRANCH;
}
