/* SPDX-License-Identifier: Apache-2.0 */
/* Writing x86-64 host instructions into a buffer. Overflow sets a flag and writes nothing more. */
#ifndef SOFT_JIT_EMIT_H
#define SOFT_JIT_EMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Host registers, as encoded. */
enum host_reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

struct emit {
	uint8_t *at; /* writable view */
	uint32_t len, room;
	bool overflow;
	const uint8_t *run;   /* where what is at @at will run */
	const uintptr_t *exe; /* the word with the program's base, in reach of @run */
};

static inline void emit_bytes(struct emit *e, const void *bytes, unsigned n)
{
	if (n > e->room - e->len) {
		e->overflow = true;
		return;
	}
	memcpy(e->at + e->len, bytes, n);
	e->len += n;
}

static inline void emit8(struct emit *e, uint8_t v)
{
	emit_bytes(e, &v, 1);
}

static inline void emit32(struct emit *e, uint32_t v)
{
	emit_bytes(e, &v, 4);
}

static inline void emit64(struct emit *e, uint64_t v)
{
	emit_bytes(e, &v, 8);
}

/* Prefixes for operand size 2^@s: 66 and REX; byte operands always get a REX (SIL and so on). */
static inline void emit_prefix(struct emit *e, unsigned s, unsigned reg, unsigned index,
			       unsigned base, bool byte_reg)
{
	unsigned rex = 0x40 | (s == 3) << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;

	if (s == 1)
		emit8(e, 0x66);
	if (rex != 0x40 || byte_reg)
		emit8(e, rex);
}

/* Opcodes of two bytes are given as 0x0fXX. */
static inline void emit_opcode(struct emit *e, unsigned opcode)
{
	if (opcode > 0xff)
		emit8(e, opcode >> 8);
	emit8(e, opcode);
}

/* OP reg, rm (both registers). */
static inline void emit_rr(struct emit *e, unsigned s, unsigned opcode, unsigned reg, unsigned rm)
{
	emit_prefix(e, s, reg, 0, rm, s == 0);
	emit_opcode(e, opcode);
	emit8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* Bytes behind the opcode for [base + disp]. */
static inline void emit_mem(struct emit *e, unsigned reg, unsigned base, int32_t disp)
{
	unsigned mod = disp == (int8_t)disp ? 0x40 : 0x80;

	reg = (reg & 7) << 3;
	base &= 7;
	if (disp == 0 && base != RBP)
		mod = 0;
	emit8(e, mod | reg | base);
	if (base == RSP) /* R12 too */
		emit8(e, 0x24);
	if (mod == 0x40)
		emit8(e, disp);
	else if (mod == 0x80)
		emit32(e, disp);
}

/* OP reg, [base + disp], either way round as the opcode has it. */
static inline void emit_rm(struct emit *e, unsigned s, unsigned opcode, unsigned reg, unsigned base,
			   int32_t disp)
{
	emit_prefix(e, s, reg, 0, base, s == 0);
	emit_opcode(e, opcode);
	emit_mem(e, reg, base, disp);
}

/* MOV r64, imm: the shortest form. */
static inline void emit_mov_imm(struct emit *e, unsigned reg, uint64_t v)
{
	if (v == (uint32_t)v) {
		emit_prefix(e, 2, 0, 0, reg, false);
		emit8(e, 0xb8 | (reg & 7));
		emit32(e, v);
	} else if ((int64_t)v == (int32_t)v) {
		emit_prefix(e, 3, 0, 0, reg, false);
		emit8(e, 0xc7);
		emit8(e, 0xc0 | (reg & 7));
		emit32(e, v);
	} else {
		emit_prefix(e, 3, 0, 0, reg, false);
		emit8(e, 0xb8 | (reg & 7));
		emit64(e, v);
	}
}

/*
 * Nothing below holds an address: host code is the same wherever it and the program lie.
 */

/* Operand [rip + distance to @p], the last of its instruction; @p is in reach. */
static inline void emit_rip(struct emit *e, unsigned reg, const void *p)
{
	emit8(e, (reg & 7) << 3 | 5);
	emit32(e, (uint32_t)((uintptr_t)p - (uintptr_t)(e->run + e->len + 4)));
}

/* reg = @p, which is in reach. */
static inline void emit_address(struct emit *e, unsigned reg, const void *p)
{
	emit_prefix(e, 3, reg, 0, 0, false);
	emit8(e, 0x8d);
	emit_rip(e, reg, p);
}

/* reg = a function of this program. Flags stay. */
static inline void emit_function(struct emit *e, unsigned reg, uintptr_t fn)
{
	emit_prefix(e, 3, reg, 0, 0, false);
	emit8(e, 0x8b);
	emit_rip(e, reg, e->exe);
	emit_rm(e, 3, 0x8d, reg, reg, (int32_t)(fn - *e->exe));
}

/* Group-1 arithmetic with an immediate: reg op= imm (sign-extended from 32 bits). */
static inline void emit_alu_imm(struct emit *e, unsigned s, unsigned digit, unsigned reg,
				int32_t imm)
{
	emit_prefix(e, s, 0, 0, reg, s == 0);
	if (s == 0 || imm == (int8_t)imm) {
		emit8(e, s == 0 ? 0x80 : 0x83);
		emit8(e, 0xc0 | digit << 3 | (reg & 7));
		emit8(e, imm);
		return;
	}
	emit8(e, 0x81);
	emit8(e, 0xc0 | digit << 3 | (reg & 7));
	if (s == 1)
		emit_bytes(e, &imm, 2);
	else
		emit32(e, imm);
}

/* LEA r64, [base + index << scale + disp]; index is never RSP. */
static inline void emit_lea(struct emit *e, unsigned reg, unsigned base, unsigned index,
			    unsigned scale, int32_t disp)
{
	emit_prefix(e, 3, reg, index, base, false);
	emit8(e, 0x8d);
	emit8(e, 0x80 | (reg & 7) << 3 | 4);
	emit8(e, scale << 6 | (index & 7) << 3 | (base & 7));
	emit32(e, disp);
}

/* JMP rel32 (cond < 0) or Jcc rel32, to be bound later. Returns where the displacement lies. */
static inline uint32_t emit_jump(struct emit *e, int cond)
{
	if (cond < 0) {
		emit8(e, 0xe9);
	} else {
		emit8(e, 0x0f);
		emit8(e, 0x80 | cond);
	}
	emit32(e, 0);
	return e->len - 4;
}

static inline void emit_bind(struct emit *e, uint32_t at, uint32_t target)
{
	uint32_t rel = target - (at + 4);

	if (!e->overflow)
		memcpy(e->at + at, &rel, 4);
}

enum host_cond { COND_B = 2, COND_E = 4, COND_NE = 5, COND_A = 7, COND_LE = 14 };

#endif
