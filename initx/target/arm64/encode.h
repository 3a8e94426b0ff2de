/* SPDX-License-Identifier: Apache-2.0 */
/* A64 instructions as words and as text. Ref: Arm ARM DDI 0487, C6. */
#ifndef INITX_TARGET_ARM64_ENCODE_H
#define INITX_TARGET_ARM64_ENCODE_H

#include "target/target.h"

#define A64_LR 30u
#define A64_SP 31u
#define A64_ZR 31u

enum a64_cond {
	A64_EQ,
	A64_NE,
	A64_HS,
	A64_LO,
	A64_HI = 8,
	A64_LS,
	A64_GE,
	A64_LT,
	A64_GT,
	A64_LE
};

/* Three-register operations; the value is the opcode. */
enum a64_rrr {
	A64_ADD = 0x8b000000,
	A64_SUB = 0xcb000000u,
	A64_AND = 0x8a000000u,
	A64_ORR = 0xaa000000u,
	A64_EOR = 0xca000000u,
	A64_SDIV = 0x9ac00c00u,
	A64_UDIV = 0x9ac00800u,
	A64_LSL = 0x9ac02000u,
	A64_LSR = 0x9ac02400u,
	A64_ASR = 0x9ac02800u,
	A64_MUL = 0x9b007c00u,
};

void a64_rrr(struct code *c, enum a64_rrr op, unsigned d, unsigned n, unsigned m);
void a64_msub(struct code *c, unsigned d, unsigned n, unsigned m, unsigned a);
void a64_mov_rr(struct code *c, unsigned d, unsigned s);
void a64_mov_ri(struct code *c, unsigned d, int64_t imm);
/* add or sub with an immediate of 12 bits, perhaps shifted by 12; registers may be sp. */
bool a64_add_fits(int64_t imm);
void a64_add_ri(struct code *c, unsigned d, unsigned n, int64_t imm);
/* add d, sp, m */
void a64_add_sp(struct code *c, unsigned d, unsigned m);
bool a64_logic_fits(uint64_t imm);
void a64_logic_ri(struct code *c, enum a64_rrr op, unsigned d, unsigned n, uint64_t imm);
void a64_shift_ri(struct code *c, enum a64_rrr op, unsigned d, unsigned n, unsigned count);
void a64_extend(struct code *c, enum ir_op op, unsigned d, unsigned n);
void a64_cmp_rr(struct code *c, unsigned n, unsigned m);
/* Needs a64_add_fits(). */
void a64_cmp_ri(struct code *c, unsigned n, int64_t imm);
void a64_csel(struct code *c, unsigned d, unsigned n, unsigned m, enum a64_cond cond);
void a64_cset(struct code *c, unsigned d, enum a64_cond cond);
bool a64_disp_fits(unsigned width, int64_t disp);
void a64_load(struct code *c, unsigned width, unsigned t, unsigned base, int64_t disp);
void a64_store(struct code *c, unsigned width, unsigned t, unsigned base, int64_t disp);
void a64_adr(struct code *c, unsigned d, uint32_t sym, const char *name, int64_t addend);
void a64_bl(struct code *c, uint32_t sym, const char *name);
void a64_blr(struct code *c, unsigned n);
void a64_ret(struct code *c);
void a64_svc(struct code *c);
void a64_isb(struct code *c);

extern const char *const a64_cond_names[16];

#endif
