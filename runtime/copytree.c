/* SPDX-License-Identifier: Apache-2.0 */
/* Copying and removing directory trees of plain files. */
#include "copytree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define DEPTH_MAX 32
#define COPY_PART (1 << 30)
#define OPEN_DIRS 16

static int copy_bytes(int from, int to)
{
	char buf[65536];
	ssize_t n;

	while ((n = copy_file_range(from, NULL, to, NULL, COPY_PART, 0)) > 0)
		;
	if (n == 0)
		return 0;
	/* Across some file systems the kernel can't. */
	while ((n = read(from, buf, sizeof(buf))) > 0) {
		int r = fd_write_full(to, buf, (size_t)n);

		if (r < 0)
			return r;
	}
	return n < 0 ? -errno : 0;
}

int copytree_file(int from_fd, const char *name, int to_dir, const char *to, mode_t mode,
		  struct err *err)
{
	int AUTO_FD fd = openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int r;

	if (fd < 0)
		return err_errno(err, errno, "create '%s'", to);
	if (lseek(from_fd, 0, SEEK_SET) < 0)
		return err_errno(err, errno, "read '%s'", name);
	r = copy_bytes(from_fd, fd);
	return r < 0 ? err_errno(err, -r, "copy '%s'", name) : 0;
}

static int copy_dir(int from, int to, unsigned depth, struct err *err);

static int copy_entry(int from, int to, const char *name, unsigned depth, struct err *err)
{
	int AUTO_FD src = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int AUTO_FD dst = -1;
	struct stat st;

	if (src < 0)
		return errno == ELOOP ? 0 : err_errno(err, errno, "open '%s'", name);
	if (fstat(src, &st) < 0)
		return err_errno(err, errno, "'%s'", name);
	if (S_ISREG(st.st_mode))
		return copytree_file(src, name, to, name, 0644, err);
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (depth == DEPTH_MAX)
		return err_set(err, -E2BIG, "'%s' lies too deep", name);
	if (mkdirat(to, name, 0755) < 0)
		return err_errno(err, errno, "create '%s'", name);
	dst = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dst < 0)
		return err_errno(err, errno, "open '%s'", name);
	return copy_dir(src, dst, depth + 1, err);
}

static int copy_dir(int from, int to, unsigned depth, struct err *err)
{
	int dup_fd = fcntl(from, F_DUPFD_CLOEXEC, 3);
	DIR *d = dup_fd < 0 ? NULL : fdopendir(dup_fd);
	struct dirent *e;
	int r = 0;

	if (!d) {
		r = err_errno(err, errno, "read a directory");
		fd_close(dup_fd);
		return r;
	}
	while (r == 0 && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = copy_entry(from, to, e->d_name, depth, err);
	}
	closedir(d);
	return r;
}

int copytree_copy(const char *from, const char *to, struct err *err)
{
	int AUTO_FD src = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int AUTO_FD dst = -1;
	int r;

	if (src < 0)
		return err_errno(err, errno, "open directory '%s'", from);
	if (mkdir(to, 0755) < 0)
		return err_errno(err, errno, "create '%s'", to);
	dst = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dst < 0)
		return err_errno(err, errno, "open '%s'", to);
	r = copy_dir(src, dst, 0, err);
	return r < 0 ? err_wrap(err, r, "copy '%s'", from) : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

int copytree_remove(const char *path)
{
	int r = nftw(path, remove_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);

	if (r == -1)
		return errno == ENOENT ? 0 : -errno;
	return r;
}
