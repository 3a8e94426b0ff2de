/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: SSE moves and the integer operations on XMM registers, and
 * floating point as long as MXCSR's control bits are the usual ones. */
#include "soft/jit/jit_priv.h"
#include "soft/stub.h"

#define FX_XMM_OFFSET 160
#define XMM_DISP(r)   (CPU_DISP(fx) + FX_XMM_OFFSET + 16 * (int32_t)(r))

enum { X0, X1 }; /* host registers */

/* Instruction with XMM register @x and [base + disp]; prefix 0, 0x66, 0xf2 or 0xf3. Bases have no
 * REX. */
static void sse_rm(struct jit *j, unsigned prefix, unsigned opcode, unsigned x, unsigned base,
		   int32_t disp)
{
	if (prefix)
		emit8(&j->e, prefix);
	emit8(&j->e, 0x0f);
	emit8(&j->e, opcode);
	emit_mem(&j->e, x, base, disp);
}

static void load16(struct jit *j, unsigned x, unsigned base, int32_t disp)
{
	sse_rm(j, 0, 0x10, x, base, disp);
}

static void store16(struct jit *j, unsigned x, unsigned base, int32_t disp)
{
	sse_rm(j, 0, 0x11, x, base, disp);
}

/* SSE may be switched off: the general way raises what is due. Once in a run of templates is
 * enough. */
static void gate(struct jit *j)
{
	struct emit *e = &j->e;

	if (j->sse_checked)
		return;
	emit8(e, 0xf7); /* test dword [rdi + cr0], EM | TS */
	emit_mem(e, 0, RDI, CPU_DISP(cr0));
	emit32(e, CR0_EM | CR0_TS);
	jit_exit_to(j, COND_NE, JIT_SLOW);
	emit8(e, 0xf7);
	emit_mem(e, 0, RDI, CPU_DISP(cr4));
	emit32(e, CR4_OSFXSR);
	jit_exit_to(j, COND_E, JIT_SLOW);
	j->sse_checked = true;
	j->flags_live = false;
}

/* The address in RAX, host's or guest's, has to be aligned. */
static void check_alignment(struct jit *j, const struct insn *in)
{
	if (!(in->mem_rw & INSN_MEM_ALIGNED))
		return;
	emit8(&j->e, 0xa8); /* test al, size - 1 */
	emit8(&j->e, in->mem_size - 1);
	jit_exit_to(j, COND_NE, JIT_SLOW);
	j->flags_live = false;
}

/* RAX = host address of the memory operand. */
static void operand(struct jit *j, const struct insn *in, bool writes)
{
	if (jit_window_operand(j, in, in->mem_size, writes)) {
		check_alignment(j, in);
		return;
	}
	jit_ea(j, in);
	check_alignment(j, in);
	jit_address(j, in->mem_size, writes);
}

/* 16 bytes between registers, or from or to memory. */
static void move16(struct jit *j, const struct insn *in, bool store)
{
	unsigned from = store ? in->reg : in->rm, to = store ? in->rm : in->reg;

	gate(j);
	if (insn_is_mem(in)) {
		operand(j, in, store);
		load16(j, X0, store ? RDI : RAX, store ? XMM_DISP(in->reg) : 0);
		store16(j, X0, store ? RAX : RDI, store ? 0 : XMM_DISP(in->reg));
		return;
	}
	load16(j, X0, RDI, XMM_DISP(from));
	store16(j, X0, RDI, XMM_DISP(to));
}

/* The low 2^@s bytes; a load from memory (or @zero) clears the rest of the register. */
static void move_low(struct jit *j, const struct insn *in, unsigned s, bool store, bool zero)
{
	unsigned from = store ? in->reg : in->rm, to = store ? in->rm : in->reg;

	gate(j);
	if (insn_is_mem(in)) {
		operand(j, in, store);
		if (store) {
			emit_rm(&j->e, s, 0x8b, RCX, RDI, XMM_DISP(from));
			emit_rm(&j->e, s, 0x89, RCX, RAX, 0);
			return;
		}
		emit_rm(&j->e, s, 0x8b, RCX, RAX, 0);
		zero = true;
	} else {
		emit_rm(&j->e, s, 0x8b, RCX, RDI, XMM_DISP(from));
	}
	emit_rm(&j->e, zero ? 3 : s, 0x89, RCX, RDI, XMM_DISP(to));
	if (zero) {
		emit_mov_imm(&j->e, RCX, 0);
		emit_rm(&j->e, 3, 0x89, RCX, RDI, XMM_DISP(to) + 8);
	}
}

/* MOVD and MOVQ between general registers or memory and the low part. */
static void move_general(struct jit *j, const struct insn *in, bool to_xmm)
{
	unsigned s = in->rex & 8 ? 3 : 2, r;

	gate(j);
	if (insn_is_mem(in)) {
		operand(j, in, !to_xmm);
		if (to_xmm) {
			emit_rm(&j->e, s, 0x8b, RCX, RAX, 0);
		} else {
			emit_rm(&j->e, s, 0x8b, RCX, RDI, XMM_DISP(in->reg));
			emit_rm(&j->e, s, 0x89, RCX, RAX, 0);
			return;
		}
	} else if (to_xmm) {
		r = jit_use(j, in->rm);
		emit_rr(&j->e, s, 0x8b, RCX, r);
	} else {
		r = jit_def(j, in->rm);
		emit_rm(&j->e, s, 0x8b, r, RDI, XMM_DISP(in->reg));
		jit_commit(j, in->rm, r);
		return;
	}
	emit_rm(&j->e, 3, 0x89, RCX, RDI, XMM_DISP(in->reg));
	emit_mov_imm(&j->e, RCX, 0);
	emit_rm(&j->e, 3, 0x89, RCX, RDI, XMM_DISP(in->reg) + 8);
}

/* dst = dst OP src, with or without an immediate. */
static void operate(struct jit *j, const struct insn *in, unsigned prefix, bool imm)
{
	gate(j);
	if (insn_is_mem(in)) {
		operand(j, in, false);
		load16(j, X1, RAX, 0);
	} else {
		load16(j, X1, RDI, XMM_DISP(in->rm));
	}
	load16(j, X0, RDI, XMM_DISP(in->reg));
	if (prefix)
		emit8(&j->e, prefix);
	emit8(&j->e, 0x0f);
	emit8(&j->e, in->opcode);
	emit8(&j->e, 0xc0 | X0 << 3 | X1);
	if (imm)
		emit8(&j->e, in->imm);
	store16(j, X0, RDI, XMM_DISP(in->reg));
}

/* MXCSR with anything but its usual control bits: the general way switches it. See mxcsr_sync(). */
static void mxcsr_gate(struct jit *j)
{
	struct emit *e = &j->e;

	if (j->mxcsr_checked)
		return;
	emit_rm(e, 2, 0x8b, RCX, RDI, CPU_DISP(fx) + FX_MXCSR);
	emit8(e, 0x81); /* and ecx, ~flags */
	emit8(e, 0xe0 | RCX);
	emit32(e, ~MXCSR_FLAGS & MXCSR_VALID);
	emit8(e, 0x81); /* cmp ecx, the usual */
	emit8(e, 0xf8 | RCX);
	emit32(e, MXCSR_MASKS);
	jit_exit_to(j, COND_NE, JIT_SLOW);
	j->mxcsr_checked = true;
	j->flags_live = false;
}

/* Floating point, dst = dst OP src, single or packed; exceptions gather in the host's MXCSR. */
static void operate_fp(struct jit *j, const struct insn *in, unsigned prefix)
{
	gate(j);
	mxcsr_gate(j);
	if (insn_is_mem(in)) {
		operand(j, in, false);
		sse_rm(j,
		       in->mem_size == 4   ? 0xf3
		       : in->mem_size == 8 ? 0xf2
					   : 0,
		       0x10, X1, RAX, 0);
	} else {
		load16(j, X1, RDI, XMM_DISP(in->rm));
	}
	load16(j, X0, RDI, XMM_DISP(in->reg));
	if (prefix)
		emit8(&j->e, prefix);
	emit8(&j->e, 0x0f);
	emit8(&j->e, in->opcode);
	emit8(&j->e, 0xc0 | X0 << 3 | X1);
	store16(j, X0, RDI, XMM_DISP(in->reg));
}

/* SQRT ADD MUL conversions SUB MIN DIV MAX */
static bool is_fp_op(uint8_t op)
{
	return op == 0x51 || (op >= 0x58 && op <= 0x5f && op != 0x5b);
}

static void movmsk(struct jit *j, const struct insn *in)
{
	unsigned r;

	gate(j);
	load16(j, X0, RDI, XMM_DISP(in->rm));
	r = jit_def(j, in->reg);
	emit8(&j->e, 0x66);
	emit_prefix(&j->e, 2, r, 0, X0, false);
	emit_opcode(&j->e, 0x0fd7);
	emit8(&j->e, 0xc0 | (r & 7) << 3 | X0);
	jit_commit(j, in->reg, r);
}

/* 66 0F xx with two XMM operands, no immediate, integers or bits only. */
static bool is_integer_op(uint8_t op)
{
	return (op >= 0x60 && op <= 0x6d) || (op >= 0x74 && op <= 0x76) ||
	       (op >= 0xd1 && op <= 0xd5) || (op >= 0xd8 && op <= 0xe5) ||
	       (op >= 0xe8 && op <= 0xef) || (op >= 0xf1 && op <= 0xf6) ||
	       (op >= 0xf8 && op <= 0xfe);
}

static bool move_template(struct jit *j, const struct insn *in, unsigned prefix)
{
	switch (prefix << 8 | in->opcode) {
	case 0x0010:
	case 0x6610:
	case 0x0028:
	case 0x6628:
	case 0x666f:
	case 0xf36f: move16(j, in, false); return true;
	case 0x0011:
	case 0x6611:
	case 0x0029:
	case 0x6629:
	case 0x667f:
	case 0xf37f: move16(j, in, true); return true;
	case 0xf210: move_low(j, in, 3, false, false); return true;
	case 0xf310: move_low(j, in, 2, false, false); return true;
	case 0xf211: move_low(j, in, 3, true, false); return true;
	case 0xf311: move_low(j, in, 2, true, false); return true;
	case 0xf37e: move_low(j, in, 3, false, true); return true;
	case 0x66d6: move_low(j, in, 3, true, true); return true;
	case 0x666e: move_general(j, in, true); return true;
	case 0x667e: move_general(j, in, false); return true;
	default: return false;
	}
}

bool jit_simd(struct jit *j, const struct insn *in)
{
	unsigned prefix = insn_mandatory_prefix(in);

	if (in->map != INSN_MAP_0F || in->reg_class == INSN_CLASS_MMX ||
	    in->rm_class == INSN_CLASS_MMX || (in->prefixes & (INSN_PFX_LOCK | INSN_PFX_VEX)))
		return false;
	if (insn_is_mem(in) && !jit_ea_ok(j, in))
		return false;
	if (move_template(j, in, prefix))
		return true;
	if (prefix == 0x66 && in->opcode == 0xd7 && !insn_is_mem(in)) {
		movmsk(j, in);
		return true;
	}
	if (prefix == 0x66 && is_integer_op(in->opcode)) {
		operate(j, in, prefix, false);
		return true;
	}
	if ((prefix == 0 || prefix == 0x66) && in->opcode >= 0x54 && in->opcode <= 0x57) {
		operate(j, in, prefix, false);
		return true;
	}
	if (is_fp_op(in->opcode)) {
		operate_fp(j, in, prefix);
		return true;
	}
	if ((prefix == 0 || prefix == 0x66) && (in->opcode == 0x14 || in->opcode == 0x15)) {
		operate(j, in, prefix, false);
		return true;
	}
	if ((prefix == 0 || prefix == 0x66) && in->opcode == 0xc6) {
		operate(j, in, prefix, true);
		return true;
	}
	if (prefix && in->opcode == 0x70) {
		operate(j, in, prefix, true);
		return true;
	}
	return false;
}
