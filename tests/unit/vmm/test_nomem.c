/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-fs: made, and used, when each allocation fails in turn. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "nomem.h"
#include "virtio_driver.h"

static int lowest_free_fd(void)
{
	int fd = open("/", O_PATH | O_CLOEXEC);

	close(fd);
	return fd;
}

static bool answer_at_once(void *opaque, struct fs_request *req)
{
	struct fs_request **ret = opaque;

	*ret = req;
	return true;
}

static void wake(void *opaque)
{
	struct fs_request **req = opaque;

	(*req)->done(*req, 0);
}

static void nothing(void *opaque)
{
}

static void a_device_that_cannot_be_made_leaves_nothing(void **state)
{
	struct fs_request *req = NULL;
	const struct fs_backend backend = {
		.opaque = &req, .submit = answer_at_once, .wake = wake, .reset = nothing
	};
	const struct vm_fs config = { .tag = "root", .backend = &backend, .n_queues = 2 };
	struct driver d;
	struct virtio_env env;
	int fd, n = 0, r;

	assert_int_equal(driver_init(&d), 0);
	env = driver_env(&d);
	fd = lowest_free_fd();
	do {
		struct err err = { 0 };

		nomem_after(n++, false);
		r = virtio_fs_new(&env, &config, 0, &d.dev, &err);
		nomem_never();
		assert_true(r == 0 || (r == -ENOMEM && !d.dev && err.msg[0]));
		if (r < 0)
			assert_int_equal(lowest_free_fd(), fd);
	} while (r < 0);
	assert_true(n > 2); /* the device, its slots */
	/* From here on it needs no more: no request fails for want of memory. */
	nomem_after(0, true);
	driver_bring_up(&d, 0, 3);
	for (unsigned i = 0; i < DRIVER_SIZE; i++) {
		driver_desc(&d, 1, i, DRIVER_DATA, 40, false, false);
		driver_offer(&d, 1, i);
		driver_wr(&d, DRIVER_QUEUE_NOTIFY, 1);
		assert_int_equal(driver_used(&d, 1), i + 1);
	}
	nomem_never();
	driver_done(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_that_cannot_be_made_leaves_nothing),
	};

	return cmocka_run_group_tests_name("virtio/nomem", tests, NULL, NULL);
}
