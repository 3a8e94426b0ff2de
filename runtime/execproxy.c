/* SPDX-License-Identifier: Apache-2.0 */
/* The process that stands for one executed in a container. */
#include "execproxy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "console.h"
#include "control.h"
#include "foreground.h"
#include "kept.h"
#include "lifecycle.h"
#include "sandbox/sandbox.h"
#include "vmmproc.h"

#define LOST_STATUS 137 /* the container ended under it */

void execproxy_done(struct execproxy *proxy)
{
	free(proxy->process);
	fd_close(proxy->control_fd);
	fd_close(proxy->master);
	fd_close(proxy->slave);
	statedir_close(&proxy->dir);
}

/* Descriptors for the VMM: the three streams, or one terminal. */
static int open_streams(struct execproxy *p, struct control_msg *m, struct err *err)
{
	struct console_pair pair;
	int r;

	if (!p->terminal) {
		for (int i = 0; i < 3; i++) {
			m->fds[m->n_fds++] = i;
			m->arg1 |= fd_is_null(i) << i;
		}
		return 0;
	}
	r = console_open(p->rows, p->cols, &pair, err);
	if (r < 0)
		return r;
	p->slave = pair.slave;
	p->master = pair.master;
	if (p->console_socket) {
		r = console_send(p->console_socket, pair.master, err);
		fd_close(fd_steal(&p->master));
	} else if (isatty(STDIN_FILENO)) {
		unsigned rows, cols;

		console_size(STDIN_FILENO, &rows, &cols);
		console_set_size(pair.slave, rows, cols);
	}
	m->fds[m->n_fds++] = pair.slave;
	return r;
}

int execproxy_start(struct execproxy *p, struct err *err)
{
	struct control_msg m = { .op = CONTROL_EXEC, .text = p->process, .len = p->process_len };
	struct control_msg reply = { 0 };
	int r = open_streams(p, &m, err);

	if (r < 0)
		return r;
	m.arg0 = (int)p->n_kept;
	for (unsigned i = 0; i < p->n_kept; i++)
		m.fds[m.n_fds++] = KEPT_FIRST + (int)i;
	p->control_fd = control_connect(&p->dir, err);
	if (p->control_fd < 0)
		return p->control_fd;
	r = control_exchange(p->control_fd, p->dir.id, &m, &reply, err);
	if (r < 0)
		return r;
	r = reply.op == CONTROL_REPLY ? reply.arg0 : -EPROTO;
	if (r < 0)
		err_set(err, r, "%s", reply.len ? reply.text : err_str(r));
	control_msg_done(&reply);
	/* They are the VMM's now. */
	for (unsigned i = 0; i < p->n_kept; i++)
		close(KEPT_FIRST + (int)i);
	return r;
}

/* ---- staying ---- */

static int has_ended(void *opaque, int *ret)
{
	struct execproxy *p = opaque;
	struct control_msg m = { 0 };
	int r;

	fcntl(p->control_fd, F_SETFL, O_NONBLOCK);
	r = control_receive(p->control_fd, &m);
	if (r == -EAGAIN)
		return 0;
	*ret = LOST_STATUS;
	if (r <= 0)
		return 1;
	*ret = m.arg0;
	r = m.op == CONTROL_EXITED;
	control_msg_done(&m);
	return r;
}

static void send_signal(void *opaque, int sig)
{
	const struct execproxy *p = opaque;

	control_send(p->control_fd, &(struct control_msg){ .op = CONTROL_KILL, .arg0 = sig });
}

static void send_size(void *opaque, unsigned rows, unsigned cols)
{
	const struct execproxy *p = opaque;

	/* With a console socket the size is that of the terminal, not of our streams. */
	if (p->slave >= 0 && p->master < 0)
		console_size(p->slave, &rows, &cols);
	if (rows && cols)
		control_send(p->control_fd, &(struct control_msg){ .op = CONTROL_RESIZE,
								   .arg0 = (int)rows,
								   .arg1 = (int)cols });
}

int execproxy_wait(struct execproxy *p, struct err *err)
{
	const struct foreground_ops ops = { .opaque = p,
					    .done_fd = p->control_fd,
					    .ended = has_ended,
					    .signal = send_signal,
					    .resize = p->terminal ? send_size : NULL,
					    .lock_down = sandbox_enter_proxy };

	statedir_close(&p->dir);
	return foreground_wait(0, fd_steal(&p->master), &ops, err);
}

/* ---- detached ---- */

/* Never returns. Tells @fd how the start went, then stands for the process. */
static void be_proxy(struct execproxy *p, int fd)
{
	struct err err = { 0 };
	int null_fd, r;

	setsid();
	proctitle_set("husk: exec %s", p->dir.id);
	r = foreground_begin(&err);
	if (r == 0)
		r = execproxy_start(p, &err);
	if (r == 0 && p->slave >= 0)
		r = console_control(p->slave, &err);
	/* The streams are the VMM's now; the one who waits for their end shall see it. */
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3 && null_fd >= 0; i++)
		dup2(null_fd, i);
	if (send(fd, r < 0 ? err.msg : "", r < 0 ? strlen(err.msg) + 1 : 1, MSG_NOSIGNAL) < 0)
		_exit(1);
	fd_close(fd);
	if (r < 0)
		_exit(1);
	r = execproxy_wait(p, &err);
	_exit(r < 0 ? 1 : r);
}

int execproxy_detach(struct execproxy *p, const char *pid_file, struct err *err)
{
	char text[ERR_MSG_MAX + 1] = "";
	int pair[2], r = 0;
	ssize_t n;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(err, errno, "socketpair");
	pid = fork();
	if (pid == 0) {
		fd_close(pair[0]);
		be_proxy(p, pair[1]);
	}
	fd_close(pair[1]);
	if (pid < 0)
		r = err_errno(err, errno, "fork");
	if (r == 0) {
		n = recv(pair[0], text, sizeof(text) - 1, 0);
		if (n <= 0)
			r = err_set(err, -EIO, "exec: the proxy process ended");
		else if (text[0])
			r = err_set(err, -EIO, "%s", text);
	}
	fd_close(pair[0]);
	if (r == 0 && pid_file)
		r = pid_file_write(pid_file, pid, err);
	if (r < 0 && pid > 0)
		waitpid(pid, NULL, 0);
	return r;
}
