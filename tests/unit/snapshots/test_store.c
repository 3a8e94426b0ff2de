/* SPDX-License-Identifier: Apache-2.0 */
/* Stores: published whole or not at all, locked while being made, kept within a limit. */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "snapshots/memory.h"
#include "snapshots/store.h"

#define PAGE 4096u

struct fixture {
	char path[64];
	int fd;
	uint8_t *page;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/husk-test-store.XXXXXX");
	*state = f;
	f->page = aligned_alloc(PAGE, 4 * PAGE);
	memset(f->page, 0x77, 4 * PAGE);
	if (!mkdtemp(f->path))
		return -1;
	f->fd = snap_store_open(f->path, false, NULL);
	return f->fd < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char cmd[128];

	fd_close(f->fd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", f->path);
	free(f->page);
	free(f);
	return system(cmd);
}

static void describe(struct snap_manifest *m)
{
	strcpy(m->husk, "0");
	strcpy(m->kind, "early");
	strcpy(m->arch, "x86_64");
	memset(m->key, '0', SHA256_HEX);
	memset(m->cpuid, '0', SHA256_HEX);
	m->n_vcpus = 1;
}

static void write_files(struct fixture *f, struct snap_new *s)
{
	const struct snap_range range = { f->page, 4 * PAGE, 0 };
	struct snap_buf b = { 0 };

	assert_int_equal(snap_memory_write(s->memory_fd, &range, 1, -1, NULL, NULL), 0);
	assert_int_equal(snap_sections_add(&b, "rtc", 0, true, "abcd", 4, NULL), 0);
	assert_int_equal(snap_sections_finish(&b, NULL), 0);
	assert_int_equal(fd_write_full(s->state_fd, b.p, b.len), 0);
	snap_buf_done(&b);
}

static int make(struct fixture *f, const char *name, bool replace)
{
	struct snap_manifest m = { 0 };
	struct snap_new s = SNAP_NEW_NONE;
	int r = snap_begin(f->fd, name, &s, NULL);

	if (r < 0)
		return r;
	write_files(f, &s);
	describe(&m);
	r = snap_publish(&s, &m, replace, NULL);
	snap_manifest_done(&m);
	return r;
}

static int count(struct fixture *f)
{
	DIR *d = opendir(f->path);
	int n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static int open_it(struct fixture *f, const char *name, struct err *err)
{
	struct snapshot s = SNAPSHOT_NONE;
	int r = snap_open(f->fd, name, &s, err);

	snap_close(&s);
	return r;
}

static void opens_what_was_published(void **state)
{
	struct fixture *f = *state;
	struct snapshot s = SNAPSHOT_NONE;
	uint8_t got[PAGE];

	assert_int_equal(open_it(f, "abc", NULL), -ENOENT);
	assert_int_equal(make(f, "abc", false), 0);
	assert_int_equal(snap_open(f->fd, "abc", &s, NULL), 0);
	assert_non_null(snap_sections_find(&s.sections, "rtc", 0));
	assert_int_equal(pread(s.memory_fd, got, PAGE, PAGE), PAGE);
	assert_memory_equal(got, f->page, PAGE);
	assert_int_equal(snap_memory_verify(s.memory_fd, &s.manifest, NULL), 0);
	/* Who has it open keeps it. */
	assert_int_equal(snap_remove(f->fd, "abc", NULL), 0);
	assert_int_equal(pread(s.memory_fd, got, PAGE, PAGE), PAGE);
	snap_close(&s);
	assert_int_equal(open_it(f, "abc", NULL), -ENOENT);
	assert_int_equal(count(f), 0);
}

static void code_is_there_or_not(void **state)
{
	struct fixture *f = *state;
	struct snap_manifest m = { 0 };
	struct snap_new n = SNAP_NEW_NONE;
	struct snapshot s = SNAPSHOT_NONE;
	struct snap_entry *v = NULL;
	char got[4];

	assert_int_equal(make(f, "without", false), 0);
	assert_int_equal(snap_open(f->fd, "without", &s, NULL), 0);
	assert_int_equal(s.code_fd, -1);
	snap_close(&s);
	assert_int_equal(snap_begin(f->fd, "with", &n, NULL), 0);
	write_files(f, &n);
	assert_int_equal(fd_write_full(n.code_fd, "code", 4), 0);
	describe(&m);
	assert_int_equal(snap_publish(&n, &m, false, NULL), 0);
	snap_manifest_done(&m);
	assert_int_equal(snap_open(f->fd, "with", &s, NULL), 0);
	assert_int_equal(pread(s.code_fd, got, 4, 0), 4);
	assert_memory_equal(got, "code", 4);
	snap_close(&s);
	assert_int_equal(snap_list(f->fd, &v, NULL), 2);
	free(v);
	/* What others could have written does not run; the rest is as good as ever. */
	assert_int_equal(fchmodat(f->fd, "with/code", 0620, 0), 0);
	assert_int_equal(snap_open(f->fd, "with", &s, NULL), 0);
	assert_int_equal(s.code_fd, -1);
	snap_close(&s);
	assert_int_equal(snap_remove(f->fd, "with", NULL), 0);
	assert_int_equal(snap_remove(f->fd, "without", NULL), 0);
	assert_int_equal(count(f), 0);
}

static void second_maker_finds_out(void **state)
{
	struct fixture *f = *state;
	struct snap_new s = SNAP_NEW_NONE, other = SNAP_NEW_NONE;

	assert_int_equal(snap_begin(f->fd, "abc", &s, NULL), 0);
	assert_int_equal(snap_begin(f->fd, "abc", &other, NULL), -EBUSY);
	assert_int_equal(open_it(f, "abc", NULL), -ENOENT);
	snap_abandon(&s);
	assert_int_equal(count(f), 0);
	assert_int_equal(make(f, "abc", false), 0);
	assert_int_equal(make(f, "abc", false), -EEXIST);
	assert_int_equal(make(f, "abc", true), 0);
	assert_int_equal(count(f), 1);
	assert_int_equal(open_it(f, "abc", NULL), 0);
}

/* Killed at each of its steps, a maker leaves nothing visible and nobody is kept from going on. */
static void survives_a_killed_maker(void **state)
{
	struct fixture *f = *state;

	for (int step = 0; step < 3; step++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			struct snap_new s = SNAP_NEW_NONE;

			if (snap_begin(f->fd, "abc", &s, NULL) == 0 && step > 0)
				write_files(f, &s);
			if (step > 1)
				close(openat(s.dir_fd, "manifest.json", O_CREAT | O_WRONLY, 0600));
			raise(SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(open_it(f, "abc", NULL), -ENOENT);
	}
	assert_int_equal(count(f), 1);
	assert_int_equal(make(f, "abc", false), 0);
	assert_int_equal(count(f), 1);
	assert_int_equal(open_it(f, "abc", NULL), 0);
}

/* Whether there is a snapshot; it must be whole then, and goes. */
static bool take_away(struct fixture *f)
{
	struct snapshot s = SNAPSHOT_NONE;
	int r = snap_open(f->fd, "abc", &s, NULL);

	if (r == -ENOENT)
		return false;
	assert_int_equal(r, 0);
	assert_int_equal(snap_memory_verify(s.memory_fd, &s.manifest, NULL), 0);
	snap_close(&s);
	assert_int_equal(snap_remove(f->fd, "abc", NULL), 0);
	return true;
}

/* A maker that ends after @n_stops stops at system calls. Return: false: it came to its own end. */
static bool make_and_die(struct fixture *f, unsigned n_stops)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(2);
		raise(SIGSTOP);
		_exit(make(f, "abc", false) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	for (unsigned i = 0; i < n_stops && WIFSTOPPED(status); i++) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	if (!WIFSTOPPED(status)) {
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		return false;
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return true;
}

static void killed_at_any_system_call_leaves_a_whole_one_or_none(void **state)
{
	struct fixture *f = *state;
	unsigned n = 1, n_none = 0, n_whole = 0;

	for (; make_and_die(f, n); n++) {
		if (take_away(f))
			n_whole++;
		else
			n_none++;
		/* Whatever was left, the next one goes its way. */
		if (n % 8 == 0) {
			assert_int_equal(make(f, "abc", false), 0);
			assert_true(take_away(f));
		}
	}
	assert_true(take_away(f));
	assert_true(n_none > 10 && n_whole > 0);
}

static void full_disk_leaves_none(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, now;
	unsigned n_failed = 0;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	for (rlim_t limit = 0; limit <= 5 * PAGE; limit += 128) {
		struct snap_manifest m = { 0 };
		struct snap_new s = SNAP_NEW_NONE;
		const struct snap_range range = { f->page, 4 * PAGE, 0 };
		struct snap_buf b = { 0 };
		int r;

		now = (struct rlimit){ limit, old.rlim_max };
		assert_int_equal(snap_begin(f->fd, "abc", &s, NULL), 0);
		setrlimit(RLIMIT_FSIZE, &now);
		r = snap_memory_write(s.memory_fd, &range, 1, -1, NULL, NULL);
		if (r == 0)
			r = snap_sections_finish(&b, NULL);
		if (r == 0)
			r = fd_write_full(s.state_fd, b.p, b.len);
		describe(&m);
		if (r == 0)
			r = snap_publish(&s, &m, false, NULL);
		setrlimit(RLIMIT_FSIZE, &old);
		snap_abandon(&s);
		snap_manifest_done(&m);
		snap_buf_done(&b);
		assert_int_equal(take_away(f), r == 0);
		n_failed += r < 0;
	}
	signal(SIGXFSZ, SIG_DFL);
	assert_true(n_failed > 100);
	assert_int_equal(count(f), 0);
	assert_int_equal(make(f, "abc", false), 0);
}

static void prunes_the_least_recently_used(void **state)
{
	static const char *const names[] = { "a1", "b2", "c3" };
	struct fixture *f = *state;
	struct snap_entry *v = NULL;
	struct snap_new s = SNAP_NEW_NONE;

	for (unsigned i = 0; i < 3; i++) {
		struct timespec t[2] = { { .tv_sec = 1000 + i }, { .tv_sec = 1000 + i } };

		assert_int_equal(make(f, names[i], false), 0);
		utimensat(f->fd, names[i], t, 0);
	}
	/* What a dead maker left goes too, what a living one has does not. */
	assert_int_equal(mkdirat(f->fd, ".new-dead", 0700), 0);
	assert_int_equal(snap_begin(f->fd, "alive", &s, NULL), 0);
	assert_int_equal(snap_list(f->fd, &v, NULL), 3);
	assert_string_equal(v[0].name, "c3");
	assert_int_equal(snap_prune(f->fd, v[0].bytes, NULL), 2);
	assert_int_equal(open_it(f, "c3", NULL), 0);
	assert_int_equal(open_it(f, "a1", NULL), -ENOENT);
	assert_int_equal(count(f), 2);
	free(v);
	snap_abandon(&s);
}

/* Each in a process of its own that goes on until it is killed. */
static pid_t disturb(struct fixture *f, void (*how)(struct fixture *f))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	while (pid == 0)
		how(f);
	return pid;
}

static void sweep_it(struct fixture *f)
{
	(void)snap_prune(f->fd, UINT64_MAX, NULL);
}

/* As machines do that began with it. */
static void record_it(struct fixture *f)
{
	int AUTO_FD dir = openat(f->fd, "abc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < 100; i++)
		fd_close(openat(dir, "workset", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}

static void removing_and_replacing_are_not_disturbed(void **state)
{
	struct fixture *f = *state;
	const pid_t others[] = { disturb(f, sweep_it), disturb(f, record_it) };
	int r = 0;

	for (int i = 0; r == 0 && i < 25; i++) {
		r = make(f, "abc", false);
		if (r == 0)
			r = make(f, "abc", true);
		if (r == 0)
			r = snap_remove(f->fd, "abc", NULL);
	}
	for (unsigned i = 0; i < 2; i++) {
		kill(others[i], SIGKILL);
		waitpid(others[i], NULL, 0);
	}
	assert_int_equal(r, 0);
	assert_int_equal(count(f), 0);
}

static void refuses_what_others_can_write(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	assert_int_equal(make(f, "abc", false), 0);
	assert_int_equal(fchmodat(f->fd, "abc", 0777, 0), 0);
	assert_int_equal(open_it(f, "abc", &err), -EPERM);
	assert_non_null(strstr(err.msg, "writable by others"));
	assert_int_equal(fchmodat(f->fd, "abc", 0700, 0), 0);
	assert_int_equal(fchmodat(f->fd, "abc/memory", 0620, 0), 0);
	assert_int_equal(open_it(f, "abc", &err), -EPERM);
	assert_int_equal(chmod(f->path, 0770), 0);
	assert_int_equal(snap_store_open(f->path, false, NULL), -EPERM);
	if (geteuid() == 0) {
		assert_int_equal(chmod(f->path, 0700), 0);
		assert_int_equal(chown(f->path, 12345, 0), 0);
		assert_int_equal(snap_store_open(f->path, false, &err), -EPERM);
		assert_non_null(strstr(err.msg, "user 12345"));
	}
}

static void refuses_files_that_do_not_belong_together(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(make(f, "abc", false), 0);
	f->page[0] = 1;
	assert_int_equal(make(f, "def", false), 0);
	assert_int_equal(renameat2(f->fd, "abc/state", f->fd, "def/state", RENAME_EXCHANGE), 0);
	/* the same state: harmless */
	assert_int_equal(open_it(f, "abc", NULL), 0);
	assert_int_equal(truncate(f->path, 0), -1);
	assert_int_equal(unlinkat(f->fd, "abc/memory", 0), 0);
	assert_int_equal(symlinkat("../def/memory", f->fd, "abc/memory"), 0);
	assert_int_equal(open_it(f, "abc", NULL), -ELOOP);
	assert_int_equal(unlinkat(f->fd, "def/state", 0), 0);
	assert_int_equal(open_it(f, "def", NULL), -ENOENT);
}

static void refuses_names_that_lead_elsewhere(void **state)
{
	static const char *const names[] = {
		"",	  "..", "a/b",
		".new-a", "A",	"00000000000000000000000000000000000000000000000000000000000000000"
	};
	struct fixture *f = *state;
	struct snap_new s = SNAP_NEW_NONE;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(open_it(f, names[i], NULL), -EINVAL);
		assert_int_equal(snap_begin(f->fd, names[i], &s, NULL), -EINVAL);
		assert_int_equal(snap_remove(f->fd, names[i], NULL), -EINVAL);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(opens_what_was_published),
		T(code_is_there_or_not),
		T(second_maker_finds_out),
		T(survives_a_killed_maker),
		T(killed_at_any_system_call_leaves_a_whole_one_or_none),
		T(full_disk_leaves_none),
		T(prunes_the_least_recently_used),
		T(removing_and_replacing_are_not_disturbed),
		T(refuses_what_others_can_write),
		T(refuses_files_that_do_not_belong_together),
		T(refuses_names_that_lead_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
