/* SPDX-License-Identifier: Apache-2.0 */
/* Print the table of system calls as SECURITY.md has it. */
#include <stdio.h>

#include "sandbox/sandbox.h"

static void print_roles(const struct sandbox_rule *rule)
{
	const char *sep = "";

	for (unsigned role = 0; role < SANDBOX_MAX_; role++) {
		if (!(rule->roles & 1U << role))
			continue;
		printf("%s%s", sep, sandbox_role_str(role));
		sep = ", ";
	}
}

int main(void)
{
	size_t n;
	const struct sandbox_rule *rules = sandbox_rules(&n);

	printf("| system call | only with | roles | what for |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < n; i++) {
		printf("| `%s` | %s | ", rules[i].name, rules[i].condition);
		print_roles(&rules[i]);
		printf(" | %s%s |\n", rules[i].reason, rules[i].rare ? " \\*" : "");
	}
	return 0;
}
