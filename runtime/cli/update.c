/* SPDX-License-Identifier: Apache-2.0 */
/* husk update: change a container's limits. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "cgroup.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "control.h"
#include "lifecycle.h"
#include "oci/config.h"

/* Each option is a number or a list of the resources' JSON: "memory.limit". */
struct update_options {
	const char *resources;
	const char *blkio_weight, *cpu_period, *cpu_quota, *cpu_burst, *cpu_share, *cpu_idle;
	const char *cpu_rt_period, *cpu_rt_runtime, *cpuset_cpus, *cpuset_mems;
	const char *memory, *memory_reservation, *memory_swap, *pids_limit;
	const char *kernel_memory, *kernel_memory_tcp, *l3_cache_schema, *mem_bw_schema;
};

#define O(member) offsetof(struct update_options, member)

static const struct cli_option options[] = {
	{ "resources", 'r', CLI_STRING, O(resources), "FILE",
	  "all of them as JSON; - is standard input" },
	{ "blkio-weight", 0, CLI_STRING, O(blkio_weight), "N", "share of I/O, 10 to 1000" },
	{ "cpu-period", 0, CLI_STRING, O(cpu_period), "US", "period of the CPU quota" },
	{ "cpu-quota", 0, CLI_STRING, O(cpu_quota), "US", "CPU time in one period" },
	{ "cpu-burst", 0, CLI_STRING, O(cpu_burst), "US", "CPU time saved up at most" },
	{ "cpu-share", 0, CLI_STRING, O(cpu_share), "N", "share of CPU time" },
	{ "cpu-rt-period", 0, CLI_STRING, O(cpu_rt_period), "US", "period of real-time CPU" },
	{ "cpu-rt-runtime", 0, CLI_STRING, O(cpu_rt_runtime), "US", "real-time CPU in one period" },
	{ "cpuset-cpus", 0, CLI_STRING, O(cpuset_cpus), "LIST", "CPUs, like 0-3,5" },
	{ "cpuset-mems", 0, CLI_STRING, O(cpuset_mems), "LIST", "memory nodes" },
	{ "cpu-idle", 0, CLI_STRING, O(cpu_idle), "N", "1: only what others leave" },
	{ "memory", 0, CLI_STRING, O(memory), "BYTES", "limit of memory" },
	{ "memory-reservation", 0, CLI_STRING, O(memory_reservation), "BYTES", "soft limit" },
	{ "memory-swap", 0, CLI_STRING, O(memory_swap), "BYTES", "limit of memory and swap" },
	{ "pids-limit", 0, CLI_STRING, O(pids_limit), "N", "number of processes" },
	{ "kernel-memory", 0, CLI_STRING, O(kernel_memory), "BYTES", "ignored, with a warning" },
	{ "kernel-memory-tcp", 0, CLI_STRING, O(kernel_memory_tcp), "BYTES", "the same" },
	{ "l3-cache-schema", 0, CLI_STRING, O(l3_cache_schema), "TEXT", "the same" },
	{ "mem-bw-schema", 0, CLI_STRING, O(mem_bw_schema), "TEXT", "the same" },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "update",
	.usage = "ID",
	.about = "Changes the limits of a container: of its processes and memory in the guest too.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

/* ---- options to JSON, so that one validator sees them all ---- */

static bool is_number(const char *text)
{
	return text[strspn(text, "-0123456789")] == '\0' && text[0];
}

static int add_number(FILE *f, const char *option, const char *key, const char *text, bool *first,
		      struct err *err)
{
	if (!text)
		return 0;
	if (!is_number(text))
		return err_set(err, -EINVAL, "'%.80s' is no value for --%s", text, option);
	fprintf(f, "%s\"%s\":%s", *first ? "" : ",", key, text);
	*first = false;
	return 0;
}

static int add_list(FILE *f, const char *option, const char *key, const char *text, bool *first,
		    struct err *err)
{
	if (!text)
		return 0;
	if (text[strspn(text, "-,0123456789")])
		return err_set(err, -EINVAL, "'%.80s' is no value for --%s", text, option);
	fprintf(f, "%s\"%s\":\"%s\"", *first ? "" : ",", key, text);
	*first = false;
	return 0;
}

/* "512m" and the like, as other runtimes take it. */
static int add_bytes(FILE *f, const char *option, const char *key, const char *text, bool *first,
		     struct err *err)
{
	char bare[32];
	uint64_t bytes;

	if (!text || is_number(text))
		return add_number(f, option, key, text, first, err);
	if (cli_parse_size(text, &bytes) < 0)
		return err_set(err, -EINVAL, "'%.80s' is no value for --%s", text, option);
	snprintf(bare, sizeof(bare), "%llu", (unsigned long long)bytes);
	return add_number(f, option, key, bare, first, err);
}

static int write_json(FILE *f, const struct update_options *o, struct err *err)
{
	bool first = true;
	int r;

	fputs("{\"cpu\":{", f);
	r = add_number(f, "cpu-period", "period", o->cpu_period, &first, err);
	if (r == 0)
		r = add_number(f, "cpu-quota", "quota", o->cpu_quota, &first, err);
	if (r == 0)
		r = add_number(f, "cpu-burst", "burst", o->cpu_burst, &first, err);
	if (r == 0)
		r = add_number(f, "cpu-share", "shares", o->cpu_share, &first, err);
	if (r == 0)
		r = add_number(f, "cpu-idle", "idle", o->cpu_idle, &first, err);
	if (r == 0)
		r = add_number(f, "cpu-rt-period", "realtimePeriod", o->cpu_rt_period, &first, err);
	if (r == 0)
		r = add_number(f, "cpu-rt-runtime", "realtimeRuntime", o->cpu_rt_runtime, &first,
			       err);
	if (r == 0)
		r = add_list(f, "cpuset-cpus", "cpus", o->cpuset_cpus, &first, err);
	if (r == 0)
		r = add_list(f, "cpuset-mems", "mems", o->cpuset_mems, &first, err);
	fputs("},\"memory\":{", f);
	first = true;
	if (r == 0)
		r = add_bytes(f, "memory", "limit", o->memory, &first, err);
	if (r == 0)
		r = add_bytes(f, "memory-reservation", "reservation", o->memory_reservation, &first,
			      err);
	if (r == 0)
		r = add_bytes(f, "memory-swap", "swap", o->memory_swap, &first, err);
	fputs("},\"blockIO\":{", f);
	first = true;
	if (r == 0)
		r = add_number(f, "blkio-weight", "weight", o->blkio_weight, &first, err);
	fputs("}", f);
	if (r == 0 && o->pids_limit) {
		fputs(",\"pids\":{", f);
		first = true;
		r = add_number(f, "pids-limit", "limit", o->pids_limit, &first, err);
		fputs("}", f);
	}
	fputs("}", f);
	return r;
}

/* The text, and what it says. */
static int read_resources(const struct update_options *o, char **ret_text, size_t *ret_len,
			  struct oci_config **ret, struct err *err)
{
	const char *name = !o->resources	       ? "options"
			   : strcmp(o->resources, "-") ? o->resources
						       : "standard input";
	FILE *f;
	int r;

	if (o->resources && name != o->resources)
		r = oci_fd_read(STDIN_FILENO, name, ret_text, ret_len, err);
	else if (o->resources)
		r = oci_file_read(AT_FDCWD, name, ret_text, ret_len, err);
	else {
		f = open_memstream(ret_text, ret_len);
		if (!f)
			return err_set(err, -ENOMEM, "update: no memory");
		r = write_json(f, o, err);
		if (fclose(f) != 0 && r == 0)
			r = err_set(err, -ENOMEM, "update: no memory");
	}
	return r < 0 ? r : oci_resources_parse(*ret_text, *ret_len, name, ret, err);
}

/* Options for what no kernel has any more, or husk has not. */
static void warn_options(const struct update_options *o)
{
	const struct {
		const char *option, *value;
	} ignored[] = { { "kernel-memory", o->kernel_memory },
			{ "kernel-memory-tcp", o->kernel_memory_tcp },
			{ "l3-cache-schema", o->l3_cache_schema },
			{ "mem-bw-schema", o->mem_bw_schema } };

	for (unsigned i = 0; i < ARRAY_LEN(ignored); i++) {
		if (ignored[i].value)
			log_warn("--%s: ignored: husk sets no such limit", ignored[i].option);
	}
}

/* A limit below what is in use would only kill the container. */
static int check_memory(const struct oci_state *state, const struct oci_resources *res,
			struct err *err)
{
	uint64_t used;

	if (!res->memory || !res->memory->check_before_update.v || res->memory->limit.v <= 0)
		return 0;
	if (cgroup_read_u64(state->cgroup, "memory", "memory.usage_in_bytes", "memory.current",
			    &used) < 0)
		return 0;
	if (used > (uint64_t)res->memory->limit.v + cgroup_overhead())
		return err_set(err, -EBUSY, "memory.limit: %llu bytes are in use",
			       (unsigned long long)used);
	return 0;
}

/* First the guest, which may refuse; then what surrounds the machine. */
static int update(const struct statedir *dir, const struct oci_state *state,
		  const struct oci_config *config, char *text, size_t len, struct err *err)
{
	struct control_msg m = { .op = CONTROL_UPDATE, .text = text, .len = len };
	int r = check_memory(state, config->lnx->resources, err);

	if (r == 0)
		r = control_call(dir, &m, NULL, err);
	return r < 0 ? r : cgroup_update(state->cgroup, config->lnx->resources, err);
}

int cli_update(int argc, char **argv)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	AUTO_FREE char *text = NULL;
	struct statedir dir = STATEDIR_NONE;
	size_t len = 0;
	struct update_options opt = { 0 };
	struct oci_state state = { 0 };
	struct err err = { 0 };
	int n, r;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	r = container_load(cli_globals.root_path, argv[1], true, &dir, &state, &err);
	if (r == 0)
		r = read_resources(&opt, &text, &len, &config, &err);
	if (r == 0 && state.status == OCI_STATUS_STOPPED)
		r = err_set(&err, -ESRCH, "container not running");
	if (r == 0) {
		warn_options(&opt);
		for (size_t i = 0; i < config->warnings.n; i++)
			log_warn("%s", config->warnings.v[i]);
		r = update(&dir, &state, config, text, len, &err);
	}
	oci_state_done(&state);
	statedir_close(&dir);
	return r < 0 ? cli_error(&err) : 0;
}
