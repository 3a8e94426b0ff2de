/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest in a virtual machine: a running container as a snapshot, and back.
 *
 * Theory of operation. A checkpoint holds the machine, the file server's tables and, in a section
 * of its own, through which ports the container's process is connected. What the guest has written
 * until then is delivered by the machine that is saved, not by the one that goes on with it. A
 * checkpoint is taken where init says that nothing else runs (initx/guest/hold.rtg); a restored
 * machine is held there until the container is started: then its process gets the new streams, and
 * the guest the time and random numbers of its own before any process runs. Executed processes go
 * on without streams: whoever executed them is not there any more.
 *
 * Form of the section, little-endian: u32 version, u32 number of the last process, u32 whether the
 * container's process runs, u32 whether on a terminal, three u32 ports (0: none).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "guest_priv.h"
#include "initx/proto.h"
#include "snapimage.h"

#define SECTION		 "container"
#define VERSION		 1
#define WORDS		 7
#define KILLED_STATUS	 137 /* as whoever is checkpointed away ends elsewhere */

/* Long: its init is a process among the container's until it is heard. */
#define HOLD_TIMEOUT  (60 * NSEC_PER_SEC)

/* ---- saving ---- */

static int save_container(struct guest *g, struct snap_buf *state, struct err *err)
{
	const struct guest_proc *p = guest_proc_find(g, GUEST_INIT_ID);
	uint8_t b[4 * WORDS] = { 0 };

	le32_store(b, VERSION);
	le32_store(b + 4, g->last_id);
	if (p && p->running && !p->ended) {
		le32_store(b + 8, 1);
		le32_store(b + 12, p->terminal);
		for (unsigned i = 0; i < 3; i++)
			le32_store(b + 16 + 4 * i, p->ports[i]);
	}
	return snap_sections_add(state, SECTION, 0, true, b, sizeof(b), err);
}

static int save_all(struct guest *g, const struct guest_checkpoint *to, struct err *err)
{
	CLEANUP(snap_buf_done) struct snap_buf state = { 0 };
	const struct snap_manifest *base =
		g->snap.from == SNAPSHOT_POINT_NONE ? NULL : &g->snap.source.manifest;
	int r = snapimage_machine(g->vm, &state, err);

	if (r == 0)
		r = snapimage_share(g->share, to->unlinked_fd, g->unlinked_max, &state, err);
	if (r == 0)
		r = save_container(g, &state, err);
	if (r == 0)
		r = snapimage_write_state(to->state_fd, &state, err);
	if (r == 0)
		r = snapimage_memory(g->vm, to->memory_fd, to->pagemap_fd, base, err);
	return r;
}

/* ---- standing still ---- */

void guest_checkpoint_held(struct guest *g)
{
	pthread_mutex_lock(&g->lock);
	if (g->hold_state == HOLD_ASKED) {
		vm_hold(g->vm);
		g->hold_state = HOLD_REACHED;
		loop_event_set(&g->held_event);
	}
	pthread_mutex_unlock(&g->lock);
}

/* Nobody waits for the point any more. Return: whether it was reached: the vCPUs are held then. */
static bool hold_over(struct guest *g)
{
	bool reached;

	g->holding = false;
	loop_timer_set(&g->hold_timer, 0);
	pthread_mutex_lock(&g->lock);
	reached = g->hold_state == HOLD_REACHED;
	g->hold_state = HOLD_NONE;
	pthread_mutex_unlock(&g->lock);
	return reached;
}

static void close_files(struct guest_checkpoint *to)
{
	fd_close(to->memory_fd);
	fd_close(to->state_fd);
	fd_close(to->pagemap_fd);
	fd_close(to->unlinked_fd);
	*to = (struct guest_checkpoint){ -1, -1, -1, -1 };
}

/* The guest stands still. */
static int take(struct guest *g, char **ret_manifest, struct err *err)
{
	struct snap_manifest m = { 0 };
	size_t len;
	int r;

	vm_quiesce(g->vm);
	r = save_all(g, &g->hold_to, err);
	/* Devices go on, so that what was written arrives; the guest stands still. */
	vm_resume(g->vm);
	bells_hold(&g->bells);
	g->held = true;
	snapimage_describe(g->hv_name, &g->identity, g->ram_bytes, g->n_vcpus, &m);
	snprintf(m.kind, sizeof(m.kind), "checkpoint");
	memset(m.key, '0', SHA256_HEX);
	if (r == 0)
		r = snap_manifest_print(&m, ret_manifest, &len, err);
	if (r < 0)
		guest_checkpoint_end(g, false);
	return r;
}

static void on_held(void *opaque)
{
	struct guest *g = opaque;
	AUTO_FREE char *manifest = NULL;
	struct err err = { 0 };
	bool reached;
	int r;

	pthread_mutex_lock(&g->lock);
	reached = g->hold_state == HOLD_REACHED;
	pthread_mutex_unlock(&g->lock);
	/* That of one that was given up may come late. */
	if (!reached)
		return;
	(void)hold_over(g);
	r = take(g, &manifest, &err);
	close_files(&g->hold_to);
	g->events.checkpointed(g->events.opaque, g->hold_tag, r, r < 0 ? err.msg : manifest);
}

static void on_hold_timeout(void *opaque)
{
	struct guest *g = opaque;
	struct err err = { 0 };

	if (!g->holding)
		return;
	guest_checkpoint_end(g, false);
	err_advise(&err, err_errno(&err, ETIMEDOUT, "hold the container's processes"),
		   "try again; 'husk kill ID KILL' ends one that never answers");
	g->events.checkpointed(g->events.opaque, g->hold_tag, -ETIMEDOUT, err.msg);
}

int guest_checkpoint_init(struct guest *g)
{
	int r = loop_event_init(g->loop, &g->held_event, on_held, g);

	return r < 0 ? r : loop_timer_init(g->loop, &g->hold_timer, on_hold_timeout, g);
}

static void on_hold_answer(void *opaque, int result, const uint8_t *answer)
{
	(void)opaque;
	(void)result;
	(void)answer;
}

/* Let init see to it that no process of the container runs, and the vCPUs stop then. */
static int hold_guest(struct guest *g, struct err *err)
{
	const struct bell_question q = { .words = { INITX_BELL_HOLD },
					 .n_words = 1,
					 .answer_len = 4,
					 .timeout_ns = HOLD_TIMEOUT,
					 .fn = on_hold_answer };

	if (g->holding || g->held)
		return err_set(err, -EBUSY, "a checkpoint is being made");
	if (g->paused || !g->settling)
		return err_set(err, -EBUSY, "the container is not running");
	pthread_mutex_lock(&g->lock);
	g->hold_state = HOLD_ASKED;
	pthread_mutex_unlock(&g->lock);
	g->holding = true;
	loop_timer_set(&g->hold_timer, clock_monotonic_ns() + HOLD_TIMEOUT);
	if (bell_ring(&g->bells, &q) == 0)
		return 0;
	(void)hold_over(g);
	return err_set(err, -ENOMEM, "no memory for a checkpoint");
}

int guest_checkpoint(struct guest *g, const struct guest_checkpoint *to, uint64_t tag,
		     struct err *err)
{
	struct guest_checkpoint files = *to;
	int r = hold_guest(g, err);

	if (r < 0) {
		close_files(&files);
		return r;
	}
	g->hold_to = files;
	g->hold_tag = tag;
	return 0;
}

/* ---- and going on ---- */

/* The port behind p->out[i]. */
static uint32_t output_port(const struct guest_proc *p, unsigned i)
{
	return p->terminal ? (i ? 0 : p->ports[0]) : p->ports[1 + i];
}

static void go_on(struct guest *g)
{
	g->held = false;
	vm_release(g->vm);
	bells_release(&g->bells);
}

static void give_up(struct guest *g)
{
	if (hold_over(g))
		vm_release(g->vm);
	close_files(&g->hold_to);
}

/* Ended, with all that it had sent until now; settling sees to what is on its way. */
static void end_held(struct guest *g)
{
	g->killed_held = true;
	for (struct guest_proc *p = g->procs; p; p = p->next) {
		p->ended = true;
		for (unsigned i = 0; i < 2; i++)
			p->sent[i] = vm_vsock_received(g->vm, output_port(p, i));
		p->status = KILLED_STATUS;
	}
	loop_timer_set(&g->drain, clock_monotonic_ns());
}

void guest_checkpoint_end(struct guest *g, bool stop)
{
	if (g->holding)
		give_up(g);
	else if (g->held && stop)
		end_held(g);
	else if (g->held && !g->killed_held)
		go_on(g);
}

bool guest_checkpoint_kill(struct guest *g)
{
	bool holding = g->holding;

	if (!holding && !g->held)
		return false;
	guest_checkpoint_end(g, !holding);
	/* Who has not come to stand still may never. */
	if (holding)
		g->events.ended(g->events.opaque, GUEST_INIT_ID, KILLED_STATUS);
	return true;
}

/* ---- restoring ---- */

/* Our ends of the streams, and the other ends where the device will ask for them. */
static int open_ports(struct guest *g, const uint8_t *b, struct err *err)
{
	struct guest_restored *r = &g->restored;

	for (unsigned i = 0; i < 3; i++) {
		uint32_t port = le32_load(b + 16 + 4 * i);
		int pair[2];

		if (!port)
			continue;
		for (unsigned k = 0; k < i; k++)
			if (r->ports[k] == port)
				return err_set(err, -EBADMSG, "checkpoint: port %u twice", port);
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return err_errno(err, errno, "socketpair");
		fcntl(pair[1], F_SETFL, O_NONBLOCK);
		g->ports[i] = (struct guest_port){ .number = port, .fd = pair[0] };
		r->ours[i] = pair[1];
		r->ports[i] = port;
	}
	return 0;
}

int guest_restore_container(struct guest *g, struct err *err)
{
	const struct snap_section *s = snap_sections_find(&g->snap.source.sections, SECTION, 0);

	if (!s || s->len != 4 * WORDS || le32_load(s->data) != VERSION ||
	    le32_load(s->data + 8) > 1 || le32_load(s->data + 12) > 1)
		return err_set(err, -EBADMSG, "checkpoint: section '" SECTION "'");
	if (!le32_load(s->data + 8))
		return err_set(err, -ESTALE, "checkpoint: the container's process had ended");
	g->last_id = le32_load(s->data + 4);
	g->restored.terminal = le32_load(s->data + 12);
	if (g->restored.terminal != g->config->process->terminal)
		return err_set(err, -ESTALE, "checkpoint: with%s terminal, process.terminal is %s",
			       g->restored.terminal ? " a" : "out a",
			       g->config->process->terminal ? "true" : "false");
	return open_ports(g, s->data, err);
}

static void on_restored_renewed(void *opaque, int result, const uint8_t *answers)
{
	struct guest *g = opaque;
	struct err err = { 0 };

	if (guest_renew_result(result, answers, &err) < 0)
		g->events.died(g->events.opaque, &err);
	else
		g->events.started(g->events.opaque, GUEST_INIT_ID, 0, "");
}

int guest_restored_start(struct guest *g, const struct guest_process *gp, struct err *err)
{
	struct guest_restored *r = &g->restored;
	struct guest_proc *p = guest_proc_new(g, gp->id);

	if (!p)
		return err_set(err, -ENOMEM, "no memory for a process");
	p->running = true;
	guest_proc_connect(p, gp->fds, r->terminal, r->ports, r->ours);
	for (unsigned i = 0; i < 3; i++)
		r->ours[i] = -1;
	/* What came before was the saved machine's to deliver. */
	for (unsigned i = 0; i < 2; i++)
		p->out[i].moved = vm_vsock_received(g->vm, output_port(p, i));
	go_on(g);
	return guest_renew(g, on_restored_renewed, err);
}
