/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second transport for the file server, for tests only: the host kernel's /dev/fuse. It lets real
 * programs run on the server without a virtual machine.
 */
#ifndef TESTS_FUSE_MOUNT_H
#define TESTS_FUSE_MOUNT_H

#include <stdbool.h>

#include "base/err.h"
#include "rootfs/fuse.h"

struct fuse_mount;

/* Whether this process may open /dev/fuse and mount. */
bool fuse_mount_possible(void);

/* Mount the started server on @dir and feed it by a thread. */
int fuse_mount_start(struct fuse_server *srv, const char *dir, struct fuse_mount **ret,
		     struct err *err);
/* Unmount, wait for the last request. */
void fuse_mount_stop(struct fuse_mount *m);

#endif
