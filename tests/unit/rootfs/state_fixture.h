/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server with a small tree that a guest has something open of, to be saved and restored. One at a
 * time: what the cases use all the time are plain names.
 */
#ifndef TESTS_ROOTFS_STATE_FIXTURE_H
#define TESTS_ROOTFS_STATE_FIXTURE_H

#include "fuse_client.h"

extern struct fuse_client c;
extern uint64_t dir, file, fh, dfh, other, other_fh;
extern void *saved;
extern size_t saved_len;
extern uint32_t lost;
/* The content of unlinked files, as far as it is given room. */
extern uint8_t *content;
extern size_t content_len;
extern uint64_t content_max;

/* A path on the host, good for three more calls. */
const char *at(const char *rel);

/* A directory with a file, open for writing; the directory open too; a second file, open. */
int setup(void **state);
int teardown(void **state);

/* @answer: what writing content gives. */
int try_to_save(int answer);
void save(void);

/* Into the server as it is. An answer that is no success says why. */
int take(const void *p, size_t len, const void *stream, size_t stream_len, enum fuse_verify verify,
	 struct fuse_restore_result *res);
/* Into a new one, what save() saved. */
int restore(enum fuse_verify verify, struct fuse_restore_result *res);

/* Change the tree behind the server, or look at it. */
void change(const char *how);

#endif
