/* SPDX-License-Identifier: Apache-2.0 */
/* The program that runs: where its code lies, and which build it is. */
#ifndef SOFT_EXE_H
#define SOFT_EXE_H

#include <stddef.h>
#include <stdint.h>

/* Its first byte in memory, and how many there are up to the end of its code. */
uintptr_t exe_base(void);
uint64_t exe_bytes(void);

/* What the linker has made of all that is in it; NULL: it was told not to. */
const uint8_t *exe_build_id(size_t *ret_len);

#endif
