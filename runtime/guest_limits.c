/* SPDX-License-Identifier: Apache-2.0 */
/* New limits for a guest that runs: what its init sets, and what the machine cannot have. */
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"
#include "guest_priv.h"

#define DEFAULT_PERIOD_US 100000

struct asked {
	struct guest *guest;
	uint64_t tag; /* 0: nobody waits */
};

/* Memory and CPUs are what the machine was started with: a limit above them would promise more. */
static int check(const struct guest *g, const struct oci_resources *res, struct err *err)
{
	const struct oci_resources *old = g->config->lnx ? g->config->lnx->resources : NULL;
	uint64_t period = DEFAULT_PERIOD_US;

	if (res->memory && res->memory->limit.v > 0 &&
	    (uint64_t)res->memory->limit.v > g->ram_bytes)
		return err_set(err, -EOPNOTSUPP,
			       "memory.limit: %lld bytes: the machine was started with %llu and "
			       "cannot grow",
			       (long long)res->memory->limit.v, (unsigned long long)g->ram_bytes);
	if (!res->cpu || res->cpu->quota.v <= 0)
		return 0;
	if (res->cpu->period.v)
		period = res->cpu->period.v;
	else if (old && old->cpu && old->cpu->period.v)
		period = old->cpu->period.v;
	uint64_t cpus = ((uint64_t)res->cpu->quota.v - 1) / period + 1;

	if (MIN(cpus, g->most_vcpus) > g->n_vcpus)
		return err_set(err, -EOPNOTSUPP,
			       "cpu.quota: %llu CPUs: the machine was started with %u and cannot "
			       "get more",
			       (unsigned long long)cpus, g->n_vcpus);
	return 0;
}

static void on_set(void *opaque, int result, const uint8_t *answer)
{
	AUTO_FREE struct asked *a = opaque;

	if (a->tag)
		a->guest->events.updated(a->guest->events.opaque, a->tag,
					 result < 0 ? result : (int32_t)le32_load(answer));
}

int guest_limits_update(struct guest *g, const struct oci_resources *res, uint64_t tag,
			struct err *err)
{
	int64_t pids = res->pids ? res->pids->limit.v : 0;
	int64_t memory = res->memory ? res->memory->limit.v : 0;
	struct bell_question q = { .words = { INITX_BELL_LIMITS },
				   .n_words = 4,
				   .answer_len = 4,
				   .timeout_ns = QUICK_TIMEOUT,
				   .fn = on_set };
	int r = check(g, res, err);

	if (r < 0)
		return r;
	/* Ref: runtime-spec v1.2 config-linux.md: 0 or less is no limit. */
	if (res->pids && (pids <= 0 || pids > GUESTCMD_PIDS_MAX))
		pids = -1;
	if (!pids && !memory) {
		g->events.updated(g->events.opaque, tag, 0);
		return 0;
	}
	if (g->held)
		return err_set(err, -EBUSY,
			       "pids.limit and memory.limit: a checkpoint is being "
			       "made, or has not gone on yet");
	struct asked *a = malloc(sizeof(*a));

	if (!a)
		return err_set(err, -ENOMEM, "update: no memory");
	/* A machine that stands still sets them when it goes on. */
	*a = (struct asked){ .guest = g, .tag = g->paused ? 0 : tag };
	q.opaque = a;
	q.words[1] = (uint32_t)pids;
	q.words[2] = (uint32_t)memory;
	q.words[3] = (uint32_t)((uint64_t)memory >> 32);
	g->pids_set |= pids != 0;
	if (bell_ring(&g->bells, &q) < 0) {
		free(a);
		return err_set(err, -ENOMEM, "update: no memory");
	}
	if (g->paused)
		g->events.updated(g->events.opaque, tag, 0);
	return 0;
}
