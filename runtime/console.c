/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals of containers on the host's side. */
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

void console_size(int fd, unsigned *ret_rows, unsigned *ret_cols)
{
	struct winsize ws = { 0 };

	ioctl(fd, TIOCGWINSZ, &ws);
	*ret_rows = ws.ws_row;
	*ret_cols = ws.ws_col;
}

void console_set_size(int fd, unsigned rows, unsigned cols)
{
	struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };

	ioctl(fd, TIOCSWINSZ, &ws);
}

int console_open(unsigned rows, unsigned cols, struct console_pair *ret, struct err *err)
{
	int AUTO_FD master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int AUTO_FD slave = -1;
	struct termios t;

	if (master < 0)
		return err_errno(err, errno, "open a pseudo-terminal");
	if (grantpt(master) < 0 || unlockpt(master) < 0)
		return err_errno(err, errno, "unlock a pseudo-terminal");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &t) < 0)
		return err_errno(err, errno, "open the other side of a pseudo-terminal");
	cfmakeraw(&t);
	if (tcsetattr(slave, TCSANOW, &t) < 0)
		return err_errno(err, errno, "set up a pseudo-terminal");
	if (rows || cols)
		console_set_size(slave, rows, cols);
	ret->master = fd_steal(&master);
	ret->slave = fd_steal(&slave);
	return 0;
}

int console_send(const char *path, int master, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int AUTO_FD fd = -1;
	/* The payload is the terminal's name; receivers look at the descriptor only. */
	char name[64] = "/dev/ptmx";
	struct iovec iov = { name, 0 };
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int))];
	} anc = { 0 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &anc, .msg_controllen = sizeof(anc)
	};

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG, "console socket '%s'", path);
	strcpy(addr.sun_path, path);
	ptsname_r(master, name, sizeof(name));
	iov.iov_len = strlen(name);
	anc.hdr.cmsg_level = SOL_SOCKET;
	anc.hdr.cmsg_type = SCM_RIGHTS;
	anc.hdr.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&anc.hdr), &master, sizeof(int));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
		return err_advise(err, err_errno(err, errno, "console socket '%s'", path),
				  "who takes the terminal listens there first");
	return 0;
}

int console_control(int slave, struct err *err)
{
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_errno(err, errno, "take the terminal");
	return 0;
}

/* ---- relaying ---- */

#define RING 16384

struct stream {
	int from, to;
	char buf[RING];
	size_t at, len;
	bool ended;
};

static void stream_read(struct stream *s)
{
	ssize_t n = read(s->from, s->buf, sizeof(s->buf));

	if (n > 0) {
		s->at = 0;
		s->len = (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		s->ended = true;
	}
}

static void stream_write(struct stream *s)
{
	ssize_t n = write(s->to, s->buf + s->at, s->len);

	if (n > 0) {
		s->at += (size_t)n;
		s->len -= (size_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		s->ended = true;
		s->len = 0;
	}
}

static void arm(const struct stream *s, struct pollfd *in, struct pollfd *out)
{
	in->fd = s->len || s->ended ? -1 : s->from;
	in->events = POLLIN;
	out->fd = s->len ? s->to : -1;
	out->events = POLLOUT;
}

/* What is left in the terminal when the process has ended. */
static void drain(struct stream *s)
{
	fcntl(s->from, F_SETFL, O_NONBLOCK);
	while (!s->ended) {
		while (s->len && !s->ended) {
			struct pollfd p = { .fd = s->to, .events = POLLOUT };

			poll(&p, 1, -1);
			stream_write(s);
		}
		stream_read(s);
		if (!s->len)
			break;
	}
}

static void relay(int master, int done_fd, int signal_fd, void (*on_signal)(void *), void *opaque)
{
	struct stream in = { .from = STDIN_FILENO, .to = master };
	struct stream out = { .from = master, .to = STDOUT_FILENO };

	for (;;) {
		struct pollfd p[6] = { { .fd = done_fd, .events = POLLIN },
				       { .fd = signal_fd, .events = POLLIN } };

		arm(&in, &p[2], &p[3]);
		arm(&out, &p[4], &p[5]);
		if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
			return;
		if (p[1].revents)
			on_signal(opaque);
		if (p[2].revents)
			stream_read(&in);
		if (p[3].revents)
			stream_write(&in);
		if (p[4].revents)
			stream_read(&out);
		if (p[5].revents)
			stream_write(&out);
		if (p[0].revents) {
			drain(&out);
			return;
		}
	}
}

int console_relay(int master, int done_fd, int signal_fd, void (*on_signal)(void *opaque),
		  void *opaque, struct err *err)
{
	bool is_tty = isatty(STDIN_FILENO);
	struct termios old, raw;

	if (is_tty) {
		if (tcgetattr(STDIN_FILENO, &old) < 0)
			return err_errno(err, errno, "terminal");
		raw = old;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	relay(master, done_fd, signal_fd, on_signal, opaque);
	if (is_tty)
		tcsetattr(STDIN_FILENO, TCSANOW, &old);
	return 0;
}
