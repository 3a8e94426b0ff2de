/* SPDX-License-Identifier: Apache-2.0 */
/* Node table: what the guest calls an inode, and the descriptor that holds it on the host. */
#include "fuse/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/sysmacros.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "fuse/park.h"

#define NODE_MIN_SLOTS	 64
#define NODE_MIN_BUCKETS 64
#define NODE_NO_SLOT	 UINT32_MAX
#define NODE_HANDLE_MAX	 128 /* MAX_HANDLE_SZ */

void node_key_from_statx(const struct statx *stx, struct node_key *ret)
{
	*ret = (struct node_key){
		.dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.ino = stx->stx_ino,
		.mnt = stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0,
	};
}

static uint32_t key_hash(const struct node_key *k)
{
	uint64_t h = k->ino * 0x9e3779b97f4a7c15ULL;

	h ^= (k->dev + 0x7f4a7c15) * 0xff51afd7ed558ccdULL;
	h ^= k->mnt * 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 32;
	return (uint32_t)(h * 0x9e3779b1U ^ h >> 17);
}

static bool key_equal(const struct node_key *a, const struct node_key *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->mnt == b->mnt;
}

struct file_handle *node_handle_get(int fd)
{
	struct file_handle *fh = malloc(sizeof(*fh) + NODE_HANDLE_MAX);
	int mount_id;

	if (!fh)
		return NULL;
	fh->handle_bytes = NODE_HANDLE_MAX;
	if (name_to_handle_at(fd, "", fh, &mount_id, AT_EMPTY_PATH) < 0 ||
	    fh->handle_bytes > NODE_HANDLE_MAX) {
		free(fh);
		return NULL;
	}
	return fh;
}

int node_table_init(struct node_table *t, uint32_t max_nodes, uint32_t max_fds)
{
	*t = (struct node_table){
		.max_nodes = max_nodes,
		.max_fds = max_fds,
		.proc_fd = -1,
		.n_slots = NODE_MIN_SLOTS,
		.n_buckets = NODE_MIN_BUCKETS,
		.free_slot = NODE_NO_SLOT,
	};
	t->slots = calloc(t->n_slots, sizeof(*t->slots));
	t->buckets = calloc(t->n_buckets, sizeof(*t->buckets));
	if (!t->slots || !t->buckets) {
		free(t->slots);
		free(t->buckets);
		t->slots = NULL; /* nothing for node_table_done() */
		return -ENOMEM;
	}
	pthread_mutex_init(&t->lock, NULL);
	/* Slot 0 is never used (id 0 means "no node"), slot 1 is the root. */
	for (uint32_t i = t->n_slots; i-- > 2;) {
		t->slots[i].next_free = t->free_slot;
		t->free_slot = i;
	}
	return 0;
}

static void node_free(struct node *n)
{
	if (!n)
		return;
	fd_close(n->fd);
	free(n->fh);
	free(n->name);
	free(n);
}

void node_table_done(struct node_table *t)
{
	if (!t->slots)
		return;
	for (uint32_t i = 0; i < t->n_slots; i++)
		node_free(t->slots[i].node);
	for (unsigned i = 0; i < t->n_mounts; i++)
		fd_close(t->mounts[i].fd);
	free(t->slots);
	free(t->buckets);
	pthread_mutex_destroy(&t->lock);
	t->slots = NULL;
}

static void hash_add_locked(struct node_table *t, struct node *n)
{
	struct node **b = &t->buckets[key_hash(&n->key) & (t->n_buckets - 1)];

	n->hash_next = *b;
	*b = n;
}

static void hash_del_locked(struct node_table *t, struct node *n)
{
	struct node **p = &t->buckets[key_hash(&n->key) & (t->n_buckets - 1)];

	for (; *p; p = &(*p)->hash_next) {
		if (*p == n) {
			*p = n->hash_next;
			n->hash_next = NULL;
			return;
		}
	}
}

struct node *node_find_key_locked(struct node_table *t, const struct node_key *key)
{
	struct node *n = t->buckets[key_hash(key) & (t->n_buckets - 1)];

	while (n && !key_equal(&n->key, key))
		n = n->hash_next;
	return n;
}

/* Double the buckets; staying small after a failed allocation only costs time. */
static void hash_grow_locked(struct node_table *t)
{
	uint32_t n_old = t->n_buckets;
	struct node **old = t->buckets;
	struct node **new = calloc((size_t)n_old * 2, sizeof(*new));

	if (!new)
		return;
	t->buckets = new;
	t->n_buckets = n_old * 2;
	for (uint32_t i = 0; i < n_old; i++) {
		for (struct node *n = old[i], *next; n; n = next) {
			next = n->hash_next;
			hash_add_locked(t, n);
		}
	}
	free(old);
}

static int slots_grow_locked(struct node_table *t, uint32_t want)
{
	struct node_slot *slots;
	uint32_t n = t->n_slots;

	while (n < want)
		n = n > UINT32_MAX / 4 ? want : n * 2;
	slots = realloc(t->slots, (size_t)n * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	t->slots = slots;
	for (uint32_t i = n; i-- > t->n_slots;) {
		slots[i] = (struct node_slot){ .next_free = t->free_slot };
		t->free_slot = i;
	}
	t->n_slots = n;
	return 0;
}

static void slot_free_locked(struct node_table *t, uint32_t index)
{
	t->slots[index].node = NULL;
	t->slots[index].gen++;
	t->slots[index].next_free = t->free_slot;
	t->free_slot = index;
	t->n_nodes--;
}

/* Take the node out of the table if nothing holds it; the caller frees what is returned. */
static struct node *node_reap_locked(struct node_table *t, struct node *n)
{
	if (n->n_pins || n->n_lookups || n->index == NODE_ROOT_ID)
		return NULL;
	if (!n->stale)
		hash_del_locked(t, n);
	if (n->fd >= 0)
		t->n_fds--;
	slot_free_locked(t, n->index);
	return n;
}

static struct node *node_find_locked(struct node_table *t, uint64_t id)
{
	uint32_t index = (uint32_t)id;

	if (index >= t->n_slots || !t->slots[index].node ||
	    t->slots[index].gen != (uint32_t)(id >> 32))
		return NULL;
	return t->slots[index].node;
}

int node_mount_fd_locked(const struct node_table *t, uint64_t mnt)
{
	for (unsigned i = 0; i < t->n_mounts; i++) {
		if (t->mounts[i].mnt == mnt)
			return t->mounts[i].fd;
	}
	return -1;
}

static int proc_open(const struct node_table *t, int fd, int flags)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", fd);
	return openat(t->proc_fd, name, flags | O_CLOEXEC);
}

/* Keep something of each mount open, so that its nodes can be parked. Errors only cost that. */
static void mount_note_locked(struct node_table *t, const struct node *n)
{
	int fd;

	if (!t->use_handles || t->n_mounts == NODE_MAX_MOUNTS ||
	    node_mount_fd_locked(t, n->key.mnt) >= 0 || (n->type != S_IFDIR && n->type != S_IFREG))
		return;
	fd = proc_open(t, n->fd, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0)
		t->mounts[t->n_mounts++] = (struct node_mount){ .mnt = n->key.mnt, .fd = fd };
}

/* Trade a node's descriptor for the means to find it again. Returns what to close, or -1. */
static int node_park_locked(struct node_table *t, struct node *n)
{
	int fd = n->fd;

	if (fd < 0 || n->n_pins || n->fixed || n->index == NODE_ROOT_ID ||
	    !park_prepare_locked(t, n))
		return -1;
	n->fd = -1;
	t->n_fds--;
	return fd;
}

/* Make room for one more descriptor: second-chance sweep over the slots, bounded per call. */
static int fd_reserve_locked(struct node_table *t)
{
	uint32_t budget = t->n_slots * 2;

	if (t->n_fds < t->max_fds)
		return 0;
	for (; budget; budget--) {
		struct node *n;
		int fd;

		t->sweep = t->sweep + 1 < t->n_slots ? t->sweep + 1 : 2;
		n = t->slots[t->sweep].node;
		if (!n || n->fd < 0)
			continue;
		if (n->recent) {
			n->recent = false;
			continue;
		}
		fd = node_park_locked(t, n);
		if (fd >= 0) {
			fd_close(fd);
			return 0;
		}
	}
	return -ENFILE;
}

/* Give a parked node, already pinned, its descriptor back. */
static int node_unpark(struct node_table *t, struct node *n, unsigned depth)
{
	int fd, r;

	pthread_mutex_lock(&t->lock);
	r = n->fd >= 0 ? 1 : fd_reserve_locked(t);
	pthread_mutex_unlock(&t->lock);
	if (r)
		return MIN(r, 0);
	fd = park_open(t, n, depth);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&t->lock);
	if (n->fd < 0) {
		n->fd = fd;
		t->n_fds++;
		fd = -1;
	}
	pthread_mutex_unlock(&t->lock);
	fd_close(fd);
	return 0;
}

int node_pin_depth(struct node_table *t, uint64_t id, struct node **ret, unsigned depth)
{
	struct node *n;
	int r = 0;
	bool parked;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, id);
	if (!n || n->stale) {
		pthread_mutex_unlock(&t->lock);
		return -ESTALE;
	}
	n->n_pins++;
	n->recent = true;
	parked = n->fd < 0;
	pthread_mutex_unlock(&t->lock);
	if (parked)
		r = node_unpark(t, n, depth);
	if (r < 0)
		node_unpin(t, n);
	else
		*ret = n;
	return r;
}

int node_pin(struct node_table *t, uint64_t id, struct node **ret)
{
	return node_pin_depth(t, id, ret, 0);
}

void node_unpin(struct node_table *t, struct node *n)
{
	struct node *dead;

	if (!n)
		return;
	pthread_mutex_lock(&t->lock);
	n->n_pins--;
	dead = node_reap_locked(t, n);
	pthread_mutex_unlock(&t->lock);
	node_free(dead);
}

static void node_ref_locked(struct node_table *t, struct node *n)
{
	n->n_lookups++;
	t->n_lookups++;
	n->n_pins++;
	n->recent = true;
}

struct node *node_find_known(struct node_table *t, const struct node_key *key)
{
	struct node *n;

	pthread_mutex_lock(&t->lock);
	n = node_find_key_locked(t, key);
	if (n && n->fd < 0)
		n = NULL;
	if (n)
		node_ref_locked(t, n);
	pthread_mutex_unlock(&t->lock);
	return n;
}

/* A new node in slot @index, or in a free one when that is 0. Takes over *fd. */
static int node_new_locked(struct node_table *t, const struct statx *stx, uint32_t index, int *fd,
			   struct node **ret)
{
	struct node *n;

	if (t->n_nodes >= t->max_nodes)
		return -ENFILE;
	if (*fd >= 0 && fd_reserve_locked(t) < 0)
		return -ENFILE;
	if (!index && t->free_slot == NODE_NO_SLOT && slots_grow_locked(t, t->n_slots + 1) < 0)
		return -ENOMEM;
	n = malloc(sizeof(*n));
	if (!n)
		return -ENOMEM;
	*n = (struct node){ .fd = fd_steal(fd) };
	if (stx) {
		n->type = stx->stx_mode & S_IFMT;
		n->mount_root = (stx->stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
		node_key_from_statx(stx, &n->key);
	}
	if (!index) {
		index = t->free_slot;
		t->free_slot = t->slots[index].next_free;
	}
	n->index = index;
	n->gen = t->slots[index].gen;
	t->slots[index].node = n;
	t->n_nodes++;
	if (n->fd >= 0)
		t->n_fds++;
	if (stx) {
		hash_add_locked(t, n);
		if (t->n_nodes > t->n_buckets)
			hash_grow_locked(t);
		mount_note_locked(t, n);
	}
	*ret = n;
	return 0;
}

/* Whether the descriptor is the file that the parked node was; if so it gets the descriptor. */
static bool node_adopt_locked(struct node_table *t, struct node *n, const struct statx *stx,
			      int *fd)
{
	bool same = park_is_same_locked(n, *fd, stx);

	if (same && fd_reserve_locked(t) == 0) {
		n->fd = fd_steal(fd);
		t->n_fds++;
	}
	return same;
}

int node_intern(struct node_table *t, const struct statx *stx, int *fd, struct node **ret)
{
	struct node_key key;
	struct node *n, *dead = NULL;
	int r = 0;

	node_key_from_statx(stx, &key);
	pthread_mutex_lock(&t->lock);
	n = node_find_key_locked(t, &key);
	if (n && n->fd < 0) {
		n->n_pins++; /* not to be swept meanwhile */
		if (!node_adopt_locked(t, n, stx, fd)) {
			/* The inode number was given to another file. */
			hash_del_locked(t, n);
			n->stale = true;
			n->n_pins--;
			dead = node_reap_locked(t, n);
			n = NULL;
		} else {
			n->n_pins--;
			r = n->fd < 0 ? -ENFILE : 0;
		}
	}
	if (!n && r == 0)
		r = node_new_locked(t, stx, 0, fd, &n);
	if (r == 0) {
		node_ref_locked(t, n);
		*ret = n;
	}
	pthread_mutex_unlock(&t->lock);
	node_free(dead);
	return r;
}

void node_forget(struct node_table *t, uint64_t id, uint64_t count)
{
	struct node *n, *dead = NULL;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, id);
	if (n && n->index != NODE_ROOT_ID) {
		count = MIN(count, n->n_lookups);
		n->n_lookups -= count;
		t->n_lookups -= count;
		dead = node_reap_locked(t, n);
	}
	pthread_mutex_unlock(&t->lock);
	node_free(dead);
}

int node_table_set_root(struct node_table *t, int fd, const struct statx *stx)
{
	struct file_handle *fh;
	struct node *n;
	int r, probe;

	pthread_mutex_lock(&t->lock);
	r = node_new_locked(t, stx, NODE_ROOT_ID, &fd, &n);
	if (r == 0) {
		n->n_lookups = 1;
		n->fixed = true;
	}
	/* File handles may be refused by the file system, or to us. */
	if (r == 0 && t->use_handles) {
		fh = node_handle_get(n->fd);
		probe = fh ? open_by_handle_at(node_mount_fd_locked(t, n->key.mnt), fh,
					       O_PATH | O_CLOEXEC)
			   : -1;
		t->use_handles = probe >= 0;
		fd_close(probe);
		free(fh);
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

void node_table_clear(struct node_table *t)
{
	pthread_mutex_lock(&t->lock);
	for (uint32_t i = NODE_ROOT_ID + 1; i < t->n_slots; i++) {
		struct node *n = t->slots[i].node;

		if (!n)
			continue;
		t->n_lookups -= n->n_lookups;
		n->n_lookups = 0;
		node_free(node_reap_locked(t, n));
	}
	pthread_mutex_unlock(&t->lock);
}

/* Take slot @index out of the free list. */
static int slot_claim_locked(struct node_table *t, uint32_t index)
{
	uint32_t *p = &t->free_slot;

	if (index >= t->n_slots && slots_grow_locked(t, index + 1) < 0)
		return -ENOMEM;
	while (*p != NODE_NO_SLOT && *p != index)
		p = &t->slots[*p].next_free;
	if (*p == NODE_NO_SLOT)
		return -EBADMSG; /* given twice */
	*p = t->slots[index].next_free;
	return 0;
}

int node_restore(struct node_table *t, uint64_t id, uint64_t n_lookups, const struct statx *stx,
		 uint32_t type, int *fd, const struct node_stamp *stamp)
{
	uint32_t index = (uint32_t)id;
	struct node_key key = { 0 };
	struct node *n;
	int r;

	if (index <= NODE_ROOT_ID || index > t->max_nodes + 1)
		return -EBADMSG;
	pthread_mutex_lock(&t->lock);
	if (stx)
		node_key_from_statx(stx, &key);
	/* Two saved nodes can be one file now; the second becomes stale. */
	if (stx && node_find_key_locked(t, &key))
		stx = NULL;
	if (!stx) {
		fd_close(*fd);
		*fd = -1;
	}
	r = slot_claim_locked(t, index);
	if (r == 0) {
		t->slots[index].gen = (uint32_t)(id >> 32);
		r = node_new_locked(t, stx, index, fd, &n);
		if (r < 0) {
			t->slots[index].next_free = t->free_slot;
			t->free_slot = index;
		}
	}
	if (r == 0) {
		n->n_lookups = n_lookups;
		t->n_lookups += n_lookups;
		n->stale = !stx;
		n->type = type;
		n->has_stamp = stamp != NULL;
		if (stamp)
			n->stamp = *stamp;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

void node_moved(struct node_table *t, const struct node *dir, const char *name)
{
	struct node_key key;
	struct statx stx;
	struct node *n;

	if (!t->has_names || statx(dir->fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
				   STATX_BASIC_STATS | STATX_MNT_ID, &stx) < 0)
		return;
	node_key_from_statx(&stx, &key);
	pthread_mutex_lock(&t->lock);
	n = node_find_key_locked(t, &key);
	if (n && n->name) {
		free(n->name);
		n->name = strdup(name); /* NULL: stale, should it be parked */
		n->parent = node_id(dir);
	}
	pthread_mutex_unlock(&t->lock);
}

static bool time_equal(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool node_stamp_update(struct node_table *t, struct node *n, const struct statx *stx)
{
	bool same;

	pthread_mutex_lock(&t->lock);
	same = n->has_stamp && n->stamp.size == stx->stx_size &&
	       time_equal(&n->stamp.mtime, &stx->stx_mtime) &&
	       time_equal(&n->stamp.ctime, &stx->stx_ctime);
	n->stamp = (struct node_stamp){ .size = stx->stx_size,
					.mtime = stx->stx_mtime,
					.ctime = stx->stx_ctime };
	n->has_stamp = true;
	pthread_mutex_unlock(&t->lock);
	return same;
}
