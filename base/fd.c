/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: ownership and whole reads and writes. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

/* Each disturbance is a mount or a rename of somebody else; a held lease says EAGAIN for longer. */
#define OPEN_TRIES 10000
#define WAIT_PARTS 50

void fd_close(int fd)
{
	int saved_errno = errno;

	if (fd >= 0)
		close(fd);
	errno = saved_errno;
}

bool fd_is_null(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

ssize_t fd_read_full(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t fd_pread_full(int fd, void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int fd_write_full(int fd, const void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

int fd_wait(struct pollfd *p, unsigned n, unsigned timeout_ms)
{
	const unsigned part_ms = timeout_ms / WAIT_PARTS + 1;

	for (unsigned i = 0; i < WAIT_PARTS;) {
		int r = poll(p, n, (int)part_ms);

		if (r > 0)
			return r;
		if (r < 0 && errno != EINTR)
			return -errno;
		i += r == 0;
	}
	return 0;
}

#define TEMP_TRIES 100 /* names that a killed process has left */

/* A new file in the same directory. Return: it, open; negative errno. */
static int open_beside(const char *path, mode_t mode, char temp[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash ? (int)(slash - path) + 1 : 0;

	for (int i = 0;; i++) {
		int fd;

		if (snprintf(temp, PATH_MAX, "%.*s.%s.%d-%d", dir_len, path, path + dir_len,
			     (int)getpid(), i) >= PATH_MAX)
			return -ENAMETOOLONG;
		fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST || i == TEMP_TRIES)
			return -errno;
	}
}

int fd_write_file(const char *path, mode_t mode, const void *buf, size_t len)
{
	char temp[PATH_MAX];
	int AUTO_FD fd = open_beside(path, mode, temp);
	int r;

	if (fd < 0)
		return fd;
	r = fd_write_full(fd, buf, len);
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temp);
	return r;
}

int fd_open_under(int dirfd, const char *path, uint64_t flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };
	long fd = -1;

	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
		how.mode = mode & 07777;
	for (int i = 0; i < OPEN_TRIES; i++) {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EINTR && errno != EAGAIN))
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}
