/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for host code that this process writes: two views, so that none is writable and
 * executable. */
#ifndef SOFT_EXECMEM_H
#define SOFT_EXECMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct execmem {
	uint8_t *rw, *rx; /* NULL when there is none */
	size_t size;
	bool placed; /* rx is in somebody's mapping, who unmaps it */
};

/**
 * execmem_init() - Map @size bytes, not committed before they are touched
 * @name:	What the mapping is called in /proc/PID/maps
 * @at:		Where the executable view goes, in a mapping of the caller's; NULL: anywhere
 *
 * Context: before the process is locked down.
 * Return: 0; negative errno with nothing mapped.
 */
int execmem_init(struct execmem *m, const char *name, size_t size, void *at, struct err *err);
void execmem_done(struct execmem *m);

#endif
