/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities of a thread, no_new_privs, limits of the process. */
#ifndef SANDBOX_RIGHTS_H
#define SANDBOX_RIGHTS_H

#include "base/err.h"

/* No capability in any set of this thread. */
int caps_drop(struct err *err);
/* No more than a file server needs. */
int caps_keep_files(struct err *err);
int rights_no_new(struct err *err);
int limits_process(struct err *err);

#endif
