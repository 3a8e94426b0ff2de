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

/*
 * A saved machine, as whoever reads it presents it. Borrowed while vm_new() runs; the memory file
 * must keep its length for as long as the VM lives.
 */
struct vm_saved {
	void *opaque;
	/* A section's bytes; false: there is none of that name and instance. */
	bool (*find)(void *opaque, const char *name, uint32_t instance, const void **ret,
		     size_t *ret_len);
	/* Called when all that the machine knows was asked for: refuse what is left over. */
	int (*check)(void *opaque, struct err *err);
	int memory_fd; /* laid out as vm_memory() says */
	/* Of vm_code_save(), from where nobody untrusted can write. What is no good is not used. */
	bool has_code;
	int code_fd;
};

/* A virtio-fs device. */
struct vm_fs {
	const char *tag;		  /* by which the guest mounts it, up to 36 bytes */
	const struct fs_backend *backend; /* borrowed until vm_free() */
	unsigned n_queues;		  /* request queues; 0: one */
	uint64_t window_len; /* bytes of a window onto file pages (DAX): a power of two, 2 MiB or
				more; 0: none */
};

#define VM_MAX_NET 4
#define VM_MAC_LEN 6

/* A virtio-net device. */
struct vm_net {
	/*
	 * Where packets come from and go to: a tap, or anything that keeps packets apart, whose packets
	 * begin with a virtio network header of 12 bytes. Does not block. Borrowed until vm_free().
	 */
	int tap_fd;
	uint8_t mac[VM_MAC_LEN];
	uint16_t mtu; /* the most the guest may use; 0: it is not told */
};

/* Who calls vm_config.enter_thread. */
enum vm_thread {
	VM_THREAD_DEVICES,
	VM_THREAD_VCPU,
	VM_THREAD_STARTER, /* the caller of vm_start(), when all others are there */
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
	/* Go on with this machine; kernel, initrd and command line are not looked at. */
	const struct vm_saved *saved;

	/* Borrowed until vm_free(); NULL: the device is there, connected to nothing. */
	const struct console_backend *serial;
	const struct console_backend *virtio_console; /* NULL: no such device */
	bool virtio_rng;
	struct vm_fs fs[VM_MAX_FS];
	unsigned n_fs;
	const struct vsock_backend *vsock; /* NULL: no such device */
	struct vm_net net[VM_MAX_NET];
	unsigned n_net;
	/* The channel to husk's init: mailbox, timeslice page, config region. NULL: none. */
	const struct guest_backend *guest;
	bool has_debug_fd;
	int debug_fd; /* where port 0xe9 writes, when has_debug_fd */

	/*
	 * Called once on each thread, when it has opened and mapped all that it will ever need and
	 * before any guest instruction: the place to drop rights. Of the descriptors that exist
	 * then, a vCPU's thread uses eventfds, KVM's and the log's only. NULL: nothing to do.
	 */
	int (*enter_thread)(void *opaque, enum vm_thread thread, struct err *err);
	void *thread_opaque;
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

/*
 * A machine that begins with a saved one: its clocks go on so much later than they were saved, as if it had
 * been idle. Context: before vm_start().
 */
void vm_restore_later(struct vm *vm, uint64_t ns);

/**
 * vm_start() - Start the threads; returns when every vCPU exists
 *
 * A machine that goes on with a saved one is given a new generation id (ACPI VMGENID) before its
 * first instruction, with the interrupt that notifies the guest's driver: Linux from 5.18 on, where
 * it is configured, then seeds its random numbers anew.
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

/**
 * vm_hold() - Let no vCPU go on after what it is doing now
 *
 * Does not wait. For a callback in which the guest has reached a point that is to be saved: the vCPU
 * stops when the callback has returned. Paired with vm_release().
 * Context: any thread, vCPUs' callbacks too.
 */
void vm_hold(struct vm *vm);
void vm_release(struct vm *vm);

/**
 * vm_save() - Write the machine's state as sections
 * @put:	Takes one section; the bytes are borrowed during the call
 *
 * Names and instances are those that struct vm_saved is asked for.
 * Context: quiesced.
 * Return: 0; -ENOMEM; what @put returns.
 */
int vm_save(struct vm *vm,
	    int (*put)(void *opaque, const char *name, uint32_t instance, const void *data,
		       size_t len, struct err *err),
	    void *opaque, struct err *err);

/*
 * What the software CPU has made of the guest's code: so that machines which go on from here need not
 * make it again. vm_rehearse() says that the guest now does once what they will do: code is made anew, and
 * the guest is told of a new generation, as they are; any thread; false: there will be no code.
 * vm_rehearsed(): what is made from now on is not for them; any thread.
 * vm_code_save() writes it to a fresh, empty file, which stays empty where there is none; quiesced.
 * Return: 0; negative errno.
 */
bool vm_rehearse(struct vm *vm);
void vm_rehearsed(struct vm *vm);
int vm_code_save(struct vm *vm, int fd, struct err *err);

/* Guest memory in the order of a snapshot's file. */
#define VM_MEMORY_PARTS 3
struct vm_memory_part {
	const void *p; /* borrowed until vm_free() */
	uint64_t len, off;
};
unsigned vm_memory(const struct vm *vm, struct vm_memory_part ret[VM_MEMORY_PARTS]);

/* What a saved machine and the one that goes on with it must have in common. */
#define VM_ID_HEX 64
struct vm_identity {
	const char *arch, *cpu_model;
	char cpuid[VM_ID_HEX + 1]; /* hash of the features the guest is shown */
	uint32_t tsc_khz;
};

/* Needs no VM. Return: 0; -EINVAL an unknown CPU model. */
int vm_identify(const struct vm_config *config, struct vm_identity *ret, struct err *err);

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

/* Bytes taken from the guest's stream to a port of the host, mod 2^32; 0 when there is none. */
uint32_t vm_vsock_received(struct vm *vm, uint32_t host_port);

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
