/* SPDX-License-Identifier: Apache-2.0 */
/* Names: LOOKUP and FORGET, making, linking, renaming and removing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/checked.h"
#include "base/fd.h"
#include "passthrough/attr.h"
#include "passthrough/creds.h"
#include "passthrough/names.h"
#include "passthrough/open.h"

#define FORGET_BATCH 64

/* One call is enough for what is known: the node's descriptor keeps its number taken. */
static int lookup_known(struct fuse_call *c, int dirfd, const char *name, struct node **ret,
			struct statx *stx)
{
	struct node_key key;

	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, FUSE_STATX_MASK, stx) < 0)
		return -errno;
	node_key_from_statx(stx, &key);
	*ret = node_find_known(&c->srv->nodes, &key);
	return 0;
}

static int lookup_open(struct fuse_call *c, int dirfd, const char *name, struct node **ret,
		       struct statx *stx)
{
	AUTO_FD int fd = gate_open_path(dirfd, name);
	int r;

	if (fd < 0)
		return fd;
	if (statx(fd, "", AT_EMPTY_PATH, FUSE_STATX_MASK, stx) < 0)
		return -errno;
	r = node_intern(&c->srv->nodes, stx, &fd, ret);
	if (r == 0)
		c->node->names_known = fd >= 0; /* not taken over: there was a node */
	return r;
}

int name_lookup(struct fuse_call *c, int dirfd, const char *name, struct node **ret,
		struct statx *stx)
{
	int r = 0;

	*ret = NULL;
	/* What the last name of this directory was, the next one mostly is. */
	if (c->node->names_known)
		r = lookup_known(c, dirfd, name, ret, stx);
	if (r == 0 && !*ret)
		r = lookup_open(c, dirfd, name, ret, stx);
	if (r == 0)
		override_apply(c->srv, (*ret)->fd, stx);
	return r;
}

int name_reply_entry(struct fuse_call *c, struct node *n, const struct statx *stx)
{
	struct fuse_entry_out out;
	uint64_t id = node_id(n);
	int r;

	fuse_entry_fill(c->srv, n, stx, &out);
	told_name(c->srv, c->node, c->name, n, stx);
	r = fuse_reply(c, &out, sizeof(out));
	node_unpin(&c->srv->nodes, n);
	if (r < 0)
		node_forget(&c->srv->nodes, id, 1);
	return r;
}

/* Look up c->name in the request's directory and answer with it. */
static int entry_answer(struct fuse_call *c)
{
	struct statx stx;
	struct node *n;
	int r = name_lookup(c, c->node->fd, c->name, &n, &stx);

	return r < 0 ? r : name_reply_entry(c, n, &stx);
}

int fuse_op_lookup(struct fuse_call *c)
{
	struct fuse_entry_out none = { .entry_valid = fuse_cache_seconds(c->srv) };
	int r;

	if (c->node->type != S_IFDIR)
		return -ENOTDIR;
	r = entry_answer(c);
	/* "Not there" may be remembered as long as "there". */
	if (r == -ENOENT && none.entry_valid) {
		told_name(c->srv, c->node, c->name, NULL, NULL);
		return fuse_reply(c, &none, sizeof(none));
	}
	return r;
}

int fuse_op_forget(struct fuse_call *c)
{
	node_forget(&c->srv->nodes, c->hdr.nodeid, c->arg.forget.nlookup);
	return 0;
}

int fuse_op_batch_forget(struct fuse_call *c)
{
	uint32_t left = c->arg.batch_forget.count;
	struct fuse_forget_one one[FORGET_BATCH];

	while (left) {
		size_t want = MIN((size_t)left, ARRAY_LEN(one)) * sizeof(one[0]);
		size_t n = iov_cursor_read(&c->in, one, want) / sizeof(one[0]);

		if (!n)
			break;
		for (size_t i = 0; i < n; i++)
			node_forget(&c->srv->nodes, one[i].nodeid, one[i].nlookup);
		left -= (uint32_t)n;
	}
	return 0;
}

int fuse_op_readlink(struct fuse_call *c)
{
	ssize_t n;

	if (c->node->type != S_IFLNK)
		return -EINVAL;
	n = readlinkat(c->node->fd, "", (char *)c->w->out_buf, PATH_MAX);
	if (n < 0)
		return -errno;
	return fuse_reply(c, c->w->out_buf, (size_t)n);
}

int override_new(struct fuse_call *c, int fd, mode_t mode, uint32_t rdev)
{
	struct statx stx = {
		.stx_uid = c->hdr.uid,
		.stx_gid = c->hdr.gid,
		.stx_mode = (uint16_t)mode,
		.stx_rdev_major = rdev >> 8 & 0xfff,
		.stx_rdev_minor = (rdev & 0xff) | (rdev >> 12 & 0xfff00),
	};
	struct statx parent;
	int r = attr_stat(c->srv, c->node->fd, &parent);

	if (r < 0)
		return r;
	if (parent.stx_mode & S_ISGID) {
		stx.stx_gid = parent.stx_gid;
		if (S_ISDIR(mode))
			stx.stx_mode |= S_ISGID;
	}
	return override_store(fd, &stx);
}

/* The second half of making a file for a server without privileges. */
static int override_made(struct fuse_call *c, mode_t mode, uint32_t rdev)
{
	AUTO_FD int fd = gate_open_path(c->node->fd, c->name);
	int r = fd < 0 ? fd : override_new(c, fd, mode, rdev);

	if (r < 0)
		unlinkat(c->node->fd, c->name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
	return r;
}

int fuse_op_symlink(struct fuse_call *c)
{
	int r;

	/* The target is data: the server never follows it. */
	if (strlen(c->name2) >= PATH_MAX)
		return -ENAMETOOLONG;
	r = creds_enter(c, 0);
	if (r < 0)
		return r;
	r = symlinkat(c->name2, c->node->fd, c->name) < 0 ? -errno : 0;
	creds_leave(c);
	return r < 0 ? r : entry_answer(c);
}

int fuse_op_mkdir(struct fuse_call *c)
{
	const struct fuse_mkdir_in *in = &c->arg.mkdir;
	bool in_xattr = c->srv->opt.owner == FUSE_OWNER_XATTR;
	mode_t mode = in->mode & 07777;
	int r = creds_enter(c, in_xattr ? 0 : in->umask);

	if (r < 0)
		return r;
	r = mkdirat(c->node->fd, c->name, in_xattr ? 0700 : mode) < 0 ? -errno : 0;
	creds_leave(c);
	if (r == 0 && in_xattr)
		r = override_made(c, S_IFDIR | (mode & ~(in->umask & 0777)), 0);
	return r < 0 ? r : entry_answer(c);
}

/* The kernel's 32-bit form to libc's. */
static dev_t decode_dev(uint32_t dev)
{
	return makedev(dev >> 8 & 0xfff, (dev & 0xff) | (dev >> 12 & 0xfff00));
}

static int mknod_in_xattr(struct fuse_call *c)
{
	const struct fuse_mknod_in *in = &c->arg.mknod;
	AUTO_FD int fd =
		gate_open_at(c->node->fd, c->name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0600);

	if (fd < 0)
		return fd;
	return override_made(c, (in->mode & S_IFMT) | (in->mode & 07777 & ~(in->umask & 0777)),
			     in->rdev);
}

int fuse_op_mknod(struct fuse_call *c)
{
	const struct fuse_mknod_in *in = &c->arg.mknod;
	mode_t type = in->mode & S_IFMT;
	bool in_xattr = c->srv->opt.owner == FUSE_OWNER_XATTR;
	int r;

	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR &&
	    type != S_IFBLK)
		return -EINVAL;
	r = creds_enter_making(c, in_xattr ? 0 : in->umask, in->mode);
	if (r < 0)
		return r;
	if (in_xattr)
		r = mknod_in_xattr(c);
	else
		r = mknodat(c->node->fd, c->name, type | (in->mode & 07777), decode_dev(in->rdev)) <
				    0
			    ? -errno
			    : 0;
	creds_leave(c);
	return r < 0 ? r : entry_answer(c);
}

int fuse_op_link(struct fuse_call *c)
{
	struct node *old;
	int r = node_pin(&c->srv->nodes, c->arg.link.oldnodeid, &old);

	if (r < 0)
		return r;
	/* Through the descriptor directory: the link is to that very file, wherever it moved. */
	r = linkat(c->srv->proc_fd, gate_name_of(old->fd).s, c->node->fd, c->name,
		   AT_SYMLINK_FOLLOW) < 0
		    ? -errno
		    : 0;
	node_unpin(&c->srv->nodes, old);
	return r < 0 ? r : entry_answer(c);
}

int fuse_op_unlink(struct fuse_call *c)
{
	return unlinkat(c->node->fd, c->name, 0) < 0 ? -errno : 0;
}

int fuse_op_rmdir(struct fuse_call *c)
{
	return unlinkat(c->node->fd, c->name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int rename_to(struct fuse_call *c, uint64_t newdir_id, uint32_t flags)
{
	struct node *newdir;
	int r;

	if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return -EINVAL;
	r = node_pin(&c->srv->nodes, newdir_id, &newdir);
	if (r < 0)
		return r;
	r = renameat2(c->node->fd, c->name, newdir->fd, c->name2, flags) < 0 ? -errno : 0;
	if (r == 0)
		node_moved(&c->srv->nodes, newdir, c->name2);
	if (r == 0 && flags & RENAME_EXCHANGE)
		node_moved(&c->srv->nodes, c->node, c->name);
	node_unpin(&c->srv->nodes, newdir);
	return r;
}

int fuse_op_rename(struct fuse_call *c)
{
	return rename_to(c, c->arg.rename.newdir, 0);
}

int fuse_op_rename2(struct fuse_call *c)
{
	return rename_to(c, c->arg.rename2.newdir, c->arg.rename2.flags);
}
