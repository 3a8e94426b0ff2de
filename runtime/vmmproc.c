/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM process: setting up, signals, and the container's end. */
#include "vmmproc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
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
#include "vmmproc_priv.h"

/* A busy host starts fifty cold in half of it. */
#define BOOT_TIMEOUT_S 120U /* counted one by one: while this host is frozen none passes */

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

/* ---- the container's end, and its terminal ---- */

void vmmproc_finish(struct vmmproc *vp, unsigned status)
{
	if (vp->ended)
		return;
	vp->ended = true;
	vp->status = status;
	loop_stop(vp->loop);
}

void vmmproc_pass_size(struct vmmproc *vp)
{
	unsigned rows, cols;

	console_size(vp->tty, &rows, &cols);
	if (rows == vp->rows && cols == vp->cols)
		return;
	vp->rows = rows;
	vp->cols = cols;
	guest_backend_ops->resize(vp->guest, GUEST_INIT_ID, rows, cols);
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
		vmmproc_finish(vp, 1);
	fd_close(fd_steal(&vp->parent_fd));
	if (vp->starter)
		vmmproc_start_process(vp);
}

static void on_died(void *opaque, const struct err *err)
{
	struct vmmproc *vp = opaque;

	log_err("the guest ended: %s", err->msg);
	if (!vp->ready)
		note_error(vp->parent_fd, err);
	vmmproc_finish(vp, 1);
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
				vmmproc_pass_size(vp);
			continue;
		}
		if (vp->started)
			guest_backend_ops->kill(vp->guest, GUEST_INIT_ID, sig, GUEST_KILL_ONE, 0);
		else if (sig == SIGTERM || sig == SIGINT)
			vmmproc_finish(vp, 128 + (unsigned)sig);
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
		vmmproc_finish(vp, 1);
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
	struct guest_events events = { .ready = on_ready, .died = on_died, .opaque = vp };
	int r;

	conn_set_events(&events);
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
		r = loop_watch_add(vp->loop, &vp->listener, vp->listen_fd, EPOLLIN, conn_accept,
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
