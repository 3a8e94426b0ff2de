/* SPDX-License-Identifier: Apache-2.0 */
/* The husk program: reads what stands before the verb, and finds the verb. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "oci/state.h"
#include "vmmproc.h"

static const struct cli_verb verbs[] = {
	{ "create", "make a container from a bundle", cli_create },
	{ "start", "let a created container's process go", cli_start },
	{ "run", "make a container and start it", cli_run },
	{ "exec", "execute a process in a running container", cli_exec },
	{ "kill", "send a signal to a container", cli_kill },
	{ "delete", "remove a stopped container", cli_delete },
	{ "state", "show a container's state as JSON", cli_state },
	{ "list", "show all containers", cli_list },
	{ "ps", "show the host's processes of a container", cli_ps },
	{ "pause", "stop a container's machine", cli_pause },
	{ "resume", "let a paused container go on", cli_resume },
	{ "checkpoint", "save a running container", cli_checkpoint },
	{ "restore", "go on with a saved container", cli_restore },
	{ "update", "change a container's limits", cli_update },
	{ "events", "show what a container uses", cli_events },
	{ "logs", "show what a container's kernel and init said", cli_logs },
	{ "spec", "write a config.json to start from", cli_spec },
	{ "features", "show what this runtime can do, as JSON", cli_features },
	{ "vm", "boot one virtual machine on this terminal", cli_vm },
	{ "snapshot", "make, list, check and remove snapshots", cli_snapshot },
	{ "kernel", "add kernels to the store, list them", cli_kernel },
	{ "doctor", "say what this host can do and which back end is used", cli_doctor },
};

#define G(member) offsetof(struct cli_globals, member)

static const struct cli_option options[] = {
	{ "root", 0, CLI_STRING, G(root), "DIR", "where containers' states are kept" },
	{ "log", 0, CLI_STRING, G(log), "FILE", "write messages to a file" },
	{ "log-format", 0, CLI_STRING, G(log_format), "FORMAT", "text (default) or json" },
	{ "log-level", 0, CLI_STRING, G(log_level), "LEVEL", "error, warning, info or debug" },
	{ "debug", 0, CLI_FLAG, G(debug), NULL, "the same as --log-level debug" },
	{ "cgroup-manager", 0, CLI_STRING, G(cgroup_manager), "NAME",
	  "cgroupfs (default) or disabled; systemd is taken as cgroupfs" },
	{ "systemd-cgroup", 0, CLI_FLAG, G(systemd_cgroup), NULL,
	  "accepted: cgroups are made without systemd" },
	{ "rootless", 0, CLI_STRING, G(rootless), "MODE", "accepted: husk sees what it may do" },
	{ "version", 'v', CLI_FLAG, G(version), NULL, "show the version" },
	{ 0 },
};

static void print_help(void)
{
	puts("usage: husk [OPTION...] VERB [OPTION...]\n"
	     "\n"
	     "husk runs containers in small virtual machines.\n"
	     "\n"
	     "verbs:");
	for (unsigned i = 0; i < ARRAY_LEN(verbs); i++)
		printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
	puts("\noptions before the verb:");
	cli_print_options(options);
	puts("  -h, --help               show this, or after a verb its options");
}

static const struct cli_spec spec = {
	.options = options, .max_args = -1, .args_end_options = true, .print_help = print_help
};

/* Descriptors 0 to 2 are there, so that no other file gets their numbers. */
static void open_missing_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int run_verb(int argc, char **argv)
{
	struct err err = { 0 };

	if (cli_globals_apply(&err) < 0)
		return cli_error(&err);
	for (unsigned i = 0; i < ARRAY_LEN(verbs); i++) {
		if (!strcmp(argv[0], verbs[i].name))
			return verbs[i].run(argc, argv);
	}
	log_err("unknown verb '%s' (see 'husk --help')", argv[0]);
	return CLI_FAIL;
}

int main(int argc, char **argv)
{
	int n = 0;

	/* Writing to a closed pipe is an error like others, not the end. */
	signal(SIGPIPE, SIG_IGN);
	proctitle_init(argc, argv);
	open_missing_stdio();
	log_setup(STDERR_FILENO, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	switch (cli_parse(&spec, argc, argv, &cli_globals, &n)) {
	case CLI_OK: break;
	case CLI_HELP: return 0;
	case CLI_BAD: return CLI_FAIL;
	}
	if (cli_globals.version) {
		puts("husk version " HUSK_VERSION "\nspec: " OCI_VERSION);
		return 0;
	}
	if (n == 0) {
		log_err("a verb is missing (see 'husk --help')");
		return CLI_FAIL;
	}
	if (!strcmp(argv[1], "help")) {
		print_help();
		return 0;
	}
	/* cli_parse() moved the verb and what follows it to argv[1]. */
	return run_verb(n, argv + 1);
}
