/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMM process: what `husk create` leaves behind, titled "husk: ID".
 *
 * Theory of operation. The process is forked by create and talks to it over a pair of sockets:
 *
 *	VMM                              create
 *	namespaces joined or made
 *	   'C' ------------------------>  (only if it may not enter the cgroup that was made)
 *	   'N' ------------------------>  hooks that need the pid
 *	   <------------------------ 'G'
 *	   'M' ------------------------>  (only if a snapshot is to be made)
 *	   <---------------- descriptor   of a process that will publish it
 *	guest boots, process locked down
 *	   'R' or 'E' message --------->  state "created", pid file
 *
 * If create dies before 'R', the VMM ends too. From then on it serves the control socket and ends
 * with the container's exit status when the container's process has ended. Signals sent to it go to
 * that process.
 */
#ifndef RUNTIME_VMMPROC_H
#define RUNTIME_VMMPROC_H

#include "base/err.h"
#include "guest.h"
#include "oci/config.h"
#include "oci/state.h"
#include "sandbox/sandbox.h"
#include "statedir.h"

struct vmmproc_config {
	const struct sandbox_namespaces *namespaces; /* that the process was born into */
	const struct statedir *dir;
	struct oci_config *config;
	const struct oci_state *state; /* as create made it */
	const char *bundle, *rootfs;
	const char *console_socket; /* or NULL */
	int terminal_master_to;	    /* where to send the master when husk itself wants it, or -1 */
	unsigned n_preserve_fds;    /* 3 and up */
	int parent_fd;		    /* taken over */
	enum snapshot_mode snapshot;
	bool snapshot_wait;
	int restore_fd; /* directory of a checkpoint to begin with, or -1; taken over */
};

enum vmmproc_note {
	VMMPROC_NO_CGROUP = 'C',
	VMMPROC_NAMESPACES = 'N',
	VMMPROC_MAKER = 'M',
	VMMPROC_READY = 'R',
	VMMPROC_ERROR = 'E',
	VMMPROC_GO = 'G'
};

/* In the container's directory. */
#define VMMPROC_LOG	    "log"
#define VMMPROC_CONSOLE_LOG "console.log"

/* Exit statuses when the container's process could not be run. */
#define VMMPROC_NOT_FOUND  127
#define VMMPROC_NOT_PERMIT 126

/**
 * vmmproc_main() - Be the VMM process
 *
 * Context: a freshly forked process of one thread. Never returns.
 */
void vmmproc_main(const struct vmmproc_config *config) __attribute__((noreturn));

/* Change the name that ps shows. Needs the program's argv, whose room it uses. */
void proctitle_init(int argc, char **argv);
void proctitle_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
