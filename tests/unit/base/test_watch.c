/* SPDX-License-Identifier: Apache-2.0 */
/* base/watch: how long it is worth watching. */
#include "test.h"

#include <pthread.h>
#include <sched.h>

#include "base/clock.h"
#include "base/watch.h"

#define LIMIT 100000

static bool at_third_look(const void *arg)
{
	unsigned *n = *(unsigned *const *)arg;

	return ++*n == 3;
}

static bool never(const void *arg)
{
	return false;
}

/* Longer than its watch, and no other thread's doing: as if the machine had stood still. */
static bool after_a_nap(const void *arg)
{
	const struct timespec nap = { .tv_nsec = 100 * NSEC_PER_MSEC };
	unsigned *n = *(unsigned *const *)arg;

	if (++*n == 2)
		nanosleep(&nap, NULL);
	return *n == 100;
}

static _Atomic bool over;

static void *spin(void *arg)
{
	while (!over)
		;
	return NULL;
}

static void stops_when_found(void **state)
{
	unsigned n = 0, *p = &n;

	/* PREEMPTED is the machine's doing. */
	assert_int_not_equal(watch_run(NSEC_PER_SEC, at_third_look, &p), WATCH_MISSED);
	assert_int_equal(n, 3);
}

static void gives_up(void **state)
{
	uint64_t start = clock_monotonic_ns();

	assert_int_not_equal(watch_run(20000, never, NULL), WATCH_FOUND);
	assert_true(clock_monotonic_ns() - start >= 20000);
}

static void time_that_nobody_had_is_no_preemption(void **state)
{
	unsigned n = 0, *p = &n;

	/* PREEMPTED is the machine's doing. */
	assert_int_not_equal(watch_run(50 * NSEC_PER_MSEC, after_a_nap, &p), WATCH_MISSED);
}

/* Two threads that both want the one processor they may use. */
static void notices_preemption(void **state)
{
	cpu_set_t all, one;
	pthread_t other;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	over = false;
	assert_int_equal(pthread_create(&other, NULL, spin, NULL), 0);
	assert_int_equal(watch_run(60 * NSEC_PER_SEC, never, NULL), WATCH_PREEMPTED);
	over = true;
	pthread_join(other, NULL);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static unsigned n_skipped(struct watch *w)
{
	unsigned n = 0;

	while (!watch_budget(w))
		n++;
	return n;
}

static void fruitless_watches_get_shorter_then_rare(void **state)
{
	struct watch w;
	uint64_t ns, last = LIMIT + 1;

	watch_init(&w, LIMIT);
	while ((ns = watch_budget(&w)) != 0) {
		assert_true(ns < last);
		last = ns;
		watch_learn(&w, WATCH_MISSED);
	}
	assert_true(n_skipped(&w) > 0);
	assert_int_equal(w.ns, LIMIT);
}

static void a_find_restores_the_limit(void **state)
{
	struct watch w;

	watch_init(&w, LIMIT);
	watch_learn(&w, WATCH_MISSED);
	assert_int_equal(watch_budget(&w), LIMIT / 2);
	watch_learn(&w, WATCH_FOUND);
	assert_int_equal(watch_budget(&w), LIMIT);
}

static void preemption_backs_off_more_each_time(void **state)
{
	struct watch w;
	unsigned last = 0, n;

	watch_init(&w, LIMIT);
	for (int i = 0; i < 3; i++) {
		watch_learn(&w, WATCH_PREEMPTED);
		n = n_skipped(&w);
		assert_true(n > last);
		last = n;
	}
	watch_learn(&w, WATCH_FOUND);
	watch_learn(&w, WATCH_PREEMPTED);
	assert_true(n_skipped(&w) < last);
	for (int i = 0; i < 100; i++)
		watch_learn(&w, WATCH_PREEMPTED);
	assert_true(n_skipped(&w) < 2000);
}

static void limit_zero_never_watches(void **state)
{
	struct watch w;

	watch_init(&w, 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(watch_budget(&w), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stops_when_found),
		cmocka_unit_test(gives_up),
		cmocka_unit_test(time_that_nobody_had_is_no_preemption),
		cmocka_unit_test(notices_preemption),
		cmocka_unit_test(fruitless_watches_get_shorter_then_rare),
		cmocka_unit_test(a_find_restores_the_limit),
		cmocka_unit_test(preemption_backs_off_more_each_time),
		cmocka_unit_test(limit_zero_never_watches),
	};

	return cmocka_run_group_tests_name("base/watch", tests, NULL, NULL);
}
