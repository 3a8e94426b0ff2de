/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file server's jail: what its threads may still do, as data and as steps.
 *
 * Theory of operation. jail_enter() is for struct fuse_options.enter_jail and runs on the leader
 * thread, alone with its descriptor table: the thread gets a mount namespace whose root is the
 * container's root and nothing else, and closes every descriptor but those it is told to keep.
 * jail_close() is for close_jail: capabilities but the file ones go, and no_new_privs is set. The
 * seccomp filter is built by the caller from jail_syscalls(), because the library for it is the
 * caller's; it is installed after jail_close(). Workers started later inherit all of it.
 */
#ifndef ROOTFS_JAIL_H
#define ROOTFS_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct jail_config {
	int tree_fd;	     /* the container's assembled tree, from rootfs_assemble(); borrowed */
	const int *keep_fds; /* descriptors that must stay: interrupt events, the log */
	size_t n_keep_fds;
	bool file_handles; /* keep CAP_DAC_READ_SEARCH, so that nodes can be parked */
	bool unprivileged; /* files belong to the server: keep no capability at all */
};

/**
 * jail_enter() - Leave the host's file system
 * @keep_fd:	One more descriptor to keep, as the server asks
 *
 * Context: a thread with its own descriptor table and file system context (CLONE_FILES, CLONE_FS).
 * Return: descriptor of the new root directory; negative errno.
 */
int jail_enter(const struct jail_config *config, int keep_fd, struct err *err);

/* Drop what is not needed to serve. Return: 0; negative errno. */
int jail_close(const struct jail_config *config, struct err *err);

/* How an argument is compared; only JAIL_ARG_NONE and one argument a rule. */
enum jail_arg_op {
	JAIL_ARG_NONE,	 /* any arguments */
	JAIL_ARG_EQ,	 /* argument equals value */
	JAIL_ARG_MASKED, /* (argument & mask) equals value */
};

struct jail_syscall {
	int nr;
	const char *name;
	const char *reason;
	int error; /* 0: allowed; else fails with this errno */
	enum jail_arg_op op;
	unsigned arg;
	uint64_t mask, value;
};

/**
 * jail_syscalls() - System calls of a serving thread; several rules of one call are alternatives
 * @ret_n:	Their number
 *
 * Return: static table.
 */
const struct jail_syscall *jail_syscalls(size_t *ret_n);

#endif
