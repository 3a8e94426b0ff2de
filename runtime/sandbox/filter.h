/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter of a role. */
#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

#include "base/err.h"
#include "sandbox/sandbox.h"

struct filter {
	struct sock_filter *code; /* from malloc */
	size_t n;
};

/**
 * filter_compile() - Make the filter of a role from its rows
 *
 * Where a row speaks of this process, it is the calling one's. Return: 0; -ENOMEM; -E2BIG the table has grown too long.
 */
int filter_compile(enum sandbox_role role, enum sandbox_mode mode, struct filter *ret, struct err *err);
/* Put it on the calling thread. */
int filter_install(const struct filter *filter, struct err *err);
void filter_done(struct filter *filter);

#endif
