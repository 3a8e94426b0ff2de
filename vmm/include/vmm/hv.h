/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor interface: what runs guest instructions. Implemented by vmm/soft (the software CPU),
 * vmm/kvm, and a fake in the tests; the machine, devices, boot code and snapshots see only this.
 *
 * Theory of operation. A VM is made, memory is complete in its gmem, vCPUs are made, then each vCPU is
 * driven by its own host thread that calls run() in a loop. Port and MMIO accesses do not leave run():
 * the back end calls the hv_bus_ops it was given, on the vCPU's thread. run() returns when there is
 * something for the machine to decide. get_state/set_state speak the architectural state in the layout
 * below, the same for every back end and for snapshots.
 */
#ifndef VMM_HV_H
#define VMM_HV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/state.h"
#include "vmm/gmem.h"

#define HV_MAX_VCPUS	32
#define HV_MAX_CPUID	64
#define HV_N_GSI	24

/* ---- architectural state (x86-64) ---- */

enum hv_gpr {
	HV_RAX, HV_RCX, HV_RDX, HV_RBX, HV_RSP, HV_RBP, HV_RSI, HV_RDI,
	HV_R8, HV_R9, HV_R10, HV_R11, HV_R12, HV_R13, HV_R14, HV_R15, HV_N_GPR,
};

enum hv_seg { HV_ES, HV_CS, HV_SS, HV_DS, HV_FS, HV_GS, HV_LDTR, HV_TR, HV_N_SEG };

/* Descriptor cache. attr: bits 0-3 type, 4 S, 5-6 DPL, 7 P, 8 AVL, 9 L, 10 D/B, 11 G, 12 unusable. */
struct hv_segment {
	uint64_t base;
	uint32_t limit; /* in bytes, G already applied */
	uint16_t selector;
	uint16_t attr;
};

#define HV_SEG_TYPE	0x000f
#define HV_SEG_S	0x0010
#define HV_SEG_DPL_SHIFT 5
#define HV_SEG_DPL	0x0060
#define HV_SEG_P	0x0080
#define HV_SEG_AVL	0x0100
#define HV_SEG_L	0x0200
#define HV_SEG_DB	0x0400
#define HV_SEG_G	0x0800
#define HV_SEG_UNUSABLE 0x1000

struct hv_table {
	uint64_t base;
	uint16_t limit;
};

enum hv_mp_state { HV_MP_RUNNABLE, HV_MP_HALTED, HV_MP_WAIT_SIPI, HV_MP_INIT };

/* Local APIC registers as in the xAPIC page, one u32 per 16-byte slot, plus what the page lacks. */
#define HV_LAPIC_N_REGS 64
struct hv_lapic_state {
	uint32_t regs[HV_LAPIC_N_REGS]; /* index = page offset / 16 */
	uint64_t base_msr;		/* IA32_APIC_BASE */
	uint64_t tsc_deadline;		/* guest TSC, 0 disarmed */
	uint64_t timer_start_ns;	/* count-down modes: guest clock when the count was loaded */
};

#define HV_N_MTRR_VAR 8
struct hv_vcpu_state {
	uint64_t gpr[HV_N_GPR];
	uint64_t rip, rflags;
	struct hv_segment seg[HV_N_SEG];
	struct hv_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer;
	uint64_t dr[4], dr6, dr7;
	uint8_t fxsave[512]; /* 64-bit FXSAVE layout */
	/* MSRs */
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, mtrr_def_type;
	uint64_t mtrr_fixed[11], mtrr_var[2 * HV_N_MTRR_VAR];
	uint64_t tsc;	      /* value at the moment of saving */
	uint64_t kvm_system_time, kvm_wall_clock; /* MSRs 0x4b564d01, 0x4b564d00 */
	/* events */
	uint32_t mp_state;	  /* enum hv_mp_state */
	uint8_t interrupt_shadow; /* 1 STI, 2 MOV SS */
	uint8_t nmi_pending, nmi_masked;
	uint8_t exc_pending, exc_vector, exc_has_error;
	uint32_t exc_error;
	uint32_t sipi_vector;
	struct hv_lapic_state lapic;
};

extern const struct state_desc hv_vcpu_state_desc;

/* ---- CPUID ---- */

struct hv_cpuid {
	uint32_t leaf, subleaf;
	uint32_t eax, ebx, ecx, edx;
	bool has_subleaf;
};

/*
 * Filled by vmm/machine/cpumodel from the chosen model; constant while the VM lives. What differs from
 * vCPU to vCPU or with its state is 0 here, and the back end puts it in: the APIC id in leaf 1 EBX[31:24]
 * and leaf 0xb EDX, OSXSAVE (were there XSAVE). A leaf that is not listed reads as zeros. Guest TSC runs
 * at tsc_khz.
 */
struct hv_cpuid_table {
	struct hv_cpuid entries[HV_MAX_CPUID];
	unsigned n;
	uint32_t tsc_khz;
};

/* ---- running ---- */

enum hv_exit_reason {
	HV_EXIT_INTERRUPTED, /* kicked: look at what is wanted, then run again */
	HV_EXIT_SHUTDOWN,    /* triple fault */
	HV_EXIT_ERROR,	     /* the back end can't go on; .msg says why */
	HV_EXIT_MAX_,
};

struct hv_exit {
	enum hv_exit_reason reason;
	struct err err; /* HV_EXIT_ERROR */
};

/* Accesses to anything that is not memory, on the vCPU's thread. size 1, 2, 4 or 8. */
struct hv_bus_ops {
	uint64_t (*io_read)(void *opaque, uint16_t port, unsigned size);
	void (*io_write)(void *opaque, uint16_t port, unsigned size, uint64_t val);
	uint64_t (*mmio_read)(void *opaque, gpa_t gpa, unsigned size);
	void (*mmio_write)(void *opaque, gpa_t gpa, unsigned size, uint64_t val);
};

/* How the software CPU runs: blocks with hot ones translated, interpreted blocks, one by one. */
enum hv_soft_mode { HV_SOFT_FAST, HV_SOFT_INTERP, HV_SOFT_STEP, HV_SOFT_MAX_ };

struct hv_vm_config {
	struct gmem *mem; /* borrowed, complete */
	const struct hv_bus_ops *bus;
	void *bus_opaque;
	const struct hv_cpuid_table *cpuid; /* borrowed */
	unsigned n_vcpus;
	enum hv_soft_mode soft_mode; /* soft only */
};

/* Work done, for benchmarks and `events --stats`. */
struct hv_stats {
	uint64_t n_insns; /* soft only */
	uint64_t n_io, n_mmio, n_hlt, n_kicks, n_irqs;
	uint64_t n_assists; /* kvm only: instructions that the software CPU had to execute */
};

struct hv_vm;
struct hv_vcpu;

struct hv_ioevent {
	gpa_t gpa;
	uint64_t value;
	unsigned size;
};

struct hv_ops {
	const char *name;    /* "soft", "kvm" */
	uint64_t vcpu_bytes; /* of host memory that a vCPU may fill with what it makes of guest code */

	/*
	 * TSC rate that guests of this back end see when @wanted_khz is asked for: the table's tsc_khz
	 * must be this. NULL: as wanted.
	 */
	uint32_t (*tsc_khz)(uint32_t wanted_khz);

	int (*vm_new)(const struct hv_vm_config *config, struct hv_vm **ret, struct err *err);
	void (*vm_free)(struct hv_vm *vm); /* after all its vCPUs */

	/* Set a GSI's level (IOAPIC pin, and the PIC's for 0-15). Any thread. */
	void (*set_gsi)(struct hv_vm *vm, unsigned gsi, bool level);

	/*
	 * Short cuts past the vCPU's thread, for back ends that have them (NULL: none). irqfd: a write to
	 * the eventfd is an edge on the GSI, by way of the host's workers: for who is not in this process;
	 * set_gsi() is sooner there. ioeventfd: the guest's writing exactly @value, @size bytes
	 * (1, 2, 4, 8), to @gpa signals the eventfd and does not reach the bus. @fd is borrowed until it is
	 * taken off again with @on false. Any thread.
	 */
	int (*irqfd)(struct hv_vm *vm, unsigned gsi, int fd, bool on, struct err *err);
	int (*ioeventfd)(struct hv_vm *vm, const struct hv_ioevent *event, int fd, bool on,
			 struct err *err);

	/*
	 * @id is also the APIC id. Call on the thread that will run it; if there is code_load, on any. The
	 * new vCPU is in its reset state: LAPIC, MSRs and FPU as after INIT, id 0 runnable (the boot code then sets its registers
	 * over get_state), the others HV_MP_WAIT_SIPI.
	 */
	int (*vcpu_new)(struct hv_vm *vm, unsigned id, struct hv_vcpu **ret, struct err *err);
	void (*vcpu_free)(struct hv_vcpu *vcpu);

	/* Run guest code; the vCPU's own thread. */
	void (*run)(struct hv_vcpu *vcpu, struct hv_exit *ret_exit);

	/* Make run() return HV_EXIT_INTERRUPTED soon; a kick between two runs is not lost. Any thread. */
	void (*kick)(struct hv_vcpu *vcpu);

	/* Whole architectural state; the vCPU is not in run(). set_state: -EINVAL names the field. */
	void (*get_state)(struct hv_vcpu *vcpu, struct hv_vcpu_state *ret);
	int (*set_state)(struct hv_vcpu *vcpu, const struct hv_vcpu_state *state, struct err *err);

	void (*get_stats)(struct hv_vcpu *vcpu, struct hv_stats *ret);

	/*
	 * Fold what the back end itself has logged into the map's page flags (GMEM_PAGE_DIRTY), as long as
	 * mem->dirty_log is set. NULL: they are always up to date. All vCPUs stopped.
	 */
	void (*dirty_sync)(struct hv_vm *vm);

	/*
	 * What the back end has made of the guest's code, for machines that go on from here (NULL: it
	 * makes nothing). code_forget: make it anew from now on, so that only what runs later is kept;
	 * any thread. code_enough: nor is what is made from now on; any thread. code_save: to a fresh file; all vCPUs stopped. code_load: from a file that nobody
	 * untrusted could write, behind set_state, before any vCPU has run; a failure leaves the vCPU as
	 * it was; any thread. code_check: whether a file is whole (-EBADMSG) and of use to this program
	 * (-ESTALE); any thread.
	 */
	void (*code_forget)(struct hv_vcpu *vcpu);
	void (*code_enough)(struct hv_vcpu *vcpu);
	int (*code_save)(struct hv_vcpu *vcpu, int fd, struct err *err);
	int (*code_load)(struct hv_vcpu *vcpu, int fd, struct err *err);
	int (*code_check)(int fd, struct err *err);

	/* Interrupt controllers outside the vCPU (IOAPIC, PIC), saved with the VM. All vCPUs stopped. */
	const struct state_desc *irqchip_state;
	void *(*irqchip_obj)(struct hv_vm *vm);
};

extern const struct hv_ops hv_soft_ops, hv_kvm_ops;

#endif
