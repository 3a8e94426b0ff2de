/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions on segment registers and descriptor tables. */
#include "soft/desc.h"

#include "soft/exec.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"

static enum insn_result fault(struct cpu *cpu, enum cpu_vector vec, uint32_t error)
{
	cpu_raise_err(cpu, vec, error);
	return INSN_FAULT;
}

/* ---- MOV, PUSH, POP, LDS and friends ---- */

static enum insn_result after_load(struct cpu *cpu, enum hv_seg seg)
{
	if (seg == HV_SS) {
		cpu->shadow = 2;
		cpu_mode_update(cpu);
	}
	return INSN_STOP;
}

enum insn_result exec_mov_from_seg(struct cpu *cpu, const struct insn *in)
{
	uint16_t sel = cpu->seg[in->modrm >> 3 & 7].selector;

	if (insn_is_mem(in))
		return rm_write(cpu, in, 2, sel) ? INSN_DONE : INSN_FAULT;
	reg_write(cpu, in, in->rm, in->op_size, sel);
	return INSN_DONE;
}

enum insn_result exec_mov_to_seg(struct cpu *cpu, const struct insn *in)
{
	enum hv_seg seg = in->modrm >> 3 & 7;
	uint64_t sel;

	if (!rm_read(cpu, in, 2, &sel) || !seg_load(cpu, seg, (uint16_t)sel))
		return INSN_FAULT;
	return after_load(cpu, seg);
}

static enum hv_seg stack_op_seg(const struct insn *in)
{
	if (in->map == INSN_MAP_0F)
		return in->opcode < 0xa8 ? HV_FS : HV_GS;
	return in->opcode >> 3 & 3;
}

enum insn_result exec_push_seg(struct cpu *cpu, const struct insn *in)
{
	uint16_t sel = cpu->seg[stack_op_seg(in)].selector;

	return stack_push(cpu, in->op_size, sel) ? INSN_DONE : INSN_FAULT;
}

enum insn_result exec_pop_seg(struct cpu *cpu, const struct insn *in)
{
	enum hv_seg seg = stack_op_seg(in);
	uint64_t sp = cpu->gpr[HV_RSP], sel;

	/* With a 32-bit operand only 16 bits need to be there, but all processors read the slot. */
	if (!stack_read(cpu, sp, in->op_size, &sel))
		return INSN_FAULT;
	/* POP SS changes the stack size itself: the pointer moves by the old one. */
	if (seg == HV_SS) {
		uint64_t saved = cpu->gpr[HV_RSP];

		stack_set(cpu, sp + in->op_size);
		if (!seg_load(cpu, seg, (uint16_t)sel)) {
			cpu->gpr[HV_RSP] = saved;
			return INSN_FAULT;
		}
	} else {
		if (!seg_load(cpu, seg, (uint16_t)sel))
			return INSN_FAULT;
		stack_set(cpu, sp + in->op_size);
	}
	return after_load(cpu, seg);
}

enum insn_result exec_load_far(struct cpu *cpu, const struct insn *in)
{
	uint64_t ea = insn_ea(cpu, in), off, sel;
	enum hv_seg seg;

	if (in->map == INSN_MAP_0F)
		seg = in->opcode == 0xb2 ? HV_SS : in->opcode == 0xb4 ? HV_FS : HV_GS;
	else
		seg = in->opcode == 0xc4 ? HV_ES : HV_DS;
	if (!mem_read(cpu, in->seg, ea, in->op_size, &off) ||
	    !mem_read(cpu, in->seg, (ea + in->op_size) & size_mask(in->addr_size), 2, &sel) ||
	    !seg_load(cpu, seg, (uint16_t)sel))
		return INSN_FAULT;
	reg_write(cpu, in, in->reg, in->op_size, off);
	return after_load(cpu, seg);
}

/* ---- LGDT, SGDT, LIDT, SIDT ---- */

static bool umip_blocks(struct cpu *cpu)
{
	if (!(cpu->cr4 & CR4_UMIP) || cpu->cpl == 0)
		return false;
	cpu_raise_err(cpu, VEC_GP, 0);
	return true;
}

static enum insn_result store_table(struct cpu *cpu, const struct insn *in,
				    const struct hv_table *t)
{
	unsigned size = cpu->mode == CPU_LONG64 ? 10 : 6;
	uint8_t buf[10];

	if (umip_blocks(cpu))
		return INSN_FAULT;
	memcpy(buf, &t->limit, 2);
	memcpy(buf + 2, &t->base, 8);
	return mem_write_buf(cpu, in->seg, insn_ea(cpu, in), size, buf) ? INSN_DONE : INSN_FAULT;
}

static enum insn_result load_table(struct cpu *cpu, const struct insn *in, struct hv_table *t)
{
	bool lng = cpu->mode == CPU_LONG64;
	uint8_t buf[10] = { 0 };
	uint64_t base = 0;

	if (cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	if (!mem_read_buf(cpu, in->seg, insn_ea(cpu, in), lng ? 10 : 6, buf))
		return INSN_FAULT;
	memcpy(&base, buf + 2, 8);
	if (!lng)
		base &= in->op_size == 2 ? 0xffffff : 0xffffffff;
	else if (!mmu_canonical(base))
		return fault(cpu, VEC_GP, 0);
	memcpy(&t->limit, buf, 2);
	t->base = base;
	return INSN_STOP;
}

enum insn_result exec_sgdt(struct cpu *cpu, const struct insn *in)
{
	return store_table(cpu, in, &cpu->gdt);
}

enum insn_result exec_sidt(struct cpu *cpu, const struct insn *in)
{
	return store_table(cpu, in, &cpu->idt);
}

enum insn_result exec_lgdt(struct cpu *cpu, const struct insn *in)
{
	return load_table(cpu, in, &cpu->gdt);
}

enum insn_result exec_lidt(struct cpu *cpu, const struct insn *in)
{
	return load_table(cpu, in, &cpu->idt);
}

/* ---- LLDT, LTR, SLDT, STR ---- */

static enum insn_result store_selector(struct cpu *cpu, const struct insn *in, enum hv_seg seg)
{
	uint16_t sel = cpu->seg[seg].selector;

	if (umip_blocks(cpu))
		return INSN_FAULT;
	if (insn_is_mem(in))
		return rm_write(cpu, in, 2, sel) ? INSN_DONE : INSN_FAULT;
	reg_write(cpu, in, in->rm, in->op_size, sel);
	return INSN_DONE;
}

enum insn_result exec_sldt(struct cpu *cpu, const struct insn *in)
{
	return store_selector(cpu, in, HV_LDTR);
}

enum insn_result exec_str(struct cpu *cpu, const struct insn *in)
{
	return store_selector(cpu, in, HV_TR);
}

/* A system descriptor from the GDT, with its upper half in long mode. */
static bool system_desc(struct cpu *cpu, uint16_t sel, struct desc *d)
{
	uint32_t high;

	if (sel & 4)
		return desc_fault(cpu, VEC_GP, sel, false);
	if (!desc_read(cpu, sel, VEC_GP, false, d))
		return false;
	if (!cpu_is_long(cpu))
		return true;
	if ((uint32_t)(sel | 7) + 8 > cpu->gdt.limit)
		return desc_fault(cpu, VEC_GP, sel, false);
	if (!desc_read_high(cpu, d, &high))
		return false;
	d->base |= (uint64_t)high << 32;
	if (!mmu_canonical(d->base))
		return desc_fault(cpu, VEC_GP, sel, false);
	return true;
}

enum insn_result exec_lldt(struct cpu *cpu, const struct insn *in)
{
	uint64_t sel;
	struct desc d;

	if (cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	if (!rm_read(cpu, in, 2, &sel))
		return INSN_FAULT;
	if (desc_is_null((uint16_t)sel)) {
		seg_set_null(cpu, HV_LDTR, (uint16_t)sel);
		return INSN_DONE;
	}
	if (!system_desc(cpu, (uint16_t)sel, &d))
		return INSN_FAULT;
	if ((d.attr & (HV_SEG_S | HV_SEG_TYPE)) != DESC_LDT)
		return fault(cpu, VEC_GP, sel & ~3U);
	if (!(d.attr & HV_SEG_P))
		return fault(cpu, VEC_NP, sel & ~3U);
	seg_set(cpu, HV_LDTR, (uint16_t)sel, &d);
	return INSN_DONE;
}

enum insn_result exec_ltr(struct cpu *cpu, const struct insn *in)
{
	uint64_t sel;
	struct desc d;
	unsigned type;
	uint8_t byte;

	if (cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	if (!rm_read(cpu, in, 2, &sel))
		return INSN_FAULT;
	if (desc_is_null((uint16_t)sel))
		return fault(cpu, VEC_GP, 0);
	if (!system_desc(cpu, (uint16_t)sel, &d))
		return INSN_FAULT;
	type = d.attr & (HV_SEG_S | HV_SEG_TYPE);
	if (type != DESC_TSS32 && (type != DESC_TSS16 || cpu_is_long(cpu)))
		return fault(cpu, VEC_GP, sel & ~3U);
	if (!(d.attr & HV_SEG_P))
		return fault(cpu, VEC_NP, sel & ~3U);
	d.attr |= 2; /* busy */
	byte = (uint8_t)(d.hi >> 8) | 2;
	if (!mmu_sys_write(cpu, d.va + 5, &byte, 1))
		return INSN_FAULT;
	seg_set(cpu, HV_TR, (uint16_t)sel, &d);
	return INSN_DONE;
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */

static void set_zf(struct cpu *cpu, bool zf)
{
	cpu->rflags = (cpu->rflags & ~FL_ZF) | (zf ? FL_ZF : 0);
}

/* Privilege rule that LAR, LSL and VERx share. */
static bool visible(const struct cpu *cpu, uint16_t sel, const struct desc *d)
{
	return desc_is_conforming(d) || (desc_dpl(d) >= cpu->cpl && desc_dpl(d) >= (sel & 3U));
}

static bool lar_type_ok(const struct cpu *cpu, const struct desc *d, bool lsl)
{
	unsigned type = d->attr & HV_SEG_TYPE;

	if (d->attr & HV_SEG_S)
		return true;
	switch (type) {
	case DESC_LDT:
	case DESC_TSS32:
	case DESC_TSS32_BUSY: return true;
	case DESC_TSS16:
	case DESC_TSS16_BUSY: return !cpu_is_long(cpu);
	case DESC_CALL32: return !lsl;
	case DESC_CALL16:
	case DESC_TASK: return !lsl && !cpu_is_long(cpu);
	default: return false;
	}
}

/* Source selector of LAR and LSL; *ret_ok says whether the descriptor may be looked at. */
static bool look_up(struct cpu *cpu, const struct insn *in, bool lsl, struct desc *d, bool *ret_ok)
{
	uint64_t sel;

	if (!rm_read(cpu, in, 2, &sel) || !desc_peek(cpu, (uint16_t)sel, d, ret_ok))
		return false;
	*ret_ok = *ret_ok && lar_type_ok(cpu, d, lsl) && visible(cpu, (uint16_t)sel, d);
	return true;
}

enum insn_result exec_lar(struct cpu *cpu, const struct insn *in)
{
	struct desc d;
	bool ok;

	if (!look_up(cpu, in, false, &d, &ok))
		return INSN_FAULT;
	if (ok)
		reg_write(cpu, in, in->reg, in->op_size,
			  d.hi & (in->op_size == 2 ? 0xff00 : 0x00f0ff00));
	set_zf(cpu, ok);
	return INSN_DONE;
}

enum insn_result exec_lsl(struct cpu *cpu, const struct insn *in)
{
	struct desc d;
	bool ok;

	if (!look_up(cpu, in, true, &d, &ok))
		return INSN_FAULT;
	if (ok)
		reg_write(cpu, in, in->reg, in->op_size, d.limit);
	set_zf(cpu, ok);
	return INSN_DONE;
}

static enum insn_result verify(struct cpu *cpu, const struct insn *in, bool write)
{
	struct desc d;
	uint64_t sel;
	bool ok;

	if (!rm_read(cpu, in, 2, &sel) || !desc_peek(cpu, (uint16_t)sel, &d, &ok))
		return INSN_FAULT;
	ok = ok && (d.attr & HV_SEG_S) && visible(cpu, (uint16_t)sel, &d) &&
	     (write ? desc_is_writable(&d) : !desc_is_code(&d) || (d.attr & DESC_WRITABLE));
	set_zf(cpu, ok);
	return INSN_DONE;
}

enum insn_result exec_verr(struct cpu *cpu, const struct insn *in)
{
	return verify(cpu, in, false);
}

enum insn_result exec_verw(struct cpu *cpu, const struct insn *in)
{
	return verify(cpu, in, true);
}

enum insn_result exec_arpl(struct cpu *cpu, const struct insn *in)
{
	uint64_t dst, src = cpu->gpr[in->reg] & 3;

	if (!rm_read(cpu, in, 2, &dst))
		return INSN_FAULT;
	if ((dst & 3) < src) {
		if (!rm_write(cpu, in, 2, (dst & ~3ULL) | src))
			return INSN_FAULT;
		set_zf(cpu, true);
	} else {
		/* The destination is written in any case on real processors: check that it can be.
		 */
		if (!rm_write(cpu, in, 2, dst))
			return INSN_FAULT;
		set_zf(cpu, false);
	}
	return INSN_DONE;
}
