/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where snapshots are kept: /var/lib/husk/snapshots for root, below XDG_DATA_HOME for another user,
 * who also reads root's; HUSK_SNAPSHOT_STORE names another place.
 */
#ifndef RUNTIME_SNAPSTORE_H
#define RUNTIME_SNAPSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* The store this user writes to. Return: its descriptor; -ENOENT; -EPERM; negative errno. */
int snapstore_open(bool create, struct err *err);
/* The system's, for a user who has another. Return: as above; -ENOENT when it is the same. */
int snapstore_open_system(struct err *err);

/* Bytes that a store may take: HUSK_SNAPSHOT_LIMIT in MiB, or 4 GiB. */
uint64_t snapstore_limit(void);

#endif
