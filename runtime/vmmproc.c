/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM process: control connections, signals, and the container's end. */
#include "vmmproc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "cgroup.h"
#include "console.h"
#include "control.h"
#include "guest.h"
#include "kept.h"

#define CONNS_MAX      1024
/* A busy host starts fifty cold in half of it. */
#define BOOT_TIMEOUT_S 120U /* counted one by one: while this host is frozen none passes */
#define NO_ANSWER      "the guest does not answer"

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

struct vmmproc {
	const struct vmmproc_config *config;
	struct loop *loop;
	struct guest *guest;
	struct loop_watch parent, listener, signals;
	struct loop_timer boot_timer;
	unsigned boot_seconds;
	int parent_fd, listen_fd, signal_fd;
	int stdio[3];
	unsigned null_fds; /* of them: 1 << i */
	int tty; /* the terminal's slave, for its size */
	unsigned rows, cols; /* that the container's process was started with */
	bool ready, started, ended;
	struct conn *starter; /* the connection that asked for START, while it waits */
	uint32_t last_id;
	uint64_t last_tag;
	unsigned n_conns;
	struct conn *conns;
	unsigned status;
};

/* ---- to create ---- */

static void note_error(int fd, const struct err *err)
{
	char text[1 + ERR_MSG_MAX];
	int n = snprintf(text, sizeof(text), "%c%s", VMMPROC_ERROR, err->msg);

	if (send(fd, text, (size_t)n, MSG_NOSIGNAL) < 0)
		log_err("%s", err->msg);
}

static int note(int fd, enum vmmproc_note n)
{
	char c = (char)n;

	return send(fd, &c, 1, MSG_NOSIGNAL) == 1 ? 0 : -EPIPE;
}

/* ---- connections ---- */

static void conn_close(struct conn *c)
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

static void finish(struct vmmproc *vp, unsigned status)
{
	if (vp->ended)
		return;
	vp->ended = true;
	vp->status = status;
	loop_stop(vp->loop);
}

/* The state that hooks in the container see: there its process is the first. */
static int print_hook_state(const struct vmmproc *vp, char **ret, struct err *err)
{
	struct oci_state state = *vp->config->state;

	state.status = OCI_STATUS_CREATED;
	state.pid = 1;
	return oci_state_print(&state, false, ret, err);
}

/* What the connection in vp->starter has asked for. */
static void start_process(struct vmmproc *vp)
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
		finish(vp, 1);
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
		start_process(vp);
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
			finish(c->vp, 128 + (unsigned)m->arg0);
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
		const struct guest_checkpoint to = { m->fds[0], m->fds[1], m->fds[2],
						     m->fds[3] };

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

static void on_listener(void *opaque, uint32_t events)
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

static void on_ready(void *opaque)
{
	struct vmmproc *vp = opaque;

	vp->ready = true;
	loop_timer_set(&vp->boot_timer, 0);
	if (guest_backend_ops->last_id)
		vp->last_id = MAX(vp->last_id, guest_backend_ops->last_id(vp->guest));
	loop_watch_remove(&vp->parent);
	if (note(vp->parent_fd, VMMPROC_READY) < 0)
		finish(vp, 1);
	fd_close(fd_steal(&vp->parent_fd));
	if (vp->starter)
		start_process(vp);
}

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

/* The terminal's size, where it is another than the guest knows. */
static void pass_size(struct vmmproc *vp)
{
	unsigned rows, cols;

	console_size(vp->tty, &rows, &cols);
	if (rows == vp->rows && cols == vp->cols)
		return;
	vp->rows = rows;
	vp->cols = cols;
	guest_backend_ops->resize(vp->guest, GUEST_INIT_ID, rows, cols);
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
		pass_size(vp);
	if (result < 0)
		finish(vp, result == -EACCES ? VMMPROC_NOT_PERMIT : VMMPROC_NOT_FOUND);
}

static void on_ended(void *opaque, uint32_t id, unsigned status)
{
	struct vmmproc *vp = opaque;
	struct conn *c;

	if (id == GUEST_INIT_ID) {
		finish(vp, status);
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

static void on_died(void *opaque, const struct err *err)
{
	struct vmmproc *vp = opaque;

	log_err("the guest ended: %s", err->msg);
	if (!vp->ready)
		note_error(vp->parent_fd, err);
	finish(vp, 1);
}

/* ---- signals, and create's end ---- */

static void on_signal(void *opaque, uint32_t events)
{
	struct vmmproc *vp = opaque;
	struct signalfd_siginfo si;

	while (read(vp->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		int sig = (int)si.ssi_signo;

		if (sig == SIGCHLD || sig == SIGPIPE)
			continue;
		if (sig == SIGWINCH) {
			if (vp->tty >= 0 && vp->started)
				pass_size(vp);
			continue;
		}
		if (vp->started)
			guest_backend_ops->kill(vp->guest, GUEST_INIT_ID, sig, GUEST_KILL_ONE, 0);
		else if (sig == SIGTERM || sig == SIGINT)
			finish(vp, 128 + (unsigned)sig);
	}
}

static void on_boot_timeout(void *opaque)
{
	struct vmmproc *vp = opaque;
	struct err err = { 0 };

	/* It may have been due together with what made the guest ready. */
	if (vp->ready)
		return;
	if (++vp->boot_seconds < BOOT_TIMEOUT_S) {
		loop_timer_set(&vp->boot_timer, clock_monotonic_ns() + NSEC_PER_SEC);
		return;
	}
	err_set(&err, -ETIMEDOUT, "the guest was not ready after %u seconds", BOOT_TIMEOUT_S);
	on_died(opaque, &err);
}

static void on_parent(void *opaque, uint32_t events)
{
	struct vmmproc *vp = opaque;

	if (!vp->ready)
		finish(vp, 1);
}

/* ---- setting up ---- */

/* Fatal ones keep their meaning for this process. */
static int open_signals(struct vmmproc *vp, struct err *err)
{
	static const int own[] = { SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE,
				   SIGILL,  SIGABRT, SIGTRAP, SIGSYS };
	sigset_t set;

	sigfillset(&set);
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&set, own[i]);
	sigprocmask(SIG_SETMASK, &set, NULL);
	vp->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vp->signal_fd < 0)
		return err_errno(err, errno, "signalfd");
	return loop_watch_add(vp->loop, &vp->signals, vp->signal_fd, EPOLLIN, on_signal, vp);
}

/* A new one was made with the process. */
static int join_network(const struct oci_config *config, struct err *err)
{
	const struct oci_namespace *ns = oci_namespace_find(config, CLONE_NEWNET);

	if (!ns || !ns->path)
		return 0;
	int AUTO_FD fd = open(ns->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_advise(err,
				  err_errno(err, errno, "open network namespace '%s'", ns->path),
				  "make it first, as 'ip netns add' does");
	if (setns(fd, CLONE_NEWNET) < 0) {
		int r = err_errno(err, errno, "join network namespace '%s'", ns->path);

		return err_advise(err, r, "%s",
				  r == -EPERM ? "its owner may, and root" : "name the file of one");
	}
	return 0;
}

/*
 * A container without a name of its own has that of its UTS namespace, as with any other runtime: one
 * of a pod shares its first container's, which therefore gives its name to the namespace of this process.
 */
static void share_hostname(const struct vmmproc_config *config)
{
	const struct oci_namespace *ns = oci_namespace_find(config->config, CLONE_NEWUTS);
	const char *name = config->config->hostname;
	char text[HOST_NAME_MAX + 1] = "";

	if (!(config->namespaces->flags & CLONE_NEWUTS))
		return;
	if (name && name[0]) {
		if (sethostname(name, strlen(name)) < 0)
			log_warn("set the host name of namespaces: %m, ignoring");
		return;
	}
	if (ns && ns->path) {
		int AUTO_FD fd = open(ns->path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || setns(fd, CLONE_NEWUTS) < 0) {
			log_warn("join UTS namespace '%s': %m, ignoring", ns->path);
			return;
		}
	}
	if (gethostname(text, sizeof(text) - 1) == 0 && text[0])
		config->config->hostname = strdup(text);
}

/* Standard streams of the container's process, or its terminal. */
static int open_stdio(struct vmmproc *vp, struct err *err)
{
	const struct oci_process *p = vp->config->config->process;
	struct console_pair pair;
	unsigned rows = 0, cols = 0;
	int r;

	if (!p->terminal) {
		for (int i = 0; i < 3; i++) {
			vp->stdio[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
			if (vp->stdio[i] < 0)
				return err_errno(err, errno, "standard stream %d", i);
			vp->null_fds |= (unsigned)fd_is_null(i) << i;
		}
		return 0;
	}
	if (p->console_size) {
		rows = (unsigned)p->console_size->height.v;
		cols = (unsigned)p->console_size->width.v;
	}
	r = console_open(rows, cols, &pair, err);
	if (r < 0)
		return r;
	vp->stdio[0] = pair.slave;
	vp->tty = fcntl(pair.slave, F_DUPFD_CLOEXEC, 3);
	r = console_control(pair.slave, err);
	if (r == 0 && vp->config->console_socket)
		r = console_send(vp->config->console_socket, pair.master, err);
	else if (r == 0) {
		struct control_msg m = { .op = CONTROL_REPLY, .fds = { pair.master }, .n_fds = 1 };

		r = control_send(vp->config->terminal_master_to, &m);
	}
	fd_close(pair.master);
	return r;
}

/* This process holds no stream of its caller but those kept for the container. */
static int close_stdio(const struct vmmproc_config *config, struct err *err)
{
	int AUTO_FD log_fd = openat(config->dir->fd, VMMPROC_LOG,
				    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int AUTO_FD null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (log_fd < 0 || null_fd < 0)
		return err_errno(err, errno, "open the log in '%s'", config->dir->path);
	if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
	    dup2(log_fd, STDERR_FILENO) < 0)
		return err_errno(err, errno, "dup2");
	log_setup(STDERR_FILENO, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	return 0;
}

static int wait_go(int fd, struct err *err)
{
	char c = 0;

	if (note(fd, VMMPROC_NAMESPACES) < 0)
		return err_set(err, -EPIPE, "create has ended");
	if (recv(fd, &c, 1, 0) != 1 || c != VMMPROC_GO)
		return err_set(err, -EPIPE, "create has ended");
	return 0;
}

/* create answers: this process may not have children that outlive it. */
static int open_maker(void *opaque)
{
	const struct vmmproc *vp = opaque;
	struct control_msg m = { 0 };
	int fd = -1;

	if (note(vp->parent_fd, VMMPROC_MAKER) == 0 && control_receive(vp->parent_fd, &m) == 1 &&
	    m.n_fds == 1)
		fd = fd_steal(&m.fds[0]);
	control_msg_done(&m);
	return fd;
}

static int boot(struct vmmproc *vp, int console_log_fd, struct err *err)
{
	const struct guest_config gc = { .config = vp->config->config,
					 .bundle = vp->config->bundle,
					 .rootfs = vp->config->rootfs,
					 .console_log_fd = console_log_fd,
					 .snapshot = vp->config->snapshot,
					 .open_maker = open_maker,
					 .maker_opaque = vp,
					 .restore_fd = vp->config->restore_fd,
					 .snapshot_wait = vp->config->snapshot_wait };
	const struct guest_events events = { .ready = on_ready,
					     .started = on_started,
					     .ended = on_ended,
					     .died = on_died,
					     .killed = on_killed,
					     .stats = on_stats,
					     .updated = on_updated,
					     .checkpointed = on_checkpointed,
					     .opaque = vp };
	int r;

	loop_timer_set(&vp->boot_timer, clock_monotonic_ns() + NSEC_PER_SEC);
	r = guest_backend_ops->boot(&gc, vp->loop, &events, &vp->guest, err);
	fd_close(vp->config->restore_fd);
	return r;
}

/* Unless it was born there. */
static int enter_cgroup(const struct vmmproc *vp, struct err *err)
{
	const struct vmmproc_config *config = vp->config;
	int r = config->state->cgroup && config->namespaces->cgroup_fd < 0
			? cgroup_enter(config->state->cgroup, err)
			: 1;

	return r == 0 ? note(vp->parent_fd, VMMPROC_NO_CGROUP) : MIN(r, 0);
}

static int set_up(struct vmmproc *vp, struct err *err)
{
	const struct vmmproc_config *config = vp->config;
	const int own[] = { config->parent_fd, config->dir->fd, config->terminal_master_to,
			    config->restore_fd };
	int r = sandbox_namespaces_enter(config->namespaces, err);

	if (r == 0)
		r = enter_cgroup(vp, err);
	if (r == 0)
		r = sandbox_close_inherited(3 + config->n_preserve_fds, own, ARRAY_LEN(own), err);
	if (r == 0)
		r = loop_new(&vp->loop, err);
	if (r == 0)
		r = open_stdio(vp, err);
	if (r == 0)
		r = close_stdio(config, err);
	if (r == 0)
		r = join_network(config->config, err);
	if (r == 0)
		share_hostname(config);
	if (r == 0)
		r = vp->listen_fd = control_listen(config->dir, err);
	if (r >= 0)
		r = wait_go(vp->parent_fd, err);
	if (r == 0)
		r = open_signals(vp, err);
	if (r == 0)
		r = loop_timer_init(vp->loop, &vp->boot_timer, on_boot_timeout, vp);
	if (r == 0)
		r = loop_watch_add(vp->loop, &vp->parent, vp->parent_fd, EPOLLIN, on_parent, vp);
	if (r == 0)
		r = loop_watch_add(vp->loop, &vp->listener, vp->listen_fd, EPOLLIN, on_listener,
				   vp);
	return r;
}

void vmmproc_main(const struct vmmproc_config *config)
{
	struct vmmproc vp = { .config = config,
			      .parent_fd = config->parent_fd,
			      .listen_fd = -1,
			      .signal_fd = -1,
			      .stdio = { -1, -1, -1 },
			      .tty = -1,
			      .last_id = GUEST_INIT_ID,
			      .status = 1 };
	struct err err = { 0 };
	int console_log_fd, r;

	setsid();
	proctitle_set("husk: %s", config->dir->id);
	r = set_up(&vp, &err);
	console_log_fd = openat(config->dir->fd, VMMPROC_CONSOLE_LOG,
				O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	/* create's lock was inherited with the directory's descriptor: let go of it. */
	fd_close(config->dir->fd);
	if (r == 0)
		r = sandbox_restrain(&err);
	if (r == 0)
		r = boot(&vp, console_log_fd, &err);
	if (r < 0) {
		note_error(vp.parent_fd, &err);
		_exit(1);
	}
	loop_run(vp.loop);
	while (vp.conns)
		conn_close(vp.conns);
	guest_backend_ops->stop(vp.guest);
	/* Memory goes faster with the process than piece by piece. */
	_exit((int)vp.status);
}
