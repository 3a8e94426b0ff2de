/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and restoring what the guest knows of the server: session, nodes, handles.
 *
 * Form, little-endian: u32 magic, u32 version, u32 minor, u64 flags, u32 max_write, u32 nodes, u32
 * handles, u64 length and SHA-256 of the content stream; then each node and each handle as node_save()
 * and handle_save() write them, and what the guest was told (told_write()). A node is
 * found again by its path below the root and accepted only if it proves to be the same file; one
 * that is not there, or is another, keeps its id and answers ESTALE: never a wrong file. What has no
 * name any more and is referenced still is made again (nameless.h); the content of such files is
 * not in the tables.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "fuse/server.h"
#include "nameless.h"
#include "names.h"
#include "passthrough/open.h"

#define STATE_MAGIC   0x53464b48U /* "HKFS" */
#define STATE_VERSION 4 /* 4: unlinked directories and others, content in a stream */
#define CONTENT_AT    32 /* in the tables: length and hash of the stream */
#define CONTENT_BYTES (8 + SHA256_BYTES)
#define PATH_LOST     0xffffU
#define PATH_NAMELESS 0xfffeU
#define NAMES_MAX     1000000 /* looked at for files whose name is not the one they had */
#define HANDLE_BYTES  128

/* ---- save ---- */

struct save {
	struct fuse_server *srv;
	struct out out;
	struct node *root;
	uint32_t n_lost;
	uint32_t n_to_look_at; /* names that may still be compared */
	bool has_sink;
	struct nameless_file *files; /* owned: those with content to save */
	size_t n_files;
};

/* Return: 0; -ENOMEM. */
static int files_add(struct save *s, uint64_t node, uint64_t size)
{
	struct nameless_file *grown = s->files;

	/* Doubles at each power of two. */
	if ((s->n_files & (s->n_files - 1)) == 0)
		grown = realloc(s->files, (s->n_files ? 2 * s->n_files : 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	s->files = grown;
	s->files[s->n_files++] = (struct nameless_file){ node, size };
	return 0;
}

/* Return: whether the node will be made again, by what is written of it. */
static bool nameless_write(struct save *s, const struct node *n, const struct statx *stx,
			   struct out *o)
{
	bool content = n->type == S_IFREG && stx->stx_size;

	if (!nameless_is(s->srv, n, stx) || (content && !s->has_sink) ||
	    nameless_save(s->srv, s->root, n, stx, o) < 0)
		return false;
	if (content && files_add(s, node_id(n), stx->stx_size) < 0)
		o->failed = true;
	return true;
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

/* Return: whether a name leads to it, which is in @path then. */
static bool has_name(struct save *s, const struct node *n, const struct statx *stx, char *path)
{
	return names_path(s->srv, s->root, n, path) == 0 ||
	       (!nameless_is(s->srv, n, stx) &&
		names_find(s->srv, n, &s->n_to_look_at, path) == 0);
}

static void handle_bytes_save(struct out *o, const struct file_handle *fh)
{
	out_u32(o, fh ? (uint32_t)fh->handle_type : 0);
	out_u16(o, fh ? (uint16_t)fh->handle_bytes : 0);
	if (fh)
		out_bytes(o, fh->f_handle, fh->handle_bytes);
}

static void node_save(struct save *s, struct node_slot *slot)
{
	struct node *n = slot->node, *pinned = NULL;
	AUTO_FREE struct file_handle *fh = NULL;
	struct out nameless = { 0 };
	struct statx stx = { 0 };
	char path[PATH_MAX];
	bool gone = n->stale || node_pin(&s->srv->nodes, node_id(n), &pinned) < 0 ||
		    statx(n->fd, "", AT_EMPTY_PATH, FUSE_STATX_MASK | STATX_NLINK, &stx) < 0;
	bool named = !gone && has_name(s, n, &stx, path);
	bool made = !gone && !named && nameless_write(s, n, &stx, &nameless);

	if (named)
		fh = node_handle_get(n->fd);
	s->n_lost += !named && !made;
	out_u64(&s->out, node_id(n));
	out_u64(&s->out, n->n_lookups);
	out_u32(&s->out, n->type);
	out_u64(&s->out, n->key.ino);
	out_time(&s->out, &stx.stx_btime);
	out_u64(&s->out, stx.stx_size);
	out_time(&s->out, &stx.stx_mtime);
	stamp_save(&s->out, n);
	if (named)
		out_text(&s->out, path);
	else
		out_u16(&s->out, made ? PATH_NAMELESS : PATH_LOST);
	handle_bytes_save(&s->out, fh);
	if (made)
		out_bytes(&s->out, nameless.p, nameless.len);
	s->out.failed |= nameless.failed;
	free(nameless.p);
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
		out_text(&s->out, t->name);
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
	out_bytes(&s->out, &(struct nameless_content){ 0 }, CONTENT_BYTES);
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

static int content_save(struct save *s, const struct fuse_sink *sink, struct err *err)
{
	struct nameless_content c = { 0 };
	int r;

	if (!s->n_files)
		return 0;
	r = nameless_stream(s->srv, s->files, s->n_files, sink, &c, err);
	if (r < 0)
		return r;
	le64_store(s->out.p + CONTENT_AT, c.len);
	memcpy(s->out.p + CONTENT_AT + 8, c.hash, sizeof(c.hash));
	return 0;
}

int fuse_server_save(struct fuse_server *srv, const struct fuse_sink *sink, void **ret,
		     size_t *ret_len, uint32_t *ret_lost, struct err *err)
{
	struct save s = { .srv = srv, .n_to_look_at = NAMES_MAX, .has_sink = sink != NULL };
	int r;

	if (!srv->opened)
		return err_set(err, -EINVAL, "file server: not started");
	fuse_pool_run_job(srv, save_run, &s);
	r = s.out.failed ? err_set(err, -ENOMEM, "file server: state")
			 : content_save(&s, sink, err);
	free(s.files);
	if (r < 0) {
		free(s.out.p);
		return r;
	}
	*ret = s.out.p;
	*ret_len = s.out.len;
	*ret_lost = s.n_lost;
	return 0;
}

/* ---- restore ---- */

struct saved_node {
	uint64_t id, n_lookups, ino, size;
	uint32_t type;
	struct statx_timestamp btime, mtime;
	bool has_stamp;
	struct node_stamp stamp;
	char path[PATH_MAX];
	bool lost, nameless;
	uint32_t fh_type;
	uint16_t fh_len;
	uint8_t fh[HANDLE_BYTES];
	struct nameless record; /* of what is nameless */
};

struct restore {
	struct fuse_server *srv;
	struct in in, content;
	enum fuse_verify verify;
	struct fuse_restore_result result;
	struct saved_node node; /* the one being read */
	struct err *err;
	int status;
};

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
	n->nameless = len == PATH_NAMELESS;
	n->lost = len == PATH_LOST;
	if (!n->lost && !n->nameless) {
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
	if (!n->nameless)
		return 0;
	n->record.type = n->type;
	n->record.size = n->size;
	n->record.mtime = n->mtime;
	return nameless_parse(in, &n->record);
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

/* What is no matter of one file that can't be made here. */
static bool breaks_restore(int r)
{
	return r == -EBADMSG || r == -ENOSPC || r == -EDQUOT || r == -EIO || r == -EFBIG ||
	       r == -ENOMEM;
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
	if (r->node.nameless)
		fd = nameless_make(r->srv, r->node.id, &r->node.record, &r->content);
	else if (!r->node.lost)
		fd = names_open_below(t->slots[NODE_ROOT_ID].node->fd, r->node.path);
	if (r->node.nameless && breaks_restore(fd))
		return err_set(r->err, fd, "file server: unlinked file: %s", err_str(fd));
	good = fd >= 0 && statx(fd, "", AT_EMPTY_PATH, FUSE_STATX_MASK, &stx) == 0 &&
	       (r->node.nameless ? (stx.stx_mode & S_IFMT) == r->node.type
				 : node_verify(r, fd, &stx));
	if (!good) {
		fd_close(fd);
		fd = -1;
	}
	status = node_restore(t, r->node.id, r->node.n_lookups, good ? &stx : NULL, r->node.type,
			      &fd, r->node.has_stamp && !r->node.nameless ? &r->node.stamp : NULL);
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

		t.parent = in_u64(&r->in);
		t.node = in_u64(&r->in);
		t.digest = in_u64(&r->in);
		if (in_text(&r->in, name, sizeof(name)) < 0 || strchr(name, '/') ||
		    strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			return err_set(r->err, -EBADMSG, "file server: damaged note");
		if (r->result.holds)
			r->result.holds = told_holds(r->srv, &t);
	}
	return r->in.failed ? err_set(r->err, -EBADMSG, "file server: damaged notes") : 0;
}

/* All of the stream, before anything is made of it. */
static int check_content(struct restore *r)
{
	uint64_t len = in_u64(&r->in);
	const uint8_t *want = in_take(&r->in, SHA256_BYTES);
	uint8_t hash[SHA256_BYTES];

	if (!want || len != r->content.left)
		return err_set(r->err, -EBADMSG, "file server: %zu bytes of unlinked files, not %llu",
			       r->content.left, (unsigned long long)len);
	if (!len)
		return 0;
	sha256_of(r->content.p, r->content.left, hash);
	return memcmp(hash, want, sizeof(hash)) == 0
		       ? 0
		       : err_set(r->err, -EBADMSG, "file server: unlinked files are damaged");
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
	status = check_content(r);
	for (uint32_t i = 0; i < n_nodes && status == 0; i++)
		status = restore_node(r);
	for (uint32_t i = 0; i < n_handles && status == 0; i++)
		status = restore_handle(r);
	if (status == 0)
		status = restore_told(r);
	if (status == 0 && (r->in.left || r->content.left))
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

int fuse_server_restore(struct fuse_server *srv, const struct fuse_saved *saved,
			struct fuse_restore_result *ret, struct err *err)
{
	AUTO_FREE struct restore *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(err, -ENOMEM, "file server: state");
	if (!srv->opened)
		return err_set(err, -EINVAL, "file server: not started");
	*r = (struct restore){ .srv = srv,
			       .in = { .p = saved->tables, .left = saved->tables_len },
			       .content = { .p = saved->content, .left = saved->content_len },
			       .verify = saved->verify,
			       .err = err };
	fuse_pool_run_job(srv, restore_run, r);
	if (r->status == 0)
		*ret = r->result;
	return r->status;
}
