/* SPDX-License-Identifier: Apache-2.0 */
/* Which back end runs a VM. */
#ifndef RUNTIME_BACKENDS_H
#define RUNTIME_BACKENDS_H

#include <stdbool.h>

#include "base/err.h"
#include "vmm/hv.h"
#include "vmm/probe.h"

/**
 * backend_find() - Back end by name
 * @name:	"auto", "soft" or "kvm"
 *
 * auto is kvm where it runs guest kernel code on the CPU, else soft.
 * Return: 0; -EINVAL unknown name.
 */
int backend_find(const char *name, const struct hv_ops **ret, struct err *err);

/**
 * backend_probe() - What this host's KVM is good for
 * @ret_cached:	Whether that was known from an earlier call; NULL is fine
 *
 * The answer is kept in a file until the host boots again; one that says "unusable" is not, since
 * it may be the caller's rights that are missing.
 */
void backend_probe(struct probe_result *ret, bool *ret_cached);

#endif
