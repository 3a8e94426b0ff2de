/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for what another thread does: for (unsigned n = 0; !there() && look_again(&n);). The bound is on
 * the looks, not on time: while a machine is frozen or starved the other thread stands still as well.
 */
#ifndef TESTS_LIB_LOOK_H
#define TESTS_LIB_LOOK_H

#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <time.h>

#define LOOKS_EAGER 1000
#define LOOKS_MAX   (LOOKS_EAGER + 60000) /* a minute at least */

/* look_again() - let others run. Return: false after as many looks as a broken test is worth. */
static inline bool look_again(unsigned *n)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	if (++*n > LOOKS_MAX)
		return false;
	if (*n <= LOOKS_EAGER)
		sched_yield();
	else
		nanosleep(&nap, NULL);
	return true;
}

/* look_readable() - wait for something to read at @fd. Return: whether there is. */
static inline bool look_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned n = 0;

	while (poll(&p, 1, 0) != 1) {
		if (!look_again(&n))
			return false;
	}
	return true;
}

#endif
