/* SPDX-License-Identifier: Apache-2.0 */
/* Directories: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR, SYNCFS. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/checked.h"
#include "base/fd.h"
#include "passthrough/names.h"
#include "passthrough/open.h"

#define DIR_BUF_BYTES 16384

/* The kernel's form, as getdents64 writes it. */
struct host_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

#define HOST_NAME_OFFSET offsetof(struct host_dirent, name)

int fuse_op_opendir(struct fuse_call *c)
{
	struct fuse_open_out out = { 0 };
	AUTO_FD int fd = -1;
	int r;

	if (c->node->type != S_IFDIR)
		return -ENOTDIR;
	fd = gate_open_node(c->srv, c->node, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	if (c->srv->opt.cache == FUSE_CACHE_ALWAYS)
		out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
	r = handle_new(&c->srv->handles, HANDLE_DIR, &fd, c->node, c->arg.open.flags, &out.fh);
	if (r == 0)
		r = fuse_reply(c, &out, sizeof(out));
	if (r == -ENOBUFS)
		handle_release(&c->srv->handles, out.fh, HANDLE_DIR);
	return r;
}

int fuse_op_releasedir(struct fuse_call *c)
{
	return handle_release(&c->srv->handles, c->arg.release.fh, HANDLE_DIR);
}

int fuse_op_fsyncdir(struct fuse_call *c)
{
	struct handle *h;
	int r = handle_pin(&c->srv->handles, c->arg.fsync.fh, HANDLE_DIR, c->node, &h);

	if (r < 0)
		return r;
	r = fsync(h->fd) < 0 ? -errno : 0;
	handle_unpin(&c->srv->handles, h);
	return r;
}

int fuse_op_syncfs(struct fuse_call *c)
{
	AUTO_FD int fd = gate_open_node(c->srv, c->node, O_RDONLY | O_NONBLOCK);

	if (fd < 0)
		return fd;
	return syncfs(fd) < 0 ? -errno : 0;
}

/* Next entry at the handle's position. Return: 1, 0 at the end, negative errno. */
static int dir_peek(struct handle *h, struct host_dirent **ret)
{
	struct host_dirent *d;

	if (h->dir_pos >= h->dir_len) {
		long n = syscall(SYS_getdents64, h->fd, h->dir_buf, DIR_BUF_BYTES);

		if (n <= 0)
			return n < 0 ? -errno : 0;
		h->dir_pos = 0;
		h->dir_len = (uint32_t)n;
	}
	d = (struct host_dirent *)(void *)(h->dir_buf + h->dir_pos);
	*ret = d;
	return 1;
}

static void dir_next(struct handle *h, const struct host_dirent *d)
{
	h->dir_off = (uint64_t)d->off;
	h->dir_pos += d->len;
}

/* Stand at the cookie the guest asks for; usually we do already. */
static int dir_seek(struct handle *h, uint64_t off)
{
	if (!h->dir_buf) {
		h->dir_buf = malloc(DIR_BUF_BYTES);
		if (!h->dir_buf)
			return -ENOMEM;
	}
	if (off == h->dir_off && (off || h->dir_pos || !h->dir_len))
		return 0;
	if (lseek(h->fd, (off_t)off, SEEK_SET) < 0)
		return -errno;
	h->dir_pos = h->dir_len = 0;
	h->dir_off = off;
	return 0;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static uint8_t *put_dirent(uint8_t *p, const struct fuse_call *c, const struct host_dirent *d,
			   size_t name_len)
{
	struct fuse_dirent out = { .ino = d->ino,
				   .off = (uint64_t)d->off,
				   .namelen = (uint32_t)name_len,
				   .type = d->type };
	size_t size = FUSE_REC_ALIGN(FUSE_NAME_OFFSET + name_len);

	/* What is above the root is none of the guest's business. */
	if (c->node->index == NODE_ROOT_ID && is_dots(d->name))
		out.ino = c->node->key.ino;
	memset(p, 0, size);
	memcpy(p, &out, FUSE_NAME_OFFSET);
	memcpy(p + FUSE_NAME_OFFSET, d->name, name_len);
	return p + size;
}

/* Return: bytes used; 0 when the name vanished meanwhile. */
static uint8_t *put_direntplus(uint8_t *p, struct fuse_call *c, const struct handle *h,
			       const struct host_dirent *d, size_t name_len)
{
	struct fuse_entry_out entry = { 0 };
	struct statx stx;
	struct node *n;

	if (!is_dots(d->name)) {
		int r = name_lookup(c, h->fd, d->name, &n, &stx);

		if (r == -ENOENT)
			return p;
		/* Without attributes the guest looks it up by itself, and gets the error there. */
		if (r == 0) {
			fuse_entry_fill(c->srv, n, &stx, &entry);
			told_lose(c->srv);
			node_unpin(&c->srv->nodes, n);
		}
	}
	memcpy(p, &entry, sizeof(entry));
	return put_dirent(p + sizeof(entry), c, d, name_len);
}

static int dir_fill(struct fuse_call *c, struct handle *h, size_t room, bool plus, size_t *ret_len)
{
	uint8_t *p = c->w->out_buf;
	const uint8_t *end = p + room;
	struct host_dirent *d = NULL;
	int r;

	while ((r = dir_peek(h, &d)) > 0) {
		size_t name_len = strnlen(d->name, d->len - HOST_NAME_OFFSET);
		size_t need = FUSE_REC_ALIGN(FUSE_NAME_OFFSET + name_len);

		if (plus)
			need += sizeof(struct fuse_entry_out);
		if (need > (size_t)(end - p))
			break;
		p = plus ? put_direntplus(p, c, h, d, name_len) : put_dirent(p, c, d, name_len);
		dir_next(h, d);
	}
	*ret_len = (size_t)(p - c->w->out_buf);
	return r < 0 && !*ret_len ? r : 0;
}

static int readdir_any(struct fuse_call *c, bool plus)
{
	const struct fuse_read_in *in = &c->arg.read;
	size_t room = MIN(MIN((size_t)in->size, c->out.left), (size_t)FUSE_OUT_BUF), len = 0;
	struct handle *h;
	int r = handle_pin(&c->srv->handles, in->fh, HANDLE_DIR, c->node, &h);

	if (r < 0)
		return r;
	pthread_mutex_lock(&h->dir_lock);
	r = dir_seek(h, in->offset);
	if (r == 0)
		r = dir_fill(c, h, room, plus, &len);
	pthread_mutex_unlock(&h->dir_lock);
	handle_unpin(&c->srv->handles, h);
	return r < 0 ? r : fuse_reply(c, c->w->out_buf, len);
}

int fuse_op_readdir(struct fuse_call *c)
{
	return readdir_any(c, false);
}

int fuse_op_readdirplus(struct fuse_call *c)
{
	return readdir_any(c, true);
}
