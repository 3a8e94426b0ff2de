/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are written whole or not at all. */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "look.h"

static char dir[] = "/tmp/husk-test-fd.XXXXXX";

static const char *at(const char *name)
{
	static char path[2][64];
	static unsigned i;

	i = !i;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static unsigned n_entries(void)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	unlink(at("file"));
	unlink(at("link"));
	rmdir(at("sub"));
	rmdir(at("a"));
	return rmdir(dir);
}

static void holds(const char *name, const char *text)
{
	char buf[16] = "";
	int AUTO_FD fd = open(at(name), O_RDONLY | O_CLOEXEC);

	assert_true(fd_read_full(fd, buf, sizeof(buf) - 1) >= 0);
	assert_string_equal(buf, text);
}

static void replaces_what_is_there(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(fd_write_file(at("file"), 0640, "long text", 9), 0);
	assert_int_equal(fd_write_file(at("file"), 0600, "new", 3), 0);
	holds("file", "new");
	assert_int_equal(stat(at("file"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(n_entries(), 1);
}

static void follows_no_link(void **state)
{
	(void)state;
	assert_int_equal(fd_write_file(at("file"), 0600, "old", 3), 0);
	assert_int_equal(symlink("file", at("link")), 0);
	assert_int_equal(fd_write_file(at("link"), 0600, "new", 3), 0);
	holds("file", "old");
	holds("link", "new");
}

static void goes_round_what_a_killed_one_left(void **state)
{
	char name[32];

	(void)state;
	snprintf(name, sizeof(name), ".file.%d-0", (int)getpid());
	assert_int_equal(symlink("/nowhere", at(name)), 0);
	assert_int_equal(fd_write_file(at("file"), 0600, "new", 3), 0);
	holds("file", "new");
	assert_int_equal(unlink(at(name)), 0);
}

static void leaves_nothing_when_it_fails(void **state)
{
	char name[300];

	(void)state;
	assert_int_equal(mkdir(at("sub"), 0700), 0);
	assert_int_equal(fd_write_file(at("sub"), 0600, "x", 1), -EISDIR);
	assert_int_equal(n_entries(), 1);
	assert_int_equal(fd_write_file(at("none/file"), 0600, "x", 1), -ENOENT);
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(fd_write_file(name, 0600, "x", 1), -ENAMETOOLONG);
}

/* Renames anywhere disturb whoever walks a bounded path with ".." in it. */
struct renamer {
	pthread_t thread;
	atomic_bool stop;
};

static void *rename_on(void *arg)
{
	struct renamer *r = arg;

	while (!atomic_load(&r->stop)) {
		(void)!rename(at("a"), at("b"));
		(void)!rename(at("b"), at("a"));
	}
	return NULL;
}

static int raw_openat2(int start, const char *path, uint64_t resolve)
{
	struct open_how how = { .flags = O_PATH, .resolve = resolve };

	return (int)syscall(SYS_openat2, start, path, &how, sizeof(how));
}

static void opens_however_others_rename(void **state)
{
	struct renamer renamer = { 0 };
	char path[256] = "sub";
	bool disturbed = false;
	int start = open(at("."), O_PATH | O_DIRECTORY);

	(void)state;
	assert_true(start >= 0);
	assert_int_equal(mkdir(at("sub"), 0700), 0);
	assert_int_equal(mkdir(at("a"), 0700), 0);
	for (int i = 0; i < 20; i++)
		strcat(path, "/../sub");
	assert_int_equal(pthread_create(&renamer.thread, NULL, rename_on, &renamer), 0);
	/* As long as it takes for the kernel itself to have given up once. */
	for (unsigned n = 0; !disturbed && look_again(&n);) {
		for (int i = 0; i < 100 && !disturbed; i++) {
			int fd = raw_openat2(start, path, RESOLVE_BENEATH);

			disturbed = fd < 0 && errno == EAGAIN;
			fd_close(fd);
			fd = fd_open_under(start, path, O_PATH, 0, RESOLVE_BENEATH);
			assert_true(fd >= 0);
			fd_close(fd);
		}
	}
	atomic_store(&renamer.stop, true);
	pthread_join(renamer.thread, NULL);
	assert_true(disturbed);
	assert_int_equal(fd_open_under(start, "../none", O_PATH, 0, RESOLVE_BENEATH), -EXDEV);
	assert_int_equal(fd_open_under(start, "none", O_PATH, 0, RESOLVE_BENEATH), -ENOENT);
	close(start);
}

static void waits_its_time_or_for_an_event(void **state)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	struct pollfd p = { .fd = fds[0], .events = POLLIN };
	uint64_t start = clock_monotonic_ns();

	assert_int_equal(fd_wait(&p, 1, 20), 0);
	assert_true(clock_monotonic_ns() - start >= 20 * NSEC_PER_MSEC);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(fd_wait(&p, 1, 3600000), 1);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replaces_what_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(follows_no_link, setup, teardown),
		cmocka_unit_test_setup_teardown(goes_round_what_a_killed_one_left, setup, teardown),
		cmocka_unit_test_setup_teardown(leaves_nothing_when_it_fails, setup, teardown),
		cmocka_unit_test(waits_its_time_or_for_an_event),
		cmocka_unit_test_setup_teardown(opens_however_others_rename, setup, teardown),
	};

	return cmocka_run_group_tests_name("base/fd", tests, NULL, NULL);
}
