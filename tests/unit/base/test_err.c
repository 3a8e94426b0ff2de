/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void errno_text_is_appended(void **state)
{
	struct err err = { 0 };

	assert_int_equal(err_errno(&err, ENOENT, "open '%s'", "/x"), -ENOENT);
	assert_string_equal(err.msg, "open '/x': No such file or directory");
	assert_int_equal(err.code, -ENOENT);
}

static void wrap_puts_context_in_front(void **state)
{
	struct err err = { 0 };

	err_set(&err, -EINVAL, "bad magic");
	assert_int_equal(err_wrap(&err, -EBADMSG, "kernel '%s'", "k"), -EBADMSG);
	assert_string_equal(err.msg, "kernel 'k': bad magic");
	assert_int_equal(err.code, -EBADMSG);
}

static void advice_stands_behind(void **state)
{
	struct err err = { 0 };

	err_errno(&err, ENOSPC, "write 'x'");
	assert_int_equal(err_advise(&err, -ENOSPC, "make %s", "room"), -ENOSPC);
	assert_string_equal(err.msg, "write 'x': No space left on device: make room");
	assert_int_equal(err.code, -ENOSPC);
	assert_int_equal(err_advise(NULL, -EPERM, "x"), -EPERM);
}

static void long_messages_are_cut_and_terminated(void **state)
{
	struct err err = { 0 };
	char big[2 * ERR_MSG_MAX];

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_errno(&err, EIO, "%s", big);
	assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
	err_advise(&err, -EIO, "%s", big);
	assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
	err_wrap(&err, -EIO, "%s", big);
	assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
}

static void null_error_returns_the_code(void **state)
{
	assert_int_equal(err_set(NULL, -EPERM, "x"), -EPERM);
	assert_int_equal(err_errno(NULL, EPERM, "x"), -EPERM);
	assert_int_equal(err_wrap(NULL, -EPERM, "x"), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errno_text_is_appended),
		cmocka_unit_test(wrap_puts_context_in_front),
		cmocka_unit_test(advice_stands_behind),
		cmocka_unit_test(long_messages_are_cut_and_terminated),
		cmocka_unit_test(null_error_returns_the_code),
	};

	return cmocka_run_group_tests_name("base/err", tests, NULL, NULL);
}
