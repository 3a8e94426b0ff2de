/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Print the table of system calls: as SECURITY.md has it, or a line a rule for used.py.
 *
 *	jail-rules [--lines]
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sandbox/sandbox.h"

static void print_roles(const struct sandbox_rule *rule, const char *between)
{
	const char *sep = "";

	for (unsigned role = 0; role < SANDBOX_MAX_; role++) {
		if (!(rule->roles & 1U << role))
			continue;
		printf("%s%s", sep, sandbox_role_str(role));
		sep = between;
	}
}

/* roles name rare conditions, for a reader that has the arguments as numbers. */
static void print_line(const struct sandbox_rule *rule)
{
	print_roles(rule, ",");
	printf(" %s %d ", rule->name, rule->rare);
	for (unsigned i = 0; i < SANDBOX_RULE_ARGS; i++) {
		const struct sandbox_arg *a = &rule->args[i];

		if (a->op == SANDBOX_ARG_EQ)
			printf("%u:%#" PRIx64 ":%#" PRIx64 ";", a->arg, UINT64_MAX, a->value);
		else if (a->op == SANDBOX_ARG_MASKED)
			printf("%u:%#" PRIx64 ":%#" PRIx64 ";", a->arg, a->mask, a->value);
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	size_t n;
	const struct sandbox_rule *rules = sandbox_rules(&n);

	if (argc > 1 && !strcmp(argv[1], "--lines")) {
		for (size_t i = 0; i < n; i++)
			print_line(&rules[i]);
		return 0;
	}
	printf("| system call | only with | roles | what for |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < n; i++) {
		printf("| `%s` | %s | ", rules[i].name, rules[i].condition);
		print_roles(&rules[i], ", ");
		printf(" | %s%s |\n", rules[i].reason, rules[i].rare ? " \\*" : "");
	}
	return 0;
}
