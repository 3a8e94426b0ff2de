/* SPDX-License-Identifier: Apache-2.0 */
/* A process of a configuration as a command block for the guest's init. */
#ifndef RUNTIME_GUESTCMD_H
#define RUNTIME_GUESTCMD_H

#include "initx/command.h"
#include "oci/config.h"

/* More processes no kernel has: as good as no limit. */
#define GUESTCMD_PIDS_MAX 4194304

struct guestcmd_streams {
	bool terminal;
	const uint32_t *kept; /* ports of KEPT_FIRST and up */
	unsigned n_kept;
	uint32_t ports[3]; /* of 0, 1, 2; the terminal's in the first; 0: /dev/null */
	unsigned rows, cols;
};

/* A configuration's seccomp filter as the block has it. */
struct guestcmd_filter {
	void *bytes; /* NULL for none */
	size_t len;
};

/* Context: before the process is locked down. */
int guestcmd_filter_make(const struct oci_config *config, struct guestcmd_filter *ret,
			 struct err *err);

struct guestcmd {
	const struct oci_config *config; /* of the container */
	const struct oci_process *process;
	uint32_t id;	  /* of the command */
	uint32_t init_id; /* the command whose namespaces it enters; 0: it is the container's own
			   * process, which gets new ones, and the container's mounts */
	const char
		*hook_state; /* what startContainer hooks read; for the container's own process */
	bool pids_set;	     /* the limit of processes was changed since */
	const struct guestcmd_filter *filter; /* NULL for none */
	struct guestcmd_streams streams;
	bool ahead; /* what was done of it before a late snapshot still holds */
};

/* Make the block. Return: 0; -EOPNOTSUPP, -E2BIG or -ENOMEM with a message that names the field. */
int guestcmd_build(const struct guestcmd *gc, struct command **ret, struct err *err);

/**
 * guestcmd_build_ahead() - What can be done of the container's own process before it is started
 * @files:	Paths with NULs, which the guest reads
 */
int guestcmd_build_ahead(const struct oci_config *config, const char *files, size_t files_len,
			 struct command **ret, struct err *err);

/* Whether a mount's place is /dev, /proc, /sys or below: those are the guest's own. */
bool guestcmd_is_below_own(const char *dest);
/* A bind on one of the three themselves, which is left out. */
bool guestcmd_replaces_own(const struct oci_mount *m);
/* Log what of a valid configuration the guest does not do. */
void guestcmd_warn(const struct oci_config *config);

/* "mount", "capabilities", ...: what failed when a command did not start. */
const char *guestcmd_step_str(uint32_t step);

/**
 * seccomp_compile() - A configuration's filter as classic BPF
 * @ret:	Instructions from malloc; NULL when everything is allowed
 */
int seccomp_compile(const struct oci_seccomp *s, void **ret, size_t *ret_len, uint32_t *ret_flags,
		    struct err *err);

#endif
