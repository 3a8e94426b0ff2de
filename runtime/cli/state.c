/* SPDX-License-Identifier: Apache-2.0 */
/* husk state: show a container's state as JSON. */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"

static const struct cli_option options[] = { { 0 } };

static const struct cli_spec spec = {
	.verb = "state",
	.usage = "ID",
	.about = "Shows the state of a container as JSON.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

int cli_state(int argc, char **argv)
{
	struct statedir dir = STATEDIR_NONE;
	struct oci_state state = { 0 };
	AUTO_FREE char *text = NULL;
	struct err err = { 0 };
	int n, r;
	enum cli_parsed p = cli_parse(&spec, argc, argv, NULL, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	r = container_load(cli_globals.root_path, argv[1], false, &dir, &state, &err);
	if (r == 0)
		r = oci_state_print(&state, true, &text, &err);
	if (r == 0)
		puts(text);
	oci_state_done(&state);
	statedir_close(&dir);
	return r < 0 ? cli_error(&err) : 0;
}
