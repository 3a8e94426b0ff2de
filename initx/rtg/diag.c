/* SPDX-License-Identifier: Apache-2.0 */
/* Source positions and error messages with the line they speak of. */
#include "rtg/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rtg/strbuf.h"

#define MAX_SHOWN_LINE 200

uint32_t diag_add_file(struct diag_list *dl, const char *name, const char *text, uint32_t len)
{
	src_pos_t base = 1;

	if (dl->files.n) {
		const struct src_file *last = &dl->files.v[dl->files.n - 1];

		base = last->base + last->len + 1;
	}
	*VEC_NEW(dl->arena, &dl->files) =
		(struct src_file){ .name = name, .text = text, .len = len, .base = base };
	return dl->files.n - 1;
}

void diag_error(struct diag_list *dl, src_pos_t pos, const char *fmt, ...)
{
	char buf[400];
	va_list ap;

	for (uint32_t i = 0; i < dl->errors.n; i++)
		if (dl->errors.v[i].pos == pos)
			return;
	if (dl->errors.n >= DIAG_MAX_ERRORS) {
		dl->n_dropped++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	*VEC_NEW(dl->arena, &dl->errors) = (struct diag){
		.pos = pos, .seq = dl->errors.n, .msg = arena_strndup(dl->arena, buf, strlen(buf))
	};
}

void diag_locate(const struct diag_list *dl, src_pos_t pos, const struct src_file **ret_file,
		 uint32_t *ret_line, uint32_t *ret_col)
{
	const struct src_file *f = &dl->files.v[0];
	uint32_t line = 1, start = 0, off;

	for (uint32_t i = 0; i < dl->files.n; i++)
		if (pos >= dl->files.v[i].base)
			f = &dl->files.v[i];
	off = pos - f->base;
	if (off > f->len)
		off = f->len;
	for (uint32_t i = 0; i < off; i++) {
		if (f->text[i] == '\n') {
			line++;
			start = i + 1;
		}
	}
	*ret_file = f;
	*ret_line = line;
	*ret_col = off - start + 1;
}

static int diag_compare(const void *a, const void *b)
{
	const struct diag *x = a, *y = b;

	if (x->pos != y->pos)
		return x->pos < y->pos ? -1 : 1;
	return x->seq < y->seq ? -1 : 1;
}

/* The source line with unprintable bytes replaced, and the caret under @col. */
static void render_line(struct strbuf *sb, const struct src_file *f, uint32_t off, uint32_t col)
{
	uint32_t start = off - (col - 1);
	uint32_t end = start;

	while (end < f->len && f->text[end] != '\n' && end - start < MAX_SHOWN_LINE)
		end++;
	strbuf_puts(sb, "    ");
	for (uint32_t i = start; i < end; i++) {
		char c = f->text[i];

		strbuf_putc(sb, c == '\t' || (c >= ' ' && c < 127) ? c : '?');
	}
	strbuf_puts(sb, "\n    ");
	for (uint32_t i = start; i < off && i < end; i++)
		strbuf_putc(sb, f->text[i] == '\t' ? '\t' : ' ');
	strbuf_puts(sb, "^\n");
}

char *diag_render(struct diag_list *dl)
{
	struct strbuf sb = { .arena = dl->arena };

	qsort(dl->errors.v, dl->errors.n, sizeof(*dl->errors.v), diag_compare);
	for (uint32_t i = 0; i < dl->errors.n; i++) {
		const struct diag *d = &dl->errors.v[i];
		const struct src_file *f;
		uint32_t line, col, off;

		diag_locate(dl, d->pos, &f, &line, &col);
		off = d->pos - f->base;
		if (off > f->len)
			off = f->len;
		strbuf_printf(&sb, "%s:%u:%u: error: %s\n", f->name, line, col, d->msg);
		render_line(&sb, f, off, col);
	}
	if (dl->n_dropped)
		strbuf_printf(&sb, "too many errors: %u more\n", dl->n_dropped);
	strbuf_putc(&sb, '\0');
	return sb.s;
}
