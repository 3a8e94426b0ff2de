/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that a caller hands to a container's process. */
#include "kept.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

static bool has_option(int fd, int option, int value)
{
	int got = -1;
	socklen_t len = sizeof(got);

	return getsockopt(fd, SOL_SOCKET, option, &got, &len) == 0 && got == value;
}

/* What it is, when it cannot be passed; else NULL. */
static const char *obstacle(int fd, mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFIFO: return NULL;
	case S_IFSOCK:
		if (!has_option(fd, SO_TYPE, SOCK_STREAM))
			return "a socket of messages";
		return has_option(fd, SO_ACCEPTCONN, 1) ? "a listening socket" : NULL;
	case S_IFREG: return "a file";
	case S_IFDIR: return "a directory";
	case S_IFCHR:
	case S_IFBLK: return isatty(fd) ? "a terminal" : "a device";
	default: return "of the kernel's own kind";
	}
}

int kept_check(unsigned n, struct err *err)
{
	struct stat st;

	if (n > KEPT_MAX)
		return err_set(err, -EINVAL, "--preserve-fds: %u are more than %d", n, KEPT_MAX);
	for (int fd = KEPT_FIRST; fd < KEPT_FIRST + (int)n; fd++) {
		const char *what;

		if (fstat(fd, &st) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return err_set(err, -EBADF, "--preserve-fds: descriptor %d is not open",
				       fd);
		what = obstacle(fd, st.st_mode);
		if (what)
			return err_set(err, -EOPNOTSUPP,
				       "--preserve-fds: descriptor %d is %s: only pipes and "
				       "connected stream sockets can be passed into a guest",
				       fd, what);
	}
	return 0;
}

void kept_start(struct kept *k, struct loop *loop, int fd, int ours, void (*progress)(void *opaque),
		void *opaque)
{
	int mode = fcntl(fd, F_GETFL) & O_ACCMODE;

	if (mode == O_RDONLY) {
		pump_start(&k->in, loop, fd, ours, true, NULL, NULL);
		return;
	}
	if (mode == O_RDWR)
		pump_start(&k->in, loop, fcntl(fd, F_DUPFD_CLOEXEC, KEPT_FIRST),
			   fcntl(ours, F_DUPFD_CLOEXEC, KEPT_FIRST), true, NULL, NULL);
	pump_start(&k->out, loop, ours, fd, mode == O_RDWR, progress, opaque);
}

void kept_stop(struct kept *k)
{
	pump_stop(&k->in);
	pump_stop(&k->out);
}
