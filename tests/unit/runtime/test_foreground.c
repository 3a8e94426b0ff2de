/* SPDX-License-Identifier: Apache-2.0 */
/* Who stays with a process passes on what its terminal was told before. */
#include "test.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "foreground.h"

static unsigned n_resized;

static int ended(void *opaque, int *ret)
{
	(void)opaque;
	*ret = 7;
	return 1;
}

static void resized(void *opaque, unsigned rows, unsigned cols)
{
	(void)opaque;
	(void)rows;
	(void)cols;
	n_resized++;
}

/* A terminal that is another's, as conmon's: a change between its making and the first signal is not lost. */
static void the_size_is_asked_for_at_first(void **state)
{
	struct foreground_ops ops = { .ended = ended, .resize = resized };
	struct err err = { 0 };

	(void)state;
	ops.done_fd = eventfd(1, EFD_CLOEXEC);
	assert_true(ops.done_fd >= 0);
	assert_int_equal(foreground_begin(&err), 0);
	assert_int_equal(foreground_wait(0, -1, &ops, &err), 7);
	assert_int_equal(n_resized, 1);
	ops.resize = NULL;
	assert_int_equal(foreground_wait(0, -1, &ops, &err), 7);
	assert_int_equal(n_resized, 1);
	close(ops.done_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_size_is_asked_for_at_first) };

	return cmocka_run_group_tests_name("runtime/foreground", tests, NULL, NULL);
}
