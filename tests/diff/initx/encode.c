/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every instruction form of the encoders, with every register and with immediates around each
 * boundary: bytes to one file, the text for the assembler to another.
 *
 * usage: encode amd64|arm64|riscv64 BYTES TEXT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "target/amd64/encode.h"
#include "target/arm64/encode.h"
#include "target/riscv64/encode.h"

static const int64_t imms[] = {
	0,
	1,
	-1,
	2,
	7,
	8,
	-8,
	31,
	63,
	64,
	127,
	128,
	-128,
	-129,
	255,
	256,
	-256,
	-257,
	504,
	2047,
	2048,
	-2048,
	-2049,
	4095,
	4096,
	-4095,
	-4096,
	0xfff000,
	0x1000000,
	32760,
	32768,
	65535,
	65536,
	-65536,
	0x7fffffff,
	0x80000000,
	-0x80000000LL,
	0xffffffff,
	0x100000000,
	0x123456789abcdef0,
	0x5555555555555555,
	0x0f0f0f0f0f0f0f0f,
	0x00ff00ff00ff00ff,
	0x7fffffffffff,
	0x8000000000000000,
	0x7fffffffffffffff,
	-0x123456789LL,
	0x12340000,
	0x7ff,
	0x800,
	0xfffffffffffff000,
	0xffff0000ffff,
};
static const int32_t disps[] = { 0,	1,    4,     8,	    -1,		-8,	    16,	  127,
				 128,	-128, -129,  255,   -256,	2040,	    4088, 4095,
				 -2048, 2047, 16380, 32760, 0x7fffffff, -0x7fffffff };
static const unsigned widths[] = { 1, 2, 4, 8 };
static const enum ir_op extends[] = {
	IR_SEXT8, IR_SEXT16, IR_SEXT32, IR_ZEXT8, IR_ZEXT16, IR_ZEXT32
};

static void amd64_pairs(struct code *c, unsigned d, unsigned s)
{
	static const enum amd64_alu alu[] = { ALU_ADD, ALU_OR,	ALU_SBB, ALU_AND,
					      ALU_SUB, ALU_XOR, ALU_CMP };

	a64x_mov_rr(c, d, s);
	for (size_t i = 0; i < ARRAY_LEN(alu); i++) {
		a64x_alu_rr(c, alu[i], d, s);
		a64x_alu32_rr(c, alu[i], d, s);
	}
	a64x_test_rr(c, d, s);
	a64x_imul_rr(c, d, s);
	for (unsigned cc = 0; cc < 16; cc++)
		a64x_cmov(c, cc, d, s);
	for (size_t i = 0; i < ARRAY_LEN(extends); i++)
		a64x_extend(c, extends[i], d, s);
	if (s != RSP)
		a64x_lea_rr(c, d, s, s);
	for (size_t i = 0; i < ARRAY_LEN(disps); i++) {
		a64x_lea(c, d, s, disps[i]);
		for (size_t w = 0; w < ARRAY_LEN(widths); w++) {
			a64x_load(c, widths[w], d, s, disps[i]);
			a64x_store(c, widths[w], d, disps[i], s);
		}
	}
}

static void amd64_all(struct code *c)
{
	for (unsigned d = 0; d < 16; d++) {
		for (unsigned s = 0; s < 16; s++)
			amd64_pairs(c, d, s);
		for (size_t i = 0; i < ARRAY_LEN(imms); i++) {
			a64x_mov_ri(c, d, imms[i]);
			if (imms[i] != (int32_t)imms[i])
				continue;
			for (unsigned op = 0; op < 8; op++)
				a64x_alu_ri(c, (enum amd64_alu)op, d, (int32_t)imms[i]);
			a64x_imul_rri(c, d, 15 - d, (int32_t)imms[i]);
			for (size_t w = 0; w < ARRAY_LEN(widths); w++)
				a64x_store_imm(c, widths[w], d, 8, (int32_t)imms[i]);
		}
		for (unsigned n = 1; n < 64; n++) {
			a64x_shift_ri(c, SH_SHL, d, n);
			a64x_shift_ri(c, SH_SHR, d, n);
			a64x_shift_ri(c, SH_SAR, d, n);
		}
		a64x_shift_cl(c, SH_SHL, d);
		a64x_shift_cl(c, SH_SHR, d);
		a64x_shift_cl(c, SH_SAR, d);
		a64x_f7(c, F7_NOT, d);
		a64x_f7(c, F7_NEG, d);
		a64x_f7(c, F7_DIV, d);
		a64x_f7(c, F7_IDIV, d);
		for (unsigned cc = 0; cc < 16; cc++)
			a64x_setcc(c, cc, d);
		a64x_push(c, d);
		a64x_pop(c, d);
		a64x_call_reg(c, d);
	}
	a64x_cqo(c);
	a64x_ret(c);
	a64x_syscall(c);
}

static void arm64_immediates(struct code *c, unsigned d, unsigned n)
{
	for (size_t i = 0; i < ARRAY_LEN(imms); i++) {
		a64_mov_ri(c, d, imms[i]);
		if (imms[i] != INT64_MIN && a64_add_fits(imms[i])) {
			if (d != 31 && n != 31)
				a64_add_ri(c, d, n, imms[i]);
			a64_cmp_ri(c, n == 31 ? 0 : n, imms[i]);
		}
		if (a64_logic_fits((uint64_t)imms[i]) && d != 31) {
			a64_logic_ri(c, A64_AND, d, n, (uint64_t)imms[i]);
			a64_logic_ri(c, A64_ORR, d, n, (uint64_t)imms[i]);
			a64_logic_ri(c, A64_EOR, d, n, (uint64_t)imms[i]);
		}
	}
	/* every bit-mask immediate that one rotated run of ones makes */
	for (unsigned ones = 1; ones < 64 && d == 3 && n == 4; ones++) {
		for (unsigned rot = 0; rot < 64; rot++) {
			uint64_t v = ((uint64_t)1 << ones) - 1;

			v = rot ? v >> rot | v << (64 - rot) : v;
			if (!a64_logic_fits(v))
				abort();
			a64_logic_ri(c, A64_AND, d, n, v);
		}
	}
}

static void arm64_pairs(struct code *c, unsigned d, unsigned n)
{
	static const enum a64_rrr ops[] = { A64_ADD,  A64_SUB, A64_AND, A64_ORR, A64_EOR, A64_SDIV,
					    A64_UDIV, A64_LSL, A64_LSR, A64_ASR, A64_MUL };

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		a64_rrr(c, ops[i], d, n, (d + n) & 31);
	a64_msub(c, d, n, 30 - d % 31, (d * 7 + n) & 31);
	a64_mov_rr(c, d, n);
	a64_cmp_rr(c, d, n);
	for (unsigned cc = 0; cc < 14; cc++)
		a64_csel(c, d, n, (d + 1) & 31, (enum a64_cond)cc);
	for (size_t i = 0; i < ARRAY_LEN(extends); i++)
		a64_extend(c, extends[i], d, n);
	for (size_t i = 0; i < ARRAY_LEN(disps); i++) {
		for (size_t w = 0; w < ARRAY_LEN(widths); w++) {
			if (!a64_disp_fits(widths[w], disps[i]))
				continue;
			a64_load(c, widths[w], d, n, disps[i]);
			a64_store(c, widths[w], d, n, disps[i]);
		}
	}
}

static void arm64_all(struct code *c)
{
	for (unsigned d = 0; d < 32; d++) {
		for (unsigned n = 0; n < 32; n++) {
			arm64_pairs(c, d, n);
			if (n == 4 || n == 31 - d)
				arm64_immediates(c, d, n);
		}
		for (unsigned i = 1; i < 64; i++) {
			a64_shift_ri(c, A64_LSL, d, 31 - d, i);
			a64_shift_ri(c, A64_LSR, d, 31 - d, i);
			a64_shift_ri(c, A64_ASR, d, 31 - d, i);
		}
		for (unsigned cc = 0; cc < 14; cc++)
			a64_cset(c, d, (enum a64_cond)cc);
		if (d != 31)
			a64_add_sp(c, d, d);
		a64_blr(c, d);
	}
	a64_add_ri(c, A64_SP, A64_SP, 4080);
	a64_add_ri(c, A64_SP, A64_SP, -4096);
	a64_add_ri(c, A64_SP, 15, 0);
	a64_add_ri(c, 0, A64_SP, 0);
	a64_ret(c);
	a64_svc(c);
	a64_isb(c);
}

static void riscv64_all(struct code *c)
{
	static const enum rv_op rrr[] = { RV_ADD, RV_SUB, RV_SLL,  RV_SLT, RV_SLTU,
					  RV_XOR, RV_SRL, RV_SRA,  RV_OR,  RV_AND,
					  RV_MUL, RV_DIV, RV_DIVU, RV_REM, RV_REMU };
	static const enum rv_op rri[] = { RV_ADDI, RV_SLTI, RV_SLTIU, RV_XORI,
					  RV_ORI,  RV_ANDI, RV_ADDIW };
	static const enum rv_op shifts[] = { RV_SLLI, RV_SRLI, RV_SRAI };

	for (unsigned d = 0; d < 32; d++) {
		for (unsigned a = 0; a < 32; a++) {
			for (size_t i = 0; i < ARRAY_LEN(rrr); i++)
				rv_rrr(c, rrr[i], d, a, (d * 5 + a) & 31);
			rv_mov_rr(c, d, a);
			rv_jalr(c, d, a);
			for (size_t i = 0; i < ARRAY_LEN(disps); i++) {
				for (size_t w = 0; rv_fits12(disps[i]) && w < ARRAY_LEN(widths);
				     w++) {
					rv_load(c, widths[w], d, a, disps[i]);
					rv_store(c, widths[w], d, a, disps[i]);
				}
			}
		}
		for (size_t i = 0; i < ARRAY_LEN(imms); i++) {
			rv_mov_ri(c, d, imms[i]);
			for (size_t j = 0; rv_fits12(imms[i]) && j < ARRAY_LEN(rri); j++)
				rv_rri(c, rri[j], d, 31 - d, (int32_t)imms[i]);
		}
		for (int n = 0; n < 64; n++)
			for (size_t j = 0; j < ARRAY_LEN(shifts); j++)
				rv_rri(c, shifts[j], d, 31 - d, n);
	}
	rv_ecall(c);
	rv_fence_i(c);
}

static int write_file(const char *path, const struct strbuf *sb)
{
	FILE *f = fopen(path, "we");

	if (!f || fwrite(sb->s, 1, sb->len, f) != sb->len)
		return 1;
	return fclose(f) ? 1 : 0;
}

int main(int argc, char **argv)
{
	static struct arena arena;
	struct strbuf text = { .arena = &arena };
	struct code c = { .a = &arena, .bytes.arena = &arena, .text = &text };
	enum rtg_arch arch;

	if (argc != 4 || rtg_arch_parse(argv[1], &arch) < 0) {
		fprintf(stderr, "usage: encode amd64|arm64|riscv64 BYTES TEXT\n");
		return 2;
	}
	arena_init(&arena, (size_t)1 << 30);
	if (setjmp(arena.fail))
		return 1;
	strbuf_puts(&text, target_get(arch)->asm_head);
	if (arch == RTG_AMD64)
		amd64_all(&c);
	else if (arch == RTG_ARM64)
		arm64_all(&c);
	else
		riscv64_all(&c);
	if (write_file(argv[2], &c.bytes) || write_file(argv[3], &text))
		return 1;
	arena_done(&arena);
	return 0;
}
