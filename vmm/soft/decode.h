/* SPDX-License-Identifier: Apache-2.0 */
/* The x86 decoder: bytes to struct insn, by tables. No guest state but the mode is looked at. */
#ifndef SOFT_DECODE_H
#define SOFT_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#include "soft/insn.h"

struct hv_cpuid_table;

/* What an instruction does, for those that have specialised handlers. Groups keep the encoding's
 * order. */
enum insn_op {
	OP_OTHER,
	OP_ADD,
	OP_OR,
	OP_ADC,
	OP_SBB,
	OP_AND,
	OP_SUB,
	OP_XOR,
	OP_CMP,
	OP_ROL,
	OP_ROR,
	OP_RCL,
	OP_RCR,
	OP_SHL,
	OP_SHR,
	OP_SAL,
	OP_SAR,
	OP_BT,
	OP_BTS,
	OP_BTR,
	OP_BTC,
	OP_TEST,
	OP_MOV,
	OP_MOVZX,
	OP_MOVSX,
	OP_LEA,
	OP_XCHG,
	OP_XADD,
	OP_CMPXCHG,
	OP_INC,
	OP_DEC,
	OP_NOT,
	OP_NEG,
	OP_MUL,
	OP_IMUL1,
	OP_DIV,
	OP_IDIV,
	OP_IMUL,
	OP_BSF,
	OP_BSR,
	OP_TZCNT,
	OP_LZCNT,
	OP_POPCNT,
	OP_BSWAP,
	OP_MOVBE,
	OP_CMOV,
	OP_SETCC,
	OP_JCC,
	OP_JMP,
	OP_CALL,
	OP_RET,
	OP_PUSH,
	OP_POP,
	OP_LEAVE,
	OP_CBW,
	OP_CWD,
	OP_NOP,
	OP_SHLD,
	OP_SHRD,
	OP_LOOP,
	OP_MAX_,
};

/*
 * Where the operands are. Opcodes that name a register or the accumulator are given as mod 3 with
 * has_modrm false, so that an integer instruction always has its first operand in reg or in rm.
 */
enum insn_form {
	FORM_NONE,
	FORM_RM,    /* one: rm */
	FORM_RM_R,  /* destination rm, source reg */
	FORM_R_RM,  /* destination reg, source rm */
	FORM_RM_I,  /* destination rm, source imm */
	FORM_RM_CL, /* destination rm, count CL */
	FORM_I,	    /* imm alone */
	FORM_REL,   /* branch: imm is the displacement */
	FORM_R_RM_I,
	FORM_RM_R_I,
	FORM_RM_R_CL,
};

/* CPUID features that make an encoding legal. Bit numbers of decode_env.features. */
enum insn_feature {
	FEAT_NONE,
	FEAT_MMX,
	FEAT_SSE,
	FEAT_SSE2,
	FEAT_SSE3,
	FEAT_SSSE3,
	FEAT_SSE41,
	FEAT_SSE42,
	FEAT_AES,
	FEAT_PCLMUL,
	FEAT_POPCNT,
	FEAT_MOVBE,
	FEAT_LZCNT,
	FEAT_BMI1,
	FEAT_BMI2,
	FEAT_ADX,
	FEAT_CX16,
	FEAT_RDRAND,
	FEAT_RDSEED,
	FEAT_FSGSBASE,
	FEAT_INVPCID,
	FEAT_SMAP,
	FEAT_RDTSCP,
	FEAT_RDPID,
	FEAT_XSAVE,
	FEAT_MONITOR,
	FEAT_CLFLUSH,
	FEAT_CLFLUSHOPT,
	FEAT_CLWB,
	FEAT_FXSR,
	FEAT_CMOV,
	FEAT_CX8,
	FEAT_SEP,
	FEAT_MAX_,
};

struct decode_env {
	uint64_t features; /* 1 << enum insn_feature */
	uint8_t mode;	   /* enum cpu_mode */
};

enum decode_result {
	DECODE_OK,
	DECODE_MORE, /* the instruction goes on behind the bytes given */
	DECODE_UD,
	DECODE_GP, /* longer than 15 bytes */
};

/**
 * decode_features() - Feature mask of a CPUID table
 */
uint64_t decode_features(const struct hv_cpuid_table *table);

/**
 * decode_insn() - Decode one instruction
 * @env:	Mode and features
 * @bytes:	At least @n_bytes readable
 * @n_bytes:	Up to the end of the page, say; more than 15 are not looked at
 * @ret:	Filled completely on DECODE_OK; .bytes and .len are not meaningful otherwise
 */
enum decode_result decode_insn(const struct decode_env *env, const uint8_t *bytes, unsigned n_bytes,
			       struct insn *ret);

#endif
