/* SPDX-License-Identifier: Apache-2.0 */
/* Which back end runs a VM. */
#include "backends.h"

#include <errno.h>
#include <string.h>

int backend_find(const char *name, const struct hv_ops **ret, struct err *err)
{
	if (!strcmp(name, "auto") || !strcmp(name, "soft")) {
		*ret = &hv_soft_ops;
		return 0;
	}
	if (!strcmp(name, "kvm"))
		return err_set(err, -EOPNOTSUPP, "back end 'kvm' is not in this build");
	return err_set(err, -EINVAL, "unknown back end '%s' (there are: auto, soft)", name);
}
