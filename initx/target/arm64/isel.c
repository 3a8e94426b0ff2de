/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IR to A64. x16 and x17 carry values on their way to or from memory, x15 addresses; x18 belongs to
 * the platform. AAPCS64; the frame is addressed from sp, saved registers lie above it.
 */
#include "target/arm64/encode.h"

#include "base/checked.h"

#define TMP0 16u
#define TMP1 17u
#define ADDR 15u

static void move_rr(struct codegen *g, unsigned d, unsigned s)
{
	a64_mov_rr(g->c, d, s);
}

static void move_ri(struct codegen *g, unsigned d, int64_t imm)
{
	a64_mov_ri(g->c, d, imm);
}

/* A base and displacement that a load or store of @width takes; far ones go through ADDR. */
static unsigned reach(struct codegen *g, unsigned width, unsigned base, int64_t *disp)
{
	if (a64_disp_fits(width, *disp))
		return base;
	a64_mov_ri(g->c, ADDR, *disp);
	if (base == A64_SP)
		a64_add_sp(g->c, ADDR, ADDR);
	else
		a64_rrr(g->c, A64_ADD, ADDR, base, ADDR);
	*disp = 0;
	return ADDR;
}

static void load_frame(struct codegen *g, unsigned d, uint32_t off)
{
	int64_t disp = off;
	unsigned base = reach(g, 8, A64_SP, &disp);

	a64_load(g->c, 8, d, base, disp);
}

static void store_frame(struct codegen *g, uint32_t off, unsigned s)
{
	int64_t disp = off;
	unsigned base = reach(g, 8, A64_SP, &disp);

	a64_store(g->c, 8, s, base, disp);
}

static enum a64_cond cond_of(enum ir_cc cc)
{
	static const uint8_t map[IR_CC_MAX_] = { A64_EQ, A64_NE, A64_LT, A64_GE, A64_LE,
						 A64_GT, A64_LO, A64_HS, A64_LS, A64_HI };

	return (enum a64_cond)map[cc];
}

static void move_sp(struct codegen *g, int64_t by)
{
	if (!by)
		return;
	if (a64_add_fits(by)) {
		a64_add_ri(g->c, A64_SP, A64_SP, by);
		return;
	}
	a64_mov_ri(g->c, ADDR, by);
	a64_add_sp(g->c, ADDR, ADDR);
	a64_add_ri(g->c, A64_SP, ADDR, 0);
}

static uint32_t saved_mask(const struct codegen *g)
{
	return g->saved | (g->has_calls ? 1u << A64_LR : 0);
}

static int64_t saved_bytes(const struct codegen *g)
{
	return ALIGN_UP(8 * (int64_t)__builtin_popcount(saved_mask(g)), 16);
}

static void prologue(struct codegen *g)
{
	int64_t off = 0;

	move_sp(g, -saved_bytes(g));
	for (unsigned r = 0; r < 31; r++) {
		if (saved_mask(g) >> r & 1) {
			a64_store(g->c, 8, r, A64_SP, off);
			off += 8;
		}
	}
	move_sp(g, -(int64_t)g->frame);
	cg_params_in(g, TMP0);
}

static void epilogue(struct codegen *g)
{
	int64_t off = 0;

	move_sp(g, g->frame);
	for (unsigned r = 0; r < 31; r++) {
		if (saved_mask(g) >> r & 1) {
			a64_load(g->c, 8, r, A64_SP, off);
			off += 8;
		}
	}
	move_sp(g, saved_bytes(g));
	a64_ret(g->c);
}

static void sel_unary(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, TMP0);
	unsigned s;

	if (ins->op == IR_COPY) {
		cg_done(g, ins->dst, cg_use(g, ins->a, cg_in_reg(g, ins->a) ? TMP0 : d));
		return;
	}
	s = cg_use(g, ins->a, TMP0);
	a64_extend(g->c, ins->op, d, s);
	cg_done(g, ins->dst, d);
}

static enum a64_rrr rrr_of(enum ir_op op)
{
	switch ((int)op) {
	case IR_ADD: return A64_ADD;
	case IR_SUB: return A64_SUB;
	case IR_MUL: return A64_MUL;
	case IR_DIV: return A64_SDIV;
	case IR_UDIV: return A64_UDIV;
	case IR_SHL: return A64_LSL;
	case IR_SHR: return A64_LSR;
	case IR_SAR: return A64_ASR;
	case IR_AND: return A64_AND;
	case IR_OR: return A64_ORR;
	default: return A64_EOR;
	}
}

/* Forms with an immediate; false when there is none for it. */
static bool binary_imm(struct codegen *g, struct ir_ins *ins, unsigned d, unsigned a)
{
	int64_t imm = ins->b.imm;

	switch ((int)ins->op) {
	case IR_SUB:
		if (imm == INT64_MIN || !a64_add_fits(imm))
			return false;
		a64_add_ri(g->c, d, a, -imm);
		return true;
	case IR_ADD:
		if (!a64_add_fits(imm))
			return false;
		a64_add_ri(g->c, d, a, imm);
		return true;
	case IR_AND:
	case IR_OR:
	case IR_XOR:
		if (!a64_logic_fits((uint64_t)imm))
			return false;
		a64_logic_ri(g->c, rrr_of(ins->op), d, a, (uint64_t)imm);
		return true;
	case IR_SHL:
	case IR_SHR:
	case IR_SAR:
		if ((uint64_t)imm > 63)
			return false;
		a64_shift_ri(g->c, rrr_of(ins->op), d, a, (unsigned)imm);
		return true;
	default: return false;
	}
}

/* Counts of 64 and more: 0, or the sign. */
static void shift_var(struct codegen *g, struct ir_ins *ins, unsigned d, unsigned a, unsigned b)
{
	if (ins->op == IR_SAR) {
		a64_mov_ri(g->c, ADDR, 63);
		a64_cmp_rr(g->c, b, ADDR);
		a64_csel(g->c, ADDR, b, ADDR, A64_LS);
		a64_rrr(g->c, A64_ASR, d, a, ADDR);
		return;
	}
	a64_rrr(g->c, rrr_of(ins->op), ADDR, a, b);
	a64_cmp_ri(g->c, b, 64);
	a64_csel(g->c, d, ADDR, A64_ZR, A64_LO);
}

static void sel_binary(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, TMP0);
	unsigned a = cg_use(g, ins->a, TMP0), b;

	if (ins->b.kind == IRV_IMM && binary_imm(g, ins, d, a)) {
		cg_done(g, ins->dst, d);
		return;
	}
	b = cg_use(g, ins->b, TMP1);
	switch ((int)ins->op) {
	case IR_SHL:
	case IR_SHR:
	case IR_SAR: shift_var(g, ins, d, a, b); break;
	case IR_REM:
	case IR_UREM:
		a64_rrr(g->c, ins->op == IR_REM ? A64_SDIV : A64_UDIV, ADDR, a, b);
		a64_msub(g->c, d, ADDR, b, a);
		break;
	default: a64_rrr(g->c, rrr_of(ins->op), d, a, b);
	}
	cg_done(g, ins->dst, d);
}

static void compare(struct codegen *g, struct ir_ins *ins)
{
	unsigned a = cg_use(g, ins->a, TMP0);

	if (ins->b.kind == IRV_IMM && a64_add_fits(ins->b.imm))
		a64_cmp_ri(g->c, a, ins->b.imm);
	else
		a64_cmp_rr(g->c, a, cg_use(g, ins->b, TMP1));
}

static void sel_set(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, TMP0);

	compare(g, ins);
	a64_cset(g->c, d, cond_of((enum ir_cc)ins->cc));
	cg_done(g, ins->dst, d);
}

static unsigned address(struct codegen *g, struct ir_ins *ins, int64_t *ret_disp)
{
	unsigned base = A64_SP;

	*ret_disp = ins->disp;
	if (ins->a.kind == IRV_SLOT)
		*ret_disp = cg_slot_off(g, ins->a.reg, ins->disp);
	else
		base = cg_use(g, ins->a, TMP0);
	return reach(g, ir_mem_width(ins->op), base, ret_disp);
}

static void sel_load(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, TMP0);
	int64_t disp;
	unsigned base = address(g, ins, &disp);

	a64_load(g->c, ir_mem_width(ins->op), d, base, disp);
	cg_done(g, ins->dst, d);
}

static void sel_store(struct codegen *g, struct ir_ins *ins)
{
	unsigned v = ins->b.kind == IRV_IMM && !ins->b.imm ? A64_ZR : cg_use(g, ins->b, TMP1);
	int64_t disp;
	unsigned base;

	/* A value in memory far away needs ADDR while it is loaded: so the value comes first. */
	base = address(g, ins, &disp);
	a64_store(g->c, ir_mem_width(ins->op), v, base, disp);
}

static void sel_slot(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, TMP0);
	int64_t off = cg_slot_off(g, ins->a.reg, ins->disp);

	if (a64_add_fits(off)) {
		a64_add_ri(g->c, d, A64_SP, off);
	} else {
		a64_mov_ri(g->c, d, off);
		a64_add_sp(g->c, d, d);
	}
	cg_done(g, ins->dst, d);
}

static void sel_call(struct codegen *g, struct ir_ins *ins)
{
	struct cg_move m[IR_MAX_ARGS + 1];
	unsigned n = 0;

	for (; n < ins->n_args; n++)
		m[n] = (struct cg_move){ .dst = n, .src = ins->args[n] };
	if (ins->op == IR_CALLR)
		m[n++] = (struct cg_move){ .dst = TMP1, .src = ins->a };
	else if (ins->op == IR_SYSCALL)
		m[n++] = (struct cg_move){ .dst = 8, .src = ins->a };
	cg_moves_in(g, m, n, TMP0);
	if (ins->op == IR_CALL)
		a64_bl(g->c, ins->sym, g->p->syms.v[ins->sym].name);
	else if (ins->op == IR_CALLR)
		a64_blr(g->c, TMP1);
	else
		a64_svc(g->c);
	if (ins->dst != IR_NONE)
		cg_done(g, ins->dst, 0);
}

static void jump(struct codegen *g, unsigned cond, uint32_t block)
{
	char label[32];

	if (cond == BRANCH_ALWAYS) {
		if (block == g->block + 1)
			return;
		code_text(g->c, "b %s", cg_label(g, block, label));
		code_branch(g->c, (struct code_branch){ .block = block,
							.cond = BRANCH_ALWAYS,
							.short_len = 4,
							.long_len = 4 });
		return;
	}
	code_text(g->c, "b.%s %s", a64_cond_names[cond], cg_label(g, block, label));
	code_branch(g->c,
		    (struct code_branch){
			    .block = block, .cond = (uint8_t)cond, .short_len = 4, .long_len = 8 });
}

static void sel_branch(struct codegen *g, struct ir_ins *ins)
{
	unsigned cond = cond_of((enum ir_cc)ins->cc);

	compare(g, ins);
	if (ins->t == g->block + 1) {
		jump(g, cond ^ 1, ins->f);
		return;
	}
	jump(g, cond, ins->t);
	jump(g, BRANCH_ALWAYS, ins->f);
}

static void sel_return(struct codegen *g, struct ir_ins *ins)
{
	unsigned s = cg_use(g, ins->a, 0);

	if (s)
		a64_mov_rr(g->c, 0, s);
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
		d = cg_def(g, ins->dst, TMP0);
		a64_adr(g->c, d, ins->sym, g->p->syms.v[ins->sym].name, ins->disp);
		cg_done(g, ins->dst, d);
		break;
	case IRS_CALL:
	case IRS_CALLR:
	case IRS_SYSC: sel_call(g, ins); break;
	case IRS_NONE: a64_isb(g->c); break;
	case IRS_JMP: jump(g, BRANCH_ALWAYS, ins->t); break;
	case IRS_BR: sel_branch(g, ins); break;
	case IRS_RET: sel_return(g, ins); break;
	}
}

static void branch_reach(const struct code_branch *b, int64_t *lo, int64_t *hi)
{
	int64_t span = b->cond == BRANCH_ALWAYS ? (int64_t)1 << 27 : (int64_t)1 << 20;

	*lo = -span;
	*hi = span - 4;
}

static void branch_put(uint8_t *p, const struct code_branch *b, int64_t disp)
{
	if (b->cond == BRANCH_ALWAYS) {
		le32_store(p, 0x14000000u | ((uint32_t)(disp / 4) & 0x3ffffff));
	} else if (!b->is_long) {
		le32_store(p, 0x54000000u | ((uint32_t)(disp / 4) & 0x7ffff) << 5 | b->cond);
	} else { /* over an unconditional one */
		le32_store(p, 0x54000000u | 2u << 5 | (b->cond ^ 1u));
		le32_store(p + 4, 0x14000000u | ((uint32_t)((disp - 4) / 4) & 0x3ffffff));
	}
}

static bool patch(uint8_t *p, enum fix_kind kind, uint64_t pc, uint64_t to)
{
	int64_t d;

	if (kind == FIX_ARM64_CALL) {
		d = (int64_t)(to - pc);
		le32_store(p, le32_load(p) | ((uint32_t)(d / 4) & 0x3ffffff));
		return d >= -((int64_t)1 << 27) && d < (int64_t)1 << 27;
	}
	d = (int64_t)((to >> 12) - (pc >> 12));
	le32_store(p, le32_load(p) | ((uint32_t)d & 3) << 29 | ((uint32_t)(d >> 2) & 0x7ffff) << 5);
	le32_store(p + 4, le32_load(p + 4) | (uint32_t)(to & 0xfff) << 10);
	return d >= -((int64_t)1 << 20) && d < (int64_t)1 << 20;
}

static void start(struct code *c, uint32_t main_sym, const char *main_name)
{
	if (c->text)
		strbuf_puts(c->text, "_start:\n");
	a64_add_ri(c, 0, A64_SP, 0);
	a64_bl(c, main_sym, main_name);
	a64_mov_ri(c, 8, 94); /* exit_group */
	a64_svc(c);
}

const struct target target_arm64 = {
	.name = "arm64",
	.arch = RTG_ARM64,
	.elf_machine = 183,
	.page = 0x10000, /* kernels with 64 KiB pages exist */
	.regs = {
		.caller_saved = 0x7fff,	    /* x0-x14 */
		.callee_saved = 0x1ff80000, /* x19-x28 */
		.args = { 0, 1, 2, 3, 4, 5 },
		.sys_args = { 0, 1, 2, 3, 4, 5 },
		.ret = 0,
	},
	.func_align = 4,
	.asm_head = "\t.text\n",
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
