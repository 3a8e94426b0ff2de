/* SPDX-License-Identifier: Apache-2.0 */
/* RV64IM instruction encoding; no compressed forms. */
#include "target/riscv64/encode.h"

#include <inttypes.h>

const char *const rv_names[32] = {
	"zero", "ra", "sp", "gp", "tp",	 "t0",	"t1", "t2", "s0", "s1", "a0",
	"a1",	"a2", "a3", "a4", "a5",	 "a6",	"a7", "s2", "s3", "s4", "s5",
	"s6",	"s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};

static const char *op_name(enum rv_op op)
{
	switch (op) {
	case RV_ADD: return "add";
	case RV_SUB: return "sub";
	case RV_SLL: return "sll";
	case RV_SLT: return "slt";
	case RV_SLTU: return "sltu";
	case RV_XOR: return "xor";
	case RV_SRL: return "srl";
	case RV_SRA: return "sra";
	case RV_OR: return "or";
	case RV_AND: return "and";
	case RV_MUL: return "mul";
	case RV_DIV: return "div";
	case RV_DIVU: return "divu";
	case RV_REM: return "rem";
	case RV_REMU: return "remu";
	case RV_ADDI: return "addi";
	case RV_SLTI: return "slti";
	case RV_SLTIU: return "sltiu";
	case RV_XORI: return "xori";
	case RV_ORI: return "ori";
	case RV_ANDI: return "andi";
	case RV_ADDIW: return "addiw";
	case RV_SLLI: return "slli";
	case RV_SRLI: return "srli";
	case RV_SRAI: return "srai";
	}
	return "?";
}

bool rv_fits12(int64_t v)
{
	return v >= -2048 && v < 2048;
}

void rv_rrr(struct code *c, enum rv_op op, unsigned d, unsigned a, unsigned b)
{
	code_u32(c, (uint32_t)op | b << 20 | a << 15 | d << 7);
	code_text(c, "%s %s, %s, %s", op_name(op), rv_names[d], rv_names[a], rv_names[b]);
}

void rv_rri(struct code *c, enum rv_op op, unsigned d, unsigned a, int32_t imm)
{
	code_u32(c, (uint32_t)op | ((uint32_t)imm & 0xfff) << 20 | a << 15 | d << 7);
	code_text(c, "%s %s, %s, %" PRId32, op_name(op), rv_names[d], rv_names[a], imm);
}

void rv_mov_rr(struct code *c, unsigned d, unsigned s)
{
	rv_rri(c, RV_ADDI, d, s, 0);
}

static void lui(struct code *c, unsigned d, uint32_t imm20)
{
	code_u32(c, 0x37 | imm20 << 12 | d << 7);
	code_text(c, "lui %s, 0x%" PRIx32, rv_names[d], imm20);
}

void rv_mov_ri(struct code *c, unsigned d, int64_t imm)
{
	struct step {
		int32_t add;
		uint8_t shift;
	} steps[8];
	unsigned n = 0;

	/* Peel 12 bits at a time from the bottom until 32 bits are left. */
	while (imm != (int32_t)imm) {
		int32_t low = (int32_t)((uint32_t)imm << 20) >> 20;
		unsigned shift;

		imm = (int64_t)((uint64_t)imm - (uint64_t)(int64_t)low) >> 12;
		shift = imm ? (unsigned)__builtin_ctzll((uint64_t)imm) : 0;
		imm >>= shift;
		steps[n].add = low;
		steps[n++].shift = (uint8_t)(12 + shift);
	}
	if (rv_fits12(imm)) {
		rv_rri(c, RV_ADDI, d, RV_ZERO, (int32_t)imm);
	} else {
		int32_t low = (int32_t)((uint32_t)imm << 20) >> 20;

		lui(c, d, ((uint32_t)imm - (uint32_t)low) >> 12);
		if (low)
			rv_rri(c, RV_ADDIW, d, d, low);
	}
	while (n-- > 0) {
		rv_rri(c, RV_SLLI, d, d, steps[n].shift);
		if (steps[n].add)
			rv_rri(c, RV_ADDI, d, d, steps[n].add);
	}
}

void rv_load(struct code *c, unsigned width, unsigned d, unsigned base, int32_t disp)
{
	unsigned f3 = width == 1 ? 4 : width == 2 ? 5 : width == 4 ? 6 : 3;
	const char *n = width == 1 ? "lbu" : width == 2 ? "lhu" : width == 4 ? "lwu" : "ld";

	code_u32(c, 0x03 | ((uint32_t)disp & 0xfff) << 20 | base << 15 | f3 << 12 | d << 7);
	code_text(c, "%s %s, %" PRId32 "(%s)", n, rv_names[d], disp, rv_names[base]);
}

void rv_store(struct code *c, unsigned width, unsigned s, unsigned base, int32_t disp)
{
	unsigned f3 = (unsigned)__builtin_ctz(width);
	const char *n = width == 1 ? "sb" : width == 2 ? "sh" : width == 4 ? "sw" : "sd";
	uint32_t u = (uint32_t)disp & 0xfff;

	code_u32(c, 0x23 | (u >> 5) << 25 | s << 20 | base << 15 | f3 << 12 | (u & 31) << 7);
	code_text(c, "%s %s, %" PRId32 "(%s)", n, rv_names[s], disp, rv_names[base]);
}

void rv_lla(struct code *c, unsigned d, uint32_t sym, const char *name, int64_t addend)
{
	code_fix(c, FIX_RISCV_PCREL, sym, addend);
	code_u32(c, 0x17 | d << 7);
	code_u32(c, 0x13 | d << 15 | d << 7);
	code_text(c, "lla %s, \"%s\"%+" PRId64, rv_names[d], name, addend);
}

void rv_call(struct code *c, uint32_t sym, const char *name)
{
	code_fix(c, FIX_RISCV_CALL, sym, 0);
	code_u32(c, 0x17 | RV_RA << 7);
	code_u32(c, 0x67 | RV_RA << 15 | RV_RA << 7);
	code_text(c, "call \"%s\"", name);
}

void rv_jalr(struct code *c, unsigned d, unsigned base)
{
	code_u32(c, 0x67 | base << 15 | d << 7);
	code_text(c, "jalr %s, 0(%s)", rv_names[d], rv_names[base]);
}

void rv_ecall(struct code *c)
{
	code_u32(c, 0x73);
	code_text(c, "ecall");
}

void rv_fence_i(struct code *c)
{
	code_u32(c, 0x100f);
	code_text(c, "fence.i");
}

const char *rv_branch_name(enum rv_branch b)
{
	static const char *const names[] = { "beq", "bne", "?", "?", "blt", "bge", "bltu", "bgeu" };

	return names[b];
}

uint32_t rv_branch_word(enum rv_branch op, unsigned a, unsigned b, int64_t disp)
{
	uint32_t u = (uint32_t)disp;

	return 0x63 | (u >> 12 & 1) << 31 | (u >> 5 & 0x3f) << 25 | b << 20 | a << 15 |
	       (uint32_t)op << 12 | (u >> 1 & 0xf) << 8 | (u >> 11 & 1) << 7;
}

uint32_t rv_jal_word(unsigned d, int64_t disp)
{
	uint32_t u = (uint32_t)disp;

	return 0x6f | (u >> 20 & 1) << 31 | (u >> 1 & 0x3ff) << 21 | (u >> 11 & 1) << 20 |
	       (u >> 12 & 0xff) << 12 | d << 7;
}
