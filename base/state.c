/* SPDX-License-Identifier: Apache-2.0 */
/* Saved state as data: the walker over state tables. */
#include "base/state.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/checked.h"

#define VERSION_SIZE 4

static size_t fields_size(const struct state_desc *desc, uint32_t version)
{
	size_t size = 0;

	for (const struct state_field *f = desc->fields; f->type != STATE_END; f++) {
		if (f->since > version)
			continue;
		if (f->type == STATE_STRUCT)
			size += f->n_elems * fields_size(f->sub, f->sub->version);
		else
			size += (size_t)f->n_elems * f->elem_size;
	}
	return size;
}

size_t state_size(const struct state_desc *desc)
{
	return VERSION_SIZE + fields_size(desc, desc->version);
}

static void elem_save(enum state_type type, const void *src, uint8_t *dst, size_t size)
{
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (type) {
	case STATE_U16:
		memcpy(&v16, src, sizeof(v16));
		le16_store(dst, v16);
		break;
	case STATE_U32:
		memcpy(&v32, src, sizeof(v32));
		le32_store(dst, v32);
		break;
	case STATE_U64:
		memcpy(&v64, src, sizeof(v64));
		le64_store(dst, v64);
		break;
	case STATE_U8:
	case STATE_BOOL:
	case STATE_BYTES:
	case STATE_STRUCT:
	case STATE_END:
	case STATE_MAX_:
		memcpy(dst, src, size);
		break;
	}
}

static void elem_load(enum state_type type, void *dst, const uint8_t *src, size_t size)
{
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (type) {
	case STATE_U16:
		v16 = le16_load(src);
		memcpy(dst, &v16, sizeof(v16));
		break;
	case STATE_U32:
		v32 = le32_load(src);
		memcpy(dst, &v32, sizeof(v32));
		break;
	case STATE_U64:
		v64 = le64_load(src);
		memcpy(dst, &v64, sizeof(v64));
		break;
	case STATE_U8:
	case STATE_BOOL:
	case STATE_BYTES:
	case STATE_STRUCT:
	case STATE_END:
	case STATE_MAX_:
		memcpy(dst, src, size);
		break;
	}
}

static uint8_t *fields_save(const struct state_desc *desc, char *obj, uint8_t *out)
{
	if (desc->pre_save)
		desc->pre_save(obj);
	for (const struct state_field *f = desc->fields; f->type != STATE_END; f++) {
		if (f->since > desc->version)
			continue;
		for (uint32_t i = 0; i < f->n_elems; i++) {
			char *elem = obj + f->offset + (size_t)i * f->elem_size;

			if (f->type == STATE_STRUCT) {
				out = fields_save(f->sub, elem, out);
				continue;
			}
			elem_save(f->type, elem, out, f->elem_size);
			out += f->elem_size;
		}
	}
	return out;
}

size_t state_save(const struct state_desc *desc, void *obj, void *buf)
{
	uint8_t *out = buf;

	le32_store(out, desc->version);
	return (size_t)(fields_save(desc, obj, out + VERSION_SIZE) - out);
}

static int fields_load(const struct state_desc *desc, uint32_t version, char *obj,
		       const uint8_t **in, struct err *err)
{
	for (const struct state_field *f = desc->fields; f->type != STATE_END; f++) {
		if (f->since > version)
			continue;
		for (uint32_t i = 0; i < f->n_elems; i++) {
			char *elem = obj + f->offset + (size_t)i * f->elem_size;
			int r;

			if (f->type == STATE_STRUCT) {
				r = fields_load(f->sub, f->sub->version, elem, in, err);
				if (r < 0)
					return r;
				continue;
			}
			if (f->type == STATE_BOOL && **in > 1)
				return err_set(err, -EBADMSG, "%s.%s is %u, not 0 or 1", desc->name,
					       f->name, **in);
			elem_load(f->type, elem, *in, f->elem_size);
			*in += f->elem_size;
		}
	}
	return desc->post_load ? desc->post_load(obj, err) : 0;
}

int state_load(const struct state_desc *desc, void *obj, const void *buf, size_t len,
	       struct err *err)
{
	const uint8_t *in = buf;
	uint32_t version;
	size_t want;

	if (len < VERSION_SIZE)
		return err_set(err, -EBADMSG, "%s: %zu bytes are too few", desc->name, len);
	version = le32_load(in);
	if (version < desc->min_version || version > desc->version)
		return err_set(err, -ESTALE, "%s: version %u is not one of %u to %u", desc->name,
			       version, desc->min_version, desc->version);
	want = VERSION_SIZE + fields_size(desc, version);
	if (len != want)
		return err_set(err, -EBADMSG, "%s: %zu bytes, expected %zu", desc->name, len, want);
	in += VERSION_SIZE;
	return fields_load(desc, version, obj, &in, err);
}
