/* SPDX-License-Identifier: Apache-2.0 */
/* Staying with a process in the foreground. */
#include "foreground.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "console.h"

#define SIGNAL_STATUS 128

/* Those that mean this process itself are left alone. */
static void passed_on(sigset_t *set)
{
	static const int own[] = { SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGFPE,	SIGILL, SIGABRT,
				   SIGTRAP, SIGSYS,  SIGPIPE, SIGCHLD, SIGTTIN, SIGTTOU };

	sigfillset(set);
	for (unsigned i = 0; i < ARRAY_LEN(own); i++)
		sigdelset(set, own[i]);
}

int foreground_begin(struct err *err)
{
	sigset_t set;

	passed_on(&set);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
		return err_errno(err, errno, "sigprocmask");
	return 0;
}

struct child {
	pid_t pid;
	int status;
	bool ended;
};

static int child_ended(void *opaque, int *ret)
{
	struct child *c = opaque;

	if (!c->ended && waitpid(c->pid, &c->status, WNOHANG) == c->pid)
		c->ended = true;
	*ret = WIFSIGNALED(c->status) ? SIGNAL_STATUS + WTERMSIG(c->status)
				      : WEXITSTATUS(c->status);
	return c->ended;
}

static void child_signal(void *opaque, int sig)
{
	struct child *c = opaque;

	if (!c->ended)
		kill(c->pid, sig);
}

struct staying {
	const struct foreground_ops *ops;
	int signal_fd, terminal;
};

void foreground_size(int terminal)
{
	unsigned rows, cols;

	console_size(STDIN_FILENO, &rows, &cols);
	if (terminal >= 0 && rows && cols)
		console_set_size(terminal, rows, cols);
}

static void resize(const struct staying *s)
{
	unsigned rows, cols;

	foreground_size(s->terminal);
	console_size(STDIN_FILENO, &rows, &cols);
	/* Without a terminal of ours it is for the other side to know one. */
	if (s->ops->resize)
		s->ops->resize(s->ops->opaque, rows, cols);
}

static void on_signal(void *opaque)
{
	const struct staying *s = opaque;
	struct signalfd_siginfo si;

	while (read(s->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGWINCH)
			resize(s);
		else
			s->ops->signal(s->ops->opaque, (int)si.ssi_signo);
	}
}

static void wait_plain(struct staying *s)
{
	for (;;) {
		struct pollfd p[] = { { .fd = s->ops->done_fd, .events = POLLIN },
				      { .fd = s->signal_fd, .events = POLLIN } };

		if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
			return;
		if (p[1].revents)
			on_signal(s);
		if (p[0].revents)
			return;
	}
}

int foreground_wait(pid_t pid, int terminal, const struct foreground_ops *ops, struct err *err)
{
	struct child child = { .pid = pid };
	struct foreground_ops own = { .opaque = &child,
				      .ended = child_ended,
				      .signal = child_signal };
	int AUTO_FD pid_fd = -1;
	int AUTO_FD signal_fd = -1;
	int AUTO_FD master = terminal;
	int status = 0, r = 0;
	sigset_t set;

	passed_on(&set);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return err_errno(err, errno, "signalfd");
	if (!ops) {
		pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (pid_fd < 0)
			return err_errno(err, errno, "pidfd_open");
		own.done_fd = pid_fd;
		ops = &own;
	}
	struct staying s = { .ops = ops, .signal_fd = signal_fd, .terminal = master };

	if (ops->lock_down)
		r = ops->lock_down(err);
	/* Who has the terminal may have changed it before its signals came here. */
	if (r == 0 && (master >= 0 || ops->resize))
		resize(&s);
	/* Also when it has ended: what it said may be in the terminal still. */
	while (r == 0) {
		if (master >= 0)
			r = console_relay(master, ops->done_fd, signal_fd, on_signal, &s, err);
		else
			wait_plain(&s);
		if (ops->ended(ops->opaque, &status))
			break;
	}
	return r < 0 ? r : status;
}
