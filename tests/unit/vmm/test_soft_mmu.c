/* SPDX-License-Identifier: Apache-2.0 */
#include "soft_fixture.h"

#define P    0x1ULL
#define W    0x2ULL
#define U    0x4ULL
#define A    0x20ULL
#define D    0x40ULL
#define PS   0x80ULL
#define G    0x100ULL
#define NX   (1ULL << 63)

#define DATA 0x400000ULL /* the physical page or large page that is mapped */

/* Paging forms a translation can have. */
enum form { F_4K, F_2M, F_1G, F_PAE_4K, F_PAE_2M, F_32_4K, F_32_4M, F_MAX_ };

static bool is_long(enum form form)
{
	return form <= F_1G;
}

/* Tables that map @va to DATA with @bits at the leaf and @upper above it; *ret_leaf is the leaf's
 * address, *ret_top the first entry's. Returns CR3. */
static gpa_t map(struct fixture *f, enum form form, uint64_t va, uint64_t bits, uint64_t upper,
		 gpa_t *ret_leaf, gpa_t *ret_top)
{
	gpa_t cr3 = fix_table(f), table = cr3, e = 0;
	int level = is_long(form) ? 3 : 1;
	int leaf = form == F_4K || form == F_PAE_4K ? 0 : form == F_1G ? 2 : 1;
	uint64_t base = form == F_1G ? 0 : DATA;

	*ret_top = 0;
	if (form == F_PAE_4K || form == F_PAE_2M) {
		gpa_t dir = fix_table(f);

		*fix_u64(f, cr3 + ((va >> 30) & 3) * 8) = dir | P;
		table = dir;
	}
	for (;; level--) {
		e = table + ((va >> (12 + 9 * level)) & 511) * 8;
		if (!*ret_top)
			*ret_top = e;
		if (level == leaf)
			break;
		table = fix_table(f);
		*fix_u64(f, e) = table | upper;
	}
	*fix_u64(f, e) = base | bits | (leaf ? PS : 0);
	*ret_leaf = e;
	return cr3;
}

static gpa_t map32(struct fixture *f, bool large, uint32_t va, uint32_t bits, uint32_t upper,
		   gpa_t *ret_leaf, gpa_t *ret_top)
{
	gpa_t cr3 = fix_table(f), table;
	gpa_t pde = cr3 + (va >> 22) * 4;

	*ret_top = *ret_leaf = pde;
	if (large) {
		*(uint32_t *)fix_u64(f, pde) = (uint32_t)DATA | bits | (uint32_t)PS;
		return cr3;
	}
	table = fix_table(f);
	*(uint32_t *)fix_u64(f, pde) = (uint32_t)table | upper;
	*ret_leaf = table + ((va >> 12) & 1023) * 4;
	*(uint32_t *)gmem_ptr(f->mem, *ret_leaf, 4) = (uint32_t)DATA | bits;
	return cr3;
}

static void enter(struct fixture *f, enum form form, gpa_t cr3, unsigned cpl)
{
	struct cpu *cpu = fix_cpu(f);

	fix_long_mode(f, cr3, cpl);
	if (is_long(form))
		return;
	cpu->efer = EFER_NXE;
	cpu->cr4 = form < F_32_4K ? CR4_PAE | CR4_PGE : CR4_PSE | CR4_PGE;
	cpu->seg[HV_CS].attr = (uint16_t)(0xc9b | cpl << 5);
	cpu_mode_update(cpu);
	mmu_paging_changed(cpu);
	if (form < F_32_4K)
		assert_true(mmu_load_pdptes(cpu, cr3));
}

static bool try_access(struct cpu *cpu, uint64_t va, enum mmu_access access)
{
	uint32_t v = 0;
	gpa_t gpa;

	cpu->exc.pending = false;
	switch (access) {
	case MMU_READ: return mmu_read32(cpu, va, &v);
	case MMU_WRITE: return mmu_write32(cpu, va, 0x12345678);
	case MMU_EXEC: return mmu_fetch(cpu, va, &gpa) != NULL;
	}
	return false;
}

/* The rules, written down a second time. */
static bool expect(uint64_t leaf, uint64_t upper, unsigned cpl, enum mmu_access access, bool wp,
		   bool smep, bool smap, bool ac)
{
	bool w = leaf & upper & W, u = leaf & upper & U, nx = (leaf | upper) & NX;

	if (access == MMU_EXEC && nx)
		return false;
	if (cpl == 3)
		return u && (access != MMU_WRITE || w);
	if (u && access == MMU_EXEC && smep)
		return false;
	if (u && access != MMU_EXEC && smap && !ac)
		return false;
	return access != MMU_WRITE || w || !wp;
}

struct combo {
	enum form form;
	uint64_t leaf, upper;
	unsigned cpl;
	bool wp, smep, smap, ac;
};

static void check_combo(struct fixture *f, const struct combo *c)
{
	const uint64_t va = is_long(c->form) ? 0xffff800000345000ULL : 0xc0345000ULL;
	struct cpu *cpu = fix_cpu(f);
	gpa_t leaf, top, cr3;

	f->next_table = FIX_TABLES;
	memset(gmem_ptr(f->mem, FIX_TABLES, 0x8000), 0, 0x8000);
	if (c->form >= F_32_4K)
		cr3 = map32(f, c->form == F_32_4M, (uint32_t)va, (uint32_t)(c->leaf | P),
			    (uint32_t)(c->upper | P), &leaf, &top);
	else
		cr3 = map(f, c->form, va, c->leaf | P, c->upper | P, &leaf, &top);
	enter(f, c->form, cr3, c->cpl);
	cpu->cr0 = c->wp ? cpu->cr0 | CR0_WP : cpu->cr0 & ~(uint64_t)CR0_WP;
	cpu->cr4 |= (c->smep ? CR4_SMEP : 0) | (c->smap ? CR4_SMAP : 0);
	cpu->rflags = FL_ONE | (c->ac ? FL_AC : 0);
	mmu_paging_changed(cpu);
	if (cpu->paging == MMU_PAE)
		mmu_load_pdptes(cpu, cr3);
	for (enum mmu_access a = MMU_READ; a <= MMU_EXEC; a++) {
		uint64_t upper = top == leaf ? c->leaf : c->upper; /* one level only */
		bool want = expect(c->leaf, upper, c->cpl, a, c->wp, c->smep, c->smap, c->ac);
		bool tells_fetch = c->smep || c->form < F_32_4K;

		/* Twice: by the walk, then by the TLB. */
		for (int again = 0; again < 2; again++) {
			assert_int_equal(try_access(cpu, va, a), want);
			if (want)
				continue;
			assert_int_equal(cpu->exc.vector, VEC_PF);
			assert_true(cpu->exc.cr2 == va);
			assert_int_equal(cpu->exc.error,
					 PF_P | (a == MMU_WRITE ? PF_W : 0) |
						 (c->cpl == 3 ? PF_U : 0) |
						 (a == MMU_EXEC && tells_fetch ? PF_I : 0));
		}
	}
}

static void permissions_over_all_forms_levels_and_modes(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	for (enum form form = 0; form < F_MAX_; form++) {
		uint64_t nx = form < F_32_4K ? NX : 0;

		for (unsigned bits = 0; bits < 1U << 10; bits++) {
			struct combo c = {
				.form = form,
				.leaf = (bits & 1 ? W : 0) | (bits & 2 ? U : 0) |
					(bits & 4 ? nx : 0),
				.upper = (bits & 8 ? W : 0) | (bits & 16 ? U : 0) |
					 (bits & 32 ? nx : 0),
				.cpl = bits & 64 ? 3 : 0,
				.wp = bits & 128,
				.smep = bits & 256,
				.smap = bits & 512,
			};

			check_combo(f, &c);
			c.ac = true;
			check_combo(f, &c);
			n += 2;
		}
	}
	assert_int_equal(n, 7 * 2048);
}

static void accessed_and_dirty_are_set_when_they_should_be(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	const uint64_t va = 0x7000345000ULL;

	for (enum form form = F_4K; form <= F_1G; form++) {
		gpa_t leaf, top, cr3 = map(f, form, va, P | W, P | W, &leaf, &top);

		enter(f, form, cr3, 0);
		assert_false(try_access(cpu, va + (1ULL << 39), MMU_READ));
		assert_int_equal(cpu->exc.error, 0);
		assert_false(*fix_u64(f, leaf) & (A | D));
		assert_true(try_access(cpu, va, MMU_READ));
		assert_true((*fix_u64(f, leaf) & (A | D)) == A);
		assert_true(*fix_u64(f, top) & A);
		assert_true(try_access(cpu, va, MMU_WRITE)); /* was cached without D */
		assert_true(*fix_u64(f, leaf) & D);
		assert_true(form == F_1G || !(*fix_u64(f, top) & D));
	}
}

static void a_refused_access_sets_nothing(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	gpa_t leaf, top, cr3 = map(f, F_4K, 0x5000, P, P | W | U, &leaf, &top);

	enter(f, F_4K, cr3, 3);
	assert_false(try_access(cpu, 0x5000, MMU_WRITE));
	assert_int_equal(cpu->exc.error, PF_P | PF_W | PF_U);
	assert_false(*fix_u64(f, leaf) & (A | D));
}

static void reserved_bits_fault_with_rsvd(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	const struct {
		enum form form;
		uint64_t bits;
		bool top;
	} cases[] = {
		{ F_4K, 1ULL << 45, false },
		{ F_4K, 1ULL << 51, true },
		{ F_4K, PS, true },
		{ F_2M, 1ULL << 13, false },
		{ F_2M, 1ULL << 20, false },
		{ F_1G, 1ULL << 29, false },
		{ F_PAE_4K, 1ULL << 52, false },
		{ F_PAE_2M, 1ULL << 62, false },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t va = 0x40345000;
		gpa_t leaf, top, cr3;

		f->next_table = FIX_TABLES;
		memset(gmem_ptr(f->mem, FIX_TABLES, 0x8000), 0, 0x8000);
		cr3 = map(f, cases[i].form, va, P | W, P | W, &leaf, &top);
		*fix_u64(f, cases[i].top ? top : leaf) |= cases[i].bits;
		enter(f, cases[i].form, cr3, 0);
		assert_false(try_access(cpu, va, MMU_READ));
		assert_int_equal(cpu->exc.error, PF_P | PF_R);
		/* without NXE bit 63 is reserved too */
		*fix_u64(f, cases[i].top ? top : leaf) &= ~cases[i].bits;
		*fix_u64(f, leaf) |= NX;
		assert_true(try_access(cpu, va, MMU_READ));
		cpu->efer &= ~(uint64_t)EFER_NXE;
		mmu_paging_changed(cpu);
		if (cpu->paging == MMU_PAE)
			mmu_load_pdptes(cpu, cr3);
		assert_false(try_access(cpu, va, MMU_READ));
		assert_int_equal(cpu->exc.error, PF_P | PF_R);
	}
}

static void noncanonical_addresses_raise_gp(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	gpa_t leaf, top, cr3 = map(f, F_4K, 0x7ffffffff000ULL, P | W, P | W, &leaf, &top);
	uint64_t v;

	enter(f, F_4K, cr3, 0);
	assert_false(try_access(cpu, 0x800000000000ULL, MMU_READ));
	assert_int_equal(cpu->exc.vector, VEC_GP);
	assert_true(cpu->exc.noncanonical);
	cpu->exc.pending = false;
	assert_true(mmu_read64(cpu, 0x7ffffffffff8ULL, &v));
	assert_false(mmu_read64(cpu, 0x7ffffffffff9ULL, &v)); /* runs across the border */
	assert_int_equal(cpu->exc.vector, VEC_GP);
}

static void crossing_write_changes_nothing_when_the_second_page_faults(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	gpa_t leaf, top, cr3 = map(f, F_4K, 0x5000, P | W, P | W, &leaf, &top);

	enter(f, F_4K, cr3, 0);
	*fix_u64(f, DATA + 0xff8) = 0;
	cpu->exc.pending = false;
	assert_false(mmu_write64(cpu, 0x5ffc, ~0ULL));
	assert_true(cpu->exc.cr2 == 0x6000);
	assert_int_equal(cpu->exc.error, PF_W);
	assert_true(*fix_u64(f, DATA + 0xff8) == 0);
	*fix_u64(f, leaf + 8) = (DATA + 0x3000) | P | W;
	cpu->exc.pending = false;
	assert_true(mmu_write64(cpu, 0x5ffc, 0x1122334455667788ULL));
	assert_int_equal(*fix_u64(f, DATA + 0xff8) >> 32, 0x55667788);
	assert_int_equal((uint32_t)*fix_u64(f, DATA + 0x3000), 0x11223344);
}

static void mmio_is_cut_into_bus_accesses(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	gpa_t leaf, top, cr3 = map(f, F_4K, 0x5000, P | W, P | W, &leaf, &top);
	uint8_t buf[16];
	uint64_t v;

	*fix_u64(f, leaf) = 0xd0000000ULL | P | W;
	enter(f, F_4K, cr3, 0);
	cpu->exc.pending = false;
	assert_true(mmu_read64(cpu, 0x5010, &v));
	assert_true(v == 0x1122334455667788ULL && f->mmio_gpa == 0xd0000010 && f->mmio_size == 8);
	assert_true(mmu_write16(cpu, 0x5020, 0xabcd));
	assert_true(f->mmio_gpa == 0xd0000020 && f->mmio_size == 2 && f->mmio_val == 0xabcd);
	f->n_mmio_reads = 0;
	assert_true(mmu_read_slow(cpu, 0x5030, buf, 16));
	assert_int_equal(f->n_mmio_reads, 2);
	assert_null(mmu_rmw(cpu, 0x5030, 4)); /* read, then write */
	assert_false(cpu->exc.pending);
}

static void stale_entries_live_until_they_are_invalidated(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	gpa_t leaf, top, cr3 = map(f, F_4K, 0x5000, P | W, P | W, &leaf, &top);
	uint32_t v;

	*(uint32_t *)fix_u64(f, DATA) = 1;
	*(uint32_t *)fix_u64(f, DATA + 0x1000) = 2;
	enter(f, F_4K, cr3, 0);
	cpu->exc.pending = false;
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 1);
	*fix_u64(f, leaf) = (DATA + 0x1000) | P | W;
	mmu_invlpg(cpu, 0x5123);
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 2);
	*fix_u64(f, leaf) = DATA | P | W | G;
	mmu_cr3_written(cpu, cr3); /* was not global: goes */
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 1);
	*fix_u64(f, leaf) = (DATA + 0x1000) | P | W | G;
	mmu_cr3_written(cpu, cr3); /* global: stays, as hardware may */
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 1);
	mmu_flush_all(cpu, true);
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 2);
}

static void invlpg_of_any_address_drops_a_whole_large_page(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	gpa_t leaf, top, cr3 = map(f, F_2M, 0x40200000, P | W, P | W, &leaf, &top);
	uint32_t v;

	enter(f, F_2M, cr3, 0);
	cpu->exc.pending = false;
	for (unsigned i = 0; i < 512; i += 37)
		assert_true(mmu_read32(cpu, 0x40200000 + i * 4096, &v));
	*fix_u64(f, leaf) = 0;
	mmu_invlpg(cpu, 0x403ff123);
	for (unsigned i = 0; i < 512; i += 37)
		assert_false(try_access(cpu, 0x40200000 + i * 4096, MMU_READ));
}

static void pcids_keep_their_entries_apart(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	gpa_t leaf1, leaf2, top;
	gpa_t cr3a = map(f, F_4K, 0x5000, P | W, P | W, &leaf1, &top);
	gpa_t cr3b = map(f, F_4K, 0x5000, P | W, P | W, &leaf2, &top);
	uint32_t v;

	*(uint32_t *)fix_u64(f, DATA) = 1;
	*(uint32_t *)fix_u64(f, DATA + 0x1000) = 2;
	*fix_u64(f, leaf2) = (DATA + 0x1000) | P | W;
	enter(f, F_4K, cr3a, 0);
	cpu->cr4 |= CR4_PCIDE;
	mmu_paging_changed(cpu);
	cpu->exc.pending = false;
	mmu_cr3_written(cpu, cr3a | 1);
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 1);
	mmu_cr3_written(cpu, cr3b | 2);
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 2);
	*fix_u64(f, leaf1) = (DATA + 0x1000) | P | W;
	mmu_cr3_written(cpu, cr3a | 1 | 1ULL << 63); /* keeps */
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 1);
	mmu_cr3_written(cpu, cr3b | 2 | 1ULL << 63);
	mmu_invpcid_addr(cpu, 1, 0x5000);
	mmu_cr3_written(cpu, cr3a | 1 | 1ULL << 63);
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 2);
	*fix_u64(f, leaf1) = DATA | P | W;
	mmu_invpcid_single(cpu, 1);
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 1);
	*fix_u64(f, leaf1) = (DATA + 0x1000) | P | W;
	mmu_cr3_written(cpu, cr3a | 1); /* flushes PCID 1 only */
	mmu_read32(cpu, 0x5000, &v);
	assert_int_equal(v, 2);
}

static void more_address_spaces_than_slots_stay_right(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	gpa_t cr3[20], leaf, top;
	uint32_t v;

	for (unsigned i = 0; i < 20; i++) {
		cr3[i] = map(f, F_4K, 0x5000, P | W, P | W, &leaf, &top);
		*fix_u64(f, leaf) = (DATA + i * 0x1000) | P | W;
		*(uint32_t *)fix_u64(f, DATA + i * 0x1000) = 100 + i;
	}
	enter(f, F_4K, cr3[0], 0);
	cpu->exc.pending = false;
	for (unsigned n = 0; n < 200; n++) {
		unsigned i = n * 7 % 20;

		mmu_cr3_written(cpu, cr3[i]);
		assert_true(mmu_read32(cpu, 0x5000, &v));
		assert_int_equal(v, 100 + i);
	}
}

static void code_pages_have_no_write_tag(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	gpa_t leaf, top, cr3 = map(f, F_4K, 0x5000, P | W, P | W, &leaf, &top);
	unsigned len;

	enter(f, F_4K, cr3, 0);
	cpu->exc.pending = false;
	assert_true(mmu_write32(cpu, 0x5000, 1));
	assert_true(tlb_slot(cpu, 0x5000)->tag_w == 0x5000);
	assert_non_null(mmu_page_span(cpu, 0x5000, MMU_WRITE, &len));
	mmu_protect_code_page(cpu, DATA + 0x10);
	assert_true(tlb_slot(cpu, 0x5000)->tag_w != 0x5000);
	assert_null(mmu_page_span(cpu, 0x5000, MMU_WRITE, &len));
	assert_false(cpu->exc.pending);
	cpu->smc_hit = false;
	assert_true(mmu_write32(cpu, 0x5000, 2));
	assert_true(cpu->smc_hit);
	assert_int_equal(*(uint32_t *)fix_u64(f, DATA), 2);
}

static void written_pages_are_marked_dirty(void **state)
{
	struct fixture *f = *state;
	struct cpu *cpu = fix_cpu(f);
	const struct gmem_region *r = &f->mem->regions[0];
	gpa_t leaf, top, cr3 = map(f, F_4K, 0x5000, P | W, P | W, &leaf, &top);
	uint32_t v;

	enter(f, F_4K, cr3, 0);
	memset(r->page_flags, 0, FIX_RAM >> 12);
	cpu->exc.pending = false;
	mmu_read32(cpu, 0x5000, &v);
	assert_false(r->page_flags[DATA >> 12] & GMEM_PAGE_DIRTY);
	assert_true(r->page_flags[leaf >> 12] & GMEM_PAGE_DIRTY); /* the A bit was set in it */
	mmu_write32(cpu, 0x5000, 7);
	assert_true(r->page_flags[DATA >> 12] & GMEM_PAGE_DIRTY);
	r->page_flags[DATA >> 12] = 0;
	mmu_drop_write_tags(cpu);
	mmu_write32(cpu, 0x5000, 8);
	assert_true(r->page_flags[DATA >> 12] & GMEM_PAGE_DIRTY);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(permissions_over_all_forms_levels_and_modes),
		T(accessed_and_dirty_are_set_when_they_should_be),
		T(a_refused_access_sets_nothing),
		T(reserved_bits_fault_with_rsvd),
		T(noncanonical_addresses_raise_gp),
		T(crossing_write_changes_nothing_when_the_second_page_faults),
		T(mmio_is_cut_into_bus_accesses),
		T(stale_entries_live_until_they_are_invalidated),
		T(invlpg_of_any_address_drops_a_whole_large_page),
		T(pcids_keep_their_entries_apart),
		T(more_address_spaces_than_slots_stay_right),
		T(code_pages_have_no_write_tag),
		T(written_pages_are_marked_dirty),
	};

	return cmocka_run_group_tests_name("soft/mmu", tests, NULL, NULL);
}
