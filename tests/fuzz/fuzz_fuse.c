/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a sequence of FUSE messages to one server.
 *
 * Input: records of u8 opcode, u8 node selector, u8 handle selector, u8 room selector, u16 body
 * length, body. The server works on a small directory that is made once; selectors choose ids the
 * server gave out before, or garbage. Each input starts with INIT, so no state is carried over
 * except the files.
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "fuse/server.h"
#include "passthrough/creds.h"

#define MAX_IDS	    8
#define MAX_RECORDS 64
#define MAX_FILE    (1 << 20)
#define DAX_LEN	    (8 * FUSE_DAX_CHUNK)

static struct fuse_server *srv;
static struct fuse_worker worker;
static int root_fd;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void die(const char *what)
{
	perror(what);
	abort();
}

static void tree_make(void)
{
	int fd = openat(root_fd, "file", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, "some content of the file", 24) != 24)
		die("file");
	close(fd);
	mkdirat(root_fd, "dir", 0755);
	(void)!symlinkat("../../..", root_fd, "link");
	mkfifoat(root_fd, "fifo", 0600);
}

/* The window: what comes here must be whole chunks inside it. */
static int dax_unmap(void *opaque, uint64_t off, uint64_t len)
{
	if (off % FUSE_DAX_CHUNK || len % FUSE_DAX_CHUNK || !len || off > DAX_LEN ||
	    len > DAX_LEN - off)
		abort();
	return 0;
}

static int dax_map(void *opaque, uint64_t off, int fd, uint64_t file_off, uint64_t len,
		   bool writable)
{
	if (fd < 0 || file_off % FUSE_DAX_CHUNK || file_off > (uint64_t)INT64_MAX - len)
		abort();
	return dax_unmap(opaque, off, len);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct fuse_dax_ops dax = { .window_len = DAX_LEN,
						 .map = dax_map,
						 .unmap = dax_unmap };
	const char *tmp = getenv("TMPDIR");
	char dir[PATH_MAX];
	struct fuse_options opt = {
		.max_nodes = 500, .max_handles = 100, .max_node_fds = 100, .dax = &dax
	};
	struct err err = { 0 };

	umask(0);
	snprintf(dir, sizeof(dir), "%s/husk-fuzz-fuse.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		die("mkdtemp");
	root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	tree_make();
	if (fuse_server_new(root_fd, &opt, &srv, &err) < 0 || fuse_server_open(srv, &err) < 0 ||
	    fuse_worker_init(&worker, srv, 0, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		abort();
	}
	return 0;
}

struct client {
	uint64_t nodes[MAX_IDS], handles[MAX_IDS];
	unsigned n_nodes, n_handles;
};

/* Remember ids the server gives out, so that later records can use them. */
static void client_learn(struct client *cl, uint32_t opcode, const uint8_t *out, size_t n)
{
	struct fuse_out_header h;
	uint64_t id;

	if (n < sizeof(h) + 8)
		return;
	memcpy(&h, out, sizeof(h));
	if (h.error || h.len != n)
		return;
	memcpy(&id, out + sizeof(h), 8);
	switch (opcode) {
	case FUSE_OPEN:
	case FUSE_OPENDIR: cl->handles[cl->n_handles++ % MAX_IDS] = id; break;
	case FUSE_CREATE:
		if (n >= sizeof(h) + sizeof(struct fuse_entry_out) + 8)
			memcpy(&cl->handles[cl->n_handles++ % MAX_IDS],
			       out + sizeof(h) + sizeof(struct fuse_entry_out), 8);
		/* fall through */
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_LINK: cl->nodes[cl->n_nodes++ % MAX_IDS] = id; break;
	default: break;
	}
}

static void message_send(struct client *cl, uint32_t opcode, uint64_t node, const uint8_t *body,
			 size_t len, size_t room)
{
	struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + len),
				    .opcode = opcode,
				    .unique = 1,
				    .nodeid = node,
				    .uid = geteuid(),
				    .gid = getegid() };
	uint8_t *in = malloc(h.len), *out = malloc(room ? room : 1);
	struct iovec iin[2], iout[2];
	size_t n, cut = sizeof(h) + len / 3, ocut = room / 2;

	if (!in || !out)
		die("malloc");
	memcpy(in, &h, sizeof(h));
	if (len)
		memcpy(in + sizeof(h), body, len);
	iin[0] = (struct iovec){ in, cut };
	iin[1] = (struct iovec){ in + cut, h.len - cut };
	iout[0] = (struct iovec){ out, ocut };
	iout[1] = (struct iovec){ out + ocut, room - ocut };
	n = fuse_serve(&worker, iin, 2, iout, 2);
	if (n > room)
		abort();
	client_learn(cl, opcode, out, n);
	free(in);
	free(out);
}

static void record_run(struct client *cl, const uint8_t *rec, const uint8_t *body, size_t len)
{
	static const size_t rooms[] = { 0, 16, 100, 144, 160, 4096, 4112, 70000 };
	uint64_t node = rec[1] == 0xff	? 0x123456789abcdefULL
			: rec[1] & 0x80 ? 1
					: cl->nodes[rec[1] % MAX_IDS];
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		die("malloc");
	memcpy(copy, body, len);
	/* Most structs begin with a handle. */
	if (rec[2] && len >= 8)
		memcpy(copy, &cl->handles[rec[2] % MAX_IDS], 8);
	/* No file grows beyond what a small disk bears. */
	if (rec[0] == FUSE_FALLOCATE || rec[0] == FUSE_SETATTR || rec[0] == FUSE_WRITE) {
		for (size_t i = 8; i + 8 <= len && i < 32; i += 8)
			memset(copy + i + 3, 0, 5);
	}
	message_send(cl, rec[0], node, copy, len, rooms[rec[3] % 8]);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuse_init_in init = { .major = 7, .minor = 38, .flags = ~0U, .flags2 = ~0U };
	struct client cl = { .nodes = { 1 }, .n_nodes = 1 };
	unsigned n = 0;

	message_send(&cl, FUSE_INIT, 0, (const uint8_t *)&init, sizeof(init), 4096);
	while (size >= 6 && n++ < MAX_RECORDS) {
		size_t len = (size_t)(data[4] | data[5] << 8);

		if (len > size - 6)
			len = size - 6;
		record_run(&cl, data, data + 6, len);
		data += 6 + len;
		size -= 6 + len;
	}
	creds_set_fsetid(&worker, true);
	if (faccessat(root_fd, "file", F_OK, 0) < 0 || faccessat(root_fd, "dir", F_OK, 0) < 0)
		tree_make();
	return 0;
}
