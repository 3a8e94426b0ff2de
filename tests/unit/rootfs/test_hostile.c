/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that keeps to no rule. Beside the root stands a canary tree with recognisable content
 * and times: whatever the client does, the tree is the same afterwards and none of it was read.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "fuse/wire.h"
#include "fuse_client.h"

#define CANARY_TEXT "the canary is alive and was not read by anybody"
#define N_OPCODES   60

static struct fuse_client c;
static struct stat canary_before[3];
static uint64_t rng_state;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static const char *path_of(const char *rel)
{
	static char buf[4][160];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", c.dir, rel);
	return buf[i];
}

static void file_write(const char *rel, const char *text)
{
	int fd = open(path_of(rel), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static const char *const canary_paths[3] = { "canary", "canary/secret", "canary/dir" };

static int setup(void **state)
{
	struct fuse_options opt = { .max_nodes = 2000, .max_handles = 200, .max_node_fds = 300 };
	int r = fc_open(&c, &opt);

	if (r < 0)
		return r;
	rng_state = 88172645463325252ULL;
	mkdir(path_of("canary"), 0700);
	mkdir(path_of("canary/dir"), 0700);
	file_write("canary/secret", CANARY_TEXT);
	for (int i = 0; i < 3; i++)
		stat(path_of(canary_paths[i]), &canary_before[i]);
	mkdir(path_of("root/dir"), 0755);
	file_write("root/file", "ordinary content");
	(void)!symlink("../canary", path_of("root/out"));
	(void)!symlink(path_of("canary/secret"), path_of("root/abs"));
	(void)!symlink("../canary/secret", path_of("root/dir/rel"));
	mkfifo(path_of("root/fifo"), 0600);
	return fc_init(&c);
}

static int teardown(void **state)
{
	fc_close(&c);
	return 0;
}

static void canary_check(void)
{
	char buf[128] = "";
	int fd;

	for (int i = 0; i < 3; i++) {
		struct stat st;

		assert_int_equal(stat(path_of(canary_paths[i]), &st), 0);
		assert_int_equal(st.st_mode, canary_before[i].st_mode);
		assert_int_equal(st.st_uid, canary_before[i].st_uid);
		assert_int_equal(st.st_nlink, canary_before[i].st_nlink);
		assert_int_equal(st.st_mtim.tv_nsec, canary_before[i].st_mtim.tv_nsec);
		assert_int_equal(st.st_ctim.tv_nsec, canary_before[i].st_ctim.tv_nsec);
	}
	fd = open(path_of("canary/secret"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, buf, sizeof(buf) - 1), strlen(CANARY_TEXT));
	assert_string_equal(buf, CANARY_TEXT);
	close(fd);
}

static bool holds_canary(const uint8_t *p, size_t len)
{
	return memmem(p, len, CANARY_TEXT, strlen(CANARY_TEXT)) != NULL;
}

static void every_opcode_with_every_short_length(void **state)
{
	uint8_t msg[256] = { 0 }, out[4096];

	for (uint32_t op = 0; op < N_OPCODES; op++) {
		for (uint32_t len = 0; len <= 200; len++) {
			struct fuse_in_header h = {
				.len = len, .opcode = op, .nodeid = 1, .unique = 5
			};
			size_t n;

			memset(msg, 0, sizeof(msg));
			memcpy(msg, &h, sizeof(h));
			n = fc_raw(&c, msg, len, out, sizeof(out));
			assert_true(n <= sizeof(out));
		}
		fc_init(&c); /* DESTROY was among them */
	}
	canary_check();
}

static void every_opcode_on_ids_never_given_out(void **state)
{
	static const uint64_t ids[] = {
		0, 2, 3, 1000, 1ULL << 32 | 1, UINT32_MAX, UINT64_MAX, 1ULL << 63, 0x7f0000000000
	};
	uint8_t body[256] = { 0 };

	for (uint32_t op = 1; op < N_OPCODES; op++) {
		if (op == FUSE_INIT || op == FUSE_DESTROY)
			continue;
		for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
			int r = fc_call(&c, op, ids[i], body, sizeof(body), NULL, 0);

			assert_true(r == 1 || r < 0);
		}
	}
	canary_check();
}

static void handles_of_the_wrong_kind(void **state)
{
	struct fuse_fsync_in fsync_in;
	uint64_t file, fh, dfh;

	file = fc_lookup(&c, 1, "file", NULL);
	assert_int_equal(fc_open_node(&c, file, O_RDWR, &fh), 0);
	assert_int_equal(fc_open_node(&c, 1, O_RDONLY | O_DIRECTORY, &dfh), 0);
	assert_int_equal(fc_read(&c, file, dfh, 0, 100), -EBADF);
	assert_int_equal(fc_read(&c, 1, dfh, 0, 100), -EBADF);
	assert_int_equal(fc_read(&c, 1, fh, 0, 100), -EBADF);
	assert_int_equal(fc_write(&c, file, dfh, 0, "x", 1), -EBADF);
	assert_int_equal(fc_call(&c, FUSE_READDIR, file,
				 &(struct fuse_read_in){ .fh = fh, .size = 4096 },
				 sizeof(struct fuse_read_in), NULL, 0),
			 -EBADF);
	assert_int_equal(fc_release(&c, file, fh, true), -EBADF);
	fsync_in = (struct fuse_fsync_in){ .fh = fh };
	assert_int_equal(fc_call(&c, FUSE_FSYNCDIR, file, &fsync_in, sizeof(fsync_in), NULL, 0),
			 -EBADF);
	assert_int_equal(fc_release(&c, file, fh, false), 0);
	assert_int_equal(fc_read(&c, file, fh, 0, 10), -EBADF);
	assert_int_equal(fc_release(&c, file, fh, false), -EBADF);
	assert_int_equal(fc_release(&c, 1, dfh, true), 0);
	/* Opening what cannot be: the FIFO would wait, the link would lead outside. */
	assert_int_equal(fc_open_node(&c, fc_lookup(&c, 1, "fifo", NULL), O_RDONLY, &fh), -ENXIO);
	assert_int_equal(fc_open_node(&c, fc_lookup(&c, 1, "out", NULL), O_RDONLY, &fh), -ENXIO);
	assert_int_equal(fc_open_node(&c, fc_lookup(&c, 1, "abs", NULL), O_RDWR, &fh), -ENXIO);
	assert_int_equal(fc_open_node(&c, fc_lookup(&c, 1, "out", NULL), O_DIRECTORY, &fh),
			 -ENOTDIR);
	/* A device is data, whoever made it: the host's are not opened. Making one needs rights. */
	if (mknod(path_of("root/null"), S_IFCHR | 0666, makedev(1, 3)) == 0)
		assert_int_equal(fc_open_node(&c, fc_lookup(&c, 1, "null", NULL), O_RDWR, &fh),
				 -ENXIO);
	canary_check();
}

static void sizes_beyond_all_limits(void **state)
{
	struct fuse_read_in rd;
	struct fuse_write_in wr;
	struct fuse_setattr_in sa;
	struct fuse_fallocate_in fa;
	uint64_t file, fh;
	char small[8] = "abcdefg";

	file = fc_lookup(&c, 1, "file", NULL);
	assert_int_equal(fc_open_node(&c, file, O_RDWR, &fh), 0);
	rd = (struct fuse_read_in){ .fh = fh, .size = UINT32_MAX };
	assert_int_equal(fc_call(&c, FUSE_READ, file, &rd, sizeof(rd), NULL, 0), -EINVAL);
	rd = (struct fuse_read_in){ .fh = fh, .size = 10, .offset = UINT64_MAX };
	assert_int_equal(fc_call(&c, FUSE_READ, file, &rd, sizeof(rd), NULL, 0), -EINVAL);
	rd = (struct fuse_read_in){ .fh = fh, .size = 10, .offset = INT64_MAX };
	assert_int_equal(fc_call(&c, FUSE_READ, file, &rd, sizeof(rd), NULL, 0), -EINVAL);
	wr = (struct fuse_write_in){ .fh = fh, .size = 9 };
	assert_int_equal(fc_call(&c, FUSE_WRITE, file, &wr, sizeof(wr), small, 8), -EINVAL);
	wr = (struct fuse_write_in){ .fh = fh, .size = UINT32_MAX };
	assert_int_equal(fc_call(&c, FUSE_WRITE, file, &wr, sizeof(wr), small, 8), -EINVAL);
	wr = (struct fuse_write_in){ .fh = fh, .size = 8, .offset = UINT64_MAX - 4 };
	assert_int_equal(fc_call(&c, FUSE_WRITE, file, &wr, sizeof(wr), small, 8), -EINVAL);
	sa = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = UINT64_MAX };
	assert_int_equal(fc_call(&c, FUSE_SETATTR, file, &sa, sizeof(sa), NULL, 0), -EINVAL);
	fa = (struct fuse_fallocate_in){ .fh = fh, .offset = UINT64_MAX, .length = 1 };
	assert_int_equal(fc_call(&c, FUSE_FALLOCATE, file, &fa, sizeof(fa), NULL, 0), -EFBIG);
	canary_check();
}

/* Node and handle tables fill up, say so, and empty again. */
static void floods_end_at_the_limits(void **state)
{
	struct fuse_stats st;
	uint64_t node, fh, first_node = 0, first_fh = 0;
	char name[32];
	int r = 0, n = 0;

	for (; n < 5000 && r == 0; n++) {
		snprintf(name, sizeof(name), "flood%d", n);
		r = fc_create(&c, 1, name, O_RDWR, 0600, &node, &fh);
		if (n == 0) {
			first_node = node;
			first_fh = fh;
		}
	}
	assert_int_equal(r, -ENFILE);
	fuse_server_stats(c.srv, &st);
	assert_int_equal(st.n_handles, 200);
	assert_int_equal(fc_release(&c, first_node, first_fh, false), 0);
	assert_int_equal(fc_create(&c, 1, "again", O_RDWR, 0600, &node, &fh), 0);
	for (r = 0, n = 0; n < 5000 && r == 0; n++) {
		struct fuse_mknod_in in = { .mode = S_IFREG | 0600 };

		snprintf(name, sizeof(name), "node%d", n);
		r = fc_call(&c, FUSE_MKNOD, 1, &in, sizeof(in), name, strlen(name) + 1);
	}
	assert_int_equal(r, -ENFILE);
	fuse_server_stats(c.srv, &st);
	assert_true(st.n_nodes <= 2000);
	assert_true(st.n_node_fds <= 300);
	assert_int_equal(fc_init(&c), 0);
	fuse_server_stats(c.srv, &st);
	assert_int_equal(st.n_nodes, 1);
	assert_int_equal(st.n_node_fds, 1);
	canary_check();
}

static void forget_more_than_was_given(void **state)
{
	struct fuse_forget_one many[300];
	struct fuse_batch_forget_in in = { .count = 300 };
	struct fuse_stats st;
	uint64_t node, fh;

	node = fc_lookup(&c, 1, "file", NULL);
	assert_int_equal(fc_open_node(&c, node, O_RDONLY, &fh), 0);
	fc_forget(&c, node, UINT64_MAX);
	/* The handle keeps the node; the guest's id works until it is released. */
	assert_int_equal(fc_read(&c, node, fh, 0, 8), 0);
	assert_int_equal(fc_release(&c, node, fh, false), 0);
	assert_int_equal(fc_read(&c, node, fh, 0, 8), -ESTALE);
	for (int i = 0; i < 300; i++)
		many[i] = (struct fuse_forget_one){ .nodeid = i % 3 ? rng() : 1, .nlookup = rng() };
	fc_call(&c, FUSE_BATCH_FORGET, 0, &in, sizeof(in), many, sizeof(many));
	in.count = UINT32_MAX;
	fc_call(&c, FUSE_BATCH_FORGET, 0, &in, sizeof(in), many, sizeof(many));
	fuse_server_stats(c.srv, &st);
	assert_int_equal(st.n_nodes, 1);
}

/* Any bytes, any opcode, ids and handles partly real. */
static void random_messages(void **state)
{
	uint8_t msg[400], *out = malloc(FC_OUT_MAX);
	uint64_t nodes[4], fh = 0, dfh = 0;

	assert_non_null(out);
	for (int round = 0; round < 20000; round++) {
		struct fuse_in_header h = { .unique = rng() };
		size_t len = 40 + rng() % 360, n;

		if (round % 500 == 0) {
			fc_init(&c);
			nodes[0] = 1;
			nodes[1] = fc_lookup(&c, 1, "file", NULL);
			nodes[2] = fc_lookup(&c, 1, "dir", NULL);
			nodes[3] = fc_lookup(&c, 1, "out", NULL);
			fc_open_node(&c, nodes[1], O_RDWR, &fh);
			fc_open_node(&c, 1, O_RDONLY | O_DIRECTORY, &dfh);
		}
		for (size_t i = 0; i < sizeof(msg); i++)
			msg[i] = rng() % 3 ? (uint8_t)rng() % 8 : 0;
		h.len = (uint32_t)len;
		h.opcode = (uint32_t)(rng() % N_OPCODES);
		h.nodeid = rng() % 8 ? nodes[rng() % 4] : rng();
		h.uid = c.uid;
		h.gid = c.gid;
		if (h.opcode == FUSE_DESTROY || h.opcode == FUSE_INIT)
			continue;
		memcpy(msg, &h, sizeof(h));
		if (rng() % 2)
			memcpy(msg + sizeof(h), rng() % 2 ? &fh : &dfh, 8);
		if (rng() % 2)
			memcpy(msg + len - 9, "../canary", 9);
		n = fc_raw(&c, msg, len, out, rng() % 2 ? 65536 : rng() % 300);
		assert_true(n <= 65536);
		assert_false(holds_canary(out, n));
	}
	free(out);
	canary_check();
}

/* ---- a host that swaps directories for links under the client's feet ---- */

struct swapper {
	_Atomic bool stop;
	char path[160], other[160];
};

static void *swapper_main(void *arg)
{
	struct swapper *s = arg;

	while (!s->stop)
		renameat2(AT_FDCWD, s->path, AT_FDCWD, s->other, RENAME_EXCHANGE);
	return NULL;
}

static void links_swapped_in_are_never_followed(void **state)
{
	struct swapper s = { .stop = false };
	pthread_t thread;
	int n_open = 0, r;

	snprintf(s.path, sizeof(s.path), "%s", path_of("root/swap"));
	snprintf(s.other, sizeof(s.other), "%s", path_of("root/swap2"));
	mkdir(s.path, 0755);
	file_write("root/swap/secret", "not the canary");
	(void)!symlink(path_of("canary"), s.other);
	pthread_create(&thread, NULL, swapper_main, &s);
	/* More, if the other thread never lets one through. */
	for (int i = 0; i < 1000 || (!n_open && i < 100000); i++) {
		uint64_t dir = fc_lookup(&c, 1, "swap", NULL), file, fh;
		struct fuse_mknod_in mk = { .mode = S_IFREG | 0600 };

		if (!dir)
			continue;
		file = fc_lookup(&c, dir, "secret", NULL);
		if (file && fc_open_node(&c, file, O_RDWR | (i % 2 ? O_TRUNC : 0), &fh) == 0) {
			assert_int_equal(fc_read(&c, file, fh, 0, 4096), 0);
			assert_false(holds_canary(c.out, c.out_len));
			fc_write(&c, file, fh, 0, "overwritten", 11);
			fc_release(&c, file, fh, false);
			n_open++;
		}
		r = fc_call(&c, FUSE_MKNOD, dir, &mk, sizeof(mk), "planted", 8);
		assert_true(r == 0 || r < 0);
		fc_call(&c, FUSE_UNLINK, dir, NULL, 0, "planted", 8);
		fc_call(&c, FUSE_UNLINK, dir, NULL, 0, "dir", 4);
		fc_call(&c, FUSE_RMDIR, dir, NULL, 0, "dir", 4);
	}
	s.stop = true;
	pthread_join(thread, NULL);
	assert_true(n_open > 0);
	canary_check();
}

/* A file swapped for a FIFO or a device between look-up and open neither waits nor opens it. */
static void fifos_swapped_in_are_never_waited_for(void **state)
{
	struct swapper s = { .stop = false };
	pthread_t thread;

	snprintf(s.path, sizeof(s.path), "%s", path_of("root/plain"));
	snprintf(s.other, sizeof(s.other), "%s", path_of("root/pipe"));
	file_write("root/plain", "plain");
	mkfifo(s.other, 0600);
	pthread_create(&thread, NULL, swapper_main, &s);
	for (int i = 0; i < 1000; i++) {
		uint64_t node, fh;
		int r = fc_create(&c, 1, "plain", O_RDWR, 0600, &node, &fh);

		assert_true(r == 0 || r == -ENXIO);
		if (r == 0)
			fc_release(&c, node, fh, false);
	}
	s.stop = true;
	pthread_join(thread, NULL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_opcode_with_every_short_length),
		TEST(every_opcode_on_ids_never_given_out),
		TEST(handles_of_the_wrong_kind),
		TEST(sizes_beyond_all_limits),
		TEST(floods_end_at_the_limits),
		TEST(forget_more_than_was_given),
		TEST(random_messages),
		TEST(links_swapped_in_are_never_followed),
		TEST(fifos_swapped_in_are_never_waited_for),
	};

	return cmocka_run_group_tests_name("rootfs/hostile", tests, NULL, NULL);
}
