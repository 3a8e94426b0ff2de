/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel modules for init: what the wanted ones need, in loading order, unpacked, as one blob.
 *
 * Theory of operation. The order comes from modules.dep where there is one, else from what the
 * modules say themselves (.modinfo: depends, and softdep pre). A name is looked up in the tree with
 * '-' and '_' being the same; one in modules.builtin needs no loading.
 */
#ifndef INITX_MODULES_H
#define INITX_MODULES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define MODULES_MAX	  256
#define MODULES_MAX_FILE  (64u << 20)  /* one module, unpacked */
#define MODULES_MAX_TOTAL (256u << 20) /* all of them */
#define MODULES_OPTIONAL  '?'

/**
 * modules_blob() - Load the closure of some modules
 * @dir:	/lib/modules/VERSION of the kernel
 * @wanted:	Names; one that starts with MODULES_OPTIONAL may be missing
 * @ret:	malloc()ed blob for guest_compile(): u32 count, 12 bytes of zero; each: u32 length
 *of the name with its NUL, u32 size, name, padding to 16, data, padding to 16
 *
 * Return: 0; -ENOENT a module is missing; -ELOOP they need one another in a circle; -EBADMSG a file
 *is damaged; -E2BIG over a limit; negative errno.
 */
int modules_blob(const char *dir, const char *const *wanted, size_t n_wanted, uint8_t **ret,
		 size_t *ret_len, struct err *err);

/* What a machine of husk's devices needs. */
extern const char *const modules_default[];
extern const size_t n_modules_default;

#endif
