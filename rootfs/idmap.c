/* SPDX-License-Identifier: Apache-2.0 */
/* User namespaces that exist only for their id mappings. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/checked.h"
#include "base/fd.h"
#include "rootfs/assemble.h"

#define IDMAP_MAX  340 /* the kernel's limit of ranges */
#define IDMAP_LINE 36

static int idmap_check(const struct rootfs_idmap *map, size_t n, struct err *err)
{
	if (n == 0 || n > IDMAP_MAX)
		return err_set(err, -EINVAL, "id mapping of %zu ranges: 1 to %d are possible", n,
			       IDMAP_MAX);
	for (size_t i = 0; i < n; i++) {
		uint32_t end;

		if (!map[i].count || ckd_add(&end, map[i].inside, map[i].count - 1) ||
		    ckd_add(&end, map[i].outside, map[i].count - 1))
			return err_set(err, -EINVAL, "id mapping range %u %u %u", map[i].inside,
				       map[i].outside, map[i].count);
	}
	return 0;
}

/* The kernel takes a map in one write only. */
static int idmap_write(pid_t pid, const char *file, const struct rootfs_idmap *map, size_t n,
		       struct err *err)
{
	char path[64], text[IDMAP_MAX * IDMAP_LINE];
	AUTO_FD int fd = -1;
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%u %u %u\n", map[i].inside,
					map[i].outside, map[i].count);
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return err_errno(err, errno, "write %s", file);
	return 0;
}

int rootfs_idmap_open(const struct rootfs_idmap *uids, size_t n_uids,
		      const struct rootfs_idmap *gids, size_t n_gids, struct err *err)
{
	char path[64];
	pid_t pid;
	int fd = -1;
	int r = idmap_check(uids, n_uids, err);

	if (r == 0)
		r = idmap_check(gids, n_gids, err);
	if (r < 0)
		return r;
	pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0);
	if (pid == 0) {
		for (;;)
			pause();
	}
	if (pid < 0)
		return err_errno(err, errno, "make a user namespace");
	r = idmap_write(pid, "uid_map", uids, n_uids, err);
	if (r == 0)
		r = idmap_write(pid, "gid_map", gids, n_gids, err);
	if (r == 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			r = err_errno(err, errno, "open '%s'", path);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r < 0 ? r : fd;
}
