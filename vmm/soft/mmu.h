/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inline fast paths of guest memory access, and the parts of the MMU that only soft/ uses.
 *
 * An access that hits the TLB is one compare: (va - tag) is at most 4096 - size only for an access
 * that lies wholly in the page. Everything else (miss, page crossing, MMIO, code pages,
 * watchpoints) goes to the slow paths of mmu.c. Addresses are linear: outside 64-bit mode the
 * caller has added the segment base and cut the sum to 32 bits.
 */
#ifndef SOFT_MMU_H
#define SOFT_MMU_H

#include <string.h>

#include "soft/cpu.h"

static inline struct tlb_entry *tlb_slot(const struct cpu *cpu, uint64_t va)
{
	return &cpu->tlb[(va >> GMEM_PAGE_SHIFT) & (TLB_ENTRIES - 1)];
}

static inline bool tlb_hit(uint64_t va, uint64_t tag, unsigned size)
{
	return likely(va - tag <= GMEM_PAGE_SIZE - size);
}

static inline void *tlb_host(const struct tlb_entry *e, uint64_t va)
{
	return (void *)(uintptr_t)(va + e->addend);
}

/**
 * mmu_read() - Read @size bytes (constant, at most 64) of guest memory
 *
 * Return: false with cpu->exc set; *dst is then untouched.
 */
static inline bool mmu_read(struct cpu *cpu, uint64_t va, void *dst, unsigned size)
{
	const struct tlb_entry *e = tlb_slot(cpu, va);

	if (!tlb_hit(va, e->tag_r, size))
		return mmu_read_slow(cpu, va, dst, size);
	memcpy(dst, tlb_host(e, va), size);
	return true;
}

/**
 * mmu_write() - Write @size bytes (constant, at most 64) of guest memory
 *
 * Return: false with cpu->exc set and nothing written. May set cpu->smc_hit.
 */
static inline bool mmu_write(struct cpu *cpu, uint64_t va, const void *src, unsigned size)
{
	const struct tlb_entry *e = tlb_slot(cpu, va);

	if (!tlb_hit(va, e->tag_w, size))
		return mmu_write_slow(cpu, va, src, size);
	memcpy(tlb_host(e, va), src, size);
	return true;
}

/* mmu_read8(cpu, va, &val) ... mmu_write64(cpu, va, val) */
#define MMU_DEFINE_ACCESS(bits)                                                              \
	static inline bool mmu_read##bits(struct cpu *cpu, uint64_t va, uint##bits##_t *ret) \
	{                                                                                    \
		return mmu_read(cpu, va, ret, bits / 8);                                     \
	}                                                                                    \
	static inline bool mmu_write##bits(struct cpu *cpu, uint64_t va, uint##bits##_t val) \
	{                                                                                    \
		return mmu_write(cpu, va, &val, bits / 8);                                   \
	}

MMU_DEFINE_ACCESS(8)
MMU_DEFINE_ACCESS(16)
MMU_DEFINE_ACCESS(32)
MMU_DEFINE_ACCESS(64)

/**
 * mmu_rmw() - Host pointer for a read-modify-write (also locked) access
 *
 * As mmu_rmw_slow(): NULL without an exception means read, then write. Call mmu_rmw_end() after the
 * store.
 */
static inline void *mmu_rmw(struct cpu *cpu, uint64_t va, unsigned size)
{
	const struct tlb_entry *e = tlb_slot(cpu, va);

	return tlb_hit(va, e->tag_w, size) ? tlb_host(e, va) : mmu_rmw_slow(cpu, va, size);
}

static inline void mmu_rmw_end(struct cpu *cpu, uint64_t va, unsigned size)
{
	if (!tlb_hit(va, tlb_slot(cpu, va)->tag_w, size))
		mmu_rmw_done(cpu, va, size);
}

/**
 * mmu_page_span() - Host pointer to as much as lies in one page of plain RAM
 * @access:	MMU_READ or MMU_WRITE
 * @ret_len:	Bytes up to the page's end
 *
 * For REP string instructions. Handles the miss; a page that needs the slow path for every access
 * (MMIO, decoded code, watchpoints) gives NULL without an exception.
 *
 * Return: NULL with cpu->exc set on a fault, NULL without: go element by element.
 */
void *mmu_page_span(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned *ret_len);

/* As the slow paths, with the rights of @mode instead of the present ones: stacks of other levels.
 */
bool mmu_write_as(struct cpu *cpu, uint64_t va, const void *src, unsigned size, enum tlb_mode mode);

static inline bool mmu_canonical(uint64_t va)
{
	return ((int64_t)(va << 16) >> 16) == (int64_t)va;
}

/* ---- set-up, called by soft.c ---- */

int mmu_init(struct cpu *cpu, struct err *err);
void mmu_done(struct cpu *cpu);

/* ---- for system instructions ---- */

/* Read the four PDPTEs that @cr3 points at; false (nothing changed) when one has reserved bits. */
bool mmu_load_pdptes(struct cpu *cpu, uint64_t cr3);

/* INVPCID types 0 (address in PCID) and 1 (all of a PCID but globals); 2, 3 are mmu_flush_all(). */
void mmu_invpcid_addr(struct cpu *cpu, uint16_t pcid, uint64_t va);
void mmu_invpcid_single(struct cpu *cpu, uint16_t pcid);

/* CR0, CR4 or EFER bits that change what translations mean: forget all and pick the mode anew. */
void mmu_paging_changed(struct cpu *cpu);

/* Drop all write tags of this vCPU: dirty tracking starts over. Own thread, or vCPU stopped. */
void mmu_drop_write_tags(struct cpu *cpu);

/* Serve mmu_protect_code_page() of other vCPUs. Own thread, at a safe point. */
void mmu_serve_purge(struct cpu *cpu);

#endif
