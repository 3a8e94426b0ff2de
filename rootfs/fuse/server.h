/* SPDX-License-Identifier: Apache-2.0 */
/* Private shape of the file server: one server, its session, its workers, one call in service. */
#ifndef ROOTFS_FUSE_SERVER_H
#define ROOTFS_FUSE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/watch.h"
#include "fuse/handles.h"
#include "fuse/nodes.h"
#include "fuse/wire.h"
#include "rootfs/fuse.h"
#include "told.h"

#define FUSE_MAX_WORKERS 16
#define FUSE_MAX_IO	 (1U << 20) /* bytes of one READ or WRITE */
#define FUSE_XATTR_MAX	 65536	    /* XATTR_SIZE_MAX */
#define FUSE_IN_BUF	 (FUSE_XATTR_MAX + 4096)
#define FUSE_OUT_BUF	 (FUSE_XATTR_MAX + 4096)
#define FUSE_IOV_MAX	 256
#define FUSE_STATX_MASK	 (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

struct iov_cursor {
	const struct iovec *iov;
	unsigned n;
	size_t off;  /* in iov[0] */
	size_t left; /* bytes in all */
};

struct fuse_creds {
	uid_t uid; /* fsuid now */
	gid_t gid;
	bool has_group; /* one supplementary group is set */
	gid_t group;
	mode_t umask;
	bool fsetid; /* CAP_FSETID is effective */
	bool can_switch;
	uid_t home_uid;
	gid_t home_gid;
	uint64_t permitted;
};

struct fuse_worker {
	struct fuse_server *srv;
	unsigned index;
	pthread_t thread;
	bool started;
	bool slow;	 /* its request is counted in n_slow */
	bool takes_lazy; /* from that lane too, until it is empty */
	struct fuse_creds creds;
	struct watch watch; /* of the queue */
	struct iovec iov[FUSE_IOV_MAX];
	uint8_t *in_buf;  /* FUSE_IN_BUF */
	uint8_t *out_buf; /* FUSE_OUT_BUF */
};

struct fuse_session {
	_Atomic bool ready; /* INIT done */
	uint32_t minor;
	uint64_t flags; /* agreed with the client */
	uint32_t max_write;
};

typedef void (*fuse_job_fn)(void *arg);

struct fuse_lane {
	struct fuse_request *head, *tail;
	_Atomic uint32_t n;
};

struct fuse_pool {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* n_busy, job_done, state */
	/* guarded by lock; what is atomic is also read without */
	struct fuse_lane queue, lazy;
	_Atomic bool lazy_due;	   /* somebody is to take all of that lane: news */
	bool lazy_first;	   /* that has been seen, and the lane is not empty yet */
	bool lazy_busy;		   /* one of it is being served */
	_Atomic uint32_t wake_seq; /* futex */
	_Atomic uint32_t n_spinning;
	uint32_t n_sleeping, n_busy, n_slow, n_workers;
	bool paused, draining, stopping, running;
	int start_result;
	bool start_done;
	struct err start_err;
	fuse_job_fn job;
	void *job_arg;
	_Atomic bool has_job;
	bool job_done, job_busy; /* done; one caller at a time */
	uint64_t n_requests, n_sleeps, n_wakeups;
};

struct fuse_server {
	struct fuse_options opt;
	int root_fd; /* until opened */
	int proc_fd;
	bool opened;
	struct node_table nodes;
	struct handle_table handles;
	struct fuse_session session;
	struct told_log told;
	struct fuse_pool pool;
	struct fuse_worker workers[FUSE_MAX_WORKERS];
	_Atomic uint64_t n_malformed;
};

/* One request in service, on the worker's stack. */
struct fuse_call {
	struct fuse_server *srv;
	struct fuse_worker *w;
	struct fuse_in_header hdr;
	struct iov_cursor in;  /* after the arguments */
	struct iov_cursor out; /* after the reply header */
	size_t reply_len;      /* payload bytes put into @out */
	struct node *node;     /* of hdr.nodeid, pinned; NULL where the table says so */
	const char *name;      /* first and second string of the body */
	const char *name2;
	const uint8_t *blob; /* what follows the strings */
	size_t blob_len;
	bool has_group; /* the extension with one supplementary group came */
	gid_t group;
	union {
		struct fuse_getattr_in getattr;
		struct fuse_setattr_in setattr;
		struct fuse_mknod_in mknod;
		struct fuse_mkdir_in mkdir;
		struct fuse_rename_in rename;
		struct fuse_rename2_in rename2;
		struct fuse_link_in link;
		struct fuse_open_in open;
		struct fuse_create_in create;
		struct fuse_release_in release;
		struct fuse_flush_in flush;
		struct fuse_read_in read;
		struct fuse_write_in write;
		struct fuse_fsync_in fsync;
		struct fuse_setxattr_in setxattr;
		struct fuse_getxattr_in getxattr;
		struct fuse_access_in access;
		struct fuse_forget_in forget;
		struct fuse_batch_forget_in batch_forget;
		struct fuse_fallocate_in fallocate;
		struct fuse_ioctl_in ioctl;
		struct fuse_wire_lseek_in lseek;
		struct fuse_wire_copy_file_range_in copy;
		struct fuse_wire_statx_in statx;
		struct fuse_wire_setupmapping_in setupmapping;
		uint8_t raw[128];
	} arg;
};

/* ---- reply.c ---- */
void iov_cursor_init(struct iov_cursor *c, const struct iovec *iov, unsigned n);
/* Both move on; return bytes copied, fewer than @len only at the end. */
size_t iov_cursor_read(struct iov_cursor *c, void *buf, size_t len);
size_t iov_cursor_write(struct iov_cursor *c, const void *buf, size_t len);
/* Up to @max ranges covering up to @len bytes from the position; does not move. */
unsigned iov_cursor_slice(const struct iov_cursor *c, size_t len, struct iovec *ret, unsigned max,
			  size_t *ret_len);
void iov_cursor_skip(struct iov_cursor *c, size_t len);

/* Append to the answer. Return: 0; -ENOBUFS when the guest gave too little room. */
int fuse_reply(struct fuse_call *c, const void *buf, size_t len);
void fuse_attr_fill(const struct fuse_server *srv, const struct statx *stx, bool mount_root,
		    struct fuse_attr *ret);
void fuse_entry_fill(const struct fuse_server *srv, const struct node *n, const struct statx *stx,
		     struct fuse_entry_out *ret);
/* Seconds that names and attributes stay valid. */
uint64_t fuse_cache_seconds(const struct fuse_server *srv);

/* ---- dispatch.c ---- */
/**
 * fuse_serve() - Serve one request in the calling thread
 *
 * Return: bytes written to the writable ranges, 0 for no answer.
 */
size_t fuse_serve(struct fuse_worker *w, const struct iovec *in, unsigned n_in,
		  const struct iovec *out, unsigned n_out);
/* ---- session.c ---- */
/* Open root and /proc descriptor in the calling thread's table. */
int fuse_server_open(struct fuse_server *srv, struct err *err);
/* Undo it, all tables with it. */
void fuse_server_shut(struct fuse_server *srv);
/* Buffers, own umask and working directory (the descriptor directory). */
int fuse_worker_init(struct fuse_worker *w, struct fuse_server *srv, unsigned index,
		     struct err *err);
void fuse_worker_done(struct fuse_worker *w);

/* ---- pool.c ---- */
int fuse_pool_init(struct fuse_pool *p);
void fuse_pool_done(struct fuse_pool *p);
/* The request in service may wait for storage: let others be served meanwhile. Idempotent. */
void fuse_pool_mark_slow(struct fuse_worker *w);
/* Run on the leader thread (or here, when no thread runs) and wait for it. */
void fuse_pool_run_job(struct fuse_server *srv, fuse_job_fn fn, void *arg);

/* ---- passthrough: one function an opcode; 0 or a negative errno for the guest ---- */
typedef int (*fuse_op_fn)(struct fuse_call *c);

int fuse_op_init(struct fuse_call *c);
int fuse_op_destroy(struct fuse_call *c);
int fuse_op_lookup(struct fuse_call *c);
int fuse_op_forget(struct fuse_call *c);
int fuse_op_batch_forget(struct fuse_call *c);
int fuse_op_getattr(struct fuse_call *c);
int fuse_op_setattr(struct fuse_call *c);
int fuse_op_statx(struct fuse_call *c);
int fuse_op_statfs(struct fuse_call *c);
int fuse_op_readlink(struct fuse_call *c);
int fuse_op_symlink(struct fuse_call *c);
int fuse_op_mknod(struct fuse_call *c);
int fuse_op_mkdir(struct fuse_call *c);
int fuse_op_unlink(struct fuse_call *c);
int fuse_op_rmdir(struct fuse_call *c);
int fuse_op_rename(struct fuse_call *c);
int fuse_op_rename2(struct fuse_call *c);
int fuse_op_link(struct fuse_call *c);
int fuse_op_create(struct fuse_call *c);
int fuse_op_tmpfile(struct fuse_call *c);
int fuse_op_open(struct fuse_call *c);
int fuse_op_read(struct fuse_call *c);
int fuse_op_write(struct fuse_call *c);
int fuse_op_release(struct fuse_call *c);
int fuse_op_fsync(struct fuse_call *c);
int fuse_op_fallocate(struct fuse_call *c);
int fuse_op_lseek(struct fuse_call *c);
int fuse_op_copy_file_range(struct fuse_call *c);
int fuse_op_ioctl(struct fuse_call *c);
int fuse_op_opendir(struct fuse_call *c);
int fuse_op_readdir(struct fuse_call *c);
int fuse_op_readdirplus(struct fuse_call *c);
int fuse_op_releasedir(struct fuse_call *c);
int fuse_op_fsyncdir(struct fuse_call *c);
int fuse_op_syncfs(struct fuse_call *c);
int fuse_op_setxattr(struct fuse_call *c);
int fuse_op_getxattr(struct fuse_call *c);
int fuse_op_listxattr(struct fuse_call *c);
int fuse_op_removexattr(struct fuse_call *c);
int fuse_op_setupmapping(struct fuse_call *c);
int fuse_op_removemapping(struct fuse_call *c);

#endif
