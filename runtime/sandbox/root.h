/* SPDX-License-Identifier: Apache-2.0 */
/* Root directories and descriptor tables of threads. */
#ifndef SANDBOX_ROOT_H
#define SANDBOX_ROOT_H

#include <stddef.h>

#include "base/err.h"

/**
 * root_change() - Make a detached tree the root of this thread's mount namespace
 *
 * The host's tree is taken out of the namespace. Context: the namespace is our own.
 * Return: descriptor of the new root directory; negative errno.
 */
int root_change(int tree_fd, struct err *err);

/* A root directory with nothing in it. */
int root_empty(struct err *err);

#define FDS_EVENTS 1U
#define FDS_TIMERS 2U
#define FDS_KVM	   4U
#define FDS_MAX	   256

/**
 * fds_close_but() - Close the descriptors of this thread's table but some
 * @proc_fd:	/proc
 * @kinds:	FDS_* that stay
 * @more:	Others that stay, fewer than FDS_MAX; negative: none
 *
 * Context: the table is the thread's own.
 */
int fds_close_but(int proc_fd, unsigned kinds, const int *more, size_t n_more, struct err *err);

#endif
