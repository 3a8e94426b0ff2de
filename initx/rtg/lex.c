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

#define K(text, kind)                        \
	{                                    \
		text, sizeof(text) - 1, kind \
	}

static const struct {
	const char *s;
	uint32_t len;
	enum tok kind;
} keywords[] = {
	K("break", TOK_BREAK),
	K("case", TOK_RESERVED),
	K("chan", TOK_RESERVED),
	K("const", TOK_CONST),
	K("continue", TOK_CONTINUE),
	K("default", TOK_RESERVED),
	K("defer", TOK_RESERVED),
	K("else", TOK_ELSE),
	K("fallthrough", TOK_RESERVED),
	K("for", TOK_FOR),
	K("func", TOK_FUNC),
	K("go", TOK_RESERVED),
	K("goto", TOK_GOTO),
	K("if", TOK_IF),
	K("import", TOK_RESERVED),
	K("interface", TOK_RESERVED),
	K("map", TOK_RESERVED),
	K("package", TOK_PACKAGE),
	K("range", TOK_RESERVED),
	K("return", TOK_RETURN),
	K("select", TOK_RESERVED),
	K("struct", TOK_RESERVED),
	K("switch", TOK_RESERVED),
	K("type", TOK_RESERVED),
	K("var", TOK_VAR),
};

/* Where the keywords with a first letter begin, plus one; they are sorted. */
static const uint8_t keyword_at[256] = {
	['b'] = 1,  ['c'] = 2,	['d'] = 6,  ['e'] = 8,	['f'] = 9,  ['g'] = 12, ['i'] = 14,
	['m'] = 17, ['p'] = 18, ['r'] = 19, ['s'] = 21, ['t'] = 24, ['v'] = 25,
};

/* What follows one leading character: itself doubled, '=', both, or nothing. TOK_BAD: no such form.
 */
static const struct {
	char c;
	enum tok plain, assign, twice, twice_assign;
} operators[] = {
	{ '<', TOK_LT, TOK_LE, TOK_SHL, TOK_SHL_ASSIGN },
	{ '>', TOK_GT, TOK_GE, TOK_SHR, TOK_SHR_ASSIGN },
	{ '=', TOK_ASSIGN, TOK_EQ, TOK_BAD, TOK_BAD },
	{ '!', TOK_NOT, TOK_NE, TOK_BAD, TOK_BAD },
	{ '&', TOK_AND, TOK_AND_ASSIGN, TOK_LAND, TOK_BAD },
	{ '|', TOK_OR, TOK_OR_ASSIGN, TOK_LOR, TOK_BAD },
	{ '+', TOK_ADD, TOK_ADD_ASSIGN, TOK_INC, TOK_BAD },
	{ '-', TOK_SUB, TOK_SUB_ASSIGN, TOK_DEC, TOK_BAD },
	{ '*', TOK_MUL, TOK_MUL_ASSIGN, TOK_BAD, TOK_BAD },
	{ '/', TOK_DIV, TOK_DIV_ASSIGN, TOK_BAD, TOK_BAD },
	{ '%', TOK_REM, TOK_REM_ASSIGN, TOK_BAD, TOK_BAD },
	{ '^', TOK_XOR, TOK_XOR_ASSIGN, TOK_BAD, TOK_BAD },
	{ ':', TOK_COLON, TOK_DEFINE, TOK_BAD, TOK_BAD },
};

static enum tok punctuation(int c)
{
	switch (c) {
	case '(': return TOK_LPAREN;
	case ')': return TOK_RPAREN;
	case '{': return TOK_LBRACE;
	case '}': return TOK_RBRACE;
	case '[': return TOK_LBRACK;
	case ']': return TOK_RBRACK;
	case ',': return TOK_COMMA;
	case ';': return TOK_SEMI;
	case '.': return TOK_DOT;
	default: return TOK_BAD;
	}
}

/* A copy with zeroes behind it, so that looking a few bytes ahead needs no check. */
#define MAX_AHEAD 2

void lex_init(struct lexer *lx, struct arena *arena, struct diag_list *diags, uint32_t file)
{
	const struct src_file *f = &diags->files.v[file];
	char *copy = arena_alloc(arena, (size_t)f->len + MAX_AHEAD + 1);

	if (f->len)
		memcpy(copy, f->text, f->len);
	*lx = (struct lexer){
		.arena = arena, .diags = diags, .text = copy, .len = f->len, .base = f->base
	};
}

/* The byte @ahead of the next one, at most MAX_AHEAD; -1 behind the end. */
static int lex_peek(const struct lexer *lx, uint32_t ahead)
{
	int c = (unsigned char)lx->text[lx->off + ahead];

	return c || lx->off + ahead < lx->len ? c : -1;
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

static bool is_letter(int c)
{
	return c >= 0 && (classes[c] & C_LETTER);
}

static bool is_digit(int c)
{
	return c >= 0 && (classes[c] & C_DIGIT);
}

/* Offset behind the characters of class @mask that start at @off. */
static uint32_t span(const struct lexer *lx, uint32_t off, uint8_t mask)
{
	while (classes[(uint8_t)lx->text[off]] & mask)
		off++;
	return off;
}

static int digit_value(int c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Skips blanks and comments; true when a newline that counts was crossed. */
static bool lex_skip(struct lexer *lx)
{
	for (;;) {
		int c;

		lx->off = span(lx, lx->off, C_BLANK);
		c = lex_peek(lx, 0);
		if (c == '\n') {
			if (lx->want_semi)
				return true;
			lx->off++;
		} else if (c == '/' && lex_peek(lx, 1) == '/') {
			const char *end = memchr(lx->text + lx->off, '\n', lx->len - lx->off);

			lx->off = end ? (uint32_t)(end - lx->text) : lx->len;
		} else if (c == '/' && lex_peek(lx, 1) == '*') {
			uint32_t start = lx->off;
			bool newline = false;

			lx->off += 2;
			while (lex_peek(lx, 0) >= 0 &&
			       !(lex_peek(lx, 0) == '*' && lex_peek(lx, 1) == '/')) {
				newline |= lex_peek(lx, 0) == '\n';
				lx->off++;
			}
			if (lex_peek(lx, 0) < 0)
				diag_error(lx->diags, lx->base + start, "comment is not closed");
			else
				lx->off += 2;
			if (newline && lx->want_semi)
				return true;
		} else {
			break;
		}
	}
	return false;
}

static enum tok keyword(const struct token *t)
{
	for (size_t i = keyword_at[(uint8_t)t->s[0]]; i && i <= ARRAY_LEN(keywords); i++) {
		if (keywords[i - 1].s[0] != t->s[0])
			break;
		if (keywords[i - 1].len == t->len && !memcmp(keywords[i - 1].s, t->s, t->len))
			return keywords[i - 1].kind;
	}
	return TOK_IDENT;
}

static void lex_ident(struct lexer *lx, struct token *t)
{
	const char *s = lx->text + lx->off;
	uint32_t h = IDENT_HASH_START;

	t->s = s;
	for (; classes[(uint8_t)*s] & (C_LETTER | C_DIGIT); s++)
		h = ident_hash_step(h, *s);
	t->len = (uint32_t)(s - t->s);
	t->hash = h;
	lx->off += t->len;
	t->kind = keyword(t);
}

static void lex_number(struct lexer *lx, struct token *t)
{
	unsigned radix = 10;
	uint64_t v = 0;
	bool overflow = false, any = false, bad = false;
	int c;

	t->kind = TOK_INT;
	if (lex_peek(lx, 0) == '0') {
		c = lex_peek(lx, 1) | 0x20;
		radix = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
		if (radix != 10)
			lx->off += 2;
		else if (is_digit(lex_peek(lx, 1)))
			radix = 8; /* Go's old octal */
	}
	for (; (c = lex_peek(lx, 0)) >= 0 && (is_letter(c) || is_digit(c)); lx->off++) {
		int d = digit_value(c);

		if (c == '_')
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
static int lex_escape(struct lexer *lx, int quote)
{
	src_pos_t pos = lx->base + lx->off - 1;
	int c = lex_peek(lx, 0);
	static const char from[] = "ntrabfv\\0";
	static const char to[] = "\n\t\r\a\b\f\v\\\0";

	if (c < 0 || c == '\n') {
		diag_error(lx->diags, pos, "escape sequence is cut off");
		return -1;
	}
	lx->off++;
	if (c == quote)
		return c;
	for (size_t i = 0; i < sizeof(from) - 1; i++)
		if (from[i] == c)
			return (unsigned char)to[i];
	if (c == 'x') {
		int hi = digit_value(lex_peek(lx, 0));
		int lo = hi < 0 ? -1 : digit_value(lex_peek(lx, 1));

		if (lo >= 0) {
			lx->off += 2;
			return hi * 16 + lo;
		}
	}
	diag_error(lx->diags, pos, "unknown escape sequence");
	return -1;
}

static __attribute__((noinline)) void lex_string(struct lexer *lx, struct token *t)
{
	struct strbuf sb = { .arena = lx->arena };
	int quote = lex_peek(lx, 0), c;

	lx->off++;
	t->kind = TOK_STRING;
	while ((c = lex_peek(lx, 0)) != quote) {
		if (c < 0 || (c == '\n' && quote == '"')) {
			diag_error(lx->diags, t->pos, "string is not closed");
			break;
		}
		lx->off++;
		if (c == '\\' && quote == '"') {
			c = lex_escape(lx, quote);
			if (c < 0)
				continue;
		}
		strbuf_putc(&sb, (char)c);
	}
	if (c == quote)
		lx->off++;
	t->len = (uint32_t)sb.len;
	strbuf_putc(&sb, '\0');
	t->s = sb.s;
}

static void lex_char(struct lexer *lx, struct token *t)
{
	int c;

	lx->off++;
	t->kind = TOK_INT;
	c = lex_peek(lx, 0);
	if (c < 0 || c == '\n' || c == '\'') {
		diag_error(lx->diags, t->pos, "empty or unfinished character");
		if (c == '\'')
			lx->off++;
		return;
	}
	lx->off++;
	if (c == '\\')
		c = lex_escape(lx, '\'');
	t->num = c < 0 ? 0 : (uint64_t)c;
	if (lex_peek(lx, 0) == '\'') {
		lx->off++;
		return;
	}
	diag_error(lx->diags, t->pos, "a character literal holds one byte");
	while ((c = lex_peek(lx, 0)) >= 0 && c != '\n' && c != ';')
		lx->off++, c = c == '\'' ? '\n' : c;
}

static void lex_operator(struct lexer *lx, struct token *t)
{
	int c = lex_peek(lx, 0), c1 = lex_peek(lx, 1), c2 = lex_peek(lx, 2);

	t->kind = punctuation(c);
	lx->off++;
	if (t->kind != TOK_BAD)
		return;
	for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
		if (operators[i].c != c)
			continue;
		t->kind = operators[i].plain;
		if (c1 == c && c2 == '=' && operators[i].twice_assign != TOK_BAD) {
			t->kind = operators[i].twice_assign;
			lx->off += 2;
		} else if (c1 == c && operators[i].twice != TOK_BAD) {
			t->kind = operators[i].twice;
			lx->off++;
		} else if (c1 == '=' && operators[i].assign != TOK_BAD) {
			t->kind = operators[i].assign;
			lx->off++;
		}
		return;
	}
	diag_error(lx->diags, t->pos, "character 0x%02x does not belong here", (unsigned)c);
}

/* Go's rule: after these a newline ends the statement. */
static bool ends_statement(enum tok k)
{
	return k == TOK_IDENT || k == TOK_INT || k == TOK_STRING || k == TOK_BREAK ||
	       k == TOK_CONTINUE || k == TOK_RETURN || k == TOK_INC || k == TOK_DEC ||
	       k == TOK_RPAREN || k == TOK_RBRACK || k == TOK_RBRACE;
}

void lex_next(struct lexer *lx, struct token *t)
{
	bool newline = lex_skip(lx);
	int c = lex_peek(lx, 0);

	*t = (struct token){ .pos = lx->base + lx->off };
	if (newline || (c < 0 && lx->want_semi)) {
		lx->want_semi = false;
		t->kind = TOK_NEWLINE;
		return;
	}
	if (c < 0)
		t->kind = TOK_EOF;
	else if (is_letter(c))
		lex_ident(lx, t);
	else if (is_digit(c))
		lex_number(lx, t);
	else if (c == '"' || c == '`')
		lex_string(lx, t);
	else if (c == '\'')
		lex_char(lx, t);
	else
		lex_operator(lx, t);
	lx->want_semi = ends_statement(t->kind);
}
