/* SPDX-License-Identifier: Apache-2.0 */
/* Command blocks: what the writer makes the reader takes, and nothing else. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "initx/command.h"

/* The wire form of one command, byte for byte: a contract with guests of any age. */
static void writes_the_documented_bytes(void **state)
{
	static const uint8_t
		want[] = {
			0x52, 0x44, 0x4d, 0x43, 7,   0,	  0,   0, 2,   0,   0, 0,   1,
			0,    0,    0, /* CMDR, 7, 2, 1 */
			'/',  'b',  'i',  'n',	'/', 'l', 's', 0, 'l', 's', 0, '-', 'l',
			0,    'A',  '=',  'b',	0,   0,	  0,   0, 0,   0,   0, /* to a multiple of 8
										*/
			0x43, 0x4d, 0x44, 0x58, 1,   0,	  0,   0, 40,  0,   0, 0,   9,
			0,    0,    0, /* CMDX, 1, 40, id 9 */
			1,    0,    1,	  0,	2,   0,	  0,   0, '/', 'x', 0, 0,   0,
			0,    0,    0,				  /* cwd */
			6,    0,    1,	  0,	0,   0,	  0,   0, /* no_new_privs */
		};
	const char *argv[] = { "ls", "-l", NULL }, *envp[] = { "A=b", NULL };
	CLEANUP(command_freep) struct command *c = NULL;
	const uint8_t *bytes;
	size_t len;

	assert_int_equal(command_new("/bin/ls", argv, envp, &c, NULL), 0);
	assert_int_equal(command_record(c, 9, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_CWD, "/x", 2, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_NO_NEW_PRIVS, NULL, 0, NULL), 0);
	bytes = command_bytes(c, &len);
	assert_int_equal(len, sizeof(want));
	assert_memory_equal(bytes, want, len);
}

static void reads_back_what_it_wrote(void **state)
{
	const char *argv[] = { "a", "", "c d", NULL }, *envp[] = { "X=1", "Y=", NULL };
	const uint32_t words[] = { 1, 2, 3 };
	CLEANUP(command_freep) struct command *c = NULL;
	struct command_view v;
	const uint8_t *bytes, *payload;
	size_t len, at = 0;
	uint16_t type;
	uint32_t n;

	assert_int_equal(command_new("prog", argv, envp, &c, NULL), 0);
	assert_int_equal(command_record(c, 77, NULL), 0);
	assert_int_equal(command_item_u32(c, INITX_ITEM_IDS, words, 3, NULL), 0);
	bytes = command_bytes(c, &len);
	assert_int_equal(command_parse(bytes, len, &v, NULL), 0);
	assert_string_equal(v.path, "prog");
	assert_int_equal(v.argc, 3);
	assert_int_equal(v.envc, 2);
	assert_memory_equal(v.strings, "a\0\0c d\0X=1\0Y=", 14);
	assert_int_equal(v.id, 77);
	assert_true(command_next_item(&v, &at, &type, &payload, &n));
	assert_int_equal(type, INITX_ITEM_IDS);
	assert_int_equal(n, 12);
	assert_int_equal(le32_load(payload + 4), 2);
	assert_false(command_next_item(&v, &at, &type, &payload, &n));
}

static void refuses_bad_arguments(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;
	char *path = calloc(1, 5000);

	memset(path, 'x', 4096);
	assert_int_equal(command_new("", NULL, NULL, &c, NULL), -EINVAL);
	assert_int_equal(command_new(path, NULL, NULL, &c, NULL), -EINVAL);
	path[4095] = '\0';
	assert_int_equal(command_new(path, NULL, NULL, &c, NULL), 0);
	free(path);
	assert_int_equal(command_item(c, 1, "x", 1, NULL), -EINVAL);
	assert_int_equal(command_record(c, 0, NULL), -EINVAL);
	assert_int_equal(command_record(c, 1, NULL), 0);
	assert_int_equal(command_record(c, 2, NULL), -EINVAL);
}

static void keeps_to_the_limits(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;
	const char **argv = calloc(INITX_COMMAND_MAX_STRINGS + 2, sizeof(*argv));
	char *big = malloc(INITX_COMMAND_MAX + 1);

	for (size_t i = 0; i <= INITX_COMMAND_MAX_STRINGS; i++)
		argv[i] = "";
	assert_int_equal(command_new("x", argv, NULL, &c, NULL), -E2BIG);
	argv[INITX_COMMAND_MAX_STRINGS] = NULL;
	assert_int_equal(command_new("x", argv, NULL, &c, NULL), 0);
	command_free(c);
	c = NULL;
	memset(big, 'y', INITX_COMMAND_MAX);
	big[INITX_COMMAND_MAX - 3] = '\0'; /* path "x" NUL and this with its NUL: exactly full */
	argv[0] = big;
	argv[1] = NULL;
	assert_int_equal(command_new("x", argv, NULL, &c, NULL), 0);
	assert_int_equal(command_record(c, 1, NULL), -E2BIG);
	command_free(c);
	c = NULL;
	big[INITX_COMMAND_MAX - 3] = 'y';
	big[INITX_COMMAND_MAX - 2] = '\0';
	assert_int_equal(command_new("x", argv, NULL, &c, NULL), -E2BIG);
	free(argv);
	free(big);
}

static void fills_the_slot_and_respects_it(void **state)
{
	uint8_t *config = calloc(1, INITX_CONFIG_SIZE);
	CLEANUP(command_freep) struct command *c = NULL;
	struct command_view v;

	assert_int_equal(command_new("/bin/true", NULL, NULL, &c, NULL), 0);
	/* an older block's record must not become this one's */
	memset(config + INITX_COMMAND_OFFSET + 16, 0x58, 64);
	assert_int_equal(command_place(c, config, NULL), 0);
	assert_int_equal(command_place(c, config, NULL), -EAGAIN);
	assert_int_equal(command_parse(config + INITX_COMMAND_OFFSET,
				       INITX_CONFIG_SIZE - INITX_COMMAND_OFFSET, &v, NULL),
			 0);
	assert_string_equal(v.path, "/bin/true");
	assert_int_equal(v.id, 0);
	command_clear(config);
	assert_int_equal(command_place(c, config, NULL), 0);
	free(config);
}

/* Every rule broken once; and no byte of a good block changed to anything makes the reader stray.
 */
static void reader_refuses_damage(void **state)
{
	const char *argv[] = { "a", NULL };
	const uint32_t words[] = { 1, 2, 3 };
	CLEANUP(command_freep) struct command *c = NULL;
	struct command_view v;
	const uint8_t *bytes, *payload;
	uint8_t copy[128];
	size_t len;

	assert_int_equal(command_new("/p", argv, NULL, &c, NULL), 0);
	assert_int_equal(command_record(c, 5, NULL), 0);
	assert_int_equal(command_item_u32(c, INITX_ITEM_IDS, words, 3, NULL), 0);
	bytes = command_bytes(c, &len);
	assert_true(len <= sizeof(copy));
	for (size_t cut = 0; cut < len; cut++) { /* the last 4 bytes are padding of an item */
		int r = command_parse(bytes, cut, &v, NULL);

		assert_true(r == -EBADMSG || (r == 0 && v.id == 0));
	}
	for (size_t at = 0; at < len; at++) {
		for (unsigned val = 0; val < 256; val++) {
			size_t it = 0;
			uint16_t type;
			uint32_t n;

			memcpy(copy, bytes, len);
			copy[at] = (uint8_t)val;
			if (command_parse(copy, len, &v, NULL) != 0)
				continue;
			while (command_next_item(&v, &it, &type, &payload, &n))
				assert_true(payload + n <= copy + len);
		}
	}
	memcpy(copy, bytes, len);
	le16_store(copy + len - 24, 999); /* unknown and required */
	assert_int_equal(command_parse(copy, len, &v, NULL), -EBADMSG);
	le16_store(copy + len - 22, 0); /* unknown and not required */
	assert_int_equal(command_parse(copy, len, &v, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_documented_bytes),
		cmocka_unit_test(reads_back_what_it_wrote),
		cmocka_unit_test(refuses_bad_arguments),
		cmocka_unit_test(keeps_to_the_limits),
		cmocka_unit_test(fills_the_slot_and_respects_it),
		cmocka_unit_test(reader_refuses_damage),
	};

	return cmocka_run_group_tests_name("initx/command", tests, NULL, NULL);
}
