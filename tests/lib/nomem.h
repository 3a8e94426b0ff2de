/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that fail, for programs linked with nomem_dep: what calls
 * malloc, calloc, realloc, strdup or pthread_create by name gets here first.
 */
#ifndef TESTS_LIB_NOMEM_H
#define TESTS_LIB_NOMEM_H

#include <stdbool.h>

/* After @n more allocations one fails; if @all, those after it too. */
void nomem_after(int n, bool all);
/* After @n more threads one cannot be made. */
void nomem_threads_after(int n);
/* From here on all is well again. */
void nomem_never(void);
/* Whether what the calling thread allocates counts, and may fail (as at first). */
void nomem_spare_me(bool spare);

#endif
