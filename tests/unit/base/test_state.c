/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/checked.h"
#include "base/state.h"

struct inner {
	uint16_t a;
	uint8_t b;
};

struct outer {
	uint8_t flag8;
	bool on;
	uint32_t words[3];
	uint64_t big;
	struct inner in[2];
	uint8_t raw[5];
	uint32_t newer; /* since version 2 */
};

static int outer_check(void *obj, struct err *err)
{
	struct outer *o = obj;

	return o->words[0] > 100 ? err_set(err, -EBADMSG, "outer.words too large") : 0;
}

static const struct state_desc inner_desc = {
	.name = "inner",
	.version = 1,
	.min_version = 1,
	.fields = (const struct state_field[]){
		STATE_FIELD(struct inner, a, STATE_U16, 1),
		STATE_FIELD(struct inner, b, STATE_U8, 1),
		{ .type = STATE_END },
	},
};

#define OUTER_V1_FIELDS                                             \
	STATE_FIELD(struct outer, flag8, STATE_U8, 1),              \
		STATE_FIELD(struct outer, on, STATE_BOOL, 1),       \
		STATE_FIELD(struct outer, words, STATE_U32, 1),     \
		STATE_FIELD(struct outer, big, STATE_U64, 1),       \
		STATE_SUB(struct outer, in, &inner_desc, 2, 1),     \
		STATE_FIELD(struct outer, raw, STATE_BYTES, 1)

static const struct state_desc outer_v2 = {
	.name = "outer",
	.version = 2,
	.min_version = 1,
	.fields = (const struct state_field[]){
		OUTER_V1_FIELDS,
		STATE_FIELD(struct outer, newer, STATE_U32, 2),
		{ .type = STATE_END },
	},
	.post_load = outer_check,
};

static const struct state_desc outer_v1 = {
	.name = "outer",
	.version = 1,
	.min_version = 1,
	.fields = (const struct state_field[]){ OUTER_V1_FIELDS, { .type = STATE_END } },
};

static const struct outer sample = {
	.flag8 = 7,
	.on = true,
	.words = { 1, 0xdeadbeef, 3 },
	.big = 0x1122334455667788,
	.in = { { 0x1234, 5 }, { 0x4321, 6 } },
	.raw = "abcd",
	.newer = 99,
};

static void save_load_save_gives_the_same_bytes(void **state)
{
	struct outer o = sample, back = { 0 };
	uint8_t one[128], two[128];
	struct err err = { 0 };
	size_t n = state_save(&outer_v2, &o, one);

	assert_int_equal(n, state_size(&outer_v2));
	assert_int_equal(n, 4 + 1 + 1 + 12 + 8 + 6 + 5 + 4);
	assert_int_equal(state_load(&outer_v2, &back, one, n, &err), 0);
	assert_int_equal(state_save(&outer_v2, &back, two), n);
	assert_memory_equal(one, two, n);
	assert_int_equal(back.in[1].a, 0x4321);
}

static void older_version_keeps_newer_fields(void **state)
{
	struct outer o = sample, back = { .newer = 42 };
	uint8_t buf[128];
	struct err err = { 0 };
	size_t n = state_save(&outer_v1, &o, buf);

	assert_int_equal(state_load(&outer_v2, &back, buf, n, &err), 0);
	assert_int_equal(back.newer, 42);
	assert_int_equal(back.big, sample.big);
}

static void every_wrong_length_is_refused(void **state)
{
	struct outer o = sample, back;
	uint8_t buf[130] = { 0 };
	size_t n = state_save(&outer_v2, &o, buf);

	for (size_t len = 0; len <= n + 1; len++) {
		struct err err = { 0 };

		if (len == n)
			continue;
		assert_int_equal(state_load(&outer_v2, &back, buf, len, &err), -EBADMSG);
		assert_non_null(strstr(err.msg, "outer"));
	}
}

static void unknown_version_bad_bool_and_post_load_are_refused(void **state)
{
	struct outer o = sample, back;
	uint8_t buf[128];
	struct err err = { 0 };
	size_t n = state_save(&outer_v2, &o, buf);

	le32_store(buf, 3);
	assert_int_equal(state_load(&outer_v2, &back, buf, n, &err), -ESTALE);
	le32_store(buf, 2);
	buf[5] = 2;
	assert_int_equal(state_load(&outer_v2, &back, buf, n, &err), -EBADMSG);
	assert_string_equal(err.msg, "outer.on is 2, not 0 or 1");
	buf[5] = 1;
	le32_store(buf + 6, 101);
	assert_int_equal(state_load(&outer_v2, &back, buf, n, &err), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(save_load_save_gives_the_same_bytes),
		cmocka_unit_test(older_version_keeps_newer_fields),
		cmocka_unit_test(every_wrong_length_is_refused),
		cmocka_unit_test(unknown_version_bad_bool_and_post_load_are_refused),
	};

	return cmocka_run_group_tests_name("base/state", tests, NULL, NULL);
}
