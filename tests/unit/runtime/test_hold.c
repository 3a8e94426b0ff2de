/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint of a guest that never stands still: nobody waits for it but who asked. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "fake_hv.h"
#include "guest_priv.h"

static struct guest g;
static struct {
	unsigned n_ended, n_killed, n_checkpointed;
	unsigned status;
	int killed, result;
	char text[200];
} seen;

static void on_ended(void *opaque, uint32_t id, unsigned status)
{
	assert_ptr_equal(opaque, &g);
	assert_int_equal(id, GUEST_INIT_ID);
	seen.n_ended++;
	seen.status = status;
}

static void on_killed(void *opaque, uint64_t tag, int result)
{
	assert_int_equal(tag, 5);
	seen.n_killed++;
	seen.killed = result;
}

static void on_checkpointed(void *opaque, uint64_t tag, int result, const char *text)
{
	assert_int_equal(tag, 4);
	seen.n_checkpointed++;
	seen.result = result;
	snprintf(seen.text, sizeof(seen.text), "%s", text);
	loop_stop(g.loop);
}

static enum hv_exit_reason idle(struct fake_vcpu *vcpu, void *opaque)
{
	(void)opaque;
	fake_idle(vcpu);
	return HV_EXIT_INTERRUPTED;
}

static int setup(void **state)
{
	int AUTO_FD kernel = fake_kernel();
	const struct vm_config config = { .hv = &fake_hv_ops,
					  .ram_bytes = 16 * MIB,
					  .n_vcpus = 1,
					  .kernel = { .fd = kernel, .name = "test.elf" },
					  .initrd = { .fd = -1 } };
	struct err err = { 0 };

	(void)state;
	memset(&g, 0, sizeof(g));
	memset(&seen, 0, sizeof(seen));
	pthread_mutex_init(&g.lock, NULL);
	g.settling = true;
	g.events = (struct guest_events){ .opaque = &g,
					  .ended = on_ended,
					  .killed = on_killed,
					  .checkpointed = on_checkpointed };
	fake_hv_script(idle, NULL);
	if (loop_new(&g.loop, &err) < 0 || bells_init(&g.bells, g.loop, &err) < 0 ||
	    guest_checkpoint_init(&g) < 0 || vm_new(&config, &g.vm, &err) < 0 ||
	    vm_start(g.vm, &err) < 0) {
		print_error("%s\n", err.msg);
		return -1;
	}
	g.bells.vm = g.vm;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vm_free(g.vm);
	bells_done(&g.bells);
	loop_event_done(&g.held_event);
	loop_timer_done(&g.hold_timer);
	loop_free(g.loop);
	pthread_mutex_destroy(&g.lock);
	return 0;
}

/* Ask for one, into a file whose descriptor is in *@ret_fd. Return: the answer; it waits for nothing. */
static int ask(int *ret_fd)
{
	const struct guest_checkpoint to = { open("/dev/null", O_RDWR | O_CLOEXEC), -1, -1, -1 };
	struct err err = { 0 };
	int r = guest_backend_ops->checkpoint(&g, &to, 4, &err);

	*ret_fd = to.memory_fd;
	assert_true(r == 0 || err.msg[0]);
	return r;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void stop(void *opaque)
{
	(void)opaque;
	loop_stop(g.loop);
}

/* What was there to be served before. */
static void serve(void)
{
	struct loop_event last;

	assert_int_equal(loop_event_init(g.loop, &last, stop, NULL), 0);
	loop_event_set(&last);
	loop_run(g.loop);
	loop_event_done(&last);
}

static void others_are_answered_meanwhile(void **state)
{
	struct err err = { 0 };
	int fd, second;

	(void)state;
	assert_int_equal(ask(&fd), 0);
	assert_int_equal(guest_backend_ops->pause(&g, &err), -EBUSY);
	assert_string_equal(err.msg, "a checkpoint is being made");
	assert_int_equal(ask(&second), -EBUSY);
	assert_int_equal(seen.n_checkpointed, 0);
	assert_true(is_open(fd));
	guest_backend_ops->checkpoint_end(&g, false);
	assert_false(is_open(fd));
	/* Given up: there may be another, and what comes late does no harm. */
	guest_checkpoint_held(&g);
	assert_int_equal(ask(&fd), 0);
	guest_backend_ops->checkpoint_end(&g, false);
	assert_int_equal(guest_backend_ops->pause(&g, &err), 0);
	assert_int_equal(guest_backend_ops->resume(&g, &err), 0);
}

static void one_that_is_given_up_at_the_point_goes_on(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(ask(&fd), 0);
	guest_checkpoint_held(&g);
	assert_int_equal(g.hold_state, HOLD_REACHED);
	guest_backend_ops->checkpoint_end(&g, false);
	/* The event of the first is not taken for one of the second. */
	assert_int_equal(ask(&fd), 0);
	serve();
	assert_int_equal(seen.n_checkpointed, 0);
	assert_true(g.holding);
	guest_backend_ops->checkpoint_end(&g, false);
	/* Nothing holds the vCPUs: this would wait for ever. */
	vm_quiesce(g.vm);
	vm_resume(g.vm);
}

static void kill_ends_it_at_once(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(ask(&fd), 0);
	guest_backend_ops->kill(&g, GUEST_INIT_ID, SIGKILL, GUEST_KILL_ONE, 5);
	assert_int_equal(seen.n_ended, 1);
	assert_int_equal(seen.status, 137);
	assert_int_equal(seen.n_killed, 1);
	assert_int_equal(seen.killed, 0);
	assert_false(is_open(fd));
	assert_false(g.holding);
}

static void who_waits_too_long_is_told(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(ask(&fd), 0);
	loop_timer_set(&g.hold_timer, 1); /* it is late */
	loop_run(g.loop);
	assert_int_equal(seen.result, -ETIMEDOUT);
	assert_non_null(strstr(seen.text, "hold the container's processes"));
	assert_false(is_open(fd));
	assert_int_equal(g.hold_state, HOLD_NONE);
	assert_int_equal(ask(&fd), 0);
	guest_backend_ops->checkpoint_end(&g, false);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(others_are_answered_meanwhile),
		TEST(one_that_is_given_up_at_the_point_goes_on),
		TEST(kill_ends_it_at_once),
		TEST(who_waits_too_long_is_told),
	};

	return cmocka_run_group_tests_name("runtime/hold", tests, NULL, NULL);
}
