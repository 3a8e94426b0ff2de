/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations on names share with CREATE and READDIRPLUS. */
#ifndef ROOTFS_PASSTHROUGH_NAMES_H
#define ROOTFS_PASSTHROUGH_NAMES_H

#include <sys/stat.h>

#include "fuse/server.h"

/**
 * name_lookup() - Node of a name in c->node; counts one lookup for the guest
 * @dirfd:	That directory, O_PATH or open
 * @name:	One checked component
 * @ret:	Pinned; the caller unpins, and forgets the lookup if the guest never hears of it
 */
int name_lookup(struct fuse_call *c, int dirfd, const char *name, struct node **ret,
		struct statx *stx);

/* Answer with an entry; unpins, and takes the lookup back when there is no room. */
int name_reply_entry(struct fuse_call *c, struct node *n, const struct statx *stx);

/* Owner, group and mode of a file just made in c->node, when they live in the attribute. */
int override_new(struct fuse_call *c, int fd, mode_t mode, uint32_t rdev);

#endif
