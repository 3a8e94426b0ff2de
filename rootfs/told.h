/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest was told of names and attributes before a snapshot, and whether it still holds.
 *
 * Theory of operation. For as long as fuse_cache_seconds() the guest takes for true what it was told, and
 * its time stands still in a snapshot. So what is told before one is noted here, is saved with the tables, and
 * is looked up again at a restore: what proves right then may be believed for that time once more.
 */
#ifndef ROOTFS_TOLD_H
#define ROOTFS_TOLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define TOLD_MAX 4096

struct fuse_server;
struct node;

struct told {
	uint64_t parent; /* id of the directory; with an empty name: of the node itself */
	uint64_t node;	 /* id; 0: there is no such name */
	uint64_t digest; /* of the attributes */
	char *name;	 /* owned */
};

struct told_log {
	_Atomic bool on;
	pthread_mutex_t lock;
	struct told *v; /* all guarded by lock */
	size_t n, room;
	bool lost; /* something was told that is not here */
};

void told_init(struct told_log *log);
void told_done(struct told_log *log);
/* Forget what was noted; note from now on. */
void told_begin(struct told_log *log);
/* Forget what was noted, and note no more. */
void told_end(struct told_log *log);

/* Note a name of @dir; without @n: that there is none. */
void told_name(struct fuse_server *srv, const struct node *dir, const char *name,
	       const struct node *n, const struct statx *stx);
/* Note attributes. */
void told_attr(struct fuse_server *srv, const struct node *n, const struct statx *stx);
/* Something is told that is not noted. */
void told_lose(struct fuse_server *srv);

/* Whether it holds now. Context: leader thread. */
bool told_holds(struct fuse_server *srv, const struct told *t);

#endif
