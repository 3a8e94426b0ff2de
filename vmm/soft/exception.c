/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions and interrupts: recording and delivery through IVT or IDT.
 *
 * A delivery computes everything first: gate, code segment, stack, frame. The frame is written in
 * one go (both pages checked before the first byte), and only then do registers change; so a
 * delivery that faults has changed nothing and its own exception follows by the rules for double
 * faults. Only behind a task gate can it have changed something: then the second fault is the new
 * task's. Ref: Intel SDM 3A chapter 6; AMD APM 2 chapter 8.
 */
#include "soft/desc.h"

#include <string.h>

#include "base/checked.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"
#include "soft/task.h"

#define IDT_BIT 2U /* of an error code: the index names a gate */

/* ---- recording ---- */

static void record(struct cpu *cpu, const struct cpu_exc *exc)
{
	if (!cpu->exc.pending)
		cpu->exc = *exc;
}

void cpu_raise(struct cpu *cpu, enum cpu_vector vec)
{
	record(cpu, &(struct cpu_exc){ .pending = true, .vector = (uint8_t)vec });
}

void cpu_raise_err(struct cpu *cpu, enum cpu_vector vec, uint32_t error)
{
	record(cpu, &(struct cpu_exc){ .pending = true,
				       .vector = (uint8_t)vec,
				       .has_error = true,
				       .error = error });
}

void cpu_raise_pf(struct cpu *cpu, uint64_t va, uint32_t error)
{
	record(cpu, &(struct cpu_exc){ .pending = true,
				       .vector = VEC_PF,
				       .has_error = true,
				       .error = error,
				       .cr2 = va });
}

static struct cpu_exc take(struct cpu *cpu)
{
	struct cpu_exc e = cpu->exc;

	cpu->exc.pending = false;
	return e;
}

/* ---- one delivery ---- */

/* What is being delivered: an exception, a software interrupt or an external one. */
struct delivery {
	const struct cpu_exc *exc;
	uint8_t vector;
	bool has_error;
	bool soft; /* INT n and its like: gate DPL counts, no EXT in error codes */
	bool ext;
	uint64_t ret_rip;
	uint32_t flags; /* image to push */
	/* found out on the way */
	uint16_t cs_sel;
	struct desc cs, ss;
	uint16_t ss_sel;
	uint64_t rip, sp;
	unsigned cpl; /* new */
	unsigned gate_type;
};

static bool gate_fault(struct cpu *cpu, enum cpu_vector vec, const struct delivery *d)
{
	cpu_raise_err(cpu, vec, d->vector * 8U + IDT_BIT + d->ext);
	return false;
}

/* Instruction breakpoints are faults whose image keeps RF clear; traps and interrupts too. */
static bool pushes_rf(const struct cpu_exc *exc)
{
	if (!exc || exc->soft)
		return false;
	return exc->vector != VEC_DB && exc->vector != VEC_NMI && exc->vector != VEC_BP &&
	       exc->vector != VEC_OF && exc->vector != VEC_DF;
}

static bool deliver_real(struct cpu *cpu, struct delivery *d)
{
	uint16_t ivt[2], frame[3];
	uint16_t sp = (uint16_t)(cpu->gpr[HV_RSP] - 6);

	if (d->vector * 4U + 3 > cpu->idt.limit)
		return gate_fault(cpu, VEC_GP, d);
	if (!mmu_sys_read(cpu, cpu->idt.base + d->vector * 4U, ivt, 4))
		return false;
	frame[0] = (uint16_t)d->ret_rip;
	frame[1] = cpu->seg[HV_CS].selector;
	frame[2] = (uint16_t)d->flags;
	if (sp > 0xfffa) {
		cpu_raise_err(cpu, VEC_SS, 0);
		return false;
	}
	if (!mmu_sys_write(cpu, (uint32_t)(cpu->seg[HV_SS].base + sp), frame, 6))
		return false;
	cpu->gpr[HV_RSP] = (cpu->gpr[HV_RSP] & ~0xffffULL) | sp;
	cpu->rflags &= ~(FL_IF | FL_TF | FL_AC | FL_RF);
	seg_set_real(cpu, HV_CS, ivt[1]);
	cpu->rip = ivt[0];
	return true;
}

/* Gate and code segment: d->cs, cs_sel, rip, cpl, gate_type; *ret_ist in long mode. */
static bool read_gate(struct cpu *cpu, struct delivery *d, unsigned *ret_ist)
{
	bool lng = cpu_is_long(cpu);
	unsigned size = lng ? 16 : 8;
	uint32_t w[4] = { 0 };
	struct desc g;

	if (d->vector * size + size - 1 > cpu->idt.limit)
		return gate_fault(cpu, VEC_GP, d);
	if (!mmu_sys_read(cpu, cpu->idt.base + (uint64_t)d->vector * size, w, size))
		return false;
	desc_parse(w[0], w[1], &g);
	d->gate_type = g.attr & (HV_SEG_S | HV_SEG_TYPE);
	if (d->gate_type != DESC_INT32 && d->gate_type != DESC_TRAP32 &&
	    (lng || (d->gate_type != DESC_INT16 && d->gate_type != DESC_TRAP16 &&
		     d->gate_type != DESC_TASK)))
		return gate_fault(cpu, VEC_GP, d);
	if (d->soft && desc_dpl(&g) < cpu->cpl)
		return gate_fault(cpu, VEC_GP, d);
	if (!(g.attr & HV_SEG_P))
		return gate_fault(cpu, VEC_NP, d);
	d->cs_sel = (uint16_t)(w[0] >> 16);
	d->rip = (w[0] & 0xffff) | (w[1] & 0xffff0000) | (uint64_t)w[2] << 32;
	if (d->gate_type == DESC_INT16 || d->gate_type == DESC_TRAP16)
		d->rip &= 0xffff;
	*ret_ist = lng ? w[1] & 7 : 0;
	return true;
}

static bool check_code(struct cpu *cpu, struct delivery *d)
{
	if (desc_is_null(d->cs_sel))
		return desc_fault(cpu, VEC_GP, 0, d->ext);
	if (!desc_read(cpu, d->cs_sel, VEC_GP, d->ext, &d->cs))
		return false;
	if (!desc_is_code(&d->cs) || desc_dpl(&d->cs) > cpu->cpl)
		return desc_fault(cpu, VEC_GP, d->cs_sel, d->ext);
	if (cpu_is_long(cpu) && (d->cs.attr & (HV_SEG_L | HV_SEG_DB)) != HV_SEG_L)
		return desc_fault(cpu, VEC_GP, d->cs_sel, d->ext);
	if (!(d->cs.attr & HV_SEG_P))
		return desc_fault(cpu, VEC_NP, d->cs_sel, d->ext);
	d->cpl = desc_is_conforming(&d->cs) ? cpu->cpl : desc_dpl(&d->cs);
	if (cpu->mode == CPU_VM86 && d->cpl != 0)
		return desc_fault(cpu, VEC_GP, d->cs_sel, d->ext);
	return desc_mark_accessed(cpu, &d->cs);
}

static void finish(struct cpu *cpu, const struct delivery *d)
{
	if (!(d->gate_type & 1))
		cpu->rflags &= ~FL_IF;
	cpu->rflags &= ~(FL_TF | FL_NT | FL_RF | FL_VM);
	seg_set(cpu, HV_CS, (uint16_t)((d->cs_sel & ~3U) | d->cpl), &d->cs);
	cpu_set_cpl(cpu, d->cpl);
	cpu->rip = d->rip;
	cpu_mode_update(cpu);
}

/*
 * The frame in one write; where that faults, value by value from the top, as processors do: the
 * address that CR2 gets is that of the first value that finds no place.
 */
static bool write_frame(struct cpu *cpu, uint64_t va, const uint8_t *frame, unsigned n,
			unsigned size, enum tlb_mode mode)
{
	if (mmu_write_as(cpu, va, frame, n * size, mode))
		return true;
	take(cpu);
	for (unsigned i = n; i-- > 0;)
		if (!mmu_write_as(cpu, va + i * size, frame + i * size, size, mode))
			return false;
	return true;
}

static enum tlb_mode stack_mode(const struct cpu *cpu, unsigned cpl)
{
	if (cpl == 3)
		return TLB_USER;
	return cpl == cpu->cpl ? (enum tlb_mode)cpu->tlb_mode : TLB_KERNEL;
}

static bool deliver_long(struct cpu *cpu, struct delivery *d, unsigned ist)
{
	uint64_t frame[6];
	unsigned first = d->has_error ? 0 : 1;
	unsigned bytes = (6 - first) * 8;
	uint16_t none;

	if (ist) {
		if (!tss_ist(cpu, ist, d->ext, &d->sp))
			return false;
	} else if (d->cpl < cpu->cpl) {
		if (!tss_stack(cpu, d->cpl, d->ext, &none, &d->sp))
			return false;
	} else {
		d->sp = cpu->gpr[HV_RSP];
	}
	d->sp = (d->sp & ~15ULL) - bytes;
	if (!mmu_canonical(d->sp) || !mmu_canonical(d->sp + bytes - 1)) {
		cpu_raise_err(cpu, VEC_SS, d->ext);
		return false;
	}
	if (!mmu_canonical(d->rip)) {
		cpu_raise_err(cpu, VEC_GP, d->ext);
		return false;
	}
	frame[0] = d->has_error ? d->exc->error : 0;
	frame[1] = d->ret_rip;
	frame[2] = cpu->seg[HV_CS].selector;
	frame[3] = d->flags;
	frame[4] = cpu->gpr[HV_RSP];
	frame[5] = cpu->seg[HV_SS].selector;
	if (!write_frame(cpu, d->sp, (const uint8_t *)(frame + first), 6 - first, 8,
			 stack_mode(cpu, d->cpl)))
		return false;
	if (d->cpl < cpu->cpl)
		cpu->seg[HV_SS] = (struct hv_segment){
			.selector = (uint16_t)d->cpl,
			.limit = 0xffffffff,
			.attr = (uint16_t)(HV_SEG_UNUSABLE | d->cpl << HV_SEG_DPL_SHIFT)
		};
	cpu->gpr[HV_RSP] = d->sp;
	finish(cpu, d);
	return true;
}

#define MAX_FRAME 10 /* with the data segments of virtual-8086 mode and an error code */

/* Frame of @n values of 2 or 4 bytes below ss:sp; the new stack pointer is put in *sp. */
static bool push_legacy(struct cpu *cpu, const struct hv_segment *ss, unsigned cpl, bool ext,
			uint64_t *sp, const uint32_t *vals, unsigned n, bool wide)
{
	uint32_t mask = ss->attr & HV_SEG_DB ? 0xffffffff : 0xffff;
	unsigned size = wide ? 4 : 2;
	uint32_t start = (uint32_t)(*sp - n * size) & mask;
	uint8_t buf[MAX_FRAME * 4];

	if (!seg_stack_holds(ss, start, n * size)) {
		cpu_raise_err(cpu, VEC_SS, (cpl != cpu->cpl ? ss->selector & ~3U : 0) | ext);
		return false;
	}
	for (unsigned i = 0; i < n; i++)
		memcpy(buf + i * size, &vals[i], size);
	if (!write_frame(cpu, (uint32_t)(ss->base + start), buf, n, size, stack_mode(cpu, cpl)))
		return false;
	*sp = start;
	return true;
}

/* Pushed from virtual-8086 mode, and null in the handler; the last is the deepest. */
static const enum hv_seg vm86_segs[] = { HV_ES, HV_DS, HV_FS, HV_GS };

static bool deliver_legacy(struct cpu *cpu, struct delivery *d)
{
	bool wide = d->gate_type == DESC_INT32 || d->gate_type == DESC_TRAP32;
	bool inner = d->cpl < cpu->cpl;
	struct hv_segment ss = cpu->seg[HV_SS];
	bool vm86 = cpu->mode == CPU_VM86;
	uint32_t vals[MAX_FRAME];
	unsigned n = 0;

	d->sp = cpu->gpr[HV_RSP];
	if (inner) {
		if (!tss_stack(cpu, d->cpl, d->ext, &d->ss_sel, &d->sp) ||
		    !seg_check_inner_ss(cpu, d->ss_sel, d->cpl, d->ext, &d->ss))
			return false;
		ss = (struct hv_segment){ d->ss.base, d->ss.limit, d->ss_sel, d->ss.attr };
	}
	if (d->rip > d->cs.limit) {
		cpu_raise_err(cpu, VEC_GP, d->ext);
		return false;
	}
	if (d->has_error)
		vals[n++] = d->exc->error;
	vals[n++] = (uint32_t)d->ret_rip;
	vals[n++] = cpu->seg[HV_CS].selector;
	vals[n++] = d->flags;
	if (inner) {
		vals[n++] = (uint32_t)cpu->gpr[HV_RSP];
		vals[n++] = cpu->seg[HV_SS].selector;
	}
	for (unsigned i = 0; vm86 && i < ARRAY_LEN(vm86_segs); i++)
		vals[n++] = cpu->seg[vm86_segs[i]].selector;
	if (!push_legacy(cpu, &ss, d->cpl, d->ext, &d->sp, vals, n, wide))
		return false;
	if (inner)
		seg_set(cpu, HV_SS, d->ss_sel, &d->ss);
	if (ss.attr & HV_SEG_DB)
		cpu->gpr[HV_RSP] = (uint32_t)d->sp;
	else
		cpu->gpr[HV_RSP] = (cpu->gpr[HV_RSP] & ~0xffffULL) | (d->sp & 0xffff);
	finish(cpu, d);
	for (unsigned i = 0; vm86 && i < ARRAY_LEN(vm86_segs); i++)
		seg_set_null(cpu, vm86_segs[i], 0);
	return true;
}

/* Through a task gate: the error code goes onto the new task's stack. */
static bool deliver_task(struct cpu *cpu, const struct delivery *d)
{
	const struct task_switch t = { .reason = TASK_INT,
				       .sel = d->cs_sel,
				       .rip = d->ret_rip,
				       .flags = d->flags,
				       .ext = d->ext };
	bool wide;

	if (!task_switch(cpu, &t))
		return false;
	wide = (cpu->seg[HV_TR].attr & HV_SEG_TYPE) >= DESC_TSS32;
	if (!d->has_error || stack_push(cpu, wide ? 4 : 2, d->exc->error))
		return true;
	if (cpu->exc.vector == VEC_SS)
		cpu->exc.error |= d->ext;
	return false;
}

static bool deliver(struct cpu *cpu, uint8_t vector, const struct cpu_exc *exc)
{
	struct delivery d = {
		.exc = exc,
		.vector = vector,
		.has_error = exc && exc->has_error && cpu->mode != CPU_REAL16,
		.soft = exc && exc->soft,
		.ext = !(exc && exc->soft),
		.ret_rip = exc && (exc->soft || exc->trap) ? cpu->next_rip : cpu->rip,
	};
	unsigned ist;

	d.flags = flags_sync(cpu);
	if (pushes_rf(exc))
		d.flags |= FL_RF;
	cpu->shadow = 0;
	if (cpu->mode == CPU_REAL16)
		return deliver_real(cpu, &d);
	if (!read_gate(cpu, &d, &ist))
		return false;
	if (d.gate_type == DESC_TASK)
		return deliver_task(cpu, &d);
	if (!check_code(cpu, &d))
		return false;
	return cpu_is_long(cpu) ? deliver_long(cpu, &d, ist) : deliver_legacy(cpu, &d);
}

/* ---- sequences ---- */

static bool is_contributory(const struct cpu_exc *e)
{
	return !e->soft && (e->vector == VEC_DE || (e->vector >= VEC_TS && e->vector <= VEC_GP));
}

/* Whether @second while delivering @first is a double fault. */
static bool makes_double(const struct cpu_exc *first, const struct cpu_exc *second)
{
	if (first->soft)
		return false;
	if (is_contributory(first))
		return is_contributory(second);
	if (first->vector == VEC_PF)
		return second->vector == VEC_PF || is_contributory(second);
	return false;
}

/* Registers that an exception changes besides the frame. */
static void side_effects(struct cpu *cpu, const struct cpu_exc *e)
{
	if (e->soft)
		return;
	if (e->vector == VEC_PF)
		cpu->cr2 = e->cr2;
	if (e->vector == VEC_DB) {
		cpu->dr6 |= e->dr6;
		cpu->dr7 &= ~(1ULL << 13); /* GD */
	}
}

bool cpu_deliver_exception(struct cpu *cpu)
{
	struct cpu_exc e = take(cpu), second;

	for (;;) {
		side_effects(cpu, &e);
		if (deliver(cpu, e.vector, &e))
			return true;
		second = take(cpu);
		if (e.vector == VEC_DF && !e.soft)
			return false;
		if (!makes_double(&e, &second)) {
			e = second;
			continue;
		}
		side_effects(cpu, &second);
		e = (struct cpu_exc){ .pending = true, .vector = VEC_DF, .has_error = true };
	}
}

bool cpu_deliver_interrupt(struct cpu *cpu, uint8_t vector)
{
	if (deliver(cpu, vector, NULL))
		return true;
	return cpu_deliver_exception(cpu);
}
