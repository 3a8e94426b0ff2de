/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter of a role. */
#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include <stddef.h>

#include "base/err.h"
#include "sandbox/sandbox.h"

struct filter {
	void *program; /* classic BPF, from malloc */
	size_t len;    /* bytes */
};

/* Compile the rules of a role. */
int filter_compile(enum sandbox_role role, enum sandbox_mode mode, struct filter *ret, struct err *err);
/* Put it on the calling thread. */
int filter_install(const struct filter *filter, struct err *err);
void filter_done(struct filter *filter);

#endif
