/* SPDX-License-Identifier: Apache-2.0 */
/* Memory operands: addresses, the TLB check, jumps to cold code. */
#include "soft/jit/jit_priv.h"

void jit_exit_to(struct jit *j, int cond, enum jit_exit_kind kind)
{
	uint32_t at = emit_jump(&j->e, cond);

	if (j->n_exits == JIT_MAX_EXITS) {
		j->e.overflow = true;
		return;
	}
	j->exits[j->n_exits++] = (struct jit_exit){ at, kind, j->in_cold, j->at, j->page };
}

void jit_tlb_check(struct jit *j, unsigned bytes, bool writes)
{
	struct emit *e = &j->e;
	int32_t tag =
		writes ? offsetof(struct tlb_entry, tag_w) : offsetof(struct tlb_entry, tag_r);

	emit_rr(e, 3, 0x8b, RDX, RAX);
	emit_rr(e, 2, 0xc1, 5, RDX); /* shr edx, 7: bits 12 to 21 come to 5 to 14 */
	emit8(e, GMEM_PAGE_SHIFT - 5);
	emit_alu_imm(e, 2, 4, RDX, (TLB_ENTRIES - 1) << 5);
	emit_rm(e, 3, 0x03, RDX, RDI, CPU_DISP(tlb));
	emit_rr(e, 3, 0x8b, RCX, RAX);
	emit_rm(e, 3, 0x2b, RCX, RDX, tag);
	emit_alu_imm(e, 3, 7, RCX, GMEM_PAGE_SIZE - bytes);
	jit_exit_to(j, COND_A, JIT_SLOW);
	j->flags_live = false;
}

void jit_address(struct jit *j, unsigned bytes, bool writes)
{
	jit_tlb_check(j, bytes, writes);
	emit_rm(&j->e, 3, 0x03, RAX, RDX, offsetof(struct tlb_entry, addend));
}

_Static_assert(sizeof(struct tlb_entry) == 32, "shifts above");

/* RIP-relative operands count from the page: blocks do not know their address. */
static int64_t displacement(const struct jit *j, const struct insn *in)
{
	const struct op *op = j->op[j->i];

	return in->disp + (in->base == INSN_REG_RIP ? op->off + op->len : 0);
}

bool jit_ea_ok(const struct jit *j, const struct insn *in)
{
	return displacement(j, in) == (int32_t)displacement(j, in) &&
	       !(in->addr_size == 4 && in->base == INSN_REG_RIP);
}

void jit_ea(struct jit *j, const struct insn *in)
{
	struct emit *e = &j->e;
	int32_t disp = displacement(j, in);
	bool has_index = in->index != INSN_REG_NONE;

	if (in->base == INSN_REG_NONE && !has_index) {
		emit_mov_imm(e, RAX, (int64_t)disp);
	} else if (!has_index) {
		unsigned base = jit_use(j, in->base);

		emit_rm(e, 3, 0x8d, RAX, base, disp);
	} else if (in->base == INSN_REG_NONE) {
		unsigned index = jit_use(j, in->index);

		emit_rr(e, 3, 0x8b, RAX, index);
		if (in->scale) {
			emit_rr(e, 3, 0xc1, 4, RAX);
			emit8(e, in->scale);
		}
		if (disp)
			emit_rm(e, 3, 0x8d, RAX, RAX, disp);
	} else {
		unsigned base = jit_use(j, in->base), index = jit_use(j, in->index);

		emit_lea(e, RAX, base, index, in->scale, disp);
	}
	if (in->addr_size == 4)
		emit_rr(e, 2, 0x8b, RAX, RAX);
	if (in->seg >= HV_FS)
		emit_rm(e, 3, 0x03, RAX, RDI, CPU_DISP(seg_base) + 8 * in->seg);
	if (in->seg >= HV_FS || in->scale)
		j->flags_live = false;
}

void jit_operand(struct jit *j, const struct insn *in, unsigned s, bool writes)
{
	if (jit_window_operand(j, in, 1U << s, writes))
		return;
	jit_ea(j, in);
	jit_address(j, 1U << s, writes);
}
