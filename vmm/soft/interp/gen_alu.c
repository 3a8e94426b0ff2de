/* SPDX-License-Identifier: Apache-2.0 */
/* General implementations: arithmetic and logic, shifts, multiplication, division. */
#include "soft/exec.h"

#include "soft/decode.h"
#include "soft/flags.h"
#include "soft/interp/operand.h"
#include "soft/interp/shift.h"

/* Result of a two-operand operation and the flags it sets. */
static uint64_t alu_value(unsigned op, unsigned size, uint64_t a, uint64_t b, unsigned cf,
			  uint32_t *fl)
{
	uint64_t mask = size_mask(size), r;
	unsigned cc;

	switch (op) {
	case OP_ADD:
		r = (a + b) & mask;
		cc = CC_ADD;
		break;
	case OP_ADC:
		r = (a + b + cf) & mask;
		cc = cf ? CC_ADC : CC_ADD;
		break;
	case OP_SUB:
	case OP_CMP:
		r = (a - b) & mask;
		cc = CC_SUB;
		break;
	case OP_SBB:
		r = (a - b - cf) & mask;
		cc = cf ? CC_SBB : CC_SUB;
		break;
	case OP_OR:
		r = a | b;
		cc = CC_LOGIC;
		break;
	case OP_XOR:
		r = a ^ b;
		cc = CC_LOGIC;
		break;
	default:
		r = a & b;
		cc = CC_LOGIC;
		break;
	}
	*fl = cc_arith_of(cc | insn_log2_size(size), r, b);
	return r;
}

/* The operand that is not rm. */
static uint64_t other_operand(const struct cpu *cpu, const struct insn *in)
{
	if (in->form == FORM_RM_I)
		return in->imm & size_mask(in->op_size);
	return reg_read(cpu, in, in->reg, in->op_size);
}

static enum insn_result alu_to_reg(struct cpu *cpu, const struct insn *in)
{
	uint64_t a = reg_read(cpu, in, in->reg, in->op_size), b, r;
	uint32_t fl;

	if (!rm_read(cpu, in, in->op_size, &b))
		return INSN_FAULT;
	r = alu_value(in->op, in->op_size, a, b, cpu->rflags & FL_CF, &fl);
	if (in->op != OP_CMP)
		reg_write(cpu, in, in->reg, in->op_size, r);
	set_arith(cpu, FL_ARITH, fl);
	return INSN_DONE;
}

static enum insn_result read_only(struct cpu *cpu, const struct insn *in)
{
	uint64_t a, b = other_operand(cpu, in);
	uint32_t fl;

	if (!rm_read(cpu, in, in->op_size, &a))
		return INSN_FAULT;
	alu_value(in->op, in->op_size, a, b, 0, &fl);
	set_arith(cpu, FL_ARITH, fl);
	return INSN_DONE;
}

enum insn_result exec_alu(struct cpu *cpu, const struct insn *in)
{
	uint64_t b, r;
	enum rmw_result res;
	struct rmw m;
	uint32_t fl;

	if (in->form == FORM_R_RM)
		return alu_to_reg(cpu, in);
	if (in->op == OP_CMP)
		return read_only(cpu, in);
	b = other_operand(cpu, in);
	if (!rmw_begin(cpu, in, in->op_size, &m))
		return INSN_FAULT;
	do {
		r = alu_value(in->op, in->op_size, m.old, b, cpu->rflags & FL_CF, &fl);
		res = rmw_commit(cpu, in, &m, r);
	} while (res == RMW_RETRY);
	if (res == RMW_FAULT)
		return INSN_FAULT;
	set_arith(cpu, FL_ARITH, fl);
	return INSN_DONE;
}

enum insn_result exec_test(struct cpu *cpu, const struct insn *in)
{
	return read_only(cpu, in);
}

enum insn_result exec_incdec(struct cpu *cpu, const struct insn *in)
{
	enum rmw_result res;
	struct rmw m;
	uint32_t fl;
	uint64_t r;

	if (!rmw_begin(cpu, in, in->op_size, &m))
		return INSN_FAULT;
	do {
		r = alu_value(in->op == OP_INC ? OP_ADD : OP_SUB, in->op_size, m.old, 1, 0, &fl);
		res = rmw_commit(cpu, in, &m, r);
	} while (res == RMW_RETRY);
	if (res == RMW_FAULT)
		return INSN_FAULT;
	set_arith(cpu, FL_ARITH & ~FL_CF, fl);
	return INSN_DONE;
}

enum insn_result exec_notneg(struct cpu *cpu, const struct insn *in)
{
	uint64_t mask = size_mask(in->op_size), r;
	enum rmw_result res;
	struct rmw m;
	uint32_t fl = 0;

	if (!rmw_begin(cpu, in, in->op_size, &m))
		return INSN_FAULT;
	do {
		if (in->op == OP_NOT)
			r = ~m.old & mask;
		else
			r = alu_value(OP_SUB, in->op_size, 0, m.old, 0, &fl);
		res = rmw_commit(cpu, in, &m, r);
	} while (res == RMW_RETRY);
	if (res == RMW_FAULT)
		return INSN_FAULT;
	if (in->op == OP_NEG)
		set_arith(cpu, FL_ARITH, fl);
	return INSN_DONE;
}

enum insn_result exec_shift(struct cpu *cpu, const struct insn *in)
{
	struct shift_result r;
	unsigned count = 1;
	struct rmw m;

	if (in->form == FORM_RM_I)
		count = in->imm;
	else if (in->form == FORM_RM_CL)
		count = cpu->gpr[HV_RCX] & 0xff;
	if (!rmw_begin(cpu, in, in->op_size, &m))
		return INSN_FAULT;
	r = shift_value(in->op, in->op_size, m.old, count, cpu->rflags & FL_CF);
	if (rmw_commit(cpu, in, &m, r.res) == RMW_FAULT)
		return INSN_FAULT;
	set_arith(cpu, r.mask, r.fl);
	return INSN_DONE;
}

enum insn_result exec_shd(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size, bits = size * 8;
	unsigned c = in->form == FORM_RM_R_I ? in->imm : cpu->gpr[HV_RCX];
	uint64_t mask = size_mask(size), src = reg_read(cpu, in, in->reg, size), r;
	bool carry, of;
	struct rmw m;

	c &= size == 8 ? 63 : 31;
	if (!rmw_begin(cpu, in, size, &m))
		return INSN_FAULT;
	if (c == 0)
		return rmw_commit(cpu, in, &m, m.old) == RMW_FAULT ? INSN_FAULT : INSN_DONE;
	if (c > bits) /* 16-bit only: undefined; act as if the operands went round */
		c -= bits;
	if (in->op == OP_SHLD) {
		r = c == bits ? src : ((m.old << c) | (src >> (bits - c))) & mask;
		carry = m.old >> (bits - c) & 1;
	} else {
		r = c == bits ? src : ((m.old >> c) | (src << (bits - c))) & mask;
		carry = m.old >> (c - 1) & 1;
	}
	of = (r ^ m.old) >> (bits - 1) & 1;
	if (rmw_commit(cpu, in, &m, r) == RMW_FAULT)
		return INSN_FAULT;
	set_arith(cpu, FL_ARITH,
		  cc_arith_of(CC_RES | insn_log2_size(size), r, (carry ? FL_CF : 0) | (of ? FL_OF : 0)));
	return INSN_DONE;
}

/* Flags of all multiplications: CF and OF say that the upper half matters, the rest follows the low
 * half. */
static void mul_flags(struct cpu *cpu, unsigned size, uint64_t lo, bool over)
{
	set_arith(cpu, FL_ARITH,
		  cc_arith_of(CC_RES | insn_log2_size(size), lo & size_mask(size),
			      over ? FL_CF | FL_OF : 0));
}

enum insn_result exec_mul(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size, bits = size * 8;
	bool is_signed = in->op == OP_IMUL1, over;
	uint64_t a = cpu->gpr[HV_RAX] & size_mask(size), b, lo, hi;
	unsigned __int128 p;

	if (!rm_read(cpu, in, size, &b))
		return INSN_FAULT;
	if (is_signed)
		p = (__int128)sign_extend(a, size) * sign_extend(b, size);
	else
		p = (unsigned __int128)a * b;
	lo = (uint64_t)p & size_mask(size);
	hi = (uint64_t)(p >> bits) & size_mask(size);
	over = is_signed ? hi != ((uint64_t)(sign_extend(lo, size) >> 63) & size_mask(size))
			 : hi != 0;
	if (size == 1) {
		cpu->gpr[HV_RAX] = (cpu->gpr[HV_RAX] & ~0xffffULL) | hi << 8 | lo;
	} else {
		reg_write(cpu, in, HV_RAX, size, lo);
		reg_write(cpu, in, HV_RDX, size, hi);
	}
	mul_flags(cpu, size, lo, over);
	return INSN_DONE;
}

enum insn_result exec_imul(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size;
	int64_t a, lo;
	uint64_t b;
	__int128 p;

	if (!rm_read(cpu, in, size, &b))
		return INSN_FAULT;
	a = in->form == FORM_R_RM_I ? (int64_t)in->imm
				    : sign_extend(reg_read(cpu, in, in->reg, size), size);
	p = (__int128)a * sign_extend(b, size);
	lo = sign_extend((uint64_t)p, size);
	reg_write(cpu, in, in->reg, size, lo);
	mul_flags(cpu, size, lo, p != lo);
	return INSN_DONE;
}

static bool div_unsigned(unsigned __int128 n, uint64_t d, unsigned bits, uint64_t *q, uint64_t *r)
{
	unsigned __int128 quo;

	if (d == 0)
		return false;
	quo = n / d;
	if (quo >> bits)
		return false;
	*q = quo;
	*r = n % d;
	return true;
}

static bool div_signed(__int128 n, int64_t d, unsigned bits, uint64_t *q, uint64_t *r)
{
	unsigned __int128 un = n < 0 ? -(unsigned __int128)n : (unsigned __int128)n;
	uint64_t ud = d < 0 ? -(uint64_t)d : (uint64_t)d;
	unsigned __int128 quo, limit;
	bool neg = (n < 0) != (d < 0);

	if (d == 0)
		return false;
	quo = un / ud;
	limit = ((unsigned __int128)1 << (bits - 1)) - !neg;
	if (quo > limit)
		return false;
	*q = neg ? -(uint64_t)quo : (uint64_t)quo;
	*r = n < 0 ? -(uint64_t)(un % ud) : (uint64_t)(un % ud);
	return true;
}

enum insn_result exec_div(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->op_size, bits = size * 8;
	uint64_t d, q, r, hi, lo;
	unsigned __int128 n;
	bool ok;

	if (!rm_read(cpu, in, size, &d))
		return INSN_FAULT;
	if (size == 1) {
		n = cpu->gpr[HV_RAX] & 0xffff;
	} else {
		lo = cpu->gpr[HV_RAX] & size_mask(size);
		hi = cpu->gpr[HV_RDX] & size_mask(size);
		n = (unsigned __int128)hi << bits | lo;
	}
	if (in->op == OP_DIV) {
		ok = div_unsigned(n, d, bits, &q, &r);
	} else {
		unsigned sh = 128 - 2 * bits;

		ok = div_signed((__int128)(n << sh) >> sh, sign_extend(d, size), bits, &q, &r);
	}
	if (!ok) {
		cpu_raise(cpu, VEC_DE);
		return INSN_FAULT;
	}
	if (size == 1) {
		cpu->gpr[HV_RAX] = (cpu->gpr[HV_RAX] & ~0xffffULL) | (r & 0xff) << 8 | (q & 0xff);
	} else {
		reg_write(cpu, in, HV_RAX, size, q);
		reg_write(cpu, in, HV_RDX, size, r);
	}
	return INSN_DONE;
}

enum insn_result exec_cbw(struct cpu *cpu, const struct insn *in)
{
	uint64_t v = sign_extend(cpu->gpr[HV_RAX] & size_mask(in->op_size / 2), in->op_size / 2);

	reg_write(cpu, in, HV_RAX, in->op_size, v);
	return INSN_DONE;
}

enum insn_result exec_cwd(struct cpu *cpu, const struct insn *in)
{
	int64_t v = sign_extend(cpu->gpr[HV_RAX] & size_mask(in->op_size), in->op_size);

	reg_write(cpu, in, HV_RDX, in->op_size, v >> 63);
	return INSN_DONE;
}

enum insn_result exec_adx(struct cpu *cpu, const struct insn *in)
{
	uint32_t bit = in->prefixes & INSN_PFX_F3 ? FL_OF : FL_CF;
	unsigned size = in->rex & 8 ? 8 : 4;
	uint64_t a = reg_read(cpu, in, in->reg, size), b;
	unsigned __int128 sum;

	if (!rm_read(cpu, in, size, &b))
		return INSN_FAULT;
	sum = (unsigned __int128)a + b + (cpu->rflags & bit ? 1 : 0);
	reg_write(cpu, in, in->reg, size, sum);
	set_arith(cpu, bit, sum >> (size * 8) ? bit : 0);
	return INSN_DONE;
}
