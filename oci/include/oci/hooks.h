/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks: programs of the host that run at points of a container's life. */
#ifndef OCI_HOOKS_H
#define OCI_HOOKS_H

#include "oci/config.h"

/* "prestart", "createRuntime", ... */
const char *oci_hook_kind_str(enum oci_hook_kind kind);

/**
 * oci_hook_run() - Run one hook to its end
 * @hook:	What to run
 * @cwd:	Working directory, or NULL
 * @input:	Its standard input, the state as JSON
 *
 * The hook leads a process group of its own, which is killed when time is over. What it writes to
 * standard output goes nowhere; the end of its standard error is part of the message.
 * Context: no threads that hold locks; SIGPIPE is ignored by the process.
 * Return: 0; -ECHILD it failed; -ETIMEDOUT; what fork and exec give.
 */
int oci_hook_run(const struct oci_hook *hook, const char *cwd, const char *input, struct err *err);

/**
 * oci_hooks_run() - Run all hooks of one kind in order
 * @config:	Its hooks; none is fine
 *
 * Stops at the first that fails: "prestart hook 2 '/path': ...".
 */
int oci_hooks_run(const struct oci_config *config, enum oci_hook_kind kind, const char *cwd,
		  const char *input, struct err *err);

#endif
