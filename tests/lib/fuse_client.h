/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FUSE client of our own, for tests: messages as memory ranges, one at a time, answered before
 * the call returns. What it sends is up to the test, sense or nonsense.
 */
#ifndef TESTS_FUSE_CLIENT_H
#define TESTS_FUSE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rootfs/fuse.h"

#define FC_OUT_MAX   ((1 << 20) + 4096)
#define FC_CALL_ROOM (70 * 1024) /* what fc_call() gives the answer */

struct fuse_client {
	struct fuse_server *srv;
	char dir[64]; /* temporary; holds root/ and canary/ */
	uint64_t unique;
	uint32_t uid, gid;
	size_t chunk; /* cut both messages into ranges of this size; 0: one range */
	uint8_t *out; /* last answer's payload */
	size_t out_len;
};

/* Server on a fresh directory DIR/root, INIT not sent. Return: 0; negative errno. */
int fc_open(struct fuse_client *c, const struct fuse_options *opt);
void fc_close(struct fuse_client *c);
/* Stop and start the server on the same directory; options as given. */
int fc_restart(struct fuse_client *c, const struct fuse_options *opt);

/* INIT as Linux sends it. Return: 0; the answer's errno. */
int fc_init(struct fuse_client *c);

/*
 * One message: header, @arg, then @body. Return: the answer's error (0 or negative errno); 1 when
 * there was no answer; INT_MIN when the answer is malformed.
 */
int fc_call(struct fuse_client *c, uint32_t opcode, uint64_t nodeid, const void *arg,
	    size_t arg_len, const void *body, size_t body_len);
/* A message exactly as given; @out_room bytes for the answer. Return: bytes answered. */
size_t fc_raw(struct fuse_client *c, const void *msg, size_t len, void *out, size_t out_room);

/* Return: node id, or 0 with *ret_err set. */
uint64_t fc_lookup(struct fuse_client *c, uint64_t parent, const char *name, int *ret_err);
int fc_create(struct fuse_client *c, uint64_t parent, const char *name, uint32_t flags,
	      uint32_t mode, uint64_t *ret_node, uint64_t *ret_fh);
int fc_forget(struct fuse_client *c, uint64_t node, uint64_t n);
int fc_write(struct fuse_client *c, uint64_t node, uint64_t fh, uint64_t off, const void *buf,
	     uint32_t len);
int fc_read(struct fuse_client *c, uint64_t node, uint64_t fh, uint64_t off, uint32_t len);
int fc_open_node(struct fuse_client *c, uint64_t node, uint32_t flags, uint64_t *ret_fh);
int fc_release(struct fuse_client *c, uint64_t node, uint64_t fh, bool dir);

#endif
