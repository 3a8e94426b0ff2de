/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one gate: every descriptor of the container's tree is opened by these functions.
 *
 * A name is one checked component, opened beneath a held directory without following symbolic
 * links, magic links or leaving the directory; a held O_PATH descriptor is opened for real through
 * the directory of our own descriptors, after its type was looked at, so that no device is ever
 * opened and no FIFO ever waited for.
 */
#ifndef ROOTFS_PASSTHROUGH_OPEN_H
#define ROOTFS_PASSTHROUGH_OPEN_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fuse/server.h"

/* Open or create the component @name in @dirfd. Return: descriptor; negative errno. */
int gate_open_at(int dirfd, const char *name, uint32_t flags, mode_t mode);

/* O_PATH descriptor of a component, symbolic links included. */
int gate_open_path(int dirfd, const char *name);

/*
 * O_PATH descriptor of a path as a process in the container sees it: symbolic links lead to where they do
 * there, also from the root's parent.
 */
int gate_open_in_root(int root_fd, const char *path);

/* Open a pinned node's file or directory. Return: descriptor; -ENXIO for other types. */
int gate_open_node(struct fuse_server *srv, const struct node *n, uint32_t flags);

/* O_PATH descriptor of an open one. */
int gate_path_of(struct fuse_server *srv, int fd);

/* The name by which calls without an "at" form reach a descriptor from a worker's directory. */
struct gate_name {
	char s[16];
};
struct gate_name gate_name_of(int fd);

/* The guest's open flags that make sense on the host's descriptor. */
uint32_t gate_flags(uint32_t guest_flags);

#endif
