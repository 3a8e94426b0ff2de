/* SPDX-License-Identifier: Apache-2.0 */
/* One LZ4 block, from bytes that nobody vouches for. Ref: lz4 doc/lz4_Block_format.md. */
#include "internal.h"

#define MIN_MATCH 4
#define LEN_MORE  15

struct reader {
	const uint8_t *at, *end;
};

/* A length that goes on in further bytes. false: it runs off the end. */
static bool more_length(struct reader *r, uint64_t *len)
{
	uint8_t byte;

	if (*len != LEN_MORE)
		return true;
	do {
		if (r->at == r->end)
			return false;
		byte = *r->at++;
		*len += byte;
	} while (byte == 0xff);
	return true;
}

int64_t lz4_block(const uint8_t *src, uint64_t src_len, uint8_t *dst, uint64_t dst_len)
{
	struct reader r = { src, src + src_len };
	uint64_t out = 0;

	while (r.at < r.end) {
		uint8_t token = *r.at++;
		uint64_t literals = token >> 4, match = token & 15, offset;

		if (!more_length(&r, &literals) || literals > (uint64_t)(r.end - r.at) ||
		    literals > dst_len - out)
			return -1;
		memcpy(dst + out, r.at, literals);
		r.at += literals;
		out += literals;
		if (r.at == r.end)
			return (int64_t)out; /* the last sequence has no match */
		if (r.end - r.at < 2)
			return -1;
		offset = le16(r.at);
		r.at += 2;
		if (!more_length(&r, &match))
			return -1;
		match += MIN_MATCH;
		if (!offset || offset > out || match > dst_len - out)
			return -1;
		for (uint64_t i = 0; i < match; i++, out++)
			dst[out] = dst[out - offset];
	}
	return -1; /* it must end with literals */
}
