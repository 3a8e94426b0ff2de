/* SPDX-License-Identifier: Apache-2.0 */
/* What the passes of one compilation share. */
#ifndef INITX_RTG_COMPILER_H
#define INITX_RTG_COMPILER_H

#include "initx/rtg.h"
#include "ir/ir.h"
#include "rtg/ast.h"

#define RTG_MAX_SOURCE_BYTES (8u << 20)
#define RTG_MAX_BUFFER_BYTES (16u << 20)

struct compiler {
	struct arena arena, scratch;
	struct diag_list diags;
	struct idents ids;
	struct unit unit;
	const struct rtg_options *opt;
	struct ir_prog prog;
	const char *const *arch_name;
	bool uses_printf, uses_kmsg;
};

/* clang-format off */
#define RTG_INTRINSICS(I) \
	I(SYSCALL, "Syscall") I(LOAD8, "Load8") I(LOAD16, "Load16") I(LOAD32, "Load32") \
	I(LOAD64, "Load64") I(STORE8, "Store8") I(STORE16, "Store16") I(STORE32, "Store32") \
	I(STORE64, "Store64") I(PRINTF, "Printf") I(CALL, "Call") I(ISB, "ISB") I(LOGKMSG, "LogKmsg") \
	I(EMBED_STRING, "EmbedString") I(EMBED_BYTES, "EmbedBytes") \
	I(EMBED_CONFIG_STRING, "EmbedConfigString") I(IFDEF, "Ifdef") I(CONFIG, "Config") I(LEN, "len") \
	I(LINK_ADDRESS, "LinkAddress")
/* clang-format on */

enum intrinsic {
	INTR_NONE,
#define I(name, text) INTR_##name,
	RTG_INTRINSICS(I)
#undef I
		INTR_MAX_,
};

extern const char *const intrinsic_names[INTR_MAX_];

/* Types: types.c */
bool type_is_int(struct type t); /* typed or untyped integer */
bool type_is_signed(struct type t);
unsigned type_bits(struct type t);
bool type_equal(struct type a, struct type b);
const char *type_name(struct arena *a, struct type t);
bool const_fits(__int128 v, struct type t);
const char *const_text(struct arena *a, __int128 v);

/* System call numbers by SYS_ name: syscalls.c. Return: false when unknown, *ret -1 when the target
 * has none. */
bool syscall_number(const char *name, enum rtg_arch arch, int64_t *ret);

/* Symbols, declarations, statements: check.c. Errors go to c->diags. */
void check_unit(struct compiler *c);

/* Expressions: check_expr.c */
struct checker {
	struct compiler *c;
	struct func *func;
	VEC(struct sym *) scope_syms; /* declared and not yet left, innermost last */
	uint32_t scope;
	uint32_t loops;
	uint32_t n_order;
	/* goto rules */
	VEC(struct block_mark) blocks; /* enclosing blocks, innermost last */
	VEC(struct goto_mark) gotos;
	uint32_t n_block_ids;
};

struct block_mark {
	uint32_t id;
	uint32_t n_vars;
};

struct goto_mark {
	struct stmt *stmt;
	struct block_mark *path;
	uint32_t n_path;
	uint32_t order;
};

void check_expr(struct checker *k, struct expr *e);
/* Bring @e to type @want (assignment); errors name @what. */
void check_assign(struct checker *k, struct expr *e, struct type want, const char *what);
/* An untyped constant becomes int64. */
void check_default(struct checker *k, struct expr *e);
/* Constant integer for an array length; false after an error. */
bool check_const_int(struct checker *k, struct expr *e, __int128 *ret);
struct type check_type(struct checker *k, struct type_expr *t);
void check_intrinsic(struct checker *k, struct expr *e, enum intrinsic id);
/* Evaluate a top-level constant on demand. */
void check_const_decl(struct checker *k, struct sym *s);
struct sym *check_lookup(struct checker *k, struct ident *id);
const struct rtg_blob *check_blob(struct compiler *c, const char *key);
const char *check_config(struct compiler *c, const char *key);

/* AST to IR: lower.c */
void lower_unit(struct compiler *c);

/* Source of the run-time support that Printf and LogKmsg call: prelude.c */
extern const char rtg_prelude[];

#endif
