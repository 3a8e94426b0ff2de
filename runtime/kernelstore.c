/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel store. */
#include "kernelstore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/process.h"
#include "copytree.h"
#include "storepath.h"
#include "vmm/kernel.h"

#define STAGE_PREFIX ".new-"
#define OUTPUT_MAX   65536
#define DEBIAN_META  "linux-image-cloud-amd64"
#define LIST_MAX     1000

static int join(char *buf, size_t len, struct err *err, const char *dir, const char *name)
{
	int n = snprintf(buf, len, "%s/%s", dir, name);

	if (n < 0 || (size_t)n >= len)
		return err_set(err, -ENAMETOOLONG, "the path '%s/%s' is too long", dir, name);
	return 0;
}

int kernelstore_path(char *buf, size_t len, struct err *err)
{
	return store_path("HUSK_KERNEL_STORE", "kernels", buf, len, err);
}

static int make_dirs(char *path, struct err *err)
{
	for (char *p = path + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST) {
			int saved = errno;

			return err_errno(err, saved, "create kernel store '%s'", path);
		}
		*p = c;
		if (c == '\0')
			return 0;
	}
}

/* ---- writing ---- */

struct stage {
	char store[PATH_MAX];
	char dir[PATH_MAX]; /* the hidden directory; empty once published */
	int lock_fd;
};

static void stage_done(struct stage *s)
{
	if (s->dir[0])
		(void)copytree_remove(s->dir);
	fd_close(s->lock_fd);
}

/* What a killed writer left; the lock says that nobody else is writing. */
static void sweep(const char *store)
{
	DIR *d = opendir(store);
	struct dirent *e;
	char path[PATH_MAX];

	if (!d)
		return;
	while ((e = readdir(d))) {
		if (!strncmp(e->d_name, STAGE_PREFIX, strlen(STAGE_PREFIX)) &&
		    join(path, sizeof(path), NULL, store, e->d_name) == 0)
			(void)copytree_remove(path);
	}
	closedir(d);
}

static int stage_open(struct stage *s, struct err *err)
{
	char lock[PATH_MAX];
	int r = kernelstore_path(s->store, sizeof(s->store), err);

	if (r == 0)
		r = make_dirs(s->store, err);
	if (r == 0)
		r = join(lock, sizeof(lock), err, s->store, ".lock");
	if (r < 0)
		return r;
	s->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (s->lock_fd < 0 || flock(s->lock_fd, LOCK_EX) < 0)
		return err_errno(err, errno, "lock kernel store '%s'", s->store);
	sweep(s->store);
	r = join(s->dir, sizeof(s->dir), err, s->store, STAGE_PREFIX "XXXXXX");
	if (r == 0 && !mkdtemp(s->dir)) {
		r = err_errno(err, errno, "write to kernel store '%s'", s->store);
		s->dir[0] = '\0';
	}
	return r;
}

/* Rename into place; an old one of that name is swapped out, then removed with the stage. */
static int stage_publish(struct stage *s, const char *name, struct err *err)
{
	char final[PATH_MAX];
	int r = join(final, sizeof(final), err, s->store, name);

	if (r < 0)
		return r;
	if (chmod(s->dir, 0755) < 0)
		return err_errno(err, errno, "publish kernel '%s'", name);
	if (renameat2(AT_FDCWD, s->dir, AT_FDCWD, final, RENAME_NOREPLACE) == 0) {
		s->dir[0] = '\0';
		return 0;
	}
	if (errno != EEXIST || renameat2(AT_FDCWD, s->dir, AT_FDCWD, final, RENAME_EXCHANGE) < 0)
		return err_errno(err, errno, "publish kernel '%s'", name);
	return 0;
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len < KERNELSTORE_NAME_MAX && name[0] != '.' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			    "0123456789._+~-") == len;
}

/* Take the version for the name, else the file's own. */
static int choose_name(const char *path, const struct kernel_info *info, char *ret, struct err *err)
{
	const char *base = strrchr(path, '/');
	const char *name = info->version[0] ? info->version : base ? base + 1 : path;

	if (!name_ok(name))
		return err_set(err, -EINVAL, "'%s' gives no usable name for a kernel", path);
	snprintf(ret, KERNELSTORE_NAME_MAX, "%s", name);
	return 0;
}

static int write_unpacked(const struct vm_file *file, const char *to, struct err *err)
{
	int AUTO_FD fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return err_errno(err, errno, "create '%s'", to);
	r = kernel_unpack(file, fd, err);
	if (r == 0 && fsync(fd) < 0)
		r = err_errno(err, errno, "write '%s'", to);
	return r;
}

static int stage_kernel(struct stage *s, const char *kernel, char *ret_name, struct err *err)
{
	int AUTO_FD fd = open(kernel, O_RDONLY | O_CLOEXEC);
	struct vm_file file = { .fd = fd, .name = kernel };
	struct kernel_info info;
	char vmlinux[PATH_MAX], vmlinuz[PATH_MAX];
	int r;

	if (fd < 0)
		return err_errno(err, errno, "open kernel '%s'", kernel);
	r = kernel_inspect(&file, &info, err);
	if (r == 0)
		r = choose_name(kernel, &info, ret_name, err);
	if (r == 0)
		r = join(vmlinux, sizeof(vmlinux), err, s->dir, "vmlinux");
	if (r == 0)
		r = join(vmlinuz, sizeof(vmlinuz), err, s->dir, "vmlinuz");
	if (r < 0)
		return r;
	if (!info.is_bzimage)
		return copytree_file(fd, kernel, AT_FDCWD, vmlinux, 0644, err);
	r = write_unpacked(&file, vmlinux, err);
	return r < 0 ? r : copytree_file(fd, kernel, AT_FDCWD, vmlinuz, 0644, err);
}

static int stage_modules(struct stage *s, const char *modules, struct err *err)
{
	char to[PATH_MAX];
	int r;

	if (!modules)
		return 0;
	r = join(to, sizeof(to), err, s->dir, "modules");
	return r < 0 ? r : copytree_copy(modules, to, err);
}

static int stage_add(struct stage *s, const char *kernel, const char *modules, char *ret_name,
		     struct err *err)
{
	int r = stage_kernel(s, kernel, ret_name, err);

	if (r == 0)
		r = stage_modules(s, modules, err);
	return r < 0 ? r : stage_publish(s, ret_name, err);
}

int kernelstore_add(const char *kernel, const char *modules, char *ret_name, struct err *err)
{
	CLEANUP(stage_done) struct stage s = { .lock_fd = -1 };
	int r = stage_open(&s, err);

	return r < 0 ? r : stage_add(&s, kernel, modules, ret_name, err);
}

int kernelstore_add_host(char *ret_name, struct err *err)
{
	char kernel[PATH_MAX], modules[PATH_MAX];
	struct utsname uts;

	if (uname(&uts) < 0)
		return err_errno(err, errno, "uname");
	snprintf(kernel, sizeof(kernel), "/boot/vmlinuz-%s", uts.release);
	snprintf(modules, sizeof(modules), "/lib/modules/%s", uts.release);
	if (access(kernel, R_OK) < 0)
		return err_errno(err, errno, "this host's kernel '%s'", kernel);
	return kernelstore_add(kernel, access(modules, R_OK) == 0 ? modules : NULL, ret_name, err);
}

/* ---- Debian ---- */

/* Which package Debian's metapackage stands for: the first "Depends: linux-image-...". */
static int debian_package(char *ret, size_t len, struct err *err)
{
	const char *argv[] = { "apt-cache", "depends", DEBIAN_META, NULL };
	AUTO_FREE char *out = malloc(OUTPUT_MAX);
	const char *at;
	size_t n;
	int r;

	if (!out)
		return err_set(err, -ENOMEM, "no memory");
	r = process_run(argv, NULL, out, OUTPUT_MAX, err);
	at = r == 0 ? strstr(out, "Depends: linux-image-") : NULL;
	if (r == -ENOENT)
		return r;
	if (!at)
		return err_set(err, -ENOENT,
			       "apt does not know the package '%s': run 'apt-get update' as root",
			       DEBIAN_META);
	at += strlen("Depends: ");
	n = strcspn(at, " \n");
	if (n >= len)
		return err_set(err, -ENAMETOOLONG, "package name too long");
	memcpy(ret, at, n);
	ret[n] = '\0';
	return 0;
}

static int debian_find_package(char *ret, size_t len, struct err *err)
{
	const char *update[] = { "apt-get", "update", "-q", NULL };
	int r = debian_package(ret, len, err);

	if (r == 0 || geteuid() != 0 || access("/usr/bin/apt-get", X_OK) < 0)
		return r;
	/* A fresh machine has no package lists yet. */
	r = process_run(update, NULL, NULL, 0, err);
	return r < 0 ? r : debian_package(ret, len, err);
}

/* The one file in @dir whose name ends with @suffix. */
static int find_one(const char *dir, const char *prefix, const char *suffix, char *ret, size_t len,
		    struct err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int r = err_set(err, -ENOENT, "no %s*%s in '%s'", prefix, suffix, dir);

	while (d && (e = readdir(d))) {
		size_t n = strlen(e->d_name), s = strlen(suffix);

		if (strncmp(e->d_name, prefix, strlen(prefix)) || n < s ||
		    strcmp(e->d_name + n - s, suffix))
			continue;
		r = join(ret, len, err, dir, e->d_name);
		break;
	}
	if (d)
		closedir(d);
	return r;
}

static int debian_unpack(const char *work, const char *package, struct err *err)
{
	char deb[PATH_MAX];
	/* Root gains nothing from apt's own user here, which may not write to the store. */
	const char *download[] = { "apt-get", "-o", "APT::Sandbox::User=root", "download", "-q",
				   package,   NULL };
	const char *extract[] = { "dpkg-deb", "-x", deb, "root", NULL };
	int r = process_run(download, work, NULL, 0, err);

	if (r < 0)
		return err_wrap(err, r, "fetch package '%s'", package);
	r = find_one(work, "linux-image-", ".deb", deb, sizeof(deb), err);
	if (r == 0)
		r = process_run(extract, work, NULL, 0, err);
	return r < 0 ? err_wrap(err, r, "unpack package '%s'", package) : 0;
}

int kernelstore_add_debian(char *ret_name, struct err *err)
{
	CLEANUP(stage_done) struct stage work = { .lock_fd = -1 };
	struct stage s = { .lock_fd = -1 };
	char package[256], dir[PATH_MAX], kernel[PATH_MAX], modules[PATH_MAX];
	int r = debian_find_package(package, sizeof(package), err);

	if (r == 0)
		r = stage_open(&work, err);
	if (r == 0)
		r = debian_unpack(work.dir, package, err);
	if (r == 0)
		r = join(dir, sizeof(dir), err, work.dir, "root/boot");
	if (r == 0)
		r = find_one(dir, "vmlinuz-", "", kernel, sizeof(kernel), err);
	if (r == 0)
		r = join(dir, sizeof(dir), err, work.dir, "root/lib/modules");
	if (r == 0)
		r = find_one(dir, "", "-amd64", modules, sizeof(modules), err);
	if (r < 0)
		return r;
	/* A second stage under the same lock: the first holds what was unpacked. */
	snprintf(s.store, sizeof(s.store), "%s", work.store);
	r = join(s.dir, sizeof(s.dir), err, s.store, STAGE_PREFIX "XXXXXX");
	if (r == 0 && !mkdtemp(s.dir)) {
		r = err_errno(err, errno, "write to kernel store '%s'", s.store);
		s.dir[0] = '\0';
	}
	if (r == 0)
		r = stage_add(&s, kernel, modules, ret_name, err);
	stage_done(&s);
	return r;
}

/* ---- reading ---- */

static int by_version(const void *a, const void *b)
{
	const struct kernelstore_entry *x = a, *y = b;

	return strverscmp(y->name, x->name);
}

static int entry_fill(const char *store, const char *name, struct kernelstore_entry *ret)
{
	char path[PATH_MAX];

	if (!name_ok(name) || join(path, sizeof(path), NULL, store, name) < 0)
		return -EINVAL;
	/* As long as name_ok() allows. */
	snprintf(ret->name, sizeof(ret->name), "%.*s", KERNELSTORE_NAME_MAX - 1, name);
	strncat(path, "/vmlinux", sizeof(path) - strlen(path) - 1);
	if (access(path, R_OK) < 0)
		return -ENOENT;
	path[strlen(path) - strlen("vmlinux")] = '\0';
	strncat(path, "modules", sizeof(path) - strlen(path) - 1);
	ret->has_modules = access(path, R_OK) == 0;
	return 0;
}

int kernelstore_list(struct kernelstore_entry **ret, struct err *err)
{
	AUTO_FREE struct kernelstore_entry *list = NULL;
	char store[PATH_MAX];
	struct dirent *e;
	int n = 0, r = kernelstore_path(store, sizeof(store), err);
	DIR *d;

	if (r < 0)
		return r;
	list = calloc(LIST_MAX, sizeof(*list));
	if (!list)
		return err_set(err, -ENOMEM, "no memory to list kernels");
	d = opendir(store);
	if (!d && errno != ENOENT)
		return err_errno(err, errno, "read kernel store '%s'", store);
	while (d && n < LIST_MAX && (e = readdir(d))) {
		if (entry_fill(store, e->d_name, &list[n]) == 0)
			n++;
	}
	if (d)
		closedir(d);
	qsort(list, (size_t)n, sizeof(*list), by_version);
	*ret = STEAL_PTR(list);
	return n;
}

int kernelstore_open(const char *name, char *ret_path, size_t path_len, struct err *err)
{
	AUTO_FREE struct kernelstore_entry *list = NULL;
	char store[PATH_MAX];
	int n, fd, r = kernelstore_path(store, sizeof(store), err);

	if (r < 0)
		return r;
	n = kernelstore_list(&list, err);
	if (n < 0)
		return n;
	if (n == 0 && !name)
		return err_set(err, -ENOENT,
			       "no kernel in the store '%s': add one with "
			       "'husk kernel add --debian', or name a file with --kernel",
			       store);
	if (!name)
		name = list[0].name;
	if (!name_ok(name))
		return err_set(err, -ENOENT, "there is no kernel '%s'", name);
	r = snprintf(ret_path, path_len, "%s/%s/vmlinux", store, name);
	if (r < 0 || (size_t)r >= path_len)
		return err_set(err, -ENAMETOOLONG, "the path of kernel '%s' is too long", name);
	fd = open(ret_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, -ENOENT,
			       "there is no kernel '%s': neither a file nor in the store '%s'",
			       name, store);
	return fd < 0 ? err_errno(err, errno, "open kernel '%s'", ret_path) : fd;
}
