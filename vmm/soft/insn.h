/* SPDX-License-Identifier: Apache-2.0 */
/* A decoded x86 instruction: what the decoder makes and everything else in soft/ reads. */
#ifndef SOFT_INSN_H
#define SOFT_INSN_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct insn;
struct stub_regs;

#define INSN_MAX_LEN 15

enum insn_prefix {
	INSN_PFX_REX = 1 << 0,
	INSN_PFX_66 = 1 << 1,
	INSN_PFX_67 = 1 << 2,
	INSN_PFX_F2 = 1 << 3, /* last of F2/F3 wins: at most one of the two is set */
	INSN_PFX_F3 = 1 << 4,
	INSN_PFX_LOCK = 1 << 5,
	INSN_PFX_VEX = 1 << 6,
};

/* Opcode maps. */
enum insn_map { INSN_MAP_1, INSN_MAP_0F, INSN_MAP_0F38, INSN_MAP_0F3A };

/* Register numbers 0-15 as in enum hv_gpr; these stand for "none" and "next instruction's address". */
#define INSN_REG_NONE 16
#define INSN_REG_RIP  17

/* What the ModRM fields name, for the instructions that run as host stubs. */
enum insn_class { INSN_CLASS_NONE, INSN_CLASS_GPR, INSN_CLASS_XMM, INSN_CLASS_MMX, INSN_CLASS_X87 };

/* struct insn's mem_rw and the like. */
enum insn_mem {
	INSN_MEM_R = 1 << 0,
	INSN_MEM_W = 1 << 1,
	INSN_MEM_ALIGNED = 1 << 2, /* #GP(0) unless a multiple of mem_size */
	INSN_REG_W = 1 << 3,	   /* class GPR: the modrm.reg operand is written */
	INSN_RM_W = 1 << 4,	   /* class GPR: the modrm.rm operand (register form) is written */
};

/* What an exec function did. */
enum insn_result {
	INSN_DONE,   /* go on behind the instruction (cpu->rip untouched: the caller advances) */
	INSN_BRANCH, /* cpu->rip is set; leave the block */
	INSN_STOP,   /* done and rip advanced by the caller, but leave the block: mode, IF, mapping changed */
	INSN_FAULT,  /* an exception is recorded in cpu->exc; nothing else has changed */
	INSN_REPEAT, /* REP made progress, registers are committed; rip stays, look for events */
};

/*
 * Executes one instruction that has no specialised handler. On entry cpu->rip is the instruction's
 * address, cpu->next_rip the one behind it, and cpu->rflags is complete (no lazy flags); it may change
 * all of them as the result code says.
 */
typedef enum insn_result (*insn_exec_fn)(struct cpu *cpu, const struct insn *in);

struct insn {
	uint8_t bytes[INSN_MAX_LEN]; /* as fetched; behind len whatever came next */
	uint8_t len;
	uint8_t prefixes; /* enum insn_prefix */
	uint8_t map;	  /* enum insn_map */
	uint8_t opcode;
	uint8_t rex;  /* 0x40-0x4f or 0 (from VEX too: W R X B) */
	uint8_t vvvv; /* VEX only, already inverted */
	bool vex_l;
	bool has_modrm;
	uint8_t modrm;
	uint8_t mod, reg, rm; /* reg and rm with their REX bits; mod is 3 when there is no memory operand */
	uint8_t op_size;      /* operand size in bytes: 1, 2, 4 or 8 */
	uint8_t addr_size;    /* 2, 4 or 8 */
	uint8_t seg;	      /* enum hv_seg of the memory operand, defaults and overrides applied */
	/* memory operand (mod != 3): base + index << scale + disp, in addr_size */
	uint8_t base, index, scale;
	int64_t disp;
	uint64_t imm;  /* sign- or zero-extended as the instruction wants it */
	uint16_t imm2; /* ENTER's second, far pointers' selector */
	uint8_t op;    /* enum insn_op (decode.h); OP_OTHER for what only exec knows */
	uint8_t form;  /* enum insn_form (decode.h) */
	/* Memory operand, if mod != 3: bytes (64 at most here: FXSAVE and the like say 0), enum insn_mem. */
	uint8_t mem_size, mem_rw;
	uint8_t reg_class, rm_class; /* enum insn_class */
	uint8_t opcode_off; /* offset of the last opcode byte in bytes[]: what a stub re-encodes */
	/* Made when first run, by stub.c: good while stub_gen is the cache's. */
	void (*stub)(uint8_t *fx, void *mem, struct stub_regs *regs);
	uint32_t stub_gen;
	uint16_t stub_uses; /* enum stub_use */
	insn_exec_fn exec;  /* general implementation; never NULL for a decoded instruction */
};

static inline bool insn_is_mem(const struct insn *in)
{
	return in->mod != 3;
}

/* Operand size in bytes to its logarithm, as handler tables are indexed. */
static inline unsigned insn_log2_size(unsigned size)
{
	return (unsigned)__builtin_ctz(size);
}

/* The prefix that belongs to an SSE opcode: 0xf3, 0xf2, 0x66 or 0. */
static inline unsigned insn_mandatory_prefix(const struct insn *in)
{
	if (in->prefixes & INSN_PFX_F3)
		return 0xf3;
	if (in->prefixes & INSN_PFX_F2)
		return 0xf2;
	return in->prefixes & INSN_PFX_66 ? 0x66 : 0;
}

#endif
