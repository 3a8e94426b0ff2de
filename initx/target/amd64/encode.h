/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64 instructions as bytes and as text. Ref: Intel SDM volume 2. */
#ifndef INITX_TARGET_AMD64_ENCODE_H
#define INITX_TARGET_AMD64_ENCODE_H

#include "target/target.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

/* The /digit of the 81 group, which is also opcode bits 5:3 of the register forms. */
enum amd64_alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
enum amd64_shift { SH_SHL = 4, SH_SHR = 5, SH_SAR = 7 };
enum amd64_f7 { F7_NOT = 2, F7_NEG = 3, F7_DIV = 6, F7_IDIV = 7 };

void a64x_mov_rr(struct code *c, unsigned d, unsigned s);
void a64x_mov_ri(struct code *c, unsigned d, int64_t imm);
void a64x_alu_rr(struct code *c, enum amd64_alu op, unsigned d, unsigned s);
void a64x_alu_ri(struct code *c, enum amd64_alu op, unsigned d, int32_t imm);
void a64x_alu32_rr(struct code *c, enum amd64_alu op, unsigned d, unsigned s);
void a64x_test_rr(struct code *c, unsigned a, unsigned b);
void a64x_imul_rr(struct code *c, unsigned d, unsigned s);
void a64x_imul_rri(struct code *c, unsigned d, unsigned s, int32_t imm);
void a64x_shift_ri(struct code *c, enum amd64_shift op, unsigned d, unsigned n);
void a64x_shift_cl(struct code *c, enum amd64_shift op, unsigned d);
void a64x_f7(struct code *c, enum amd64_f7 op, unsigned r);
void a64x_cqo(struct code *c);
void a64x_extend(struct code *c, enum ir_op op, unsigned d, unsigned s);
void a64x_lea(struct code *c, unsigned d, unsigned base, int32_t disp);
void a64x_lea_rr(struct code *c, unsigned d, unsigned base, unsigned index);
void a64x_lea_sym(struct code *c, unsigned d, uint32_t sym, const char *name, int64_t addend);
void a64x_load(struct code *c, unsigned width, unsigned d, unsigned base, int32_t disp);
void a64x_store(struct code *c, unsigned width, unsigned base, int32_t disp, unsigned s);
void a64x_store_imm(struct code *c, unsigned width, unsigned base, int32_t disp, int32_t imm);
void a64x_setcc(struct code *c, unsigned cc, unsigned r);
void a64x_cmov(struct code *c, unsigned cc, unsigned d, unsigned s);
void a64x_push(struct code *c, unsigned r);
void a64x_pop(struct code *c, unsigned r);
void a64x_ret(struct code *c);
void a64x_syscall(struct code *c);
void a64x_call_sym(struct code *c, uint32_t sym, const char *name);
void a64x_call_reg(struct code *c, unsigned r);
/* Short forward jump inside one expansion: emit, and fix when the target is reached. */
size_t a64x_jcc_local(struct code *c, unsigned cc, unsigned label);
size_t a64x_jmp_local(struct code *c, unsigned label);
void a64x_local_here(struct code *c, size_t at, unsigned label);

/* Condition codes as encoded. */
enum { CC_B = 2, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_L = 12, CC_GE, CC_LE, CC_G };

extern const char *const amd64_cc_names[16];

#endif
