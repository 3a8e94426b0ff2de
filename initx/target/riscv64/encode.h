/* SPDX-License-Identifier: Apache-2.0 */
/* RV64IM instructions as words and as text. Ref: RISC-V unprivileged ISA, volume 1. */
#ifndef INITX_TARGET_RISCV64_ENCODE_H
#define INITX_TARGET_RISCV64_ENCODE_H

#include "target/target.h"

enum { RV_ZERO = 0, RV_RA = 1, RV_SP = 2, RV_T0 = 5, RV_T1 = 6, RV_T2 = 7, RV_A0 = 10, RV_A7 = 17 };

/* Register operations: funct7 << 25 | funct3 << 12 | opcode. */
enum rv_op {
	RV_ADD = 0x00000033,
	RV_SUB = 0x40000033,
	RV_SLL = 0x00001033,
	RV_SLT = 0x00002033,
	RV_SLTU = 0x00003033,
	RV_XOR = 0x00004033,
	RV_SRL = 0x00005033,
	RV_SRA = 0x40005033,
	RV_OR = 0x00006033,
	RV_AND = 0x00007033,
	RV_MUL = 0x02000033,
	RV_DIV = 0x02004033,
	RV_DIVU = 0x02005033,
	RV_REM = 0x02006033,
	RV_REMU = 0x02007033,
	/* with a 12-bit immediate, or a shift count */
	RV_ADDI = 0x00000013,
	RV_SLTI = 0x00002013,
	RV_SLTIU = 0x00003013,
	RV_XORI = 0x00004013,
	RV_ORI = 0x00006013,
	RV_ANDI = 0x00007013,
	RV_ADDIW = 0x0000001b,
	RV_SLLI = 0x00001013,
	RV_SRLI = 0x00005013,
	RV_SRAI = 0x40005013,
};

/* funct3 of the branches. */
enum rv_branch { RV_BEQ = 0, RV_BNE = 1, RV_BLT = 4, RV_BGE = 5, RV_BLTU = 6, RV_BGEU = 7 };

extern const char *const rv_names[32];

bool rv_fits12(int64_t v);
void rv_rrr(struct code *c, enum rv_op op, unsigned d, unsigned a, unsigned b);
void rv_rri(struct code *c, enum rv_op op, unsigned d, unsigned a, int32_t imm);
void rv_mov_rr(struct code *c, unsigned d, unsigned s);
void rv_mov_ri(struct code *c, unsigned d, int64_t imm);
void rv_load(struct code *c, unsigned width, unsigned d, unsigned base, int32_t disp);
void rv_store(struct code *c, unsigned width, unsigned s, unsigned base, int32_t disp);
void rv_lla(struct code *c, unsigned d, uint32_t sym, const char *name, int64_t addend);
void rv_call(struct code *c, uint32_t sym, const char *name);
void rv_jalr(struct code *c, unsigned d, unsigned base);
void rv_ecall(struct code *c);
void rv_fence_i(struct code *c);
const char *rv_branch_name(enum rv_branch b);
uint32_t rv_branch_word(enum rv_branch op, unsigned a, unsigned b, int64_t disp);
uint32_t rv_jal_word(unsigned d, int64_t disp);

#endif
