/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Task switches: by far jumps and calls, through task gates, by IRET with NT. Legacy protected mode
 * only: long mode has none.
 *
 * Theory of operation. Everything that can fault in the old task comes first: the new TSS's
 * descriptor, both segments' limits, and whether all that will be written can be. Then the old
 * state is saved and the new one taken over: from there on the new task is the present one, and
 * what faults (its LDT, its segments, its instruction pointer) is reported in it. Segments that
 * were not reached then are unusable.
 * Ref: Intel SDM 3A chapter 8; AMD APM 2 chapter 12.
 */
#include "soft/task.h"

#include <string.h>

#include "base/checked.h"
#include "soft/desc.h"
#include "soft/mmu.h"
#include "soft/sys.h"

#define TSS32_LEN   0x68
#define TSS32_CR3   0x1c
#define TSS32_SAVED 0x20 /* EIP, EFLAGS, eight registers, six selectors: a dword each */
#define TSS32_LDT   0x60
#define TSS32_FLAGS 0x64 /* bit 0: trap when switched to */
#define TSS16_LEN   0x2c
#define TSS16_SAVED 0x0e /* IP, FLAGS, eight registers, four selectors: a word each */
#define TSS16_LDT   0x2a
#define N_SAVED32   16
#define N_SAVED16   14
#define FIRST_SEG   10 /* index of ES in what is saved */
#define DR6_BT	    (1U << 15)
#define DR7_LOCAL   0x155U
#define DESC_BUSY   2U
#define TSS_TYPE(s) ((s)->attr & (HV_SEG_S | HV_SEG_TYPE))

_Static_assert(N_SAVED32 * 4 == 64 && N_SAVED16 * 2 < 64, "each is saved by one access");

/* A task's state as its TSS has it. */
struct image {
	uint32_t cr3, eip, eflags, gpr[8];
	uint16_t seg[6], ldt;
	bool trap;
};

static bool is_wide(unsigned type)
{
	return type & 8;
}

static uint32_t tss_limit(unsigned type)
{
	return (is_wide(type) ? TSS32_LEN : TSS16_LEN) - 1;
}

/* ---- in the old task ---- */

/* The new TSS's descriptor, with all its checks. */
static bool find_new(struct cpu *cpu, const struct task_switch *t, struct desc *d)
{
	bool ret = t->reason == TASK_IRET;
	enum cpu_vector vec = ret ? VEC_TS : VEC_GP;

	if ((t->sel & 4) || desc_is_null(t->sel))
		return desc_fault(cpu, vec, t->sel, t->ext);
	if (!desc_read(cpu, t->sel, vec, t->ext, d))
		return false;
	if ((TSS_TYPE(d) & ~8U) != (ret ? DESC_TSS16_BUSY : DESC_TSS16))
		return desc_fault(cpu, vec, t->sel, t->ext);
	if (!(d->attr & HV_SEG_P))
		return desc_fault(cpu, VEC_NP, t->sel, t->ext);
	if (d->limit < tss_limit(TSS_TYPE(d)))
		return desc_fault(cpu, VEC_TS, t->sel, t->ext);
	return true;
}

static bool read_new(struct cpu *cpu, const struct desc *d, uint8_t buf[TSS32_LEN])
{
	if (!is_wide(TSS_TYPE(d)))
		return mmu_sys_read(cpu, d->base, buf, TSS16_LEN);
	return mmu_sys_read(cpu, d->base, buf, 64) &&
	       mmu_sys_read(cpu, d->base + 64, buf + 64, TSS32_LEN - 64);
}

static bool leaves_old(const struct task_switch *t)
{
	return t->reason == TASK_JMP || t->reason == TASK_IRET;
}

static uint64_t old_desc_va(const struct cpu *cpu)
{
	return cpu->gdt.base + (cpu->seg[HV_TR].selector & ~7U);
}

/* Whether all that is about to be read and written can be. */
static bool check_access(struct cpu *cpu, const struct task_switch *t, const struct desc *new)
{
	const struct hv_segment *old = &cpu->seg[HV_TR];
	unsigned type = TSS_TYPE(old);
	uint8_t buf[TSS32_LEN];

	if ((old->attr & HV_SEG_UNUSABLE) || old->limit < tss_limit(type))
		return desc_fault(cpu, VEC_TS, old->selector, t->ext);
	if (leaves_old(t) && (old->selector | 7U) > cpu->gdt.limit)
		return desc_fault(cpu, VEC_TS, old->selector, t->ext);
	if (!read_new(cpu, new, buf))
		return false;
	if (!mmu_sys_probe(cpu, old->base + (is_wide(type) ? TSS32_SAVED : TSS16_SAVED),
			   is_wide(type) ? N_SAVED32 * 4 : N_SAVED16 * 2))
		return false;
	if (leaves_old(t) && !mmu_sys_probe(cpu, old_desc_va(cpu) + 5, 1))
		return false;
	if (t->reason != TASK_IRET && !mmu_sys_probe(cpu, new->va + 5, 1))
		return false;
	return leaves_old(t) || mmu_sys_probe(cpu, new->base, 2);
}

static bool save_wide(struct cpu *cpu, const struct task_switch *t)
{
	uint64_t va = cpu->seg[HV_TR].base + TSS32_SAVED;
	uint32_t w[N_SAVED32];

	/* The upper halves of the selectors are not the processor's. */
	if (!mmu_sys_read(cpu, va, w, sizeof(w)))
		return false;
	w[0] = (uint32_t)t->rip;
	w[1] = t->flags;
	for (unsigned i = 0; i < 8; i++)
		w[2 + i] = (uint32_t)cpu->gpr[i];
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		w[FIRST_SEG + i] = (w[FIRST_SEG + i] & 0xffff0000) | cpu->seg[i].selector;
	return mmu_sys_write(cpu, va, w, sizeof(w));
}

static bool save_narrow(struct cpu *cpu, const struct task_switch *t)
{
	uint16_t h[N_SAVED16];

	h[0] = (uint16_t)t->rip;
	h[1] = (uint16_t)t->flags;
	for (unsigned i = 0; i < 8; i++)
		h[2 + i] = (uint16_t)cpu->gpr[i];
	for (unsigned i = HV_ES; i <= HV_DS; i++)
		h[FIRST_SEG + i] = cpu->seg[i].selector;
	return mmu_sys_write(cpu, cpu->seg[HV_TR].base + TSS16_SAVED, h, sizeof(h));
}

static bool set_busy(struct cpu *cpu, uint64_t desc_va, bool busy)
{
	uint8_t type;

	if (!mmu_sys_read(cpu, desc_va + 5, &type, 1))
		return false;
	type = (uint8_t)(busy ? type | DESC_BUSY : type & ~DESC_BUSY);
	return mmu_sys_write(cpu, desc_va + 5, &type, 1);
}

/* The old task's state into its TSS; busy bits; the way back. */
static bool leave_old(struct cpu *cpu, const struct task_switch *t, const struct desc *new)
{
	uint16_t link = cpu->seg[HV_TR].selector;

	if (leaves_old(t) && !set_busy(cpu, old_desc_va(cpu), false))
		return false;
	if (!(is_wide(TSS_TYPE(&cpu->seg[HV_TR])) ? save_wide(cpu, t) : save_narrow(cpu, t)))
		return false;
	if (!leaves_old(t) && !mmu_sys_write(cpu, new->base, &link, 2))
		return false;
	return t->reason == TASK_IRET || set_busy(cpu, new->va, true);
}

/* ---- in the new task ---- */

static void parse_wide(const uint8_t *b, struct image *im)
{
	*im = (struct image){
		.cr3 = le32_load(b + TSS32_CR3),
		.eip = le32_load(b + TSS32_SAVED),
		.eflags = le32_load(b + TSS32_SAVED + 4),
		.ldt = le16_load(b + TSS32_LDT),
		.trap = b[TSS32_FLAGS] & 1,
	};
	for (unsigned i = 0; i < 8; i++)
		im->gpr[i] = le32_load(b + TSS32_SAVED + 4 * (2 + i));
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		im->seg[i] = le16_load(b + TSS32_SAVED + 4 * (FIRST_SEG + i));
}

/* What 16 bits do not hold is undefined: upper halves of the registers are ones, FS and GS null. */
static void parse_narrow(const uint8_t *b, struct image *im)
{
	*im = (struct image){
		.eip = le16_load(b + TSS16_SAVED),
		.eflags = le16_load(b + TSS16_SAVED + 2),
		.ldt = le16_load(b + TSS16_LDT),
	};
	for (unsigned i = 0; i < 8; i++)
		im->gpr[i] = 0xffff0000 | le16_load(b + TSS16_SAVED + 2 * (2 + i));
	for (unsigned i = HV_ES; i <= HV_DS; i++)
		im->seg[i] = le16_load(b + TSS16_SAVED + 2 * (FIRST_SEG + i));
}

/* Everything but descriptors. No segment is usable behind it, but in virtual-8086 mode. */
static void take_over(struct cpu *cpu, const struct task_switch *t, struct desc *tss,
		      const struct image *im)
{
	uint32_t flags = im->eflags;

	tss->attr |= DESC_BUSY;
	seg_set(cpu, HV_TR, t->sel, tss);
	cpu->cr0 |= CR0_TS;
	if (cpu->dr7 & DR7_LOCAL) {
		cpu->dr7 &= ~(uint64_t)DR7_LOCAL;
		dr_changed(cpu);
	}
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i] = im->gpr[i];
	cpu->rip = im->eip;
	cpu->task_switched = true;
	if (t->reason == TASK_CALL || t->reason == TASK_INT)
		flags |= FL_NT;
	cpu_set_flags(cpu, flags);
	seg_set_null(cpu, HV_LDTR, im->ldt);
	for (unsigned i = HV_ES; i <= HV_GS; i++) {
		seg_set_null(cpu, i, im->seg[i]);
		cpu->seg[i].limit = 0;
		if (cpu->rflags & FL_VM)
			seg_set_real(cpu, i, im->seg[i]);
	}
	cpu_set_cpl(cpu, cpu->rflags & FL_VM ? 3 : im->seg[HV_CS] & 3);
	cpu_mode_update(cpu);
}

static bool load_ldt(struct cpu *cpu, uint16_t sel, bool ext)
{
	struct desc d;

	if (desc_is_null(sel))
		return true;
	if (sel & 4)
		return desc_fault(cpu, VEC_TS, sel, ext);
	if (!desc_read(cpu, sel, VEC_TS, ext, &d))
		return false;
	if (TSS_TYPE(&d) != DESC_LDT || !(d.attr & HV_SEG_P))
		return desc_fault(cpu, VEC_TS, sel, ext);
	seg_set(cpu, HV_LDTR, sel, &d);
	return true;
}

static bool code_ok(const struct desc *d, unsigned rpl)
{
	if (!desc_is_code(d))
		return false;
	return desc_is_conforming(d) ? desc_dpl(d) <= rpl : desc_dpl(d) == rpl;
}

static bool data_ok(const struct cpu *cpu, const struct desc *d, unsigned rpl)
{
	if (!(d->attr & HV_SEG_S) || (desc_is_code(d) && !(d->attr & DESC_WRITABLE)))
		return false;
	return desc_is_conforming(d) || (rpl <= desc_dpl(d) && cpu->cpl <= desc_dpl(d));
}

static bool load_segment(struct cpu *cpu, enum hv_seg seg, uint16_t sel, bool ext)
{
	unsigned rpl = sel & 3;
	struct desc d;
	bool ok;

	if (desc_is_null(sel) && seg != HV_CS && seg != HV_SS)
		return true;
	if (desc_is_null(sel))
		return desc_fault(cpu, VEC_TS, sel, ext);
	if (!desc_read(cpu, sel, VEC_TS, ext, &d))
		return false;
	if (seg == HV_CS)
		ok = code_ok(&d, rpl);
	else if (seg == HV_SS)
		ok = desc_is_writable(&d) && rpl == cpu->cpl && desc_dpl(&d) == cpu->cpl;
	else
		ok = data_ok(cpu, &d, rpl);
	if (!ok)
		return desc_fault(cpu, VEC_TS, sel, ext);
	if (!(d.attr & HV_SEG_P))
		return desc_fault(cpu, seg == HV_SS ? VEC_SS : VEC_NP, sel, ext);
	if (!desc_mark_accessed(cpu, &d))
		return false;
	seg_set(cpu, seg, sel, &d);
	if (seg == HV_CS)
		cpu_mode_update(cpu);
	return true;
}

static bool load_segments(struct cpu *cpu, const struct image *im, bool ext)
{
	static const enum hv_seg order[] = { HV_CS, HV_SS, HV_ES, HV_DS, HV_FS, HV_GS };

	if (!load_ldt(cpu, im->ldt, ext))
		return false;
	if (cpu->rflags & FL_VM)
		return true;
	for (unsigned i = 0; i < ARRAY_LEN(order); i++)
		if (!load_segment(cpu, order[i], im->seg[order[i]], ext))
			return false;
	return true;
}

static bool enter_new(struct cpu *cpu, const struct task_switch *t, struct desc *tss)
{
	bool wide = is_wide(TSS_TYPE(tss));
	uint8_t buf[TSS32_LEN];
	struct image im;

	if (!read_new(cpu, tss, buf))
		return false;
	if (wide)
		parse_wide(buf, &im);
	else
		parse_narrow(buf, &im);
	take_over(cpu, t, tss, &im);
	if (wide && (cpu->cr0 & CR0_PG) && !cr3_write(cpu, im.cr3)) {
		cpu_raise_err(cpu, VEC_GP, t->ext);
		return false;
	}
	if (!load_segments(cpu, &im, t->ext))
		return false;
	if (im.eip > cpu->seg[HV_CS].limit) {
		cpu_raise_err(cpu, VEC_GP, t->ext);
		return false;
	}
	if (im.trap)
		cpu->db_pending |= DR6_BT;
	return true;
}

/* ---- ways in ---- */

bool task_switch(struct cpu *cpu, const struct task_switch *t)
{
	struct desc new;

	return find_new(cpu, t, &new) && check_access(cpu, t, &new) && leave_old(cpu, t, &new) &&
	       enter_new(cpu, t, &new);
}

bool task_is_target(const struct cpu *cpu, const struct desc *d)
{
	unsigned type = TSS_TYPE(d);

	if (cpu_is_long(cpu))
		return false;
	return type == DESC_TASK || (type & ~(8U | DESC_BUSY)) == DESC_TSS16;
}

bool task_far(struct cpu *cpu, uint16_t sel, const struct desc *d, bool call)
{
	struct task_switch t = { .reason = call ? TASK_CALL : TASK_JMP,
				 .sel = sel,
				 .rip = cpu->next_rip,
				 .flags = cpu->rflags };

	if (desc_dpl(d) < cpu->cpl || desc_dpl(d) < (sel & 3U))
		return desc_fault(cpu, VEC_GP, sel, false);
	if (TSS_TYPE(d) == DESC_TASK) {
		if (!(d->attr & HV_SEG_P))
			return desc_fault(cpu, VEC_NP, sel, false);
		t.sel = (uint16_t)(d->lo >> 16);
	}
	return task_switch(cpu, &t);
}

bool task_return(struct cpu *cpu)
{
	const struct hv_segment *tr = &cpu->seg[HV_TR];
	struct task_switch t = { .reason = TASK_IRET,
				 .rip = cpu->next_rip,
				 .flags = cpu->rflags & ~FL_NT };

	if ((tr->attr & HV_SEG_UNUSABLE) || tr->limit < 1)
		return desc_fault(cpu, VEC_TS, tr->selector, false);
	return mmu_sys_read(cpu, tr->base, &t.sel, 2) && task_switch(cpu, &t);
}
