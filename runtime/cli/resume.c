/* SPDX-License-Identifier: Apache-2.0 */
/* husk resume: let a paused container go on. */
#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"

static const struct cli_option options[] = { { 0 } };

static const struct cli_spec spec = {
	.verb = "resume",
	.usage = "ID",
	.about = "Lets a paused container go on.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

int cli_resume(int argc, char **argv)
{
	struct err err = { 0 };
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, NULL, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (container_resume(cli_globals.root_path, argv[1], &err) < 0)
		return cli_error(&err);
	return 0;
}
