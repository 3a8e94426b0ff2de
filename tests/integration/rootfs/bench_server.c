/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round trip of requests through the file server's threads, without a guest: what watching the
 *queue saves over sleeping at once.
 *
 *	bench_server [--quick]
 */
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/fuse.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "fuse_client.h"

static _Atomic unsigned n_done;

static void on_done(struct fuse_request *req, size_t len)
{
	n_done++;
}

struct message {
	struct fuse_in_header h;
	uint8_t body[64];
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Median of single round trips in ns; @gap_ns between one's end and the next. */
static uint64_t round_trip(struct fuse_server *srv, struct message *m, size_t room, unsigned rounds,
			   uint64_t gap_ns)
{
	uint64_t *t = calloc(rounds, sizeof(*t)), median;
	uint8_t *out = malloc(room);
	struct iovec in = { m, m->h.len }, iout = { out, room };

	if (!t || !out)
		abort();
	for (unsigned i = 0; i < rounds; i++) {
		struct fuse_request req = {
			.in = &in, .n_in = 1, .out = &iout, .n_out = 1, .complete = on_done
		};
		uint64_t start = clock_monotonic_ns();

		n_done = 0;
		if (fuse_server_submit(srv, &req))
			fuse_server_wake(srv);
		while (!n_done)
			__builtin_ia32_pause();
		t[i] = clock_monotonic_ns() - start;
		while (clock_monotonic_ns() - start < t[i] + gap_ns)
			__builtin_ia32_pause();
	}
	qsort(t, rounds, sizeof(*t), compare);
	median = t[rounds / 2];
	free(t);
	free(out);
	return median;
}

static void measure(const char *name, struct fuse_server *watch, struct fuse_server *sleep_,
		    struct message *m, struct message *m2, size_t room, unsigned rounds,
		    uint64_t gap)
{
	uint64_t a[5], b[5];

	for (int i = 0; i < 5; i++) {
		a[i] = round_trip(watch, m, room, rounds / 5, gap);
		b[i] = round_trip(sleep_, m2, room, rounds / 5, gap);
	}
	qsort(a, 5, sizeof(a[0]), compare);
	qsort(b, 5, sizeof(b[0]), compare);
	printf("bench fs-server/%s ours=%.1fus peer=sleeping:%.1fus ratio=%.2f rounds=5\n", name,
	       (double)a[2] / 1e3, (double)b[2] / 1e3, (double)b[2] / (double)a[2]);
}

static void message_fill(struct message *m, uint32_t op, uint64_t node, const void *body,
			 size_t len)
{
	memset(m, 0, sizeof(*m));
	m->h = (struct fuse_in_header){
		.len = (uint32_t)(sizeof(m->h) + len), .opcode = op, .unique = 1, .nodeid = node
	};
	memcpy(m->body, body, len);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 2000 : 20000;
	struct fuse_options none = { .spin_us = UINT_MAX }, watch = { .spin_us = 0 };
	struct fuse_client c[2];
	struct message m[2][3];

	for (int i = 0; i < 2; i++) {
		struct fuse_getattr_in ga = { 0 };
		struct fuse_read_in rd = { .size = 4096 };
		static char data[4096];
		uint64_t node, fh;

		if (fc_open(&c[i], i ? &none : &watch) < 0 || fc_init(&c[i]) < 0 ||
		    fc_create(&c[i], 1, "file", O_RDWR, 0644, &node, &fh) < 0 ||
		    fc_write(&c[i], node, fh, 0, data, sizeof(data)) < 0)
			return 1;
		rd.fh = fh;
		message_fill(&m[i][0], FUSE_GETATTR, node, &ga, sizeof(ga));
		message_fill(&m[i][1], FUSE_LOOKUP, 1, "file", 5);
		message_fill(&m[i][2], FUSE_READ, node, &rd, sizeof(rd));
	}
	measure("getattr", c[0].srv, c[1].srv, &m[0][0], &m[1][0], 4096, rounds, 5000);
	measure("lookup", c[0].srv, c[1].srv, &m[0][1], &m[1][1], 4096, rounds, 5000);
	measure("read-4k", c[0].srv, c[1].srv, &m[0][2], &m[1][2], 8192, rounds, 5000);
	/* A guest that thinks longer than the server watches. */
	measure("getattr-after-200us", c[0].srv, c[1].srv, &m[0][0], &m[1][0], 4096, rounds / 10,
		200000);
	fc_close(&c[0]);
	fc_close(&c[1]);
	return 0;
}
