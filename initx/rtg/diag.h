/* SPDX-License-Identifier: Apache-2.0 */
/* Source files of one compilation, positions in them, and the errors found. */
#ifndef INITX_RTG_DIAG_H
#define INITX_RTG_DIAG_H

#include "rtg/arena.h"

#define DIAG_MAX_ERRORS 100

/* Offset into all sources laid end to end, each followed by one byte of its own. */
typedef uint32_t src_pos_t;

struct src_file {
	const char *name;
	const char *text; /* not terminated */
	uint32_t len;
	src_pos_t base;
};

struct diag {
	src_pos_t pos;
	uint32_t seq;
	const char *msg;
};

struct diag_list {
	struct arena *arena;
	VEC(struct src_file) files;
	VEC(struct diag) errors;
	uint32_t n_dropped;
};

/* Add a source; @name and @text are borrowed. Returns its index. */
uint32_t diag_add_file(struct diag_list *dl, const char *name, const char *text, uint32_t len);

/* Record an error at @pos; a second one on the same position is dropped. */
void diag_error(struct diag_list *dl, src_pos_t pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Line and column, both from 1; the column counts bytes. */
void diag_locate(const struct diag_list *dl, src_pos_t pos, const struct src_file **ret_file,
		 uint32_t *ret_line, uint32_t *ret_col);

/**
 * diag_render() - All errors in source order as text
 *
 * Each: "file:line:column: error: message", the source line, and a caret under the column.
 * Return: arena string.
 */
char *diag_render(struct diag_list *dl);

#endif
