/* SPDX-License-Identifier: Apache-2.0 */
/* Reading requests from and writing answers to lists of memory ranges; attribute encoding. */
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/checked.h"
#include "fuse/server.h"

#define CACHE_AUTO_SECONDS   1
#define CACHE_ALWAYS_SECONDS 86400

void iov_cursor_init(struct iov_cursor *c, const struct iovec *iov, unsigned n)
{
	*c = (struct iov_cursor){ .iov = iov, .n = n };
	for (unsigned i = 0; i < n; i++) {
		if (ckd_add(&c->left, c->left, iov[i].iov_len)) {
			/* Longer than an address space: a broken transport, serve what precedes. */
			c->n = i;
			c->left -= iov[i].iov_len;
			return;
		}
	}
}

static size_t cursor_move(struct iov_cursor *c, uint8_t *to, const uint8_t *from, size_t len)
{
	size_t done = 0;

	while (done < len && c->n) {
		size_t step = MIN(len - done, c->iov->iov_len - c->off);
		uint8_t *at = step ? (uint8_t *)c->iov->iov_base + c->off : NULL;

		if (step && to)
			memcpy(to + done, at, step);
		else if (step && from)
			memcpy(at, from + done, step);
		done += step;
		c->off += step;
		if (c->off == c->iov->iov_len) {
			c->iov++;
			c->n--;
			c->off = 0;
		}
	}
	c->left -= done;
	return done;
}

size_t iov_cursor_read(struct iov_cursor *c, void *buf, size_t len)
{
	return cursor_move(c, buf, NULL, len);
}

size_t iov_cursor_write(struct iov_cursor *c, const void *buf, size_t len)
{
	return cursor_move(c, NULL, buf, len);
}

void iov_cursor_skip(struct iov_cursor *c, size_t len)
{
	cursor_move(c, NULL, NULL, len);
}

unsigned iov_cursor_slice(const struct iov_cursor *c, size_t len, struct iovec *ret, unsigned max,
			  size_t *ret_len)
{
	size_t off = c->off, sum = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < c->n && n < max && sum < len; i++, off = 0) {
		size_t step = MIN(len - sum, c->iov[i].iov_len - off);

		if (!step)
			continue;
		ret[n++] = (struct iovec){ .iov_base = (uint8_t *)c->iov[i].iov_base + off,
					   .iov_len = step };
		sum += step;
	}
	*ret_len = sum;
	return n;
}

int fuse_reply(struct fuse_call *c, const void *buf, size_t len)
{
	if (len > c->out.left)
		return -ENOBUFS;
	c->reply_len += iov_cursor_write(&c->out, buf, len);
	return 0;
}

uint64_t fuse_cache_seconds(const struct fuse_server *srv)
{
	switch (srv->opt.cache) {
	case FUSE_CACHE_NEVER: return 0;
	case FUSE_CACHE_ALWAYS: return CACHE_ALWAYS_SECONDS;
	case FUSE_CACHE_AUTO: break;
	}
	return CACHE_AUTO_SECONDS;
}

/* The kernel's 32-bit form of a device number, as FUSE carries it. */
static uint32_t encode_dev(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}

void fuse_attr_fill(const struct fuse_server *srv, const struct statx *stx, bool mount_root,
		    struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = stx->stx_ino,
		.size = stx->stx_size,
		.blocks = stx->stx_blocks,
		.atime = (uint64_t)stx->stx_atime.tv_sec,
		.mtime = (uint64_t)stx->stx_mtime.tv_sec,
		.ctime = (uint64_t)stx->stx_ctime.tv_sec,
		.atimensec = stx->stx_atime.tv_nsec,
		.mtimensec = stx->stx_mtime.tv_nsec,
		.ctimensec = stx->stx_ctime.tv_nsec,
		.mode = stx->stx_mode,
		.nlink = stx->stx_nlink,
		.uid = stx->stx_uid,
		.gid = stx->stx_gid,
		.rdev = encode_dev(stx->stx_rdev_major, stx->stx_rdev_minor),
		.blksize = stx->stx_blksize,
	};
	/* Guests that decide file by file (and have not been told otherwise by a mount option). */
	if (S_ISREG(stx->stx_mode) && srv->session.flags & FUSE_HAS_INODE_DAX)
		ret->flags |= FUSE_ATTR_DAX;
	if (mount_root && S_ISDIR(stx->stx_mode) && srv->session.flags & FUSE_SUBMOUNTS)
		ret->flags |= FUSE_ATTR_SUBMOUNT;
}

void fuse_entry_fill(const struct fuse_server *srv, const struct node *n, const struct statx *stx,
		     struct fuse_entry_out *ret)
{
	uint64_t seconds = fuse_cache_seconds(srv);

	*ret = (struct fuse_entry_out){
		.nodeid = node_id(n),
		.entry_valid = seconds,
		.attr_valid = seconds,
	};
	fuse_attr_fill(srv, stx, n->mount_root && n->index != NODE_ROOT_ID, &ret->attr);
}
