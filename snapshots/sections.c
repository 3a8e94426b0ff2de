/* SPDX-License-Identifier: Apache-2.0 */
/* The file `state`: sections in, sections out. */
#include "snapshots/sections.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "crc32.h"

/* The file's header. */
#define MAGIC	       "HUSKSNAP"
#define MAGIC_LEN      8
#define VERSION	       1U
#define HEAD_LEN       32
#define HEAD_VERSION   8
#define HEAD_N	       12
#define HEAD_FILE_LEN  16
#define HEAD_ZERO      24
#define HEAD_CRC       28

/* A section's header; its name and data follow, then zeros up to a multiple of 8. */
#define SECT_MAGIC     0x54434553U /* "SECT" */
#define SECT_LEN       24
#define SECT_FLAGS     4
#define SECT_NAME_LEN  6
#define SECT_INSTANCE  8
#define SECT_DATA_LEN  12
#define SECT_ZERO      16
#define SECT_CRC       20
#define SECT_ALIGN     8U

#define FLAG_MANDATORY 1U
#define ROOM_MIN       65536U

/* ---- writing ---- */

void snap_buf_done(struct snap_buf *b)
{
	free(b->p);
	*b = (struct snap_buf){ 0 };
}

static int reserve(struct snap_buf *b, size_t more, struct err *err)
{
	size_t want = b->len + more, room = MAX(MAX(b->room * 2, want), ROOM_MIN);
	uint8_t *p;

	if (want > SNAP_STATE_MAX)
		return err_set(err, -E2BIG, "state of more than %u MiB",
			       (unsigned)(SNAP_STATE_MAX / MIB));
	if (want <= b->room)
		return 0;
	p = realloc(b->p, room);
	if (!p)
		return err_set(err, -ENOMEM, "no memory for a snapshot's state");
	b->p = p;
	b->room = room;
	return 0;
}

/* Over the header without the sum itself, the name and the data. */
static uint32_t section_crc(const uint8_t *head, size_t body_len)
{
	return crc32_add(crc32_add(0, head, SECT_CRC), head + SECT_LEN, body_len);
}

int snap_sections_add(struct snap_buf *b, const char *name, uint32_t instance, bool mandatory,
		      const void *data, size_t len, struct err *err)
{
	size_t name_len = strlen(name), start = b->len ? b->len : HEAD_LEN, whole;
	uint8_t *head;
	int r;

	if (name_len == 0 || name_len > SNAP_SECTION_NAME_MAX || b->n == SNAP_SECTIONS_MAX ||
	    len > SNAP_STATE_MAX)
		return err_set(err, -E2BIG, "section '%s': %zu bytes, number %u", name, len, b->n);
	whole = ALIGN_UP(SECT_LEN + name_len + len, (size_t)SECT_ALIGN);
	r = reserve(b, start - b->len + whole, err);
	if (r < 0)
		return r;
	head = b->p + start;
	memset(head, 0, whole);
	le32_store(head, SECT_MAGIC);
	le16_store(head + SECT_FLAGS, mandatory ? FLAG_MANDATORY : 0);
	le16_store(head + SECT_NAME_LEN, (uint16_t)name_len);
	le32_store(head + SECT_INSTANCE, instance);
	le32_store(head + SECT_DATA_LEN, (uint32_t)len);
	memcpy(head + SECT_LEN, name, name_len);
	if (len)
		memcpy(head + SECT_LEN + name_len, data, len);
	le32_store(head + SECT_CRC, section_crc(head, name_len + len));
	b->len = start + whole;
	b->n++;
	return 0;
}

int snap_sections_finish(struct snap_buf *b, struct err *err)
{
	int r = b->len ? 0 : reserve(b, HEAD_LEN, err);

	if (r < 0)
		return r;
	b->len = MAX(b->len, (size_t)HEAD_LEN);
	memcpy(b->p, MAGIC, MAGIC_LEN);
	le32_store(b->p + HEAD_VERSION, VERSION);
	le32_store(b->p + HEAD_N, b->n);
	le64_store(b->p + HEAD_FILE_LEN, b->len);
	le32_store(b->p + HEAD_ZERO, 0);
	le32_store(b->p + HEAD_CRC, crc32_add(0, b->p, HEAD_CRC));
	return 0;
}

/* ---- reading ---- */

void snap_sections_done(struct snap_sections *s)
{
	free(s->v);
	*s = (struct snap_sections){ 0 };
}

static int check_head(const uint8_t *bytes, size_t len, uint32_t *ret_n, struct err *err)
{
	uint32_t version;

	if (len < HEAD_LEN || memcmp(bytes, MAGIC, MAGIC_LEN) != 0)
		return err_set(err, -EBADMSG, "state: not a snapshot's state");
	version = le32_load(bytes + HEAD_VERSION);
	if (le32_load(bytes + HEAD_CRC) != crc32_add(0, bytes, HEAD_CRC))
		return err_set(err, -EBADMSG, "state: the header is damaged");
	if (version != VERSION)
		return err_set(err, -ESTALE, "state: version %" PRIu32 ", this husk reads %u",
			       version, VERSION);
	if (le64_load(bytes + HEAD_FILE_LEN) != len)
		return err_set(err, -EBADMSG, "state: %zu bytes, the header says %" PRIu64, len,
			       le64_load(bytes + HEAD_FILE_LEN));
	*ret_n = le32_load(bytes + HEAD_N);
	if (*ret_n > SNAP_SECTIONS_MAX)
		return err_set(err, -EBADMSG, "state: %" PRIu32 " sections", *ret_n);
	return 0;
}

static bool name_ok(const uint8_t *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	}
	return len > 0 && len <= SNAP_SECTION_NAME_MAX;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len && !*p) {
		p++;
		len--;
	}
	return len == 0;
}

/* One section at @at. Return: bytes it takes; -EBADMSG. */
static ssize_t parse_one(const uint8_t *at, size_t left, struct snap_section *ret)
{
	size_t name_len, len, used, whole;

	if (left < SECT_LEN || le32_load(at) != SECT_MAGIC)
		return -EBADMSG;
	name_len = le16_load(at + SECT_NAME_LEN);
	len = le32_load(at + SECT_DATA_LEN);
	used = SECT_LEN + name_len + len;
	whole = ALIGN_UP(used, (size_t)SECT_ALIGN);
	if (whole > left || !name_ok(at + SECT_LEN, name_len) ||
	    le32_load(at + SECT_CRC) != section_crc(at, name_len + len) ||
	    le32_load(at + SECT_ZERO) || (le16_load(at + SECT_FLAGS) & ~FLAG_MANDATORY) ||
	    !all_zero(at + used, whole - used))
		return -EBADMSG;
	memcpy(ret->name, at + SECT_LEN, name_len);
	ret->name[name_len] = 0;
	ret->instance = le32_load(at + SECT_INSTANCE);
	ret->mandatory = le16_load(at + SECT_FLAGS) & FLAG_MANDATORY;
	ret->taken = false;
	ret->data = at + SECT_LEN + name_len;
	ret->len = len;
	return (ssize_t)whole;
}

static struct snap_section *lookup(const struct snap_sections *s, const char *name,
				   uint32_t instance)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->v[i].instance == instance && !strcmp(s->v[i].name, name))
			return &s->v[i];
	}
	return NULL;
}

static int parse_all(const uint8_t *bytes, size_t len, uint32_t n, struct snap_sections *s,
		     struct err *err)
{
	size_t at = HEAD_LEN;

	for (uint32_t i = 0; i < n; i++) {
		struct snap_section one;
		ssize_t used = parse_one(bytes + at, len - at, &one);

		if (used < 0)
			return err_set(err, -EBADMSG,
				       "state: section %" PRIu32 ", at byte %zu, is damaged%s%s", i,
				       at, i ? ", after " : "", i ? s->v[i - 1].name : "");
		if (lookup(s, one.name, one.instance))
			return err_set(err, -EBADMSG, "state: section '%s' comes twice", one.name);
		s->v[s->n++] = one;
		at += (size_t)used;
	}
	return at == len ? 0 : err_set(err, -EBADMSG, "state: bytes after the last section");
}

int snap_sections_parse(const uint8_t *bytes, size_t len, struct snap_sections *ret,
			struct err *err)
{
	struct snap_sections s = { 0 };
	uint32_t n = 0;
	int r = check_head(bytes, len, &n, err);

	if (r < 0)
		return r;
	s.v = calloc(n + 1, sizeof(*s.v));
	if (!s.v)
		return err_set(err, -ENOMEM, "no memory for a snapshot's sections");
	r = parse_all(bytes, len, n, &s, err);
	if (r < 0)
		snap_sections_done(&s);
	else
		*ret = s;
	return r;
}

const struct snap_section *snap_sections_find(struct snap_sections *s, const char *name,
					      uint32_t instance)
{
	struct snap_section *found = lookup(s, name, instance);

	if (found)
		found->taken = true;
	return found;
}

int snap_sections_check_taken(const struct snap_sections *s, struct err *err)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->v[i].mandatory && !s->v[i].taken)
			return err_set(err, -ESTALE,
				       "state: section '%s' (%" PRIu32
				       ") belongs to nothing that this machine has",
				       s->v[i].name, s->v[i].instance);
	}
	return 0;
}
