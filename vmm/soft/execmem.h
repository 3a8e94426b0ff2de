/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for host code that this process writes: two views, so that none is writable and
 * executable. */
#ifndef SOFT_EXECMEM_H
#define SOFT_EXECMEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct execmem {
	uint8_t *rw, *rx; /* NULL when there is none */
	size_t size;
};

/**
 * execmem_init() - Map @size bytes, not committed before they are touched
 * @name:	What the mapping is called in /proc/PID/maps
 *
 * Context: before the process is locked down.
 * Return: 0; negative errno with nothing mapped.
 */
int execmem_init(struct execmem *m, const char *name, size_t size, struct err *err);
void execmem_done(struct execmem *m);

#endif
