/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM back end's objects: shared by the files of kvm/.
 *
 * Theory of operation. kvm_vm_new() opens /dev/kvm, checks what it can do, makes the VM with LAPIC,
 * IOAPIC and PIC in the kernel, and gives each region of guest memory a slot. A vCPU is made and
 * run by its own thread. Accesses to what is not memory come back from KVM_RUN, are answered by the
 * bus, and KVM_RUN is entered again at once, which completes them; so when run() has returned (only
 * ever because KVM_RUN was interrupted) registers are exact. A kick sets immediate_exit and sends a
 * signal that the thread keeps blocked except inside KVM_RUN: neither a kick before KVM_RUN nor one
 * inside is lost.
 *
 * Refs: linux Documentation/virt/kvm/api.rst.
 */
#ifndef KVM_KVM_H
#define KVM_KVM_H

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "vmm/hv.h"

#define KVM_PATH	    "/dev/kvm"

/* Three pages that real mode on some Intel CPUs wants, and one more: no guest looks there. */
#define KVM_TSS_GPA	    0xfffbd000ULL
#define KVM_IDENTITY_GPA    0xfffbc000ULL

/* A quick VM's exit when KVM can't emulate something. */
#define KVM_EMULATION_ERROR (-EILSEQ)

#define KVM_N_CPUID	    256U /* entries asked of KVM_GET_SUPPORTED_CPUID */

/* ioctl(2), so that tests can stand in for the kernel. */
typedef int (*kvm_ioctl_fn)(int fd, unsigned long request, void *arg);
int kvm_ioctl(int fd, unsigned long request, void *arg);

struct kvm_assist;
struct kvm_chips;

/* ---- memory slots ---- */

#define KVM_N_ENTRY_PAGES 16U
#define KVM_N_SLOTS	  (GMEM_MAX_REGIONS + 2 * KVM_N_ENTRY_PAGES)

/* A piece of a region as KVM knows it: all of it, but for system call entries (kvm/entry.h). */
struct kvm_slot {
	gpa_t gpa;
	uint64_t len; /* bytes; 0: not in use */
	uint8_t *hva;
	const struct gmem_region *region;
	bool readonly;
};

/* ---- system call entries: kvm/entry.h ---- */

enum kvm_entry_kind {
	KVM_ENTRY_LSTAR,
	KVM_ENTRY_CSTAR,
	KVM_ENTRY_UD, /* handlers of exceptions */
	KVM_ENTRY_GP,
	KVM_ENTRY_PF,
	KVM_ENTRY_AC,
	KVM_N_ENTRIES,
};

#define KVM_ENTRY_BYTES 2
#define KVM_NO_ENTRY	(~0ULL)

struct kvm_entry {
	uint64_t va;
	gpa_t gpa; /* KVM_NO_ENTRY: there is none */
};

struct kvm_entry_page {
	gpa_t gpa;
	uint8_t *copy;
};

struct kvm_entries {
	struct kvm_entry_page pages[KVM_N_ENTRY_PAGES]; /* by address; guarded by vm->lock */
	unsigned n_pages;
	uint8_t *copies;
	pthread_rwlock_t running; /* read: inside KVM_RUN; write: nobody is */
	_Atomic bool hold;	  /* out of KVM_RUN, and wait for vm->lock */
};

struct hv_vm {
	struct hv_vm_config config;
	kvm_ioctl_fn ioctl;
	int sys_fd, fd;
	size_t run_size, xsave_size;
	uint32_t tsc_khz;
	struct kvm_cpuid2 *cpuid; /* the table as KVM will show it; APIC ids still 0 */
	bool has_clock_ctrl;
	bool quick; /* for the probe: CPUID as it is, the host's TSC rate, no assist */

	bool interprets; /* guest kernel code: what probe_kvm() calls emulated */

	pthread_mutex_t lock;
	bool dirty_on;			    /* slots have the dirty log; guarded by lock */
	struct kvm_slot slots[KVM_N_SLOTS]; /* guarded by lock once vCPUs run */
	struct kvm_entries *entries;	    /* NULL when KVM needs no help; guarded by lock */

	struct kvm_chips *chips;
	struct kvm_assist *assist; /* made with the first vCPU; guarded by lock until all exist */
	struct hv_vcpu *vcpus[HV_MAX_VCPUS]; /* that exist; guarded by lock */
};

struct hv_vcpu {
	struct hv_vm *vm;
	unsigned id;
	int fd;
	struct kvm_run *run; /* shared with the kernel, run_size bytes */
	void *xsave;	     /* xsave_size bytes */
	pid_t pid, tid;	     /* of the thread that runs it */
	_Atomic bool kicked;
	bool entries_stale;		       /* they may lead elsewhere */
	struct hv_table idt;		       /* when they were looked at */
	gpa_t gates[KVM_N_ENTRIES];	       /* of the exceptions in it, or KVM_NO_ENTRY */
	struct kvm_entry entry[KVM_N_ENTRIES]; /* written with vm->lock held */
	struct hv_stats stats;
};

/* ---- open.c ---- */

/**
 * kvm_open() - Open the device and check that it can carry a VM
 * @path:	KVM_PATH, but for tests
 *
 * Return: a descriptor; -errno of open; -EOPNOTSUPP no KVM, another API or a missing capability.
 */
int kvm_open(const char *path, kvm_ioctl_fn fn, struct err *err);

/* The check alone. */
int kvm_check(int fd, kvm_ioctl_fn fn, struct err *err);

/* A new VM, also when signals come. Return: its descriptor; -1 with errno. */
int kvm_create_vm(int sys_fd, kvm_ioctl_fn fn);

uint32_t kvm_tsc_khz(uint32_t wanted_khz);

/* ---- vm.c ---- */

/* As hv_ops' vm_new; @quick as in struct hv_vm. */
int kvm_vm_make(const struct hv_vm_config *config, bool quick, struct hv_vm **ret, struct err *err);

/*
 * Give KVM the slots that memory and system call entries want, with or without the dirty log. One
 * that stays as it was is not taken away. -errno names the one that is refused.
 */
int kvm_set_slots(struct hv_vm *vm, bool dirty_log, struct err *err);

/* Have the slots follow mem->dirty_log. */
int kvm_dirty_follow(struct hv_vm *vm, struct err *err);
void kvm_dirty_sync(struct hv_vm *vm);

/* ---- probe.c ---- */

/* Does this host's KVM interpret guest kernel code? Where the CPU has VMX or SVM nobody is asked.
 */
bool kvm_interprets(void);

/* ---- cpuid.c ---- */

/**
 * kvm_cpuid_build() - The machine's CPUID table, less what KVM can't do
 * @supported:	What KVM can do; NULL: everything
 *
 * Return: 0 and *ret for free(); -ENOMEM; -E2BIG.
 */
int kvm_cpuid_build(const struct hv_cpuid_table *table, const struct kvm_cpuid2 *supported,
		    struct kvm_cpuid2 **ret, struct err *err);
int kvm_cpuid_init(struct hv_vm *vm, struct err *err);
int kvm_cpuid_apply(struct hv_vcpu *vcpu, struct err *err);

/* ---- vcpu.c ---- */

int kvm_vcpu_new(struct hv_vm *vm, unsigned id, struct hv_vcpu **ret, struct err *err);
void kvm_vcpu_free(struct hv_vcpu *vcpu);
void kvm_vcpu_run(struct hv_vcpu *vcpu, struct hv_exit *ret_exit);
void kvm_vcpu_kick(struct hv_vcpu *vcpu);

/* Out of KVM_RUN, without leaving run(). Any thread. */
void kvm_vcpu_interrupt(struct hv_vcpu *vcpu);
void kvm_vcpu_get_stats(struct hv_vcpu *vcpu, struct hv_stats *ret);

/* ---- state.c ---- */

void kvm_get_state(struct hv_vcpu *vcpu, struct hv_vcpu_state *ret);
int kvm_set_state(struct hv_vcpu *vcpu, const struct hv_vcpu_state *state, struct err *err);

/* What executing one instruction needs and changes: everything but LAPIC, MTRRs and clocks. */
int kvm_get_core(struct hv_vcpu *vcpu, struct hv_vcpu_state *ret, struct err *err);
int kvm_set_core(struct hv_vcpu *vcpu, const struct hv_vcpu_state *state, struct err *err);

/* One MSR. Return: 0; -EINVAL KVM refuses. */
int kvm_get_msr(struct hv_vcpu *vcpu, uint32_t msr, uint64_t *ret);
int kvm_set_msr(struct hv_vcpu *vcpu, uint32_t msr, uint64_t val);

/* One ioctl on a vCPU; the message says which. */
int kvm_vcpu_ioctl(struct hv_vcpu *vcpu, unsigned long request, void *arg, const char *what,
		   struct err *err);

#endif
