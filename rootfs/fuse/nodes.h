/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Node table: what the guest calls an inode, and the descriptor that holds it on the host.
 *
 * Theory of operation. A node is named by an id (slot index, generation) towards the guest and by a
 * key (device, inode, mount) towards the host; both ways are hashed or indexed. It lives as long as
 * the guest holds lookups on it or a request pins it. It holds an O_PATH descriptor, which keeps
 * the host's inode number from being reused. When descriptors run out, the table takes them back
 * from nodes that are not pinned and remembers a kernel file handle instead; such a node is
 * "parked", and pinning it opens the handle again. Invariants:
 *  1. A pinned node has a descriptor, and its descriptor and key do not change.
 *  2. At most one node that is not stale has a given key.
 *  3. The root (id 1) is never freed or parked before the table is.
 */
#ifndef ROOTFS_FUSE_NODES_H
#define ROOTFS_FUSE_NODES_H

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define NODE_ROOT_ID 1

struct node_key {
	uint64_t dev, ino, mnt;
};

/* When the guest was last told that its cached data of this file are current. */
struct node_stamp {
	uint64_t size;
	struct statx_timestamp mtime, ctime;
};

struct node {
	struct node_key key;
	uint32_t index, gen;
	uint32_t type;		  /* S_IFMT bits; never changes for one inode */
	bool mount_root;	  /* the root of a mount inside the tree */
	bool stale;		  /* guarded by lock; restored, but the file is gone: ESTALE */
	bool recent;		  /* guarded by lock; used since the last sweep */
	bool fixed;		  /* guarded by lock; cannot be parked */
	bool has_stamp;		  /* guarded by lock */
	_Atomic bool names_known; /* a directory: the last name looked up was of a known node */
	int fd;			  /* guarded by lock; O_PATH, or -1 while parked or stale */
	uint32_t n_pins;	  /* guarded by lock */
	uint64_t n_lookups;	  /* guarded by lock; references the guest holds */
	struct file_handle *fh;	  /* guarded by lock; while parked, and kept after */
	/* Guarded by lock: how a parked node without a file handle is found. */
	char *name;
	uint64_t parent;
	struct statx_timestamp btime;
	struct node_stamp stamp; /* guarded by lock */
	struct node *hash_next;	 /* guarded by lock */
};

struct node_slot {
	struct node *node;
	uint32_t gen;
	uint32_t next_free;
};

struct node_mount {
	uint64_t mnt;
	int fd; /* something open in it, for open_by_handle_at() */
};

#define NODE_MAX_MOUNTS 256

struct node_table {
	pthread_mutex_t lock;
	struct node_slot *slots; /* the rest is guarded by lock */
	uint32_t n_slots, free_slot, sweep;
	struct node **buckets;
	uint32_t n_buckets; /* power of two */
	uint32_t n_nodes, n_fds;
	uint32_t max_nodes, max_fds;
	uint64_t n_lookups;
	struct node_mount mounts[NODE_MAX_MOUNTS];
	unsigned n_mounts;
	bool use_handles;
	bool has_names; /* some node was parked by name */
	int proc_fd;	/* borrowed: directory of the threads' own descriptors */
};

static inline uint64_t node_id(const struct node *n)
{
	return (uint64_t)n->gen << 32 | n->index;
}

int node_table_init(struct node_table *t, uint32_t max_nodes, uint32_t max_fds);
void node_table_done(struct node_table *t);

/**
 * node_table_set_root() - Make node 1
 * @fd:	O_PATH descriptor of the root directory, taken over on success
 */
int node_table_set_root(struct node_table *t, int fd, const struct statx *stx);

/* Drop all nodes but the root; those pinned go when they are unpinned. */
void node_table_clear(struct node_table *t);

/**
 * node_pin() - Find a node by the guest's id and keep it, with its descriptor, until node_unpin()
 *
 * Return: 0; -ESTALE unknown, gone; -ENFILE; what opening a parked node gives.
 */
int node_pin(struct node_table *t, uint64_t id, struct node **ret);
/* As node_pin(), with so many parents opened on the way already. */
int node_pin_depth(struct node_table *t, uint64_t id, struct node **ret, unsigned depth);
void node_unpin(struct node_table *t, struct node *n); /* NULL is fine */

/**
 * node_find_known() - Node of a key that has a descriptor; adds a lookup and a pin
 *
 * Return: the node or NULL.
 */
struct node *node_find_known(struct node_table *t, const struct node_key *key);

/**
 * node_intern() - Find or make the node of an open descriptor; adds a lookup and a pin
 * @fd:	O_PATH descriptor; taken over (and -1 left behind) when the node needed it
 *
 * Return: 0; -ENOMEM; -ENFILE a limit is reached.
 */
int node_intern(struct node_table *t, const struct statx *stx, int *fd, struct node **ret);

/* Take back @n of the guest's references; unknown ids are ignored. */
void node_forget(struct node_table *t, uint64_t id, uint64_t n);

/*
 * Put a node at a given id while restoring. @fd (taken over) is -1 for a stale one, @stamp (or NULL) of what
 * the guest has cached data.
 */
int node_restore(struct node_table *t, uint64_t id, uint64_t n_lookups, const struct statx *stx,
		 uint32_t type, int *fd, const struct node_stamp *stamp);

void node_key_from_statx(const struct statx *stx, struct node_key *ret);

/* A name in a pinned directory leads to another file now: parked nodes follow. */
void node_moved(struct node_table *t, const struct node *dir, const char *name);

struct node *node_find_key_locked(struct node_table *t, const struct node_key *key);
/* Something open in a mount, or -1. */
int node_mount_fd_locked(const struct node_table *t, uint64_t mnt);

/* Kernel file handle of a descriptor; NULL when there is none. Owned by the caller. */
struct file_handle *node_handle_get(int fd);

/**
 * node_stamp_update() - Record what the guest will have cached from now on
 *
 * Return: whether what it cached before is still current.
 */
bool node_stamp_update(struct node_table *t, struct node *n, const struct statx *stx);

#endif
