/* SPDX-License-Identifier: Apache-2.0 */
/* Where this user's directories are: kernels, snapshots, state. */
#ifndef RUNTIME_STOREPATH_H
#define RUNTIME_STOREPATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define STORE_PATH_ROOT "/var/lib/husk"

/**
 * store_is_root() - Whether the system's directories are this user's
 *
 * Not those of an ordinary user who is root in a user namespace, as under rootless engines.
 */
bool store_is_root(void);

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
