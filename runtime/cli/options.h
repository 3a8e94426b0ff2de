/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines by tables: a verb's options are rows, and both parsing and help come from them.
 *
 * Understood: "--name value", "--name=value", "-name value" (engines write both), "-x value",
 * "--flag", "--flag=false", "--" for the end of options.
 */
#ifndef RUNTIME_CLI_OPTIONS_H
#define RUNTIME_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum cli_kind {
	CLI_FLAG,   /* bool */
	CLI_STRING, /* const char * */
	CLI_LIST,   /* struct cli_list: may be repeated */
	CLI_UINT,   /* unsigned */
	CLI_IGNORED_FLAG,
	CLI_IGNORED_STRING,
};

#define CLI_LIST_MAX 1024

struct cli_list {
	const char **v; /* from malloc; owned by the one who declared it */
	size_t n;
};

struct cli_option {
	const char *name; /* NULL ends the table */
	char letter;	  /* or 0 */
	enum cli_kind kind;
	size_t offset;
	const char *value; /* its name in help; NULL for flags */
	const char *help;  /* NULL: not shown */
};

struct cli_spec {
	const char *verb;  /* NULL: the options before the verb */
	const char *usage; /* behind "usage: husk VERB [OPTION...] " */
	const char *about;
	const struct cli_option *options;
	int min_args, max_args; /* positional; max -1: any */
	bool args_end_options;	/* what follows the first positional is not looked at */
	void (*print_help)(void); /* NULL: made from the above */
};

enum cli_parsed { CLI_OK, CLI_HELP, CLI_BAD };

/**
 * cli_parse() - Fill @into from a command line
 * @argv:	argv[0] is the verb; positional arguments are moved to the front, from argv[1] on
 * @ret_n:	Number of positional arguments
 *
 * Says itself what is wrong, and prints help when asked.
 * Return: CLI_OK; CLI_HELP help was shown; CLI_BAD it was refused.
 */
enum cli_parsed cli_parse(const struct cli_spec *spec, int argc, char **argv, void *into,
			  int *ret_n);

void cli_print_options(const struct cli_option *options);
void cli_list_done(struct cli_list *list);

#endif
