/* SPDX-License-Identifier: Apache-2.0 */
/* Where this user's stores are: kernels, snapshots. */
#ifndef RUNTIME_STOREPATH_H
#define RUNTIME_STOREPATH_H

#include <stddef.h>

#include "base/err.h"

#define STORE_PATH_ROOT "/var/lib/husk"

/**
 * store_path() - Path of a store
 * @variable:	Of the environment: names another place by an absolute path
 * @name:	Of the store's directory
 *
 * Root's is below STORE_PATH_ROOT, another user's below XDG_DATA_HOME.
 * Return: 0; -ENOENT no home directory; -ENAMETOOLONG.
 */
int store_path(const char *variable, const char *name, char *buf, size_t len, struct err *err);

#endif
