/* SPDX-License-Identifier: Apache-2.0 */
/* Guest physical address space outside RAM: fixed windows and free ones, never two on one spot. */
#ifndef VMM_MACHINE_MMIOALLOC_H
#define VMM_MACHINE_MMIOALLOC_H

#include <stdint.h>

#include "base/err.h"

#define MMIOALLOC_MAX 64

/* Zero-initialise. */
struct mmioalloc {
	struct {
		uint64_t base, len;
		const char *name;
	} used[MMIOALLOC_MAX]; /* sorted by base */
	unsigned n;
};

/**
 * mmioalloc_reserve() - Claim a fixed window
 * @name:	Static; for messages
 *
 * Return: 0; -EINVAL no range; -EEXIST overlap, naming both; -E2BIG too many.
 */
int mmioalloc_reserve(struct mmioalloc *a, uint64_t base, uint64_t len, const char *name,
		      struct err *err);

/**
 * mmioalloc_take() - Claim the lowest free window in [@from, @to)
 * @len:	Bytes, a power of two; the window is aligned to it
 *
 * Return: 0; -ENOSPC none free; else as mmioalloc_reserve().
 */
int mmioalloc_take(struct mmioalloc *a, uint64_t from, uint64_t to, uint64_t len, const char *name,
		   uint64_t *ret_base, struct err *err);

#endif
