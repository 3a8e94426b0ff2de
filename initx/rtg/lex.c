/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of RTG. */
#include "rtg/lex.h"

#include <string.h>

#include "base/checked.h"
#include "rtg/strbuf.h"

const char *tok_name(enum tok t)
{
	static const char *const names[] = {
#define T(name, text) text,
		RTG_TOKENS(T)
#undef T
	};

	return t < TOK_MAX_ ? names[t] : "?";
}

static const struct {
	const char *s;
	enum tok kind;
} keywords[] = {
	{ "break", TOK_BREAK },
	{ "case", TOK_RESERVED },
	{ "chan", TOK_RESERVED },
	{ "const", TOK_CONST },
	{ "continue", TOK_CONTINUE },
	{ "default", TOK_RESERVED },
	{ "defer", TOK_RESERVED },
	{ "else", TOK_ELSE },
	{ "fallthrough", TOK_RESERVED },
	{ "for", TOK_FOR },
	{ "func", TOK_FUNC },
	{ "go", TOK_RESERVED },
	{ "goto", TOK_GOTO },
	{ "if", TOK_IF },
	{ "import", TOK_RESERVED },
	{ "interface", TOK_RESERVED },
	{ "map", TOK_RESERVED },
	{ "package", TOK_PACKAGE },
	{ "range", TOK_RESERVED },
	{ "return", TOK_RETURN },
	{ "select", TOK_RESERVED },
	{ "struct", TOK_RESERVED },
	{ "switch", TOK_RESERVED },
	{ "type", TOK_RESERVED },
	{ "var", TOK_VAR },
};

/* What a character that starts an operator gives: alone, before '=', doubled, doubled before '=';
 * 0: no such form. */
static const struct {
	uint8_t plain, assign, twice, twice_assign;
} operators[128] = {
	['('] = { TOK_LPAREN },
	[')'] = { TOK_RPAREN },
	['{'] = { TOK_LBRACE },
	['}'] = { TOK_RBRACE },
	['['] = { TOK_LBRACK },
	[']'] = { TOK_RBRACK },
	[','] = { TOK_COMMA },
	[';'] = { TOK_SEMI },
	['.'] = { TOK_DOT },
	['<'] = { TOK_LT, TOK_LE, TOK_SHL, TOK_SHL_ASSIGN },
	['>'] = { TOK_GT, TOK_GE, TOK_SHR, TOK_SHR_ASSIGN },
	['='] = { TOK_ASSIGN, TOK_EQ },
	['!'] = { TOK_NOT, TOK_NE },
	['&'] = { TOK_AND, TOK_AND_ASSIGN, TOK_LAND },
	['|'] = { TOK_OR, TOK_OR_ASSIGN, TOK_LOR },
	['+'] = { TOK_ADD, TOK_ADD_ASSIGN, TOK_INC },
	['-'] = { TOK_SUB, TOK_SUB_ASSIGN, TOK_DEC },
	['*'] = { TOK_MUL, TOK_MUL_ASSIGN },
	['/'] = { TOK_DIV, TOK_DIV_ASSIGN },
	['%'] = { TOK_REM, TOK_REM_ASSIGN },
	['^'] = { TOK_XOR, TOK_XOR_ASSIGN },
	[':'] = { TOK_COLON, TOK_DEFINE },
};

/* A copy with zeroes behind it, so that looking a few bytes ahead needs no check. */
#define MAX_AHEAD 8

void lex_keywords(struct arena *arena, struct idents *ids)
{
	for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
		ident_get(arena, ids, keywords[i].s)->keyword = (uint8_t)keywords[i].kind;
}

void lex_init(struct lexer *lx, struct arena *arena, struct idents *ids, struct diag_list *diags,
	      uint32_t file)
{
	const struct src_file *f = &diags->files.v[file];
	uint8_t *copy = arena_alloc(arena, (size_t)f->len + MAX_AHEAD + 1);

	if (f->len)
		memcpy(copy, f->text, f->len);
	*lx = (struct lexer){ .arena = arena,
			      .ids = ids,
			      .diags = diags,
			      .text = copy,
			      .at = copy,
			      .end = copy + f->len,
			      .base = f->base };
}

static src_pos_t position(const struct lexer *lx, const uint8_t *at)
{
	return lx->base + (src_pos_t)(at - lx->text);
}

/* Classes of characters, for the loops that see most of a source. */
#define C_LETTER 1
#define C_DIGIT	 2
#define C_BLANK	 4

static const uint8_t classes[256] = {
	[' '] = C_BLANK,	 ['\t'] = C_BLANK,	   ['\r'] = C_BLANK,
	['0' ... '9'] = C_DIGIT, ['a' ... 'z'] = C_LETTER, ['A' ... 'Z'] = C_LETTER,
	['_'] = C_LETTER,
};

/* Behind the characters of class @mask that start at @at. */
static inline const uint8_t *span(const uint8_t *at, uint8_t mask)
{
	while (classes[*at] & mask)
		at++;
	return at;
}

static int digit_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Past a comment that may have several lines; true when it has. */
static bool skip_comment(struct lexer *lx)
{
	const uint8_t *start = lx->at;
	const uint8_t *close = memmem(start + 2, (size_t)(lx->end - start - 2), "*/", 2);

	lx->at = close ? close + 2 : lx->end;
	if (!close)
		diag_error(lx->diags, position(lx, start), "comment is not closed");
	return memchr(start, '\n', (size_t)(lx->at - start)) != NULL;
}

/* Skips blanks and comments; true when a newline that counts was crossed. */
static inline bool lex_skip(struct lexer *lx, bool want_semi)
{
	for (;;) {
		const uint8_t *at = span(lx->at, C_BLANK), *eol;

		lx->at = at;
		if (*at == '\n') {
			if (want_semi)
				return true;
			lx->at++;
		} else if (*at != '/') {
			return false;
		} else if (at[1] == '/') {
			eol = memchr(at, '\n', (size_t)(lx->end - at));
			lx->at = eol ? eol : lx->end;
		} else if (at[1] != '*') {
			return false;
		} else if (skip_comment(lx) && want_semi) {
			return true;
		}
	}
}

static __attribute__((noinline)) void lex_ident(struct lexer *lx, struct token *t)
{
	const uint8_t *start = lx->at;
	uint64_t head = le64_load(start);
	uint32_t len;

	lx->at = span(start, C_LETTER | C_DIGIT);
	len = (uint32_t)(lx->at - start);
	if (len < 8)
		head &= (1ULL << (8 * len)) - 1;
	t->ident = ident_get_word(lx->arena, lx->ids, (const char *)start, len, head);
	t->kind = t->ident->keyword ? (enum tok)t->ident->keyword : TOK_IDENT;
}

static __attribute__((noinline)) void lex_number(struct lexer *lx, struct token *t)
{
	unsigned radix = 10;
	uint64_t v = 0;
	bool overflow = false, any = false, bad = false;

	t->kind = TOK_INT;
	if (lx->at[0] == '0') {
		int c = lx->at[1] | 0x20;

		radix = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
		if (radix != 10)
			lx->at += 2;
		else if (classes[lx->at[1]] & C_DIGIT)
			radix = 8; /* Go's old octal */
	}
	for (; classes[*lx->at] & (C_LETTER | C_DIGIT); lx->at++) {
		int d = digit_value(*lx->at);

		if (*lx->at == '_')
			continue;
		if (d < 0 || (unsigned)d >= radix) {
			bad = true;
			continue;
		}
		any = true;
		overflow |= ckd_mul(&v, v, (uint64_t)radix) || ckd_add(&v, v, (uint64_t)d);
	}
	if (bad || !any)
		diag_error(lx->diags, t->pos, "malformed number");
	else if (overflow)
		diag_error(lx->diags, t->pos, "number does not fit 64 bits");
	t->num = v;
}

/* One character of a literal after the backslash. Returns the byte, or -1 after an error. */
static int lex_escape(struct lexer *lx, uint8_t quote)
{
	src_pos_t pos = position(lx, lx->at - 1);
	static const char from[] = "ntrabfv\\0";
	static const char to[] = "\n\t\r\a\b\f\v\\\0";
	uint8_t c = *lx->at;

	if (lx->at == lx->end || c == '\n') {
		diag_error(lx->diags, pos, "escape sequence is cut off");
		return -1;
	}
	lx->at++;
	if (c == quote)
		return c;
	for (size_t i = 0; i < sizeof(from) - 1; i++)
		if (from[i] == c)
			return (unsigned char)to[i];
	if (c == 'x') {
		int hi = digit_value(lx->at[0]);
		int lo = hi < 0 ? -1 : digit_value(lx->at[1]);

		if (lo >= 0) {
			lx->at += 2;
			return hi * 16 + lo;
		}
	}
	diag_error(lx->diags, pos, "unknown escape sequence");
	return -1;
}

static __attribute__((noinline)) void lex_string(struct lexer *lx, struct token *t)
{
	struct strbuf sb = { .arena = lx->arena };
	uint8_t quote = *lx->at++;
	const uint8_t *close = memchr(lx->at, quote, (size_t)(lx->end - lx->at));

	strbuf_reserve(&sb, close ? (size_t)(close - lx->at) + 1 : 1);
	t->kind = TOK_STRING;
	while (*lx->at != quote) {
		int c = *lx->at;

		if (lx->at == lx->end || (c == '\n' && quote == '"')) {
			diag_error(lx->diags, t->pos, "string is not closed");
			break;
		}
		lx->at++;
		if (c == '\\' && quote == '"') {
			c = lex_escape(lx, quote);
			if (c < 0)
				continue;
		}
		strbuf_putc(&sb, (char)c);
	}
	if (*lx->at == quote)
		lx->at++;
	t->len = (uint32_t)sb.len;
	strbuf_putc(&sb, '\0');
	t->s = sb.s;
}

static __attribute__((noinline)) void lex_char(struct lexer *lx, struct token *t)
{
	int c = *++lx->at;

	t->kind = TOK_INT;
	t->num = 0;
	if (lx->at == lx->end || c == '\n' || c == '\'') {
		diag_error(lx->diags, t->pos, "empty or unfinished character");
		lx->at += c == '\'';
		return;
	}
	lx->at++;
	if (c == '\\')
		c = lex_escape(lx, '\'');
	t->num = c < 0 ? 0 : (uint64_t)c;
	if (*lx->at == '\'') {
		lx->at++;
		return;
	}
	diag_error(lx->diags, t->pos, "a character literal holds one byte");
	while (lx->at < lx->end && *lx->at != '\n' && *lx->at != ';')
		if (*lx->at++ == '\'')
			break;
}

static __attribute__((noinline)) void lex_operator(struct lexer *lx, struct token *t)
{
	uint8_t c = lx->at[0], c1 = lx->at[1], row = c < 128 ? c : 0;
	enum tok kind = operators[row].plain;

	lx->at++;
	if (!kind) {
		kind = TOK_BAD;
		diag_error(lx->diags, t->pos, "character 0x%02x does not belong here", c);
	} else if (c1 == c && lx->at[1] == '=' && operators[row].twice_assign) {
		kind = operators[row].twice_assign;
		lx->at += 2;
	} else if (c1 == c && operators[row].twice) {
		kind = operators[row].twice;
		lx->at++;
	} else if (c1 == '=' && operators[row].assign) {
		kind = operators[row].assign;
		lx->at++;
	}
	t->kind = kind;
}

/* Go's rule: after these a newline ends the statement. */
#define BIT(k) (1ULL << TOK_##k)
static const uint64_t ends_statement = BIT(IDENT) | BIT(INT) | BIT(STRING) | BIT(BREAK) |
				       BIT(CONTINUE) | BIT(RETURN) | BIT(INC) | BIT(DEC) |
				       BIT(RPAREN) | BIT(RBRACK) | BIT(RBRACE);
_Static_assert(TOK_MAX_ <= 64, "a bit for each token");

void lex_next(struct lexer *lx, struct token *t)
{
	bool want_semi = ends_statement >> t->kind & 1;
	bool newline = lex_skip(lx, want_semi);
	uint8_t c = *lx->at;

	t->pos = position(lx, lx->at);
	if (newline)
		t->kind = TOK_NEWLINE;
	else if (classes[c] & C_LETTER)
		lex_ident(lx, t);
	else if (classes[c] & C_DIGIT)
		lex_number(lx, t);
	else if (c == '"' || c == '`')
		lex_string(lx, t);
	else if (c == '\'')
		lex_char(lx, t);
	else if (lx->at < lx->end)
		lex_operator(lx, t);
	else
		t->kind = want_semi ? TOK_NEWLINE : TOK_EOF;
}
