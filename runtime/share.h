/* SPDX-License-Identifier: Apache-2.0 */
/* A host directory as a virtio-fs device: a file server behind the device's backend seam. */
#ifndef RUNTIME_SHARE_H
#define RUNTIME_SHARE_H

#include "base/cleanup.h"
#include "rootfs/fuse.h"
#include "sandbox/sandbox.h"
#include "vmm/vm.h"

struct share;

/**
 * share_new() - Make a server for a tree; its threads start with share_start()
 * @tree_fd:	From sandbox_tree_open() or rootfs_plan_apply(); taken over, also on failure
 * @sb:		What the threads are locked into; borrowed until share_free()
 * @opt:	Options of the server
 * @dax_len:	Bytes of the window onto file pages that the device will have; 0: none
 *
 * Context: the process has a mount namespace of its own.
 */
int share_new(int tree_fd, struct sandbox *sb, const struct fuse_options *opt, uint64_t dax_len,
	      struct share **ret, struct err *err);
/*
 * After vm_new(), before vm_start(): the threads keep those events that exist now. They leave the
 * host's root on their own; the process may leave it afterwards.
 */
int share_start(struct share *share, struct err *err);
/* After vm_free(). NULL is fine. */
/* Note what the guest is told of files: see fuse_server_note(). Any thread. */
void share_note(struct share *share);

/* Files that a program of the tree will need: see fuse_server_needs(). */
int share_needs(struct share *share, const struct fuse_program *program, char **ret,
		size_t *ret_len, struct err *err);

void share_free(struct share *share);
CLEANUP_DEFINE(struct share, share_free);

void share_stats(const struct share *share, struct fuse_stats *ret);
/* See fuse_server_save(). Quiescent. */
int share_save(struct share *share, const struct fuse_sink *sink, void **ret, size_t *ret_len,
	       uint32_t *ret_lost, struct err *err);
/* Into a started server that has served nothing. */
int share_restore(struct share *share, const struct fuse_saved *saved,
		  struct fuse_restore_result *ret, struct err *err);

/* The file system device of a machine; it borrows from the share and @tag until vm_free(). */
struct vm_fs share_device(const struct share *share, const char *tag, unsigned n_queues);

#endif
