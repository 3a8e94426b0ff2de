/* SPDX-License-Identifier: Apache-2.0 */
/* One include for every cmocka test: the headers it wants first, and skipping. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Exit status by which a test program says that this machine lacks what it needs. */
#define TEST_SKIP 77

/* return test_skip("reason"); from main() */
static inline int test_skip(const char *reason)
{
	printf("SKIP: %s\n", reason);
	return TEST_SKIP;
}

#endif
