/* SPDX-License-Identifier: Apache-2.0 */
/* A host directory as a virtio-fs device: a file server behind the device's backend seam. */
#include "share.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

/* What the kernel allows by default at most (fs.nr_open). */
#define MAX_NOFILE 1048576

struct share {
	struct fuse_server *srv;
	struct sandbox_files files;
	struct fs_backend backend;
	struct fuse_dax_ops dax;
	const struct fs_window *window; /* the device's, once there is one */
};

/* The server's form of a request lies in the scratch space of the device's. */
static_assert(sizeof(struct fuse_request) <= FS_REQUEST_SCRATCH, "scratch space");
static_assert(FUSE_DAX_CHUNK == FS_WINDOW_CHUNK,
	      "what the device wants and what the guest is told");

static void on_complete(struct fuse_request *req, size_t len)
{
	struct fs_request *fs = container_of((unsigned char *)req, struct fs_request, scratch[0]);

	fs->done(fs, len);
}

static bool on_submit(void *opaque, struct fs_request *fs)
{
	struct share *share = opaque;
	struct fuse_request *req = (struct fuse_request *)(void *)fs->scratch;

	*req = (struct fuse_request){
		.in = fs->in,
		.out = fs->out,
		.n_in = fs->n_in,
		.n_out = fs->n_out,
		.lazy = fs->hiprio,
		.complete = on_complete,
	};
	return fuse_server_submit(share->srv, req);
}

static void on_wake(void *opaque)
{
	fuse_server_wake(((struct share *)opaque)->srv);
}

static void on_reset(void *opaque)
{
	fuse_server_reset(((struct share *)opaque)->srv);
}

static void on_quiesce(void *opaque)
{
	fuse_server_quiesce(((struct share *)opaque)->srv);
}

static void on_resume(void *opaque)
{
	fuse_server_resume(((struct share *)opaque)->srv);
}

static void on_window(void *opaque, const struct fs_window *window)
{
	((struct share *)opaque)->window = window;
}

static int dax_map(void *opaque, uint64_t off, int fd, uint64_t file_off, uint64_t len,
		   bool writable)
{
	const struct fs_window *w = ((struct share *)opaque)->window;

	return w ? w->map(w->opaque, off, fd, file_off, len, writable) : -ENOSYS;
}

static int dax_unmap(void *opaque, uint64_t off, uint64_t len)
{
	const struct fs_window *w = ((struct share *)opaque)->window;

	return w ? w->unmap(w->opaque, off, len) : -ENOSYS;
}

/*
 * The server holds a descriptor for each file the guest's kernel remembers, and takes its limits
 * from the process's: raise them as far as we may.
 */
static void raise_nofile(void)
{
	struct rlimit want = { .rlim_cur = MAX_NOFILE, .rlim_max = MAX_NOFILE }, have;

	if (getrlimit(RLIMIT_NOFILE, &have) < 0 || have.rlim_cur >= MAX_NOFILE)
		return;
	if (setrlimit(RLIMIT_NOFILE, &want) == 0)
		return;
	have.rlim_cur = have.rlim_max;
	setrlimit(RLIMIT_NOFILE, &have);
}

int share_new(int tree_fd, struct sandbox *sb, const struct fuse_options *opt, uint64_t dax_len,
	      struct share **ret, struct err *err)
{
	CLEANUP(share_freep) struct share *share = calloc(1, sizeof(*share));
	AUTO_FD int tree = tree_fd;
	struct fuse_options jailed = *opt;
	int r;

	raise_nofile();
	if (!share)
		return err_set(err, -ENOMEM, "no memory for a shared directory");
	share->files = (struct sandbox_files){ .sb = sb,
					       .tree_fd = fd_steal(&tree),
					       .unprivileged = geteuid() != 0 };
	share->dax = (struct fuse_dax_ops){
		.window_len = dax_len, .map = dax_map, .unmap = dax_unmap, .opaque = share
	};
	if (dax_len)
		jailed.dax = &share->dax;
	/* Opening by handle reaches files outside the tree. */
	jailed.no_file_handles = true;
	jailed.enter_jail = sandbox_files_enter;
	jailed.close_jail = sandbox_files_close;
	jailed.seal_worker = sandbox_files_seal;
	jailed.jail_opaque = &share->files;
	r = fuse_server_new(-1, &jailed, &share->srv, err);
	if (r < 0)
		return r;
	share->backend = (struct fs_backend){
		.opaque = share,
		.set_window = on_window,
		.submit = on_submit,
		.wake = on_wake,
		.reset = on_reset,
		.quiesce = on_quiesce,
		.resume = on_resume,
	};
	*ret = STEAL_PTR(share);
	return 0;
}

int share_start(struct share *share, struct err *err)
{
	int r = fuse_server_start(share->srv, err);

	/* The threads have their own. */
	fd_close(fd_steal(&share->files.tree_fd));
	return r;
}

int share_save(struct share *share, const struct fuse_sink *sink, void **ret, size_t *ret_len,
	       uint32_t *ret_lost, struct err *err)
{
	return fuse_server_save(share->srv, sink, ret, ret_len, ret_lost, err);
}

int share_restore(struct share *share, const struct fuse_saved *saved,
		  struct fuse_restore_result *ret, struct err *err)
{
	return fuse_server_restore(share->srv, saved, ret, err);
}

void share_note(struct share *share)
{
	fuse_server_note(share->srv);
}

int share_needs(struct share *share, const struct fuse_program *program, char **ret,
		size_t *ret_len, struct err *err)
{
	return fuse_server_needs(share->srv, program, ret, ret_len, err);
}

void share_free(struct share *share)
{
	if (!share)
		return;
	fuse_server_free(share->srv);
	fd_close(share->files.tree_fd);
	free(share);
}

void share_stats(const struct share *share, struct fuse_stats *ret)
{
	fuse_server_stats(share->srv, ret);
}

struct vm_fs share_device(const struct share *share, const char *tag, unsigned n_queues)
{
	return (struct vm_fs){ .tag = tag,
			       .backend = &share->backend,
			       .n_queues = n_queues,
			       .window_len = share->dax.window_len };
}
