/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the control socket. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "control.h"

static int pair[2];

static int setup(void **state)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int teardown(void **state)
{
	fd_close(pair[0]);
	fd_close(pair[1]);
	return 0;
}

static void carries_text_and_descriptors(void **state)
{
	char text[] = "some text";
	struct control_msg got = { 0 };
	const struct control_msg m = { .op = CONTROL_EXEC,
				       .arg0 = -5,
				       .arg1 = 6,
				       .text = text,
				       .len = strlen(text),
				       .fds = { 0, 1 },
				       .n_fds = 2 };

	assert_int_equal(control_send(pair[0], &m), 0);
	assert_int_equal(control_receive(pair[1], &got), 1);
	assert_int_equal(got.op, CONTROL_EXEC);
	assert_int_equal(got.arg0, -5);
	assert_int_equal(got.arg1, 6);
	assert_string_equal(got.text, text);
	assert_int_equal(got.n_fds, 2);
	assert_true(got.fds[0] > 2 && got.fds[1] > 2);
	control_msg_done(&got);
}

static void tells_the_end(void **state)
{
	struct control_msg got = { 0 };

	fd_close(pair[0]);
	pair[0] = -1;
	assert_int_equal(control_receive(pair[1], &got), 0);
	assert_int_equal(control_send(pair[1], &(struct control_msg){ .op = CONTROL_START }),
			 -EPIPE);
}

static void refuses_what_is_no_message(void **state)
{
	uint32_t bad[][5] = { { 2, CONTROL_START, 0, 0, 0 },
			      { CONTROL_VERSION, 0, 0, 0, 0 },
			      { CONTROL_VERSION, CONTROL_MAX_, 0, 0, 0 },
			      { CONTROL_VERSION, CONTROL_START, 0, 0, 9 } };
	struct control_msg got = { 0 };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(write(pair[0], bad[i], sizeof(bad[i])), sizeof(bad[i]));
		assert_int_equal(control_receive(pair[1], &got), -EPROTO);
	}
	assert_int_equal(write(pair[0], bad[0], 7), 7);
	assert_int_equal(control_receive(pair[1], &got), -EPROTO);
}

static void refuses_text_over_the_limit(void **state)
{
	const struct control_msg m = { .op = CONTROL_EXEC,
				       .text = (char *)(uintptr_t) "",
				       .len = CONTROL_TEXT_MAX + 1 };

	assert_int_equal(control_send(pair[0], &m), -E2BIG);
}

/* Whoever has ended between two steps of a request does not run. */
static void the_end_is_no_broken_socket(void **state)
{
	const struct control_msg m = { .op = CONTROL_STATS };
	struct control_msg reply = { 0 };
	struct err err = { 0 };

	close(pair[1]);
	pair[1] = -1;
	assert_int_equal(control_exchange(pair[0], "c", &m, &reply, &err), -ESRCH);
	assert_string_equal(err.msg, "container not running: 'c' ended");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(carries_text_and_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_is_no_message, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_text_over_the_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_is_no_broken_socket, setup, teardown),
	};

	return cmocka_run_group_tests_name("runtime/control", tests, NULL, NULL);
}
