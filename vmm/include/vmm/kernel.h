/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at kernel files outside a VM: for the kernel store. */
#ifndef VMM_KERNEL_H
#define VMM_KERNEL_H

#include <stdbool.h>

#include "base/err.h"
#include "vmm/vm.h"

#define KERNEL_VERSION_MAX 128

struct kernel_info {
	bool is_bzimage;		  /* else an ELF file */
	char version[KERNEL_VERSION_MAX]; /* "6.1.0-56-cloud-amd64"; empty if the file does not say
					   */
};

/**
 * kernel_inspect() - What kind of kernel a file is
 *
 * Return: 0; -EBADMSG it is none for this machine, or damaged.
 */
int kernel_inspect(const struct vm_file *file, struct kernel_info *ret, struct err *err);

/**
 * kernel_unpack() - Write the ELF kernel inside a bzImage to @out_fd
 */
int kernel_unpack(const struct vm_file *file, int out_fd, struct err *err);

#endif
