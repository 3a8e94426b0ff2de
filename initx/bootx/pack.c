/* SPDX-License-Identifier: Apache-2.0 */
/* The payload's file: verified first, unpacked second. */
#include "internal.h"

#include "base/sha256.h"

#define OFF_FLAGS  8
#define OFF_STORED 16
#define OFF_PLAIN  24
#define OFF_HASH   32
#define OFF_SIG	   64

static bool have_key(void)
{
	uint8_t any = 0;

	for (unsigned i = 0; i < sizeof(bootx_key); i++)
		any |= ((const volatile uint8_t *)bootx_key)[i];
	return any;
}

static void check_hash(const uint8_t *head, const uint8_t *stored, uint64_t len)
{
	uint8_t hash[SHA256_BYTES];
	char is[SHA256_HEX + 1], should[SHA256_HEX + 1];

	sha256_of(stored, len, hash);
	if (memcmp(hash, head + OFF_HASH, sizeof(hash)) == 0)
		return;
	sha256_hex(hash, is);
	sha256_hex(head + OFF_HASH, should);
	refuse("the payload's SHA-256 is %s, its header says %s", is, should);
}

static void check_signature(const uint8_t *head)
{
	if (!have_key())
		return;
	if (!(le32(head + OFF_FLAGS) & BOOTX_PACK_SIG))
		refuse("the payload is not signed");
	if (!ed25519_verify(bootx_key, head + OFF_SIG, head, BOOTX_PACK_SIGNED))
		refuse("the payload's Ed25519 signature is wrong");
}

static void unpack(struct boot *b, const uint8_t *stored, uint64_t stored_len, uint64_t plain_len,
		   struct image *ret)
{
	uint8_t *plain;
	int64_t n;

	if (!plain_len || plain_len > BOOTX_MAX_PLAIN)
		refuse("the payload claims %u bytes when unpacked", plain_len);
	plain = phys_ptr(frames_take(b, plain_len, PAGE, BOOTX_MODULE));
	n = lz4_block(stored, stored_len, plain, plain_len);
	if (n < 0 || (uint64_t)n != plain_len)
		refuse("the payload's LZ4 data is damaged or cut short");
	*ret = (struct image){ .data = plain, .len = plain_len };
}

void pack_open(struct boot *b, const struct module *m, struct image *ret)
{
	const uint8_t *head = phys_ptr(m->start);
	uint64_t stored_len;
	uint32_t flags;

	if (m->len < BOOTX_PACK_LEN || le64(head) != BOOTX_PACK_MAGIC) {
		if (have_key())
			refuse("the payload is not packed, and only signed ones are taken");
		*ret = (struct image){ .data = head, .len = m->len };
		return;
	}
	flags = le32(head + OFF_FLAGS);
	stored_len = le64(head + OFF_STORED);
	if (flags & ~(BOOTX_PACK_LZ4 | BOOTX_PACK_SIG))
		refuse("the payload's header has unknown flags %x", (uint64_t)flags);
	if (stored_len > m->len - BOOTX_PACK_LEN)
		refuse("the payload is cut short: %u of %u bytes are there",
		       m->len - BOOTX_PACK_LEN, stored_len);
	check_hash(head, head + BOOTX_PACK_LEN, stored_len);
	check_signature(head);
	if (flags & BOOTX_PACK_LZ4)
		unpack(b, head + BOOTX_PACK_LEN, stored_len, le64(head + OFF_PLAIN), ret);
	else
		*ret = (struct image){ .data = head + BOOTX_PACK_LEN, .len = stored_len };
}
