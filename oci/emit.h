/* SPDX-License-Identifier: Apache-2.0 */
/* JSON to text, in the layout people know from other runtimes. */
#ifndef OCI_EMIT_H
#define OCI_EMIT_H

#include <cjson/cJSON.h>
#include <stdint.h>

#include "base/cleanup.h"

CLEANUP_DEFINE(cJSON, cJSON_Delete);

/* Two spaces a level, one value a line. Return: from malloc, or NULL. */
char *emit_pretty(const cJSON *item);

/* Numbers beyond what a double holds. Return: false when there is no memory. */
int emit_add_u64(cJSON *obj, const char *key, uint64_t value);

#endif
