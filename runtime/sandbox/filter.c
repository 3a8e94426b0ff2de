/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: the table's rows of a role, compiled, and put on a thread. */
#include "sandbox/filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "bpf.h"

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
			cmp[n++] = SCMP_CMP64(a->arg, SCMP_CMP_EQ, (scmp_datum_t)getpid());
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

int filter_compile(enum sandbox_role role, enum sandbox_mode mode, struct filter *ret,
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
		r = bpf_export(ctx, sandbox_role_str(role), &ret->program, &ret->len, err);
	seccomp_release(ctx);
	return r;
}

int filter_install(const struct filter *filter, struct err *err)
{
	struct sock_fprog prog = { .len = (unsigned short)(filter->len / 8),
				   .filter = filter->program };

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0)
		return 0;
	if (errno == ENOSYS || errno == EINVAL)
		return err_set(err, -ENOSYS,
			       "this kernel has no system call filters (CONFIG_SECCOMP_FILTER)");
	return err_errno(err, errno, "install a system call filter");
}

void filter_done(struct filter *filter)
{
	free(filter->program);
	filter->program = NULL;
}
