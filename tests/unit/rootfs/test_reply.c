/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "fuse/server.h"

static void cursor_reads_across_ranges(void **state)
{
	char a[] = "abc", b[] = "defg", buf[8] = "";
	struct iovec iov[3] = { { a, 3 }, { NULL, 0 }, { b, 4 } };
	struct iov_cursor c;

	iov_cursor_init(&c, iov, 3);
	assert_int_equal(c.left, 7);
	assert_int_equal(iov_cursor_read(&c, buf, 5), 5);
	assert_string_equal(buf, "abcde");
	assert_int_equal(c.left, 2);
	assert_int_equal(iov_cursor_read(&c, buf, 5), 2);
	assert_memory_equal(buf, "fg", 2);
	assert_int_equal(c.left, 0);
	assert_int_equal(iov_cursor_read(&c, buf, 1), 0);
}

static void cursor_writes_across_ranges(void **state)
{
	char a[3] = "", b[3] = "";
	struct iovec iov[2] = { { a, 2 }, { b, 2 } };
	struct iov_cursor c;

	iov_cursor_init(&c, iov, 2);
	iov_cursor_skip(&c, 1);
	assert_int_equal(iov_cursor_write(&c, "xyz!", 4), 3);
	assert_memory_equal(a + 1, "x", 1);
	assert_memory_equal(b, "yz", 3);
}

static void slice_is_bounded_by_length_and_count(void **state)
{
	char a[8], b[8], d[8];
	struct iovec iov[3] = { { a, 8 }, { b, 8 }, { d, 8 } }, out[3];
	struct iov_cursor c;
	size_t len;

	iov_cursor_init(&c, iov, 3);
	iov_cursor_skip(&c, 3);
	assert_int_equal(iov_cursor_slice(&c, 10, out, 3, &len), 2);
	assert_int_equal(len, 10);
	assert_ptr_equal(out[0].iov_base, a + 3);
	assert_int_equal(out[0].iov_len, 5);
	assert_int_equal(out[1].iov_len, 5);
	assert_int_equal(iov_cursor_slice(&c, 100, out, 2, &len), 2);
	assert_int_equal(len, 13);
	assert_int_equal(c.left, 21);
}

static void lengths_that_overflow_are_cut(void **state)
{
	char a[4];
	struct iovec iov[3] = { { a, 4 }, { a, SIZE_MAX - 2 }, { a, 4 } };
	struct iov_cursor c;

	iov_cursor_init(&c, iov, 3);
	assert_int_equal(c.n, 1);
	assert_int_equal(c.left, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cursor_reads_across_ranges),
		cmocka_unit_test(cursor_writes_across_ranges),
		cmocka_unit_test(slice_is_bounded_by_length_and_count),
		cmocka_unit_test(lengths_that_overflow_are_cut),
	};

	return cmocka_run_group_tests_name("rootfs/reply", tests, NULL, NULL);
}
