/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from one descriptor to another on an event loop. */
#include "pump.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

static void on_in(void *opaque, uint32_t events);
static void on_out(void *opaque, uint32_t events);

/* A watch for nothing would still report a hang-up, again and again: it is removed. */
static void arm(struct pump *p)
{
	bool want_in = p->active && p->len == 0, want_out = p->active && p->len > 0;

	if (want_in && !p->in.loop)
		loop_watch_add(p->loop, &p->in, p->from, EPOLLIN, on_in, p);
	else if (!want_in)
		loop_watch_remove(&p->in);
	if (want_out && !p->out.loop)
		loop_watch_add(p->loop, &p->out, p->to, EPOLLOUT, on_out, p);
	else if (!want_out)
		loop_watch_remove(&p->out);
}

static void report(const struct pump *p)
{
	if (p->progress)
		p->progress(p->opaque);
}

static void end(struct pump *p)
{
	if (p->shut_to)
		shutdown(p->to, SHUT_WR);
	pump_stop(p);
	report(p);
}

static void on_in(void *opaque, uint32_t events)
{
	struct pump *p = opaque;
	ssize_t n = read(p->from, p->buf, sizeof(p->buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(p);
		return;
	}
	p->at = 0;
	p->len = (size_t)n;
	arm(p);
}

static void on_out(void *opaque, uint32_t events)
{
	struct pump *p = opaque;
	ssize_t n = write(p->to, p->buf + p->at, MIN(p->len, (size_t)PIPE_BUF));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		end(p);
		return;
	}
	p->moved += (size_t)n;
	p->at += (size_t)n;
	p->len -= (size_t)n;
	arm(p);
	report(p);
}

int pump_start(struct pump *p, struct loop *loop, int from, int to, bool shut_to,
	       void (*progress)(void *opaque), void *opaque)
{
	p->loop = loop;
	p->from = from;
	p->to = to;
	p->shut_to = shut_to;
	p->progress = progress;
	p->opaque = opaque;
	p->active = true;
	if (from < 0 || to < 0) {
		pump_stop(p);
		return -EBADF;
	}
	arm(p);
	if (!p->in.loop) {
		pump_stop(p);
		return -EIO;
	}
	return 0;
}

void pump_stop(struct pump *p)
{
	if (!p->loop)
		return;
	p->active = false;
	loop_watch_remove(&p->in);
	loop_watch_remove(&p->out);
	fd_close(p->from);
	fd_close(p->to);
	p->loop = NULL;
	p->len = 0;
}
