/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of the command line, and what they share. */
#ifndef RUNTIME_CLI_CLI_H
#define RUNTIME_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CLI_FAIL   1   /* exit status of whatever went wrong */
#define CLI_SIGNAL 128 /* and of an end by signal, plus its number */

/*
 * A verb gets its own arguments (argv[0] is the verb) and returns the exit status. It reports its
 * own errors with one line each.
 */
struct cli_verb {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

int cli_create(int argc, char **argv);
int cli_delete(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_events(int argc, char **argv);
int cli_exec(int argc, char **argv);
int cli_features(int argc, char **argv);
int cli_kernel(int argc, char **argv);
int cli_kill(int argc, char **argv);
int cli_list(int argc, char **argv);
int cli_logs(int argc, char **argv);
int cli_pause(int argc, char **argv);
int cli_ps(int argc, char **argv);
int cli_resume(int argc, char **argv);
int cli_run(int argc, char **argv);
struct run_options;
/* Create, start and, unless detached, stay with a container. Return: the exit status. */
int cli_run_container(struct run_options *opt);

int cli_checkpoint(int argc, char **argv);
int cli_restore(int argc, char **argv);
int cli_snapshot(int argc, char **argv);
int cli_spec(int argc, char **argv);
int cli_start(int argc, char **argv);
int cli_state(int argc, char **argv);
int cli_update(int argc, char **argv);
int cli_vm(int argc, char **argv);

/* What stands before the verb. */
struct cli_globals {
	const char *root, *log, *log_format, *log_level, *cgroup_manager, *rootless;
	bool debug, systemd_cgroup, version;
	char root_path[4096]; /* where the state directories are */
	int log_fd;	      /* of --log, or -1 */
};

/* Set once by main(). */
extern struct cli_globals cli_globals;
/* Act on them: the log, the root directory. Return: 0; negative errno. */
int cli_globals_apply(struct err *err);

/* One line for err, as log_err() writes it. Return: CLI_FAIL. */
int cli_error(const struct err *err);
/* "bad usage: ...", with a hint to --help. Return: CLI_FAIL. */
int cli_usage(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * cli_parse_size() - "512M", "2G", "1048576K"; a bare number is MiB
 *
 * Return: 0; -EINVAL not a size or out of range.
 */
int cli_parse_size(const char *text, uint64_t *ret_bytes);
/* A decimal number in [@min, @max]. Return: 0; -EINVAL. */
int cli_parse_uint(const char *text, unsigned min, unsigned max, unsigned *ret);

#endif
