/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration's seccomp filter as classic BPF, for the guest. */
#include <errno.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "bpf.h"
#include "guestcmd.h"

struct named {
	const char *name;
	uint32_t value;
};

static uint32_t find_action(const char *name, int64_t errno_ret)
{
	static const struct named actions[] = {
		{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD },
		{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
		{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
		{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
		{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
		{ "SCMP_ACT_LOG", SCMP_ACT_LOG },
	};

	if (!strcmp(name, "SCMP_ACT_ERRNO"))
		return SCMP_ACT_ERRNO((uint16_t)errno_ret);
	/* No tracer can be there: the call fails as the kernel lets it fail then. */
	if (!strcmp(name, "SCMP_ACT_TRACE"))
		return SCMP_ACT_ERRNO(ENOSYS);
	for (unsigned i = 0; i < ARRAY_LEN(actions); i++) {
		if (!strcmp(actions[i].name, name))
			return actions[i].value;
	}
	return SCMP_ACT_KILL_PROCESS;
}

static enum scmp_compare find_op(const char *name)
{
	static const struct named ops[] = {
		{ "SCMP_CMP_NE", SCMP_CMP_NE },
		{ "SCMP_CMP_LT", SCMP_CMP_LT },
		{ "SCMP_CMP_LE", SCMP_CMP_LE },
		{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
		{ "SCMP_CMP_GE", SCMP_CMP_GE },
		{ "SCMP_CMP_GT", SCMP_CMP_GT },
		{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
	};

	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		if (!strcmp(ops[i].name, name))
			return (enum scmp_compare)ops[i].value;
	}
	return SCMP_CMP_EQ;
}

/* Only what an x86-64 guest can run. */
static int add_arches(scmp_filter_ctx ctx, const struct oci_seccomp *s)
{
	for (size_t i = 0; i < s->architectures.n; i++) {
		const char *name = s->architectures.v[i];
		uint32_t arch = !strcmp(name, "SCMP_ARCH_X86")	 ? SCMP_ARCH_X86
				: !strcmp(name, "SCMP_ARCH_X32") ? SCMP_ARCH_X32
								 : 0;
		int r = arch ? seccomp_arch_add(ctx, arch) : 0;

		if (r < 0 && r != -EEXIST)
			return r;
	}
	return 0;
}

static int64_t errno_of(const struct oci_i64 *value)
{
	return value->set ? value->v : EPERM;
}

static int add_call(scmp_filter_ctx ctx, const struct oci_seccomp_rule *rule, uint32_t action,
		    int call)
{
	struct scmp_arg_cmp args[6];
	bool seen[6] = { false };
	unsigned n = 0;
	int r;

	for (size_t i = 0; i < rule->args.n && n < 6; i++) {
		const struct oci_seccomp_arg *a = &rule->args.v[i];

		/* Two conditions on one argument are alternatives, as engines mean them. */
		if (seen[a->index.v]) {
			r = seccomp_rule_add_array(ctx, action, call, 1,
						   &(struct scmp_arg_cmp){
							   (unsigned)a->index.v, find_op(a->op),
							   a->value.v, a->value_two.v });
			if (r < 0 && r != -EEXIST)
				return r;
			continue;
		}
		seen[a->index.v] = true;
		args[n++] = (struct scmp_arg_cmp){ (unsigned)a->index.v, find_op(a->op), a->value.v,
						   a->value_two.v };
	}
	r = seccomp_rule_add_array(ctx, action, call, n, args);
	return r == -EEXIST ? 0 : r;
}

static int add_rule(scmp_filter_ctx ctx, const struct oci_seccomp *s, size_t index, struct err *err)
{
	const struct oci_seccomp_rule *rule = &s->syscalls.v[index];
	uint32_t action = find_action(rule->action, errno_of(&rule->errno_ret));

	if (action == find_action(s->default_action, errno_of(&s->default_errno_ret)))
		return 0;
	for (size_t i = 0; i < rule->names.n; i++) {
		int call = seccomp_syscall_resolve_name(rule->names.v[i]), r;

		/* Engines name calls of every kernel and architecture. */
		if (call == __NR_SCMP_ERROR)
			continue;
		r = add_call(ctx, rule, action, call);
		if (r < 0)
			return err_errno(err, -r, "linux.seccomp.syscalls[%zu]: '%.40s'", index,
					 rule->names.v[i]);
	}
	return 0;
}

int seccomp_compile(const struct oci_seccomp *s, void **ret, size_t *ret_len, uint32_t *ret_flags,
		    struct err *err)
{
	uint32_t action = find_action(s->default_action, errno_of(&s->default_errno_ret));
	scmp_filter_ctx ctx = seccomp_init(action);
	int r;

	*ret = NULL;
	*ret_flags = 0;
	for (size_t i = 0; i < s->flags.n; i++) {
		if (!strcmp(s->flags.v[i], "SECCOMP_FILTER_FLAG_LOG"))
			*ret_flags |= 2;
		if (!strcmp(s->flags.v[i], "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			*ret_flags |= 4;
	}
	if (!ctx)
		return err_set(err, -ENOMEM, "linux.seccomp: no memory");
	r = add_arches(ctx, s);
	if (r < 0)
		err_errno(err, -r, "linux.seccomp.architectures");
	for (size_t i = 0; r == 0 && i < s->syscalls.n; i++)
		r = add_rule(ctx, s, i, err);
	if (r == 0)
		r = bpf_export(ctx, "linux.seccomp", ret, ret_len, err);
	seccomp_release(ctx);
	return r;
}
