/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose rights a worker thread uses: its own for most operations, the requester's for those that
 * make files, so that owner, setgid inheritance, default ACLs and quota come out as on a local
 * disk.
 *
 * The guest's kernel has already checked permissions, so CAP_DAC_OVERRIDE and CAP_MKNOD stay;
 * CAP_FSETID does not, because setgid bits must be dropped as for the requester.
 */
#ifndef ROOTFS_PASSTHROUGH_CREDS_H
#define ROOTFS_PASSTHROUGH_CREDS_H

#include <stdbool.h>

#include "fuse/server.h"

void creds_init(struct fuse_creds *cr);

/* Become the requester, with its umask. Return: 0; -EPERM the ids do not exist here. */
int creds_enter(struct fuse_call *c, uint32_t umask_bits);
/* As creds_enter(), for making a file of @mode in c->node: see about setgid in creds.c. */
int creds_enter_making(struct fuse_call *c, uint32_t umask_bits, uint32_t mode);
void creds_leave(struct fuse_call *c);

/* Whether writes by this thread keep setuid and setgid bits. */
void creds_set_fsetid(struct fuse_worker *w, bool on);

/*
 * Around a write, truncation or the like on @fd: with @kill, setuid goes, and setgid if the group may
 * execute; without, both stay. Without group execution setgid is no privilege, and the host leaves it
 * to members of the group only, so the thread is one meanwhile.
 */
void creds_write_begin(struct fuse_worker *w, int fd, bool kill);
void creds_write_end(struct fuse_worker *w);

#endif
