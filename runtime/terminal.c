/* SPDX-License-Identifier: Apache-2.0 */
/* The person's terminal as a VM's console. */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

#define KEY_ESCAPE 0x01 /* ctrl-a */
#define RELAY_MAX  1024

/*
 * What to put back, for the signal and exit handlers, which have no argument. The one piece of
 * mutable file-scope state here: a process has one controlling terminal.
 */
static struct {
	struct termios saved;
	volatile sig_atomic_t armed;
} tty;

static void restore(void)
{
	if (tty.armed) {
		tty.armed = 0;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &tty.saved);
	}
}

/* A crash: put the terminal back, then die of it. */
static void on_fatal(int sig)
{
	restore();
	signal(sig, SIG_DFL);
	raise(sig);
}

static int set_raw(struct err *err)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &tty.saved) < 0)
		return err_errno(err, errno, "read the terminal's settings");
	raw = tty.saved;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST; /* kernel messages end in a bare newline at times */
	tty.armed = 1;
	atexit(restore);
	for (unsigned i = 0; i < ARRAY_LEN(fatal); i++) {
		struct sigaction old;

		/* The software CPU handles some of these itself: only take what nobody has. */
		if (sigaction(fatal[i], NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) &&
		    old.sa_handler == SIG_DFL)
			signal(fatal[i], on_fatal);
	}
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		return err_errno(err, errno, "change the terminal's settings");
	return 0;
}

/*
 * Standard output that never blocks the device thread. A terminal or pipe is opened anew, so that
 * the description which other processes share stays as it is; a file never blocks and must keep its
 * shared offset.
 */
static int open_output(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDOUT_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
}

static int open_signals(struct terminal *t)
{
	static const int wanted[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT
	};
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
		sigaddset(&set, wanted[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	t->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return t->signal_fd < 0 ? -errno : 0;
}

int terminal_open(struct terminal *t, struct err *err)
{
	int fds[2], r;

	*t = (struct terminal){ .in_read = -1, .in_write = -1, .out_fd = -1, .signal_fd = -1 };
	r = open_signals(t);
	if (r < 0)
		return err_errno(err, -r, "watch for signals");
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(err, errno, "create a pipe");
	t->in_read = fds[0];
	t->in_write = fds[1];
	t->out_fd = open_output();
	if (t->out_fd < 0)
		return err_errno(err, errno, "open standard output");
	t->is_tty = isatty(STDIN_FILENO);
	return t->is_tty ? set_raw(err) : 0;
}

void terminal_close(struct terminal *t)
{
	restore();
	fd_close(t->in_read);
	fd_close(t->in_write);
	fd_close(t->out_fd);
	fd_close(t->signal_fd);
}

/* Filter the escape key out. Returns bytes left in @buf; sets *@ret_exit for ctrl-a x. */
static size_t filter(struct terminal *t, char *buf, size_t len, bool *ret_exit)
{
	size_t out = 0;

	for (size_t i = 0; i < len && !*ret_exit; i++) {
		if (!t->escape && buf[i] == KEY_ESCAPE) {
			t->escape = true;
			continue;
		}
		if (t->escape) {
			t->escape = false;
			if (buf[i] == 'x' || buf[i] == 'X') {
				*ret_exit = true;
				break;
			}
			if (buf[i] != KEY_ESCAPE && buf[i] != 'a')
				continue;
			buf[out++] = KEY_ESCAPE;
			continue;
		}
		buf[out++] = buf[i];
	}
	return out;
}

/* Returns true for ctrl-a x. A pipe that is full drops what is typed, as a terminal does. */
static bool move_input(struct terminal *t)
{
	char buf[RELAY_MAX];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
	bool leave = false;
	size_t len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		t->in_ended = true;
		fd_close(t->in_write);
		t->in_write = -1;
		return false;
	}
	len = t->is_tty ? filter(t, buf, (size_t)n, &leave) : (size_t)n;
	if (len && fd_write_full(t->in_write, buf, len) < 0) {
		/* The machine does not read. */
	}
	return leave;
}

static void tell_size(void (*resize)(void *opaque, unsigned cols, unsigned rows), void *opaque)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col && ws.ws_row)
		resize(opaque, ws.ws_col, ws.ws_row);
}

/* The terminal as the shell left it while we are stopped. */
static void suspend(struct terminal *t)
{
	struct termios raw;
	bool was_raw = t->is_tty && tcgetattr(STDIN_FILENO, &raw) == 0;

	if (was_raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &tty.saved);
	kill(getpid(), SIGSTOP);
	if (was_raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

enum terminal_event terminal_relay(struct terminal *t, int vm_exit_fd,
				   void (*resize)(void *opaque, unsigned cols, unsigned rows),
				   void *opaque, int *ret_signal)
{
	struct signalfd_siginfo info;

	tell_size(resize, opaque);
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = vm_exit_fd, .events = POLLIN },
			{ .fd = t->signal_fd, .events = POLLIN },
			{ .fd = t->in_ended ? -1 : STDIN_FILENO, .events = POLLIN },
			{ .fd = -1, .events = POLLOUT },
		};
		struct pollfd room = { .fd = t->in_write, .events = POLLOUT };

		/* Not a terminal: take input only as fast as the guest does. */
		if (!t->is_tty && !t->in_ended && poll(&room, 1, 0) == 0) {
			fds[2].fd = -1;
			fds[3].fd = t->in_write;
		}
		if (poll(fds, ARRAY_LEN(fds), -1) < 0)
			continue;
		if (fds[0].revents)
			return TERMINAL_VM_ENDED;
		if (fds[2].revents && move_input(t))
			return TERMINAL_ESCAPE_EXIT;
		if (!fds[1].revents || read(t->signal_fd, &info, sizeof(info)) != sizeof(info))
			continue;
		if (info.ssi_signo == SIGWINCH) {
			tell_size(resize, opaque);
		} else if (info.ssi_signo == SIGTSTP) {
			suspend(t);
		} else if (info.ssi_signo != SIGCONT) {
			*ret_signal = (int)info.ssi_signo;
			return TERMINAL_SIGNAL;
		}
	}
}
