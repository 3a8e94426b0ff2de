/* SPDX-License-Identifier: Apache-2.0 */
/* A host directory as a virtio-fs device: a file server behind the device's backend seam. */
#ifndef RUNTIME_SHARE_H
#define RUNTIME_SHARE_H

#include "base/cleanup.h"
#include "rootfs/fuse.h"
#include "vmm/backend.h"

struct share;

/**
 * share_new() - Make a server for a directory; its threads start with share_start()
 * @dir:	Path on the host
 * @opt:	Options of the server, or NULL
 */
int share_new(const char *dir, const struct fuse_options *opt, struct share **ret, struct err *err);
/* After vm_new(), before vm_start(): the threads keep the descriptors that exist now. */
int share_start(struct share *share, struct err *err);
/* After vm_free(). NULL is fine. */
void share_free(struct share *share);
CLEANUP_DEFINE(struct share, share_free);

void share_stats(const struct share *share, struct fuse_stats *ret);
/* The server's tables as bytes (free). @ret_lost: open files that no name leads to. Quiescent. */
int share_save(struct share *share, void **ret, size_t *ret_len, uint32_t *ret_lost,
	       struct err *err);
/* Into a started server that has served nothing. @ret_stale: what cannot be found again. */
int share_restore(struct share *share, const void *buf, size_t len, uint32_t *ret_stale,
		  struct err *err);

/* Borrowed until share_free(). */
const struct fs_backend *share_backend(const struct share *share);

#endif
