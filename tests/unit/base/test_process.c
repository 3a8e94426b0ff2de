/* SPDX-License-Identifier: Apache-2.0 */
/* Running host programs. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "base/process.h"

static void gives_output_and_cuts_it(void **state)
{
	const char *argv[] = { "sh", "-c", "pwd; echo 0123456789", NULL };
	char out[8];

	(void)state;
	assert_int_equal(process_run(argv, "/", out, sizeof(out), NULL), 0);
	assert_string_equal(out, "/\n01234");
}

static void tells_failure_from_absence(void **state)
{
	const char *fails[] = { "sh", "-c", "exit 3", NULL };
	const char *absent[] = { "husk-no-such-program", NULL };
	const char *killed[] = { "sh", "-c", "kill -9 $$", NULL };
	struct err err = { 0 };
	char out[8];

	(void)state;
	assert_int_equal(process_run(fails, NULL, out, sizeof(out), &err), -ECHILD);
	assert_non_null(strstr(err.msg, "status 3"));
	assert_int_equal(process_run(absent, NULL, out, sizeof(out), &err), -ENOENT);
	assert_int_equal(process_run(killed, NULL, out, sizeof(out), &err), -ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_output_and_cuts_it),
		cmocka_unit_test(tells_failure_from_absence),
	};

	return cmocka_run_group_tests_name("base/process", tests, NULL, NULL);
}
