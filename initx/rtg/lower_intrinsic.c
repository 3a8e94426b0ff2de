/* SPDX-License-Identifier: Apache-2.0 */
/* Intrinsics to IR. */
#include "rtg/lower.h"

#include <inttypes.h>
#include <string.h>

#define PRINT_BUFFER_BYTES 256

/* Base and displacement of Load and Store: pointer, offset. */
static struct ir_val low_mem(struct lowerer *l, struct expr *ptr, struct expr *off,
			     int64_t *ret_disp)
{
	struct ir_val base, o;
	uint32_t r;

	*ret_disp = 0;
	if (off->is_const)
		*ret_disp = (int64_t)off->val.i;
	if (ptr->kind == EXPR_NAME && ptr->type.kind == TYPE_BUFFER && ptr->sym->kind == SYM_VAR &&
	    off->is_const)
		return ir_slot(ptr->sym->slot);
	base = low_expr(l, ptr, IR_NONE);
	if (off->is_const && base.kind == IRV_REG)
		return base;
	o = off->is_const ? ir_imm(*ret_disp) : low_expr(l, off, IR_NONE);
	*ret_disp = 0;
	r = low_reg(l);
	low_emit(l, (struct ir_ins){ .op = IR_ADD, .dst = r, .a = base, .b = o });
	return ir_reg(r);
}

static void low_load(struct lowerer *l, struct expr *e, enum ir_op op, uint32_t hint,
		     struct ir_val *ret)
{
	struct ir_ins ins = { .op = (uint8_t)op };

	ins.a = low_mem(l, e->args[0], e->args[1], &ins.disp);
	ins.dst = hint == IR_NONE ? low_reg(l) : hint;
	low_emit(l, ins);
	*ret = ir_reg(ins.dst);
}

static void low_store(struct lowerer *l, struct expr *e, enum ir_op op)
{
	struct ir_ins ins = { .op = (uint8_t)op, .dst = IR_NONE };

	ins.a = low_mem(l, e->args[0], e->args[1], &ins.disp);
	ins.b = low_expr(l, e->args[2], IR_NONE);
	low_emit(l, ins);
}

/* Syscall and Call: number or address, then up to six words. */
static void low_words(struct lowerer *l, struct expr *e, enum ir_op op, uint32_t hint,
		      struct ir_val *ret)
{
	struct ir_ins ins = { .op = (uint8_t)op, .n_args = (uint8_t)(e->n_args - 1) };

	ins.args = arena_alloc(l->a, IR_MAX_ARGS * sizeof(*ins.args));
	ins.a = low_expr(l, e->args[0], IR_NONE);
	for (uint32_t i = 1; i < e->n_args; i++)
		ins.args[i - 1] = low_expr(l, e->args[i], IR_NONE);
	ins.dst = hint == IR_NONE ? low_reg(l) : hint;
	low_emit(l, ins);
	*ret = ir_reg(ins.dst);
}

/* One conversion of Printf: n = fn(buf, n, value). */
static void print_piece(struct lowerer *l, const char *fn, struct ir_val buf, uint32_t n,
			struct ir_val v)
{
	struct ir_val args[3] = { buf, ir_reg(n), v };

	low_call(l, low_prelude(l, fn), args, 3, n);
}

static void print_literal(struct lowerer *l, struct ir_val buf, uint32_t n, struct strbuf *lit)
{
	if (!lit->len)
		return;
	print_piece(l, "__puts", buf, n, low_addr(l, low_string(l, lit->s, lit->len), IR_NONE));
	*lit = (struct strbuf){ .arena = l->a };
}

static void print_value(struct lowerer *l, char conv, struct ir_val buf, uint32_t n, struct expr *e)
{
	const char *fn = conv == 's' ? "__puts" : conv == 'x' ? "__putx" : "__putd";

	if (conv == 'd' && !type_is_signed(e->type))
		fn = "__putu";
	print_piece(l, fn, buf, n, low_expr(l, e, IR_NONE));
}

/* A format without values: one write. */
static bool print_plain(struct lowerer *l, const char *f, size_t len)
{
	struct ir_val *args;

	if (memchr(f, '%', len))
		return false;
	args = arena_alloc(l->a, IR_MAX_ARGS * sizeof(*args));
	args[0] = ir_imm(1);
	args[1] = low_addr(l, low_string(l, f, len), IR_NONE);
	args[2] = ir_imm((int64_t)len);
	if (len) {
		int64_t nr;

		syscall_number("SYS_WRITE", l->c->opt->arch, &nr);
		low_emit(l, (struct ir_ins){ .op = IR_SYSCALL,
					     .dst = low_reg(l),
					     .a = ir_imm(nr),
					     .args = args,
					     .n_args = 3 });
	}
	return true;
}

static void low_printf(struct lowerer *l, struct expr *e)
{
	const char *f = e->args[0]->val.s;
	struct strbuf lit = { .arena = l->a };
	uint32_t arg = 1, n, r;
	struct ir_val buf, flush[2];

	if (print_plain(l, f, e->args[0]->val.len))
		return;
	if (l->print_slot == IR_NONE)
		l->print_slot = low_slot(l, PRINT_BUFFER_BYTES);
	r = low_reg(l);
	n = low_reg(l);
	low_emit(l, (struct ir_ins){ .op = IR_SLOT, .dst = r, .a = ir_slot(l->print_slot) });
	low_emit(l, (struct ir_ins){ .op = IR_COPY, .dst = n, .a = ir_imm(0) });
	buf = ir_reg(r);
	for (; *f; f++) {
		if (*f != '%') {
			strbuf_putc(&lit, *f);
		} else if (*++f == '%') {
			strbuf_putc(&lit, '%');
		} else {
			print_literal(l, buf, n, &lit);
			print_value(l, *f, buf, n, e->args[arg++]);
		}
	}
	print_literal(l, buf, n, &lit);
	flush[0] = buf;
	flush[1] = ir_reg(n);
	low_call(l, low_prelude(l, "__flush"), flush, 2, IR_NONE);
}

static struct ir_val low_blob(struct lowerer *l, const char *key, uint32_t hint)
{
	const struct rtg_blob *blob = check_blob(l->c, key);
	struct pooled *p;

	for (p = l->blobs; p; p = p->next)
		if (!strcmp(p->s, key))
			return low_addr(l, p->sym, hint);
	p = arena_alloc(l->a, sizeof(*p));
	*p = (struct pooled){ .s = key, .next = l->blobs };
	p->sym = ir_sym_add(l->p, IR_SYM_DATA, arena_printf(l->a, "blob.%" PRIu32, l->n_blobs++));
	l->p->syms.v[p->sym].bytes = blob->data; /* borrowed: lives as long as the options */
	l->p->syms.v[p->sym].size = blob->len;
	l->p->syms.v[p->sym].align = 16;
	l->blobs = p;
	return low_addr(l, p->sym, hint);
}

/* The address a function was linked for: an absolute word that the loader relocates. */
static struct ir_val low_link_address(struct lowerer *l, uint32_t target, uint32_t hint)
{
	struct pooled *p;
	uint32_t d = hint == IR_NONE ? low_reg(l) : hint;
	struct ir_val base;

	for (p = l->links; p && p->len != target; p = p->next)
		;
	if (!p) {
		struct ir_sym *s;

		p = arena_alloc(l->a, sizeof(*p));
		*p = (struct pooled){ .len = target, .next = l->links };
		p->sym = ir_sym_add(l->p, IR_SYM_DATA,
				    arena_printf(l->a, "link.%" PRIu32, l->n_links++));
		s = &l->p->syms.v[p->sym];
		s->size = 8;
		s->align = 8;
		s->bytes = arena_alloc(l->a, 8);
		s->pointer_to = target;
		l->links = p;
	}
	base = low_addr(l, p->sym, IR_NONE);
	low_emit(l, (struct ir_ins){ .op = IR_LOAD64, .dst = d, .a = base });
	return ir_reg(d);
}

static void low_kmsg(struct lowerer *l, struct expr *e)
{
	struct expr *x = e->args[0];
	struct ir_val args[2];

	args[0] = low_expr(l, x, IR_NONE);
	args[1] = ir_imm(x->val.len);
	low_call(l, low_prelude(l, "__kmsg"), args, 2, IR_NONE);
}

void low_intrinsic(struct lowerer *l, struct expr *e, uint32_t hint, struct ir_val *ret)
{
	const char *value;

	switch ((enum intrinsic)e->intrinsic) {
	case INTR_SYSCALL: low_words(l, e, IR_SYSCALL, hint, ret); break;
	case INTR_CALL: low_words(l, e, IR_CALLR, hint, ret); break;
	case INTR_LOAD8: low_load(l, e, IR_LOAD8, hint, ret); break;
	case INTR_LOAD16: low_load(l, e, IR_LOAD16, hint, ret); break;
	case INTR_LOAD32: low_load(l, e, IR_LOAD32, hint, ret); break;
	case INTR_LOAD64: low_load(l, e, IR_LOAD64, hint, ret); break;
	case INTR_STORE8: low_store(l, e, IR_STORE8); break;
	case INTR_STORE16: low_store(l, e, IR_STORE16); break;
	case INTR_STORE32: low_store(l, e, IR_STORE32); break;
	case INTR_STORE64: low_store(l, e, IR_STORE64); break;
	case INTR_PRINTF: low_printf(l, e); break;
	case INTR_ISB: low_emit(l, (struct ir_ins){ .op = IR_ISB, .dst = IR_NONE }); break;
	case INTR_LOGKMSG: low_kmsg(l, e); break;
	case INTR_EMBED_STRING:
		*ret = low_addr(l, low_string(l, e->args[0]->val.s, e->args[0]->val.len), hint);
		break;
	case INTR_EMBED_BYTES: *ret = low_blob(l, e->args[0]->val.s, hint); break;
	case INTR_EMBED_CONFIG_STRING:
		value = check_config(l->c, e->args[0]->val.s);
		*ret = low_addr(l, low_string(l, value, strlen(value)), hint);
		break;
	case INTR_LINK_ADDRESS: *ret = low_link_address(l, e->args[0]->sym->ir, hint); break;
	case INTR_IFDEF: /* constants: never come here */
	case INTR_CONFIG:
	case INTR_LEN:
	case INTR_NONE:
	case INTR_MAX_: break;
	}
}
