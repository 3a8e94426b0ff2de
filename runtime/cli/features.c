/* SPDX-License-Identifier: Apache-2.0 */
/* husk features: show what this runtime can do, as JSON. */
#include "oci/features.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/options.h"

static const struct cli_option options[] = { { 0 } };

static const struct cli_spec spec = {
	.verb = "features",
	.usage = "",
	.about = "Shows what this runtime can do, as JSON.",
	.options = options,
	.max_args = 0,
};

int cli_features(int argc, char **argv)
{
	AUTO_FREE char *text = NULL;
	struct err err = { 0 };
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, NULL, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (oci_features_print(HUSK_VERSION, &text, &err) < 0)
		return cli_error(&err);
	puts(text);
	return 0;
}
