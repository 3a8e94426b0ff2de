/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software TLB: arrays per address space and privilege, invalidation, and write tags that
 * decoded code and the dirty log withhold.
 *
 * Theory of operation. A slot (struct tlb_asid) stands for a PCID, or without PCIDs for a CR3
 * value, or for paging switched off. Changing CR3 only selects another slot; the least recently
 * used one is recycled. Without PCIDs the slot that CR3 selects loses its non-global entries first,
 * as the architecture says. Global entries live in each slot they were used in, so whatever removes
 * a global translation looks at all slots.
 *
 * Copies. Others may keep translations for fetching code, with the gen that cpu->code_gen had for
 * the half of the address space the address lies in, and use them whenever it has that value. In
 * the lower half, and at CPL 3, it is the gen of the present array. In the upper half it is
 * global_gen, the same in all address spaces, so there only global translations may be kept. Each
 * is given a new value when a translation it stands for is withdrawn; making room for another
 * withdraws nothing.
 *
 * Write tags. GMEM_PAGE_WTLB in a page's flags says that some vCPU may hold a write tag. Installing
 * one sets WTLB and then looks at GMEM_PAGE_CODE; protecting a page sets CODE and then looks at
 * WTLB: both with one atomic operation on the same byte, so one of the two sees the other. When a
 * tag may exist, the protecting vCPU drops its own and asks the others, one request at a time, and
 * waits until each has passed a safe point (outside cpu_exec()). A vCPU outside the guest drops all
 * its write tags when it enters. While it waits it serves others' requests, so two of them never
 * wait for each other.
 */
#include "soft/mmu_priv.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "base/checked.h"

#define KEY_FREE    (~0ULL)
#define KEY_UNPAGED 2ULL
#define KEY_PCID    (1ULL << 63)
#define PAGE_MASK   (~(GMEM_PAGE_SIZE - 1))

/* ---- arrays ---- */

static unsigned va_index(uint64_t va)
{
	return (unsigned)(va >> GMEM_PAGE_SHIFT) & (TLB_ENTRIES - 1);
}

static void entry_clear(struct tlb_array *a, unsigned i)
{
	uint64_t none = tlb_no_tag(i);

	a->e[i] = (struct tlb_entry){ none, none, none, 0 };
	a->used[i / 64] &= ~(1ULL << (i % 64));
}

static void code_gen_update(struct cpu *cpu)
{
	const struct tlb_array *a = (const struct tlb_array *)(const void *)cpu->tlb;

	cpu->code_gen[0] = a->gen;
	cpu->code_gen[1] = cpu->cpl == 3 ? a->gen : cpu->global_gen;
}

/* Copies of the array's translations are stale from now on. */
static void array_withdraw(struct cpu *cpu, struct tlb_array *a)
{
	a->gen = ++cpu->gen_clock;
	if (a->e == cpu->tlb)
		code_gen_update(cpu);
}

static void global_withdraw(struct cpu *cpu)
{
	cpu->global_gen = ++cpu->gen_clock;
	if (cpu->tlb)
		code_gen_update(cpu);
}

static void array_prepare(struct cpu *cpu, struct tlb_array *a)
{
	array_withdraw(cpu, a);
	for (unsigned i = 0; i < TLB_ENTRIES; i++)
		entry_clear(a, i);
	a->large_lo[0] = a->large_lo[1] = ~0ULL;
	a->large_hi[0] = a->large_hi[1] = 0;
	a->ready = true;
}

struct tlb_array *tlb_array_get(struct cpu *cpu, enum tlb_mode mode)
{
	struct tlb_array *a = cpu->asids[cpu->asid].modes[mode];

	if (!a->ready)
		array_prepare(cpu, a);
	return a;
}

/* Remove entries; those with TLB_GLOBAL stay if @keep_global. */
static void array_flush(struct cpu *cpu, struct tlb_array *a, bool keep_global)
{
	bool kept_large = false;

	array_withdraw(cpu, a);
	if (!a->ready)
		return;
	for (unsigned w = 0; w < TLB_ENTRIES / 64; w++) {
		for (uint64_t bits = a->used[w]; bits; bits &= bits - 1) {
			unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);

			if (keep_global && (a->kind[i] & TLB_GLOBAL))
				kept_large |= a->kind[i] & (TLB_SIZE_2M | TLB_SIZE_1G);
			else
				entry_clear(a, i);
		}
	}
	if (kept_large)
		return;
	a->large_lo[0] = a->large_lo[1] = ~0ULL;
	a->large_hi[0] = a->large_hi[1] = 0;
}

static void asid_flush(struct cpu *cpu, struct tlb_asid *as, bool keep_global)
{
	for (unsigned m = 0; m < TLB_N_MODES; m++)
		array_flush(cpu, as->modes[m], keep_global);
}

static uint64_t entry_page(const struct tlb_entry *e, unsigned i)
{
	uint64_t none = tlb_no_tag(i);

	return e->tag_r != none ? e->tag_r : e->tag_w != none ? e->tag_w : e->tag_x;
}

static uint64_t large_mask(const struct cpu *cpu, uint8_t kind)
{
	if (kind & TLB_SIZE_1G)
		return ~((1ULL << 30) - 1);
	return ~((1ULL << (cpu->paging == MMU_32BIT ? 22 : 21)) - 1);
}

/* Remove what translates @va, as part of a large page too. */
static void array_drop(struct cpu *cpu, struct tlb_array *a, uint64_t va, bool only_global)
{
	unsigned half = va >> 63;
	unsigned i = va_index(va);

	array_withdraw(cpu, a);
	if (!a->ready)
		return;
	if (entry_page(&a->e[i], i) == (va & PAGE_MASK) &&
	    (!only_global || (a->kind[i] & TLB_GLOBAL)))
		entry_clear(a, i);
	if (va < a->large_lo[half] || va > a->large_hi[half])
		return;
	for (unsigned w = 0; w < TLB_ENTRIES / 64; w++) {
		for (uint64_t bits = a->used[w]; bits; bits &= bits - 1) {
			unsigned k = w * 64 + (unsigned)__builtin_ctzll(bits);
			uint64_t mask = large_mask(cpu, a->kind[k]);

			if (!(a->kind[k] & (TLB_SIZE_2M | TLB_SIZE_1G)) ||
			    (only_global && !(a->kind[k] & TLB_GLOBAL)))
				continue;
			if ((entry_page(&a->e[k], k) & mask) == (va & mask))
				entry_clear(a, k);
		}
	}
}

static bool watched(const struct cpu *cpu, uint64_t page)
{
	for (unsigned i = 0; i < 4; i++) {
		if ((cpu->dr_data & (1U << i)) && (cpu->dr[i] & PAGE_MASK) == page)
			return true;
	}
	return false;
}

/* Whether a write tag may be installed; marks the page so that it can be found again. */
static bool claim_write(uint8_t *flags)
{
	const uint8_t want = GMEM_PAGE_WTLB | GMEM_PAGE_DIRTY;
	uint8_t old = __atomic_load_n(flags, __ATOMIC_SEQ_CST);

	if (old & GMEM_PAGE_CODE)
		return false;
	if ((old & want) != want)
		old = __atomic_fetch_or(flags, want, __ATOMIC_SEQ_CST);
	return !(old & GMEM_PAGE_CODE);
}

void tlb_fill(struct cpu *cpu, enum tlb_mode mode, uint64_t va, const struct walk *w,
	      const struct mmu_target *t)
{
	struct tlb_array *a = tlb_array_get(cpu, mode);
	uint64_t page = va & PAGE_MASK;
	unsigned i = va_index(va);
	struct tlb_entry *e = &a->e[i];
	unsigned half = va >> 63;

	entry_clear(a, i);
	e->addend = (uint64_t)(uintptr_t)t->host - va;
	if (mmu_allowed(cpu, w->rights, MMU_EXEC, mode))
		e->tag_x = page;
	if (mode != TLB_USER_AC && !watched(cpu, page)) {
		if (mmu_allowed(cpu, w->rights, MMU_READ, mode))
			e->tag_r = page;
		if (w->dirty && mmu_allowed(cpu, w->rights, MMU_WRITE, mode) &&
		    claim_write(t->page_flags))
			e->tag_w = page;
	}
	a->kind[i] = w->kind;
	a->used[i / 64] |= 1ULL << (i % 64);
	if (w->kind & (TLB_SIZE_2M | TLB_SIZE_1G)) {
		uint64_t mask = large_mask(cpu, w->kind);

		a->large_lo[half] = MIN(a->large_lo[half], va & mask);
		a->large_hi[half] = MAX(a->large_hi[half], va | ~mask);
	}
}

/* ---- address spaces ---- */

static enum mmu_paging paging_now(const struct cpu *cpu)
{
	if (!(cpu->cr0 & CR0_PG))
		return MMU_NONE;
	if (cpu->efer & EFER_LMA)
		return MMU_4LEVEL;
	return cpu->cr4 & CR4_PAE ? MMU_PAE : MMU_32BIT;
}

static uint64_t asid_key(const struct cpu *cpu)
{
	if (cpu->paging == MMU_NONE)
		return KEY_UNPAGED;
	if (cpu->cr4 & CR4_PCIDE)
		return KEY_PCID | (cpu->cr3 & 0xfff);
	return cpu->cr3 & ~0x1fULL;
}

static struct tlb_asid *asid_find(struct cpu *cpu, uint64_t key)
{
	for (unsigned i = 0; i < TLB_N_ASIDS; i++) {
		if (cpu->asids[i].key == key)
			return &cpu->asids[i];
	}
	return NULL;
}

static void asid_select(struct cpu *cpu)
{
	uint64_t key = asid_key(cpu);
	struct tlb_asid *as = asid_find(cpu, key);

	if (!as) {
		as = &cpu->asids[0];
		for (unsigned i = 1; i < TLB_N_ASIDS; i++) {
			if (cpu->asids[i].last_use < as->last_use)
				as = &cpu->asids[i];
		}
		asid_flush(cpu, as, false);
		memset(as->walk, 0, sizeof(as->walk));
		as->key = key;
	}
	as->last_use = ++cpu->asid_clock;
	cpu->asid = (unsigned)(as - cpu->asids);
}

void mmu_mode_changed(struct cpu *cpu)
{
	enum tlb_mode mode = TLB_KERNEL_AC;
	if (cpu->cpl == 3)
		mode = (cpu->rflags & FL_AC) && (cpu->cr0 & CR0_AM) ? TLB_USER_AC : TLB_USER;
	else if ((cpu->cr4 & CR4_SMAP) && !(cpu->rflags & FL_AC))
		mode = TLB_KERNEL;
	cpu->tlb_mode = mode;
	cpu->tlb = tlb_array_get(cpu, mode)->e;
	code_gen_update(cpu);
}

static void walks_forget(struct cpu *cpu)
{
	if (++cpu->walk_gen == 0) {
		for (unsigned i = 0; i < TLB_N_ASIDS; i++)
			memset(cpu->asids[i].walk, 0, sizeof(cpu->asids[i].walk));
		cpu->walk_gen = 1;
	}
}

void mmu_cr3_written(struct cpu *cpu, uint64_t val)
{
	bool pcide = cpu->cr4 & CR4_PCIDE;
	bool keep = pcide && (val >> 63);

	cpu->cr3 = val & ~(1ULL << 63);
	asid_select(cpu);
	if (!keep) {
		asid_flush(cpu, &cpu->asids[cpu->asid], true);
		walks_forget(cpu);
	}
	mmu_mode_changed(cpu);
}

void mmu_flush_all(struct cpu *cpu, bool with_global)
{
	for (unsigned i = 0; i < TLB_N_ASIDS; i++)
		asid_flush(cpu, &cpu->asids[i], !with_global);
	if (with_global)
		global_withdraw(cpu);
	walks_forget(cpu);
}

void mmu_paging_changed(struct cpu *cpu)
{
	mmu_flush_all(cpu, true);
	for (unsigned i = 0; i < TLB_N_ASIDS; i++)
		cpu->asids[i].key = KEY_FREE;
	cpu->paging = (uint8_t)paging_now(cpu);
	asid_select(cpu);
	mmu_mode_changed(cpu);
}

/* ---- single invalidations ---- */

static void drop_in_slot(struct cpu *cpu, struct tlb_asid *as, uint64_t va, bool only_global)
{
	for (unsigned m = 0; m < TLB_N_MODES; m++)
		array_drop(cpu, as->modes[m], va, only_global);
}

void mmu_invlpg(struct cpu *cpu, uint64_t va)
{
	for (unsigned i = 0; i < TLB_N_ASIDS; i++) {
		if (cpu->asids[i].key != KEY_FREE)
			drop_in_slot(cpu, &cpu->asids[i], va, i != cpu->asid);
	}
	if (va >> 63)
		global_withdraw(cpu);
	walks_forget(cpu);
}

void mmu_invpcid_addr(struct cpu *cpu, uint16_t pcid, uint64_t va)
{
	struct tlb_asid *as = asid_find(cpu, KEY_PCID | pcid);

	/* Without CR4.PCIDE only PCID 0 exists: the present address space. */
	if (!(cpu->cr4 & CR4_PCIDE))
		as = &cpu->asids[cpu->asid];
	if (as)
		drop_in_slot(cpu, as, va, false);
	if (va >> 63)
		global_withdraw(cpu);
	walks_forget(cpu);
}

void mmu_invpcid_single(struct cpu *cpu, uint16_t pcid)
{
	struct tlb_asid *as = asid_find(cpu, KEY_PCID | pcid);

	if (!(cpu->cr4 & CR4_PCIDE))
		as = &cpu->asids[cpu->asid];
	if (as)
		asid_flush(cpu, as, true);
	walks_forget(cpu);
}

/* ---- write tags ---- */

/* Take write tags away: those of the host page @hva, or all of them (NULL). */
static void array_unwrite(struct tlb_array *a, const uint8_t *hva)
{
	if (!a->ready)
		return;
	for (unsigned w = 0; w < TLB_ENTRIES / 64; w++) {
		for (uint64_t bits = a->used[w]; bits; bits &= bits - 1) {
			unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);
			struct tlb_entry *e = &a->e[i];

			if (!hva || e->tag_w + e->addend == (uint64_t)(uintptr_t)hva)
				e->tag_w = tlb_no_tag(i);
		}
	}
}

static void unwrite(struct cpu *cpu, const uint8_t *hva)
{
	for (unsigned i = 0; i < TLB_N_ASIDS; i++) {
		for (unsigned m = 0; cpu->asids[i].key != KEY_FREE && m < TLB_N_MODES; m++)
			array_unwrite(cpu->asids[i].modes[m], hva);
	}
}

void mmu_drop_write_tags(struct cpu *cpu)
{
	unwrite(cpu, NULL);
}

void mmu_serve_purge(struct cpu *cpu)
{
	uint32_t wanted = atomic_load(&cpu->purge_wanted);

	if (wanted == atomic_load_explicit(&cpu->purge_done, memory_order_relaxed))
		return;
	/* In the guest the requester waits for us, so its page is still the one in question. */
	if (atomic_load_explicit(&cpu->in_guest, memory_order_relaxed))
		unwrite(cpu, atomic_load(&cpu->vm->purge_hva));
	else
		unwrite(cpu, NULL);
	atomic_store(&cpu->purge_done, wanted);
}

static void wait_for_purge(struct cpu *cpu, struct cpu *other, uint32_t ticket)
{
	for (unsigned spins = 0;; spins++) {
		/* in_guest first: a vCPU that leaves and enters again drops all its tags. */
		if (!atomic_load(&other->in_guest) ||
		    (int32_t)(atomic_load(&other->purge_done) - ticket) >= 0)
			return;
		cpu_attention(other); /* it may have cleared stop_at before it saw the event */
		if (spins % 64 == 63)
			sched_yield();
		else
			__builtin_ia32_pause();
	}
}

static void purge_others(struct cpu *cpu, uint8_t *hva)
{
	struct soft_vm *vm = cpu->vm;
	uint32_t tickets[HV_MAX_VCPUS];

	while (atomic_flag_test_and_set(&vm->purge_busy)) {
		mmu_serve_purge(cpu);
		sched_yield();
	}
	atomic_store(&vm->purge_hva, hva);
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		struct cpu *other = vm->cpus[i];

		if (!other || other == cpu)
			continue;
		tickets[i] = atomic_fetch_add(&other->purge_wanted, 1) + 1;
		if (atomic_load(&other->in_guest))
			cpu_post(other, CPU_EV_PURGE);
	}
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		if (vm->cpus[i] && vm->cpus[i] != cpu)
			wait_for_purge(cpu, vm->cpus[i], tickets[i]);
	}
	atomic_flag_clear(&vm->purge_busy);
}

void mmu_protect_code_page(struct cpu *cpu, gpa_t gpa)
{
	gpa_t page = gpa & PAGE_MASK;
	const struct gmem_region *r = gmem_region_find(cpu->vm->mem, page, GMEM_PAGE_SIZE);
	uint8_t *flags, old;

	if (!r)
		return;
	flags = &r->page_flags[(page - r->gpa) >> GMEM_PAGE_SHIFT];
	old = __atomic_fetch_or(flags, GMEM_PAGE_CODE, __ATOMIC_SEQ_CST);
	if (!(old & GMEM_PAGE_WTLB))
		return;
	unwrite(cpu, r->hva + (page - r->gpa));
	if (cpu->vm->n_cpus > 1)
		purge_others(cpu, r->hva + (page - r->gpa));
	/* Nobody can install one while CODE stands. */
	__atomic_fetch_and(flags, (uint8_t)~GMEM_PAGE_WTLB, __ATOMIC_SEQ_CST);
}

/* ---- life ---- */

int mmu_init(struct cpu *cpu, struct err *err)
{
	cpu->tlb_arrays = calloc(TLB_N_ASIDS * TLB_N_MODES, sizeof(*cpu->tlb_arrays));
	if (!cpu->tlb_arrays)
		return err_set(err, -ENOMEM, "no memory for a vCPU's TLB");
	for (unsigned i = 0; i < TLB_N_ASIDS; i++) {
		cpu->asids[i].key = KEY_FREE;
		for (unsigned m = 0; m < TLB_N_MODES; m++)
			cpu->asids[i].modes[m] = &cpu->tlb_arrays[i * TLB_N_MODES + m];
	}
	cpu->walk_gen = 1;
	if (!cpu->phys_bits)
		cpu->phys_bits = 40;
	mmu_paging_changed(cpu);
	return 0;
}

void mmu_done(struct cpu *cpu)
{
	free(cpu->tlb_arrays);
	cpu->tlb_arrays = NULL;
	cpu->tlb = NULL;
}
