/* SPDX-License-Identifier: Apache-2.0 */
/* A container's start and snapshots. */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "snapimage.h"
#include "snapkey.h"
#include "snapmaker.h"
#include "snapstore.h"

#define KIND_EARLY "early"
#define KIND_LATE  "late"

/* ---- looking ---- */

struct keys {
	char early[SHA256_HEX + 1], late[SHA256_HEX + 1];
};

static int open_in(int store_fd, const char *key, const struct snap_machine *machine,
		   struct snapshot *ret, struct err *err)
{
	int r = snap_open(store_fd, key, ret, err);

	if (r < 0)
		return r;
	r = snap_manifest_match(&ret->manifest, machine, err);
	if (r < 0)
		snap_close(ret);
	else
		snap_touch(ret);
	return r;
}

/* In this user's store, then in the system's. What cannot be used is removed where we may. */
static bool look_for(int store_fd, const char *key, const struct snap_machine *machine,
		     struct snapshot *ret)
{
	struct err err = { 0 };
	int AUTO_FD system_fd = -1;
	int r = store_fd < 0 ? -ENOENT : open_in(store_fd, key, machine, ret, &err);

	if (r == 0)
		return true;
	if (r != -ENOENT) {
		log_warn("%s, starting without it", err.msg);
		(void)snap_remove(store_fd, key, NULL);
		return false;
	}
	system_fd = snapstore_open_system(NULL);
	return system_fd >= 0 && open_in(system_fd, key, machine, ret, NULL) == 0;
}

static void find_source(const struct guest_config *gc, int store_fd, const struct keys *keys,
			const struct snap_machine *machine, struct snapshot_plan *plan)
{
	if (gc->snapshot != SNAPSHOT_EARLY &&
	    look_for(store_fd, keys->late, machine, &plan->source))
		plan->from = SNAPSHOT_POINT_LATE;
	else if (look_for(store_fd, keys->early, machine, &plan->source))
		plan->from = SNAPSHOT_POINT_EARLY;
	else
		return;
	plan->saved = snapimage_view(&plan->source);
	/* Code runs on the host: of a store's snapshots only, which nobody else can write. */
	plan->saved.code_fd = plan->source.code_fd;
	plan->saved.has_code = plan->source.code_fd >= 0;
}

/* Recorded by whoever is first. A machine that writes a snapshot reads all of its memory: not by it. */
static void find_workset(struct snapshot_plan *plan)
{
	struct err err = { 0 };
	int r = plan->from == SNAPSHOT_POINT_NONE
			? 0
			: snap_workset_read(&plan->source, &plan->workset, &err);

	if (r == 0 || plan->to_take != SNAPSHOT_POINT_NONE)
		return;
	if (r != -ENOENT)
		log_warn("snapshot '%.12s': %s, recording it again", plan->source.manifest.key,
			 err.msg);
	/* In a store that is not ours nobody but its owner can. */
	plan->workset_fd = snap_workset_begin(&plan->source, NULL);
	if (plan->workset_fd >= 0)
		plan->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

/* ---- beginning ---- */

static void describe(const struct vm_config *vc, const struct vm_identity *id, const char *kind,
		     const char *key, struct snap_manifest *m)
{
	snapimage_describe(vc->hv->name, id, vc->ram_bytes, vc->n_vcpus, m);
	snprintf(m->kind, sizeof(m->kind), "%s", kind);
	snprintf(m->key, sizeof(m->key), "%s", key);
}

static int begin(const struct guest_config *gc, const struct vm_config *vc,
		 const struct vm_identity *id, const struct keys *keys, struct snapshot_plan *plan,
		 struct err *err)
{
	bool late = gc->snapshot == SNAPSHOT_LATE;
	const char *key = late ? keys->late : keys->early;
	int r;

	if (plan->from == SNAPSHOT_POINT_LATE || (plan->from && !late))
		return 0;
	plan->maker_fd = gc->open_maker(gc->maker_opaque);
	if (plan->maker_fd < 0)
		return err_set(err, -EIO, "nobody publishes the snapshot");
	r = snap_begin(plan->store_fd, key, &plan->target, err);
	if (r < 0)
		return r;
	describe(vc, id, late ? KIND_LATE : KIND_EARLY, key, &plan->describes);
	plan->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	plan->to_take = late ? SNAPSHOT_POINT_LATE : SNAPSHOT_POINT_EARLY;
	plan->wait = gc->snapshot_wait;
	return 0;
}

static struct snap_machine machine_of(const struct vm_config *vc, const struct vm_identity *id)
{
	return (struct snap_machine){ id->arch,	   id->cpu_model, id->cpuid,
				      id->tsc_khz, vc->ram_bytes, vc->n_vcpus };
}

int snapshot_checkpoint(int dir_fd, const struct vm_config *vc, const struct vm_identity *id,
			struct snapshot_plan *ret, struct err *err)
{
	const struct snap_machine wanted = machine_of(vc, id);
	int r = open_in(dir_fd, SNAPSHOT_CHECKPOINT_NAME, &wanted, &ret->source, err);

	if (r < 0)
		return r;
	ret->from = SNAPSHOT_POINT_CHECKPOINT;
	ret->saved = snapimage_view(&ret->source);
	return 0;
}

/* Without snapshots a start is only slower, unless it is for them. */
static int do_without(const struct guest_config *gc, int result, const struct err *why,
		      struct err *err)
{
	if (gc->snapshot_wait)
		return err_set(err, result, "%s", why->msg);
	if (result != -EBUSY) /* else another start is making it */
		log_warn("%s, starting without snapshots", why->msg);
	return 0;
}

int snapshot_plan(const struct guest_config *gc, const struct vm_config *vc,
		  const struct vm_identity *id, const char *kernel_path, struct snapshot_plan *ret,
		  struct err *err)
{
	const struct snapkey_machine machine = { vc, id, kernel_path };
	const struct snap_machine wanted = machine_of(vc, id);
	struct err why = { 0 };
	struct keys keys;
	int r;

	if (gc->snapshot == SNAPSHOT_OFF)
		return 0;
	/* What the guest maps in a window onto files is nowhere in a snapshot. */
	if (vc->fs[0].window_len)
		return gc->snapshot_wait ? err_set(err, -EOPNOTSUPP,
						   "dev.husk.rootfs.dax: a machine with a window "
						   "onto files has no snapshots")
					 : 0;
	r = ret->store_fd = snapstore_open(true, &why);
	if (r < 0) {
		int done = do_without(gc, r, &why, err);

		if (done < 0 || r == -EPERM)
			return done;
	}
	r = snapkey_early(&machine, keys.early, &why);
	if (r == 0)
		r = snapkey_late(keys.early, gc, keys.late, &why);
	if (r < 0)
		return do_without(gc, r, &why, err);
	find_source(gc, ret->store_fd, &keys, &wanted, ret);
	if (ret->store_fd >= 0)
		r = begin(gc, vc, id, &keys, ret, &why);
	find_workset(ret);
	/* Nothing to publish: let it go. */
	if (ret->to_take == SNAPSHOT_POINT_NONE)
		fd_close(fd_steal(&ret->maker_fd));
	return r < 0 ? do_without(gc, r, &why, err) : 0;
}

void snapshot_plan_done(struct snapshot_plan *plan)
{
	snap_close(&plan->source);
	snap_workset_done(&plan->workset);
	fd_close(plan->workset_fd);
	snap_new_close(&plan->target);
	fd_close(plan->store_fd);
	fd_close(plan->maker_fd);
	fd_close(plan->pagemap_fd);
	*plan = SNAPSHOT_PLAN_NONE;
}

void snapshot_forget(struct snapshot_plan *plan, const char *why)
{
	int AUTO_FD store_fd = snapstore_open(false, NULL);

	log_warn("snapshot '%.12s': %s, starting without it", plan->source.manifest.key, why);
	if (store_fd >= 0)
		(void)snap_remove(store_fd, plan->source.manifest.key, NULL);
	snapshot_plan_done(plan);
}

/* ---- using ---- */

bool snapshot_warm(struct snapshot_plan *plan, struct vm *vm)
{
	if (snapimage_workset_map(vm, &plan->workset))
		return true;
	snap_workset_done(&plan->workset);
	return false;
}

void snapshot_begun(struct snapshot_plan *plan, struct vm *vm)
{
	if (plan->workset_fd < 0)
		return;
	snapimage_workset_record(vm, plan->workset_fd, plan->pagemap_fd);
	fd_close(fd_steal(&plan->workset_fd));
	fd_close(fd_steal(&plan->pagemap_fd));
}

int snapshot_restore_share(struct snapshot_plan *plan, struct share *share,
			   struct fuse_restore_result *ret, struct err *err)
{
	int r = 0;

	*ret = (struct fuse_restore_result){ 0 };
	if (snapshot_is_ready(plan))
		r = snapimage_restore_share(&plan->source, share, ret, err);
	/* No process has any of a late one's open. */
	if (r == 0 && plan->from == SNAPSHOT_POINT_CHECKPOINT &&
	    ret->n_stale_nodes + ret->n_stale_handles)
		log_warn("%u files are not there any more or are others, answering ESTALE",
			 ret->n_stale_nodes + ret->n_stale_handles);
	return r;
}

/* ---- taking ---- */

static int take(struct snapshot_plan *plan, struct vm *vm, struct share *share, struct err *err)
{
	CLEANUP(snap_buf_done) struct snap_buf state = { 0 };
	int r = snapimage_memory(vm, plan->target.memory_fd, plan->pagemap_fd,
				 plan->from ? &plan->source.manifest : NULL, err);

	if (r == 0)
		r = snapimage_machine(vm, &state, err);
	if (r == 0 && plan->to_take == SNAPSHOT_POINT_LATE)
		r = snapimage_share(share, -1, 0, &state, err);
	if (r == 0)
		r = snapimage_write_state(plan->target.state_fd, &state, err);
	return r;
}

/* It does without if need be. */
static int take_code(struct snapshot_plan *plan, struct vm *vm, struct err *err)
{
	struct err why = { 0 };

	if (vm_code_save(vm, plan->target.code_fd, &why) == 0)
		return 0;
	log_warn("%s, going on with a snapshot without code", why.msg);
	return ftruncate(plan->target.code_fd, 0) < 0
		       ? err_errno(err, errno, "cut the snapshot's code")
		       : 0;
}

int snapshot_take(struct snapshot_plan *plan, struct vm *vm, struct share *share, struct err *err)
{
	struct err why = { 0 };
	int r = take(plan, vm, share, &why);

	if (r == 0)
		r = take_code(plan, vm, &why);
	if (r == 0)
		r = snapmaker_publish(plan->maker_fd, &plan->target, &plan->describes, true,
				      plan->wait, &why);
	else
		(void)snapmaker_publish(plan->maker_fd, &plan->target, &plan->describes, false,
					plan->wait, NULL);
	if (r < 0 && !plan->wait)
		log_warn("%s, going on without a snapshot", why.msg);
	/*
	 * The maker's are the last descriptors from here on, and with them the lock. What failed
	 * the maker removes: this process may not any more.
	 */
	snap_new_close(&plan->target);
	fd_close(fd_steal(&plan->maker_fd));
	plan->to_take = SNAPSHOT_POINT_NONE;
	return r < 0 && plan->wait ? err_set(err, r, "%s", why.msg) : 0;
}
