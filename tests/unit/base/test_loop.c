/* SPDX-License-Identifier: Apache-2.0 */
/* Event loop: descriptors, unpollable files, timers, events from other threads, pausing. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

struct fixture {
	struct loop *loop;
	pthread_t thread;
	struct loop_event event;
	struct loop_timer timer;
	struct loop_watch a, b;
	unsigned n_event, n_timer, n_a, n_b;
	uint64_t fired_at;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || loop_new(&f->loop, NULL) < 0)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	free(f);
	return 0;
}

static void *run_thread(void *opaque)
{
	loop_run(opaque);
	return NULL;
}

static void count_event(void *opaque)
{
	struct fixture *f = opaque;

	__atomic_fetch_add(&f->n_event, 1, __ATOMIC_SEQ_CST);
}

static void stop_on_event(void *opaque)
{
	struct fixture *f = opaque;

	f->n_event++;
	loop_stop(f->loop);
}

static void stop_on_timer(void *opaque)
{
	struct fixture *f = opaque;

	f->n_timer++;
	f->fired_at = clock_monotonic_ns();
	loop_stop(f->loop);
}

static void timer_fires_at_its_deadline_and_not_before(void **state)
{
	struct fixture *f = *state;
	uint64_t deadline = clock_monotonic_ns() + 5 * NSEC_PER_MSEC;

	assert_int_equal(loop_timer_init(f->loop, &f->timer, stop_on_timer, f), 0);
	loop_timer_set(&f->timer, deadline);
	loop_run(f->loop);
	assert_int_equal(f->n_timer, 1);
	assert_true(f->fired_at >= deadline);
	loop_timer_done(&f->timer);
}

static void read_end(void *opaque, uint32_t events)
{
	struct fixture *f = opaque;
	char c;
	ssize_t n = read(f->a.fd, &c, 1);

	f->n_a++;
	if (n <= 0) {
		loop_watch_remove(&f->a);
		loop_stop(f->loop);
	}
}

static void serves_files_that_epoll_refuses(void **state)
{
	struct fixture *f = *state;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(loop_watch_add(f->loop, &f->a, fd, EPOLLIN, read_end, f), 0);
	loop_run(f->loop);
	assert_int_equal(f->n_a, 1);
	close(fd);
}

static void remove_other(void *opaque, uint32_t events)
{
	struct fixture *f = opaque;

	f->n_a++;
	loop_watch_remove(&f->a);
	loop_watch_remove(&f->b);
	loop_stop(f->loop);
}

static void removed_watch_in_the_same_batch_is_not_called(void **state)
{
	struct fixture *f = *state;
	int p[2], q[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(pipe2(q, O_CLOEXEC), 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	assert_int_equal(write(q[1], "x", 1), 1);
	assert_int_equal(loop_watch_add(f->loop, &f->a, p[0], EPOLLIN, remove_other, f), 0);
	assert_int_equal(loop_watch_add(f->loop, &f->b, q[0], EPOLLIN, remove_other, f), 0);
	loop_run(f->loop);
	assert_int_equal(f->n_a, 1);
	for (int i = 0; i < 2; i++) {
		close(p[i]);
		close(q[i]);
	}
}

static void events_before_and_during_the_run_are_not_lost(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_event_init(f->loop, &f->event, stop_on_event, f), 0);
	loop_event_set(&f->event);
	loop_event_set(&f->event);
	loop_run(f->loop);
	assert_int_equal(f->n_event, 1);
	loop_event_done(&f->event);
}

static void no_callback_runs_while_paused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_event_init(f->loop, &f->event, count_event, f), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, run_thread, f->loop), 0);
	loop_event_set(&f->event);
	while (__atomic_load_n(&f->n_event, __ATOMIC_SEQ_CST) == 0)
		sched_yield();
	loop_pause(f->loop);
	loop_event_set(&f->event);
	sched_yield();
	assert_int_equal(__atomic_load_n(&f->n_event, __ATOMIC_SEQ_CST), 1);
	loop_resume(f->loop);
	while (__atomic_load_n(&f->n_event, __ATOMIC_SEQ_CST) == 1)
		sched_yield();
	loop_stop(f->loop);
	pthread_join(f->thread, NULL);
	loop_event_done(&f->event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timer_fires_at_its_deadline_and_not_before, setup,
						teardown),
		cmocka_unit_test_setup_teardown(serves_files_that_epoll_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(removed_watch_in_the_same_batch_is_not_called,
						setup, teardown),
		cmocka_unit_test_setup_teardown(events_before_and_during_the_run_are_not_lost,
						setup, teardown),
		cmocka_unit_test_setup_teardown(no_callback_runs_while_paused, setup, teardown),
	};

	return cmocka_run_group_tests_name("base/loop", tests, NULL, NULL);
}
