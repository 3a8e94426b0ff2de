/* SPDX-License-Identifier: Apache-2.0 */
/* Names: one record for each in a compilation. */
#include "rtg/ident.h"

#include <string.h>

#include "base/checked.h"

/* Both ends and the length: names that differ only in between share a bucket. */
static inline uint32_t hash_of(uint64_t head, const char *s, uint32_t len)
{
	uint64_t tail = len > sizeof(head) ? le64_load(s + len - sizeof(head)) : 0;

	return (uint32_t)((head ^ (tail + len) * 0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93 >> 32);
}

static inline struct ident *find(const struct idents *ids, const char *s, uint32_t len,
				 uint64_t head, uint32_t hash)
{
	struct ident *id = ids->buckets[hash % IDENT_BUCKETS];

	while (id && (id->hash != hash || id->head != head || id->len != len ||
		      (len > sizeof(head) && memcmp(id->s, s, len) != 0)))
		id = id->next;
	return id;
}

static uint64_t head_of(const char *s, uint32_t len)
{
	uint8_t head[8] = { 0 };

	memcpy(head, s, MIN(len, (uint32_t)sizeof(head)));
	return le64_load(head);
}

struct ident *ident_find(const struct idents *ids, const char *name)
{
	uint32_t len = (uint32_t)strlen(name);
	uint64_t head = head_of(name, len);

	return find(ids, name, len, head, hash_of(head, name, len));
}

struct ident *ident_get(struct arena *a, struct idents *ids, const char *name)
{
	uint32_t len = (uint32_t)strlen(name);

	return ident_get_word(a, ids, name, len, head_of(name, len));
}

struct ident *ident_get_word(struct arena *a, struct idents *ids, const char *s, uint32_t len,
			     uint64_t head)
{
	uint32_t hash = hash_of(head, s, len);
	struct ident *id = find(ids, s, len, head, hash);

	if (id)
		return id;
	id = arena_alloc(a, sizeof(*id));
	id->s = arena_strndup(a, s, len);
	id->head = head;
	id->len = len;
	id->hash = hash;
	id->next = ids->buckets[hash % IDENT_BUCKETS];
	ids->buckets[hash % IDENT_BUCKETS] = id;
	return id;
}
