/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root assembly: the container's tree as one detached stack of mounts, made on the host before the
 * file server's jail closes around it.
 *
 * Theory of operation. Three steps: rootfs_plan_new() checks a specification without changing
 * anything and opens every source; rootfs_plan_apply() builds the tree at a staging directory in
 * the calling thread's (private) mount namespace, takes it off there as a detached tree, and undoes
 * all of it when a step fails, the mount points it made included; the tree's descriptor goes to
 * enter_jail of struct fuse_options.
 *
 *  - Sources are opened once, at planning; what is mounted later is what was checked.
 *  - Destinations are looked up inside the tree being built: symbolic links in the image lead to
 * other places of the image, never out of it.
 *  - File systems that only the guest can make (proc, sysfs, tmpfs, devpts) are not mounted here.
 */
#ifndef ROOTFS_ASSEMBLE_H
#define ROOTFS_ASSEMBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define ROOTFS_MAX_MOUNTS 1024

/* A bind mount. Attributes are MOUNT_ATTR_*, propagation is one of MS_PRIVATE, MS_SLAVE, MS_SHARED.
 */
struct rootfs_mount {
	const char *source;		 /* host path of a directory or file */
	const char *dest;		 /* absolute path in the container */
	bool recursive;			 /* rbind: with what is mounted below the source */
	uint64_t attr_set, attr_clear;	 /* of the mount itself: ro, nosuid, ... */
	uint64_t rattr_set, rattr_clear; /* of all below too: rro, rnosuid, ... */
	uint64_t propagation;		 /* 0: private */
	bool rpropagation;		 /* for all below too */
	int userns_fd;			 /* its id mapping is applied; 0 or -1: none */
	bool ridmap;			 /* to all below too */
	bool optional;			 /* skip when the source is not there */
};

/* All strings are borrowed while rootfs_plan_new() runs. */
struct rootfs_spec {
	const char *rootfs; /* host path of the bundle's root directory */
	bool readonly;
	uint64_t propagation;	   /* of the root; 0: private */
	int userns_fd;		   /* 0 or -1: none */
	const char *overlay_upper; /* both or none: the root directory stays untouched */
	const char *overlay_work;
	bool overlay_userxattr;		   /* without privileges */
	const struct rootfs_mount *mounts; /* in order */
	size_t n_mounts;
	const char *const *masked; /* hidden, where they exist */
	size_t n_masked;
	const char *const *readonly_paths; /* made read-only, where they exist */
	size_t n_readonly_paths;
};

struct rootfs_plan;

/**
 * rootfs_plan_new() - Check a specification and open its sources
 *
 * Return: 0; -EINVAL a bad path or combination; -ENOENT, -EACCES, ... of a source, named in @err.
 */
int rootfs_plan_new(const struct rootfs_spec *spec, struct rootfs_plan **ret, struct err *err);
void rootfs_plan_free(struct rootfs_plan *plan);
CLEANUP_DEFINE(struct rootfs_plan, rootfs_plan_free);

/**
 * rootfs_plan_apply() - Build the tree
 * @stage:	Empty directory on the host to build at; nothing stays there
 *
 * Context: single-threaded, in a private mount namespace with CAP_SYS_ADMIN over it.
 * Return: descriptor of the detached tree; negative errno, with everything undone.
 */
int rootfs_plan_apply(struct rootfs_plan *plan, const char *stage, struct err *err);

/* One range of an id mapping: @count ids from @inside are @outside and up on the host. */
struct rootfs_idmap {
	uint32_t inside, outside, count;
};

/**
 * rootfs_idmap_open() - User namespace with given mappings, for idmapped mounts
 *
 * Context: forks a helper, which is gone on return.
 * Return: descriptor; -EINVAL empty or overlapping; -EPERM the mapping is not allowed to us.
 */
int rootfs_idmap_open(const struct rootfs_idmap *uids, size_t n_uids,
		      const struct rootfs_idmap *gids, size_t n_gids, struct err *err);

#endif
