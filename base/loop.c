/* SPDX-License-Identifier: Apache-2.0 */
/* Event loop on epoll, eventfd and timerfd. */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

#define LOOP_BATCH	16
#define LOOP_MAX_ALWAYS 8

struct loop {
	int epoll_fd;
	int wake_fd;
	struct loop_watch *always[LOOP_MAX_ALWAYS]; /* watches that cannot be polled */
	/* Events fetched and not served yet: a callback that removes a watch clears it here. */
	struct epoll_event batch[LOOP_BATCH];
	int n_batch;

	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stop;	      /* guarded by lock */
	unsigned n_pause;     /* guarded by lock */
	bool parked, running; /* guarded by lock */
};

int loop_new(struct loop **ret, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN };
	CLEANUP(loop_freep) struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return err_set(err, -ENOMEM, "no memory for an event loop");
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->cond, NULL);
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return err_errno(err, errno, "create an epoll instance");
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return err_errno(err, errno, "create an eventfd");
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &ev) < 0)
		return err_errno(err, errno, "watch an eventfd");
	*ret = STEAL_PTR(loop);
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	fd_close(loop->wake_fd);
	fd_close(loop->epoll_fd);
	pthread_cond_destroy(&loop->cond);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

static int always_add(struct loop *loop, struct loop_watch *watch)
{
	for (unsigned i = 0; i < LOOP_MAX_ALWAYS; i++) {
		if (!loop->always[i]) {
			loop->always[i] = watch;
			watch->always_ready = true;
			return 0;
		}
	}
	return -ENOSPC;
}

int loop_watch_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events, loop_fn fn,
		   void *opaque)
{
	struct epoll_event ev = { .events = events, .data.ptr = watch };
	int ret = 0;

	*watch = (struct loop_watch){ .fd = fd, .events = events, .fn = fn, .opaque = opaque };
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		ret = errno == EPERM ? always_add(loop, watch) : -errno;
		if (ret < 0)
			return ret;
	}
	watch->loop = loop;
	return 0;
}

void loop_watch_set(struct loop_watch *watch, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = watch };

	if (!watch->loop || watch->events == events)
		return;
	watch->events = events;
	if (!watch->always_ready)
		(void)epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &ev);
}

void loop_watch_remove(struct loop_watch *watch)
{
	struct loop *loop = watch->loop;

	if (!loop)
		return;
	if (watch->always_ready) {
		for (unsigned i = 0; i < LOOP_MAX_ALWAYS; i++) {
			if (loop->always[i] == watch)
				loop->always[i] = NULL;
		}
	} else {
		(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	}
	for (int i = 0; i < loop->n_batch; i++) {
		if (loop->batch[i].data.ptr == watch)
			loop->batch[i].data.ptr = NULL;
	}
	watch->loop = NULL;
}

static void drain_counter(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0) {
		/* Already drained. */
	}
}

static void bump_counter(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0) {
		/* Full: the wake-up is pending anyway. */
	}
}

static void on_event(void *opaque, uint32_t events)
{
	struct loop_event *event = opaque;

	drain_counter(event->fd);
	event->fn(event->opaque);
}

int loop_event_init(struct loop *loop, struct loop_event *event, void (*fn)(void *opaque),
		    void *opaque)
{
	int ret;

	*event = (struct loop_event){ .fn = fn, .opaque = opaque };
	event->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event->fd < 0)
		return -errno;
	ret = loop_watch_add(loop, &event->watch, event->fd, EPOLLIN, on_event, event);
	if (ret < 0) {
		fd_close(event->fd);
		event->fd = -1;
	}
	return ret;
}

void loop_event_set(struct loop_event *event)
{
	bump_counter(event->fd);
}

void loop_event_done(struct loop_event *event)
{
	if (!event->watch.loop)
		return;
	loop_watch_remove(&event->watch);
	fd_close(event->fd);
	event->fd = -1;
}

static void on_timer(void *opaque, uint32_t events)
{
	struct loop_timer *timer = opaque;

	drain_counter(timer->fd);
	timer->fn(timer->opaque);
}

int loop_timer_init(struct loop *loop, struct loop_timer *timer, void (*fn)(void *opaque),
		    void *opaque)
{
	int ret;

	*timer = (struct loop_timer){ .fn = fn, .opaque = opaque };
	timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (timer->fd < 0)
		return -errno;
	ret = loop_watch_add(loop, &timer->watch, timer->fd, EPOLLIN, on_timer, timer);
	if (ret < 0) {
		fd_close(timer->fd);
		timer->fd = -1;
	}
	return ret;
}

void loop_timer_set(struct loop_timer *timer, uint64_t deadline)
{
	struct itimerspec spec = {
		.it_value = { .tv_sec = (time_t)(deadline / NSEC_PER_SEC),
			      .tv_nsec = (long)(deadline % NSEC_PER_SEC) },
	};

	(void)timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void loop_timer_done(struct loop_timer *timer)
{
	if (!timer->watch.loop)
		return;
	loop_watch_remove(&timer->watch);
	fd_close(timer->fd);
	timer->fd = -1;
}

static bool always_wanted(const struct loop *loop)
{
	for (unsigned i = 0; i < LOOP_MAX_ALWAYS; i++) {
		if (loop->always[i] && loop->always[i]->events)
			return true;
	}
	return false;
}

static void serve_always(struct loop *loop)
{
	for (unsigned i = 0; i < LOOP_MAX_ALWAYS; i++) {
		struct loop_watch *watch = loop->always[i];

		if (watch && watch->events)
			watch->fn(watch->opaque, watch->events);
	}
}

/* Parks while paused. Returns false when the loop is to end. */
static bool may_go_on(struct loop *loop)
{
	bool stop;

	pthread_mutex_lock(&loop->lock);
	while (loop->n_pause && !loop->stop) {
		loop->parked = true;
		pthread_cond_broadcast(&loop->cond);
		pthread_cond_wait(&loop->cond, &loop->lock);
	}
	loop->parked = false;
	stop = loop->stop;
	pthread_mutex_unlock(&loop->lock);
	return !stop;
}

static void set_running(struct loop *loop, bool running)
{
	pthread_mutex_lock(&loop->lock);
	loop->running = running;
	pthread_cond_broadcast(&loop->cond);
	pthread_mutex_unlock(&loop->lock);
}

void loop_run(struct loop *loop)
{
	set_running(loop, true);
	while (may_go_on(loop)) {
		int n = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH,
				   always_wanted(loop) ? 0 : -1);

		loop->n_batch = MAX(n, 0);
		for (int i = 0; i < loop->n_batch; i++) {
			struct loop_watch *watch = loop->batch[i].data.ptr;

			if (watch)
				watch->fn(watch->opaque, loop->batch[i].events);
			else
				drain_counter(loop->wake_fd);
		}
		loop->n_batch = 0;
		serve_always(loop);
	}
	set_running(loop, false);
}

void loop_stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stop = true;
	pthread_cond_broadcast(&loop->cond);
	pthread_mutex_unlock(&loop->lock);
	bump_counter(loop->wake_fd);
}

void loop_pause(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->n_pause++;
	bump_counter(loop->wake_fd);
	while (loop->running && !loop->parked)
		pthread_cond_wait(&loop->cond, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
}

void loop_resume(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->n_pause--;
	pthread_cond_broadcast(&loop->cond);
	pthread_mutex_unlock(&loop->lock);
}
