/* SPDX-License-Identifier: Apache-2.0 */
/* The way into each role. */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "sandbox/crash.h"
#include "sandbox/filter.h"
#include "sandbox/rights.h"
#include "sandbox/root.h"

struct sandbox {
	struct filter filters[SANDBOX_MAX_];
	int proc_fd; /* how a thread with an empty root finds its descriptors */
};

int sandbox_mode_read(enum sandbox_mode *ret, struct err *err)
{
	static const char *const names[SANDBOX_MODE_MAX_] = { "enforce", "log", "trace" };
	const char *word = getenv("HUSK_SECCOMP");

	for (unsigned i = 0; i < SANDBOX_MODE_MAX_; i++) {
		if (strcmp(word ? word : names[0], names[i]))
			continue;
		if (i == SANDBOX_LOG)
			log_warn("HUSK_SECCOMP: filters only log, nothing is refused");
		*ret = (enum sandbox_mode)i;
		return 0;
	}
	return err_set(err, -EINVAL, "HUSK_SECCOMP: '%.40s' (there are: enforce, log, trace)",
		       word);
}

int sandbox_new(enum sandbox_mode mode, struct sandbox **ret, struct err *err)
{
	CLEANUP(sandbox_freep) struct sandbox *sb = calloc(1, sizeof(*sb));
	int r = 0;

	if (!sb)
		return err_set(err, -ENOMEM, "sandbox");
	sb->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (sb->proc_fd < 0)
		return err_errno(err, errno, "open '/proc'");
	for (unsigned role = 0; role < SANDBOX_PROXY && r == 0; role++)
		r = filter_make(role, mode, &sb->filters[role], err);
	if (r == 0)
		*ret = STEAL_PTR(sb);
	return r;
}

void sandbox_free(struct sandbox *sb)
{
	if (!sb)
		return;
	for (unsigned role = 0; role < SANDBOX_MAX_; role++)
		filter_done(&sb->filters[role]);
	fd_close(sb->proc_fd);
	free(sb);
}

/* Guest code runs here, so least of all is within reach. */
static int leave_table(const struct sandbox *sb, struct err *err)
{
	static const int keep[] = { STDERR_FILENO };

	if (unshare(CLONE_FILES) < 0)
		return err_errno(err, errno, "leave the descriptor table");
	return fds_close_but(sb->proc_fd, FDS_EVENTS | FDS_TIMERS | FDS_KVM, keep, 1, err);
}

int sandbox_enter(struct sandbox *sb, enum sandbox_role role, struct err *err)
{
	int r = crash_name_thread(sandbox_role_str(role), err);

	if (r == 0 && role == SANDBOX_VCPU)
		r = leave_table(sb, err);
	/* The last one. */
	if (role == SANDBOX_CONTROL)
		fd_close(fd_steal(&sb->proc_fd));
	return r < 0 ? r : filter_install(&sb->filters[role], err);
}

int sandbox_enter_proxy(struct err *err)
{
	CLEANUP(filter_done) struct filter filter = { 0 };
	enum sandbox_mode mode;
	int r = sandbox_mode_read(&mode, err);

	if (r == 0)
		r = filter_make(SANDBOX_PROXY, mode, &filter, err);
	if (r == 0)
		r = sandbox_restrain(err);
	if (r == 0)
		r = caps_drop(err);
	if (r == 0)
		r = crash_name_thread(sandbox_role_str(SANDBOX_PROXY), err);
	return r < 0 ? r : filter_install(&filter, err);
}

int sandbox_restrain(struct err *err)
{
	int r = rights_no_new(err);

	/* libc reads the time zone's file the first time that it is asked for a date. */
	tzset();
	/* Its allocator reads /proc/sys/vm/overcommit_memory before it shrinks the heap of a
	 * thread. */
	mallopt(M_TRIM_THRESHOLD, -1);
	if (r == 0)
		r = limits_process(err);
	return r < 0 ? r : crash_watch(err);
}

int sandbox_leave_root(struct err *err)
{
	int r = root_empty(err);

	return r < 0 ? r : caps_drop(err);
}

/* ---- a file server's threads ---- */

int sandbox_files_enter(void *opaque, int keep_fd, struct err *err)
{
	const struct sandbox_files *f = opaque;
	AUTO_FD int root = -1;
	int r;

	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(err, errno, "make a mount namespace");
	root = root_change(f->tree_fd, err);
	if (root < 0)
		return root;
	r = fds_close_but(f->sb->proc_fd, FDS_EVENTS, (int[]){ STDERR_FILENO, keep_fd, root }, 3,
			  err);
	return r < 0 ? r : fd_steal(&root);
}

int sandbox_files_close(void *opaque, struct err *err)
{
	const struct sandbox_files *f = opaque;
	int r = rights_no_new(err);

	if (r < 0)
		return r;
	return f->unprivileged ? caps_drop(err) : caps_keep_files(err);
}

int sandbox_files_seal(void *opaque, struct err *err)
{
	const struct sandbox_files *f = opaque;

	return sandbox_enter(f->sb, SANDBOX_FILES, err);
}
