/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded ring of bytes on their way to a descriptor, drained by the loop thread.
 *
 * Theory of operation. The owner is a device; every function is called with the device's lock held
 * unless it says otherwise. Bytes are written out at a line's end, when enough have gathered, or a
 * moment after the first. When the descriptor takes no more, the ring fills and charout_room()
 * falls to 0: the device makes its guest wait. A descriptor that fails for good swallows
 * everything.
 */
#ifndef VMM_DEVICES_CHAROUT_H
#define VMM_DEVICES_CHAROUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

#define CHAROUT_SIZE 16384

struct charout {
	uint8_t ring[CHAROUT_SIZE];
	uint32_t head;	/* next byte to go out */
	uint32_t count; /* bytes waiting */

	/* Constant after init. */
	int fd; /* borrowed; -1: everything vanishes */
	pthread_mutex_t *lock;
	void (*room)(void *opaque); /* the ring was full and has room again; lock held */
	void *opaque;

	bool broken, was_full, flush_armed;
	struct loop_watch watch; /* waits for EPOLLOUT */
	struct loop_event kick;
	struct loop_timer flush;
};

/* Fields for the owner's state table: what has not gone out is saved. */
#define CHAROUT_STATE_FIELDS(stype, member)                    \
	STATE_FIELD(stype, member.ring, STATE_BYTES, 1),       \
		STATE_FIELD(stype, member.head, STATE_U32, 1), \
		STATE_FIELD(stype, member.count, STATE_U32, 1)

/**
 * charout_init() - Prepare; no lock needed
 * @loop:	Borrowed until charout_done(); NULL with @fd -1
 * @lock:	The owner's lock
 *
 * Return: 0; negative errno.
 */
int charout_init(struct charout *out, struct loop *loop, int fd, pthread_mutex_t *lock,
		 void (*room)(void *opaque), void *opaque);
/* No lock; the loop does not run. */
void charout_done(struct charout *out);

/* Bytes that fit now. */
size_t charout_room(const struct charout *out);

/**
 * charout_put() - Queue bytes
 *
 * Return: bytes taken, at most charout_room().
 */
size_t charout_put(struct charout *out, const uint8_t *buf, size_t len);

/**
 * charout_flush() - Write out what waits, giving up after @stall_ms without progress
 *
 * Context: the loop is paused or has ended; lock not held.
 */
void charout_flush(struct charout *out, int stall_ms);

/* After loading state: whether the loaded numbers make sense. */
bool charout_valid(const struct charout *out);

#endif
