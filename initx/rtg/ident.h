/* SPDX-License-Identifier: Apache-2.0 */
/* Names: one record for each in a compilation, the keywords among them. */
#ifndef INITX_RTG_IDENT_H
#define INITX_RTG_IDENT_H

#include "rtg/arena.h"

struct sym;

struct ident {
	const char *s;	    /* with a NUL behind */
	uint64_t head;	    /* its first eight bytes, zeroes behind its end */
	struct ident *next; /* in its hash bucket */
	struct sym *sym;    /* innermost meaning */
	uint32_t len, hash;
	uint8_t keyword; /* enum tok, or 0 for a name */
};

#define IDENT_BUCKETS 1024

struct idents {
	struct ident *buckets[IDENT_BUCKETS];
};

/* The record of a name, or NULL when no source has it. */
struct ident *ident_find(const struct idents *ids, const char *name);

/* The one record of a name, made when it is new. */
struct ident *ident_get(struct arena *a, struct idents *ids, const char *name);
/* The same for a name that stands in a text: @head as in struct ident. */
struct ident *ident_get_word(struct arena *a, struct idents *ids, const char *s, uint32_t len,
			     uint64_t head);

#endif
