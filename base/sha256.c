/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256. */
#include "base/sha256.h"

#include <string.h>

#include "base/checked.h"

static const uint32_t k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static const uint32_t h_init[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static uint32_t ror(uint32_t v, unsigned n)
{
	return v >> n | v << (32 - n);
}

static uint32_t be32_load(const uint8_t *p)
{
	return __builtin_bswap32(le32_load(p));
}

/* The values take turns at their places: nothing is moved. */
static inline void round_of(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f,
			    uint32_t g, uint32_t *h, uint32_t kw)
{
	uint32_t t = *h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + (g ^ (e & (f ^ g))) + kw;

	*d += t;
	*h = t + (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) | (c & (a | b)));
}

static void rounds(uint32_t s[8], const uint32_t w[64])
{
	uint32_t v0 = s[0], v1 = s[1], v2 = s[2], v3 = s[3];
	uint32_t v4 = s[4], v5 = s[5], v6 = s[6], v7 = s[7];

	for (unsigned i = 0; i < 64; i += 8) {
		round_of(v0, v1, v2, &v3, v4, v5, v6, &v7, k[i] + w[i]);
		round_of(v7, v0, v1, &v2, v3, v4, v5, &v6, k[i + 1] + w[i + 1]);
		round_of(v6, v7, v0, &v1, v2, v3, v4, &v5, k[i + 2] + w[i + 2]);
		round_of(v5, v6, v7, &v0, v1, v2, v3, &v4, k[i + 3] + w[i + 3]);
		round_of(v4, v5, v6, &v7, v0, v1, v2, &v3, k[i + 4] + w[i + 4]);
		round_of(v3, v4, v5, &v6, v7, v0, v1, &v2, k[i + 5] + w[i + 5]);
		round_of(v2, v3, v4, &v5, v6, v7, v0, &v1, k[i + 6] + w[i + 6]);
		round_of(v1, v2, v3, &v4, v5, v6, v7, &v0, k[i + 7] + w[i + 7]);
	}
	s[0] += v0;
	s[1] += v1;
	s[2] += v2;
	s[3] += v3;
	s[4] += v4;
	s[5] += v5;
	s[6] += v6;
	s[7] += v7;
}

static void block(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64];

	for (unsigned i = 0; i < 16; i++)
		w[i] = be32_load(p + 4 * i);
	for (unsigned i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + w[i - 7] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) +
		       (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
	}
	rounds(h, w);
}

void sha256_init(struct sha256 *s)
{
	memcpy(s->h, h_init, sizeof(s->h));
	s->len = 0;
}

void sha256_update(struct sha256 *s, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t have = s->len % sizeof(s->block);

	s->len += len;
	if (have) {
		size_t n = MIN(len, sizeof(s->block) - have);

		memcpy(s->block + have, p, n);
		p += n;
		len -= n;
		if (have + n < sizeof(s->block))
			return;
		block(s->h, s->block);
	}
	for (; len >= sizeof(s->block); p += sizeof(s->block), len -= sizeof(s->block))
		block(s->h, p);
	memcpy(s->block, p, len);
}

void sha256_final(struct sha256 *s, uint8_t ret[SHA256_BYTES])
{
	static const uint8_t pad[64] = { 0x80 };
	uint64_t bits = __builtin_bswap64(s->len * 8);
	size_t have = s->len % sizeof(s->block);

	sha256_update(s, pad, have < 56 ? 56 - have : 120 - have);
	sha256_update(s, &bits, sizeof(bits));
	for (unsigned i = 0; i < 8; i++)
		le32_store(ret + 4 * i, __builtin_bswap32(s->h[i]));
}

void sha256_of(const void *data, size_t len, uint8_t ret[SHA256_BYTES])
{
	struct sha256 s;

	sha256_init(&s);
	sha256_update(&s, data, len);
	sha256_final(&s, ret);
}

void sha256_hex(const uint8_t hash[SHA256_BYTES], char ret[SHA256_HEX + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < SHA256_BYTES; i++) {
		ret[2 * i] = digits[hash[i] >> 4];
		ret[2 * i + 1] = digits[hash[i] & 15];
	}
	ret[SHA256_HEX] = 0;
}
