/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VMM process asks of a guest: declared here by the caller, implemented by the machine
 * (guest_vm.c), and for tests without a machine by tests/lib/fake_guest.c.
 *
 * Theory of operation. Everything happens on the loop's thread: calls come from it, events are
 * delivered on it. boot() begins; ready() says that the guest is in its command loop. Processes
 * have numbers chosen by the caller; started() is called once for each start(), ended() once after
 * a started() that was 0, and only when all the process wrote has been delivered. died() may come
 * at any time and ends everything.
 */
#ifndef RUNTIME_GUEST_H
#define RUNTIME_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "oci/config.h"

#define GUEST_INIT_ID 1U /* the container's own process */

struct guest;

struct guest_stats {
	uint64_t memory_total, memory_used; /* bytes, as the guest sees it */
	uint64_t cpu_ns;
	uint32_t n_processes;
};

struct guest_events {
	void (*ready)(void *opaque);
	/* @result: 0; negative errno of the guest. @why: what failed there, or "". */
	void (*started)(void *opaque, uint32_t id, int result, const char *why);
	/* @status: 0 to 255, 128 + signal */
	void (*ended)(void *opaque, uint32_t id, unsigned status);
	void (*died)(void *opaque, const struct err *err);
	/* What kill(), stats() and update() asked for under @tag. */
	void (*killed)(void *opaque, uint64_t tag, int result);
	void (*stats)(void *opaque, uint64_t tag, int result, const struct guest_stats *stats);
	void (*updated)(void *opaque, uint64_t tag, int result);
	/*
	 * What checkpoint() asked for. @result: 0: the guest stands still until checkpoint_end(), @text is the
	 * manifest without what is read back from the files; negative errno, with @text why.
	 */
	void (*checkpointed)(void *opaque, uint64_t tag, int result, const char *text);
	void *opaque;
};

/* Whether a start begins with a snapshot, and which one it leaves behind for the next. */
enum snapshot_mode {
	SNAPSHOT_AUTO, /* any there is; make an early one */
	SNAPSHOT_OFF,
	SNAPSHOT_EARLY, /* only early ones */
	SNAPSHOT_LATE,	/* any there is; make a late one */
	SNAPSHOT_MODE_MAX_
};

struct guest_config {
	const struct oci_config *config; /* borrowed until free */
	const char *bundle;		 /* what relative paths are below */
	const char *rootfs;		 /* absolute */
	int console_log_fd;		 /* what the guest's kernel and init say; borrowed */
	enum snapshot_mode snapshot;
	bool snapshot_wait; /* ready() when the new one is published */
	/* Asked during boot() when one is to be made. Return: of who publishes it; -1 nobody does.
	 */
	int (*open_maker)(void *opaque);
	void *maker_opaque;
	int restore_fd; /* directory of the checkpoint to go on with, or -1; borrowed by boot() */
};

struct guest_process {
	uint32_t id;
	const struct oci_process *process; /* borrowed during the call, as the next */
	const char *hook_state; /* the container's own process: what startContainer hooks read */
	/* Taken over by start(), also when it fails. With a terminal all three are the host's side
	 * of it and only the first counts. */
	int fds[3];
	unsigned null_fds; /* 1 << i: it is /dev/null, and the guest has one of its own */
	unsigned rows, cols;
	/* Its descriptors KEPT_FIRST and up; borrowed array, what it holds taken over as well. */
	const int *kept;
	unsigned n_kept;
};

/* Files to write a checkpoint to, and the process's own page map. */
struct guest_checkpoint {
	int memory_fd, state_fd, pagemap_fd, unlinked_fd;
};

enum guest_kill { GUEST_KILL_ONE, GUEST_KILL_GROUP, GUEST_KILL_ALL };

struct guest_ops {
	const char *name;
	bool real_root; /* processes run in the container's root directory */
	/* boot() locks the process down, for which it needs namespaces of its own. */
	bool sandboxed;
	/* Begin to start the guest. Return: 0; negative errno. */
	int (*boot)(const struct guest_config *config, struct loop *loop,
		    const struct guest_events *events, struct guest **ret, struct err *err);
	/* Stop it, for a process that ends next: what its console said is written then. */
	void (*stop)(struct guest *guest);
	int (*start)(struct guest *guest, const struct guest_process *process, struct err *err);
	/*
	 * Answered by killed() with 0, -ESRCH no such process, or another errno; not with @tag 0. A
	 * guest that does not answer SIGKILL for the container's own process is ended, and one of which a
	 * checkpoint is being made at once. None of these waits for the guest.
	 */
	void (*kill)(struct guest *guest, uint32_t id, int sig, enum guest_kill whom, uint64_t tag);
	void (*resize)(struct guest *guest, uint32_t id, unsigned rows, unsigned cols);
	int (*pause)(struct guest *guest, struct err *err);
	int (*resume)(struct guest *guest, struct err *err);
	void (*stats)(struct guest *guest, uint64_t tag);
	/*
	 * Optional. Take new limits as far as they concern the guest; answered by updated() when
	 * this returns 0. Return: 0; -EOPNOTSUPP the machine cannot have that much, by name;
	 * -EBUSY.
	 */
	int (*update)(struct guest *guest, const struct oci_resources *res, uint64_t tag,
		      struct err *err);
	/*
	 * Optional. Write the guest's state when its processes stand still; answered by checkpointed() when
	 * this returns 0, which it does not wait for. Takes over the files of @to, also when it fails.
	 */
	int (*checkpoint)(struct guest *guest, const struct guest_checkpoint *to, uint64_t tag,
			  struct err *err);
	/*
	 * Go on, or end as if killed: then ended() comes when all that was written is delivered. What
	 * checkpointed() has not answered yet is given up, and the guest goes on.
	 */
	void (*checkpoint_end)(struct guest *guest, bool stop);
	/* Optional, after ready(): the highest number that a restored guest knows processes by. */
	uint32_t (*last_id)(const struct guest *guest);
};

/* The one this program uses; a test program links another. */
extern const struct guest_ops *const guest_backend_ops;

#endif
