/* SPDX-License-Identifier: Apache-2.0 */
/* What the fields of linux mean together. */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "schema.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define ID_MAPS_MAX 340 /* lines of a uid_map */

/* ---- resources ---- */

/* "0-3,5": numbers and ranges. */
static bool is_cpu_list(const char *text)
{
	while (*text) {
		char *end;
		unsigned long lo = strtoul(text, &end, 10), hi = lo;

		if (end == text || *text == '-' || *text == '+' || *text == ' ')
			return false;
		if (*end == '-') {
			text = end + 1;
			if (*text < '0' || *text > '9')
				return false;
			hi = strtoul(text, &end, 10);
		}
		if (hi < lo || hi > 65535 || (*end && *end != ','))
			return false;
		text = end + (*end == ',');
		if (*end == ',' && !*text)
			return false;
	}
	return true;
}

static int check_memory(const struct oci_check *c, const char *path, const struct oci_memory *m)
{
	if (m->swap.v > 0 && m->limit.v > 0 && m->swap.v < m->limit.v)
		return oci_bad(c, "%smemory.swap: is the sum of memory and swap, below limit %lld",
			       path, (long long)m->limit.v);
	if (m->swap.v > 0 && m->swap.set && !m->limit.set)
		return oci_bad(c, "%smemory.swap: wants memory.limit too", path);
	if (m->reservation.v > 0 && m->limit.v > 0 && m->reservation.v > m->limit.v)
		return oci_bad(c, "%smemory.reservation: is above limit %lld", path,
			       (long long)m->limit.v);
	return 0;
}

static int check_cpu(const struct oci_check *c, const char *path, const struct oci_cpu *cpu)
{
	if (cpu->shares.v == 1)
		return oci_bad(c, "%scpu.shares: wants 0 or 2 to 262144", path);
	if (cpu->period.v && cpu->period.v < 1000)
		return oci_bad(c, "%scpu.period: wants 1000 to 1000000 microseconds", path);
	if (cpu->quota.v > 0 && cpu->quota.v < 1000)
		return oci_bad(c, "%scpu.quota: wants -1 or at least 1000 microseconds", path);
	if (cpu->cpus && !is_cpu_list(cpu->cpus))
		return oci_bad(c, "%scpu.cpus: '%.40s' is not a list like 0-3,5", path, cpu->cpus);
	if (cpu->mems && !is_cpu_list(cpu->mems))
		return oci_bad(c, "%scpu.mems: '%.40s' is not a list like 0-3,5", path, cpu->mems);
	return 0;
}

static int check_block_io(const struct oci_check *c, const char *path, const struct oci_block_io *b)
{
	if (b->weight.v && b->weight.v < 10)
		return oci_bad(c, "%sblockIO.weight: wants 0 or 10 to 1000", path);
	for (size_t i = 0; i < b->weight_devices.n; i++) {
		if (b->weight_devices.v[i].weight.v && b->weight_devices.v[i].weight.v < 10)
			return oci_bad(c,
				       "%sblockIO.weightDevice[%zu].weight: wants 0 or 10 to 1000",
				       path, i);
	}
	return 0;
}

static bool is_page_size(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	return text[0] >= '1' && text[0] <= '9' && n && (n & (n - 1)) == 0 &&
	       (!strcmp(end, "KB") || !strcmp(end, "MB") || !strcmp(end, "GB"));
}

/* File names of cgroup v2: "memory.high". */
static bool is_cgroup_file(const char *name)
{
	return strchr(name, '.') && !strchr(name, '/') && name[0] != '.';
}

int oci_check_resources(const struct oci_check *c, const char *path, struct oci_resources *res)
{
	int r = 0;

	for (size_t i = 0; i < res->unified.n; i++) {
		if (!is_cgroup_file(res->unified.v[i].key))
			return oci_bad(c, "%sunified.%.60s: is not the name of a cgroup file", path,
				       res->unified.v[i].key);
	}
	for (size_t i = 0; i < res->devices.n; i++) {
		const char *a = res->devices.v[i].access;

		if (a && strspn(a, "rwm") != strlen(a))
			return oci_bad(c, "%sdevices[%zu].access: wants letters of 'rwm'", path, i);
	}
	for (size_t i = 0; i < res->hugepage_limits.n; i++) {
		if (!is_page_size(res->hugepage_limits.v[i].page_size))
			return oci_bad(c, "%shugepageLimits[%zu].pageSize: wants 2MB, 1GB or such",
				       path, i);
	}
	if (res->memory)
		r = check_memory(c, path, res->memory);
	if (r == 0 && res->cpu)
		r = check_cpu(c, path, res->cpu);
	if (r == 0 && res->block_io)
		r = check_block_io(c, path, res->block_io);
	return r;
}

/* ---- seccomp ---- */

static int check_action(const struct oci_check *c, const char *field, const char *action)
{
	if (!strcmp(action, "SCMP_ACT_NOTIFY"))
		return oci_bad(c, "linux.seccomp.%s: SCMP_ACT_NOTIFY is not supported in a guest",
			       field);
	if (!strcmp(action, "SCMP_ACT_TRACE"))
		oci_warn(c->config,
			 "%s: linux.seccomp.%s: SCMP_ACT_TRACE: no tracer can be there from the "
			 "start, the call fails with ENOSYS",
			 c->name, field);
	return 0;
}

int oci_check_seccomp(const struct oci_check *c, const struct oci_seccomp *s)
{
	int r = check_action(c, "defaultAction", s->default_action);

	for (size_t i = 0; r == 0 && i < s->syscalls.n; i++) {
		char field[48];

		for (size_t k = 0; k < s->syscalls.v[i].names.n; k++) {
			if (!s->syscalls.v[i].names.v[k][0])
				return oci_bad(c,
					       "linux.seccomp.syscalls[%zu].names[%zu]: is empty",
					       i, k);
		}
		snprintf(field, sizeof(field), "syscalls[%zu].action", i);
		r = check_action(c, field, s->syscalls.v[i].action);
	}
	return r;
}

/* ---- the rest ---- */

static int namespace_flag(const char *type)
{
	static const struct {
		const char *type;
		int flag;
	} flags[] = {
		{ "pid", CLONE_NEWPID },   { "network", CLONE_NEWNET },	  { "mount", CLONE_NEWNS },
		{ "ipc", CLONE_NEWIPC },   { "uts", CLONE_NEWUTS },	  { "user", CLONE_NEWUSER },
		{ "time", CLONE_NEWTIME }, { "cgroup", CLONE_NEWCGROUP },
	};

	for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
		if (!strcmp(flags[i].type, type))
			return flags[i].flag;
	}
	return 0;
}

static int check_namespaces(const struct oci_check *c, struct oci_linux *l)
{
	int seen = 0;

	for (size_t i = 0; i < l->namespaces.n; i++) {
		struct oci_namespace *ns = &l->namespaces.v[i];

		ns->flag = namespace_flag(ns->type);
		if (seen & ns->flag)
			return oci_bad(c, "linux.namespaces[%zu].type: '%s' appears twice", i,
				       ns->type);
		seen |= ns->flag;
		if (ns->path && !ns->path[0])
			ns->path = NULL;
		if (ns->path && ns->flag == CLONE_NEWUSER && !l->uid_mappings.n)
			return oci_bad(c,
				       "linux.namespaces[%zu].path: a user namespace of the host "
				       "cannot be joined: give linux.uidMappings and gidMappings",
				       i);
		if (ns->path && ns->flag != CLONE_NEWNET)
			oci_warn(c->config,
				 "%s: linux.namespaces[%zu].path: ignored: the guest makes a %s "
				 "namespace of its own",
				 c->name, i, ns->type);
	}
	return 0;
}

static int check_devices(const struct oci_check *c, const struct oci_linux *l)
{
	for (size_t i = 0; i < l->devices.n; i++) {
		const struct oci_device *d = &l->devices.v[i];
		bool fifo = !strcmp(d->type, "p");

		if (!fifo && !d->major.set)
			return oci_bad(c, "linux.devices[%zu].major: is required", i);
		if (!fifo && !d->minor.set)
			return oci_bad(c, "linux.devices[%zu].minor: is required", i);
		if (oci_path_climbs(d->path))
			return oci_bad(c, "linux.devices[%zu].path: has a '..' in it", i);
	}
	return 0;
}

static int check_sysctl(const struct oci_check *c, const struct oci_linux *l)
{
	for (size_t i = 0; i < l->sysctl.n; i++) {
		const char *key = l->sysctl.v[i].key;

		if (key[0] == '.' || key[0] == '/' || strstr(key, "..") || strchr(key, '\n') ||
		    strlen(key) > 200)
			return oci_bad(c, "linux.sysctl.%.60s: is not the name of a sysctl", key);
	}
	return 0;
}

static int check_paths(const struct oci_check *c, const char *field, const struct oci_strs *paths)
{
	for (size_t i = 0; i < paths->n; i++) {
		if (!paths->v[i][0])
			return oci_bad(c, "linux.%s[%zu]: is empty", field, i);
		if (oci_path_climbs(paths->v[i]))
			return oci_bad(c, "linux.%s[%zu]: has a '..' in it", field, i);
		if (strlen(paths->v[i]) >= PATH_MAX)
			return oci_bad(c, "linux.%s[%zu]: longer than a path can be", field, i);
	}
	return 0;
}

static int check_mapped(const struct oci_check *c, const struct oci_linux *l)
{
	bool wanted = oci_namespace_find(c->config, CLONE_NEWUSER);

	if (wanted != (l->uid_mappings.n > 0) || wanted != (l->gid_mappings.n > 0))
		return oci_bad(c, "linux.%s: %s",
			       wanted == (l->uid_mappings.n > 0) ? "gidMappings" : "uidMappings",
			       wanted ? "is required with a user namespace"
				      : "wants a user namespace in linux.namespaces");
	return 0;
}

static int check_mappings(const struct oci_check *c, const struct oci_linux *l)
{
	int r;

	if (l->uid_mappings.n > ID_MAPS_MAX || l->gid_mappings.n > ID_MAPS_MAX)
		return oci_bad(c, "linux.%s: more than %u ranges",
			       l->uid_mappings.n > ID_MAPS_MAX ? "uidMappings" : "gidMappings",
			       ID_MAPS_MAX);
	r = oci_check_id_maps(c, "linux.uidMappings", l->uid_mappings.v, l->uid_mappings.n);
	if (r == 0)
		r = oci_check_id_maps(c, "linux.gidMappings", l->gid_mappings.v, l->gid_mappings.n);
	return r == 0 ? check_mapped(c, l) : r;
}

int oci_check_linux(const struct oci_check *c, struct oci_linux *l)
{
	int r = check_namespaces(c, l);

	if (r == 0)
		r = check_mappings(c, l);
	if (r == 0)
		r = check_devices(c, l);
	if (r == 0)
		r = check_sysctl(c, l);
	if (r == 0)
		r = check_paths(c, "maskedPaths", &l->masked_paths);
	if (r == 0)
		r = check_paths(c, "readonlyPaths", &l->readonly_paths);
	if (r == 0 && l->cgroups_path && oci_path_climbs(l->cgroups_path))
		r = oci_bad(c, "linux.cgroupsPath: has a '..' in it");
	if (r == 0 && l->resources)
		r = oci_check_resources(c, "linux.resources.", l->resources);
	if (r == 0 && l->seccomp)
		r = oci_check_seccomp(c, l->seccomp);
	return r;
}
