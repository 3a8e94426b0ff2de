/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of snapshots: making, opening, listing and removing them.
 *
 * Theory of operation. A store is a directory; a snapshot is a directory in it, named by its key.
 * One that is being made is called ".new-NAME" and locked by its maker, so that a second maker finds
 * out and a dead one's leavings are told from work in progress. It is complete and on disk before it
 * is renamed to its name; after that it never changes. Whoever holds a snapshot open keeps it, also
 * when it is removed meanwhile. States: begin -> (memory, state written) -> publish | abandon.
 */
#ifndef SNAPSHOTS_STORE_H
#define SNAPSHOTS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "snapshots/manifest.h"
#include "snapshots/sections.h"

#define SNAP_NAME_MAX 64

/**
 * snap_store_open() - Open a directory of snapshots
 * @path:	The directory
 * @create:	Make it, and what is above it, when it is not there
 *
 * Return: its descriptor, owned by the caller; -ENOENT; -EPERM somebody else could change what is in
 * it; negative errno.
 */
int snap_store_open(const char *path, bool create, struct err *err);

/* ---- reading ---- */

/* An opened snapshot: checked, but for the content of its memory. */
struct snapshot {
	struct snap_manifest manifest;
	struct snap_sections sections;
	uint8_t *state; /* what the sections point into */
	int dir_fd, memory_fd;
	int code_fd; /* -1: there is none; not checked, but only who may write the others may write it */
	int unlinked_fd; /* the same */
};

#define SNAPSHOT_NONE \
	((struct snapshot){ .dir_fd = -1, .memory_fd = -1, .code_fd = -1, .unlinked_fd = -1 })

/**
 * snap_open() - Open and check a snapshot
 *
 * Return: 0; -ENOENT there is none; -EPERM not safe to use; -EBADMSG damaged; -ESTALE of another
 * version; negative errno.
 */
int snap_open(int store_fd, const char *name, struct snapshot *ret, struct err *err);
void snap_close(struct snapshot *s);

/* Note that it was used, for snap_prune(). Failures do not matter. */
void snap_touch(const struct snapshot *s);

/* ---- making ---- */

struct snap_new {
	int store_fd; /* borrowed */
	int dir_fd;   /* holds the lock */
	int memory_fd, state_fd;
	int code_fd, unlinked_fd; /* may stay empty: then there is no such file */
	char name[SNAP_NAME_MAX + 1];
};

#define SNAP_NEW_NONE \
	((struct snap_new){ .dir_fd = -1,   \
			    .memory_fd = -1, \
			    .state_fd = -1,  \
			    .code_fd = -1,   \
			    .unlinked_fd = -1 })

/**
 * snap_begin() - Begin to make a snapshot
 * @store_fd:	Borrowed until it is published or abandoned
 * @name:	1 to SNAP_NAME_MAX lower-case letters and digits
 *
 * Return: 0; -EBUSY somebody else is making it; negative errno.
 */
int snap_begin(int store_fd, const char *name, struct snap_new *ret, struct err *err);

/**
 * snap_publish() - Put a written snapshot in its place
 * @m:		Describes the machine; what concerns the files is filled in here
 * @replace:	Take the place of one that is there already, rather than giving up for it
 *
 * Reads the memory once, to hash it. Always closes @s; on failure nothing of it stays.
 * Return: 0; -EEXIST; negative errno.
 */
int snap_publish(struct snap_new *s, struct snap_manifest *m, bool replace, struct err *err);

/* Remove what was begun. */
void snap_abandon(struct snap_new *s);

/* Only close the descriptors: another process goes on. */
void snap_new_close(struct snap_new *s);

/* ---- keeping ---- */

struct snap_entry {
	char name[SNAP_NAME_MAX + 1];
	uint64_t bytes;	  /* on disk */
	uint64_t used_ns; /* wall clock */
};

/* Sorted by last use, the latest first. Return: their number, *@ret owned by the caller. */
int snap_list(int store_fd, struct snap_entry **ret, struct err *err);

/* Return: 0; -ENOENT; negative errno. */
int snap_remove(int store_fd, const char *name, struct err *err);

/* Remove the least recently used until at most @limit bytes are left. Return: how many. */
int snap_prune(int store_fd, uint64_t limit, struct err *err);

#endif
