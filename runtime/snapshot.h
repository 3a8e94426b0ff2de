/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's start and snapshots: which one to begin with, which one to make, and both.
 *
 * Theory of operation. snapshot_plan() looks for a snapshot that fits and begins a new one when there
 * is none, before the machine is built. A machine that begins with a snapshot gets snapshot_saved().
 * A new one is taken with snapshot_take() at the point the plan names, while the machine holds still:
 * early, when container init has made what all containers share, or late, when it is in its command
 * loop, with the files that the program needs in its memory. What follows that moment must make the guest unlike its siblings: clock and
 * random numbers are renewed before any process of the container runs.
 *
 * What a guest touches from there on is recorded once, and mapped in bulk for those that come after
 * it (snapshots/workset.h): of an early snapshot, which serves all images, until the program of an
 * image runs; of a late one until there is output. A record's reader bounds what it can cost.
 */
#ifndef RUNTIME_SNAPSHOT_H
#define RUNTIME_SNAPSHOT_H

#include <stdbool.h>

#include "guest.h"
#include "share.h"
#include "snapshots/store.h"
#include "snapshots/workset.h"
#include "vmm/vm.h"

enum snapshot_point {
	SNAPSHOT_POINT_NONE,
	SNAPSHOT_POINT_EARLY,
	SNAPSHOT_POINT_LATE,
	SNAPSHOT_POINT_CHECKPOINT, /* a running container */
};

/* Of a checkpoint, in the directory that the user names. */
#define SNAPSHOT_CHECKPOINT_NAME "checkpoint"

struct snapshot_plan {
	enum snapshot_point from;    /* what the machine begins with */
	enum snapshot_point to_take; /* what is to be made */
	struct snapshot source;
	struct vm_saved saved; /* view of the source for the machine */
	struct snap_workset workset; /* of the source */
	int workset_fd;		     /* where it is to be recorded */
	struct snap_new target;
	struct snap_manifest describes; /* the target */
	int store_fd;			/* its store */
	int maker_fd;			/* to the process that will publish it */
	int pagemap_fd; /* our own */
	bool wait;	/* for the publishing */
};

/* For what a plan may not do, give the zero plan: SNAPSHOT_PLAN_NONE. */
#define SNAPSHOT_PLAN_NONE                                               \
	((struct snapshot_plan){ .source = SNAPSHOT_NONE,                \
				 .workset_fd = -1, .target = SNAP_NEW_NONE, \
				 .store_fd = -1, .maker_fd = -1, .pagemap_fd = -1 })

/**
 * snapshot_plan() - Find what to begin with, begin what to make
 * @vc:		The machine as it will be, but for what boots it
 *
 * Without snapshots a container starts as well: what stands in the way is logged.
 * Context: one thread in this process.
 * Return: 0; negative errno only when the start is for the snapshot (@gc->snapshot_wait).
 */
int snapshot_plan(const struct guest_config *gc, const struct vm_config *vc,
		  const struct vm_identity *id, const char *kernel_path, struct snapshot_plan *ret,
		  struct err *err);
void snapshot_plan_done(struct snapshot_plan *plan);

/* Begin with a checkpoint. @dir_fd: what it lies in. Return: 0; what keeps it from being used. */
int snapshot_checkpoint(int dir_fd, const struct vm_config *vc, const struct vm_identity *id,
			struct snapshot_plan *ret, struct err *err);

/* Whether the guest will be in its command loop from the beginning. */
static inline bool snapshot_is_ready(const struct snapshot_plan *plan)
{
	return plan->from >= SNAPSHOT_POINT_LATE;
}

/* The source did not fit after all: remove it, begin without. */
void snapshot_forget(struct snapshot_plan *plan, const char *why);

/*
 * The guest runs: map some of what another touched that began with the same snapshot.
 * Return: whether there is more.
 */
bool snapshot_warm(struct snapshot_plan *plan, struct vm *vm);

/* The container has begun: record what was touched, if nobody has yet. Cheap to call again. */
void snapshot_begun(struct snapshot_plan *plan, struct vm *vm);

/* Bring the file server's tables back. The server runs, the machine does not. */
int snapshot_restore_share(struct snapshot_plan *plan, struct share *share,
			   struct fuse_restore_result *ret, struct err *err);

/**
 * snapshot_take() - Write the new snapshot and have it published
 *
 * Context: the machine is quiesced. Failures are logged: the container goes on.
 * Return: 0; negative errno only when the start is for the snapshot.
 */
int snapshot_take(struct snapshot_plan *plan, struct vm *vm, struct share *share, struct err *err);

#endif
