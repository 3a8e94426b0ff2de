/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "fuse/wire.h"
#include "fuse_client.h"
#include "look.h"

static struct fuse_client c;

static int setup(void **state)
{
	struct fuse_options opt = { .n_workers = 4 };
	int r = fc_open(&c, &opt);

	return r < 0 ? r : fc_init(&c);
}

static int teardown(void **state)
{
	fc_close(&c);
	return 0;
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void descriptors_of_files_are_the_workers_own(void **state)
{
	unsigned before = count_fds();
	uint64_t node, fh;
	char name[16];

	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(fc_create(&c, 1, name, O_RDWR, 0600, &node, &fh), 0);
	}
	assert_int_equal(count_fds(), before);
}

static void umask_and_directory_are_the_workers_own(void **state)
{
	struct fuse_mkdir_in in = { .mode = 0777, .umask = 077 };
	mode_t mask = umask(022);
	char cwd[256], now[256];

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(fc_call(&c, FUSE_MKDIR, 1, &in, sizeof(in), "d", 2), 0);
	assert_non_null(getcwd(now, sizeof(now)));
	assert_string_equal(cwd, now);
	assert_int_equal(umask(mask), 022);
}

struct burst {
	struct fuse_request req[64];
	struct iovec in[64], out[64];
	struct {
		struct fuse_in_header h;
		struct fuse_getattr_in arg;
	} msg[64];
	uint8_t room[64][128];
};

static _Atomic unsigned n_done;

static void burst_done(struct fuse_request *req, size_t len)
{
	n_done++;
}

static void burst_fill(struct burst *b)
{
	memset(b, 0, sizeof(*b));
	for (unsigned i = 0; i < 64; i++) {
		b->msg[i].h = (struct fuse_in_header){
			.len = 56, .opcode = FUSE_GETATTR, .nodeid = 1, .unique = i
		};
		b->in[i] = (struct iovec){ &b->msg[i], 56 };
		b->out[i] = (struct iovec){ b->room[i], 128 };
		b->req[i] = (struct fuse_request){ .in = &b->in[i],
						   .n_in = 1,
						   .out = &b->out[i],
						   .n_out = 1,
						   .lazy = i % 2,
						   .complete = burst_done };
	}
}

static bool wait_done(unsigned want)
{
	for (unsigned looks = 0; n_done < want && look_again(&looks);)
		;
	return n_done == want;
}

static void a_burst_is_answered_whole(void **state)
{
	struct burst *b = malloc(sizeof(*b));

	assert_non_null(b);
	for (int round = 0; round < 200; round++) {
		n_done = 0;
		burst_fill(b);
		for (unsigned i = 0; i < 64; i++)
			if (fuse_server_submit(c.srv, &b->req[i]))
				fuse_server_wake(c.srv);
		assert_true(wait_done(64));
		for (unsigned i = 0; i < 64; i++) {
			struct fuse_out_header h;

			memcpy(&h, b->room[i], sizeof(h));
			assert_int_equal(h.unique, i);
			assert_int_equal(h.error, 0);
		}
	}
	free(b);
}

static void quiescent_server_holds_requests_back(void **state)
{
	struct burst *b = malloc(sizeof(*b));

	assert_non_null(b);
	n_done = 0;
	burst_fill(b);
	fuse_server_quiesce(c.srv);
	for (unsigned i = 0; i < 64; i++)
		if (fuse_server_submit(c.srv, &b->req[i]))
			fuse_server_wake(c.srv);
	usleep(20000);
	assert_int_equal(n_done, 0);
	fuse_server_resume(c.srv);
	assert_true(wait_done(64));
	free(b);
}

static void stop_serves_what_was_submitted(void **state)
{
	struct burst *b = malloc(sizeof(*b));

	assert_non_null(b);
	n_done = 0;
	burst_fill(b);
	for (unsigned i = 0; i < 64; i++)
		if (fuse_server_submit(c.srv, &b->req[i]))
			fuse_server_wake(c.srv);
	fuse_server_stop(c.srv);
	assert_int_equal(n_done, 64);
	fuse_server_stop(c.srv);
	free(b);
}

static void reset_closes_everything(void **state)
{
	struct fuse_stats st;
	uint64_t node, fh;

	assert_int_equal(fc_create(&c, 1, "f", O_RDWR, 0600, &node, &fh), 0);
	fuse_server_reset(c.srv);
	fuse_server_stats(c.srv, &st);
	assert_int_equal(st.n_nodes, 1);
	assert_int_equal(st.n_handles, 0);
	assert_int_equal(fc_read(&c, node, fh, 0, 1), -EIO);
	assert_int_equal(fc_init(&c), 0);
	assert_int_equal(fc_read(&c, node, fh, 0, 1), -ESTALE);
}

static void idle_workers_sleep(void **state)
{
	uint64_t used = UINT64_MAX;

	/* What was done before may end later. */
	for (unsigned tries = 0; used >= 50000 && tries < 100; tries++) {
		struct rusage before, after;

		getrusage(RUSAGE_SELF, &before);
		usleep(200000);
		getrusage(RUSAGE_SELF, &after);
		used = (uint64_t)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
		       (uint64_t)(after.ru_utime.tv_usec - before.ru_utime.tv_usec);
	}
	assert_true(used < 50000);
}

static int jail_fails(void *opaque, struct err *err)
{
	return err_set(err, -EPERM, "no jail today");
}

static void a_jail_that_fails_fails_the_start(void **state)
{
	struct fuse_options opt = { .close_jail = jail_fails };
	struct fuse_server *srv = NULL;
	struct err err = { 0 };
	int root = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(fuse_server_new(root, &opt, &srv, &err), 0);
	close(root);
	assert_int_equal(fuse_server_start(srv, &err), -EPERM);
	assert_string_equal(err.msg, "no jail today");
	fuse_server_free(srv);
}

static void bad_options_are_refused(void **state)
{
	const struct fuse_options bad[] = {
		{ .n_workers = 17 },	  { .max_write = 5000 },
		{ .max_write = 2 << 20 }, { .max_nodes = 3 },
		{ .max_handles = 1 },	  { .owner = FUSE_OWNER_XATTR, .posix_acl = true },
	};
	struct fuse_server *srv = NULL;
	struct err err = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(fuse_server_new(0, &bad[i], &srv, &err), -EINVAL);
	assert_int_equal(fuse_server_new(-1, NULL, &srv, &err), -EINVAL);
	assert_null(srv);
}

/* ---- the lane of what nobody waits for ---- */

#define LAZY_BATCH 32 /* as in the pool: so many are not kept waiting */
#define N_LOAD	   4  /* more than the one worker can have in hand: the queue is never empty */

static struct burst *lane;
static _Atomic unsigned n_lazy_done, n_plain_done;
static unsigned plain_before_lazy[64]; /* plain requests answered before the n-th lazy one was */
static _Atomic bool load_goes_on;

static int lane_setup(void **state)
{
	struct fuse_options opt = { .n_workers = 1 };
	int r = fc_open(&c, &opt);

	lane = calloc(1, sizeof(*lane));
	n_lazy_done = n_plain_done = 0;
	return r < 0 || !lane ? -1 : fc_init(&c);
}

static int lane_teardown(void **state)
{
	load_goes_on = false;
	fc_close(&c);
	free(lane);
	return 0;
}

static void submit(struct fuse_request *req)
{
	if (fuse_server_submit(c.srv, req))
		fuse_server_wake(c.srv);
}

static void lane_done(struct fuse_request *req, size_t len)
{
	if (req->lazy) {
		plain_before_lazy[n_lazy_done] = n_plain_done;
		n_lazy_done++;
		return;
	}
	n_plain_done++;
	if (load_goes_on)
		submit(req); /* the next comes before this worker looks again */
}

static void lane_submit(unsigned from, unsigned to, bool lazy)
{
	for (unsigned i = from; i < to; i++) {
		lane->req[i].lazy = lazy;
		lane->req[i].complete = lane_done;
		submit(&lane->req[i]);
	}
}

static bool wait_for(const _Atomic unsigned *n, unsigned want)
{
	for (unsigned looks = 0; *n < want && look_again(&looks);)
		;
	return *n >= want;
}

static void what_nobody_waits_for_comes_last(void **state)
{
	burst_fill(lane);
	fuse_server_quiesce(c.srv);
	lane_submit(0, LAZY_BATCH - 1, true);
	lane_submit(LAZY_BATCH, 64, false);
	fuse_server_resume(c.srv);
	assert_true(wait_for(&n_lazy_done, LAZY_BATCH - 1));
	assert_int_equal(plain_before_lazy[0], 64 - LAZY_BATCH);
}

static void many_that_nobody_waits_for_go_in_a_row(void **state)
{
	unsigned n;

	burst_fill(lane);
	load_goes_on = true;
	lane_submit(60, 60 + N_LOAD, false);
	lane_submit(0, LAZY_BATCH - 1, true);
	n = n_plain_done;
	assert_true(wait_for(&n_plain_done, n + 1000));
	assert_int_equal(n_lazy_done, 0); /* there was no time */
	lane_submit(LAZY_BATCH - 1, LAZY_BATCH, true);
	assert_true(wait_for(&n_lazy_done, LAZY_BATCH));
	assert_int_equal(plain_before_lazy[0], plain_before_lazy[LAZY_BATCH - 1]);
	n = n_plain_done;
	assert_true(wait_for(&n_plain_done, n + 1000)); /* and the others go on */
	load_goes_on = false;
	fuse_server_quiesce(c.srv);
	fuse_server_resume(c.srv);
}

#define TEST(fn)      cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define LANE_TEST(fn) cmocka_unit_test_setup_teardown(fn, lane_setup, lane_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(descriptors_of_files_are_the_workers_own),
		TEST(umask_and_directory_are_the_workers_own),
		TEST(a_burst_is_answered_whole),
		TEST(quiescent_server_holds_requests_back),
		TEST(stop_serves_what_was_submitted),
		TEST(reset_closes_everything),
		TEST(idle_workers_sleep),
		LANE_TEST(what_nobody_waits_for_comes_last),
		LANE_TEST(many_that_nobody_waits_for_go_in_a_row),
		cmocka_unit_test(a_jail_that_fails_fails_the_start),
		cmocka_unit_test(bad_options_are_refused),
	};

	return cmocka_run_group_tests_name("rootfs/pool", tests, NULL, NULL);
}
