/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: messages and descriptors. */
#include "control.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

#define BACKLOG	      64
#define SOCKET_BUFFER (4 << 20)

struct header {
	uint32_t version, op;
	int32_t arg0, arg1;
	uint32_t text_len;
};

void control_msg_done(struct control_msg *msg)
{
	free(msg->text);
	for (unsigned i = 0; i < msg->n_fds; i++)
		fd_close(msg->fds[i]);
	*msg = (struct control_msg){ 0 };
}

/* The socket's name by the directory's descriptor: names of directories are longer than fit. */
static void address(const struct statedir *dir, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", dir->fd,
		 CONTROL_NAME);
}

static int open_socket(struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int size = SOCKET_BUFFER;

	if (fd < 0)
		return err_errno(err, errno, "socket");
	/* Needs rights to go over the limit; long command lines may then be refused. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

int control_listen(const struct statedir *dir, struct err *err)
{
	int AUTO_FD fd = open_socket(err);
	struct sockaddr_un addr;
	mode_t old;
	int r;

	if (fd < 0)
		return fd;
	address(dir, &addr);
	old = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	umask(old);
	if (r < 0 || listen(fd, BACKLOG) < 0)
		return err_errno(err, errno, "control socket of container '%s'", dir->id);
	return fd_steal(&fd);
}

int control_connect(const struct statedir *dir, struct err *err)
{
	int AUTO_FD fd = open_socket(err);
	struct sockaddr_un addr;

	if (fd < 0)
		return fd;
	address(dir, &addr);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(err, -ESRCH, "container not running: '%s'", dir->id);
		return err_errno(err, errno, "control socket of container '%s'", dir->id);
	}
	return fd_steal(&fd);
}

int control_send(int fd, const struct control_msg *msg)
{
	struct header h = { .version = CONTROL_VERSION,
			    .op = (uint32_t)msg->op,
			    .arg0 = msg->arg0,
			    .arg1 = msg->arg1,
			    .text_len = (uint32_t)msg->len };
	struct iovec iov[2] = { { &h, sizeof(h) }, { msg->text, msg->len } };
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
	} anc = { 0 };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = msg->len ? 2 : 1 };

	if (msg->len > CONTROL_TEXT_MAX)
		return -E2BIG;
	if (msg->n_fds) {
		m.msg_control = &anc;
		m.msg_controllen = CMSG_SPACE(msg->n_fds * sizeof(int));
		anc.hdr.cmsg_level = SOL_SOCKET;
		anc.hdr.cmsg_type = SCM_RIGHTS;
		anc.hdr.cmsg_len = CMSG_LEN(msg->n_fds * sizeof(int));
		memcpy(CMSG_DATA(&anc.hdr), msg->fds, msg->n_fds * sizeof(int));
	}
	while (sendmsg(fd, &m, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* Descriptors that came with a message; those that are too many are closed. */
static void take_fds(struct msghdr *m, struct control_msg *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (msg->n_fds < CONTROL_FDS_MAX)
				msg->fds[msg->n_fds++] = got;
			else
				fd_close(got);
		}
	}
}

/* Size of the next message, 0 at the end. */
static ssize_t peek(int fd)
{
	ssize_t n;
	char none;

	do
		n = recv(fd, &none, 0, MSG_PEEK | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int control_receive(int fd, struct control_msg *ret)
{
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
	} anc;
	struct control_msg msg = { 0 };
	struct header h = { 0 };
	ssize_t n = peek(fd);

	if (n <= 0)
		return n == -ECONNRESET ? 0 : (int)n;
	if (n < (ssize_t)sizeof(h) || n > (ssize_t)(sizeof(h) + CONTROL_TEXT_MAX))
		return -EPROTO;
	msg.text = calloc(1, (size_t)n - sizeof(h) + 1);
	if (!msg.text)
		return -ENOMEM;
	struct iovec iov[2] = { { &h, sizeof(h) }, { msg.text, (size_t)n - sizeof(h) } };
	struct msghdr m = {
		.msg_iov = iov, .msg_iovlen = 2, .msg_control = &anc, .msg_controllen = sizeof(anc)
	};
	ssize_t got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);

	if (got > 0)
		take_fds(&m, &msg);
	if (got != n || h.version != CONTROL_VERSION || h.op == 0 || h.op >= CONTROL_MAX_ ||
	    h.text_len != (size_t)n - sizeof(h) || (m.msg_flags & MSG_CTRUNC)) {
		control_msg_done(&msg);
		return -EPROTO;
	}
	msg.op = (enum control_op)h.op;
	msg.arg0 = h.arg0;
	msg.arg1 = h.arg1;
	msg.len = h.text_len;
	*ret = msg;
	return 1;
}

/* @r: of what went before: it may have ended since it was connected to. */
static int receive(int fd, const char *id, int r, struct control_msg *ret, struct err *err)
{
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0;
	else if (r == 0)
		r = control_receive(fd, ret);
	if (r == 0)
		return err_set(err, -ESRCH, "container not running: '%s' ended", id);
	return r < 0 ? err_errno(err, -r, "control socket of container '%s'", id) : 0;
}

int control_exchange(int fd, const char *id, const struct control_msg *msg,
		     struct control_msg *ret_reply, struct err *err)
{
	return receive(fd, id, control_send(fd, msg), ret_reply, err);
}

static int take_answer(struct control_msg *reply, char **ret_text, struct err *err)
{
	int r = reply->op == CONTROL_REPLY ? reply->arg0 : -EPROTO;

	if (r < 0)
		err_set(err, r, "%s", reply->len ? reply->text : err_str(r));
	else if (ret_text)
		*ret_text = STEAL_PTR(reply->text);
	control_msg_done(reply);
	return r;
}

int control_answer(int fd, const char *id, char **ret_text, struct err *err)
{
	struct control_msg reply = { 0 };
	int r = receive(fd, id, 0, &reply, err);

	return r < 0 ? r : take_answer(&reply, ret_text, err);
}

int control_call(const struct statedir *dir, const struct control_msg *msg, char **ret_text,
		 struct err *err)
{
	int AUTO_FD fd = control_connect(dir, err);
	struct control_msg reply = { 0 };
	int r;

	if (fd < 0)
		return fd;
	r = control_exchange(fd, dir->id, msg, &reply, err);
	return r < 0 ? r : take_answer(&reply, ret_text, err);
}
