/* SPDX-License-Identifier: Apache-2.0 */
/* General implementations: bit tests and scans, BMI, CRC32, BSWAP, decimal adjustment, flag
 * instructions. */
#include "soft/exec.h"

#include "soft/decode.h"
#include "soft/flags.h"
#include "soft/interp/operand.h"

/* With a register index and a memory operand the bit string goes on beyond the operand, both ways.
 */
static uint64_t bt_address(const struct cpu *cpu, const struct insn *in, int64_t index)
{
	unsigned bits = in->op_size * 8;
	uint64_t ea = insn_ea(cpu, in);

	if (in->form == FORM_RM_R)
		ea += (index >> __builtin_ctz(bits)) * in->op_size;
	return ea & size_mask(in->addr_size);
}

enum insn_result exec_bt(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size, bits = size * 8;
	int64_t index = in->form == FORM_RM_I ? (int64_t)in->imm
					      : sign_extend(reg_read(cpu, in, in->reg, size), size);
	uint64_t bit = 1ULL << (index & (bits - 1)), v;
	struct rmw m = { .size = size };
	enum rmw_result res = RMW_OK;
	bool set;

	if (!insn_is_mem(in)) {
		m.old = reg_read(cpu, in, in->rm, size);
	} else if (in->op == OP_BT) {
		if (!mem_read(cpu, in->seg, bt_address(cpu, in, index), size, &m.old))
			return INSN_FAULT;
	} else {
		if (!rmw_begin_at(cpu, in->seg, bt_address(cpu, in, index), size,
				  in->prefixes & INSN_PFX_LOCK, &m))
			return INSN_FAULT;
	}
	do {
		set = m.old & bit;
		if (in->op == OP_BT)
			break;
		v = in->op == OP_BTS ? m.old | bit : in->op == OP_BTR ? m.old & ~bit : m.old ^ bit;
		res = rmw_commit(cpu, in, &m, v);
	} while (res == RMW_RETRY);
	if (res == RMW_FAULT)
		return INSN_FAULT;
	set_arith(cpu, FL_CF, set ? FL_CF : 0);
	return INSN_DONE;
}

enum insn_result exec_bitscan(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size, bits = size * 8;
	uint64_t v, r;

	if (!rm_read(cpu, in, size, &v))
		return INSN_FAULT;
	switch (in->op) {
	case OP_BSF:
	case OP_BSR:
		if (v == 0) { /* destination unchanged, as all processors of both vendors do */
			set_arith(cpu, FL_ARITH, FL_ZF | FL_PF);
			return INSN_DONE;
		}
		r = in->op == OP_BSF ? __builtin_ctzll(v) : 63 - __builtin_clzll(v);
		set_arith(cpu, FL_ARITH, __builtin_parity(r & 0xff) ? 0 : FL_PF);
		break;
	case OP_POPCNT:
		r = __builtin_popcountll(v);
		set_arith(cpu, FL_ARITH, v == 0 ? FL_ZF : 0);
		break;
	default:
		if (v == 0)
			r = bits;
		else
			r = in->op == OP_TZCNT ? (unsigned)__builtin_ctzll(v)
					       : (unsigned)__builtin_clzll(v) - (64 - bits);
		set_arith(cpu, FL_CF | FL_ZF, (v == 0 ? FL_CF : 0) | (r == 0 ? FL_ZF : 0));
		break;
	}
	reg_write(cpu, in, in->reg, size, r);
	return INSN_DONE;
}

enum insn_result exec_bswap(struct cpu *cpu, const struct insn *in)
{
	uint64_t v = cpu->gpr[in->rm];

	if (in->op_size == 8)
		v = __builtin_bswap64(v);
	else if (in->op_size == 4)
		v = __builtin_bswap32(v);
	else
		v = 0; /* undefined; this is what processors do */
	reg_write(cpu, in, in->rm, in->op_size, v);
	return INSN_DONE;
}

enum insn_result exec_crc32(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->opcode == 0xf0 ? 1 : in->op_size;
	uint32_t crc = cpu->gpr[in->reg];
	uint64_t v;

	if (!rm_read(cpu, in, size, &v))
		return INSN_FAULT;
	for (unsigned i = 0; i < size; i++) {
		crc ^= v >> (8 * i) & 0xff;
		for (unsigned k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	cpu->gpr[in->reg] = crc;
	return INSN_DONE;
}

/* ---- BMI ---- */

static uint64_t pext(uint64_t v, uint64_t mask)
{
	uint64_t r = 0;

	for (unsigned k = 0; mask; mask &= mask - 1, k++)
		r |= (v & mask & -mask ? 1ULL : 0) << k;
	return r;
}

static uint64_t pdep(uint64_t v, uint64_t mask)
{
	uint64_t r = 0;

	for (; mask; mask &= mask - 1, v >>= 1)
		r |= v & 1 ? mask & -mask : 0;
	return r;
}

static void bmi_flags(struct cpu *cpu, unsigned size, uint64_t r, bool cf)
{
	set_arith(cpu, FL_ARITH, cc_arith_of(CC_RES | insn_log2_size(size), r, cf ? FL_CF : 0));
}

static uint64_t bextr(uint64_t v, uint64_t ctl)
{
	unsigned start = ctl & 0xff, len = ctl >> 8 & 0xff;

	v = start < 64 ? v >> start : 0;
	return len < 64 ? v & ((1ULL << len) - 1) : v;
}

/* The 0F38 F3 group; destination is vvvv. */
static enum insn_result bmi_group(struct cpu *cpu, const struct insn *in, unsigned size, uint64_t v)
{
	uint64_t r, mask = size_mask(size);
	bool cf = v == 0;

	switch (in->modrm >> 3 & 7) {
	case 1: r = v & (v - 1); break;
	case 2: r = (v ^ (v - 1)) & mask; break;
	default:
		r = v & -v;
		cf = v != 0;
		break;
	}
	reg_write(cpu, in, in->vvvv, size, r);
	bmi_flags(cpu, size, r, cf);
	return INSN_DONE;
}

/* VEX.pp is not among the prefixes: it is in the last VEX byte, the one before the opcode. */
static unsigned vex_pp(const struct insn *in)
{
	return in->bytes[in->opcode_off - 1] & 3;
}

static uint64_t bmi_shift(unsigned pp, unsigned size, uint64_t v, uint64_t count)
{
	unsigned c = count & (size == 8 ? 63 : 31);

	if (pp == 1)
		return v << c & size_mask(size);
	return pp == 2 ? (uint64_t)(sign_extend(v, size) >> c) & size_mask(size) : v >> c;
}

enum insn_result exec_bmi(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->rex & 8 ? 8 : 4, pp = vex_pp(in);
	uint64_t v, r, b = reg_read(cpu, in, in->vvvv, size);
	unsigned __int128 p;

	if (!rm_read(cpu, in, size, &v))
		return INSN_FAULT;
	if (in->map == INSN_MAP_0F3A) { /* RORX */
		unsigned c = in->imm & (size * 8 - 1);

		r = c ? (v >> c | v << (size * 8 - c)) & size_mask(size) : v;
		reg_write(cpu, in, in->reg, size, r);
		return INSN_DONE;
	}
	switch (in->opcode) {
	case 0xf2:
		r = ~b & v;
		bmi_flags(cpu, size, r, false);
		break;
	case 0xf3: return bmi_group(cpu, in, size, v);
	case 0xf5:
		if (pp == 0) { /* BZHI */
			r = (b & 0xff) < size * 8 ? v & ((1ULL << (b & 0xff)) - 1) : v;
			bmi_flags(cpu, size, r, (b & 0xff) >= size * 8);
		} else {
			r = pp == 2 ? pext(b, v) : pdep(b, v);
		}
		break;
	case 0xf6: /* MULX */
		p = (unsigned __int128)(cpu->gpr[HV_RDX] & size_mask(size)) * v;
		reg_write(cpu, in, in->vvvv, size, (uint64_t)p & size_mask(size));
		r = (uint64_t)(p >> (size * 8));
		break;
	default:
		if (pp == 0) {
			r = bextr(v, b);
			bmi_flags(cpu, size, r, false);
		} else {
			r = bmi_shift(pp, size, v, b);
		}
		break;
	}
	reg_write(cpu, in, in->reg, size, r);
	return INSN_DONE;
}

/* ---- flag instructions, decimal adjustment ---- */

enum insn_result exec_flagop(struct cpu *cpu, const struct insn *in)
{
	uint32_t *fl = &cpu->rflags;

	switch (in->opcode) {
	case 0x9e: set_arith(cpu, FL_ARITH & ~FL_OF, cpu->gpr[HV_RAX] >> 8); break;
	case 0x9f: ((uint8_t *)&cpu->gpr[HV_RAX])[1] = (*fl & (FL_ARITH & ~FL_OF)) | FL_ONE; break;
	case 0xd6: ((uint8_t *)&cpu->gpr[HV_RAX])[0] = *fl & FL_CF ? 0xff : 0; break;
	case 0xf5: *fl ^= FL_CF; break;
	case 0xf8: *fl &= ~FL_CF; break;
	case 0xf9: *fl |= FL_CF; break;
	case 0xfc: *fl &= ~FL_DF; break;
	default: *fl |= FL_DF; break;
	}
	return INSN_DONE;
}

static void adjust_ascii(struct cpu *cpu, bool sub)
{
	uint16_t ax = cpu->gpr[HV_RAX];
	bool adj = (ax & 0xf) > 9 || (cpu->rflags & FL_AF);

	if (adj)
		ax = sub ? ax - 0x106 : ax + 0x106;
	ax &= 0xff0f;
	cpu->gpr[HV_RAX] = (cpu->gpr[HV_RAX] & ~0xffffULL) | ax;
	set_arith(cpu, FL_ARITH, cc_arith_of(CC_RES, ax & 0xff, adj ? FL_AF | FL_CF : 0));
}

static void adjust_decimal(struct cpu *cpu, bool sub)
{
	uint8_t al = cpu->gpr[HV_RAX], old = al;
	bool cf = cpu->rflags & FL_CF, new_cf = false, af = false;

	if ((al & 0xf) > 9 || (cpu->rflags & FL_AF)) {
		new_cf = cf || (sub ? al < 6 : al > 0xf9);
		al = sub ? al - 6 : al + 6;
		af = true;
	}
	if (old > 0x99 || cf) {
		al = sub ? al - 0x60 : al + 0x60;
		new_cf = true;
	}
	cpu->gpr[HV_RAX] = (cpu->gpr[HV_RAX] & ~0xffULL) | al;
	set_arith(cpu, FL_ARITH, cc_arith_of(CC_RES, al, (af ? FL_AF : 0) | (new_cf ? FL_CF : 0)));
}

enum insn_result exec_bcd(struct cpu *cpu, const struct insn *in)
{
	uint8_t al = cpu->gpr[HV_RAX], ah = cpu->gpr[HV_RAX] >> 8;
	uint16_t ax;

	switch (in->opcode) {
	case 0x27: adjust_decimal(cpu, false); return INSN_DONE;
	case 0x2f: adjust_decimal(cpu, true); return INSN_DONE;
	case 0x37: adjust_ascii(cpu, false); return INSN_DONE;
	case 0x3f: adjust_ascii(cpu, true); return INSN_DONE;
	case 0xd4: /* AAM */
		if (in->imm == 0) {
			cpu_raise(cpu, VEC_DE);
			return INSN_FAULT;
		}
		ax = (al / in->imm) << 8 | al % in->imm;
		break;
	default: /* AAD */ ax = (uint8_t)(al + ah * in->imm); break;
	}
	cpu->gpr[HV_RAX] = (cpu->gpr[HV_RAX] & ~0xffffULL) | ax;
	set_arith(cpu, FL_ARITH, cc_arith_of(CC_RES, ax & 0xff, 0));
	return INSN_DONE;
}
