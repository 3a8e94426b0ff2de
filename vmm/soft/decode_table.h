/* SPDX-License-Identifier: Apache-2.0 */
/* Shape of the decoder's tables, private to decode*.c. */
#ifndef SOFT_DECODE_TABLE_H
#define SOFT_DECODE_TABLE_H

#include <stdint.h>

#include "soft/decode.h"
#include "soft/exec.h"

/* clang-format off */
enum opdef_flag {
	D_M    = 1 << 0,  /* ModRM follows */
	D_B    = 1 << 1,  /* operand size is one byte */
	D_I8   = 1 << 2,  /* imm8, sign-extended */
	D_I8U  = 1 << 3,  /* imm8, zero-extended */
	D_IZ   = 1 << 4,  /* imm16 or imm32, sign-extended */
	D_IV   = 1 << 5,  /* immediate of the full operand size */
	D_I16  = 1 << 6,  /* imm16, zero-extended */
	D_FAR  = 1 << 7,  /* offset and selector; ENTER: imm16 and imm8 */
	D_D64  = 1 << 8,  /* operand size defaults to 64 in 64-bit mode */
	D_F64  = 1 << 9,  /* it always is */
	D_I64  = 1 << 10, /* invalid in 64-bit mode */
	D_O64  = 1 << 11, /* only valid in 64-bit mode */
	D_LOCK = 1 << 12, /* LOCK is legal with a memory destination */
	D_MEM  = 1 << 13, /* rm must be memory */
	D_REG  = 1 << 14, /* rm must be a register */
	D_OPR  = 1 << 15, /* rm is in the opcode's low bits */
	D_MOFF = 1 << 16, /* rm is a plain address */
	D_RD   = 1 << 17, /* rm is read */
	D_WR   = 1 << 18, /* rm is written */
	D_GRP  = 1 << 19, /* sub is indexed by ModRM.reg */
	D_PFX  = 1 << 20, /* sub is indexed by mandatory prefix: none, 66, F3, F2 */
	D_PROT = 1 << 21, /* #UD in real and virtual-8086 mode */
	D_MAX4 = 1 << 22, /* REX.W does not make it 8 bytes */
	D_ALGN = 1 << 23, /* memory must be aligned to its size */
	D_REGW = 1 << 24, /* class GPR: reg is written */
	D_RMW  = 1 << 25, /* class GPR: rm as a register is written */
	D_GMEM = 1 << 26, /* memory size is 4, or 8 with REX.W */
	D_FREG = 1 << 27, /* mod is ignored: rm is a register */
	D_NO66 = 1 << 28, /* #UD with a mandatory prefix 66, F3 or F2 */
	D_MODSEL = 1 << 29, /* sub[0] for memory, sub[1] for registers */
};
/* clang-format on */

struct opdef {
	insn_exec_fn exec;	 /* NULL: illegal */
	const struct opdef *sub; /* D_GRP, D_PFX, D_MODSEL */
	uint32_t flags;
	uint8_t op, form, feat;
	uint8_t mem_size; /* 0: the operand size */
	uint8_t reg_class, rm_class;
};

extern const struct opdef decode_map_1[256];
extern const struct opdef decode_map_0f[256];
extern const struct opdef decode_map_0f38[256];
extern const struct opdef decode_map_0f3a[256];
/* 0F 01 with mod 3, by the low six bits of ModRM. */
extern const struct opdef decode_0f01_reg[64];
/* VEX maps 0F38 and 0F3A: the few BMI instructions. */
const struct opdef *decode_vex(unsigned map, unsigned opcode, unsigned pp, unsigned reg);
/* SSE and MMX: NULL when the table has nothing there. */
extern const struct opdef decode_sse_0f[256];
extern const struct opdef decode_sse_0f38[256];
extern const struct opdef decode_sse_0f3a[256];

#endif
