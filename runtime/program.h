/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a container's program is there, told before its machine is started. */
#ifndef RUNTIME_PROGRAM_H
#define RUNTIME_PROGRAM_H

#include "base/err.h"
#include "oci/config.h"

/**
 * program_check() - Look for process.args[0] in the root directory
 * @rootfs:	Path on the host
 *
 * Engines tell a program that is missing from other failures by create's message. What mounts may
 * bring in is not looked for: then the guest decides.
 * Return: 0 it is there, or may be; -ENOENT; -EACCES.
 */
int program_check(const struct oci_config *config, const char *rootfs, struct err *err);

#endif
