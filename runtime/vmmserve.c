/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM process: control connections, their requests, and the guest's events that answer them. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "console.h"
#include "control.h"
#include "guest.h"
#include "kept.h"
#include "vmmproc_priv.h"

#define CONNS_MAX 1024
#define NO_ANSWER "the guest does not answer"

/* One control connection. */
struct conn {
	struct conn *next;
	struct vmmproc *vp;
	struct loop_watch watch;
	int fd;
	uint64_t tag;	  /* names it in questions to the guest */
	uint32_t process; /* the one it stands for, 0 for none */
	bool holds;	  /* the guest, for a checkpoint, or waits until it is */
	char name[200];	  /* of its program, for messages */
};

/* ---- connections ---- */

void conn_close(struct conn *c)
{
	struct conn **at = &c->vp->conns;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (c->vp->starter == c)
		c->vp->starter = NULL;
	loop_watch_remove(&c->watch);
	fd_close(c->fd);
	c->vp->n_conns--;
	free(c);
}

static void conn_reply(struct conn *c, int result, const char *text)
{
	struct control_msg m = { .op = CONTROL_REPLY,
				 .arg0 = result,
				 .text = (char *)(uintptr_t)text,
				 .len = text ? strlen(text) : 0 };

	control_send(c->fd, &m);
}

static struct conn *conn_of(struct vmmproc *vp, uint32_t process)
{
	struct conn *c = vp->conns;

	while (c && c->process != process)
		c = c->next;
	return c;
}

/* The proxy of a process is gone: engines end an executed process that way. */
static void conn_broken(struct conn *c)
{
	if (c->holds)
		guest_backend_ops->checkpoint_end(c->vp->guest, false);
	if (c->process && c->vp->guest)
		guest_backend_ops->kill(c->vp->guest, c->process, SIGKILL, GUEST_KILL_ONE, 0);
	conn_close(c);
}

/* ---- requests ---- */

/* The state that hooks in the container see: there its process is the first. */
static int print_hook_state(const struct vmmproc *vp, char **ret, struct err *err)
{
	struct oci_state state = *vp->config->state;

	state.status = OCI_STATUS_CREATED;
	state.pid = 1;
	return oci_state_print(&state, false, ret, err);
}

void vmmproc_start_process(struct vmmproc *vp)
{
	const struct oci_process *p = vp->config->config->process;
	struct guest_process gp = { .id = GUEST_INIT_ID, .process = p, .null_fds = vp->null_fds };
	struct conn *c = vp->starter;
	AUTO_FREE char *hook_state = NULL;
	struct err err = { 0 };
	int kept[KEPT_MAX], r;

	for (int i = 0; i < 3; i++)
		gp.fds[i] = fd_steal(&vp->stdio[i]);
	gp.kept = kept;
	for (; gp.n_kept < vp->config->n_preserve_fds; gp.n_kept++)
		kept[gp.n_kept] = KEPT_FIRST + (int)gp.n_kept;
	if (p->terminal)
		console_size(gp.fds[0], &gp.rows, &gp.cols);
	vp->rows = gp.rows;
	vp->cols = gp.cols;
	r = print_hook_state(vp, &hook_state, &err);
	gp.hook_state = hook_state;
	/* started() may come before start() returns. */
	if (r == 0)
		r = guest_backend_ops->start(vp->guest, &gp, &err);
	if (r < 0) {
		vp->starter = NULL;
		conn_reply(c, r, err.msg);
		vmmproc_finish(vp, 1);
	}
}

/* run asks before the guest is ready: then no time passes in between. */
static void serve_start(struct conn *c)
{
	struct vmmproc *vp = c->vp;

	if (vp->started || vp->starter) {
		conn_reply(c, -EBUSY, "cannot start an already running container");
		return;
	}
	vp->starter = c;
	if (vp->ready)
		vmmproc_start_process(vp);
}

static void serve_exec(struct conn *c, struct control_msg *m)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	struct guest_process gp = { .id = ++c->vp->last_id, .null_fds = (unsigned)m->arg1 };
	struct err err = { 0 };
	int r = oci_process_parse(m->text, m->len, "process", &config, &err);
	unsigned want, n_kept = (unsigned)m->arg0;

	if (r < 0) {
		conn_reply(c, r, err.msg);
		return;
	}
	want = config->process->terminal ? 1 : 3;
	if (n_kept > KEPT_MAX || m->n_fds != want + n_kept || c->process) {
		conn_reply(c, -EPROTO, "exec: wrong number of descriptors");
		return;
	}
	gp.process = config->process;
	for (unsigned i = 0; i < 3; i++)
		gp.fds[i] = i < want ? fd_steal(&m->fds[i]) : -1;
	gp.kept = m->fds + want;
	gp.n_kept = n_kept;
	m->n_fds = 0;
	if (config->process->terminal)
		console_size(gp.fds[0], &gp.rows, &gp.cols);
	c->process = gp.id;
	snprintf(c->name, sizeof(c->name), "%s", config->process->args.v[0]);
	r = guest_backend_ops->start(c->vp->guest, &gp, &err);
	if (r < 0) {
		c->process = 0;
		conn_reply(c, r, err.msg);
	}
}

static void serve_kill(struct conn *c, const struct control_msg *m)
{
	static const enum guest_kill kinds[] = { GUEST_KILL_ONE, GUEST_KILL_GROUP, GUEST_KILL_ALL };
	uint32_t id = c->process ? c->process : GUEST_INIT_ID;

	if (m->arg1 < 0 || m->arg1 > CONTROL_KILL_ALL || m->arg0 < 0 || m->arg0 > 64) {
		conn_reply(c, -EINVAL, NULL);
		return;
	}
	/* Before start there is no process yet: what would end it ends the container. */
	if (id == GUEST_INIT_ID && !c->vp->started) {
		conn_reply(c, 0, NULL);
		if (m->arg0 == SIGKILL || m->arg0 == SIGTERM || m->arg0 == SIGINT)
			vmmproc_finish(c->vp, 128 + (unsigned)m->arg0);
		return;
	}
	/* A signal for an executed process is not answered: its connection carries events. */
	guest_backend_ops->kill(c->vp->guest, id, m->arg0, kinds[m->arg1], c->process ? 0 : c->tag);
}

static void serve_checkpoint(struct conn *c, struct control_msg *m)
{
	const struct guest_ops *ops = guest_backend_ops;
	struct err err = { 0 };
	int r;

	if (m->arg0 == CONTROL_CHECKPOINT_TAKE && m->n_fds == 4 && ops->checkpoint &&
	    c->vp->started) {
		const struct guest_checkpoint to = { m->fds[0], m->fds[1], m->fds[2], m->fds[3] };

		m->n_fds = 0;
		r = ops->checkpoint(c->vp->guest, &to, c->tag, &err);
		if (r < 0)
			conn_reply(c, r, err.msg);
		else
			c->holds = true;
	} else if (m->arg0 != CONTROL_CHECKPOINT_TAKE && c->holds) {
		c->holds = false;
		conn_reply(c, 0, NULL);
		ops->checkpoint_end(c->vp->guest, m->arg0 == CONTROL_CHECKPOINT_STOP);
	} else {
		conn_reply(c, -EINVAL, "there is nothing to checkpoint");
	}
}

static void serve_update(struct conn *c, const struct control_msg *m)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	struct err err = { 0 };
	int r = oci_resources_parse(m->text, m->len, "resources", &config, &err);

	if (r == 0 && !guest_backend_ops->update)
		conn_reply(c, 0, NULL);
	else if (r == 0)
		r = guest_backend_ops->update(c->vp->guest, config->lnx->resources, c->tag, &err);
	if (r < 0)
		conn_reply(c, r, err.msg);
}

static void serve_request(struct conn *c, struct control_msg *m)
{
	struct vmmproc *vp = c->vp;
	struct err err = { 0 };
	int r;

	switch (m->op) {
	case CONTROL_START: serve_start(c); return;
	case CONTROL_EXEC: serve_exec(c, m); return;
	case CONTROL_KILL: serve_kill(c, m); return;
	case CONTROL_STATS: guest_backend_ops->stats(vp->guest, c->tag); return;
	case CONTROL_PAUSE:
		r = guest_backend_ops->pause(vp->guest, &err);
		conn_reply(c, r, err.msg);
		return;
	case CONTROL_RESUME:
		r = guest_backend_ops->resume(vp->guest, &err);
		conn_reply(c, r, err.msg);
		return;
	case CONTROL_RESIZE:
		if (c->process && m->arg0 >= 0 && m->arg1 >= 0)
			guest_backend_ops->resize(vp->guest, c->process, (unsigned)m->arg0,
						  (unsigned)m->arg1);
		return;
	case CONTROL_CHECKPOINT: serve_checkpoint(c, m); return;
	case CONTROL_UPDATE: serve_update(c, m); return;
	case CONTROL_REPLY:
	case CONTROL_EXITED:
	case CONTROL_SNAPSHOT:
	case CONTROL_MAX_: conn_reply(c, -EPROTO, NULL); return;
	}
}

static void on_conn(void *opaque, uint32_t events)
{
	struct conn *c = opaque;
	struct control_msg m = { 0 };
	int r = control_receive(c->fd, &m);

	if (r == -EAGAIN)
		return;
	if (r <= 0) {
		conn_broken(c);
		return;
	}
	serve_request(c, &m);
	control_msg_done(&m);
}

void conn_accept(void *opaque, uint32_t events)
{
	struct vmmproc *vp = opaque;
	int fd = accept4(vp->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *c;

	if (fd < 0)
		return;
	c = vp->n_conns < CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		fd_close(fd);
		return;
	}
	c->vp = vp;
	c->fd = fd;
	c->tag = ++vp->last_tag;
	if (loop_watch_add(vp->loop, &c->watch, fd, EPOLLIN, on_conn, c) < 0) {
		fd_close(fd);
		free(c);
		return;
	}
	c->next = vp->conns;
	vp->conns = c;
	vp->n_conns++;
}

/* ---- events of the guest ---- */

/* Engines look for these words to tell 126 and 127 from other failures. */
static void start_message(const char *what, int result, const char *why, char *buf, size_t len)
{
	if (result == -ENOENT && !strchr(what, '/'))
		snprintf(buf, len, "exec: \"%.200s\": executable file not found in $PATH", what);
	else
		snprintf(buf, len, "exec: \"%.200s\": %s%s%s", what, why, why[0] ? ": " : "",
			 result == -ENOENT   ? "no such file or directory"
			 : result == -EACCES ? "permission denied"
					     : err_str(result));
}

static void on_started(void *opaque, uint32_t id, int result, const char *why)
{
	struct vmmproc *vp = opaque;
	struct conn *c = id == GUEST_INIT_ID ? vp->starter : conn_of(vp, id);
	char text[ERR_MSG_MAX];

	if (result < 0) {
		start_message(id == GUEST_INIT_ID ? vp->config->config->process->args.v[0]
			      : c		  ? c->name
						  : "process",
			      result, why, text, sizeof(text));
		log_err("%s", text);
	}
	if (c)
		conn_reply(c, result, result < 0 ? text : NULL);
	if (id != GUEST_INIT_ID) {
		if (c && result < 0)
			c->process = 0;
		return;
	}
	vp->starter = NULL;
	vp->started = true;
	/* Signals of changes until now were for nobody. */
	if (result >= 0 && vp->tty >= 0)
		vmmproc_pass_size(vp);
	if (result < 0)
		vmmproc_finish(vp, result == -EACCES ? VMMPROC_NOT_PERMIT : VMMPROC_NOT_FOUND);
}

static void on_ended(void *opaque, uint32_t id, unsigned status)
{
	struct vmmproc *vp = opaque;
	struct conn *c;

	if (id == GUEST_INIT_ID) {
		vmmproc_finish(vp, status);
		return;
	}
	c = conn_of(vp, id);
	if (!c)
		return;
	control_send(c->fd, &(struct control_msg){ .op = CONTROL_EXITED, .arg0 = (int)status });
	c->process = 0;
	conn_close(c);
}

static struct conn *conn_tagged(struct vmmproc *vp, uint64_t tag)
{
	struct conn *c = vp->conns;

	while (c && c->tag != tag)
		c = c->next;
	return c;
}

static void on_killed(void *opaque, uint64_t tag, int result)
{
	struct conn *c = conn_tagged(opaque, tag);

	if (c)
		conn_reply(c, result,
			   result == -ESRCH	  ? "container not running"
			   : result == -ETIMEDOUT ? NO_ANSWER
						  : NULL);
}

static void on_stats(void *opaque, uint64_t tag, int result, const struct guest_stats *s)
{
	struct conn *c = conn_tagged(opaque, tag);
	char text[256];

	snprintf(text, sizeof(text),
		 "{\"memory_total\":%llu,\"memory_used\":%llu,\"cpu_ns\":%llu,\"processes\":%u}",
		 (unsigned long long)s->memory_total, (unsigned long long)s->memory_used,
		 (unsigned long long)s->cpu_ns, s->n_processes);
	if (c)
		conn_reply(c, result, result < 0 ? NO_ANSWER : text);
}

static void on_updated(void *opaque, uint64_t tag, int result)
{
	struct conn *c = conn_tagged(opaque, tag);
	char text[160];

	snprintf(text, sizeof(text), "set pids.limit and memory.limit in the guest: %s",
		 result == -ETIMEDOUT ? NO_ANSWER : err_str(result));
	if (c)
		conn_reply(c, result, result < 0 ? text : NULL);
}

static void on_checkpointed(void *opaque, uint64_t tag, int result, const char *text)
{
	struct conn *c = conn_tagged(opaque, tag);

	if (!c)
		return;
	if (result < 0)
		c->holds = false;
	conn_reply(c, result, text);
}

void conn_set_events(struct guest_events *events)
{
	events->started = on_started;
	events->ended = on_ended;
	events->killed = on_killed;
	events->stats = on_stats;
	events->updated = on_updated;
	events->checkpointed = on_checkpointed;
}
