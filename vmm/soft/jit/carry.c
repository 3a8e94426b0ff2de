/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: arithmetic that needs the carry, ADC and SBB, or keeps it, INC and DEC. */
#include "soft/jit/jit_priv.h"

/* Whether it is known how to have the guest's carry. */
static bool carry_known(const struct jit *j)
{
	unsigned kind = (j->cc ? j->cc : j->guess) & ~3U;

	return kind == CC_SUB || kind == CC_ADD || kind == CC_LOGIC || kind == CC_RES;
}

/* Have the guest's carry in the host's, if carry_known(). Only RAX is lost. */
static void load_carry(struct jit *j)
{
	jit_check_guess(j);
	if ((j->cc & ~3U) != CC_RES || j->flags_live) {
		jit_flags(j, COND_B);
		return;
	}
	emit8(&j->e, 0x0f); /* bt dword [rdi + cc.src], 0 */
	emit8(&j->e, 0xba);
	emit_mem(&j->e, 4, RDI, CPU_DISP(cc.src));
	emit8(&j->e, 0);
}

/* cc.op = CC_ADC or CC_SBB if BL is 1, CC_ADD or CC_SUB if it is 0. Flags stay. */
static void store_cc_carry(struct jit *j, unsigned op)
{
	struct emit *e = &j->e;

	jit_zext(j, 0, RAX, RBX);
	emit_lea(e, RAX, RAX, RAX, 0, 0);
	emit_lea(e, RAX, RAX, RAX, 0, (int32_t)op);
	emit_rm(e, 2, 0x89, RAX, RDI, CPU_DISP(cc.op));
	j->cc = CC_EXPLICIT;
	j->guess = 0;
}

_Static_assert(CC_ADC == CC_ADD + 4 && CC_SBB == CC_SUB + 4, "sum above");

bool jit_with_carry(struct jit *j, const struct insn *in)
{
	struct jit_alu a = { .s = insn_log2_size(in->op_size),
			     .digit = in->op == OP_ADC ? 2 : 3,
			     .kind = in->op == OP_ADC ? CC_ADD : CC_SUB,
			     .dead = j->dead[j->i],
			     .imm = in->form == FORM_RM_I };
	unsigned g = in->form == FORM_R_RM ? in->reg : in->rm, src = 0, dst;

	if ((in->prefixes & INSN_PFX_LOCK) || a.s < 2 || insn_is_mem(in) || !carry_known(j))
		return false;
	if (!a.imm)
		src = jit_use(j, in->form == FORM_R_RM ? in->rm : in->reg);
	dst = jit_use(j, g);
	load_carry(j);
	emit_rr(&j->e, 0, 0x0f92, 0, RBX); /* setc bl */
	jit_alu_apply(j, &a, dst, src, in->imm);
	jit_commit(j, g, dst);
	if (!a.dead) {
		jit_store_res(j, a.s, dst);
		store_cc_carry(j, a.kind | a.s);
	}
	return true;
}

/* cc.src = CF, AF and OF of the host. RAX and RDX are lost. */
static void store_carry_aux_overflow(struct jit *j)
{
	struct emit *e = &j->e;

	emit_rr(e, 0, 0x0f90, 0, RDX);	  /* seto dl */
	emit8(e, 0x9f);			  /* lahf */
	emit_bytes(e, "\x0f\xb6\xc4", 3); /* movzx eax, ah */
	emit_alu_imm(e, 2, 4, RAX, FL_CF | FL_AF);
	jit_zext(j, 0, RDX, RDX);
	emit_rr(e, 2, 0xc1, 4, RDX);
	emit8(e, 11);
	emit_rr(e, 2, 0x0b, RAX, RDX);
	emit_rm(e, 3, 0x89, RAX, RDI, CPU_DISP(cc.src));
	j->flags_live = false;
}

bool jit_incdec(struct jit *j, const struct insn *in)
{
	unsigned s = insn_log2_size(in->op_size), r = RCX, digit = in->op == OP_INC ? 0 : 1;
	bool dead = j->dead[j->i], mem = insn_is_mem(in);

	if ((!mem && !jit_byte_ok(in, in->rm, in->op_size)) || (!dead && !carry_known(j)))
		return false;
	if (mem) {
		jit_operand(j, in, s, true);
		emit_rr(&j->e, 3, 0x8b, RBX, RAX);
		emit_rm(&j->e, s, s == 0 ? 0x8a : 0x8b, RCX, RBX, 0);
	} else {
		r = jit_use(j, in->rm);
	}
	if (!dead)
		load_carry(j);
	emit_rr(&j->e, s, s == 0 ? 0xfe : 0xff, digit, r);
	j->flags_live = false;
	if (mem)
		emit_rm(&j->e, s, s == 0 ? 0x88 : 0x89, r, RBX, 0);
	else
		jit_commit(j, in->rm, r);
	if (!dead) {
		store_carry_aux_overflow(j);
		jit_store_res(j, s, r);
		jit_store_cc(j, CC_RES | s);
	}
	return true;
}
