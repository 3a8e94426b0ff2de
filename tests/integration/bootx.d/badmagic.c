/* SPDX-License-Identifier: Apache-2.0 */
/* A payload whose declared entry has the wrong magic number. */
#include "bootx.h"

static void entry(const struct bootx_info *info)
{
	(void)info;
	for (;;)
		;
}

__attribute__((section(".loader_config"), used))
const struct bootx_config config = { BOOTX_CONFIG_MAGIC ^ 1, 4, 0, 0, entry };
