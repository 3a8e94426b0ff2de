/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership of locals: released when the scope ends, handed over by STEAL_PTR or fd_steal. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <errno.h>
#include <stdlib.h>

/* Variable is released by @fn, which receives a pointer to it. Initialise at the declaration. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Define xs_freep() for CLEANUP() from a destructor that takes the pointer itself. */
#define CLEANUP_DEFINE(type, fn)                \
	static inline void fn##p(type **p)      \
	{                                       \
		int saved_errno_ = errno;       \
		fn(*p);                         \
		errno = saved_errno_;           \
	}                                       \
	struct cleanup_needs_semicolon_

static inline void cleanup_free(void *p)
{
	int saved_errno_ = errno;

	free(*(void **)p);
	errno = saved_errno_;
}

/* Memory from malloc(), freed at the end of the scope. */
#define AUTO_FREE CLEANUP(cleanup_free)

/* Hand the pointer over: yields its value and leaves NULL behind. */
#define STEAL_PTR(p)                       \
	({                                 \
		__typeof__(p) stolen_ = (p); \
		(p) = NULL;                \
		stolen_;                   \
	})

#endif
