/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one compilation: bump allocation, freed as a whole. */
#include "rtg/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Straight from the kernel: zeroed already, and faulted in with one call instead of a trap a page,
 * which is a good part of a compilation that takes a millisecond.
 */
#define CHUNK_BYTES ((size_t)1024 * 1024)
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct arena_chunk {
	struct arena_chunk *next;
	size_t len; /* of the mapping */
};

void arena_init(struct arena *a, size_t limit)
{
	*a = (struct arena){ .limit = limit };
}

void arena_done(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *c = a->chunks;

		a->chunks = c->next;
		munmap(c, c->len);
	}
	a->cur = a->end = NULL;
	a->total = 0;
}

static void arena_refill(struct arena *a, size_t n)
{
	size_t want = CHUNK_BYTES;
	struct arena_chunk *c;

	if (n > a->limit)
		longjmp(a->fail, 1);
	while (want < n + sizeof(*c))
		want *= 2;
	if (want > a->limit - a->total)
		longjmp(a->fail, 1);
	c = mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c == MAP_FAILED)
		longjmp(a->fail, 2);
	if (want == CHUNK_BYTES) /* advice: older kernels fault page by page */
		(void)madvise(c, want, MADV_POPULATE_WRITE);
	c->len = want;
	c->next = a->chunks;
	a->chunks = c;
	a->total += want;
	a->cur = (uint8_t *)(c + 1);
	a->end = (uint8_t *)c + want;
}

void *arena_alloc(struct arena *a, size_t n)
{
	void *p;

	if (n > SIZE_MAX / 2)
		longjmp(a->fail, 1);
	n = (n + 15) & ~(size_t)15;
	if ((size_t)(a->end - a->cur) < n)
		arena_refill(a, n);
	p = a->cur;
	a->cur += n;
	return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *p = arena_alloc(a, len + 1);

	if (len)
		memcpy(p, s, len);
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char buf[512];
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	if ((size_t)n >= sizeof(buf))
		n = sizeof(buf) - 1;
	return arena_strndup(a, buf, (size_t)n);
}

void *arena_grow(struct arena *a, void *v, uint32_t n, uint32_t *cap, size_t elem_size)
{
	uint32_t new_cap = *cap ? *cap * 2 : 8;
	void *p;

	if (new_cap < *cap)
		longjmp(a->fail, 1);
	p = arena_alloc(a, new_cap * elem_size);
	if (n)
		memcpy(p, v, n * elem_size);
	*cap = new_cap;
	return p;
}
