/* SPDX-License-Identifier: Apache-2.0 */
/* Command block writer and reader. */
#include "initx/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define HEAD_LEN     sizeof(struct initx_command)
#define BLOCK_MAX    (HEAD_LEN + INITX_COMMAND_MAX)
#define PATH_MAX_LEN 4095

struct command {
	uint8_t *buf;
	size_t len, cap;
	size_t record; /* offset of the record, 0 none */
};

void command_free(struct command *c)
{
	if (!c)
		return;
	free(c->buf);
	free(c);
}

static int append(struct command *c, const void *data, size_t len, struct err *err)
{
	size_t cap = c->cap;
	uint8_t *buf;

	if (len > BLOCK_MAX || c->len + len > BLOCK_MAX)
		return err_set(err, -E2BIG, "command of more than %u bytes", INITX_COMMAND_MAX);
	while (cap < c->len + len)
		cap = cap ? cap * 2 : 1024;
	if (cap != c->cap) {
		buf = realloc(c->buf, cap);
		if (!buf)
			return err_set(err, -ENOMEM, "command");
		c->buf = buf;
		c->cap = cap;
	}
	if (len)
		memcpy(c->buf + c->len, data, len);
	c->len += len;
	return 0;
}

static int append_padding(struct command *c, struct err *err)
{
	static const uint8_t zeros[8];

	return append(c, zeros, (8 - c->len % 8) % 8, err);
}

static int append_list(struct command *c, const char *const *list, uint32_t *ret_n, struct err *err)
{
	uint32_t n = 0;
	int r = 0;

	for (; r == 0 && list && list[n]; n++) {
		if (n == INITX_COMMAND_MAX_STRINGS)
			return err_set(err, -E2BIG, "more than %u strings",
				       INITX_COMMAND_MAX_STRINGS);
		r = append(c, list[n], strlen(list[n]) + 1, err);
	}
	*ret_n = n;
	return r;
}

int command_new(const char *path, const char *const *argv, const char *const *envp,
		struct command **ret, struct err *err)
{
	CLEANUP(command_freep) struct command *c = NULL;
	uint8_t head[HEAD_LEN] = { 0 };
	size_t path_len = strlen(path);
	uint32_t argc = 0, envc = 0;
	int r;

	if (!path_len || path_len > PATH_MAX_LEN)
		return err_set(err, -EINVAL, "program path of %zu bytes", path_len);
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, -ENOMEM, "command");
	r = append(c, head, sizeof(head), err);
	if (r == 0)
		r = append(c, path, path_len + 1, err);
	if (r == 0)
		r = append_list(c, argv, &argc, err);
	if (r == 0)
		r = append_list(c, envp, &envc, err);
	if (r == 0 && argc + envc > INITX_COMMAND_MAX_STRINGS)
		r = err_set(err, -E2BIG, "more than %u strings", INITX_COMMAND_MAX_STRINGS);
	if (r < 0)
		return r;
	le32_store(c->buf + offsetof(struct initx_command, magic), INITX_COMMAND_MAGIC);
	le32_store(c->buf + offsetof(struct initx_command, path_len), (uint32_t)path_len);
	le32_store(c->buf + offsetof(struct initx_command, argc), argc);
	le32_store(c->buf + offsetof(struct initx_command, envc), envc);
	*ret = STEAL_PTR(c);
	return 0;
}

static void set_total(struct command *c)
{
	le32_store(c->buf + c->record + offsetof(struct initx_record, total),
		   (uint32_t)(c->len - c->record));
}

int command_record(struct command *c, uint32_t id, struct err *err)
{
	uint8_t head[sizeof(struct initx_record)] = { 0 };
	size_t at;
	int r;

	if (c->record || !id)
		return err_set(err, -EINVAL, "second record, or command id 0");
	r = append_padding(c, err);
	at = c->len;
	le32_store(head + offsetof(struct initx_record, magic), INITX_RECORD_MAGIC);
	le32_store(head + offsetof(struct initx_record, version), INITX_RECORD_VERSION);
	le32_store(head + offsetof(struct initx_record, id), id);
	if (r == 0)
		r = append(c, head, sizeof(head), err);
	if (r < 0)
		return r;
	c->record = at;
	set_total(c);
	return 0;
}

int command_item(struct command *c, uint16_t type, const void *payload, size_t len, struct err *err)
{
	uint8_t head[sizeof(struct initx_item)];
	int r;

	if (!c->record)
		return err_set(err, -EINVAL, "item without a record");
	if (len > INITX_COMMAND_MAX)
		return err_set(err, -E2BIG, "item of %zu bytes", len);
	le16_store(head, type);
	le16_store(head + 2, INITX_ITEM_REQUIRED);
	le32_store(head + 4, (uint32_t)len);
	r = append(c, head, sizeof(head), err);
	if (r == 0)
		r = append(c, payload, len, err);
	if (r == 0)
		r = append_padding(c, err);
	set_total(c);
	return r;
}

int command_item_u32(struct command *c, uint16_t type, const uint32_t *words, size_t n,
		     struct err *err)
{
	return command_item_strings(c, type, words, n, NULL, 0, err);
}

int command_item_strings(struct command *c, uint16_t type, const uint32_t *words, size_t n_words,
			 const char *const *strings, size_t n_strings, struct err *err)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len = 4 * n_words, at;

	for (size_t i = 0; i < n_strings; i++)
		len += strlen(strings[i]) + 1;
	buf = malloc(len + 1);
	if (!buf)
		return err_set(err, -ENOMEM, "command item");
	for (size_t i = 0; i < n_words; i++)
		le32_store(buf + 4 * i, words[i]);
	at = 4 * n_words;
	for (size_t i = 0; i < n_strings; i++) {
		memcpy(buf + at, strings[i], strlen(strings[i]) + 1);
		at += strlen(strings[i]) + 1;
	}
	return command_item(c, type, buf, len, err);
}

const uint8_t *command_bytes(struct command *c, size_t *ret_len)
{
	*ret_len = c->len;
	return c->buf;
}

int command_place(struct command *c, uint8_t *config, struct err *err)
{
	uint8_t *slot = config + INITX_COMMAND_OFFSET;

	if (le32_load(slot) == INITX_COMMAND_MAGIC)
		return err_set(err, -EAGAIN, "the guest has not taken the last command");
	memcpy(slot + 4, c->buf + 4, c->len - 4);
	/* What an older block left behind must not look like a record of this one. */
	memset(slot + c->len, 0, MIN((size_t)32, BLOCK_MAX - c->len));
	__atomic_thread_fence(__ATOMIC_RELEASE);
	le32_store(slot, INITX_COMMAND_MAGIC);
	return 0;
}

void command_clear(uint8_t *config)
{
	le32_store(config + INITX_COMMAND_OFFSET, 0);
}

/* End of the string at @off, its NUL included; 0 when there is none. */
static size_t string_end(const uint8_t *block, size_t len, size_t off)
{
	const uint8_t *nul = off < len ? memchr(block + off, 0, len - off) : NULL;

	return nul ? (size_t)(nul - block) + 1 : 0;
}

static int parse_items(const uint8_t *items, size_t len, struct err *err)
{
	size_t off = 0;

	while (off + sizeof(struct initx_item) <= len) {
		uint16_t type = le16_load(items + off);
		uint32_t n = le32_load(items + off + 4);

		if (n > len - off - sizeof(struct initx_item))
			return err_set(err, -EBADMSG, "item at %zu is longer than its record", off);
		if ((type == 0 || type >= INITX_ITEM_MAX_) &&
		    (le16_load(items + off + 2) & INITX_ITEM_REQUIRED))
			return err_set(err, -EBADMSG, "item type %u is unknown", type);
		off += sizeof(struct initx_item) + ALIGN_UP((size_t)n, (size_t)8);
	}
	return 0;
}

static int parse_record(const uint8_t *block, size_t len, size_t at, struct command_view *ret,
			struct err *err)
{
	uint32_t total = le32_load(block + at + offsetof(struct initx_record, total));

	ret->id = le32_load(block + at + offsetof(struct initx_record, id));
	if (le32_load(block + at + offsetof(struct initx_record, version)) != INITX_RECORD_VERSION)
		return err_set(err, -EBADMSG, "unknown version of the record");
	if (!ret->id || total < sizeof(struct initx_record) || total > len - at)
		return err_set(err, -EBADMSG, "bad length or id of the record");
	ret->items = block + at + sizeof(struct initx_record);
	ret->items_len = total - sizeof(struct initx_record);
	return parse_items(ret->items, ret->items_len, err);
}

int command_parse(const uint8_t *block, size_t len, struct command_view *ret, struct err *err)
{
	uint32_t path_len;
	size_t off;

	*ret = (struct command_view){ 0 };
	len = MIN(len, BLOCK_MAX);
	if (len < HEAD_LEN || le32_load(block) != INITX_COMMAND_MAGIC)
		return err_set(err, -EBADMSG, "no command block");
	path_len = le32_load(block + offsetof(struct initx_command, path_len));
	ret->argc = le32_load(block + offsetof(struct initx_command, argc));
	ret->envc = le32_load(block + offsetof(struct initx_command, envc));
	if (!path_len || path_len > PATH_MAX_LEN)
		return err_set(err, -EBADMSG, "path of %u bytes", path_len);
	if (ret->argc > INITX_COMMAND_MAX_STRINGS || ret->envc > INITX_COMMAND_MAX_STRINGS ||
	    ret->argc + ret->envc > INITX_COMMAND_MAX_STRINGS)
		return err_set(err, -EBADMSG, "too many strings");
	off = string_end(block, len, HEAD_LEN);
	if (off != HEAD_LEN + path_len + 1)
		return err_set(err, -EBADMSG, "path is not of its length");
	ret->path = (const char *)block + HEAD_LEN;
	ret->strings = (const char *)block + off;
	for (uint32_t i = 0; i < ret->argc + ret->envc; i++) {
		off = string_end(block, len, off);
		if (!off)
			return err_set(err, -EBADMSG, "string %u does not end", i);
	}
	off = ALIGN_UP(off, (size_t)8);
	if (off + sizeof(struct initx_record) > len || le32_load(block + off) != INITX_RECORD_MAGIC)
		return 0;
	return parse_record(block, len, off, ret, err);
}

bool command_next_item(const struct command_view *v, size_t *at, uint16_t *ret_type,
		       const uint8_t **ret_payload, uint32_t *ret_len)
{
	if (*at + sizeof(struct initx_item) > v->items_len)
		return false;
	*ret_type = le16_load(v->items + *at);
	*ret_len = le32_load(v->items + *at + 4);
	*ret_payload = v->items + *at + sizeof(struct initx_item);
	*at += sizeof(struct initx_item) + ALIGN_UP((size_t)*ret_len, (size_t)8);
	return true;
}
