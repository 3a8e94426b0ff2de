/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of the pages of this process: /proc/self/pagemap. */
#ifndef SNAPSHOTS_PAGEMAP_H
#define SNAPSHOTS_PAGEMAP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fd.h"

#define SNAP_PAGE	4096ULL
#define PAGEMAP_BATCH	512 /* entries read at once */
/* Ref: linux Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (1ULL << 63)
#define PAGEMAP_SWAPPED (1ULL << 62)
#define PAGEMAP_FILE	(1ULL << 61)

/* Entries of @n pages from @p on. Return: 0; negative errno. */
static inline int pagemap_read(int fd, const void *p, size_t n, uint64_t *ret)
{
	ssize_t got =
		fd_pread_full(fd, ret, n * sizeof(*ret), (uintptr_t)p / SNAP_PAGE * sizeof(*ret));

	return got < 0 ? (int)got : got == (ssize_t)(n * sizeof(*ret)) ? 0 : -EIO;
}

/* Of a private mapping: the process's own copy, not the file's page. */
static inline bool pagemap_is_own(uint64_t entry)
{
	return (entry & PAGEMAP_SWAPPED) || ((entry & PAGEMAP_PRESENT) && !(entry & PAGEMAP_FILE));
}

#endif
