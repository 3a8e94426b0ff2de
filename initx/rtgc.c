/* SPDX-License-Identifier: Apache-2.0 */
/* The command-line compiler. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "initx/guest.h"
#include "initx/rtg.h"

#define MAX_LIST 64

static const char usage[] =
	"usage: rtgc [options] FILE...\n"
	"  -target amd64|arm64|riscv64   default amd64\n"
	"  -emit ir|asm|elf|payload      default elf\n"
	"  -o FILE                       default standard output\n"
	"  -D FLAG                       Ifdef(\"FLAG\") is true\n"
	"  -C KEY=VALUE                  Config(\"KEY\") is VALUE\n"
	"  -B KEY=FILE                   EmbedBytes(\"KEY\") gives the file's bytes\n"
	"  -ir                           the input is IR text\n"
	"  -run                          interpret instead: output, exit status\n"
	"  -O0                           no optimisation\n"
	"  -max-regs N                   allocate at most N registers (to test spilling)\n"
	"  -relocs FILE                  write the payload's relocations there, one a line\n";

struct args {
	struct rtg_options opt;
	const char *flags[MAX_LIST];
	struct rtg_config configs[MAX_LIST];
	struct rtg_blob blobs[MAX_LIST];
	struct rtg_source src[MAX_LIST];
	size_t n_src;
	const char *out, *relocs;
	bool run;
};

static int fail(const char *what, const char *arg)
{
	fprintf(stderr, "rtgc: %s '%s'\n", what, arg);
	return -EINVAL;
}

static int read_file(const char *path, char **ret, size_t *ret_len)
{
	int AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *buf = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return -ENOMEM;
	n = fd_read_full(fd, buf, (size_t)st.st_size);
	if (n < 0)
		return (int)n;
	buf[n] = '\0';
	*ret_len = (size_t)n;
	*ret = STEAL_PTR(buf);
	return 0;
}

/* Splits KEY=VALUE in place. */
static int split(char *s, const char **ret_key, const char **ret_value)
{
	char *eq = strchr(s, '=');

	if (!eq)
		return fail("not KEY=VALUE:", s);
	*eq = '\0';
	*ret_key = s;
	*ret_value = eq + 1;
	return 0;
}

static int parse_emit(const char *s, enum rtg_emit *ret)
{
	static const char *const names[] = { "ir", "asm", "elf", "payload" };

	for (unsigned i = 0; i < RTG_EMIT_MAX_; i++) {
		if (!strcmp(names[i], s)) {
			*ret = (enum rtg_emit)i;
			return 0;
		}
	}
	return fail("unknown output", s);
}

static int add_file(struct args *a, const char *path)
{
	char *text;

	if (a->n_src == MAX_LIST)
		return fail("too many files at", path);
	if (read_file(path, &text, &a->src[a->n_src].len) < 0)
		return fail("cannot read", path);
	a->src[a->n_src].name = path;
	a->src[a->n_src++].text = text;
	return 0;
}

static int add_blob(struct args *a, char *arg)
{
	const char *path;
	struct rtg_blob *b = &a->blobs[a->opt.n_blobs];
	char *data;

	if (a->opt.n_blobs == MAX_LIST)
		return fail("too many -B at", arg);
	if (split(arg, &b->key, &path) < 0)
		return -EINVAL;
	if (read_file(path, &data, &b->len) < 0)
		return fail("cannot read", path);
	b->data = data;
	a->opt.n_blobs++;
	return 0;
}

/* One option with a value. */
static int option(struct args *a, const char *name, char *arg)
{
	struct rtg_config *c = &a->configs[a->opt.n_configs];

	if (!strcmp(name, "-target"))
		return rtg_arch_parse(arg, &a->opt.arch) < 0 ? fail("unknown target", arg) : 0;
	if (!strcmp(name, "-emit"))
		return parse_emit(arg, &a->opt.emit);
	if (!strcmp(name, "-B"))
		return add_blob(a, arg);
	if (!strcmp(name, "-o")) {
		a->out = arg;
	} else if (!strcmp(name, "-relocs")) {
		a->relocs = arg;
	} else if (!strcmp(name, "-max-regs")) {
		a->opt.max_regs = (unsigned)strtoul(arg, NULL, 10);
	} else if (!strcmp(name, "-D")) {
		if (a->opt.n_flags == MAX_LIST)
			return fail("too many -D at", arg);
		a->flags[a->opt.n_flags++] = arg;
	} else if (!strcmp(name, "-C")) {
		if (a->opt.n_configs == MAX_LIST)
			return fail("too many -C at", arg);
		a->opt.n_configs++;
		return split(arg, &c->key, &c->value);
	} else {
		return fail("unknown option", name);
	}
	return 0;
}

static int parse_args(struct args *a, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int r = 0;

		if (!strcmp(argv[i], "-ir"))
			a->opt.input_is_ir = true;
		else if (!strcmp(argv[i], "-run"))
			a->run = true;
		else if (!strcmp(argv[i], "-O0"))
			a->opt.no_optimize = true;
		else if (argv[i][0] != '-')
			r = add_file(a, argv[i]);
		else if (i + 1 == argc)
			r = fail("no value behind", argv[i]);
		else
			r = option(a, argv[i], argv[i + 1]), i++;
		if (r)
			return r;
	}
	a->opt.flags = a->flags;
	a->opt.configs = a->configs;
	a->opt.blobs = a->blobs;
	a->opt.consts = guest_consts;
	a->opt.n_consts = n_guest_consts;
	if (!a->n_src)
		fputs(usage, stderr);
	return a->n_src ? 0 : -EINVAL;
}

static int write_relocs(const char *path, const struct rtg_output *out)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return fail("cannot write", path);
	for (size_t i = 0; i < out->n_relocs; i++)
		fprintf(f, "%u\n", out->relocs[i]);
	return fclose(f) ? fail("cannot write", path) : 0;
}

static int write_output(const struct args *a, const struct rtg_output *out)
{
	int AUTO_FD fd = -1;

	if (a->relocs && write_relocs(a->relocs, out) < 0)
		return -EINVAL;
	if (a->out)
		fd = open(a->out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			  a->opt.emit == RTG_EMIT_ELF ? 0777 : 0666);
	if (a->out && fd < 0)
		return fail("cannot write", a->out);
	return fd_write_full(a->out ? fd : STDOUT_FILENO, out->data, out->len);
}

static int report(const struct rtg_output *out, const struct err *err)
{
	if (out->n_errors)
		fputs(out->diagnostics, stderr);
	else
		fprintf(stderr, "rtgc: error: %s\n", err->msg);
	return 1;
}

static int run(const struct args *a)
{
	struct rtg_run_result res;
	struct rtg_output out;
	struct err err = { 0 };
	int status;

	if (rtg_interpret(&a->opt, a->src, a->n_src, 1000000000ULL, &res, &out, &err) < 0) {
		status = report(&out, &err);
	} else {
		fd_write_full(STDOUT_FILENO, res.out, res.out_len);
		if (res.trap)
			fprintf(stderr, "rtgc: trap: %s\n", res.trap);
		status = res.trap ? 125 : (int)(res.value & 255);
	}
	free(res.out);
	rtg_output_done(&out);
	return status;
}

int main(int argc, char **argv)
{
	static struct args a = { .opt.emit = RTG_EMIT_ELF };
	struct rtg_output out;
	struct err err = { 0 };
	int status = 0;

	if (parse_args(&a, argc, argv) < 0)
		return 2;
	if (a.run)
		return run(&a);
	if (rtg_compile(&a.opt, a.src, a.n_src, &out, &err) < 0)
		status = report(&out, &err);
	else if (write_output(&a, &out) < 0)
		status = 1;
	rtg_output_done(&out);
	return status;
}
