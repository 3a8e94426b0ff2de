/* SPDX-License-Identifier: Apache-2.0 */
/* Paging: permissions and A/D bits at every level and page size, TLB and PCID rules. Ref: SDM 3A 4. */
#include "lib/guest.h"

#define VA (PAGING_BASE + 0x40000000ULL) /* its own PDPT entry, aligned to 1 GiB */

/* Map VA with the leaf at @level (1: 4 KiB, 2: 2 MiB, 3: 1 GiB). */
static uint64_t *map_leaf(int level, uint64_t pa, uint64_t bits)
{
	uint64_t *e = pte_at(VA, level);

	*e = pa | bits | (level > 1 ? PTE_PS : 0);
	invlpg((void *)VA);
	return e;
}

static uint64_t leaf_target(int level)
{
	return level == 1 ? (uintptr_t)page_alloc() : level == 2 ? 0x1000000 : 0;
}

static uint64_t probe_read(uint64_t va)
{
	TRY("movq (%0), %%rax", ::"r"(va) : "rax");
	return trap.vector == NO_TRAP ? NO_TRAP : trap.error;
}

static uint64_t probe_write(uint64_t va)
{
	TRY("lock; orq $0, (%0)", ::"r"(va));
	return trap.vector == NO_TRAP ? NO_TRAP : trap.error;
}

static bool has_gib_pages(void)
{
	return cpuid(0x80000001, 0).edx >> 26 & 1;
}

GUEST_TEST(accessed_and_dirty_bits_at_every_level)
{
	for (int leaf = 1; leaf <= (has_gib_pages() ? 3 : 2); leaf++) {
		uint64_t *e;

		*pte_at(VA, 3) = 0;
		e = map_leaf(leaf, leaf_target(leaf), PTE_P | PTE_W);
		for (int l = 4; l > leaf; l--)
			*pte_at(VA, l) &= ~PTE_A;
		WRITE_CR(3, READ_CR(3));
		CHECK_EQ(probe_read(VA + 0x10), NO_TRAP);
		CHECK_EQ(*e & (PTE_A | PTE_D), PTE_A);
		for (int l = 4; l > leaf; l--)
			CHECK_EQ(*pte_at(VA, l) & (PTE_A | PTE_D), PTE_A);
		CHECK_EQ(probe_write(VA + 0x10), NO_TRAP); /* after a read: D must still be set */
		CHECK_EQ(*e & (PTE_A | PTE_D), PTE_A | PTE_D);
		*e &= ~(PTE_A | PTE_D);
		invlpg((void *)VA);
		CHECK_EQ(probe_write(VA + 0x10), NO_TRAP);
		CHECK_EQ(*e & (PTE_A | PTE_D), PTE_A | PTE_D);
	}
}

GUEST_TEST(no_dirty_bit_without_write_permission)
{
	uint64_t *e = map_leaf(1, leaf_target(1), PTE_P);

	CHECK_EQ(probe_write(VA), 3);
	CHECK_EQ(*e & PTE_D, 0);
}

/* R/W, U/S and NX are the AND (NX: OR) over the levels; a fault at any level looks the same. */
GUEST_TEST(permissions_combine_over_levels)
{
	for (int level = 1; level <= 4; level++) {
		uint64_t *e;

		*pte_at(VA, 1) = leaf_target(1) | PTE_P | PTE_W | PTE_U;
		e = pte_at(VA, level);
		*e &= ~PTE_W;
		WRITE_CR(3, READ_CR(3));
		CHECK_EQ(probe_read(VA), NO_TRAP);
		CHECK_EQ(probe_write(VA), 3);
		*e |= PTE_W | PTE_NX;
		WRITE_CR(3, READ_CR(3));
		CHECK_EQ(probe_write(VA), NO_TRAP);
		TRY("jmp *%0", ::"r"(VA));
		CHECK_TRAP_ERR(PF, 0x11);
		*e &= ~(PTE_NX | PTE_P);
		WRITE_CR(3, READ_CR(3));
		CHECK_EQ(probe_read(VA), 0);
		*e |= PTE_P;
		*(uint8_t *)VA = 0xc3;
		WRITE_CR(3, READ_CR(3));
		TRY("call *%0", ::"r"(VA));
		CHECK_TRAP(NO_TRAP);
	}
}

GUEST_TEST(reserved_bits_fault)
{
	*pte_at(VA, 1) = leaf_target(1) | PTE_P | PTE_W;
	*pte_at(VA, 4) |= PTE_PS; /* reserved in a PML4 entry */
	WRITE_CR(3, READ_CR(3));
	CHECK_EQ(probe_read(VA), 9);
	*pte_at(VA, 4) &= ~PTE_PS;
	*pte_at(VA, 3) = 0;
	map_leaf(2, 0x1002000, PTE_P | PTE_W); /* misaligned 2 MiB page: bit 13 */
	CHECK_EQ(probe_write(VA), 0xb);
	*pte_at(VA, 3) = 0;
	map_leaf(1, leaf_target(1), PTE_P | PTE_NX);
	CHECK_EQ(probe_read(VA), NO_TRAP);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~0x800ULL); /* NXE off: NX is reserved */
	WRITE_CR(3, READ_CR(3));
	CHECK_EQ(probe_read(VA), 9);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x800);
}

GUEST_TEST(page_sizes_translate_right)
{
	volatile uint64_t *at;

	map_leaf(2, 0x1000000, PTE_P | PTE_W);
	at = (void *)(VA + 0x123458);
	*at = 0xfeed;
	CHECK_EQ(*(volatile uint64_t *)0x1123458, 0xfeed);
	if (!has_gib_pages())
		return;
	*pte_at(VA, 3) = 0;
	map_leaf(3, 0, PTE_P | PTE_W);
	WRITE_CR(3, READ_CR(3));
	at = (void *)(VA + 0x1123458);
	CHECK_EQ(*at, 0xfeed);
}

GUEST_TEST(invlpg_drops_a_stale_translation)
{
	uint64_t *a = page_alloc(), *b = page_alloc();
	volatile uint64_t *p = (void *)VA;

	*a = 1;
	*b = 2;
	map_leaf(1, (uintptr_t)a, PTE_P | PTE_W);
	CHECK_EQ(*p, 1);
	*pte_at(VA, 1) = (uintptr_t)b | PTE_P | PTE_W;
	invlpg((void *)VA);
	CHECK_EQ(*p, 2);
	*pte_at(VA, 1) = (uintptr_t)a | PTE_P | PTE_W;
	WRITE_CR(3, READ_CR(3));
	CHECK_EQ(*p, 1);
}

GUEST_TEST(invlpg_of_a_large_page_drops_all_of_it)
{
	volatile uint64_t *p = (void *)(VA + 0x1ff000), *q = (void *)VA;

	*(volatile uint64_t *)0x11ff000 = 1;
	*(volatile uint64_t *)0x13ff000 = 2;
	map_leaf(2, 0x1000000, PTE_P | PTE_W);
	CHECK_EQ(*p, 1);
	(void)*q;
	*pte_at(VA, 2) = 0x1200000 | PTE_P | PTE_W | PTE_PS;
	invlpg((void *)(VA + 0x5000)); /* any address inside */
	CHECK_EQ(*p, 2);
}

GUEST_TEST(global_pages_survive_cr3_but_not_pge)
{
	uint64_t *a = page_alloc(), *b = page_alloc();
	volatile uint64_t *p = (void *)VA;

	*a = 1;
	*b = 2;
	WRITE_CR(4, READ_CR(4) | CR4_PGE);
	map_leaf(1, (uintptr_t)a, PTE_P | PTE_W | PTE_G);
	CHECK_EQ(*p, 1);
	*pte_at(VA, 1) = (uintptr_t)b | PTE_P | PTE_W | PTE_G;
	WRITE_CR(4, READ_CR(4) & ~(uint64_t)CR4_PGE);
	CHECK_EQ(*p, 2);
	WRITE_CR(4, READ_CR(4) | CR4_PGE);
	*pte_at(VA, 1) = (uintptr_t)a | PTE_P | PTE_W | PTE_G;
	invlpg((void *)VA); /* takes global ones too */
	CHECK_EQ(*p, 1);
}

GUEST_TEST(read_only_made_writable_without_flush_after_fault)
{
	/* A fault drops the entry that caused it: more rights need no INVLPG. */
	uint64_t *e = map_leaf(1, leaf_target(1), PTE_P);

	CHECK_EQ(probe_write(VA), 3);
	*e |= PTE_W;
	CHECK_EQ(probe_write(VA), NO_TRAP);
}

static void pcid_set(unsigned pcid, uint64_t pml4, bool keep)
{
	WRITE_CR(3, pml4 | pcid | (keep ? 1ULL << 63 : 0));
}

GUEST_TEST(pcids_keep_their_translations_apart)
{
	uint64_t *a = page_alloc(), *b = page_alloc(), *other = page_alloc();
	volatile uint64_t *p = (void *)VA;
	uint64_t here = READ_CR(3);

	if (!(cpuid(1, 0).ecx & 1 << 17))
		return; /* not advertised: nothing to keep */
	*a = 1;
	*b = 2;
	map_leaf(1, (uintptr_t)a, PTE_P | PTE_W);
	for (int i = 0; i < 512; i++)
		other[i] = boot_pml4[i];
	other[VA >> 39 & 511] = 0; /* the other space has its own tables there */
	WRITE_CR(4, READ_CR(4) | CR4_PCIDE);
	CHECK_EQ(*p, 1);
	pcid_set(5, (uintptr_t)other, false);
	CHECK_EQ(probe_read(VA), 0);
	pcid_set(0, here, true);
	CHECK_EQ(*p, 1);
	*pte_at(VA, 1) = (uintptr_t)b | PTE_P | PTE_W;
	pcid_set(5, (uintptr_t)other, true);
	pcid_set(0, here, false); /* without bit 63: this PCID's entries go */
	CHECK_EQ(*p, 2);
	*pte_at(VA, 1) = (uintptr_t)a | PTE_P | PTE_W;
	{
		struct {
			uint64_t pcid, va;
		} desc = { 0, VA };

		__asm__ volatile("invpcid %0, %1" ::"m"(desc), "r"(0ULL) : "memory"); /* one address */
		CHECK_EQ(*p, 1);
		*pte_at(VA, 1) = (uintptr_t)b | PTE_P | PTE_W;
		__asm__ volatile("invpcid %0, %1" ::"m"(desc), "r"(1ULL) : "memory"); /* one PCID */
		CHECK_EQ(*p, 2);
		*pte_at(VA, 1) = (uintptr_t)a | PTE_P | PTE_W;
		__asm__ volatile("invpcid %0, %1" ::"m"(desc), "r"(2ULL) : "memory"); /* all */
		CHECK_EQ(*p, 1);
		TRY("invpcid %0, %1", ::"m"(desc), "r"(4ULL));
		CHECK_TRAP_ERR(GP, 0);
	}
	TRY("movq %0, %%cr4", ::"r"(READ_CR(4) & ~0x20ULL));
	CHECK_TRAP_ERR(GP, 0);
	pcid_set(5, here, false);
	WRITE_CR(4, READ_CR(4) & ~(uint64_t)CR4_PCIDE);
	TRY("movq %0, %%cr4", ::"r"(READ_CR(4) | CR4_PCIDE));
	CHECK_TRAP_ERR(GP, 0); /* CR3[11:0] is not 0 */
}

GUEST_TEST(smep_and_smap)
{
	bool smep = cpuid(7, 0).ebx & 1 << 7, smap = cpuid(7, 0).ebx & 1 << 20;

	map_leaf(1, leaf_target(1), PTE_P | PTE_W | PTE_U);
	*pte_at(VA, 2) |= PTE_U;
	*(volatile uint8_t *)VA = 0xc3;
	if (smep) {
		WRITE_CR(4, READ_CR(4) | CR4_SMEP);
		TRY("jmp *%0", ::"r"(VA));
		CHECK_TRAP_ERR(PF, 0x11);
		CHECK_EQ(probe_read(VA), NO_TRAP);
		WRITE_CR(4, READ_CR(4) & ~(uint64_t)CR4_SMEP);
	}
	TRY("call *%0", ::"r"(VA));
	CHECK_TRAP(NO_TRAP);
	if (!smap)
		return;
	WRITE_CR(4, READ_CR(4) | CR4_SMAP);
	CHECK_EQ(probe_read(VA), 1);
	CHECK_EQ(probe_write(VA), 3);
	__asm__ volatile("stac");
	*(volatile uint8_t *)(VA + 1) = 1;
	__asm__ volatile("clac");
	CHECK_EQ(probe_read(VA), 1);
	TRY("pushfq\n\torl $0x40000, (%%rsp)\n\tpopfq\n\tmovb (%0), %%al\n\tclac", ::"r"(VA) : "rax", "memory");
	CHECK_TRAP(NO_TRAP);
	CHECK_EQ(probe_read(VA), 1);
	WRITE_CR(4, READ_CR(4) & ~(uint64_t)CR4_SMAP);
	CHECK_EQ(probe_read(VA), NO_TRAP);
}

GUEST_TEST(accesses_across_pages_of_unlike_frames)
{
	uint8_t *a = page_alloc(), *gap = page_alloc(), *b = page_alloc();
	volatile uint64_t *p = (void *)(VA + 0xffb);
	uint32_t v32;

	(void)gap;
	*pte_at(VA, 1) = (uintptr_t)a | PTE_P | PTE_W;
	*pte_at(VA + 0x1000, 1) = (uintptr_t)b | PTE_P | PTE_W;
	*p = 0x8877665544332211;
	CHECK_EQ(a[0xffb], 0x11);
	CHECK_EQ(a[0xfff], 0x55);
	CHECK_EQ(b[0], 0x66);
	CHECK_EQ(b[2], 0x88);
	CHECK_EQ(gap[0], 0);
	CHECK_EQ(*p, 0x8877665544332211);
	__asm__ volatile("lock; addq %1, %0" : "+m"(*p) : "r"(0x1111111111111111ULL));
	CHECK_EQ(*p, 0x9988776655443322);
	__asm__ volatile("movdqu %1, %%xmm3; movdqu %%xmm3, %0"
			 : "=m"(*(volatile uint8_t(*)[16])(VA + 0xff1))
			 : "m"(*(volatile uint8_t(*)[16])(VA + 0xff9)));
	CHECK_EQ(*(volatile uint64_t *)(VA + 0xff3), 0x9988776655443322);
	__asm__ volatile("movl %1, %0" : "=r"(v32) : "m"(*(volatile uint32_t *)(VA + 0xffd)));
	CHECK_EQ(v32, *(volatile uint16_t *)(VA + 0xffd) | (uint32_t)a[0xfff] << 16 | (uint32_t)b[0] << 24);
	/* code across the same boundary: mov $imm32, %eax; ret */
	a[0xffd] = 0xb8;
	a[0xffe] = 0x78;
	a[0xfff] = 0x56;
	b[0] = 0x34;
	b[1] = 0x12;
	b[2] = 0xc3;
	__asm__ volatile("call *%1" : "=a"(v32) : "r"(VA + 0xffd) : "memory");
	CHECK_EQ(v32, 0x12345678);
	b[0] = 0x99; /* the second page's half changes */
	__asm__ volatile("call *%1" : "=a"(v32) : "r"(VA + 0xffd) : "memory");
	CHECK_EQ(v32, 0x12995678);
	*pte_at(VA + 0x1000, 1) = 0;
	invlpg((void *)(VA + 0x1000));
	TRY("jmp *%0", ::"r"(VA + 0xffd));
	CHECK_TRAP_ERR(PF, 0x10);
	CHECK_EQ(trap.cr2, VA + 0x1000); /* the address that is missing, not the instruction's */
	CHECK_EQ(trap.rip, VA + 0xffd);
}

/* ---- code whose pages move: what is remembered of jumps has to be forgotten ---- */

#define HIGH_VA 0xffff900000000000ULL

static void put_mov_ret(uint8_t *p, uint32_t v) /* mov $v, %eax; ret */
{
	p[0] = 0xb8;
	*(uint32_t *)(p + 1) = v;
	p[5] = 0xc3;
}

struct frames {
	uint8_t *caller, *one, *two; /* a call to the next page's start; that returns 1, or 2 */
};

static struct frames make_frames(void)
{
	struct frames f = { page_alloc(), page_alloc(), page_alloc() };

	f.caller[0] = 0xe8;
	*(uint32_t *)(f.caller + 1) = 0x1000 - 5;
	f.caller[5] = 0xc3;
	put_mov_ret(f.one, 1);
	put_mov_ret(f.two, 2);
	return f;
}

static void map_two(uint64_t va, const uint8_t *first, const uint8_t *second, uint64_t bits)
{
	*pte_at(va, 1) = (uintptr_t)first | PTE_P | PTE_W | bits;
	*pte_at(va + 0x1000, 1) = (uintptr_t)second | PTE_P | PTE_W | bits;
}

/* What the code at @va returns, when it has run often enough to be remembered in every way. */
static uint64_t call_often(uint64_t va)
{
	uint64_t r = 0;

	for (int i = 0; i < 200; i++)
		__asm__ volatile("call *%1" : "=a"(r) : "r"(va) : "memory");
	return r;
}

GUEST_TEST(calls_follow_a_page_that_is_remapped)
{
	static const uint64_t vas[] = { VA, HIGH_VA };
	struct frames f = make_frames();

	WRITE_CR(4, READ_CR(4) | CR4_PGE);
	for (int i = 0; i < 4; i++) {
		uint64_t va = vas[i / 2], bits = i & 1 ? PTE_G : 0;

		map_two(va, f.caller, f.one, bits);
		invlpg((void *)va);
		invlpg((void *)(va + 0x1000));
		CHECK_EQ(call_often(va), 1);
		map_two(va, f.caller, f.two, bits);
		invlpg((void *)(va + 0x1000));
		CHECK_EQ(call_often(va), 2);
		map_two(va, f.caller, f.one, bits);
		if (bits) { /* all, or all that are not global */
			WRITE_CR(4, READ_CR(4) & ~(uint64_t)CR4_PGE);
			WRITE_CR(4, READ_CR(4) | CR4_PGE);
		} else {
			WRITE_CR(3, READ_CR(3));
		}
		CHECK_EQ(call_often(va), 1);
	}
}

GUEST_TEST(calls_follow_the_address_space)
{
	static const uint64_t vas[] = { VA, HIGH_VA };
	uint64_t *other = page_alloc(), here = READ_CR(3);
	struct frames f = make_frames();

	for (int i = 0; i < 2; i++) {
		uint64_t *slot = &boot_pml4[vas[i] >> 39 & 511], theirs;

		*slot = 0; /* tables of its own for the other one */
		map_two(vas[i], f.caller, f.two, 0);
		theirs = *slot;
		*slot = 0;
		map_two(vas[i], f.caller, f.one, 0);
		for (int k = 0; k < 512; k++)
			other[k] = boot_pml4[k];
		other[vas[i] >> 39 & 511] = theirs;
		for (int k = 0; k < 20; k++) {
			WRITE_CR(3, k & 1 ? (uintptr_t)other : here);
			CHECK_EQ(call_often(vas[i]), k & 1 ? 2 : 1);
		}
		WRITE_CR(3, here);
	}
}

GUEST_TEST(calls_from_an_alias_go_on_behind_it)
{
	struct frames f = make_frames();

	map_two(VA, f.caller, f.one, 0);
	map_two(VA + 0x10000, f.caller, f.two, 0);
	for (int k = 0; k < 20; k++)
		CHECK_EQ(call_often(k & 1 ? VA + 0x10000 : VA), k & 1 ? 2 : 1);
}

const struct test_entry guest_tests[] = {
	ENTRY(accessed_and_dirty_bits_at_every_level),
	ENTRY(no_dirty_bit_without_write_permission),
	ENTRY(permissions_combine_over_levels),
	ENTRY(reserved_bits_fault),
	ENTRY(page_sizes_translate_right),
	ENTRY(invlpg_drops_a_stale_translation),
	ENTRY(invlpg_of_a_large_page_drops_all_of_it),
	ENTRY(global_pages_survive_cr3_but_not_pge),
	ENTRY(read_only_made_writable_without_flush_after_fault),
	ENTRY(pcids_keep_their_translations_apart),
	ENTRY(smep_and_smap),
	ENTRY(accesses_across_pages_of_unlike_frames),
	ENTRY(calls_follow_a_page_that_is_remapped),
	ENTRY(calls_follow_the_address_space),
	ENTRY(calls_from_an_alias_go_on_behind_it),
	{ 0 },
};
