/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuse/handles.h"
#include "fuse/nodes.h"

#define MASK (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

static struct node_table t;
static char dir[64];
static int dir_fd;

static int setup(void **state)
{
	struct statx stx;
	int fd;

	strcpy(dir, "/tmp/husk-nodes.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = open(dir, O_PATH | O_CLOEXEC);
	if (node_table_init(&t, 100, 16) < 0 || statx(fd, "", AT_EMPTY_PATH, MASK, &stx) < 0)
		return -1;
	t.proc_fd = open("/proc/thread-self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	t.use_handles = true;
	return node_table_set_root(&t, fd, &stx);
}

static int teardown(void **state)
{
	close(t.proc_fd);
	node_table_done(&t);
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		unlinkat(dir_fd, name, 0);
	}
	close(dir_fd);
	return rmdir(dir);
}

/* Node of a file fI, made if need be; pinned. */
static int file_node(int i, struct node **ret)
{
	char name[16];
	struct statx stx;
	int fd, r;

	snprintf(name, sizeof(name), "f%d", i);
	fd = openat(dir_fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	fd = openat(dir_fd, name, O_PATH | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(statx(fd, "", AT_EMPTY_PATH, MASK, &stx), 0);
	r = node_intern(&t, &stx, &fd, ret);
	if (fd >= 0)
		close(fd);
	return r;
}

static void root_is_node_one_and_stays(void **state)
{
	struct node *n;

	assert_int_equal(node_pin(&t, 1, &n), 0);
	node_unpin(&t, n);
	node_forget(&t, 1, 1000);
	assert_int_equal(node_pin(&t, 1, &n), 0);
	node_unpin(&t, n);
	assert_int_equal(t.n_nodes, 1);
}

static void one_file_is_one_node(void **state)
{
	struct node *a, *b;

	assert_int_equal(file_node(1, &a), 0);
	assert_int_equal(file_node(1, &b), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(a->n_lookups, 2);
	node_unpin(&t, a);
	node_unpin(&t, b);
	assert_int_equal(t.n_nodes, 2);
	node_forget(&t, node_id(a), 1);
	assert_int_equal(t.n_nodes, 2);
	node_forget(&t, node_id(a), 1);
	assert_int_equal(t.n_nodes, 1);
	assert_int_equal(t.n_fds, 1);
}

static void old_ids_are_refused(void **state)
{
	struct node *n, *m, *x;
	uint64_t id;

	assert_int_equal(file_node(1, &n), 0);
	id = node_id(n);
	node_unpin(&t, n);
	node_forget(&t, id, 1);
	assert_int_equal(file_node(2, &m), 0);
	assert_int_equal(m->index, (uint32_t)id);
	assert_int_not_equal(node_id(m), id);
	assert_int_equal(node_pin(&t, id, &x), -ESTALE);
	assert_int_equal(node_pin(&t, 0, &x), -ESTALE);
	assert_int_equal(node_pin(&t, UINT64_MAX, &x), -ESTALE);
	assert_int_equal(node_pin(&t, 50, &x), -ESTALE);
	node_unpin(&t, m);
}

static void pinned_nodes_survive_forget(void **state)
{
	struct node *n, *x;
	uint64_t id;

	assert_int_equal(file_node(1, &n), 0);
	id = node_id(n);
	node_forget(&t, id, UINT64_MAX);
	assert_int_equal(t.n_nodes, 2);
	assert_true(fcntl(n->fd, F_GETFD) >= 0);
	node_unpin(&t, n);
	assert_int_equal(t.n_nodes, 1);
	assert_int_equal(node_pin(&t, id, &x), -ESTALE);
}

static void nodes_are_limited(void **state)
{
	struct node *n;
	int r = 0, made = 0;

	t.max_nodes = 10;
	for (int i = 0; i < 20 && r == 0; i++) {
		r = file_node(i, &n);
		if (r == 0) {
			made++;
			node_unpin(&t, n);
		}
	}
	assert_int_equal(r, -ENFILE);
	assert_int_equal(made, 9);
	node_table_clear(&t);
	assert_int_equal(t.n_nodes, 1);
	assert_int_equal(t.n_lookups, 0);
}

static void descriptors_are_parked_and_come_back(void **state)
{
	uint64_t ids[64];
	struct node *n;
	struct statx stx;

	if (!t.use_handles) {
		skip();
	}
	for (int i = 0; i < 64; i++) {
		assert_int_equal(file_node(i, &n), 0);
		ids[i] = node_id(n);
		node_unpin(&t, n);
	}
	assert_true(t.n_fds <= 16);
	assert_int_equal(t.n_nodes, 65);
	for (int i = 0; i < 64; i++) {
		struct statx want;
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(statx(dir_fd, name, 0, MASK, &want), 0);
		assert_int_equal(node_pin(&t, ids[i], &n), 0);
		assert_int_equal(statx(n->fd, "", AT_EMPTY_PATH, MASK, &stx), 0);
		assert_int_equal(stx.stx_ino, want.stx_ino);
		node_unpin(&t, n);
	}
	assert_true(t.n_fds <= 16);
	/* A new look at a parked file finds the same node. */
	assert_int_equal(file_node(3, &n), 0);
	assert_int_equal(node_id(n), ids[3]);
	node_unpin(&t, n);
}

static void parked_file_that_went_is_stale(void **state)
{
	uint64_t first = 0;
	struct node *n;

	if (!t.use_handles) {
		skip();
	}
	for (int i = 0; i < 64; i++) {
		assert_int_equal(file_node(i, &n), 0);
		if (i == 0)
			first = node_id(n);
		node_unpin(&t, n);
	}
	assert_int_equal(unlinkat(dir_fd, "f0", 0), 0);
	assert_int_equal(node_pin(&t, first, &n), -ESTALE);
}

static void without_file_handles_names_lead_back(void **state)
{
	uint64_t ids[64];
	struct node *n;

	t.use_handles = false;
	for (int i = 0; i < 64; i++) {
		assert_int_equal(file_node(i, &n), 0);
		ids[i] = node_id(n);
		node_unpin(&t, n);
	}
	assert_true(t.n_fds <= 16);
	for (int i = 0; i < 64; i++) {
		assert_int_equal(node_pin(&t, ids[i], &n), 0);
		assert_true(n->fd >= 0);
		node_unpin(&t, n);
	}
	assert_true(t.n_fds <= 16);
	assert_int_equal(file_node(3, &n), 0);
	assert_int_equal(node_id(n), ids[3]);
	node_unpin(&t, n);
}

static void names_follow_renames_and_catch_strangers(void **state)
{
	uint64_t ids[64];
	struct node *n, *root;

	t.use_handles = false;
	for (int i = 0; i < 64; i++) {
		assert_int_equal(file_node(i, &n), 0);
		ids[i] = node_id(n);
		node_unpin(&t, n);
	}
	/* The guest renames one; the host replaces another. */
	assert_int_equal(renameat(dir_fd, "f0", dir_fd, "f90"), 0);
	assert_int_equal(node_pin(&t, 1, &root), 0);
	node_moved(&t, root, "f90");
	node_unpin(&t, root);
	assert_int_equal(node_pin(&t, ids[0], &n), 0);
	node_unpin(&t, n);
	assert_int_equal(unlinkat(dir_fd, "f1", 0), 0);
	close(openat(dir_fd, "f1", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(node_pin(&t, ids[1], &n), -ESTALE);
	assert_int_equal(unlinkat(dir_fd, "f2", 0), 0);
	assert_int_equal(node_pin(&t, ids[2], &n), -ESTALE);
}

static void many_nodes_keep_their_ids(void **state)
{
	struct node *n;
	uint64_t ids[99];

	t.max_fds = 200;
	for (int i = 0; i < 99; i++) {
		assert_int_equal(file_node(i, &n), 0);
		ids[i] = node_id(n);
		node_unpin(&t, n);
	}
	for (int i = 0; i < 99; i++) {
		assert_int_equal(file_node(i, &n), 0);
		assert_int_equal(node_id(n), ids[i]);
		node_unpin(&t, n);
		node_forget(&t, ids[i], 2);
	}
	assert_int_equal(t.n_nodes, 1);
}

static void stamps_notice_a_change(void **state)
{
	struct statx a = { .stx_size = 1 }, b = { .stx_size = 1, .stx_mtime = { .tv_nsec = 1 } };
	struct node *n;

	assert_int_equal(file_node(1, &n), 0);
	assert_false(node_stamp_update(&t, n, &a));
	assert_true(node_stamp_update(&t, n, &a));
	assert_false(node_stamp_update(&t, n, &b));
	assert_true(node_stamp_update(&t, n, &b));
	node_unpin(&t, n);
}

static void handles_have_kind_node_and_generation(void **state)
{
	struct handle_table h;
	struct handle *got;
	struct node *n, *other;
	uint64_t id, id2;
	int fd = dup(dir_fd), fd2 = dup(dir_fd);

	assert_int_equal(handle_table_init(&h, 2, &t), 0);
	assert_int_equal(file_node(1, &n), 0);
	assert_int_equal(file_node(2, &other), 0);
	assert_int_equal(handle_new(&h, HANDLE_FILE, &fd, n, 0, &id), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(handle_pin(&h, id, HANDLE_DIR, n, &got), -EBADF);
	assert_int_equal(handle_pin(&h, id, HANDLE_FILE, other, &got), -EBADF);
	assert_int_equal(handle_pin(&h, id + 1, HANDLE_FILE, n, &got), -EBADF);
	assert_int_equal(handle_pin(&h, 0, HANDLE_FILE, n, &got), -EBADF);
	assert_int_equal(handle_pin(&h, UINT64_MAX, HANDLE_FILE, n, &got), -EBADF);
	assert_int_equal(handle_pin(&h, id, HANDLE_FILE, n, &got), 0);
	/* Released while in use: gone for the guest, alive for us. */
	assert_int_equal(handle_release(&h, id, HANDLE_FILE), 0);
	assert_int_equal(handle_release(&h, id, HANDLE_FILE), -EBADF);
	assert_true(fcntl(got->fd, F_GETFD) >= 0);
	handle_unpin(&h, got);
	assert_int_equal(h.n_handles, 0);
	assert_int_equal(handle_new(&h, HANDLE_FILE, &fd2, n, 0, &id2), 0);
	assert_int_not_equal(id, id2);
	assert_int_equal(handle_pin(&h, id, HANDLE_FILE, n, &got), -EBADF);
	node_unpin(&t, n);
	node_unpin(&t, other);
	handle_table_clear(&h);
	assert_int_equal(h.n_handles, 0);
	handle_table_done(&h);
}

static void handles_are_limited(void **state)
{
	struct handle_table h;
	struct node *n;
	uint64_t id;
	int fd;

	assert_int_equal(handle_table_init(&h, 3, &t), 0);
	assert_int_equal(file_node(1, &n), 0);
	for (int i = 0; i < 4; i++) {
		fd = dup(dir_fd);
		assert_int_equal(handle_new(&h, HANDLE_FILE, &fd, n, 0, &id), i < 3 ? 0 : -ENFILE);
	}
	assert_true(fd >= 0);
	close(fd);
	node_unpin(&t, n);
	handle_table_done(&h);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(root_is_node_one_and_stays),
		TEST(one_file_is_one_node),
		TEST(old_ids_are_refused),
		TEST(pinned_nodes_survive_forget),
		TEST(nodes_are_limited),
		TEST(descriptors_are_parked_and_come_back),
		TEST(parked_file_that_went_is_stale),
		TEST(without_file_handles_names_lead_back),
		TEST(names_follow_renames_and_catch_strangers),
		TEST(many_nodes_keep_their_ids),
		TEST(stamps_notice_a_change),
		TEST(handles_have_kind_node_and_generation),
		TEST(handles_are_limited),
	};

	return cmocka_run_group_tests_name("rootfs/nodes", tests, NULL, NULL);
}
