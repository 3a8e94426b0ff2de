/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a saved state. */
#include "stateio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* ---- writing ---- */

void out_bytes(struct out *o, const void *p, size_t len)
{
	if (o->failed)
		return;
	if (len > o->room - o->len) {
		size_t room = (o->room + len) * 2;
		uint8_t *grown = realloc(o->p, room);

		if (!grown) {
			o->failed = true;
			return;
		}
		o->p = grown;
		o->room = room;
	}
	if (len)
		memcpy(o->p + o->len, p, len);
	o->len += len;
}

void out_u16(struct out *o, uint16_t v)
{
	uint8_t b[2];

	le16_store(b, v);
	out_bytes(o, b, sizeof(b));
}

void out_u32(struct out *o, uint32_t v)
{
	uint8_t b[4];

	le32_store(b, v);
	out_bytes(o, b, sizeof(b));
}

void out_u64(struct out *o, uint64_t v)
{
	uint8_t b[8];

	le64_store(b, v);
	out_bytes(o, b, sizeof(b));
}

void out_time(struct out *o, const struct statx_timestamp *t)
{
	out_u64(o, (uint64_t)t->tv_sec);
	out_u32(o, t->tv_nsec);
}

void out_text(struct out *o, const char *text)
{
	out_u16(o, (uint16_t)strlen(text));
	out_bytes(o, text, strlen(text));
}

/* ---- reading ---- */

const uint8_t *in_take(struct in *in, size_t len)
{
	const uint8_t *p = in->p;

	if (in->failed || len > in->left) {
		in->failed = true;
		return NULL;
	}
	in->p += len;
	in->left -= len;
	return p;
}

uint16_t in_u16(struct in *in)
{
	const uint8_t *p = in_take(in, 2);

	return p ? le16_load(p) : 0;
}

uint32_t in_u32(struct in *in)
{
	const uint8_t *p = in_take(in, 4);

	return p ? le32_load(p) : 0;
}

uint64_t in_u64(struct in *in)
{
	const uint8_t *p = in_take(in, 8);

	return p ? le64_load(p) : 0;
}

struct statx_timestamp in_time(struct in *in)
{
	int64_t sec = (int64_t)in_u64(in);

	return (struct statx_timestamp){ .tv_sec = sec, .tv_nsec = in_u32(in) };
}

int in_text(struct in *in, char *buf, size_t size)
{
	uint16_t len = in_u16(in);
	const uint8_t *p = in_take(in, len);

	if (!p || len >= size || memchr(p, 0, len))
		return -EBADMSG;
	memcpy(buf, p, len);
	buf[len] = 0;
	return 0;
}
