/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of one compilation: bump allocation, freed as a whole.
 *
 * Theory of operation. Everything the compiler makes lives in one arena, and nothing in the
 * compiler owns anything else, so no frame between arena_alloc() and the setjmp() in rtg_compile()
 * needs cleaning up. Running out of memory (or over the arena's limit) therefore leaves by longjmp
 * to that one place, and no caller has to check.
 */
#ifndef INITX_RTG_ARENA_H
#define INITX_RTG_ARENA_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;
	uint8_t *cur;
	uint8_t *end;
	size_t total; /* bytes of all chunks */
	size_t limit; /* of total */
	size_t chunk; /* bytes asked of the kernel at once */
	struct arena *parent;
	jmp_buf fail; /* armed by the owner before the first arena_alloc(); a parent's counts */
};

void arena_init(struct arena *a, size_t limit);
/* For what one pass over one function needs: fails to where @parent does. */
void arena_init_scratch(struct arena *a, struct arena *parent);
void arena_done(struct arena *a);
/* Forget all contents and keep the first chunk, for the next use. */
void arena_clear(struct arena *a);

/* Leave by the owner's setjmp(); @why: 1 too large, 2 no memory. */
_Noreturn void arena_fail(struct arena *a, int why);

/* arena_alloc() when the current chunk is full. */
void *arena_alloc_slow(struct arena *a, size_t n);

/* Zeroed, 16-byte aligned; never NULL (leaves by arena_fail()). */
static inline void *arena_alloc(struct arena *a, size_t n)
{
	size_t room = (size_t)(a->end - a->cur);
	uint8_t *p = a->cur;

	if (!p || n > room) /* room is a multiple of 16 */
		return arena_alloc_slow(a, n);
	a->cur += (n + 15) & ~(size_t)15;
	return p;
}

/* Copy of @len bytes with a NUL behind. */
char *arena_strndup(struct arena *a, const char *s, size_t len);

/* snprintf into the arena. */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Whether @p of @old bytes, if it was allocated last, now has @new bytes where it stands. */
bool arena_extend(struct arena *a, const void *p, size_t old, size_t new);

/* The array @v of @n elements with twice the room (at least 4), perhaps moved. Sets *cap. */
void *arena_grow(struct arena *a, void *v, uint32_t n, uint32_t *cap, size_t elem_size);

#define VEC(type)                \
	struct {                 \
		type *v;         \
		uint32_t n, cap; \
	}

/* Room for one more element; yields a pointer to it (old content: unspecified). */
#define VEC_NEW(a, vec)                                                                        \
	((vec)->n == (vec)->cap ? ((vec)->v = arena_grow((a), (vec)->v, (vec)->n, &(vec)->cap, \
							 sizeof(*(vec)->v)),                   \
				   &(vec)->v[(vec)->n++])                                      \
				: &(vec)->v[(vec)->n++])

#define VEC_PUSH(a, vec, item) (*VEC_NEW(a, vec) = (item))

#endif
