/* SPDX-License-Identifier: Apache-2.0 */
/* The tree the parser makes, with the fields the checker fills in. */
#ifndef INITX_RTG_AST_H
#define INITX_RTG_AST_H

#include <stdbool.h>

#include "rtg/arena.h"
#include "rtg/diag.h"
#include "rtg/ident.h"
#include "rtg/lex.h"

/* Nesting beyond this is refused, so that no pass runs out of stack. */
#define AST_MAX_NEST  200
#define AST_MAX_DEPTH 1000

enum type_kind {
	TYPE_INVALID, /* after an error: takes part in everything, silently */
	TYPE_VOID,
	TYPE_BOOL,
	TYPE_INT8,
	TYPE_INT16,
	TYPE_INT32,
	TYPE_INT64,
	TYPE_UINT8,
	TYPE_UINT16,
	TYPE_UINT32,
	TYPE_UINT64,
	TYPE_UINTPTR,
	TYPE_STRING,  /* address of constant bytes with a NUL behind */
	TYPE_UNTYPED, /* integer constant without a type yet */
	TYPE_BUFFER,  /* [N]byte */
	TYPE_FUNC,
	TYPE_MAX_,
};

struct type {
	enum type_kind kind;
	uint32_t len; /* TYPE_BUFFER */
};

/* Value of a constant expression; which member counts follows from the type. */
struct cval {
	union {
		__int128 i; /* integers; bool as 0 or 1 */
		struct {
			const char *s;
			uint32_t len;
		};
	};
};

enum sym_kind { SYM_CONST, SYM_VAR, SYM_GLOBAL, SYM_FUNC, SYM_TYPE, SYM_INTRINSIC };

enum const_state { CONST_TODO, CONST_BUSY, CONST_DONE };

struct sym {
	enum sym_kind kind;
	struct ident *name;
	struct sym *shadowed;
	src_pos_t pos;
	struct type type;
	struct cval val;	/* SYM_CONST */
	enum const_state state; /* SYM_CONST at top level */
	struct const_decl *decl;
	struct func *func;
	unsigned intrinsic;
	uint32_t scope; /* depth it was declared in */
	uint32_t reg;	/* scalar variable: virtual register */
	uint32_t slot;	/* buffer: stack slot */
	uint32_t ir;	/* function, global: IR symbol */
};

enum expr_kind {
	EXPR_BAD,
	EXPR_INT,
	EXPR_STRING,
	EXPR_NAME,
	EXPR_UNARY,
	EXPR_BINARY,
	EXPR_CALL,
	EXPR_INDEX
};

/* Most of a compilation's memory is these: small types, and fields that never meet share a place.
 */
struct expr {
	uint32_t kind : 4;     /* enum expr_kind */
	uint32_t op : 7;       /* enum tok: EXPR_UNARY, EXPR_BINARY */
	uint32_t depth : 14;   /* of the tree below: AST_MAX_DEPTH */
	uint32_t is_const : 1; /* by the checker, like type, val, sym and intrinsic */
	uint32_t intrinsic : 6;
	src_pos_t pos; /* of the operator for binary ones */
	src_pos_t start;
	uint32_t n_args;
	struct cval val;
	struct type type;
	union {
		struct ident *name; /* EXPR_NAME */
		struct expr *x;	    /* operand; callee; indexed */
	};
	union {
		struct expr *y; /* second operand, index */
		struct expr **args;
	};
	struct sym *sym; /* EXPR_NAME, EXPR_CALL of a function */
};

enum stmt_kind {
	STMT_BAD,
	STMT_EXPR,
	STMT_VAR,
	STMT_CONST,
	STMT_ASSIGN,
	STMT_IF,
	STMT_FOR,
	STMT_BLOCK,
	STMT_GOTO,
	STMT_LABEL,
	STMT_RETURN,
	STMT_BREAK,
	STMT_CONTINUE
};

enum if_taken { IF_RUNTIME, IF_THEN, IF_ELSE };

struct type_expr {
	src_pos_t pos;
	struct ident *name; /* NULL for a buffer */
	struct expr *len;   /* [len]byte */
	bool bad;
};

struct const_decl {
	struct ident *name;
	src_pos_t pos;
	struct type_expr *type; /* optional */
	struct expr *value;
	struct const_decl *next;
};

struct label {
	struct ident *name;
	src_pos_t pos;
	struct label *next;
	bool defined, used;
	uint32_t block_id; /* innermost block it stands in */
	uint32_t n_vars;   /* variables declared in that block before it */
	uint32_t order;	   /* statement number, to tell forward jumps */
	uint32_t ir;	   /* basic block + 1 */
};

struct stmt {
	uint8_t kind;  /* enum stmt_kind */
	uint8_t op;    /* enum tok, STMT_ASSIGN: TOK_ASSIGN, TOK_DEFINE or an operator token */
	uint8_t taken; /* enum if_taken, by the checker, like sym and label */
	src_pos_t pos;
	src_pos_t end; /* closing brace */
	struct stmt *next;
	struct ident *name;	/* declared variable, label */
	struct type_expr *type; /* STMT_VAR */
	struct expr *lhs, *x;	/* target and value; condition */
	struct stmt *body, *els;
	struct const_decl *decls;
	struct sym *sym;
	struct label *label;
};

struct param {
	struct ident *name;
	src_pos_t pos;
	struct type_expr *type;
	struct sym *sym;
	struct type t;
};

struct func {
	struct ident *name;
	src_pos_t pos, end;
	struct param *params;
	uint32_t n_params;
	struct type_expr *result; /* NULL: none */
	struct type t;		  /* result type */
	struct stmt *body;
	struct func *next;
	struct sym *sym;
	struct label *labels;
	bool prelude; /* part of the compiler's own run-time support */
	bool broken;  /* parse error inside the signature */
	bool has_labels;
};

struct global {
	struct ident *name;
	src_pos_t pos;
	struct type_expr *type;
	struct sym *sym;
	struct global *next;
};

struct unit {
	struct func *funcs, **funcs_tail;
	struct const_decl *consts, **consts_tail;
	struct global *globals, **globals_tail;
};

/**
 * parse_file() - Add one source file to @unit
 * @prelude:	The compiler's own source: names may start with "__"
 *
 * Errors go to @diags; what could be parsed is in @unit all the same.
 */
void parse_file(struct arena *a, struct idents *ids, struct diag_list *diags, uint32_t file,
		bool prelude, struct unit *unit);

#endif
