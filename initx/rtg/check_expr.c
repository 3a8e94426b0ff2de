/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types and constant values of expressions. Only constants are ever untyped; an expression with an
 * error has TYPE_INVALID and makes no further noise.
 */
#include "rtg/compiler.h"

#include <inttypes.h>
#include <string.h>

static const struct type t_invalid = { .kind = TYPE_INVALID };
static const struct type t_bool = { .kind = TYPE_BOOL };
static const struct type t_int64 = { .kind = TYPE_INT64 };
static const struct type t_untyped = { .kind = TYPE_UNTYPED };
static const struct type t_uintptr = { .kind = TYPE_UINTPTR };
static const struct type t_string = { .kind = TYPE_STRING };

#define ERROR(k, pos, ...) diag_error(&(k)->c->diags, pos, __VA_ARGS__)

static const char *tname(struct checker *k, struct type t)
{
	return type_name(&k->c->arena, t);
}

static void set_const(struct expr *e, struct type t, __int128 v)
{
	e->type = t;
	e->is_const = true;
	e->val = (struct cval){ .i = v };
}

/* Give untyped constant @e the type @t. */
static void convert_untyped(struct checker *k, struct expr *e, struct type t)
{
	if (e->type.kind != TYPE_UNTYPED || t.kind == TYPE_INVALID || t.kind == TYPE_UNTYPED)
		return;
	if (!type_is_int(t)) {
		ERROR(k, e->start, "number where a %s is wanted", tname(k, t));
		e->type = t_invalid;
	} else if (!const_fits(e->val.i, t)) {
		ERROR(k, e->start, "constant %s does not fit %s",
		      const_text(&k->c->arena, e->val.i), tname(k, t));
		e->type = t_invalid;
	} else {
		e->type = t;
	}
}

void check_default(struct checker *k, struct expr *e)
{
	convert_untyped(k, e, t_int64);
}

void check_assign(struct checker *k, struct expr *e, struct type want, const char *what)
{
	if (e->type.kind == TYPE_INVALID || want.kind == TYPE_INVALID)
		return;
	if (e->type.kind == TYPE_UNTYPED) {
		convert_untyped(k, e, want);
		return;
	}
	if (want.kind == TYPE_UINTPTR && (e->type.kind == TYPE_STRING ||
					  e->type.kind == TYPE_BUFFER || e->type.kind == TYPE_FUNC))
		return;
	if (type_equal(e->type, want) && want.kind != TYPE_BUFFER && want.kind != TYPE_FUNC)
		return;
	if (e->type.kind == TYPE_VOID)
		ERROR(k, e->start, "the function gives no value");
	else
		ERROR(k, e->start, "%s wants %s, not %s", what, tname(k, want), tname(k, e->type));
}

/* The operand of an operator: any integer. */
static bool want_int(struct checker *k, struct expr *e)
{
	if (e->type.kind == TYPE_INVALID)
		return false;
	if (type_is_int(e->type))
		return true;
	ERROR(k, e->start, "operator wants an integer, not %s", tname(k, e->type));
	return false;
}

static bool want_bool(struct checker *k, struct expr *e)
{
	if (e->type.kind == TYPE_INVALID)
		return false;
	if (e->type.kind == TYPE_BOOL)
		return true;
	ERROR(k, e->start, "operator wants a bool, not %s", tname(k, e->type));
	return false;
}

/* Record a folded result, which has to fit its type. */
static void const_result(struct checker *k, struct expr *e, struct type t, __int128 v)
{
	const __int128 limit = (__int128)1 << 64;

	if (t.kind == TYPE_UNTYPED ? (v <= -limit || v >= limit) : !const_fits(v, t)) {
		ERROR(k, e->start, "constant expression overflows %s",
		      t.kind == TYPE_UNTYPED ? "64 bits" : tname(k, t));
		e->type = t_invalid;
		return;
	}
	set_const(e, t, v);
}

static void fold_binary(struct checker *k, struct expr *e, struct type t)
{
	__int128 a = e->x->val.i, b = e->y->val.i, v = 0;

	switch ((int)e->op) {
	case TOK_ADD: v = a + b; break;
	case TOK_SUB: v = a - b; break;
	case TOK_MUL:
		if (__builtin_mul_overflow(a, b, &v))
			v = (__int128)1 << 100;
		break;
	case TOK_DIV: v = a / b; break;
	case TOK_REM: v = a % b; break;
	case TOK_AND: v = a & b; break;
	case TOK_OR: v = a | b; break;
	case TOK_XOR: v = a ^ b; break;
	default: break;
	}
	const_result(k, e, t, v);
}

static void check_shift(struct checker *k, struct expr *e)
{
	struct expr *x = e->x, *y = e->y;

	if (!want_int(k, x) || !want_int(k, y))
		return;
	if (y->is_const && (y->val.i < 0 || y->val.i > 1000)) {
		ERROR(k, y->start, "shift count %s", y->val.i < 0 ? "is negative" : "is too large");
		return;
	}
	if (x->is_const && y->is_const) {
		unsigned n = (unsigned)y->val.i;
		__int128 v;

		if (e->op == TOK_SHR)
			v = x->val.i >> (n > 126 ? 126 : n);
		else if (x->val.i && n > 64)
			v = (__int128)1 << 100; /* overflows in const_result() */
		else
			v = x->val.i << (n > 64 ? 0 : n);
		const_result(k, e, x->type, v);
		return;
	}
	check_default(k, x);
	check_default(k, y);
	e->type = x->type;
}

/* Make both sides one type; false after an error. */
static bool match_operands(struct checker *k, struct expr *e)
{
	struct expr *x = e->x, *y = e->y;

	if (x->type.kind == TYPE_INVALID || y->type.kind == TYPE_INVALID)
		return false;
	if (x->type.kind == TYPE_UNTYPED && y->type.kind != TYPE_UNTYPED)
		convert_untyped(k, x, y->type);
	else if (y->type.kind == TYPE_UNTYPED && x->type.kind != TYPE_UNTYPED)
		convert_untyped(k, y, x->type);
	if (x->type.kind == TYPE_INVALID || y->type.kind == TYPE_INVALID)
		return false;
	if (type_equal(x->type, y->type))
		return true;
	ERROR(k, e->pos, "operands differ: %s and %s", tname(k, x->type), tname(k, y->type));
	return false;
}

static bool compare_const(const struct expr *e, int cmp)
{
	switch ((int)e->op) {
	case TOK_EQ: return cmp == 0;
	case TOK_NE: return cmp != 0;
	case TOK_LT: return cmp < 0;
	case TOK_LE: return cmp <= 0;
	case TOK_GT: return cmp > 0;
	default: return cmp >= 0;
	}
}

static void check_compare(struct checker *k, struct expr *e)
{
	struct expr *x = e->x, *y = e->y;
	bool equality = e->op == TOK_EQ || e->op == TOK_NE;

	if (!match_operands(k, e))
		return;
	if (x->type.kind == TYPE_STRING) {
		if (!x->is_const || !y->is_const || !equality) {
			ERROR(k, e->pos, "only constant strings compare, with '==' and '!='");
			return;
		}
		set_const(e, t_bool,
			  compare_const(e, x->val.len != y->val.len ||
						   memcmp(x->val.s, y->val.s, x->val.len) != 0));
		return;
	}
	if (!type_is_int(x->type) && !(x->type.kind == TYPE_BOOL && equality)) {
		ERROR(k, e->pos, "%s does not compare with %s", tname(k, x->type), tok_name(e->op));
		return;
	}
	e->type = t_bool;
	if (x->is_const && y->is_const)
		set_const(e, t_bool,
			  compare_const(e, x->val.i < y->val.i ? -1 : x->val.i > y->val.i));
}

/* && and ||: a constant left side decides whether the right one is compiled at all. */
static void check_logic(struct checker *k, struct expr *e)
{
	check_expr(k, e->x);
	if (!want_bool(k, e->x))
		return;
	if (e->x->is_const && !!e->x->val.i == (e->op == TOK_LOR)) {
		set_const(e, t_bool, e->x->val.i);
		return;
	}
	check_expr(k, e->y);
	if (!want_bool(k, e->y))
		return;
	e->type = t_bool;
	if (e->x->is_const && e->y->is_const)
		set_const(e, t_bool, e->y->val.i);
}

static void check_concat(struct checker *k, struct expr *e)
{
	struct expr *x = e->x, *y = e->y;
	char *s;

	if (!x->is_const || !y->is_const) {
		ERROR(k, e->pos, "only constant strings can be joined");
		return;
	}
	if ((uint64_t)x->val.len + y->val.len > RTG_MAX_SOURCE_BYTES) {
		ERROR(k, e->pos, "string is too long");
		return;
	}
	s = arena_alloc(&k->c->arena, (size_t)x->val.len + y->val.len + 1);
	memcpy(s, x->val.s, x->val.len);
	memcpy(s + x->val.len, y->val.s, y->val.len);
	e->type = t_string;
	e->is_const = true;
	e->val = (struct cval){ .s = s, .len = x->val.len + y->val.len };
}

static void check_binary(struct checker *k, struct expr *e)
{
	struct expr *x = e->x, *y = e->y;

	if (e->op == TOK_LAND || e->op == TOK_LOR) {
		check_logic(k, e);
		return;
	}
	check_expr(k, x);
	check_expr(k, y);
	if (e->op == TOK_SHL || e->op == TOK_SHR) {
		check_shift(k, e);
		return;
	}
	if (e->op >= TOK_EQ && e->op <= TOK_GE) {
		check_compare(k, e);
		return;
	}
	if (!match_operands(k, e))
		return;
	if (e->op == TOK_ADD && x->type.kind == TYPE_STRING) {
		check_concat(k, e);
		return;
	}
	if (!want_int(k, x))
		return;
	if ((e->op == TOK_DIV || e->op == TOK_REM) && y->is_const && !y->val.i) {
		ERROR(k, y->start, "division by zero");
		return;
	}
	e->type = x->type;
	if (x->is_const && y->is_const)
		fold_binary(k, e, x->type);
}

static void check_address(struct checker *k, struct expr *e)
{
	struct expr *x = e->x;

	check_expr(k, x);
	if (x->type.kind == TYPE_INVALID)
		return;
	if (x->kind == EXPR_INDEX || x->type.kind == TYPE_BUFFER) {
		e->type = t_uintptr;
		return;
	}
	ERROR(k, e->pos, "only buffers and their bytes have addresses");
}

static void check_unary(struct checker *k, struct expr *e)
{
	struct expr *x = e->x;
	__int128 v;

	if (e->op == TOK_AND) {
		check_address(k, e);
		return;
	}
	check_expr(k, x);
	if (e->op == TOK_NOT) {
		if (!want_bool(k, x))
			return;
		e->type = t_bool;
		if (x->is_const)
			set_const(e, t_bool, !x->val.i);
		return;
	}
	if (!want_int(k, x))
		return;
	e->type = x->type;
	if (!x->is_const)
		return;
	v = e->op == TOK_SUB ? -x->val.i : e->op == TOK_ADD ? x->val.i : ~x->val.i;
	if (e->op == TOK_XOR && !type_is_signed(x->type))
		v &= ((__int128)1 << type_bits(x->type)) - 1;
	const_result(k, e, x->type, v);
}

static void check_index(struct checker *k, struct expr *e)
{
	check_expr(k, e->x);
	check_expr(k, e->y);
	if (e->x->type.kind == TYPE_INVALID || !want_int(k, e->y))
		return;
	if (e->x->type.kind != TYPE_BUFFER) {
		ERROR(k, e->x->start, "%s has no bytes to index", tname(k, e->x->type));
		return;
	}
	if (e->y->is_const && (e->y->val.i < 0 || e->y->val.i >= e->x->type.len)) {
		ERROR(k, e->y->start, "index %s is outside %s",
		      const_text(&k->c->arena, e->y->val.i), tname(k, e->x->type));
		return;
	}
	check_default(k, e->y);
	e->type.kind = TYPE_UINT8;
}

/* T(x) */
static void check_conversion(struct checker *k, struct expr *e, struct type t)
{
	struct expr *x;

	if (e->n_args != 1) {
		ERROR(k, e->start, "a conversion takes one value");
		return;
	}
	x = e->args[0];
	check_expr(k, x);
	if (x->type.kind == TYPE_INVALID)
		return;
	if (x->is_const && type_is_int(x->type) && type_is_int(t)) {
		if (!const_fits(x->val.i, t)) {
			ERROR(k, x->start, "constant %s does not fit %s",
			      const_text(&k->c->arena, x->val.i), tname(k, t));
			return;
		}
		set_const(e, t, x->val.i);
		return;
	}
	if ((type_is_int(x->type) && type_is_int(t)) || type_equal(x->type, t) ||
	    (t.kind == TYPE_UINTPTR &&
	     (x->type.kind == TYPE_STRING || x->type.kind == TYPE_BUFFER ||
	      x->type.kind == TYPE_FUNC)) ||
	    (t.kind == TYPE_STRING && x->type.kind == TYPE_UINTPTR)) {
		e->type = t;
		return;
	}
	ERROR(k, e->start, "%s does not convert to %s", tname(k, x->type), tname(k, t));
}

static void check_user_call(struct checker *k, struct expr *e, struct func *f)
{
	uint32_t n = f->n_params;

	e->sym = f->sym;
	e->type = f->t;
	for (uint32_t i = 0; i < e->n_args; i++)
		check_expr(k, e->args[i]);
	if (f->broken) {
		e->type = t_invalid;
		return;
	}
	if (e->n_args != n) {
		ERROR(k, e->start, "'%s' takes %" PRIu32 " argument%s, not %" PRIu32, f->name->s, n,
		      n == 1 ? "" : "s", e->n_args);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		check_assign(k, e->args[i], f->params[i].t, "parameter");
}

static void check_call(struct checker *k, struct expr *e)
{
	struct sym *s;

	if (e->x->kind != EXPR_NAME) {
		if (e->x->kind != EXPR_BAD)
			ERROR(k, e->x->start, "only a function can be called; addresses with Call");
		return;
	}
	s = check_lookup(k, e->x->name);
	if (!s) {
		ERROR(k, e->x->start, "'%s' is not declared", e->x->name->s);
		for (uint32_t i = 0; i < e->n_args; i++)
			check_expr(k, e->args[i]);
	} else if (s->kind == SYM_FUNC) {
		check_user_call(k, e, s->func);
	} else if (s->kind == SYM_TYPE) {
		check_conversion(k, e, s->type);
	} else if (s->kind == SYM_INTRINSIC) {
		e->intrinsic = s->intrinsic;
		check_intrinsic(k, e, (enum intrinsic)s->intrinsic);
	} else {
		ERROR(k, e->x->start, "'%s' is no function", e->x->name->s);
	}
}

static void check_name(struct checker *k, struct expr *e)
{
	struct sym *s = check_lookup(k, e->name);

	if (!s) {
		ERROR(k, e->pos, "'%s' is not declared", e->name->s);
		return;
	}
	e->sym = s;
	switch (s->kind) {
	case SYM_CONST:
		check_const_decl(k, s);
		e->type = s->type;
		if (s->type.kind != TYPE_INVALID) {
			e->is_const = true;
			e->val = s->val;
		}
		break;
	case SYM_VAR:
	case SYM_GLOBAL: e->type = s->type; break;
	case SYM_FUNC: e->type.kind = TYPE_FUNC; break;
	case SYM_TYPE: ERROR(k, e->pos, "'%s' is a type, not a value", e->name->s); break;
	case SYM_INTRINSIC: ERROR(k, e->pos, "'%s' must be called", e->name->s); break;
	}
}

void check_expr(struct checker *k, struct expr *e)
{
	e->type = t_invalid;
	switch ((enum expr_kind)e->kind) {
	case EXPR_BAD: break;
	case EXPR_INT: set_const(e, t_untyped, e->val.i); break;
	case EXPR_STRING:
		e->type = t_string;
		e->is_const = true;
		break;
	case EXPR_NAME: check_name(k, e); break;
	case EXPR_UNARY: check_unary(k, e); break;
	case EXPR_BINARY: check_binary(k, e); break;
	case EXPR_CALL: check_call(k, e); break;
	case EXPR_INDEX: check_index(k, e); break;
	}
}

bool check_const_int(struct checker *k, struct expr *e, __int128 *ret)
{
	check_expr(k, e);
	if (e->type.kind == TYPE_INVALID)
		return false;
	if (!e->is_const || !type_is_int(e->type)) {
		ERROR(k, e->start, "a constant integer is wanted");
		return false;
	}
	*ret = e->val.i;
	return true;
}
