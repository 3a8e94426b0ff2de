/* SPDX-License-Identifier: Apache-2.0 */
/* Where snapshots are kept. */
#include "snapstore.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/checked.h"
#include "snapshots/store.h"
#include "storepath.h"

#define LIMIT_DEFAULT (4 * GIB)
#define STORE	      "snapshots"

int snapstore_open(bool create, struct err *err)
{
	char path[PATH_MAX];
	int r = store_path("HUSK_SNAPSHOT_STORE", STORE, path, sizeof(path), err);

	return r < 0 ? r : snap_store_open(path, create, err);
}

int snapstore_open_system(struct err *err)
{
	if (store_is_root() || getenv("HUSK_SNAPSHOT_STORE"))
		return err_set(err, -ENOENT, "there is one snapshot store only");
	return snap_store_open(STORE_PATH_ROOT "/" STORE, false, err);
}

uint64_t snapstore_limit(void)
{
	const char *text = getenv("HUSK_SNAPSHOT_LIMIT");
	uint64_t mib = text ? strtoull(text, NULL, 10) : 0;

	return mib && mib < (UINT64_MAX >> 20) ? mib * MIB : LIMIT_DEFAULT;
}
