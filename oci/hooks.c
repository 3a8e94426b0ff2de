/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks: programs of the host that run at points of a container's life. */
#include "oci/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

#define STDERR_KEPT 256
#define EXEC_FAILED 127

const char *oci_hook_kind_str(enum oci_hook_kind kind)
{
	static const char *const names[OCI_HOOK_MAX_] = {
		[OCI_HOOK_PRESTART] = "prestart",
		[OCI_HOOK_CREATE_RUNTIME] = "createRuntime",
		[OCI_HOOK_CREATE_CONTAINER] = "createContainer",
		[OCI_HOOK_START_CONTAINER] = "startContainer",
		[OCI_HOOK_POSTSTART] = "poststart",
		[OCI_HOOK_POSTSTOP] = "poststop",
	};

	return (unsigned)kind < OCI_HOOK_MAX_ ? names[kind] : "?";
}

struct run {
	pid_t pid;
	int pid_fd, in_fd, err_fd;
	const char *input;
	size_t input_len;
	char tail[STDERR_KEPT + 1];
	size_t tail_len;
};

static void child(const struct oci_hook *hook, const char *cwd, int in_fd, int err_fd)
{
	static char *const empty[] = { NULL };
	char *just_path[] = { (char *)(uintptr_t)hook->path, NULL };
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0);
	if (null_fd < 0 || dup2(in_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0 ||
	    dup2(err_fd, STDERR_FILENO) < 0 || (cwd && chdir(cwd) < 0)) {
		dprintf(err_fd, "%s", err_str(errno));
		_exit(EXEC_FAILED);
	}
	close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	execve(hook->path, hook->args.n ? hook->args.v : just_path,
	       hook->env.v ? hook->env.v : empty);
	dprintf(STDERR_FILENO, "%s", err_str(errno));
	_exit(EXEC_FAILED);
}

static int start(const struct oci_hook *hook, const char *cwd, struct run *run, struct err *err)
{
	int in[2] = { -1, -1 }, errs[2] = { -1, -1 };

	if (pipe2(in, O_CLOEXEC) < 0)
		return err_errno(err, errno, "pipe");
	if (pipe2(errs, O_CLOEXEC) < 0) {
		int r = err_errno(err, errno, "pipe");

		fd_close(in[0]);
		fd_close(in[1]);
		return r;
	}
	run->pid = fork();
	if (run->pid == 0)
		child(hook, cwd, in[0], errs[1]);
	fd_close(in[0]);
	fd_close(errs[1]);
	run->in_fd = in[1];
	run->err_fd = errs[0];
	if (run->pid < 0)
		return err_errno(err, errno, "fork");
	setpgid(run->pid, run->pid);
	run->pid_fd = (int)syscall(SYS_pidfd_open, run->pid, 0);
	if (run->pid_fd < 0)
		return err_errno(err, errno, "pidfd_open");
	fcntl(run->in_fd, F_SETFL, O_NONBLOCK);
	fcntl(run->err_fd, F_SETFL, O_NONBLOCK);
	return 0;
}

static void feed(struct run *run)
{
	ssize_t n = write(run->in_fd, run->input, run->input_len);

	if (n > 0) {
		run->input += n;
		run->input_len -= (size_t)n;
	}
	/* A hook need not read its input. */
	if (run->input_len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		fd_close(run->in_fd);
		run->in_fd = -1;
	}
}

/* Keep the last bytes. */
static void collect(struct run *run)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(run->err_fd, buf, sizeof(buf))) > 0) {
		size_t keep = MIN((size_t)n, (size_t)STDERR_KEPT);
		size_t old = MIN(run->tail_len, STDERR_KEPT - keep);

		memmove(run->tail, run->tail + run->tail_len - old, old);
		memcpy(run->tail + old, buf + n - keep, keep);
		run->tail_len = old + keep;
	}
	if (n == 0) {
		fd_close(run->err_fd);
		run->err_fd = -1;
	}
}

/* Serve the pipes until the hook has ended. Return: 0; -ETIMEDOUT; negative errno. */
static int serve(struct run *run, uint64_t deadline)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = run->pid_fd, .events = POLLIN },
			{ .fd = run->in_fd, .events = POLLOUT },
			{ .fd = run->err_fd, .events = POLLIN },
		};
		uint64_t now = clock_monotonic_ns();
		int wait_ms = -1;

		if (deadline && now >= deadline)
			return -ETIMEDOUT;
		if (deadline)
			wait_ms = (int)MIN((deadline - now) / NSEC_PER_MSEC + 1, 60000ULL);
		if (poll(p, ARRAY_LEN(p), wait_ms) < 0 && errno != EINTR)
			return -errno;
		if (p[2].revents)
			collect(run);
		if (p[1].revents)
			feed(run);
		if (p[0].revents)
			return 0;
	}
}

static int report(struct run *run, int status, struct err *err)
{
	size_t n = run->tail_len;

	while (n && (unsigned char)run->tail[n - 1] <= ' ')
		n--;
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)run->tail[i] < ' ')
			run->tail[i] = ' ';
	}
	run->tail[n] = '\0';
	if (WIFSIGNALED(status))
		return err_set(err, -ECHILD, "ended by signal %d%s%s", WTERMSIG(status),
			       n ? ": " : "", run->tail);
	if (WEXITSTATUS(status))
		return err_set(err, -ECHILD, "exit status %d%s%s", WEXITSTATUS(status),
			       n ? ": " : "", run->tail);
	return 0;
}

int oci_hook_run(const struct oci_hook *hook, const char *cwd, const char *input, struct err *err)
{
	struct run run = { .pid = -1,
			   .pid_fd = -1,
			   .in_fd = -1,
			   .err_fd = -1,
			   .input = input,
			   .input_len = strlen(input) };
	uint64_t deadline = 0;
	int status = 0, r;

	if (hook->timeout.set)
		deadline = clock_monotonic_ns() + (uint64_t)hook->timeout.v * NSEC_PER_SEC;
	r = start(hook, cwd, &run, err);
	if (r == 0) {
		r = serve(&run, deadline);
		if (r == -ETIMEDOUT)
			err_set(err, r, "not done after %lld seconds", (long long)hook->timeout.v);
		else if (r < 0)
			err_errno(err, -r, "poll");
	}
	if (run.pid > 0) {
		if (r < 0)
			kill(-run.pid, SIGKILL);
		while (waitpid(run.pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (run.err_fd >= 0)
		collect(&run);
	if (r == 0)
		r = report(&run, status, err);
	fd_close(run.pid_fd);
	fd_close(run.in_fd);
	fd_close(run.err_fd);
	return r;
}

int oci_hooks_run(const struct oci_config *config, enum oci_hook_kind kind, const char *cwd,
		  const char *input, struct err *err)
{
	if (!config->hooks)
		return 0;
	for (size_t i = 0; i < config->hooks->of[kind].n; i++) {
		const struct oci_hook *hook = &config->hooks->of[kind].v[i];
		int r = oci_hook_run(hook, cwd, input, err);

		if (r < 0)
			return err_wrap(err, r, "%s hook %zu '%s'", oci_hook_kind_str(kind), i,
					hook->path);
	}
	return 0;
}
