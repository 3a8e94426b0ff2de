/* SPDX-License-Identifier: Apache-2.0 */
/* Running a host program and waiting for it. */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stddef.h>

#include "base/err.h"

/**
 * process_run() - Run a program to its end
 * @argv:	NULL-terminated; argv[0] is looked up in PATH
 * @cwd:	Working directory, or NULL
 * @out:	Its standard output, NUL-terminated, cut at @out_max; NULL sends it to our stderr
 * @out_max:	Size of @out
 *
 * Standard input is /dev/null. Context: not after threads that hold locks were started.
 * Return: 0 when it exited with 0; -ENOENT not installed; -ECHILD it failed; negative errno.
 */
int process_run(const char *const argv[], const char *cwd, char *out, size_t out_max,
		struct err *err);

#endif
