/* SPDX-License-Identifier: Apache-2.0 */
/* rootfs: constructors when each of their allocations fails in turn (linked with --wrap). */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "rootfs/fuse.h"

#define FAR 100000

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static _Atomic int left = FAR; /* allocations until the one that fails */

static bool fails(void)
{
	return atomic_fetch_sub(&left, 1) == 0;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

static int lowest_free_fd(void)
{
	int fd = open("/", O_PATH | O_CLOEXEC);

	close(fd);
	return fd;
}

static int make_and_start(int root)
{
	struct fuse_options opt = { .no_file_handles = true };
	struct fuse_server *srv = NULL;
	struct err err = { 0 };
	int r = fuse_server_new(root, &opt, &srv, &err);

	if (r == 0)
		r = fuse_server_start(srv, &err);
	fuse_server_free(srv);
	return r;
}

static void a_server_that_cannot_be_made_leaves_nothing(void **state)
{
	int root = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = lowest_free_fd();
	int n = 0, r;

	do {
		left = n++;
		r = make_and_start(root);
		left = FAR;
		assert_true(r == 0 || r == -ENOMEM);
		assert_int_equal(lowest_free_fd(), fd);
	} while (r < 0);
	/* Tables, worker buffers: some have failed. */
	assert_true(n > 4);
	close(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_that_cannot_be_made_leaves_nothing),
	};

	return cmocka_run_group_tests_name("rootfs/nomem", tests, NULL, NULL);
}
