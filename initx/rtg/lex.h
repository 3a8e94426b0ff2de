/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of RTG, with Go's rule for the semicolons that newlines stand for. */
#ifndef INITX_RTG_LEX_H
#define INITX_RTG_LEX_H

#include <stdbool.h>

#include "rtg/diag.h"
#include "rtg/ident.h"

/* clang-format off */
#define RTG_TOKENS(T) \
	T(EOF, "end of file") T(IDENT, "name") T(INT, "number") T(STRING, "string") T(BAD, "bad token") \
	T(SEMI, "';'") T(NEWLINE, "newline") T(COMMA, "','") T(COLON, "':'") T(DOT, "'.'") \
	T(LPAREN, "'('") T(RPAREN, "')'") T(LBRACE, "'{'") T(RBRACE, "'}'") T(LBRACK, "'['") T(RBRACK, "']'") \
	T(ASSIGN, "'='") T(DEFINE, "':='") T(INC, "'++'") T(DEC, "'--'") \
	T(ADD, "'+'") T(SUB, "'-'") T(MUL, "'*'") T(DIV, "'/'") T(REM, "'%'") T(SHL, "'<<'") T(SHR, "'>>'") \
	T(AND, "'&'") T(OR, "'|'") T(XOR, "'^'") \
	T(ADD_ASSIGN, "'+='") T(SUB_ASSIGN, "'-='") T(MUL_ASSIGN, "'*='") T(DIV_ASSIGN, "'/='") \
	T(REM_ASSIGN, "'%='") T(SHL_ASSIGN, "'<<='") T(SHR_ASSIGN, "'>>='") T(AND_ASSIGN, "'&='") \
	T(OR_ASSIGN, "'|='") T(XOR_ASSIGN, "'^='") \
	T(EQ, "'=='") T(NE, "'!='") T(LT, "'<'") T(LE, "'<='") T(GT, "'>'") T(GE, "'>='") \
	T(LAND, "'&&'") T(LOR, "'||'") T(NOT, "'!'") \
	T(PACKAGE, "'package'") T(CONST, "'const'") T(FUNC, "'func'") T(VAR, "'var'") T(IF, "'if'") \
	T(ELSE, "'else'") T(FOR, "'for'") T(GOTO, "'goto'") T(RETURN, "'return'") T(BREAK, "'break'") \
	T(CONTINUE, "'continue'") T(RESERVED, "keyword")
/* clang-format on */

enum tok {
#define T(name, text) TOK_##name,
	RTG_TOKENS(T)
#undef T
		TOK_MAX_,
};

const char *tok_name(enum tok t);

struct token {
	enum tok kind;
	src_pos_t pos;
	union {
		struct ident *ident; /* IDENT and keywords */
		uint64_t num;	     /* INT */
		struct {	     /* STRING: its value */
			const char *s;
			uint32_t len;
		};
	};
};

struct lexer {
	struct arena *arena;
	struct idents *ids;
	struct diag_list *diags;
	const uint8_t *text, *at, *end; /* zeroes behind it */
	src_pos_t base;
};

/* Enter the keywords, before the first token of a compilation. */
void lex_keywords(struct arena *arena, struct idents *ids);

void lex_init(struct lexer *lx, struct arena *arena, struct idents *ids, struct diag_list *diags,
	      uint32_t file);

/* From token @t (TOK_EOF at first) to the next; errors are recorded and give TOK_BAD or the best
 * guess. */
void lex_next(struct lexer *lx, struct token *t);

#endif
