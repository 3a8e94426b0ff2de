/* SPDX-License-Identifier: Apache-2.0 */
/* husk spec: write a config.json to start from. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "oci/features.h"

struct spec_options {
	const char *bundle;
	bool rootless;
};

static const struct cli_option options[] = {
	{ "bundle", 'b', CLI_STRING, offsetof(struct spec_options, bundle), "DIR",
	  "where to write it (default: this directory)" },
	{ "rootless", 0, CLI_FLAG, offsetof(struct spec_options, rootless), NULL,
	  "for a user without privileges" },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "spec",
	.usage = "",
	.about = "Writes a config.json that runs a shell in BUNDLE/rootfs. One that is there "
		 "already\n"
		 "is left as it is.",
	.options = options,
	.max_args = 0,
};

static int write_spec(const struct spec_options *opt, struct err *err)
{
	const char *bundle = opt->bundle ? opt->bundle : ".";
	AUTO_FREE char *text = NULL;
	int AUTO_FD dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int AUTO_FD fd = -1;
	int r = oci_spec_print(opt->rootless, geteuid(), getegid(), &text, err);

	if (r < 0)
		return r;
	if (dir < 0)
		return err_errno(err, errno, "bundle '%s'", bundle);
	fd = openat(dir, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return err_set(err, -EEXIST, "file config.json exists. Remove it first");
	r = fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));
	if (r == 0)
		r = fd_write_full(fd, "\n", 1);
	return r < 0 ? err_errno(err, -r, "write '%s/config.json'", bundle) : 0;
}

int cli_spec(int argc, char **argv)
{
	struct spec_options opt = { 0 };
	struct err err = { 0 };
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	return write_spec(&opt, &err) < 0 ? cli_error(&err) : 0;
}
