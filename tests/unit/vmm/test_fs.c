/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-fs with vCPUs and a backend's threads at it together: nothing lost, nothing before its
 * time. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/checked.h"
#include "look.h"
#include "virtio_driver.h"

#define N_QUEUES      3
#define N_WORKERS     2
#define N_REQUESTS    4000 /* a queue */
#define N_AHEAD	      8	   /* requests out at once, of a queue */
#define N_RESETS      300
#define EVENT_IDX     (1ULL << 29)
#define AVAIL_EVENT   (0x2000 + 4 + 8 * DRIVER_SIZE)
#define REQUEST_BYTES 40

/* Workers that sleep until they are woken: a wake-up that does not come is seen. */
struct server {
	pthread_mutex_t lock;
	pthread_cond_t woken;
	struct fs_request *list[N_QUEUES * DRIVER_SIZE];
	unsigned n, n_sleeping, n_wakes;
	bool stop;
	pthread_t workers[N_WORKERS];
	_Atomic unsigned n_out, n_done, n_resets, n_bad;
};

static struct server srv;
static struct driver d;

static bool server_submit(void *opaque, struct fs_request *req)
{
	bool wake;

	pthread_mutex_lock(&srv.lock);
	srv.list[srv.n++] = req;
	srv.n_out++;
	wake = srv.n_sleeping;
	pthread_mutex_unlock(&srv.lock);
	return wake;
}

static void server_wake(void *opaque)
{
	pthread_mutex_lock(&srv.lock);
	srv.n_wakes++;
	pthread_cond_signal(&srv.woken);
	pthread_mutex_unlock(&srv.lock);
}

static void server_reset(void *opaque)
{
	srv.n_bad += srv.n_out != 0;
	srv.n_resets++;
}

static void worker_sleep_locked(void)
{
	unsigned seen = srv.n_wakes;

	srv.n_sleeping++;
	while (srv.n_wakes == seen && !srv.stop)
		pthread_cond_wait(&srv.woken, &srv.lock);
	srv.n_sleeping--;
}

static void *worker(void *arg)
{
	pthread_mutex_lock(&srv.lock);
	while (!srv.stop || srv.n) {
		struct fs_request *req;

		if (!srv.n) {
			worker_sleep_locked();
			continue;
		}
		req = srv.list[--srv.n];
		pthread_mutex_unlock(&srv.lock);
		srv.n_bad += req->in_len != REQUEST_BYTES || req->n_in != 1 || req->n_out;
		srv.n_out--;
		srv.n_done++;
		req->done(req, 0);
		pthread_mutex_lock(&srv.lock);
	}
	pthread_mutex_unlock(&srv.lock);
	return NULL;
}

static int setup(void **state)
{
	static const struct fs_backend backend = { .submit = server_submit,
						   .wake = server_wake,
						   .reset = server_reset };
	const struct vm_fs config = { .tag = "root", .backend = &backend, .n_queues = 2 };
	struct virtio_env env;
	struct err err = { 0 };

	memset(&srv, 0, sizeof(srv));
	pthread_mutex_init(&srv.lock, NULL);
	pthread_cond_init(&srv.woken, NULL);
	if (driver_init(&d) < 0)
		return -1;
	env = driver_env(&d);
	if (virtio_fs_new(&env, &config, 0, &d.dev, &err) < 0)
		return -1;
	for (unsigned i = 0; i < N_WORKERS; i++)
		if (pthread_create(&srv.workers[i], NULL, worker, NULL))
			return -1;
	return 0;
}

static int teardown(void **state)
{
	pthread_mutex_lock(&srv.lock);
	srv.stop = true;
	pthread_cond_broadcast(&srv.woken);
	pthread_mutex_unlock(&srv.lock);
	for (unsigned i = 0; i < N_WORKERS; i++)
		pthread_join(srv.workers[i], NULL);
	driver_done(&d);
	pthread_cond_destroy(&srv.woken);
	pthread_mutex_destroy(&srv.lock);
	return 0;
}

/* As Linux decides: has the device asked to be told of the one just offered? */
static bool must_notify(unsigned queue)
{
	const uint8_t *p = driver_ram(&d, DRIVER_RINGS + queue * 0x4000ULL + AVAIL_EVENT);
	uint16_t event = __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_SEQ_CST);

	return event == (uint16_t)(d.avail[queue] - 1);
}

static void send_one(unsigned queue, unsigned i)
{
	driver_desc(&d, queue, i % DRIVER_SIZE, DRIVER_DATA, REQUEST_BYTES, false, false);
	driver_offer(&d, queue, i % DRIVER_SIZE);
	if (must_notify(queue))
		driver_wr(&d, DRIVER_QUEUE_NOTIFY, queue);
}

static bool wait_ahead(unsigned queue, unsigned sent, unsigned ahead)
{
	unsigned looks = 0;

	while ((uint16_t)(sent - driver_used(&d, queue)) > ahead)
		if (!look_again(&looks))
			return false;
	return true;
}

/* Return: not NULL if all came back. */
static void *vcpu(void *arg)
{
	unsigned queue = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < N_REQUESTS; i++) {
		send_one(queue, i);
		/* Now one at a time, which the vCPU waits for, now many. */
		if (!wait_ahead(queue, i + 1, i / 100 % 2 ? N_AHEAD : 0))
			return NULL;
	}
	return wait_ahead(queue, N_REQUESTS, 0) ? &srv : NULL;
}

static void all_queues_at_once_lose_nothing(void **state)
{
	pthread_t vcpus[N_QUEUES];

	driver_bring_up(&d, EVENT_IDX, N_QUEUES);
	for (uintptr_t q = 0; q < N_QUEUES; q++)
		assert_int_equal(pthread_create(&vcpus[q], NULL, vcpu, (void *)q), 0);
	for (unsigned q = 0; q < N_QUEUES; q++) {
		void *ret;

		pthread_join(vcpus[q], &ret);
		assert_non_null(ret);
	}
	assert_int_equal(srv.n_done, N_QUEUES * N_REQUESTS);
	assert_int_equal(srv.n_bad, 0);
}

static bool wait_reset(void)
{
	unsigned looks = 0;

	while (driver_rd(&d, DRIVER_STATUS))
		if (!look_again(&looks))
			return false;
	return true;
}

static void a_reset_waits_for_what_is_out(void **state)
{
	for (unsigned i = 0; i < N_RESETS; i++) {
		unsigned before;

		driver_bring_up(&d, EVENT_IDX, N_QUEUES);
		before = srv.n_resets;
		for (unsigned k = 0; k < i % 7; k++)
			send_one(k % N_QUEUES, k / N_QUEUES);
		driver_wr(&d, DRIVER_STATUS, 0);
		assert_true(wait_reset());
		assert_int_equal(srv.n_out, 0);
		assert_int_equal(srv.n_resets, before + 1);
	}
	assert_int_equal(srv.n_bad, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_queues_at_once_lose_nothing),
		TEST(a_reset_waits_for_what_is_out),
	};

	return cmocka_run_group_tests_name("virtio/fs", tests, NULL, NULL);
}
