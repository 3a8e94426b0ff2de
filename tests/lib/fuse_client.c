/* SPDX-License-Identifier: Apache-2.0 */
/* A FUSE client of our own, for tests. */
#include "fuse_client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MAX_RANGES 8192

struct pending {
	struct fuse_request req;
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool is_done;
	size_t len;
};

static void pending_complete(struct fuse_request *req, size_t len)
{
	struct pending *p = (struct pending *)(void *)req;

	pthread_mutex_lock(&p->lock);
	p->is_done = true;
	p->len = len;
	pthread_cond_signal(&p->done);
	pthread_mutex_unlock(&p->lock);
}

static struct iovec *ranges_cut(void *buf, size_t len, size_t chunk, unsigned *ret_n)
{
	struct iovec *iov;
	unsigned n = 0;
	size_t off = 0;

	if (!chunk || len / chunk >= MAX_RANGES)
		chunk = len;
	iov = calloc(chunk ? len / chunk + 2 : 1, sizeof(*iov));
	while (iov && off < len) {
		size_t step = len - off < chunk ? len - off : chunk;

		iov[n++] = (struct iovec){ (uint8_t *)buf + off, step };
		off += step;
	}
	*ret_n = n;
	return iov;
}

size_t fc_raw(struct fuse_client *c, const void *msg, size_t len, void *out, size_t out_room)
{
	/* Exactly sized copies, so that a sanitizer sees every overrun. */
	uint8_t *in = malloc(len ? len : 1), *room = malloc(out_room ? out_room : 1);
	struct pending p = { .req = { .complete = pending_complete } };
	struct iovec *iin, *iout;

	if (!in || !room)
		abort();
	memcpy(in, msg, len);
	memset(room, 0xee, out_room);
	pthread_mutex_init(&p.lock, NULL);
	pthread_cond_init(&p.done, NULL);
	iin = ranges_cut(in, len, c->chunk, &p.req.n_in);
	iout = ranges_cut(room, out_room, c->chunk, &p.req.n_out);
	p.req.in = iin;
	p.req.out = iout;
	if (fuse_server_submit(c->srv, &p.req))
		fuse_server_wake(c->srv);
	pthread_mutex_lock(&p.lock);
	while (!p.is_done)
		pthread_cond_wait(&p.done, &p.lock);
	pthread_mutex_unlock(&p.lock);
	memcpy(out, room, p.len < out_room ? p.len : out_room);
	free(in);
	free(room);
	free(iin);
	free(iout);
	pthread_mutex_destroy(&p.lock);
	pthread_cond_destroy(&p.done);
	return p.len;
}

int fc_call(struct fuse_client *c, uint32_t opcode, uint64_t nodeid, const void *arg,
	    size_t arg_len, const void *body, size_t body_len)
{
	struct fuse_in_header in = {
		.len = (uint32_t)(sizeof(in) + arg_len + body_len),
		.opcode = opcode,
		.unique = ++c->unique,
		.nodeid = nodeid,
		.uid = c->uid,
		.gid = c->gid,
		.pid = 1,
	};
	struct fuse_out_header out;
	uint8_t *msg = malloc(in.len), *room = malloc(FC_CALL_ROOM);
	size_t n;
	int r = INT_MIN;

	if (!msg || !room)
		abort();
	memcpy(msg, &in, sizeof(in));
	if (arg_len)
		memcpy(msg + sizeof(in), arg, arg_len);
	if (body_len)
		memcpy(msg + sizeof(in) + arg_len, body, body_len);
	n = fc_raw(c, msg, in.len, room, FC_CALL_ROOM);
	c->out_len = 0;
	if (n >= sizeof(out)) {
		memcpy(&out, room, sizeof(out));
		if (out.len == n && out.unique == in.unique && out.error <= 0 && out.error > -512) {
			r = out.error;
			c->out_len = n - sizeof(out);
			memcpy(c->out, room + sizeof(out), c->out_len);
		}
	}
	free(msg);
	free(room);
	return n ? r : 1;
}

int fc_init(struct fuse_client *c)
{
	struct fuse_init_in in = { .major = 7,
				   .minor = 38,
				   .max_readahead = 1 << 17,
				   .flags = 0x7fffffff,
				   .flags2 = ~0U };

	return fc_call(c, FUSE_INIT, 0, &in, sizeof(in), NULL, 0);
}

int fc_restart(struct fuse_client *c, const struct fuse_options *opt)
{
	char path[96];
	struct err err = { 0 };
	int root, r;

	fuse_server_free(c->srv);
	c->srv = NULL;
	snprintf(path, sizeof(path), "%s/root", c->dir);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = root < 0 ? -errno : fuse_server_new(root, opt, &c->srv, &err);
	if (r == 0)
		r = fuse_server_start(c->srv, &err);
	if (r < 0)
		fprintf(stderr, "fc_open: %s\n", err.msg);
	if (root >= 0)
		close(root);
	return r;
}

int fc_open(struct fuse_client *c, const struct fuse_options *opt)
{
	char path[96];

	*c = (struct fuse_client){ .uid = geteuid(), .gid = getegid() };
	c->out = malloc(FC_OUT_MAX);
	strcpy(c->dir, "/tmp/husk-fs-test.XXXXXX");
	if (!c->out || !mkdtemp(c->dir))
		return -errno;
	snprintf(path, sizeof(path), "%s/root", c->dir);
	if (mkdir(path, 0755) < 0)
		return -errno;
	return fc_restart(c, opt);
}

void fc_close(struct fuse_client *c)
{
	pid_t pid;

	fuse_server_free(c->srv);
	free(c->out);
	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", c->dir, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

uint64_t fc_lookup(struct fuse_client *c, uint64_t parent, const char *name, int *ret_err)
{
	struct fuse_entry_out e = { 0 };
	int r = fc_call(c, FUSE_LOOKUP, parent, NULL, 0, name, strlen(name) + 1);

	if (r == 0)
		memcpy(&e, c->out, sizeof(e));
	if (ret_err)
		*ret_err = r == 0 && !e.nodeid ? -ENOENT : r;
	return e.nodeid;
}

int fc_create(struct fuse_client *c, uint64_t parent, const char *name, uint32_t flags,
	      uint32_t mode, uint64_t *ret_node, uint64_t *ret_fh)
{
	struct fuse_create_in in = { .flags = flags | O_CREAT, .mode = mode | S_IFREG };
	struct fuse_entry_out e;
	struct fuse_open_out o;
	int r = fc_call(c, FUSE_CREATE, parent, &in, sizeof(in), name, strlen(name) + 1);

	if (r < 0)
		return r;
	memcpy(&e, c->out, sizeof(e));
	memcpy(&o, c->out + sizeof(e), sizeof(o));
	*ret_node = e.nodeid;
	*ret_fh = o.fh;
	return 0;
}

int fc_forget(struct fuse_client *c, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	return fc_call(c, FUSE_FORGET, node, &in, sizeof(in), NULL, 0);
}

int fc_write(struct fuse_client *c, uint64_t node, uint64_t fh, uint64_t off, const void *buf,
	     uint32_t len)
{
	struct fuse_write_in in = { .fh = fh, .offset = off, .size = len };

	return fc_call(c, FUSE_WRITE, node, &in, sizeof(in), buf, len);
}

int fc_read(struct fuse_client *c, uint64_t node, uint64_t fh, uint64_t off, uint32_t len)
{
	struct fuse_read_in in = { .fh = fh, .offset = off, .size = len };

	return fc_call(c, FUSE_READ, node, &in, sizeof(in), NULL, 0);
}

int fc_open_node(struct fuse_client *c, uint64_t node, uint32_t flags, uint64_t *ret_fh)
{
	struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out o;
	uint32_t op = flags & O_DIRECTORY ? FUSE_OPENDIR : FUSE_OPEN;
	int r = fc_call(c, op, node, &in, sizeof(in), NULL, 0);

	if (r < 0)
		return r;
	memcpy(&o, c->out, sizeof(o));
	*ret_fh = o.fh;
	return 0;
}

int fc_release(struct fuse_client *c, uint64_t node, uint64_t fh, bool dir)
{
	struct fuse_release_in in = { .fh = fh };

	return fc_call(c, dir ? FUSE_RELEASEDIR : FUSE_RELEASE, node, &in, sizeof(in), NULL, 0);
}
