/* SPDX-License-Identifier: Apache-2.0 */
/* The ground under every 32-bit guest test: descriptor tables, trap records, page tables. */
#include "guest32.h"

void guest_main32(const struct pvh_start_info *info);
void trap_dispatch(struct trap_frame *frame);

uint64_t idt[256];
struct tss32 tss_main;
trap_fn trap_handlers[256];
volatile uint32_t trap_resume;
uint32_t page_dir[1024] __attribute__((aligned(4096)));
uint32_t page_table[1024] __attribute__((aligned(4096)));
static uint8_t trap_stack[8192] __attribute__((aligned(16)));

uint64_t seg_desc(const void *base, uint32_t limit, unsigned attr)
{
	uint64_t b = (uintptr_t)base;

	return (limit & 0xffff) | (b & 0xffffff) << 16 | (uint64_t)attr << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 | (b >> 24) << 56;
}

uint64_t gate_desc(uint16_t sel, uint32_t off, unsigned attr)
{
	return (off & 0xffff) | (uint32_t)sel << 16 | (uint64_t)attr << 40 |
	       (uint64_t)(off >> 16) << 48;
}

void idt_set(unsigned vec, unsigned attr)
{
	idt[vec] = gate_desc(SEL_CODE, (uintptr_t)trap_entries + 16 * vec, attr);
}

void trap_dispatch(struct trap_frame *f)
{
	uint32_t vec = f->vector & 0xff;
	bool outer = (f->cs & 3) == 3 || (f->eflags & FLAG_VM);

	trap.vector = vec;
	trap.error = f->error;
	trap.rip = f->eip;
	trap.cs = f->cs & 0xffff;
	trap.rflags = f->eflags;
	trap.rsp = outer ? f->esp : 0;
	trap.ss = outer ? f->ss & 0xffff : 0;
	trap.cr2 = READ_CR(2);
	trap_count[vec]++;
	if (trap_handlers[vec]) {
		trap_handlers[vec](f);
		return;
	}
	if (outer)
		outer_leave(vec);
	if (!trap_resume)
		guest_fail("trap", 0, "unexpected trap", vec, NO_TRAP);
	f->eip = trap_resume;
	f->eflags &= ~FLAG_TF;
	trap_resume = 0;
}

void paging_on(void)
{
	for (uint32_t i = 0; i < 1024; i++) {
		page_table[i] = i << 12 | 7;
		page_dir[i] = i << 22 | 0x87;
	}
	page_dir[0] = (uintptr_t)page_table | 7;
	WRITE_CR(3, page_dir);
	WRITE_CR(4, READ_CR(4) | CR4_PSE);
	WRITE_CR(0, READ_CR(0) | CR0_PG | CR0_WP);
}

static void load_tables(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) ptr = { sizeof(idt) - 1, (uintptr_t)idt };

	tss_main.esp0 = (uintptr_t)trap_stack + sizeof(trap_stack);
	tss_main.ss0 = SEL_DATA;
	tss_main.iomap = sizeof(tss_main);
	gdt[SEL_MAIN / 8] = seg_desc(&tss_main, sizeof(tss_main) - 1, ATTR_TSS32);
	__asm__ volatile("ltr %w0" ::"r"(SEL_MAIN));
	for (unsigned v = 0; v < 256; v++)
		idt_set(v, ATTR_INT32);
	__asm__ volatile("lidt %0" ::"m"(ptr));
}

void guest_main32(const struct pvh_start_info *info)
{
	load_tables();
	guest_run((const char *)(uintptr_t)info->cmdline);
}
