/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a message to its handler: one table says for each opcode what its message looks like, and
 * one function checks and copies accordingly.
 *
 * A message is a header, a struct, up to two strings with their NULs, a blob, and extensions, in
 * that order. All but the data of WRITE is copied to memory of ours before anything looks at it.
 */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "fuse/server.h"

enum op_flags {
	OP_NO_NODE = 1 << 0,  /* hdr.nodeid names nothing */
	OP_NO_REPLY = 1 << 1, /* never answered */
	OP_BLOB = 1 << 2,     /* bytes may follow the strings */
	OP_DATA = 1 << 3,     /* bytes follow the struct and stay where they are */
	OP_SLOW = 1 << 4,     /* may wait for storage */
	OP_WRITES = 1 << 5,   /* refused on a read-only server */
	OP_EARLY = 1 << 6,    /* allowed before INIT */
	OP_ANY_NAME = 1 << 7, /* the second string is not a file name */
	OP_XNAME = 1 << 8,    /* the first string is an attribute name, not a file name */
};

struct op {
	const char *name;
	fuse_op_fn fn; /* NULL: known and answered with ENOSYS, so that the client does it itself */
	uint16_t arg_size;
	uint8_t n_strings;
	uint16_t flags;
};

/* clang-format off */
static const struct op ops[FUSE_OP_MAX_] = {
	[FUSE_LOOKUP]        = { "LOOKUP", fuse_op_lookup, 0, 1, 0 },
	[FUSE_FORGET]        = { "FORGET", fuse_op_forget, sizeof(struct fuse_forget_in), 0, OP_NO_NODE | OP_NO_REPLY },
	[FUSE_GETATTR]       = { "GETATTR", fuse_op_getattr, sizeof(struct fuse_getattr_in), 0, 0 },
	[FUSE_SETATTR]       = { "SETATTR", fuse_op_setattr, sizeof(struct fuse_setattr_in), 0, OP_WRITES },
	[FUSE_READLINK]      = { "READLINK", fuse_op_readlink, 0, 0, 0 },
	[FUSE_SYMLINK]       = { "SYMLINK", fuse_op_symlink, 0, 2, OP_WRITES | OP_ANY_NAME },
	[FUSE_MKNOD]         = { "MKNOD", fuse_op_mknod, sizeof(struct fuse_mknod_in), 1, OP_WRITES },
	[FUSE_MKDIR]         = { "MKDIR", fuse_op_mkdir, sizeof(struct fuse_mkdir_in), 1, OP_WRITES },
	[FUSE_UNLINK]        = { "UNLINK", fuse_op_unlink, 0, 1, OP_WRITES },
	[FUSE_RMDIR]         = { "RMDIR", fuse_op_rmdir, 0, 1, OP_WRITES },
	[FUSE_RENAME]        = { "RENAME", fuse_op_rename, sizeof(struct fuse_rename_in), 2, OP_WRITES },
	[FUSE_LINK]          = { "LINK", fuse_op_link, sizeof(struct fuse_link_in), 1, OP_WRITES },
	[FUSE_OPEN]          = { "OPEN", fuse_op_open, sizeof(struct fuse_open_in), 0, 0 },
	[FUSE_READ]          = { "READ", fuse_op_read, sizeof(struct fuse_read_in), 0, 0 },
	[FUSE_WRITE]         = { "WRITE", fuse_op_write, sizeof(struct fuse_write_in), 0, OP_DATA | OP_WRITES },
	[FUSE_STATFS]        = { "STATFS", fuse_op_statfs, 0, 0, 0 },
	[FUSE_RELEASE]       = { "RELEASE", fuse_op_release, sizeof(struct fuse_release_in), 0, OP_NO_NODE },
	[FUSE_FSYNC]         = { "FSYNC", fuse_op_fsync, sizeof(struct fuse_fsync_in), 0, OP_SLOW },
	[FUSE_SETXATTR]      = { "SETXATTR", fuse_op_setxattr, sizeof(struct fuse_setxattr_in), 1, OP_BLOB | OP_WRITES | OP_XNAME },
	[FUSE_GETXATTR]      = { "GETXATTR", fuse_op_getxattr, sizeof(struct fuse_getxattr_in), 1, OP_XNAME },
	[FUSE_LISTXATTR]     = { "LISTXATTR", fuse_op_listxattr, sizeof(struct fuse_getxattr_in), 0, 0 },
	[FUSE_REMOVEXATTR]   = { "REMOVEXATTR", fuse_op_removexattr, 0, 1, OP_WRITES | OP_XNAME },
	[FUSE_FLUSH]         = { "FLUSH", NULL, 0, 0, 0 },
	[FUSE_INIT]          = { "INIT", fuse_op_init, 16, 0, OP_NO_NODE | OP_EARLY | OP_BLOB },
	[FUSE_OPENDIR]       = { "OPENDIR", fuse_op_opendir, sizeof(struct fuse_open_in), 0, 0 },
	[FUSE_READDIR]       = { "READDIR", fuse_op_readdir, sizeof(struct fuse_read_in), 0, 0 },
	[FUSE_RELEASEDIR]    = { "RELEASEDIR", fuse_op_releasedir, sizeof(struct fuse_release_in), 0, OP_NO_NODE },
	[FUSE_FSYNCDIR]      = { "FSYNCDIR", fuse_op_fsyncdir, sizeof(struct fuse_fsync_in), 0, OP_SLOW },
	[FUSE_GETLK]         = { "GETLK", NULL, 0, 0, 0 },
	[FUSE_SETLK]         = { "SETLK", NULL, 0, 0, 0 },
	[FUSE_SETLKW]        = { "SETLKW", NULL, 0, 0, 0 },
	[FUSE_ACCESS]        = { "ACCESS", NULL, 0, 0, 0 },
	[FUSE_CREATE]        = { "CREATE", fuse_op_create, sizeof(struct fuse_create_in), 1, OP_WRITES },
	[FUSE_INTERRUPT]     = { "INTERRUPT", NULL, 0, 0, OP_NO_NODE | OP_NO_REPLY },
	[FUSE_BMAP]          = { "BMAP", NULL, 0, 0, 0 },
	[FUSE_DESTROY]       = { "DESTROY", fuse_op_destroy, 0, 0, OP_NO_NODE },
	[FUSE_IOCTL]         = { "IOCTL", fuse_op_ioctl, sizeof(struct fuse_ioctl_in), 0, OP_BLOB },
	[FUSE_POLL]          = { "POLL", NULL, 0, 0, 0 },
	[FUSE_NOTIFY_REPLY]  = { "NOTIFY_REPLY", NULL, 0, 0, OP_NO_NODE | OP_NO_REPLY },
	[FUSE_BATCH_FORGET]  = { "BATCH_FORGET", fuse_op_batch_forget, sizeof(struct fuse_batch_forget_in), 0, OP_NO_NODE | OP_NO_REPLY | OP_DATA },
	[FUSE_FALLOCATE]     = { "FALLOCATE", fuse_op_fallocate, sizeof(struct fuse_fallocate_in), 0, OP_WRITES | OP_SLOW },
	[FUSE_READDIRPLUS]   = { "READDIRPLUS", fuse_op_readdirplus, sizeof(struct fuse_read_in), 0, 0 },
	[FUSE_RENAME2]       = { "RENAME2", fuse_op_rename2, sizeof(struct fuse_rename2_in), 2, OP_WRITES },
	[FUSE_LSEEK]         = { "LSEEK", fuse_op_lseek, sizeof(struct fuse_wire_lseek_in), 0, 0 },
	[FUSE_COPY_FILE_RANGE] = { "COPY_FILE_RANGE", fuse_op_copy_file_range, sizeof(struct fuse_wire_copy_file_range_in), 0, OP_WRITES | OP_SLOW },
	[FUSE_SETUPMAPPING]  = { "SETUPMAPPING", fuse_op_setupmapping, sizeof(struct fuse_wire_setupmapping_in), 0, 0 },
	[FUSE_REMOVEMAPPING] = { "REMOVEMAPPING", fuse_op_removemapping, 4, 0, OP_BLOB | OP_NO_NODE },
	[FUSE_SYNCFS]        = { "SYNCFS", fuse_op_syncfs, 8, 0, OP_SLOW },
	[FUSE_TMPFILE]       = { "TMPFILE", fuse_op_tmpfile, sizeof(struct fuse_create_in), 1, OP_WRITES | OP_ANY_NAME | OP_XNAME },
	[FUSE_OP_STATX]      = { "STATX", fuse_op_statx, sizeof(struct fuse_wire_statx_in), 0, 0 },
	[FUSE_OP_COPY_FILE_RANGE_64] = { "COPY_FILE_RANGE_64", fuse_op_copy_file_range, sizeof(struct fuse_wire_copy_file_range_in), 0, OP_WRITES | OP_SLOW },
};
/* clang-format on */

static const struct op *op_find(uint32_t opcode)
{
	return opcode < FUSE_OP_MAX_ && ops[opcode].name ? &ops[opcode] : NULL;
}

/* A file name: one component, and not one that means another directory. */
static int name_check(const char *name, size_t len)
{
	if (len == 0)
		return -ENOENT;
	if (len > FUSE_WIRE_NAME_MAX)
		return -ENAMETOOLONG;
	if (memchr(name, '/', len))
		return -EINVAL;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return -EINVAL;
	return 0;
}

/* Split the copied body at @p into strings and blob. */
static int body_parse(struct fuse_call *c, const struct op *op, const uint8_t *p, size_t len)
{
	for (unsigned i = 0; i < op->n_strings; i++) {
		const uint8_t *end = memchr(p, 0, len);
		size_t n = end ? (size_t)(end - p) : 0;
		bool is_file = i == 0 ? !(op->flags & OP_XNAME) : !(op->flags & OP_ANY_NAME);
		int r;

		if (!end)
			return -EINVAL;
		r = is_file ? name_check((const char *)p, n) : 0;
		if (r < 0)
			return r;
		if (i == 0)
			c->name = (const char *)p;
		else
			c->name2 = (const char *)p;
		p = end + 1;
		len -= n + 1;
	}
	if (len && !(op->flags & OP_BLOB))
		return -EINVAL;
	c->blob = p;
	c->blob_len = len;
	return 0;
}

/* Extensions at the message's end: only the one with a supplementary group matters to us. */
static int ext_parse(struct fuse_call *c, const uint8_t *p, size_t len)
{
	while (len) {
		struct fuse_wire_ext_header h;
		uint32_t groups[2];

		if (len < sizeof(h))
			return -EINVAL;
		memcpy(&h, p, sizeof(h));
		if (h.size < sizeof(h) || h.size > len || h.size % 8)
			return -EINVAL;
		if (h.type == FUSE_WIRE_EXT_GROUPS && h.size >= sizeof(h) + sizeof(groups)) {
			memcpy(groups, p + sizeof(h), sizeof(groups));
			/* [0] is the number of groups: the kernel sends the one that decides. */
			c->has_group = groups[0] == 1;
			c->group = groups[1];
		}
		p += h.size;
		len -= h.size;
	}
	return 0;
}

/* The struct's size depends on what was agreed for a few. */
static size_t arg_size(const struct fuse_call *c, const struct op *op)
{
	if (c->hdr.opcode == FUSE_SETXATTR && !(c->srv->session.flags & FUSE_SETXATTR_EXT))
		return FUSE_COMPAT_SETXATTR_IN_SIZE;
	return op->arg_size;
}

/* Copy arguments, strings and blob; leaves c->in at the data of those that keep it in place. */
static int call_decode(struct fuse_call *c, const struct op *op, size_t body_len)
{
	size_t n = arg_size(c, op), ext = (size_t)c->hdr.total_extlen * 8, rest;
	uint8_t *buf = c->w->in_buf;
	int r;

	if (!op->fn)
		return -ENOSYS;
	if (body_len < n || ext > body_len - n)
		return -EINVAL;
	if (iov_cursor_read(&c->in, &c->arg, n) != n)
		return -EINVAL;
	rest = body_len - n;
	c->in.left = rest;
	if (op->flags & OP_DATA)
		return 0;
	if (rest > FUSE_IN_BUF)
		return -E2BIG;
	if (iov_cursor_read(&c->in, buf, rest) != rest)
		return -EINVAL;
	/* DESTROY and a few others may carry padding; they have no body to misread. */
	if (op->n_strings == 0 && !(op->flags & OP_BLOB))
		return 0;
	r = ext_parse(c, buf + (rest - ext), ext);
	return r < 0 ? r : body_parse(c, op, buf, rest - ext);
}

static int call_run(struct fuse_call *c, const struct op *op)
{
	int r;

	if (!c->srv->session.ready && !(op->flags & OP_EARLY))
		return -EIO;
	if (c->srv->opt.read_only && op->flags & OP_WRITES)
		return -EROFS;
	if (op->flags & OP_SLOW)
		fuse_pool_mark_slow(c->w);
	if (op->flags & OP_WRITES)
		told_lose(c->srv);
	if (op->flags & OP_NO_NODE)
		return op->fn(c);
	r = node_pin(&c->srv->nodes, c->hdr.nodeid, &c->node);
	if (r < 0)
		return r;
	r = op->fn(c);
	node_unpin(&c->srv->nodes, c->node);
	return r;
}

static size_t reply_finish(struct fuse_call *c, struct iov_cursor head, int r)
{
	struct fuse_out_header out = { .len = sizeof(out), .unique = c->hdr.unique };

	if (r < 0)
		out.error = r;
	else
		out.len += (uint32_t)c->reply_len;
	iov_cursor_write(&head, &out, sizeof(out));
	return out.len;
}

size_t fuse_serve(struct fuse_worker *w, const struct iovec *in, unsigned n_in,
		  const struct iovec *out, unsigned n_out)
{
	struct fuse_call c = { .srv = w->srv, .w = w };
	const struct op *op;
	struct iov_cursor head;
	size_t body_len;
	int r;

	iov_cursor_init(&c.in, in, n_in);
	iov_cursor_init(&c.out, out, n_out);
	if (iov_cursor_read(&c.in, &c.hdr, sizeof(c.hdr)) != sizeof(c.hdr)) {
		w->srv->n_malformed++;
		return 0;
	}
	op = op_find(c.hdr.opcode);
	head = c.out;
	iov_cursor_skip(&c.out, sizeof(struct fuse_out_header));
	if (head.left < sizeof(struct fuse_out_header) && !(op && op->flags & OP_NO_REPLY)) {
		w->srv->n_malformed++;
		return 0;
	}
	if (c.hdr.len < sizeof(c.hdr) || c.hdr.len - sizeof(c.hdr) > c.in.left) {
		w->srv->n_malformed++;
		return op && op->flags & OP_NO_REPLY ? 0 : reply_finish(&c, head, -EIO);
	}
	body_len = c.hdr.len - sizeof(c.hdr);
	r = op ? call_decode(&c, op, body_len) : -ENOSYS;
	if (r == 0)
		r = call_run(&c, op);
	if (op && op->flags & OP_NO_REPLY)
		return 0;
	/* An errno outside the protocol's range would be taken for a broken server. */
	if (r < -511 || r == -ENOBUFS)
		r = -EIO;
	return reply_finish(&c, head, r);
}
