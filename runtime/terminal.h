/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The person's terminal as a VM's console.
 *
 * Theory of operation. terminal_open() puts standard input into raw mode when it is a terminal and
 * makes a pipe for the VM's input. The settings are put back by terminal_close(), at exit, and from
 * a handler of the signals that end a process by accident. terminal_relay() runs on the main
 * thread: it moves input, watches for the escape key, passes size changes on, and returns when the
 * machine has ended or a signal asks for the end.
 */
#ifndef RUNTIME_TERMINAL_H
#define RUNTIME_TERMINAL_H

#include <stdbool.h>

#include "base/err.h"

struct terminal {
	int in_read, in_write; /* the pipe; the VM reads in_read */
	int out_fd;	       /* standard output without blocking */
	int signal_fd;
	bool is_tty;
	bool escape; /* ctrl-a was pressed */
	bool in_ended;
};

enum terminal_event {
	TERMINAL_VM_ENDED,
	TERMINAL_ESCAPE_EXIT, /* ctrl-a x */
	TERMINAL_SIGNAL,
};

int terminal_open(struct terminal *t, struct err *err);
void terminal_close(struct terminal *t);

/**
 * terminal_relay() - Serve until something ends it
 * @vm_exit_fd:	Readable when the machine has ended
 * @resize:	Called with the terminal's size, at the start and when it changes
 * @ret_signal:	The signal, for TERMINAL_SIGNAL
 */
enum terminal_event terminal_relay(struct terminal *t, int vm_exit_fd,
				   void (*resize)(void *opaque, unsigned cols, unsigned rows),
				   void *opaque, int *ret_signal);

#endif
