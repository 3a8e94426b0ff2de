/* SPDX-License-Identifier: Apache-2.0 */
/* Staying with a process in the foreground: signals go to it, its status comes back. */
#ifndef RUNTIME_FOREGROUND_H
#define RUNTIME_FOREGROUND_H

#include <sys/types.h>

#include "base/err.h"

/* Block the signals that are passed on, so that none is lost before foreground_wait(). */
int foreground_begin(struct err *err);

/* Give @terminal, or -1, the size of the caller's, if that has one. Done by foreground_wait() too.
 */
void foreground_size(int terminal);

struct foreground_ops {
	void *opaque;
	int done_fd; /* readable when there is something to ask about */
	int (*ended)(void *opaque,
		     int *ret); /* Return: whether it has ended, with *ret its status */
	void (*signal)(void *opaque, int sig);
	void (*resize)(void *opaque, unsigned rows, unsigned cols); /* or NULL */
	int (*lock_down)(struct err *err);			    /* all is open; or NULL */
};

/**
 * foreground_wait() - Pass signals on until the process has ended
 * @pid:	A child of ours, when @ops is NULL
 * @terminal:	Master joined with our own terminal, or -1; closed
 * @ops:	How to reach a process that is no child
 *
 * Return: exit status, 128 + signal; negative errno.
 */
int foreground_wait(pid_t pid, int terminal, const struct foreground_ops *ops, struct err *err);

#endif
