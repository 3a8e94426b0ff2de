/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters: the table's rows of a role, compiled, and put on a thread.
 *
 * Theory of operation. Behind the check of the architecture stands one group for each system call
 * of the role: its number, then its rows as alternatives. A row compares the halves of arguments,
 * each with a jump to the next row, and ends with its action; a group ends with what becomes of
 * other calls, as the program does. Each start compiles all roles, so this is done here: libseccomp
 * takes milliseconds for it.
 */
#include "sandbox/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"

#define ARG_INSNS  6 /* the most that an argument's condition takes */
#define RULE_INSNS (2 + SANDBOX_RULE_ARGS * ARG_INSNS + 2)
#define FAIL	   UINT8_MAX /* of a jump whose target is not known yet */

/* Those that a role makes all the time and that have conditions: looked for first. */
static const int frequent[] = { SYS_ioctl, SYS_mmap };

struct emitter {
	struct sock_filter *code;
	size_t n;
	enum sandbox_role role;
	enum sandbox_mode mode;
	uint32_t otherwise;
};

static void emit(struct emitter *e, unsigned code, uint32_t k)
{
	e->code[e->n++] = (struct sock_filter){ .code = (uint16_t)code, .k = k };
}

/* Go on when the accumulator is @k, else to where fix() says. */
static void emit_want(struct emitter *e, uint32_t k)
{
	emit(e, BPF_JMP | BPF_JEQ | BPF_K, k);
	e->code[e->n - 1].jf = FAIL;
}

/* Jumps from @first on that have no target yet lead to what comes next. */
static int fix(struct emitter *e, size_t first)
{
	for (size_t i = first; i < e->n; i++) {
		size_t distance = e->n - i - 1;

		if (e->code[i].jf != FAIL)
			continue;
		if (distance >= FAIL)
			return -E2BIG;
		e->code[i].jf = (uint8_t)distance;
	}
	return 0;
}

/* (half of argument & @mask) == @value */
static void emit_half(struct emitter *e, unsigned off, uint32_t mask, uint32_t value)
{
	if (!mask && !value)
		return;
	emit(e, BPF_LD | BPF_W | BPF_ABS, off);
	if (mask != UINT32_MAX)
		emit(e, BPF_ALU | BPF_AND | BPF_K, mask);
	emit_want(e, value);
}

static void emit_arg(struct emitter *e, const struct sandbox_arg *a)
{
	unsigned off = (unsigned)offsetof(struct seccomp_data, args) + 8 * a->arg;
	uint64_t mask = a->op == SANDBOX_ARG_MASKED ? a->mask : UINT64_MAX;
	uint64_t value = a->op == SANDBOX_ARG_SELF ? (uint64_t)getpid() : a->value;

	if (a->op == SANDBOX_ARG_ANY)
		return;
	/* Little-endian, as the architecture that was checked. */
	emit_half(e, off, (uint32_t)mask, (uint32_t)value);
	emit_half(e, off + 4, (uint32_t)(mask >> 32), (uint32_t)(value >> 32));
}

static int emit_rule(struct emitter *e, const struct sandbox_rule *rule, size_t row)
{
	size_t first = e->n;

	for (unsigned i = 0; i < SANDBOX_RULE_ARGS; i++)
		emit_arg(e, &rule->args[i]);
	emit(e, BPF_RET | BPF_K,
	     e->mode == SANDBOX_TRACE ? SECCOMP_RET_TRACE | SANDBOX_TRACE_DATA(e->role, row)
				      : SECCOMP_RET_ALLOW);
	return fix(e, first);
}

/* All rows of a call, if it has any. */
static int emit_call(struct emitter *e, int nr)
{
	size_t n, first = e->n;
	const struct sandbox_rule *rules = sandbox_rules(&n);
	int r = 0;

	emit(e, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr);
	for (size_t i = 0; i < n && r == 0; i++) {
		if (rules[i].nr == nr && rules[i].roles & 1U << e->role)
			r = emit_rule(e, &rules[i], i);
	}
	if (e->n == first + 1) {
		e->n = first;
		return 0;
	}
	emit(e, BPF_RET | BPF_K, e->otherwise);
	e->code[first].jf = FAIL;
	return r < 0 ? r : fix(e, first);
}

/* Whether the calls of rows before this one have it already. */
static bool is_done(const struct sandbox_rule *rules, size_t row)
{
	for (size_t i = 0; i < ARRAY_LEN(frequent); i++) {
		if (rules[row].nr == frequent[i])
			return true;
	}
	for (size_t i = 0; i < row; i++) {
		if (rules[i].nr == rules[row].nr)
			return true;
	}
	return false;
}

static int emit_calls(struct emitter *e)
{
	size_t n;
	const struct sandbox_rule *rules = sandbox_rules(&n);
	int r = 0;

	emit(e, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	/* Calls of 32-bit programs are none of these. */
	emit(e, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64);
	e->code[e->n - 1].jt = 1;
	emit(e, BPF_RET | BPF_K, e->otherwise);
	emit(e, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_LEN(frequent) && r == 0; i++)
		r = emit_call(e, frequent[i]);
	for (size_t i = 0; i < n && r == 0; i++) {
		if (!is_done(rules, i))
			r = emit_call(e, rules[i].nr);
	}
	emit(e, BPF_RET | BPF_K, e->otherwise);
	return r;
}

int filter_compile(enum sandbox_role role, enum sandbox_mode mode, struct filter *ret,
		   struct err *err)
{
	struct emitter e = { .role = role,
			     .mode = mode,
			     .otherwise =
				     mode == SANDBOX_LOG ? SECCOMP_RET_LOG : SECCOMP_RET_TRAP };
	size_t n_rules;
	int r;

	sandbox_rules(&n_rules);
	e.code = calloc(n_rules * RULE_INSNS + 8, sizeof(*e.code));
	if (!e.code)
		return err_set(err, -ENOMEM, "filter for '%s': no memory", sandbox_role_str(role));
	r = emit_calls(&e);
	if (r == 0 && e.n > BPF_MAXINSNS)
		r = -E2BIG;
	if (r < 0) {
		free(e.code);
		return err_set(err, r, "filter for '%s': too many rows", sandbox_role_str(role));
	}
	*ret = (struct filter){ .code = e.code, .n = e.n };
	return 0;
}

int filter_install(const struct filter *filter, struct err *err)
{
	struct sock_fprog prog = { .len = (unsigned short)filter->n, .filter = filter->code };

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0)
		return 0;
	if (errno == ENOSYS || errno == EINVAL)
		return err_set(err, -ENOSYS,
			       "this kernel has no system call filters (CONFIG_SECCOMP_FILTER)");
	return err_errno(err, errno, "install a system call filter");
}

void filter_done(struct filter *filter)
{
	free(filter->code);
	filter->code = NULL;
}
