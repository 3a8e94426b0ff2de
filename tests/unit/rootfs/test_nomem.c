/* SPDX-License-Identifier: Apache-2.0 */
/* rootfs: what is made, served, saved and assembled when each allocation fails in turn. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "fuse/wire.h"
#include "fuse_client.h"
#include "nomem.h"
#include "rootfs/assemble.h"

#define N_FILES 70 /* more than the tables hold at first */

static bool can_mount;

static int lowest_free_fd(void)
{
	int fd = open("/", O_PATH | O_CLOEXEC);

	close(fd);
	return fd;
}

/* ---- server, pool, workers ---- */

static int make_and_start(int root)
{
	struct fuse_options opt = { .no_file_handles = true, .n_workers = 4 };
	struct fuse_server *srv = NULL;
	struct err err = { 0 };
	int r = fuse_server_new(root, &opt, &srv, &err);

	if (r == 0)
		r = fuse_server_start(srv, &err);
	nomem_never();
	assert_true(r == 0 || err.msg[0]);
	fuse_server_free(srv);
	return r;
}

static void a_server_that_cannot_be_made_leaves_nothing(void **state)
{
	int root = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = lowest_free_fd();

	for (int all = 0; all < 2; all++) {
		int n = 0, r;

		do {
			nomem_after(n++, all);
			r = make_and_start(root);
			assert_true(r == 0 || r == -ENOMEM);
			assert_int_equal(lowest_free_fd(), fd);
		} while (r < 0);
		/* The server, three tables, two buffers a worker: all have failed. */
		assert_true(n > 1 + 3 + 2 * 4);
	}
	close(root);
}

static void a_pool_without_threads_leaves_nothing(void **state)
{
	int root = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = lowest_free_fd();
	int n = 0, r;

	do {
		nomem_threads_after(n++);
		r = make_and_start(root);
		assert_true(r == 0 || r == -EAGAIN);
		assert_int_equal(lowest_free_fd(), fd);
	} while (r < 0);
	assert_int_equal(n, 4 + 1);
	close(root);
}

/* ---- tables, by what the guest asks ---- */

struct session {
	struct fuse_client c;
	uint64_t nodes[N_FILES + 1], fhs[N_FILES + 1];
	unsigned n_failed;
};

static void session_open(struct session *s)
{
	struct fuse_options opt = { .n_workers = 1 };

	memset(s, 0, sizeof(*s));
	assert_int_equal(fc_open(&s->c, &opt), 0);
	assert_int_equal(fc_init(&s->c), 0);
}

static void expect_done_or_nomem(struct session *s, int r)
{
	assert_true(r == 0 || r == -ENOMEM);
	s->n_failed += r < 0;
}

/* All that allocates here is the server's worker: the client, on this thread, is spared. */
static void session_use(struct session *s)
{
	struct fuse_read_in rd = { .size = 4096 };
	struct fuse_getxattr_in list = { .size = 4096 };
	char name[16];
	int r;

	nomem_spare_me(true);
	for (unsigned i = 0; i < N_FILES; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		r = fc_create(&s->c, 1, name, O_RDWR, 0600, &s->nodes[i], &s->fhs[i]);
		expect_done_or_nomem(s, r);
	}
	r = fc_open_node(&s->c, 1, O_RDONLY | O_DIRECTORY, &s->fhs[N_FILES]);
	expect_done_or_nomem(s, r);
	rd.fh = s->fhs[N_FILES];
	if (r == 0)
		expect_done_or_nomem(s, fc_call(&s->c, FUSE_READDIR, 1, &rd, sizeof(rd), NULL, 0));
	r = fc_call(&s->c, FUSE_LISTXATTR, 1, &list, sizeof(list), NULL, 0);
	expect_done_or_nomem(s, r);
	nomem_spare_me(false);
}

static void session_end(struct session *s)
{
	struct fuse_stats st;

	for (unsigned i = 0; i < N_FILES; i++) {
		if (!s->nodes[i])
			continue;
		assert_int_equal(fc_release(&s->c, s->nodes[i], s->fhs[i], false), 0);
		fc_forget(&s->c, s->nodes[i], 1);
	}
	if (s->fhs[N_FILES])
		assert_int_equal(fc_release(&s->c, 1, s->fhs[N_FILES], true), 0);
	fuse_server_stats(s->c.srv, &st);
	assert_int_equal(st.n_handles, 0);
	assert_int_equal(st.n_nodes, 1);
	assert_int_equal(st.n_lookups, 0);
	fc_close(&s->c);
}

static void a_table_that_cannot_grow_fails_one_request(void **state)
{
	struct session *s = malloc(sizeof(*s));
	unsigned n_failed = 0;

	assert_non_null(s);
	/* The later ones are like those before, table growth among them. */
	for (int n = 0; n < 300; n += n < 20 ? 1 : 3) {
		session_open(s);
		nomem_after(n, false);
		session_use(s);
		nomem_never();
		assert_true(s->n_failed <= 1);
		n_failed += s->n_failed;
		session_end(s);
	}
	assert_true(n_failed > 20);
	free(s);
}

static void without_memory_all_fail_and_nothing_is_lost(void **state)
{
	struct session *s = malloc(sizeof(*s));

	assert_non_null(s);
	for (int n = 0; n < 2 * N_FILES; n += 9) {
		session_open(s);
		nomem_after(n, true);
		session_use(s);
		nomem_never();
		assert_true(s->n_failed > 0);
		session_end(s);
	}
	free(s);
}

/* ---- saving and restoring ---- */

static int save(struct session *s, void **ret, size_t *ret_len)
{
	struct err err = { 0 };
	uint32_t lost;

	return fuse_server_save(s->c.srv, NULL, ret, ret_len, &lost, &err);
}

static int restore(struct session *s, const void *buf, size_t len)
{
	struct fuse_restore_result res = { 0 };
	struct err err = { 0 };

	const struct fuse_saved saved = { .tables = buf, .tables_len = len };

	return fuse_server_restore(s->c.srv, &saved, &res, &err);
}

static void saving_and_restoring_fail_whole(void **state)
{
	struct fuse_options opt = { .n_workers = 1 };
	struct session *s = malloc(sizeof(*s));
	struct fuse_stats st;
	void *buf = NULL;
	size_t len;
	int n = 0, r;

	assert_non_null(s);
	session_open(s);
	session_use(s);
	fuse_server_quiesce(s->c.srv);
	do {
		nomem_after(n++, true);
		r = save(s, &buf, &len);
		nomem_never();
		assert_true(r == 0 || r == -ENOMEM);
	} while (r < 0);
	assert_true(n > 1);
	n = 0;
	do {
		assert_int_equal(fc_restart(&s->c, &opt), 0);
		fuse_server_quiesce(s->c.srv);
		nomem_after(n, true);
		n += n < 20 ? 1 : 5;
		r = restore(s, buf, len);
		nomem_never();
		assert_true(r == 0 || r == -ENOMEM);
		fuse_server_stats(s->c.srv, &st);
		assert_int_equal(st.n_nodes, r == 0 ? N_FILES + 1 : 1);
		assert_int_equal(st.n_handles, r == 0 ? N_FILES + 1 : 0);
		if (r < 0)
			assert_int_equal(restore(s, buf, len), 0);
	} while (r < 0);
	assert_true(n > N_FILES);
	fuse_server_resume(s->c.srv);
	session_end(s);
	free(buf);
	free(s);
}

/* ---- assembly ---- */

static char dir[] = "/tmp/husk-nomem.XXXXXX";

static const char *at(const char *rel)
{
	static char buf[8][160];
	static unsigned i;

	i = (i + 1) % ARRAY_LEN(buf);
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", dir, rel);
	return buf[i];
}

static void remove_point(void)
{
	rmdir(at("root/made/for/this"));
	rmdir(at("root/made/for"));
	rmdir(at("root/made"));
}

static int assemble(bool overlay)
{
	const struct rootfs_mount mounts[] = {
		{ .source = at("src"), .dest = "/made/for/this" },
		{ .source = at("missing"), .dest = "/made", .optional = true },
	};
	static const char *const masked[] = { "/secret", "/hide" };
	static const char *const readonly[] = { "/etc" };
	const struct rootfs_spec spec = { .rootfs = at("root"),
					  .mounts = mounts,
					  .n_mounts = 2,
					  .masked = masked,
					  .n_masked = 2,
					  .readonly_paths = readonly,
					  .n_readonly_paths = 1,
					  .overlay_upper = overlay ? at("upper") : NULL,
					  .overlay_work = overlay ? at("work") : NULL };
	struct rootfs_plan *plan = NULL;
	struct err err = { 0 };
	int r = rootfs_plan_new(&spec, &plan, &err), tree = -1;

	/* An overlay is only planned: not every file system can hold one. */
	if (r == 0 && can_mount && !overlay)
		r = tree = rootfs_plan_apply(plan, at("stage"), &err);
	nomem_never();
	assert_true(r >= 0 || err.msg[0]);
	rootfs_plan_free(plan);
	if (tree >= 0)
		close(tree);
	return r < 0 ? r : 0;
}

static void a_root_that_cannot_be_assembled_leaves_nothing(void **state)
{
	static const char *const dirs[] = { "root",  "root/etc", "root/hide", "src",
					    "stage", "upper",	 "work" };
	struct stat st;
	int fd;

	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		assert_int_equal(mkdir(at(dirs[i]), 0755), 0);
	fd = lowest_free_fd();
	for (int mode = 0; mode < 4; mode++) {
		int n = 0, r;

		do {
			nomem_after(n++, mode & 1);
			r = assemble(mode & 2);
			assert_true(r == 0 || r == -ENOMEM);
			assert_int_equal(lowest_free_fd(), fd);
			/* A mount point stays only when all is well. */
			assert_true(r == 0 || stat(at("root/made"), &st) < 0);
		} while (r < 0);
		assert_true(n > (can_mount && !(mode & 2) ? 14 : 11));
		remove_point();
	}
	for (size_t i = ARRAY_LEN(dirs); i-- > 0;)
		assert_int_equal(rmdir(at(dirs[i])), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_that_cannot_be_made_leaves_nothing),
		cmocka_unit_test(a_pool_without_threads_leaves_nothing),
		cmocka_unit_test(a_table_that_cannot_grow_fails_one_request),
		cmocka_unit_test(without_memory_all_fail_and_nothing_is_lost),
		cmocka_unit_test(saving_and_restoring_fail_whole),
		cmocka_unit_test(a_root_that_cannot_be_assembled_leaves_nothing),
	};

	can_mount = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return cmocka_run_group_tests_name("rootfs/nomem", tests, NULL, NULL);
}
