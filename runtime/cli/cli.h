/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of the command line, and what they share. */
#ifndef RUNTIME_CLI_CLI_H
#define RUNTIME_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CLI_FAIL 1 /* exit status of whatever went wrong */

/*
 * A verb gets its own arguments (argv[0] is the verb) and returns the exit status. It reports its
 * own errors with one line each.
 */
struct cli_verb {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

int cli_vm(int argc, char **argv);
int cli_kernel(int argc, char **argv);
int cli_doctor(int argc, char **argv);

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
