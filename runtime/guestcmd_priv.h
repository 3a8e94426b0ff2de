/* SPDX-License-Identifier: Apache-2.0 */
/* Building a command: what the parts of it share. */
#ifndef RUNTIME_GUESTCMD_PRIV_H
#define RUNTIME_GUESTCMD_PRIV_H

#include <sched.h>

#include "guestcmd.h"

/* What a container has of its own inside its guest. */
#define GUESTCMD_NAMESPACES (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID)

/* Adds one item after the other; the first failure stays. */
struct guestcmd_build {
	struct command *c;
	struct err *err;
	int r;
};

void guestcmd_add(struct guestcmd_build *b, uint16_t type, const void *payload, size_t len);
void guestcmd_add_u32(struct guestcmd_build *b, uint16_t type, const uint32_t *words, size_t n);
void guestcmd_add_strings(struct guestcmd_build *b, uint16_t type, const uint32_t *words,
			  size_t n_words, const char *const *strings, size_t n);

/* Whether its processes are in a user namespace of the guest. */
bool guestcmd_has_users(const struct oci_config *config);
/* The guest's id of a container's. */
uint32_t guestcmd_uid(const struct oci_config *config, uint32_t uid);

/*
 * The container's own, for its first process: namespaces, limits, mounts, devices, sysctls. @limits:
 * nobody has set others; @ahead: it may have been done before.
 */
void guestcmd_add_place(struct guestcmd_build *b, const struct oci_config *config, bool limits,
			bool ahead);
/* And what is behind that: users, names, hooks. */
void guestcmd_add_container(struct guestcmd_build *b, const struct oci_config *config,
			    const char *hook_state);
/* Its limits, which every process of it is below. @first: it makes them. */
void guestcmd_add_cgroup(struct guestcmd_build *b, const struct oci_config *config, bool first);

#endif
