/* SPDX-License-Identifier: Apache-2.0 */
/* Making a snapshot: the locked directory, the manifest, the rename. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "snapshots/memory.h"
#include "snapshots/store.h"
#include "store_priv.h"

#define TRIES 8

static void new_name(const char *name, char *ret, size_t len)
{
	snprintf(ret, len, STORE_NEW "%s", name);
}

static int unlink_files(int dir_fd)
{
	static const char *const files[] = { STORE_MANIFEST, STORE_STATE,    STORE_MEMORY,
					     STORE_CODE,     STORE_UNLINKED, STORE_WORKSET };

	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		if (unlinkat(dir_fd, files[i], 0) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

int store_unlink(int store_fd, const char *name)
{
	int AUTO_FD fd = openat(store_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 ? -errno : 0;

	/* A machine that began with it may make its working set once more. */
	for (int i = 0; r == 0 && i < TRIES; i++) {
		r = unlink_files(fd);
		if (r < 0 || unlinkat(store_fd, name, AT_REMOVEDIR) == 0)
			return r;
		r = errno == ENOTEMPTY && i < TRIES - 1 ? 0 : -errno;
	}
	return r;
}

int store_flock(int fd, int how)
{
	while (flock(fd, how) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int store_lock_named(int store_fd, const char *name)
{
	int AUTO_FD fd = openat(store_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int r;

	if (fd < 0)
		return -errno;
	r = store_flock(fd, LOCK_EX);
	return r < 0 ? r : fd_steal(&fd);
}

bool store_is_at(int store_fd, const char *name, int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstatat(store_fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Return: the locked directory; -EBUSY; negative errno. */
static int lock_dir(int store_fd, const char *name)
{
	/* No sweep between a directory and its lock. */
	int AUTO_FD store = openat(store_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = store < 0 ? -errno : store_flock(store, LOCK_SH);

	if (r < 0)
		return r;
	for (int i = 0; i < TRIES; i++) {
		int AUTO_FD fd = -1;

		if (mkdirat(store_fd, name, 0700) < 0 && errno != EEXIST)
			return -errno;
		fd = openat(store_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? -EBUSY : -errno;
		if (store_is_at(store_fd, name, fd))
			return fd_steal(&fd);
	}
	return -EBUSY;
}

/* Whatever a dead maker left there goes. */
static int fresh_file(int dir_fd, const char *name)
{
	int fd;

	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

int snap_begin(int store_fd, const char *name, struct snap_new *ret, struct err *err)
{
	struct snap_new s = SNAP_NEW_NONE;
	char path[SNAP_NAME_MAX + 16];
	int r = store_check_name(name, err);

	if (r < 0)
		return r;
	new_name(name, path, sizeof(path));
	r = s.dir_fd = lock_dir(store_fd, path);
	if (r >= 0)
		r = s.memory_fd = fresh_file(s.dir_fd, STORE_MEMORY);
	if (r >= 0)
		r = s.state_fd = fresh_file(s.dir_fd, STORE_STATE);
	if (r >= 0)
		r = s.code_fd = fresh_file(s.dir_fd, STORE_CODE);
	if (r >= 0)
		r = s.unlinked_fd = fresh_file(s.dir_fd, STORE_UNLINKED);
	if (r < 0) {
		snap_new_close(&s);
		return err_errno(err, -r, "begin snapshot '%.12s'", name);
	}
	s.store_fd = store_fd;
	snprintf(s.name, sizeof(s.name), "%s", name);
	*ret = s;
	return 0;
}

void snap_new_close(struct snap_new *s)
{
	fd_close(s->memory_fd);
	fd_close(s->state_fd);
	fd_close(s->code_fd);
	fd_close(s->unlinked_fd);
	fd_close(s->dir_fd); /* last: the lock */
	*s = SNAP_NEW_NONE;
}

void snap_abandon(struct snap_new *s)
{
	char path[SNAP_NAME_MAX + 16];

	if (s->dir_fd < 0)
		return;
	new_name(s->name, path, sizeof(path));
	(void)store_unlink(s->store_fd, path);
	snap_new_close(s);
}

static int hash_state(const struct snap_new *s, struct snap_manifest *m, struct err *err)
{
	AUTO_FREE uint8_t *p = NULL;
	uint8_t hash[SHA256_BYTES];
	struct stat st;
	ssize_t n;

	if (fstat(s->state_fd, &st) < 0 || st.st_size > (off_t)SNAP_STATE_MAX)
		return err_set(err, -EIO, "state: cannot be read back");
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return err_set(err, -ENOMEM, "state: no memory");
	n = fd_pread_full(s->state_fd, p, (size_t)st.st_size, 0);
	if (n != (ssize_t)st.st_size)
		return err_set(err, -EIO, "state: cannot be read back");
	m->state_bytes = (uint64_t)n;
	sha256_of(p, (size_t)n, hash);
	sha256_hex(hash, m->state_hash);
	return 0;
}

static int write_manifest(const struct snap_new *s, const struct snap_manifest *m, struct err *err)
{
	AUTO_FREE char *text = NULL;
	int AUTO_FD fd = -1;
	size_t len = 0;
	int r = snap_manifest_print(m, &text, &len, err);

	if (r < 0)
		return r;
	r = fd = fresh_file(s->dir_fd, STORE_MANIFEST);
	if (r >= 0)
		r = fd_write_full(fd, text, len);
	if (r >= 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? err_errno(err, -r, "write '%s'", STORE_MANIFEST) : 0;
}

/* On disk like the rest, or not there at all. @fd -1: it is not ours to have. Return: 0; negative errno. */
static int settle(const struct snap_new *s, int fd, const char *name, struct err *err)
{
	struct stat st = { 0 };
	int r = fd < 0 || fstat(fd, &st) == 0 ? 0 : -errno;

	if (r == 0 && st.st_size == 0)
		r = unlinkat(s->dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	else if (r == 0)
		r = fsync(fd) < 0 ? -errno : 0;
	return r < 0 ? err_errno(err, -r, "write '%s'", name) : 0;
}

/* Return: 0; -EEXIST. */
static int rename_new(const struct snap_new *s, bool replace)
{
	char path[SNAP_NAME_MAX + 16];

	new_name(s->name, path, sizeof(path));
	if (renameat2(s->store_fd, path, s->store_fd, s->name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EEXIST || !replace)
		return -errno;
	/* The old one gets a name where no other maker and no sweep may take it. */
	int AUTO_FD old = store_lock_named(s->store_fd, s->name);

	if (old < 0)
		return old;
	if (renameat2(s->store_fd, path, s->store_fd, s->name, RENAME_EXCHANGE) < 0)
		return -errno;
	return store_unlink(s->store_fd, path);
}

int snap_publish(struct snap_new *s, struct snap_manifest *m, bool replace, struct err *err)
{
	int r = hash_state(s, m, err);

	if (r == 0)
		r = snap_memory_runs(s->memory_fd, m, err);
	if (r == 0)
		r = snap_memory_hash(s->memory_fd, m, err);
	if (r == 0)
		r = write_manifest(s, m, err);
	if (r == 0)
		r = settle(s, s->code_fd, STORE_CODE, err);
	if (r == 0)
		r = settle(s, s->unlinked_fd, STORE_UNLINKED, err);
	if (r == 0 && (fsync(s->memory_fd) < 0 || fsync(s->state_fd) < 0 || fsync(s->dir_fd) < 0))
		r = err_errno(err, errno, "write snapshot '%.12s'", s->name);
	if (r == 0) {
		r = rename_new(s, replace);
		if (r < 0)
			err_errno(err, -r, "publish snapshot '%.12s'", s->name);
	}
	if (r < 0) {
		snap_abandon(s);
		return r;
	}
	(void)fsync(s->store_fd);
	snap_new_close(s);
	return 0;
}
