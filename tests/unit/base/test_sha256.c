/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 against the vectors of FIPS 180-4, and its parts against the whole. */
#include "test.h"

#include <string.h>

#include "base/sha256.h"

static void expect(const char *text, size_t len, const char *hex)
{
	uint8_t hash[SHA256_BYTES];
	char got[SHA256_HEX + 1];

	sha256_of(text, len, hash);
	sha256_hex(hash, got);
	assert_string_equal(got, hex);
}

static void gives_the_standards_vectors(void **state)
{
	static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

	(void)state;
	expect("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	expect("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	expect(two, strlen(two),
	       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void parts_make_the_whole(void **state)
{
	uint8_t data[300], whole[SHA256_BYTES], parts[SHA256_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= sizeof(data); len++) {
		struct sha256 s;

		sha256_of(data, len, whole);
		sha256_init(&s);
		for (size_t at = 0, step = 1; at < len; at += step, step = 1 + (step * 5) % 71) {
			if (step > len - at)
				step = len - at;
			sha256_update(&s, data + at, step);
		}
		sha256_final(&s, parts);
		assert_memory_equal(whole, parts, sizeof(whole));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_standards_vectors),
		cmocka_unit_test(parts_make_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
