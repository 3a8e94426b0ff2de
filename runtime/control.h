/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: how verbs talk to a container's VMM process.
 *
 * Theory of operation. A sequenced-packet socket STATE/ID/control, mode 0600. A verb connects,
 * sends one request (a fixed header, text behind it, descriptors with it) and gets one reply with
 * the same sequence. Only an executed process keeps its connection: the reply says that it runs,
 * an event with its exit status follows, and in between signals and window sizes may be sent. When
 * that connection breaks, the process is killed: the proxy stands for it.
 *
 * Both ends are this program, but not always of one version: the header carries one.
 */
#ifndef RUNTIME_CONTROL_H
#define RUNTIME_CONTROL_H

#include <stdint.h>

#include "base/err.h"
#include "statedir.h"

#define CONTROL_VERSION	 1
#define CONTROL_TEXT_MAX (3U << 20)
#define CONTROL_FDS_MAX	 67 /* three streams, and as many as can be kept */
#define CONTROL_NAME	 "control"

enum control_op {
	CONTROL_START = 1, /* let the container's process go */
	CONTROL_KILL,	   /* arg0 signal, arg1 CONTROL_KILL_* */
	CONTROL_PAUSE,
	CONTROL_RESUME,
	/* text: process JSON; fds: 0, 1, 2, or the terminal; arg0 more, from 3 up; arg1 1 << i: fd i is /dev/null */
	CONTROL_EXEC,
	CONTROL_RESIZE, /* arg0 rows, arg1 columns */
	CONTROL_STATS,	/* reply text: JSON */
	CONTROL_REPLY,	/* arg0: 0 or negative errno; text: message or answer */
	CONTROL_EXITED, /* arg0: exit status as 0 to 255 */
	/*
	 * arg0 CONTROL_CHECKPOINT_*; TAKE: fds: memory, state, page map, unlinked files; reply text: manifest. The
	 * guest stands still until GO_ON or STOP comes, or the connection breaks.
	 */
	CONTROL_CHECKPOINT,
	CONTROL_SNAPSHOT, /* to a snapshot's maker: text: its manifest; fds: its files; arg0 1: give up */
	CONTROL_UPDATE,	  /* text: resources JSON; the guest's part of them */
	CONTROL_MAX_,
};

enum control_kill {
	CONTROL_KILL_GROUP = 1, /* the whole process group */
	CONTROL_KILL_ALL = 2,	/* every process of the container */
};

enum control_checkpoint {
	CONTROL_CHECKPOINT_TAKE,
	CONTROL_CHECKPOINT_GO_ON,
	CONTROL_CHECKPOINT_STOP,
};

struct control_msg {
	enum control_op op;
	int32_t arg0, arg1;
	char *text; /* NUL-terminated; from malloc when received; NULL for none */
	size_t len;
	int fds[CONTROL_FDS_MAX];
	unsigned n_fds;
};

void control_msg_done(struct control_msg *msg);

/* Make the socket in the container's directory. Return: descriptor; negative errno. */
int control_listen(const struct statedir *dir, struct err *err);
/* Return: descriptor; -ESRCH nobody answers there. */
int control_connect(const struct statedir *dir, struct err *err);

/* Return: 0; negative errno; -EPIPE the other end is gone. */
int control_send(int fd, const struct control_msg *msg);

/**
 * control_receive() - One message, waiting for it unless @fd does not block
 * @ret:	Released by control_msg_done()
 *
 * Return: 1; 0 the other end is gone; -EAGAIN; -EPROTO; -ENOMEM.
 */
int control_receive(int fd, struct control_msg *ret);

/**
 * control_exchange() - Send a request over a connection, wait for the reply
 * @id:		Of the container, for messages
 *
 * Return: 0; -ESRCH the container has ended; negative errno.
 */
int control_exchange(int fd, const char *id, const struct control_msg *msg,
		     struct control_msg *ret_reply, struct err *err);

/**
 * control_answer() - Wait for the reply to a request that was sent
 * @id:		Of the container, for messages
 * @ret_text:	As for control_call()
 *
 * Return: what the other end answered, with its message.
 */
int control_answer(int fd, const char *id, char **ret_text, struct err *err);

/**
 * control_call() - Connect, send, wait for the reply
 * @ret_text:	The reply's text, from malloc, or NULL if it is not wanted
 *
 * Return: what the other end answered, with its message.
 */
int control_call(const struct statedir *dir, const struct control_msg *msg, char **ret_text,
		 struct err *err);

#endif
