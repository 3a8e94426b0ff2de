/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments and results of the intrinsics. */
#include "rtg/compiler.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ERROR(k, pos, ...) diag_error(&(k)->c->diags, pos, __VA_ARGS__)

const char *const intrinsic_names[INTR_MAX_] = {
#define I(name, text) [INTR_##name] = text,
	RTG_INTRINSICS(I)
#undef I
};

static const struct {
	uint8_t min, max;
	enum type_kind result;
} shapes[INTR_MAX_] = {
	[INTR_SYSCALL] = { 1, 7, TYPE_INT64 },
	[INTR_LOAD8] = { 2, 2, TYPE_INT64 },
	[INTR_LOAD16] = { 2, 2, TYPE_INT64 },
	[INTR_LOAD32] = { 2, 2, TYPE_INT64 },
	[INTR_LOAD64] = { 2, 2, TYPE_INT64 },
	[INTR_STORE8] = { 3, 3, TYPE_VOID },
	[INTR_STORE16] = { 3, 3, TYPE_VOID },
	[INTR_STORE32] = { 3, 3, TYPE_VOID },
	[INTR_STORE64] = { 3, 3, TYPE_VOID },
	[INTR_PRINTF] = { 1, 64, TYPE_VOID },
	[INTR_CALL] = { 1, 7, TYPE_INT64 },
	[INTR_ISB] = { 0, 0, TYPE_VOID },
	[INTR_LOGKMSG] = { 1, 1, TYPE_VOID },
	[INTR_EMBED_STRING] = { 1, 1, TYPE_UINTPTR },
	[INTR_EMBED_BYTES] = { 1, 1, TYPE_UINTPTR },
	[INTR_EMBED_CONFIG_STRING] = { 1, 1, TYPE_UINTPTR },
	[INTR_IFDEF] = { 1, 1, TYPE_BOOL },
	[INTR_CONFIG] = { 1, 1, TYPE_UNTYPED },
	[INTR_LEN] = { 1, 1, TYPE_UNTYPED },
	[INTR_LINK_ADDRESS] = { 1, 1, TYPE_UINTPTR },
};

const struct rtg_blob *check_blob(struct compiler *c, const char *key)
{
	for (size_t i = 0; i < c->opt->n_blobs; i++)
		if (!strcmp(c->opt->blobs[i].key, key))
			return &c->opt->blobs[i];
	return NULL;
}

const char *check_config(struct compiler *c, const char *key)
{
	for (size_t i = 0; i < c->opt->n_configs; i++)
		if (!strcmp(c->opt->configs[i].key, key))
			return c->opt->configs[i].value;
	return NULL;
}

/* The argument has to be a constant string; NULL after an error. */
static const char *string_arg(struct checker *k, struct expr *e)
{
	struct expr *x = e->args[0];

	if (x->type.kind == TYPE_INVALID)
		return NULL;
	if (x->type.kind == TYPE_STRING && x->is_const)
		return x->val.s;
	ERROR(k, x->start, "'%s' wants a constant string", e->x->name->s);
	return NULL;
}

/* What fits one machine word: integers, bools, addresses. */
static void word_arg(struct checker *k, struct expr *x)
{
	/* A word has no sign: large constants are taken as uint64. */
	if (x->type.kind == TYPE_UNTYPED && x->val.i > INT64_MAX)
		check_assign(k, x, (struct type){ .kind = TYPE_UINT64 }, "word");
	check_default(k, x);
	if (x->type.kind == TYPE_VOID)
		ERROR(k, x->start, "the function gives no value");
}

static void check_ifdef(struct checker *k, struct expr *e)
{
	const char *flag = string_arg(k, e);

	e->type.kind = TYPE_BOOL;
	e->is_const = true;
	for (size_t i = 0; flag && i < k->c->opt->n_flags; i++)
		if (!strcmp(k->c->opt->flags[i], flag))
			e->val.i = 1;
}

/* A value that reads as one integer is one; anything else is a string. */
static void check_config_call(struct checker *k, struct expr *e)
{
	const char *key = string_arg(k, e), *value;
	unsigned long long u;
	char *end;

	if (!key)
		return;
	value = check_config(k->c, key);
	if (!value) {
		ERROR(k, e->start, "no configuration value '%s' (give it with -C %s=...)", key,
		      key);
		return;
	}
	e->is_const = true;
	u = strtoull(value, &end, 0);
	if (*value && !*end) {
		e->type.kind = TYPE_UNTYPED;
		e->val.i = *value == '-' ? (__int128)(int64_t)u : (__int128)u;
	} else {
		e->type.kind = TYPE_STRING;
		e->val.s = value;
		e->val.len = (uint32_t)strlen(value);
	}
}

static void check_printf(struct checker *k, struct expr *e)
{
	const char *f = string_arg(k, e);
	uint32_t arg = 1;

	if (!f)
		return;
	for (; *f; f++) {
		if (*f != '%')
			continue;
		f++;
		if (*f == '%')
			continue;
		if (*f != 's' && *f != 'd' && *f != 'x') {
			ERROR(k, e->args[0]->start, "Printf knows %%s, %%d, %%x and %%%%");
			return;
		}
		if (arg >= e->n_args) {
			ERROR(k, e->start, "Printf has too few values for its format");
			return;
		}
		if (*f == 's' && e->args[arg]->type.kind != TYPE_STRING &&
		    e->args[arg]->type.kind != TYPE_UINTPTR &&
		    e->args[arg]->type.kind != TYPE_BUFFER &&
		    e->args[arg]->type.kind != TYPE_INVALID)
			ERROR(k, e->args[arg]->start, "%%s wants a string or an address");
		word_arg(k, e->args[arg++]);
	}
	if (arg < e->n_args)
		ERROR(k, e->args[arg]->start, "Printf has more values than its format names");
	k->c->uses_printf = true;
}

/* len of a buffer, a constant string, or of what an Embed intrinsic gives. */
static void check_len(struct checker *k, struct expr *e)
{
	struct expr *x = e->args[0];

	if (x->type.kind == TYPE_INVALID)
		return;
	e->is_const = true;
	if (x->type.kind == TYPE_BUFFER)
		e->val.i = x->type.len;
	else if (x->type.kind == TYPE_STRING && x->is_const)
		e->val.i = x->val.len;
	else if (x->intrinsic == INTR_EMBED_BYTES)
		e->val.i = (__int128)check_blob(k->c, x->args[0]->val.s)->len;
	else if (x->intrinsic == INTR_EMBED_CONFIG_STRING)
		e->val.i = (__int128)strlen(check_config(k->c, x->args[0]->val.s));
	else if (x->intrinsic == INTR_EMBED_STRING)
		e->val.i = x->args[0]->val.len;
	else
		ERROR(k, x->start, "the length of this is not known");
	e->type.kind = TYPE_UNTYPED;
}

static void check_embed(struct checker *k, struct expr *e, enum intrinsic id)
{
	const char *key = string_arg(k, e);
	bool found = !key || id == INTR_EMBED_STRING ||
		     (id == INTR_EMBED_BYTES ? check_blob(k->c, key) != NULL
					     : check_config(k->c, key) != NULL);

	if (!found)
		ERROR(k, e->start, "nothing to embed is called '%s'", key);
	e->type.kind = key && found ? TYPE_UINTPTR : TYPE_INVALID;
}

static void check_link_address(struct checker *k, struct expr *e)
{
	if (e->args[0]->type.kind != TYPE_FUNC && e->args[0]->type.kind != TYPE_INVALID)
		ERROR(k, e->args[0]->start, "LinkAddress wants a function");
}

void check_intrinsic(struct checker *k, struct expr *e, enum intrinsic id)
{
	for (uint32_t i = 0; i < e->n_args; i++)
		check_expr(k, e->args[i]);
	if (e->n_args < shapes[id].min || e->n_args > shapes[id].max) {
		if (shapes[id].min == shapes[id].max)
			ERROR(k, e->start, "'%s' takes %u argument%s", intrinsic_names[id],
			      shapes[id].min, shapes[id].min == 1 ? "" : "s");
		else
			ERROR(k, e->start, "'%s' takes %u to %u arguments", intrinsic_names[id],
			      shapes[id].min, shapes[id].max);
		return;
	}
	if (id != INTR_CONFIG)
		e->type.kind = shapes[id].result;
	switch ((int)id) {
	case INTR_IFDEF: check_ifdef(k, e); break;
	case INTR_CONFIG: check_config_call(k, e); break;
	case INTR_PRINTF: check_printf(k, e); break;
	case INTR_LEN: check_len(k, e); break;
	case INTR_EMBED_STRING:
	case INTR_EMBED_BYTES:
	case INTR_EMBED_CONFIG_STRING: check_embed(k, e, id); break;
	case INTR_LINK_ADDRESS: check_link_address(k, e); break;
	case INTR_LOGKMSG:
		string_arg(k, e);
		k->c->uses_kmsg = true;
		break;
	default:
		for (uint32_t i = 0; i < e->n_args; i++)
			word_arg(k, e->args[i]);
	}
}
