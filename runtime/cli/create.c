/* SPDX-License-Identifier: Apache-2.0 */
/* husk create: make a container from a bundle. */
#include <stddef.h>
#include <string.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"

#define O(member) offsetof(struct create_options, member)

static const struct cli_option options[] = {
	{ "bundle", 'b', CLI_STRING, O(bundle), "DIR", "the bundle (default: this directory)" },
	{ "config", 'f', CLI_STRING, O(config), "FILE", "its configuration (BUNDLE/config.json)" },
	{ "console-socket", 0, CLI_STRING, O(console_socket), "PATH",
	  "send the terminal's master to this socket" },
	{ "pid-file", 0, CLI_STRING, O(pid_file), "FILE", "write the container's pid here" },
	{ "snapshot", 0, CLI_STRING, O(snapshot), "MODE",
	  "auto (default), off, early or late: begin with a snapshot, make one" },
	{ "preserve-fds", 0, CLI_UINT, O(n_preserve_fds), "N", "pass descriptors 3 to 2+N on" },
	{ "no-pivot", 0, CLI_IGNORED_FLAG, 0, NULL, "accepted: the guest has a root of its own" },
	{ "no-new-keyring", 0, CLI_IGNORED_FLAG, 0, NULL,
	  "accepted: the guest has keyrings of its own" },
	{ "no-subreaper", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "pidfd-socket", 0, CLI_IGNORED_STRING, 0, "PATH", NULL },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "create",
	.usage = "ID",
	.about =
		"Makes a container: boots its machine as far as the point where its process can\n"
		"start. The pid in the pid file is the machine's, and ends with the status of the\n"
		"container's process.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

int cli_create(int argc, char **argv)
{
	struct create_options opt = { .root = cli_globals.root_path };
	struct created made = { .terminal = -1 };
	struct err err = { 0 };
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	opt.id = argv[1];
	opt.cgroups_disabled =
		cli_globals.cgroup_manager && !strcmp(cli_globals.cgroup_manager, "disabled");
	if (container_create(&opt, &made, &err) < 0)
		return cli_error(&err);
	fd_close(made.terminal);
	return 0;
}
