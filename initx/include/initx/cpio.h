/* SPDX-License-Identifier: Apache-2.0 */
/* Initial RAM disks: cpio archives in the "newc" form that the kernel unpacks. */
#ifndef INITX_CPIO_H
#define INITX_CPIO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

struct cpio;

int cpio_new(struct cpio **ret, struct err *err);
void cpio_free(struct cpio *c);
CLEANUP_DEFINE(struct cpio, cpio_free);

/**
 * cpio_add() - Add one entry, owned by root
 * @path:	Relative, without a leading slash; parents come first
 * @mode:	Type and permissions
 * @dev:	Device number for device nodes, else 0
 * @data:	Content, or the target of a symbolic link; copied
 *
 * Return: 0; -EINVAL a bad path; -E2BIG the archive would pass 4 GiB; -ENOMEM.
 */
int cpio_add(struct cpio *c, const char *path, mode_t mode, dev_t dev, const void *data, size_t len,
	     struct err *err);

/**
 * cpio_finish() - Close the archive
 * @ret:	malloc()ed bytes, for the caller to free
 */
int cpio_finish(struct cpio *c, uint8_t **ret, size_t *ret_len, struct err *err);

/**
 * initramfs_make() - The archive husk boots: /init, /dev with console and null
 * @init:	ELF of /init
 */
int initramfs_make(const void *init, size_t init_len, uint8_t **ret, size_t *ret_len,
		   struct err *err);

#endif
