/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest without a machine, for tests of the verbs: processes run on the host, in a process group
 * each. FAKE_GUEST_BOOT=fail makes boot fail, =hang makes it never ready, =die kills the VMM.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

struct task {
	struct task *next;
	struct guest *guest;
	struct loop_watch watch;
	uint32_t id;
	pid_t pid;
	int pid_fd;
};

struct guest {
	struct loop *loop;
	struct guest_events events;
	struct loop_event ready;
	struct task *tasks;
};

static void on_ready(void *opaque)
{
	struct guest *g = opaque;

	g->events.ready(g->events.opaque);
}

static int fake_boot(const struct guest_config *config, struct loop *loop,
		     const struct guest_events *events, struct guest **ret, struct err *err)
{
	const char *how = getenv("FAKE_GUEST_BOOT");
	struct guest *g;
	int r;

	if (how && !strcmp(how, "fail"))
		return err_set(err, -EIO, "fake guest: told to fail");
	if (how && !strcmp(how, "die"))
		kill(getpid(), SIGKILL);
	g = calloc(1, sizeof(*g));
	if (!g)
		return err_set(err, -ENOMEM, "fake guest");
	g->loop = loop;
	g->events = *events;
	dprintf(config->console_log_fd, "fake guest: boot\n");
	r = loop_event_init(loop, &g->ready, on_ready, g);
	if (r < 0) {
		free(g);
		return err_errno(err, -r, "fake guest");
	}
	if (!how || strcmp(how, "hang") != 0)
		loop_event_set(&g->ready);
	*ret = g;
	return 0;
}

static void task_free(struct task *t)
{
	struct task **at = &t->guest->tasks;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	loop_watch_remove(&t->watch);
	fd_close(t->pid_fd);
	free(t);
}

static void fake_stop(struct guest *g)
{
	while (g->tasks) {
		kill(-g->tasks->pid, SIGKILL);
		kill(g->tasks->pid, SIGKILL);
		waitpid(g->tasks->pid, NULL, 0);
		task_free(g->tasks);
	}
}

static void on_end(void *opaque, uint32_t events)
{
	struct task *t = opaque;
	struct guest *g = t->guest;
	uint32_t id = t->id;
	int status = 0;

	waitpid(t->pid, &status, 0);
	task_free(t);
	g->events.ended(g->events.opaque, id,
			WIFSIGNALED(status) ? 128 + (unsigned)WTERMSIG(status)
					    : (unsigned)WEXITSTATUS(status));
}

static void child(const struct guest_process *gp, int err_fd)
{
	const struct oci_process *p = gp->process;
	sigset_t none;
	int e;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	for (int i = 0; i < 3; i++)
		dup2(gp->fds[p->terminal ? 0 : i], i);
	if (chdir(p->cwd) == 0) {
		environ = p->env.v;
		execvp(p->args.v[0], p->args.v);
	}
	e = errno;
	if (write(err_fd, &e, sizeof(e)) < 0)
		_exit(126);
	_exit(127);
}

static int fake_start(struct guest *g, const struct guest_process *gp, struct err *err)
{
	struct task *t = calloc(1, sizeof(*t));
	int e[2], failed = 0, n;

	if (!t || pipe2(e, O_CLOEXEC) < 0) {
		free(t);
		return err_set(err, -ENOMEM, "fake guest");
	}
	t->guest = g;
	t->id = gp->id;
	t->pid = fork();
	if (t->pid == 0)
		child(gp, e[1]);
	fd_close(e[1]);
	for (int i = 0; i < 3; i++)
		fd_close(gp->fds[i]);
	n = (int)read(e[0], &failed, sizeof(failed));
	fd_close(e[0]);
	if (n == sizeof(failed)) {
		waitpid(t->pid, NULL, 0);
		free(t);
		g->events.started(g->events.opaque, gp->id, -failed, "");
		return 0;
	}
	t->pid_fd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	t->next = g->tasks;
	g->tasks = t;
	loop_watch_add(g->loop, &t->watch, t->pid_fd, EPOLLIN, on_end, t);
	g->events.started(g->events.opaque, gp->id, 0, "");
	return 0;
}

static int signal_tasks(struct guest *g, uint32_t id, int sig, enum guest_kill whom)
{
	int n = 0;

	for (struct task *t = g->tasks; t; t = t->next) {
		if (whom != GUEST_KILL_ALL && t->id != id)
			continue;
		kill(whom == GUEST_KILL_ONE ? t->pid : -t->pid, sig);
		n++;
	}
	return n ? 0 : -ESRCH;
}

static void fake_kill(struct guest *g, uint32_t id, int sig, enum guest_kill whom, uint64_t tag)
{
	int r = signal_tasks(g, id, sig, whom);

	if (tag)
		g->events.killed(g->events.opaque, tag, r);
}

static void fake_resize(struct guest *g, uint32_t id, unsigned rows, unsigned cols)
{
}

static int fake_pause(struct guest *g, struct err *err)
{
	signal_tasks(g, 0, SIGSTOP, GUEST_KILL_ALL);
	return 0;
}

static int fake_resume(struct guest *g, struct err *err)
{
	signal_tasks(g, 0, SIGCONT, GUEST_KILL_ALL);
	return 0;
}

static void fake_stats(struct guest *g, uint64_t tag)
{
	struct guest_stats stats = { 0 };

	for (struct task *t = g->tasks; t; t = t->next)
		stats.n_processes++;
	g->events.stats(g->events.opaque, tag, 0, &stats);
}

static const struct guest_ops fake_ops = {
	.name = "fake",
	.boot = fake_boot,
	.stop = fake_stop,
	.start = fake_start,
	.kill = fake_kill,
	.resize = fake_resize,
	.pause = fake_pause,
	.resume = fake_resume,
	.stats = fake_stats,
};

const struct guest_ops *const guest_backend_ops = &fake_ops;
