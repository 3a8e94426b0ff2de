/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freestanding C programs as bootx payloads: PAYLOAD_MAIN(fn, pages) makes `int fn(const struct
 * bootx_info
 * *)` the program, and its return value the exit code.
 */
#ifndef BOOTX_PAYLOAD_H
#define BOOTX_PAYLOAD_H

#include "bootx.h"

/* What a program starts with; payload_heap() hands out what lies between the image's end and the
 * limit. */
struct payload_report {
	uint64_t stack_bottom, stack_top, heap_start, heap_end;
};

typedef int payload_main_fn(const struct bootx_info *info);

/* Runs the start-up steps, then main, then ends the machine with its value. */
void payload_run(const struct bootx_info *info, payload_main_fn *main) __attribute__((noreturn));

void payload_print(const char *text);
void payload_exit(uint32_t status) __attribute__((noreturn));
/* Zeroed memory from the break upwards, 16-aligned; NULL when it is used up. */
void *payload_alloc(size_t len);
const struct payload_report *payload_get_report(void);

#define PAYLOAD_MAIN(fn, pages)                                  \
	static void payload_entry(const struct bootx_info *info) \
	{                                                        \
		payload_run(info, (fn));                         \
	}                                                        \
	BOOTX_ENTRY(payload_entry, pages)

#endif
