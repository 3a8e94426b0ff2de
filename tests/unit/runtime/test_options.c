/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines by tables. */
#include "test.h"

#include <string.h>

#include "base/log.h"
#include "cli/options.h"
#include "guest.h"

const struct guest_ops *const guest_backend_ops = NULL;

struct opts {
	const char *name;
	bool flag;
	unsigned number;
	struct cli_list list;
};

static const struct cli_option rows[] = {
	{ "name", 'n', CLI_STRING, offsetof(struct opts, name), "NAME", "a name" },
	{ "flag", 'f', CLI_FLAG, offsetof(struct opts, flag), NULL, "a flag" },
	{ "number", 0, CLI_UINT, offsetof(struct opts, number), "N", "a number" },
	{ "item", 'i', CLI_LIST, offsetof(struct opts, list), "ITEM", "one more" },
	{ "old", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "older", 0, CLI_IGNORED_STRING, 0, "X", NULL },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "test", .usage = "ID", .about = "", .options = rows, .min_args = 1, .max_args = 2
};

static enum cli_parsed parse_by(const struct cli_spec *by, struct opts *o, int *n, char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	*o = (struct opts){ 0 };
	return cli_parse(by, argc, argv, o, n);
}

#define ARGV(...) ((char *[]){ (char *)"test", __VA_ARGS__, NULL })
#define S(text)	  ((char *)(uintptr_t)(text))

static void takes_every_form(void **state)
{
	char **forms[] = { ARGV(S("--name"), S("x"), S("id")), ARGV(S("--name=x"), S("id")),
			   ARGV(S("-name"), S("x"), S("id")), ARGV(S("-n"), S("x"), S("id")),
			   ARGV(S("id"), S("-n=x")) };
	struct opts o;
	int n;

	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		assert_int_equal(parse_by(&spec, &o, &n, forms[i]), CLI_OK);
		assert_string_equal(o.name, "x");
		assert_int_equal(n, 1);
		assert_string_equal(forms[i][1], "id");
	}
}

static void takes_flags_lists_and_what_is_ignored(void **state)
{
	char **argv = ARGV(S("-f"), S("--old"), S("--older"), S("y"), S("-i"), S("a"),
			   S("--item=b"), S("--number"), S("12"), S("--"), S("-id"));
	struct opts o;
	int n;

	assert_int_equal(parse_by(&spec, &o, &n, argv), CLI_OK);
	assert_true(o.flag);
	assert_int_equal(o.number, 12);
	assert_int_equal(o.list.n, 2);
	assert_string_equal(o.list.v[1], "b");
	assert_string_equal(argv[1], "-id");
	cli_list_done(&o.list);
	assert_int_equal(parse_by(&spec, &o, &n, ARGV(S("--flag=false"), S("id"))), CLI_OK);
	assert_false(o.flag);
}

static void refuses_what_the_table_does_not_have(void **state)
{
	char **bad[] = { ARGV(S("--none"), S("id")),   ARGV(S("--number"), S("x"), S("id")),
			 ARGV(S("id"), S("--name")),   ARGV(S("--flag=maybe"), S("id")),
			 ARGV(S("a"), S("b"), S("c")), ARGV(S("-f")),
			 ARGV(S("--nam=x"), S("id")) };
	struct opts o;
	int n;

	log_setup(-1, LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse_by(&spec, &o, &n, bad[i]), CLI_BAD);
}

static void stops_at_the_first_argument_when_told(void **state)
{
	struct cli_spec by = spec;
	char **argv = ARGV(S("-f"), S("id"), S("ls"), S("-n"));
	struct opts o;
	int n;

	by.args_end_options = true;
	by.max_args = -1;
	assert_int_equal(parse_by(&by, &o, &n, argv), CLI_OK);
	assert_int_equal(n, 3);
	assert_string_equal(argv[3], "-n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_every_form),
		cmocka_unit_test(takes_flags_lists_and_what_is_ignored),
		cmocka_unit_test(refuses_what_the_table_does_not_have),
		cmocka_unit_test(stops_at_the_first_argument_when_told),
	};

	return cmocka_run_group_tests_name("runtime/options", tests, NULL, NULL);
}
