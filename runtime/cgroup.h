/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroup on the host around all processes of a container.
 *
 * Theory of operation. On cgroup v2 there is one directory, on v1 and on hybrid hosts one in each
 * mounted hierarchy; the same relative path everywhere, which the state remembers. The VMM process
 * is born there (v2), or goes there by itself before it starts threads (v1), so everything it makes is
 * inside. Moving another process would make the kernel wait until no CPU is in a fork or an exit,
 * which takes longer than all else that a start needs on the host. Without rights to make
 * directories (an ordinary user) the container runs where the caller is, with a warning, unless
 * limits were asked for.
 *
 * Directories above the container's are made if need be, marked by their sticky bit, and removed
 * with the last container in them. Nobody holds a lock for that: each step of making goes from an
 * open directory, so that it fails when that is gone, and begins anew then. The container's own is
 * locked by who makes it until the process is in it: of two with one path one is refused.
 */
#ifndef RUNTIME_CGROUP_H
#define RUNTIME_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "oci/config.h"
#include "statedir.h"

/*
 * cgroup_overhead() - What husk itself may need beside the guest's memory: added to memory.limit
 *
 * For each vCPU, of which there are no more than the host has CPUs, the code that the software CPU has
 * decoded and translated. Huge pages fill at once what would fill slowly.
 *
 * Return: bytes.
 */
uint64_t cgroup_overhead(void);

/**
 * cgroup_name() - Path of the cgroup a container is to get
 * @dir:	The container's, which nobody else's is
 * @ret:	From malloc; NULL when this host has no cgroups
 *
 * Return: 0; -EBUSY others' processes are in it; negative errno.
 */
int cgroup_name(const struct oci_config *config, const struct statedir *dir, char **ret,
		struct err *err);

/**
 * cgroup_create() - Make the directories and set the limits
 * @ret_claim:	For cgroup_unclaim() when a process is in it: until then no other container is made there
 *
 * The path is on record by then, so that what a killed create leaves can be found.
 * Return: 1; 0 not allowed to this user, who goes without; -EBUSY it is another container's, or is
 * becoming that; negative errno with nothing left.
 */
int cgroup_create(const struct oci_config *config, const char *path, int *ret_claim,
		  struct err *err);
void cgroup_unclaim(int claim); /* -1 is fine */

/* The directory on v2, for a process to be born in. Return: the descriptor; -1. @path NULL: -1. */
int cgroup_open(const char *path);

/**
 * cgroup_enter() - Put the calling process into its cgroup
 *
 * Context: A process of one thread.
 * Return: 1; 0 not allowed to this user; negative errno.
 */
int cgroup_enter(const char *path, struct err *err);

/* Set limits of an existing one. */
int cgroup_update(const char *path, const struct oci_resources *res, struct err *err);

/* Remove the directories and what was made above; what is gone is no error. @path NULL: nothing. */
int cgroup_remove(const char *path, struct err *err);

/*
 * As that, for a create that was killed before its process was on record: what is another container's
 * by now stays, and whoever is in it. A process of its own ends when it notices.
 */
void cgroup_remove_unused(const char *path);

/* A number in a file of the cgroup, for events. Return: 0; negative errno. */
int cgroup_read_u64(const char *path, const char *controller, const char *v1_file,
		    const char *v2_file, uint64_t *ret);

#endif
