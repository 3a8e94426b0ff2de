/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: arithmetic, shifts, conditions on registers. Flags are left as the handlers leave
 * them. */
#include "soft/jit/jit_priv.h"

void jit_store_cc(struct jit *j, unsigned op)
{
	emit_prefix(&j->e, 2, 0, 0, RDI, false);
	emit8(&j->e, 0xc7);
	emit_mem(&j->e, 0, RDI, CPU_DISP(cc.op));
	emit32(&j->e, op);
	j->cc = op;
	j->guess = 0;
}

void jit_store_res(struct jit *j, unsigned s, unsigned host)
{
	if (s != 3) {
		jit_zext(j, s, RDX, host);
		host = RDX;
	}
	emit_rm(&j->e, 3, 0x89, host, RDI, CPU_DISP(cc.res));
}

static void store_src(struct jit *j, unsigned s, unsigned host)
{
	if (s != 3) {
		jit_zext(j, s, RDX, host);
		host = RDX;
	}
	emit_rm(&j->e, 3, 0x89, host, RDI, CPU_DISP(cc.src));
}

static uint64_t trunc_imm(unsigned s, uint64_t v)
{
	return s == 3 ? v : v & ((1ULL << (8 << s)) - 1);
}

static void store_src_imm(struct jit *j, unsigned s, uint64_t imm)
{
	emit_mov_imm(&j->e, RDX, trunc_imm(s, imm));
	emit_rm(&j->e, 3, 0x89, RDX, RDI, CPU_DISP(cc.src));
}

/* ---- two operands ---- */

static bool alu_kind(const struct insn *in, struct jit_alu *a)
{
	static const struct {
		uint8_t digit, kind, writes;
	} kinds[OP_TEST + 1] = {
		[OP_ADD] = { 0, CC_ADD, 1 },	[OP_OR] = { 1, CC_LOGIC, 1 },
		[OP_AND] = { 4, CC_LOGIC, 1 },	[OP_SUB] = { 5, CC_SUB, 1 },
		[OP_XOR] = { 6, CC_LOGIC, 1 },	[OP_CMP] = { 5, CC_SUB, 0 },
		[OP_TEST] = { 4, CC_LOGIC, 0 },
	};

	if (in->op > OP_TEST || !kinds[in->op].kind)
		return false;
	a->s = insn_log2_size(in->op_size);
	a->digit = kinds[in->op].digit;
	a->kind = kinds[in->op].kind;
	a->writes = kinds[in->op].writes;
	a->imm = in->form == FORM_RM_I;
	return true;
}

void jit_alu_apply(struct jit *j, const struct jit_alu *a, unsigned dst, unsigned src, uint64_t imm)
{
	if (!a->dead && a->kind != CC_LOGIC) {
		if (a->imm)
			store_src_imm(j, a->s, imm);
		else
			store_src(j, a->s, src);
	}
	if (a->imm)
		emit_alu_imm(&j->e, a->s, a->digit, dst, imm);
	else
		emit_rr(&j->e, a->s, (a->digit << 3) | (a->s == 0 ? 2 : 3), dst, src);
	j->flags_live = true;
}

static void alu_flags(struct jit *j, const struct jit_alu *a, unsigned res)
{
	if (a->dead)
		return;
	jit_store_res(j, a->s, res);
	jit_store_cc(j, a->kind | a->s);
}

/* Memory destination: read, change, write back. */
static void alu_mem(struct jit *j, const struct insn *in, const struct jit_alu *a)
{
	unsigned src = 0;

	jit_operand(j, in, a->s, a->writes);
	if (!a->imm)
		src = jit_use(j, in->reg);
	emit_rm(&j->e, a->s, a->s == 0 ? 0x8a : 0x8b, RCX, RAX, 0);
	jit_alu_apply(j, a, RCX, src, in->imm);
	if (a->writes)
		emit_rm(&j->e, a->s, a->s == 0 ? 0x88 : 0x89, RCX, RAX, 0);
	alu_flags(j, a, RCX);
}

static void alu_reg(struct jit *j, const struct insn *in, const struct jit_alu *a)
{
	bool mem = insn_is_mem(in);
	unsigned g = in->form == FORM_R_RM ? in->reg : in->rm, src = 0, dst;
	int32_t by;

	if (mem) {
		jit_operand(j, in, a->s, false);
		emit_rm(&j->e, a->s, a->s == 0 ? 0x8a : 0x8b, RCX, RAX, 0);
		src = RCX;
	} else if (!a->imm) {
		src = jit_use(j, in->form == FORM_R_RM ? in->rm : in->reg);
	}
	dst = jit_use(j, g);
	if (!a->writes) {
		emit_rr(&j->e, a->s < 2 ? 2 : a->s, 0x8b, RAX, dst);
		dst = RAX;
	}
	jit_alu_apply(j, a, dst, src, in->imm);
	if (a->writes && jit_window_moves(j, in, &by))
		jit_commit_sp(j, dst, by);
	else if (a->writes)
		jit_commit(j, g, dst);
	alu_flags(j, a, dst);
}

/* AH to BH and an immediate. */
static bool alu_high(struct jit *j, const struct insn *in, const struct jit_alu *a)
{
	unsigned g = in->rm - 4;
	int32_t at = GPR_DISP(g) + 1;

	emit_rm(&j->e, 2, 0x0fb6, RAX, RDI, at);
	jit_alu_apply(j, a, RAX, 0, in->imm);
	if (a->writes) {
		emit_rm(&j->e, 0, 0x88, RAX, RDI, at);
		jit_drop(j, g);
	}
	alu_flags(j, a, RAX);
	return true;
}

static bool alu(struct jit *j, const struct insn *in)
{
	struct jit_alu a = { .dead = j->dead[j->i] };
	bool mem = insn_is_mem(in);

	if ((in->prefixes & INSN_PFX_LOCK) || !alu_kind(in, &a))
		return false;
	if (a.imm && !mem && !jit_byte_ok(in, in->rm, in->op_size))
		return alu_high(j, in, &a);
	if ((!a.imm && !jit_byte_ok(in, in->reg, in->op_size)) ||
	    (!mem && !jit_byte_ok(in, in->rm, in->op_size)))
		return false;
	if (mem && in->form != FORM_R_RM)
		alu_mem(j, in, &a);
	else
		alu_reg(j, in, &a);
	return true;
}

/* ---- one operand, in a register ---- */

static bool unary(struct jit *j, const struct insn *in)
{
	unsigned s = insn_log2_size(in->op_size), r;
	bool dead = j->dead[j->i];

	if (insn_is_mem(in) || !jit_byte_ok(in, in->rm, in->op_size))
		return false;
	r = jit_use(j, in->rm);
	if (in->op == OP_NEG && !dead)
		store_src(j, s, r);
	switch (in->op) {
	case OP_NOT: emit_rr(&j->e, s, s == 0 ? 0xf6 : 0xf7, 2, r); break;
	default: emit_rr(&j->e, s, s == 0 ? 0xf6 : 0xf7, 3, r); break;
	}
	if (in->op == OP_NEG)
		j->flags_live = true;
	jit_commit(j, in->rm, r);
	if (in->op == OP_NEG && !dead) {
		jit_store_res(j, s, r);
		jit_store_cc(j, CC_SUB | s);
	}
	return true;
}

/* cc.src = CF and OF of the host, in RFLAGS' places; for results whose other flags come from res.
 */
static void store_carry_overflow(struct jit *j)
{
	struct emit *e = &j->e;

	emit_rr(e, 0, 0x0f92, 0, RCX); /* setc cl */
	emit_rr(e, 0, 0x0f90, 0, RDX); /* seto dl */
	jit_zext(j, 0, RCX, RCX);
	jit_zext(j, 0, RDX, RDX);
	emit_rr(e, 2, 0xc1, 4, RDX);
	emit8(e, 11);
	emit_rr(e, 2, 0x0b, RCX, RDX);
	emit_rm(e, 3, 0x89, RCX, RDI, CPU_DISP(cc.src));
	j->flags_live = false;
}

/* Shifts by CL, when nobody wants the flags: they would depend on the count. */
static bool shift_cl(struct jit *j, const struct insn *in)
{
	unsigned s = insn_log2_size(in->op_size), digit, count, r;

	switch (in->op) {
	case OP_SHL:
	case OP_SAL: digit = 4; break;
	case OP_SHR: digit = 5; break;
	case OP_SAR: digit = 7; break;
	default: return false;
	}
	if (!j->dead[j->i])
		return false;
	count = jit_use(j, HV_RCX);
	r = jit_use(j, in->rm);
	emit_rr(&j->e, 2, 0x8b, RCX, count);
	emit_rr(&j->e, s, 0xd3, digit, r);
	jit_commit(j, in->rm, r);
	j->flags_live = false;
	return true;
}

/* Rotates keep SF, ZF, PF and AF: no work after an operation that leaves AF clear. */
static bool keeps_result(const struct jit *j)
{
	return (j->cc & ~3U) == CC_LOGIC;
}

static bool shift(struct jit *j, const struct insn *in)
{
	unsigned s = insn_log2_size(in->op_size), r, digit, count;
	bool rotates = false;

	if (s < 2 || insn_is_mem(in))
		return false;
	if (in->form == FORM_RM_CL)
		return shift_cl(j, in);
	count = (in->form == FORM_RM_I ? in->imm : 1) & (s == 3 ? 63 : 31);
	switch (in->op) {
	case OP_SHL:
	case OP_SAL: digit = 4; break;
	case OP_SHR: digit = 5; break;
	case OP_SAR: digit = 7; break;
	case OP_ROL:
	case OP_ROR:
		rotates = true;
		if (!j->dead[j->i] && !keeps_result(j))
			return false;
		digit = in->op == OP_ROR;
		break;
	default: return false;
	}
	if (!count)
		return false;
	r = jit_use(j, in->rm);
	emit_rr(&j->e, s, 0xc1, digit, r);
	emit8(&j->e, count);
	jit_commit(j, in->rm, r);
	j->flags_live = false;
	if (j->dead[j->i])
		return true;
	store_carry_overflow(j);
	if (rotates) {
		jit_store_cc(j, CC_RES | (j->cc & 3));
		return true;
	}
	jit_store_res(j, s, r);
	jit_store_cc(j, CC_RES | s);
	return true;
}

static bool imul(struct jit *j, const struct insn *in)
{
	unsigned s = insn_log2_size(in->op_size), src, dst;

	if (s < 2 || (in->form == FORM_R_RM_I && insn_is_mem(in)))
		return false;
	if (insn_is_mem(in)) {
		jit_operand(j, in, s, false);
		emit_rm(&j->e, s, 0x8b, RAX, RAX, 0);
		src = RAX;
	} else {
		src = jit_use(j, in->rm);
	}
	if (in->form == FORM_R_RM_I) {
		dst = jit_def(j, in->reg);
		emit_prefix(&j->e, s, dst, 0, src, false);
		emit8(&j->e, 0x69);
		emit8(&j->e, 0xc0 | (dst & 7) << 3 | (src & 7));
		emit32(&j->e, in->imm);
	} else {
		dst = jit_use(j, in->reg);
		emit_rr(&j->e, s, 0x0faf, dst, src);
	}
	jit_commit(j, in->reg, dst);
	j->flags_live = false;
	if (j->dead[j->i])
		return true;
	store_carry_overflow(j);
	jit_store_res(j, s, dst);
	jit_store_cc(j, CC_RES | s);
	return true;
}

/* One-operand multiplication by a register: rDX:rAX. */
static bool mul(struct jit *j, const struct insn *in)
{
	unsigned s = insn_log2_size(in->op_size), src, lo, hi;

	if (s < 2 || insn_is_mem(in))
		return false;
	src = jit_use(j, in->rm);
	lo = jit_use(j, HV_RAX);
	emit_rr(&j->e, s, 0x8b, RAX, lo);
	emit_rr(&j->e, s, 0xf7, in->op == OP_MUL ? 4 : 5, src);
	hi = jit_def(j, HV_RDX);
	emit_rr(&j->e, 3, 0x8b, hi, RDX);
	jit_commit(j, HV_RDX, hi);
	lo = jit_def(j, HV_RAX);
	emit_rr(&j->e, 3, 0x8b, lo, RAX);
	jit_commit(j, HV_RAX, lo);
	store_carry_overflow(j);
	jit_store_res(j, s, lo);
	jit_store_cc(j, CC_RES | s);
	return true;
}

/* ---- conditions ---- */

/* Conditions that ask for ZF, SF or PF only. */
static bool of_result(unsigned cond)
{
	return cond == 4 || cond == 5 || (cond >= 8 && cond <= 11);
}

/*
 * Flags from another block mostly come as they came when this one became hot. Where they do not,
 * the handler runs.
 */
void jit_check_guess(struct jit *j)
{
	if (j->cc != CC_EXPLICIT || j->guess == CC_EXPLICIT)
		return;
	emit8(&j->e, 0x81); /* cmp dword [rdi + cc.op], guess */
	emit_mem(&j->e, 7, RDI, CPU_DISP(cc.op));
	emit32(&j->e, j->guess);
	jit_exit_to(j, COND_NE, JIT_HANDLER);
	j->cc = j->guess;
	j->guess = CC_EXPLICIT;
}

static bool can_redo(unsigned cc, unsigned cond)
{
	unsigned kind = cc & ~3U;

	return kind == CC_SUB || kind == CC_ADD || kind == CC_LOGIC ||
	       (kind == CC_RES && of_result(cond));
}

/* Where memory checks have come between: do the last operation over again from what is kept of it.
 */
bool jit_flags(struct jit *j, unsigned cond)
{
	struct emit *e = &j->e;
	unsigned s, kind;

	if (j->flags_live)
		return true;
	if (!can_redo(j->cc ? j->cc : j->guess, cond))
		return false;
	jit_check_guess(j);
	s = j->cc & 3;
	kind = j->cc & ~3U;
	emit_rm(e, 3, 0x8b, RAX, RDI, CPU_DISP(cc.res));
	if (kind == CC_SUB) {
		emit_rm(e, 3, 0x03, RAX, RDI, CPU_DISP(cc.src));
		emit_rm(e, s, s == 0 ? 0x3a : 0x3b, RAX, RDI, CPU_DISP(cc.src));
	} else if (kind == CC_ADD) {
		emit_rm(e, 3, 0x2b, RAX, RDI, CPU_DISP(cc.src));
		emit_rm(e, s, s == 0 ? 0x02 : 0x03, RAX, RDI, CPU_DISP(cc.src));
	} else {
		emit_rr(e, s, s == 0 ? 0x84 : 0x85, RAX, RAX);
	}
	/* After CC_RES the carry and overflow are not the guest's: good for this condition only. */
	j->flags_live = kind != CC_RES;
	return true;
}

static bool cmov(struct jit *j, const struct insn *in)
{
	unsigned s = insn_log2_size(in->op_size), src, dst;

	if (s < 2 || insn_is_mem(in) || !jit_flags(j, in->opcode & 15))
		return false;
	src = jit_use(j, in->rm);
	dst = jit_use(j, in->reg);
	emit_rr(&j->e, s, 0x0f40 | (in->opcode & 15), dst, src);
	jit_commit(j, in->reg, dst);
	return true;
}

static bool setcc(struct jit *j, const struct insn *in)
{
	unsigned r;

	if (insn_is_mem(in) || !jit_byte_ok(in, in->rm, 1) || !jit_flags(j, in->opcode & 15))
		return false;
	r = jit_use(j, in->rm);
	emit_rr(&j->e, 0, 0x0f90 | (in->opcode & 15), 0, r);
	jit_commit(j, in->rm, r);
	return true;
}

bool jit_arith(struct jit *j, const struct insn *in)
{
	switch (in->op) {
	case OP_INC:
	case OP_DEC: return !(in->prefixes & INSN_PFX_LOCK) && jit_incdec(j, in);
	case OP_NOT:
	case OP_NEG: return !(in->prefixes & INSN_PFX_LOCK) && unary(j, in);
	case OP_ADC:
	case OP_SBB: return jit_with_carry(j, in);
	case OP_MUL:
	case OP_IMUL1: return mul(j, in);
	case OP_ROL:
	case OP_ROR:
	case OP_SHL:
	case OP_SHR:
	case OP_SAL:
	case OP_SAR: return shift(j, in);
	case OP_IMUL: return imul(j, in);
	case OP_CMOV: return cmov(j, in);
	case OP_SETCC: return setcc(j, in);
	default: return alu(j, in);
	}
}
