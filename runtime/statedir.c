/* SPDX-License-Identifier: Apache-2.0 */
/* The directories of containers. */
#include "statedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "copytree.h"
#include "storepath.h"

#define STATE_FILE "state.json"
#define STATE_NEW  ".state.new"
#define LIST_MAX   100000

int statedir_check_id(const char *id, struct err *err)
{
	size_t n = strlen(id);

	for (const char *p = id; *p; p++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.",
			    *p))
			return err_set(err, -EINVAL,
				       "invalid container ID format: '%.80s': letters, digits and "
				       "_+-. only",
				       id);
	}
	if (n == 0 || n > STATEDIR_ID_MAX || !strcmp(id, ".") || !strcmp(id, ".."))
		return err_set(err, -EINVAL, "invalid container ID format: '%.80s'", id);
	return 0;
}

int statedir_root(const char *option, char *buf, size_t len, struct err *err)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (option)
		n = snprintf(buf, len, "%s", option);
	else if (store_is_root())
		n = snprintf(buf, len, "/run/husk");
	else if (xdg && xdg[0] == '/')
		n = snprintf(buf, len, "%s/husk", xdg);
	else
		n = snprintf(buf, len, "/tmp/husk-%u", geteuid());
	if (n < 0 || (size_t)n >= len)
		return err_set(err, -ENAMETOOLONG, "the root directory's name is too long");
	return 0;
}

/* The root directory, made when it is not there. Others may pass through, not list. */
static int make_root(const char *root, struct err *err)
{
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s", root) >= (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG, "root directory '%.80s...'", root);
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0711) < 0 && errno != EEXIST)
			return err_errno(err, errno, "mkdir '%s'", path);
		*p = '/';
	}
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		return err_errno(err, errno, "mkdir '%s'", path);
	if (lstat(path, &st) < 0)
		return err_errno(err, errno, "stat '%s'", path);
	/* /tmp is everybody's. */
	if (S_ISDIR(st.st_mode) && st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(err, -EPERM, "root directory '%s' belongs to user %u", path,
			       st.st_uid);
	return 0;
}

static int name_dir(const char *root, const char *id, struct statedir *dir, struct err *err)
{
	char real[PATH_MAX];
	int r = statedir_check_id(id, err);

	if (r < 0)
		return r;
	if (!realpath(root, real))
		snprintf(real, sizeof(real), "%s", root);
	strcpy(dir->id, id);
	if (snprintf(dir->path, sizeof(dir->path), "%s/%s", real, id) >= (int)sizeof(dir->path))
		return err_set(err, -ENAMETOOLONG, "root directory '%.80s...'", root);
	return 0;
}

static int lock_dir(const struct statedir *dir, struct err *err)
{
	struct stat st;

	while (flock(dir->fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			return err_errno(err, errno, "lock '%s'", dir->path);
	}
	if (fstat(dir->fd, &st) < 0 || st.st_nlink == 0)
		return err_set(err, -ENOENT, "container does not exist");
	return 0;
}

int statedir_create(const char *root, const char *id, struct statedir *ret, struct err *err)
{
	struct statedir dir = STATEDIR_NONE;
	int r = statedir_check_id(id, err);

	if (r == 0)
		r = make_root(root, err);
	if (r == 0)
		r = name_dir(root, id, &dir, err);
	if (r < 0)
		return r;
	if (mkdir(dir.path, 0711) < 0) {
		if (errno == EEXIST)
			return err_set(err, -EEXIST, "container with given ID already exists: '%s': delete it "
				       "first, or take another",
				       id);
		return err_errno(err, errno, "mkdir '%s'", dir.path);
	}
	/* Whatever the umask took away. */
	chmod(dir.path, 0711);
	dir.fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir.fd < 0)
		r = err_errno(err, errno, "open '%s'", dir.path);
	else
		r = lock_dir(&dir, err);
	if (r < 0) {
		statedir_close(&dir);
		return r;
	}
	*ret = dir;
	return 0;
}

int statedir_open(const char *root, const char *id, bool lock, struct statedir *ret,
		  struct err *err)
{
	struct statedir dir = STATEDIR_NONE;
	int r = name_dir(root, id, &dir, err);

	if (r < 0)
		return r;
	dir.fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir.fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return err_set(err, -ENOENT, "container does not exist: '%s'", id);
	if (dir.fd < 0)
		return err_errno(err, errno, "open '%s'", dir.path);
	r = lock ? lock_dir(&dir, err) : 0;
	if (r < 0)
		statedir_close(&dir);
	else
		*ret = dir;
	return r;
}

void statedir_close(struct statedir *dir)
{
	/* A VMM process may hold the descriptor too: closing alone would keep the lock. */
	if (dir->fd >= 0)
		flock(dir->fd, LOCK_UN);
	fd_close(dir->fd);
	dir->fd = -1;
}

int statedir_remove(struct statedir *dir, struct err *err)
{
	int r = copytree_remove(dir->path);

	return r < 0 ? err_errno(err, -r, "remove '%s'", dir->path) : 0;
}

/* ---- processes ---- */

int pid_start_time(pid_t pid, uint64_t *ret)
{
	char path[64], text[1024];
	const char *p;
	ssize_t n;
	char state;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -ESRCH;
	n = fd_read_full(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	/* The name may hold anything, so from its end on. Field 3 is the state, 22 the start. */
	p = strrchr(text, ')');
	if (!p || p[1] != ' ')
		return -ESRCH;
	state = p[2];
	if (state == 'Z' || state == 'X')
		return -ESRCH;
	p += 2;
	for (int field = 3; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -ESRCH;
	*ret = strtoull(p + 1, NULL, 10);
	return 0;
}

bool pid_alive(pid_t pid, uint64_t start)
{
	uint64_t now;

	return pid > 0 && pid_start_time(pid, &now) == 0 && now == start;
}

/* ---- the state ---- */

int statedir_load(const struct statedir *dir, struct oci_state *ret, struct err *err)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r = oci_file_read(dir->fd, STATE_FILE, &text, &len, err);

	if (r < 0)
		return r;
	r = oci_state_parse(text, len, ret, err);
	if (r < 0)
		return err_wrap(err, r, "container '%s'", dir->id);
	if (ret->status != OCI_STATUS_CREATING && ret->status != OCI_STATUS_STOPPED &&
	    !pid_alive(ret->pid, ret->pid_start))
		ret->status = OCI_STATUS_STOPPED;
	return 0;
}

int statedir_save(const struct statedir *dir, const struct oci_state *state, struct err *err)
{
	AUTO_FREE char *text = NULL;
	int r = oci_state_format(state, &text, err);

	if (r < 0)
		return r;
	int AUTO_FD fd = openat(dir->fd, STATE_NEW,
				O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_errno(err, errno, "create '%s/%s'", dir->path, STATE_NEW);
	r = fd_write_full(fd, text, strlen(text));
	if (r < 0)
		return err_errno(err, -r, "write '%s/%s'", dir->path, STATE_NEW);
	if (renameat(dir->fd, STATE_NEW, dir->fd, STATE_FILE) < 0)
		return err_errno(err, errno, "rename '%s/%s'", dir->path, STATE_NEW);
	return 0;
}

/* ---- listing ---- */

void statedir_list_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(char ***names, size_t *n, const char *name)
{
	char **grown;

	if (*n == LIST_MAX)
		return -E2BIG;
	grown = realloc(*names, (*n + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*names = grown;
	grown[*n] = strdup(name);
	if (!grown[*n])
		return -ENOMEM;
	(*n)++;
	return 0;
}

int statedir_list(const char *root, char ***ret, size_t *ret_n, struct err *err)
{
	char **names = NULL;
	size_t n = 0;
	const struct dirent *d;
	DIR *dir = opendir(root);
	int r = 0;

	*ret = NULL;
	*ret_n = 0;
	if (!dir)
		return errno == ENOENT ? 0 : err_errno(err, errno, "open '%s'", root);
	while (r == 0 && (d = readdir(dir))) {
		if (statedir_check_id(d->d_name, NULL) == 0 && d->d_name[0] != '.')
			r = add_name(&names, &n, d->d_name);
	}
	closedir(dir);
	if (r < 0) {
		statedir_list_free(names, n);
		return err_errno(err, -r, "list '%s'", root);
	}
	if (n)
		qsort(names, n, sizeof(*names), compare);
	*ret = names;
	*ret_n = n;
	return 0;
}
