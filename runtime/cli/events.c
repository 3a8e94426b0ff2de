/* SPDX-License-Identifier: Apache-2.0 */
/* husk events: show what a container uses. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "cgroup.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "control.h"
#include "lifecycle.h"

#define DEFAULT_INTERVAL_S 5

struct events_options {
	const char *interval;
	bool stats;
};

static const struct cli_option options[] = {
	{ "stats", 0, CLI_FLAG, offsetof(struct events_options, stats), NULL, "once, then end" },
	{ "interval", 0, CLI_STRING, offsetof(struct events_options, interval), "TIME",
	  "how often: 5s (default), 1m, 500ms" },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "events",
	.usage = "ID",
	.about =
		"Shows what a container uses on the host and in its guest, one JSON object a line.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

/* Ref: Go's time.ParseDuration, one unit only. */
static int parse_interval(const char *text, struct timespec *ret)
{
	char *end;
	double n = strtod(text, &end);

	if (!strcmp(end, "m"))
		n *= 60;
	else if (!strcmp(end, "ms"))
		n /= 1000;
	else if (strcmp(end, "s") != 0)
		return -EINVAL;
	if (!(n > 0 && n <= 86400))
		return -EINVAL;
	ret->tv_sec = (time_t)n;
	ret->tv_nsec = (long)((n - (double)ret->tv_sec) * 1e9);
	return 0;
}

static int print_once(const struct statedir *dir, const struct oci_state *state, struct err *err)
{
	AUTO_FREE char *guest = NULL;
	uint64_t cpu = 0, memory = 0, limit = 0, peak = 0;
	int r = control_call(dir, &(struct control_msg){ .op = CONTROL_STATS }, &guest, err);

	if (r < 0)
		return r;
	if (cgroup_read_u64(state->cgroup, "cpuacct", "cpuacct.usage", NULL, &cpu) < 0)
		cpu = 0;
	if (cgroup_read_u64(state->cgroup, "memory", "memory.usage_in_bytes", "memory.current",
			    &memory) < 0)
		memory = 0;
	if (cgroup_read_u64(state->cgroup, "memory", "memory.limit_in_bytes", "memory.max",
			    &limit) < 0)
		limit = 0;
	if (cgroup_read_u64(state->cgroup, "memory", "memory.max_usage_in_bytes", "memory.peak",
			    &peak) < 0)
		peak = 0;
	printf("{\"type\":\"stats\",\"id\":\"%s\",\"data\":{\"cpu\":{\"usage\":{\"total\":%llu}},"
	       "\"memory\":{\"usage\":{\"limit\":%llu,\"usage\":%llu,\"max\":%llu}},"
	       "\"guest\":%s}}\n",
	       state->id, (unsigned long long)cpu, (unsigned long long)limit,
	       (unsigned long long)memory, (unsigned long long)peak, guest ? guest : "null");
	fflush(stdout);
	return 0;
}

int cli_events(int argc, char **argv)
{
	struct timespec wait = { .tv_sec = DEFAULT_INTERVAL_S };
	struct statedir dir = STATEDIR_NONE;
	struct events_options opt = { 0 };
	struct oci_state state = { 0 };
	struct err err = { 0 };
	int n, r;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (opt.interval && parse_interval(opt.interval, &wait) < 0)
		return cli_usage("events", "'%s' is no value for --interval", opt.interval);
	r = container_load(cli_globals.root_path, argv[1], false, &dir, &state, &err);
	if (r == 0 && state.status == OCI_STATUS_STOPPED)
		r = err_set(&err, -ESRCH, "container not running");
	while (r == 0) {
		r = print_once(&dir, &state, &err);
		if (opt.stats)
			break;
		nanosleep(&wait, NULL);
		/* The container's end is the end of its events. */
		if (r == 0 && !pid_alive(state.pid, state.pid_start))
			break;
	}
	oci_state_done(&state);
	statedir_close(&dir);
	return r < 0 ? cli_error(&err) : 0;
}
