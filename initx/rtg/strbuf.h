/* SPDX-License-Identifier: Apache-2.0 */
/* Text and bytes that grow in an arena. */
#ifndef INITX_RTG_STRBUF_H
#define INITX_RTG_STRBUF_H

#include "rtg/arena.h"

struct strbuf {
	struct arena *arena;
	char *s; /* not terminated */
	size_t len, cap;
};

/* Room for @more bytes behind the content. */
void strbuf_reserve(struct strbuf *sb, size_t more);

/* @len more bytes, at least one, for the caller to fill. */
static inline char *strbuf_add(struct strbuf *sb, size_t len)
{
	if (sb->cap - sb->len < len)
		strbuf_reserve(sb, len);
	sb->len += len;
	return sb->s + sb->len - len;
}

void strbuf_put(struct strbuf *sb, const void *data, size_t len);
void strbuf_puts(struct strbuf *sb, const char *s);
void strbuf_printf(struct strbuf *sb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Fill with zeroes up to a multiple of @align, a power of two. */
void strbuf_align(struct strbuf *sb, size_t align);

/* @len zero bytes. */
void strbuf_zeros(struct strbuf *sb, size_t len);

static inline void strbuf_putc(struct strbuf *sb, char c)
{
	if (sb->len == sb->cap)
		strbuf_reserve(sb, 1);
	sb->s[sb->len++] = c;
}

#endif
