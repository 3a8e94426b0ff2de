/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timeline of host and guest.
 * Ref: Trace Event Format (catapult): complete events "X" with ts and dur in microseconds.
 */
#include "initx/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "initx/proto.h"

#define NAME_BYTES 48

struct event {
	enum timeline_track track;
	uint32_t id;
	char name[NAME_BYTES];
	uint64_t start, end;
};

struct timeline {
	pthread_mutex_t lock;
	struct event *events; /* guarded by lock, as all below */
	size_t n, cap;
	uint64_t n_dropped;
	uint64_t last_guest;
};

static const struct {
	uint32_t id;
	const char *name;
} names[] = {
	{ INITX_TS_INIT_START, "init starts" },
	{ INITX_TS_INIT_DEV, "/dev made" },
	{ INITX_TS_INIT_MOUNTS, "init mounts" },
	{ INITX_TS_INIT_SHM, "/dev/shm mounted" },
	{ INITX_TS_INIT_MODULES, "modules loaded" },
	{ INITX_TS_INIT_CONSOLE, "console opened" },
	{ INITX_TS_INIT_SETSID, "session made" },
	{ INITX_TS_INIT_DUP, "console in place" },
	{ INITX_TS_INIT_MEM, "/dev/mem opened" },
	{ INITX_TS_INIT_MAILBOX, "mailbox mapped" },
	{ INITX_TS_INIT_TS, "timeslice mapped" },
	{ INITX_TS_INIT_CONFIG, "config mapped" },
	{ INITX_TS_INIT_AREA, "code area mapped" },
	{ INITX_TS_INIT_TIME, "clock set" },
	{ INITX_TS_INIT_LOOP, "program loop" },
	{ INITX_TS_COPY, "program found" },
	{ INITX_TS_RELOCATE, "program copied" },
	{ INITX_TS_ISB, "program relocated" },
	{ INITX_TS_CALL, "program called" },
	{ INITX_TS_PAYLOAD_DONE, "program done" },
	{ INITX_TS_START, "container init starts" },
	{ INITX_TS_DIRS, "directories made" },
	{ INITX_TS_VIRTIOFS, "virtio-fs mounted" },
	{ INITX_TS_FILESYSTEMS, "file systems mounted" },
	{ INITX_TS_ROOT, "root moved" },
	{ INITX_TS_DEVPTS, "devices made" },
	{ INITX_TS_BINFMT, "binfmt registered" },
	{ INITX_TS_HOSTNAME, "host name set" },
	{ INITX_TS_LOOPBACK, "loopback up" },
	{ INITX_TS_HOSTS, "name files written" },
	{ INITX_TS_NETWORK, "network up" },
	{ INITX_TS_CWD, "directory changed" },
	{ INITX_TS_PRIVS, "privileges dropped" },
	{ INITX_TS_EXEC, "exec" },
	{ INITX_TS_COMPLETE, "container ready" },
	{ INITX_TS_FORK_START, "fork starts" },
	{ INITX_TS_FORK_DONE, "forked" },
	{ INITX_TS_WAIT_START, "wait starts" },
	{ INITX_TS_WAIT_DONE, "waited" },
	{ INITX_TS_LOOP, "command loop" },
	{ INITX_TS_CMD_READ, "command found" },
	{ INITX_TS_CMD_EXEC, "command runs" },
	{ INITX_TS_CMD_DONE, "command done" },
};

const char *timeline_name(uint32_t id)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].id == id)
			return names[i].name;
	return NULL;
}

int timeline_new(struct timeline **ret, struct err *err)
{
	struct timeline *t = calloc(1, sizeof(*t));

	if (!t)
		return err_set(err, -ENOMEM, "timeline");
	pthread_mutex_init(&t->lock, NULL);
	*ret = t;
	return 0;
}

void timeline_free(struct timeline *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t->events);
	free(t);
}

/* NULL: full. */
static struct event *add_locked(struct timeline *t)
{
	if (t->n == t->cap && t->cap < TIMELINE_MAX) {
		size_t cap = t->cap ? t->cap * 2 : 256;
		struct event *p = realloc(t->events, cap * sizeof(*p));

		if (p) {
			t->events = p;
			t->cap = cap;
		}
	}
	if (t->n == t->cap) {
		t->n_dropped++;
		return NULL;
	}
	t->events[t->n] = (struct event){ 0 };
	return &t->events[t->n++];
}

void timeline_guest(struct timeline *t, uint32_t id, uint64_t now_ns)
{
	struct event *e;

	pthread_mutex_lock(&t->lock);
	e = add_locked(t);
	if (e) {
		e->track = TIMELINE_GUEST;
		e->id = id;
		e->start = t->last_guest ? t->last_guest : now_ns;
		e->end = now_ns;
	}
	t->last_guest = now_ns;
	pthread_mutex_unlock(&t->lock);
}

void timeline_host(struct timeline *t, const char *name, uint64_t start_ns, uint64_t end_ns)
{
	struct event *e;

	pthread_mutex_lock(&t->lock);
	e = add_locked(t);
	if (e) {
		e->track = TIMELINE_HOST;
		snprintf(e->name, sizeof(e->name), "%s", name);
		e->start = start_ns;
		e->end = end_ns;
	}
	pthread_mutex_unlock(&t->lock);
}

/* The name as a JSON string's inside. */
static void write_name(FILE *f, const struct event *e)
{
	const char *known = e->track == TIMELINE_GUEST ? timeline_name(e->id) : e->name;

	if (!known) {
		fprintf(f, "guest event %" PRIu32, e->id);
		return;
	}
	for (const char *s = known; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			fprintf(f, "\\u%04x", (unsigned char)*s);
		else
			fputc(*s, f);
	}
}

static void write_events(struct timeline *t, FILE *f)
{
	fputs("{\"traceEvents\":[\n", f);
	fputs("{\"ph\":\"M\",\"pid\":1,\"tid\":1,\"name\":\"thread_name\",\"args\":{\"name\":"
	      "\"host\"}},\n",
	      f);
	fputs("{\"ph\":\"M\",\"pid\":1,\"tid\":2,\"name\":\"thread_name\",\"args\":{\"name\":"
	      "\"guest\"}}",
	      f);
	for (size_t i = 0; i < t->n; i++) {
		const struct event *e = &t->events[i];
		uint64_t dur = e->end > e->start ? e->end - e->start : 0;

		fputs(",\n{\"ph\":\"X\",\"pid\":1,\"name\":\"", f);
		write_name(f, e);
		fprintf(f, "\",\"tid\":%d,\"ts\":%" PRIu64 ".%03u,\"dur\":%" PRIu64 ".%03u}",
			e->track == TIMELINE_HOST ? 1 : 2, e->start / 1000,
			(unsigned)(e->start % 1000), dur / 1000, (unsigned)(dur % 1000));
	}
	fprintf(f, "\n],\"displayTimeUnit\":\"ms\",\"otherData\":{\"dropped\":\"%" PRIu64 "\"}}\n",
		t->n_dropped);
}

int timeline_write(struct timeline *t, int fd, struct err *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return err_set(err, -ENOMEM, "timeline");
	pthread_mutex_lock(&t->lock);
	write_events(t, f);
	pthread_mutex_unlock(&t->lock);
	if (fclose(f)) {
		free(text);
		return err_set(err, -ENOMEM, "timeline");
	}
	r = fd_write_full(fd, text, len);
	free(text);
	return r < 0 ? err_errno(err, -r, "write the timeline") : 0;
}
