/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that the runtime gives out: its features, and a configuration to start from. */
#ifndef OCI_FEATURES_H
#define OCI_FEATURES_H

#include <stdbool.h>

#include "base/err.h"

/**
 * oci_features_print() - What the runtime can do, as JSON
 * @version:	Of husk
 * @ret:	From malloc
 *
 * Ref: runtime-spec v1.2 features.md.
 */
int oci_features_print(const char *version, char **ret, struct err *err);

/**
 * oci_spec_print() - A config.json that runs a shell on a terminal
 * @rootless:	For a user without privileges: with a mapping of @uid and @gid
 * @ret:	From malloc
 */
int oci_spec_print(bool rootless, unsigned uid, unsigned gid, char **ret, struct err *err);

#endif
