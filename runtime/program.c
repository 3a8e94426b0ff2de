/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a container's program is there, told before its machine is started. */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *path_of(const struct oci_process *p)
{
	for (size_t i = 0; i < p->env.n; i++) {
		if (!strncmp(p->env.v[i], "PATH=", 5))
			return p->env.v[i] + 5;
	}
	return DEFAULT_PATH;
}

struct lookup {
	const struct oci_config *config;
	int root;
	char root_path[PATH_MAX];
};

static int open_in_root(const struct lookup *l, const char *path)
{
	return fd_open_under(l->root, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

static int name_of(int fd, char *buf, size_t len)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, len - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

/* @path without the symbolic links of the root directory; as it is when it leads nowhere. */
static void resolve(const struct lookup *l, const char *path, char *buf, size_t len)
{
	size_t n = strlen(l->root_path);
	int AUTO_FD fd = open_in_root(l, path);
	char name[PATH_MAX];

	if (fd >= 0 && name_of(fd, name, sizeof(name)) == 0 && !strncmp(name, l->root_path, n) &&
	    name[n] == '/')
		snprintf(buf, len, "%s", name + n);
	else
		snprintf(buf, len, "%s", path);
}

/* Whether something is mounted over @path: then what lies there is not what the guest sees. */
static bool is_covered(const struct lookup *l, const char *path)
{
	char real[PATH_MAX], dest[PATH_MAX];

	resolve(l, path, real, sizeof(real));
	for (size_t i = 0; i < l->config->mounts.n; i++) {
		size_t n;

		resolve(l, l->config->mounts.v[i].destination, dest, sizeof(dest));
		n = strlen(dest);
		if (!strncmp(real, dest, n) && (real[n] == '/' || !real[n]))
			return true;
	}
	return false;
}

/* Return: 0 a program, or not to be told; -EACCES a file that is none; -ENOENT. */
static int look(const struct lookup *l, const char *dir, const char *name)
{
	char path[PATH_MAX], parent[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return -ENOENT;
	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(path, '/') - path), path);
	int AUTO_FD fd = open_in_root(l, path);
	int r = fd < 0 ? fd : 0;

	/* A mount may bring a directory that is not there yet, and the program in it. */
	if (is_covered(l, path) || is_covered(l, parent))
		return 0;
	if (r == -ENOTDIR || r == -ENOENT)
		return -ENOENT;
	if (r < 0 || fstat(fd, &st) < 0)
		return 0;
	return S_ISREG(st.st_mode) && (st.st_mode & 0111) ? 0 : -EACCES;
}

static int search(const struct lookup *l, const char *dirs, const char *name)
{
	int result = -ENOENT;

	while (*dirs) {
		size_t n = strcspn(dirs, ":");
		char dir[PATH_MAX];
		int r;

		if (snprintf(dir, sizeof(dir), "%.*s", (int)n, dirs) < (int)sizeof(dir)) {
			r = look(l, dir, name);
			if (r == 0)
				return 0;
			if (r == -EACCES)
				result = r;
		}
		dirs += n + (dirs[n] == ':');
	}
	return result;
}

int program_check(const struct oci_config *config, const char *rootfs, struct err *err)
{
	const struct oci_process *p = config->process;
	const char *name = p->args.v[0];
	int AUTO_FD root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct lookup l = { .config = config, .root = root };
	int r;

	if (root < 0 || name_of(root, l.root_path, sizeof(l.root_path)) < 0)
		return 0;
	if (!strchr(name, '/')) {
		r = search(&l, path_of(p), name);
		if (r == -ENOENT)
			return err_set(err, r,
				       "exec: \"%.200s\": executable file not found in $PATH",
				       name);
	} else {
		r = look(&l, name[0] == '/' ? "" : p->cwd, name + strspn(name, "/"));
	}
	if (r == -ENOENT)
		return err_set(err, r, "exec: \"%.200s\": no such file or directory", name);
	if (r == -EACCES)
		return err_set(err, r, "exec: \"%.200s\": permission denied", name);
	return 0;
}
