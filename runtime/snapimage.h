/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot is made of here: the machine, its memory, the file server's tables. */
#ifndef RUNTIME_SNAPIMAGE_H
#define RUNTIME_SNAPIMAGE_H

#include "share.h"
#include "snapshots/store.h"
#include "snapshots/workset.h"
#include "vmm/vm.h"

/* An opened snapshot as the machine wants to see it; borrows @s. */
struct vm_saved snapimage_view(struct snapshot *s);

/* Fill in what is known of a machine. */
void snapimage_describe(const char *backend, const struct vm_identity *id, uint64_t ram_bytes,
			unsigned n_vcpus, struct snap_manifest *m);

/* All with the machine quiesced. @base: of the snapshot it began with, or NULL. */
int snapimage_memory(struct vm *vm, int fd, int pagemap_fd, const struct snap_manifest *base,
		     struct err *err);
int snapimage_machine(struct vm *vm, struct snap_buf *state, struct err *err);
/*
 * @unlinked_fd: for the content of files without a name, at most @unlinked_max bytes; -1: such a file is
 * lost, and counted in the log.
 */
int snapimage_share(struct share *share, int unlinked_fd, uint64_t unlinked_max,
		    struct snap_buf *state, struct err *err);
/* Close the state and write it. */
int snapimage_write_state(int fd, struct snap_buf *state, struct err *err);

/*
 * The working set: written to a descriptor of snap_workset_begin(), and mapped. The guest may run;
 * failures are logged, or left to faults.
 */
void snapimage_workset_record(struct vm *vm, int fd, int pagemap_fd);
/* Return: whether there is more to map. */
bool snapimage_workset_map(struct vm *vm, struct snap_workset *w);

/* Into a server that runs and has served nothing. */
int snapimage_restore_share(struct snapshot *s, struct share *share,
			    struct fuse_restore_result *ret, struct err *err);

#endif
