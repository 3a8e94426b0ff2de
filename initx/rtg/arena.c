/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one compilation: bump allocation, freed as a whole. */
#include "rtg/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)256 * 1024)

struct arena_chunk {
	struct arena_chunk *next;
	size_t pad; /* keeps the payload 16-byte aligned */
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
		free(c);
	}
	a->cur = a->end = NULL;
	a->total = 0;
}

static void arena_refill(struct arena *a, size_t n)
{
	size_t want = n > CHUNK_BYTES ? n : CHUNK_BYTES;
	struct arena_chunk *c;

	if (n > a->limit || want > a->limit - a->total)
		longjmp(a->fail, 1);
	c = malloc(sizeof(*c) + want);
	if (!c)
		longjmp(a->fail, 2);
	c->next = a->chunks;
	a->chunks = c;
	a->total += want;
	a->cur = (uint8_t *)(c + 1);
	a->end = a->cur + want;
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
	memset(p, 0, n);
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
