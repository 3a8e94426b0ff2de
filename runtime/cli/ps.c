/* SPDX-License-Identifier: Apache-2.0 */
/* husk ps: show the host's processes of a container. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/process.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "lifecycle.h"
#include "oci/config.h"

#define PIDS_MAX    4096
#define PS_OUT_MAX  (1U << 20)
#define PS_ARGS_MAX 64

struct ps_options {
	const char *format;
};

static const struct cli_option options[] = {
	{ "format", 'f', CLI_STRING, offsetof(struct ps_options, format), "FORMAT",
	  "table (default) or json" },
	{ 0 },
};

static const struct cli_spec spec = {
	.verb = "ps",
	.usage = "ID [PS-OPTION...]",
	.about = "Shows the host's processes that stand for those of a container: the machine's, "
		 "and\n"
		 "one for each executed process. As a table by the host's ps, or as JSON.",
	.options = options,
	.min_args = 1,
	.max_args = -1,
	.args_end_options = true,
};

/* Whether /proc/PID/cmdline is "husk: exec ID". */
static bool is_proxy(const char *pid, const char *id)
{
	char path[300], text[400], want[400];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	snprintf(want, sizeof(want), "husk: exec %s", id);
	int AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = fd_read_full(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return !strcmp(text, want);
}

static size_t find_pids(const struct oci_state *state, int *pids, size_t max)
{
	DIR *proc = opendir("/proc");
	const struct dirent *d;
	size_t n = 0;

	pids[n++] = (int)state->pid;
	while (proc && n < max && (d = readdir(proc))) {
		if (d->d_name[0] >= '0' && d->d_name[0] <= '9' && is_proxy(d->d_name, state->id))
			pids[n++] = atoi(d->d_name);
	}
	if (proc)
		closedir(proc);
	return n;
}

/* The table's head, and the lines whose pid is one of ours. */
static void print_lines(char *text, const int *pids, size_t n)
{
	const char *at;
	char *save = NULL, *line = strtok_r(text, "\n", &save);
	size_t column = 0;

	if (!line)
		return;
	at = strstr(line, "PID");
	for (const char *p = line; at && p < at; p++)
		column += *p != ' ' && (p == line || p[-1] == ' ');
	puts(line);
	while ((line = strtok_r(NULL, "\n", &save))) {
		const char *p = line + strspn(line, " ");

		for (size_t i = 0; i < column; i++) {
			p += strcspn(p, " ");
			p += strspn(p, " ");
		}
		for (size_t i = 0; i < n; i++) {
			if (atoi(p) == pids[i])
				puts(line);
		}
	}
}

static int print_table(const int *pids, size_t n, int argc, char **argv, struct err *err)
{
	const char *ps[PS_ARGS_MAX] = { "ps" };
	AUTO_FREE char *out = malloc(PS_OUT_MAX);
	size_t k = 1;
	int r;

	if (!out)
		return err_set(err, -ENOMEM, "ps: no memory");
	for (int i = 0; i < argc && k < PS_ARGS_MAX - 1; i++)
		ps[k++] = argv[i];
	if (argc == 0)
		ps[k++] = "-ef";
	r = process_run(ps, NULL, out, PS_OUT_MAX, err);
	if (r == 0)
		print_lines(out, pids, n);
	return r;
}

static void print_json(const int *pids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("%s%d", i ? "," : "[", pids[i]);
	puts("]");
}

int cli_ps(int argc, char **argv)
{
	struct statedir dir = STATEDIR_NONE;
	struct ps_options opt = { 0 };
	struct oci_state state = { 0 };
	struct err err = { 0 };
	int pids[PIDS_MAX], n, r;
	enum cli_parsed p = cli_parse(&spec, argc, argv, &opt, &n);

	if (p != CLI_OK)
		return p == CLI_HELP ? 0 : CLI_FAIL;
	if (opt.format && strcmp(opt.format, "table") != 0 && strcmp(opt.format, "json") != 0)
		return cli_usage("ps", "'%s' is no value for --format", opt.format);
	r = container_load(cli_globals.root_path, argv[1], false, &dir, &state, &err);
	if (r == 0 && state.status == OCI_STATUS_STOPPED)
		r = err_set(&err, -ESRCH, "container not running");
	if (r == 0) {
		size_t n_pids = find_pids(&state, pids, PIDS_MAX);

		if (opt.format && !strcmp(opt.format, "json"))
			print_json(pids, n_pids);
		else
			r = print_table(pids, n_pids, n - 1, argv + 2, &err);
	}
	oci_state_done(&state);
	statedir_close(&dir);
	return r < 0 ? cli_error(&err) : 0;
}
