/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software CPU's state and the inner interfaces of soft/.
 *
 * Theory of operation. One struct cpu per vCPU, owned by the host thread that runs it; other threads
 * touch only the members marked atomic. cpu_exec() (block.c) runs blocks of decoded operations and comes
 * back when something needs the outer loop (soft.c): an exception is recorded, an event is pending, HLT.
 * A fault never unwinds with longjmp: whoever notices records it with cpu_raise() and returns failure,
 * and every caller returns at once. Invariants:
 *  1. At a block boundary the architectural state is exact; lazy flags count as exact (flags_get()).
 *  2. An instruction that faults has changed nothing (REP: whole iterations are committed).
 *  3. cpu->tlb points to the array for the present address space, privilege and AC; whoever changes
 *     CR0, CR3, CR4, EFER, CPL or RFLAGS.AC calls mmu_mode_changed().
 *  4. A page marked GMEM_PAGE_CODE has no write tag in any vCPU's TLB.
 */
#ifndef SOFT_CPU_H
#define SOFT_CPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* RFLAGS */
#define FL_CF	(1U << 0)
#define FL_ONE	(1U << 1)
#define FL_PF	(1U << 2)
#define FL_AF	(1U << 4)
#define FL_ZF	(1U << 6)
#define FL_SF	(1U << 7)
#define FL_TF	(1U << 8)
#define FL_IF	(1U << 9)
#define FL_DF	(1U << 10)
#define FL_OF	(1U << 11)
#define FL_IOPL (3U << 12)
#define FL_NT	(1U << 14)
#define FL_RF	(1U << 16)
#define FL_VM	(1U << 17)
#define FL_AC	(1U << 18)
#define FL_VIF	(1U << 19)
#define FL_VIP	(1U << 20)
#define FL_ID	(1U << 21)
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define CR0_PE (1U << 0)
#define CR0_MP (1U << 1)
#define CR0_EM (1U << 2)
#define CR0_TS (1U << 3)
#define CR0_ET (1U << 4)
#define CR0_NE (1U << 5)
#define CR0_WP (1U << 16)
#define CR0_AM (1U << 18)
#define CR0_NW (1U << 29)
#define CR0_CD (1U << 30)
#define CR0_PG (1U << 31)

#define CR4_VME	       (1U << 0)
#define CR4_PVI	       (1U << 1)
#define CR4_TSD	       (1U << 2)
#define CR4_DE	       (1U << 3)
#define CR4_PSE	       (1U << 4)
#define CR4_PAE	       (1U << 5)
#define CR4_MCE	       (1U << 6)
#define CR4_PGE	       (1U << 7)
#define CR4_PCE	       (1U << 8)
#define CR4_OSFXSR     (1U << 9)
#define CR4_OSXMMEXCPT (1U << 10)
#define CR4_UMIP       (1U << 11)
#define CR4_FSGSBASE   (1U << 16)
#define CR4_PCIDE      (1U << 17)
#define CR4_OSXSAVE    (1U << 18)
#define CR4_SMEP       (1U << 20)
#define CR4_SMAP       (1U << 21)

#define EFER_SCE (1U << 0)
#define EFER_LME (1U << 8)
#define EFER_LMA (1U << 10)
#define EFER_NXE (1U << 11)
#define EFER_FFXSR (1U << 14)

enum cpu_vector {
	VEC_DE, VEC_DB, VEC_NMI, VEC_BP, VEC_OF, VEC_BR, VEC_UD, VEC_NM, VEC_DF,
	VEC_TS = 10, VEC_NP, VEC_SS, VEC_GP, VEC_PF, VEC_MF = 16, VEC_AC, VEC_MC, VEC_XM,
};

/* Page-fault error code */
#define PF_P (1U << 0)
#define PF_W (1U << 1)
#define PF_U (1U << 2)
#define PF_R (1U << 3)
#define PF_I (1U << 4)

/* ---- TLB ---- */

#define TLB_BITS     10
#define TLB_ENTRIES  (1U << TLB_BITS)
#define TLB_N_ASIDS  8 /* address spaces (CR3 or PCID) whose translations are kept */

/* KERNEL: SMAP keeps it from user pages; KERNEL_AC: it does not; USER_AC: alignment is checked. */
enum tlb_mode { TLB_USER, TLB_KERNEL, TLB_KERNEL_AC, TLB_USER_AC, TLB_N_MODES };

/*
 * Direct-mapped. A tag is the page's virtual address, or tlb_no_tag() when that kind of access must take
 * the slow path. Pages outside memory (MMIO) have no tags at all. Host address = va + addend.
 */
struct tlb_entry {
	uint64_t tag_r, tag_w, tag_x;
	uint64_t addend;
};

/* tlb_array.kind */
#define TLB_GLOBAL    0x01 /* the translation has the G bit */
#define TLB_SIZE_2M   0x02 /* part of a 2 MiB (or legacy 4 MiB) page */
#define TLB_SIZE_1G   0x04

struct tlb_array {
	struct tlb_entry e[TLB_ENTRIES];
	uint8_t kind[TLB_ENTRIES];
	uint64_t used[TLB_ENTRIES / 64];      /* slots that may hold a tag: what a flush looks at */
	uint64_t large_lo[2], large_hi[2]; /* hull of the large pages in it; lower, upper half of the space */
	bool ready;			      /* tags are initialised */
	uint64_t gen; /* of its present translations; a new one, never used before, when some are withdrawn */
};

/* The page table last used for a 2 MiB stretch: most misses then cost one load. Valid while gen fits. */
#define WALK_CACHE_ENTRIES 32
struct walk_cache {
	uint64_t tag; /* va >> 21 */
	uint64_t *table;
	gpa_t gpa;
	uint32_t gen;
	uint8_t rights; /* of the levels above: enum walk_rights in mmu.c */
};

/* A tag that no address with index @i can match. */
static inline uint64_t tlb_no_tag(unsigned i)
{
	return (uint64_t)(i ^ 1) << GMEM_PAGE_SHIFT;
}

struct tlb_asid {
	uint64_t key; /* CR3 address bits and PCID; ~0 when the slot is free */
	uint64_t last_use;
	struct tlb_array *modes[TLB_N_MODES]; /* parts of cpu->tlb_arrays, initialised on first use */
	struct walk_cache walk[WALK_CACHE_ENTRIES];
};

enum mmu_paging { MMU_NONE, MMU_32BIT, MMU_PAE, MMU_4LEVEL };

/* ---- the CPU ---- */

struct cpu_exc {
	bool pending;
	bool has_error;
	bool soft; /* INT n, INT3, INTO: return address is behind the instruction, gate DPL is checked */
	bool trap; /* INT1: return address is behind the instruction too */
	bool noncanonical; /* #GP of the MMU for a bad address: #SS if the access was through SS */
	uint8_t vector;
	uint32_t error;
	uint64_t cr2;	     /* for #PF: goes to CR2 on delivery */
	uint64_t dr6;	     /* for #DB: bits to set in DR6 on delivery */
};

/* What other threads want of a vCPU: cpu->events. Set with cpu_post(), taken by the outer loop. */
enum cpu_event {
	CPU_EV_IRQ = 1 << 0,  /* the LAPIC may have a vector to deliver */
	CPU_EV_EXTINT = 1 << 1, /* the PIC's output is up */
	CPU_EV_NMI = 1 << 2,
	CPU_EV_INIT = 1 << 3,
	CPU_EV_SIPI = 1 << 4,
	CPU_EV_KICK = 1 << 5,
	CPU_EV_PURGE = 1 << 6, /* write tags to give up: mmu_serve_purge() */
};

struct block_cpu;
struct soft_vm;
struct lapic;
struct stub_cache;

/* Result of the last flag-setting operation, when RFLAGS has not been computed: see flags.h. */
struct lazy_flags {
	uint64_t res, src; /* result and first source, zero-extended from the operand size */
	uint32_t op;	   /* enum cc_op; CC_EXPLICIT: cpu->rflags is right as it stands */
};

struct cpu {
	/* --- hot: first cache lines; interp handlers address these --- */
	uint64_t gpr[HV_N_GPR];
	uint64_t zero;		/* gpr[INSN_REG_NONE]: always 0 */
	uint64_t page_va;	/* virtual address of the page the current block lies in */
	struct tlb_entry *tlb;	/* present array (invariant 3) */
	int64_t budget;		/* instructions left until the outer loop looks at the clock */
	_Atomic int64_t stop_at; /* normally 0; INT64_MAX when a thread wants attention (atomic) */
	struct lazy_flags cc;
	uint64_t code_gen[2];	/* see mmu_tlb.c: copies of translations that are good now; by address half */
	uint32_t rflags;	/* all but the arithmetic flags when cc.op != CC_EXPLICIT */
	bool smc_hit;		/* the last write hit decoded code: leave the block after this instruction */
	uint64_t rip, next_rip; /* exact outside blocks and in exec functions */
	uint64_t seg_base[6];	/* copies of seg[].base for address generation */

	/* --- system state --- */
	struct hv_segment seg[HV_N_SEG];
	struct hv_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, efer;
	uint8_t cpl;
	uint8_t mode;		/* enum cpu_mode, from CR0, EFER and CS */
	bool halted;
	uint8_t shadow;		/* interrupt shadow: 1 STI, 2 MOV SS; ends after one instruction */
	bool nmi_pending, nmi_masked;
	struct cpu_exc exc;
	uint64_t dr[4], dr6, dr7;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, mtrr_def_type;
	uint64_t mtrr_fixed[11], mtrr_var[2 * HV_N_MTRR_VAR];
	uint64_t tsc_offset;	/* guest TSC = host TSC scaled + offset */
	uint64_t kvm_system_time, kvm_wall_clock;
	uint32_t features_1_ecx, features_1_edx, features_7_ebx; /* from the CPUID table, for #UD and #GP checks */
	_Alignas(16) uint8_t fx[512]; /* x87, MMX, SSE state in FXSAVE layout; MXCSR inside */

	/* --- translation, code --- */
	struct tlb_asid asids[TLB_N_ASIDS];
	unsigned asid; /* index of the present one */
	struct tlb_array *tlb_arrays; /* TLB_N_ASIDS * TLB_N_MODES of them */
	uint64_t asid_clock;	      /* for last_use */
	uint64_t gen_clock, global_gen; /* last gen given out; that of the kernel's global pages */
	uint32_t walk_gen;	      /* bumped to forget all walk caches */
	uint8_t paging;		      /* enum mmu_paging */
	uint8_t tlb_mode;	      /* enum tlb_mode that cpu->tlb belongs to */
	uint8_t phys_bits;
	uint64_t pdpte[4];	      /* PAE paging without long mode */
	uint64_t apic_page;	      /* guest physical address of the xAPIC page, ~0 when it is off */
	struct block_cpu *code; /* block.c: this vCPU's decoded blocks */
	uint64_t code_key;	/* block.c: mode bits of the blocks that may run now */

	/* --- surroundings --- */
	struct soft_vm *vm;
	struct lapic *lapic;
	unsigned id;
	bool step; /* one instruction at a time */
	bool task_switched; /* by the present instruction: its own single step does not trap */
	uint8_t n_pauses; /* PAUSEs in a row, more or less: exec_pause() */
	uint8_t dr_data; /* data breakpoints enabled in DR7, one bit each */
	uint32_t db_pending; /* DR6 bits of a trap to raise behind the present instruction */
	_Atomic uint32_t events; /* enum cpu_event */
	_Atomic bool in_guest;	 /* inside cpu_exec(): between two safe points */
	_Atomic uint32_t purge_wanted, purge_done; /* rendezvous of mmu_protect_code_page() */
	uint32_t sipi_vector;	 /* guarded by lapic->lock */
	uint32_t mp_state;	 /* enum hv_mp_state; own thread */
	struct stub_cache *stubs;
	struct hv_stats stats;
};

/* How code is decoded and addresses are formed. Part of a block's key. */
enum cpu_mode {
	CPU_REAL16, CPU_PROT16, CPU_PROT32, CPU_COMPAT16, CPU_COMPAT32, CPU_LONG64, CPU_VM86,
	CPU_MODE_NONE,
};

static inline bool cpu_is_64bit(const struct cpu *cpu)
{
	return cpu->mode == CPU_LONG64;
}

/* ---- exceptions (exception.c) ---- */

/* Record an exception; the callers return failure. The first one recorded wins. */
void cpu_raise(struct cpu *cpu, enum cpu_vector vec);
void cpu_raise_err(struct cpu *cpu, enum cpu_vector vec, uint32_t error);
void cpu_raise_pf(struct cpu *cpu, uint64_t va, uint32_t error);

/*
 * Deliver cpu->exc or an external interrupt through the IDT (IVT in real mode), with contributory
 * rules, double fault; false means triple fault: the VM shuts down.
 */
bool cpu_deliver_exception(struct cpu *cpu);
bool cpu_deliver_interrupt(struct cpu *cpu, uint8_t vector);

/* ---- memory (mmu.c); inline fast paths in mmu.h ---- */

enum mmu_access { MMU_READ, MMU_WRITE, MMU_EXEC };

/*
 * Slow paths: any size up to 64 bytes, across pages, MMIO, code pages. false: cpu->exc is set, nothing
 * was written. A write that hits decoded code sets cpu->smc_hit.
 */
bool mmu_read_slow(struct cpu *cpu, uint64_t va, void *dst, unsigned size);
bool mmu_write_slow(struct cpu *cpu, uint64_t va, const void *src, unsigned size);

/*
 * Host pointer for a locked or read-modify-write access that lies in one page of RAM (write permission
 * checked); NULL with cpu->exc set, or NULL without: MMIO or page-crossing, use read, then write. Both
 * halves of a crossing access are checked for write before the first byte changes. After storing
 * through it call mmu_rmw_done() with the same address.
 */
void *mmu_rmw_slow(struct cpu *cpu, uint64_t va, unsigned size);
void mmu_rmw_done(struct cpu *cpu, uint64_t va, unsigned size);

/* Host pointer to the code byte at @va (translated for fetch; the rest of the page follows), or NULL with
 * cpu->exc set. *ret_gpa is its physical address. Code outside RAM raises #GP. */
const uint8_t *mmu_fetch(struct cpu *cpu, uint64_t va, gpa_t *ret_gpa);

/* Accesses the CPU makes itself at supervisor rights: descriptor tables, TSS. */
bool mmu_sys_read(struct cpu *cpu, uint64_t va, void *dst, unsigned size);
bool mmu_sys_write(struct cpu *cpu, uint64_t va, const void *src, unsigned size);
/* Whether that could be written (at most a page): false with cpu->exc set. */
bool mmu_sys_probe(struct cpu *cpu, uint64_t va, unsigned size);

void mmu_mode_changed(struct cpu *cpu);	 /* invariant 3; recomputes cpu->tlb */
void mmu_cr3_written(struct cpu *cpu, uint64_t val); /* with CR4.PCIDE and bit 63 rules; sets cpu->cr3 */
void mmu_invlpg(struct cpu *cpu, uint64_t va);
void mmu_flush_all(struct cpu *cpu, bool with_global);
/* Take the write tags of a physical page out of every vCPU's TLB (invariant 4); returns when no vCPU can
 * still be storing through one. Called by block.c before it decodes from the page. */
void mmu_protect_code_page(struct cpu *cpu, gpa_t gpa);

/* ---- code (block.c) ---- */

/* Run until cpu->exc is pending, the budget is spent or stop_at raised, or HLT. RIP and flags exact after. */
void cpu_exec(struct cpu *cpu);

/* Forget decoded code in [gpa, gpa + len): some thread has written there. Any thread. */
void block_code_written(struct soft_vm *vm, gpa_t gpa, uint64_t len);

/* ---- flags (flags.h is inline) ---- */

/* Complete RFLAGS; also stores them in cpu->rflags and leaves CC_EXPLICIT. */
uint32_t flags_sync(struct cpu *cpu);

/* Want the outer loop's attention soon. Any thread. */
static inline void cpu_attention(struct cpu *cpu)
{
	atomic_store_explicit(&cpu->stop_at, INT64_MAX, memory_order_release);
}

/* Post events and see that the vCPU notices: out of its blocks, or out of HLT. Any thread. (soft.c) */
void cpu_post(struct cpu *cpu, uint32_t events);

/* IF, or anything that holds interrupts back, was opened: look at them after this instruction. */
static inline void cpu_interrupts_opened(struct cpu *cpu)
{
	if (atomic_load_explicit(&cpu->events, memory_order_acquire))
		cpu_attention(cpu);
}

/* ---- the VM (soft.c) ---- */

struct code_cache; /* block.c: blocks of all vCPUs, by physical page */
struct ioapic;
struct pic;
struct soft_clock;

struct soft_vm {
	struct hv_vm_config config;
	struct gmem *mem;
	struct code_cache *code;
	struct cpu *cpus[HV_MAX_VCPUS];
	unsigned n_cpus; /* that exist so far (atomic access not needed: set before guest code runs) */
	struct ioapic *ioapic;
	struct pic *pic;
	atomic_flag purge_busy; /* one mmu_protect_code_page() at a time */
	_Atomic(uint8_t *) purge_hva; /* the page it is about; valid for vCPUs in the guest */
	struct soft_clock *clock;     /* soft/clock.h */
};

#endif
