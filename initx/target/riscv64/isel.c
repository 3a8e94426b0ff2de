/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IR to RV64IM. t0 and t1 carry values on their way to or from memory, t2 addresses. LP64; the
 * frame is addressed from sp, saved registers lie above it.
 */
#include "target/riscv64/encode.h"

#include "base/checked.h"

static void move_rr(struct codegen *g, unsigned d, unsigned s)
{
	rv_mov_rr(g->c, d, s);
}

static void move_ri(struct codegen *g, unsigned d, int64_t imm)
{
	rv_mov_ri(g->c, d, imm);
}

static unsigned reach(struct codegen *g, unsigned base, int64_t *disp)
{
	if (rv_fits12(*disp))
		return base;
	rv_mov_ri(g->c, RV_T2, *disp);
	rv_rrr(g->c, RV_ADD, RV_T2, base, RV_T2);
	*disp = 0;
	return RV_T2;
}

static void load_frame(struct codegen *g, unsigned d, uint32_t off)
{
	int64_t disp = off;
	unsigned base = reach(g, RV_SP, &disp);

	rv_load(g->c, 8, d, base, (int32_t)disp);
}

static void store_frame(struct codegen *g, uint32_t off, unsigned s)
{
	int64_t disp = off;
	unsigned base = reach(g, RV_SP, &disp);

	rv_store(g->c, 8, s, base, (int32_t)disp);
}

static void move_sp(struct codegen *g, int64_t by)
{
	if (!by)
		return;
	if (rv_fits12(by)) {
		rv_rri(g->c, RV_ADDI, RV_SP, RV_SP, (int32_t)by);
		return;
	}
	rv_mov_ri(g->c, RV_T2, by);
	rv_rrr(g->c, RV_ADD, RV_SP, RV_SP, RV_T2);
}

static uint32_t saved_mask(const struct codegen *g)
{
	return g->saved | (g->has_calls ? 1u << RV_RA : 0);
}

static int64_t saved_bytes(const struct codegen *g)
{
	return ALIGN_UP(8 * (int64_t)__builtin_popcount(saved_mask(g)), 16);
}

static void prologue(struct codegen *g)
{
	int32_t off = 0;

	move_sp(g, -saved_bytes(g));
	for (unsigned r = 0; r < 32; r++) {
		if (saved_mask(g) >> r & 1) {
			rv_store(g->c, 8, r, RV_SP, off);
			off += 8;
		}
	}
	move_sp(g, -(int64_t)g->frame);
	cg_params_in(g, RV_T0);
}

static void epilogue(struct codegen *g)
{
	int32_t off = 0;

	move_sp(g, g->frame);
	for (unsigned r = 0; r < 32; r++) {
		if (saved_mask(g) >> r & 1) {
			rv_load(g->c, 8, r, RV_SP, off);
			off += 8;
		}
	}
	move_sp(g, saved_bytes(g));
	rv_jalr(g->c, RV_ZERO, RV_RA);
}

static void shift_pair(struct codegen *g, unsigned d, unsigned s, enum rv_op back, unsigned n)
{
	rv_rri(g->c, RV_SLLI, d, s, (int32_t)n);
	rv_rri(g->c, back, d, d, (int32_t)n);
}

static void sel_unary(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RV_T0);
	unsigned s;

	if (ins->op == IR_COPY) {
		cg_done(g, ins->dst, cg_use(g, ins->a, cg_in_reg(g, ins->a) ? RV_T0 : d));
		return;
	}
	s = cg_use(g, ins->a, RV_T0);
	switch ((int)ins->op) {
	case IR_SEXT8: shift_pair(g, d, s, RV_SRAI, 56); break;
	case IR_SEXT16: shift_pair(g, d, s, RV_SRAI, 48); break;
	case IR_SEXT32: rv_rri(g->c, RV_ADDIW, d, s, 0); break;
	case IR_ZEXT8: rv_rri(g->c, RV_ANDI, d, s, 255); break;
	case IR_ZEXT16: shift_pair(g, d, s, RV_SRLI, 48); break;
	default: shift_pair(g, d, s, RV_SRLI, 32);
	}
	cg_done(g, ins->dst, d);
}

static enum rv_op op_of(enum ir_op op)
{
	switch ((int)op) {
	case IR_ADD: return RV_ADD;
	case IR_SUB: return RV_SUB;
	case IR_MUL: return RV_MUL;
	case IR_DIV: return RV_DIV;
	case IR_UDIV: return RV_DIVU;
	case IR_REM: return RV_REM;
	case IR_UREM: return RV_REMU;
	case IR_SHL: return RV_SLL;
	case IR_SHR: return RV_SRL;
	case IR_SAR: return RV_SRA;
	case IR_AND: return RV_AND;
	case IR_OR: return RV_OR;
	default: return RV_XOR;
	}
}

static bool binary_imm(struct codegen *g, struct ir_ins *ins, unsigned d, unsigned a)
{
	int64_t imm = ins->b.imm;
	enum rv_op op;

	switch ((int)ins->op) {
	case IR_SUB:
		if (!rv_fits12(imm) || imm == -2048)
			return false;
		imm = -imm;
		op = RV_ADDI;
		break;
	case IR_ADD: op = RV_ADDI; break;
	case IR_AND: op = RV_ANDI; break;
	case IR_OR: op = RV_ORI; break;
	case IR_XOR: op = RV_XORI; break;
	case IR_SHL: op = RV_SLLI; break;
	case IR_SHR: op = RV_SRLI; break;
	case IR_SAR: op = RV_SRAI; break;
	default: return false;
	}
	if (op == RV_SLLI || op == RV_SRLI || op == RV_SRAI ? (uint64_t)imm > 63 : !rv_fits12(imm))
		return false;
	rv_rri(g->c, op, d, a, (int32_t)imm);
	return true;
}

/* Counts of 64 and more: 0, or the sign. */
static void shift_var(struct codegen *g, struct ir_ins *ins, unsigned d, unsigned a, unsigned b)
{
	struct code *c = g->c;

	if (ins->op == IR_SAR) {
		rv_rri(c, RV_SLTIU, RV_T2, b, 64);
		rv_rri(c, RV_ADDI, RV_T2, RV_T2, -1);
		rv_rrr(c, RV_OR, RV_T2, RV_T2, b);
		rv_rrr(c, RV_SRA, d, a, RV_T2);
		return;
	}
	rv_rrr(c, op_of(ins->op), RV_T2, a, b);
	rv_rri(c, RV_SLTIU, RV_T1, b, 64);
	rv_rrr(c, RV_SUB, RV_T1, RV_ZERO, RV_T1);
	rv_rrr(c, RV_AND, d, RV_T2, RV_T1);
}

/* The hardware's quotient by zero is -1; IR's is 0. */
static void divide(struct codegen *g, struct ir_ins *ins, unsigned d, unsigned a, unsigned b)
{
	struct code *c = g->c;

	if (ins->b.kind == IRV_IMM && ins->b.imm) {
		rv_rrr(c, op_of(ins->op), d, a, b);
		return;
	}
	rv_rrr(c, op_of(ins->op), RV_T2, a, b);
	rv_rrr(c, RV_SLTU, RV_T1, RV_ZERO, b);
	rv_rrr(c, RV_SUB, RV_T1, RV_ZERO, RV_T1);
	rv_rrr(c, RV_AND, d, RV_T2, RV_T1);
}

static void sel_binary(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RV_T0);
	unsigned a = cg_use(g, ins->a, RV_T0), b;

	if (ins->b.kind == IRV_IMM && binary_imm(g, ins, d, a)) {
		cg_done(g, ins->dst, d);
		return;
	}
	b = cg_use(g, ins->b, RV_T1);
	switch ((int)ins->op) {
	case IR_SHL:
	case IR_SHR:
	case IR_SAR: shift_var(g, ins, d, a, b); break;
	case IR_DIV:
	case IR_UDIV: divide(g, ins, d, a, b); break;
	default: rv_rrr(g->c, op_of(ins->op), d, a, b);
	}
	cg_done(g, ins->dst, d);
}

/* An operand of a comparison; zero is a register. */
static unsigned operand(struct codegen *g, struct ir_val v, unsigned scratch)
{
	return v.kind == IRV_IMM && !v.imm ? RV_ZERO : cg_use(g, v, scratch);
}

static void sel_set(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RV_T0);
	unsigned a = operand(g, ins->a, RV_T0), b = operand(g, ins->b, RV_T1), t;
	enum ir_cc cc = (enum ir_cc)ins->cc;

	if (cc == IR_EQ || cc == IR_NE) {
		rv_rrr(g->c, RV_XOR, d, a, b);
		if (cc == IR_EQ)
			rv_rri(g->c, RV_SLTIU, d, d, 1);
		else
			rv_rrr(g->c, RV_SLTU, d, RV_ZERO, d);
		cg_done(g, ins->dst, d);
		return;
	}
	if (cc == IR_SLE || cc == IR_SGT || cc == IR_ULE || cc == IR_UGT) {
		t = a;
		a = b;
		b = t;
		cc = ir_cc_swap(cc);
	}
	rv_rrr(g->c, cc >= IR_ULT ? RV_SLTU : RV_SLT, d, a, b);
	if (cc == IR_SGE || cc == IR_UGE)
		rv_rri(g->c, RV_XORI, d, d, 1);
	cg_done(g, ins->dst, d);
}

static unsigned address(struct codegen *g, struct ir_ins *ins, int64_t *ret_disp)
{
	unsigned base = RV_SP;

	*ret_disp = ins->disp;
	if (ins->a.kind == IRV_SLOT)
		*ret_disp = cg_slot_off(g, ins->a.reg, ins->disp);
	else
		base = cg_use(g, ins->a, RV_T0);
	return reach(g, base, ret_disp);
}

static void sel_load(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RV_T0);
	int64_t disp;
	unsigned base = address(g, ins, &disp);

	rv_load(g->c, ir_mem_width(ins->op), d, base, (int32_t)disp);
	cg_done(g, ins->dst, d);
}

static void sel_store(struct codegen *g, struct ir_ins *ins)
{
	unsigned v = operand(g, ins->b, RV_T1); /* first: loading it may need t2 */
	int64_t disp;
	unsigned base = address(g, ins, &disp);

	rv_store(g->c, ir_mem_width(ins->op), v, base, (int32_t)disp);
}

static void sel_slot(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RV_T0);
	int64_t off = cg_slot_off(g, ins->a.reg, ins->disp);

	if (rv_fits12(off)) {
		rv_rri(g->c, RV_ADDI, d, RV_SP, (int32_t)off);
	} else {
		rv_mov_ri(g->c, d, off);
		rv_rrr(g->c, RV_ADD, d, RV_SP, d);
	}
	cg_done(g, ins->dst, d);
}

static void sel_call(struct codegen *g, struct ir_ins *ins)
{
	struct cg_move m[IR_MAX_ARGS + 1];
	unsigned n = 0;

	for (; n < ins->n_args; n++)
		m[n] = (struct cg_move){ .dst = RV_A0 + n, .src = ins->args[n] };
	if (ins->op == IR_CALLR)
		m[n++] = (struct cg_move){ .dst = RV_T1, .src = ins->a };
	else if (ins->op == IR_SYSCALL)
		m[n++] = (struct cg_move){ .dst = RV_A7, .src = ins->a };
	cg_moves_in(g, m, n, RV_T0);
	if (ins->op == IR_CALL)
		rv_call(g->c, ins->sym, g->p->syms.v[ins->sym].name);
	else if (ins->op == IR_CALLR)
		rv_jalr(g->c, RV_RA, RV_T1);
	else
		rv_ecall(g->c);
	if (ins->dst != IR_NONE)
		cg_done(g, ins->dst, RV_A0);
}

static void jump(struct codegen *g, uint32_t block)
{
	char label[32];

	if (block == g->block + 1)
		return;
	code_text(g->c, "j %s", cg_label(g, block, label));
	code_branch(g->c,
		    (struct code_branch){
			    .block = block, .cond = BRANCH_ALWAYS, .short_len = 4, .long_len = 4 });
}

static void branch(struct codegen *g, enum rv_branch op, unsigned a, unsigned b, uint32_t block)
{
	char label[32];

	code_text(g->c, "%s %s, %s, %s", rv_branch_name(op), rv_names[a], rv_names[b],
		  cg_label(g, block, label));
	code_branch(g->c, (struct code_branch){ .block = block,
						.cond = (uint8_t)op,
						.r1 = (uint8_t)a,
						.r2 = (uint8_t)b,
						.short_len = 4,
						.long_len = 8 });
}

static void sel_branch(struct codegen *g, struct ir_ins *ins)
{
	static const struct {
		uint8_t op;
		bool swap;
	} map[IR_CC_MAX_] = {
		[IR_EQ] = { RV_BEQ, false },   [IR_NE] = { RV_BNE, false },
		[IR_SLT] = { RV_BLT, false },  [IR_SGE] = { RV_BGE, false },
		[IR_SLE] = { RV_BGE, true },   [IR_SGT] = { RV_BLT, true },
		[IR_ULT] = { RV_BLTU, false }, [IR_UGE] = { RV_BGEU, false },
		[IR_ULE] = { RV_BGEU, true },  [IR_UGT] = { RV_BLTU, true },
	};
	unsigned a = operand(g, ins->a, RV_T0), b = operand(g, ins->b, RV_T1);
	bool fall = ins->t == g->block + 1;
	enum ir_cc cc = fall ? ir_cc_negate((enum ir_cc)ins->cc) : (enum ir_cc)ins->cc;

	branch(g, (enum rv_branch)map[cc].op, map[cc].swap ? b : a, map[cc].swap ? a : b,
	       fall ? ins->f : ins->t);
	if (!fall)
		jump(g, ins->f);
}

static void sel_return(struct codegen *g, struct ir_ins *ins)
{
	unsigned s = cg_use(g, ins->a, RV_A0);

	if (s != RV_A0)
		rv_mov_rr(g->c, RV_A0, s);
	epilogue(g);
}

static void select_ins(struct codegen *g, struct ir_ins *ins)
{
	unsigned d;

	switch (ir_ops[ins->op].shape) {
	case IRS_UN: sel_unary(g, ins); break;
	case IRS_BIN: sel_binary(g, ins); break;
	case IRS_CMP: sel_set(g, ins); break;
	case IRS_LD: sel_load(g, ins); break;
	case IRS_ST: sel_store(g, ins); break;
	case IRS_SLOT: sel_slot(g, ins); break;
	case IRS_SYM:
		d = cg_def(g, ins->dst, RV_T0);
		rv_lla(g->c, d, ins->sym, g->p->syms.v[ins->sym].name, ins->disp);
		cg_done(g, ins->dst, d);
		break;
	case IRS_CALL:
	case IRS_CALLR:
	case IRS_SYSC: sel_call(g, ins); break;
	case IRS_NONE: rv_fence_i(g->c); break;
	case IRS_JMP: jump(g, ins->t); break;
	case IRS_BR: sel_branch(g, ins); break;
	case IRS_RET: sel_return(g, ins); break;
	}
}

static void branch_reach(const struct code_branch *b, int64_t *lo, int64_t *hi)
{
	int64_t span = b->cond == BRANCH_ALWAYS ? 1 << 20 : 1 << 12;

	*lo = -span;
	*hi = span - 2;
}

static void branch_put(uint8_t *p, const struct code_branch *b, int64_t disp)
{
	if (b->cond == BRANCH_ALWAYS) {
		le32_store(p, rv_jal_word(RV_ZERO, disp));
	} else if (!b->is_long) {
		le32_store(p, rv_branch_word((enum rv_branch)b->cond, b->r1, b->r2, disp));
	} else {
		le32_store(p, rv_branch_word((enum rv_branch)(b->cond ^ 1), b->r1, b->r2, 8));
		le32_store(p + 4, rv_jal_word(RV_ZERO, disp - 4));
	}
}

static bool patch(uint8_t *p, enum fix_kind kind, uint64_t pc, uint64_t to)
{
	int64_t d = (int64_t)(to - pc);
	uint32_t lo = (uint32_t)d & 0xfff, hi = (uint32_t)(d + 0x800) >> 12;

	(void)kind;
	le32_store(p, le32_load(p) | hi << 12);
	le32_store(p + 4, le32_load(p + 4) | lo << 20);
	return d + 0x800 == (int32_t)(d + 0x800);
}

static void start(struct code *c, uint32_t main_sym, const char *main_name)
{
	if (c->text)
		strbuf_puts(c->text, "_start:\n");
	rv_mov_rr(c, RV_A0, RV_SP);
	rv_call(c, main_sym, main_name);
	rv_mov_ri(c, RV_A7, 94); /* exit_group */
	rv_ecall(c);
}

const struct target target_riscv64 = {
	.name = "riscv64",
	.arch = RTG_RISCV64,
	.elf_machine = 243,
	.page = 0x1000,
	.regs = {
		.caller_saved = 0xf003fc00u, /* a0-a7, t3-t6 */
		.callee_saved = 0x0ffc0300u, /* s0-s11 */
		.args = { 10, 11, 12, 13, 14, 15 },
		.sys_args = { 10, 11, 12, 13, 14, 15 },
		.ret = RV_A0,
	},
	.func_align = 4,
	.asm_head = "\t.option norvc\n\t.option norelax\n\t.text\n",
	.branch_reach = branch_reach,
	.branch_put = branch_put,
	.prologue = prologue,
	.ins = select_ins,
	.start = start,
	.patch = patch,
	.move_rr = move_rr,
	.move_ri = move_ri,
	.load_frame = load_frame,
	.store_frame = store_frame,
};
