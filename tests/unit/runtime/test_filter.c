/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of roles, run as the kernel would: what the table's rows let through, and nothing else.
 */
#include "test.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "sandbox/filter.h"

#define NR_MAX 1024

static uint32_t load(const struct seccomp_data *d, uint32_t off)
{
	uint32_t word;

	assert_true(off % 4 == 0 && off + 4 <= sizeof(*d));
	memcpy(&word, (const char *)d + off, sizeof(word));
	return word;
}

static uint32_t run(const struct filter *f, const struct seccomp_data *d)
{
	uint32_t a = 0;

	for (size_t at = 0; at < f->n; at++) {
		const struct sock_filter *i = &f->code[at];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS: a = load(d, i->k); break;
		case BPF_ALU | BPF_AND | BPF_K: a &= i->k; break;
		case BPF_JMP | BPF_JA: at += i->k; break;
		case BPF_JMP | BPF_JEQ | BPF_K: at += a == i->k ? i->jt : i->jf; break;
		case BPF_JMP | BPF_JGE | BPF_K: at += a >= i->k ? i->jt : i->jf; break;
		case BPF_RET | BPF_K: return i->k;
		default: fail_msg("instruction 0x%x", i->code);
		}
	}
	fail_msg("the filter has no end");
	return 0;
}

static bool holds(const struct sandbox_arg *a, const struct seccomp_data *d)
{
	switch (a->op) {
	case SANDBOX_ARG_EQ: return d->args[a->arg] == a->value;
	case SANDBOX_ARG_MASKED: return (d->args[a->arg] & a->mask) == a->value;
	case SANDBOX_ARG_SELF: return d->args[a->arg] == (uint64_t)getpid();
	case SANDBOX_ARG_ANY: break;
	}
	return true;
}

/* The row of the table that has the call, or -1. */
static int row_of(enum sandbox_role role, const struct seccomp_data *d)
{
	size_t n;
	const struct sandbox_rule *rules = sandbox_rules(&n);

	for (size_t i = 0; i < n; i++) {
		bool has = rules[i].nr == d->nr && rules[i].roles & 1U << role;

		for (unsigned k = 0; k < SANDBOX_RULE_ARGS; k++)
			has = has && holds(&rules[i].args[k], d);
		if (has)
			return (int)i;
	}
	return -1;
}

static void check(const struct filter *f, enum sandbox_role role, enum sandbox_mode mode,
		  const struct seccomp_data *d)
{
	int row = row_of(role, d);
	uint32_t want = row < 0 ? mode == SANDBOX_LOG ? SECCOMP_RET_LOG : SECCOMP_RET_TRAP
			: mode == SANDBOX_TRACE
				? SECCOMP_RET_TRACE | SANDBOX_TRACE_DATA(role, (unsigned)row)
				: SECCOMP_RET_ALLOW;

	if (run(f, d) != want)
		fail_msg("%s: call %d (0x%llx, 0x%llx, 0x%llx, 0x%llx)", sandbox_role_str(role),
			 d->nr, (unsigned long long)d->args[0], (unsigned long long)d->args[1],
			 (unsigned long long)d->args[2], (unsigned long long)d->args[3]);
}

/* A call that a row lets through, and its neighbours. */
static void check_row(const struct filter *f, enum sandbox_role role, enum sandbox_mode mode,
		      const struct sandbox_rule *rule)
{
	struct seccomp_data d = { .nr = rule->nr, .arch = AUDIT_ARCH_X86_64 };

	for (unsigned k = 0; k < SANDBOX_RULE_ARGS; k++) {
		const struct sandbox_arg *a = &rule->args[k];

		if (a->op != SANDBOX_ARG_ANY)
			d.args[a->arg] = a->op == SANDBOX_ARG_SELF ? (uint64_t)getpid() : a->value;
	}
	check(f, role, mode, &d);
	for (unsigned arg = 0; arg < 6; arg++) {
		for (unsigned bit = 0; bit < 64; bit++) {
			d.args[arg] ^= 1ULL << bit;
			check(f, role, mode, &d);
			d.args[arg] ^= 1ULL << bit;
		}
	}
	d.arch = AUDIT_ARCH_I386;
	assert_int_not_equal(run(f, &d), SECCOMP_RET_ALLOW);
}

static void lets_through_what_the_table_says(void **state)
{
	size_t n;
	const struct sandbox_rule *rules = sandbox_rules(&n);

	(void)state;
	for (unsigned at = 0; at < SANDBOX_MAX_ * SANDBOX_MODE_MAX_; at++) {
		enum sandbox_role role = at % SANDBOX_MAX_;
		enum sandbox_mode mode = at / SANDBOX_MAX_;
		struct filter f;
		struct err err = { 0 };

		if (filter_make(role, mode, &f, &err) < 0)
			fail_msg("%s", err.msg);
		assert_true(f.n <= BPF_MAXINSNS);
		for (size_t i = 0; i < n; i++)
			check_row(&f, role, mode, &rules[i]);
		for (int nr = -1; nr < NR_MAX; nr++)
			check(&f, role, mode,
			      &(struct seccomp_data){ .nr = nr, .arch = AUDIT_ARCH_X86_64 });
		filter_done(&f);
	}
}

/* Bit 30 marks calls of the x32 kind. */
static void takes_no_call_of_another_kind(void **state)
{
	struct seccomp_data d = { .nr = SYS_futex | 1 << 30, .arch = AUDIT_ARCH_X86_64 };
	struct filter f;

	(void)state;
	assert_int_equal(filter_make(SANDBOX_VCPU, SANDBOX_ENFORCE, &f, NULL), 0);
	assert_int_equal(run(&f, &d), SECCOMP_RET_TRAP);
	d.nr = SYS_futex;
	assert_int_equal(run(&f, &d), SECCOMP_RET_ALLOW);
	filter_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lets_through_what_the_table_says),
		cmocka_unit_test(takes_no_call_of_another_kind),
	};

	return cmocka_run_group_tests_name("runtime/filter", tests, NULL, NULL);
}
