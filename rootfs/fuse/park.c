/* SPDX-License-Identifier: Apache-2.0 */
/* Taking descriptors back from nodes, and giving them one again. */
#include "fuse/park.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "passthrough/open.h"

#define PARK_MASK      (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)
#define PARK_MAX_DEPTH 64

static bool handle_equal(const struct file_handle *a, const struct file_handle *b)
{
	return a->handle_type == b->handle_type && a->handle_bytes == b->handle_bytes &&
	       memcmp(a->f_handle, b->f_handle, a->handle_bytes) == 0;
}

static bool time_equal(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int fd_path(const struct node_table *t, int fd, char *buf, size_t size)
{
	ssize_t n = readlinkat(t->proc_fd, gate_name_of(fd).s, buf, size - 1);

	if (n < 0)
		return -errno;
	buf[n] = 0;
	return 0;
}

/* Parent and name of a node, as long as the guest knows the parent. */
static bool name_find_locked(struct node_table *t, struct node *n)
{
	const struct node *root = t->slots[NODE_ROOT_ID].node, *parent;
	char base[PATH_MAX], path[PATH_MAX], *slash;
	AUTO_FD int dir = -1;
	struct node_key key;
	struct statx stx;
	size_t len;

	if (fd_path(t, root->fd, base, sizeof(base)) < 0 ||
	    fd_path(t, n->fd, path, sizeof(path)) < 0)
		return false;
	len = strcmp(base, "/") == 0 ? 0 : strlen(base);
	if (strncmp(path, base, len) != 0 || path[len] != '/')
		return false;
	slash = strrchr(path, '/');
	*slash = 0;
	dir = gate_open_path(root->fd, slash > path + len ? path + len + 1 : ".");
	if (dir < 0 || statx(dir, "", AT_EMPTY_PATH, PARK_MASK, &stx) < 0)
		return false;
	node_key_from_statx(&stx, &key);
	parent = node_find_key_locked(t, &key);
	/* The path may be of another time: the name must lead to this very inode. */
	if (!parent || statx(dir, slash + 1, AT_SYMLINK_NOFOLLOW, PARK_MASK, &stx) < 0)
		return false;
	node_key_from_statx(&stx, &key);
	if (memcmp(&key, &n->key, sizeof(key)) != 0)
		return false;
	free(n->name);
	n->name = strdup(slash + 1);
	n->parent = node_id(parent);
	return n->name != NULL;
}

bool park_prepare_locked(struct node_table *t, struct node *n)
{
	struct statx stx;

	if (statx(n->fd, "", AT_EMPTY_PATH, PARK_MASK, &stx) < 0)
		return false;
	/* A file without a name is gone once the last descriptor is. */
	if (stx.stx_nlink == 0) {
		n->fixed = true;
		return false;
	}
	if (t->use_handles && !n->fh && node_mount_fd_locked(t, n->key.mnt) >= 0)
		n->fh = node_handle_get(n->fd);
	if (t->use_handles && n->fh)
		return true;
	/* Without a time of birth a new file with an old number could not be told. */
	if (!(stx.stx_mask & STATX_BTIME) || !name_find_locked(t, n))
		return false;
	n->btime = stx.stx_btime;
	t->has_names = true;
	return true;
}

bool park_is_same_locked(const struct node *n, int fd, const struct statx *stx)
{
	AUTO_FREE struct file_handle *fh = NULL;

	if (!n->fh)
		return n->name && stx->stx_mask & STATX_BTIME &&
		       time_equal(&n->btime, &stx->stx_btime);
	fh = node_handle_get(fd);
	return fh && handle_equal(fh, n->fh);
}

static int open_by_name(struct node_table *t, struct node *n, unsigned depth)
{
	char name[NAME_MAX + 1];
	AUTO_FD int fd = -1;
	struct node *parent;
	struct node_key key;
	struct statx stx;
	bool same = false;
	uint64_t id;
	int r;

	if (depth == PARK_MAX_DEPTH)
		return -ESTALE;
	pthread_mutex_lock(&t->lock);
	snprintf(name, sizeof(name), "%s", n->name ? n->name : "");
	id = n->parent;
	pthread_mutex_unlock(&t->lock);
	r = name[0] ? node_pin_depth(t, id, &parent, depth + 1) : -ESTALE;
	if (r < 0)
		return r;
	fd = gate_open_path(parent->fd, name);
	node_unpin(t, parent);
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, PARK_MASK, &stx) < 0)
		return fd == -EMFILE ? -ENFILE : -ESTALE;
	node_key_from_statx(&stx, &key);
	if (memcmp(&key, &n->key, sizeof(key)) == 0) {
		pthread_mutex_lock(&t->lock);
		same = park_is_same_locked(n, fd, &stx);
		pthread_mutex_unlock(&t->lock);
	}
	return same ? fd_steal(&fd) : -ESTALE;
}

int park_open(struct node_table *t, struct node *n, unsigned depth)
{
	int mount_fd, fd;

	/* n->fh does not change any more: it is set before a node is parked, and freed with it. */
	if (!n->fh)
		return open_by_name(t, n, depth);
	pthread_mutex_lock(&t->lock);
	mount_fd = node_mount_fd_locked(t, n->key.mnt);
	pthread_mutex_unlock(&t->lock);
	fd = open_by_handle_at(mount_fd, n->fh, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == EMFILE ? -ENFILE : -ESTALE;
	return fd;
}
