/* SPDX-License-Identifier: Apache-2.0 */
/* Running a host program and waiting for it. */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

#define EXIT_NO_CWD    125
#define EXIT_NOT_FOUND 127

/* In the child: only async-signal-safe calls. */
static void child(const char *const argv[], const char *cwd, int out_fd)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(out_fd, STDOUT_FILENO);
	if (cwd && chdir(cwd) < 0)
		_exit(EXIT_NO_CWD);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(EXIT_NOT_FOUND);
}

/* Keep the first @max - 1 bytes, read the rest away. */
static void collect(int fd, char *out, size_t max)
{
	char sink[512];
	ssize_t n = fd_read_full(fd, out, max - 1);

	out[n > 0 ? n : 0] = '\0';
	while (n > 0)
		n = fd_read_full(fd, sink, sizeof(sink));
}

static int wait_for(pid_t pid, const char *name, struct err *err)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return err_errno(err, errno, "wait for '%s'", name);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND)
		return err_set(err, -ENOENT, "'%s' is not installed", name);
	if (WIFEXITED(status))
		return err_set(err, -ECHILD, "'%s' failed with status %d", name,
			       WEXITSTATUS(status));
	return err_set(err, -ECHILD, "'%s' was ended by signal %d", name, WTERMSIG(status));
}

int process_run(const char *const argv[], const char *cwd, char *out, size_t out_max,
		struct err *err)
{
	int fds[2] = { -1, -1 };
	pid_t pid;

	if (out && pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, errno, "create a pipe");
	pid = fork();
	if (pid < 0) {
		int saved = errno;

		fd_close(fds[0]);
		fd_close(fds[1]);
		return err_errno(err, saved, "fork");
	}
	if (pid == 0)
		child(argv, cwd, out ? fds[1] : STDERR_FILENO);
	fd_close(fds[1]);
	if (out)
		collect(fds[0], out, out_max);
	fd_close(fds[0]);
	return wait_for(pid, argv[0], err);
}
