/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run by the build: compiles each role's rows of the table by libseccomp, for each mode, and prints
 * the programs as C. A start has no time for that: it takes libseccomp milliseconds.
 */
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "base/checked.h"
#include "bpf.h"
#include "sandbox/filter.h"

/* Those that a role makes all the time and that have conditions: looked for first. */
static const int frequent[] = { SYS_ioctl, SYS_mmap };

static int add_rule(scmp_filter_ctx ctx, const struct sandbox_rule *rule, uint32_t action)
{
	struct scmp_arg_cmp cmp[SANDBOX_RULE_ARGS];
	unsigned n = 0;

	for (unsigned i = 0; i < SANDBOX_RULE_ARGS; i++) {
		const struct sandbox_arg *a = &rule->args[i];

		switch (a->op) {
		case SANDBOX_ARG_ANY: break;
		case SANDBOX_ARG_EQ: cmp[n++] = SCMP_CMP64(a->arg, SCMP_CMP_EQ, a->value); break;
		case SANDBOX_ARG_MASKED:
			cmp[n++] = SCMP_CMP64(a->arg, SCMP_CMP_MASKED_EQ, a->mask, a->value);
			break;
		case SANDBOX_ARG_SELF:
			cmp[n++] = SCMP_CMP64(a->arg, SCMP_CMP_EQ, FILTER_SELF);
			break;
		}
	}
	return seccomp_rule_add_array(ctx, action, rule->nr, n, cmp);
}

static int add_rules(scmp_filter_ctx ctx, enum sandbox_role role, enum sandbox_mode mode,
		     struct err *err)
{
	size_t n;
	const struct sandbox_rule *rules = sandbox_rules(&n);

	for (size_t i = 0; i < n; i++) {
		uint32_t action = mode == SANDBOX_TRACE
					  ? SCMP_ACT_TRACE(SANDBOX_TRACE_DATA(role, i))
					  : SCMP_ACT_ALLOW;
		int r = rules[i].roles & 1U << role ? add_rule(ctx, &rules[i], action) : 0;

		if (r < 0)
			return err_errno(err, -r, "filter for '%s': system call '%s'",
					 sandbox_role_str(role), rules[i].name);
	}
	for (size_t i = 0; i < ARRAY_LEN(frequent); i++)
		seccomp_syscall_priority(ctx, frequent[i], UINT8_MAX);
	return 0;
}

static int compile(enum sandbox_role role, enum sandbox_mode mode, void **ret, size_t *ret_len,
		   struct err *err)
{
	uint32_t otherwise = mode == SANDBOX_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP;
	scmp_filter_ctx ctx = seccomp_init(otherwise);
	int r;

	if (!ctx)
		return err_set(err, -ENOMEM, "filter for '%s': no memory", sandbox_role_str(role));
	/* Calls of 32-bit programs, too. */
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, otherwise);
	if (r < 0)
		err_errno(err, -r, "filter for '%s'", sandbox_role_str(role));
	else
		r = add_rules(ctx, role, mode, err);
	if (r == 0)
		r = bpf_export(ctx, sandbox_role_str(role), ret, ret_len, err);
	seccomp_release(ctx);
	return r;
}

static void print(unsigned role, unsigned mode, const struct sock_filter *code, size_t n)
{
	printf("static const struct sock_filter code_%u_%u[] = {\n", role, mode);
	for (size_t i = 0; i < n; i++)
		printf("\t{ %u, %u, %u, 0x%x },\n", code[i].code, code[i].jt, code[i].jf,
		       code[i].k);
	printf("};\n");
}

static void print_table(void)
{
	puts("const struct filter_program filter_programs[SANDBOX_MAX_][SANDBOX_MODE_MAX_] = {");
	for (unsigned role = 0; role < SANDBOX_MAX_; role++) {
		for (unsigned mode = 0; mode < SANDBOX_MODE_MAX_; mode++)
			printf("\t[%u][%u] = { code_%u_%u, sizeof(code_%u_%u) / "
			       "sizeof(code_%u_%u[0]) },\n",
			       role, mode, role, mode, role, mode, role, mode);
	}
	printf("};\n");
}

int main(void)
{
	printf("#include \"sandbox/filter.h\"\n");
	for (unsigned role = 0; role < SANDBOX_MAX_; role++) {
		for (unsigned mode = 0; mode < SANDBOX_MODE_MAX_; mode++) {
			struct err err = { 0 };
			void *code;
			size_t len;

			if (compile(role, mode, &code, &len, &err) < 0) {
				fprintf(stderr, "%s\n", err.msg);
				return 1;
			}
			print(role, mode, code, len / sizeof(struct sock_filter));
			free(code);
		}
	}
	print_table();
	return fflush(stdout) == 0 ? 0 : 1;
}
