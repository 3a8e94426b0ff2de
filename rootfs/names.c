/* SPDX-License-Identifier: Apache-2.0 */
/* By what name a file that the guest knows is found below the root. */
#include "names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "passthrough/open.h"

int names_open_below(int root_fd, const char *path)
{
	return fd_open_under(root_fd, path, O_PATH | O_NOFOLLOW, 0,
			     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

static int name_of(const struct fuse_server *srv, int fd, char *buf)
{
	ssize_t n = readlinkat(srv->proc_fd, gate_name_of(fd).s, buf, PATH_MAX - 1);

	if (n < 0)
		return -errno;
	buf[n] = 0;
	return 0;
}

/* Whether the path leads to the node. */
static bool leads_to(const struct node *root, const char *path, const struct node *n)
{
	AUTO_FD int fd = names_open_below(root->fd, path);
	struct node_key key;
	struct statx stx;

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, FUSE_STATX_MASK, &stx) < 0)
		return false;
	node_key_from_statx(&stx, &key);
	return memcmp(&key, &n->key, sizeof(key)) == 0;
}

int names_said(const struct fuse_server *srv, const struct node *root, const struct node *n,
	       char *buf)
{
	char base[PATH_MAX];
	size_t len;

	if (name_of(srv, root->fd, base) < 0 || name_of(srv, n->fd, buf) < 0)
		return -ENOENT;
	len = strcmp(base, "/") == 0 ? 0 : strlen(base);
	if (strncmp(buf, base, len) != 0 || buf[len] != '/')
		return -ENOENT;
	memmove(buf, buf + len + 1, strlen(buf + len + 1) + 1);
	return 0;
}

int names_path(const struct fuse_server *srv, const struct node *root, const struct node *n,
	       char *buf)
{
	return names_said(srv, root, n, buf) == 0 && leads_to(root, buf, n) ? 0 : -ENOENT;
}

/* A name of the node in one directory. */
static int find_in(struct fuse_server *srv, const struct node *root, const struct node *dir,
		   const struct node *n, uint32_t *n_left, char *path)
{
	_Alignas(struct dirent64) char buf[8192];
	size_t len = 0;
	ssize_t got;

	if (dir != root) {
		if (names_path(srv, root, dir, path) < 0)
			return -ENOENT;
		len = strlen(path);
		path[len++] = '/';
	}
	AUTO_FD int fd = gate_open_node(srv, dir, O_RDONLY | O_DIRECTORY);

	while (fd >= 0 && (got = getdents64(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < got && *n_left; (*n_left)--) {
			const struct dirent64 *e = (const void *)(buf + i);
			size_t name_len = strlen(e->d_name) + 1;

			i += e->d_reclen;
			if (e->d_ino != n->key.ino || len + name_len > PATH_MAX)
				continue;
			memcpy(path + len, e->d_name, name_len);
			if (leads_to(root, path, n))
				return 0;
		}
	}
	return -ENOENT;
}

int names_find(struct fuse_server *srv, const struct node *n, uint32_t *n_left, char *buf)
{
	struct node_table *t = &srv->nodes;
	const struct node *root = t->slots[NODE_ROOT_ID].node;
	int r = -ENOENT;

	for (uint32_t i = NODE_ROOT_ID; i < t->n_slots && *n_left && r < 0; i++) {
		struct node *dir = t->slots[i].node;

		if (!dir || dir->type != S_IFDIR || dir->stale ||
		    node_pin(t, node_id(dir), &dir) < 0)
			continue;
		r = find_in(srv, root, dir, n, n_left, buf);
		node_unpin(t, dir);
	}
	return r;
}
