/* SPDX-License-Identifier: Apache-2.0 */
/* Plans are checked by anybody; applying them needs root and a mount namespace of its own. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "rootfs/assemble.h"

static char dir[64];
static bool can_mount;

static const char *at(const char *rel)
{
	static char buf[32][160];
	static unsigned i;

	i = (i + 1) % 32;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", dir, rel);
	return buf[i];
}

static void put(const char *rel, const char *text)
{
	int fd = open(at(rel), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int setup(void **state)
{
	static const char *const dirs[] = { "root",    "root/etc", "root/data", "stage",    "src",
					    "src/sub", "upper",	   "work",	"root/hide" };

	strcpy(dir, "/tmp/husk-assemble.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		mkdir(at(dirs[i]), 0755);
	put("root/etc/hosts", "image");
	put("root/secret", "image secret");
	put("root/hide/file", "hidden");
	put("src/file", "from the host");
	put("src/sub/deep", "deep");
	put("hostfile", "host file");
	(void)!symlink("/etc", at("root/link"));
	(void)!symlink("../../../../../..", at("root/up"));
	return 0;
}

static int teardown(void **state)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

static bool reads(int tree, const char *path, const char *want)
{
	char buf[64] = "";
	int fd = openat(tree, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	return n >= 0 && strcmp(buf, want) == 0;
}

static int write_errno(int tree, const char *path)
{
	int fd = openat(tree, path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static unsigned entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static int apply(const struct rootfs_spec *spec, struct err *err)
{
	struct rootfs_plan *plan = NULL;
	int r = rootfs_plan_new(spec, &plan, err);

	if (r == 0)
		r = rootfs_plan_apply(plan, at("stage"), err);
	if (r < 0)
		print_message("not applied: %s\n", err->msg);
	rootfs_plan_free(plan);
	/* Whatever happened, nothing stays at the staging directory. */
	assert_int_equal(entries(at("stage")), 2);
	return r;
}

static void bad_plans_are_refused(void **state)
{
	struct rootfs_mount m = { .source = at("src"), .dest = "/mnt" };
	struct rootfs_spec spec = { .rootfs = at("root"), .mounts = &m, .n_mounts = 1 };
	struct rootfs_plan *plan = NULL;
	struct err err = { 0 };
	static const char *const bad_dests[] = {
		"", "relative", "/", "/.", "//", "/a/../b", "/.."
	};

	for (size_t i = 0; i < sizeof(bad_dests) / sizeof(bad_dests[0]); i++) {
		m.dest = bad_dests[i];
		assert_int_equal(rootfs_plan_new(&spec, &plan, &err), -EINVAL);
	}
	m.dest = "/mnt";
	m.source = at("missing");
	assert_int_equal(rootfs_plan_new(&spec, &plan, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "missing"));
	m.optional = true;
	assert_int_equal(rootfs_plan_new(&spec, &plan, &err), 0);
	rootfs_plan_free(plan);
	m = (struct rootfs_mount){ .source = at("src"), .dest = "/mnt", .propagation = 12345 };
	assert_int_equal(rootfs_plan_new(&spec, &plan, &err), -EINVAL);
	m.propagation = 0;
	m.attr_set = m.attr_clear = MOUNT_ATTR_RDONLY;
	assert_int_equal(rootfs_plan_new(&spec, &plan, &err), -EINVAL);
	m.attr_clear = 0;
	spec.overlay_upper = at("upper");
	assert_int_equal(rootfs_plan_new(&spec, &plan, &err), -EINVAL);
	spec.overlay_upper = NULL;
	spec.rootfs = at("hostfile");
	assert_int_equal(rootfs_plan_new(&spec, &plan, &err), -ENOTDIR);
	spec.rootfs = "root";
	assert_int_equal(rootfs_plan_new(&spec, &plan, &err), -EINVAL);
}

static void binds_directories_and_files(void **state)
{
	const struct rootfs_mount mounts[] = {
		{ .source = at("src"), .dest = "/data", .recursive = true },
		{ .source = at("hostfile"), .dest = "/link/hosts" },
		{ .source = at("src"), .dest = "/new/point/", .attr_set = MOUNT_ATTR_RDONLY },
		{ .source = at("hostfile"), .dest = "/new/file" },
		/* Links in the image cannot lead out of it. */
		{ .source = at("src"), .dest = "/up/tmp/escaped" },
	};
	struct rootfs_spec spec = { .rootfs = at("root"), .mounts = mounts, .n_mounts = 5 };
	struct err err = { 0 };
	struct stat st;
	int tree;

	if (!can_mount)
		skip();
	tree = apply(&spec, &err);
	assert_true(tree >= 0);
	assert_true(reads(tree, "data/file", "from the host"));
	assert_true(reads(tree, "etc/hosts", "host file"));
	assert_true(reads(tree, "new/point/sub/deep", "deep"));
	assert_true(reads(tree, "new/file", "host file"));
	assert_true(reads(tree, "tmp/escaped/file", "from the host"));
	assert_int_equal(stat("/tmp/escaped", &st), -1);
	assert_int_equal(write_errno(tree, "new/point/x"), EROFS);
	assert_int_equal(write_errno(tree, "data/x"), 0);
	assert_int_equal(access(at("src/x"), F_OK), 0);
	close(tree);
	/* The image itself is as before but for mount points. */
	assert_int_equal(entries(at("root/data")), 2);
}

static void a_failure_undoes_everything(void **state)
{
	const struct rootfs_mount mounts[] = {
		{ .source = at("src"), .dest = "/made/for/this" },
		{ .source = at("hostfile"), .dest = "/made2/file" },
		{ .source = at("hostfile"), .dest = "/data" }, /* a file on a directory */
	};
	struct rootfs_spec spec = { .rootfs = at("root"), .mounts = mounts, .n_mounts = 3 };
	struct err err = { 0 };

	if (!can_mount)
		skip();
	assert_int_equal(apply(&spec, &err), -ENOTDIR);
	assert_non_null(strstr(err.msg, "/data"));
	assert_int_equal(access(at("root/made"), F_OK), -1);
	assert_int_equal(access(at("root/made2"), F_OK), -1);
	assert_int_equal(access(at("root/etc"), F_OK), 0);
}

#define N_POINTS 16

/* One container of several with the same root directory, which lacks the mount points. */
static int one_of_several(unsigned round)
{
	char dests[N_POINTS][32], stage[64];
	struct rootfs_mount mounts[N_POINTS];
	struct rootfs_spec spec = { .rootfs = at("root"), .mounts = mounts, .n_mounts = N_POINTS };
	struct rootfs_plan *plan = NULL;
	int r;

	for (unsigned i = 0; i < N_POINTS; i++) {
		snprintf(dests[i], sizeof(dests[i]), "/points/%u-%u", round, i);
		mounts[i] = (struct rootfs_mount){ .source = at("src"), .dest = dests[i] };
	}
	snprintf(stage, sizeof(stage), "%s", at("stage"));
	r = unshare(CLONE_NEWNS) < 0 ? -errno : rootfs_plan_new(&spec, &plan, NULL);
	if (r == 0)
		r = rootfs_plan_apply(plan, stage, NULL);
	rootfs_plan_free(plan);
	return r;
}

static void containers_of_one_root_make_mount_points_together(void **state)
{
	if (!can_mount)
		skip();
	for (unsigned round = 0; round < 20; round++) {
		pid_t pids[2];
		int status, failed = 0;

		for (unsigned i = 0; i < 2; i++) {
			pids[i] = fork();
			assert_true(pids[i] >= 0);
			if (pids[i] == 0)
				_exit(one_of_several(round) < 0);
		}
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			failed += status != 0;
		}
		assert_int_equal(failed, 0);
	}
}

static void readonly_and_masked_paths(void **state)
{
	static const char *const masked[] = { "/secret", "/hide", "/not/there" };
	static const char *const readonly[] = { "/etc", "/nor/this" };
	struct rootfs_spec spec = { .rootfs = at("root"),
				    .masked = masked,
				    .n_masked = 3,
				    .readonly_paths = readonly,
				    .n_readonly_paths = 2 };
	struct err err = { 0 };
	struct stat st;
	int tree;

	if (!can_mount)
		skip();
	tree = apply(&spec, &err);
	assert_true(tree >= 0);
	assert_true(reads(tree, "secret", ""));
	assert_int_equal(fstatat(tree, "hide/file", &st, 0), -1);
	assert_int_equal(write_errno(tree, "hide/x"), EROFS);
	assert_int_equal(write_errno(tree, "etc/x"), EROFS);
	assert_int_equal(write_errno(tree, "data/x"), 0);
	assert_true(reads(tree, "etc/hosts", "image"));
	close(tree);
	assert_int_equal(access(at("root/hide/file"), F_OK), 0);
}

static void readonly_root_with_writable_mount(void **state)
{
	const struct rootfs_mount m = { .source = at("src"), .dest = "/fresh" };
	struct rootfs_spec spec = {
		.rootfs = at("root"), .readonly = true, .mounts = &m, .n_mounts = 1
	};
	struct err err = { 0 };
	int tree;

	if (!can_mount)
		skip();
	tree = apply(&spec, &err);
	assert_true(tree >= 0);
	assert_int_equal(write_errno(tree, "x"), EROFS);
	assert_int_equal(write_errno(tree, "fresh/y"), 0);
	close(tree);
	assert_int_equal(write_errno(AT_FDCWD, at("root/x")), 0);
}

static void recursive_readonly_reaches_submounts(void **state)
{
	struct rootfs_mount m = { .source = at("src"),
				  .dest = "/data",
				  .recursive = true,
				  .attr_set = MOUNT_ATTR_RDONLY };
	struct rootfs_spec spec = { .rootfs = at("root"), .mounts = &m, .n_mounts = 1 };
	struct err err = { 0 };
	int tree;

	if (!can_mount)
		skip();
	assert_int_equal(mount("tmpfs", at("src/sub"), "tmpfs", 0, NULL), 0);
	tree = apply(&spec, &err);
	assert_true(tree >= 0);
	assert_int_equal(write_errno(tree, "data/x"), EROFS);
	assert_int_equal(write_errno(tree, "data/sub/x"), 0);
	close(tree);
	m.attr_set = 0;
	m.rattr_set = MOUNT_ATTR_RDONLY;
	tree = apply(&spec, &err);
	assert_true(tree >= 0);
	assert_int_equal(write_errno(tree, "data/sub/y"), EROFS);
	close(tree);
	m.recursive = false;
	tree = apply(&spec, &err);
	assert_true(tree >= 0);
	assert_true(reads(tree, "data/sub/deep", "deep"));
	close(tree);
	umount2(at("src/sub"), MNT_DETACH);
}

static void overlay_keeps_the_image_untouched(void **state)
{
	const struct rootfs_mount m = { .source = at("src"), .dest = "/point" };
	struct rootfs_spec spec = { .rootfs = at("root"),
				    .overlay_upper = at("upper"),
				    .overlay_work = at("work"),
				    .mounts = &m,
				    .n_mounts = 1 };
	struct err err = { 0 };
	int tree;

	if (!can_mount)
		skip();
	/* An overlay cannot have its upper directory on every file system. */
	if (mount("tmpfs", at("upper"), "tmpfs", 0, NULL) < 0)
		skip();
	mkdir(at("upper/u"), 0755);
	mkdir(at("upper/w"), 0755);
	spec.overlay_upper = at("upper/u");
	spec.overlay_work = at("upper/w");
	tree = apply(&spec, &err);
	if (tree == -ENODEV)
		skip();
	assert_true(tree >= 0);
	assert_int_equal(write_errno(tree, "etc/new"), 0);
	assert_int_equal(unlinkat(tree, "secret", 0), 0);
	assert_true(reads(tree, "point/file", "from the host"));
	close(tree);
	assert_int_equal(access(at("root/etc/new"), F_OK), -1);
	assert_int_equal(access(at("root/secret"), F_OK), 0);
	assert_int_equal(access(at("root/point"), F_OK), -1);
	assert_int_equal(access(at("upper/u/etc/new"), F_OK), 0);
	umount2(at("upper"), MNT_DETACH);
}

static void ids_are_mapped(void **state)
{
	const struct rootfs_idmap map = { .inside = 0, .outside = 100000, .count = 65536 };
	struct rootfs_mount m = { .source = at("src"), .dest = "/data" };
	struct rootfs_spec spec = { .rootfs = at("root"), .mounts = &m, .n_mounts = 1 };
	struct err err = { 0 };
	struct stat st;
	int tree;

	if (!can_mount)
		skip();
	m.userns_fd = rootfs_idmap_open(&map, 1, &map, 1, &err);
	assert_true(m.userns_fd >= 0);
	assert_int_equal(chown(at("src/file"), 7, 8), 0);
	tree = apply(&spec, &err);
	close(m.userns_fd);
	if (tree == -EINVAL || tree == -EPERM)
		skip(); /* this file system cannot be idmapped */
	assert_true(tree >= 0);
	assert_int_equal(fstatat(tree, "data/file", &st, 0), 0);
	assert_int_equal(st.st_uid, 100007);
	assert_int_equal(st.st_gid, 100008);
	close(tree);
}

static void bad_id_mappings_are_refused(void **state)
{
	const struct rootfs_idmap good = { 0, 0, 1 }, zero = { 0, 0, 0 };
	const struct rootfs_idmap wraps = { UINT32_MAX, 0, 2 };
	struct err err = { 0 };

	assert_int_equal(rootfs_idmap_open(&good, 0, &good, 1, &err), -EINVAL);
	assert_int_equal(rootfs_idmap_open(&good, 1, &zero, 1, &err), -EINVAL);
	assert_int_equal(rootfs_idmap_open(&wraps, 1, &good, 1, &err), -EINVAL);
	assert_int_equal(rootfs_idmap_open(&good, 341, &good, 1, &err), -EINVAL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bad_plans_are_refused),
		TEST(binds_directories_and_files),
		TEST(a_failure_undoes_everything),
		TEST(containers_of_one_root_make_mount_points_together),
		TEST(readonly_and_masked_paths),
		TEST(readonly_root_with_writable_mount),
		TEST(recursive_readonly_reaches_submounts),
		TEST(overlay_keeps_the_image_untouched),
		TEST(ids_are_mapped),
		TEST(bad_id_mappings_are_refused),
	};

	can_mount = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return cmocka_run_group_tests_name("rootfs/assemble", tests, NULL, NULL);
}
