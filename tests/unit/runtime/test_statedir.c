/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of containers: names, locks, states that are damaged, processes that are gone. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "statedir.h"

static char root[64];

static int setup(void **state)
{
	strcpy(root, "/tmp/husk-statedir.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	return rmdir(root);
}

static void refuses_names_that_are_paths(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/", "a b", "a\n", "\303\244" };
	char big[STATEDIR_ID_MAX + 2];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(statedir_check_id(bad[i], NULL), -EINVAL);
	memset(big, 'a', sizeof(big));
	big[STATEDIR_ID_MAX + 1] = '\0';
	assert_int_equal(statedir_check_id(big, NULL), -EINVAL);
	big[STATEDIR_ID_MAX] = '\0';
	assert_int_equal(statedir_check_id(big, NULL), 0);
	assert_int_equal(statedir_check_id("Ab_0+-.", NULL), 0);
}

static void makes_one_of_a_name(void **state)
{
	struct statedir dir = STATEDIR_NONE, second = STATEDIR_NONE;
	struct stat st;

	assert_int_equal(statedir_create(root, "c", &dir, NULL), 0);
	assert_int_equal(statedir_create(root, "c", &second, NULL), -EEXIST);
	assert_int_equal(stat(dir.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0711);
	assert_int_equal(statedir_remove(&dir, NULL), 0);
	statedir_close(&dir);
	assert_int_equal(statedir_open(root, "c", true, &second, NULL), -ENOENT);
}

static void save(struct statedir *dir, pid_t pid)
{
	struct oci_state s = { .id = (char *)(uintptr_t) "c",
			       .bundle = (char *)(uintptr_t) "/b",
			       .rootfs = (char *)(uintptr_t) "/b/r",
			       .config_path = (char *)(uintptr_t) "config.json",
			       .status = OCI_STATUS_RUNNING,
			       .pid = pid };

	assert_int_equal(pid_start_time(pid, &s.pid_start), 0);
	assert_int_equal(statedir_save(dir, &s, NULL), 0);
}

static void sees_that_a_process_has_ended(void **state)
{
	struct statedir dir = STATEDIR_NONE;
	struct oci_state s = { 0 };
	int fds[2], status;
	pid_t pid;

	assert_int_equal(statedir_create(root, "c", &dir, NULL), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		char c;

		close(fds[1]);
		_exit(read(fds[0], &c, 1) != 0);
	}
	save(&dir, pid);
	assert_int_equal(statedir_load(&dir, &s, NULL), 0);
	assert_int_equal(s.status, OCI_STATUS_RUNNING);
	oci_state_done(&s);
	close(fds[1]);
	waitpid(pid, &status, 0);
	close(fds[0]);
	s = (struct oci_state){ 0 };
	assert_int_equal(statedir_load(&dir, &s, NULL), 0);
	assert_int_equal(s.status, OCI_STATUS_STOPPED);
	oci_state_done(&s);
	/* The same number with another start is another process. */
	assert_false(pid_alive(getpid(), 1));
	assert_int_equal(statedir_remove(&dir, NULL), 0);
	statedir_close(&dir);
}

static void tells_damage_from_absence(void **state)
{
	struct statedir dir = STATEDIR_NONE;
	struct oci_state s = { 0 };
	struct err err = { 0 };

	assert_int_equal(statedir_create(root, "c", &dir, NULL), 0);
	assert_int_equal(statedir_load(&dir, &s, &err), -ENOENT);
	int fd = openat(dir.fd, "state.json", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(fd_write_full(fd, "{\"id\":", 6), 0);
	close(fd);
	assert_true(statedir_load(&dir, &s, &err) < 0 && err.code != -ENOENT);
	assert_int_equal(statedir_remove(&dir, NULL), 0);
	statedir_close(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(refuses_names_that_are_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(makes_one_of_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(sees_that_a_process_has_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_damage_from_absence, setup, teardown),
	};

	return cmocka_run_group_tests_name("runtime/statedir", tests, NULL, NULL);
}
