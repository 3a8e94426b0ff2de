/* SPDX-License-Identifier: Apache-2.0 */
/* libseccomp's filters as the classic BPF that the kernel takes. */
#ifndef RUNTIME_BPF_H
#define RUNTIME_BPF_H

#include <seccomp.h>
#include <stddef.h>

#include "base/err.h"

#define BPF_MAX_BYTES (4096 * 8) /* the kernel takes no more instructions */

/**
 * bpf_export() - Compile a filter
 * @what:	Whose it is, for messages
 * @ret:	From malloc
 */
int bpf_export(scmp_filter_ctx ctx, const char *what, void **ret, size_t *ret_len, struct err *err);

#endif
