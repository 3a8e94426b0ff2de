/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest test is written with: one function a test, GUEST_TEST(name), run alone in a fresh VM in
 * ring 0, 64-bit mode, interrupts off. CHECK() ends it with a message; returning passes it.
 */
#ifndef GUEST_H
#define GUEST_H

#include "report.h"

/* Selectors of the GDT that guest_main() loads. */
#define SEL_CODE64 0x08
#define SEL_DATA   0x10
#define SEL_CODE32 0x18
#define SEL_USER32 0x23 /* SYSRET's order: user 32-bit code, user data, user 64-bit code */
#define SEL_UDATA  0x2b
#define SEL_USER64 0x33
#define SEL_TSS	   0x38 /* two slots */
#define SEL_FREE   0x48 /* eight slots for the test */
#define GDT_N	   17

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, iomap;
} __attribute__((packed));

extern uint64_t gdt[GDT_N];
extern struct tss tss;
struct idt_gate {
	uint16_t off0, sel;
	uint8_t ist, attr;
	uint16_t off1;
	uint32_t off2, zero;
};
extern struct idt_gate idt[256];
extern char trap_entries[];
void idt_set(unsigned vec, unsigned ist, unsigned attr); /* attr 0x8e: interrupt gate, DPL 0 */

/* A handler for a vector: takes the frame, may change it; the trap returns behind it. */
typedef void (*trap_fn)(struct trap_frame *frame);
extern trap_fn trap_handlers[256];

/*
 * Where to go on after a fault in ring 0; zero: an unexpected trap fails the test. TRY() runs one
 * asm statement and leaves its vector in trap.vector (NO_TRAP when nothing came).
 */
extern volatile uint64_t trap_resume;
#define TRY_ASM(insn)                                           \
	"movq $9f, trap_resume\n\tmovq $0x1ff, trap\n\t" insn   \
	"\n9:\tmovq $0, trap_resume\n\t"
#define TRY(insn, ...) __asm__ volatile(TRY_ASM(insn)__VA_ARGS__)

/* Ring 3 may touch the image and its stacks; DPL-3 gate at 0x80. */
void user_open(void);
/* Ring 3: runs code at @rip until it traps; returns the vector, or 0x1000 for SYSCALL. */
uint64_t user_enter(const uint64_t frame[5]);
void user_leave(uint64_t value) __attribute__((noreturn));
uint64_t run_user(const void *code, uint64_t rflags);
uint64_t run_user_cs(const void *code, uint64_t rflags, uint16_t cs);
extern volatile uint64_t syscall_seen[4]; /* rcx, r11, rsp, rax at SYSCALL's entry */
extern uint8_t user_stack[8192];
void syscall_entry(void);

/* ---- machine ---- */
#define READ_CR(n) ({ uint64_t v_; __asm__ volatile("movq %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, v) __asm__ volatile("movq %0, %%cr" #n ::"r"((uint64_t)(v)) : "memory")
#define READ_DR(n) ({ uint64_t v_; __asm__ volatile("movq %%dr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_DR(n, v) __asm__ volatile("movq %0, %%dr" #n ::"r"((uint64_t)(v)) : "memory")
static inline void invlpg(const void *p) { __asm__ volatile("invlpg (%0)" ::"r"(p) : "memory"); }
#define FLAG_CF 0x1
#define FLAG_TF 0x100
#define FLAG_IF 0x200
#define FLAG_RF 0x10000
#define FLAG_AC 0x40000
#define CR0_TS 0x8
#define CR0_EM 0x4
#define CR0_WP 0x10000
#define CR0_AM 0x40000
#define CR4_PGE 0x80
#define CR4_PCIDE 0x20000
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000
#define MSR_EFER 0xc0000080

/* ---- paging: a second address range built page by page, at PAGING_BASE ---- */
#define PTE_P  0x1ULL
#define PTE_W  0x2ULL
#define PTE_U  0x4ULL
#define PTE_A  0x20ULL
#define PTE_D  0x40ULL
#define PTE_PS 0x80ULL
#define PTE_G  0x100ULL
#define PTE_NX (1ULL << 63)
extern uint64_t boot_pml4[512], boot_pdpt[512], boot_pd[2048];
void *page_alloc(void); /* zeroed page, identity-mapped */
/* Pointer to the entry of @va at @level (1 PTE ... 4 PML4E), tables made on the way with P W U. */
uint64_t *pte_at(uint64_t va, int level);
#define PAGING_BASE 0x8000000000ULL /* PML4 slot 1 */

/* ---- interrupts and CPUs ---- */

/* The local APIC by page offset, as x2APIC where there is one (and no "xapic" on the command line). */
extern bool apic_is_x2;
void apic_enable(void);
uint32_t apic_read(unsigned reg);
void apic_write(unsigned reg, uint32_t v);
void apic_icr(uint32_t dest, uint32_t low);
#define XAPIC(reg)  (*(volatile uint32_t *)(0xfee00000UL + (reg)))
#define X2APIC(reg) (0x800 + ((reg) >> 4))
#define APIC_EOI    0xb0
extern volatile uint32_t ap_ready; /* how many secondary CPUs wait for work */
extern void (*volatile ap_work)(void);
void ap_start_one(uint32_t apic_id);
unsigned guest_n_cpus(void); /* from the command line: cpus=N, else 1 */
static inline void cpu_relax(void) { __asm__ volatile("pause" ::: "memory"); }

#endif
