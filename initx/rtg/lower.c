/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and statements to IR. Only runs on programs without errors. */
#include "rtg/lower.h"

#include <inttypes.h>
#include <string.h>

static void low_stmts(struct lowerer *l, struct stmt *s);

uint32_t low_reg(struct lowerer *l)
{
	return l->f->n_regs++;
}

uint32_t low_block(struct lowerer *l)
{
	return ir_block_add(l->p, l->f);
}

struct ir_ins *low_emit(struct lowerer *l, struct ir_ins ins)
{
	struct ir_ins *p;

	if (l->closed) /* behind a return or goto: unreachable */
		low_at(l, low_block(l));
	p = VEC_NEW(l->a, &l->f->blocks.v[l->cur].ins);
	*p = ins;
	l->closed = ir_ops[ins.op].flags & IRF_T;
	return p;
}

void low_jump(struct lowerer *l, uint32_t block)
{
	if (!l->closed)
		low_emit(l, (struct ir_ins){ .op = IR_JMP, .dst = IR_NONE, .t = block });
}

void low_start(struct lowerer *l, uint32_t block)
{
	low_jump(l, block);
	low_at(l, block);
}

uint32_t low_slot(struct lowerer *l, uint32_t size)
{
	VEC_PUSH(l->a, &l->f->slots, ((struct ir_slot){ .size = (size + 7) & ~7u }));
	return l->f->slots.n - 1;
}

uint32_t low_string(struct lowerer *l, const char *s, uint64_t len)
{
	uint32_t h = 2166136261u;
	struct pooled *p;

	for (uint64_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)s[i]) * 16777619u;
	h %= STR_BUCKETS;
	for (p = l->strings[h]; p; p = p->next)
		if (p->len == len && !memcmp(p->s, s, len))
			return p->sym;
	p = arena_alloc(l->a, sizeof(*p));
	*p = (struct pooled){ .s = s, .len = len, .next = l->strings[h] };
	p->sym = ir_sym_add(l->p, IR_SYM_DATA, arena_printf(l->a, "str.%" PRIu32, l->n_strings++));
	l->p->syms.v[p->sym].bytes = (const uint8_t *)arena_strndup(l->a, s, len);
	l->p->syms.v[p->sym].size = len + 1;
	l->strings[h] = p;
	return p->sym;
}

struct ir_val low_addr(struct lowerer *l, uint32_t sym, uint32_t hint)
{
	uint32_t r = hint == IR_NONE ? low_reg(l) : hint;

	low_emit(l, (struct ir_ins){ .op = IR_ADDR, .dst = r, .sym = sym });
	return ir_reg(r);
}

struct ir_val low_call(struct lowerer *l, uint32_t sym, struct ir_val *args, unsigned n,
		       uint32_t hint)
{
	uint32_t r = hint == IR_NONE ? low_reg(l) : hint;
	struct ir_val *copy = arena_alloc(l->a, n * sizeof(*copy));

	memcpy(copy, args, n * sizeof(*copy));
	low_emit(l,
		 (struct ir_ins){
			 .op = IR_CALL, .dst = r, .sym = sym, .args = copy, .n_args = (uint8_t)n });
	return ir_reg(r);
}

uint32_t low_prelude(struct lowerer *l, const char *name)
{
	struct ident *id = ident_get(l->a, &l->c->ids, name);

	return id->sym->ir;
}

/* A declared buffer starts as zero each time its declaration is passed. */
static void low_zero(struct lowerer *l, uint32_t slot, uint32_t size)
{
	struct ir_val args[2];
	uint32_t r;

	size = (size + 7) & ~7u;
	if (size <= 64) {
		for (uint32_t off = 0; off < size; off += 8)
			low_emit(l, (struct ir_ins){ .op = IR_STORE64,
						     .dst = IR_NONE,
						     .a = ir_slot(slot),
						     .b = ir_imm(0),
						     .disp = off });
		return;
	}
	r = low_reg(l);
	low_emit(l, (struct ir_ins){ .op = IR_SLOT, .dst = r, .a = ir_slot(slot) });
	args[0] = ir_reg(r);
	args[1] = ir_imm(size);
	low_call(l, low_prelude(l, "__zero"), args, 2, IR_NONE);
}

static void low_var(struct lowerer *l, struct stmt *s)
{
	struct sym *v = s->sym;

	if (v->type.kind == TYPE_BUFFER) {
		v->slot = low_slot(l, v->type.len);
		low_zero(l, v->slot, v->type.len);
		return;
	}
	v->reg = low_reg(l);
	if (s->x)
		low_expr_to(l, s->x, v->reg);
	else
		low_emit(l, (struct ir_ins){ .op = IR_COPY, .dst = v->reg, .a = ir_imm(0) });
}

static enum ir_op store_op(struct type t)
{
	switch (type_bits(t)) {
	case 1:
	case 8: return IR_STORE8;
	case 16: return IR_STORE16;
	case 32: return IR_STORE32;
	default: return IR_STORE64;
	}
}

static void low_assign(struct lowerer *l, struct stmt *s)
{
	struct expr *to = s->lhs;
	struct ir_ins st = { .dst = IR_NONE };

	if (to->kind == EXPR_NAME && to->sym->kind == SYM_VAR) {
		low_expr_to(l, s->x, to->sym->reg);
		return;
	}
	st.b = low_expr(l, s->x, IR_NONE);
	if (to->kind == EXPR_INDEX) {
		st.op = IR_STORE8;
		st.a = low_index(l, to, &st.disp);
	} else {
		st.op = (uint8_t)store_op(to->sym->type);
		st.a = low_addr(l, to->sym->ir, IR_NONE);
	}
	low_emit(l, st);
}

static void low_if(struct lowerer *l, struct stmt *s)
{
	uint32_t bt, bf, end;

	if (s->taken != IF_RUNTIME) {
		struct stmt *b = s->taken == IF_THEN ? s->body : s->els;

		if (b && b->kind == STMT_IF)
			low_if(l, b);
		else if (b)
			low_stmts(l, b->body);
		return;
	}
	bt = low_block(l);
	bf = low_block(l);
	end = s->els ? low_block(l) : bf;
	low_cond(l, s->x, bt, bf);
	low_at(l, bt);
	low_stmts(l, s->body->body);
	low_jump(l, end);
	if (s->els) {
		low_at(l, bf);
		if (s->els->kind == STMT_IF)
			low_if(l, s->els);
		else
			low_stmts(l, s->els->body);
		low_jump(l, end);
	}
	low_at(l, end);
}

static void low_for(struct lowerer *l, struct stmt *s)
{
	uint32_t brk = l->brk, cont = l->cont, body;

	l->cont = low_block(l);
	body = s->x ? low_block(l) : l->cont;
	l->brk = low_block(l);
	low_start(l, l->cont);
	if (s->x)
		low_cond(l, s->x, body, l->brk);
	low_at(l, body);
	low_stmts(l, s->body->body);
	low_jump(l, l->cont);
	low_at(l, l->brk);
	l->brk = brk;
	l->cont = cont;
}

static uint32_t label_block(struct lowerer *l, struct label *label)
{
	if (!label->ir)
		label->ir = low_block(l) + 1;
	return label->ir - 1;
}

static void low_return(struct lowerer *l, struct ir_val v)
{
	if (!l->closed)
		low_emit(l, (struct ir_ins){ .op = IR_RET, .dst = IR_NONE, .a = v });
}

static void low_stmt(struct lowerer *l, struct stmt *s)
{
	switch ((enum stmt_kind)s->kind) {
	case STMT_BAD:
	case STMT_CONST: break;
	case STMT_EXPR: low_expr(l, s->x, IR_NONE); break;
	case STMT_VAR: low_var(l, s); break;
	case STMT_ASSIGN: low_assign(l, s); break;
	case STMT_IF: low_if(l, s); break;
	case STMT_FOR: low_for(l, s); break;
	case STMT_BLOCK: low_stmts(l, s->body); break;
	case STMT_GOTO: low_jump(l, label_block(l, s->label)); break;
	case STMT_LABEL: low_start(l, label_block(l, s->label)); break;
	case STMT_RETURN: low_return(l, s->x ? low_expr(l, s->x, IR_NONE) : ir_imm(0)); break;
	case STMT_BREAK: low_jump(l, l->brk); break;
	case STMT_CONTINUE: low_jump(l, l->cont); break;
	}
}

static void low_stmts(struct lowerer *l, struct stmt *s)
{
	for (; s; s = s->next)
		low_stmt(l, s);
}

static void low_func(struct lowerer *l, struct func *f)
{
	l->f = l->p->syms.v[f->sym->ir].func;
	l->f->n_params = f->n_params;
	l->f->n_regs = f->n_params;
	l->print_slot = IR_NONE;
	for (uint32_t i = 0; i < f->n_params; i++)
		f->params[i].sym->reg = i;
	low_at(l, low_block(l));
	low_stmts(l, f->body->body);
	low_return(l, ir_imm(0));
	for (uint32_t b = 0; b < l->f->blocks.n; b++) { /* never reached */
		if (l->f->blocks.v[b].ins.n)
			continue;
		low_at(l, b);
		low_return(l, ir_imm(0));
	}
}

void lower_unit(struct compiler *c)
{
	struct lowerer l = { .c = c, .a = &c->arena, .p = &c->prog };

	c->prog.arena = &c->arena;
	for (struct func *f = c->unit.funcs; f; f = f->next) {
		f->sym->ir = ir_sym_add(l.p, IR_SYM_FUNC, f->name->s);
		l.p->syms.v[f->sym->ir].func->n_params = f->n_params;
	}
	for (struct global *g = c->unit.globals; g; g = g->next) {
		g->sym->ir = ir_sym_add(l.p, IR_SYM_GLOBAL, g->name->s);
		l.p->syms.v[g->sym->ir].size =
			g->sym->type.kind == TYPE_BUFFER ? (g->sym->type.len + 7) & ~7u : 8;
	}
	for (struct func *f = c->unit.funcs; f; f = f->next)
		low_func(&l, f);
	c->prog.entry = low_prelude(&l, "main");
}
