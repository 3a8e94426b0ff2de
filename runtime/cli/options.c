/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines by tables. */
#include "cli/options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"

#define HELP_COLUMN 26

void cli_list_done(struct cli_list *list)
{
	free(list->v);
	*list = (struct cli_list){ 0 };
}

void cli_print_options(const struct cli_option *options)
{
	for (const struct cli_option *o = options; o->name; o++) {
		char text[80];
		char letter[8] = "";

		if (!o->help)
			continue;
		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		snprintf(text, sizeof(text), "  %s--%s%s%s", letter, o->name, o->value ? " " : "",
			 o->value ? o->value : "");
		printf("%-*s %s\n", HELP_COLUMN, text, o->help);
	}
}

static void print_help(const struct cli_spec *spec)
{
	if (spec->print_help) {
		spec->print_help();
		return;
	}
	printf("usage: husk %s [OPTION...]%s%s\n\n%s\n\n", spec->verb, spec->usage[0] ? " " : "",
	       spec->usage, spec->about);
	cli_print_options(spec->options);
	printf("%-*s %s\n", HELP_COLUMN, "  -h, --help", "show this");
}

static void complain(const struct cli_spec *spec, const char *what, const char *arg,
		     const char *why)
{
	if (spec->verb)
		cli_usage(spec->verb, "%s'%s'%s", what, arg, why);
	else
		log_err("%s'%s'%s (see 'husk --help')", what, arg, why);
}

/* The option that "--name", "-name", "-x" or one of them with "=value" means. */
static const struct cli_option *find(const struct cli_spec *spec, const char *arg,
				     const char **ret_value)
{
	const char *name = arg + 1 + (arg[1] == '-');
	size_t n = strcspn(name, "=");

	*ret_value = name[n] ? name + n + 1 : NULL;
	for (const struct cli_option *o = spec->options; o->name; o++) {
		if (strlen(o->name) == n && !strncmp(o->name, name, n))
			return o;
		if (o->letter && arg[1] != '-' && n == 1 && o->letter == name[0])
			return o;
	}
	return NULL;
}

static int set_flag(bool *flag, const char *value)
{
	if (!value || !strcmp(value, "true") || !strcmp(value, "1"))
		*flag = true;
	else if (!strcmp(value, "false") || !strcmp(value, "0"))
		*flag = false;
	else
		return -1;
	return 0;
}

static int append(struct cli_list *list, const char *value)
{
	const char **grown;

	if (list->n == CLI_LIST_MAX)
		return -1;
	grown = realloc(list->v, (list->n + 1) * sizeof(*grown));
	if (!grown)
		return -1;
	list->v = grown;
	grown[list->n++] = value;
	return 0;
}

static int set_value(const struct cli_option *o, void *into, const char *value)
{
	void *at = (char *)into + o->offset;
	bool ignored;

	switch (o->kind) {
	case CLI_FLAG: return set_flag(at, value);
	case CLI_IGNORED_FLAG: return set_flag(&ignored, value);
	case CLI_STRING: *(const char **)at = value; return 0;
	case CLI_LIST: return append(at, value);
	case CLI_UINT: return cli_parse_uint(value, 0, INT_MAX, at);
	case CLI_IGNORED_STRING: return 0;
	}
	return -1;
}

static bool wants_value(const struct cli_option *o)
{
	return o->kind != CLI_FLAG && o->kind != CLI_IGNORED_FLAG;
}

static bool is_help(const char *arg)
{
	return !strcmp(arg, "--help") || !strcmp(arg, "-h") || !strcmp(arg, "-help");
}

/* One option at argv[*i]. */
static enum cli_parsed take_option(const struct cli_spec *spec, int argc, char **argv, int *i,
				   void *into)
{
	const char *arg = argv[*i], *value = NULL;
	const struct cli_option *o = find(spec, arg, &value);

	if (!o && is_help(arg)) {
		print_help(spec);
		return CLI_HELP;
	}
	if (!o) {
		complain(spec, "unknown option ", arg, "");
		return CLI_BAD;
	}
	if (wants_value(o) && !value) {
		if (*i + 1 == argc) {
			complain(spec, "", arg, " wants a value");
			return CLI_BAD;
		}
		value = argv[++*i];
	}
	if (set_value(o, into, value) < 0) {
		char why[80];

		snprintf(why, sizeof(why), " is no value for --%s", o->name);
		complain(spec, "", value ? value : "", why);
		return CLI_BAD;
	}
	return CLI_OK;
}

enum cli_parsed cli_parse(const struct cli_spec *spec, int argc, char **argv, void *into,
			  int *ret_n)
{
	int n = 0, i;

	for (i = 1; i < argc; i++) {
		enum cli_parsed r;

		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (argv[i][0] != '-' || !argv[i][1]) {
			if (spec->args_end_options)
				break;
			argv[1 + n++] = argv[i];
			continue;
		}
		r = take_option(spec, argc, argv, &i, into);
		if (r != CLI_OK)
			return r;
	}
	for (; i < argc; i++)
		argv[1 + n++] = argv[i];
	*ret_n = n;
	if (n < spec->min_args) {
		if (spec->verb)
			cli_usage(spec->verb, "wants %s", spec->usage);
		return CLI_BAD;
	}
	if (spec->max_args >= 0 && n > spec->max_args) {
		complain(spec, "unexpected argument ", argv[1 + spec->max_args], "");
		return CLI_BAD;
	}
	return CLI_OK;
}
