/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page-table walks: 4-level, PAE and two-level 32-bit paging.
 *
 * A walk reads the entries, checks presence, reserved bits and rights, and only then sets A (and D
 * for a write) with a compare-and-swap each: an entry that changed in between starts the walk
 * again, so that another processor's change is never overwritten. Refs: Intel SDM 3A 4.3-4.7; AMD
 * APM 2 5.3-5.6.
 */
#include "soft/mmu_priv.h"

#define PTE_P	 (1ULL << 0)
#define PTE_W	 (1ULL << 1)
#define PTE_U	 (1ULL << 2)
#define PTE_A	 (1ULL << 5)
#define PTE_D	 (1ULL << 6)
#define PTE_PS	 (1ULL << 7)
#define PTE_G	 (1ULL << 8)
#define PTE_NX	 (1ULL << 63)
#define PTE_ADDR 0x000ffffffffff000ULL

/* One entry that the walk went through. */
struct step {
	void *p;
	uint64_t val;
	gpa_t gpa;
};

struct walker {
	struct step steps[4];
	unsigned n_steps;
	bool wide;	/* 64-bit entries */
	uint32_t error; /* PF_P | PF_R as far as they apply */
	struct walk w;
};

static void note_write(struct cpu *cpu, gpa_t gpa, unsigned len)
{
	const struct gmem_region *r = gmem_region_find(cpu->vm->mem, gpa, len);
	uint8_t *flags = &r->page_flags[(gpa - r->gpa) >> GMEM_PAGE_SHIFT];

	if (!(__atomic_load_n(flags, __ATOMIC_RELAXED) & GMEM_PAGE_DIRTY))
		__atomic_fetch_or(flags, GMEM_PAGE_DIRTY, __ATOMIC_RELAXED);
	if (__atomic_load_n(flags, __ATOMIC_SEQ_CST) & GMEM_PAGE_CODE) {
		block_code_written(cpu->vm, gpa, len);
		cpu->smc_hit = true;
	}
}

/* Set bits in an entry; false when it is no longer what the walk read. */
static bool step_mark(struct cpu *cpu, const struct walker *wk, struct step *s, uint64_t bits)
{
	bool ok;

	if ((s->val & bits) == bits)
		return true;
	if (wk->wide) {
		uint64_t old = s->val;

		ok = __atomic_compare_exchange_n((uint64_t *)s->p, &old, old | bits, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	} else {
		uint32_t old = (uint32_t)s->val;

		ok = __atomic_compare_exchange_n((uint32_t *)s->p, &old, old | (uint32_t)bits,
						 false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	if (ok)
		note_write(cpu, s->gpa, wk->wide ? 8 : 4);
	return ok;
}

/* A and D for all entries of a walk; false: walk again. */
static bool steps_mark(struct cpu *cpu, struct walker *wk, bool write)
{
	for (unsigned i = 0; i < wk->n_steps; i++) {
		bool leaf = i == wk->n_steps - 1;

		if (!step_mark(cpu, wk, &wk->steps[i], leaf && write ? PTE_A | PTE_D : PTE_A))
			return false;
	}
	return true;
}

static struct step *step_add(struct walker *wk, void *p, uint64_t val, gpa_t gpa)
{
	struct step *s = &wk->steps[wk->n_steps++];

	*s = (struct step){ p, val, gpa };
	return s;
}

static uint8_t entry_rights(uint64_t e)
{
	return (uint8_t)((e & PTE_W ? WALK_W : 0) | (e & PTE_U ? WALK_U : 0) |
			 (e & PTE_NX ? WALK_NX : 0));
}

/* W and U must be set on every level, NX on any. */
static uint8_t rights_and(uint8_t a, uint8_t b)
{
	return (uint8_t)((a & b & (WALK_W | WALK_U)) | ((a | b) & WALK_NX));
}

/* Reserved bits of a 64-bit entry at @level (0: PTE ... 3: PML4E). */
static uint64_t reserved_bits(const struct cpu *cpu, unsigned level, uint64_t e)
{
	uint64_t rsvd = PTE_ADDR & ~((1ULL << cpu->phys_bits) - 1);

	if (!(cpu->efer & EFER_NXE))
		rsvd |= PTE_NX;
	if (cpu->paging == MMU_PAE)
		rsvd |= 0x7ff0000000000000ULL; /* bits 62:52 are not ignored without long mode */
	if (level == 3)
		rsvd |= PTE_PS;
	if (level == 2 && (e & PTE_PS))
		rsvd |= 0x3fffe000; /* 29:13 */
	if (level == 1 && (e & PTE_PS))
		rsvd |= 0x1fe000; /* 20:13 */
	return rsvd;
}

static void finish_leaf(struct walker *wk, const struct cpu *cpu, uint64_t e, unsigned shift,
			uint64_t base, uint64_t va)
{
	wk->w.gpa = base | (va & ((1ULL << shift) - 1));
	wk->w.dirty = e & PTE_D;
	wk->w.kind = shift == 12 ? 0 : shift == 30 ? TLB_SIZE_1G : TLB_SIZE_2M;
	if ((e & PTE_G) && (cpu->cr4 & CR4_PGE))
		wk->w.kind |= TLB_GLOBAL;
}

static uint64_t *table_ptr(const struct cpu *cpu, gpa_t table)
{
	return gmem_ptr(cpu->vm->mem, table, GMEM_PAGE_SIZE);
}

/* Levels @level down to 0 of 64-bit tables. false: wk->error. */
static bool walk_wide(struct cpu *cpu, struct walker *wk, uint64_t va, gpa_t table_gpa,
		      uint64_t *table, unsigned level, uint8_t rights)
{
	wk->wide = true;
	for (;; level--) {
		unsigned shift = 12 + 9 * level;
		unsigned i = (unsigned)(va >> shift) & 511;
		uint64_t e;

		if (!table) { /* tables outside memory read as all ones */
			wk->error = PF_P | PF_R;
			return false;
		}
		e = __atomic_load_n(&table[i], __ATOMIC_ACQUIRE);
		if (!(e & PTE_P))
			return false;
		if (e & reserved_bits(cpu, level, e)) {
			wk->error = PF_P | PF_R;
			return false;
		}
		step_add(wk, &table[i], e, table_gpa + i * 8);
		rights = rights_and(rights, entry_rights(e));
		if (level == 0 || (e & PTE_PS)) {
			finish_leaf(wk, cpu, e, shift, e & PTE_ADDR & ~((1ULL << shift) - 1), va);
			wk->w.rights = rights;
			return true;
		}
		table_gpa = e & PTE_ADDR;
		table = table_ptr(cpu, table_gpa);
	}
}

static bool walk_4level(struct cpu *cpu, struct walker *wk, uint64_t va)
{
	struct tlb_asid *as = &cpu->asids[cpu->asid];
	struct walk_cache *wc = &as->walk[(va >> 21) % WALK_CACHE_ENTRIES];
	const uint8_t all = WALK_W | WALK_U;

	if (wc->gen == cpu->walk_gen && wc->tag == va >> 21)
		return walk_wide(cpu, wk, va, wc->gpa, wc->table, 0, wc->rights);
	return walk_wide(cpu, wk, va, cpu->cr3 & PTE_ADDR, table_ptr(cpu, cpu->cr3 & PTE_ADDR), 3,
			 all);
}

/* After a walk through all four levels: keep where its page table is. */
static void walk_cache_fill(struct cpu *cpu, const struct walker *wk, uint64_t va)
{
	struct tlb_asid *as = &cpu->asids[cpu->asid];
	struct walk_cache *wc = &as->walk[(va >> 21) % WALK_CACHE_ENTRIES];
	uint8_t rights = WALK_W | WALK_U;

	if (cpu->paging != MMU_4LEVEL || wk->n_steps != 4)
		return;
	for (unsigned i = 0; i < 3; i++)
		rights = rights_and(rights, entry_rights(wk->steps[i].val));
	*wc = (struct walk_cache){
		.tag = va >> 21,
		.table = (uint64_t *)wk->steps[3].p - ((va >> 12) & 511),
		.gpa = wk->steps[3].gpa & ~(GMEM_PAGE_SIZE - 1),
		.gen = cpu->walk_gen,
		.rights = rights,
	};
}

static bool walk_pae(struct cpu *cpu, struct walker *wk, uint64_t va)
{
	uint64_t e = cpu->pdpte[(va >> 30) & 3];

	if (!(e & PTE_P))
		return false;
	return walk_wide(cpu, wk, va, e & PTE_ADDR, table_ptr(cpu, e & PTE_ADDR), 1,
			 WALK_W | WALK_U);
}

static bool walk_32bit(struct cpu *cpu, struct walker *wk, uint64_t va)
{
	gpa_t table = cpu->cr3 & 0xfffff000;
	uint32_t *p = gmem_ptr(cpu->vm->mem, table, GMEM_PAGE_SIZE);
	unsigned i = (unsigned)(va >> 22) & 1023;
	uint32_t pde, pte;

	wk->error = PF_P | PF_R;
	if (!p)
		return false;
	pde = __atomic_load_n(&p[i], __ATOMIC_ACQUIRE);
	wk->error = 0;
	if (!(pde & PTE_P))
		return false;
	step_add(wk, &p[i], pde, table + i * 4);
	if ((pde & PTE_PS) && (cpu->cr4 & CR4_PSE)) {
		/* PSE-36: bits 20:13 are address bits 39:32, bit 21 is reserved. */
		uint64_t base = (pde & 0xffc00000) | (uint64_t)((pde >> 13) & 0xff) << 32;

		if ((pde & (1U << 21)) || (base >> cpu->phys_bits)) {
			wk->error = PF_P | PF_R;
			return false;
		}
		finish_leaf(wk, cpu, pde, 22, base, va);
		wk->w.rights = entry_rights(pde);
		return true;
	}
	table = pde & 0xfffff000;
	p = gmem_ptr(cpu->vm->mem, table, GMEM_PAGE_SIZE);
	if (!p) {
		wk->error = PF_P;
		return false;
	}
	i = (unsigned)(va >> 12) & 1023;
	pte = __atomic_load_n(&p[i], __ATOMIC_ACQUIRE);
	if (!(pte & PTE_P))
		return false;
	step_add(wk, &p[i], pte, table + i * 4);
	finish_leaf(wk, cpu, pte, 12, pte & 0xfffff000, va);
	wk->w.rights = rights_and(entry_rights(pde), entry_rights(pte));
	return true;
}

static bool walk_tables(struct cpu *cpu, struct walker *wk, uint64_t va)
{
	switch ((enum mmu_paging)cpu->paging) {
	case MMU_4LEVEL: return walk_4level(cpu, wk, va);
	case MMU_PAE: return walk_pae(cpu, wk, va);
	case MMU_32BIT: return walk_32bit(cpu, wk, va);
	case MMU_NONE: break;
	}
	wk->w = (struct walk){ .gpa = va, .rights = WALK_W | WALK_U, .dirty = true };
	return true;
}

bool mmu_allowed(const struct cpu *cpu, uint8_t rights, enum mmu_access access, enum tlb_mode mode)
{
	if (cpu->paging == MMU_NONE)
		return true;
	if (mode_is_user(mode)) {
		if (!(rights & WALK_U))
			return false;
	} else if (rights & WALK_U) {
		if (access == MMU_EXEC ? (cpu->cr4 & CR4_SMEP) != 0
				       : mode == TLB_KERNEL && (cpu->cr4 & CR4_SMAP))
			return false;
	}
	switch (access) {
	case MMU_READ: return true;
	case MMU_WRITE: return (rights & WALK_W) || (!mode_is_user(mode) && !(cpu->cr0 & CR0_WP));
	case MMU_EXEC: return !(rights & WALK_NX);
	}
	return false;
}

static uint32_t fault_code(const struct cpu *cpu, enum mmu_access access, enum tlb_mode mode)
{
	bool tells_fetch =
		(cpu->cr4 & CR4_SMEP) || ((cpu->efer & EFER_NXE) && cpu->paging != MMU_32BIT);

	return (access == MMU_WRITE ? PF_W : 0) | (mode_is_user(mode) ? PF_U : 0) |
	       (access == MMU_EXEC && tells_fetch ? PF_I : 0);
}

bool mmu_walk(struct cpu *cpu, uint64_t va, enum mmu_access access, enum tlb_mode mode, bool probe,
	      struct walk *ret)
{
	for (;;) {
		struct walker wk = { .n_steps = 0 };
		bool found = walk_tables(cpu, &wk, va);

		if (found && !mmu_allowed(cpu, wk.w.rights, access, mode)) {
			wk.error = PF_P;
			found = false;
		}
		if (!found) {
			if (!probe)
				cpu_raise_pf(cpu, va, wk.error | fault_code(cpu, access, mode));
			return false;
		}
		if (!probe) {
			if (!steps_mark(cpu, &wk, access == MMU_WRITE)) {
				cpu->walk_gen++;
				continue;
			}
			if (access == MMU_WRITE)
				wk.w.dirty = true;
			walk_cache_fill(cpu, &wk, va);
		}
		*ret = wk.w;
		return true;
	}
}

bool mmu_load_pdptes(struct cpu *cpu, uint64_t cr3)
{
	const uint64_t rsvd = 0x1e6 | ~((1ULL << cpu->phys_bits) - 1);
	const uint64_t *p = gmem_ptr(cpu->vm->mem, cr3 & 0xffffffe0, 32);
	uint64_t e[4];

	if (!p)
		return false;
	for (unsigned i = 0; i < 4; i++) {
		e[i] = __atomic_load_n(&p[i], __ATOMIC_ACQUIRE);
		if ((e[i] & PTE_P) && (e[i] & rsvd))
			return false;
	}
	memcpy(cpu->pdpte, e, sizeof(e));
	return true;
}
