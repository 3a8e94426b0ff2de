/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor tables, and what is printed when bootx or a payload that keeps them faults. */
#include "internal.h"

#define SEL_CODE 0x08
#define SEL_TSS	 0x20
#define N_GDT	 6
#define N_IDT	 32
#define VEC_PF	 14
#define GATE	 0x8e

struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3], reserved1, ist[7], reserved2;
	uint16_t reserved3, iomap;
} __attribute__((packed));

struct gate {
	uint16_t off0, sel;
	uint8_t ist, attr;
	uint16_t off1;
	uint32_t off2, zero;
};

struct table_ptr {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

void fault(const struct frame *f);

static uint64_t gdt[N_GDT] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff };
static struct gate idt[N_IDT];
static struct tss tss;
static uint8_t fault_stack[8192] __attribute__((aligned(16)));
static uint64_t guard_bottom;

void fault_set_guard(uint64_t bottom)
{
	guard_bottom = bottom;
}

void fault_init(void)
{
	struct table_ptr ptr = { .limit = sizeof(gdt) - 1, .base = (uint64_t)gdt };
	uint64_t t = (uint64_t)&tss;

	gdt[4] = (sizeof(tss) - 1) | (t & 0xffffff) << 16 | 0x89ULL << 40 | (t >> 24 & 0xff) << 56;
	gdt[5] = t >> 32;
	__asm__ volatile("lgdt %0" ::"m"(ptr));
	/* Every fault on a stack of its own: the payload's may be what is broken. */
	tss.ist[0] = (uint64_t)fault_stack + sizeof(fault_stack);
	tss.iomap = sizeof(tss);
	__asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
	for (unsigned v = 0; v < N_IDT; v++) {
		uint64_t at = (uint64_t)fault_entries + 16 * v;

		idt[v] = (struct gate){ .off0 = (uint16_t)at,
					.sel = SEL_CODE,
					.ist = 1,
					.attr = GATE,
					.off1 = (uint16_t)(at >> 16),
					.off2 = (uint32_t)(at >> 32) };
	}
	ptr = (struct table_ptr){ .limit = sizeof(idt) - 1, .base = (uint64_t)idt };
	__asm__ volatile("lidt %0" ::"m"(ptr));
}

void fault(const struct frame *f)
{
	static const char *const names[N_IDT] = {
		[0] = "division error",
		[1] = "debug",
		[2] = "NMI",
		[3] = "breakpoint",
		[6] = "invalid opcode",
		[7] = "no FPU",
		[8] = "double fault",
		[10] = "invalid TSS",
		[11] = "segment not present",
		[12] = "stack fault",
		[13] = "general protection",
		[14] = "page fault",
		[16] = "x87 error",
		[17] = "alignment check",
		[18] = "machine check",
		[19] = "SIMD error",
	};
	uint64_t cr2;
	bool guard;

	__asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
	guard = f->vector == VEC_PF && guard_bottom && cr2 < guard_bottom &&
		cr2 >= guard_bottom - PAGE;
	out_printf("bootx: %s at %x, error %x%s\n",
		   names[f->vector & 31] ? names[f->vector & 31] : "exception", f->rip, f->error,
		   guard ? ": the stack has overflowed into its guard page" : "");
	out_printf("  rax %x rbx %x rcx %x rdx %x\n  rsi %x rdi %x rbp %x rsp %x\n", f->rax, f->rbx,
		   f->rcx, f->rdx, f->rsi, f->rdi, f->rbp, f->rsp);
	out_printf("  r8 %x r9 %x r10 %x r11 %x\n  r12 %x r13 %x r14 %x r15 %x\n", f->r8, f->r9,
		   f->r10, f->r11, f->r12, f->r13, f->r14, f->r15);
	out_printf("  rflags %x cs %x cr2 %x\n", f->rflags, f->cs, cr2);
	if (f->vector == VEC_PF)
		map_print_walk(cr2);
	machine_end(guard ? BOOTX_EXIT_GUARD : BOOTX_EXIT_FAULT);
}
