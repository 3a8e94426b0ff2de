/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints of running containers, from the verb's side: it opens the files, which the VMM
 * process may not, and publishes what that has written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "control.h"
#include "lifecycle.h"
#include "oci/state.h"
#include "snapshot.h"

/* One request on a connection that stays. Return: what was answered. */
static int ask(int fd, const char *id, const struct control_msg *msg, struct control_msg *ret,
	       struct err *err)
{
	int r = control_exchange(fd, id, msg, ret, err);

	if (r == 0 && ret->op != CONTROL_REPLY)
		r = err_set(err, -EPROTO, "control socket of container '%s'", id);
	if (r == 0 && ret->arg0 < 0)
		r = err_set(err, ret->arg0, "%s", ret->text ? ret->text : "checkpoint");
	return r;
}

static int tell(int fd, const char *id, enum control_checkpoint what, struct err *err)
{
	const struct control_msg msg = { .op = CONTROL_CHECKPOINT, .arg0 = what };
	struct control_msg reply = { 0 };
	int r = ask(fd, id, &msg, &reply, err);

	control_msg_done(&reply);
	return r;
}

static int take(int fd, const char *id, const struct snap_new *s, int pagemap_fd,
		struct snap_manifest *ret, struct err *err)
{
	const struct control_msg msg = { .op = CONTROL_CHECKPOINT,
					 .arg0 = CONTROL_CHECKPOINT_TAKE,
					 .fds = { s->memory_fd, s->state_fd, pagemap_fd,
						  s->unlinked_fd },
					 .n_fds = 4 };
	struct control_msg reply = { 0 };
	int r = ask(fd, id, &msg, &reply, err);

	if (r == 0)
		r = snap_manifest_parse(reply.text ? reply.text : "", reply.len, ret, err);
	control_msg_done(&reply);
	return r;
}

static int take_and_publish(int fd, const struct oci_state *state, int dir_fd, bool leave,
			    struct err *err)
{
	struct snap_new s = SNAP_NEW_NONE;
	struct snap_manifest m = { 0 };
	char path[64];
	int r = snap_begin(dir_fd, SNAPSHOT_CHECKPOINT_NAME, &s, err);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)state->pid);
	int AUTO_FD pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);

	if (pagemap_fd < 0)
		r = err_errno(err, errno, "open '%s'", path);
	else
		r = take(fd, state->id, &s, pagemap_fd, &m, err);
	/* It need not wait for the disk when it is to go on. */
	if (r == 0 && leave)
		r = tell(fd, state->id, CONTROL_CHECKPOINT_GO_ON, err);
	if (r == 0)
		r = snap_publish(&s, &m, true, err);
	snap_abandon(&s);
	snap_manifest_done(&m);
	if (r == 0 && !leave)
		r = tell(fd, state->id, CONTROL_CHECKPOINT_STOP, err);
	return r;
}

int container_checkpoint(const char *root, const char *id, const char *path, bool leave,
			 struct err *err)
{
	struct statedir dir = STATEDIR_NONE;
	struct oci_state state = { 0 };
	int AUTO_FD dir_fd = -1;
	int AUTO_FD fd = -1;
	/* Without its lock, as others are to have it meanwhile: the state does not change. */
	int r = container_load(root, id, false, &dir, &state, err);

	if (r < 0)
		return r;
	if (state.status != OCI_STATUS_RUNNING)
		r = err_set(err, -ESRCH, "container not running");
	if (r == 0)
		r = dir_fd = snap_store_open(path, true, err);
	if (r >= 0)
		r = fd = control_connect(&dir, err);
	if (r >= 0)
		r = take_and_publish(fd, &state, dir_fd, leave, err);
	statedir_close(&dir);
	oci_state_done(&state);
	return r < 0 ? r : 0;
}
