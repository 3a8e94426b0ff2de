/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that completes a snapshot in the background: reads the memory back, hashes it, brings
 * all to disk, publishes, and keeps the store within its limit.
 *
 * Theory of operation. The verb forks it before the VMM process, so that it does not belong to the
 * container: not to its cgroup, and nothing waits for it. The VMM process writes the files of a
 * snapshot, which it can do however little it may, and hands their descriptors over. When it has
 * none to hand over, or dies before, the maker ends. Nobody waits for the maker unless they want.
 */
#ifndef RUNTIME_SNAPMAKER_H
#define RUNTIME_SNAPMAKER_H

#include "base/err.h"
#include "snapshots/store.h"

/**
 * snapmaker_fork() - Start a maker
 *
 * Context: no other thread.
 * Return: a socket to it, owned by the caller; negative errno.
 */
int snapmaker_fork(struct err *err);

/**
 * snapmaker_publish() - Hand a written snapshot over
 * @fd:		From snapmaker_fork()
 * @s:		Its descriptors stay with the caller, and are of no use to him any more
 * @m:		Describes the machine
 * @written:	False: what was begun is not whole, and is to be removed
 * @wait:	Return when it is published, or removed
 *
 * Return: 0; with @wait what publishing gave; negative errno.
 */
int snapmaker_publish(int fd, const struct snap_new *s, const struct snap_manifest *m, bool written,
		      bool wait, struct err *err);

#endif
