/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine with husk's init inside, driven from a test: boot, run commands with their
 * streams, ring the doorbell, read results.
 */
#ifndef TESTS_GUEST_VM_H
#define TESTS_GUEST_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "initx/command.h"
#include "initx/guest.h"

#define GUEST_MAX_DONE 4096

struct guest_vm;

struct guest_done {
	uint32_t id;
	int32_t result;
	uint32_t stage, term_signal;
	uint32_t sent[2];
};

struct guest_vm_options {
	const char *kernel;  /* file */
	const char *modules; /* /lib/modules/VERSION */
	const char *busybox; /* put into the root */
	const char *root;    /* directory that becomes the root, by virtio-fs; NULL: the RAM disk */
	bool verbose;	     /* console to stderr */
	bool payloads;	     /* stay in the payload loop: guest_vm_program() comes next */
	const struct guest_values
		*container; /* for container init, beside the root; NULL: a hostname */
};

/* Boots as far as the command loop (or payload loop). Prints what went wrong; NULL then. */
struct guest_vm *guest_vm_start(const struct guest_vm_options *opt);
void guest_vm_free(struct guest_vm *g);

/* Time from vm_start() to the command loop, ns. */
uint64_t guest_vm_boot_ns(const struct guest_vm *g);

/* A port of the host on which the next connection becomes the other end of *@ret_fd. */
uint32_t guest_vm_port(struct guest_vm *g, int *ret_fd);

/* Place the command and ring. Returns init's answer, or a negative errno. */
int guest_vm_send(struct guest_vm *g, struct command *c);

/* One doorbell message; the answer, or a negative errno. */
int guest_vm_bell(struct guest_vm *g, const uint32_t *words, size_t n_words);

/* The same with bytes behind the words and any reply. 0, or a negative errno. */
int guest_vm_ask(struct guest_vm *g, const uint32_t *words, size_t n_words, const void *more,
		 size_t more_len, void *reply, size_t reply_len);

/**
 * guest_vm_program() - Run a program in the payload loop
 * @chunks:	What the program reads chunk by chunk, or NULL
 *
 * Container init is over when it is ready. Return: the program's result; -ETIMEDOUT.
 */
int guest_vm_program(struct guest_vm *g, enum guest_program which,
		     const struct guest_values *values, const void *chunks, size_t chunks_len);

#define GUEST_WAIT_MS 120000 /* for what comes soon, on any machine */

/* Wait for the end of command @id; false after @timeout_ms. */
bool guest_vm_wait(struct guest_vm *g, uint32_t id, unsigned timeout_ms, struct guest_done *ret);

/* Forget one end of @id that was seen, so that the next is waited for. False: there was none. */
bool guest_vm_forget(struct guest_vm *g, uint32_t id);

/* Whether the guest has passed the milestone INITX_TS_... */
bool guest_vm_passed(struct guest_vm *g, uint32_t id);

/* What the machine has done so far. */
struct guest_vm_cost {
	uint64_t instructions, exits;
};
void guest_vm_cost(struct guest_vm *g, struct guest_vm_cost *ret);

/* The config region. */
uint8_t *guest_vm_config(struct guest_vm *g);

/* Run a shell script in the guest: output (stdout and stderr), result. */
bool guest_vm_shell(struct guest_vm *g, const char *script, char *out, size_t out_size,
		    struct guest_done *ret);

#endif
