/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest test of legacy protected mode is written with, as guest.h for long mode: one function
 * a test, alone in a fresh VM, ring 0, flat 32-bit segments, paging and interrupts off.
 */
#ifndef GUEST32_H
#define GUEST32_H

#include "report.h"

#define SEL_CODE  0x08
#define SEL_DATA  0x10
#define SEL_UCODE 0x1b
#define SEL_UDATA 0x23
#define SEL_MAIN  0x28 /* the TSS of the test itself */
#define SEL_FREE  0x30 /* from here on for the test */
#define GDT_N	  32

struct trap_frame {
	uint32_t es, ds, edi, esi, ebp, unused_esp, ebx, edx, ecx, eax;
	uint32_t vector, error;
	uint32_t eip, cs, eflags;
	uint32_t esp, ss;		     /* from an outer ring or virtual-8086 mode */
	uint32_t vm_es, vm_ds, vm_fs, vm_gs; /* from virtual-8086 mode */
};

struct tss32 {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, iomap;
};

struct tss16 {
	uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags;
	uint16_t ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};

extern uint64_t gdt[GDT_N];
extern uint64_t idt[256];
extern struct tss32 tss_main;

/* Types for seg_desc(), with the present bit. */
enum {
	ATTR_TSS16 = 0x81, ATTR_LDT = 0x82, ATTR_TASK_GATE = 0x85, ATTR_TSS32 = 0x89,
	ATTR_INT16 = 0x86, ATTR_INT32 = 0x8e, ATTR_DPL3 = 0x60, ATTR_BUSY = 0x02,
};
uint64_t seg_desc(const void *base, uint32_t limit, unsigned attr);
uint64_t gate_desc(uint16_t sel, uint32_t off, unsigned attr);
#define SEG_ATTR(desc) ((uint8_t)((desc) >> 40))
extern char trap_entries[];
void idt_set(unsigned vec, unsigned attr); /* to trap_dispatch() */

/* As in guest.h. */
typedef void (*trap_fn)(struct trap_frame *frame);
extern trap_fn trap_handlers[256];
extern volatile uint32_t trap_resume;
#define TRY_ASM(insn)                                                              \
	"movl $9f, trap_resume\n\tmovl $0x1ff, trap\n\t" insn                      \
	"\n9:\tmovl $0, trap_resume\n\t"
#define TRY(insn, ...) __asm__ volatile(TRY_ASM(insn)__VA_ARGS__)

struct far_ptr {
	uint32_t off;
	uint16_t sel;
} __attribute__((packed));
/* insn: "ljmp" or "lcall" to a selector. */
#define TRY_FAR(insn, sel_)                                              \
	do {                                                             \
		struct far_ptr p_ = { 0, (sel_) };                       \
		TRY(insn " *%0", ::"m"(p_) : "memory", "cc");            \
	} while (0)

/* IRET to the @n values of @frame, EIP first; the value that a handler's outer_leave() gives, or
 * the vector of a trap that has no handler. */
uint32_t outer_enter(const uint32_t *frame, uint32_t n);
void outer_leave(uint32_t value) __attribute__((noreturn));

#define FLAG_TF	  0x100U
#define FLAG_IF	  0x200U
#define FLAG_IOPL 0x3000U
#define FLAG_NT	  0x4000U
#define FLAG_RF	  0x10000U
#define FLAG_VM	  0x20000U
#define FLAG_AC	  0x40000U
#define CR0_TS	  0x8U
#define CR0_WP	  0x10000U
#define CR0_PG	  0x80000000U
#define CR4_PSE	  0x10U
#define CR4_PAE	  0x20U
#define READ_CR(n) ({ uint32_t v_; __asm__ volatile("movl %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, v) __asm__ volatile("movl %0, %%cr" #n ::"r"((uint32_t)(v)) : "memory")
#define READ_DR(n) ({ uint32_t v_; __asm__ volatile("movl %%dr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_DR(n, v) __asm__ volatile("movl %0, %%dr" #n ::"r"((uint32_t)(v)) : "memory")
static inline uint16_t str(void)
{
	uint16_t v;
	__asm__ volatile("str %0" : "=r"(v));
	return v;
}
static inline uint32_t eflags(void)
{
	uint32_t v;
	__asm__ volatile("pushfl; popl %0" : "=r"(v));
	return v;
}

/* Paging with 4 KiB pages for the first 4 MiB (page_table), 4 MiB ones behind; one to one, user. */
extern uint32_t page_dir[1024], page_table[1024];
void paging_on(void);
static inline uint32_t *pte_of(const void *p)
{
	return &page_table[(uintptr_t)p >> 12];
}
static inline void invlpg(const void *p) { __asm__ volatile("invlpg (%0)" ::"r"(p) : "memory"); }

#endif
