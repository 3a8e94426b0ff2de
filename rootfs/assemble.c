/* SPDX-License-Identifier: Apache-2.0 */
/* Root assembly: plan, apply, undo. */
#include "rootfs/assemble.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/checked.h"
#include "base/fd.h"

#define RESOLVE_TREE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

struct plan_mount {
	struct rootfs_mount m; /* strings are ours */
	char *dest, *source;
	int fd; /* O_PATH of the source; -1: skipped */
	bool is_dir;
};

/* A mount point that did not exist before. */
struct made {
	int parent_fd;
	char name[NAME_MAX + 1];
	bool is_dir;
};

struct rootfs_plan {
	int root_fd, upper_fd, work_fd;
	bool readonly, overlay_userxattr;
	uint64_t propagation;
	int userns_fd;
	struct plan_mount *mounts;
	size_t n_mounts;
	char **masked, **readonly_paths;
	size_t n_masked, n_readonly_paths;
	struct made *made;
	size_t n_made;
};

/* ---- plan ---- */

/* Absolute, and without components that mean something else than a name. */
static int path_check(const char *path, const char *what, struct err *err)
{
	if (!path || path[0] != '/')
		return err_set(err, -EINVAL, "%s '%s' is not an absolute path", what,
			       path ? path : "");
	if (strlen(path) >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "%s '%.64s...'", what, path);
	for (const char *p = path; *p;) {
		size_t n = strcspn(++p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return err_set(err, -EINVAL, "%s '%s' contains '..'", what, path);
		if (n > NAME_MAX)
			return err_set(err, -ENAMETOOLONG, "%s '%.64s...'", what, path);
		p += n;
	}
	return 0;
}

static int dir_open(const char *path, const char *what, int *ret, struct err *err)
{
	int fd;
	int r = path_check(path, what, err);

	if (r < 0)
		return r;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "%s '%s'", what, path);
	*ret = fd;
	return 0;
}

static int mount_check(const struct rootfs_mount *m, struct err *err)
{
	int r = path_check(m->dest, "mount destination", err);

	if (r < 0)
		return r;
	if (strspn(m->dest, "/.") == strlen(m->dest))
		return err_set(err, -EINVAL, "mount destination '%s' is the root", m->dest);
	if (m->propagation && m->propagation != MS_PRIVATE && m->propagation != MS_SLAVE &&
	    m->propagation != MS_SHARED)
		return err_set(err, -EINVAL, "mount '%s': propagation %#llx", m->dest,
			       (unsigned long long)m->propagation);
	if (m->attr_set & m->attr_clear || m->rattr_set & m->rattr_clear)
		return err_set(err, -EINVAL, "mount '%s': an option is both set and cleared",
			       m->dest);
	return 0;
}

static int mount_plan(const struct rootfs_mount *m, struct plan_mount *ret, struct err *err)
{
	struct stat st;
	int r = mount_check(m, err);

	if (r < 0)
		return r;
	ret->m = *m;
	ret->fd = -1;
	ret->dest = strdup(m->dest);
	ret->source = strdup(m->source ? m->source : "");
	if (!ret->dest || !ret->source)
		return err_set(err, -ENOMEM, "mount '%s'", m->dest);
	ret->fd = open(ret->source, O_PATH | O_CLOEXEC);
	if (ret->fd < 0 && errno == ENOENT && m->optional)
		return 0;
	if (ret->fd < 0 || fstat(ret->fd, &st) < 0)
		return err_errno(err, errno, "source '%s' of mount '%s'", ret->source, m->dest);
	ret->is_dir = S_ISDIR(st.st_mode);
	return 0;
}

static int paths_copy(const char *const *paths, size_t n, const char *what, char ***ret,
		      size_t *ret_n, struct err *err)
{
	int r = 0;

	if (n > ROOTFS_MAX_MOUNTS)
		return err_set(err, -E2BIG, "%zu %ss", n, what);
	*ret = calloc(n + 1, sizeof(**ret));
	if (!*ret)
		return err_set(err, -ENOMEM, "%s", what);
	for (size_t i = 0; i < n && r == 0; i++) {
		r = path_check(paths[i], what, err);
		if (r < 0)
			break;
		(*ret)[i] = strdup(paths[i]);
		if (!(*ret)[i])
			r = err_set(err, -ENOMEM, "%s", what);
		*ret_n = i + 1;
	}
	return r;
}

static int overlay_plan(const struct rootfs_spec *spec, struct rootfs_plan *p, struct err *err)
{
	int r;

	if (!spec->overlay_upper != !spec->overlay_work)
		return err_set(err, -EINVAL, "an overlay needs an upper and a work directory");
	if (!spec->overlay_upper)
		return 0;
	r = dir_open(spec->overlay_upper, "overlay upper directory", &p->upper_fd, err);
	if (r == 0)
		r = dir_open(spec->overlay_work, "overlay work directory", &p->work_fd, err);
	return r;
}

int rootfs_plan_new(const struct rootfs_spec *spec, struct rootfs_plan **ret, struct err *err)
{
	CLEANUP(rootfs_plan_freep) struct rootfs_plan *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_set(err, -ENOMEM, "root plan");
	p->root_fd = p->upper_fd = p->work_fd = -1;
	p->readonly = spec->readonly;
	p->propagation = spec->propagation ? spec->propagation : MS_PRIVATE;
	p->userns_fd = spec->userns_fd;
	p->overlay_userxattr = spec->overlay_userxattr;
	if (spec->n_mounts > ROOTFS_MAX_MOUNTS)
		return err_set(err, -E2BIG, "%zu mounts, at most %d", spec->n_mounts,
			       ROOTFS_MAX_MOUNTS);
	r = dir_open(spec->rootfs, "root directory", &p->root_fd, err);
	if (r == 0)
		r = overlay_plan(spec, p, err);
	if (r < 0)
		return r;
	p->mounts = calloc(spec->n_mounts + 1, sizeof(*p->mounts));
	if (!p->mounts)
		return err_set(err, -ENOMEM, "root plan");
	for (size_t i = 0; i < spec->n_mounts && r == 0; i++) {
		p->mounts[i].fd = -1;
		p->n_mounts = i + 1;
		r = mount_plan(&spec->mounts[i], &p->mounts[i], err);
	}
	if (r == 0)
		r = paths_copy(spec->masked, spec->n_masked, "masked path", &p->masked,
			       &p->n_masked, err);
	if (r == 0)
		r = paths_copy(spec->readonly_paths, spec->n_readonly_paths, "read-only path",
			       &p->readonly_paths, &p->n_readonly_paths, err);
	if (r == 0)
		*ret = STEAL_PTR(p);
	return r;
}

static void made_forget(struct rootfs_plan *p)
{
	for (size_t i = 0; i < p->n_made; i++)
		fd_close(p->made[i].parent_fd);
	free(p->made);
	p->made = NULL;
	p->n_made = 0;
}

void rootfs_plan_free(struct rootfs_plan *p)
{
	if (!p)
		return;
	fd_close(p->root_fd);
	fd_close(p->upper_fd);
	fd_close(p->work_fd);
	for (size_t i = 0; i < p->n_mounts; i++) {
		fd_close(p->mounts[i].fd);
		free(p->mounts[i].dest);
		free(p->mounts[i].source);
	}
	for (size_t i = 0; i < p->n_masked; i++)
		free(p->masked[i]);
	for (size_t i = 0; i < p->n_readonly_paths; i++)
		free(p->readonly_paths[i]);
	free(p->mounts);
	free(p->masked);
	free(p->readonly_paths);
	made_forget(p);
	free(p);
}

/* ---- apply ---- */

static int tree_clone(int fd, bool recursive)
{
	unsigned flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;

	return (int)syscall(SYS_open_tree, fd, "", recursive ? flags | AT_RECURSIVE : flags);
}

static int attr_apply(int fd, bool recursive, struct mount_attr attr)
{
	unsigned flags = AT_EMPTY_PATH | (recursive ? (unsigned)AT_RECURSIVE : 0);

	if (!attr.attr_set && !attr.attr_clr && !attr.propagation)
		return 0;
	return syscall(SYS_mount_setattr, fd, "", flags, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/* Changing how access times are kept means clearing all its bits first. */
static struct mount_attr attr_make(uint64_t set, uint64_t clear)
{
	if (set & MOUNT_ATTR__ATIME || clear & MOUNT_ATTR__ATIME)
		clear |= MOUNT_ATTR__ATIME;
	return (struct mount_attr){ .attr_set = set, .attr_clr = clear };
}

static int idmap_apply(int fd, bool recursive, int userns_fd)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns_fd };

	return userns_fd > 0 ? attr_apply(fd, recursive, attr) : 0;
}

static int path_open(int tree_fd, const char *path, uint64_t flags)
{
	return fd_open_under(tree_fd, path, flags, 0, RESOLVE_TREE);
}

static int made_note(struct rootfs_plan *p, int parent_fd, const char *name, bool is_dir)
{
	struct made *made = realloc(p->made, (p->n_made + 1) * sizeof(*made));

	if (!made)
		return -ENOMEM;
	p->made = made;
	made += p->n_made;
	made->parent_fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 3);
	if (made->parent_fd < 0)
		return -errno;
	made->is_dir = is_dir;
	snprintf(made->name, sizeof(made->name), "%s", name);
	p->n_made++;
	return 0;
}

/* One missing component. Return: its O_PATH descriptor; negative errno. */
static int component_make(struct rootfs_plan *p, int parent, const char *name, bool is_dir)
{
	int r;

	if (is_dir)
		r = mkdirat(parent, name, 0755);
	else
		r = mknodat(parent, name, S_IFREG | 0644, 0);
	/* Another container of the same root directory may have made it since it was looked for. */
	if (r < 0 && errno != EEXIST)
		return -errno;
	r = r < 0 ? 0 : made_note(p, parent, name, is_dir);
	if (r < 0) {
		unlinkat(parent, name, is_dir ? AT_REMOVEDIR : 0);
		return r;
	}
	return fd_open_under(parent, name, O_PATH | O_NOFOLLOW, 0,
			     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

/*
 * Open a destination, making what is missing. Each prefix is looked up from the tree's root, so
 * that links in the image mean what they mean to the container.
 */
static int dest_open(struct rootfs_plan *p, int tree_fd, const char *dest, bool is_dir)
{
	AUTO_FD int parent = -1;
	char prefix[PATH_MAX], *slash;
	const char *name;
	int fd = path_open(tree_fd, dest, O_PATH);

	if (fd != -ENOENT)
		return fd;
	snprintf(prefix, sizeof(prefix), "%s", dest);
	for (size_t n = strlen(prefix); n > 1 && prefix[n - 1] == '/';)
		prefix[--n] = 0;
	slash = strrchr(prefix, '/');
	if (!slash)
		return -EINVAL;
	*slash = 0;
	name = slash + 1;
	/* Recursion is bounded by the path's length; one level a component. */
	parent = slash == prefix ? path_open(tree_fd, "/", O_PATH | O_DIRECTORY)
				 : dest_open(p, tree_fd, prefix, true);
	if (parent < 0)
		return parent;
	return component_make(p, parent, name, is_dir);
}

static int mount_attach(int tree, int dest)
{
	return syscall(SYS_move_mount, tree, "", dest, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
		       ? -errno
		       : 0;
}

/* Options, mapping and propagation of a detached mount. */
static int mount_dress(int tree, const struct rootfs_mount *m)
{
	struct mount_attr prop = { .propagation = m->propagation ? m->propagation : MS_PRIVATE };
	int r = idmap_apply(tree, m->ridmap, m->userns_fd);

	/* Nothing leaks by default; what was asked for follows. */
	if (r == 0)
		r = attr_apply(tree, true, (struct mount_attr){ .propagation = MS_PRIVATE });
	if (r == 0 && prop.propagation != MS_PRIVATE)
		r = attr_apply(tree, m->rpropagation, prop);
	if (r == 0)
		r = attr_apply(tree, false, attr_make(m->attr_set, m->attr_clear));
	if (r == 0)
		r = attr_apply(tree, true, attr_make(m->rattr_set, m->rattr_clear));
	return r;
}

static int mount_apply(struct rootfs_plan *p, int root, const struct plan_mount *pm,
		       struct err *err)
{
	AUTO_FD int tree = -1;
	AUTO_FD int dest = -1;
	struct stat st;
	int r;

	if (pm->fd < 0)
		return 0;
	tree = tree_clone(pm->fd, pm->m.recursive);
	if (tree < 0)
		return err_errno(err, errno, "clone '%s' for mount '%s'", pm->source, pm->dest);
	/* A slave must be one before the source's peers are left: order inside. */
	r = mount_dress(tree, &pm->m);
	if (r < 0)
		return err_errno(err, -r, "options of mount '%s'", pm->dest);
	dest = dest_open(p, root, pm->dest, pm->is_dir);
	if (dest < 0 || fstat(dest, &st) < 0)
		return err_errno(err, dest < 0 ? -dest : errno, "mount point '%s'", pm->dest);
	if (S_ISDIR(st.st_mode) != pm->is_dir)
		return err_set(err, -ENOTDIR,
			       "mount '%s': '%s' is %s directory, its mount point %s", pm->dest,
			       pm->source, pm->is_dir ? "a" : "no",
			       pm->is_dir ? "is none" : "is one");
	r = mount_attach(tree, dest);
	return r < 0 ? err_errno(err, -r, "mount '%s' on '%s'", pm->source, pm->dest) : 0;
}

static int fs_make(const char *type, const char *const (*options)[2], size_t n, uint64_t attr)
{
	AUTO_FD int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		if (!options[i][0])
			continue;
		if (syscall(SYS_fsconfig, fs,
			    options[i][1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, options[i][0],
			    options[i][1], 0) < 0)
			return -errno;
	}
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attr);
	return fd < 0 ? -errno : fd;
}

static int overlay_make(const struct rootfs_plan *p)
{
	/* Named through descriptors: no escaping, and the directories that were checked. */
	char lower[32], upper[32], work[32];
	const char *const options[][2] = {
		{ "lowerdir", lower },
		{ "upperdir", upper },
		{ "workdir", work },
		{ p->overlay_userxattr ? "userxattr" : NULL, NULL },
	};

	snprintf(lower, sizeof(lower), "/proc/self/fd/%d", p->root_fd);
	snprintf(upper, sizeof(upper), "/proc/self/fd/%d", p->upper_fd);
	snprintf(work, sizeof(work), "/proc/self/fd/%d", p->work_fd);
	return fs_make("overlay", options, ARRAY_LEN(options), 0);
}

static int mask_apply(int root, const char *path, struct err *err)
{
	static const char *const tmpfs[][2] = { { "size", "4096" }, { "mode", "0555" } };
	AUTO_FD int dest = path_open(root, path, O_PATH);
	AUTO_FD int null = -1;
	AUTO_FD int tree = -1;
	struct stat st;
	int r;

	if (dest == -ENOENT || dest == -ENOTDIR)
		return 0;
	if (dest < 0 || fstat(dest, &st) < 0)
		return err_errno(err, dest < 0 ? -dest : errno, "masked path '%s'", path);
	if (S_ISDIR(st.st_mode)) {
		r = tree = fs_make("tmpfs", tmpfs, ARRAY_LEN(tmpfs), MOUNT_ATTR_RDONLY);
	} else {
		null = open("/dev/null", O_PATH | O_CLOEXEC);
		tree = null < 0 ? -1 : tree_clone(null, false);
		r = tree < 0 ? -errno : tree;
	}
	if (r >= 0)
		r = mount_attach(tree, dest);
	return r < 0 ? err_errno(err, -r, "mask path '%s'", path) : 0;
}

static int readonly_apply(int root, const char *path, struct err *err)
{
	AUTO_FD int dest = path_open(root, path, O_PATH);
	AUTO_FD int tree = -1;
	int r;

	if (dest == -ENOENT || dest == -ENOTDIR)
		return 0;
	if (dest < 0)
		return err_errno(err, -dest, "read-only path '%s'", path);
	tree = tree_clone(dest, true);
	r = tree < 0 ? -errno : attr_apply(tree, true, attr_make(MOUNT_ATTR_RDONLY, 0));
	if (r == 0)
		r = mount_attach(tree, dest);
	return r < 0 ? err_errno(err, -r, "make path '%s' read-only", path) : 0;
}

/* The root itself, attached at the staging directory. Return: its descriptor. */
static int root_attach(struct rootfs_plan *p, int stage_fd, struct err *err)
{
	bool overlay = p->upper_fd >= 0;
	AUTO_FD int tree = overlay ? overlay_make(p) : tree_clone(p->root_fd, true);
	int r = tree < 0 ? (overlay ? tree : -errno) : 0;

	if (r < 0)
		return err_errno(err, -r,
				 overlay ? "mount the overlay" : "clone the root directory");
	r = idmap_apply(tree, true, p->userns_fd);
	if (r < 0)
		return err_errno(err, -r, "map the ids of the root directory");
	r = attr_apply(tree, true, (struct mount_attr){ .propagation = p->propagation });
	if (r == 0)
		r = mount_attach(tree, stage_fd);
	return r < 0 ? err_errno(err, -r, "attach the root directory") : fd_steal(&tree);
}

static int tree_build(struct rootfs_plan *p, int root, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < p->n_mounts && r == 0; i++)
		r = mount_apply(p, root, &p->mounts[i], err);
	for (size_t i = 0; i < p->n_masked && r == 0; i++)
		r = mask_apply(root, p->masked[i], err);
	for (size_t i = 0; i < p->n_readonly_paths && r == 0; i++)
		r = readonly_apply(root, p->readonly_paths[i], err);
	/* Last: mount points had to be made. What is mounted inside keeps its own options. */
	if (r == 0 && p->readonly) {
		r = attr_apply(root, false, attr_make(MOUNT_ATTR_RDONLY, 0));
		if (r < 0)
			err_errno(err, -r, "make the root read-only");
	}
	return r;
}

static void made_undo(struct rootfs_plan *p)
{
	for (size_t i = p->n_made; i-- > 0;)
		unlinkat(p->made[i].parent_fd, p->made[i].name,
			 p->made[i].is_dir ? AT_REMOVEDIR : 0);
}

int rootfs_plan_apply(struct rootfs_plan *plan, const char *stage, struct err *err)
{
	AUTO_FD int stage_fd = open(stage, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int root = -1;
	int r, tree = -1;

	if (stage_fd < 0)
		return err_errno(err, errno, "staging directory '%s'", stage);
	root = root_attach(plan, stage_fd, err);
	if (root < 0)
		return root;
	r = tree_build(plan, root, err);
	if (r == 0) {
		tree = tree_clone(root, true);
		if (tree < 0)
			r = err_errno(err, errno, "take the tree off");
	}
	umount2(stage, MNT_DETACH);
	if (r < 0)
		made_undo(plan);
	made_forget(plan);
	return r < 0 ? r : tree;
}
