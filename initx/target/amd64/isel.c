/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IR to x86-64. rax, rcx and rdx are never allocated: division, shifts, results and values on their
 * way to or from memory use them. System V calling convention; the frame is addressed from rsp.
 */
#include "target/amd64/encode.h"

#include <inttypes.h>

#include "base/checked.h"

static bool fits32(int64_t v)
{
	return v == (int32_t)v;
}

static void move_rr(struct codegen *g, unsigned d, unsigned s)
{
	a64x_mov_rr(g->c, d, s);
}

static void move_ri(struct codegen *g, unsigned d, int64_t imm)
{
	a64x_mov_ri(g->c, d, imm);
}

static void load_frame(struct codegen *g, unsigned d, uint32_t off)
{
	a64x_load(g->c, 8, d, RSP, (int32_t)off);
}

static void store_frame(struct codegen *g, uint32_t off, unsigned s)
{
	a64x_store(g->c, 8, RSP, (int32_t)off, s);
}

static unsigned cc_of(enum ir_cc cc)
{
	static const uint8_t map[IR_CC_MAX_] = { CC_E, CC_NE, CC_L,  CC_GE, CC_LE,
						 CC_G, CC_B,  CC_AE, CC_BE, CC_A };

	return map[cc];
}

static void prologue(struct codegen *g)
{
	unsigned n = 0;

	for (unsigned r = 0; r < 16; r++) {
		if (g->saved >> r & 1) {
			a64x_push(g->c, r);
			n++;
		}
	}
	/* Entered with rsp 8 off a multiple of 16. */
	if (g->has_calls && n % 2 == 0)
		g->frame += 8;
	if (g->frame)
		a64x_alu_ri(g->c, ALU_SUB, RSP, (int32_t)g->frame);
	cg_params_in(g, RAX);
}

static void epilogue(struct codegen *g)
{
	if (g->frame)
		a64x_alu_ri(g->c, ALU_ADD, RSP, (int32_t)g->frame);
	for (unsigned r = 16; r-- > 0;)
		if (g->saved >> r & 1)
			a64x_pop(g->c, r);
	a64x_ret(g->c);
}

/* Bring @v into @r. */
static void into(struct codegen *g, unsigned r, struct ir_val v)
{
	unsigned s = cg_use(g, v, r);

	if (s != r)
		a64x_mov_rr(g->c, r, s);
}

static void sel_unary(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RAX);
	unsigned s;

	if (ins->op == IR_COPY) {
		if (!cg_in_reg(g, ins->a)) {
			cg_done(g, ins->dst, cg_use(g, ins->a, d));
			return;
		}
		cg_done(g, ins->dst, cg_use(g, ins->a, RAX));
		return;
	}
	s = cg_use(g, ins->a, RAX);
	a64x_extend(g->c, ins->op, d, s);
	cg_done(g, ins->dst, d);
}

static enum amd64_alu alu_of(enum ir_op op)
{
	switch ((int)op) {
	case IR_ADD: return ALU_ADD;
	case IR_SUB: return ALU_SUB;
	case IR_AND: return ALU_AND;
	case IR_OR: return ALU_OR;
	default: return ALU_XOR;
	}
}

static void sel_alu(struct codegen *g, struct ir_ins *ins)
{
	enum amd64_alu op = alu_of(ins->op);
	unsigned d = cg_def(g, ins->dst, RAX);
	unsigned b, a;

	if (ins->b.kind == IRV_IMM && fits32(ins->b.imm)) {
		if (op == ALU_ADD && cg_in_reg(g, ins->a)) {
			a = cg_use(g, ins->a, RAX);
			if (a != d) {
				a64x_lea(g->c, d, a, (int32_t)ins->b.imm);
				cg_done(g, ins->dst, d);
				return;
			}
		}
		into(g, d, ins->a);
		a64x_alu_ri(g->c, op, d, (int32_t)ins->b.imm);
		cg_done(g, ins->dst, d);
		return;
	}
	b = cg_use(g, ins->b, RCX);
	if (b == d && op != ALU_SUB) {
		a = cg_use(g, ins->a, RDX);
		a64x_alu_rr(g->c, op, d, a);
	} else if (b == d) {
		into(g, RAX, ins->a);
		a64x_alu_rr(g->c, op, RAX, b);
		d = RAX;
	} else {
		into(g, d, ins->a);
		a64x_alu_rr(g->c, op, d, b);
	}
	cg_done(g, ins->dst, d);
}

static void sel_mul(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RAX);
	unsigned a, b;

	a = cg_use(g, ins->a, RDX);
	if (ins->b.kind == IRV_IMM && fits32(ins->b.imm)) {
		a64x_imul_rri(g->c, d, a, (int32_t)ins->b.imm);
		cg_done(g, ins->dst, d);
		return;
	}
	b = cg_use(g, ins->b, RCX);
	if (b == d) {
		a64x_imul_rr(g->c, d, a);
	} else {
		if (a != d)
			a64x_mov_rr(g->c, d, a);
		a64x_imul_rr(g->c, d, b);
	}
	cg_done(g, ins->dst, d);
}

/* Signed: divisor -1 would trap on the smallest number, so it negates instead. */
static void divide_signed(struct codegen *g, unsigned b, bool check_minus_one)
{
	struct code *c = g->c;
	size_t minus_one = 0, done = 0;

	if (check_minus_one) {
		a64x_alu_ri(c, ALU_CMP, b, -1);
		minus_one = a64x_jcc_local(c, CC_E, 2);
	}
	a64x_cqo(c);
	a64x_f7(c, F7_IDIV, b);
	if (check_minus_one) {
		done = a64x_jmp_local(c, 3);
		a64x_local_here(c, minus_one, 2);
		a64x_f7(c, F7_NEG, RAX);
		a64x_alu32_rr(c, ALU_XOR, RDX, RDX);
		a64x_local_here(c, done, 3);
	}
}

static void sel_divide(struct codegen *g, struct ir_ins *ins)
{
	struct code *c = g->c;
	bool rem = ins->op == IR_REM || ins->op == IR_UREM;
	bool is_signed = ins->op == IR_DIV || ins->op == IR_REM;
	bool known = ins->b.kind == IRV_IMM;
	size_t zero = 0, done;
	unsigned b;

	b = cg_use(g, ins->b, RCX);
	into(g, RAX, ins->a);
	if (!known || !ins->b.imm) {
		a64x_test_rr(c, b, b);
		zero = a64x_jcc_local(c, CC_E, 1);
	}
	if (is_signed) {
		divide_signed(g, b, !known || ins->b.imm == -1);
	} else {
		a64x_alu32_rr(c, ALU_XOR, RDX, RDX);
		a64x_f7(c, F7_DIV, b);
	}
	if (zero) { /* by zero: quotient 0, remainder the dividend */
		done = a64x_jmp_local(c, 4);
		a64x_local_here(c, zero, 1);
		a64x_mov_rr(c, RDX, RAX);
		a64x_alu32_rr(c, ALU_XOR, RAX, RAX);
		a64x_local_here(c, done, 4);
	}
	cg_done(g, ins->dst, rem ? RDX : RAX);
}

static void sel_shift(struct codegen *g, struct ir_ins *ins)
{
	struct code *c = g->c;
	enum amd64_shift op = ins->op == IR_SHL ? SH_SHL : ins->op == IR_SHR ? SH_SHR : SH_SAR;
	unsigned d = cg_def(g, ins->dst, RAX);

	if (ins->b.kind == IRV_IMM && (uint64_t)ins->b.imm < 64) {
		into(g, d, ins->a);
		if (ins->b.imm)
			a64x_shift_ri(c, op, d, (unsigned)ins->b.imm);
		cg_done(g, ins->dst, d);
		return;
	}
	into(g, RCX, ins->b);
	into(g, RAX, ins->a);
	if (op == SH_SAR) { /* counts beyond 63 act as 63 */
		a64x_mov_ri(c, RDX, 63);
		a64x_alu_rr(c, ALU_CMP, RCX, RDX);
		a64x_cmov(c, CC_A, RCX, RDX);
		a64x_shift_cl(c, op, RAX);
	} else { /* and otherwise give 0 */
		a64x_shift_cl(c, op, RAX);
		a64x_alu_ri(c, ALU_CMP, RCX, 64);
		a64x_alu_rr(c, ALU_SBB, RDX, RDX);
		a64x_alu_rr(c, ALU_AND, RAX, RDX);
	}
	cg_done(g, ins->dst, RAX);
}

static void compare(struct codegen *g, struct ir_ins *ins)
{
	unsigned a = cg_use(g, ins->a, RAX);

	if (ins->b.kind == IRV_IMM && !ins->b.imm)
		a64x_test_rr(g->c, a, a);
	else if (ins->b.kind == IRV_IMM && fits32(ins->b.imm))
		a64x_alu_ri(g->c, ALU_CMP, a, (int32_t)ins->b.imm);
	else
		a64x_alu_rr(g->c, ALU_CMP, a, cg_use(g, ins->b, RCX));
}

static void sel_set(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RAX);

	compare(g, ins);
	a64x_setcc(g->c, cc_of((enum ir_cc)ins->cc), RAX);
	a64x_extend(g->c, IR_ZEXT8, d, RAX);
	cg_done(g, ins->dst, d);
}

/* Base register and 32-bit displacement of a memory operand; may use @scratch. */
static unsigned address(struct codegen *g, struct ir_ins *ins, unsigned scratch, int32_t *ret_disp)
{
	int64_t disp = ins->disp;
	unsigned base = RSP;

	if (ins->a.kind == IRV_SLOT)
		disp = cg_slot_off(g, ins->a.reg, disp);
	else if (!fits32(disp))
		base = scratch;
	else
		base = cg_use(g, ins->a, scratch);
	if (!fits32(disp)) {
		a64x_mov_ri(g->c, scratch, disp);
		a64x_alu_rr(g->c, ALU_ADD, scratch,
			    ins->a.kind == IRV_SLOT ? RSP : cg_use(g, ins->a, RDX));
		base = scratch;
		disp = 0;
	}
	*ret_disp = (int32_t)disp;
	return base;
}

static void sel_load(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RAX);
	int32_t disp;
	unsigned base = address(g, ins, RCX, &disp);

	a64x_load(g->c, ir_mem_width(ins->op), d, base, disp);
	cg_done(g, ins->dst, d);
}

static void sel_store(struct codegen *g, struct ir_ins *ins)
{
	unsigned width = ir_mem_width(ins->op);
	int32_t disp;
	unsigned base = address(g, ins, RCX, &disp);

	if (ins->b.kind == IRV_IMM && (width < 8 || fits32(ins->b.imm))) {
		a64x_store_imm(g->c, width, base, disp, (int32_t)ins->b.imm);
		return;
	}
	a64x_store(g->c, width, base, disp, cg_use(g, ins->b, RAX));
}

static void sel_slot(struct codegen *g, struct ir_ins *ins)
{
	unsigned d = cg_def(g, ins->dst, RAX);
	int32_t disp;
	unsigned base = address(g, ins, RCX, &disp);

	a64x_lea(g->c, d, base, disp);
	cg_done(g, ins->dst, d);
}

static void sel_call(struct codegen *g, struct ir_ins *ins)
{
	struct cg_move m[IR_MAX_ARGS + 1];
	unsigned n = 0;
	const uint8_t *regs = ins->op == IR_SYSCALL ? g->t->regs.sys_args : g->t->regs.args;

	for (; n < ins->n_args; n++)
		m[n] = (struct cg_move){ .dst = regs[n], .src = ins->args[n] };
	if (ins->op == IR_CALLR)
		m[n++] = (struct cg_move){ .dst = R11, .src = ins->a };
	else if (ins->op == IR_SYSCALL)
		m[n++] = (struct cg_move){ .dst = RAX, .src = ins->a };
	cg_moves_in(g, m, n, ins->op == IR_SYSCALL ? RCX : RAX);
	if (ins->op == IR_CALL)
		a64x_call_sym(g->c, ins->sym, g->p->syms.v[ins->sym].name);
	else if (ins->op == IR_CALLR)
		a64x_call_reg(g->c, R11);
	else
		a64x_syscall(g->c);
	if (ins->dst != IR_NONE)
		cg_done(g, ins->dst, RAX);
}

static void jump(struct codegen *g, unsigned cond, uint32_t block)
{
	char label[32];

	if (cond == BRANCH_ALWAYS && block == g->block + 1)
		return;
	code_text(g->c, "j%s %s", cond == BRANCH_ALWAYS ? "mp" : amd64_cc_names[cond],
		  cg_label(g, block, label));
	code_branch(g->c, (struct code_branch){ .block = block,
						.cond = (uint8_t)cond,
						.short_len = 2,
						.long_len = cond == BRANCH_ALWAYS ? 5 : 6 });
}

static void sel_branch(struct codegen *g, struct ir_ins *ins)
{
	unsigned cc = cc_of((enum ir_cc)ins->cc);

	compare(g, ins);
	if (ins->t == g->block + 1) {
		jump(g, cc ^ 1, ins->f);
		return;
	}
	jump(g, cc, ins->t);
	jump(g, BRANCH_ALWAYS, ins->f);
}

static void select_ins(struct codegen *g, struct ir_ins *ins)
{
	switch ((enum ir_op)ins->op) {
	case IR_COPY:
	case IR_SEXT8:
	case IR_SEXT16:
	case IR_SEXT32:
	case IR_ZEXT8:
	case IR_ZEXT16:
	case IR_ZEXT32: sel_unary(g, ins); break;
	case IR_ADD:
	case IR_SUB:
	case IR_AND:
	case IR_OR:
	case IR_XOR: sel_alu(g, ins); break;
	case IR_MUL: sel_mul(g, ins); break;
	case IR_DIV:
	case IR_UDIV:
	case IR_REM:
	case IR_UREM: sel_divide(g, ins); break;
	case IR_SHL:
	case IR_SHR:
	case IR_SAR: sel_shift(g, ins); break;
	case IR_SET: sel_set(g, ins); break;
	case IR_LOAD8:
	case IR_LOAD16:
	case IR_LOAD32:
	case IR_LOAD64: sel_load(g, ins); break;
	case IR_STORE8:
	case IR_STORE16:
	case IR_STORE32:
	case IR_STORE64: sel_store(g, ins); break;
	case IR_SLOT: sel_slot(g, ins); break;
	case IR_ADDR: {
		unsigned d = cg_def(g, ins->dst, RAX);

		a64x_lea_sym(g->c, d, ins->sym, g->p->syms.v[ins->sym].name, ins->disp);
		cg_done(g, ins->dst, d);
		break;
	}
	case IR_CALL:
	case IR_CALLR:
	case IR_SYSCALL: sel_call(g, ins); break;
	case IR_ISB: break; /* x86 keeps instruction fetch coherent */
	case IR_JMP: jump(g, BRANCH_ALWAYS, ins->t); break;
	case IR_BR: sel_branch(g, ins); break;
	case IR_RET:
		into(g, RAX, ins->a);
		epilogue(g);
		break;
	case IR_MAX_: break;
	}
}

static void branch_reach(const struct code_branch *b, int64_t *lo, int64_t *hi)
{
	(void)b;
	*lo = -128 + 2;
	*hi = 127 + 2;
}

static void branch_put(uint8_t *p, const struct code_branch *b, int64_t disp)
{
	bool always = b->cond == BRANCH_ALWAYS;

	if (!b->is_long) {
		p[0] = always ? 0xeb : (uint8_t)(0x70 | b->cond);
		p[1] = (uint8_t)(disp - 2);
	} else if (always) {
		p[0] = 0xe9;
		le32_store(p + 1, (uint32_t)(disp - 5));
	} else {
		p[0] = 0x0f;
		p[1] = (uint8_t)(0x80 | b->cond);
		le32_store(p + 2, (uint32_t)(disp - 6));
	}
}

static bool patch(uint8_t *p, enum fix_kind kind, uint64_t pc, uint64_t to)
{
	int64_t d = (int64_t)(to - (pc + 4));

	(void)kind;
	le32_store(p, (uint32_t)d);
	return fits32(d);
}

static void start(struct code *c, uint32_t main_sym, const char *main_name)
{
	if (c->text)
		strbuf_puts(c->text, "_start:\n");
	a64x_mov_rr(c, RDI, RSP);
	a64x_alu_ri(c, ALU_AND, RSP, -16);
	a64x_call_sym(c, main_sym, main_name);
	a64x_mov_rr(c, RDI, RAX);
	a64x_mov_ri(c, RAX, 231); /* exit_group */
	a64x_syscall(c);
}

#define M(r) (1u << (r))

const struct target target_amd64 = {
	.name = "amd64",
	.arch = RTG_AMD64,
	.elf_machine = 62,
	.page = 0x1000,
	.regs = {
		.caller_saved = M(RSI) | M(RDI) | M(R8) | M(R9) | M(R10) | M(R11),
		.callee_saved = M(RBX) | M(RBP) | M(R12) | M(R13) | M(R14) | M(R15),
		.args = { RDI, RSI, RDX, RCX, R8, R9 },
		.sys_args = { RDI, RSI, RDX, R10, R8, R9 },
		.ret = RAX,
	},
	.func_align = 16,
	.pad_byte = 0xcc,
	.asm_head = "\t.intel_syntax noprefix\n\t.text\n",
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
