/* SPDX-License-Identifier: Apache-2.0 */
/* husk snapshot: make, list, check and remove snapshots. */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"
#include "snapshots/memory.h"
#include "snapshots/store.h"
#include "snapstore.h"
#include "vmm/hv.h"

struct snapshot_options {
	const char *bundle, *limit;
	bool late, all;
};

#define O(member) offsetof(struct snapshot_options, member)

static const struct cli_option options[] = {
	{ "bundle", 'b', CLI_STRING, O(bundle), "DIR", "create: for this bundle's machine" },
	{ "late", 0, CLI_FLAG, O(late), NULL, "create: for this very bundle, with its files" },
	{ "all", 'a', CLI_FLAG, O(all), NULL, "remove: every one" },
	{ "limit", 0, CLI_STRING, O(limit), "SIZE", "prune: leave at most this much (default 4G)" },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "snapshot",
	.usage = "create | list | inspect NAME | verify [NAME...] | remove NAME... | prune",
	.about = "Snapshots let containers start without booting a kernel. They are made by the\n"
		 "first start by itself; create makes one ahead of that. NAME may be shortened as\n"
		 "long as it is clear. verify reads all of it and compares the hashes.",
	.options = options,
	.min_args = 1,
	.max_args = -1,
};

/* ---- names ---- */

static int find_name(const struct snap_entry *v, int n, const char *prefix, const char **ret,
		     struct err *err)
{
	*ret = NULL;
	for (int i = 0; i < n; i++) {
		if (strncmp(v[i].name, prefix, strlen(prefix)) != 0)
			continue;
		if (*ret)
			return err_set(err, -EINVAL, "snapshot '%s': more than one begins so",
				       prefix);
		*ret = v[i].name;
	}
	return *ret ? 0 : err_set(err, -ENOENT, "snapshot '%s': there is none", prefix);
}

typedef int (*each_fn)(int store_fd, const char *name, struct err *err);

/* For all named, or all there are. The first failure is reported, and the others are done. */
static int for_each(int store_fd, char **names, int n_names, bool all, each_fn fn)
{
	AUTO_FREE struct snap_entry *v = NULL;
	struct err err = { 0 };
	int n = snap_list(store_fd, &v, &err), status = 0;

	if (n < 0)
		return cli_error(&err);
	for (int i = 0; i < (all ? n : n_names); i++) {
		const char *name = v ? v[i < n ? i : 0].name : NULL;
		int r = all ? 0 : find_name(v, n, names[i], &name, &err);

		if (r == 0)
			r = fn(store_fd, name, &err);
		if (r < 0)
			status = cli_error(&err);
	}
	return status;
}

/* ---- what is there ---- */

/* A machine begins as well without its code, so that only damage is a fault. */
static int verify_code(int fd, const char **ret_what, struct err *err)
{
	struct err why = { 0 };
	int r = fd < 0 ? 0 : hv_soft_ops.code_check(fd, &why);

	*ret_what = fd < 0	   ? ""
		    : r == -ESTALE ? "; its code is not for this program or CPU"
				   : ", with code";
	return r < 0 && r != -ESTALE ? err_set(err, r, "%s", why.msg) : 0;
}

static int verify_one(int store_fd, const char *name, struct err *err)
{
	struct snapshot s = SNAPSHOT_NONE;
	const char *code;
	int r = snap_open(store_fd, name, &s, err);

	if (r == 0) {
		r = snap_memory_verify(s.memory_fd, &s.manifest, err);
		if (r == 0)
			r = verify_code(s.code_fd, &code, err);
		if (r < 0)
			err_wrap(err, r, "snapshot '%.12s'", name);
	}
	if (r == 0)
		printf("%.12s is whole%s\n", name, code);
	snap_close(&s);
	return r;
}

static int inspect_one(int store_fd, const char *name, struct err *err)
{
	struct snapshot s = SNAPSHOT_NONE;
	const struct snap_manifest *m = &s.manifest;
	uint64_t data = 0;
	int r = snap_open(store_fd, name, &s, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_runs; i++)
		data += m->runs[i].len;
	printf("name      %s\nkind      %s\nhusk      %s\nback end  %s\ncpu       %s, %s\n", name,
	       m->kind, m->husk, m->backend, m->arch, m->cpu);
	printf("memory    %llu MiB, %llu MiB of it with data in %zu runs\nvcpus     %llu\n",
	       (unsigned long long)(m->ram_bytes / MIB), (unsigned long long)(data / MIB),
	       m->n_runs, (unsigned long long)m->n_vcpus);
	printf("state     %llu bytes\n", (unsigned long long)m->state_bytes);
	for (unsigned i = 0; i < s.sections.n; i++)
		printf("          %s %u: %zu bytes\n", s.sections.v[i].name,
		       s.sections.v[i].instance, s.sections.v[i].len);
	snap_close(&s);
	return 0;
}

static int list(int store_fd)
{
	AUTO_FREE struct snap_entry *v = NULL;
	struct err err = { 0 };
	int n = snap_list(store_fd, &v, &err);

	if (n < 0)
		return cli_error(&err);
	printf("%-14s %-11s %-10s %-6s %-9s %s\n", "NAME", "KIND", "MEMORY", "VCPUS", "ON DISK",
	       "LAST USED");
	for (int i = 0; i < n; i++) {
		struct snapshot s = SNAPSHOT_NONE;
		time_t used = (time_t)(v[i].used_ns / NSEC_PER_SEC);
		struct tm tm;
		char when[32];

		localtime_r(&used, &tm);
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
		if (snap_open(store_fd, v[i].name, &s, &err) < 0)
			printf("%-14.12s %-11s %-10s %-6s %-9s %s\n", v[i].name, "damaged", "-",
			       "-", "-", when);
		else
			printf("%-14.12s %-11s %-10llu %-6llu %-9llu %s\n", v[i].name,
			       s.manifest.kind, (unsigned long long)(s.manifest.ram_bytes / MIB),
			       (unsigned long long)s.manifest.n_vcpus,
			       (unsigned long long)(v[i].bytes / MIB), when);
		snap_close(&s);
	}
	return 0;
}

/* ---- making ---- */

/* A container comes as far as its command loop, leaves its snapshot and goes. */
static int create(const struct snapshot_options *opt)
{
	char id[64];
	struct create_options create = { .root = cli_globals.root_path,
					 .id = id,
					 .bundle = opt->bundle,
					 .foreground = true,
					 .cgroups_disabled = true,
					 .snapshot = opt->late ? "late" : "early",
					 .snapshot_wait = true };
	struct created made = { .terminal = -1 };
	struct err err = { 0 };
	int r;

	snprintf(id, sizeof(id), "husk-snapshot-%d", getpid());
	r = container_create(&create, &made, &err);
	if (r < 0)
		return cli_error(&err);
	fd_close(made.terminal);
	r = container_delete(cli_globals.root_path, id, true, &err);
	waitpid(made.pid, NULL, 0);
	return r < 0 ? cli_error(&err) : 0;
}

static int prune(int store_fd, const struct snapshot_options *opt)
{
	uint64_t limit = snapstore_limit();
	struct err err = { 0 };
	int n;

	if (opt->limit && cli_parse_size(opt->limit, &limit) < 0)
		return cli_usage("snapshot", "'%s' is no value for --limit", opt->limit);
	n = snap_prune(store_fd, limit, &err);
	if (n < 0)
		return cli_error(&err);
	printf("%d removed\n", n);
	return 0;
}

int cli_snapshot(int argc, char **argv)
{
	struct snapshot_options opt = { 0 };
	struct err err = { 0 };
	int AUTO_FD store_fd = -1;
	const char *what;
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	what = argv[1];
	argv += 2;
	n--;
	if (!strcmp(what, "create") && n == 0)
		return create(&opt);
	store_fd = snapstore_open(true, &err);
	if (store_fd < 0)
		return cli_error(&err);
	if (!strcmp(what, "list") && n == 0)
		return list(store_fd);
	if (!strcmp(what, "inspect") && n == 1)
		return for_each(store_fd, argv, n, false, inspect_one);
	if (!strcmp(what, "verify"))
		return for_each(store_fd, argv, n, n == 0, verify_one);
	if (!strcmp(what, "remove") && (n > 0 || opt.all))
		return for_each(store_fd, argv, n, opt.all, snap_remove);
	if (!strcmp(what, "prune") && n == 0)
		return prune(store_fd, &opt);
	return cli_usage("snapshot", "'%s': see 'husk snapshot --help'", what);
}
