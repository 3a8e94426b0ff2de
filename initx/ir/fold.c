/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constant folding, copy forwarding, algebraic identities, address folding: one pass forward.
 *
 * Two kinds of facts are used. A register with a single definition in the whole function (most
 * temporaries) has its fact everywhere: its definition dominates its uses, as reading a register
 * before it is written is undefined. Any other register has a fact only inside the block, until it
 * or the register it copies is written again.
 */
#include "ir/ir.h"

#include "base/checked.h"

struct fact {
	struct ir_val val;	  /* IRV_IMM, IRV_REG, or IRV_NONE for no such fact */
	uint32_t block;		  /* block + 1 it holds in, 0 for everywhere */
	uint32_t version;	  /* of val.reg when recorded */
	const struct ir_ins *def; /* defining ADD or SLOT of a single-definition register */
	uint8_t max_bits;	  /* single definition: value < 1 << max_bits */
};

struct folder {
	struct ir_prog *p;
	struct ir_func *f;
	struct fact *facts;
	uint32_t *n_defs;
	uint32_t *version;
	uint32_t block;
	bool cut; /* a branch became a jump */
};

static bool single(const struct folder *fo, uint32_t r)
{
	return fo->n_defs[r] == 1;
}

static void count_defs(struct folder *fo)
{
	for (uint32_t i = 0; i < fo->f->n_params; i++)
		fo->n_defs[i]++;
	for (uint32_t b = 0; b < fo->f->blocks.n; b++)
		IR_EACH(ins, &fo->f->blocks.v[b])
	if (ins->dst != IR_NONE)
		fo->n_defs[ins->dst]++;
}

/* Replace a register by what it is known to hold. */
static void forward(void *opaque, struct ir_val *v)
{
	struct folder *fo = opaque;
	const struct fact *k = &fo->facts[v->reg];

	if (k->val.kind == IRV_NONE || (k->block && k->block != fo->block + 1))
		return;
	if (k->val.kind == IRV_REG && k->version != fo->version[k->val.reg])
		return;
	*v = k->val;
}

static void make_copy(struct ir_ins *ins, struct ir_val v)
{
	ins->op = IR_COPY;
	ins->a = v;
	ins->b = (struct ir_val){ 0 };
}

static void make_jump(struct folder *fo, struct ir_ins *ins, uint32_t to)
{
	*ins = (struct ir_ins){ .op = IR_JMP, .dst = IR_NONE, .t = to };
	fo->cut = true;
}

static unsigned bits_of(uint64_t v)
{
	return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

static unsigned max_bits(const struct folder *fo, struct ir_val v)
{
	if (v.kind == IRV_IMM)
		return bits_of((uint64_t)v.imm);
	if (v.kind == IRV_REG && single(fo, v.reg) && fo->facts[v.reg].max_bits)
		return fo->facts[v.reg].max_bits;
	return 64;
}

static unsigned extension_bits(enum ir_op op)
{
	switch ((int)op) {
	case IR_SEXT8:
	case IR_ZEXT8: return 8;
	case IR_SEXT16:
	case IR_ZEXT16: return 16;
	default: return 32;
	}
}

static void fold_unary(struct folder *fo, struct ir_ins *ins)
{
	unsigned n;
	bool is_signed;

	if (ins->op == IR_COPY)
		return;
	if (ins->a.kind == IRV_IMM) {
		make_copy(ins, ir_imm((int64_t)ir_eval_unary(ins->op, (uint64_t)ins->a.imm)));
		return;
	}
	n = extension_bits(ins->op);
	is_signed = ins->op <= IR_SEXT32;
	if (max_bits(fo, ins->a) <= (is_signed ? n - 1 : n))
		make_copy(ins, ins->a);
}

static bool is_commutative(enum ir_op op)
{
	return op == IR_ADD || op == IR_MUL || op == IR_AND || op == IR_OR || op == IR_XOR;
}

/* x op constant with a simpler form. */
static void fold_identity(struct ir_ins *ins)
{
	int64_t c = ins->b.imm;
	bool pow2 = c > 0 && !(c & (c - 1));
	int shift = pow2 ? __builtin_ctzll((uint64_t)c) : 0;

	switch ((int)ins->op) {
	case IR_SUB:
		if (c == INT64_MIN)
			return;
		ins->op = IR_ADD;
		ins->b.imm = -c;
		if (!c)
			make_copy(ins, ins->a);
		return;
	case IR_ADD:
	case IR_OR:
	case IR_XOR:
		if (!c)
			make_copy(ins, ins->a);
		return;
	case IR_SHL:
	case IR_SHR:
	case IR_SAR:
		if (!c)
			make_copy(ins, ins->a);
		else if ((uint64_t)c >= 64 && ins->op == IR_SAR)
			ins->b.imm = 63;
		else if ((uint64_t)c >= 64)
			make_copy(ins, ir_imm(0));
		return;
	case IR_AND:
		if (!c)
			make_copy(ins, ir_imm(0));
		else if (c == -1)
			make_copy(ins, ins->a);
		return;
	case IR_MUL:
		if (!c)
			make_copy(ins, ir_imm(0));
		else if (c == 1)
			make_copy(ins, ins->a);
		else if (pow2) {
			ins->op = IR_SHL;
			ins->b.imm = shift;
		}
		return;
	case IR_UDIV:
	case IR_DIV:
		if (c == 1) {
			make_copy(ins, ins->a);
		} else if (!c) {
			make_copy(ins, ir_imm(0));
		} else if (pow2 && ins->op == IR_UDIV) {
			ins->op = IR_SHR;
			ins->b.imm = shift;
		}
		return;
	case IR_UREM:
	case IR_REM:
		if (c == 1) {
			make_copy(ins, ir_imm(0));
		} else if (!c) {
			make_copy(ins, ins->a);
		} else if (pow2 && ins->op == IR_UREM) {
			ins->op = IR_AND;
			ins->b.imm = c - 1;
		}
		return;
	default: return;
	}
}

/* (b + c1) + c2 becomes b + (c1 + c2). */
static void fold_add_chain(struct folder *fo, struct ir_ins *ins)
{
	const struct ir_ins *def;
	int64_t sum;

	if (ins->op != IR_ADD || ins->a.kind != IRV_REG || ins->b.kind != IRV_IMM ||
	    !single(fo, ins->a.reg))
		return;
	def = fo->facts[ins->a.reg].def;
	if (!def)
		return;
	if (def->op == IR_ADD && !ckd_add(&sum, def->b.imm, ins->b.imm)) {
		ins->a = def->a;
		ins->b.imm = sum;
	} else if (def->op == IR_SLOT && !ckd_add(&sum, def->disp, ins->b.imm) &&
		   sum == (int32_t)sum) {
		ins->op = IR_SLOT;
		ins->a = def->a;
		ins->b = (struct ir_val){ 0 };
		ins->disp = sum;
	}
}

static void fold_binary(struct folder *fo, struct ir_ins *ins)
{
	if (ins->a.kind == IRV_IMM && ins->b.kind == IRV_IMM) {
		make_copy(ins, ir_imm((int64_t)ir_eval_binary(ins->op, (uint64_t)ins->a.imm,
							      (uint64_t)ins->b.imm)));
		return;
	}
	if (ins->a.kind == IRV_IMM && is_commutative(ins->op)) {
		struct ir_val t = ins->a;

		ins->a = ins->b;
		ins->b = t;
	}
	if (ins->b.kind == IRV_IMM)
		fold_identity(ins);
	fold_add_chain(fo, ins);
}

/* The address of a load or store: constant parts go into the displacement. */
static void fold_memory(struct folder *fo, struct ir_ins *ins)
{
	const struct ir_ins *def;
	int64_t sum;

	if (ins->a.kind != IRV_REG || !single(fo, ins->a.reg))
		return;
	def = fo->facts[ins->a.reg].def;
	if (!def)
		return;
	if (ckd_add(&sum, ins->disp, def->op == IR_ADD ? def->b.imm : def->disp) ||
	    sum != (int32_t)sum)
		return;
	ins->a = def->a;
	ins->disp = sum;
}

static void fold_compare(struct folder *fo, struct ir_ins *ins)
{
	bool v;

	if (ins->a.kind == IRV_IMM && ins->b.kind != IRV_IMM) {
		struct ir_val t = ins->a;

		ins->a = ins->b;
		ins->b = t;
		ins->cc = (uint8_t)ir_cc_swap((enum ir_cc)ins->cc);
	}
	if (ins->op == IR_BR && ins->t == ins->f) {
		make_jump(fo, ins, ins->t);
		return;
	}
	if (ins->a.kind != IRV_IMM || ins->b.kind != IRV_IMM)
		return;
	v = ir_cc_eval((enum ir_cc)ins->cc, (uint64_t)ins->a.imm, (uint64_t)ins->b.imm);
	if (ins->op == IR_SET)
		make_copy(ins, ir_imm(v));
	else
		make_jump(fo, ins, v ? ins->t : ins->f);
}

static unsigned result_bits(const struct folder *fo, const struct ir_ins *ins)
{
	switch ((int)ins->op) {
	case IR_LOAD8:
	case IR_ZEXT8: return 8;
	case IR_LOAD16:
	case IR_ZEXT16: return 16;
	case IR_LOAD32:
	case IR_ZEXT32: return 32;
	case IR_SET: return 1;
	case IR_COPY: return max_bits(fo, ins->a);
	case IR_AND: return MIN(max_bits(fo, ins->a), max_bits(fo, ins->b));
	case IR_SHR:
		if (ins->b.kind == IRV_IMM && (uint64_t)ins->b.imm < 64)
			return 64 - (unsigned)ins->b.imm;
		return 64;
	default: return 64;
	}
}

/* What is known of the result. */
static void learn(struct folder *fo, const struct ir_ins *ins)
{
	struct fact *k = &fo->facts[ins->dst];
	bool one = single(fo, ins->dst);

	fo->version[ins->dst]++;
	*k = (struct fact){ .block = one ? 0 : fo->block + 1 };
	if (one)
		k->max_bits = (uint8_t)result_bits(fo, ins);
	if (ins->op == IR_COPY && !(ins->a.kind == IRV_REG && ins->a.reg == ins->dst)) {
		k->val = ins->a;
		if (ins->a.kind == IRV_REG) {
			k->version = fo->version[ins->a.reg];
			if (!single(fo, ins->a.reg))
				k->block = fo->block + 1;
		}
	}
	if (!one)
		return;
	if (ins->op == IR_SLOT)
		k->def = ins;
	else if (ins->op == IR_ADD && ins->a.kind == IRV_REG && single(fo, ins->a.reg) &&
		 ins->b.kind == IRV_IMM)
		k->def = ins;
}

static void fold_ins(struct folder *fo, struct ir_ins *ins)
{
	switch (ir_ops[ins->op].shape) {
	case IRS_UN: fold_unary(fo, ins); break;
	case IRS_BIN: fold_binary(fo, ins); break;
	case IRS_CMP:
	case IRS_BR: fold_compare(fo, ins); break;
	case IRS_LD:
	case IRS_ST: fold_memory(fo, ins); break;
	case IRS_SLOT:
	case IRS_SYM:
	case IRS_CALL:
	case IRS_CALLR:
	case IRS_SYSC:
	case IRS_NONE:
	case IRS_JMP:
	case IRS_RET: break;
	}
}

bool ir_fold(struct ir_prog *p, struct ir_func *f)
{
	struct folder fo = { .p = p, .f = f };

	fo.facts = arena_alloc(p->scratch, f->n_regs * sizeof(*fo.facts));
	fo.n_defs = arena_alloc(p->scratch, f->n_regs * sizeof(*fo.n_defs));
	fo.version = arena_alloc(p->scratch, f->n_regs * sizeof(*fo.version));
	count_defs(&fo);
	for (fo.block = 0; fo.block < f->blocks.n; fo.block++) {
		IR_EACH(ins, &f->blocks.v[fo.block])
		{
			ir_each_use(ins, forward, &fo);
			fold_ins(&fo, ins);
			if (ins->dst != IR_NONE)
				learn(&fo, ins);
		}
	}
	arena_clear(p->scratch);
	return fo.cut;
}
