/* SPDX-License-Identifier: Apache-2.0 */
/* The compiler's passes in order, and its one way out. */
#include "initx/rtg.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "ir/interp.h"
#include "obj/obj.h"
#include "rtg/compiler.h"

#define COMPILE_MAX_BYTES ((size_t)512 << 20)

static const char *const arch_names[RTG_ARCH_MAX_] = { "amd64", "arm64", "riscv64" };

const char *rtg_arch_name(enum rtg_arch arch)
{
	return (unsigned)arch < RTG_ARCH_MAX_ ? arch_names[arch] : NULL;
}

int rtg_arch_parse(const char *name, enum rtg_arch *ret)
{
	for (unsigned i = 0; i < RTG_ARCH_MAX_; i++) {
		if (!strcmp(arch_names[i], name)) {
			*ret = (enum rtg_arch)i;
			return 0;
		}
	}
	return -EINVAL;
}

struct job {
	const struct rtg_options *opt;
	const struct rtg_source *src;
	size_t n_src;
	struct compiler c;
	struct strbuf out;
	uint32_t *relocs;
	uint32_t n_relocs;
	size_t code_bytes;
	char *diagnostics;
	const char *internal; /* a broken rule: our bug, or bad IR text */
	/* interpretation instead of code */
	bool run;
	uint64_t max_steps;
	struct interp_result result;
};

static void front_end(struct job *j)
{
	struct compiler *c = &j->c;
	uint32_t prelude;

	c->diags.arena = &c->arena;
	lex_keywords(&c->arena, &c->ids);
	c->unit.funcs_tail = &c->unit.funcs;
	c->unit.consts_tail = &c->unit.consts;
	c->unit.globals_tail = &c->unit.globals;
	for (size_t i = 0; i < j->n_src; i++) {
		uint32_t file = diag_add_file(&c->diags, j->src[i].name, j->src[i].text,
					      (uint32_t)j->src[i].len);

		parse_file(&c->arena, &c->ids, &c->diags, file, false, &c->unit);
	}
	prelude = diag_add_file(&c->diags, "(prelude)", rtg_prelude, (uint32_t)strlen(rtg_prelude));
	parse_file(&c->arena, &c->ids, &c->diags, prelude, true, &c->unit);
	check_unit(c);
	if (!c->diags.errors.n)
		lower_unit(c);
}

static void interpret(struct job *j)
{
	struct interp_sys sys = { .call = j->opt->syscall, .opaque = j->opt->syscall_opaque };

	syscall_number("SYS_WRITE", j->opt->arch, &sys.write);
	syscall_number("SYS_EXIT", j->opt->arch, &sys.exit);
	syscall_number("SYS_EXIT_GROUP", j->opt->arch, &sys.exit_group);
	ir_interpret(&j->c.prog, &sys, j->max_steps, &j->result);
}

static void back_end(struct job *j)
{
	const struct target *t = target_get(j->opt->arch);
	struct ir_prog *p = &j->c.prog;
	bool elf = j->opt->emit == RTG_EMIT_ELF, text = j->opt->emit == RTG_EMIT_ASM;
	struct image *im = arena_alloc(p->arena, sizeof(*im));

	codegen_prog(p, t, elf, j->opt->max_regs, text ? &j->out : NULL, im);
	j->code_bytes = im->code.bytes.len;
	if (elf)
		j->internal = obj_write_elf(im, p, t, &j->out);
	else if (!text)
		j->internal = obj_write_payload(im, p, t, &j->out, &j->relocs, &j->n_relocs);
}

static void compile(struct job *j)
{
	struct compiler *c = &j->c;

	c->opt = j->opt;
	j->out.arena = &c->arena;
	if (j->opt->input_is_ir)
		j->internal = ir_read(&c->arena, j->src[0].text, j->src[0].len, &c->prog);
	else
		front_end(j);
	if (c->diags.errors.n) {
		j->diagnostics = diag_render(&c->diags);
		return;
	}
	if (j->internal)
		return;
	c->prog.scratch = &c->scratch;
	j->internal = ir_prepare(&c->prog, !j->opt->no_optimize);
	if (j->internal)
		return;
	if (j->run)
		interpret(j);
	else if (j->opt->emit == RTG_EMIT_IR)
		ir_print(&c->prog, &j->out);
	else
		back_end(j);
}

/* Everything between here and arena_done() is memory of the arena: see arena.h. */
static int guarded_compile(struct job *j, struct err *err)
{
	int r;

	arena_init(&j->c.arena, COMPILE_MAX_BYTES);
	arena_init_scratch(&j->c.scratch, &j->c.arena);
	r = setjmp(j->c.arena.fail);
	if (r == 1)
		return err_set(err, -E2BIG, "program is too large to compile");
	if (r)
		return err_set(err, -ENOMEM, "compile");
	compile(j);
	return 0;
}

static int check_options(const struct rtg_options *opt, const struct rtg_source *src, size_t n_src,
			 struct err *err)
{
	size_t total = 0;

	if (!n_src || (unsigned)opt->arch >= RTG_ARCH_MAX_ || (unsigned)opt->emit >= RTG_EMIT_MAX_)
		return err_set(err, -EINVAL, "no source, or unknown target or output");
	for (size_t i = 0; i < n_src; i++)
		if (ckd_add(&total, total, src[i].len) || total > RTG_MAX_SOURCE_BYTES)
			return err_set(err, -E2BIG, "sources of more than %u bytes",
				       RTG_MAX_SOURCE_BYTES);
	return 0;
}

static int copy_out(const struct job *j, struct rtg_output *ret, struct err *err)
{
	const char *diag = j->diagnostics ? j->diagnostics : "";

	*ret = (struct rtg_output){ .len = j->out.len,
				    .n_relocs = j->n_relocs,
				    .code_bytes = j->code_bytes,
				    .n_errors = j->c.diags.errors.n + j->c.diags.n_dropped };
	ret->data = malloc(ret->len + 1);
	ret->relocs = malloc(ret->n_relocs * sizeof(*ret->relocs) + 1);
	ret->diagnostics = strdup(diag);
	if (!ret->data || !ret->relocs || !ret->diagnostics) {
		rtg_output_done(ret);
		return err_set(err, -ENOMEM, "compile");
	}
	if (ret->len)
		memcpy(ret->data, j->out.s, ret->len);
	if (ret->n_relocs)
		memcpy(ret->relocs, j->relocs, ret->n_relocs * sizeof(*ret->relocs));
	return 0;
}

static int finish(struct job *j, struct rtg_output *ret, struct err *err)
{
	int r = copy_out(j, ret, err);

	if (r)
		return r;
	if (j->diagnostics)
		return err_set(err, -EINVAL, "%u error%s", ret->n_errors,
			       ret->n_errors == 1 ? "" : "s");
	if (j->internal)
		return err_set(err, -EINVAL, "%s", j->internal);
	return 0;
}

void rtg_output_done(struct rtg_output *out)
{
	free(out->data);
	free(out->relocs);
	free(out->diagnostics);
	*out = (struct rtg_output){ 0 };
}

static int copy_run(const struct job *j, struct rtg_run_result *ret, struct err *err)
{
	*ret = (struct rtg_run_result){ .value = j->result.value,
					.trap = j->result.trap,
					.n_steps = j->result.n_steps };
	ret->out = malloc(j->result.out.len + 1);
	if (!ret->out)
		return err_set(err, -ENOMEM, "interpret");
	if (j->result.out.len)
		memcpy(ret->out, j->result.out.s, j->result.out.len);
	ret->out[j->result.out.len] = '\0';
	ret->out_len = j->result.out.len;
	return 0;
}

/* @ret_run: NULL: not run. */
static int run_job(const struct rtg_options *opt, const struct rtg_source *src, size_t n_src,
		   uint64_t max_steps, struct rtg_run_result *ret_run, struct rtg_output *ret,
		   struct err *err)
{
	AUTO_FREE struct job *j = calloc(1, sizeof(*j));
	int r;

	*ret = (struct rtg_output){ 0 };
	if (!j)
		return err_set(err, -ENOMEM, "compile");
	r = check_options(opt, src, n_src, err);
	if (r)
		return r;
	j->opt = opt;
	j->src = src;
	j->n_src = n_src;
	j->run = ret_run;
	j->max_steps = max_steps;
	r = guarded_compile(j, err);
	if (!r)
		r = finish(j, ret, err);
	if (!r && ret_run)
		r = copy_run(j, ret_run, err);
	arena_done(&j->c.scratch);
	arena_done(&j->c.arena);
	return r;
}

int rtg_compile(const struct rtg_options *opt, const struct rtg_source *src, size_t n_src,
		struct rtg_output *ret, struct err *err)
{
	return run_job(opt, src, n_src, 0, NULL, ret, err);
}

int rtg_interpret(const struct rtg_options *opt, const struct rtg_source *src, size_t n_src,
		  uint64_t max_steps, struct rtg_run_result *ret_run, struct rtg_output *ret,
		  struct err *err)
{
	*ret_run = (struct rtg_run_result){ 0 };
	return run_job(opt, src, n_src, max_steps, ret_run, ret, err);
}
