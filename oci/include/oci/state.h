/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a container between two runs of the runtime: state.json.
 *
 * Theory of operation. The file is replaced by rename, so a reader sees an old or a new state and
 * never half of one. It says what was last decided, not what is: whether the process still lives is
 * asked of the kernel, by pid and start time together, so that a pid used again is not mistaken.
 *
 * Ref: runtime-spec v1.2 runtime.md#state.
 */
#ifndef OCI_STATE_H
#define OCI_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "oci/config.h"

#define OCI_VERSION "1.2.0" /* of the specification that husk follows */

enum oci_status {
	OCI_STATUS_CREATING,
	OCI_STATUS_CREATED,
	OCI_STATUS_RUNNING,
	OCI_STATUS_PAUSED,
	OCI_STATUS_STOPPED,
	OCI_STATUS_MAX_,
};

/* Strings are owned by the state. */
struct oci_state {
	char *id, *bundle, *rootfs;
	char *config_path;
	char *cgroup; /* directory below each hierarchy, or NULL for none */
	enum oci_status status;
	pid_t pid;	     /* 0 until there is one */
	uint64_t pid_start;  /* clock ticks after boot, of /proc/PID/stat */
	uint64_t created_ns; /* wall clock */
	uint32_t owner_uid;
	bool poststop_done;
	struct oci_pair *annotations;
	size_t n_annotations;
};

void oci_state_done(struct oci_state *state);

const char *oci_status_str(enum oci_status status);

/**
 * oci_state_parse() - From the text of a state.json
 * @ret:	Released by oci_state_done()
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
int oci_state_parse(const char *text, size_t len, struct oci_state *ret, struct err *err);

/* The text of a state.json. @ret: from malloc. */
int oci_state_format(const struct oci_state *state, char **ret, struct err *err);

/**
 * oci_state_print() - As the state verb shows it, and hooks get it
 * @pretty:	Lines with two spaces of indentation
 * @ret:	From malloc, no newline at the end
 */
int oci_state_print(const struct oci_state *state, bool pretty, char **ret, struct err *err);

/* A JSON array of states, as list --format json shows them. */
int oci_state_print_list(const struct oci_state *states, size_t n, char **ret, struct err *err);

/* "2024-05-01T10:00:00.123456789Z"; at least 40 bytes. */
void oci_time_format(uint64_t ns, char *buf, size_t len);

#endif
