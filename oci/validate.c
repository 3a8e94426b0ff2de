/* SPDX-License-Identifier: Apache-2.0 */
/* What the fields mean together: the top level and the process. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "schema.h"

#define HOSTNAME_MAX  64 /* bytes; __NEW_UTS_LEN */
#define GROUPS_MAX    1024
#define CMD_BYTES_MAX 0x2F0000 /* of args and env together: what one command block holds */
#define STRINGS_MAX   65535

int oci_bad(const struct oci_check *c, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(c->err, -EINVAL, "%s: %s", c->name, text);
}

bool oci_path_climbs(const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
			return true;
	}
	return false;
}

/* ---- process ---- */

static int check_caps(const struct oci_check *c, const char *path, const char *set,
		      const struct oci_strs *names, uint64_t *ret)
{
	for (size_t i = 0; i < names->n; i++) {
		int n = oci_cap_number(names->v[i]);

		if (n < 0)
			oci_warn(c->config,
				 "%s: %scapabilities.%s[%zu]: ignored: unknown capability '%.40s'",
				 c->name, path, set, i, names->v[i]);
		else
			*ret |= 1ULL << n;
	}
	return 0;
}

static void check_all_caps(const struct oci_check *c, const char *path, struct oci_caps *caps)
{
	check_caps(c, path, "bounding", &caps->bounding, &caps->bounding_set);
	check_caps(c, path, "effective", &caps->effective, &caps->effective_set);
	check_caps(c, path, "inheritable", &caps->inheritable, &caps->inheritable_set);
	check_caps(c, path, "permitted", &caps->permitted, &caps->permitted_set);
	check_caps(c, path, "ambient", &caps->ambient, &caps->ambient_set);
}

static int check_rlimits(const struct oci_check *c, const char *path, struct oci_process *p)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < p->rlimits.n; i++) {
		struct oci_rlimit *l = &p->rlimits.v[i];

		l->resource = oci_rlimit_number(l->type);
		if (l->resource < 0)
			return oci_bad(c, "%srlimits[%zu].type: unknown limit '%.40s'", path, i,
				       l->type);
		if (seen & 1ULL << l->resource)
			return oci_bad(c, "%srlimits[%zu].type: '%s' appears twice", path, i,
				       l->type);
		seen |= 1ULL << l->resource;
		if (l->soft.v > l->hard.v)
			return oci_bad(c, "%srlimits[%zu].soft: is above the hard limit %llu", path,
				       i, (unsigned long long)l->hard.v);
	}
	return 0;
}

static int check_args_env(const struct oci_check *c, const char *path, const struct oci_process *p)
{
	size_t bytes = 0;

	if (!p->args.n)
		return oci_bad(c, "%sargs: is required", path);
	if (!p->args.v[0][0])
		return oci_bad(c, "%sargs[0]: is empty", path);
	for (size_t i = 0; i < p->args.n; i++)
		bytes += strlen(p->args.v[i]) + 1;
	for (size_t i = 0; i < p->env.n; i++) {
		const char *eq = strchr(p->env.v[i], '=');

		if (!eq || eq == p->env.v[i])
			return oci_bad(c, "%senv[%zu]: wants NAME=VALUE, got '%.40s'", path, i,
				       p->env.v[i]);
		bytes += strlen(p->env.v[i]) + 1;
	}
	if (bytes > CMD_BYTES_MAX || p->args.n + p->env.n > STRINGS_MAX)
		return oci_bad(c, "%sargs: args and env are longer than %u bytes or %u strings",
			       path, CMD_BYTES_MAX, STRINGS_MAX);
	return 0;
}

static int check_scheduler(const struct oci_check *c, const char *path,
			   const struct oci_scheduler *s)
{
	bool rt = !strcmp(s->policy, "SCHED_FIFO") || !strcmp(s->policy, "SCHED_RR");
	bool deadline = !strcmp(s->policy, "SCHED_DEADLINE");

	if (rt && s->priority.v < 1)
		return oci_bad(c, "%sscheduler.priority: %s wants 1 to 99", path, s->policy);
	if (!rt && s->priority.v)
		return oci_bad(c, "%sscheduler.priority: %s has none", path, s->policy);
	if (!deadline && (s->runtime.v || s->deadline.v || s->period.v))
		return oci_bad(c, "%sscheduler.%s: is for SCHED_DEADLINE only", path,
			       s->runtime.v    ? "runtime"
			       : s->deadline.v ? "deadline"
					       : "period");
	if (deadline && (!s->runtime.v || s->runtime.v > s->deadline.v ||
			 (s->period.v && s->deadline.v > s->period.v)))
		return oci_bad(c, "%sscheduler.deadline: wants 0 < runtime <= deadline <= period",
			       path);
	return 0;
}

int oci_check_process(const struct oci_check *c, const char *path, struct oci_process *p)
{
	int r = check_args_env(c, path, p);

	if (r < 0)
		return r;
	if (p->user && p->user->additional_gids.n > GROUPS_MAX)
		return oci_bad(c, "%suser.additionalGids: more than %u groups", path, GROUPS_MAX);
	if (p->capabilities)
		check_all_caps(c, path, p->capabilities);
	r = check_rlimits(c, path, p);
	if (r == 0 && p->scheduler)
		r = check_scheduler(c, path, p->scheduler);
	if (!p->terminal && p->console_size &&
	    (p->console_size->height.v || p->console_size->width.v))
		oci_warn(c->config, "%s: %sconsoleSize: ignored: there is no terminal", c->name,
			 path);
	return r;
}

/* ---- top level ---- */

static int check_version(const struct oci_check *c)
{
	const char *v = c->config->oci_version;
	unsigned major, minor, patch;
	int n = 0;

	if (sscanf(v, "%3u.%3u.%3u%n", &major, &minor, &patch, &n) != 3 ||
	    (v[n] && v[n] != '-' && v[n] != '+'))
		return oci_bad(c, "ociVersion: '%.40s' is not a version", v);
	if (major != 1)
		return oci_bad(c, "ociVersion: '%.40s' is not a version 1.x", v);
	return 0;
}

static int check_utsname(const struct oci_check *c, const char *field, const char *text)
{
	if (text && strlen(text) > HOSTNAME_MAX)
		return oci_bad(c, "%s: longer than %u bytes", field, HOSTNAME_MAX);
	return 0;
}

int oci_check_id_maps(const struct oci_check *c, const char *path, const struct oci_id_map *maps,
		      size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct oci_id_map *a = &maps[i];

		if (a->container_id.v + a->size.v > (int64_t)UINT32_MAX ||
		    a->host_id.v + a->size.v > (int64_t)UINT32_MAX)
			return oci_bad(c, "%s[%zu].size: goes beyond the last id", path, i);
		for (size_t k = 0; k < i; k++) {
			const struct oci_id_map *b = &maps[k];

			if (a->container_id.v < b->container_id.v + b->size.v &&
			    b->container_id.v < a->container_id.v + a->size.v)
				return oci_bad(c, "%s[%zu].containerID: overlaps with [%zu]", path,
					       i, k);
			if (a->host_id.v < b->host_id.v + b->size.v &&
			    b->host_id.v < a->host_id.v + a->size.v)
				return oci_bad(c, "%s[%zu].hostID: overlaps with [%zu]", path, i,
					       k);
		}
	}
	return 0;
}

int oci_check_config(const struct oci_check *c)
{
	struct oci_config *config = c->config;
	int r = check_version(c);

	if (r == 0)
		r = oci_check_process(c, "process.", config->process);
	if (r == 0)
		r = check_utsname(c, "hostname", config->hostname);
	if (r == 0)
		r = check_utsname(c, "domainname", config->domainname);
	if (r == 0)
		r = oci_check_mounts(c);
	if (r == 0 && config->lnx)
		r = oci_check_linux(c, config->lnx);
	return r;
}
