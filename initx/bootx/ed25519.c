/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ed25519 signatures, verification only: nothing here is secret, so nothing is constant-time.
 * Numbers modulo 2^255 - 19 in five limbs of 51 bits. Ref: RFC 8032 section 5.1.
 */
#include "internal.h"

#define LIMB_BITS 51
#define LIMB_MASK ((1ULL << LIMB_BITS) - 1)

struct fe {
	uint64_t v[5];
};

/* Extended coordinates: x = X/Z, y = Y/Z, x y = T/Z. */
struct point {
	struct fe x, y, z, t;
};

typedef unsigned __int128 u128;

static struct fe fe_small(uint64_t n)
{
	return (struct fe){ { n } };
}

static struct fe carry(struct fe a)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 5; i++) {
			uint64_t c = a.v[i] >> LIMB_BITS;

			a.v[i] &= LIMB_MASK;
			a.v[i == 4 ? 0 : i + 1] += i == 4 ? c * 19 : c;
		}
	}
	return a;
}

static struct fe fe_add(struct fe a, struct fe b)
{
	for (unsigned i = 0; i < 5; i++)
		a.v[i] += b.v[i];
	return carry(a);
}

static struct fe fe_sub(struct fe a, struct fe b)
{
	/* a + 4p - b: no limb goes below zero. */
	for (unsigned i = 0; i < 5; i++)
		a.v[i] += 4 * (i ? LIMB_MASK : LIMB_MASK - 18) - b.v[i];
	return carry(a);
}

static struct fe fe_mul(struct fe a, struct fe b)
{
	u128 r[5] = { 0 };
	struct fe out;
	uint64_t c = 0;

	for (unsigned i = 0; i < 5; i++) {
		for (unsigned j = 0; j < 5; j++) {
			unsigned k = (i + j) % 5;

			r[k] += (u128)a.v[i] * b.v[j] * (i + j >= 5 ? 19 : 1);
		}
	}
	for (unsigned i = 0; i < 5; i++) {
		r[i] += c;
		out.v[i] = (uint64_t)r[i] & LIMB_MASK;
		c = (uint64_t)(r[i] >> LIMB_BITS);
	}
	out.v[0] += c * 19;
	return carry(out);
}

/* a ^ (2^n_ones_top ... ): exponent given as 32 little-endian bytes. */
static struct fe fe_pow(struct fe a, const uint8_t e[32])
{
	struct fe r = fe_small(1);

	for (unsigned i = 256; i-- > 0;) {
		r = fe_mul(r, r);
		if (e[i / 8] >> (i % 8) & 1)
			r = fe_mul(r, a);
	}
	return r;
}

/* Exponents near 2^255: all ones but the first and the last byte. */
static struct fe fe_pow_near(struct fe a, uint8_t first, uint8_t last)
{
	uint8_t e[32];

	memset(e, 0xff, sizeof(e));
	e[0] = first;
	e[31] = last;
	return fe_pow(a, e);
}

static struct fe fe_invert(struct fe a)
{
	return fe_pow_near(a, 0xeb, 0x7f); /* p - 2 */
}

static void fe_bytes(struct fe a, uint8_t ret[32])
{
	uint64_t q;

	a = carry(a);
	/* Is it p or more? Adding 19 then overflows bit 255. */
	q = (a.v[0] + 19) >> LIMB_BITS;
	for (unsigned i = 1; i < 5; i++)
		q = (a.v[i] + q) >> LIMB_BITS;
	a.v[0] += 19 * q;
	for (unsigned i = 0; i < 4; i++) {
		a.v[i + 1] += a.v[i] >> LIMB_BITS;
		a.v[i] &= LIMB_MASK;
	}
	a.v[4] &= LIMB_MASK;
	memset(ret, 0, 32);
	for (unsigned bit = 0; bit < 255; bit++)
		ret[bit / 8] |= (uint8_t)((a.v[bit / LIMB_BITS] >> bit % LIMB_BITS & 1) << bit % 8);
}

static struct fe fe_from(const uint8_t b[32])
{
	struct fe r = { { 0 } };

	for (unsigned bit = 0; bit < 255; bit++)
		r.v[bit / LIMB_BITS] |= (uint64_t)(b[bit / 8] >> bit % 8 & 1) << bit % LIMB_BITS;
	return r;
}

static bool fe_equal(struct fe a, struct fe b)
{
	uint8_t x[32], y[32];

	fe_bytes(a, x);
	fe_bytes(b, y);
	return memcmp(x, y, sizeof(x)) == 0;
}

/* The curve's d = -121665/121666. */
static struct fe curve_d(void)
{
	return fe_mul(fe_sub(fe_small(0), fe_small(121665)), fe_invert(fe_small(121666)));
}

static struct point point_add(const struct point *p, const struct point *q, struct fe d2)
{
	struct fe a = fe_mul(fe_sub(p->y, p->x), fe_sub(q->y, q->x));
	struct fe b = fe_mul(fe_add(p->y, p->x), fe_add(q->y, q->x));
	struct fe c = fe_mul(fe_mul(p->t, d2), q->t);
	struct fe d = fe_mul(fe_add(p->z, p->z), q->z);
	struct fe e = fe_sub(b, a), f = fe_sub(d, c), g = fe_add(d, c), h = fe_add(b, a);

	return (struct point){ fe_mul(e, f), fe_mul(g, h), fe_mul(f, g), fe_mul(e, h) };
}

static struct point point_mul(const struct point *p, const uint8_t *n, unsigned bits, struct fe d2)
{
	struct point r = { fe_small(0), fe_small(1), fe_small(1), fe_small(0) };

	for (unsigned i = bits; i-- > 0;) {
		r = point_add(&r, &r, d2);
		if (n[i / 8] >> (i % 8) & 1)
			r = point_add(&r, p, d2);
	}
	return r;
}

static bool point_decode(const uint8_t b[32], struct fe d, struct point *ret)
{
	struct fe y = fe_from(b), yy = fe_mul(y, y), one = fe_small(1);
	struct fe u = fe_sub(yy, one), v = fe_add(fe_mul(d, yy), one);
	struct fe v3 = fe_mul(fe_mul(v, v), v), x, check;
	uint8_t bytes[32];

	/* x = u v^3 (u v^7)^((p - 5) / 8), perhaps times the root of -1 */
	x = fe_mul(fe_mul(u, v3), fe_pow_near(fe_mul(u, fe_mul(fe_mul(v3, v3), v)), 0xfd, 0x0f));
	check = fe_mul(v, fe_mul(x, x));
	if (!fe_equal(check, u)) {
		if (!fe_equal(check, fe_sub(fe_small(0), u)))
			return false;
		x = fe_mul(x, fe_pow_near(fe_small(2), 0xfb, 0x1f)); /* 2^((p - 1) / 4) */
	}
	fe_bytes(x, bytes);
	if ((bytes[0] & 1) != b[31] >> 7)
		x = fe_sub(fe_small(0), x);
	*ret = (struct point){ x, y, one, fe_mul(x, y) };
	return true;
}

/* Below the order of the base point: otherwise one signature could be written in two ways. */
static bool scalar_ok(const uint8_t s[32])
{
	static const uint8_t order[32] = { 0xed, 0xd3, 0xf5, 0x5c, 0x1a,       0x63,
					   0x12, 0x58, 0xd6, 0x9c, 0xf7,       0xa2,
					   0xde, 0xf9, 0xde, 0x14, [31] = 0x10 };

	for (unsigned i = 32; i-- > 0;) {
		if (s[i] != order[i])
			return s[i] < order[i];
	}
	return false;
}

bool ed25519_verify(const uint8_t key[32], const uint8_t sig[64], const void *msg, uint64_t len)
{
	const void *const parts[] = { sig, key, msg };
	const uint64_t lens[] = { 32, 32, len };
	struct fe d = curve_d(), d2 = fe_add(d, d), z;
	struct point a, base, sb, ka, r;
	uint8_t base_bytes[32], k[64], got[32], x[32];

	memset(base_bytes, 0x66, sizeof(base_bytes)); /* y = 4/5, x even */
	base_bytes[0] = 0x58;
	if (!scalar_ok(sig + 32) || !point_decode(key, d, &a) ||
	    !point_decode(base_bytes, d, &base))
		return false;
	sha512_parts(parts, lens, 3, k);
	/* R = S B - k A */
	a.x = fe_sub(fe_small(0), a.x);
	a.t = fe_sub(fe_small(0), a.t);
	sb = point_mul(&base, sig + 32, 256, d2);
	ka = point_mul(&a, k, 512, d2);
	r = point_add(&sb, &ka, d2);
	z = fe_invert(r.z);
	fe_bytes(fe_mul(r.y, z), got);
	fe_bytes(fe_mul(r.x, z), x);
	got[31] |= (uint8_t)((x[0] & 1) << 7);
	return memcmp(got, sig, sizeof(got)) == 0;
}
