/* SPDX-License-Identifier: Apache-2.0 */
/* husk restore: go on with a saved container. */
#include <stddef.h>

#include "cli/cli.h"
#include "cli/create_rows.h"
#include "lifecycle.h"

#define C(member) offsetof(struct run_options, create.member)
#define O(member) offsetof(struct run_options, member)

static const struct cli_option options[] = {
	{ "image-path", 0, CLI_STRING, C(restore_from), "DIR", "where from (default: checkpoint)" },
	CLI_STAY_ROWS(O),
	CLI_CONTAINER_ROWS(C),
	{ "work-path", 0, CLI_IGNORED_STRING, 0, "DIR", "accepted: there are no logs of its own" },
	{ "tcp-established", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "ext-unix-sk", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "shell-job", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "file-locks", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "manage-cgroups-mode", 0, CLI_IGNORED_STRING, 0, "MODE", NULL },
	{ "empty-ns", 0, CLI_IGNORED_STRING, 0, "NS", NULL },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "restore",
	.usage = "ID",
	.about = "Makes a container that goes on where checkpoint has saved one. The bundle is the\n"
		 "one it was made from, with the same files in its root.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

int cli_restore(int argc, char **argv)
{
	struct run_options opt = {
		.create = { .root = cli_globals.root_path, .restore_from = "checkpoint" }
	};
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	opt.create.id = argv[1];
	return cli_run_container(&opt);
}
