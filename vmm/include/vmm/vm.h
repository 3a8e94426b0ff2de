/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: memory, devices, vCPU threads, and how it ends.
 *
 * Theory of operation. vm_new() builds everything that is not a thread and loads the kernel:
 * nothing runs yet and every bad input is refused here. vm_start() starts the device loop and one
 * thread a vCPU. The machine ends by itself (power off, reset, triple fault, test-exit port) or by
 * vm_stop(); vm_exit_fd() then becomes readable, and vm_wait() collects the threads and flushes the
 * consoles. vm_quiesce() stops vCPUs, then the loop, then each device, so that state and memory
 * hold still; vm_resume() lets go in the reverse order.
 *
 * States: new -> running <-> quiesced -> ended (vm_wait) -> freed.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "vmm/backend.h"
#include "vmm/hv.h"

/* Guest TSC: one tick a nanosecond, wherever the back end can choose. */
#define VM_TSC_KHZ 1000000

/* What it is on this back end. */
static inline uint32_t vm_tsc_khz(const struct hv_ops *hv)
{
	return hv->tsc_khz ? hv->tsc_khz(VM_TSC_KHZ) : VM_TSC_KHZ;
}

/* An open file with the name to use in messages. fd -1: none. Borrowed while vm_new() runs. */
struct vm_file {
	int fd;
	const char *name;
};

#define VM_MAX_FS 4

/* A virtio-fs device. */
struct vm_fs {
	const char *tag;		  /* by which the guest mounts it, up to 36 bytes */
	const struct fs_backend *backend; /* borrowed until vm_free() */
	unsigned n_queues;		  /* request queues; 0: one */
};

struct vm_config {
	const struct hv_ops *hv;
	const char *cpu_model; /* NULL: "base" */
	uint64_t ram_bytes;    /* multiple of 4096 */
	unsigned n_vcpus;      /* 1 to HV_MAX_VCPUS */
	enum hv_soft_mode soft_mode;

	struct vm_file kernel;
	struct vm_file initrd;
	const char *cmdline; /* NULL: empty */
	bool linux64;	     /* @kernel is a Linux vmlinux: enter at its 64-bit entry */

	/* Borrowed until vm_free(); NULL: the device is there, connected to nothing. */
	const struct console_backend *serial;
	const struct console_backend *virtio_console; /* NULL: no such device */
	bool virtio_rng;
	struct vm_fs fs[VM_MAX_FS];
	unsigned n_fs;
	const struct vsock_backend *vsock; /* NULL: no such device */
	/* The channel to husk's init: mailbox, timeslice page, config region. NULL: none. */
	const struct guest_backend *guest;
	bool has_debug_fd;
	int debug_fd; /* where port 0xe9 writes, when has_debug_fd */
};

enum vm_exit_reason {
	VM_EXIT_NONE,
	VM_EXIT_POWER_OFF,
	VM_EXIT_RESET,
	VM_EXIT_TRIPLE_FAULT,
	VM_EXIT_TEST,	 /* value: the status from the test-exit port */
	VM_EXIT_STOPPED, /* vm_stop() */
	VM_EXIT_ERROR,	 /* err says why */
	VM_EXIT_MAX_,
};

struct vm_exit {
	enum vm_exit_reason reason;
	uint32_t value;
	struct err err;
};

struct vm;

/**
 * vm_new() - Build a machine and load its kernel
 * @config:	Borrowed until return, except where said
 * @ret:	Freed by vm_free()
 *
 * Return: 0; negative errno with one line that names the file or the setting.
 */
int vm_new(const struct vm_config *config, struct vm **ret, struct err *err);
/* Ends the machine if it still runs. NULL is fine. */
void vm_free(struct vm *vm);
CLEANUP_DEFINE(struct vm, vm_free);

/**
 * vm_start() - Start the threads; returns when every vCPU exists
 */
int vm_start(struct vm *vm, struct err *err);

/* Ask for the end. Any thread; not from signal handlers. */
void vm_stop(struct vm *vm);

/* Readable once the machine has ended. Borrowed. */
int vm_exit_fd(const struct vm *vm);

/**
 * vm_wait() - Wait for the end, join the threads, flush the consoles
 *
 * Context: the thread that called vm_start(), once.
 */
void vm_wait(struct vm *vm, struct vm_exit *ret);

/**
 * vm_quiesce() - Stop all guest and device work; returns when it holds still
 *
 * Context: not a vCPU or loop thread. Each call is paired with vm_resume().
 */
void vm_quiesce(struct vm *vm);
void vm_resume(struct vm *vm);

/* Tell the guest's virtio-console that the terminal has a new size. Any thread. */
void vm_console_resize(struct vm *vm, unsigned cols, unsigned rows);

/**
 * vm_vsock_connect() - Connect a stream to a port of the guest
 * @fd:		The host's end: the VM owns it from now on, also on failure
 *
 * A refusal shows as the end of @fd. Context: any thread.
 * Return: 0; -ENODEV no vsock device; -EMFILE too many connections.
 */
int vm_vsock_connect(struct vm *vm, uint32_t guest_port, int fd, struct err *err);

/* The config region, VM_CONFIG_BYTES of guest memory; NULL without a guest channel. */
#define VM_CONFIG_BYTES (4u << 20)
uint8_t *vm_config_region(struct vm *vm);
/* Tell that the host wrote there. Any thread. */
void vm_config_written(struct vm *vm, uint32_t off, uint32_t len);

/* Sum over all vCPUs. Best while quiesced or after vm_wait(); else a little behind. */
void vm_stats(struct vm *vm, struct hv_stats *ret);

/* "power off", "reset", ... */
const char *vm_exit_reason_str(enum vm_exit_reason reason);

#endif
