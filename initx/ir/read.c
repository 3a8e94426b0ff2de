/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the textual form of IR that print.c writes. */
#include "ir/ir.h"

#include <inttypes.h>
#include <string.h>

#define READ_MAX_NUMBERED (1u << 20) /* registers, blocks, slots of one function */

struct reader {
	struct arena *a;
	const char *s, *end;
	uint32_t line;
	const char *error;
	struct ir_prog *p;
	struct ir_func *f;
};

static bool fail(struct reader *r, const char *what)
{
	if (!r->error)
		r->error = arena_printf(r->a, "line %" PRIu32 ": %s", r->line, what);
	return false;
}

static void blanks(struct reader *r)
{
	while (r->s < r->end && (*r->s == ' ' || *r->s == '\t'))
		r->s++;
}

/* Blanks, empty lines and ';' comments. */
static void blank_lines(struct reader *r)
{
	for (;;) {
		blanks(r);
		if (r->s < r->end && *r->s == ';')
			while (r->s < r->end && *r->s != '\n')
				r->s++;
		if (r->s == r->end || *r->s != '\n')
			return;
		r->s++;
		r->line++;
	}
}

static bool lit(struct reader *r, const char *text)
{
	size_t n = strlen(text);

	blanks(r);
	if ((size_t)(r->end - r->s) < n || memcmp(r->s, text, n) != 0)
		return false;
	r->s += n;
	return true;
}

static bool need(struct reader *r, const char *text)
{
	if (lit(r, text))
		return true;
	return fail(r, arena_printf(r->a, "expected '%s'", text));
}

static bool number(struct reader *r, int64_t *ret)
{
	bool neg = false, any = false;
	uint64_t v = 0;

	blanks(r);
	if (r->s < r->end && (*r->s == '-' || *r->s == '+'))
		neg = *r->s++ == '-';
	for (; r->s < r->end && *r->s >= '0' && *r->s <= '9'; r->s++, any = true) {
		unsigned d = (unsigned)(*r->s - '0');

		if (v > (UINT64_MAX - d) / 10)
			return fail(r, "number does not fit 64 bits");
		v = v * 10 + d;
	}
	if (!any)
		return fail(r, "expected a number");
	*ret = (int64_t)(neg ? 0 - v : v);
	return true;
}

static bool index_of(struct reader *r, const char *prefix, uint32_t *ret)
{
	int64_t v;

	if (!need(r, prefix) || !number(r, &v))
		return false;
	if (v < 0 || v >= READ_MAX_NUMBERED)
		return fail(r, "index out of range");
	*ret = (uint32_t)v;
	return true;
}

static bool reg(struct reader *r, uint32_t *ret)
{
	if (!index_of(r, "%", ret))
		return false;
	if (*ret >= r->f->n_regs)
		r->f->n_regs = *ret + 1;
	return true;
}

static bool val(struct reader *r, struct ir_val *ret)
{
	blanks(r);
	*ret = (struct ir_val){ 0 };
	if (r->s < r->end && *r->s == '%') {
		ret->kind = IRV_REG;
		return reg(r, &ret->reg);
	}
	if (r->s < r->end && *r->s == '$') {
		ret->kind = IRV_SLOT;
		return index_of(r, "$", &ret->reg);
	}
	ret->kind = IRV_IMM;
	return number(r, &ret->imm);
}

static bool name(struct reader *r, const char **ret)
{
	const char *start;

	if (!need(r, "@"))
		return false;
	start = r->s;
	while (r->s < r->end && (*r->s == '_' || *r->s == '.' || (*r->s >= '0' && *r->s <= '9') ||
				 (*r->s >= 'a' && *r->s <= 'z') || (*r->s >= 'A' && *r->s <= 'Z')))
		r->s++;
	if (r->s == start)
		return fail(r, "expected a name");
	*ret = arena_strndup(r->a, start, (size_t)(r->s - start));
	return true;
}

/* The symbol called @n; made on its first mention, defined later. */
static uint32_t symbol(struct reader *r, const char *n)
{
	for (uint32_t i = 0; i < r->p->syms.n; i++)
		if (!strcmp(r->p->syms.v[i].name, n))
			return i;
	*VEC_NEW(r->a, &r->p->syms) = (struct ir_sym){
		.name = n, .kind = IR_SYM_GLOBAL, .align = 8, .pointer_to = IR_NONE
	};
	return r->p->syms.n - 1;
}

static bool sym(struct reader *r, uint32_t *ret)
{
	const char *n;

	if (!name(r, &n))
		return false;
	*ret = symbol(r, n);
	return true;
}

static bool disp(struct reader *r, int64_t *ret)
{
	blanks(r);
	*ret = 0;
	if (r->s < r->end && (*r->s == '+' || *r->s == '-'))
		return number(r, ret);
	return true;
}

static bool args(struct reader *r, struct ir_ins *ins)
{
	ins->args = arena_alloc(r->a, IR_MAX_ARGS * sizeof(*ins->args));
	if (!need(r, "("))
		return false;
	if (lit(r, ")"))
		return true;
	do {
		if (ins->n_args == IR_MAX_ARGS)
			return fail(r, "too many arguments");
		if (!val(r, &ins->args[ins->n_args++]))
			return false;
	} while (lit(r, ","));
	return need(r, ")");
}

static bool mem(struct reader *r, struct ir_ins *ins)
{
	return need(r, "[") && val(r, &ins->a) && disp(r, &ins->disp) && need(r, "]");
}

static bool operands(struct reader *r, struct ir_ins *ins)
{
	switch (ir_ops[ins->op].shape) {
	case IRS_UN:
	case IRS_RET: return val(r, &ins->a);
	case IRS_BIN:
	case IRS_CMP: return val(r, &ins->a) && need(r, ",") && val(r, &ins->b);
	case IRS_LD: return mem(r, ins);
	case IRS_ST: return mem(r, ins) && need(r, ",") && val(r, &ins->b);
	case IRS_SLOT:
		ins->a.kind = IRV_SLOT;
		return index_of(r, "$", &ins->a.reg) && disp(r, &ins->disp);
	case IRS_SYM: return sym(r, &ins->sym) && disp(r, &ins->disp);
	case IRS_CALL: return sym(r, &ins->sym) && args(r, ins);
	case IRS_CALLR:
	case IRS_SYSC: return val(r, &ins->a) && args(r, ins);
	case IRS_JMP: return index_of(r, "b", &ins->t);
	case IRS_BR:
		return val(r, &ins->a) && need(r, ",") && val(r, &ins->b) && need(r, ",") &&
		       index_of(r, "b", &ins->t) && need(r, ",") && index_of(r, "b", &ins->f);
	case IRS_NONE: return true;
	}
	return false;
}

static bool op_name(struct reader *r, struct ir_ins *ins)
{
	const char *start;
	size_t n;

	blanks(r);
	start = r->s;
	while (r->s < r->end && ((*r->s >= 'a' && *r->s <= 'z') || (*r->s >= '0' && *r->s <= '9')))
		r->s++;
	n = (size_t)(r->s - start);
	for (ins->op = 0; ins->op < IR_MAX_; ins->op++)
		if (strlen(ir_ops[ins->op].text) == n && !memcmp(ir_ops[ins->op].text, start, n))
			break;
	if (ins->op == IR_MAX_)
		return fail(r, "unknown operation");
	if (ir_ops[ins->op].shape != IRS_CMP && ir_ops[ins->op].shape != IRS_BR)
		return true;
	for (ins->cc = 0; ins->cc < IR_CC_MAX_; ins->cc++) {
		if (lit(r, arena_printf(r->a, ".%s", ir_cc_names[ins->cc])))
			return true;
	}
	return fail(r, "unknown condition");
}

static bool instruction(struct reader *r, struct ir_block *b)
{
	struct ir_ins ins = { .dst = IR_NONE };

	blanks(r);
	if (r->s < r->end && *r->s == '%' && (!reg(r, &ins.dst) || !need(r, "=")))
		return false;
	if (!op_name(r, &ins) || !operands(r, &ins))
		return false;
	VEC_PUSH(r->a, &b->ins, ins);
	return true;
}

static bool line_end(struct reader *r)
{
	blanks(r);
	if (r->s == r->end || *r->s == '\n' || *r->s == ';')
		return true;
	return fail(r, "text behind the end of the line");
}

static bool slot_def(struct reader *r)
{
	uint32_t i;
	int64_t size;

	if (!index_of(r, "$", &i) || !need(r, "=") || !number(r, &size))
		return false;
	if (i != r->f->slots.n || size <= 0 || size > (1 << 24) || size % 8)
		return fail(r, "bad stack slot");
	VEC_PUSH(r->a, &r->f->slots, ((struct ir_slot){ .size = (uint32_t)size }));
	return true;
}

static bool body(struct reader *r)
{
	for (blank_lines(r); !lit(r, "}"); blank_lines(r)) {
		if (r->s == r->end)
			return fail(r, "function is not closed");
		if (*r->s == '$') {
			if (!slot_def(r) || !line_end(r))
				return false;
		} else if (*r->s == 'b' && r->s + 1 < r->end && r->s[1] >= '0' && r->s[1] <= '9') {
			uint32_t i;

			if (!index_of(r, "b", &i) || !need(r, ":"))
				return false;
			if (i != r->f->blocks.n)
				return fail(r, "blocks stand in order");
			ir_block_add(r->p, r->f);
		} else {
			if (!r->f->blocks.n)
				return fail(r, "instruction outside a block");
			if (!instruction(r, &r->f->blocks.v[r->f->blocks.n - 1]) || !line_end(r))
				return false;
		}
	}
	return true;
}

/* The symbol being defined; false when it already is. */
static bool define(struct reader *r, enum ir_sym_kind kind, uint32_t *ret)
{
	struct ir_sym *s;

	if (!sym(r, ret))
		return false;
	s = &r->p->syms.v[*ret];
	if (s->used)
		return fail(r, "symbol is defined twice");
	s->used = true;
	s->kind = kind;
	return true;
}

static bool function(struct reader *r)
{
	uint32_t i, p;

	if (!define(r, IR_SYM_FUNC, &i) || !need(r, "("))
		return false;
	r->f = r->p->syms.v[i].func = arena_alloc(r->a, sizeof(*r->f));
	while (!lit(r, ")")) {
		if (r->f->n_params && !need(r, ","))
			return false;
		if (!reg(r, &p))
			return false;
		if (p != r->f->n_params++ || p >= IR_MAX_ARGS)
			return fail(r, "bad parameter");
	}
	return need(r, "{") && body(r);
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool data(struct reader *r)
{
	struct strbuf sb = { .arena = r->a };
	uint32_t i, target;
	int64_t align;

	if (!define(r, IR_SYM_DATA, &i) || !need(r, "align") || !number(r, &align) || !need(r, "="))
		return false;
	if (align < 1 || align > 4096 || (align & (align - 1)))
		return fail(r, "bad alignment");
	r->p->syms.v[i].align = (uint32_t)align;
	blanks(r);
	if (r->s < r->end && *r->s == '@') {
		if (!sym(r, &target))
			return false;
		r->p->syms.v[i].pointer_to = target;
		r->p->syms.v[i].size = 8;
		r->p->syms.v[i].bytes = arena_alloc(r->a, 8);
		return true;
	}
	if (!need(r, "\""))
		return false;
	for (; r->s < r->end && *r->s != '"' && *r->s != '\n'; r->s++) {
		char c = *r->s;

		if (c == '\\') {
			int hi = r->end - r->s > 2 ? hex(r->s[1]) : -1;
			int lo = hi < 0 ? -1 : hex(r->s[2]);

			if (lo < 0)
				return fail(r, "bad escape");
			c = (char)(hi * 16 + lo);
			r->s += 2;
		}
		strbuf_putc(&sb, c);
	}
	r->p->syms.v[i].size = sb.len;
	r->p->syms.v[i].bytes = (const uint8_t *)sb.s;
	return need(r, "\"");
}

static bool global(struct reader *r)
{
	uint32_t i;
	int64_t size;

	if (!define(r, IR_SYM_GLOBAL, &i) || !number(r, &size))
		return false;
	if (size < 0 || size > (1 << 26))
		return fail(r, "bad size");
	r->p->syms.v[i].size = (uint64_t)size;
	return true;
}

/* Enters every defined symbol beforehand, so that symbols keep the order of their definitions. */
static void symbols_in_order(struct reader *r)
{
	static const char *const heads[] = { "func ", "data ", "global " };
	struct reader saved = *r;
	const char *n;

	while (r->s < r->end) {
		blank_lines(r);
		for (size_t i = 0; i < 3; i++)
			if (lit(r, heads[i]) && name(r, &n))
				symbol(r, n);
		while (r->s < r->end && *r->s != '\n')
			r->s++;
	}
	*r = saved;
}

const char *ir_read(struct arena *a, const char *text, size_t len, struct ir_prog *ret)
{
	struct reader r = { .a = a, .s = text, .end = text + len, .line = 1, .p = ret };
	bool ok = true, entry = false;

	*ret = (struct ir_prog){ .arena = a };
	symbols_in_order(&r);
	for (blank_lines(&r); ok && r.s < r.end; blank_lines(&r)) {
		if (lit(&r, "entry"))
			ok = entry = sym(&r, &ret->entry);
		else if (lit(&r, "func"))
			ok = function(&r);
		else if (lit(&r, "data"))
			ok = data(&r);
		else if (lit(&r, "global"))
			ok = global(&r);
		else
			ok = fail(&r, "expected entry, func, data or global");
		ok = ok && line_end(&r);
	}
	if (!r.error && !entry)
		r.error = "no entry";
	for (uint32_t i = 0; !r.error && i < ret->syms.n; i++)
		if (!ret->syms.v[i].used)
			r.error = arena_printf(a, "@%s is not defined", ret->syms.v[i].name);
	return r.error ? r.error : ir_verify(ret);
}
