/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that stands for one executed in a container.
 *
 * Theory of operation. It hands its standard streams (or the slave of a terminal) to the VMM, which
 * moves the bytes, and keeps the control connection: signals it gets go there, the exit status
 * comes from there. When it is killed, the connection breaks and the VMM kills the process. In the
 * foreground `husk exec` is the proxy; detached it forks one, titled "husk: exec ID", and ends when
 * that has said that the process runs.
 */
#ifndef RUNTIME_EXECPROXY_H
#define RUNTIME_EXECPROXY_H

#include <stdbool.h>

#include "base/err.h"
#include "statedir.h"

struct execproxy {
	struct statedir dir;
	char *process; /* JSON, from malloc */
	size_t process_len;
	const char *console_socket;
	bool terminal;
	unsigned rows, cols;
	unsigned n_kept; /* descriptors from KEPT_FIRST up */
	int control_fd;
	int master; /* of the terminal, when it is joined with our own */
	int slave;  /* kept for its size */
};

#define EXECPROXY_NONE                                                            \
	{                                                                         \
		.dir = STATEDIR_NONE, .control_fd = -1, .master = -1, .slave = -1 \
	}

void execproxy_done(struct execproxy *proxy);

/* Start the process. Return: 0 it runs; negative errno with the guest's reason. */
int execproxy_start(struct execproxy *proxy, struct err *err);
/* Stay with it. Return: its exit status; negative errno. */
int execproxy_wait(struct execproxy *proxy, struct err *err);
/* Start it with a proxy of its own. @pid_file: or NULL. */
int execproxy_detach(struct execproxy *proxy, const char *pid_file, struct err *err);

#endif
