/* SPDX-License-Identifier: Apache-2.0 */
/* What bootx does to bytes that nobody vouches for: LZ4, SHA-2, Ed25519. */
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "test.h"

static void from_hex(const char *hex, uint8_t *ret)
{
	for (size_t i = 0; hex[2 * i]; i++) {
		const char byte[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

		ret[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
}

static void sha512_knows_the_standard_vector_in_parts(void **state)
{
	const void *const parts[] = { "a", "", "bc" };
	const uint64_t lens[] = { 1, 0, 2 };
	uint8_t got[64], want[64];

	sha512_parts(parts, lens, 3, got);
	from_hex("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		 "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		 want);
	assert_memory_equal(got, want, 64);
}

/* RFC 8032 section 7.1, tests 1 to 3. */
static const struct {
	const char *key, *msg, *sig;
} vectors[] = {
	{ "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
	  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
	  "1cf9b4"
	  "6bd25bf5f0595bbe24655141438e7a100b" },
	{ "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
	  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
	  "d0f11d"
	  "8c387b2eaeb4302aeeb00d291612bb0c00" },
	{ "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
	  "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
	  "984dc6"
	  "594a7c15e9716ed28dc027beceea1ec40a" },
};

static void ed25519_takes_signatures_that_are_right(void **state)
{
	for (unsigned i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint8_t key[32], sig[64], msg[2];
		uint64_t len = strlen(vectors[i].msg) / 2;

		from_hex(vectors[i].key, key);
		from_hex(vectors[i].sig, sig);
		from_hex(vectors[i].msg, msg);
		assert_true(ed25519_verify(key, sig, msg, len));
	}
}

static void ed25519_refuses_one_wrong_bit_anywhere(void **state)
{
	uint8_t key[32], sig[64], msg[2];

	from_hex(vectors[2].key, key);
	from_hex(vectors[2].sig, sig);
	from_hex(vectors[2].msg, msg);
	for (unsigned bit = 0; bit < 512; bit += 7) {
		sig[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_false(ed25519_verify(key, sig, msg, 2));
		sig[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	msg[1] ^= 1;
	assert_false(ed25519_verify(key, sig, msg, 2));
	msg[1] ^= 1;
	key[3] ^= 4;
	assert_false(ed25519_verify(key, sig, msg, 2));
}

static void ed25519_refuses_a_scalar_of_the_order_or_more(void **state)
{
	static const char order[] =
		"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
	uint8_t key[32], sig[64], l[32];
	unsigned carry = 0;

	from_hex(vectors[0].key, key);
	from_hex(vectors[0].sig, sig);
	from_hex(order, l);
	/* S + L signs the same, were it not forbidden. */
	for (unsigned i = 0; i < 32; i++) {
		carry += sig[32 + i] + l[i];
		sig[32 + i] = (uint8_t)carry;
		carry >>= 8;
	}
	assert_false(ed25519_verify(key, sig, "", 0));
}

#define PLAIN 5000

static int pack(char *plain, char *packed, int room)
{
	for (unsigned i = 0; i < PLAIN; i++)
		plain[i] = (char)(i % 37 < 20 ? i / 64 : i * 2654435761U >> 24);
	return LZ4_compress_default(plain, packed, PLAIN, room);
}

static void lz4_unpacks_what_liblz4_packs(void **state)
{
	char plain[PLAIN], packed[2 * PLAIN], out[PLAIN];
	int n = pack(plain, packed, sizeof(packed));

	assert_true(n > 0);
	assert_int_equal(lz4_block((uint8_t *)packed, (uint64_t)n, (uint8_t *)out, PLAIN), PLAIN);
	assert_memory_equal(plain, out, PLAIN);
}

/* In exactly as much memory as it may touch: an access beyond is the sanitizer's to find. */
static void lz4_never_leaves_its_buffers(void **state)
{
	char plain[PLAIN], packed[2 * PLAIN];
	int n = pack(plain, packed, sizeof(packed));
	uint64_t r = 1;

	for (unsigned round = 0; round < 3000; round++) {
		uint64_t len, room;
		uint8_t *src, *dst;
		int64_t got;

		r = r * 6364136223846793005ULL + 1442695040888963407ULL;
		len = (uint64_t)n - (r >> 60);
		room = PLAIN - (r >> 56 & 3);
		src = malloc(len);
		dst = malloc(room);
		assert_true(src && dst);
		memcpy(src, packed, len);
		src[(r >> 20) % len] ^= (uint8_t)(1U << (r >> 40 & 7));
		got = lz4_block(src, len, dst, room);
		assert_true(got >= -1 && got <= (int64_t)room);
		free(src);
		free(dst);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha512_knows_the_standard_vector_in_parts),
		cmocka_unit_test(ed25519_takes_signatures_that_are_right),
		cmocka_unit_test(ed25519_refuses_one_wrong_bit_anywhere),
		cmocka_unit_test(ed25519_refuses_a_scalar_of_the_order_or_more),
		cmocka_unit_test(lz4_unpacks_what_liblz4_packs),
		cmocka_unit_test(lz4_never_leaves_its_buffers),
	};

	return cmocka_run_group_tests_name("initx/bootx", tests, NULL, NULL);
}
