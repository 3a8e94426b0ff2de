/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest was told of names and attributes before a snapshot, and whether it still holds. */
#include "told.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/server.h"
#include "passthrough/attr.h"

void told_init(struct told_log *log)
{
	*log = (struct told_log){ 0 };
	pthread_mutex_init(&log->lock, NULL);
}

static void clear_locked(struct told_log *log)
{
	while (log->n)
		free(log->v[--log->n].name);
	free(log->v);
	log->v = NULL;
	log->room = 0;
	log->lost = false;
}

void told_done(struct told_log *log)
{
	clear_locked(log);
	pthread_mutex_destroy(&log->lock);
}

void told_begin(struct told_log *log)
{
	pthread_mutex_lock(&log->lock);
	clear_locked(log);
	atomic_store(&log->on, true);
	pthread_mutex_unlock(&log->lock);
}

void told_end(struct told_log *log)
{
	pthread_mutex_lock(&log->lock);
	clear_locked(log);
	atomic_store(&log->on, false);
	pthread_mutex_unlock(&log->lock);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 29;
}

/* All that a guest is told but the time of the last access, and how many blocks there are. */
static uint64_t digest(const struct statx *s)
{
	uint64_t h = mix(s->stx_ino, s->stx_mode);

	h = mix(h, (uint64_t)s->stx_uid << 32 | s->stx_gid);
	h = mix(h, (uint64_t)s->stx_rdev_major << 32 | s->stx_rdev_minor);
	h = mix(h, s->stx_nlink);
	h = mix(h, s->stx_size);
	h = mix(h, (uint64_t)s->stx_mtime.tv_sec);
	h = mix(h, (uint64_t)s->stx_ctime.tv_sec);
	return mix(h, (uint64_t)s->stx_mtime.tv_nsec << 32 | s->stx_ctime.tv_nsec);
}

static bool grow_locked(struct told_log *log)
{
	size_t room = log->room ? log->room * 2 : 64;
	struct told *v = log->n < TOLD_MAX ? realloc(log->v, room * sizeof(*v)) : NULL;

	if (!v)
		return false;
	log->v = v;
	log->room = room;
	return true;
}

static struct told *find_locked(const struct told_log *log, uint64_t parent, const char *name)
{
	for (size_t i = 0; i < log->n; i++) {
		if (log->v[i].parent == parent && strcmp(log->v[i].name, name) == 0)
			return &log->v[i];
	}
	return NULL;
}

static struct told *add_locked(struct told_log *log, const char *name)
{
	char *own = log->n < log->room || grow_locked(log) ? strdup(name) : NULL;

	if (!own)
		return NULL;
	log->v[log->n].name = own;
	return &log->v[log->n++];
}

/* What was told last is what the guest believes. */
static void note(struct told_log *log, const struct told *t, const char *name)
{
	struct told *at;

	pthread_mutex_lock(&log->lock);
	at = log->lost ? NULL : find_locked(log, t->parent, name);
	if (!at && !log->lost)
		at = add_locked(log, name);
	if (at) {
		at->parent = t->parent;
		at->node = t->node;
		at->digest = t->digest;
	} else {
		log->lost = true;
	}
	pthread_mutex_unlock(&log->lock);
}

void told_name(struct fuse_server *srv, const struct node *dir, const char *name,
	       const struct node *n, const struct statx *stx)
{
	if (atomic_load_explicit(&srv->told.on, memory_order_relaxed))
		note(&srv->told,
		     &(struct told){ .parent = node_id(dir),
				     .node = n ? node_id(n) : 0,
				     .digest = n ? digest(stx) : 0 },
		     name);
}

void told_attr(struct fuse_server *srv, const struct node *n, const struct statx *stx)
{
	if (atomic_load_explicit(&srv->told.on, memory_order_relaxed))
		note(&srv->told,
		     &(struct told){ .parent = node_id(n), .node = node_id(n), .digest = digest(stx) },
		     "");
}

void told_lose(struct fuse_server *srv)
{
	if (!atomic_load_explicit(&srv->told.on, memory_order_relaxed))
		return;
	pthread_mutex_lock(&srv->told.lock);
	srv->told.lost = true;
	pthread_mutex_unlock(&srv->told.lock);
}

static bool is_node(struct fuse_server *srv, const struct told *t, struct statx *stx)
{
	struct node_key key;
	struct node *n;
	bool same;

	if (node_pin(&srv->nodes, t->node, &n) < 0)
		return false;
	node_key_from_statx(stx, &key);
	same = key.ino == n->key.ino && key.dev == n->key.dev && key.mnt == n->key.mnt;
	if (same)
		override_apply(srv, n->fd, stx);
	node_unpin(&srv->nodes, n);
	return same && digest(stx) == t->digest;
}

bool told_holds(struct fuse_server *srv, const struct told *t)
{
	struct statx stx;
	struct node *dir;
	int r;

	if (node_pin(&srv->nodes, t->parent, &dir) < 0)
		return false;
	r = statx(dir->fd, t->name,
		  AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (t->name[0] ? 0 : AT_EMPTY_PATH),
		  FUSE_STATX_MASK, &stx) < 0
		    ? errno
		    : 0;
	node_unpin(&srv->nodes, dir);
	if (!t->node)
		return r == ENOENT;
	return r == 0 && is_node(srv, t, &stx);
}
