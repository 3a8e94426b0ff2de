/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes between descriptors: all of them, in order, with back-pressure. */
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "pump.h"

#define BYTES (300 * 1024)

struct fixture {
	struct loop *loop;
	struct pump pump;
	struct loop_timer end;
	int in, out; /* the ends that the test holds */
	size_t got;
	bool right;
	unsigned n_progress;
	uint64_t seen; /* bytes moved, as of the last report */
};

static void on_deadline(void *opaque)
{
	loop_stop(((struct fixture *)opaque)->loop);
}

static void on_progress(void *opaque)
{
	struct fixture *f = opaque;

	f->n_progress++;
	f->seen = f->pump.moved;
	if (!f->pump.active)
		loop_stop(f->loop);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || loop_new(&f->loop, NULL) < 0 ||
	    loop_timer_init(f->loop, &f->end, on_deadline, f) < 0)
		return -1;
	loop_timer_set(&f->end, clock_monotonic_ns() + 60 * NSEC_PER_SEC);
	f->in = f->out = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pump_stop(&f->pump);
	loop_timer_done(&f->end);
	loop_free(f->loop);
	fd_close(f->in);
	fd_close(f->out);
	free(f);
	return 0;
}

static void start(struct fixture *f, bool shut)
{
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	if (shut)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), 0);
	else
		assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	f->in = in[1];
	f->out = out[0];
	assert_int_equal(pump_start(&f->pump, f->loop, in[0], out[1], shut, on_progress, f), 0);
}

static void *write_all(void *opaque)
{
	struct fixture *f = opaque;
	unsigned char c[1000];

	for (size_t i = 0; i < BYTES; i += sizeof(c)) {
		for (size_t k = 0; k < sizeof(c); k++)
			c[k] = (unsigned char)((i + k) * 7 >> 3);
		if (fd_write_full(f->in, c, sizeof(c)) < 0)
			break;
	}
	fd_close(fd_steal(&f->in));
	return NULL;
}

static void *read_all(void *opaque)
{
	struct fixture *f = opaque;
	unsigned char c[777];
	ssize_t n;

	f->right = true;
	while ((n = read(f->out, c, sizeof(c))) > 0) {
		for (ssize_t k = 0; k < n; k++, f->got++)
			f->right = f->right && c[k] == (unsigned char)(f->got * 7 >> 3);
	}
	return NULL;
}

static void moves_all_bytes_in_order(void **state)
{
	struct fixture *f = *state;
	pthread_t writer, reader;

	start(f, false);
	pthread_create(&writer, NULL, write_all, f);
	pthread_create(&reader, NULL, read_all, f);
	loop_run(f->loop);
	assert_false(f->pump.active);
	pump_stop(&f->pump);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	assert_true(f->right);
	assert_int_equal(f->got, (BYTES + 999) / 1000 * 1000);
	/* Every write was told of, and the end. */
	assert_int_equal(f->seen, f->got);
	assert_true(f->n_progress > BYTES / PUMP_BUFFER);
}

static void passes_the_end_on_and_keeps_the_other_direction(void **state)
{
	struct fixture *f = *state;
	char c;

	start(f, true);
	fd_close(fd_steal(&f->in));
	loop_run(f->loop);
	assert_int_equal(read(f->out, &c, 1), 0);
}

static void ends_when_nobody_takes_the_bytes(void **state)
{
	struct fixture *f = *state;

	signal(SIGPIPE, SIG_IGN);
	start(f, false);
	fd_close(fd_steal(&f->out));
	assert_int_equal(write(f->in, "x", 1), 1);
	loop_run(f->loop);
	assert_false(f->pump.active);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(moves_all_bytes_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(passes_the_end_on_and_keeps_the_other_direction,
						setup, teardown),
		cmocka_unit_test_setup_teardown(ends_when_nobody_takes_the_bytes, setup, teardown),
	};

	return cmocka_run_group_tests_name("runtime/pump", tests, NULL, NULL);
}
