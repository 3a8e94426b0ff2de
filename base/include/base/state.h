/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved state as data: each device and vCPU describes its fields in a table, and these functions
 * turn the object into bytes and back.
 *
 * Wire form of one section (all integers little-endian): u32 version, then every field that this
 * version has, in table order, without padding. A field's element size is fixed by its type, so the
 * form does not depend on the host's struct layout. Names, lengths and checksums of sections belong
 * to the snapshot format, not here.
 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum state_type {
	STATE_END,
	STATE_U8,
	STATE_U16,
	STATE_U32,
	STATE_U64,
	STATE_BOOL,   /* one byte, 0 or 1; anything else is -EBADMSG */
	STATE_BYTES,  /* raw byte array, size of the member */
	STATE_STRUCT, /* nested table(s): .sub describes one element */
	STATE_MAX_,
};

struct state_desc;

struct state_field {
	const char *name; /* for messages: "rtc-cmos.index" */
	enum state_type type;
	uint32_t offset;    /* in the object */
	uint32_t elem_size; /* of one element in the object */
	uint32_t n_elems;   /* 1 for scalars */
	uint32_t since;	    /* first version of the section that has the field */
	const struct state_desc *sub;
};

struct state_desc {
	const char *name;     /* stable: the section's name */
	uint32_t version;     /* written */
	uint32_t min_version; /* oldest that can be read; fields newer than the data keep their value */
	const struct state_field *fields;
	/* Optional: bring the object into savable form. Not allowed to fail. */
	void (*pre_save)(void *obj);
	/* Optional: range checks and derived state; the bytes are untrusted. Negative errno refuses. */
	int (*post_load)(void *obj, struct err *err);
};

/* One scalar member, or an array of them (the element size comes from the type). */
#define STATE_FIELD(stype, member, ftype, first_version)                          \
	{                                                                         \
		.name = #member, .type = (ftype), .offset = offsetof(stype, member), \
		.elem_size = STATE_ELEM_SIZE(ftype, sizeof(((stype *)0)->member)), \
		.n_elems = sizeof(((stype *)0)->member) /                         \
			   STATE_ELEM_SIZE(ftype, sizeof(((stype *)0)->member)),  \
		.since = (first_version),                                         \
	}

/* A nested struct, or an array of @count of them. */
#define STATE_SUB(stype, member, sub_desc, count, first_version)                      \
	{                                                                             \
		.name = #member, .type = STATE_STRUCT, .offset = offsetof(stype, member), \
		.elem_size = sizeof(((stype *)0)->member) / (count), .n_elems = (count), \
		.since = (first_version), .sub = (sub_desc),                          \
	}

#define STATE_ELEM_SIZE(ftype, whole)                      \
	((ftype) == STATE_U8 || (ftype) == STATE_BOOL ? 1 : \
	 (ftype) == STATE_U16 ? 2 :                        \
	 (ftype) == STATE_U32 ? 4 :                        \
	 (ftype) == STATE_U64 ? 8 :                        \
				(whole))

/**
 * state_size() - Bytes that state_save() will write
 */
size_t state_size(const struct state_desc *desc);

/**
 * state_save() - Write an object's section
 * @desc:	Its table
 * @obj:	The object; pre_save may change it
 * @buf:	Destination of at least state_size(@desc) bytes
 *
 * Context: the object must be quiescent.
 * Return: bytes written.
 */
size_t state_save(const struct state_desc *desc, void *obj, void *buf);

/**
 * state_load() - Fill an object from a section
 * @desc:	Its table
 * @obj:	The object; unspecified content after a failure, still safe to free
 * @buf:	Untrusted bytes
 * @len:	Their number
 * @err:	Names section and field
 *
 * Return: 0; -EBADMSG too short, too long or a bad value; -ESTALE unknown version; what post_load
 * returns.
 */
int state_load(const struct state_desc *desc, void *obj, const void *buf, size_t len,
	       struct err *err);

#endif
