/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one compilation: bump allocation, freed as a whole. */
#include "rtg/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Straight from the kernel, so zeroed already, and aligned to a huge page: one fault for all of it
 * where the host gives one. Faults by the page are otherwise half of a compilation's time.
 */
#define CHUNK_BYTES	    ((size_t)2 * 1024 * 1024)
#define SCRATCH_CHUNK_BYTES ((size_t)64 * 1024)

struct arena_chunk {
	struct arena_chunk *next;
	size_t len;
	bool borrowed; /* from the parent, else a mapping */
} __attribute__((aligned(16)));

void arena_init(struct arena *a, size_t limit)
{
	*a = (struct arena){ .limit = limit, .chunk = CHUNK_BYTES };
}

void arena_init_scratch(struct arena *a, struct arena *parent)
{
	*a = (struct arena){ .limit = parent->limit,
			     .chunk = SCRATCH_CHUNK_BYTES,
			     .parent = parent };
}

void arena_fail(struct arena *a, int why)
{
	while (a->parent)
		a = a->parent;
	longjmp(a->fail, why);
}

static void drop_chunk(struct arena *a)
{
	struct arena_chunk *c = a->chunks;

	a->chunks = c->next;
	a->total -= c->len;
	if (!c->borrowed)
		munmap(c, c->len);
}

void arena_done(struct arena *a)
{
	while (a->chunks)
		drop_chunk(a);
	a->cur = a->end = NULL;
}

void arena_clear(struct arena *a)
{
	uint8_t *used = a->cur, *start;

	if (!a->chunks)
		return;
	while (a->chunks->next) {
		drop_chunk(a);
		used = (uint8_t *)a->chunks + a->chunks->len;
	}
	start = (uint8_t *)(a->chunks + 1);
	memset(start, 0, (size_t)(used - start));
	a->cur = start;
	a->end = (uint8_t *)a->chunks + a->chunks->len;
}

/* @len bytes at a multiple of the chunk size: what is mapped too much is given back. */
static void *map_aligned(size_t len)
{
	uint8_t *p = mmap(NULL, len + CHUNK_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t head;

	if (p == MAP_FAILED)
		return NULL;
	head = (CHUNK_BYTES - (uintptr_t)p % CHUNK_BYTES) % CHUNK_BYTES;
	if (head)
		munmap(p, head);
	munmap(p + head + len, CHUNK_BYTES - head);
	(void)madvise(p + head, len, MADV_HUGEPAGE); /* advice */
	return p + head;
}

static void arena_refill(struct arena *a, size_t n)
{
	bool borrowed = a->parent && !a->chunks && n + sizeof(struct arena_chunk) <= a->chunk;
	size_t want = a->chunk;
	struct arena_chunk *c;

	if (n > a->limit)
		arena_fail(a, 1);
	while (want < n + sizeof(*c))
		want *= 2;
	if (want > a->limit - a->total)
		arena_fail(a, 1);
	c = borrowed ? arena_alloc(a->parent, want) : map_aligned(want);
	if (!c)
		arena_fail(a, 2);
	c->borrowed = borrowed;
	c->len = want;
	c->next = a->chunks;
	a->chunks = c;
	a->total += want;
	a->cur = (uint8_t *)(c + 1);
	a->end = (uint8_t *)c + want;
}

void *arena_alloc_slow(struct arena *a, size_t n)
{
	if (n > SIZE_MAX / 2)
		arena_fail(a, 1);
	arena_refill(a, (n + 15) & ~(size_t)15);
	return arena_alloc(a, n);
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

bool arena_extend(struct arena *a, const void *p, size_t old, size_t new)
{
	size_t from = (old + 15) & ~(size_t)15, to = (new + 15) & ~(size_t)15;

	if (!p || (const uint8_t *)p + from != a->cur || to - from > (size_t)(a->end - a->cur))
		return false;
	a->cur += to - from;
	return true;
}

void *arena_grow(struct arena *a, void *v, uint32_t n, uint32_t *cap, size_t elem_size)
{
	uint32_t new_cap = *cap ? *cap * 2 : 4;
	void *p;

	if (new_cap < *cap)
		arena_fail(a, 1);
	if (arena_extend(a, v, *cap * elem_size, new_cap * elem_size)) {
		*cap = new_cap;
		return v;
	}
	p = arena_alloc(a, new_cap * elem_size);
	if (n)
		memcpy(p, v, n * elem_size);
	*cap = new_cap;
	return p;
}
