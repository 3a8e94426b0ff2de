/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of snapshots: opening, listing, removing. */
#include "snapshots/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "store_priv.h"

#define LIST_MAX 65536

/* ---- who may have written it ---- */

/* Ours or root's, and nobody else may write. */
int store_check_owner(int fd, const char *what, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at %s", what);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(err, -EPERM, "%s belongs to user %u, whom we need not trust", what,
			       st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, -EPERM, "%s is writable by others (mode %o)", what,
			       st.st_mode & 07777);
	return 0;
}

static int make_dirs(const char *path)
{
	char buf[PATH_MAX];

	if (strlen(path) >= sizeof(buf))
		return -ENAMETOOLONG;
	strcpy(buf, path);
	for (char *p = buf + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(buf, c ? 0755 : 0700) < 0 && errno != EEXIST)
			return -errno;
		*p = c;
		if (c == '\0')
			return 0;
	}
}

int snap_store_open(const char *path, bool create, struct err *err)
{
	char what[ERR_MSG_MAX / 2];
	int r = create ? make_dirs(path) : 0;
	int AUTO_FD fd = r < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (r < 0 || fd < 0)
		return err_errno(err, r < 0 ? -r : errno, "open snapshot store '%s'", path);
	snprintf(what, sizeof(what), "snapshot store '%s'", path);
	r = store_check_owner(fd, what, err);
	return r < 0 ? r : fd_steal(&fd);
}

int store_check_name(const char *name, struct err *err)
{
	size_t len = strlen(name);

	if (len == 0 || len > SNAP_NAME_MAX ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") != len)
		return err_set(err, -EINVAL, "'%.80s' is no name of a snapshot", name);
	return 0;
}

/* ---- opening ---- */

static int open_file(int dir_fd, const char *name, struct err *err)
{
	char what[64];
	int AUTO_FD fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	int r;

	if (fd < 0)
		return err_errno(err, errno, "%s", name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, -EBADMSG, "%s: not a file", name);
	snprintf(what, sizeof(what), "file '%s'", name);
	r = store_check_owner(fd, what, err);
	return r < 0 ? r : fd_steal(&fd);
}

int store_slurp(int dir_fd, const char *name, size_t max, uint8_t **ret, size_t *ret_len,
		struct err *err)
{
	int AUTO_FD fd = open_file(dir_fd, name, err);
	AUTO_FREE uint8_t *p = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "%s", name);
	if ((uint64_t)st.st_size > max)
		return err_set(err, -EBADMSG, "%s: %lld bytes", name, (long long)st.st_size);
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return err_set(err, -ENOMEM, "%s: no memory", name);
	n = fd_read_full(fd, p, (size_t)st.st_size);
	if (n < 0)
		return err_errno(err, (int)-n, "%s", name);
	*ret_len = (size_t)n;
	*ret = STEAL_PTR(p);
	return 0;
}

static int read_state(struct snapshot *s, struct err *err)
{
	uint8_t hash[SHA256_BYTES];
	char hex[SHA256_HEX + 1];
	size_t len = 0;
	int r = store_slurp(s->dir_fd, STORE_STATE, SNAP_STATE_MAX, &s->state, &len, err);

	if (r < 0)
		return r;
	if (len != s->manifest.state_bytes)
		return err_set(err, -EBADMSG, "state: %zu bytes, the manifest says %llu", len,
			       (unsigned long long)s->manifest.state_bytes);
	r = snap_sections_parse(s->state, len, &s->sections, err);
	if (r < 0)
		return r;
	sha256_of(s->state, len, hash);
	sha256_hex(hash, hex);
	if (strcmp(hex, s->manifest.state_hash) != 0)
		return err_set(err, -EBADMSG, "state: not the one of the manifest");
	return 0;
}

static int open_all(struct snapshot *s, struct err *err)
{
	AUTO_FREE uint8_t *text = NULL;
	struct stat st;
	size_t len = 0;
	int r = store_check_owner(s->dir_fd, "its directory", err);

	if (r == 0)
		r = store_slurp(s->dir_fd, STORE_MANIFEST, SNAP_MANIFEST_MAX, &text, &len, err);
	if (r == 0)
		r = snap_manifest_parse((const char *)text, len, &s->manifest, err);
	if (r == 0)
		r = read_state(s, err);
	if (r < 0)
		return r;
	s->memory_fd = open_file(s->dir_fd, STORE_MEMORY, err);
	if (s->memory_fd < 0)
		return s->memory_fd;
	/* A mapping of a file that is cut faults when it is used. */
	if (fstat(s->memory_fd, &st) < 0 || (uint64_t)st.st_size != s->manifest.memory_bytes)
		return err_set(err, -EBADMSG, "memory: not %llu bytes",
			       (unsigned long long)s->manifest.memory_bytes);
	r = open_file(s->dir_fd, STORE_CODE, NULL);
	s->code_fd = MAX(r, -1);
	r = strcmp(s->manifest.kind, "checkpoint") == 0
		    ? open_file(s->dir_fd, STORE_UNLINKED, NULL)
		    : -1;
	s->unlinked_fd = MAX(r, -1);
	return 0;
}

int snap_open(int store_fd, const char *name, struct snapshot *ret, struct err *err)
{
	struct snapshot s = SNAPSHOT_NONE;
	int r = store_check_name(name, err);

	if (r < 0)
		return r;
	s.dir_fd = openat(store_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s.dir_fd < 0)
		return err_errno(err, errno, "snapshot '%.12s'", name);
	r = open_all(&s, err);
	if (r < 0) {
		snap_close(&s);
		return err_wrap(err, r, "snapshot '%.12s'", name);
	}
	*ret = s;
	return 0;
}

void snap_close(struct snapshot *s)
{
	snap_manifest_done(&s->manifest);
	snap_sections_done(&s->sections);
	free(s->state);
	fd_close(s->dir_fd);
	fd_close(s->memory_fd);
	fd_close(s->code_fd);
	fd_close(s->unlinked_fd);
	*s = SNAPSHOT_NONE;
}

/* The directory's times are those of its use: nothing else changes them. */
void snap_touch(const struct snapshot *s)
{
	(void)futimens(s->dir_fd, NULL);
}

/* ---- keeping ---- */

static int entry_fill(int store_fd, const char *name, struct snap_entry *ret)
{
	static const char *const files[] = { STORE_MANIFEST, STORE_STATE, STORE_MEMORY, STORE_CODE,
					     STORE_UNLINKED };
	int AUTO_FD fd = openat(store_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	*ret = (struct snap_entry){ .used_ns = (uint64_t)st.st_mtim.tv_sec * NSEC_PER_SEC +
					       (uint64_t)st.st_mtim.tv_nsec };
	snprintf(ret->name, sizeof(ret->name), "%.*s", SNAP_NAME_MAX, name);
	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		if (fstatat(fd, files[i], &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno == ENOENT && i >= 3)
				continue;
			return -errno;
		}
		ret->bytes += (uint64_t)st.st_blocks * 512;
	}
	return 0;
}

static int by_use(const void *a, const void *b)
{
	const struct snap_entry *x = a, *y = b;

	return (x->used_ns < y->used_ns) - (x->used_ns > y->used_ns);
}

int snap_list(int store_fd, struct snap_entry **ret, struct err *err)
{
	int fd = openat(store_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	AUTO_FREE struct snap_entry *v = NULL;
	size_t n = 0, room = 0;
	struct dirent *e;

	if (!d) {
		int saved = errno;

		fd_close(fd);
		return err_errno(err, saved, "list the snapshot store");
	}
	while (n < LIST_MAX && (e = readdir(d))) {
		if (n == room) {
			size_t want = room ? 2 * room : 32;
			struct snap_entry *grown = realloc(v, want * sizeof(*v));

			if (!grown) {
				closedir(d);
				return err_set(err, -ENOMEM, "no memory to list snapshots");
			}
			v = grown;
			room = want;
		}
		if (store_check_name(e->d_name, NULL) == 0 &&
		    entry_fill(store_fd, e->d_name, &v[n]) == 0)
			n++;
	}
	closedir(d);
	if (n)
		qsort(v, n, sizeof(*v), by_use);
	*ret = STEAL_PTR(v);
	return (int)n;
}

/* Hide it by one rename, then take it apart: no half of it is ever seen under its name. */
int snap_remove(int store_fd, const char *name, struct err *err)
{
	char hidden[SNAP_NAME_MAX + 64];
	int r = store_check_name(name, err);

	if (r < 0)
		return r;
	snprintf(hidden, sizeof(hidden), STORE_OLD "%s-%d", name, getpid());
	int AUTO_FD fd = store_lock_named(store_fd, name);

	if (fd < 0)
		return err_errno(err, -fd, "remove snapshot '%.12s'", name);
	if (renameat(store_fd, name, store_fd, hidden) < 0)
		return err_errno(err, errno, "remove snapshot '%.12s'", name);
	r = store_unlink(store_fd, hidden);
	return r < 0 ? err_errno(err, -r, "remove snapshot '%.12s'", name) : 0;
}

/* What makers and removers left that were killed; work in progress is locked. */
static void sweep(int store_fd)
{
	int fd = openat(store_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		fd_close(fd);
		return;
	}
	/* Then nobody is about to lock what was just made. */
	if (store_flock(fd, LOCK_EX) < 0) {
		closedir(d);
		return;
	}
	while ((e = readdir(d))) {
		int AUTO_FD dir = -1;

		if (strncmp(e->d_name, STORE_NEW, strlen(STORE_NEW)) != 0 &&
		    strncmp(e->d_name, STORE_OLD, strlen(STORE_OLD)) != 0)
			continue;
		dir = openat(store_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (dir >= 0 && flock(dir, LOCK_EX | LOCK_NB) == 0 &&
		    store_is_at(store_fd, e->d_name, dir))
			(void)store_unlink(store_fd, e->d_name);
	}
	closedir(d);
}

int snap_prune(int store_fd, uint64_t limit, struct err *err)
{
	AUTO_FREE struct snap_entry *v = NULL;
	int n = snap_list(store_fd, &v, err), removed = 0;
	uint64_t sum = 0;

	for (int i = 0; i < n; i++) {
		sum += v[i].bytes;
		if (sum <= limit)
			continue;
		/* Another process may have been faster. */
		if (snap_remove(store_fd, v[i].name, NULL) == 0)
			removed++;
		sum -= v[i].bytes;
	}
	sweep(store_fd);
	return n < 0 ? n : removed;
}
