/* SPDX-License-Identifier: Apache-2.0 */
/* Root directories and descriptor tables of threads. */
#include "sandbox/root.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/close_range.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "sandbox/sandbox.h"

/* ---- root ---- */

int root_change(int tree_fd, struct err *err)
{
	AUTO_FD int root = -1;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(err, errno, "make mounts private");
	/* The new root on top of the old one, then the old one goes: nothing to climb to is left.
	 */
	if (syscall(SYS_move_mount, tree_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(err, errno, "attach the new root directory");
	root = openat(tree_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || fchdir(root) < 0)
		return err_errno(err, errno, "enter the new root directory");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_errno(err, errno, "change the root directory");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 || chroot(".") < 0)
		return err_errno(err, errno, "leave the host's root directory");
	return fd_steal(&root);
}

int root_empty(struct err *err)
{
	AUTO_FD int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	AUTO_FD int tree = -1;
	AUTO_FD int root = -1;

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "4k", 0) < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(err, errno, "make an empty file system");
	tree = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
			    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				    MOUNT_ATTR_NOEXEC);
	if (tree < 0)
		return err_errno(err, errno, "mount an empty file system");
	root = root_change(tree, err);
	return MIN(root, 0);
}

int sandbox_tree_open(const char *dir, struct err *err)
{
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, dir,
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	return fd < 0 ? err_errno(err, errno, "take directory '%s'", dir) : fd;
}

/* ---- descriptors ---- */

/* What keeps its meaning for a thread that can open nothing, by the kernel's name for it. */
static const struct {
	unsigned kind;
	const char *prefix;
} kinds[] = {
	{ FDS_EVENTS, "anon_inode:[eventfd]" },
	{ FDS_TIMERS, "anon_inode:[timerfd]" },
	{ FDS_KVM, "anon_inode:kvm-v" }, /* of VMs and vCPUs */
};

static bool is_kind(int dir, const char *name, unsigned wanted)
{
	char link[64];
	ssize_t n = readlinkat(dir, name, link, sizeof(link) - 1);

	if (n < 0)
		return false;
	link[n] = '\0';
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		if (wanted & kinds[i].kind &&
		    !strncmp(link, kinds[i].prefix, strlen(kinds[i].prefix)))
			return true;
	}
	return false;
}

static int close_gap(unsigned from, unsigned to)
{
	return from > to || syscall(SYS_close_range, from, to, 0) == 0 ? 0 : -errno;
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

/* Close those from @from up, but some. */
static int close_others(unsigned from, int *keep, size_t n)
{
	int r = 0;

	qsort(keep, n, sizeof(*keep), compare);
	for (size_t i = 0; i < n && r == 0; i++) {
		if (keep[i] > 0)
			r = close_gap(from, (unsigned)keep[i] - 1);
		from = MAX(from, (unsigned)keep[i] + 1);
	}
	return r == 0 ? close_gap(from, ~0U) : r;
}

/* Add those of some kinds to @keep. */
static int collect(int proc_fd, unsigned wanted, int *keep, size_t max, size_t *n)
{
	int AUTO_FD fd = openat(proc_fd, "thread-self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;
	int r = 0;

	if (!dir)
		return -errno;
	fd_steal(&fd);
	while (r == 0 && (d = readdir(dir))) {
		if (d->d_name[0] == '.' || !is_kind(dirfd(dir), d->d_name, wanted))
			continue;
		if (*n < max)
			keep[(*n)++] = atoi(d->d_name);
		else
			r = -E2BIG;
	}
	closedir(dir);
	return r;
}

int fds_close_but(int proc_fd, unsigned wanted, const int *more, size_t n_more, struct err *err)
{
	int keep[FDS_MAX], r;
	size_t n = 0;

	for (size_t i = 0; i < n_more; i++) {
		if (more[i] >= 0)
			keep[n++] = more[i];
	}
	r = collect(proc_fd, wanted, keep, ARRAY_LEN(keep), &n);
	if (r == 0)
		r = close_others(0, keep, n);
	return r < 0 ? err_errno(err, -r, "close descriptors") : 0;
}

int sandbox_close_inherited(unsigned n_first, const int *more, size_t n_more, struct err *err)
{
	int keep[FDS_MAX], r;
	size_t n = 0;

	for (size_t i = 0; i < n_more; i++) {
		if (more[i] >= 0)
			keep[n++] = more[i];
	}
	r = close_others(n_first, keep, n);
	return r < 0 ? err_errno(err, -r, "close descriptors") : 0;
}
