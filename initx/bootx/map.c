/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables beyond those of start.S. */
#include "internal.h"

#define PTE_P	 1ULL
#define PTE_W	 2ULL
#define PTE_PS	 0x80ULL
#define PTE_ADDR 0x000ffffffffff000ULL
#define N_PTES	 512

static unsigned slot(uint64_t va, unsigned level)
{
	return va >> (12 + 9 * (level - 1)) & (N_PTES - 1);
}

static uint64_t *next_table(struct boot *b, uint64_t *entry)
{
	if (!(*entry & PTE_P))
		*entry = frames_take(b, PAGE, PAGE, BOOTX_LOADER) | PTE_P | PTE_W;
	if (*entry & PTE_PS)
		return NULL;
	return phys_ptr(*entry & PTE_ADDR);
}

static void map_one(struct boot *b, uint64_t va, uint64_t phys, uint64_t rights)
{
	uint64_t *table = table_l4;

	for (unsigned level = 4; level > 1 && table; level--)
		table = next_table(b, &table[slot(va, level)]);
	if (!table || (table[slot(va, 1)] & PTE_P))
		refuse("the payload wants address %x, which is taken", va);
	table[slot(va, 1)] = phys | rights | PTE_P;
}

void map_pages_at(struct boot *b, uint64_t va, uint64_t phys, uint64_t len, uint64_t rights)
{
	for (uint64_t at = 0; at < len; at += PAGE)
		map_one(b, va + at, phys + at, rights);
}

void map_identity(struct boot *b)
{
	uint64_t l3 = frames_take(b, PAGE, PAGE, BOOTX_LOADER);
	uint64_t *top = phys_ptr(l3);

	for (uint64_t g = 0; g < DM_LEN >> 30; g++) {
		uint64_t l2 = frames_take(b, PAGE, PAGE, BOOTX_LOADER);
		uint64_t *e = phys_ptr(l2);

		for (uint64_t i = 0; i < N_PTES; i++)
			e[i] = (g << 30 | i << 21) | PTE_P | PTE_W | PTE_PS;
		top[g] = l2 | PTE_P | PTE_W;
	}
	table_l4[0] = l3 | PTE_P | PTE_W;
	__asm__ volatile("movq %%cr3, %%rax; movq %%rax, %%cr3" ::: "rax", "memory");
}

void map_print_walk(uint64_t va)
{
	uint64_t cr3, table;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	table = cr3 & PTE_ADDR;
	for (unsigned level = 4; level >= 1; level--) {
		uint64_t entry;

		if (table >= DM_LEN) {
			out_printf("  level %u: table at %x, out of sight\n", (uint64_t)level,
				   table);
			return;
		}
		entry = ((uint64_t *)phys_ptr(table))[slot(va, level)];
		out_printf("  level %u: entry %u of the table at %x is %x%s\n", (uint64_t)level,
			   (uint64_t)slot(va, level), table, entry,
			   entry & PTE_P ? "" : ", not present");
		if (!(entry & PTE_P) || (level > 1 && (entry & PTE_PS)))
			return;
		table = entry & PTE_ADDR;
	}
}
