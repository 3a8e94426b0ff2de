/* SPDX-License-Identifier: Apache-2.0 */
/* By what name a file that the guest knows is found below the root. */
#ifndef ROOTFS_NAMES_H
#define ROOTFS_NAMES_H

#include <stdint.h>

#include "fuse/server.h"

/*
 * names_open_below() - Open (O_PATH) what is there by a path below a directory, through no link
 *
 * Return: a descriptor the caller owns; negative errno.
 */
int names_open_below(int root_fd, const char *path);

/*
 * names_said() - What the kernel says is the path of a node below the root, also when that is gone
 * @buf: PATH_MAX bytes
 *
 * Return: 0; -ENOENT: none of the tree's.
 */
int names_said(const struct fuse_server *srv, const struct node *root, const struct node *n,
	       char *buf);

/*
 * names_path() - Path of a node below the root, proven by walking it
 * @buf: PATH_MAX bytes
 *
 * Return: 0; -ENOENT: the name it was opened by is gone.
 */
int names_path(const struct fuse_server *srv, const struct node *root, const struct node *n,
	       char *buf);

/*
 * names_find() - Another name of such a file, in the directories that the guest knows
 * @n_left: How many names may be looked at, for all files together; becomes less.
 * @buf: PATH_MAX bytes
 *
 * Context: a thread of the file server, no request is served.
 * Return: 0; -ENOENT.
 */
int names_find(struct fuse_server *srv, const struct node *n, uint32_t *n_left, char *buf);

#endif
