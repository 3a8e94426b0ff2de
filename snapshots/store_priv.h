/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of snapshots: what their reader and their maker share. */
#ifndef SNAPSHOTS_STORE_PRIV_H
#define SNAPSHOTS_STORE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STORE_MANIFEST "manifest.json"
#define STORE_STATE    "state"
#define STORE_MEMORY   "memory"
#define STORE_CODE     "code" /* need not be there */
#define STORE_UNLINKED "unlinked" /* nor need this */
#define STORE_WORKSET  "workset"
#define STORE_NEW      ".new-" /* being made */
#define STORE_OLD      ".old-" /* being removed */

/* A whole file of at most @max bytes, of somebody we trust. Return: 0; -EBADMSG; negative errno. */
int store_slurp(int dir_fd, const char *name, size_t max, uint8_t **ret, size_t *ret_len,
		struct err *err);

/* Return: 0; -EINVAL. */
int store_check_name(const char *name, struct err *err);

/* Return: 0; -EPERM somebody we need not trust can write there. */
int store_check_owner(int fd, const char *what, struct err *err);

/* Remove a directory with the files of a snapshot. Return: 0; negative errno. */
int store_unlink(int store_fd, const char *name);

/*
 * The directory of a published snapshot that is about to lose its name, locked: others leave it
 * alone under the name it gets. Return: its descriptor; negative errno.
 */
int store_lock_named(int store_fd, const char *name);

/* Whether @fd is still what @name leads to: a maker may have renamed or removed it meanwhile. */
bool store_is_at(int store_fd, const char *name, int fd);

/* flock() to its end. A lock of the store's directory itself is held for moments only. */
int store_flock(int fd, int how);

#endif
