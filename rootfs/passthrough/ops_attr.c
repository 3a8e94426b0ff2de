/* SPDX-License-Identifier: Apache-2.0 */
/* GETATTR, STATX, SETATTR, STATFS. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/fd.h"
#include "fuse/server.h"
#include "passthrough/attr.h"
#include "passthrough/creds.h"
#include "passthrough/open.h"

#define FATTR_TIMES   (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)
/* What asks for a change; the rest says how. */
#define FATTR_CHANGES (FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE | FATTR_TIMES)

static int attr_reply(struct fuse_call *c, const struct statx *stx)
{
	struct fuse_attr_out out = { .attr_valid = fuse_cache_seconds(c->srv) };

	fuse_attr_fill(c->srv, stx, c->node->mount_root && c->node->index != NODE_ROOT_ID,
		       &out.attr);
	told_attr(c->srv, c->node, stx);
	return fuse_reply(c, &out, sizeof(out));
}

int fuse_op_getattr(struct fuse_call *c)
{
	struct statx stx;
	int r = attr_stat(c->srv, c->node->fd, &stx);

	/* The node is the file that the handle is of: no need to look at the handle. */
	return r < 0 ? r : attr_reply(c, &stx);
}

static struct fuse_wire_sx_time sx_time(const struct statx_timestamp *t)
{
	return (struct fuse_wire_sx_time){ .tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec };
}

int fuse_op_statx(struct fuse_call *c)
{
	struct fuse_wire_statx_out out = { .attr_valid = fuse_cache_seconds(c->srv) };
	struct statx stx;
	int r = attr_stat(c->srv, c->node->fd, &stx);

	if (r < 0)
		return r;
	out.stat = (struct fuse_wire_statx){
		.mask = stx.stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
		.blksize = stx.stx_blksize,
		.attributes = stx.stx_attributes & ~(uint64_t)STATX_ATTR_MOUNT_ROOT,
		.attributes_mask = stx.stx_attributes_mask & ~(uint64_t)STATX_ATTR_MOUNT_ROOT,
		.nlink = stx.stx_nlink,
		.uid = stx.stx_uid,
		.gid = stx.stx_gid,
		.mode = stx.stx_mode,
		.ino = stx.stx_ino,
		.size = stx.stx_size,
		.blocks = stx.stx_blocks,
		.atime = sx_time(&stx.stx_atime),
		.btime = sx_time(&stx.stx_btime),
		.ctime = sx_time(&stx.stx_ctime),
		.mtime = sx_time(&stx.stx_mtime),
		.rdev_major = stx.stx_rdev_major,
		.rdev_minor = stx.stx_rdev_minor,
		.dev_major = stx.stx_dev_major,
		.dev_minor = stx.stx_dev_minor,
	};
	told_attr(c->srv, c->node, &stx);
	return fuse_reply(c, &out, sizeof(out));
}

static int set_owner(struct fuse_call *c, uint32_t valid)
{
	const struct fuse_setattr_in *in = &c->arg.setattr;
	uid_t uid = valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = valid & FATTR_GID ? in->gid : (gid_t)-1;

	/* The guest has judged; a setgid bit without group execute must not fall with our rights. */
	creds_set_fsetid(c->w, true);
	/* Also for "no change": like chown(-1, -1) it drops setuid and setgid. */
	return fchownat(c->node->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno
											    : 0;
}

static int set_mode(struct fuse_call *c)
{
	if (c->node->type == S_IFLNK)
		return -EOPNOTSUPP;
	creds_set_fsetid(c->w, true); /* the guest has dropped what must be dropped */
	return fchmodat(c->srv->proc_fd, gate_name_of(c->node->fd).s, c->arg.setattr.mode & 07777,
			0) < 0
		       ? -errno
		       : 0;
}

static int set_size(struct fuse_call *c, uint32_t valid)
{
	const struct fuse_setattr_in *in = &c->arg.setattr;
	struct handle *h = NULL;
	AUTO_FD int own = -1;
	int r = 0;

	if (c->node->type != S_IFREG)
		return c->node->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (in->size > INT64_MAX)
		return -EINVAL;
	if (valid & FATTR_FH)
		r = handle_pin(&c->srv->handles, in->fh, HANDLE_FILE, c->node, &h);
	else
		r = own = gate_open_node(c->srv, c->node, O_WRONLY | O_NONBLOCK);
	if (r < 0)
		return r;
	creds_write_begin(c->w, c->node->fd, valid & FATTR_KILL_SUIDGID);
	r = ftruncate(h ? h->fd : own, (off_t)in->size) < 0 ? -errno : 0;
	creds_write_end(c->w);
	handle_unpin(&c->srv->handles, h);
	if (r == 0 && valid & FATTR_KILL_SUIDGID && c->srv->opt.owner == FUSE_OWNER_XATTR)
		r = override_kill_priv(c->node->fd);
	return r;
}

static int set_times(struct fuse_call *c, uint32_t valid)
{
	const struct fuse_setattr_in *in = &c->arg.setattr;
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

	if (valid & FATTR_ATIME)
		ts[0] = (struct timespec){ .tv_sec = (time_t)in->atime, .tv_nsec = in->atimensec };
	if (valid & FATTR_ATIME_NOW)
		ts[0] = (struct timespec){ .tv_nsec = UTIME_NOW };
	if (valid & FATTR_MTIME)
		ts[1] = (struct timespec){ .tv_sec = (time_t)in->mtime, .tv_nsec = in->mtimensec };
	if (valid & FATTR_MTIME_NOW)
		ts[1] = (struct timespec){ .tv_nsec = UTIME_NOW };
	return utimensat(c->node->fd, "", ts, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* Owner and mode of a file whose owner and mode live in the attribute. */
static int override_change(struct fuse_call *c, uint32_t valid)
{
	const struct fuse_setattr_in *in = &c->arg.setattr;
	bool owner = valid & (FATTR_UID | FATTR_GID) || !(valid & FATTR_CHANGES);
	struct statx stx;
	int r = attr_stat(c->srv, c->node->fd, &stx);

	if (r < 0 || (!owner && !(valid & FATTR_MODE)))
		return r;
	if (S_ISLNK(stx.stx_mode))
		return valid & FATTR_MODE ? -EOPNOTSUPP : 0;
	if (valid & FATTR_UID)
		stx.stx_uid = in->uid;
	if (valid & FATTR_GID)
		stx.stx_gid = in->gid;
	if (owner && !S_ISDIR(stx.stx_mode)) {
		stx.stx_mode &= (uint16_t)~S_ISUID;
		if (stx.stx_mode & S_IXGRP)
			stx.stx_mode &= (uint16_t)~S_ISGID;
	}
	if (valid & FATTR_MODE)
		stx.stx_mode = (uint16_t)((stx.stx_mode & S_IFMT) | (in->mode & 07777));
	return override_store(c->node->fd, &stx);
}

int fuse_op_setattr(struct fuse_call *c)
{
	uint32_t valid = c->arg.setattr.valid;
	bool in_xattr = c->srv->opt.owner == FUSE_OWNER_XATTR;
	struct statx stx;
	int r = 0;

	/* Size before mode and owner's loss of bits before mode: what was asked for stays. */
	if (!in_xattr && (valid & (FATTR_UID | FATTR_GID) || !(valid & FATTR_CHANGES)))
		r = set_owner(c, valid);
	if (r == 0 && valid & FATTR_SIZE)
		r = set_size(c, valid);
	if (r == 0 && in_xattr)
		r = override_change(c, valid);
	if (r == 0 && !in_xattr && valid & FATTR_MODE)
		r = set_mode(c);
	if (r == 0 && valid & FATTR_TIMES)
		r = set_times(c, valid);
	if (r == 0)
		r = attr_stat(c->srv, c->node->fd, &stx);
	return r < 0 ? r : attr_reply(c, &stx);
}

int fuse_op_statfs(struct fuse_call *c)
{
	struct fuse_statfs_out out = { 0 };
	struct statfs st;

	if (fstatfs(c->node->fd, &st) < 0)
		return -errno;
	out.st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.namelen = (uint32_t)st.f_namelen,
		.frsize = (uint32_t)st.f_frsize,
	};
	return fuse_reply(c, &out, sizeof(out));
}
