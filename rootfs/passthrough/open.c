/* SPDX-License-Identifier: Apache-2.0 */
/* The one gate: every descriptor of the container's tree is opened here. */
#include "passthrough/open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <linux/openat2.h>

#include "base/fd.h"

#define GATE_RESOLVE (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)

int gate_open_at(int dirfd, const char *name, uint32_t flags, mode_t mode)
{
	return fd_open_under(dirfd, name, flags, mode, GATE_RESOLVE);
}

int gate_open_path(int dirfd, const char *name)
{
	return gate_open_at(dirfd, name, O_PATH | O_NOFOLLOW, 0);
}

int gate_open_in_root(int root_fd, const char *path)
{
	return fd_open_under(root_fd, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

struct gate_name gate_name_of(int fd)
{
	struct gate_name n;

	snprintf(n.s, sizeof(n.s), "%d", fd);
	return n;
}

int gate_open_node(struct fuse_server *srv, const struct node *n, uint32_t flags)
{
	int fd;

	if (n->type != S_IFREG && n->type != S_IFDIR)
		return -ENXIO;
	fd = openat(srv->proc_fd, gate_name_of(n->fd).s,
		    (int)((flags & ~(uint32_t)(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC));
	/* A reader who may not suppress access times still may read. */
	if (fd < 0 && errno == EPERM && flags & O_NOATIME)
		return gate_open_node(srv, n, flags & ~(uint32_t)O_NOATIME);
	return fd < 0 ? -errno : fd;
}

int gate_path_of(struct fuse_server *srv, int fd)
{
	int path = openat(srv->proc_fd, gate_name_of(fd).s, O_PATH | O_CLOEXEC);

	return path < 0 ? -errno : path;
}

/*
 * O_APPEND stays out: the guest says where each write goes, and pages it writes back from a mapping
 * must not land at the end. Writes that do append say so one by one.
 */
uint32_t gate_flags(uint32_t guest_flags)
{
	return guest_flags & (uint32_t)(O_ACCMODE | O_SYNC | O_DSYNC | O_NOATIME | O_TRUNC);
}
