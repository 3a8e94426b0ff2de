/* SPDX-License-Identifier: Apache-2.0 */
/* A payload that looks at what it was given. The command line says which check: test=NAME. */
#include "payload.h"

enum { PASS = 16, FAIL = 17, UNKNOWN = 18 };

static int initialised = 0x1234;
static int zeroed[1024];
static const char constant[] = "constant";

#define CHECK(cond)                                           \
	do {                                                  \
		if (!(cond)) {                                \
			payload_print("failed: " #cond "\n"); \
			return FAIL;                          \
		}                                             \
	} while (0)

static int says(const char *text, const char *word)
{
	for (; *text; text++) {
		const char *a = text, *b = word;

		while (*b && *a == *b) {
			a++;
			b++;
		}
		if (!*b)
			return 1;
	}
	return 0;
}

__attribute__((noinline)) int check_start(const struct bootx_info *info);
int check_start(const struct bootx_info *info)
{
	uint64_t usable = 0, last = 0;
	char *a = payload_alloc(100), *b = payload_alloc(1 << 20);

	CHECK(initialised == 0x1234);
	for (unsigned i = 0; i < 1024; i++)
		CHECK(zeroed[i] == 0);
	CHECK(constant[0] == 'c');
	CHECK(info->stack_top - info->stack_bottom == 3 * 4096);
	CHECK(info->loader_phys % 0x200000 == 0);
	CHECK(a && !b && a[99] == 0);
	for (unsigned i = 0; i < info->n_regions; i++) {
		CHECK(info->regions[i].start >= last);
		last = info->regions[i].start + info->regions[i].len;
		if (info->regions[i].kind == BOOTX_USABLE)
			usable += info->regions[i].len;
	}
	CHECK(usable > 16 << 20);
	CHECK(info->cpu_vendor[0] && info->tsc);
	return PASS;
}

static int overflow(volatile char *from, int depth)
{
	volatile char here[512];

	here[0] = (char)depth;
	return from && from[0] == 77 ? 0 : overflow(here, 1) + here[0];
}

static int check_all(const struct bootx_info *info)
{
	const char *c = (const char *)info->cmdline;
	volatile char *text = (volatile char *)constant;

	if (says(c, "test=start"))
		return check_start(info);
	if (says(c, "test=overflow"))
		return overflow(NULL, 0);
	if (says(c, "test=write-constant"))
		*text = 'x';
	else if (says(c, "test=write-code"))
		*(volatile char *)&check_start = 0;
	else if (says(c, "test=run-data"))
		((int (*)(void))(uintptr_t)zeroed)();
	else if (says(c, "test=where"))
		return (int)(info->loader_phys >> 21);
	return UNKNOWN;
}

PAYLOAD_MAIN(check_all, 3);
