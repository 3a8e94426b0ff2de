/* SPDX-License-Identifier: Apache-2.0 */
/* A process of a configuration as a command block for the guest's init. */
#include "guestcmd_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "guest.h"
#include "initx/proto.h"
#include "kept.h"

#define DEFAULT_UMASK 022
#define RLIMIT_BYTES  24
#define IOPRIO_SHIFT  13

static_assert(KEPT_MAX <= INITX_FDS_MAX && KEPT_FIRST + KEPT_MAX <= INITX_FDS_BELOW,
	      "as many as a guest takes");

const char *guestcmd_step_str(uint32_t step)
{
	static const char *const names[] = {
		[INITX_STEP_BLOCK] = "command",
		[INITX_STEP_RECORD] = "command record",
		[INITX_STEP_STREAMS] = "streams",
		[INITX_STEP_FORK] = "fork",
		[INITX_STEP_NAMESPACES] = "namespaces",
		[INITX_STEP_STDIO] = "standard streams",
		[INITX_STEP_MOUNT] = "mounts",
		[INITX_STEP_SYSCTL] = "linux.sysctl",
		[INITX_STEP_DEVICE] = "linux.devices",
		[INITX_STEP_HOSTNAME] = "hostname",
		[INITX_STEP_LIMITS] = "process.rlimits, scheduler or oomScoreAdj",
		[INITX_STEP_IDS] = "process.user",
		[INITX_STEP_CAPS] = "process.capabilities",
		[INITX_STEP_SECCOMP] = "linux.seccomp",
		[INITX_STEP_CWD] = "process.cwd",
		[INITX_STEP_EXEC] = "",
		[INITX_STEP_MASK] = "linux.maskedPaths or readonlyPaths",
		[INITX_STEP_CGROUP] = "linux.resources.pids",
		[INITX_STEP_HOOK] = "hooks.startContainer",
	};

	return step < ARRAY_LEN(names) && names[step] ? names[step] : "start";
}

void guestcmd_add(struct guestcmd_build *b, uint16_t type, const void *payload, size_t len)
{
	if (b->r == 0)
		b->r = command_item(b->c, type, payload, len, b->err);
}

void guestcmd_add_u32(struct guestcmd_build *b, uint16_t type, const uint32_t *words, size_t n)
{
	if (b->r == 0)
		b->r = command_item_u32(b->c, type, words, n, b->err);
}

void guestcmd_add_strings(struct guestcmd_build *b, uint16_t type, const uint32_t *words,
			  size_t n_words, const char *const *strings, size_t n)
{
	if (b->r == 0)
		b->r = command_item_strings(b->c, type, words, n_words, strings, n, b->err);
}

/* ---- the process ---- */

static void add_user(struct guestcmd_build *b, const struct oci_user *u)
{
	uint32_t ids[3] = { 0, 0, DEFAULT_UMASK };
	uint32_t *groups;

	if (u) {
		ids[0] = (uint32_t)u->uid.v;
		ids[1] = (uint32_t)u->gid.v;
		if (u->umask.set)
			ids[2] = (uint32_t)u->umask.v;
	}
	if (u && u->additional_gids.n && b->r == 0) {
		groups = calloc(u->additional_gids.n, sizeof(*groups));
		if (!groups) {
			b->r = err_set(b->err, -ENOMEM, "command: no memory");
			return;
		}
		for (size_t i = 0; i < u->additional_gids.n; i++)
			groups[i] = (uint32_t)u->additional_gids.v[i].v;
		guestcmd_add_u32(b, INITX_ITEM_GROUPS, groups, u->additional_gids.n);
		free(groups);
	}
	guestcmd_add_u32(b, INITX_ITEM_IDS, ids, 3);
}

static void add_caps(struct guestcmd_build *b, const struct oci_caps *caps)
{
	static const struct oci_caps none;
	uint8_t bytes[40];

	if (!caps)
		caps = &none;
	le64_store(bytes, caps->bounding_set);
	le64_store(bytes + 8, caps->effective_set);
	le64_store(bytes + 16, caps->inheritable_set);
	le64_store(bytes + 24, caps->permitted_set);
	le64_store(bytes + 32, caps->ambient_set);
	guestcmd_add(b, INITX_ITEM_CAPS, bytes, sizeof(bytes));
}

static void add_limits(struct guestcmd_build *b, const struct oci_process *p)
{
	size_t n = p->rlimits.n;
	uint8_t *bytes;
	char text[16];

	if (p->oom_score_adj.set)
		guestcmd_add(b, INITX_ITEM_OOM_SCORE, text,
			     (size_t)snprintf(text, sizeof(text), "%d", (int)p->oom_score_adj.v));
	if (!n || b->r < 0)
		return;
	bytes = calloc(n, RLIMIT_BYTES);
	if (!bytes) {
		b->r = err_set(b->err, -ENOMEM, "command: no memory");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		le32_store(bytes + i * RLIMIT_BYTES, (uint32_t)p->rlimits.v[i].resource);
		le64_store(bytes + i * RLIMIT_BYTES + 8, p->rlimits.v[i].soft.v);
		le64_store(bytes + i * RLIMIT_BYTES + 16, p->rlimits.v[i].hard.v);
	}
	guestcmd_add(b, INITX_ITEM_RLIMIT, bytes, n * RLIMIT_BYTES);
	free(bytes);
}

static int policy_number(const char *policy)
{
	static const struct {
		const char *name;
		int number;
	} policies[] = {
		{ "SCHED_OTHER", SCHED_OTHER }, { "SCHED_FIFO", SCHED_FIFO },
		{ "SCHED_RR", SCHED_RR },	{ "SCHED_BATCH", SCHED_BATCH },
		{ "SCHED_IDLE", SCHED_IDLE },
	};

	for (unsigned i = 0; i < ARRAY_LEN(policies); i++) {
		if (!strcmp(policies[i].name, policy))
			return policies[i].number;
	}
	return -1;
}

static void add_scheduling(struct guestcmd_build *b, const struct oci_process *p)
{
	if (p->scheduler) {
		int policy = policy_number(p->scheduler->policy);
		uint32_t words[2] = { (uint32_t)policy, (uint32_t)p->scheduler->priority.v };
		uint32_t nice = (uint32_t)(int32_t)p->scheduler->nice.v;

		if (policy < 0 && b->r == 0) {
			b->r = err_set(b->err, -EOPNOTSUPP,
				       "process.scheduler.policy: %s is not supported",
				       p->scheduler->policy);
			return;
		}
		guestcmd_add_u32(b, INITX_ITEM_SCHEDULER, words, 2);
		if (p->scheduler->nice.set)
			guestcmd_add_u32(b, INITX_ITEM_NICE, &nice, 1);
	}
	if (p->io_priority) {
		const char *class = p->io_priority->class;
		uint32_t number = !strcmp(class, "IOPRIO_CLASS_RT")   ? 1
				  : !strcmp(class, "IOPRIO_CLASS_BE") ? 2
								      : 3;
		uint32_t word = number << IOPRIO_SHIFT | (uint32_t)p->io_priority->priority.v;

		guestcmd_add_u32(b, INITX_ITEM_IOPRIO, &word, 1);
	}
}

static void add_streams(struct guestcmd_build *b, const struct guestcmd_streams *s, uint32_t owner)
{
	uint32_t stdio[6] = { 0 }, kept[2 * KEPT_MAX];
	uint32_t terminal[4] = { s->rows, s->cols, s->ports[0], owner };

	if (s->terminal)
		guestcmd_add_u32(b, INITX_ITEM_TERMINAL, terminal, 4);
	for (unsigned i = 0; i < 3; i++) {
		stdio[2 * i] = s->terminal   ? INITX_STDIO_TERMINAL
			       : s->ports[i] ? INITX_STDIO_PIPE
					     : INITX_STDIO_NULL;
		stdio[2 * i + 1] = s->terminal ? 0 : s->ports[i];
	}
	guestcmd_add_u32(b, INITX_ITEM_STDIO, stdio, 6);
	for (unsigned i = 0; i < s->n_kept; i++) {
		kept[2 * i] = KEPT_FIRST + i;
		kept[2 * i + 1] = s->kept[i];
	}
	if (s->n_kept)
		guestcmd_add_u32(b, INITX_ITEM_FDS, kept, 2 * (size_t)s->n_kept);
}

int guestcmd_filter_make(const struct oci_config *config, struct guestcmd_filter *ret,
			 struct err *err)
{
	const struct oci_seccomp *s = config->lnx ? config->lnx->seccomp : NULL;
	AUTO_FREE void *filter = NULL;
	uint32_t flags = 0;
	size_t len = 0;
	uint8_t *bytes;
	int r = s ? seccomp_compile(s, &filter, &len, &flags, err) : 0;

	*ret = (struct guestcmd_filter){ 0 };
	if (r < 0 || !filter)
		return r;
	bytes = malloc(len + 8);
	if (!bytes)
		return err_set(err, -ENOMEM, "seccomp: no memory");
	le32_store(bytes, flags);
	le32_store(bytes + 4, (uint32_t)(len / 8));
	memcpy(bytes + 8, filter, len);
	*ret = (struct guestcmd_filter){ bytes, len + 8 };
	return 0;
}

int guestcmd_build(const struct guestcmd *gc, struct command **ret, struct err *err)
{
	CLEANUP(command_freep) struct command *c = NULL;
	const struct oci_config *config = gc->config;
	const struct oci_process *p = gc->process;
	uint32_t enter[2] = { GUESTCMD_NAMESPACES, gc->init_id };
	struct guestcmd_build b = { .err = err };
	int r = command_new(p->args.v[0], (const char *const *)p->args.v,
			    (const char *const *)p->env.v, &c, err);

	if (r == 0)
		r = command_record(c, gc->id, err);
	if (r < 0)
		return r;
	b.c = c;
	if (oci_namespace_find(config, CLONE_NEWCGROUP))
		enter[0] |= CLONE_NEWCGROUP;
	if (guestcmd_has_users(config))
		enter[0] |= CLONE_NEWUSER;
	if (gc->init_id) {
		guestcmd_add_u32(&b, INITX_ITEM_ENTER, enter, 2);
		guestcmd_add_cgroup(&b, config, false);
	} else {
		guestcmd_add_place(&b, config, !gc->pids_set, gc->ahead);
		guestcmd_add_container(&b, config, gc->hook_state);
	}
	add_streams(&b, &gc->streams, guestcmd_uid(config, p->user ? (uint32_t)p->user->uid.v : 0));
	guestcmd_add(&b, INITX_ITEM_CWD, p->cwd, strlen(p->cwd));
	add_user(&b, p->user);
	add_caps(&b, p->capabilities);
	add_limits(&b, p);
	add_scheduling(&b, p);
	if (p->no_new_privileges)
		guestcmd_add(&b, INITX_ITEM_NO_NEW_PRIVS, "", 0);
	if (gc->filter && gc->filter->bytes)
		guestcmd_add(&b, INITX_ITEM_SECCOMP, gc->filter->bytes, gc->filter->len);
	if (b.r == 0)
		*ret = STEAL_PTR(c);
	return b.r;
}

int guestcmd_build_ahead(const struct oci_config *config, const char *files, size_t files_len,
			 struct command **ret, struct err *err)
{
	CLEANUP(command_freep) struct command *c = NULL;
	struct guestcmd_build b = { .err = err };
	int r = command_new(config->process->args.v[0], NULL, NULL, &c, err);

	if (r == 0)
		r = command_record(c, GUEST_INIT_ID, err);
	if (r < 0)
		return r;
	b.c = c;
	guestcmd_add_place(&b, config, true, true);
	guestcmd_add(&b, INITX_ITEM_FILES, files, files_len);
	if (b.r == 0)
		*ret = STEAL_PTR(c);
	return b.r;
}
