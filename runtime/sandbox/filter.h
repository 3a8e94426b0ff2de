/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system call filter of a role. The build compiles all of them (compile.c); a start takes the one
 * it needs and puts in what is known only then.
 */
#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

#include "base/err.h"
#include "sandbox/sandbox.h"

/* Stands for this process's pid in what the build has compiled; no other constant is this one. */
#define FILTER_SELF 0x5e1f5e1fU

struct filter_program {
	const struct sock_filter *code;
	size_t n;
};
extern const struct filter_program filter_programs[SANDBOX_MAX_][SANDBOX_MODE_MAX_];

struct filter {
	struct sock_filter *code; /* from malloc */
	size_t n;
};

/**
 * filter_make() - The filter of a role
 *
 * Where a row speaks of this process, it is the calling one's. Return: 0; -ENOMEM.
 */
int filter_make(enum sandbox_role role, enum sandbox_mode mode, struct filter *ret, struct err *err);
/* Put it on the calling thread. */
int filter_install(const struct filter *filter, struct err *err);
void filter_done(struct filter *filter);

#endif
