/* SPDX-License-Identifier: Apache-2.0 */
/* The file `memory` of a snapshot: flat, sparse, in the order of guest physical addresses. */
#ifndef SNAPSHOTS_MEMORY_H
#define SNAPSHOTS_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "snapshots/manifest.h"

/* Host memory that belongs at a place of the file. Page-aligned. */
struct snap_range {
	const void *p;
	uint64_t len, off;
};

/**
 * snap_memory_write() - Write memory to a fresh, empty file
 * @fd:		The file
 * @ranges:	All that is to be in it, ascending and without gaps
 * @pagemap_fd:	The process's own /proc/self/pagemap, or -1: tells pages that were never touched,
 *		so that they need not be looked at
 * @base:	Ranges are private mappings of this snapshot's memory: its runs have content also
 *		where nothing was touched; NULL: fresh memory
 *
 * Pages of zeros become holes. Nothing but read, pwrite and ftruncate is called, so that a process
 * which has given up its rights can do it.
 * Return: 0; -ENOSPC and what else writing gives.
 */
int snap_memory_write(int fd, const struct snap_range *ranges, size_t n, int pagemap_fd,
		      const struct snap_manifest *base, struct err *err);

/* Find the runs of a file that hold data, by its holes. Return: 0; negative errno. */
int snap_memory_runs(int fd, struct snap_manifest *m, struct err *err);

/* Fill in the chunks' hashes. @m: memory_bytes and runs are set. */
int snap_memory_hash(int fd, struct snap_manifest *m, struct err *err);

/* Compare a file with its manifest. Return: 0; -EBADMSG, with the first chunk that differs. */
int snap_memory_verify(int fd, const struct snap_manifest *m, struct err *err);

#endif
