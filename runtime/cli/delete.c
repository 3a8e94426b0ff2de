/* SPDX-License-Identifier: Apache-2.0 */
/* husk delete: remove a stopped container. */
#include <stddef.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"

struct delete_options {
	bool force;
};

static const struct cli_option options[] = {
	{ "force", 'f', CLI_FLAG, offsetof(struct delete_options, force), NULL,
	  "end it first; one that does not exist is no error" },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "delete",
	.usage = "ID",
	.about = "Removes what is left of a stopped container.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

int cli_delete(int argc, char **argv)
{
	struct delete_options opt = { 0 };
	struct err err = { 0 };
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (container_delete(cli_globals.root_path, argv[1], opt.force, &err) < 0)
		return cli_error(&err);
	return 0;
}
