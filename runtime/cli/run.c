/* SPDX-License-Identifier: Apache-2.0 */
/* husk run: make a container, start it, and stay with it unless told to leave. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/create_rows.h"
#include "foreground.h"
#include "lifecycle.h"
#include "vmmproc.h"

#define C(member) offsetof(struct run_options, create.member)
#define O(member) offsetof(struct run_options, member)

static const struct cli_option options[] = {
	CLI_STAY_ROWS(O),
	CLI_CREATE_ROWS(C),
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "run",
	.usage = "ID",
	.about = "Makes a container and starts it. In the foreground husk ends with the status of\n"
		 "the container's process, or 128 and its signal, and deletes the container.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

static int stay(const struct run_options *opt, const struct created *made)
{
	const char *root = cli_globals.root_path, *id = opt->create.id;
	struct err err = { 0 };
	int status, r = foreground_begin(&err);

	if (r == 0)
		r = container_started(root, id, made->start_fd, &err);
	if (r < 0) {
		cli_error(&err);
		container_delete(root, id, true, NULL);
		waitpid(made->pid, &status, 0);
		return r == -ENOENT   ? VMMPROC_NOT_FOUND
		       : r == -EACCES ? VMMPROC_NOT_PERMIT
				      : CLI_FAIL;
	}
	status = foreground_wait(made->pid, made->terminal, NULL, &err);
	if (status < 0)
		status = cli_error(&err);
	if (!opt->keep && container_delete(root, id, true, &err) < 0)
		log_warn("%s, ignoring", err.msg);
	return status;
}

int cli_run_container(struct run_options *opt)
{
	struct created made = { .terminal = -1, .start_fd = -1 };
	struct err err = { 0 };
	int r;

	opt->create.foreground = !opt->detach && !opt->create.console_socket;
	/* A pid file that cannot be written keeps the process from starting. */
	opt->create.start = !opt->create.pid_file;
	opt->create.cgroups_disabled =
		cli_globals.cgroup_manager && !strcmp(cli_globals.cgroup_manager, "disabled");
	if (container_create(&opt->create, &made, &err) < 0)
		return cli_error(&err);
	if (!opt->detach)
		return stay(opt, &made);
	r = container_started(cli_globals.root_path, opt->create.id, made.start_fd, &err);
	if (r < 0)
		container_delete(cli_globals.root_path, opt->create.id, true, NULL);
	return r < 0 ? cli_error(&err) : 0;
}

int cli_run(int argc, char **argv)
{
	struct run_options opt = { .create = { .root = cli_globals.root_path } };
	int n;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	opt.create.id = argv[1];
	return cli_run_container(&opt);
}
