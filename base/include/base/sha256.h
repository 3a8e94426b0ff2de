/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, for names of things by their content. Ref: FIPS 180-4. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32
#define SHA256_HEX   (2 * SHA256_BYTES)

struct sha256 {
	uint32_t h[8];
	uint64_t len;
	uint8_t block[64];
};

void sha256_init(struct sha256 *s);
void sha256_update(struct sha256 *s, const void *data, size_t len);
void sha256_final(struct sha256 *s, uint8_t ret[SHA256_BYTES]);

/* All at once. */
void sha256_of(const void *data, size_t len, uint8_t ret[SHA256_BYTES]);

/* Lower-case hexadecimal, with a NUL. */
void sha256_hex(const uint8_t hash[SHA256_BYTES], char ret[SHA256_HEX + 1]);

#endif
