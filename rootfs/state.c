/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and restoring what the guest knows of the server: session, nodes, handles.
 *
 * Form, little-endian: u32 magic, u32 version, u32 minor, u64 flags, u32 max_write, u32 nodes, u32
 * handles; then each node and each handle as node_save() and handle_save() write them, and what the guest
 * was told (told_write()). A node is
 * found again by its path below the root and accepted only if it proves to be the same file; one
 * that is not there, or is another, keeps its id and answers ESTALE: never a wrong file. Small
 * regular files without a name (unlinked, still open) are saved whole, and become new files without
 * a name; others without one cannot be found again.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "fuse/server.h"
#include "names.h"
#include "passthrough/open.h"

#define STATE_MAGIC   0x53464b48U /* "HKFS" */
#define STATE_VERSION 3 /* 3: what the guest has cached, and was told */
#define PATH_LOST     0xffffU
#define PATH_ORPHAN   0xfffeU
#define ORPHAN_MAX    (16 * MIB)       /* one file without a name */
#define ORPHANS_MAX   (64 * MIB)       /* all of them */
#define NAMES_MAX     1000000	       /* looked at for files whose name is not the one they had */
#define ORPHAN_NAME   ".husk-restored" /* for a moment, where files can't be made without one */
#define HANDLE_BYTES  128

/* ---- writing ---- */

struct out {
	uint8_t *p;
	size_t len, room;
	bool failed;
};

static void out_bytes(struct out *o, const void *p, size_t len)
{
	if (o->failed)
		return;
	if (len > o->room - o->len) {
		size_t room = (o->room + len) * 2;
		uint8_t *grown = realloc(o->p, room);

		if (!grown) {
			o->failed = true;
			return;
		}
		o->p = grown;
		o->room = room;
	}
	memcpy(o->p + o->len, p, len);
	o->len += len;
}

static void out_u16(struct out *o, uint16_t v)
{
	uint8_t b[2];

	le16_store(b, v);
	out_bytes(o, b, sizeof(b));
}

static void out_u32(struct out *o, uint32_t v)
{
	uint8_t b[4];

	le32_store(b, v);
	out_bytes(o, b, sizeof(b));
}

static void out_u64(struct out *o, uint64_t v)
{
	uint8_t b[8];

	le64_store(b, v);
	out_bytes(o, b, sizeof(b));
}

/* ---- save ---- */

struct save {
	struct fuse_server *srv;
	struct out out;
	struct node *root;
	uint32_t n_lost;
	uint64_t orphan_bytes;
	uint32_t n_to_look_at; /* names that may still be compared */
};

/* The content of a file that has no name any more. Return: owned by the caller; NULL: too large. */
static uint8_t *orphan_read(struct save *s, const struct node *n, const struct statx *stx)
{
	AUTO_FREE uint8_t *p = NULL;
	AUTO_FD int fd = -1;

	if (n->type != S_IFREG || stx->stx_nlink != 0 || stx->stx_size > ORPHAN_MAX ||
	    s->orphan_bytes + stx->stx_size > ORPHANS_MAX)
		return NULL;
	fd = gate_open_node(s->srv, n, O_RDONLY);
	p = fd < 0 ? NULL : malloc(stx->stx_size + 1);
	/* preadv: the call that reads have, and the filter knows. */
	if (!p || preadv(fd, &(struct iovec){ p, stx->stx_size }, 1, 0) != (ssize_t)stx->stx_size)
		return NULL;
	s->orphan_bytes += stx->stx_size;
	return STEAL_PTR(p);
}

static void out_time(struct out *o, const struct statx_timestamp *t)
{
	out_u64(o, (uint64_t)t->tv_sec);
	out_u32(o, t->tv_nsec);
}

/* Of which state of the file the guest has cached data. */
static void stamp_save(struct out *o, const struct node *n)
{
	out_u16(o, n->has_stamp);
	if (!n->has_stamp)
		return;
	out_u64(o, n->stamp.size);
	out_time(o, &n->stamp.mtime);
	out_time(o, &n->stamp.ctime);
}

static void node_save(struct save *s, struct node_slot *slot)
{
	struct node *n = slot->node, *pinned = NULL;
	AUTO_FREE struct file_handle *fh = NULL;
	AUTO_FREE uint8_t *orphan = NULL;
	struct statx stx = { 0 };
	char path[PATH_MAX];
	bool gone = n->stale || node_pin(&s->srv->nodes, node_id(n), &pinned) < 0 ||
		    statx(n->fd, "", AT_EMPTY_PATH, FUSE_STATX_MASK | STATX_NLINK, &stx) < 0;
	bool lost = gone || (names_path(s->srv, s->root, n, path) < 0 &&
			     (!stx.stx_nlink || names_find(s->srv, n, &s->n_to_look_at, path) < 0));

	if (!lost)
		fh = node_handle_get(n->fd);
	else if (!gone)
		orphan = orphan_read(s, n, &stx);
	s->n_lost += lost && !orphan;
	out_u64(&s->out, node_id(n));
	out_u64(&s->out, n->n_lookups);
	out_u32(&s->out, n->type);
	out_u64(&s->out, n->key.ino);
	out_time(&s->out, &stx.stx_btime);
	out_u64(&s->out, stx.stx_size);
	out_time(&s->out, &stx.stx_mtime);
	stamp_save(&s->out, n);
	out_u16(&s->out, orphan ? PATH_ORPHAN : lost ? PATH_LOST : (uint16_t)strlen(path));
	if (!lost)
		out_bytes(&s->out, path, strlen(path));
	out_u32(&s->out, fh ? (uint32_t)fh->handle_type : 0);
	out_u16(&s->out, fh ? (uint16_t)fh->handle_bytes : 0);
	if (fh)
		out_bytes(&s->out, fh->f_handle, fh->handle_bytes);
	if (orphan) {
		out_u32(&s->out, stx.stx_mode & 07777);
		out_u32(&s->out, stx.stx_uid);
		out_u32(&s->out, stx.stx_gid);
		out_bytes(&s->out, orphan, stx.stx_size);
	}
	node_unpin(&s->srv->nodes, pinned);
}

static void handle_save(struct save *s, const struct handle *h)
{
	out_u64(&s->out, handle_id(h));
	out_u32(&s->out, (uint32_t)h->kind);
	out_u32(&s->out, h->flags);
	out_u64(&s->out, h->node ? node_id(h->node) : 0);
}

static void told_write(struct save *s)
{
	struct told_log *log = &s->srv->told;

	pthread_mutex_lock(&log->lock);
	out_u32(&s->out, atomic_load(&log->on) && !log->lost);
	out_u32(&s->out, (uint32_t)log->n);
	for (size_t i = 0; i < log->n; i++) {
		const struct told *t = &log->v[i];

		out_u64(&s->out, t->parent);
		out_u64(&s->out, t->node);
		out_u64(&s->out, t->digest);
		out_u16(&s->out, (uint16_t)strlen(t->name));
		out_bytes(&s->out, t->name, strlen(t->name));
	}
	pthread_mutex_unlock(&log->lock);
	told_end(log);
}

static void save_run(void *arg)
{
	struct save *s = arg;
	struct fuse_server *srv = s->srv;

	s->root = srv->nodes.slots[NODE_ROOT_ID].node;
	out_u32(&s->out, STATE_MAGIC);
	out_u32(&s->out, STATE_VERSION);
	out_u32(&s->out, srv->session.ready ? srv->session.minor : 0);
	out_u64(&s->out, srv->session.flags);
	out_u32(&s->out, srv->session.max_write);
	out_u32(&s->out, srv->nodes.n_nodes - 1);
	out_u32(&s->out, srv->handles.n_handles);
	for (uint32_t i = NODE_ROOT_ID + 1; i < srv->nodes.n_slots; i++) {
		if (srv->nodes.slots[i].node)
			node_save(s, &srv->nodes.slots[i]);
	}
	for (uint32_t i = 0; i < srv->handles.n_slots; i++) {
		if (srv->handles.slots[i].handle)
			handle_save(s, srv->handles.slots[i].handle);
	}
	told_write(s);
}

int fuse_server_save(struct fuse_server *srv, void **ret, size_t *ret_len, uint32_t *ret_lost,
		     struct err *err)
{
	struct save s = { .srv = srv, .n_to_look_at = NAMES_MAX };

	if (!srv->opened)
		return err_set(err, -EINVAL, "file server: not started");
	fuse_pool_run_job(srv, save_run, &s);
	if (s.out.failed) {
		free(s.out.p);
		return err_set(err, -ENOMEM, "file server: state");
	}
	*ret = s.out.p;
	*ret_len = s.out.len;
	*ret_lost = s.n_lost;
	return 0;
}

/* ---- restore ---- */

struct in {
	const uint8_t *p;
	size_t left;
	bool failed;
};

/* NULL, once and for all, when there is less. */
static const uint8_t *in_take(struct in *in, size_t len)
{
	const uint8_t *p = in->p;

	if (in->failed || len > in->left) {
		in->failed = true;
		return NULL;
	}
	in->p += len;
	in->left -= len;
	return p;
}

static uint16_t in_u16(struct in *in)
{
	const uint8_t *p = in_take(in, 2);

	return p ? le16_load(p) : 0;
}

static uint32_t in_u32(struct in *in)
{
	const uint8_t *p = in_take(in, 4);

	return p ? le32_load(p) : 0;
}

static uint64_t in_u64(struct in *in)
{
	const uint8_t *p = in_take(in, 8);

	return p ? le64_load(p) : 0;
}

struct saved_node {
	uint64_t id, n_lookups, ino, size;
	uint32_t type;
	struct statx_timestamp btime, mtime;
	bool has_stamp;
	struct node_stamp stamp;
	char path[PATH_MAX];
	bool lost;
	uint32_t fh_type;
	uint16_t fh_len;
	uint8_t fh[HANDLE_BYTES];
	const uint8_t *orphan;	 /* content of @size bytes, or NULL */
	uint32_t mode, uid, gid; /* of an orphan */
};

struct restore {
	struct fuse_server *srv;
	struct in in;
	enum fuse_verify verify;
	struct fuse_restore_result result;
	struct saved_node node; /* the one being read */
	struct err *err;
	int status;
};

static struct statx_timestamp in_time(struct in *in)
{
	int64_t sec = (int64_t)in_u64(in);

	return (struct statx_timestamp){ .tv_sec = sec, .tv_nsec = in_u32(in) };
}

static int node_parse(struct in *in, struct saved_node *n)
{
	const uint8_t *p;
	uint16_t len;

	n->id = in_u64(in);
	n->n_lookups = in_u64(in);
	n->type = in_u32(in);
	n->ino = in_u64(in);
	n->btime = in_time(in);
	n->size = in_u64(in);
	n->mtime = in_time(in);
	n->has_stamp = in_u16(in) != 0;
	if (n->has_stamp) {
		n->stamp.size = in_u64(in);
		n->stamp.mtime = in_time(in);
		n->stamp.ctime = in_time(in);
	}
	len = in_u16(in);
	n->lost = len == PATH_LOST || len == PATH_ORPHAN;
	if (!n->lost) {
		p = in_take(in, len);
		if (!p || len >= PATH_MAX || memchr(p, 0, len) || len == 0)
			return -EBADMSG;
		memcpy(n->path, p, len);
		n->path[len] = 0;
	}
	n->fh_type = in_u32(in);
	n->fh_len = in_u16(in);
	p = in_take(in, n->fh_len);
	if (!p || n->fh_len > HANDLE_BYTES || (n->type & ~(uint32_t)S_IFMT))
		return -EBADMSG;
	memcpy(n->fh, p, n->fh_len);
	n->orphan = NULL;
	if (len != PATH_ORPHAN)
		return 0;
	n->mode = in_u32(in);
	n->uid = in_u32(in);
	n->gid = in_u32(in);
	if (n->size > ORPHAN_MAX || n->type != S_IFREG || n->mode & ~07777U)
		return -EBADMSG;
	n->orphan = in_take(in, n->size);
	return n->orphan ? 0 : -EBADMSG;
}

/* A new file without a name; one that can be given a name still, where the file system has such. */
static int open_nameless(int root)
{
	AUTO_FD int fd = gate_open_at(root, ".", O_RDWR | O_TMPFILE, 0600);

	if (fd >= 0)
		return fd_steal(&fd);
	if (unlinkat(root, ORPHAN_NAME, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = gate_open_at(root, ORPHAN_NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (fd >= 0 && unlinkat(root, ORPHAN_NAME, 0) < 0)
		return -errno;
	return fd_steal(&fd);
}

/* A file like the one that had no name. Return: its descriptor (O_PATH); negative errno. */
static int orphan_make(struct fuse_server *srv, const struct saved_node *n)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
					   { n->mtime.tv_sec, n->mtime.tv_nsec } };
	AUTO_FD int fd = open_nameless(srv->nodes.slots[NODE_ROOT_ID].node->fd);
	int r;

	if (fd < 0)
		return fd;
	r = pwritev(fd, &(struct iovec){ (void *)(uintptr_t)n->orphan, n->size }, 1, 0) ==
			    (ssize_t)n->size
		    ? 0
		    : -EIO;
	/* Who may not give files away has only his own. */
	if (r == 0 && fchownat(fd, "", n->uid, n->gid, AT_EMPTY_PATH) < 0 && errno != EPERM)
		r = -errno;
	if (r == 0 && fchmodat(srv->proc_fd, gate_name_of(fd).s, (mode_t)n->mode, 0) < 0)
		r = -errno;
	if (r == 0 && utimensat(srv->proc_fd, gate_name_of(fd).s, times, 0) < 0)
		r = -errno;
	return r < 0 ? r : gate_path_of(srv, fd);
}

static bool same_time(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Whether the open file is the one that was saved. */
static bool node_verify(const struct restore *r, int fd, const struct statx *stx)
{
	const struct saved_node *n = &r->node;
	AUTO_FREE struct file_handle *fh = NULL;

	if ((stx->stx_mode & S_IFMT) != n->type)
		return false;
	if (r->verify == FUSE_VERIFY_COPY)
		return n->type == S_IFDIR ||
		       (stx->stx_size == n->size && same_time(&stx->stx_mtime, &n->mtime));
	if (stx->stx_ino != n->ino || !same_time(&stx->stx_btime, &n->btime))
		return false;
	if (!n->fh_len)
		return true;
	fh = node_handle_get(fd);
	return fh && fh->handle_bytes == n->fh_len && (uint32_t)fh->handle_type == n->fh_type &&
	       memcmp(fh->f_handle, n->fh, n->fh_len) == 0;
}

static int restore_node(struct restore *r)
{
	struct node_table *t = &r->srv->nodes;
	struct statx stx;
	AUTO_FD int fd = -1;
	bool good;
	int status = node_parse(&r->in, &r->node);

	if (status < 0)
		return err_set(r->err, status, "file server: damaged node");
	if (!r->node.lost)
		fd = names_open_below(t->slots[NODE_ROOT_ID].node->fd, r->node.path);
	else if (r->node.orphan)
		fd = orphan_make(r->srv, &r->node);
	good = fd >= 0 && statx(fd, "", AT_EMPTY_PATH, FUSE_STATX_MASK, &stx) == 0 &&
	       (r->node.orphan || node_verify(r, fd, &stx));
	if (!good) {
		fd_close(fd);
		fd = -1;
	}
	status = node_restore(t, r->node.id, r->node.n_lookups, good ? &stx : NULL, r->node.type,
			      &fd, r->node.has_stamp && !r->node.orphan ? &r->node.stamp : NULL);
	if (status < 0)
		return err_set(r->err, status, "file server: node %#llx",
			       (unsigned long long)r->node.id);
	r->result.n_nodes++;
	r->result.n_stale_nodes += !good;
	return 0;
}

static int handle_reopen(struct fuse_server *srv, uint32_t kind, uint32_t flags, uint64_t node_id_)
{
	struct node *n;
	int fd;

	if (!node_id_ || node_pin(&srv->nodes, node_id_, &n) < 0)
		return -ESTALE;
	if (kind == HANDLE_DIR)
		fd = gate_open_node(srv, n, O_RDONLY | O_DIRECTORY);
	else if (n->type == S_IFREG)
		fd = gate_open_node(srv, n, gate_flags(flags) & ~(uint32_t)O_TRUNC);
	else
		fd = -ESTALE;
	node_unpin(&srv->nodes, n);
	return fd;
}

static int restore_handle(struct restore *r)
{
	uint64_t id = in_u64(&r->in);
	uint32_t kind = in_u32(&r->in), flags = in_u32(&r->in);
	uint64_t node = in_u64(&r->in);
	AUTO_FD int fd = -1;
	int status;

	if (r->in.failed || kind > HANDLE_DIR)
		return err_set(r->err, -EBADMSG, "file server: damaged handle");
	fd = handle_reopen(r->srv, kind, flags, node);
	if (fd < 0)
		fd = -1;
	r->result.n_handles++;
	r->result.n_stale_handles += fd < 0;
	status = handle_restore(&r->srv->handles, id, (enum handle_kind)kind, &fd,
				fd < 0 ? 0 : node, flags);
	return status < 0 ? err_set(r->err, status, "file server: handle %#llx",
				    (unsigned long long)id)
			  : 0;
}

/* What the guest still believes, if it was noted, is believed rightly or not. */
static int restore_told(struct restore *r)
{
	bool whole = in_u32(&r->in) == 1;
	uint32_t n = in_u32(&r->in);
	char name[NAME_MAX + 1];

	r->result.holds = whole;
	for (uint32_t i = 0; i < n; i++) {
		struct told t = { .name = name };
		const uint8_t *p;
		uint16_t len;

		t.parent = in_u64(&r->in);
		t.node = in_u64(&r->in);
		t.digest = in_u64(&r->in);
		len = in_u16(&r->in);
		p = in_take(&r->in, len);
		if (!p || len > NAME_MAX || memchr(p, 0, len) || memchr(p, '/', len) ||
		    (len <= 2 && memcmp(p, "..", len) == 0 && len))
			return err_set(r->err, -EBADMSG, "file server: damaged note");
		memcpy(name, p, len);
		name[len] = 0;
		if (r->result.holds)
			r->result.holds = told_holds(r->srv, &t);
	}
	return r->in.failed ? err_set(r->err, -EBADMSG, "file server: damaged notes") : 0;
}

static int restore_all(struct restore *r)
{
	struct fuse_session *s = &r->srv->session;
	uint32_t magic = in_u32(&r->in), version = in_u32(&r->in), minor = in_u32(&r->in);
	uint64_t flags = in_u64(&r->in);
	uint32_t max_write = in_u32(&r->in), n_nodes = in_u32(&r->in), n_handles = in_u32(&r->in);
	int status = 0;

	if (r->in.failed || magic != STATE_MAGIC)
		return err_set(r->err, -EBADMSG, "file server: not a saved state");
	if (version != STATE_VERSION)
		return err_set(r->err, -ESTALE, "file server: state of version %u, not %d", version,
			       STATE_VERSION);
	if (max_write > FUSE_MAX_IO || (minor && minor < FUSE_WIRE_MINOR_MIN) ||
	    minor > FUSE_WIRE_MINOR || n_nodes >= r->srv->opt.max_nodes ||
	    n_handles > r->srv->opt.max_handles)
		return err_set(r->err, -EBADMSG, "file server: damaged state");
	for (uint32_t i = 0; i < n_nodes && status == 0; i++)
		status = restore_node(r);
	for (uint32_t i = 0; i < n_handles && status == 0; i++)
		status = restore_handle(r);
	if (status == 0)
		status = restore_told(r);
	if (status == 0 && r->in.left)
		status = err_set(r->err, -EBADMSG, "file server: bytes after the state");
	if (status < 0)
		return status;
	s->minor = minor;
	s->flags = flags;
	s->max_write = max_write;
	s->ready = minor != 0;
	return 0;
}

static void restore_run(void *arg)
{
	struct restore *r = arg;

	if (r->srv->nodes.n_nodes != 1 || r->srv->handles.n_handles != 0) {
		r->status = err_set(r->err, -EINVAL, "file server: in use already");
		return;
	}
	r->status = restore_all(r);
	if (r->status < 0) {
		handle_table_clear(&r->srv->handles);
		node_table_clear(&r->srv->nodes);
	}
}

int fuse_server_restore(struct fuse_server *srv, const void *buf, size_t len,
			enum fuse_verify verify, struct fuse_restore_result *ret, struct err *err)
{
	AUTO_FREE struct restore *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(err, -ENOMEM, "file server: state");
	if (!srv->opened)
		return err_set(err, -EINVAL, "file server: not started");
	*r = (struct restore){
		.srv = srv, .in = { .p = buf, .left = len }, .verify = verify, .err = err
	};
	fuse_pool_run_job(srv, restore_run, r);
	if (r->status == 0)
		*ret = r->result;
	return r->status;
}
