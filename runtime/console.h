/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals of containers on the host's side.
 *
 * Theory of operation. A process with a terminal has one in the guest; its bytes go through a
 * pseudo-terminal of the host, whose master the engine holds (or husk itself when it runs in the
 * foreground) and whose slave the VMM reads and writes, in raw mode, because the guest's terminal
 * does all the processing. The slave is the controlling terminal of the process that stands for
 * the guest's, so that a new size arrives there as SIGWINCH.
 */
#ifndef RUNTIME_CONSOLE_H
#define RUNTIME_CONSOLE_H

#include "base/err.h"

struct console_pair {
	int master, slave;
};

/* @rows, @cols: 0 leaves the size open. */
int console_open(unsigned rows, unsigned cols, struct console_pair *ret, struct err *err);

/**
 * console_send() - Hand the master to the one who listens on a socket
 * @path:	Of a listening stream socket
 */
int console_send(const char *path, int master, struct err *err);

/* Make @slave the controlling terminal; the caller leads a new session. */
int console_control(int slave, struct err *err);

/**
 * console_relay() - Join this program's own terminal with @master until @done_fd is readable
 *
 * The terminal is raw meanwhile; signals that would end the program are left to the caller's
 * signal descriptor, @signal_fd, served by @on_signal.
 */
int console_relay(int master, int done_fd, int signal_fd, void (*on_signal)(void *opaque),
		  void *opaque, struct err *err);

/* Size of the terminal @fd, 0 by 0 when it has none. */
void console_size(int fd, unsigned *ret_rows, unsigned *ret_cols);
void console_set_size(int fd, unsigned rows, unsigned cols);

#endif
