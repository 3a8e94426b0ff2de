/* SPDX-License-Identifier: Apache-2.0 */
/* husk start: let a created container's process go. */
#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"

static const struct cli_option options[] = { { 0 } };

static const struct cli_spec spec = {
	.verb = "start",
	.usage = "ID",
	.about = "Lets the process of a created container go.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

int cli_start(int argc, char **argv)
{
	struct err err = { 0 };
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, NULL, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (container_start(cli_globals.root_path, argv[1], &err) < 0)
		return cli_error(&err);
	return 0;
}
