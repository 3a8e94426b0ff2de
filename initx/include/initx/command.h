/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command blocks: what the host puts into the config region's slot, and a strict reader of the
 * same.
 *
 * Theory of operation. command_new() starts a block from path, argv and environment; item functions
 * add to its record; command_place() copies it into the slot and writes the magic last. The reader
 * applies every rule the guest applies, and is what tests and fuzzers check the writer with.
 */
#ifndef INITX_COMMAND_H
#define INITX_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "initx/proto.h"

struct command;

/**
 * command_new() - Start a block
 * @path:	Program; without a slash it is searched in the command's PATH
 * @argv, @envp:	NULL-terminated, either may be NULL; an empty argv means the path alone
 *
 * Return: 0; -EINVAL empty or too long path; -E2BIG too many strings or bytes; -ENOMEM.
 */
int command_new(const char *path, const char *const *argv, const char *const *envp,
		struct command **ret, struct err *err);
void command_free(struct command *c);
CLEANUP_DEFINE(struct command, command_free);

/* Begin the record; @id is not 0. Once, before the first item. */
int command_record(struct command *c, uint32_t id, struct err *err);

/**
 * command_item() - Add an item to the record
 * @type:	INITX_ITEM_*
 * @payload:	As proto.h says; integers little-endian
 *
 * Return: 0; -EINVAL no record begun; -E2BIG; -ENOMEM.
 */
int command_item(struct command *c, uint16_t type, const void *payload, size_t len,
		 struct err *err);
/* An item of 32-bit words. */
int command_item_u32(struct command *c, uint16_t type, const uint32_t *words, size_t n,
		     struct err *err);
/* An item of strings, each with its NUL; a prefix of words comes first. */
int command_item_strings(struct command *c, uint16_t type, const uint32_t *words, size_t n_words,
			 const char *const *strings, size_t n_strings, struct err *err);

/* The finished block, magic included. Borrowed until the next change. */
const uint8_t *command_bytes(struct command *c, size_t *ret_len);

/**
 * command_place() - Put the block into the slot of a config region
 * @config:	The whole region
 *
 * Return: 0; -EAGAIN the slot still holds one.
 */
int command_place(struct command *c, uint8_t *config, struct err *err);

/* Empty the slot: before a snapshot. */
void command_clear(uint8_t *config);

/* What a reader finds; pointers into the block. */
struct command_view {
	const char *path;
	uint32_t argc, envc;
	const char *strings; /* argc + envc of them, each with its NUL */
	uint32_t id;	     /* 0: no record */
	const uint8_t *items;
	size_t items_len;
};

/**
 * command_parse() - Read a block
 * @block:	Untrusted
 * @len:	Bytes there are
 *
 * Return: 0; -EBADMSG a rule is broken, @err says which.
 */
int command_parse(const uint8_t *block, size_t len, struct command_view *ret, struct err *err);

/**
 * command_next_item() - Step through a record
 * @at:		0 at first
 *
 * Return: true with the item filled, false at the end.
 */
bool command_next_item(const struct command_view *v, size_t *at, uint16_t *ret_type,
		       const uint8_t **ret_payload, uint32_t *ret_len);

#endif
