/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest in a virtual machine: its processes and their streams.
 *
 * Theory of operation. The machine runs on threads of its own; what its init signals is put into a
 * ring there and served on the VMM process's loop. Each stream of a process is a pair of sockets:
 * one end goes to the vsock device when the guest connects to the port named in the command, the
 * other is pumped to or from the descriptor the caller gave. A process has ended for the caller
 * when its end was signalled and as many bytes of output were written as it had sent by then
 * (others may hold its pipes, and write on).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "guest_priv.h"
#include "initx/guest.h"
#include "initx/proto.h"

#define KILL_TIMEOUT  (3 * NSEC_PER_SEC)
#define KEPT_WAIT     NSEC_PER_SEC
#define WARM_PAUSE    (NSEC_PER_SEC / 10000)
#define SIGNAL_STATUS 128U

/* ---- what init signals: vCPU threads ---- */

static void on_signal(void *opaque, uint32_t value, const uint32_t words[GUEST_MAILBOX_WORDS])
{
	struct guest *g = opaque;

	if (value == INITX_SIG_HELD) {
		guest_checkpoint_held(g);
		return;
	}
	if (value == INITX_SIG_DONE && words[INITX_MB_COMMAND_ID / 4] == INITX_REHEARSAL_ID)
		vm_rehearsed(g->vm);
	/* It stops behind this store; the loop's thread takes the snapshot and lets it go on. */
	if (value == atomic_load(&g->hold) && value) {
		atomic_store(&g->hold, 0);
		vm_hold(g->vm);
	}
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

/* Before a snapshot the guest does once what starts do; its code has what ran for that, and no more. */
static uint32_t rehearses_for(struct guest *g)
{
	uint32_t point = atomic_load(&g->hold);

	return point && vm_rehearse(g->vm) ? point : 0;
}

/* A word of the mailbox. */
static uint32_t on_read(void *opaque, uint32_t off)
{
	struct guest *g = opaque;

	switch (off) {
	case INITX_MB_CLOCK: g->clock_ns = clock_realtime_ns(); return (uint32_t)g->clock_ns;
	case INITX_MB_CLOCK_HIGH: return (uint32_t)(g->clock_ns >> 32);
	case INITX_MB_RENEW: return atomic_exchange(&g->renewed, false);
	case INITX_MB_REHEARSE: return rehearses_for(g);
	case INITX_MB_SEED: return g->n_seed ? g->seed[--g->n_seed] : 0;
	default: return 0;
	}
}

/* ---- processes ---- */

struct guest_proc *guest_proc_find(struct guest *g, uint32_t id)
{
	struct guest_proc *p = g->procs;

	while (p && p->id != id)
		p = p->next;
	return p;
}

struct guest_proc *guest_proc_new(struct guest *g, uint32_t id)
{
	struct guest_proc *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->guest = g;
	p->id = id;
	p->next = g->procs;
	g->procs = p;
	g->last_id = MAX(g->last_id, id);
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
	for (unsigned i = 0; i < p->n_kept; i++)
		kept_stop(&p->kept[i]);
	free(p->kept);
	command_free(p->command);
	free(p);
}

/* Whether all that the process wrote to one stream before its end has been delivered. */
static bool is_delivered(const struct guest_proc *p, unsigned stream)
{
	const struct pump *out = &p->out[stream];

	return !out->active || (int32_t)((uint32_t)out->moved - p->sent[stream]) >= 0;
}

/* How much there is to come nobody says: their end does, unless others hold them, and live on. */
static bool kept_are_delivered(const struct guest_proc *p)
{
	for (unsigned i = 0; i < p->n_kept; i++) {
		if (p->kept[i].out.active)
			return clock_monotonic_ns() >= p->ended_at + KEPT_WAIT;
	}
	return true;
}

/* Report those that have ended and delivered all. */
static void settle(void *opaque)
{
	struct guest *g = opaque;
	uint64_t look_at = UINT64_MAX;
	struct guest_proc *next;

	for (struct guest_proc *p = g->procs; p; p = next) {
		uint32_t id = p->id;
		unsigned status = p->status;

		next = p->next;
		if (!p->ended || !p->running)
			continue;
		if (!is_delivered(p, 0) || !is_delivered(p, 1))
			continue;
		if (!kept_are_delivered(p)) {
			look_at = MIN(look_at, p->ended_at + KEPT_WAIT);
			continue;
		}
		proc_free(p);
		g->events.ended(g->events.opaque, id, status);
	}
	loop_timer_set(&g->drain, look_at == UINT64_MAX ? 0 : look_at);
}

static void on_output(void *opaque)
{
	const struct guest_proc *p = opaque;

	snapshot_begun(&p->guest->snap, p->guest->vm);
	/* From inside the pump: the process may go away only later. */
	if (p->ended)
		loop_timer_set(&p->guest->drain, clock_monotonic_ns());
}

static void on_done(struct guest *g, const struct guest_signal *s)
{
	struct guest_proc *p = guest_proc_find(g, s->id);

	if (!p || p->ended || s->result < 0)
		return;
	snapshot_begun(&g->snap, g->vm);
	p->ended = true;
	p->ended_at = clock_monotonic_ns();
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

static void is_ready(struct guest *g)
{
	g->events.ready(g->events.opaque);
}

static void on_network(void *opaque, int result, const uint8_t *answer)
{
	struct guest *g = opaque;
	struct err err = { 0 };

	if (result == 0)
		result = (int32_t)le32_load(answer);
	if (result == 0) {
		is_ready(g);
		return;
	}
	err_errno(&err, -result, "set up the guest's network");
	fail(g, &err);
}

/* Addresses and routes: no snapshot has any. */
static void set_up_network(struct guest *g)
{
	struct bell_question q = { .words = { INITX_BELL_NET },
				   .n_words = 2,
				   .answer_len = 4,
				   .timeout_ns = BELL_TIMEOUT,
				   .fn = on_network,
				   .opaque = g };

	if (!g->net) {
		is_ready(g);
		return;
	}
	q.more = network_records(g->net, &q.more_len);
	q.words[1] = (uint32_t)q.more_len;
	if (bell_ring(&g->bells, &q) < 0)
		on_network(g, -ENOMEM, NULL);
}

int guest_renew_result(int result, const uint8_t *answers, struct err *err)
{
	if (result == 0)
		result = (int32_t)le32_load(answers);
	if (result == 0)
		result = (int32_t)le32_load(answers + 4);
	return result < 0 ? err_errno(err, -result, "give the guest its time and random numbers")
			  : 0;
}

int guest_renew_ahead(struct guest *g, struct err *err)
{
	if (getrandom(g->seed, sizeof(g->seed), 0) != (ssize_t)sizeof(g->seed))
		return err_errno(err, errno, "random numbers for the guest");
	g->n_seed = INITX_SEED_WORDS;
	atomic_store(&g->renewed, true);
	return 0;
}

int guest_renew(struct guest *g, bell_fn fn, struct err *err)
{
	struct bell_question q = { .words = { INITX_BELL_TIME, INITX_BELL_SEED },
				   .n_words = 2 + INITX_SEED_WORDS,
				   .answer_len = 8,
				   .timeout_ns = BELL_TIMEOUT,
				   .fn = fn,
				   .opaque = g };
	const size_t len = INITX_SEED_WORDS * sizeof(q.words[0]);

	guest_renew_time(vm_config_region(g->vm));
	vm_config_written(g->vm, 0, sizeof(struct initx_program));
	if (getrandom(q.words + 2, len, 0) != (ssize_t)len)
		return err_errno(err, errno, "random numbers for the guest");
	return bell_ring(&g->bells, &q) < 0 ? err_set(err, -ENOMEM, "doorbell: no memory") : 0;
}

/* Container init is in its command loop. */
static void in_loop(struct guest *g)
{
	if (g->settling)
		return;
	g->settling = true;
	/* A restored container stands still until it is started. */
	if (g->held)
		is_ready(g);
	else
		set_up_network(g);
}

/* Init is at a point where a snapshot may be due. */
static void at_point(struct guest *g, enum snapshot_point point)
{
	if (g->snap.to_take == point)
		guest_snapshot_point(g);
	if (point == SNAPSHOT_POINT_LATE)
		in_loop(g);
}

/* In between this thread sleeps: a vCPU may want its processor. */
static void warm(void *opaque)
{
	struct guest *g = opaque;

	if (snapshot_warm(&g->snap, g->vm))
		loop_timer_set(&g->warm, clock_monotonic_ns() + WARM_PAUSE);
}

static void on_restored(void *opaque)
{
	struct guest *g = opaque;

	if (snapshot_is_ready(&g->snap))
		in_loop(g);
	loop_timer_set(&g->warm, clock_monotonic_ns() + WARM_PAUSE);
}

static void start_next(struct guest *g);

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
		if (s.value == INITX_SIG_ALIKE) {
			at_point(g, SNAPSHOT_POINT_EARLY);
		} else if (s.value == INITX_SIG_READY) {
			at_point(g, SNAPSHOT_POINT_LATE);
		} else if (s.value == INITX_SIG_DONE) {
			on_done(g, &s);
		} else if (s.value == INITX_SIG_ACCEPTED) {
			g->in_slot = NULL;
			start_next(g);
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
	for (unsigned i = 0; i < 3; i++)
		g->restored.ours[i] = -1;
	g->console = (struct console_backend){ .in_fd = -1, .out_fd = config->console_log_fd };
	g->channel = (struct guest_backend){ .opaque = g, .signal = on_signal, .read = on_read };
	g->vsock = (struct vsock_backend){ .opaque = g, .connect = guest_port_connect };
	pthread_mutex_init(&g->lock, NULL);
	g->held_event.fd = -1;
	for (unsigned i = 0; i < GUEST_PORTS; i++)
		g->ports[i].fd = -1;
	*ret = g;
	r = loop_event_init(loop, &g->signal_event, on_signals, g);
	if (r == 0)
		r = loop_timer_init(loop, &g->drain, settle, g);
	if (r == 0)
		r = loop_timer_init(loop, &g->warm, warm, g);
	if (r == 0)
		r = loop_event_init(loop, &g->restored_event, on_restored, g);
	if (r == 0)
		r = guest_checkpoint_init(g);
	if (r < 0)
		return err_errno(err, -r, "guest");
	r = bells_init(&g->bells, loop, err);
	if (r == 0)
		r = guestcmd_filter_make(config->config, &g->filter, err);
	if (r == 0)
		r = guest_machine_start(g, config, err);
	if (r < 0)
		return r;
	g->bells.vm = g->vm;
	/* Nothing will tell that a late one is ready: it was when it was saved. */
	if (g->snap.from != SNAPSHOT_POINT_NONE)
		loop_event_set(&g->restored_event);
	r = loop_watch_add(loop, &g->vm_exit, vm_exit_fd(g->vm), EPOLLIN, on_vm_exit, g);
	return r < 0 ? err_errno(err, -r, "guest") : 0;
}

static void vmguest_stop(struct guest *g)
{
	struct vm_exit ex;

	if (!g->started)
		return;
	if (g->paused)
		vm_resume(g->vm);
	if (g->holding)
		guest_checkpoint_end(g, false);
	if (g->held)
		vm_release(g->vm);
	vm_stop(g->vm);
	vm_wait(g->vm, &ex);
}

/* Streams of a process: ports for the command, and our ends of them. */
struct streams {
	struct guestcmd_streams cmd;
	int ours[3];
	uint32_t kept_ports[KEPT_MAX];
	int kept[KEPT_MAX]; /* ours, too */
};

static int open_streams(struct guest *g, const struct guest_process *gp, struct streams *s)
{
	unsigned n = s->cmd.terminal ? 1 : 3;

	for (unsigned i = 0; i < n; i++) {
		if (n == 3 && gp->null_fds & 1U << i)
			continue;
		s->cmd.ports[i] = guest_port_new(g, &s->ours[i]);
		if (!s->cmd.ports[i])
			return -EMFILE;
	}
	s->cmd.kept = s->kept_ports;
	for (; s->cmd.n_kept < gp->n_kept; s->cmd.n_kept++) {
		n = s->cmd.n_kept;
		s->kept_ports[n] = guest_port_new(g, &s->kept[n]);
		if (!s->kept_ports[n])
			return -EMFILE;
	}
	return 0;
}

static void close_streams(struct guest *g, struct streams *s)
{
	for (unsigned i = 0; i < 3; i++) {
		guest_port_forget(g, s->cmd.ports[i]);
		fd_close(s->ours[i]);
	}
	for (unsigned i = 0; i < s->cmd.n_kept; i++) {
		guest_port_forget(g, s->kept_ports[i]);
		fd_close(s->kept[i]);
	}
}

static void connect_kept(struct guest_proc *p, const struct guest_process *gp,
			 const struct streams *s)
{
	p->n_kept = gp->n_kept;
	for (unsigned i = 0; i < p->n_kept; i++) {
		p->kept[i].port = s->kept_ports[i];
		kept_start(&p->kept[i], p->guest->loop, gp->kept[i], s->kept[i], on_output, p);
	}
}

void guest_proc_connect(struct guest_proc *p, const int fds[3], bool terminal,
			const uint32_t ports[3], const int ours[3])
{
	struct loop *loop = p->guest->loop;

	p->terminal = terminal;
	memcpy(p->ports, ports, sizeof(p->ports));
	if (terminal) {
		int in = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
		int to = fcntl(ours[0], F_DUPFD_CLOEXEC, 3);

		pump_start(&p->in, loop, in, to, true, NULL, NULL);
		pump_start(&p->out[0], loop, ours[0], fds[0], false, on_output, p);
		return;
	}
	pump_start(&p->in, loop, fds[0], ours[0], true, NULL, NULL);
	pump_start(&p->out[0], loop, ours[1], fds[1], false, on_output, p);
	pump_start(&p->out[1], loop, ours[2], fds[2], false, on_output, p);
}

static int build_command(struct guest *g, const struct guest_process *gp, const struct streams *s,
			 struct command **ret, struct err *err)
{
	const struct guestcmd gc = { .config = g->config,
				     .process = gp->process,
				     .id = gp->id,
				     .init_id = gp->id == GUEST_INIT_ID ? 0 : GUEST_INIT_ID,
				     .hook_state = gp->hook_state,
				     .pids_set = g->pids_set,
				     .filter = &g->filter,
				     .streams = s->cmd,
				     .ahead = !g->stale };

	return guestcmd_build(&gc, ret, err);
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

static void start_ended(struct guest_proc *p, int result, const char *why)
{
	struct guest *g = p->guest;
	uint32_t id = p->id;

	if (g->in_slot == p)
		g->in_slot = NULL;
	if (result < 0) {
		for (unsigned i = 0; i < 3; i++)
			guest_port_forget(g, p->ports[i]);
		for (unsigned i = 0; i < p->n_kept; i++)
			guest_port_forget(g, p->kept[i].port);
		proc_free(p);
	} else {
		p->running = true;
	}
	if (id == GUEST_INIT_ID && g->snap.from == SNAPSHOT_POINT_EARLY)
		snapshot_begun(&g->snap, g->vm);
	g->events.started(g->events.opaque, id, result, why);
	if (result >= 0 && p->ended)
		settle(g);
	start_next(g);
}

static void on_start_answer(void *opaque, int result, const uint8_t *answer)
{
	struct guest_proc *p = opaque;
	int32_t r = result < 0 ? result : (int32_t)le32_load(answer);

	start_ended(p, MIN(r, 0),
		    result < 0 ? "the guest does not answer"
		    : r < 0    ? guestcmd_step_str(failed_step(p->guest, p->id))
			       : "");
}

/*
 * Put the next command into the slot when init has taken the one before. The guest connects while
 * it answers; what the process says meanwhile waits.
 */
static void start_next(struct guest *g)
{
	struct guest_proc *p = g->starts;
	const struct bell_question look = { .words = { INITX_BELL_BELL },
					    .n_words = 1,
					    .answer_len = 4,
					    .timeout_ns = BELL_TIMEOUT,
					    .fn = on_start_answer,
					    .opaque = p };
	size_t len;
	int r;

	if (!p || g->in_slot)
		return;
	g->starts = p->next_start;
	g->in_slot = p;
	r = command_place(p->command, vm_config_region(g->vm), NULL);
	if (r == 0) {
		command_bytes(p->command, &len);
		vm_config_written(g->vm, INITX_COMMAND_OFFSET, (uint32_t)len);
		r = bell_ring(&g->bells, &look);
	}
	command_free(STEAL_PTR(p->command));
	if (r < 0)
		start_ended(p, r, "the guest takes no commands");
}

static int vmguest_start(struct guest *g, const struct guest_process *gp, struct err *err)
{
	struct streams s = {
		.cmd = { .terminal = gp->process->terminal, .rows = gp->rows, .cols = gp->cols },
		.ours = { -1, -1, -1 }
	};
	struct guest_proc *p, **last = &g->starts;
	int r;

	if (g->held && gp->id == GUEST_INIT_ID)
		return guest_restored_start(g, gp, err);
	p = guest_proc_new(g, gp->id);
	if (p && gp->n_kept)
		p->kept = calloc(gp->n_kept, sizeof(*p->kept));
	r = p && (p->kept || !gp->n_kept) ? open_streams(g, gp, &s) : -ENOMEM;
	if (r < 0)
		err_errno(err, -r, "streams of a process");
	if (r == 0)
		r = build_command(g, gp, &s, &p->command, err);
	if (r < 0) {
		close_streams(g, &s);
		for (unsigned i = 0; i < 3; i++)
			fd_close(gp->fds[i]);
		for (unsigned i = 0; i < gp->n_kept; i++)
			fd_close(gp->kept[i]);
		if (p)
			proc_free(p);
		return r;
	}
	while (*last)
		last = &(*last)->next_start;
	*last = p;
	guest_proc_connect(p, gp->fds, s.cmd.terminal, s.cmd.ports, s.ours);
	connect_kept(p, gp, &s);
	start_next(g);
	return 0;
}

/* ---- the rest ---- */

/* A question whose answer somebody waits for. */
struct asked {
	struct guest *guest;
	uint64_t tag;
	bool must_end; /* no answer: end the container */
};

static void ask(struct guest *g, const struct asked *asked, struct bell_question *q)
{
	struct asked *a = malloc(sizeof(*a));

	if (!a)
		return;
	*a = *asked;
	q->opaque = a;
	if (bell_ring(&g->bells, q) < 0)
		free(a);
}

static void on_killed(void *opaque, int result, const uint8_t *answer)
{
	AUTO_FREE struct asked *a = opaque;
	struct guest *g = a->guest;

	/* One that does not answer is ended: so it is killed. */
	if (a->tag)
		g->events.killed(g->events.opaque, a->tag,
				 result == 0   ? (int32_t)le32_load(answer)
				 : a->must_end ? 0
					       : result);
	if (a->must_end && result < 0)
		g->events.ended(g->events.opaque, GUEST_INIT_ID, SIGNAL_STATUS + SIGKILL);
}

static void vmguest_kill(struct guest *g, uint32_t id, int sig, enum guest_kill whom, uint64_t tag)
{
	const uint32_t flags = whom == GUEST_KILL_ALL	  ? INITX_KILL_ALL
			       : whom == GUEST_KILL_GROUP ? INITX_KILL_GROUP
							  : 0;
	struct asked asked = { .guest = g, .tag = tag };
	struct bell_question q = { .words = { INITX_BELL_KILL, id, (uint32_t)sig, flags },
				   .n_words = 4,
				   .answer_len = 4,
				   .timeout_ns = QUICK_TIMEOUT,
				   .fn = on_killed };

	asked.must_end = sig == SIGKILL && id == GUEST_INIT_ID;
	if (asked.must_end)
		q.timeout_ns = KILL_TIMEOUT;
	if (asked.must_end && guest_checkpoint_kill(g)) {
		if (tag)
			g->events.killed(g->events.opaque, tag, 0);
		return;
	}
	/* A machine that stands still gets the signal when it goes on. */
	if ((g->paused || g->held) && tag) {
		asked.tag = 0;
		g->events.killed(g->events.opaque, tag, 0);
	}
	ask(g, &asked, &q);
}

static void on_resized(void *opaque, int result, const uint8_t *answer)
{
}

static void vmguest_resize(struct guest *g, uint32_t id, unsigned rows, unsigned cols)
{
	const struct bell_question q = { .words = { INITX_BELL_WINS, id, rows, cols },
					 .n_words = 4,
					 .answer_len = 4,
					 .timeout_ns = QUICK_TIMEOUT,
					 .fn = on_resized };

	bell_ring(&g->bells, &q);
}

static int vmguest_pause(struct guest *g, struct err *err)
{
	if (g->held || g->holding)
		return err_set(err, -EBUSY, "a checkpoint is being made");
	if (!g->paused)
		vm_quiesce(g->vm);
	g->paused = true;
	bells_hold(&g->bells);
	return 0;
}

static int vmguest_resume(struct guest *g, struct err *err)
{
	if (g->paused)
		vm_resume(g->vm);
	g->paused = false;
	bells_release(&g->bells);
	return 0;
}

static void on_stats(void *opaque, int result, const uint8_t *b)
{
	AUTO_FREE struct asked *a = opaque;
	struct guest_stats stats = { 0 };

	if (result == 0) {
		stats.n_processes = le32_load(b + 4);
		stats.memory_total = le64_load(b + 8);
		stats.memory_used = stats.memory_total - MIN(stats.memory_total, le64_load(b + 16));
	}
	a->guest->events.stats(a->guest->events.opaque, a->tag, result, &stats);
}

static void vmguest_stats(struct guest *g, uint64_t tag)
{
	static const struct guest_stats none;
	struct bell_question q = { .words = { INITX_BELL_STAT },
				   .n_words = 1,
				   .answer_len = sizeof(struct initx_stat),
				   .timeout_ns = QUICK_TIMEOUT,
				   .fn = on_stats };

	if (g->paused || g->held)
		g->events.stats(g->events.opaque, tag, 0, &none);
	else
		ask(g, &(struct asked){ .guest = g, .tag = tag }, &q);
}

static uint32_t vmguest_last_id(const struct guest *g)
{
	return g->last_id;
}

static const struct guest_ops vm_ops = {
	.name = "vm",
	.real_root = true,
	.sandboxed = true,
	.boot = vmguest_boot,
	.stop = vmguest_stop,
	.start = vmguest_start,
	.kill = vmguest_kill,
	.resize = vmguest_resize,
	.pause = vmguest_pause,
	.resume = vmguest_resume,
	.stats = vmguest_stats,
	.update = guest_limits_update,
	.checkpoint = guest_checkpoint,
	.checkpoint_end = guest_checkpoint_end,
	.last_id = vmguest_last_id,
};

const struct guest_ops *const guest_backend_ops = &vm_ops;
