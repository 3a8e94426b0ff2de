/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "passthrough/attr.h"

static void writes_the_shared_form(void **state)
{
	struct statx stx = { .stx_uid = 1000, .stx_gid = 100, .stx_mode = S_IFREG | 04755 };
	char buf[OVERRIDE_TEXT_MAX];

	override_format(&stx, buf, sizeof(buf));
	assert_string_equal(buf, "1000:100:04755");
	stx.stx_mode = S_IFBLK | 0660;
	stx.stx_rdev_major = 8;
	stx.stx_rdev_minor = 1;
	override_format(&stx, buf, sizeof(buf));
	assert_string_equal(buf, "1000:100:0660:block-8-1");
	stx.stx_mode = S_IFSOCK;
	override_format(&stx, buf, sizeof(buf));
	assert_string_equal(buf, "1000:100:00:socket");
}

static void reads_what_other_tools_write(void **state)
{
	static const struct {
		const char *text;
		unsigned uid, gid, mode, major, minor;
	} cases[] = {
		{ "0:0:755", 0, 0, S_IFREG | 0755, 0, 0 },
		{ "0:0:0755", 0, 0, S_IFREG | 0755, 0, 0 },
		{ "4294967295:1:06711", 4294967295u, 1, S_IFREG | 06711, 0, 0 },
		{ "1:2:0100644", 1, 2, S_IFREG | 0644, 0, 0 },
		{ "1:2:0666:char-1-3", 1, 2, S_IFCHR | 0666, 1, 3 },
		{ "1:2:0666:pipe", 1, 2, S_IFIFO | 0666, 0, 0 },
		{ "1:2:0666:fifo", 1, 2, S_IFIFO | 0666, 0, 0 },
		{ "1:2:0666:dir", 1, 2, S_IFREG | 0666, 0, 0 },
		{ "1:2:0666:symlink", 1, 2, S_IFREG | 0666, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct statx stx = { .stx_mode = S_IFREG | 0600 };

		assert_int_equal(override_parse(cases[i].text, &stx), 0);
		assert_int_equal(stx.stx_uid, cases[i].uid);
		assert_int_equal(stx.stx_gid, cases[i].gid);
		assert_int_equal(stx.stx_mode, cases[i].mode);
		assert_int_equal(stx.stx_rdev_major, cases[i].major);
		assert_int_equal(stx.stx_rdev_minor, cases[i].minor);
	}
}

static void a_directory_stays_one(void **state)
{
	struct statx stx = { .stx_mode = S_IFDIR | 0700 };

	assert_int_equal(override_parse("5:6:0711:block-1-2", &stx), 0);
	assert_int_equal(stx.stx_mode, S_IFDIR | 0711);
}

static void refuses_damaged_text(void **state)
{
	static const char *const bad[] = { "",
					   "1",
					   "1:2",
					   "1:2:",
					   "-1:2:0644",
					   "1:2:0999",
					   "1:2:0644x",
					   " 1:2:0644",
					   "1:2:0644:",
					   "1:2:0644:x",
					   "1:2:0644:char-1",
					   "99999999999:0:0644",
					   "1:2:0644:char-1-2-3",
					   "1:2:0644:char--2" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct statx stx = { .stx_mode = S_IFREG | 0600, .stx_uid = 77 };

		assert_int_equal(override_parse(bad[i], &stx), -EBADMSG);
		assert_int_equal(stx.stx_uid, 77);
		assert_int_equal(stx.stx_mode, S_IFREG | 0600);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_shared_form),
		cmocka_unit_test(reads_what_other_tools_write),
		cmocka_unit_test(a_directory_stays_one),
		cmocka_unit_test(refuses_damaged_text),
	};

	return cmocka_run_group_tests_name("rootfs/override", tests, NULL, NULL);
}
