/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching memory for a short while before sleeping.
 *
 * Theory of operation. Sleeping and being woken costs two system calls and two context switches,
 * more than most of what is waited for. How long watching is worth its processor time adapts: a
 * fruitful watch restores the limit, a fruitless one halves it until it is too short to pay. Where
 * other threads compete for the processor watching does harm: it uses up the share of time that
 * would let us go on at once when we are woken. It shows as time that passes without us while
 * another thread runs; then some occasions are let go by, the more the oftener it happens. Time
 * that the host's own hypervisor takes from all alike does not count. One struct for each place
 * that waits, guarded by its owner.
 */
#ifndef BASE_WATCH_H
#define BASE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

enum watch_result {
	WATCH_MISSED, /* nothing came */
	WATCH_FOUND,
	WATCH_PREEMPTED, /* another thread got our processor meanwhile; something may have come */
};

struct watch {
	uint64_t limit_ns; /* 0: never watch */
	uint64_t ns;	   /* adapted between 0 and the limit */
	uint32_t n_skip;   /* occasions to let go by */
	uint32_t backoff;  /* of them after the next preemption */
};

void watch_init(struct watch *w, uint64_t limit_ns);

/* How long to watch now; 0: go to sleep at once. */
uint64_t watch_budget(struct watch *w);

/* Call @found again and again for up to @ns, or until it is true. Needs no lock. */
enum watch_result watch_run(uint64_t ns, bool (*found)(const void *arg), const void *arg);

/* What came of a watch. */
void watch_learn(struct watch *w, enum watch_result result);

#endif
