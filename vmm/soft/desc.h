/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, segment registers and the CPU's mode: shared by far transfers, exceptions, system
 * calls. */
#ifndef SOFT_DESC_H
#define SOFT_DESC_H

#include "soft/cpu.h"

/* A descriptor, taken apart. */
struct desc {
	uint64_t base;
	uint32_t limit;	 /* in bytes */
	uint16_t attr;	 /* as in struct hv_segment */
	uint32_t lo, hi; /* as read */
	uint64_t va;	 /* where it lies: for the accessed and busy bits */
};

/* Types of system descriptors (attr without S). */
enum desc_type {
	DESC_TSS16 = 1,
	DESC_LDT = 2,
	DESC_TSS16_BUSY = 3,
	DESC_CALL16 = 4,
	DESC_TASK = 5,
	DESC_INT16 = 6,
	DESC_TRAP16 = 7,
	DESC_TSS32 = 9,
	DESC_TSS32_BUSY = 11,
	DESC_CALL32 = 12,
	DESC_INT32 = 14,
	DESC_TRAP32 = 15,
};

#define DESC_CODE	0x8 /* type bits of code and data descriptors */
#define DESC_CONFORMING 0x4
#define DESC_WRITABLE	0x2 /* data; readable for code */
#define DESC_ACCESSED	0x1

static inline unsigned desc_dpl(const struct desc *d)
{
	return (d->attr & HV_SEG_DPL) >> HV_SEG_DPL_SHIFT;
}

static inline bool desc_is_code(const struct desc *d)
{
	return (d->attr & HV_SEG_S) && (d->attr & DESC_CODE);
}

static inline bool desc_is_conforming(const struct desc *d)
{
	return desc_is_code(d) && (d->attr & DESC_CONFORMING);
}

static inline bool desc_is_writable(const struct desc *d)
{
	return (d->attr & HV_SEG_S) && !(d->attr & DESC_CODE) && (d->attr & DESC_WRITABLE);
}

static inline bool desc_is_null(uint16_t sel)
{
	return (sel & ~3) == 0;
}

static inline bool cpu_is_protected(const struct cpu *cpu)
{
	return cpu->mode != CPU_REAL16 && cpu->mode != CPU_VM86;
}

/* In virtual-8086 mode without IOPL 3: PUSHF, POPF, INT n and IRET are #GP. There is no VME. */
static inline bool cpu_vm86_denied(const struct cpu *cpu)
{
	return cpu->mode == CPU_VM86 && (cpu->rflags & FL_IOPL) != FL_IOPL;
}

static inline bool cpu_is_long(const struct cpu *cpu)
{
	return cpu->efer & EFER_LMA;
}

/* Record @vec with a selector error code: index and table of @sel, @ext is bit 0. Returns false. */
bool desc_fault(struct cpu *cpu, enum cpu_vector vec, uint16_t sel, bool ext);

void desc_parse(uint32_t lo, uint32_t hi, struct desc *ret);

/**
 * desc_read() - Fetch the descriptor that a selector names
 * @sel:	Not null
 * @vec:	What to raise when it lies outside its table
 * @ext:	EXT bit of the error code
 *
 * Return: false with the exception recorded.
 */
bool desc_read(struct cpu *cpu, uint16_t sel, enum cpu_vector vec, bool ext, struct desc *ret);

/* Read it without raising anything but page faults: LAR, LSL, VERR, VERW. *ret_ok: inside the
 * table. */
bool desc_peek(struct cpu *cpu, uint16_t sel, struct desc *ret, bool *ret_ok);

/* Bits 63:32 of the base of a 16-byte system descriptor. */
bool desc_read_high(struct cpu *cpu, const struct desc *d, uint32_t *ret);

/* Set the accessed bit in memory if it is clear. */
bool desc_mark_accessed(struct cpu *cpu, struct desc *d);

/* Put a descriptor into the register's cache. */
void seg_set(struct cpu *cpu, enum hv_seg seg, uint16_t sel, const struct desc *d);
void seg_set_flat(struct cpu *cpu, enum hv_seg seg, uint16_t sel, uint16_t attr);
void seg_set_null(struct cpu *cpu, enum hv_seg seg, uint16_t sel); /* base kept, unusable */
void seg_set_real(struct cpu *cpu, enum hv_seg seg, uint16_t sel); /* virtual-8086 mode too */

/* Load ES, SS, DS, FS or GS with all checks of the present mode. */
bool seg_load(struct cpu *cpu, enum hv_seg seg, uint16_t sel);

/* After CR0, EFER, RFLAGS.VM, CS or CPL changed: mode, address bases, TLB. */
void cpu_mode_update(struct cpu *cpu);

static inline void cpu_set_cpl(struct cpu *cpu, unsigned cpl)
{
	cpu->cpl = (uint8_t)cpl;
}

/* Flat CS and SS at @cpl, from 64-bit mode to 64-bit mode: neither that nor a base changes.
 * (syscall.c) */
void cpu_enter_flat64(struct cpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl);

/* Flags that IRET and POPF may change at @cpl, and put them in; sees to interrupts and TF. */
void cpu_load_flags(struct cpu *cpu, uint64_t val, unsigned size, unsigned cpl, bool iret);

/* All flags there are, VM too: IRET to virtual-8086 mode, task switches. */
void cpu_set_flags(struct cpu *cpu, uint32_t val);

/* The inner stack of privilege level @cpl from the TSS. @ext as above. Long mode: *ret_ss is 0. */
bool tss_stack(struct cpu *cpu, unsigned cpl, bool ext, uint16_t *ret_ss, uint64_t *ret_sp);
bool tss_ist(struct cpu *cpu, unsigned ist, bool ext, uint64_t *ret_sp);

/* Whether @n bytes from @start up lie within a stack segment, on one side of its limit. */
bool seg_stack_holds(const struct hv_segment *ss, uint32_t start, unsigned n);

/* SS for a change to inner level @cpl: #TS and #SS with @ext. */
bool seg_check_inner_ss(struct cpu *cpu, uint16_t sel, unsigned cpl, bool ext, struct desc *ret);

#endif
