/* SPDX-License-Identifier: Apache-2.0 */
/* husk create: make a container from a bundle. */
#include <stddef.h>
#include <string.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/create_rows.h"
#include "lifecycle.h"

#define O(member) offsetof(struct create_options, member)

static const struct cli_option options[] = { CLI_CREATE_ROWS(O), { 0 } };

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
