/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file server: answers the FUSE requests of one guest from one directory tree.
 *
 * Theory of operation. A server belongs to one device. It knows nothing of virtio: a transport
 *hands it requests as lists of memory ranges and is called back when the answer lies in the
 *writable ones.
 *
 *	new ──> start ──> (submit ... complete)* ──> stop ──> free
 *	           └── quiesce <──> resume (snapshots)
 *
 * start() makes the leader thread, which leaves the process's descriptor table and file system
 * context, builds its jail through the caller's hook, and then starts the other workers, so that
 *all of them and nobody else share the descriptors of the container's files.
 *
 * Invariants:
 *  1. Ids given to the guest are table indices with a generation; none is a pointer.
 *  2. A request's header and arguments are copied once and only the copy is read; file data goes
 *     between the kernel and the request's ranges without a copy.
 *  3. Every node and handle used by a request in flight is pinned; FORGET and RELEASE of a guest
 *that breaks the rules only shorten lives, they never free what is in use.
 *  4. Every open goes through the gate (passthrough/open.c), relative to a held descriptor.
 *  5. Nothing the guest sends makes the server allocate more than the limits in struct
 *fuse_options.
 */
#ifndef ROOTFS_FUSE_H
#define ROOTFS_FUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct fuse_server;

enum fuse_cache {
	FUSE_CACHE_AUTO,  /* names and attributes for a second, data until the file changes */
	FUSE_CACHE_NEVER, /* the host may change anything at any moment, and is seen at once */
	FUSE_CACHE_ALWAYS /* nobody but the guest changes the tree */
};

enum fuse_owner {
	FUSE_OWNER_REAL,  /* guest ids are ids of the server's user namespace; needs capabilities */
	FUSE_OWNER_XATTR, /* all files belong to the server; ids and modes live in an xattr */
};

/*
 * The guest's window onto file pages (virtio shared memory), made by the transport. Offsets and
 * lengths are inside the window and multiples of FUSE_DAX_CHUNK when these are called.
 */
#define FUSE_DAX_CHUNK_SHIFT 21
#define FUSE_DAX_CHUNK	     (1ULL << FUSE_DAX_CHUNK_SHIFT)
struct fuse_dax_ops {
	uint64_t window_len; /* bytes; a multiple of the chunk */
	int (*map)(void *opaque, uint64_t window_off, int fd, uint64_t file_off, uint64_t len,
		   bool writable);
	int (*unmap)(void *opaque, uint64_t window_off, uint64_t len);
	void *opaque;
};

/* Zero is the default for each member. */
struct fuse_options {
	enum fuse_cache cache;
	enum fuse_owner owner;
	bool read_only;	      /* answer EROFS before any change; mounts should say so too */
	bool posix_acl;	      /* system.posix_acl_* and umask by default ACL */
	bool no_xattr;	      /* no extended attributes at all */
	bool no_submounts;    /* do not announce mount points inside the tree */
	bool security_labels; /* let security.* other than security.capability through */
	bool no_file_handles; /* hold an open descriptor for every node the guest knows */
	unsigned n_workers;   /* default 2, at most 16 */
	unsigned spin_us;   /* longest busy wait for the next request; default 50, UINT_MAX: none */
	uint32_t max_nodes; /* default 1048576 */
	uint32_t max_node_fds;		/* default: half of RLIMIT_NOFILE */
	uint32_t max_handles;		/* default: a quarter of RLIMIT_NOFILE */
	uint32_t max_write;		/* bytes of one WRITE or READ; default and most 1 MiB */
	const struct fuse_dax_ops *dax; /* borrowed until free; NULL: no window */
	/*
	 * Called once on the leader thread, after it has its own descriptor table and before it
	 * opens the root: enter namespaces, change root, close what is not needed but @keep_fd.
	 * Returns the descriptor of the root directory as seen from inside (the server closes it),
	 * or a negative errno.
	 */
	int (*enter_jail)(void *opaque, int keep_fd, struct err *err);
	/* Called on the leader after all is open, before other workers start: drop rights. */
	int (*close_jail)(void *opaque, struct err *err);
	/* Called on each worker as the last thing before it serves: its system call filter. */
	int (*seal_worker)(void *opaque, struct err *err);
	void *jail_opaque;
};

/*
 * One request. The transport owns it and its ranges from submit until complete() is called, once,
 * on a worker thread. Memory behind @in may change at any time; @out is written only by the server.
 */
struct fuse_request {
	const struct iovec *in;	 /* readable by the device */
	const struct iovec *out; /* writable by the device */
	unsigned n_in, n_out;
	bool lazy; /* nobody waits for it: FORGET */
	/* @len: bytes written to @out, from its start; 0 when the request has no answer. */
	void (*complete)(struct fuse_request *req, size_t len);
	struct fuse_request *next_; /* the server's, while it holds the request */
};

struct fuse_stats {
	uint64_t n_requests;
	uint64_t n_malformed; /* no header, or lengths that contradict each other */
	uint64_t n_sleeps;    /* a worker gave up spinning */
	uint64_t n_wakeups;   /* a submitter had to wake a worker */
	uint32_t n_nodes, n_node_fds, n_handles;
	uint64_t n_lookups; /* references the guest holds on nodes, in all */
};

/**
 * fuse_server_new() - Make a server; opens nothing yet
 * @root_fd:	The tree's root directory; duplicated. -1 when opt->enter_jail gives it
 * @opt:	Options, copied; NULL for the defaults
 * @ret:	The server, owned by the caller
 *
 * Return: 0; -EINVAL a bad option; -ENOMEM; what dup gives.
 */
int fuse_server_new(int root_fd, const struct fuse_options *opt, struct fuse_server **ret,
		    struct err *err);
void fuse_server_free(struct fuse_server *srv); /* stops first; NULL is fine */

/**
 * fuse_server_start() - Start the worker threads; returns when they serve
 *
 * Return: 0; what the jail hooks or opening the root give.
 */
int fuse_server_start(struct fuse_server *srv, struct err *err);

/* Finish what was submitted, end the threads. Idempotent. */
void fuse_server_stop(struct fuse_server *srv);

/**
 * fuse_server_submit() - Hand over one request
 *
 * Context: any thread; never blocks. The server must be started.
 * Return: true: its worker sleeps until fuse_server_wake().
 */
bool fuse_server_submit(struct fuse_server *srv, struct fuse_request *req);

/*
 * Wake a worker for what was submitted. It begins at once, maybe on the caller's processor: hold no
 * lock that completing a request takes. Context: any thread.
 */
void fuse_server_wake(struct fuse_server *srv);

/* All that was submitted is answered on return; what comes later waits for fuse_server_resume(). */
void fuse_server_quiesce(struct fuse_server *srv);
void fuse_server_resume(struct fuse_server *srv);

/* Forget all nodes, handles and the session, as after DESTROY. Context: quiescent, or own thread.
 */
void fuse_server_reset(struct fuse_server *srv);

void fuse_server_stats(struct fuse_server *srv, struct fuse_stats *ret);

struct fuse_program {
	const char *name;   /* a path, or what is searched */
	const char *search; /* PATH; NULL: the usual one */
	const char *dir;    /* its working directory: what a relative path begins at */
};

/**
 * fuse_server_needs() - Files that a program of the tree will need: a guess, by names in its files
 * @ret:	Paths, each with its NUL; owned by the caller (free)
 *
 * Context: quiescent; runs on the leader thread.
 * Return: 0, also when there is no such program; -ENOMEM.
 */
int fuse_server_needs(struct fuse_server *srv, const struct fuse_program *program, char **ret,
		      size_t *ret_len, struct err *err);

/* What a restored table's entry must agree with, besides type. */
enum fuse_verify {
	FUSE_VERIFY_SAME, /* the very file: same file handle, or device and inode, and birth time */
	FUSE_VERIFY_COPY, /* a copy of the tree: same type, size and modification time */
};

struct fuse_restore_result {
	uint32_t n_nodes, n_handles;
	uint32_t n_stale_nodes, n_stale_handles; /* answered with ESTALE */
	bool holds; /* what the guest was told since fuse_server_note() is still so */
};

/*
 * Note until the tables are saved what the guest is told of names and attributes: who restores it will know
 * whether that still holds. Before the guest is told anything; nothing is noted by a server that was not asked.
 * Context: any thread.
 */
void fuse_server_note(struct fuse_server *srv);

/* Where the content of files goes that have no name any more: into one stream. */
struct fuse_sink {
	/* In the thread that saves. Return: 0; negative errno. */
	int (*write)(void *opaque, const void *p, size_t len, struct err *err);
	void *opaque;
	uint64_t max; /* bytes */
};

/**
 * fuse_server_save() - Write session, node and handle tables
 * @sink:	For the content of unlinked regular files that are referenced still; NULL: they are lost
 * @ret:	Bytes, owned by the caller (free)
 * @ret_len:	Their number
 * @ret_lost:	Nodes that cannot be found again, nor made: ESTALE after a restore
 *
 * Context: quiescent, not on the leader thread; what reads the tree runs there.
 * Return: 0; -ENOMEM; -E2BIG more than the sink takes; what reading files and the sink give.
 */
int fuse_server_save(struct fuse_server *srv, const struct fuse_sink *sink, void **ret,
		     size_t *ret_len, uint32_t *ret_lost, struct err *err);

/* What was saved. Untrusted; borrowed until the restore returns. */
struct fuse_saved {
	const void *tables;
	size_t tables_len;
	const void *content; /* the stream */
	size_t content_len;
	enum fuse_verify verify;
};

/**
 * fuse_server_restore() - Fill the tables of a started, unused server
 *
 * Context: quiescent; runs on the leader thread.
 * Return: 0 also when some entries are stale; -EBADMSG damaged; -ESTALE another version; -ENOMEM;
 * what writing content gives.
 */
int fuse_server_restore(struct fuse_server *srv, const struct fuse_saved *saved,
			struct fuse_restore_result *ret, struct err *err);

#endif
