/* SPDX-License-Identifier: Apache-2.0 */
/* husk checkpoint: save a running container. */
#include <stddef.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"

struct checkpoint_options {
	const char *image_path;
	bool leave_running;
};

#define O(member) offsetof(struct checkpoint_options, member)

static const struct cli_option options[] = {
	{ "image-path", 0, CLI_STRING, O(image_path), "DIR", "where to (default: checkpoint)" },
	{ "leave-running", 0, CLI_FLAG, O(leave_running), NULL, "do not end the container" },
	{ "work-path", 0, CLI_IGNORED_STRING, 0, "DIR", "accepted: there are no logs of its own" },
	{ "tcp-established", 0, CLI_IGNORED_FLAG, 0, NULL,
	  "accepted: connections are the guest's, and saved with it" },
	{ "tcp-skip-in-flight", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "ext-unix-sk", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "shell-job", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "file-locks", 0, CLI_IGNORED_FLAG, 0, NULL, "accepted: locks are kept" },
	{ "link-remap", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ "manage-cgroups-mode", 0, CLI_IGNORED_STRING, 0, "MODE", NULL },
	{ "empty-ns", 0, CLI_IGNORED_STRING, 0, "NS", NULL },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "checkpoint",
	.usage = "ID",
	.about = "Writes a running container to a directory, from which restore lets it go on: its\n"
		 "processes with their memory, open files and timers. Executed processes lose their\n"
		 "streams. Files of the container's root are not copied, but those that are open and\n"
		 "unlinked: the others must be the same then.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

int cli_checkpoint(int argc, char **argv)
{
	struct checkpoint_options opt = { .image_path = "checkpoint" };
	struct err err = { 0 };
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (container_checkpoint(cli_globals.root_path, argv[1], opt.image_path, opt.leave_running,
				 &err) < 0)
		return cli_error(&err);
	return 0;
}
