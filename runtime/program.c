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
#include <sys/syscall.h>
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

/* Return: 0 a program; -EACCES a file that is none; -ENOENT. */
static int look(int root, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int AUTO_FD fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOTDIR || errno == ENOENT ? -ENOENT : 0;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return -EACCES;
	return 0;
}

static int search(int root, const char *dirs, const char *name)
{
	int result = -ENOENT;

	while (*dirs) {
		size_t n = strcspn(dirs, ":");
		char path[PATH_MAX];
		int r;

		if (snprintf(path, sizeof(path), "%.*s/%s", (int)n, dirs, name) <
		    (int)sizeof(path)) {
			r = look(root, path);
			if (r == 0)
				return 0;
			if (r == -EACCES)
				result = r;
		}
		dirs += n + (dirs[n] == ':');
	}
	return result;
}

/* A mount over a directory of programs: what is below is not what the guest sees. */
static bool may_be_mounted(const struct oci_config *config)
{
	static const char *const own[] = { "/proc", "/sys", "/dev", "/etc/", "/run/", "/tmp" };

	for (size_t i = 0; i < config->mounts.n; i++) {
		const char *d = config->mounts.v[i].destination;
		bool harmless = false;

		for (unsigned k = 0; k < sizeof(own) / sizeof(own[0]); k++)
			harmless = harmless || !strncmp(d, own[k], strlen(own[k]));
		if (!harmless)
			return true;
	}
	return false;
}

int program_check(const struct oci_config *config, const char *rootfs, struct err *err)
{
	const struct oci_process *p = config->process;
	const char *name = p->args.v[0];
	int AUTO_FD root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[PATH_MAX];
	int r;

	if (root < 0 || may_be_mounted(config))
		return 0;
	if (!strchr(name, '/')) {
		r = search(root, path_of(p), name);
		if (r == -ENOENT)
			return err_set(err, r,
				       "exec: \"%.200s\": executable file not found in $PATH",
				       name);
	} else {
		snprintf(path, sizeof(path), "%s%s%s", name[0] == '/' ? "" : p->cwd,
			 name[0] == '/' ? "" : "/", name);
		r = look(root, path);
	}
	if (r == -ENOENT)
		return err_set(err, r, "exec: \"%.200s\": no such file or directory", name);
	if (r == -EACCES)
		return err_set(err, r, "exec: \"%.200s\": permission denied", name);
	return 0;
}
