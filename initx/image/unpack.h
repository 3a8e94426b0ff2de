/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files in memory, unpacked by what their names end in. */
#ifndef INITX_IMAGE_UNPACK_H
#define INITX_IMAGE_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/**
 * unpack_file() - Read a file; .gz, .xz and .zst are unpacked
 * @max:	Bytes it may have unpacked
 * @ret:	malloc()ed
 *
 * Return: 0; -EBADMSG damaged; -E2BIG larger than @max; negative errno.
 */
int unpack_file(const char *path, size_t max, uint8_t **ret, size_t *ret_len, struct err *err);

#endif
