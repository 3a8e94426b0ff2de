/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: ownership and whole reads and writes. "None" is -1. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/**
 * fd_close() - Close a descriptor, keeping errno; negative values are ignored
 * @fd:	Descriptor or -1
 */
void fd_close(int fd);

static inline void fd_closep(int *fd)
{
	fd_close(*fd);
}

/* int AUTO_FD fd = -1; closed at the end of the scope. */
#define AUTO_FD CLEANUP(fd_closep)

/* Hand a descriptor over: returns it and leaves -1 behind. */
static inline int fd_steal(int *fd)
{
	int ret = *fd;

	*fd = -1;
	return ret;
}

/* Whether it is /dev/null. */
bool fd_is_null(int fd);

/**
 * fd_read_full() - Read up to @len bytes, going on after short reads and EINTR
 * @fd:		Descriptor opened for reading
 * @buf:	Destination
 * @len:	Bytes wanted
 *
 * Return: bytes read, less than @len only at end of file; negative errno.
 */
ssize_t fd_read_full(int fd, void *buf, size_t len);

/**
 * fd_pread_full() - As fd_read_full(), from a file offset
 * @off:	Offset from the start of the file in bytes
 */
ssize_t fd_pread_full(int fd, void *buf, size_t len, uint64_t off);

/**
 * fd_write_full() - Write all of @len bytes, going on after short writes and EINTR
 *
 * Return: 0; negative errno.
 */
int fd_write_full(int fd, const void *buf, size_t len);

struct pollfd;

/**
 * fd_wait() - poll() whose time is no time that the process did not have
 * @p:		As for poll(2)
 * @n:		How many
 * @timeout_ms:	Counted in parts, so that a process that was frozen looks again
 *
 * Return: how many have events; 0: none within the time; negative errno.
 */
int fd_wait(struct pollfd *p, unsigned n, unsigned timeout_ms);

/**
 * fd_write_file() - Write a file whole or not at all: beside it, then renamed to it
 * @path:	What is there already is replaced, and not followed if it is a link
 * @mode:	Of the new file, less the umask
 *
 * Return: 0; negative errno.
 */
int fd_write_file(const char *path, mode_t mode, const void *buf, size_t len);

/**
 * fd_open_under() - openat2(2), going on when it was only disturbed
 * @dirfd:	Directory that the path starts from, and which bounds it
 * @flags:	As of open(2); O_CLOEXEC is added
 * @mode:	Of a file that is made, else ignored
 * @resolve:	RESOLVE_* of linux/openat2.h
 *
 * The kernel answers EAGAIN to a bounded path with ".." in it, be it by a symbolic link, whenever
 * anything is mounted or renamed anywhere on the host meanwhile (openat2(2)); so it is asked again.
 *
 * Return: descriptor; negative errno.
 */
int fd_open_under(int dirfd, const char *path, uint64_t flags, mode_t mode, uint64_t resolve);

#endif
