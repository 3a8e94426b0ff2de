/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recursive-descent parser. After an error it skips to the end of the statement (or declaration)
 * and goes on, so that one run finds all errors of a file. Nesting is bounded by AST_MAX_NEST,
 * operator chains by AST_MAX_DEPTH.
 */
#include "rtg/ast.h"

#include <string.h>

struct parser {
	struct arena *a;
	struct diag_list *diags;
	struct lexer lx;
	struct token t;
	uint32_t nest;
	bool prelude;
	bool too_deep;	 /* reported once a file */
	bool has_labels; /* in the function being parsed */
	struct unit *unit;
};

static struct expr *parse_expr(struct parser *p);
static struct stmt *parse_stmt(struct parser *p);

static void next(struct parser *p)
{
	lex_next(&p->lx, &p->t);
}

static bool accept(struct parser *p, enum tok k)
{
	if (p->t.kind != k)
		return false;
	next(p);
	return true;
}

/* "expected X, found Y" at the current token. */
static void error_expected(struct parser *p, const char *what)
{
	const char *found = tok_name(p->t.kind);

	if (p->t.kind == TOK_IDENT)
		diag_error(p->diags, p->t.pos, "expected %s, found '%s'", what, p->t.ident->s);
	else if (p->t.kind == TOK_RESERVED)
		diag_error(p->diags, p->t.pos, "'%s' is not part of RTG", p->t.ident->s);
	else if (p->t.kind != TOK_BAD)
		diag_error(p->diags, p->t.pos, "expected %s, found %s", what, found);
}

static bool expect(struct parser *p, enum tok k)
{
	if (accept(p, k))
		return true;
	error_expected(p, tok_name(k));
	return false;
}

static bool nest_enter(struct parser *p)
{
	if (p->nest < AST_MAX_NEST) {
		p->nest++;
		return true;
	}
	if (!p->too_deep)
		diag_error(p->diags, p->t.pos, "nested more than %d levels deep", AST_MAX_NEST);
	p->too_deep = true;
	return false;
}

static bool at_end(const struct parser *p)
{
	return p->t.kind == TOK_SEMI || p->t.kind == TOK_NEWLINE;
}

/* Behind an error: to the end of the statement, keeping braces balanced. */
static void skip_statement(struct parser *p)
{
	uint32_t depth = 0;

	while (p->t.kind != TOK_EOF) {
		if (p->t.kind == TOK_LBRACE) {
			depth++;
		} else if (p->t.kind == TOK_RBRACE) {
			if (!depth)
				return;
			if (!--depth) {
				next(p);
				return;
			}
		} else if (!depth && at_end(p)) {
			return;
		}
		next(p);
	}
}

/* To the next line that starts a declaration: a keyword behind a newline. */
static void skip_declaration(struct parser *p)
{
	bool fresh = false;

	while (p->t.kind != TOK_EOF) {
		if (fresh &&
		    (p->t.kind == TOK_FUNC || p->t.kind == TOK_CONST || p->t.kind == TOK_VAR))
			return;
		fresh = at_end(p);
		next(p);
	}
}

static struct ident *parse_name(struct parser *p, const char *what)
{
	struct ident *id;

	if (p->t.kind != TOK_IDENT) {
		error_expected(p, what);
		return NULL;
	}
	id = p->t.ident;
	if (!p->prelude && id->len >= 2 && id->s[0] == '_' && id->s[1] == '_')
		diag_error(p->diags, p->t.pos, "names that start with '__' are the compiler's own");
	next(p);
	return id;
}

static struct expr *new_expr(struct parser *p, enum expr_kind kind, src_pos_t pos)
{
	struct expr *e = arena_alloc(p->a, sizeof(*e));

	e->kind = kind;
	e->pos = pos;
	e->start = pos;
	e->depth = 1;
	return e;
}

static void parse_args(struct parser *p, struct expr *call)
{
	VEC(struct expr *) args = { 0 };

	while (p->t.kind != TOK_RPAREN && p->t.kind != TOK_EOF) {
		struct expr *arg = parse_expr(p);

		VEC_PUSH(p->a, &args, arg);
		if (arg->depth >= call->depth)
			call->depth = arg->depth + 1;
		if (!accept(p, TOK_COMMA))
			break;
	}
	expect(p, TOK_RPAREN);
	call->args = args.v;
	call->n_args = args.n;
}

static struct expr *parse_primary(struct parser *p)
{
	struct expr *e;

	if (accept(p, TOK_LPAREN)) {
		e = parse_expr(p);
		expect(p, TOK_RPAREN);
		return e;
	}
	e = new_expr(p, EXPR_BAD, p->t.pos);
	switch ((int)p->t.kind) {
	case TOK_INT:
		e->kind = EXPR_INT;
		e->val.i = (__int128)p->t.num;
		next(p);
		return e;
	case TOK_STRING:
		e->kind = EXPR_STRING;
		e->val.s = p->t.s;
		e->val.len = p->t.len;
		next(p);
		return e;
	case TOK_IDENT:
		e->kind = EXPR_NAME;
		e->name = p->t.ident;
		next(p);
		return e;
	default: error_expected(p, "an expression"); return e;
	}
}

static struct expr *parse_postfix(struct parser *p)
{
	struct expr *e = parse_primary(p);

	while (p->t.kind == TOK_LPAREN || p->t.kind == TOK_LBRACK) {
		struct expr *outer = new_expr(p, EXPR_CALL, e->start);

		outer->x = e;
		outer->depth = e->depth + 1;
		if (accept(p, TOK_LPAREN)) {
			parse_args(p, outer);
		} else {
			outer->kind = EXPR_INDEX;
			next(p);
			outer->y = parse_expr(p);
			if (outer->y->depth >= outer->depth)
				outer->depth = outer->y->depth + 1;
			expect(p, TOK_RBRACK);
		}
		if (outer->depth > AST_MAX_DEPTH) {
			diag_error(p->diags, e->start, "expression is too long");
			outer->kind = EXPR_BAD;
			outer->depth = 1;
		}
		e = outer;
	}
	return e;
}

static const bool is_unary[TOK_MAX_] = {
	[TOK_SUB] = true, [TOK_NOT] = true, [TOK_XOR] = true, [TOK_AND] = true, [TOK_ADD] = true,
};

static struct expr *parse_unary(struct parser *p)
{
	struct expr *e;

	if (!is_unary[p->t.kind])
		return parse_postfix(p);
	e = new_expr(p, EXPR_UNARY, p->t.pos);
	e->op = p->t.kind;
	next(p);
	if (!nest_enter(p)) {
		e->kind = EXPR_BAD;
		return e;
	}
	e->x = parse_unary(p);
	e->depth = e->x->depth + 1;
	p->nest--;
	return e;
}

/* 0: no binary operator. */
static const uint8_t precedence[TOK_MAX_] = {
	[TOK_MUL] = 5, [TOK_DIV] = 5, [TOK_REM] = 5, [TOK_SHL] = 5, [TOK_SHR] = 5,  [TOK_AND] = 5,
	[TOK_ADD] = 4, [TOK_SUB] = 4, [TOK_OR] = 4,  [TOK_XOR] = 4, [TOK_EQ] = 3,   [TOK_NE] = 3,
	[TOK_LT] = 3,  [TOK_LE] = 3,  [TOK_GT] = 3,  [TOK_GE] = 3,  [TOK_LAND] = 2, [TOK_LOR] = 1,
};

static struct expr *parse_binary(struct parser *p, int min)
{
	struct expr *x = parse_unary(p);

	for (;;) {
		int prec = precedence[p->t.kind];
		struct expr *e;

		if (prec < min || !prec)
			return x;
		e = new_expr(p, EXPR_BINARY, p->t.pos);
		e->start = x->start;
		e->op = p->t.kind;
		next(p);
		e->x = x;
		e->y = parse_binary(p, prec + 1);
		e->depth = 1 + (x->depth > e->y->depth ? x->depth : e->y->depth);
		if (e->depth > AST_MAX_DEPTH) {
			diag_error(p->diags, e->start, "expression is too long");
			e->kind = EXPR_BAD;
			e->depth = 1;
		}
		x = e;
	}
}

static struct expr *parse_expr(struct parser *p)
{
	struct expr *e;

	if (!nest_enter(p)) {
		e = new_expr(p, EXPR_BAD, p->t.pos);
		skip_statement(p);
		return e;
	}
	e = parse_binary(p, 1);
	p->nest--;
	return e;
}

static struct type_expr *parse_type(struct parser *p)
{
	struct type_expr *t = arena_alloc(p->a, sizeof(*t));

	t->pos = p->t.pos;
	if (accept(p, TOK_LBRACK)) {
		struct ident *elem;
		src_pos_t pos;

		t->len = parse_expr(p);
		expect(p, TOK_RBRACK);
		pos = p->t.pos;
		elem = parse_name(p, "'byte'");
		if (elem && strcmp(elem->s, "byte") != 0 && strcmp(elem->s, "uint8") != 0) {
			diag_error(p->diags, pos, "only [N]byte buffers exist");
			t->bad = true;
		}
		t->bad |= !elem;
		return t;
	}
	t->name = parse_name(p, "a type");
	t->bad = !t->name;
	return t;
}

static bool end_statement(struct parser *p)
{
	if (p->t.kind == TOK_RBRACE || p->t.kind == TOK_RPAREN || p->t.kind == TOK_EOF)
		return true;
	if (at_end(p)) {
		next(p);
		return true;
	}
	error_expected(p, "end of statement");
	skip_statement(p);
	if (at_end(p))
		next(p);
	return false;
}

static struct const_decl *parse_const_spec(struct parser *p)
{
	struct const_decl *d = arena_alloc(p->a, sizeof(*d));

	d->pos = p->t.pos;
	d->name = parse_name(p, "a name");
	if (d->name && p->t.kind != TOK_ASSIGN)
		d->type = parse_type(p);
	if (!d->name || !expect(p, TOK_ASSIGN)) {
		skip_statement(p);
		d->value = new_expr(p, EXPR_BAD, d->pos);
		return d;
	}
	d->value = parse_expr(p);
	return d;
}

/* const x = 1, or const ( ... ); returns the list. */
static struct const_decl *parse_consts(struct parser *p)
{
	struct const_decl *head = NULL, **tail = &head;

	next(p);
	if (!accept(p, TOK_LPAREN)) {
		head = parse_const_spec(p);
		return head;
	}
	while (p->t.kind != TOK_RPAREN && p->t.kind != TOK_EOF) {
		if (at_end(p)) {
			next(p);
			continue;
		}
		*tail = parse_const_spec(p);
		tail = &(*tail)->next;
		if (!end_statement(p))
			continue;
		if (p->t.kind == TOK_RBRACE) { /* out of step */
			error_expected(p, "')'");
			return head;
		}
	}
	expect(p, TOK_RPAREN);
	return head;
}

static struct stmt *new_stmt(struct parser *p, enum stmt_kind kind)
{
	struct stmt *s = arena_alloc(p->a, sizeof(*s));

	s->kind = kind;
	s->pos = p->t.pos;
	return s;
}

/* Statements up to '}' (not consumed). */
static struct stmt *parse_stmts(struct parser *p)
{
	struct stmt *head = NULL, **tail = &head;

	while (p->t.kind != TOK_RBRACE && p->t.kind != TOK_EOF) {
		struct stmt *s;

		if (at_end(p)) {
			next(p);
			continue;
		}
		s = parse_stmt(p);
		if (s) {
			*tail = s;
			tail = &s->next;
		}
		if (s && s->kind == STMT_LABEL)
			continue;
		end_statement(p);
		if (p->t.kind == TOK_RPAREN) { /* a stray one would stop progress */
			error_expected(p, "a statement");
			next(p);
		}
	}
	return head;
}

static struct stmt *parse_block(struct parser *p)
{
	struct stmt *s = new_stmt(p, STMT_BLOCK);

	if (!expect(p, TOK_LBRACE)) {
		skip_statement(p);
		return s;
	}
	if (!nest_enter(p)) {
		while (p->t.kind != TOK_EOF) /* nothing sensible follows */
			next(p);
		return s;
	}
	s->body = parse_stmts(p);
	p->nest--;
	s->end = p->t.pos;
	expect(p, TOK_RBRACE);
	return s;
}

static struct stmt *parse_if(struct parser *p)
{
	struct stmt *s = new_stmt(p, STMT_IF);

	next(p);
	s->x = parse_expr(p);
	s->body = parse_block(p);
	if (!accept(p, TOK_ELSE))
		return s;
	if (p->t.kind == TOK_IF) {
		if (!nest_enter(p)) {
			skip_statement(p);
			return s;
		}
		s->els = parse_if(p);
		p->nest--;
	} else {
		s->els = parse_block(p);
	}
	return s;
}

static struct stmt *parse_for(struct parser *p)
{
	struct stmt *s = new_stmt(p, STMT_FOR);

	next(p);
	if (p->t.kind != TOK_LBRACE)
		s->x = parse_expr(p);
	if (p->t.kind == TOK_SEMI || p->t.kind == TOK_DEFINE || p->t.kind == TOK_ASSIGN) {
		diag_error(p->diags, p->t.pos, "'for' takes a condition or nothing");
		while (p->t.kind != TOK_LBRACE && p->t.kind != TOK_NEWLINE && p->t.kind != TOK_EOF)
			next(p);
		s->x = new_expr(p, EXPR_BAD, s->pos);
	}
	s->body = parse_block(p);
	return s;
}

static struct stmt *parse_var(struct parser *p)
{
	struct stmt *s = new_stmt(p, STMT_VAR);

	next(p);
	s->pos = p->t.pos;
	s->name = parse_name(p, "a name");
	if (!s->name) {
		skip_statement(p);
		s->kind = STMT_BAD;
		return s;
	}
	if (p->t.kind != TOK_ASSIGN)
		s->type = parse_type(p);
	if (accept(p, TOK_ASSIGN))
		s->x = parse_expr(p);
	return s;
}

/* x = v, x := v, x += v, x++, label:, or an expression. */
static struct stmt *parse_simple(struct parser *p)
{
	struct stmt *s = new_stmt(p, STMT_EXPR);
	struct expr *e = parse_expr(p);

	s->x = e;
	if (e->kind == EXPR_NAME && p->t.kind == TOK_COLON) {
		next(p);
		s->kind = STMT_LABEL;
		p->has_labels = true;
		s->name = e->name;
		return s;
	}
	if (p->t.kind == TOK_INC || p->t.kind == TOK_DEC) {
		s->kind = STMT_ASSIGN;
		s->op = p->t.kind == TOK_INC ? TOK_ADD : TOK_SUB;
		s->pos = p->t.pos;
		s->lhs = e;
		s->x = new_expr(p, EXPR_INT, p->t.pos);
		s->x->val.i = 1;
		next(p);
	} else if (p->t.kind == TOK_ASSIGN || p->t.kind == TOK_DEFINE ||
		   (p->t.kind >= TOK_ADD_ASSIGN && p->t.kind <= TOK_XOR_ASSIGN)) {
		s->kind = STMT_ASSIGN;
		s->op = p->t.kind >= TOK_ADD_ASSIGN ? TOK_ADD + (p->t.kind - TOK_ADD_ASSIGN)
						    : p->t.kind;
		s->pos = p->t.pos;
		s->lhs = e;
		next(p);
		s->x = parse_expr(p);
		if (s->op == TOK_DEFINE && e->kind != EXPR_NAME && e->kind != EXPR_BAD)
			diag_error(p->diags, e->start, "':=' declares one name");
		s->name = e->name;
	} else if (p->t.kind == TOK_COMMA) {
		diag_error(p->diags, p->t.pos, "one value at a time");
		skip_statement(p);
		s->kind = STMT_BAD;
	}
	if (e->kind == EXPR_BAD)
		skip_statement(p);
	return s;
}

static struct stmt *parse_stmt(struct parser *p)
{
	struct stmt *s;

	switch ((int)p->t.kind) {
	case TOK_VAR: return parse_var(p);
	case TOK_CONST:
		s = new_stmt(p, STMT_CONST);
		s->decls = parse_consts(p);
		return s;
	case TOK_IF: return parse_if(p);
	case TOK_FOR: return parse_for(p);
	case TOK_LBRACE: return parse_block(p);
	case TOK_GOTO:
		s = new_stmt(p, STMT_GOTO);
		next(p);
		s->pos = p->t.pos;
		s->name = parse_name(p, "a label");
		if (!s->name) {
			s->kind = STMT_BAD;
			skip_statement(p);
		}
		return s;
	case TOK_RETURN:
		s = new_stmt(p, STMT_RETURN);
		next(p);
		if (!at_end(p) && p->t.kind != TOK_RBRACE)
			s->x = parse_expr(p);
		return s;
	case TOK_BREAK:
	case TOK_CONTINUE:
		s = new_stmt(p, p->t.kind == TOK_BREAK ? STMT_BREAK : STMT_CONTINUE);
		next(p);
		return s;
	case TOK_FUNC:
		diag_error(p->diags, p->t.pos, "functions stand at the top level");
		s = new_stmt(p, STMT_BAD);
		skip_statement(p);
		return s;
	case TOK_RESERVED:
		error_expected(p, "a statement");
		s = new_stmt(p, STMT_BAD);
		skip_statement(p);
		return s;
	default: return parse_simple(p);
	}
}

static void parse_params(struct parser *p, struct func *f)
{
	VEC(struct param) params = { 0 };
	uint32_t untyped = 0;

	while (p->t.kind != TOK_RPAREN && p->t.kind != TOK_EOF) {
		struct param *prm = VEC_NEW(p->a, &params);

		*prm = (struct param){ .pos = p->t.pos };
		prm->name = parse_name(p, "a parameter");
		if (!prm->name) {
			params.n--;
			f->broken = true;
			break;
		}
		if (accept(p, TOK_COMMA)) /* a, b int64 */
			continue;
		prm->type = parse_type(p);
		f->broken |= prm->type->bad;
		for (; untyped < params.n; untyped++)
			params.v[untyped].type = prm->type;
		if (!accept(p, TOK_COMMA))
			break;
	}
	if (untyped < params.n) {
		if (!f->broken)
			diag_error(p->diags, params.v[untyped].pos, "parameter has no type");
		f->broken = true;
		params.n = untyped;
	}
	f->params = params.v;
	f->n_params = params.n;
	if (!expect(p, TOK_RPAREN)) {
		f->broken = true;
		while (p->t.kind != TOK_LBRACE && p->t.kind != TOK_EOF && !at_end(p))
			next(p);
	}
}

static void parse_func(struct parser *p)
{
	struct func *f = arena_alloc(p->a, sizeof(*f));

	next(p);
	f->pos = p->t.pos;
	f->prelude = p->prelude;
	if (p->t.kind == TOK_LPAREN) {
		diag_error(p->diags, p->t.pos, "methods are not part of RTG");
		skip_declaration(p);
		return;
	}
	f->name = parse_name(p, "a function name");
	if (!f->name || !expect(p, TOK_LPAREN)) {
		skip_declaration(p);
		return;
	}
	parse_params(p, f);
	if (p->t.kind == TOK_LPAREN) {
		diag_error(p->diags, p->t.pos, "a function has at most one result");
		f->broken = true;
		while (p->t.kind != TOK_LBRACE && p->t.kind != TOK_EOF && !at_end(p))
			next(p);
	} else if (p->t.kind != TOK_LBRACE && !at_end(p)) {
		f->result = parse_type(p);
		f->broken |= f->result->bad;
	}
	p->has_labels = false;
	f->body = parse_block(p);
	f->has_labels = p->has_labels;
	f->end = f->body->end ? f->body->end : f->pos;
	*p->unit->funcs_tail = f;
	p->unit->funcs_tail = &f->next;
}

static void parse_global(struct parser *p)
{
	struct global *g = arena_alloc(p->a, sizeof(*g));

	next(p);
	g->pos = p->t.pos;
	g->name = parse_name(p, "a name");
	if (!g->name) {
		skip_statement(p);
		return;
	}
	if (p->t.kind == TOK_ASSIGN) {
		diag_error(p->diags, p->t.pos, "a global starts as zero: give it a type only");
		skip_statement(p);
		return;
	}
	g->type = parse_type(p);
	if (p->t.kind == TOK_ASSIGN) {
		diag_error(p->diags, p->t.pos, "a global starts as zero: give it a type only");
		skip_statement(p);
	}
	*p->unit->globals_tail = g;
	p->unit->globals_tail = &g->next;
}

static void parse_package(struct parser *p)
{
	struct ident *name;
	src_pos_t pos;

	while (at_end(p))
		next(p);
	if (!expect(p, TOK_PACKAGE))
		return;
	pos = p->t.pos;
	name = parse_name(p, "'main'");
	if (name && strcmp(name->s, "main") != 0)
		diag_error(p->diags, pos, "the only package is 'main'");
	end_statement(p);
}

void parse_file(struct arena *a, struct idents *ids, struct diag_list *diags, uint32_t file,
		bool prelude, struct unit *unit)
{
	struct parser p = { .a = a, .diags = diags, .prelude = prelude, .unit = unit };

	lex_init(&p.lx, a, ids, diags, file);
	next(&p);
	parse_package(&p);
	while (p.t.kind != TOK_EOF) {
		if (at_end(&p)) {
			next(&p);
		} else if (p.t.kind == TOK_FUNC) {
			parse_func(&p);
		} else if (p.t.kind == TOK_CONST) {
			*unit->consts_tail = parse_consts(&p);
			while (*unit->consts_tail)
				unit->consts_tail = &(*unit->consts_tail)->next;
		} else if (p.t.kind == TOK_VAR) {
			parse_global(&p);
		} else {
			error_expected(&p, "a declaration");
			skip_declaration(&p);
			continue;
		}
		if (!at_end(&p) && p.t.kind != TOK_EOF && p.t.kind != TOK_FUNC &&
		    p.t.kind != TOK_CONST && p.t.kind != TOK_VAR) {
			error_expected(&p, "end of declaration");
			skip_declaration(&p);
		}
	}
}
