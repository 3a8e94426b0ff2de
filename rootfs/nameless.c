/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose names are gone: saving them, and making them again. */
#include "nameless.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "names.h"
#include "passthrough/creds.h"
#include "passthrough/open.h"

#define PIECE_HEAD   24
#define PIECE_MAX    (1U << 20) /* bytes of data in one */
#define XATTRS_MAX   1024	/* of one file; and their bytes: */
#define XATTRS_BYTES (1U << 20)
#define XATTR_NAME   255
#define DELETED	     " (deleted)" /* what the kernel says behind the path of what is gone */
#define NAME_TRIES   16

bool nameless_is(const struct fuse_server *srv, const struct node *n, const struct statx *stx)
{
	char path[PATH_MAX];
	size_t len;

	if (stx->stx_nlink == 0)
		return true;
	/* Some file systems count no links of directories. Those have one name, or none. */
	if (n->type != S_IFDIR || names_said(srv, srv->nodes.slots[NODE_ROOT_ID].node, n, path) < 0)
		return false;
	len = strlen(path);
	return len > strlen(DELETED) && strcmp(path + len - strlen(DELETED), DELETED) == 0;
}

/* ---- saving ---- */

/* Return: 0; negative errno, with what was written already left to the caller. */
static int xattrs_save(struct fuse_server *srv, const struct node *n, struct out *o)
{
	const struct gate_name file = gate_name_of(n->fd);
	AUTO_FREE char *list = malloc(2 * FUSE_XATTR_MAX);
	size_t count_at = o->len;
	uint32_t count = 0;
	ssize_t len;

	out_u32(o, 0);
	if (!list)
		return -ENOMEM;
	len = srv->opt.no_xattr ? 0 : listxattr(file.s, list, FUSE_XATTR_MAX);
	if (len < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	for (ssize_t i = 0; i < len; i += (ssize_t)strlen(list + i) + 1) {
		ssize_t got = getxattr(file.s, list + i, list + FUSE_XATTR_MAX, FUSE_XATTR_MAX);

		if (got < 0 && (errno == ENODATA || errno == EPERM || errno == EOPNOTSUPP))
			continue;
		if (got < 0)
			return -errno;
		if (++count > XATTRS_MAX || o->len - count_at > XATTRS_BYTES)
			return -E2BIG;
		out_text(o, list + i);
		out_u32(o, (uint32_t)got);
		out_bytes(o, list + FUSE_XATTR_MAX, (size_t)got);
	}
	if (!o->failed)
		le32_store(o->p + count_at, count);
	return 0;
}

int nameless_save(struct fuse_server *srv, const struct node *root, const struct node *n,
		  const struct statx *stx, struct out *o)
{
	char path[PATH_MAX] = "", *slash;
	size_t begin = o->len;
	ssize_t len = 0;
	int r;

	out_u32(o, stx->stx_mode & 07777);
	out_u32(o, stx->stx_uid);
	out_u32(o, stx->stx_gid);
	out_u32(o, stx->stx_rdev_major);
	out_u32(o, stx->stx_rdev_minor);
	out_time(o, &stx->stx_atime);
	if (names_said(srv, root, n, path) < 0)
		path[0] = 0;
	slash = strrchr(path, '/');
	*(slash ? slash : path) = 0;
	out_text(o, path);
	if (n->type == S_IFLNK)
		len = readlinkat(n->fd, "", path, sizeof(path) - 1);
	if (len >= 0) {
		path[len] = 0;
		out_text(o, path);
	}
	r = len < 0 ? -errno : xattrs_save(srv, n, o);
	if (r < 0)
		o->len = begin;
	return r;
}

/* ---- content ---- */

struct piece {
	struct fuse_server *srv;
	const struct nameless_file *file;
	uint64_t off; /* in: where to go on; out: of the data */
	uint32_t len; /* 0: there is no more */
	uint8_t *data;
	int status;
};

/* On the leader thread: the next run of data, or some of it. */
static void piece_read(void *opaque)
{
	struct piece *p = opaque;
	uint64_t size = p->file->size;
	struct node *n = NULL;
	AUTO_FD int fd = -1;
	off_t data, hole;
	ssize_t got = 0;

	p->len = 0;
	p->status = node_pin(&p->srv->nodes, p->file->node, &n);
	if (p->status == 0)
		p->status = fd = gate_open_node(p->srv, n, O_RDONLY);
	node_unpin(&p->srv->nodes, n);
	if (p->status < 0)
		return;
	p->status = 0;
	data = lseek(fd, (off_t)p->off, SEEK_DATA);
	if (data < 0)
		data = errno == ENXIO ? (off_t)size : (off_t)p->off;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0 || (uint64_t)hole > size)
		hole = (off_t)size;
	/* preadv: the call that reads have, and the filter knows. */
	if (data < hole) {
		size_t want = MIN((size_t)(hole - data), (size_t)PIECE_MAX);

		got = preadv(fd, &(struct iovec){ p->data, want }, 1, data);
	}
	if (got < 0)
		p->status = -errno;
	p->off = got > 0 ? (uint64_t)data : size;
	p->len = got > 0 ? (uint32_t)got : 0;
}

/* Return: 1: there is more; 0; negative errno. */
static int piece_move(struct piece *p, uint8_t *buf, const struct fuse_sink *sink,
		      struct sha256 *sum, struct nameless_content *c, struct err *err)
{
	size_t len;
	int r;

	fuse_pool_run_job(p->srv, piece_read, p);
	if (p->status < 0)
		return err_errno(err, -p->status, "read an unlinked file");
	len = PIECE_HEAD + p->len;
	le64_store(buf, p->file->node);
	le64_store(buf + 8, p->off);
	le32_store(buf + 16, p->len);
	le32_store(buf + 20, 0);
	if (len > sink->max - c->len)
		return err_set(err, -E2BIG, "unlinked files hold more than %llu bytes",
			       (unsigned long long)sink->max);
	r = sink->write(sink->opaque, buf, len, err);
	if (r < 0)
		return r;
	sha256_update(sum, buf, len);
	c->len += len;
	p->off += p->len;
	return p->len > 0;
}

int nameless_stream(struct fuse_server *srv, const struct nameless_file *files, size_t n,
		    const struct fuse_sink *sink, struct nameless_content *ret, struct err *err)
{
	AUTO_FREE uint8_t *buf = malloc(PIECE_HEAD + PIECE_MAX);
	struct nameless_content c = { 0 };
	struct sha256 sum;
	int r = 0;

	if (!buf)
		return err_set(err, -ENOMEM, "no memory to read unlinked files");
	sha256_init(&sum);
	for (size_t i = 0; i < n && r >= 0; i++) {
		struct piece p = { .srv = srv, .file = &files[i], .data = buf + PIECE_HEAD };

		do
			r = piece_move(&p, buf, sink, &sum, &c, err);
		while (r > 0);
	}
	sha256_final(&sum, c.hash);
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}

/* ---- restoring ---- */

static int xattr_take(struct in *in, char *name, const uint8_t **ret, uint32_t *ret_len)
{
	int r = in_text(in, name, XATTR_NAME + 1);

	*ret_len = in_u32(in);
	*ret = r < 0 || *ret_len > FUSE_XATTR_MAX ? NULL : in_take(in, *ret_len);
	return *ret && name[0] ? 0 : -EBADMSG;
}

int nameless_parse(struct in *in, struct nameless *n)
{
	char name[XATTR_NAME + 1];
	const uint8_t *value;
	uint32_t len;

	n->mode = in_u32(in);
	n->uid = in_u32(in);
	n->gid = in_u32(in);
	n->rdev_major = in_u32(in);
	n->rdev_minor = in_u32(in);
	n->atime = in_time(in);
	if (in_text(in, n->dir, sizeof(n->dir)) < 0 ||
	    in_text(in, n->target, sizeof(n->target)) < 0 || n->mode & ~07777U ||
	    n->size > INT64_MAX || (n->type == S_IFLNK) != (n->target[0] != 0))
		return -EBADMSG;
	n->n_xattrs = in_u32(in);
	n->xattrs = in->p;
	if (n->n_xattrs > XATTRS_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < n->n_xattrs; i++) {
		if (xattr_take(in, name, &value, &len) < 0)
			return -EBADMSG;
	}
	n->xattrs_len = (size_t)(in->p - n->xattrs);
	return in->failed ? -EBADMSG : 0;
}

static int make_named(int dir, const char *name, const struct nameless *n)
{
	AUTO_FD int fd = -1;

	switch (n->type) {
	case S_IFREG:
		fd = gate_open_at(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
		return MIN(fd, 0);
	case S_IFDIR: return mkdirat(dir, name, 0700) < 0 ? -errno : 0;
	case S_IFLNK: return symlinkat(n->target, dir, name) < 0 ? -errno : 0;
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return mknodat(dir, name, n->type | 0600, makedev(n->rdev_major, n->rdev_minor)) < 0
			       ? -errno
			       : 0;
	default: return -EBADMSG;
	}
}

/* Under a name for a moment, that nothing has. Return: O_PATH descriptor; negative errno. */
static int make_and_remove(int dir, const struct nameless *n)
{
	char name[64];
	int r = -EEXIST;

	for (unsigned i = 0; i < NAME_TRIES && r == -EEXIST; i++) {
		snprintf(name, sizeof(name), ".husk-restored-%llx",
			 (unsigned long long)clock_monotonic_ns());
		r = make_named(dir, name, n);
	}
	if (r < 0)
		return r;
	AUTO_FD int fd = gate_open_path(dir, name);

	if (unlinkat(dir, name, n->type == S_IFDIR ? AT_REMOVEDIR : 0) < 0)
		return -errno;
	return fd_steal(&fd);
}

static int make_in(struct fuse_server *srv, int dir, const struct nameless *n)
{
	/* One that can be given a name still, where the file system has such. */
	AUTO_FD int fd = n->type == S_IFREG ? gate_open_at(dir, ".", O_RDWR | O_TMPFILE, 0600) : -1;

	return fd >= 0 ? gate_path_of(srv, fd) : make_and_remove(dir, n);
}

/* In the directory it was in, or the nearest above where that can be done. */
static int make_near(struct fuse_server *srv, const struct nameless *n)
{
	int root = srv->nodes.slots[NODE_ROOT_ID].node->fd, r;
	char dir[PATH_MAX];
	bool top;

	strcpy(dir, n->dir);
	do {
		char *slash = strrchr(dir, '/');
		AUTO_FD int fd = names_open_below(root, dir[0] ? dir : ".");

		r = fd < 0 ? fd : make_in(srv, fd, n);
		top = !dir[0];
		*(slash ? slash : dir) = 0;
	} while (r < 0 && !top);
	return r;
}

static int write_all(int fd, const uint8_t *p, size_t len, uint64_t off)
{
	while (len) {
		/* pwritev: as with preadv above. */
		ssize_t n =
			pwritev(fd, &(struct iovec){ (void *)(uintptr_t)p, len }, 1, (off_t)off);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
		off += (size_t)n;
	}
	return 0;
}

/* Pass a file's pieces, into @fd where there is one. Return: 0; -EBADMSG; what writing gives. */
static int content_take(int fd, uint64_t id, uint64_t size, struct in *in)
{
	uint64_t at = 0;

	for (;;) {
		uint64_t node = in_u64(in), off = in_u64(in);
		uint32_t len = in_u32(in), zero = in_u32(in);
		const uint8_t *p = in_take(in, len);
		int r;

		if (!p || node != id || zero || len > PIECE_MAX || off < at || off > size ||
		    len > size - off)
			return -EBADMSG;
		if (!len)
			return off == size ? 0 : -EBADMSG;
		r = fd < 0 ? 0 : write_all(fd, p, len, off);
		if (r < 0)
			return r == -EBADMSG ? -EIO : r;
		at = off + len;
	}
}

static int content_restore(struct fuse_server *srv, int path, uint64_t id, const struct nameless *n,
			   struct in *content)
{
	const struct node as = { .type = S_IFREG, .fd = path };
	AUTO_FD int fd = -1;
	int r;

	if (n->type != S_IFREG || !n->size)
		return 0;
	if (path >= 0)
		fd = gate_open_node(srv, &as, O_WRONLY);
	r = content_take(fd, id, n->size, content);
	if (r == 0 && fd >= 0 && ftruncate(fd, (off_t)n->size) < 0)
		r = -errno;
	return r;
}

/* After its content, which drops bits and capabilities; its owner first, for the same reason. */
static int dress(struct fuse_server *srv, int fd, const struct nameless *n)
{
	const struct timespec times[2] = { { n->atime.tv_sec, n->atime.tv_nsec },
					   { n->mtime.tv_sec, n->mtime.tv_nsec } };
	struct in in = { .p = n->xattrs, .left = n->xattrs_len };
	const struct gate_name file = gate_name_of(fd);
	char name[XATTR_NAME + 1];
	const uint8_t *value;
	uint32_t len;

	/* Who may not give files away has only his own; nor is there more than he could set. */
	if (fchownat(fd, "", n->uid, n->gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 &&
	    errno != EPERM)
		return -errno;
	for (uint32_t i = 0; i < n->n_xattrs; i++) {
		if (xattr_take(&in, name, &value, &len) < 0)
			return -EBADMSG;
		if (setxattr(file.s, name, value, len, 0) < 0 && errno != EPERM &&
		    errno != EOPNOTSUPP)
			return -errno;
	}
	creds_set_fsetid(&srv->workers[0], true);
	if (n->type != S_IFLNK && fchmodat(srv->proc_fd, file.s, (mode_t)n->mode, 0) < 0)
		return -errno;
	return utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int nameless_make(struct fuse_server *srv, uint64_t node_id_, const struct nameless *n,
		  struct in *content)
{
	AUTO_FD int fd = make_near(srv, n);
	int r = content_restore(srv, fd, node_id_, n, content);

	if (r < 0)
		return r;
	r = fd < 0 ? fd : dress(srv, fd, n);
	return r < 0 ? r : fd_steal(&fd);
}
