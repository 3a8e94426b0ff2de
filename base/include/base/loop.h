/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event loop: one thread that waits on descriptors, timers and events from other threads.
 *
 * Theory of operation. Watches are embedded in their owners. Callbacks run on the thread that is in
 * loop_run(). Descriptors that cannot be polled (regular files) count as always ready. Invariants:
 *  1. A watch is added, changed and removed on the loop's thread, or while loop_run() is not
 * running (before it started, after it ended, or while the loop is paused).
 *  2. loop_timer_set() and loop_event_set() may be called from any thread, at any time between
 *     init and done.
 *  3. A callback may remove any watch, its own included.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct loop;

/* @events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR. */
typedef void (*loop_fn)(void *opaque, uint32_t events);

/* Embedded; zero-initialise, the loop fills it. */
struct loop_watch {
	struct loop *loop; /* NULL while not added */
	int fd;
	uint32_t events;
	bool always_ready; /* not pollable */
	loop_fn fn;
	void *opaque;
};

int loop_new(struct loop **ret, struct err *err);
void loop_free(struct loop *loop);
CLEANUP_DEFINE(struct loop, loop_free);

/**
 * loop_watch_add() - Call @fn when @fd is ready
 * @watch:	Zeroed, stays in place until removed
 * @fd:		Borrowed until removed
 * @events:	EPOLLIN, EPOLLOUT or 0; level-triggered
 *
 * Return: 0; negative errno.
 */
int loop_watch_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events, loop_fn fn,
		   void *opaque);
/* Change what is waited for; 0 for nothing. A watch that was not added is ignored. */
void loop_watch_set(struct loop_watch *watch, uint32_t events);
void loop_watch_remove(struct loop_watch *watch);

/* A wake-up from any thread; several before it is served count as one. */
struct loop_event {
	struct loop_watch watch;
	int fd; /* eventfd */
	void (*fn)(void *opaque);
	void *opaque;
};

int loop_event_init(struct loop *loop, struct loop_event *event, void (*fn)(void *opaque),
		    void *opaque);
void loop_event_set(struct loop_event *event);
void loop_event_done(struct loop_event *event);

/* One deadline on the monotonic clock. */
struct loop_timer {
	struct loop_watch watch;
	int fd; /* timerfd */
	void (*fn)(void *opaque);
	void *opaque;
};

int loop_timer_init(struct loop *loop, struct loop_timer *timer, void (*fn)(void *opaque),
		    void *opaque);
/* @deadline: clock_monotonic_ns() time, at once when past; 0 disarms. */
void loop_timer_set(struct loop_timer *timer, uint64_t deadline);
void loop_timer_done(struct loop_timer *timer);

/**
 * loop_run() - Serve until loop_stop()
 */
void loop_run(struct loop *loop);
/* Any thread; a stop before loop_run() is not lost. */
void loop_stop(struct loop *loop);

/**
 * loop_pause() - Return when no callback runs, and none will before loop_resume()
 *
 * Context: another thread than the loop's, while loop_run() is running.
 */
void loop_pause(struct loop *loop);
void loop_resume(struct loop *loop);

#endif
