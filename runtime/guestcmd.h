/* SPDX-License-Identifier: Apache-2.0 */
/* A process of a configuration as a command block for the guest's init. */
#ifndef RUNTIME_GUESTCMD_H
#define RUNTIME_GUESTCMD_H

#include "initx/command.h"
#include "oci/config.h"

struct guestcmd_streams {
	bool terminal;
	uint32_t ports[3]; /* of 0, 1, 2; the terminal's in the first; 0: /dev/null */
	unsigned rows, cols;
};

/**
 * guestcmd_build() - Make the block
 * @config:	The container's configuration
 * @p:		The process
 * @id:		Of the command
 * @init_id:	The command whose namespaces it enters; 0: it is the container's own process, which
 * gets new ones, and the container's mounts
 */
int guestcmd_build(const struct oci_config *config, const struct oci_process *p, uint32_t id,
		   uint32_t init_id, const struct guestcmd_streams *streams, struct command **ret,
		   struct err *err);

/* "mount", "capabilities", ...: what failed when a command did not start. */
const char *guestcmd_step_str(uint32_t step);

/**
 * seccomp_compile() - A configuration's filter as classic BPF
 * @ret:	Instructions from malloc; NULL when everything is allowed
 */
int seccomp_compile(const struct oci_seccomp *s, void **ret, size_t *ret_len, uint32_t *ret_flags,
		    struct err *err);

#endif
