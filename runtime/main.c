/* SPDX-License-Identifier: Apache-2.0 */
/* The husk program: finds the verb. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"
#include "cli/cli.h"

static const struct cli_verb verbs[] = {
	{ "vm", "boot one virtual machine on this terminal", cli_vm },
	{ "kernel", "add kernels to the store, list them", cli_kernel },
	{ "doctor", "say what this host can do and which back end is used", cli_doctor },
};

static void print_help(void)
{
	puts("usage: husk VERB [OPTION...]\n"
	     "\n"
	     "husk runs containers in small virtual machines.\n"
	     "\n"
	     "verbs:");
	for (unsigned i = 0; i < ARRAY_LEN(verbs); i++)
		printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
	puts("\n"
	     "  --help     show this, or after a verb its options\n"
	     "  --version  show the version");
}

int main(int argc, char **argv)
{
	/* Writing to a closed pipe is an error like others, not the end. */
	signal(SIGPIPE, SIG_IGN);
	log_setup(STDERR_FILENO, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	if (argc < 2) {
		log_err("a verb is missing (see 'husk --help')");
		return CLI_FAIL;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help();
		return 0;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-v")) {
		puts("husk " HUSK_VERSION);
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_LEN(verbs); i++) {
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(argc - 1, argv + 1);
	}
	log_err("unknown verb '%s' (see 'husk --help')", argv[1]);
	return CLI_FAIL;
}
