/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a program is there: in PATH, by links, under mounts. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"

static char top[64];

static const char *at(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return path;
}

static void touch(const char *name, mode_t mode)
{
	int fd = open(at(name), O_WRONLY | O_CREAT | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	close(fd);
}

static int setup(void **state)
{
	char target[PATH_MAX];

	strcpy(top, "/tmp/husk-program.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	mkdir(at("usr"), 0755);
	mkdir(at("usr/bin"), 0755);
	mkdir(at("data"), 0755);
	touch("usr/bin/prog", 0755);
	touch("usr/bin/text", 0644);
	strcpy(target, at("bin"));
	return symlink("/usr/bin", target);
}

static int teardown(void **state)
{
	static const char *const names[] = { "usr/bin/prog", "usr/bin/text", "bin",
					     "usr/bin",	     "usr",	     "data" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		remove(at(names[i]));
	return rmdir(top);
}

static int check(const char *program, const char *mounts, struct err *err)
{
	struct oci_config *config = NULL;
	char text[1024];
	int r;

	snprintf(text, sizeof(text),
		 "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"process\":{\"cwd\":\"/"
		 "usr\",\"args\":[\"%s\"],"
		 "\"env\":[\"PATH=/nowhere:/bin\"]},\"mounts\":[%s]}",
		 program, mounts);
	assert_int_equal(oci_config_parse(text, strlen(text), "config.json", &config, err), 0);
	r = program_check(config, top, err);
	oci_config_free(config);
	return r;
}

static void finds_programs(void **state)
{
	static const char *const there[] = { "prog", "/usr/bin/prog", "/bin/prog", "bin/prog",
					     "//bin/../bin/prog" };

	for (unsigned i = 0; i < sizeof(there) / sizeof(there[0]); i++)
		assert_int_equal(check(there[i], "", NULL), 0);
}

static void says_what_engines_look_for(void **state)
{
	struct err err = { 0 };

	assert_int_equal(check("none", "", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "executable file not found in $PATH"));
	assert_int_equal(check("/bin/none", "", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "no such file or directory"));
	assert_int_equal(check("/none/none", "", &err), -ENOENT);
	assert_int_equal(check("text", "", &err), -EACCES);
	assert_non_null(strstr(err.msg, "permission denied"));
	assert_int_equal(check("/usr", "", &err), -EACCES);
}

#define MOUNT(at) "{\"destination\":\"" at "\",\"type\":\"tmpfs\"}"

static void leaves_alone_what_a_mount_covers(void **state)
{
	assert_int_equal(check("none", MOUNT("/usr"), NULL), 0);
	assert_int_equal(check("none", MOUNT("/usr/bin"), NULL), 0);
	assert_int_equal(check("text", MOUNT("/bin"), NULL), 0);
	assert_int_equal(check("/new/none", MOUNT("/new"), NULL), 0);
	assert_int_equal(check("/run/init", MOUNT("/run/init"), NULL), 0);
	assert_int_equal(check("none", MOUNT("/data") "," MOUNT("/usr/binary"), NULL), -ENOENT);
	assert_int_equal(check("none", MOUNT("/proc") "," MOUNT("/run"), NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_programs),
		cmocka_unit_test(says_what_engines_look_for),
		cmocka_unit_test(leaves_alone_what_a_mount_covers),
	};

	return cmocka_run_group_tests_name("runtime/program", tests, setup, teardown);
}
