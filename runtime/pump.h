/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from one descriptor to another on an event loop, with back-pressure.
 *
 * Theory of operation. A pump reads when its buffer is empty and writes while it is not. It never
 * changes the flags of a descriptor that belongs to others (a caller's terminal): it reads only
 * what poll promised, and writes no more at once than a pipe takes without blocking.
 */
#ifndef RUNTIME_PUMP_H
#define RUNTIME_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

#define PUMP_BUFFER 16384

struct pump {
	struct loop *loop;
	struct loop_watch in, out;
	int from, to;	/* owned */
	bool shut_to;	/* at the end: shutdown(to) for writing, in place of close */
	bool active;	/* not ended yet */
	uint64_t moved; /* bytes written */
	void (*progress)(void *opaque);
	void *opaque;
	size_t at, len;
	char buf[PUMP_BUFFER];
};

/**
 * pump_start() - Begin to move bytes
 * @pump:	Zeroed; stays in place until pump_stop()
 * @from, @to:	Taken over
 * @shut_to:	@to is one direction of a socket that others still read
 * @progress:	Bytes were written, or it has ended: called from inside the pump, which must stay; or NULL
 *
 * Return: 0; negative errno, with both closed.
 */
int pump_start(struct pump *pump, struct loop *loop, int from, int to, bool shut_to,
	       void (*progress)(void *opaque), void *opaque);
/* Close both ends; no progress(). */
void pump_stop(struct pump *pump);

#endif
