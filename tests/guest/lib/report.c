/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts of guest tests, and which test to run. */
#include "report.h"

#define PORT_DEBUG     0xe9
#define PORT_TEST_EXIT 0xf4

volatile struct trap_record trap;
volatile uint32_t trap_count[256];

void guest_exit(uint32_t value)
{
	outl(PORT_TEST_EXIT, value);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void guest_print(const char *s)
{
	while (*s)
		outb(PORT_DEBUG, (uint8_t)*s++);
}

void guest_print_hex(uint64_t v)
{
	for (int i = 60; i >= 0; i -= 4)
		if (v >> i || i == 0)
			outb(PORT_DEBUG, (uint8_t) "0123456789abcdef"[v >> i & 15]);
}

void guest_value(const char *name, uint64_t v)
{
	guest_print(name);
	guest_print("0x");
	guest_print_hex(v);
}

void guest_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
	guest_print(file);
	guest_value(":", (uint64_t)line);
	guest_print(": ");
	guest_print(what);
	guest_value(" got ", got);
	guest_value(" want ", want);
	guest_value(" (last trap ", trap.vector);
	guest_value(" error ", trap.error);
	guest_value(" rip ", trap.rip);
	guest_value(" cr2 ", trap.cr2);
	guest_print(")\n");
	guest_exit(GUEST_FAIL);
}

/* ---- which test ---- */
static bool word_is(const char *word, const char *name)
{
	while (*name && *word == *name) {
		word++;
		name++;
	}
	return !*name && (*word == ' ' || !*word);
}

const char *guest_option(const char *cmdline, const char *key)
{
	for (const char *p = cmdline; *p; p++) {
		const char *k = key, *q = p;

		if (p != cmdline && p[-1] != ' ')
			continue;
		while (*k && *q == *k) {
			q++;
			k++;
		}
		if (!*k)
			return q;
	}
	return NULL;
}

void guest_run(const char *cmdline)
{
	const char *name = guest_option(cmdline, "test=");

	for (const struct test_entry *t = guest_tests; name && t->name; t++) {
		if (!word_is(name, t->name))
			continue;
		t->run();
		guest_exit(GUEST_PASS);
	}
	guest_print("no such test\n");
	guest_exit(GUEST_NO_TEST);
}
