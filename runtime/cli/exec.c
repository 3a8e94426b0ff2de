/* SPDX-License-Identifier: Apache-2.0 */
/* husk exec: execute a process in a running container. */
#include "oci/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "execproxy.h"
#include "foreground.h"
#include "kept.h"
#include "lifecycle.h"
#include "oci/config.h"

struct exec_options {
	const char *process, *cwd, *user, *pid_file, *console_socket;
	struct cli_list env, gids, caps;
	bool tty, detach, no_new_privs, ignore_paused;
	unsigned n_preserve_fds;
};

#define O(member) offsetof(struct exec_options, member)

static const struct cli_option options[] = {
	{ "process", 'p', CLI_STRING, O(process), "FILE", "the process as JSON" },
	{ "tty", 't', CLI_FLAG, O(tty), NULL, "give it a terminal" },
	{ "cwd", 0, CLI_STRING, O(cwd), "DIR", "its working directory" },
	{ "env", 'e', CLI_LIST, O(env), "NAME=VALUE", "added to its environment" },
	{ "user", 'u', CLI_STRING, O(user), "UID[:GID]", "who it runs as" },
	{ "additional-gids", 'g', CLI_LIST, O(gids), "GID", "one more group" },
	{ "cap", 'c', CLI_LIST, O(caps), "CAP", "one more capability" },
	{ "detach", 'd', CLI_FLAG, O(detach), NULL, "do not wait for its end" },
	{ "pid-file", 0, CLI_STRING, O(pid_file), "FILE",
	  "write the pid of the one that stands for it" },
	{ "console-socket", 0, CLI_STRING, O(console_socket), "PATH",
	  "send the terminal's master to this socket" },
	{ "no-new-privs", 0, CLI_FLAG, O(no_new_privs), NULL, "it can gain no privileges" },
	{ "ignore-paused", 0, CLI_FLAG, O(ignore_paused), NULL,
	  "in a paused container: begin when it goes on" },
	{ "preserve-fds", 0, CLI_UINT, O(n_preserve_fds), "N", "pass descriptors 3 to 2+N on" },
	{ "process-label", 0, CLI_IGNORED_STRING, 0, "LABEL", "accepted: labels stay on the host" },
	{ "apparmor", 0, CLI_IGNORED_STRING, 0, "PROFILE", "accepted: profiles stay on the host" },
	{ "cgroup", 0, CLI_IGNORED_STRING, 0, "PATH", NULL },
	{ "pidfd-socket", 0, CLI_IGNORED_STRING, 0, "PATH", NULL },
	{ "no-subreaper", 0, CLI_IGNORED_FLAG, 0, NULL, NULL },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "exec",
	.usage = "ID [COMMAND [ARGUMENT...]]",
	.about = "Executes a process in a running container. In the foreground husk ends with its\n"
		 "status, or 128 and its signal.",
	.options = options,
	.min_args = 1,
	.max_args = -1,
	.args_end_options = true,
};

/* The process's JSON, from a file or from the container's own and the options. */
static int build_process(const struct exec_options *opt, const struct statedir *dir, char **args,
			 char **ret, size_t *ret_len, struct err *err)
{
	const struct oci_exec_options eo = {
		.args = args,
		.cwd = opt->cwd,
		.user = opt->user,
		.env = opt->env.v,
		.n_env = opt->env.n,
		.gids = opt->gids.v,
		.n_gids = opt->gids.n,
		.caps = opt->caps.v,
		.n_caps = opt->caps.n,
		.tty = opt->tty,
		.no_new_privs = opt->no_new_privs,
	};
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r;

	if (opt->process) {
		r = oci_file_read(AT_FDCWD, opt->process, ret, ret_len, err);
		return r;
	}
	r = oci_file_read(dir->fd, "config.json", &text, &len, err);
	if (r == 0)
		r = oci_exec_process(text, len, &eo, ret, err);
	if (r == 0)
		*ret_len = strlen(*ret);
	return r;
}

static int check_state(const struct oci_state *state, const struct exec_options *opt,
		       struct err *err)
{
	if (state->status == OCI_STATUS_STOPPED || state->status == OCI_STATUS_CREATING)
		return err_set(err, -ESRCH, "cannot exec in a stopped container");
	/* Its namespaces are made with its first process. */
	if (state->status == OCI_STATUS_CREATED)
		return err_set(err, -EINVAL,
			       "cannot exec in a container that has not been started");
	if (state->status == OCI_STATUS_PAUSED && !opt->ignore_paused)
		return err_set(err, -EINVAL,
			       "cannot exec in a paused container (use --ignore-paused)");
	return 0;
}

static int prepare(const struct exec_options *opt, char **args, struct execproxy *proxy,
		   struct err *err)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r = build_process(opt, &proxy->dir, args, &text, &len, err);

	if (r == 0)
		r = oci_process_parse(text, len, opt->process ? "process" : "exec", &config, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < config->warnings.n; i++)
		log_warn("%s", config->warnings.v[i]);
	if (config->process->terminal && opt->detach && !opt->console_socket)
		return err_set(err, -EINVAL,
			       "cannot allocate tty if husk will detach without setting console "
			       "socket");
	proxy->terminal = config->process->terminal;
	if (config->process->console_size) {
		proxy->rows = (unsigned)config->process->console_size->height.v;
		proxy->cols = (unsigned)config->process->console_size->width.v;
	}
	proxy->console_socket = opt->console_socket;
	proxy->n_kept = opt->n_preserve_fds;
	proxy->process = STEAL_PTR(text);
	proxy->process_len = len;
	return 0;
}

static int run(const struct exec_options *opt, struct execproxy *proxy, struct err *err)
{
	int r;

	if (opt->detach)
		return execproxy_detach(proxy, opt->pid_file, err);
	r = foreground_begin(err);
	if (r == 0)
		r = execproxy_start(proxy, err);
	if (r == 0 && opt->pid_file)
		r = pid_file_write(opt->pid_file, getpid(), err);
	return r < 0 ? r : execproxy_wait(proxy, err);
}

int cli_exec(int argc, char **argv)
{
	CLEANUP(execproxy_done) struct execproxy proxy = EXECPROXY_NONE;
	struct exec_options opt = { 0 };
	struct oci_state state = { 0 };
	struct err err = { 0 };
	int n, r;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (n == 1 && !opt.process)
		return cli_usage("exec", "a command or --process is missing");
	/* What follows the positional arguments is not ours. */
	argv[1 + n] = NULL;
	r = kept_check(opt.n_preserve_fds, &err);
	if (r == 0)
		r = container_load(cli_globals.root_path, argv[1], false, &proxy.dir, &state, &err);
	if (r == 0)
		r = check_state(&state, &opt, &err);
	if (r == 0)
		r = prepare(&opt, argv + 2, &proxy, &err);
	if (r == 0)
		r = run(&opt, &proxy, &err);
	oci_state_done(&state);
	cli_list_done(&opt.env);
	cli_list_done(&opt.gids);
	cli_list_done(&opt.caps);
	return r < 0 ? cli_error(&err) : r;
}
