/* SPDX-License-Identifier: Apache-2.0 */
/* The process that completes a snapshot in the background. */
#include "snapmaker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "control.h"
#include "snapstore.h"
#include "vmmproc.h"

#define NICENESS 10
#define GIVE_UP	 1 /* in a message's first argument */

/* What is handed over, in this order. */
enum { FD_STORE, FD_DIR, FD_MEMORY, FD_STATE, FD_CODE, N_FDS };

/* The caller's streams end when their last holder does, and that is not we. */
static int let_go(int keep)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; i <= STDERR_FILENO; i++) {
		if (null_fd < 0 || dup2(null_fd, i) < 0)
			return -errno;
	}
	if (dup2(keep, STDERR_FILENO + 1) < 0)
		return -errno;
	close_range(STDERR_FILENO + 2, UINT_MAX, 0);
	return STDERR_FILENO + 1;
}

static int publish(struct control_msg *msg, struct err *err)
{
	struct snap_manifest m = { 0 };
	struct snap_new s = { .store_fd = msg->fds[FD_STORE],
			      .dir_fd = msg->fds[FD_DIR],
			      .memory_fd = msg->fds[FD_MEMORY],
			      .state_fd = msg->fds[FD_STATE],
			      .code_fd = msg->fds[FD_CODE],
			      .unlinked_fd = -1 };
	int r = snap_manifest_parse(msg->text, msg->len, &m, err);

	if (r < 0)
		return r;
	proctitle_set("husk-snapshot: %.12s", m.key);
	snprintf(s.name, sizeof(s.name), "%s", m.key);
	msg->n_fds = 1; /* the others are closed by publishing */
	if (msg->arg0 == GIVE_UP) {
		snap_abandon(&s);
		snap_manifest_done(&m);
		return 0;
	}
	r = snap_publish(&s, &m, false, err);
	snap_manifest_done(&m);
	if (r == 0)
		(void)snap_prune(msg->fds[FD_STORE], snapstore_limit(), NULL);
	return r == -EEXIST ? 0 : r;
}

__attribute__((noreturn)) static void make(int fd)
{
	struct control_msg msg = { 0 };
	struct err err = { 0 };
	int r;

	setsid();
	fd = let_go(fd);
	if (fd < 0 || control_receive(fd, &msg) != 1 || msg.n_fds != N_FDS || !msg.text)
		_exit(1);
	(void)setpriority(PRIO_PROCESS, 0, NICENESS);
	r = publish(&msg, &err);
	(void)control_send(fd, &(struct control_msg){ .op = CONTROL_REPLY,
						      .arg0 = r,
						      .text = err.msg,
						      .len = strlen(err.msg) });
	_exit(r < 0);
}

int snapmaker_fork(struct err *err)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(err, errno, "socketpair");
	pid = fork();
	if (pid == 0) {
		fd_close(pair[0]);
		make(pair[1]);
	}
	fd_close(pair[1]);
	if (pid < 0) {
		fd_close(pair[0]);
		return err_errno(err, errno, "fork");
	}
	return pair[0];
}

int snapmaker_publish(int fd, const struct snap_new *s, const struct snap_manifest *m, bool written,
		      bool wait, struct err *err)
{
	struct control_msg reply = { 0 },
			   msg = { .op = CONTROL_SNAPSHOT,
				   .arg0 = written ? 0 : GIVE_UP,
				   .fds = { s->store_fd, s->dir_fd, s->memory_fd, s->state_fd,
					    s->code_fd },
				   .n_fds = N_FDS };
	AUTO_FREE char *text = NULL;
	int r = snap_manifest_print(m, &text, &msg.len, err);

	if (r < 0)
		return r;
	msg.text = text;
	r = control_send(fd, &msg);
	if (r < 0)
		return err_errno(err, -r, "hand the snapshot over");
	if (!wait)
		return 0;
	if (control_receive(fd, &reply) != 1)
		return err_set(err, -EIO, "nobody publishes the snapshot");
	r = reply.arg0;
	if (r < 0)
		err_set(err, r, "%s", reply.text ? reply.text : "the snapshot was not published");
	control_msg_done(&reply);
	return r;
}
