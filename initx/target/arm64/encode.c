/* SPDX-License-Identifier: Apache-2.0 */
/* A64 instruction encoding. */
#include "target/arm64/encode.h"

#include <inttypes.h>

const char *const a64_cond_names[16] = { "eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc",
					 "hi", "ls", "ge", "lt", "gt", "le", "al", "nv" };

static const char *x_name(unsigned r, bool sp)
{
	static const char *const names[] = {
		"x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",	 "x7",	"x8",  "x9",  "x10",
		"x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21",
		"x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "xzr",
	};

	return r == 31 && sp ? "sp" : names[r];
}

#define X(r)  x_name(r, false)
#define XS(r) x_name(r, true)

static const char *w_name(unsigned r)
{
	static const char *const names[] = {
		"w0",  "w1",  "w2",  "w3",  "w4",  "w5",  "w6",	 "w7",	"w8",  "w9",  "w10",
		"w11", "w12", "w13", "w14", "w15", "w16", "w17", "w18", "w19", "w20", "w21",
		"w22", "w23", "w24", "w25", "w26", "w27", "w28", "w29", "w30", "wzr",
	};

	return names[r];
}

static const char *rrr_name(enum a64_rrr op)
{
	switch (op) {
	case A64_ADD: return "add";
	case A64_SUB: return "sub";
	case A64_AND: return "and";
	case A64_ORR: return "orr";
	case A64_EOR: return "eor";
	case A64_SDIV: return "sdiv";
	case A64_UDIV: return "udiv";
	case A64_LSL: return "lsl";
	case A64_LSR: return "lsr";
	case A64_ASR: return "asr";
	case A64_MUL: return "mul";
	}
	return "?";
}

void a64_rrr(struct code *c, enum a64_rrr op, unsigned d, unsigned n, unsigned m)
{
	code_u32(c, (uint32_t)op | m << 16 | n << 5 | d);
	code_text(c, "%s %s, %s, %s", rrr_name(op), X(d), X(n), X(m));
}

void a64_msub(struct code *c, unsigned d, unsigned n, unsigned m, unsigned a)
{
	code_u32(c, 0x9b008000u | m << 16 | a << 10 | n << 5 | d);
	code_text(c, "msub %s, %s, %s, %s", X(d), X(n), X(m), X(a));
}

void a64_mov_rr(struct code *c, unsigned d, unsigned s)
{
	code_u32(c, 0xaa0003e0u | s << 16 | d);
	code_text(c, "mov %s, %s", X(d), X(s));
}

static void mov_wide(struct code *c, const char *name, uint32_t op, unsigned d, unsigned hw,
		     uint16_t imm)
{
	code_u32(c, op | hw << 21 | (uint32_t)imm << 5 | d);
	code_text(c, "%s %s, #%u, lsl #%u", name, X(d), imm, hw * 16);
}

void a64_mov_ri(struct code *c, unsigned d, int64_t imm)
{
	uint64_t v = (uint64_t)imm;
	unsigned n_zero = 0, n_ones = 0;
	bool first = true, inverted;

	for (unsigned hw = 0; hw < 4; hw++) {
		n_zero += (v >> (16 * hw) & 0xffff) == 0;
		n_ones += (v >> (16 * hw) & 0xffff) == 0xffff;
	}
	inverted = n_ones > n_zero;
	for (unsigned hw = 0; hw < 4; hw++) {
		uint16_t part = (uint16_t)(v >> (16 * hw));

		if (part == (inverted ? 0xffff : 0))
			continue;
		if (!first)
			mov_wide(c, "movk", 0xf2800000u, d, hw, part);
		else if (inverted)
			mov_wide(c, "movn", 0x92800000u, d, hw, (uint16_t)~part);
		else
			mov_wide(c, "movz", 0xd2800000u, d, hw, part);
		first = false;
	}
	if (first)
		mov_wide(c, inverted ? "movn" : "movz", inverted ? 0x92800000u : 0xd2800000u, d, 0,
			 0);
}

bool a64_add_fits(int64_t imm)
{
	uint64_t v = imm < 0 ? 0 - (uint64_t)imm : (uint64_t)imm;

	return v < 4096 || (!(v & 0xfff) && v < (1u << 24));
}

/* add, sub, cmp and cmn share this: op for positive values, op ^ 0x40000000 for negative ones. */
static void add_sub(struct code *c, const char *pos, const char *neg, uint32_t op, unsigned d,
		    unsigned n, int64_t imm, bool show_d)
{
	uint64_t v = imm < 0 ? 0 - (uint64_t)imm : (uint64_t)imm;
	bool shift = v >= 4096;

	if (imm < 0)
		op ^= 0x40000000u;
	code_u32(c,
		 op | (uint32_t)shift << 22 | (uint32_t)(shift ? v >> 12 : v) << 10 | n << 5 | d);
	if (show_d)
		code_text(c, "%s %s, %s, #%" PRIu64, imm < 0 ? neg : pos, XS(d), XS(n), v);
	else
		code_text(c, "%s %s, #%" PRIu64, imm < 0 ? neg : pos, XS(n), v);
}

void a64_add_ri(struct code *c, unsigned d, unsigned n, int64_t imm)
{
	add_sub(c, "add", "sub", 0x91000000u, d, n, imm, true);
}

void a64_cmp_ri(struct code *c, unsigned n, int64_t imm)
{
	add_sub(c, "cmp", "cmn", 0xf1000000u, A64_ZR, n, imm, false);
}

void a64_add_sp(struct code *c, unsigned d, unsigned m)
{
	code_u32(c, 0x8b2063e0u | m << 16 | d);
	code_text(c, "add %s, sp, %s", X(d), X(m));
}

/* Ref: Arm ARM, DecodeBitMasks: a rotated run of ones, repeated. */
static bool logic_fields(uint64_t imm, uint32_t *ret)
{
	unsigned size = 64, ones, rot = 0;
	uint64_t mask, v;

	if (imm == 0 || imm == UINT64_MAX)
		return false;
	while (size > 2) {
		uint64_t half = ((uint64_t)1 << (size / 2)) - 1;

		if ((imm & half) != (imm >> (size / 2) & half))
			break;
		size /= 2;
	}
	mask = size == 64 ? UINT64_MAX : ((uint64_t)1 << size) - 1;
	v = imm & mask;
	while (!(v & 1) || (v >> (size - 1) & 1)) { /* to the form 0..01..1 */
		v = (v >> 1 | v << (size - 1)) & mask;
		if (++rot > size)
			return false;
	}
	ones = (unsigned)__builtin_popcountll(v);
	if (v != ((uint64_t)1 << ones) - 1)
		return false;
	*ret = (uint32_t)(size == 64) << 22 | ((size - rot) & (size - 1)) << 16 |
	       (((0u - size * 2) & 0x3f) | (ones - 1)) << 10;
	return true;
}

bool a64_logic_fits(uint64_t imm)
{
	uint32_t fields;

	return logic_fields(imm, &fields);
}

void a64_logic_ri(struct code *c, enum a64_rrr op, unsigned d, unsigned n, uint64_t imm)
{
	uint32_t base = op == A64_AND ? 0x92000000u : op == A64_ORR ? 0xb2000000u : 0xd2000000u;
	uint32_t fields = 0;

	logic_fields(imm, &fields);
	code_u32(c, base | fields | n << 5 | d);
	code_text(c, "%s %s, %s, #0x%" PRIx64, rrr_name(op), X(d), X(n), imm);
}

void a64_shift_ri(struct code *c, enum a64_rrr op, unsigned d, unsigned n, unsigned count)
{
	uint32_t w = op == A64_ASR ? 0x93400000u : 0xd3400000u;

	if (op == A64_LSL)
		w |= ((64 - count) & 63) << 16 | (63 - count) << 10;
	else
		w |= count << 16 | 63u << 10;
	code_u32(c, w | n << 5 | d);
	code_text(c, "%s %s, %s, #%u", rrr_name(op), X(d), X(n), count);
}

void a64_extend(struct code *c, enum ir_op op, unsigned d, unsigned n)
{
	switch ((int)op) {
	case IR_SEXT8:
		code_u32(c, 0x93401c00u | n << 5 | d);
		code_text(c, "sxtb %s, %s", X(d), w_name(n));
		break;
	case IR_SEXT16:
		code_u32(c, 0x93403c00u | n << 5 | d);
		code_text(c, "sxth %s, %s", X(d), w_name(n));
		break;
	case IR_SEXT32:
		code_u32(c, 0x93407c00u | n << 5 | d);
		code_text(c, "sxtw %s, %s", X(d), w_name(n));
		break;
	case IR_ZEXT8:
		code_u32(c, 0x53001c00u | n << 5 | d);
		code_text(c, "uxtb %s, %s", w_name(d), w_name(n));
		break;
	case IR_ZEXT16:
		code_u32(c, 0x53003c00u | n << 5 | d);
		code_text(c, "uxth %s, %s", w_name(d), w_name(n));
		break;
	default:
		code_u32(c, 0x2a0003e0u | n << 16 | d);
		code_text(c, "mov %s, %s", w_name(d), w_name(n));
	}
}

void a64_cmp_rr(struct code *c, unsigned n, unsigned m)
{
	code_u32(c, 0xeb00001fu | m << 16 | n << 5);
	code_text(c, "cmp %s, %s", X(n), X(m));
}

void a64_csel(struct code *c, unsigned d, unsigned n, unsigned m, enum a64_cond cond)
{
	code_u32(c, 0x9a800000u | m << 16 | (uint32_t)cond << 12 | n << 5 | d);
	code_text(c, "csel %s, %s, %s, %s", X(d), X(n), X(m), a64_cond_names[cond]);
}

void a64_cset(struct code *c, unsigned d, enum a64_cond cond)
{
	code_u32(c, 0x9a9f07e0u | ((uint32_t)cond ^ 1) << 12 | d);
	code_text(c, "cset %s, %s", X(d), a64_cond_names[cond]);
}

static unsigned log2_width(unsigned width)
{
	return (unsigned)__builtin_ctz(width);
}

bool a64_disp_fits(unsigned width, int64_t disp)
{
	return (disp >= -256 && disp < 256) ||
	       (disp >= 0 && disp % width == 0 && disp / width < 4096);
}

/* Loads and stores: scaled form where it fits, else the unscaled one. */
static void memory(struct code *c, bool is_load, unsigned width, unsigned t, unsigned base,
		   int64_t disp)
{
	static const char *const suffix[] = { "b", "h", "", "" };
	unsigned l = log2_width(width);
	bool scaled = disp >= 0 && disp % width == 0 && disp / width < 4096;
	uint32_t w = (scaled ? 0x39000000u : 0x38000000u) | l << 30 | (uint32_t)is_load << 22;
	const char *reg = width == 8 ? X(t) : w_name(t);

	if (scaled)
		w |= (uint32_t)(disp / width) << 10;
	else
		w |= ((uint32_t)disp & 0x1ff) << 12;
	code_u32(c, w | base << 5 | t);
	code_text(c, "%s%s%s %s, [%s, #%" PRId64 "]", is_load ? "ld" : "st", scaled ? "r" : "ur",
		  suffix[l], reg, XS(base), disp);
}

void a64_load(struct code *c, unsigned width, unsigned t, unsigned base, int64_t disp)
{
	memory(c, true, width, t, base, disp);
}

void a64_store(struct code *c, unsigned width, unsigned t, unsigned base, int64_t disp)
{
	memory(c, false, width, t, base, disp);
}

void a64_adr(struct code *c, unsigned d, uint32_t sym, const char *name, int64_t addend)
{
	code_fix(c, FIX_ARM64_ADRP, sym, addend);
	code_u32(c, 0x90000000u | d);
	code_text(c, "adrp %s, \"%s\"%+" PRId64, X(d), name, addend);
	code_u32(c, 0x91000000u | d << 5 | d);
	code_text(c, "add %s, %s, #:lo12:\"%s\"%+" PRId64, X(d), X(d), name, addend);
}

void a64_bl(struct code *c, uint32_t sym, const char *name)
{
	code_fix(c, FIX_ARM64_CALL, sym, 0);
	code_u32(c, 0x94000000u);
	code_text(c, "bl \"%s\"", name);
}

void a64_blr(struct code *c, unsigned n)
{
	code_u32(c, 0xd63f0000u | n << 5);
	code_text(c, "blr %s", X(n));
}

void a64_ret(struct code *c)
{
	code_u32(c, 0xd65f03c0u);
	code_text(c, "ret");
}

void a64_svc(struct code *c)
{
	code_u32(c, 0xd4000001u);
	code_text(c, "svc #0");
}

void a64_isb(struct code *c)
{
	code_u32(c, 0xd5033fdfu);
	code_text(c, "isb");
}
