/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint waits for the guest to stand still, or for the end of a machine that never does. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "fake_hv.h"
#include "guest_priv.h"
#include "look.h"

static struct guest g;

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
	pthread_mutex_init(&g.lock, NULL);
	g.hold_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g.settling = true;
	fake_hv_script(idle, NULL);
	if (g.hold_fd < 0 || loop_new(&g.loop, &err) < 0 ||
	    bells_init(&g.bells, g.loop, &err) < 0 || vm_new(&config, &g.vm, &err) < 0 ||
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
	loop_free(g.loop);
	fd_close(g.hold_fd);
	pthread_mutex_destroy(&g.lock);
	return 0;
}

static bool is_asked(void)
{
	bool asked;

	pthread_mutex_lock(&g.lock);
	asked = g.hold_state == HOLD_ASKED;
	pthread_mutex_unlock(&g.lock);
	return asked;
}

static void *end_it(void *opaque)
{
	(void)opaque;
	for (unsigned n = 0; !is_asked() && look_again(&n);)
		;
	vm_stop(g.vm);
	return NULL;
}

static void a_machine_that_ends_is_noticed(void **state)
{
	const struct guest_checkpoint to = { .memory_fd = -1, .state_fd = -1, .pagemap_fd = -1 };
	struct err err = { 0 };
	pthread_t thread;
	char *text = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, end_it, NULL), 0);
	assert_int_equal(guest_checkpoint(&g, &to, &text, &len, &err), -ESRCH);
	pthread_join(thread, NULL);
	assert_non_null(strstr(err.msg, "the machine ended"));
	assert_null(text);
	assert_int_equal(g.hold_state, HOLD_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_machine_that_ends_is_noticed, setup, teardown),
	};

	return cmocka_run_group_tests_name("runtime/hold", tests, NULL, NULL);
}
