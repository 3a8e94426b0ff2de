/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker threads and the queue in front of them.
 *
 * Theory of operation. One queue feeds all workers. Handing a request to a sleeping thread costs a
 * system call here and a context switch there, more than most requests take, so wake-ups are
 * rationed: a submitter wakes a worker only when none is awake and looking, or when those awake are
 * stuck in slow operations, or when a backlog of several requests has built up. A worker that runs
 * dry watches the queue for a while before it sleeps (base/watch.h). Only one worker watches at a
 * time.
 *
 * Requests that nobody waits for (FORGET) go by a lane of their own: closing a deleted file is the
 * longest part of deleting it. A worker takes them before it sleeps, or, when LAZY_BATCH have come
 * together, all in a row before anything else, while another serves what is waited for.
 *
 * Thread 0 is the leader: it owns the descriptor table, runs jobs that open or close descriptors
 * for other threads (reset, save, restore), and outlives the other workers.
 */
#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "fuse/server.h"

#define BACKLOG_WAKE	   3  /* queued requests that justify another worker */
#define LAZY_BATCH	   32 /* requests nobody waits for that do so too */
#define WORKER_STACK_BYTES (256 * 1024)

int fuse_pool_init(struct fuse_pool *p)
{
	int r = pthread_mutex_init(&p->lock, NULL);

	if (r)
		return -r;
	return -pthread_cond_init(&p->changed, NULL);
}

void fuse_pool_done(struct fuse_pool *p)
{
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void pool_wake_all(struct fuse_pool *p)
{
	p->wake_seq++;
	futex_wake(&p->wake_seq, INT_MAX);
}

static void lane_put(struct fuse_lane *l, struct fuse_request *req)
{
	req->next_ = NULL;
	if (l->tail)
		l->tail->next_ = req;
	else
		l->head = req;
	l->tail = req;
	l->n++;
}

static struct fuse_request *lane_take(struct fuse_lane *l)
{
	struct fuse_request *req = l->head;

	if (!req)
		return NULL;
	l->head = req->next_;
	if (!l->head)
		l->tail = NULL;
	l->n--;
	return req;
}

/* A request that somebody waits for came. Return: a sleeping worker is needed. */
static bool wants_worker_locked(const struct fuse_pool *p)
{
	return !p->n_spinning && (p->n_busy <= p->n_slow || p->queue.n >= BACKLOG_WAKE);
}

/* One that nobody waits for came: those awake take it in the end, but not too many. */
static bool wants_lazy_worker_locked(struct fuse_pool *p)
{
	if (p->lazy.n == LAZY_BATCH)
		p->lazy_due = true;
	return p->lazy.n == LAZY_BATCH || (!p->n_spinning && !p->n_busy);
}

bool fuse_server_submit(struct fuse_server *srv, struct fuse_request *req)
{
	struct fuse_pool *p = &srv->pool;
	bool wake;

	pthread_mutex_lock(&p->lock);
	lane_put(req->lazy ? &p->lazy : &p->queue, req);
	wake = req->lazy ? wants_lazy_worker_locked(p) : wants_worker_locked(p);
	wake = wake && p->n_sleeping && !p->paused;
	if (wake) {
		p->n_wakeups++;
		p->wake_seq++;
	}
	pthread_mutex_unlock(&p->lock);
	return wake;
}

void fuse_server_wake(struct fuse_server *srv)
{
	futex_wake(&srv->pool.wake_seq, 1);
}

/* One worker at a time takes from the lazy lane, the others serve what is waited for. */
static struct fuse_request *pool_pop_locked(struct fuse_pool *p, struct fuse_worker *w)
{
	struct fuse_request *req = NULL;

	p->lazy_first |= p->lazy_due;
	p->lazy_due = false;
	if (p->lazy_first && !p->lazy_busy) {
		req = lane_take(&p->lazy);
		p->lazy_first = req;
	}
	if (!req)
		req = lane_take(&p->queue);
	if (req && !req->lazy)
		return req;
	if (!req && (w->takes_lazy || p->draining || p->stopping) && !p->lazy_busy)
		req = lane_take(&p->lazy);
	w->takes_lazy = req; /* until there are no more */
	p->lazy_busy |= w->takes_lazy;
	return req;
}

static bool has_news(const void *arg)
{
	const struct fuse_pool *p = arg;

	return atomic_load_explicit(&p->queue.n, memory_order_relaxed) || p->lazy_due || p->has_job;
}

static bool has_work_locked(const struct fuse_pool *p, const struct fuse_worker *w)
{
	return p->stopping || (p->job && w->index == 0) ||
	       (!p->paused && (p->queue.n || (p->lazy.n && !p->lazy_busy)));
}

/* Nothing to do: watch, then sleep. Called and left with the lock held. */
static void pool_idle_locked(struct fuse_pool *p, struct fuse_worker *w)
{
	uint64_t ns = p->n_spinning || p->paused ? 0 : watch_budget(&w->watch);
	enum watch_result result;
	uint32_t seen;

	if (ns) {
		p->n_spinning = 1;
		pthread_mutex_unlock(&p->lock);
		result = watch_run(ns, has_news, p);
		pthread_mutex_lock(&p->lock);
		p->n_spinning = 0;
		/* Being awake was worth it also for what does not end a watch. */
		watch_learn(&w->watch, result == WATCH_MISSED && p->lazy.n ? WATCH_FOUND : result);
	}
	w->takes_lazy = !p->queue.n; /* now there is time */
	if (has_work_locked(p, w))
		return;
	seen = p->wake_seq;
	p->n_sleeping++;
	p->n_sleeps++;
	pthread_mutex_unlock(&p->lock);
	futex_wait(&p->wake_seq, seen);
	pthread_mutex_lock(&p->lock);
	p->n_sleeping--;
}

void fuse_pool_mark_slow(struct fuse_worker *w)
{
	struct fuse_pool *p = &w->srv->pool;
	bool wake;

	if (w->slow)
		return;
	w->slow = true;
	pthread_mutex_lock(&p->lock);
	p->n_slow++;
	wake = p->queue.n && p->n_sleeping && !p->n_spinning && p->n_busy <= p->n_slow;
	if (wake)
		p->wake_seq++;
	pthread_mutex_unlock(&p->lock);
	if (wake)
		futex_wake(&p->wake_seq, 1);
}

static void pool_serve(struct fuse_pool *p, struct fuse_worker *w, struct fuse_request *req)
{
	size_t len = fuse_serve(w, req->in, req->n_in, req->out, req->n_out);

	req->complete(req, len);
	if (!w->slow)
		return;
	w->slow = false;
	pthread_mutex_lock(&p->lock);
	p->n_slow--;
	pthread_mutex_unlock(&p->lock);
}

static void pool_do_job_locked(struct fuse_pool *p)
{
	fuse_job_fn fn = p->job;
	void *arg = p->job_arg;

	p->job = NULL;
	p->has_job = false;
	pthread_mutex_unlock(&p->lock);
	fn(arg);
	pthread_mutex_lock(&p->lock);
	p->job_done = true;
	pthread_cond_broadcast(&p->changed);
}

static void worker_loop(struct fuse_worker *w)
{
	struct fuse_pool *p = &w->srv->pool;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct fuse_request *req = NULL;
		bool lazy;

		if (w->index == 0 && p->job)
			pool_do_job_locked(p);
		if (!p->paused || p->stopping)
			req = pool_pop_locked(p, w);
		if (!req && p->stopping)
			break;
		if (!req) {
			pool_idle_locked(p, w);
			continue;
		}
		p->n_busy++;
		p->n_requests++;
		lazy = req->lazy;
		pthread_mutex_unlock(&p->lock);
		if (lazy)
			fuse_pool_mark_slow(w);
		pool_serve(p, w, req);
		pthread_mutex_lock(&p->lock);
		p->n_busy--;
		if (lazy)
			p->lazy_busy = false;
		if (p->draining && !p->n_busy && !p->queue.n && !p->lazy.n)
			pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
}

/* The last thing before a worker serves: from here on it needs no right but to do that. */
static int worker_seal(struct fuse_worker *w)
{
	struct fuse_server *srv = w->srv;

	return srv->opt.seal_worker
		       ? srv->opt.seal_worker(srv->opt.jail_opaque, &srv->pool.start_err)
		       : 0;
}

static void *worker_main(void *arg)
{
	struct fuse_worker *w = arg;
	struct fuse_pool *p = &w->srv->pool;
	int r;

	prctl(PR_SET_NAME, "husk-fs");
	r = fuse_worker_init(w, w->srv, w->index, &p->start_err);
	if (r == 0)
		r = worker_seal(w);
	pthread_mutex_lock(&p->lock);
	if (r < 0 && p->start_result == 0)
		p->start_result = r;
	p->n_workers++;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	if (r == 0)
		worker_loop(w);
	fuse_worker_done(w);
	return NULL;
}

static int thread_start(struct fuse_worker *w, void *(*fn)(void *))
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	sigfillset(&all);
	/* A fault's own signal: touching the guest's memory may raise it, and its owner handle it.
	 */
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
	r = pthread_create(&w->thread, &attr, fn, w);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->started = r == 0;
	return -r;
}

/* Other workers start after the jail is closed, so they are born inside. */
static int leader_start_others(struct fuse_server *srv)
{
	struct fuse_pool *p = &srv->pool;
	int r = 0;

	for (unsigned i = 1; i < srv->opt.n_workers && r == 0; i++) {
		srv->workers[i].srv = srv;
		srv->workers[i].index = i;
		r = thread_start(&srv->workers[i], worker_main);
		if (r < 0)
			return err_set(&p->start_err, r, "file server: thread %u", i);
		pthread_mutex_lock(&p->lock);
		while (p->n_workers < i + 1 && p->start_result == 0)
			pthread_cond_wait(&p->changed, &p->lock);
		r = p->start_result;
		pthread_mutex_unlock(&p->lock);
	}
	return r;
}

static void *leader_main(void *arg)
{
	struct fuse_worker *w = arg;
	struct fuse_server *srv = w->srv;
	struct fuse_pool *p = &srv->pool;
	int r = 0;

	prctl(PR_SET_NAME, "husk-fs");
	if (unshare(CLONE_FILES | CLONE_FS) < 0)
		r = err_errno(&p->start_err, errno, "unshare descriptor table");
	if (r == 0) {
		r = fuse_server_open(srv, &p->start_err);
		if (!srv->opt.enter_jail)
			fd_close(srv->root_fd); /* this table's copy */
	}
	if (r == 0)
		r = fuse_worker_init(w, srv, 0, &p->start_err);
	pthread_mutex_lock(&p->lock);
	p->n_workers = 1;
	pthread_mutex_unlock(&p->lock);
	if (r == 0)
		r = leader_start_others(srv);
	if (r == 0)
		r = worker_seal(w);
	pthread_mutex_lock(&p->lock);
	p->start_result = r;
	p->start_done = true;
	if (r < 0)
		p->stopping = true;
	pool_wake_all(p);
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	if (r == 0)
		worker_loop(w);
	for (unsigned i = 1; i < FUSE_MAX_WORKERS; i++) {
		if (srv->workers[i].started)
			pthread_join(srv->workers[i].thread, NULL);
		srv->workers[i].started = false;
	}
	fuse_server_shut(srv);
	fuse_worker_done(w);
	return NULL;
}

int fuse_server_start(struct fuse_server *srv, struct err *err)
{
	struct fuse_pool *p = &srv->pool;
	int r;

	if (p->running)
		return err_set(err, -EINVAL, "file server: started twice");
	p->stopping = p->start_done = false;
	p->start_result = 0;
	p->start_err = (struct err){ 0 };
	srv->workers[0].srv = srv;
	srv->workers[0].index = 0;
	r = thread_start(&srv->workers[0], leader_main);
	if (r < 0)
		return err_set(err, r, "file server: thread");
	pthread_mutex_lock(&p->lock);
	while (!p->start_done)
		pthread_cond_wait(&p->changed, &p->lock);
	r = p->start_result;
	p->running = true;
	pthread_mutex_unlock(&p->lock);
	if (r < 0) {
		fuse_server_stop(srv);
		return err_set(err, r, "%s", p->start_err.msg);
	}
	/* The leader has the root now; this table must not keep it. */
	fd_close(srv->root_fd);
	srv->root_fd = -1;
	return 0;
}

void fuse_server_stop(struct fuse_server *srv)
{
	struct fuse_pool *p = &srv->pool;

	if (!p->running)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pool_wake_all(p);
	pthread_mutex_unlock(&p->lock);
	pthread_join(srv->workers[0].thread, NULL);
	p->running = false;
}

void fuse_server_quiesce(struct fuse_server *srv)
{
	struct fuse_pool *p = &srv->pool;

	pthread_mutex_lock(&p->lock);
	p->draining = true;
	while (p->running && (p->n_busy || p->queue.n || p->lazy.n))
		pthread_cond_wait(&p->changed, &p->lock);
	p->draining = false;
	p->paused = true;
	pthread_mutex_unlock(&p->lock);
}

void fuse_server_resume(struct fuse_server *srv)
{
	struct fuse_pool *p = &srv->pool;

	pthread_mutex_lock(&p->lock);
	p->paused = false;
	pool_wake_all(p);
	pthread_mutex_unlock(&p->lock);
}

void fuse_pool_run_job(struct fuse_server *srv, fuse_job_fn fn, void *arg)
{
	struct fuse_pool *p = &srv->pool;

	if (!p->running || pthread_equal(pthread_self(), srv->workers[0].thread)) {
		fn(arg);
		return;
	}
	pthread_mutex_lock(&p->lock);
	while (p->job_busy)
		pthread_cond_wait(&p->changed, &p->lock);
	p->job_busy = true;
	p->job = fn;
	p->job_arg = arg;
	p->job_done = false;
	p->has_job = true;
	pool_wake_all(p);
	while (!p->job_done)
		pthread_cond_wait(&p->changed, &p->lock);
	p->job_busy = false;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}
