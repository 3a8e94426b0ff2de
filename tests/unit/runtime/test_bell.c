/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the guest: answers, silence, a guest that hangs up, a machine that stands still. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "bell.h"
#include "vmm/vm.h"

#define FDS_MAX	  8
#define ANSWER_NS (60 * NSEC_PER_SEC) /* for an answer that comes at once */

/* The guest's ends of the connections, oldest first. */
static int guest_fds[FDS_MAX];
static unsigned n_guest_fds;
static int refuse;

/* In place of the machine's. */
int vm_vsock_connect(struct vm *vm, uint32_t port, int fd, struct err *err)
{
	if (refuse || n_guest_fds == FDS_MAX) {
		fd_close(fd);
		return -ENODEV;
	}
	guest_fds[n_guest_fds++] = fd;
	return 0;
}

struct fixture {
	struct loop *loop;
	struct bells bells;
	struct loop_timer end;		  /* keeps a failing test from waiting for ever */
	void (*later)(struct fixture *f); /* called once: after the first answer, or by @end */
	unsigned n, wanted;
	int result[FDS_MAX];
	uint32_t answer[FDS_MAX];
};

static void call_later(struct fixture *f)
{
	void (*later)(struct fixture * f) = f->later;

	f->later = NULL;
	later(f);
}

static void on_end(void *opaque)
{
	struct fixture *f = opaque;

	if (f->later)
		call_later(f);
	else
		loop_stop(f->loop);
}

static void on_answer(void *opaque, int result, const uint8_t *answer)
{
	struct fixture *f = opaque;

	f->result[f->n] = result;
	f->answer[f->n++] = le32_load(answer);
	if (f->later)
		call_later(f);
	if (f->n == f->wanted)
		loop_stop(f->loop);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	n_guest_fds = 0;
	refuse = 0;
	if (!f || loop_new(&f->loop, NULL) < 0 || bells_init(&f->bells, f->loop, NULL) < 0 ||
	    loop_timer_init(f->loop, &f->end, on_end, f) < 0)
		return -1;
	loop_timer_set(&f->end, clock_monotonic_ns() + 2 * ANSWER_NS);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bells_done(&f->bells);
	loop_timer_done(&f->end);
	loop_free(f->loop);
	for (unsigned i = 0; i < n_guest_fds; i++)
		fd_close(guest_fds[i]);
	free(f);
	return 0;
}

static void ring(struct fixture *f, uint32_t word, uint64_t timeout_ns)
{
	const struct bell_question q = { .words = { word, 7 },
					 .n_words = 2,
					 .answer_len = 4,
					 .timeout_ns = timeout_ns,
					 .fn = on_answer,
					 .opaque = f };

	assert_int_equal(bell_ring(&f->bells, &q), 0);
}

static void run_until(struct fixture *f, unsigned n)
{
	f->wanted = n;
	loop_run(f->loop);
	assert_int_equal(f->n, n);
}

static void answer(unsigned which, uint32_t value)
{
	uint8_t buf[4];

	le32_store(buf, value);
	assert_int_equal(write(guest_fds[which], buf, 4), 4);
}

static void answer_the_first(struct fixture *f)
{
	answer(0, 11);
}

static void delivers_answers_in_any_order(void **state)
{
	struct fixture *f = *state;
	uint8_t words[8];

	ring(f, 1, ANSWER_NS);
	ring(f, 2, ANSWER_NS);
	assert_int_equal(f->n, 0);
	assert_int_equal(read(guest_fds[1], words, 8), 8);
	assert_int_equal(le32_load(words), 2);
	assert_int_equal(le32_load(words + 4), 7);
	answer(1, 22);
	f->later = answer_the_first;
	run_until(f, 2);
	assert_int_equal(f->answer[0], 22);
	assert_int_equal(f->answer[1], 11);
	assert_int_equal(f->result[0] | f->result[1], 0);
}

static void writes_more_behind_the_words(void **state)
{
	struct fixture *f = *state;
	const struct bell_question q = { .words = { 9 },
					 .n_words = 1,
					 .more = "records",
					 .more_len = 7,
					 .answer_len = 4,
					 .timeout_ns = ANSWER_NS,
					 .fn = on_answer,
					 .opaque = f };
	char buf[12] = "";

	assert_int_equal(bell_ring(&f->bells, &q), 0);
	assert_int_equal(read(guest_fds[0], buf, sizeof(buf)), 11);
	assert_memory_equal(buf, "\t\0\0\0records", 11);
}

static void takes_an_answer_in_pieces(void **state)
{
	struct fixture *f = *state;

	ring(f, 1, ANSWER_NS);
	assert_int_equal(write(guest_fds[0], "\1\0", 2), 2);
	assert_int_equal(write(guest_fds[0], "\2\0", 2), 2);
	run_until(f, 1);
	assert_int_equal(f->answer[0], 0x20001);
}

static void gives_a_silent_guest_its_time(void **state)
{
	struct fixture *f = *state;
	uint64_t began = clock_monotonic_ns();

	ring(f, 1, 20 * NSEC_PER_MSEC);
	run_until(f, 1);
	assert_int_equal(f->result[0], -ETIMEDOUT);
	assert_true(clock_monotonic_ns() - began >= 20 * NSEC_PER_MSEC);
}

/* A host that is frozen: no time of the guest's, whose answer comes right after. */
static void counts_no_time_that_nobody_had(void **state)
{
	const struct timespec nap = { .tv_nsec = 30 * NSEC_PER_MSEC };
	struct fixture *f = *state;

	ring(f, 1, 20 * NSEC_PER_MSEC);
	nanosleep(&nap, NULL);
	f->later = answer_the_first;
	loop_timer_set(&f->end, clock_monotonic_ns());
	run_until(f, 1);
	assert_int_equal(f->result[0], 0);
	assert_int_equal(f->answer[0], 11);
}

static void notices_a_guest_that_hangs_up(void **state)
{
	struct fixture *f = *state;

	ring(f, 1, ANSWER_NS);
	fd_close(fd_steal(&guest_fds[0]));
	run_until(f, 1);
	assert_int_equal(f->result[0], -EIO);
}

static void fails_at_once_without_a_connection(void **state)
{
	struct fixture *f = *state;

	refuse = 1;
	ring(f, 1, 3600 * NSEC_PER_SEC);
	assert_int_equal(f->n, 0);
	run_until(f, 1);
	assert_int_equal(f->result[0], -ETIMEDOUT);
}

/* Nobody has asked for the first. */
static void say_too_much(struct fixture *f)
{
	answer(0, 33);
	answer(1, 44);
}

static void ask_two_more(struct fixture *f)
{
	uint8_t words[16];

	ring(f, 2, ANSWER_NS);
	ring(f, 3, ANSWER_NS);
	assert_int_equal(n_guest_fds, 2);
	assert_int_equal(read(guest_fds[0], words, 16), 16);
	assert_int_equal(le32_load(words + 8), 2);
	f->later = say_too_much;
	answer(0, 22);
}

static void keeps_a_connection_for_the_next(void **state)
{
	struct fixture *f = *state;
	uint8_t words[8];

	ring(f, 1, ANSWER_NS);
	answer(0, 11);
	f->later = ask_two_more;
	run_until(f, 3);
	assert_int_equal(f->answer[1], 22);
	assert_int_equal(f->answer[2], 44);
	/* That one's end, with what nobody has read. */
	assert_int_equal(recv(guest_fds[0], words, 8, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNRESET);
}

static void go_on(struct fixture *f)
{
	uint8_t words[8];

	/* No deadline has passed meanwhile. */
	assert_int_equal(f->n, 0);
	answer(0, 5);
	bells_release(&f->bells);
	assert_int_equal(n_guest_fds, 3);
	assert_int_equal(read(guest_fds[1], words, 8), 8);
	answer(le32_load(words) == 2 ? 1 : 2, 6);
	loop_timer_set(&f->end, clock_monotonic_ns() + 2 * ANSWER_NS);
}

static void asks_when_the_machine_goes_on(void **state)
{
	struct fixture *f = *state;

	ring(f, 1, ANSWER_NS);
	bells_hold(&f->bells);
	ring(f, 2, ANSWER_NS);
	ring(f, 3, NSEC_PER_MSEC);
	assert_int_equal(n_guest_fds, 1);
	f->later = go_on;
	loop_timer_set(&f->end, clock_monotonic_ns() + 20 * NSEC_PER_MSEC);
	run_until(f, 3);
	/* In any order; the last one's time has begun by now, and ended. */
	assert_int_equal(f->answer[0] + f->answer[1] + f->answer[2], 5 + 6);
	assert_int_equal(f->result[0] + f->result[1] + f->result[2], -ETIMEDOUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(delivers_answers_in_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_more_behind_the_words, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_an_answer_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(gives_a_silent_guest_its_time, setup, teardown),
		cmocka_unit_test_setup_teardown(counts_no_time_that_nobody_had, setup, teardown),
		cmocka_unit_test_setup_teardown(notices_a_guest_that_hangs_up, setup, teardown),
		cmocka_unit_test_setup_teardown(fails_at_once_without_a_connection, setup,
						teardown),
		cmocka_unit_test_setup_teardown(keeps_a_connection_for_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(asks_when_the_machine_goes_on, setup, teardown),
	};

	return cmocka_run_group_tests_name("runtime/bell", tests, NULL, NULL);
}
