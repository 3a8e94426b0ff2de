/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking descriptors back from nodes, and giving them one again.
 *
 * A parked node is found again by its kernel file handle, where the file system has them and we may
 * open them, or else by its name in its parent's directory, and then it must prove to be the same
 * inode, born at the same time. A file that has no name any more cannot be parked.
 */
#ifndef ROOTFS_FUSE_PARK_H
#define ROOTFS_FUSE_PARK_H

#include <stdbool.h>

#include "fuse/nodes.h"

/* Remember how to find the node again. Return: whether its descriptor may be closed. */
bool park_prepare_locked(struct node_table *t, struct node *n);

/* Open a parked, pinned node. @depth bounds how many parents are opened on the way. */
int park_open(struct node_table *t, struct node *n, unsigned depth);

/* Whether an open file with the node's key is the parked node's. */
bool park_is_same_locked(const struct node *n, int fd, const struct statx *stx);

#endif
