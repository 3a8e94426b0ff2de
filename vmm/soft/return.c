/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far returns and IRET. Ref: Intel SDM 2 (RET, IRET), 3A 5.8, 20.2.6 (virtual-8086 mode);
 * AMD APM 2 4.11.
 */
#include "soft/far.h"

#include "base/checked.h"
#include "soft/exec.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"
#include "soft/task.h"

static enum insn_result fault(struct cpu *cpu, enum cpu_vector vec, uint32_t error)
{
	cpu_raise_err(cpu, vec, error);
	return INSN_FAULT;
}

/* Data segments that the outer level may not use become null. */
static void drop_inner_segments(struct cpu *cpu, unsigned cpl)
{
	static const enum hv_seg segs[] = { HV_ES, HV_DS, HV_FS, HV_GS };

	for (unsigned i = 0; i < 4; i++) {
		const struct hv_segment *s = &cpu->seg[segs[i]];
		unsigned dpl = (s->attr & HV_SEG_DPL) >> HV_SEG_DPL_SHIFT;
		bool conforming =
			(s->attr & (DESC_CODE | DESC_CONFORMING)) == (DESC_CODE | DESC_CONFORMING);

		if (!(s->attr & HV_SEG_UNUSABLE) && dpl < cpl && !conforming)
			seg_set_null(cpu, segs[i], 0);
	}
}

/* The code segment a return goes to. */
static bool return_code(struct cpu *cpu, uint16_t sel, struct desc *d)
{
	unsigned rpl = sel & 3, dpl;

	if (desc_is_null(sel))
		return desc_fault(cpu, VEC_GP, 0, false);
	if (!desc_read(cpu, sel, VEC_GP, false, d))
		return false;
	dpl = desc_dpl(d);
	if (!desc_is_code(d) || rpl < cpu->cpl || !far_code_bits_ok(cpu, d) ||
	    (desc_is_conforming(d) ? dpl > rpl : dpl != rpl))
		return desc_fault(cpu, VEC_GP, sel, false);
	if (!(d->attr & HV_SEG_P))
		return desc_fault(cpu, VEC_NP, sel, false);
	return true;
}

/* The stack segment a return goes to; *ret_null: a null selector that is legal here. */
static bool return_stack(struct cpu *cpu, uint16_t sel, unsigned rpl, const struct desc *cs,
			 struct desc *d, bool *ret_null)
{
	*ret_null = desc_is_null(sel);
	if (*ret_null) {
		if (cpu_is_long(cpu) && (cs->attr & HV_SEG_L) && rpl != 3 && (sel & 3U) == rpl)
			return true;
		return desc_fault(cpu, VEC_GP, 0, false);
	}
	if (!desc_read(cpu, sel, VEC_GP, false, d))
		return false;
	if ((sel & 3U) != rpl || !desc_is_writable(d) || desc_dpl(d) != rpl)
		return desc_fault(cpu, VEC_GP, sel, false);
	if (!(d->attr & HV_SEG_P))
		return desc_fault(cpu, VEC_SS, sel, false);
	return true;
}

static void set_stack(struct cpu *cpu, uint16_t sel, const struct desc *d, bool null, unsigned cpl,
		      uint64_t sp, unsigned size)
{
	if (null)
		cpu->seg[HV_SS] = (struct hv_segment){
			.selector = sel,
			.limit = 0xffffffff,
			.attr = (uint16_t)(HV_SEG_UNUSABLE | cpl << HV_SEG_DPL_SHIFT)
		};
	else
		seg_set(cpu, HV_SS, sel, d);
	if (cpu->mode == CPU_LONG64 || size == 8)
		cpu->gpr[HV_RSP] = sp;
	else if (!null && (d->attr & HV_SEG_DB))
		cpu->gpr[HV_RSP] = (uint32_t)sp;
	else
		cpu->gpr[HV_RSP] = (cpu->gpr[HV_RSP] & ~0xffffULL) | (sp & 0xffff);
}

/* What a far return or IRET takes from the stack. */
struct ret_frame {
	uint64_t rip, cs, flags, sp, ss;
	bool has_stack;
	uint64_t sp_after; /* when no stack is on the frame */
};

/* Common tail of RETF and IRET in protected mode. */
static bool do_return(struct cpu *cpu, const struct ret_frame *f, unsigned size, unsigned drop,
		      bool iret)
{
	uint16_t cs_sel = (uint16_t)f->cs, ss_sel = (uint16_t)f->ss;
	unsigned rpl = cs_sel & 3, old_cpl = cpu->cpl;
	struct desc cs, ss;
	bool null = false;

	if (!return_code(cpu, cs_sel, &cs) || !far_offset_ok(cpu, &cs, f->rip))
		return false;
	if (f->has_stack && !return_stack(cpu, ss_sel, rpl, &cs, &ss, &null))
		return false;
	if (!desc_mark_accessed(cpu, &cs) ||
	    (f->has_stack && !null && !desc_mark_accessed(cpu, &ss)))
		return false;
	seg_set(cpu, HV_CS, cs_sel, &cs);
	cpu_set_cpl(cpu, rpl);
	cpu->rip = f->rip;
	if (iret)
		cpu_load_flags(cpu, f->flags, size, old_cpl, true);
	if (f->has_stack) {
		cpu_mode_update(cpu);
		set_stack(cpu, ss_sel, &ss, null, rpl, f->sp + drop, size);
	} else {
		stack_set(cpu, f->sp_after);
	}
	if (rpl > old_cpl)
		drop_inner_segments(cpu, rpl);
	cpu_mode_update(cpu);
	return true;
}

static bool frame_pop(struct cpu *cpu, uint64_t *sp, unsigned size, uint64_t *ret)
{
	if (!stack_read(cpu, *sp, size, ret))
		return false;
	*sp += size;
	return true;
}

enum insn_result exec_far_ret(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size, drop = in->opcode == 0xca ? (uint16_t)in->imm : 0;
	uint64_t sp = cpu->gpr[HV_RSP];
	struct ret_frame f = { 0 };

	if (!frame_pop(cpu, &sp, size, &f.rip) || !frame_pop(cpu, &sp, size, &f.cs))
		return INSN_FAULT;
	if (!cpu_is_protected(cpu)) {
		if (f.rip > 0xffff)
			return fault(cpu, VEC_GP, 0);
		stack_set(cpu, sp + drop);
		return far_jump_real(cpu, (uint16_t)f.cs, f.rip);
	}
	f.sp_after = sp + drop;
	if ((f.cs & 3) > cpu->cpl) {
		sp += drop;
		if (!frame_pop(cpu, &sp, size, &f.sp) || !frame_pop(cpu, &sp, size, &f.ss))
			return INSN_FAULT;
		f.has_stack = true;
	}
	return do_return(cpu, &f, size, drop, false) ? INSN_BRANCH : INSN_FAULT;
}

/* ---- IRET ---- */

/* NMIs may come again. */
static enum insn_result iret_done(struct cpu *cpu)
{
	if (cpu->nmi_masked) {
		cpu->nmi_masked = false;
		cpu_interrupts_opened(cpu);
	}
	return INSN_BRANCH;
}

/* Within real mode or virtual-8086 mode. */
static enum insn_result iret_real(struct cpu *cpu, const struct ret_frame *f, unsigned size)
{
	if (f->rip > 0xffff)
		return fault(cpu, VEC_GP, 0);
	stack_set(cpu, f->sp_after);
	seg_set_real(cpu, HV_CS, (uint16_t)f->cs);
	cpu->rip = f->rip;
	cpu_load_flags(cpu, f->flags, size, cpu->cpl, true);
	cpu_mode_update(cpu);
	return iret_done(cpu);
}

/* To virtual-8086 mode: all segments come from the frame. */
static enum insn_result iret_to_vm86(struct cpu *cpu, const struct ret_frame *f)
{
	static const enum hv_seg order[] = { HV_SS, HV_ES, HV_DS, HV_FS, HV_GS };
	uint64_t sp = f->sp_after, new_sp, sel[ARRAY_LEN(order)];

	if (!frame_pop(cpu, &sp, 4, &new_sp))
		return INSN_FAULT;
	for (unsigned i = 0; i < ARRAY_LEN(order); i++)
		if (!frame_pop(cpu, &sp, 4, &sel[i]))
			return INSN_FAULT;
	if (f->rip > 0xffff)
		return fault(cpu, VEC_GP, 0);
	cpu_set_flags(cpu, (uint32_t)f->flags);
	seg_set_real(cpu, HV_CS, (uint16_t)f->cs);
	for (unsigned i = 0; i < ARRAY_LEN(order); i++)
		seg_set_real(cpu, order[i], (uint16_t)sel[i]);
	cpu->rip = f->rip;
	cpu->gpr[HV_RSP] = new_sp;
	cpu_set_cpl(cpu, 3);
	cpu_mode_update(cpu);
	return iret_done(cpu);
}

/* With NT: to the task that called this one. Long mode has no tasks. */
static enum insn_result iret_task(struct cpu *cpu)
{
	if (cpu_is_long(cpu))
		return fault(cpu, VEC_GP, 0);
	return task_return(cpu) ? iret_done(cpu) : INSN_FAULT;
}

enum insn_result exec_iret(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size;
	uint64_t sp = cpu->gpr[HV_RSP];
	struct ret_frame f = { 0 };

	if (cpu_vm86_denied(cpu))
		return fault(cpu, VEC_GP, 0);
	if (cpu_is_protected(cpu) && (cpu->rflags & FL_NT))
		return iret_task(cpu);
	if (!frame_pop(cpu, &sp, size, &f.rip) || !frame_pop(cpu, &sp, size, &f.cs) ||
	    !frame_pop(cpu, &sp, size, &f.flags))
		return INSN_FAULT;
	f.sp_after = sp;
	if (!cpu_is_protected(cpu))
		return iret_real(cpu, &f, size);
	if (!cpu_is_long(cpu) && (f.flags & FL_VM) && cpu->cpl == 0)
		return iret_to_vm86(cpu, &f);
	if (cpu->mode == CPU_LONG64 || (f.cs & 3) > cpu->cpl) {
		if (!frame_pop(cpu, &sp, size, &f.sp) || !frame_pop(cpu, &sp, size, &f.ss))
			return INSN_FAULT;
		f.has_stack = true;
	}
	return do_return(cpu, &f, size, 0, true) ? iret_done(cpu) : INSN_FAULT;
}
