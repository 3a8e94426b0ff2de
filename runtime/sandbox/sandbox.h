/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock-down: what each thread of a container's machine may still do, and how it gets there.
 *
 * Theory of operation. Rights are the kernel's per-thread ones, given up in the thread itself and
 * before the first guest instruction, when everything is open and mapped:
 *
 *	create	  sandbox_fork()	     the process is born into namespaces of its own
 *	main	  sandbox_new()		     filters are made
 *	 files	  sandbox_files_enter()	     root is the container's tree; own descriptor table
 *	 files	  sandbox_files_close()	     capabilities but those for files go
 *	main	  sandbox_leave_root()	     root is empty; no capability is left
 *	 devices  sandbox_enter()	     born of main without rights; filter
 *	 vCPUs	  sandbox_enter()	     the same, and a descriptor table with nothing but
 *events files	  sandbox_enter()	     filter main	  sandbox_enter()	     filter
 *
 * The filters come from one table (syscalls.c), a row for each system call with its roles and the
 * reason; SECURITY.md prints it. A call outside of it is not made: the thread gets SIGSYS, whose
 * handler (crash.c) says who tried what and ends the process.
 */
#ifndef RUNTIME_SANDBOX_H
#define RUNTIME_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

enum sandbox_role {
	SANDBOX_VCPU,	 /* runs guest code, serves its port and MMIO accesses */
	SANDBOX_DEVICES, /* the machine's event loop */
	SANDBOX_CONTROL, /* the first thread: control socket, streams, signals */
	SANDBOX_FILES,	 /* a file server's worker */
	SANDBOX_PROXY,	 /* the process that stands for an executed one */
	SANDBOX_MAX_,
};

/* ---- namespaces ---- */

struct sandbox_namespaces {
	int flags; /* CLONE_NEW*; sandbox_fork() adds CLONE_NEWUSER for callers without rights */
	int cgroup_fd; /* a version 2 directory to be born in; -1 none, or it could not be */
	uid_t uid; /* of the caller, filled by sandbox_fork() */
	gid_t gid;
};

/**
 * sandbox_fork() - fork() into new namespaces
 *
 * Return: the child's pid, 0 in the child; negative errno.
 */
pid_t sandbox_fork(struct sandbox_namespaces *ns, struct err *err);

/**
 * sandbox_namespaces_enter() - Settle in them: ids as the caller's, mounts that come but never go
 *
 * Context: the new process, before it opens anything.
 */
int sandbox_namespaces_enter(const struct sandbox_namespaces *ns, struct err *err);

/* The same without a fork, for a process that goes on: no pid namespace. One thread only. */
int sandbox_unshare(struct sandbox_namespaces *ns, struct err *err);

/* ---- filters ---- */

struct sandbox;

/* What becomes of a call: of one that the table has, and of others. */
enum sandbox_mode {
	SANDBOX_ENFORCE, /* made; the thread is stopped */
	SANDBOX_LOG,	 /* made; made, and the kernel's audit log says so */
	SANDBOX_TRACE,	 /* a tracer is told, without one ENOSYS; the thread is stopped */
	SANDBOX_MODE_MAX_,
};

/* What a tracer is told: 16 bits. */
#define SANDBOX_TRACE_DATA(role, row) ((unsigned)(role) << 12 | (unsigned)(row))

/**
 * sandbox_mode_read() - The mode that HUSK_SECCOMP in the environment asks for
 *
 * From who runs husk: a configuration cannot weaken the filters.
 * Return: 0; -EINVAL there is no such mode.
 */
int sandbox_mode_read(enum sandbox_mode *ret, struct err *err);

/**
 * sandbox_new() - Make the filters of all roles
 *
 * Return: 0; negative errno.
 */
int sandbox_new(enum sandbox_mode mode, struct sandbox **ret, struct err *err);
void sandbox_free(struct sandbox *sb);
CLEANUP_DEFINE(struct sandbox, sandbox_free);

/**
 * sandbox_enter() - Make the calling thread one of a role, for good
 *
 * Also sees to it that a crash of this thread is reported. A vCPU's thread leaves the process's
 * descriptor table here and keeps events, timers, KVM's descriptors and the log.
 *
 * Context: no_new_privs is set. SANDBOX_CONTROL is entered after all others.
 * Return: 0; negative errno, of which -ENOSYS: this kernel has no filters.
 */
int sandbox_enter(struct sandbox *sb, enum sandbox_role role, struct err *err);

/**
 * sandbox_enter_proxy() - Make a process of one thread a proxy: no capabilities, filter
 */
int sandbox_enter_proxy(struct err *err);

/* ---- the machine's process ---- */

/**
 * sandbox_close_inherited() - Close what came from the caller and nobody asked for
 * @n_first:	Of the lowest descriptors, how many stay
 * @more:	Others that stay; negative: none
 */
int sandbox_close_inherited(unsigned n_first, const int *more, size_t n_more, struct err *err);

/* What holds for every thread, before the first one: no_new_privs, no core file, crash reports. */
int sandbox_restrain(struct err *err);

/**
 * sandbox_leave_root() - An empty root directory, and no capability
 *
 * Context: before the threads start that shall have neither; in a mount namespace of our own.
 */
int sandbox_leave_root(struct err *err);

/* Nothing may be started any more. Context: all threads are there. */
int sandbox_stop_forks(struct err *err);

/* ---- a file server's threads ---- */

/* For struct fuse_options: what its jail hooks get as their opaque. */
struct sandbox_files {
	struct sandbox *sb;
	int tree_fd;	   /* detached tree that becomes the root; borrowed */
	bool unprivileged; /* files belong to the server: it keeps no capability at all */
};

int sandbox_files_enter(void *files, int keep_fd, struct err *err);
int sandbox_files_close(void *files, struct err *err);
int sandbox_files_seal(void *files, struct err *err);

/**
 * sandbox_tree_open() - A directory with all that is mounted below it, as a tree for tree_fd
 *
 * Return: descriptor; negative errno.
 */
int sandbox_tree_open(const char *dir, struct err *err);

/* ---- the table, for tests and SECURITY.md ---- */

enum sandbox_arg_op {
	SANDBOX_ARG_ANY, /* no condition */
	SANDBOX_ARG_EQ,
	SANDBOX_ARG_MASKED, /* (argument & mask) == value */
	SANDBOX_ARG_SELF,   /* this process's pid */
};

struct sandbox_arg {
	enum sandbox_arg_op op;
	unsigned arg;
	uint64_t mask, value;
};

#define SANDBOX_RULE_ARGS 2

/* Several rules of one call are alternatives; the conditions of one rule hold together. */
struct sandbox_rule {
	int nr;
	unsigned roles; /* 1 << enum sandbox_role */
	struct sandbox_arg args[SANDBOX_RULE_ARGS];
	bool rare; /* after failures, under memory pressure, on other hosts */
	const char *name, *condition, *reason;
};

const struct sandbox_rule *sandbox_rules(size_t *ret_n);
const char *sandbox_role_str(enum sandbox_role role);

#endif
