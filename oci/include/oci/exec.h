/* SPDX-License-Identifier: Apache-2.0 */
/* The process of exec, made from the container's own and the command line. */
#ifndef OCI_EXEC_H
#define OCI_EXEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct oci_exec_options {
	char *const *args; /* NULL-terminated; NULL: the JSON's own */
	const char *cwd;
	const char *user; /* "UID" or "UID:GID" */
	const char *const *env;
	size_t n_env;
	const char *const *gids;
	size_t n_gids;
	const char *const *caps;
	size_t n_caps;
	bool tty, no_new_privs;
};

/**
 * oci_exec_process() - JSON of the process to execute
 * @config_text:	config.json of the container
 * @ret:		From malloc
 *
 * Return: 0; -EINVAL with the option's name; -ENOMEM.
 */
int oci_exec_process(const char *config_text, size_t len, const struct oci_exec_options *opt,
		     char **ret, struct err *err);

#endif
