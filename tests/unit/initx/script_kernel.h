/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scripted kernel for guest programs: the interpreter runs their source, and this answers the
 * system calls, as the machine would or with an error at one of them.
 */
#ifndef TESTS_SCRIPT_KERNEL_H
#define TESTS_SCRIPT_KERNEL_H

#include <stdint.h>

#include "initx/guest.h"

#define LOG_MAX 8192

struct kernel {
	char log[LOG_MAX], console[LOG_MAX];
	long fail_nr;	  /* this system call */
	unsigned fail_at; /* its n-th use, from 1 */
	int fail_errno;
	unsigned n_uses;
	long fail_too; /* this one, each time, with the same errno; 0 none */
	uint64_t mailbox, timeslice, config;
	unsigned n_maps, n_sleeps;
	uint32_t mailbox_words[8];
	bool answers_netlink; /* read() gives what netlink says of a good request */
	/* what the host puts into the config region when it is mapped */
	const uint8_t *program;
	size_t program_len;
};

/* Source of the guest program @name, for free(). */
char *script_source(const char *name);

/* For struct rtg_options: @opaque is the kernel. x86-64's system call numbers. */
bool script_syscall(void *opaque, struct rtg_machine *m, int64_t nr, const uint64_t a[6],
		    int64_t *ret);

#endif
