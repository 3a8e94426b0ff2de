/* SPDX-License-Identifier: Apache-2.0 */
/* Operations, their tables and their arithmetic; building blocks of IR programs. */
#include "ir/ir.h"

const struct ir_op_info ir_ops[IR_MAX_] = {
#define OP(name, text, shape, flags) [IR_##name] = { text, IRS_##shape, flags },
#include "ir/ops.def"
#undef OP
};

const char *const ir_cc_names[IR_CC_MAX_] = { "eq",  "ne",  "slt", "sge", "sle",
					      "sgt", "ult", "uge", "ule", "ugt" };

enum ir_cc ir_cc_swap(enum ir_cc cc)
{
	static const uint8_t swapped[IR_CC_MAX_] = { IR_EQ,  IR_NE,  IR_SGT, IR_SLE, IR_SGE,
						     IR_SLT, IR_UGT, IR_ULE, IR_UGE, IR_ULT };

	return (enum ir_cc)swapped[cc];
}

bool ir_cc_eval(enum ir_cc cc, uint64_t a, uint64_t b)
{
	int64_t sa = (int64_t)a, sb = (int64_t)b;

	switch (cc) {
	case IR_EQ: return a == b;
	case IR_NE: return a != b;
	case IR_SLT: return sa < sb;
	case IR_SGE: return sa >= sb;
	case IR_SLE: return sa <= sb;
	case IR_SGT: return sa > sb;
	case IR_ULT: return a < b;
	case IR_UGE: return a >= b;
	case IR_ULE: return a <= b;
	case IR_UGT: return a > b;
	case IR_CC_MAX_: break;
	}
	return false;
}

static uint64_t eval_divide(enum ir_op op, uint64_t a, uint64_t b)
{
	bool rem = op == IR_REM || op == IR_UREM;

	if (!b)
		return rem ? a : 0;
	if (op == IR_UDIV)
		return a / b;
	if (op == IR_UREM)
		return a % b;
	if (b == UINT64_MAX) /* the quotient of the smallest number by -1 wraps */
		return rem ? 0 : 0 - a;
	return (uint64_t)(rem ? (int64_t)a % (int64_t)b : (int64_t)a / (int64_t)b);
}

uint64_t ir_eval_binary(enum ir_op op, uint64_t a, uint64_t b)
{
	switch ((int)op) {
	case IR_ADD: return a + b;
	case IR_SUB: return a - b;
	case IR_MUL: return a * b;
	case IR_DIV:
	case IR_UDIV:
	case IR_REM:
	case IR_UREM: return eval_divide(op, a, b);
	case IR_SHL: return b < 64 ? a << b : 0;
	case IR_SHR: return b < 64 ? a >> b : 0;
	case IR_SAR: return (uint64_t)((int64_t)a >> (b < 64 ? b : 63));
	case IR_AND: return a & b;
	case IR_OR: return a | b;
	case IR_XOR: return a ^ b;
	default: return 0;
	}
}

uint64_t ir_eval_unary(enum ir_op op, uint64_t a)
{
	switch ((int)op) {
	case IR_SEXT8: return (uint64_t)(int64_t)(int8_t)a;
	case IR_SEXT16: return (uint64_t)(int64_t)(int16_t)a;
	case IR_SEXT32: return (uint64_t)(int64_t)(int32_t)a;
	case IR_ZEXT8: return (uint8_t)a;
	case IR_ZEXT16: return (uint16_t)a;
	case IR_ZEXT32: return (uint32_t)a;
	default: return a;
	}
}

uint32_t ir_sym_add(struct ir_prog *p, enum ir_sym_kind kind, const char *name)
{
	*VEC_NEW(p->arena, &p->syms) = (struct ir_sym){ .kind = kind,
							.name = name,
							.align = kind == IR_SYM_DATA ? 1 : 8,
							.pointer_to = IR_NONE };
	if (kind == IR_SYM_FUNC)
		p->syms.v[p->syms.n - 1].func = arena_alloc(p->arena, sizeof(struct ir_func));
	return p->syms.n - 1;
}

uint32_t ir_block_add(struct ir_prog *p, struct ir_func *f)
{
	*VEC_NEW(p->arena, &f->blocks) = (struct ir_block){ 0 };
	return f->blocks.n - 1;
}

unsigned ir_mem_width(enum ir_op op)
{
	switch ((int)op) {
	case IR_LOAD8:
	case IR_STORE8: return 1;
	case IR_LOAD16:
	case IR_STORE16: return 2;
	case IR_LOAD32:
	case IR_STORE32: return 4;
	default: return 8;
	}
}
