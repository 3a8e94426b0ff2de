/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's innards: shared by vm.c, which runs it, and vm_state.c, which saves it. */
#ifndef VMM_VM_PRIV_H
#define VMM_VM_PRIV_H

#include <pthread.h>

#include "boot/boot.h"
#include "machine/machine.h"
#include "vmm/vm.h"

struct vm_restore;

struct vcpu {
	struct vm *vm;
	unsigned id;
	pthread_t thread;
	bool has_thread;
	struct hv_vcpu *hv; /* guarded by vm->lock until the machine has started, then constant */
};

/* vm->lock is taken with a device's lock held (power requests), never the other way round. */
struct vm {
	const struct hv_ops *ops;
	struct hv_vm *hv;
	struct loop *loop;
	struct machine *machine;
	struct boot_entry entry;
	struct vm_restore *restore; /* what vCPUs begin with; NULL: the boot entry */
	int exit_fd;
	int irq_fds[HV_N_GSI]; /* eventfds that are edges of a GSI, where the back end has them */
	int (*enter_thread)(void *opaque, enum vm_thread thread, struct err *err);
	void *thread_opaque;
	unsigned n_vcpus;
	struct vcpu vcpus[HV_MAX_VCPUS];
	pthread_t loop_thread;
	bool has_loop_thread;

	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned n_ready;    /* threads that have all they need, or failed; guarded by lock */
	unsigned n_live;     /* vCPU threads in their loop; guarded by lock */
	unsigned n_parked;   /* of them; guarded by lock */
	unsigned n_quiesce;  /* guarded by lock */
	bool started;	     /* vCPUs may run; guarded by lock */
	struct vm_exit exit; /* reason NONE while running; guarded by lock */
};

/* ---- vm_state.c ---- */

/* Load the devices, read what vCPUs and interrupt controllers begin with. Before the back end's VM. */
int vm_restore_begin(struct vm *vm, const struct vm_saved *saved, struct err *err);
/* Begin to make the first vCPU and to load its code, if there is any. The back end's VM exists. */
void vm_restore_make(struct vm *vm);
/* Whether that is under way, so that nobody else must. */
bool vm_restore_makes(const struct vm *vm, unsigned id);
/* A vCPU with the state that it begins with; its own thread. */
int vm_restore_vcpu(const struct vm *vm, unsigned id, struct hv_vcpu **ret, struct err *err);
/*
 * The vCPU that vm_restore_make() has made, interrupt controllers, and a new generation id: all other
 * vCPUs exist, none has run.
 */
int vm_restore_finish(struct vm *vm, struct err *err);
/* Wait for what vm_restore_make() has begun; no vCPU has a thread. */
void vm_restore_stop(struct vm *vm);
void vm_restore_free(struct vm_restore *restore);

#endif
