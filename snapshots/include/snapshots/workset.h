/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `workset` of a snapshot: which pages of its memory a guest touched when it began.
 *
 * Theory of operation. The first machine that begins with a snapshot finds no such file, locks a new
 * one and writes it when the container has begun; the ones after it bring those pages in before the
 * guest needs them. It is a hint: what is not whole is not used but made anew, and nobody
 * waits for it.
 */
#ifndef SNAPSHOTS_WORKSET_H
#define SNAPSHOTS_WORKSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "snapshots/memory.h"
#include "snapshots/store.h"

#define SNAP_WORKSET_RUNS    8192
/* In pages. What is written is memory of this process; what is read is shared with its siblings. */
#define SNAP_WORKSET_WRITTEN 4096
#define SNAP_WORKSET_READ    16384

/* Pages of the file `memory`. */
struct snap_workset_run {
	uint32_t page, n;
	bool written;
};

struct snap_workset {
	struct snap_workset_run *v; /* ascending */
	size_t n;
	size_t at;  /* how far snap_workset_map() has come */
	bool asked; /* for all to be read from disk, or that is where they are not */
};

/**
 * snap_workset_parse() - Check the bytes of a working set
 * @n_pages:	Of the snapshot's memory
 *
 * Return: 0, *@ret owned by the caller; -EBADMSG; -ENOMEM.
 */
int snap_workset_parse(const uint8_t *p, size_t len, uint64_t n_pages, struct snap_workset *ret,
		       struct err *err);
void snap_workset_done(struct snap_workset *w);

/* Return: 0; -ENOENT, -EBADMSG: it is to be recorded; negative errno. */
int snap_workset_read(const struct snapshot *s, struct snap_workset *ret, struct err *err);

/* Return: a descriptor for snap_workset_record(); -EBUSY somebody else records; negative errno. */
int snap_workset_begin(const struct snapshot *s, struct err *err);

/**
 * snap_workset_record() - Write down which pages were touched
 * @fd:		From snap_workset_begin()
 * @ranges:	Private mappings of the whole memory, ascending
 * @pagemap_fd:	The process's own /proc/self/pagemap
 *
 * Calls nothing but pread, pwrite and ftruncate. Return: 0; negative errno.
 */
int snap_workset_record(int fd, const struct snap_range *ranges, size_t n, int pagemap_fd,
			struct err *err);

/**
 * snap_workset_map() - Bring the next pages in
 *
 * All of them from disk, if they are not there yet; those that will be written also into this
 * process, some at a time: the guest runs already, and wants the processor. What fails is left to
 * faults. Return: whether there are more.
 */
bool snap_workset_map(struct snap_workset *w, const struct snap_range *ranges, size_t n);

#endif
