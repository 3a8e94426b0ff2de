/* SPDX-License-Identifier: Apache-2.0 */
/* state.json, hooks, and the texts the runtime gives out. */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "oci/features.h"
#include "oci/hooks.h"
#include "oci/state.h"

static struct oci_pair note = { .key = "k\"", .value = "v" };

static const struct oci_state sample = {
	.id = (char *)(uintptr_t) "c1",
	.bundle = (char *)(uintptr_t) "/b",
	.rootfs = (char *)(uintptr_t) "/b/rootfs",
	.config_path = (char *)(uintptr_t) "/b/config.json",
	.status = OCI_STATUS_RUNNING,
	.pid = 42,
	.pid_start = 18446744073709551615ULL,
	.created_ns = 1700000000123456789ULL,
	.owner_uid = 0,
	.annotations = &note,
	.n_annotations = 1,
};

static void state_survives_a_round_trip(void **state)
{
	AUTO_FREE char *text = NULL;
	struct oci_state back = { 0 };

	assert_int_equal(oci_state_format(&sample, &text, NULL), 0);
	assert_int_equal(oci_state_parse(text, strlen(text), &back, NULL), 0);
	assert_string_equal(back.id, "c1");
	assert_string_equal(back.rootfs, "/b/rootfs");
	assert_int_equal(back.status, OCI_STATUS_RUNNING);
	assert_int_equal(back.pid, 42);
	assert_true(back.pid_start == UINT64_MAX);
	assert_true(back.created_ns == sample.created_ns);
	assert_string_equal(back.annotations[0].key, "k\"");
	oci_state_done(&back);
}

static void broken_states_are_refused(void **state)
{
	AUTO_FREE char *text = NULL;
	struct oci_state back;
	size_t len;

	assert_int_equal(oci_state_format(&sample, &text, NULL), 0);
	len = strlen(text);
	for (size_t n = 0; n < len - 1; n++)
		assert_true(oci_state_parse(text, n, &back, NULL) < 0);
	assert_int_equal(oci_state_parse("[]", 2, &back, NULL), -EINVAL);
	assert_int_equal(oci_state_parse("{\"id\":7}", 8, &back, NULL), -EINVAL);
}

static void prints_state_for_people_and_hooks(void **state)
{
	AUTO_FREE char *people = NULL;
	AUTO_FREE char *hooks = NULL;

	assert_int_equal(oci_state_print(&sample, true, &people, NULL), 0);
	assert_string_equal(people, "{\n"
				    "  \"ociVersion\": \"1.2.0\",\n"
				    "  \"id\": \"c1\",\n"
				    "  \"pid\": 42,\n"
				    "  \"status\": \"running\",\n"
				    "  \"bundle\": \"/b\",\n"
				    "  \"rootfs\": \"/b/rootfs\",\n"
				    "  \"created\": \"2023-11-14T22:13:20.123456789Z\",\n"
				    "  \"owner\": \"root\",\n"
				    "  \"annotations\": {\n"
				    "    \"k\\\"\": \"v\"\n"
				    "  }\n"
				    "}");
	assert_int_equal(oci_state_print(&sample, false, &hooks, NULL), 0);
	assert_string_equal(hooks, "{\"ociVersion\":\"1.2.0\",\"id\":\"c1\",\"pid\":42,"
				   "\"status\":\"running\",\"bundle\":\"/b\","
				   "\"annotations\":{\"k\\\"\":\"v\"}}");
}

static void stopped_containers_have_no_pid(void **state)
{
	struct oci_state stopped = sample;
	AUTO_FREE char *text = NULL;

	stopped.status = OCI_STATUS_STOPPED;
	assert_int_equal(oci_state_print(&stopped, false, &text, NULL), 0);
	assert_non_null(strstr(text, "\"pid\":0,\"status\":\"stopped\""));
}

/* ---- hooks ---- */

static int run_shell(const char *script, int timeout, const char *input, struct err *err)
{
	char *argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
			 (char *)(uintptr_t)script, NULL };
	struct oci_hook hook = { .path = "/bin/sh",
				 .args = { .v = argv, .n = 3 },
				 .timeout = { .set = timeout > 0, .v = timeout } };

	return oci_hook_run(&hook, "/", input, err);
}

static void hook_gets_state_on_standard_input(void **state)
{
	assert_int_equal(run_shell("test \"$(cat)\" = '{\"id\":\"x\"}'", 0, "{\"id\":\"x\"}", NULL),
			 0);
}

static void hook_gets_large_state_whole(void **state)
{
	size_t n = 1 << 20;
	char *big = calloc(1, n + 1);

	memset(big, 'a', n);
	assert_int_equal(run_shell("test $(wc -c) = 1048576", 0, big, NULL), 0);
	assert_int_equal(run_shell("exit 0", 0, big, NULL), 0);
	free(big);
}

static void failing_hook_says_how(void **state)
{
	struct err err = { 0 };

	assert_int_equal(run_shell("echo no luck >&2; exit 3", 0, "{}", &err), -ECHILD);
	assert_string_equal(err.msg, "exit status 3: no luck");
	assert_int_equal(run_shell("kill -9 $$", 0, "{}", &err), -ECHILD);
	assert_string_equal(err.msg, "ended by signal 9");
}

static void hook_that_hangs_is_killed_with_its_children(void **state)
{
	struct err err = { 0 };

	/* A child left behind would hold the pipe of its messages: for longer than this test may last. */
	assert_int_equal(run_shell("sleep 10000 & sleep 10000", 1, "{}", &err), -ETIMEDOUT);
	assert_string_equal(err.msg, "not done after 1 seconds");
}

static void missing_hook_is_named(void **state)
{
	struct oci_hook hook = { .path = "/no/such/hook" };
	struct oci_hooks hooks = { 0 };
	struct oci_config config = { .hooks = &hooks };
	struct err err = { 0 };

	hooks.of[OCI_HOOK_PRESTART].v = &hook;
	hooks.of[OCI_HOOK_PRESTART].n = 1;
	assert_int_equal(oci_hooks_run(&config, OCI_HOOK_PRESTART, NULL, "{}", &err), -ECHILD);
	assert_string_equal(err.msg, "prestart hook 0 '/no/such/hook': exit status 127: No such "
				     "file or directory");
	assert_int_equal(oci_hooks_run(&config, OCI_HOOK_POSTSTOP, NULL, "{}", &err), 0);
}

/* ---- texts ---- */

static void printed_spec_is_a_valid_configuration(void **state)
{
	for (int rootless = 0; rootless < 2; rootless++) {
		CLEANUP(oci_config_freep) struct oci_config *config = NULL;
		AUTO_FREE char *text = NULL;
		struct err err = { 0 };

		assert_int_equal(oci_spec_print(rootless, 1000, 1001, &text, &err), 0);
		if (oci_config_parse(text, strlen(text), "spec", &config, &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(config->warnings.n, 0);
		assert_int_equal(config->lnx->uid_mappings.n, rootless);
	}
}

static void features_name_hooks_and_options(void **state)
{
	AUTO_FREE char *text = NULL;

	assert_int_equal(oci_features_print("9.9", &text, NULL), 0);
	assert_non_null(strstr(text, "\"ociVersionMin\": \"1.0.0\""));
	assert_non_null(strstr(text, "\"poststop\""));
	assert_non_null(strstr(text, "\"rro\""));
	assert_non_null(strstr(text, "\"CAP_CHECKPOINT_RESTORE\""));
	assert_non_null(strstr(text, "\"dev.husk.version\": \"9.9\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_survives_a_round_trip),
		cmocka_unit_test(broken_states_are_refused),
		cmocka_unit_test(prints_state_for_people_and_hooks),
		cmocka_unit_test(stopped_containers_have_no_pid),
		cmocka_unit_test(hook_gets_state_on_standard_input),
		cmocka_unit_test(hook_gets_large_state_whole),
		cmocka_unit_test(failing_hook_says_how),
		cmocka_unit_test(hook_that_hangs_is_killed_with_its_children),
		cmocka_unit_test(missing_hook_is_named),
		cmocka_unit_test(printed_spec_is_a_valid_configuration),
		cmocka_unit_test(features_name_hooks_and_options),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("oci/state", tests, NULL, NULL);
}
