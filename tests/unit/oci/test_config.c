/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations: bad text, and what fields mean together. */
#include "test.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "oci/config.h"

/* A whole configuration with @extra at its top level. */
#define CONFIG(process, extra)                                                            \
	"{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"process\":{\"cwd\":\"/\"," \
	"\"args\":[\"sh\"]" process "}" extra "}"

static void expect_error(const char *text, int code, const char *msg)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	struct err err = { 0 };

	assert_int_equal(oci_config_parse(text, strlen(text), "config.json", &config, &err), code);
	assert_null(config);
	assert_string_equal(err.msg, msg);
}

static struct oci_config *expect_ok(const char *text)
{
	struct oci_config *config = NULL;
	struct err err = { 0 };

	if (oci_config_parse(text, strlen(text), "config.json", &config, &err) < 0)
		fail_msg("%s", err.msg);
	return config;
}

static void refuses_what_is_not_json(void **state)
{
	expect_error("", -EINVAL, "config.json: the file is empty");
	expect_error("{", -EINVAL, "config.json: line 1: not JSON");
	expect_error("{\n\"a\": 1,\n}", -EINVAL, "config.json: line 3: not JSON");
	expect_error("{} x", -EINVAL, "config.json: line 1: not JSON");
	expect_error("{\"a\":01}", -EINVAL, "config.json: line 1: not a number");
	expect_error("{\"a\":\"x", -EINVAL, "config.json: line 1: string without an end");
	expect_error("{\"a\":\"\\u0000\"}", -EINVAL, "config.json: line 1: \\u0000 in a string");
	expect_error("[]", -EINVAL, "config.json: wants an object, got an array");
	expect_error("{}", -EINVAL, "config.json: ociVersion: is required");
}

static void refuses_a_nul_byte(void **state)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	struct err err = { 0 };

	assert_int_equal(oci_config_parse("{\0}", 3, "config.json", &config, &err), -EINVAL);
	assert_string_equal(err.msg, "config.json: line 1: NUL byte");
}

static void refuses_each_truncation(void **state)
{
	static const char text[] = CONFIG(",\"env\":[\"A=b\"]", ",\"hostname\":\"x\"");

	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		struct oci_config *config = NULL;

		assert_true(oci_config_parse(text, n, "config.json", &config, NULL) < 0);
	}
}

static void refuses_text_beyond_its_limits(void **state)
{
	char *big = malloc(OCI_FILE_MAX + 2);
	struct oci_config *config = NULL;
	struct err err = { 0 };

	memset(big, '[', OCI_FILE_MAX + 2);
	assert_int_equal(oci_config_parse(big, OCI_FILE_MAX + 1, "config.json", &config, &err),
			 -E2BIG);
	assert_string_equal(err.msg, "config.json: larger than 8 MiB");
	assert_int_equal(oci_config_parse(big, 1000, "config.json", &config, &err), -E2BIG);
	assert_string_equal(err.msg, "config.json: line 1: nested more than 64 deep");
	for (size_t i = 1; i < OCI_FILE_MAX; i++)
		big[i] = i % 2 ? '1' : ',';
	assert_int_equal(oci_config_parse(big, OCI_FILE_MAX, "config.json", &config, &err), -E2BIG);
	assert_string_equal(err.msg, "config.json: more than 200000 values");
	free(big);
}

static void names_the_field_that_is_wrong(void **state)
{
	expect_error(CONFIG(",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":-1,\"hard\":0}]", ""),
		     -EINVAL,
		     "config.json: process.rlimits[0].soft: wants a number from 0 to "
		     "18446744073709551615");
	expect_error(CONFIG(",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":2,\"hard\":1}]", ""),
		     -EINVAL, "config.json: process.rlimits[0].soft: is above the hard limit 1");
	expect_error(CONFIG(",\"cwd\":\"/\"", ""), -EINVAL,
		     "config.json: process.cwd: appears twice");
	expect_error(CONFIG(",\"env\":[\"A=b\",\"x\"]", ""), -EINVAL,
		     "config.json: process.env[1]: wants NAME=VALUE, got 'x'");
	expect_error(CONFIG("", ",\"mounts\":[{\"destination\":\"/a/../b\",\"type\":\"proc\"}]"),
		     -EINVAL, "config.json: mounts[0].destination: has a '..' in it");
	expect_error(CONFIG("", ",\"mounts\":[{\"destination\":\"/a\",\"options\":[\"bind\"]}]"),
		     -EINVAL, "config.json: mounts[0].source: is required for a bind mount");
	expect_error(CONFIG("", ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},"
				"{\"type\":\"pid\"}]}"),
		     -EINVAL, "config.json: linux.namespaces[1].type: 'pid' appears twice");
	expect_error(CONFIG("", ",\"linux\":{\"devices\":[{\"type\":\"c\",\"path\":\"/d\"}]}"),
		     -EINVAL, "config.json: linux.devices[0].major: is required");
	expect_error(CONFIG("", ",\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}}"),
		     -EINVAL,
		     "config.json: linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is not supported "
		     "in a guest");
	expect_error(CONFIG("", ",\"vm\":{\"kernel\":{\"path\":\"/k\",\"initrd\":\"/i\"}}"),
		     -EOPNOTSUPP,
		     "config.json: vm.kernel.initrd: is not supported: the guest's init is husk's "
		     "own");
	expect_error(CONFIG("", ",\"linux\":{\"uidMappings\":[{\"containerID\":0,\"hostID\":5,"
				"\"size\":10},{\"containerID\":9,\"hostID\":50,\"size\":1}]}"),
		     -EINVAL, "config.json: linux.uidMappings[1].containerID: overlaps with [0]");
	expect_error(CONFIG("", ",\"linux\":{\"gidMappings\":[{\"containerID\":0,\"hostID\":5,"
				"\"size\":10}]}"),
		     -EINVAL,
		     "config.json: linux.gidMappings: wants a user namespace in linux.namespaces");
	expect_error(CONFIG("", ",\"linux\":{\"namespaces\":[{\"type\":\"user\"}]}"), -EINVAL,
		     "config.json: linux.uidMappings: is required with a user namespace");
	expect_error(
		CONFIG("", ",\"linux\":{\"namespaces\":[{\"type\":\"user\",\"path\":\"/p\"}]}"),
		-EINVAL,
		"config.json: linux.namespaces[0].path: a user namespace of the host cannot be "
		"joined: give linux.uidMappings and gidMappings");
	expect_error(CONFIG("", ",\"linux\":{\"resources\":{\"cpu\":{\"cpus\":\"3-1\"}}}"), -EINVAL,
		     "config.json: linux.resources.cpu.cpus: '3-1' is not a list like 0-3,5");
}

static void warns_about_unknown_fields(void **state)
{
	CLEANUP(oci_config_freep)
	struct oci_config *c =
		expect_ok(CONFIG(",\"frob\":{\"x\":1}", ",\"linux\":{\"mountLabel\":\"l\"}"));

	assert_int_equal(c->warnings.n, 2);
	assert_string_equal(c->warnings.v[0], "config.json: process.frob: ignored: unknown field");
	assert_string_equal(c->warnings.v[1], "config.json: linux.mountLabel: ignored: labels of "
					      "the host do not reach into the guest");
}

static void bounds_the_number_of_warnings(void **state)
{
	char text[8192];
	int n = snprintf(text, sizeof(text),
			 "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},"
			 "\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"]}");

	for (int i = 0; i < 200; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, ",\"x%d\":0", i);
	snprintf(text + n, sizeof(text) - (size_t)n, "}");
	CLEANUP(oci_config_freep) struct oci_config *c = expect_ok(text);

	assert_int_equal(c->warnings.n, OCI_WARNINGS_MAX);
	assert_string_equal(c->warnings.v[OCI_WARNINGS_MAX - 1],
			    "more fields are ignored than are named here");
}

static void parses_mount_options(void **state)
{
	CLEANUP(oci_config_freep)
	struct oci_config *c = expect_ok(
		CONFIG("", ",\"mounts\":[{\"destination\":\"/t\",\"type\":\"tmpfs\",\"options\":["
			   "\"nosuid\",\"size=64k\",\"ro\",\"rw\",\"mode=755\",\"rprivate\"]},"
			   "{\"destination\":\"/b\",\"source\":\"/s\",\"type\":\"none\","
			   "\"options\":[\"rbind\",\"rro\",\"ridmap\"]}]"));
	const struct oci_mount_flags *t = &c->mounts.v[0].flags, *b = &c->mounts.v[1].flags;

	assert_true(t->set == MS_NOSUID);
	assert_true(t->clear == MS_RDONLY);
	assert_true(t->propagation == (MS_PRIVATE | MS_REC));
	assert_string_equal(t->data, "size=64k,mode=755");
	assert_false(t->bind);
	assert_true(b->bind && b->rbind && b->ridmap && !b->idmap);
	assert_true(b->rec_set == MS_RDONLY);
	assert_string_equal(b->data, "");
}

static void numbers_capabilities_and_namespaces(void **state)
{
	CLEANUP(oci_config_freep)
	struct oci_config *c = expect_ok(
		CONFIG(",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_SYS_ADMIN\","
		       "\"CAP_NOT_YET\"]}",
		       ",\"linux\":{\"namespaces\":[{\"type\":\"network\",\"path\":\"/n\"}]}"));

	assert_true(c->process->capabilities->bounding_set == (1ULL << 0 | 1ULL << 21));
	assert_int_equal(c->warnings.n, 1);
	assert_string_equal(oci_namespace_find(c, CLONE_NEWNET)->path, "/n");
	assert_null(oci_namespace_find(c, CLONE_NEWPID));
}

static void sets_environment(void **state)
{
	CLEANUP(oci_config_freep)
	struct oci_config *c = expect_ok(CONFIG(",\"env\":[\"A=1\"]", ""));

	assert_int_equal(oci_config_set_env(c, "A=2", NULL), 0);
	assert_int_equal(oci_config_set_env(c, "B=3", NULL), 0);
	assert_int_equal(oci_config_set_env(c, "B", NULL), -EINVAL);
	assert_int_equal(c->process->env.n, 2);
	assert_string_equal(c->process->env.v[0], "A=2");
	assert_string_equal(c->process->env.v[1], "B=3");
	assert_null(c->process->env.v[2]);
}

static void parses_process_and_resources_alone(void **state)
{
	static const char process[] = "{\"cwd\":\"/\",\"args\":[\"a\"]}";
	static const char resources[] = "{\"memory\":{\"limit\":9223372036854771712}}";
	CLEANUP(oci_config_freep) struct oci_config *p = NULL;
	CLEANUP(oci_config_freep) struct oci_config *r = NULL;
	struct err err = { 0 };

	assert_int_equal(oci_process_parse(process, strlen(process), "p.json", &p, NULL), 0);
	assert_string_equal(p->process->args.v[0], "a");
	assert_int_equal(oci_process_parse("{\"cwd\":\"/\"}", 11, "p.json", &r, &err), -EINVAL);
	assert_string_equal(err.msg, "p.json: args: is required");
	assert_int_equal(oci_resources_parse(resources, strlen(resources), "r", &r, NULL), 0);
	assert_true(r->lnx->resources->memory->limit.v == 9223372036854771712LL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_not_json),
		cmocka_unit_test(refuses_a_nul_byte),
		cmocka_unit_test(refuses_each_truncation),
		cmocka_unit_test(refuses_text_beyond_its_limits),
		cmocka_unit_test(names_the_field_that_is_wrong),
		cmocka_unit_test(warns_about_unknown_fields),
		cmocka_unit_test(bounds_the_number_of_warnings),
		cmocka_unit_test(parses_mount_options),
		cmocka_unit_test(numbers_capabilities_and_namespaces),
		cmocka_unit_test(sets_environment),
		cmocka_unit_test(parses_process_and_resources_alone),
	};

	return cmocka_run_group_tests_name("oci/config", tests, NULL, NULL);
}
