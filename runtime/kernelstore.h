/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel store: one directory a kernel, named by its version.
 *
 * Theory of operation. A kernel's directory holds vmlinux (what boots, unpacked once), vmlinuz (as
 * it came, when it came packed) and modules/ (the module tree, if any). A kernel is built in a
 * hidden directory beside the others and published by rename, so readers see all of it or nothing;
 * writers take turns by a lock file, and the next one sweeps up after one that was killed.
 * Root's store is /var/lib/husk/kernels, another user's is below XDG_DATA_HOME; HUSK_KERNEL_STORE names
 * another place.
 */
#ifndef RUNTIME_KERNELSTORE_H
#define RUNTIME_KERNELSTORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define KERNELSTORE_NAME_MAX 128

/**
 * kernelstore_path() - Where this user's store is
 *
 * Return: 0; -ENOENT no home directory; -ENAMETOOLONG.
 */
int kernelstore_path(char *buf, size_t len, struct err *err);

/**
 * kernelstore_add() - Publish a kernel
 * @kernel:	Path of a bzImage or ELF kernel
 * @modules:	Its module directory, or NULL
 * @ret_name:	At least KERNELSTORE_NAME_MAX bytes
 *
 * One of the same name is replaced.
 */
int kernelstore_add(const char *kernel, const char *modules, char *ret_name, struct err *err);
/* Debian's current cloud kernel by apt, unpacked without touching the host's root. */
int kernelstore_add_debian(char *ret_name, struct err *err);
/* The kernel this host runs. */
int kernelstore_add_host(char *ret_name, struct err *err);

struct kernelstore_entry {
	char name[KERNELSTORE_NAME_MAX];
	bool has_modules;
};

/**
 * kernelstore_list() - All kernels, newest version first
 * @ret:	From malloc, freed by the caller
 *
 * An absent store is an empty one.
 * Return: their number; negative errno.
 */
int kernelstore_list(struct kernelstore_entry **ret, struct err *err);

/**
 * kernelstore_open() - Open a kernel to boot
 * @name:	Name in the store; NULL: the newest
 * @ret_path:	Path opened, for messages
 *
 * Return: the descriptor of its vmlinux; -ENOENT.
 */
int kernelstore_open(const char *name, char *ret_path, size_t path_len, struct err *err);

#endif
