/* SPDX-License-Identifier: Apache-2.0 */
/* Which back end runs a VM. */
#ifndef RUNTIME_BACKENDS_H
#define RUNTIME_BACKENDS_H

#include "base/err.h"
#include "vmm/hv.h"

/**
 * backend_find() - Back end by name
 * @name:	"auto" or "soft"
 *
 * Return: 0; -EINVAL unknown name; -EOPNOTSUPP known and not in this build.
 */
int backend_find(const char *name, const struct hv_ops **ret, struct err *err);

#endif
