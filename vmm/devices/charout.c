/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on their way from a device to a descriptor. */
#include "devices/charout.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"

#define FLUSH_DELAY_NS	(2 * NSEC_PER_MSEC)
#define RETRY_NS	(10 * NSEC_PER_MSEC)
#define FLUSH_THRESHOLD 1024
#define WRITE_CHUNK	2048

/* Copy the next bytes to go out. */
static size_t peek(const struct charout *out, uint8_t *buf, size_t max)
{
	size_t n = MIN(max, (size_t)out->count);
	size_t first = MIN(n, (size_t)(CHAROUT_SIZE - out->head));

	memcpy(buf, out->ring + out->head, first);
	memcpy(buf + first, out->ring, n - first);
	return n;
}

static void consume(struct charout *out, size_t n)
{
	out->head = (uint32_t)((out->head + n) % CHAROUT_SIZE);
	out->count -= (uint32_t)n;
	if (n && out->was_full) {
		out->was_full = false;
		if (out->room)
			out->room(out->opaque);
	}
}

/* One write without the lock. Returns false when the descriptor would block. */
static bool write_some(struct charout *out)
{
	uint8_t buf[WRITE_CHUNK];
	size_t n = peek(out, buf, sizeof(buf));
	ssize_t written;

	if (n == 0)
		return true;
	pthread_mutex_unlock(out->lock);
	written = write(out->fd, buf, n);
	if (written < 0 && (errno == EAGAIN || errno == EINTR))
		written = 0;
	pthread_mutex_lock(out->lock);
	if (written < 0) {
		out->broken = true;
		written = out->count;
	}
	consume(out, (size_t)written);
	return written > 0;
}

static void drain(struct charout *out)
{
	bool moved = true;

	pthread_mutex_lock(out->lock);
	out->flush_armed = false;
	while (out->count && moved)
		moved = write_some(out);
	if (out->watch.loop) {
		loop_watch_set(&out->watch, out->count ? EPOLLOUT : 0);
	} else if (out->count) { /* another device watches the same descriptor */
		out->flush_armed = true;
		loop_timer_set(&out->flush, clock_monotonic_ns() + RETRY_NS);
	}
	pthread_mutex_unlock(out->lock);
}

static void on_kick(void *opaque)
{
	drain(opaque);
}

static void on_writable(void *opaque, uint32_t events)
{
	struct charout *out = opaque;

	if (events & (EPOLLERR | EPOLLHUP)) {
		/* Nobody reads any more. Told again and again unless the watch goes. */
		loop_watch_remove(&out->watch);
		pthread_mutex_lock(out->lock);
		out->broken = true;
		consume(out, out->count);
		pthread_mutex_unlock(out->lock);
		return;
	}
	drain(out);
}

int charout_init(struct charout *out, struct loop *loop, int fd, pthread_mutex_t *lock,
		 void (*room)(void *opaque), void *opaque)
{
	int ret;

	*out = (struct charout){
		.fd = fd, .lock = lock, .room = room, .opaque = opaque, .broken = fd < 0
	};
	if (fd < 0)
		return 0;
	ret = loop_event_init(loop, &out->kick, on_kick, out);
	if (ret == 0)
		ret = loop_timer_init(loop, &out->flush, on_kick, out);
	if (ret == 0)
		ret = loop_watch_add(loop, &out->watch, fd, 0, on_writable, out);
	/* The same terminal may serve two devices through one descriptor; it then never blocks
	 * long. */
	return ret == -EEXIST ? 0 : ret;
}

void charout_done(struct charout *out)
{
	loop_watch_remove(&out->watch);
	loop_event_done(&out->kick);
	loop_timer_done(&out->flush);
}

size_t charout_room(const struct charout *out)
{
	return out->broken ? CHAROUT_SIZE : CHAROUT_SIZE - out->count;
}

size_t charout_put(struct charout *out, const uint8_t *buf, size_t len)
{
	size_t n, first, tail;

	if (out->broken)
		return len;
	n = MIN(len, charout_room(out));
	tail = (out->head + out->count) % CHAROUT_SIZE;
	first = MIN(n, CHAROUT_SIZE - tail);
	memcpy(out->ring + tail, buf, first);
	memcpy(out->ring, buf + first, n - first);
	out->count += (uint32_t)n;
	if (out->count == CHAROUT_SIZE)
		out->was_full = true;
	if (n && (buf[n - 1] == '\n' || out->count >= FLUSH_THRESHOLD)) {
		/* One wake-up for each line, or for each piece of a long one. */
		if (buf[n - 1] == '\n' || out->count - n < FLUSH_THRESHOLD || out->was_full)
			loop_event_set(&out->kick);
	} else if (n && !out->flush_armed) {
		out->flush_armed = true;
		loop_timer_set(&out->flush, clock_monotonic_ns() + FLUSH_DELAY_NS);
	}
	return n;
}

void charout_flush(struct charout *out, int stall_ms)
{
	struct pollfd pfd = { .fd = out->fd, .events = POLLOUT };

	pthread_mutex_lock(out->lock);
	while (out->count && !out->broken) {
		if (write_some(out))
			continue;
		pthread_mutex_unlock(out->lock);
		if (poll(&pfd, 1, stall_ms) == 0) {
			pthread_mutex_lock(out->lock);
			break;
		}
		pthread_mutex_lock(out->lock);
	}
	pthread_mutex_unlock(out->lock);
}

bool charout_valid(const struct charout *out)
{
	return out->head < CHAROUT_SIZE && out->count <= CHAROUT_SIZE;
}
