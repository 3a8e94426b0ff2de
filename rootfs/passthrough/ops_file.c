/* SPDX-License-Identifier: Apache-2.0 */
/* Files: CREATE, TMPFILE, OPEN, READ, WRITE, RELEASE, FSYNC, FALLOCATE, LSEEK, copying, ioctls. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/checked.h"
#include "base/fd.h"
#include "passthrough/attr.h"
#include "passthrough/creds.h"
#include "passthrough/names.h"
#include "passthrough/open.h"

/* A copy inside the server is cut after this much, so that a thread is not lost for minutes. */
#define COPY_MAX (256ULL * MIB)

static uint32_t cache_flags(struct fuse_call *c, struct node *n, const struct statx *stx)
{
	switch (c->srv->opt.cache) {
	case FUSE_CACHE_NEVER: return FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	case FUSE_CACHE_ALWAYS: return FOPEN_KEEP_CACHE;
	case FUSE_CACHE_AUTO: break;
	}
	return node_stamp_update(&c->srv->nodes, n, stx) ? FOPEN_KEEP_CACHE : 0;
}

/* Make a handle of an open file and say so. Takes over *fd on success. */
static int open_finish(struct fuse_call *c, struct node *n, int *fd, uint32_t flags,
		       const struct statx *stx, struct fuse_open_out *ret)
{
	*ret = (struct fuse_open_out){ .open_flags = cache_flags(c, n, stx) };
	return handle_new(&c->srv->handles, HANDLE_FILE, fd, n, flags, &ret->fh);
}

/* Open a node that exists, O_TRUNC included. Return: descriptor; negative errno. */
static int open_existing(struct fuse_call *c, struct node *n, uint32_t flags, uint32_t open_flags)
{
	bool kill = flags & O_TRUNC && open_flags & FUSE_OPEN_KILL_SUIDGID;
	int fd;

	if (n->type == S_IFDIR)
		return -EISDIR;
	creds_write_begin(c->w, n->fd, kill);
	fd = gate_open_node(c->srv, n, gate_flags(flags));
	creds_write_end(c->w);
	if (fd >= 0 && kill && c->srv->opt.owner == FUSE_OWNER_XATTR)
		override_kill_priv(n->fd);
	return fd;
}

int fuse_op_open(struct fuse_call *c)
{
	uint32_t flags = c->arg.open.flags;
	struct fuse_open_out out;
	struct statx stx = { 0 };
	AUTO_FD int fd = -1;
	int r = 0;

	if (c->srv->opt.read_only && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
		return -EROFS;
	fd = open_existing(c, c->node, flags, c->arg.open.open_flags);
	if (fd < 0)
		return fd;
	if (c->srv->opt.cache == FUSE_CACHE_AUTO &&
	    statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx) < 0)
		return -errno;
	r = open_finish(c, c->node, &fd, flags, &stx, &out);
	if (r == 0)
		r = fuse_reply(c, &out, sizeof(out));
	if (r == -ENOBUFS)
		handle_release(&c->srv->handles, out.fh, HANDLE_FILE);
	return r;
}

/* Answer CREATE or TMPFILE; consumes the pin and, on failure, the lookup. */
static int create_answer(struct fuse_call *c, struct node *n, const struct statx *stx, int *fd)
{
	struct fuse_open_out open_out;
	struct fuse_entry_out entry;
	uint64_t id = node_id(n);
	int r = open_finish(c, n, fd, c->arg.create.flags, stx, &open_out);

	if (r == 0) {
		fuse_entry_fill(c->srv, n, stx, &entry);
		if (c->out.left < sizeof(entry) + sizeof(open_out))
			r = -ENOBUFS;
		if (r == 0)
			r = fuse_reply(c, &entry, sizeof(entry));
		if (r == 0)
			r = fuse_reply(c, &open_out, sizeof(open_out));
		if (r < 0)
			handle_release(&c->srv->handles, open_out.fh, HANDLE_FILE);
	}
	node_unpin(&c->srv->nodes, n);
	if (r < 0)
		node_forget(&c->srv->nodes, id, 1);
	return r;
}

/* Node of a file that was just made and is open. */
static int intern_made(struct fuse_call *c, int fd, struct node **ret, struct statx *stx)
{
	const struct fuse_create_in *in = &c->arg.create;
	AUTO_FD int path = gate_path_of(c->srv, fd);
	int r;

	if (path < 0)
		return path;
	if (c->srv->opt.owner == FUSE_OWNER_XATTR) {
		r = override_new(c, path, S_IFREG | (in->mode & 07777 & ~(in->umask & 0777)), 0);
		if (r < 0)
			return r;
	}
	r = attr_stat(c->srv, path, stx);
	return r < 0 ? r : node_intern(&c->srv->nodes, stx, &path, ret);
}

static int create_open(struct fuse_call *c, const char *name, uint32_t extra)
{
	const struct fuse_create_in *in = &c->arg.create;
	bool in_xattr = c->srv->opt.owner == FUSE_OWNER_XATTR;
	uint32_t flags = (gate_flags(in->flags) & ~(uint32_t)(O_TRUNC | O_NOATIME)) | extra;
	int r = creds_enter_making(c, in_xattr ? 0 : in->umask, in->mode);

	if (r < 0)
		return r;
	r = gate_open_at(c->node->fd, name, flags, in_xattr ? 0600 : in->mode);
	creds_leave(c);
	return r;
}

int fuse_op_create(struct fuse_call *c)
{
	const struct fuse_create_in *in = &c->arg.create;
	AUTO_FD int fd = create_open(c, c->name, O_CREAT | O_EXCL | O_NOFOLLOW);
	struct statx stx;
	struct node *n;
	int r;

	if (fd == -EEXIST && !(in->flags & O_EXCL)) {
		/* Someone else was faster: open what is there, if it is a file. */
		r = name_lookup(c, c->node->fd, c->name, &n, &stx);
		if (r < 0)
			return r;
		r = fd = n->type == S_IFLNK ? -ELOOP
					    : open_existing(c, n, in->flags, in->open_flags);
		if (r >= 0)
			r = attr_stat(c->srv, n->fd, &stx);
		if (r < 0) {
			uint64_t id = node_id(n);

			node_unpin(&c->srv->nodes, n);
			node_forget(&c->srv->nodes, id, 1);
			return r;
		}
	} else {
		if (fd < 0)
			return fd;
		r = intern_made(c, fd, &n, &stx);
		if (r < 0) {
			unlinkat(c->node->fd, c->name, 0);
			return r;
		}
	}
	return create_answer(c, n, &stx, &fd);
}

int fuse_op_tmpfile(struct fuse_call *c)
{
	uint32_t excl = c->arg.create.flags & O_EXCL;
	AUTO_FD int fd = create_open(c, ".", O_TMPFILE | excl);
	struct statx stx;
	struct node *n;
	int r;

	if (fd < 0)
		return fd;
	r = intern_made(c, fd, &n, &stx);
	return r < 0 ? r : create_answer(c, n, &stx, &fd);
}

/*
 * What is in the host's page cache is read at once; only what is not may keep other requests
 * waiting, and says so first.
 */
static ssize_t read_some(struct fuse_call *c, int fd, unsigned n_iov, uint64_t off)
{
	ssize_t n = -1;

	if (!c->w->slow) {
		n = preadv2(fd, c->w->iov, (int)n_iov, (off_t)off, RWF_NOWAIT);
		if (n >= 0 || (errno != EAGAIN && errno != EOPNOTSUPP))
			return n;
		if (n < 0 && errno == EAGAIN)
			fuse_pool_mark_slow(c->w);
	}
	return preadv(fd, c->w->iov, (int)n_iov, (off_t)off);
}

int fuse_op_read(struct fuse_call *c)
{
	const struct fuse_read_in *in = &c->arg.read;
	size_t left = in->size, len;
	uint64_t off = in->offset;
	struct handle *h;
	int r;

	if (in->size > FUSE_MAX_IO || in->size > c->out.left ||
	    in->offset > (uint64_t)INT64_MAX - in->size)
		return -EINVAL;
	r = handle_pin(&c->srv->handles, in->fh, HANDLE_FILE, c->node, &h);
	if (r < 0)
		return r;
	/* A short read may be the end of the cache, of the slice or of the file: 0 is the end. */
	while (left) {
		unsigned n_iov = iov_cursor_slice(&c->out, left, c->w->iov, FUSE_IOV_MAX, &len);
		ssize_t n = read_some(c, h->fd, n_iov, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = c->reply_len ? 0 : -errno;
		if (n <= 0)
			break;
		iov_cursor_skip(&c->out, (size_t)n);
		c->reply_len += (size_t)n;
		off += (uint64_t)n;
		left -= (size_t)n;
	}
	handle_unpin(&c->srv->handles, h);
	return r;
}

static int write_data(struct fuse_call *c, int fd, size_t *ret_done)
{
	const struct fuse_write_in *in = &c->arg.write;
	bool append = in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE);
	size_t left = in->size, len;
	uint64_t off = in->offset;

	*ret_done = 0;
	while (left) {
		unsigned n_iov = iov_cursor_slice(&c->in, left, c->w->iov, FUSE_IOV_MAX, &len);
		ssize_t n = append ? pwritev2(fd, c->w->iov, (int)n_iov, (off_t)off, RWF_APPEND)
				   : pwritev(fd, c->w->iov, (int)n_iov, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return *ret_done ? 0 : -errno;
		if (n == 0)
			break;
		iov_cursor_skip(&c->in, (size_t)n);
		*ret_done += (size_t)n;
		off += (uint64_t)n;
		left -= (size_t)n;
	}
	return 0;
}

int fuse_op_write(struct fuse_call *c)
{
	const struct fuse_write_in *in = &c->arg.write;
	bool kill = in->write_flags & FUSE_WRITE_KILL_SUIDGID;
	struct fuse_write_out out = { 0 };
	struct handle *h;
	size_t done;
	int r;

	if (in->size > FUSE_MAX_IO || in->size > c->in.left ||
	    in->offset > (uint64_t)INT64_MAX - in->size)
		return -EINVAL;
	r = handle_pin(&c->srv->handles, in->fh, HANDLE_FILE, c->node, &h);
	if (r < 0)
		return r;
	creds_write_begin(c->w, h->fd, kill);
	r = write_data(c, h->fd, &done);
	creds_write_end(c->w);
	if (r == 0 && kill && c->srv->opt.owner == FUSE_OWNER_XATTR)
		override_kill_priv(c->node->fd);
	handle_unpin(&c->srv->handles, h);
	out.size = (uint32_t)done;
	return r < 0 ? r : fuse_reply(c, &out, sizeof(out));
}

int fuse_op_release(struct fuse_call *c)
{
	return handle_release(&c->srv->handles, c->arg.release.fh, HANDLE_FILE);
}

int fuse_op_fsync(struct fuse_call *c)
{
	struct handle *h;
	int r = handle_pin(&c->srv->handles, c->arg.fsync.fh, HANDLE_FILE, c->node, &h);

	if (r < 0)
		return r;
	if (c->arg.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC)
		r = fdatasync(h->fd);
	else
		r = fsync(h->fd);
	r = r < 0 ? -errno : 0;
	handle_unpin(&c->srv->handles, h);
	return r;
}

int fuse_op_fallocate(struct fuse_call *c)
{
	const struct fuse_fallocate_in *in = &c->arg.fallocate;
	struct handle *h;
	int r;

	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EFBIG;
	r = handle_pin(&c->srv->handles, in->fh, HANDLE_FILE, c->node, &h);
	if (r < 0)
		return r;
	/* No flag says who asks; setuid files are not preallocated by those who want to keep it. */
	creds_write_begin(c->w, h->fd, c->hdr.uid != 0);
	r = fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0 ? -errno : 0;
	creds_write_end(c->w);
	handle_unpin(&c->srv->handles, h);
	return r;
}

int fuse_op_lseek(struct fuse_call *c)
{
	const struct fuse_wire_lseek_in *in = &c->arg.lseek;
	struct fuse_wire_lseek_out out;
	struct handle *h;
	off_t off;
	int r;

	/* The position is the guest's business; only holes need the host. */
	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
		return -EINVAL;
	r = handle_pin(&c->srv->handles, in->fh, HANDLE_FILE, c->node, &h);
	if (r < 0)
		return r;
	off = lseek(h->fd, (off_t)in->offset, (int)in->whence);
	r = off < 0 ? -errno : 0;
	handle_unpin(&c->srv->handles, h);
	out.offset = (uint64_t)off;
	return r < 0 ? r : fuse_reply(c, &out, sizeof(out));
}

static int copy_answer(struct fuse_call *c, uint64_t n)
{
	struct fuse_wire_copy_file_range_out out64 = { .bytes_copied = n };
	struct fuse_write_out out = { .size = (uint32_t)n };

	if (c->hdr.opcode == FUSE_OP_COPY_FILE_RANGE_64)
		return fuse_reply(c, &out64, sizeof(out64));
	return fuse_reply(c, &out, sizeof(out));
}

int fuse_op_copy_file_range(struct fuse_call *c)
{
	const struct fuse_wire_copy_file_range_in *in = &c->arg.copy;
	struct handle *from, *to = NULL;
	struct node *to_node = NULL;
	off_t off_in = (off_t)in->off_in, off_out = (off_t)in->off_out;
	ssize_t n = 0;
	int r;

	if (in->flags || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EINVAL;
	r = handle_pin(&c->srv->handles, in->fh_in, HANDLE_FILE, c->node, &from);
	if (r < 0)
		return r;
	r = node_pin(&c->srv->nodes, in->nodeid_out, &to_node);
	if (r == 0)
		r = handle_pin(&c->srv->handles, in->fh_out, HANDLE_FILE, to_node, &to);
	if (r == 0) {
		creds_write_begin(c->w, to->fd, c->hdr.uid != 0);
		n = copy_file_range(from->fd, &off_in, to->fd, &off_out, MIN(in->len, COPY_MAX), 0);
		r = n < 0 ? -errno : 0;
		creds_write_end(c->w);
	}
	handle_unpin(&c->srv->handles, to);
	node_unpin(&c->srv->nodes, to_node);
	handle_unpin(&c->srv->handles, from);
	return r < 0 ? r : copy_answer(c, (uint64_t)n);
}

/*
 * Inode flags (lsattr, chattr). Immutable and append-only stay the host administrator's. Before it sets flags
 * a guest's kernel asks for the extended attributes, of whose setting it is refused.
 */
static int flags_set(struct fuse_call *c, int fd)
{
	const unsigned locked = FS_IMMUTABLE_FL | FS_APPEND_FL;
	struct fuse_ioctl_out out = { 0 };
	unsigned now = 0, want = 0;

	if (c->srv->opt.read_only)
		return -EROFS;
	if (c->blob_len < sizeof(want))
		return -EINVAL;
	memcpy(&want, c->blob, sizeof(want));
	if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0)
		return -errno;
	if ((want ^ now) & locked)
		return -EPERM;
	if (ioctl(fd, FS_IOC_SETFLAGS, &want) < 0)
		return -errno;
	return fuse_reply(c, &out, sizeof(out));
}

int fuse_op_ioctl(struct fuse_call *c)
{
	const struct fuse_ioctl_in *in = &c->arg.ioctl;
	struct fuse_ioctl_out out = { 0 };
	union {
		unsigned flags;
		struct fsxattr attrs;
	} now = { 0 };
	size_t len = in->cmd == FS_IOC_FSGETXATTR ? sizeof(now.attrs) : sizeof(now.flags);
	AUTO_FD int fd = -1;

	if (in->cmd != FS_IOC_GETFLAGS && in->cmd != FS_IOC_SETFLAGS &&
	    in->cmd != FS_IOC_FSGETXATTR)
		return -ENOTTY;
	fd = gate_open_node(c->srv, c->node, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return fd == -ENXIO ? -ENOTTY : fd;
	if (in->cmd == FS_IOC_SETFLAGS)
		return flags_set(c, fd);
	if (in->out_size < len || c->out.left < sizeof(out) + len)
		return -EINVAL;
	if (ioctl(fd, in->cmd, &now) < 0)
		return -errno;
	fuse_reply(c, &out, sizeof(out));
	return fuse_reply(c, &now, len);
}

int fuse_op_setupmapping(struct fuse_call *c)
{
	const struct fuse_wire_setupmapping_in *in = &c->arg.setupmapping;
	const struct fuse_dax_ops *dax = c->srv->opt.dax;
	bool writable = in->flags & FUSE_WIRE_MAP_WRITE;
	uint64_t end;
	AUTO_FD int fd = -1;

	if (!dax)
		return -ENOSYS;
	if (!in->len || (in->moffset | in->foffset | in->len) & (FUSE_DAX_CHUNK - 1) ||
	    ckd_add(&end, in->moffset, in->len) || end > dax->window_len ||
	    in->foffset > (uint64_t)INT64_MAX - in->len)
		return -EINVAL;
	if (writable && c->srv->opt.read_only)
		return -EROFS;
	/* The guest kernel maps on behalf of the inode: it sends no handle that could be used. */
	fd = gate_open_node(c->srv, c->node, writable ? O_RDWR : O_RDONLY);
	if (fd < 0)
		return fd;
	return dax->map(dax->opaque, in->moffset, fd, in->foffset, in->len, writable);
}

int fuse_op_removemapping(struct fuse_call *c)
{
	const struct fuse_dax_ops *dax = c->srv->opt.dax;
	struct fuse_wire_removemapping_one one;
	uint32_t count;
	uint64_t end;

	if (!dax)
		return -ENOSYS;
	memcpy(&count, c->arg.raw, sizeof(count));
	if (count > c->blob_len / sizeof(one))
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		int r;

		memcpy(&one, c->blob + i * sizeof(one), sizeof(one));
		if (!one.len || (one.moffset | one.len) & (FUSE_DAX_CHUNK - 1) ||
		    ckd_add(&end, one.moffset, one.len) || end > dax->window_len)
			return -EINVAL;
		r = dax->unmap(dax->opaque, one.moffset, one.len);
		if (r < 0)
			return r;
	}
	return 0;
}
