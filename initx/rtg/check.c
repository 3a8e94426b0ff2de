/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declarations and statements: names, types, control flow. The branch of an 'if' whose condition is
 * constant and false is not looked at, as it is not compiled.
 */
#include "rtg/compiler.h"

#include <inttypes.h>
#include <string.h>

#define ERROR(k, pos, ...) diag_error(&(k)->c->diags, pos, __VA_ARGS__)

static void check_stmts(struct checker *k, struct stmt *s);

static struct sym *builtin_const(struct checker *k, struct ident *id, enum type_kind kind)
{
	struct sym *s = arena_alloc(&k->c->arena, sizeof(*s));

	s->kind = SYM_CONST;
	s->name = id;
	s->state = CONST_DONE;
	s->type.kind = kind;
	/* Goes under all other meanings: only entered when there are none. */
	id->sym = s;
	return s;
}

/* Constants that the target defines; entered when a name is not found otherwise. */
static struct sym *lookup_builtin(struct checker *k, struct ident *id)
{
	enum rtg_arch arch = k->c->opt->arch;
	struct sym *s;
	int64_t v = 0;

	if (syscall_number(id->s, arch, &v) && v >= 0) {
		s = builtin_const(k, id, TYPE_UNTYPED);
		s->val.i = v;
		return s;
	}
	if (strcmp(id->s, "GOARCH") != 0)
		return NULL;
	s = builtin_const(k, id, TYPE_STRING);
	s->val.s = rtg_arch_name(arch);
	s->val.len = (uint32_t)strlen(s->val.s);
	return s;
}

struct sym *check_lookup(struct checker *k, struct ident *id)
{
	return id->sym ? id->sym : lookup_builtin(k, id);
}

/* Those of the options' constants that the sources name. */
static void enter_option_consts(struct checker *k)
{
	const struct rtg_options *opt = k->c->opt;

	for (size_t i = 0; i < opt->n_consts; i++) {
		struct ident *id = ident_find(&k->c->ids, opt->consts[i].name);

		if (id && !id->sym)
			builtin_const(k, id, TYPE_UNTYPED)->val.i = opt->consts[i].value;
	}
}

static struct sym *declare(struct checker *k, struct ident *id, enum sym_kind kind, src_pos_t pos)
{
	struct sym *s = arena_alloc(&k->c->arena, sizeof(*s));
	struct sym *old = id->sym;

	*s = (struct sym){
		.kind = kind, .name = id, .pos = pos, .scope = k->scope, .shadowed = old
	};
	if (old && old->scope == k->scope && old->pos) {
		const struct src_file *f;
		uint32_t line, col;

		diag_locate(&k->c->diags, old->pos, &f, &line, &col);
		ERROR(k, pos, "'%s' is already declared at %s:%" PRIu32 ":%" PRIu32, id->s, f->name,
		      line, col);
	}
	id->sym = s;
	VEC_PUSH(&k->c->arena, &k->scope_syms, s);
	return s;
}

static void scope_leave(struct checker *k)
{
	while (k->scope_syms.n && k->scope_syms.v[k->scope_syms.n - 1]->scope == k->scope) {
		struct sym *s = k->scope_syms.v[--k->scope_syms.n];

		s->name->sym = s->shadowed;
	}
	k->scope--;
}

static void enter_universe(struct checker *k)
{
	static const struct {
		const char *name;
		enum type_kind kind;
	} types[] = {
		{ "bool", TYPE_BOOL },	     { "int8", TYPE_INT8 },	{ "int16", TYPE_INT16 },
		{ "int32", TYPE_INT32 },     { "int64", TYPE_INT64 },	{ "uint8", TYPE_UINT8 },
		{ "uint16", TYPE_UINT16 },   { "uint32", TYPE_UINT32 }, { "uint64", TYPE_UINT64 },
		{ "uintptr", TYPE_UINTPTR }, { "byte", TYPE_UINT8 },	{ "string", TYPE_STRING },
	};
	struct compiler *c = k->c;
	struct sym *s;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		s = declare(k, ident_get(&c->arena, &c->ids, types[i].name), SYM_TYPE, 0);
		s->type.kind = types[i].kind;
	}
	for (unsigned i = 1; i < INTR_MAX_; i++) {
		s = declare(k, ident_get(&c->arena, &c->ids, intrinsic_names[i]), SYM_INTRINSIC, 0);
		s->intrinsic = i;
	}
	for (int i = 0; i < 2; i++) {
		s = declare(k, ident_get(&c->arena, &c->ids, i ? "true" : "false"), SYM_CONST, 0);
		s->type.kind = TYPE_BOOL;
		s->val.i = i;
		s->state = CONST_DONE;
	}
}

struct type check_type(struct checker *k, struct type_expr *t)
{
	struct type bad = { .kind = TYPE_INVALID };
	struct sym *s;
	__int128 n;

	if (t->bad)
		return bad;
	if (t->len) {
		if (!check_const_int(k, t->len, &n))
			return bad;
		if (n < 1 || n > RTG_MAX_BUFFER_BYTES) {
			ERROR(k, t->len->start, "a buffer holds 1 to %u bytes",
			      RTG_MAX_BUFFER_BYTES);
			return bad;
		}
		return (struct type){ .kind = TYPE_BUFFER, .len = (uint32_t)n };
	}
	s = check_lookup(k, t->name);
	if (s && s->kind == SYM_TYPE)
		return s->type;
	ERROR(k, t->pos, "'%s' is not a type", t->name->s);
	return bad;
}

void check_const_decl(struct checker *k, struct sym *s)
{
	struct const_decl *d = s->decl;

	if (s->state == CONST_DONE)
		return;
	if (s->state == CONST_BUSY) {
		ERROR(k, s->pos, "constant '%s' depends on itself", s->name->s);
		s->type.kind = TYPE_INVALID;
		return;
	}
	s->state = CONST_BUSY;
	check_expr(k, d->value);
	if (d->type)
		check_assign(k, d->value, check_type(k, d->type), "constant");
	if (d->value->type.kind != TYPE_INVALID && !d->value->is_const)
		ERROR(k, d->value->start, "'%s' is not constant", d->name->s);
	else
		s->type = d->value->type;
	if (d->type && s->type.kind != TYPE_INVALID)
		s->type = check_type(k, d->type);
	s->val = d->value->val;
	s->state = CONST_DONE;
}

static void declare_consts(struct checker *k, struct const_decl *d, bool now)
{
	for (; d; d = d->next) {
		struct sym *s;

		if (!d->name)
			continue;
		if (now) { /* the name is visible behind its own declaration only */
			struct sym tmp = { .name = d->name, .pos = d->pos, .decl = d };

			check_const_decl(k, &tmp);
			s = declare(k, d->name, SYM_CONST, d->pos);
			s->type = tmp.type;
			s->val = tmp.val;
			s->state = CONST_DONE;
			continue;
		}
		s = declare(k, d->name, SYM_CONST, d->pos);
		s->decl = d;
	}
}

static struct label *find_label(struct checker *k, struct ident *name)
{
	for (struct label *l = k->func->labels; l; l = l->next)
		if (l->name == name)
			return l;
	return NULL;
}

/* All labels of a function beforehand: goto may jump forward. */
static void collect_labels(struct checker *k, struct stmt *s)
{
	for (; s; s = s->next) {
		if (s->kind == STMT_LABEL) {
			struct label *l = find_label(k, s->name);

			if (l) {
				ERROR(k, s->pos, "label '%s' is already defined", s->name->s);
				s->kind = STMT_BAD;
				continue;
			}
			l = arena_alloc(&k->c->arena, sizeof(*l));
			*l = (struct label){ .name = s->name,
					     .pos = s->pos,
					     .next = k->func->labels };
			k->func->labels = l;
			s->label = l;
		}
		if (s->body)
			collect_labels(k, s->body);
		if (s->els)
			collect_labels(k, s->els);
	}
}

static void count_var(struct checker *k)
{
	if (k->blocks.n)
		k->blocks.v[k->blocks.n - 1].n_vars++;
}

static void check_var(struct checker *k, struct stmt *s)
{
	struct type t = { .kind = TYPE_INVALID };

	if (s->type)
		t = check_type(k, s->type);
	if (s->x)
		check_expr(k, s->x);
	if (s->x && s->type) {
		if (t.kind == TYPE_BUFFER)
			ERROR(k, s->x->start, "a buffer starts as zero: no value may stand here");
		else
			check_assign(k, s->x, t, "variable");
	} else if (s->x) {
		check_default(k, s->x);
		t = s->x->type;
		if (t.kind == TYPE_VOID) {
			ERROR(k, s->x->start, "the function gives no value");
			t.kind = TYPE_INVALID;
		} else if (t.kind == TYPE_BUFFER || t.kind == TYPE_FUNC) {
			ERROR(k, s->x->start, "%s cannot be the value of a variable",
			      type_name(&k->c->arena, t));
			t.kind = TYPE_INVALID;
		}
	}
	s->sym = declare(k, s->name, SYM_VAR, s->pos);
	s->sym->type = t;
	count_var(k);
}

static void check_target(struct checker *k, struct expr *e)
{
	check_expr(k, e);
	if (e->type.kind == TYPE_INVALID || e->kind == EXPR_INDEX)
		return;
	if (e->kind == EXPR_NAME && (e->sym->kind == SYM_VAR || e->sym->kind == SYM_GLOBAL)) {
		if (e->type.kind != TYPE_BUFFER)
			return;
		ERROR(k, e->start, "a buffer is not assigned as a whole");
	} else {
		ERROR(k, e->start, "this cannot be assigned to");
	}
	e->type.kind = TYPE_INVALID;
}

static void check_assignment(struct checker *k, struct stmt *s)
{
	struct expr *op;

	if (s->op == TOK_DEFINE) {
		if (s->lhs->kind != EXPR_NAME) {
			check_expr(k, s->x);
			return;
		}
		s->type = NULL;
		s->pos = s->lhs->start;
		s->kind = STMT_VAR;
		check_var(k, s);
		return;
	}
	if (s->lhs->kind == EXPR_NAME && !strcmp(s->lhs->name->s, "_") && s->op == TOK_ASSIGN) {
		check_expr(k, s->x); /* _ = f() */
		check_default(k, s->x);
		s->kind = STMT_EXPR;
		return;
	}
	check_target(k, s->lhs);
	if (s->op == TOK_ASSIGN) {
		check_expr(k, s->x);
		check_assign(k, s->x, s->lhs->type, "variable");
		return;
	}
	op = arena_alloc(&k->c->arena, sizeof(*op));
	*op = (struct expr){ .kind = EXPR_BINARY,
			     .op = s->op,
			     .pos = s->pos,
			     .start = s->lhs->start,
			     .x = s->lhs,
			     .y = s->x,
			     .depth = s->x->depth + 1 };
	s->x = op;
	check_expr(k, op);
	if (s->lhs->type.kind != TYPE_INVALID)
		check_assign(k, op, s->lhs->type, "variable");
}

static void check_block(struct checker *k, struct stmt *s)
{
	struct block_mark m = { .id = ++k->n_block_ids };

	k->scope++;
	VEC_PUSH(&k->c->arena, &k->blocks, m);
	check_stmts(k, s->body);
	k->blocks.n--;
	scope_leave(k);
}

static void check_cond(struct checker *k, struct expr *e)
{
	check_expr(k, e);
	if (e->type.kind != TYPE_INVALID && e->type.kind != TYPE_BOOL)
		ERROR(k, e->start, "a condition is a bool, not %s",
		      type_name(&k->c->arena, e->type));
}

static void check_if(struct checker *k, struct stmt *s)
{
	check_cond(k, s->x);
	if (s->x->is_const && s->x->type.kind == TYPE_BOOL)
		s->taken = s->x->val.i ? IF_THEN : IF_ELSE;
	if (s->taken != IF_ELSE)
		check_block(k, s->body);
	if (!s->els || s->taken == IF_THEN)
		return;
	if (s->els->kind == STMT_IF)
		check_if(k, s->els);
	else
		check_block(k, s->els);
}

static void check_return(struct checker *k, struct stmt *s)
{
	struct type want = k->func->t;

	if (!s->x) {
		if (want.kind != TYPE_VOID && want.kind != TYPE_INVALID)
			ERROR(k, s->pos, "'%s' has to return a value of type %s", k->func->name->s,
			      type_name(&k->c->arena, want));
		return;
	}
	check_expr(k, s->x);
	if (want.kind == TYPE_VOID)
		ERROR(k, s->x->start, "'%s' returns no value", k->func->name->s);
	else
		check_assign(k, s->x, want, "result");
}

static void check_goto(struct checker *k, struct stmt *s)
{
	struct goto_mark *g;

	s->label = find_label(k, s->name);
	if (!s->label) {
		ERROR(k, s->pos, "label '%s' is not defined", s->name->s);
		return;
	}
	s->label->used = true;
	g = VEC_NEW(&k->c->arena, &k->gotos);
	*g = (struct goto_mark){ .stmt = s, .order = ++k->n_order, .n_path = k->blocks.n };
	g->path = arena_alloc(&k->c->arena, k->blocks.n * sizeof(*g->path));
	memcpy(g->path, k->blocks.v, k->blocks.n * sizeof(*g->path));
}

/* Go's rules: no jump into a block, none over a declaration that would then be in scope. */
static void check_gotos(struct checker *k)
{
	for (uint32_t i = 0; i < k->gotos.n; i++) {
		const struct goto_mark *g = &k->gotos.v[i];
		const struct label *l = g->stmt->label;
		const struct block_mark *m = NULL;

		if (!l->defined) {
			ERROR(k, g->stmt->pos, "label '%s' stands in a branch that is not compiled",
			      l->name->s);
			continue;
		}
		for (uint32_t j = 0; j < g->n_path; j++)
			if (g->path[j].id == l->block_id)
				m = &g->path[j];
		if (!m)
			ERROR(k, g->stmt->pos, "goto '%s' jumps into a block", l->name->s);
		else if (l->order > g->order && l->n_vars > m->n_vars)
			ERROR(k, g->stmt->pos, "goto '%s' jumps over a declaration", l->name->s);
	}
	k->gotos.n = 0;
}

static void check_label(struct checker *k, struct stmt *s)
{
	const struct block_mark *m = &k->blocks.v[k->blocks.n - 1];

	s->label->defined = true;
	s->label->block_id = m->id;
	s->label->n_vars = m->n_vars;
	s->label->order = ++k->n_order;
}

static void check_stmt(struct checker *k, struct stmt *s)
{
	switch ((enum stmt_kind)s->kind) {
	case STMT_BAD: break;
	case STMT_EXPR:
		check_expr(k, s->x);
		if (s->x->kind != EXPR_CALL && s->x->type.kind != TYPE_INVALID)
			ERROR(k, s->x->start, "value is not used");
		break;
	case STMT_VAR: check_var(k, s); break;
	case STMT_CONST: declare_consts(k, s->decls, true); break;
	case STMT_ASSIGN: check_assignment(k, s); break;
	case STMT_IF: check_if(k, s); break;
	case STMT_FOR:
		if (s->x)
			check_cond(k, s->x);
		k->loops++;
		check_block(k, s->body);
		k->loops--;
		break;
	case STMT_BLOCK: check_block(k, s); break;
	case STMT_GOTO: check_goto(k, s); break;
	case STMT_LABEL: check_label(k, s); break;
	case STMT_RETURN: check_return(k, s); break;
	case STMT_BREAK:
	case STMT_CONTINUE:
		if (!k->loops)
			ERROR(k, s->pos, "'%s' outside a loop",
			      s->kind == STMT_BREAK ? "break" : "continue");
		break;
	}
}

static void check_stmts(struct checker *k, struct stmt *s)
{
	for (; s; s = s->next)
		check_stmt(k, s);
}

static bool has_break(const struct stmt *s)
{
	for (; s; s = s->next) {
		if (s->kind == STMT_BREAK)
			return true;
		if (s->kind == STMT_IF && s->taken != IF_ELSE && has_break(s->body))
			return true;
		if (s->kind == STMT_IF && s->els && s->taken != IF_THEN && has_break(s->els))
			return true;
		if (s->kind == STMT_BLOCK && has_break(s->body))
			return true;
	}
	return false;
}

/* Go's terminating statements. */
static bool terminates(const struct stmt *s)
{
	while (s && s->next)
		s = s->next;
	if (!s)
		return false;
	switch ((int)s->kind) {
	case STMT_RETURN:
	case STMT_GOTO: return true;
	case STMT_BAD: return true; /* reported already */
	case STMT_BLOCK: return terminates(s->body);
	case STMT_FOR:
		return (!s->x || (s->x->is_const && s->x->val.i)) && !has_break(s->body->body);
	case STMT_IF:
		if (s->taken == IF_THEN)
			return terminates(s->body->body);
		if (s->taken == IF_ELSE)
			return s->els && terminates(s->els);
		return s->els && terminates(s->body->body) && terminates(s->els);
	default: return false;
	}
}

static void check_func(struct checker *k, struct func *f)
{
	k->func = f;
	k->scope++;
	VEC_PUSH(&k->c->arena, &k->blocks, ((struct block_mark){ .id = ++k->n_block_ids }));
	for (uint32_t i = 0; i < f->n_params; i++) {
		struct param *p = &f->params[i];

		p->sym = declare(k, p->name, SYM_VAR, p->pos);
		p->sym->type = p->t;
	}
	if (f->has_labels)
		collect_labels(k, f->body->body);
	check_stmts(k, f->body->body);
	check_gotos(k);
	for (struct label *l = f->labels; l; l = l->next)
		if (l->defined && !l->used)
			ERROR(k, l->pos, "label '%s' is not used", l->name->s);
	if (f->t.kind != TYPE_VOID && f->t.kind != TYPE_INVALID && !terminates(f->body->body))
		ERROR(k, f->end, "'%s' can end without a return", f->name->s);
	k->blocks.n = 0;
	scope_leave(k);
}

static void check_signature(struct checker *k, struct func *f)
{
	f->t.kind = TYPE_VOID;
	if (f->result) {
		f->t = check_type(k, f->result);
		if (f->t.kind == TYPE_BUFFER) {
			ERROR(k, f->result->pos, "a buffer cannot be returned");
			f->t.kind = TYPE_INVALID;
		}
	}
	if (f->n_params > IR_MAX_ARGS)
		ERROR(k, f->params[IR_MAX_ARGS].pos, "a function takes at most %d parameters",
		      IR_MAX_ARGS);
	for (uint32_t i = 0; i < f->n_params; i++) {
		struct param *p = &f->params[i];

		p->t = check_type(k, p->type);
		if (p->t.kind == TYPE_BUFFER) {
			ERROR(k, p->type->pos, "a buffer is passed by its address, as uintptr");
			p->t.kind = TYPE_INVALID;
		}
	}
}

static void check_main(struct checker *k)
{
	struct compiler *c = k->c;
	struct sym *s = ident_get(&c->arena, &c->ids, "main")->sym;

	if (!s || s->kind != SYM_FUNC)
		ERROR(k, 1, "there is no function 'main'");
}

void check_unit(struct compiler *c)
{
	struct checker k = { .c = c };

	enter_universe(&k);
	enter_option_consts(&k);
	declare_consts(&k, c->unit.consts, false);
	for (struct func *f = c->unit.funcs; f; f = f->next) {
		f->sym = declare(&k, f->name, SYM_FUNC, f->pos);
		f->sym->func = f;
	}
	for (struct global *g = c->unit.globals; g; g = g->next)
		g->sym = declare(&k, g->name, SYM_GLOBAL, g->pos);
	/* Constants are evaluated when something needs them; what a name is must be known first. */
	for (struct global *g = c->unit.globals; g; g = g->next)
		g->sym->type = check_type(&k, g->type);
	for (struct func *f = c->unit.funcs; f; f = f->next)
		check_signature(&k, f);
	for (struct const_decl *d = c->unit.consts; d; d = d->next)
		if (d->name && d->name->sym->decl == d)
			check_const_decl(&k, d->name->sym);
	for (struct func *f = c->unit.funcs; f; f = f->next)
		check_func(&k, f);
	check_main(&k);
}
