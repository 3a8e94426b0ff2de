/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the guest's init, over its doorbell. */
#include "bell.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "initx/proto.h"
#include "vmm/vm.h"

/*
 * A deadline comes in so many steps, each counted when this thread gets to it: while a host is frozen or starved
 * the guest stands still as well.
 */
#define STEPS 16

struct bell {
	struct bell *next;
	struct bells *bells;
	struct bell_question q;
	struct loop_watch watch;
	int fd; /* -1: not asked yet */
	uint64_t deadline; /* of this step */
	unsigned n_steps;  /* left, with this one */
	size_t got;
	uint8_t answer[BELL_ANSWER];
};

static void drop_idle(struct bells *bells)
{
	loop_watch_remove(&bells->idle);
	fd_close(fd_steal(&bells->idle_fd));
}

/* The guest hangs up, or says what nobody has asked. */
static void on_idle(void *opaque, uint32_t events)
{
	(void)events;
	drop_idle(opaque);
}

/* An answered question's connection is good for another. */
static void keep(struct bell *b)
{
	struct bells *bells = b->bells;

	if (bells->idle_fd >= 0)
		return;
	loop_watch_remove(&b->watch);
	bells->idle_fd = fd_steal(&b->fd);
	if (loop_watch_add(bells->loop, &bells->idle, bells->idle_fd, EPOLLIN, on_idle, bells) < 0)
		drop_idle(bells);
}

static void bell_free(struct bell *b)
{
	struct bell **at = &b->bells->first;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	loop_watch_remove(&b->watch);
	fd_close(b->fd);
	free(b);
}

static void finish(struct bell *b, int result)
{
	uint8_t answer[BELL_ANSWER];
	bell_fn fn = b->q.fn;
	void *opaque = b->q.opaque;

	memcpy(answer, b->answer, sizeof(answer));
	if (result == 0)
		keep(b);
	bell_free(b);
	fn(opaque, result, answer);
}

static void on_answer(void *opaque, uint32_t events)
{
	struct bell *b = opaque;
	ssize_t n = recv(b->fd, b->answer + b->got, b->q.answer_len - b->got, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		finish(b, -EIO);
		return;
	}
	b->got += (size_t)n;
	if (b->got == b->q.answer_len)
		finish(b, 0);
}

/* The next deadline, of those that count. */
static void set_timer(struct bells *bells)
{
	uint64_t next = 0;

	for (const struct bell *b = bells->first; b && !bells->held; b = b->next) {
		if (!next || b->deadline < next)
			next = b->deadline;
	}
	loop_timer_set(&bells->timer, next);
}

static void on_timer(void *opaque)
{
	struct bells *bells = opaque;
	struct bell *b = bells->first;
	uint64_t now = clock_monotonic_ns();

	while (b && !bells->held) {
		if (b->deadline > now) {
			b = b->next;
		} else if (--b->n_steps) {
			b->deadline = now + b->q.timeout_ns / STEPS;
		} else {
			finish(b, -ETIMEDOUT);
			/* What it called may have changed the list. */
			b = bells->first;
		}
	}
	set_timer(bells);
}

static void begin_steps(struct bell *b)
{
	b->n_steps = STEPS;
	b->deadline = clock_monotonic_ns() + b->q.timeout_ns / STEPS;
}

/* The one that is left, or another. */
static int connect_to(struct bells *bells, int *ret_fd)
{
	int pair[2];

	if (bells->idle_fd >= 0) {
		loop_watch_remove(&bells->idle);
		*ret_fd = fd_steal(&bells->idle_fd);
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ret_fd = pair[1];
	return vm_vsock_connect(bells->vm, INITX_DOORBELL_PORT, pair[0], NULL);
}

/* Connect and write; what fails shows at the deadline, which is then now. */
static void ask(struct bell *b)
{
	uint8_t buf[4 * BELL_WORDS];

	b->deadline = clock_monotonic_ns();
	b->n_steps = 1;
	if (connect_to(b->bells, &b->fd) < 0)
		return;
	for (size_t i = 0; i < b->q.n_words; i++)
		le32_store(buf + 4 * i, b->q.words[i]);
	/* The socket's buffer is empty and takes it at once. */
	if (fd_write_full(b->fd, buf, 4 * b->q.n_words) == 0 &&
	    (!b->q.more_len || fd_write_full(b->fd, b->q.more, b->q.more_len) == 0) &&
	    loop_watch_add(b->bells->loop, &b->watch, b->fd, EPOLLIN, on_answer, b) == 0)
		begin_steps(b);
}

int bell_ring(struct bells *bells, const struct bell_question *q)
{
	struct bell *b = calloc(1, sizeof(*b));

	assert(q->n_words <= BELL_WORDS && q->answer_len <= BELL_ANSWER);
	if (!b)
		return -ENOMEM;
	b->bells = bells;
	b->q = *q;
	b->fd = -1;
	b->next = bells->first;
	bells->first = b;
	if (!bells->held)
		ask(b);
	set_timer(bells);
	return 0;
}

void bells_hold(struct bells *bells)
{
	bells->held = true;
	set_timer(bells);
}

void bells_release(struct bells *bells)
{
	bells->held = false;
	for (struct bell *b = bells->first; b; b = b->next) {
		if (b->fd < 0)
			ask(b);
		else
			begin_steps(b);
	}
	set_timer(bells);
}

int bells_init(struct bells *bells, struct loop *loop, struct err *err)
{
	int r;

	bells->loop = loop;
	bells->idle_fd = -1;
	r = loop_timer_init(loop, &bells->timer, on_timer, bells);
	return r < 0 ? err_errno(err, -r, "doorbell") : 0;
}

void bells_done(struct bells *bells)
{
	while (bells->first)
		bell_free(bells->first);
	if (!bells->loop)
		return;
	drop_idle(bells);
	loop_timer_done(&bells->timer);
}
