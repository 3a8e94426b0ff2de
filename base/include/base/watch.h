/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching memory for a short while before sleeping.
 *
 * Theory of operation. Sleeping and being woken costs two system calls and two context switches, more
 * than most of what is waited for. How long watching is worth its processor time adapts: a fruitful
 * watch restores the limit, a fruitless one halves it, and once it is too short to pay only every
 * sixteenth occasion gets a full one. One struct for each place that waits, guarded by its owner.
 */
#ifndef BASE_WATCH_H
#define BASE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct watch {
	uint64_t limit_ns; /* 0: never watch */
	uint64_t ns;	   /* adapted between 0 and the limit */
	uint32_t n_skipped;
};

static inline void watch_init(struct watch *w, uint64_t limit_ns)
{
	*w = (struct watch){ .limit_ns = limit_ns, .ns = limit_ns };
}

/* How long to watch now; 0: go to sleep at once. */
uint64_t watch_budget(struct watch *w);

/* Call @found again and again for up to @ns. Return: whether it was true at last. Holds no lock. */
bool watch_run(uint64_t ns, bool (*found)(const void *arg), const void *arg);

/* What came of a watch. */
void watch_learn(struct watch *w, bool found);

#endif
