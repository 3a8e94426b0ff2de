/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a server and of its session: options, opening the root, INIT and DESTROY, forgetting. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "fuse/server.h"
#include "passthrough/creds.h"

#define DEFAULT_WORKERS	  2
#define DEFAULT_SPIN_US	  200
#define DEFAULT_MAX_NODES (1U << 20)
#define MAX_MAX_NODES	  (1U << 26)
#define MIN_TABLE	  16

static int options_fill(struct fuse_options *o, struct err *err)
{
	struct rlimit lim = { .rlim_cur = 1024 };
	uint32_t n_fds;

	getrlimit(RLIMIT_NOFILE, &lim);
	n_fds = (uint32_t)MIN(lim.rlim_cur, (rlim_t)1 << 24);
	if (!o->n_workers)
		o->n_workers = DEFAULT_WORKERS;
	if (!o->spin_us)
		o->spin_us = DEFAULT_SPIN_US;
	if (o->spin_us == UINT_MAX)
		o->spin_us = 0;
	if (!o->max_nodes)
		o->max_nodes = DEFAULT_MAX_NODES;
	if (!o->max_node_fds)
		o->max_node_fds = n_fds / 2;
	if (!o->max_handles)
		o->max_handles = n_fds / 4;
	if (!o->max_write)
		o->max_write = FUSE_MAX_IO;
	if (o->n_workers > FUSE_MAX_WORKERS)
		return err_set(err, -EINVAL, "file server: %u workers, at most %u", o->n_workers,
			       FUSE_MAX_WORKERS);
	if (o->max_write < 4096 || o->max_write > FUSE_MAX_IO || o->max_write % 4096)
		return err_set(err, -EINVAL, "file server: %u bytes a write", o->max_write);
	if (o->max_nodes > MAX_MAX_NODES || o->max_nodes < MIN_TABLE ||
	    o->max_node_fds < MIN_TABLE || o->max_handles < MIN_TABLE)
		return err_set(err, -EINVAL, "file server: %u nodes, %u descriptors, %u handles",
			       o->max_nodes, o->max_node_fds, o->max_handles);
	if (o->owner == FUSE_OWNER_XATTR && o->posix_acl)
		return err_set(err, -EINVAL, "file server: no ACLs with owners in attributes");
	return 0;
}

int fuse_server_new(int root_fd, const struct fuse_options *opt, struct fuse_server **ret,
		    struct err *err)
{
	CLEANUP(cleanup_free) struct fuse_server *srv = calloc(1, sizeof(*srv));
	int r;

	if (!srv)
		return err_set(err, -ENOMEM, "file server");
	if (opt)
		srv->opt = *opt;
	srv->root_fd = srv->proc_fd = -1;
	r = options_fill(&srv->opt, err);
	if (r < 0)
		return r;
	if (root_fd < 0 && !srv->opt.enter_jail)
		return err_set(err, -EINVAL, "file server: no root directory");
	if (root_fd >= 0) {
		srv->root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
		if (srv->root_fd < 0)
			return err_errno(err, errno, "file server: root descriptor");
	}
	r = fuse_pool_init(&srv->pool);
	if (r < 0) {
		fd_close(srv->root_fd);
		return err_set(err, r, "file server: threads");
	}
	told_init(&srv->told);
	*ret = STEAL_PTR(srv);
	return 0;
}

void fuse_server_free(struct fuse_server *srv)
{
	if (!srv)
		return;
	fuse_server_stop(srv);
	fuse_server_shut(srv);
	fuse_pool_done(&srv->pool);
	told_done(&srv->told);
	fd_close(srv->root_fd);
	free(srv);
}

/*
 * The directory of this thread's descriptors, through which an O_PATH descriptor is opened for
 * real. Cut out of /proc as a mount of its own where we may, so that nothing else can be reached by
 * it.
 */
static int proc_fd_open(struct err *err)
{
	AUTO_FD int fd = open("/proc/thread-self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int cut;

	if (fd < 0)
		return err_errno(err, errno, "open '/proc/thread-self/fd'");
	cut = (int)syscall(SYS_open_tree, fd, "",
			   AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return cut >= 0 ? cut : fd_steal(&fd);
}

static int root_open(struct fuse_server *srv, int root_fd, struct err *err)
{
	AUTO_FD int fd = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statx stx;
	int r;

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, FUSE_STATX_MASK, &stx) < 0)
		return err_errno(err, errno, "open the container's root directory");
	r = node_table_set_root(&srv->nodes, fd, &stx);
	if (r < 0)
		return err_set(err, r, "file server: node table");
	fd_steal(&fd);
	return 0;
}

int fuse_server_open(struct fuse_server *srv, struct err *err)
{
	AUTO_FD int jail_root = -1;
	int r;

	srv->proc_fd = proc_fd_open(err);
	if (srv->proc_fd < 0)
		return srv->proc_fd;
	if (srv->opt.enter_jail) {
		jail_root = srv->opt.enter_jail(srv->opt.jail_opaque, srv->proc_fd, err);
		if (jail_root < 0)
			return jail_root;
	}
	r = node_table_init(&srv->nodes, srv->opt.max_nodes, srv->opt.max_node_fds);
	if (r == 0)
		r = handle_table_init(&srv->handles, srv->opt.max_handles, &srv->nodes);
	if (r < 0)
		return err_set(err, r, "file server: tables");
	srv->nodes.proc_fd = srv->proc_fd;
	srv->nodes.use_handles = !srv->opt.no_file_handles;
	r = root_open(srv, jail_root >= 0 ? jail_root : srv->root_fd, err);
	if (r == 0 && srv->opt.close_jail)
		r = srv->opt.close_jail(srv->opt.jail_opaque, err);
	srv->opened = r == 0;
	return r;
}

void fuse_server_shut(struct fuse_server *srv)
{
	handle_table_done(&srv->handles);
	node_table_done(&srv->nodes);
	fd_close(srv->proc_fd);
	srv->proc_fd = -1;
	srv->opened = false;
	srv->session.ready = false;
}

int fuse_worker_init(struct fuse_worker *w, struct fuse_server *srv, unsigned index,
		     struct err *err)
{
	w->srv = srv;
	w->index = index;
	w->in_buf = malloc(FUSE_IN_BUF);
	w->out_buf = malloc(FUSE_OUT_BUF);
	watch_init(&w->watch, (uint64_t)srv->opt.spin_us * NSEC_PER_USEC);
	if (!w->in_buf || !w->out_buf)
		return err_set(err, -ENOMEM, "file server: buffers");
	/* umask and working directory are per thread from here on. */
	if (unshare(CLONE_FS) < 0)
		return err_errno(err, errno, "unshare file system context");
	if (fchdir(srv->proc_fd) < 0)
		return err_errno(err, errno, "enter descriptor directory");
	creds_init(&w->creds);
	return 0;
}

void fuse_worker_done(struct fuse_worker *w)
{
	free(w->in_buf);
	free(w->out_buf);
	w->in_buf = w->out_buf = NULL;
}

static void server_forget_all(void *arg)
{
	struct fuse_server *srv = arg;

	srv->session.ready = false;
	handle_table_clear(&srv->handles);
	node_table_clear(&srv->nodes);
	if (srv->opt.dax)
		srv->opt.dax->unmap(srv->opt.dax->opaque, 0, srv->opt.dax->window_len);
}

void fuse_server_reset(struct fuse_server *srv)
{
	fuse_pool_run_job(srv, server_forget_all, srv);
}

void fuse_server_note(struct fuse_server *srv)
{
	told_begin(&srv->told);
}

void fuse_server_stats(struct fuse_server *srv, struct fuse_stats *ret)
{
	struct fuse_pool *p = &srv->pool;

	*ret = (struct fuse_stats){ .n_malformed = srv->n_malformed };
	pthread_mutex_lock(&p->lock);
	ret->n_requests = p->n_requests;
	ret->n_sleeps = p->n_sleeps;
	ret->n_wakeups = p->n_wakeups;
	pthread_mutex_unlock(&p->lock);
	if (!srv->opened)
		return;
	pthread_mutex_lock(&srv->nodes.lock);
	ret->n_nodes = srv->nodes.n_nodes;
	ret->n_node_fds = srv->nodes.n_fds;
	ret->n_lookups = srv->nodes.n_lookups;
	pthread_mutex_unlock(&srv->nodes.lock);
	pthread_mutex_lock(&srv->handles.lock);
	ret->n_handles = srv->handles.n_handles;
	pthread_mutex_unlock(&srv->handles.lock);
}

/* What we would like, of what the client offers. */
static uint64_t session_wanted(const struct fuse_server *srv)
{
	const struct fuse_options *o = &srv->opt;
	uint64_t want = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_DONT_MASK |
			FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
			FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_MAX_PAGES |
			FUSE_SETXATTR_EXT | FUSE_INIT_EXT | FUSE_WIRE_CREATE_SUPP_GROUP |
			FUSE_WIRE_NO_EXPORT_SUPPORT;

	if (o->cache == FUSE_CACHE_AUTO)
		want |= FUSE_AUTO_INVAL_DATA;
	if (o->cache != FUSE_CACHE_NEVER)
		want |= FUSE_CACHE_SYMLINKS;
	else
		want |= FUSE_WIRE_DIRECT_IO_ALLOW_MMAP;
	if (o->posix_acl)
		want |= FUSE_POSIX_ACL;
	if (!o->no_submounts)
		want |= FUSE_SUBMOUNTS;
	if (o->dax)
		want |= FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX;
	return want;
}

int fuse_op_init(struct fuse_call *c)
{
	struct fuse_server *srv = c->srv;
	struct fuse_session *s = &srv->session;
	struct fuse_init_in in = { 0 };
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_WIRE_MINOR };
	uint64_t offered;

	memcpy(&in, c->arg.raw, 16);
	memcpy((uint8_t *)&in + 16, c->blob, MIN(c->blob_len, sizeof(in) - 16));
	if (in.major < FUSE_KERNEL_VERSION ||
	    (in.major == FUSE_KERNEL_VERSION && in.minor < FUSE_WIRE_MINOR_MIN))
		return -EPROTO;
	/* A newer major gets ours, and asks again. */
	if (in.major > FUSE_KERNEL_VERSION)
		return fuse_reply(c, &out, sizeof(out));
	/* A second INIT comes from a client that has lost its memory. */
	server_forget_all(srv);
	offered = in.flags;
	if (in.flags & FUSE_INIT_EXT)
		offered |= (uint64_t)in.flags2 << 32;
	s->minor = MIN(in.minor, (uint32_t)FUSE_WIRE_MINOR);
	s->flags = offered & session_wanted(srv);
	s->max_write = srv->opt.max_write;
	out.max_readahead = in.max_readahead;
	out.flags = (uint32_t)s->flags;
	out.flags2 = (uint32_t)(s->flags >> 32);
	out.max_background = UINT16_MAX;
	out.congestion_threshold = UINT16_MAX / 4 * 3;
	out.max_write = s->max_write;
	out.time_gran = 1;
	out.max_pages = (uint16_t)(s->max_write / 4096);
	if (s->flags & FUSE_MAP_ALIGNMENT)
		out.map_alignment = FUSE_DAX_CHUNK_SHIFT;
	s->ready = true;
	return fuse_reply(c, &out, sizeof(out));
}

int fuse_op_destroy(struct fuse_call *c)
{
	server_forget_all(c->srv);
	return 0;
}
