/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handle table: open files and directories of the guest. An id is a slot index (plus one) and a
 * generation. A handle holds its node pinned and lives until released by the guest and by every
 * request that uses it.
 */
#ifndef ROOTFS_FUSE_HANDLES_H
#define ROOTFS_FUSE_HANDLES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "fuse/nodes.h"

enum handle_kind { HANDLE_FILE, HANDLE_DIR };

struct handle {
	uint32_t index, gen;
	enum handle_kind kind;
	uint32_t flags;	   /* the guest's open flags */
	int fd;		   /* -1 in a stale handle */
	struct node *node; /* pinned; NULL in a stale handle */
	uint32_t n_pins;   /* guarded by table lock */
	bool released;	   /* guarded by table lock */
	pthread_mutex_t dir_lock;
	/* Directory entries read and not yet given out; guarded by dir_lock. */
	uint8_t *dir_buf;
	uint32_t dir_pos, dir_len;
	uint64_t dir_off; /* cookie at which dir_pos stands */
};

struct handle_slot {
	struct handle *handle;
	uint32_t gen;
	uint32_t next_free;
};

struct handle_table {
	pthread_mutex_t lock;
	struct handle_slot *slots; /* the rest is guarded by lock */
	uint32_t n_slots, free_slot, n_handles, max_handles;
	struct node_table *nodes; /* borrowed */
};

static inline uint64_t handle_id(const struct handle *h)
{
	return (uint64_t)h->gen << 32 | (h->index + 1);
}

int handle_table_init(struct handle_table *t, uint32_t max_handles, struct node_table *nodes);
void handle_table_done(struct handle_table *t);
void handle_table_clear(struct handle_table *t);

/**
 * handle_new() - Make a handle of an open descriptor
 * @fd:		Taken over on success, -1 left behind
 * @node:	Gets another pin
 *
 * Return: 0; -ENFILE limit; -ENOMEM.
 */
int handle_new(struct handle_table *t, enum handle_kind kind, int *fd, struct node *node,
	       uint32_t flags, uint64_t *ret_id);

/* Return: 0; -EBADF unknown, of another kind or of another node; -ESTALE gone in a restore. */
int handle_pin(struct handle_table *t, uint64_t id, enum handle_kind kind, const struct node *node,
	       struct handle **ret);
void handle_unpin(struct handle_table *t, struct handle *h); /* NULL is fine */

/* The guest closes it. Return: 0; -EBADF. */
int handle_release(struct handle_table *t, uint64_t id, enum handle_kind kind);

/* Put a handle at a given id while restoring; @fd -1 and @node_id 0 for a stale one. */
int handle_restore(struct handle_table *t, uint64_t id, enum handle_kind kind, int *fd,
		   uint64_t node_id_or_0, uint32_t flags);

#endif
