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
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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
#define HOLD_TIMEOUT_SEC 60

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

void guest_checkpoint_held(struct guest *g)
{
	pthread_mutex_lock(&g->lock);
	if (g->hold_state == HOLD_ASKED) {
		vm_hold(g->vm);
		g->hold_state = HOLD_REACHED;
		(void)eventfd_write(g->hold_fd, 1);
	}
	pthread_mutex_unlock(&g->lock);
}

static void on_hold_over(void *opaque, int result, const uint8_t *answer)
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
					 .timeout_ns = HOLD_TIMEOUT_SEC * NSEC_PER_SEC,
					 .fn = on_hold_over };
	struct pollfd p[] = { { .fd = g->hold_fd, .events = POLLIN },
			      { .fd = vm_exit_fd(g->vm), .events = POLLIN } };
	eventfd_t count;
	bool reached;
	int r;

	pthread_mutex_lock(&g->lock);
	g->hold_state = HOLD_ASKED;
	pthread_mutex_unlock(&g->lock);
	r = bell_ring(&g->bells, &q);
	if (r == 0 && poll(p, ARRAY_LEN(p), HOLD_TIMEOUT_SEC * 1000) <= 0)
		r = -ETIMEDOUT;
	pthread_mutex_lock(&g->lock);
	reached = g->hold_state == HOLD_REACHED;
	g->hold_state = HOLD_NONE;
	pthread_mutex_unlock(&g->lock);
	(void)eventfd_read(g->hold_fd, &count);
	if (p[1].revents)
		return err_set(err, -ESRCH,
			       "the machine ended before the container's processes stood still");
	return reached ? 0 : err_errno(err, -r, "hold the container's processes");
}

int guest_checkpoint(struct guest *g, const struct guest_checkpoint *to, char **ret_manifest,
		     size_t *ret_len, struct err *err)
{
	struct snap_manifest m = { 0 };
	int r;

	if (g->paused || !g->settling || g->held)
		return err_set(err, -EBUSY, "the container is not running");
	r = hold_guest(g, err);
	if (r < 0)
		return r;
	vm_quiesce(g->vm);
	r = save_all(g, to, err);
	/* Devices go on, so that what was written arrives; the guest stands still. */
	vm_resume(g->vm);
	bells_hold(&g->bells);
	g->held = true;
	snapimage_describe(g->hv_name, &g->identity, g->ram_bytes, g->n_vcpus, &m);
	snprintf(m.kind, sizeof(m.kind), "checkpoint");
	memset(m.key, '0', SHA256_HEX);
	if (r == 0)
		r = snap_manifest_print(&m, ret_manifest, ret_len, err);
	if (r < 0)
		guest_checkpoint_end(g, false);
	return r;
}

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

void guest_checkpoint_end(struct guest *g, bool stop)
{
	if (!g->held)
		return;
	if (!stop) {
		go_on(g);
		return;
	}
	/* Ended, with all that it had sent until now; settling sees to what is on its way. */
	for (struct guest_proc *p = g->procs; p; p = p->next) {
		p->ended = true;
		for (unsigned i = 0; i < 2; i++)
			p->sent[i] = vm_vsock_received(g->vm, output_port(p, i));
		p->status = KILLED_STATUS;
	}
	loop_timer_set(&g->drain, clock_monotonic_ns());
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
