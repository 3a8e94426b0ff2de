/* SPDX-License-Identifier: Apache-2.0 */
/* husk list: show all containers. */
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"

struct list_options {
	const char *format;
	bool quiet;
};

static const struct cli_option options[] = {
	{ "format", 'f', CLI_STRING, offsetof(struct list_options, format), "FORMAT",
	  "table (default) or json" },
	{ "quiet", 'q', CLI_FLAG, offsetof(struct list_options, quiet), NULL, "names only" },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "list",
	.usage = "",
	.about = "Shows the containers of this root directory.",
	.options = options,
	.max_args = 0,
};

static void print_row(const struct oci_state *s)
{
	const struct passwd *pw = getpwuid(s->owner_uid);
	char created[40], owner[32];

	oci_time_format(s->created_ns, created, sizeof(created));
	if (pw)
		snprintf(owner, sizeof(owner), "%s", pw->pw_name);
	else
		snprintf(owner, sizeof(owner), "#%u", s->owner_uid);
	printf("%-24s %-10d %-10s %-40s %-32s %s\n", s->id,
	       s->status == OCI_STATUS_STOPPED ? 0 : (int)s->pid, oci_status_str(s->status),
	       s->bundle, created, owner);
}

static void print_all(const struct list_options *opt, const struct oci_state *states, size_t n)
{
	AUTO_FREE char *text = NULL;

	if (opt->quiet) {
		for (size_t i = 0; i < n; i++)
			puts(states[i].id);
	} else if (opt->format && !strcmp(opt->format, "json")) {
		if (oci_state_print_list(states, n, &text, NULL) == 0)
			puts(text);
	} else {
		printf("%-24s %-10s %-10s %-40s %-32s %s\n", "ID", "PID", "STATUS", "BUNDLE",
		       "CREATED", "OWNER");
		for (size_t i = 0; i < n; i++)
			print_row(&states[i]);
	}
}

int cli_list(int argc, char **argv)
{
	struct list_options opt = { 0 };
	struct oci_state *states;
	struct err err = { 0 };
	char **names = NULL;
	size_t n_names = 0, n_states = 0;
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (opt.format && strcmp(opt.format, "table") != 0 && strcmp(opt.format, "json") != 0)
		return cli_usage("list", "'%s' is no value for --format", opt.format);
	if (statedir_list(cli_globals.root_path, &names, &n_names, &err) < 0)
		return cli_error(&err);
	states = calloc(n_names + 1, sizeof(*states));
	for (size_t i = 0; states && i < n_names; i++) {
		struct statedir dir = STATEDIR_NONE;

		/* Those that come or go at this moment are not listed. */
		if (container_load(cli_globals.root_path, names[i], false, &dir, &states[n_states],
				   NULL) == 0)
			n_states++;
		statedir_close(&dir);
	}
	if (states)
		print_all(&opt, states, n_states);
	for (size_t i = 0; i < n_states; i++)
		oci_state_done(&states[i]);
	free(states);
	statedir_list_free(names, n_names);
	return 0;
}
