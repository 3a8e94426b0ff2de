/* SPDX-License-Identifier: Apache-2.0 */
/* Watching memory for a short while before sleeping. */
#include "base/watch.h"

#include "base/clock.h"

#define WATCH_MIN_NS 4000
#define WATCH_RETRY  16 /* occasions between trials once watching stopped paying */
#define WATCH_PAUSES 32 /* between looks at the clock */

uint64_t watch_budget(struct watch *w)
{
	if (w->ns >= WATCH_MIN_NS)
		return w->ns;
	if (!w->limit_ns || ++w->n_skipped < WATCH_RETRY)
		return 0;
	w->n_skipped = 0;
	w->ns = w->limit_ns;
	return w->ns;
}

bool watch_run(uint64_t ns, bool (*found)(const void *arg), const void *arg)
{
	uint64_t end = clock_monotonic_ns() + ns;

	do {
		for (int i = 0; i < WATCH_PAUSES; i++) {
			if (found(arg))
				return true;
			__builtin_ia32_pause();
		}
	} while (clock_monotonic_ns() < end);
	return false;
}

void watch_learn(struct watch *w, bool found)
{
	w->ns = found ? w->limit_ns : w->ns / 2;
}
