/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slow paths of guest memory access: TLB misses, page crossings, MMIO, decoded code, watchpoints.
 *
 * Rule for every write: all pages it touches are translated for writing before its first byte
 * changes.
 */
#include "soft/mmu_priv.h"

#include "base/checked.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"

#define PAGE_MASK	 (~(GMEM_PAGE_SIZE - 1))
#define DR7_LEN_SHIFT(i) (18 + 4 * (i))
#define DR7_RW_SHIFT(i)	 (16 + 4 * (i))

static void raise_noncanonical(struct cpu *cpu)
{
	if (cpu->exc.pending)
		return;
	cpu_raise_err(cpu, VEC_GP, 0);
	cpu->exc.noncanonical = true;
}

/* Linear addresses have 32 bits unless the CPU computes 64-bit ones. */
static uint64_t linear(const struct cpu *cpu, uint64_t va)
{
	return cpu->mode == CPU_LONG64 ? va : (uint32_t)va;
}

static bool region_target(const struct cpu *cpu, gpa_t gpa, struct mmu_target *t)
{
	const struct gmem_region *r = gmem_region_find(cpu->vm->mem, gpa, 1);

	t->gpa = gpa;
	t->host = NULL;
	t->page_flags = NULL;
	if (!r || (gpa & PAGE_MASK) == cpu->apic_page)
		return false;
	t->host = r->hva + (gpa - r->gpa);
	t->page_flags = &r->page_flags[(gpa - r->gpa) >> GMEM_PAGE_SHIFT];
	return true;
}

bool mmu_translate(struct cpu *cpu, uint64_t va, enum mmu_access access, enum tlb_mode mode,
		   struct mmu_target *ret)
{
	struct walk w;

	if (cpu->paging == MMU_4LEVEL && !mmu_canonical(va)) {
		raise_noncanonical(cpu);
		return false;
	}
	if (!mmu_walk(cpu, va, access, mode, false, &w))
		return false;
	if (region_target(cpu, w.gpa, ret))
		tlb_fill(cpu, mode, va, &w, ret);
	return true;
}

/* ---- watchpoints ---- */

static void watch_check(struct cpu *cpu, uint64_t va, unsigned size, bool write)
{
	static const uint8_t lens[4] = { 1, 2, 8, 4 };

	for (unsigned i = 0; i < 4; i++) {
		unsigned rw = (unsigned)(cpu->dr7 >> DR7_RW_SHIFT(i)) & 3;
		unsigned len = lens[(cpu->dr7 >> DR7_LEN_SHIFT(i)) & 3];
		uint64_t start = cpu->dr[i] & ~(uint64_t)(len - 1);

		if (!(cpu->dr_data & (1U << i)) || (rw == 1 && !write))
			continue;
		if (va < start + len && start < va + size) {
			cpu->db_pending |= 1U << i;
			cpu->smc_hit =
				true; /* out of the block: the trap comes after this instruction */
		}
	}
}

/* ---- MMIO ---- */

static uint64_t mmio_read_one(struct cpu *cpu, gpa_t gpa, unsigned size)
{
	const struct hv_vm_config *c = &cpu->vm->config;

	cpu->stats.n_mmio++;
	if ((gpa & PAGE_MASK) == cpu->apic_page)
		return lapic_mmio_read(cpu->lapic, (unsigned)(gpa & 0xfff), size);
	if ((gpa & PAGE_MASK) == IOAPIC_BASE && cpu->vm->ioapic)
		return ioapic_mmio_read(cpu->vm->ioapic, (unsigned)(gpa & 0xfff), size);
	return c->bus->mmio_read(c->bus_opaque, gpa, size);
}

static void mmio_write_one(struct cpu *cpu, gpa_t gpa, unsigned size, uint64_t val)
{
	const struct hv_vm_config *c = &cpu->vm->config;

	cpu->stats.n_mmio++;
	if ((gpa & PAGE_MASK) == cpu->apic_page)
		lapic_mmio_write(cpu->lapic, (unsigned)(gpa & 0xfff), size, val);
	else if ((gpa & PAGE_MASK) == IOAPIC_BASE && cpu->vm->ioapic)
		ioapic_mmio_write(cpu->vm->ioapic, (unsigned)(gpa & 0xfff), size, val);
	else
		c->bus->mmio_write(c->bus_opaque, gpa, size, val);
}

/* Largest access that fits: a bus sees powers of two. */
static unsigned mmio_chunk(unsigned len)
{
	return len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
}

static void mmio_read(struct cpu *cpu, gpa_t gpa, uint8_t *dst, unsigned len)
{
	while (len) {
		unsigned n = mmio_chunk(len);
		uint64_t val = mmio_read_one(cpu, gpa, n);

		memcpy(dst, &val, n);
		dst += n;
		gpa += n;
		len -= n;
	}
}

static void mmio_write(struct cpu *cpu, gpa_t gpa, const uint8_t *src, unsigned len)
{
	while (len) {
		unsigned n = mmio_chunk(len);
		uint64_t val = 0;

		memcpy(&val, src, n);
		mmio_write_one(cpu, gpa, n, val);
		src += n;
		gpa += n;
		len -= n;
	}
}

/* ---- RAM ---- */

/* One host access for what the guest does in one: a plain memcpy could be split. */
static void copy_unit(void *dst, const void *src, unsigned len)
{
	switch (len) {
	case 1: memcpy(dst, src, 1); break;
	case 2: memcpy(dst, src, 2); break;
	case 4: memcpy(dst, src, 4); break;
	case 8: memcpy(dst, src, 8); break;
	case 16: memcpy(dst, src, 16); break;
	default: memcpy(dst, src, len); break;
	}
}

static void code_written(struct cpu *cpu, const struct mmu_target *t, unsigned len)
{
	if (!(__atomic_load_n(t->page_flags, __ATOMIC_SEQ_CST) & GMEM_PAGE_CODE))
		return;
	block_code_written(cpu->vm, t->gpa, len);
	cpu->smc_hit = true;
}

static void target_read(struct cpu *cpu, const struct mmu_target *t, void *dst, unsigned len)
{
	if (t->host)
		copy_unit(dst, t->host, len);
	else
		mmio_read(cpu, t->gpa, dst, len);
}

static void target_write(struct cpu *cpu, const struct mmu_target *t, const void *src, unsigned len)
{
	if (!t->host) {
		mmio_write(cpu, t->gpa, src, len);
		return;
	}
	if (!(__atomic_load_n(t->page_flags, __ATOMIC_RELAXED) & GMEM_PAGE_DIRTY))
		__atomic_fetch_or(t->page_flags, GMEM_PAGE_DIRTY, __ATOMIC_RELAXED);
	copy_unit(t->host, src, len);
	code_written(cpu, t, len);
}

/* Bytes of [va, va + size) that lie in the first page. */
static unsigned first_part(uint64_t va, unsigned size)
{
	uint64_t left = GMEM_PAGE_SIZE - (va & (GMEM_PAGE_SIZE - 1));

	return (unsigned)MIN(left, size);
}

static bool read_as(struct cpu *cpu, uint64_t va, uint64_t va2, void *dst, unsigned size,
		    enum tlb_mode mode)
{
	unsigned n = first_part(va, size);
	struct mmu_target a, b;

	if (!mmu_translate(cpu, va, MMU_READ, mode, &a))
		return false;
	if (n < size && !mmu_translate(cpu, va2, MMU_READ, mode, &b))
		return false;
	target_read(cpu, &a, dst, n);
	if (n < size)
		target_read(cpu, &b, (uint8_t *)dst + n, size - n);
	return true;
}

static bool write_as(struct cpu *cpu, uint64_t va, uint64_t va2, const void *src, unsigned size,
		     enum tlb_mode mode)
{
	unsigned n = first_part(va, size);
	struct mmu_target a, b;

	if (!mmu_translate(cpu, va, MMU_WRITE, mode, &a))
		return false;
	if (n < size && !mmu_translate(cpu, va2, MMU_WRITE, mode, &b))
		return false;
	target_write(cpu, &a, src, n);
	if (n < size)
		target_write(cpu, &b, (const uint8_t *)src + n, size - n);
	return true;
}

/* #AC at level 3 with CR0.AM and RFLAGS.AC; 16 bytes and more have rules of their own. */
static bool aligned(struct cpu *cpu, uint64_t va, unsigned size)
{
	if (likely(cpu->tlb_mode != TLB_USER_AC) || size > 8 || !(va & (size - 1)))
		return true;
	cpu_raise_err(cpu, VEC_AC, 0);
	return false;
}

bool mmu_read_slow(struct cpu *cpu, uint64_t va, void *dst, unsigned size)
{
	uint64_t va2;

	va = linear(cpu, va);
	if (!aligned(cpu, va, size))
		return false;
	va2 = linear(cpu, va + first_part(va, size));
	if (!read_as(cpu, va, va2, dst, size, cpu->tlb_mode))
		return false;
	if (unlikely(cpu->dr_data))
		watch_check(cpu, va, size, false);
	return true;
}

bool mmu_write_slow(struct cpu *cpu, uint64_t va, const void *src, unsigned size)
{
	uint64_t va2;

	va = linear(cpu, va);
	if (!aligned(cpu, va, size))
		return false;
	va2 = linear(cpu, va + first_part(va, size));
	if (!write_as(cpu, va, va2, src, size, cpu->tlb_mode))
		return false;
	if (unlikely(cpu->dr_data))
		watch_check(cpu, va, size, true);
	return true;
}

void *mmu_rmw_slow(struct cpu *cpu, uint64_t va, unsigned size)
{
	struct mmu_target a, b;
	unsigned n;

	va = linear(cpu, va);
	n = first_part(va, size);
	if (!aligned(cpu, va, size) || !mmu_translate(cpu, va, MMU_WRITE, cpu->tlb_mode, &a))
		return NULL;
	if (n < size) {
		mmu_translate(cpu, linear(cpu, va + n), MMU_WRITE, cpu->tlb_mode, &b);
		return NULL;
	}
	if (a.host && !(__atomic_load_n(a.page_flags, __ATOMIC_RELAXED) & GMEM_PAGE_DIRTY))
		__atomic_fetch_or(a.page_flags, GMEM_PAGE_DIRTY, __ATOMIC_RELAXED);
	if (a.host && unlikely(cpu->dr_data))
		watch_check(cpu, va, size, true);
	return a.host;
}

void mmu_rmw_done(struct cpu *cpu, uint64_t va, unsigned size)
{
	struct mmu_target t;
	struct walk w;

	va = linear(cpu, va);
	/* The access has just succeeded; should the mapping be gone now, nothing is left to note.
	 */
	if (!mmu_walk(cpu, va, MMU_WRITE, cpu->tlb_mode, true, &w))
		return;
	if (region_target(cpu, w.gpa, &t))
		code_written(cpu, &t, size);
}

void *mmu_page_span(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned *ret_len)
{
	struct tlb_entry *e = tlb_slot(cpu, va);
	uint64_t page = va & PAGE_MASK;
	struct mmu_target t;

	if ((access == MMU_WRITE ? e->tag_w : e->tag_r) != page) {
		if (!mmu_translate(cpu, va, access, cpu->tlb_mode, &t))
			return NULL;
		if ((access == MMU_WRITE ? e->tag_w : e->tag_r) != page)
			return NULL;
	}
	*ret_len = (unsigned)(GMEM_PAGE_SIZE - (va - page));
	return tlb_host(e, va);
}

/* ---- code ---- */

static gpa_t host_to_gpa(const struct cpu *cpu, const uint8_t *host)
{
	const struct gmem *mem = cpu->vm->mem;

	for (unsigned i = 0; i < mem->n_regions; i++) {
		const struct gmem_region *r = &mem->regions[i];

		if (host >= r->hva && (uint64_t)(host - r->hva) < r->len)
			return r->gpa + (gpa_t)(host - r->hva);
	}
	return 0;
}

const uint8_t *mmu_fetch(struct cpu *cpu, uint64_t va, gpa_t *ret_gpa)
{
	const struct tlb_entry *e;
	struct mmu_target t;

	va = linear(cpu, va);
	e = tlb_slot(cpu, va);
	if (tlb_hit(va, e->tag_x, 1)) {
		const uint8_t *p = tlb_host(e, va);

		*ret_gpa = host_to_gpa(cpu, p);
		return p;
	}
	if (!mmu_translate(cpu, va, MMU_EXEC, cpu->tlb_mode, &t)) {
		cpu->exc.noncanonical = false;
		return NULL;
	}
	if (!t.host) {
		cpu_raise_err(cpu, VEC_GP, 0);
		return NULL;
	}
	*ret_gpa = t.gpa;
	return t.host;
}

/* ---- the CPU's own accesses ---- */

static uint64_t sys_linear(const struct cpu *cpu, uint64_t va)
{
	return cpu->efer & EFER_LMA ? va : (uint32_t)va;
}

bool mmu_sys_read(struct cpu *cpu, uint64_t va, void *dst, unsigned size)
{
	const struct tlb_entry *e;

	va = sys_linear(cpu, va);
	e = &tlb_array_get(cpu, TLB_KERNEL)->e[(va >> GMEM_PAGE_SHIFT) & (TLB_ENTRIES - 1)];
	if (tlb_hit(va, e->tag_r, size)) {
		memcpy(dst, tlb_host(e, va), size);
		return true;
	}
	if (!read_as(cpu, va, sys_linear(cpu, va + first_part(va, size)), dst, size, TLB_KERNEL)) {
		cpu->exc.noncanonical = false;
		return false;
	}
	return true;
}

bool mmu_write_as(struct cpu *cpu, uint64_t va, const void *src, unsigned size, enum tlb_mode mode)
{
	const struct tlb_entry *e;

	va = sys_linear(cpu, va);
	e = &tlb_array_get(cpu, mode)->e[(va >> GMEM_PAGE_SHIFT) & (TLB_ENTRIES - 1)];
	if (tlb_hit(va, e->tag_w, size)) {
		memcpy(tlb_host(e, va), src, size);
		return true;
	}
	return write_as(cpu, va, sys_linear(cpu, va + first_part(va, size)), src, size, mode);
}

bool mmu_sys_probe(struct cpu *cpu, uint64_t va, unsigned size)
{
	struct mmu_target t;
	unsigned n = first_part(va, size);

	if (mmu_translate(cpu, sys_linear(cpu, va), MMU_WRITE, TLB_KERNEL, &t) &&
	    (n == size ||
	     mmu_translate(cpu, sys_linear(cpu, va + n), MMU_WRITE, TLB_KERNEL, &t)))
		return true;
	cpu->exc.noncanonical = false;
	return false;
}

bool mmu_sys_write(struct cpu *cpu, uint64_t va, const void *src, unsigned size)
{
	if (mmu_write_as(cpu, va, src, size, TLB_KERNEL))
		return true;
	cpu->exc.noncanonical = false;
	return false;
}
