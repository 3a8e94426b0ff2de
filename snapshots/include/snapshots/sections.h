/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `state` of a snapshot: named sections of bytes. What is in them is their owners'
 * business. The form is in docs/snapshot-format.md.
 *
 * Theory of operation. Writing: sections are added to a buffer, snap_sections_finish() closes it.
 * Reading: snap_sections_parse() checks every byte of the whole file before any section is given
 * out; snap_sections_find() marks a section as taken, and snap_sections_check_taken() refuses a file
 * with a mandatory one that nobody knew.
 */
#ifndef SNAPSHOTS_SECTIONS_H
#define SNAPSHOTS_SECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define SNAP_SECTION_NAME_MAX 63
#define SNAP_SECTIONS_MAX     512
#define SNAP_STATE_MAX	      (256u << 20) /* bytes of the file */

/* ---- writing ---- */

struct snap_buf {
	uint8_t *p; /* owned: snap_buf_done() */
	size_t len, room;
	unsigned n;
};

void snap_buf_done(struct snap_buf *b);

/**
 * snap_sections_add() - Append a section
 * @name:	1 to SNAP_SECTION_NAME_MAX characters
 * @instance:	Tells several of one name apart
 * @mandatory:	A reader that does not know it must refuse the snapshot
 *
 * Return: 0; -ENOMEM; -E2BIG too much for a file.
 */
int snap_sections_add(struct snap_buf *b, const char *name, uint32_t instance, bool mandatory,
		      const void *data, size_t len, struct err *err);

/* Close the file: b->p and b->len are its bytes. Return: 0; -ENOMEM. */
int snap_sections_finish(struct snap_buf *b, struct err *err);

/* ---- reading ---- */

struct snap_section {
	char name[SNAP_SECTION_NAME_MAX + 1];
	uint32_t instance;
	bool mandatory, taken;
	const uint8_t *data; /* inside the parsed bytes */
	size_t len;
};

struct snap_sections {
	struct snap_section *v; /* owned: snap_sections_done() */
	unsigned n;
};

/**
 * snap_sections_parse() - Check a file and find its sections
 * @bytes:	The untrusted file; must outlive @ret
 *
 * Return: 0; -EBADMSG damaged or cut, with the place; -ESTALE another version of the format; -E2BIG;
 * -ENOMEM.
 */
int snap_sections_parse(const uint8_t *bytes, size_t len, struct snap_sections *ret,
			struct err *err);
void snap_sections_done(struct snap_sections *s);

/* The section, marked as taken; NULL: there is none. */
const struct snap_section *snap_sections_find(struct snap_sections *s, const char *name,
					      uint32_t instance);

/* Return: 0; -ESTALE a mandatory section was not taken. */
int snap_sections_check_taken(const struct snap_sections *s, struct err *err);

#endif
