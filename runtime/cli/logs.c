/* SPDX-License-Identifier: Apache-2.0 */
/* husk logs: show what a container's kernel and init said. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"
#include "vmmproc.h"

struct logs_options {
	bool vmm;
};

static const struct cli_option options[] = {
	{ "vmm", 0, CLI_FLAG, offsetof(struct logs_options, vmm), NULL,
	  "what the machine's process said instead" },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "logs",
	.usage = "ID",
	.about = "Shows what the kernel and the init of a container's machine said. The output of "
		 "the\n"
		 "container's process is not here: it goes where create's went.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

static int copy_out(const struct statedir *dir, const char *name, struct err *err)
{
	int AUTO_FD fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char buf[16384];
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_errno(err, errno, "open '%s/%s'", dir->path, name);
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (fd_write_full(STDOUT_FILENO, buf, (size_t)n) < 0)
			return 0;
	}
	return n < 0 ? err_errno(err, errno, "read '%s/%s'", dir->path, name) : 0;
}

int cli_logs(int argc, char **argv)
{
	struct statedir dir = STATEDIR_NONE;
	struct logs_options opt = { 0 };
	struct err err = { 0 };
	int n, r;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	r = statedir_open(cli_globals.root_path, argv[1], false, &dir, &err);
	if (r == 0)
		r = copy_out(&dir, opt.vmm ? VMMPROC_LOG : VMMPROC_CONSOLE_LOG, &err);
	statedir_close(&dir);
	return r < 0 ? cli_error(&err) : 0;
}
