/* SPDX-License-Identifier: Apache-2.0 */
/* Watching memory for a short while before sleeping. */
#include "base/watch.h"

#include <sys/resource.h>

#include "base/checked.h"
#include "base/clock.h"

#define WATCH_MIN_NS	 4000
#define WATCH_PAUSES	 32	/* between looks at the clock: 1 or 2 us */
#define WATCH_GAP_NS	 100000 /* between two looks: we did not run */
#define WATCH_SKIP	 16	/* occasions between trials once watching stopped paying */
#define WATCH_SKIP_LIMIT 1024

void watch_init(struct watch *w, uint64_t limit_ns)
{
	*w = (struct watch){ .limit_ns = limit_ns, .ns = limit_ns, .backoff = WATCH_SKIP };
}

uint64_t watch_budget(struct watch *w)
{
	if (!w->n_skip)
		return w->ns;
	if (--w->n_skip == 0)
		w->ns = w->limit_ns;
	return 0;
}

/* How often this thread had to make room for another. */
static long n_preempted(void)
{
	struct rusage ru = { 0 };

	getrusage(RUSAGE_THREAD, &ru);
	return ru.ru_nivcsw;
}

enum watch_result watch_run(uint64_t ns, bool (*found)(const void *arg), const void *arg)
{
	uint64_t last, end;
	bool done = false;
	long before;

	if (found(arg))
		return WATCH_FOUND;
	before = n_preempted();
	last = clock_monotonic_ns();
	end = last + ns;
	for (;;) {
		uint64_t now;

		for (int i = 0; i < WATCH_PAUSES && !done; i++) {
			done = found(arg);
			__builtin_ia32_pause();
		}
		now = clock_monotonic_ns();
		if (now - last > WATCH_GAP_NS) {
			if (n_preempted() != before)
				return WATCH_PREEMPTED;
			end += now - last; /* the whole machine stood still */
		}
		if (done || now >= end)
			return done ? WATCH_FOUND : WATCH_MISSED;
		last = now;
	}
}

void watch_learn(struct watch *w, enum watch_result result)
{
	switch (result) {
	case WATCH_FOUND:
		w->ns = w->limit_ns;
		w->backoff = WATCH_SKIP;
		break;
	case WATCH_MISSED:
		w->ns /= 2;
		if (w->ns < WATCH_MIN_NS)
			w->n_skip = WATCH_SKIP;
		break;
	case WATCH_PREEMPTED:
		w->n_skip = w->backoff;
		w->backoff = MIN(w->backoff * 2, WATCH_SKIP_LIMIT);
		break;
	}
}
