/* SPDX-License-Identifier: Apache-2.0 */
/* What is said when a thread crashes, or tries what its filter knows nothing of. */
#ifndef SANDBOX_CRASH_H
#define SANDBOX_CRASH_H

#include "base/err.h"

/* Have the process report crashes. Signals that somebody handles already are left alone. */
int crash_watch(struct err *err);

/* Give the calling thread what its report needs: a role, a stack. @role: a literal. */
int crash_name_thread(const char *role, struct err *err);

#endif
