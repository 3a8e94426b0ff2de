/* SPDX-License-Identifier: Apache-2.0 */
/* Shifts and rotates on values: result and flags, shared by general and specialised handlers. */
#ifndef SOFT_INTERP_SHIFT_H
#define SOFT_INTERP_SHIFT_H

#include <stdint.h>

#include "soft/decode.h"

/* Flags go to *fl (RFLAGS positions), which of them count to *mask; 0 when the masked count is 0.
 */
struct shift_result {
	uint64_t res;
	uint32_t fl, mask;
};

/* @op OP_ROL to OP_SAR; @val zero-extended; @count as in the instruction, not yet masked; @cf the
 * carry. */
struct shift_result shift_value(unsigned op, unsigned size, uint64_t val, unsigned count,
				unsigned cf);

#endif
