/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files whose names are gone, and which the guest still has: saved, and made again without a name.
 *
 * Theory of operation. What a file is (type, owner, mode, times, extended attributes, the target of
 * a link) goes into the tables as a record, and with it the directory that it was in: there the new
 * one is made, so that it comes to lie in the same mount, or as near as there still is a directory.
 * The content of regular files goes into one stream beside the tables, file after file in the order
 * of the nodes, each as its runs of data and an end: in pieces, by jobs of the leader thread, which
 * alone can read the files, while the caller writes what they bring. A restore gets all of the
 * stream as memory that is mapped from a file. The tables hold the stream's length and hash.
 *
 * Form of a piece: u64 node, u64 offset, u32 length (0: the end, the offset is the size), u32 0,
 * data.
 */
#ifndef ROOTFS_NAMELESS_H
#define ROOTFS_NAMELESS_H

#include <limits.h>

#include "base/sha256.h"
#include "fuse/server.h"
#include "stateio.h"

/* Whether no name leads to the file any more. */
bool nameless_is(const struct fuse_server *srv, const struct node *n, const struct statx *stx);

/* Append the record of a pinned node. Return: 0; negative errno: it cannot be saved, nothing is
 * written. */
int nameless_save(struct fuse_server *srv, const struct node *root, const struct node *n,
		  const struct statx *stx, struct out *o);

/* ---- content ---- */

struct nameless_content {
	uint64_t len; /* of the stream */
	uint8_t hash[SHA256_BYTES];
};

struct nameless_file {
	uint64_t node, size; /* a regular file */
};

/*
 * nameless_stream() - Write the content of files, one after the other
 *
 * Context: not on the leader thread; quiescent.
 * Return: 0; -E2BIG more than the sink takes; -ENOMEM; what reading and writing give.
 */
int nameless_stream(struct fuse_server *srv, const struct nameless_file *files, size_t n,
		    const struct fuse_sink *sink, struct nameless_content *ret, struct err *err);

/* ---- restoring ---- */

/* A record as it was read: points into what it was read from. */
struct nameless {
	uint32_t type, mode, uid, gid, rdev_major, rdev_minor;
	struct statx_timestamp atime, mtime;
	uint64_t size; /* of a regular file */
	char dir[PATH_MAX], target[PATH_MAX];
	uint32_t n_xattrs;
	const uint8_t *xattrs;
	size_t xattrs_len;
};

/* The rest of a record whose type, size and mtime are set. Return: 0; -EBADMSG. */
int nameless_parse(struct in *in, struct nameless *n);

/*
 * nameless_make() - Make the file again
 * @content:	Moves on behind its pieces
 *
 * Context: the leader thread.
 * Return: O_PATH descriptor the caller owns; -EBADMSG the content is not of this file; negative
 * errno.
 */
int nameless_make(struct fuse_server *srv, uint64_t node_id_, const struct nameless *n,
		  struct in *content);

#endif
