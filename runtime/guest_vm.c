/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest in a virtual machine: its processes and their streams.
 *
 * Theory of operation. The machine runs on threads of its own; what its init signals is put into a
 * ring there and served on the VMM process's loop. Each stream of a process is a pair of sockets:
 * one end goes to the vsock device when the guest connects to the port named in the command, the
 * other is pumped to or from the descriptor the caller gave. A process has ended for the caller
 * when its end was signalled and as many bytes of output were written as it had sent by then
 * (others may hold its pipes, and write on). Ports are random numbers, good for one connection: a
 * process in the guest cannot take another's stream by being faster than init.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "guest_priv.h"
#include "guestcmd.h"
#include "initx/guest.h"
#include "initx/proto.h"

#define BELL_TIMEOUT_S 60
#define CHECK_NS       (20 * NSEC_PER_MSEC)
#define SIGNAL_STATUS  128U
#define SEED_BYTES     64

/* ---- what init signals: vCPU threads ---- */

static void on_signal(void *opaque, uint32_t value, const uint32_t words[GUEST_MAILBOX_WORDS])
{
	struct guest *g = opaque;

	/* It stops behind this store; the loop's thread takes the snapshot and lets it go on. */
	if (value == INITX_SIG_READY && atomic_exchange(&g->hold, false))
		vm_hold(g->vm);
	pthread_mutex_lock(&g->lock);
	/* A guest that signals faster than it is served loses what it says. */
	if (g->n_signals < GUEST_SIGNALS)
		g->signals[(g->first_signal + g->n_signals++) % GUEST_SIGNALS] =
			(struct guest_signal){
				.value = value,
				.id = words[INITX_MB_COMMAND_ID / 4],
				.result = (int32_t)words[INITX_MB_RESULT / 4],
				.stage = words[INITX_MB_STAGE / 4],
				.term_signal = words[INITX_MB_TERM_SIGNAL / 4],
				.sent = { words[INITX_MB_OUT / 4], words[INITX_MB_ERR / 4] },
			};
	pthread_mutex_unlock(&g->lock);
	loop_event_set(&g->signal_event);
}

/* The entry of port @number, or a free one for number 0; NULL when there is none. */
static struct guest_port *find_port_locked(struct guest *g, uint32_t number)
{
	for (unsigned i = 0; i < GUEST_PORTS; i++)
		if (number ? g->ports[i].fd >= 0 && g->ports[i].number == number
			   : g->ports[i].fd < 0)
			return &g->ports[i];
	return NULL;
}

/* Any thread: the other end of a stream, once. */
static int on_connect(void *opaque, uint32_t port)
{
	struct guest *g = opaque;
	struct guest_port *p;
	int fd = -ECONNREFUSED;

	pthread_mutex_lock(&g->lock);
	p = port ? find_port_locked(g, port) : NULL;
	if (p)
		fd = fd_steal(&p->fd);
	pthread_mutex_unlock(&g->lock);
	return fd;
}

/* A number nobody in the guest can guess in time; 0 when there is no randomness. */
static uint32_t random_port(void)
{
	uint32_t number;

	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
		return 0;
	return number >> (32 - GUEST_PORT_BITS);
}

/* A port whose next connection becomes the other end of *ret_fd. 0: none is free. */
static uint32_t new_port(struct guest *g, int *ret_fd)
{
	uint32_t number = random_port();
	struct guest_port *p = NULL;
	int pair[2];

	if (!number || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	pthread_mutex_lock(&g->lock);
	if (!find_port_locked(g, number))
		p = find_port_locked(g, 0);
	if (p)
		*p = (struct guest_port){ .number = number, .fd = pair[0] };
	pthread_mutex_unlock(&g->lock);
	if (!p) {
		fd_close(pair[0]);
		fd_close(pair[1]);
		return 0;
	}
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	*ret_fd = pair[1];
	return number;
}

static void forget_port(struct guest *g, uint32_t port)
{
	int fd = port ? on_connect(g, port) : -1;

	if (fd >= 0)
		fd_close(fd);
}

/* ---- the doorbell ---- */

/* Write all of @msg, read all of the answer. */
static int ring(struct guest *g, const void *msg, size_t msg_len, void *answer, size_t len)
{
	struct timeval limit = { .tv_sec = BELL_TIMEOUT_S };
	int AUTO_FD fd = -1;
	int pair[2], r;

	if (g->paused)
		return -EBUSY;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	fd = pair[1];
	r = vm_vsock_connect(g->vm, INITX_DOORBELL_PORT, pair[0], NULL);
	if (r < 0)
		return r;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (fd_write_full(fd, msg, msg_len) < 0 || fd_read_full(fd, answer, len) != (ssize_t)len)
		return -EIO;
	return 0;
}

static int bell(struct guest *g, const uint32_t *words, size_t n, void *answer, size_t len)
{
	uint8_t buf[32];

	for (size_t i = 0; i < n; i++)
		le32_store(buf + 4 * i, words[i]);
	return ring(g, buf, 4 * n, answer, len);
}

static int bell_i32(struct guest *g, const uint32_t *words, size_t n)
{
	uint8_t answer[4];
	int r = bell(g, words, n, answer, sizeof(answer));

	return r < 0 ? r : (int32_t)le32_load(answer);
}

int guest_renew(struct guest *g, struct err *err)
{
	uint8_t msg[4 + 4 + SEED_BYTES], answers[8];
	int r;

	guest_renew_time(vm_config_region(g->vm));
	vm_config_written(g->vm, 0, sizeof(struct initx_program));
	le32_store(msg, INITX_BELL_TIME);
	le32_store(msg + 4, INITX_BELL_SEED);
	if (getrandom(msg + 8, SEED_BYTES, 0) != SEED_BYTES)
		return err_errno(err, errno, "random numbers for the guest");
	r = ring(g, msg, sizeof(msg), answers, sizeof(answers));
	if (r == 0)
		r = (int32_t)le32_load(answers);
	if (r == 0)
		r = (int32_t)le32_load(answers + 4);
	return r < 0 ? err_errno(err, -r, "give the guest its time and random numbers") : 0;
}

/* ---- processes ---- */

static struct guest_proc *find_proc(struct guest *g, uint32_t id)
{
	struct guest_proc *p = g->procs;

	while (p && p->id != id)
		p = p->next;
	return p;
}

static void proc_free(struct guest_proc *p)
{
	struct guest_proc **at = &p->guest->procs;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	pump_stop(&p->in);
	pump_stop(&p->out[0]);
	pump_stop(&p->out[1]);
	free(p);
}

/* Whether all that the process wrote to one stream before its end has been delivered. */
static bool is_delivered(const struct guest_proc *p, unsigned stream)
{
	const struct pump *out = &p->out[stream];

	return !out->active || (int32_t)((uint32_t)out->moved - p->sent[stream]) >= 0;
}

/* Report those that have ended and delivered all. */
static void settle(void *opaque)
{
	struct guest *g = opaque;
	struct guest_proc *next;
	bool waiting = false;

	for (struct guest_proc *p = g->procs; p; p = next) {
		uint32_t id = p->id;
		unsigned status = p->status;

		next = p->next;
		if (!p->ended)
			continue;
		if (!is_delivered(p, 0) || !is_delivered(p, 1)) {
			waiting = true;
			continue;
		}
		proc_free(p);
		g->events.ended(g->events.opaque, id, status);
	}
	loop_timer_set(&g->drain, waiting ? clock_monotonic_ns() + CHECK_NS : 0);
}

static void on_output_end(void *opaque)
{
	const struct guest_proc *p = opaque;

	/* From inside the pump: the process may go away only later. */
	if (p->ended)
		loop_timer_set(&p->guest->drain, clock_monotonic_ns());
}

static void on_done(struct guest *g, const struct guest_signal *s)
{
	struct guest_proc *p = find_proc(g, s->id);

	if (!p || p->ended || s->result < 0)
		return;
	p->ended = true;
	memcpy(p->sent, s->sent, sizeof(p->sent));
	p->status =
		s->term_signal ? SIGNAL_STATUS + (s->term_signal & 127) : (unsigned)s->result & 255;
	if (p->running)
		settle(g);
}

static void fail(struct guest *g, const struct err *err)
{
	g->events.died(g->events.opaque, err);
}

/* Container init is in its command loop. */
static void in_loop(struct guest *g)
{
	struct err err = { 0 };

	if (g->ready)
		return;
	if (g->resembles && guest_renew(g, &err) < 0) {
		fail(g, &err);
		return;
	}
	g->ready = true;
	g->events.ready(g->events.opaque);
}

static void on_ready(struct guest *g)
{
	enum snapshot_point point = g->snap.to_take;

	if (point != SNAPSHOT_POINT_NONE) {
		guest_snapshot_point(g);
		g->resembles = true;
	}
	/* After an early one container init is still to come, and says so itself. */
	if (point != SNAPSHOT_POINT_EARLY)
		in_loop(g);
}

static void on_restored(void *opaque)
{
	in_loop(opaque);
}

static void on_signals(void *opaque)
{
	struct guest *g = opaque;

	for (;;) {
		struct guest_signal s;

		pthread_mutex_lock(&g->lock);
		if (!g->n_signals) {
			pthread_mutex_unlock(&g->lock);
			return;
		}
		s = g->signals[g->first_signal];
		g->first_signal = (g->first_signal + 1) % GUEST_SIGNALS;
		g->n_signals--;
		pthread_mutex_unlock(&g->lock);
		if (s.value == INITX_SIG_READY) {
			on_ready(g);
		} else if (s.value == INITX_SIG_DONE) {
			on_done(g, &s);
		}
	}
}

static void on_vm_exit(void *opaque, uint32_t events)
{
	struct guest *g = opaque;
	struct vm_exit ex = { 0 };
	struct err err = { 0 };

	loop_watch_remove(&g->vm_exit);
	vm_wait(g->vm, &ex);
	g->started = false;
	err_set(&err, -EIO, "the machine ended: %s%s%s (see 'husk logs')",
		vm_exit_reason_str(ex.reason), ex.err.msg[0] ? ": " : "", ex.err.msg);
	g->events.died(g->events.opaque, &err);
}

/* ---- starting ---- */

static int vmguest_boot(const struct guest_config *config, struct loop *loop,
			const struct guest_events *events, struct guest **ret, struct err *err)
{
	struct guest *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return err_set(err, -ENOMEM, "guest: no memory");
	g->config = config->config;
	g->loop = loop;
	g->events = *events;
	g->snap = SNAPSHOT_PLAN_NONE;
	g->restored_event.fd = -1;
	g->console = (struct console_backend){ .in_fd = -1, .out_fd = config->console_log_fd };
	g->channel = (struct guest_backend){ .opaque = g, .signal = on_signal };
	g->vsock = (struct vsock_backend){ .opaque = g, .connect = on_connect };
	pthread_mutex_init(&g->lock, NULL);
	for (unsigned i = 0; i < GUEST_PORTS; i++)
		g->ports[i].fd = -1;
	*ret = g;
	r = loop_event_init(loop, &g->signal_event, on_signals, g);
	if (r == 0)
		r = loop_timer_init(loop, &g->drain, settle, g);
	if (r == 0)
		r = loop_event_init(loop, &g->restored_event, on_restored, g);
	if (r < 0)
		return err_errno(err, -r, "guest");
	r = guest_machine_start(g, config, err);
	if (r < 0)
		return r;
	/* Nothing will tell that it is ready: it was when it was saved. */
	if (g->snap.from == SNAPSHOT_POINT_LATE)
		loop_event_set(&g->restored_event);
	r = loop_watch_add(loop, &g->vm_exit, vm_exit_fd(g->vm), EPOLLIN, on_vm_exit, g);
	return r < 0 ? err_errno(err, -r, "guest") : 0;
}

static void vmguest_free(struct guest *g)
{
	struct vm_exit ex;

	if (!g)
		return;
	while (g->procs)
		proc_free(g->procs);
	if (g->started) {
		loop_watch_remove(&g->vm_exit);
		if (g->paused)
			vm_resume(g->vm);
		vm_stop(g->vm);
		vm_wait(g->vm, &ex);
	}
	vm_free(g->vm);
	share_free(g->share);
	snapshot_plan_done(&g->snap);
	loop_event_done(&g->restored_event);
	loop_event_done(&g->signal_event);
	loop_timer_done(&g->drain);
	for (unsigned i = 0; i < GUEST_PORTS; i++)
		fd_close(g->ports[i].fd);
	free(g);
}

/* Streams of a process: ports for the command, and our ends of them. */
struct streams {
	struct guestcmd_streams cmd;
	int ours[3];
};

static int open_streams(struct guest *g, const struct guest_process *gp, struct streams *s)
{
	unsigned n = s->cmd.terminal ? 1 : 3;

	for (unsigned i = 0; i < n; i++) {
		s->cmd.ports[i] = new_port(g, &s->ours[i]);
		if (!s->cmd.ports[i])
			return -EMFILE;
	}
	return 0;
}

static void close_streams(struct guest *g, struct streams *s)
{
	for (unsigned i = 0; i < 3; i++) {
		forget_port(g, s->cmd.ports[i]);
		fd_close(s->ours[i]);
	}
}

static void start_pumps(struct guest_proc *p, const struct guest_process *gp, struct streams *s)
{
	struct loop *loop = p->guest->loop;

	if (s->cmd.terminal) {
		int in = fcntl(gp->fds[0], F_DUPFD_CLOEXEC, 3);
		int to = fcntl(s->ours[0], F_DUPFD_CLOEXEC, 3);

		pump_start(&p->in, loop, in, to, true, NULL, NULL);
		pump_start(&p->out[0], loop, s->ours[0], gp->fds[0], false, on_output_end, p);
		return;
	}
	pump_start(&p->in, loop, gp->fds[0], s->ours[0], true, NULL, NULL);
	pump_start(&p->out[0], loop, s->ours[1], gp->fds[1], false, on_output_end, p);
	pump_start(&p->out[1], loop, s->ours[2], gp->fds[2], false, on_output_end, p);
}

static int send_command(struct guest *g, const struct guest_process *gp, const struct streams *s,
			struct err *err)
{
	CLEANUP(command_freep) struct command *c = NULL;
	size_t len;
	const struct guestcmd gc = { .config = g->config,
				     .process = gp->process,
				     .id = gp->id,
				     .init_id = gp->id == GUEST_INIT_ID ? 0 : GUEST_INIT_ID,
				     .hook_state = gp->hook_state,
				     .streams = s->cmd };
	int r = guestcmd_build(&gc, &c, err);

	if (r == 0)
		r = command_place(c, vm_config_region(g->vm), err);
	if (r < 0)
		return r;
	command_bytes(c, &len);
	vm_config_written(g->vm, INITX_COMMAND_OFFSET, (uint32_t)len);
	return 0;
}

/* Which step failed: init has signalled it before it answered the bell. */
static uint32_t failed_step(struct guest *g, uint32_t id)
{
	uint32_t step = INITX_STEP_EXEC;

	pthread_mutex_lock(&g->lock);
	for (unsigned i = 0; i < g->n_signals; i++) {
		const struct guest_signal *s = &g->signals[(g->first_signal + i) % GUEST_SIGNALS];

		if (s->value == INITX_SIG_DONE && s->id == id)
			step = s->stage;
	}
	pthread_mutex_unlock(&g->lock);
	return step;
}

static int vmguest_start(struct guest *g, const struct guest_process *gp, struct err *err)
{
	static const uint32_t look[] = { INITX_BELL_BELL };
	struct streams s = {
		.cmd = { .terminal = gp->process->terminal, .rows = gp->rows, .cols = gp->cols },
		.ours = { -1, -1, -1 }
	};
	struct guest_proc *p = calloc(1, sizeof(*p));
	int r = p ? open_streams(g, gp, &s) : -ENOMEM;

	if (r < 0)
		err_errno(err, -r, "streams of a process");
	if (r == 0)
		r = send_command(g, gp, &s, err);
	if (r < 0) {
		close_streams(g, &s);
		for (unsigned i = 0; i < 3; i++)
			fd_close(gp->fds[i]);
		free(p);
		return r;
	}
	p->guest = g;
	p->id = gp->id;
	p->next = g->procs;
	g->procs = p;
	/* The guest connects while it answers; what the process says meanwhile waits. */
	start_pumps(p, gp, &s);
	r = bell_i32(g, look, 1);
	if (r < 0) {
		uint32_t step = failed_step(g, gp->id);

		for (unsigned i = 0; i < 3; i++)
			forget_port(g, s.cmd.ports[i]);
		proc_free(p);
		g->events.started(g->events.opaque, gp->id, r, guestcmd_step_str(step));
		return 0;
	}
	p->running = true;
	g->events.started(g->events.opaque, gp->id, 0, "");
	if (p->ended)
		settle(g);
	return 0;
}

/* ---- the rest ---- */

static int vmguest_kill(struct guest *g, uint32_t id, int sig, enum guest_kill whom)
{
	const uint32_t words[] = { INITX_BELL_KILL, id, (uint32_t)sig,
				   whom == GUEST_KILL_ALL     ? INITX_KILL_ALL
				   : whom == GUEST_KILL_GROUP ? INITX_KILL_GROUP
							      : 0 };

	return bell_i32(g, words, ARRAY_LEN(words));
}

static int vmguest_resize(struct guest *g, uint32_t id, unsigned rows, unsigned cols)
{
	const uint32_t words[] = { INITX_BELL_WINS, id, rows, cols };

	return bell_i32(g, words, ARRAY_LEN(words));
}

static int vmguest_pause(struct guest *g, struct err *err)
{
	if (!g->paused)
		vm_quiesce(g->vm);
	g->paused = true;
	return 0;
}

static int vmguest_resume(struct guest *g, struct err *err)
{
	if (g->paused)
		vm_resume(g->vm);
	g->paused = false;
	return 0;
}

static int vmguest_stats(struct guest *g, struct guest_stats *ret, struct err *err)
{
	static const uint32_t words[] = { INITX_BELL_STAT };
	uint8_t b[sizeof(struct initx_stat)];
	int r = bell(g, words, 1, b, sizeof(b));

	if (r == -EBUSY)
		return 0;
	if (r < 0)
		return err_errno(err, -r, "ask the guest");
	ret->n_processes = le32_load(b + 4);
	ret->memory_total = le64_load(b + 8);
	ret->memory_used = ret->memory_total - MIN(ret->memory_total, le64_load(b + 16));
	return 0;
}

static const struct guest_ops vm_ops = {
	.name = "vm",
	.real_root = true,
	.boot = vmguest_boot,
	.free = vmguest_free,
	.start = vmguest_start,
	.kill = vmguest_kill,
	.resize = vmguest_resize,
	.pause = vmguest_pause,
	.resume = vmguest_resume,
	.stats = vmguest_stats,
};

const struct guest_ops *const guest_backend_ops = &vm_ops;
