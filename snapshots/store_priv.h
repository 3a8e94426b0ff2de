/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of snapshots: what their reader and their maker share. */
#ifndef SNAPSHOTS_STORE_PRIV_H
#define SNAPSHOTS_STORE_PRIV_H

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

#endif
