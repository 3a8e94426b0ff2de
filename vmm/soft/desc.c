/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor tables, segment register loads and the CPU mode. Ref: Intel SDM 3A 3.4, 5.5. */
#include "soft/desc.h"

#include "soft/mmu.h"

bool desc_fault(struct cpu *cpu, enum cpu_vector vec, uint16_t sel, bool ext)
{
	cpu_raise_err(cpu, vec, (uint32_t)(sel & ~3U) | (ext ? 1 : 0));
	return false;
}

void desc_parse(uint32_t lo, uint32_t hi, struct desc *ret)
{
	uint32_t limit = (lo & 0xffff) | (hi & 0xf0000);

	ret->lo = lo;
	ret->hi = hi;
	ret->base = lo >> 16 | (hi & 0xff) << 16 | (hi & 0xff000000);
	ret->attr = (uint16_t)((hi >> 8 & 0xff) | (hi >> 12 & 0xf00));
	ret->limit = ret->attr & HV_SEG_G ? limit << 12 | 0xfff : limit;
}

/* Address of a descriptor, or false when the selector is outside its table. */
static bool desc_locate(const struct cpu *cpu, uint16_t sel, uint64_t *ret_va)
{
	const struct hv_segment *ldt = &cpu->seg[HV_LDTR];
	uint64_t base = cpu->gdt.base;
	uint32_t limit = cpu->gdt.limit;

	if (sel & 4) {
		if (ldt->attr & HV_SEG_UNUSABLE)
			return false;
		base = ldt->base;
		limit = ldt->limit;
	}
	if ((uint32_t)(sel | 7) > limit)
		return false;
	*ret_va = base + (sel & ~7U);
	return true;
}

static bool desc_fetch(struct cpu *cpu, uint64_t va, struct desc *ret)
{
	uint32_t w[2];

	if (!mmu_sys_read(cpu, va, w, 8))
		return false;
	desc_parse(w[0], w[1], ret);
	ret->va = va;
	return true;
}

bool desc_read(struct cpu *cpu, uint16_t sel, enum cpu_vector vec, bool ext, struct desc *ret)
{
	uint64_t va;

	if (!desc_locate(cpu, sel, &va))
		return desc_fault(cpu, vec, sel, ext);
	return desc_fetch(cpu, va, ret);
}

bool desc_peek(struct cpu *cpu, uint16_t sel, struct desc *ret, bool *ret_ok)
{
	uint64_t va;

	*ret_ok = !desc_is_null(sel) && desc_locate(cpu, sel, &va);
	return !*ret_ok || desc_fetch(cpu, va, ret);
}

bool desc_read_high(struct cpu *cpu, const struct desc *d, uint32_t *ret)
{
	return mmu_sys_read(cpu, d->va + 8, ret, 4);
}

bool desc_mark_accessed(struct cpu *cpu, struct desc *d)
{
	uint8_t type;

	if (d->attr & DESC_ACCESSED)
		return true;
	d->attr |= DESC_ACCESSED;
	d->hi |= 0x100;
	type = (uint8_t)(d->hi >> 8);
	return mmu_sys_write(cpu, d->va + 5, &type, 1);
}

/* ---- the registers ---- */

/* In 64-bit mode only FS and GS have a base. */
static void base_update(struct cpu *cpu, enum hv_seg seg)
{
	if (seg <= HV_GS)
		cpu->seg_base[seg] =
			cpu->mode == CPU_LONG64 && seg < HV_FS ? 0 : cpu->seg[seg].base;
}

void seg_set(struct cpu *cpu, enum hv_seg seg, uint16_t sel, const struct desc *d)
{
	cpu->seg[seg] = (struct hv_segment){
		.base = d->base, .limit = d->limit, .selector = sel, .attr = d->attr
	};
	base_update(cpu, seg);
}

void seg_set_flat(struct cpu *cpu, enum hv_seg seg, uint16_t sel, uint16_t attr)
{
	cpu->seg[seg] = (struct hv_segment){ .limit = 0xffffffff, .selector = sel, .attr = attr };
	base_update(cpu, seg);
}

void seg_set_null(struct cpu *cpu, enum hv_seg seg, uint16_t sel)
{
	struct hv_segment *s = &cpu->seg[seg];

	/* AMD processors keep base and limit; 64-bit kernels reload bases by MSR anyway. */
	s->selector = sel;
	s->attr = HV_SEG_UNUSABLE;
	if (!cpu_is_long(cpu))
		s->base = 0;
	base_update(cpu, seg);
}

void seg_set_real(struct cpu *cpu, enum hv_seg seg, uint16_t sel)
{
	struct hv_segment *s = &cpu->seg[seg];

	s->selector = sel;
	s->base = (uint32_t)sel << 4;
	if (cpu->rflags & FL_VM) {
		s->limit = 0xffff;
		s->attr = 0xf3;
	} else if (seg == HV_CS || (s->attr & HV_SEG_UNUSABLE)) {
		s->attr = 0x93;
	}
	base_update(cpu, seg);
}

static bool ss_load(struct cpu *cpu, uint16_t sel)
{
	unsigned cpl = cpu->cpl;
	struct desc d;

	if (desc_is_null(sel)) {
		/* A null SS is legal in 64-bit mode below level 3, if RPL is CPL. */
		if (cpu->mode != CPU_LONG64 || cpl == 3 || (sel & 3) != cpl)
			return desc_fault(cpu, VEC_GP, 0, false);
		cpu->seg[HV_SS] = (struct hv_segment){
			.selector = sel,
			.limit = 0xffffffff,
			.attr = (uint16_t)(HV_SEG_UNUSABLE | cpl << HV_SEG_DPL_SHIFT)
		};
		base_update(cpu, HV_SS);
		return true;
	}
	if (!desc_read(cpu, sel, VEC_GP, false, &d))
		return false;
	if ((sel & 3U) != cpl || !desc_is_writable(&d) || desc_dpl(&d) != cpl)
		return desc_fault(cpu, VEC_GP, sel, false);
	if (!(d.attr & HV_SEG_P))
		return desc_fault(cpu, VEC_SS, sel, false);
	if (!desc_mark_accessed(cpu, &d))
		return false;
	seg_set(cpu, HV_SS, sel, &d);
	return true;
}

bool seg_load(struct cpu *cpu, enum hv_seg seg, uint16_t sel)
{
	unsigned rpl = sel & 3;
	struct desc d;

	if (!cpu_is_protected(cpu)) {
		seg_set_real(cpu, seg, sel);
		return true;
	}
	if (seg == HV_SS)
		return ss_load(cpu, sel);
	if (desc_is_null(sel)) {
		seg_set_null(cpu, seg, sel);
		return true;
	}
	if (!desc_read(cpu, sel, VEC_GP, false, &d))
		return false;
	if (!(d.attr & HV_SEG_S) || (desc_is_code(&d) && !(d.attr & DESC_WRITABLE)))
		return desc_fault(cpu, VEC_GP, sel, false);
	if (!desc_is_conforming(&d) && (rpl > desc_dpl(&d) || cpu->cpl > desc_dpl(&d)))
		return desc_fault(cpu, VEC_GP, sel, false);
	if (!(d.attr & HV_SEG_P))
		return desc_fault(cpu, VEC_NP, sel, false);
	if (!desc_mark_accessed(cpu, &d))
		return false;
	seg_set(cpu, seg, sel, &d);
	return true;
}

/* ---- mode ---- */

static enum cpu_mode mode_now(const struct cpu *cpu)
{
	uint16_t cs = cpu->seg[HV_CS].attr;

	if (!(cpu->cr0 & CR0_PE))
		return CPU_REAL16;
	if (cpu_is_long(cpu)) {
		if (cs & HV_SEG_L)
			return CPU_LONG64;
		return cs & HV_SEG_DB ? CPU_COMPAT32 : CPU_COMPAT16;
	}
	if (cpu->rflags & FL_VM)
		return CPU_VM86;
	return cs & HV_SEG_DB ? CPU_PROT32 : CPU_PROT16;
}

void cpu_mode_update(struct cpu *cpu)
{
	enum cpu_mode mode = mode_now(cpu);

	if (mode != cpu->mode) {
		cpu->mode = (uint8_t)mode;
		for (unsigned i = HV_ES; i <= HV_GS; i++)
			base_update(cpu, i);
	}
	mmu_mode_changed(cpu);
}

/* What has to be seen to after RFLAGS changed from @old. */
static void flags_changed(struct cpu *cpu, uint32_t old)
{
	if ((cpu->rflags ^ old) & FL_AC)
		mmu_mode_changed(cpu);
	if (cpu->rflags & (FL_TF | FL_RF))
		cpu_attention(cpu);
	if (cpu->rflags & ~old & FL_IF)
		cpu_interrupts_opened(cpu);
}

void cpu_set_flags(struct cpu *cpu, uint32_t val)
{
	uint32_t may = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_VM | FL_AC | FL_ID;
	uint32_t old = cpu->rflags;

	if (cpu->dr7 & 0xff)
		may |= FL_RF;
	cpu->rflags = (val & may) | FL_ONE;
	flags_changed(cpu, old);
}

void cpu_load_flags(struct cpu *cpu, uint64_t val, unsigned size, unsigned cpl, bool iret)
{
	uint32_t may = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID;
	uint32_t old = cpu->rflags;

	if (cpl == 0)
		may |= FL_IOPL;
	if (cpl <= (old & FL_IOPL) >> 12)
		may |= FL_IF;
	/* RF matters only where instruction breakpoints are on: see soft.c. POPF clears it. */
	if (iret && (cpu->dr7 & 0xff))
		may |= FL_RF;
	if (size == 2)
		may &= 0xffff;
	cpu->rflags = (old & ~may & ~(iret ? 0 : FL_RF)) | ((uint32_t)val & may) | FL_ONE;
	flags_changed(cpu, old);
}

/* ---- inner stacks ---- */

static bool tss_read(struct cpu *cpu, uint32_t off, void *dst, unsigned size, bool ext)
{
	const struct hv_segment *tr = &cpu->seg[HV_TR];

	if ((tr->attr & HV_SEG_UNUSABLE) || off + size - 1 > tr->limit)
		return desc_fault(cpu, VEC_TS, tr->selector, ext);
	return mmu_sys_read(cpu, tr->base + off, dst, size);
}

bool tss_ist(struct cpu *cpu, unsigned ist, bool ext, uint64_t *ret_sp)
{
	return tss_read(cpu, 36 + 8 * (ist - 1), ret_sp, 8, ext);
}

bool tss_stack(struct cpu *cpu, unsigned cpl, bool ext, uint16_t *ret_ss, uint64_t *ret_sp)
{
	uint32_t w[2];
	uint16_t h[2];

	if (cpu_is_long(cpu)) {
		*ret_ss = 0;
		return tss_read(cpu, 4 + 8 * cpl, ret_sp, 8, ext);
	}
	if ((cpu->seg[HV_TR].attr & HV_SEG_TYPE) >= DESC_TSS32) {
		if (!tss_read(cpu, 4 + 8 * cpl, w, 8, ext))
			return false;
		*ret_sp = w[0];
		*ret_ss = (uint16_t)w[1];
		return true;
	}
	if (!tss_read(cpu, 2 + 4 * cpl, h, 4, ext))
		return false;
	*ret_sp = h[0];
	*ret_ss = h[1];
	return true;
}

bool seg_stack_holds(const struct hv_segment *ss, uint32_t start, unsigned n)
{
	uint32_t top = ss->attr & HV_SEG_DB ? 0xffffffff : 0xffff, last = start + n - 1;
	bool down = (ss->attr & (DESC_CODE | DESC_CONFORMING)) == DESC_CONFORMING;

	if (last < start)
		return false;
	return down ? start > ss->limit && last <= top : last <= ss->limit;
}

bool seg_check_inner_ss(struct cpu *cpu, uint16_t sel, unsigned cpl, bool ext, struct desc *ret)
{
	if (desc_is_null(sel))
		return desc_fault(cpu, VEC_TS, 0, ext);
	if (!desc_read(cpu, sel, VEC_TS, ext, ret))
		return false;
	if ((sel & 3U) != cpl || desc_dpl(ret) != cpl || !desc_is_writable(ret))
		return desc_fault(cpu, VEC_TS, sel, ext);
	if (!(ret->attr & HV_SEG_P))
		return desc_fault(cpu, VEC_SS, sel, ext);
	return desc_mark_accessed(cpu, ret);
}
