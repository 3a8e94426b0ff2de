/* SPDX-License-Identifier: Apache-2.0 */
/* Text and bytes that grow in an arena. */
#include "rtg/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void strbuf_reserve(struct strbuf *sb, size_t more)
{
	size_t cap = sb->cap ? sb->cap : 32;
	char *s;

	if (more > SIZE_MAX / 4)
		arena_fail(sb->arena, 1);
	if (sb->cap - sb->len >= more)
		return;
	while (cap - sb->len < more)
		cap *= 2;
	if (!arena_extend(sb->arena, sb->s, sb->cap, cap)) {
		s = arena_alloc(sb->arena, cap);
		if (sb->len)
			memcpy(s, sb->s, sb->len);
		sb->s = s;
	}
	sb->cap = cap;
}

void strbuf_put(struct strbuf *sb, const void *data, size_t len)
{
	if (len)
		memcpy(strbuf_add(sb, len), data, len);
}

void strbuf_puts(struct strbuf *sb, const char *s)
{
	strbuf_put(sb, s, strlen(s));
}

void strbuf_printf(struct strbuf *sb, const char *fmt, ...)
{
	char buf[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (n > 0)
		strbuf_put(sb, buf, (size_t)n < sizeof(buf) ? (size_t)n : sizeof(buf) - 1);
}

void strbuf_zeros(struct strbuf *sb, size_t len)
{
	if (len)
		memset(strbuf_add(sb, len), 0, len);
}

void strbuf_align(struct strbuf *sb, size_t align)
{
	strbuf_zeros(sb, (align - sb->len % align) % align);
}
