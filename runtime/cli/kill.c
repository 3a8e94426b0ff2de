/* SPDX-License-Identifier: Apache-2.0 */
/* husk kill: send a signal to a container. */
#include <signal.h>
#include <stddef.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"

struct kill_options {
	bool all;
};

static const struct cli_option options[] = {
	{ "all", 'a', CLI_FLAG, offsetof(struct kill_options, all), NULL,
	  "to every process of the container" },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "kill",
	.usage = "ID [SIGNAL]",
	.about = "Sends a signal to a container's process: by number, or by name with and without\n"
		 "SIG. TERM when none is named.",
	.options = options,
	.min_args = 1,
	.max_args = 2,
};

int cli_kill(int argc, char **argv)
{
	struct kill_options opt = { 0 };
	struct err err = { 0 };
	int n, sig = SIGTERM;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (n == 2)
		sig = signal_parse(argv[2]);
	if (sig < 0)
		return cli_usage("kill", "unknown signal '%s'", argv[2]);
	if (container_kill(cli_globals.root_path, argv[1], sig, opt.all, &err) < 0)
		return cli_error(&err);
	return 0;
}
