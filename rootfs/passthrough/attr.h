/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of files as the guest shall see them: the host's, or those kept in an attribute. */
#ifndef ROOTFS_PASSTHROUGH_ATTR_H
#define ROOTFS_PASSTHROUGH_ATTR_H

#include <stdbool.h>
#include <sys/stat.h>

#include "fuse/server.h"

/* Name shared with other container tools: "UID:GID:0MODE[:TYPE[-MAJOR-MINOR]]". */
#define OVERRIDE_XATTR "user.containers.override_stat"

/* Status of an open or O_PATH descriptor. Return: 0; negative errno. */
int attr_stat(const struct fuse_server *srv, int fd, struct statx *ret);

/* With owners in attributes: replace what the host says by what the attribute says. */
void override_apply(const struct fuse_server *srv, int fd, struct statx *stx);

/* Keep owner, mode, type and device of @stx in the attribute. Return: 0; negative errno. */
int override_store(int fd, const struct statx *stx);

/* Clear setuid, and setgid of group-executable files, as a write by others does. */
int override_kill_priv(int fd);

/* Text form; @size should be at least OVERRIDE_TEXT_MAX. Return: length. */
#define OVERRIDE_TEXT_MAX 96
int override_format(const struct statx *stx, char *buf, size_t size);
/* Return: 0; -EBADMSG (then @stx is unchanged). */
int override_parse(const char *text, struct statx *stx);

#endif
