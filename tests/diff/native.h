/* SPDX-License-Identifier: Apache-2.0 */
/* Runs instructions on the host CPU, one at a time, and catches whatever happens. */
#ifndef TESTS_DIFF_NATIVE_H
#define TESTS_DIFF_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

/* In the order of enum hv_gpr. The offsets are known to the assembly. */
struct native_ctx {
	uint64_t gpr[16];
	uint64_t frame[5]; /* what IRETQ takes: rip, cs, rflags, rsp, ss */
	uint64_t use_fx;
	uint64_t cs; /* code segment, if not that of native_step()'s @code32 */
	uint64_t pad;
	uint8_t fx[512]; /* FXSAVE layout, 16-byte aligned */
} __attribute__((aligned(64)));

struct native_result {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	int vector; /* 1: ran to its end */
	uint64_t error, cr2;
	uint8_t fx[512]; /* when use_fx was set */
};

/* Flat DS and ES, for compatibility mode: null ones are no use there. */
void native_data_segments(void);

/* Catch signals. Once. */
void native_init(void);

/**
 * native_step() - Run one instruction
 * @ctx:	Registers; changed to hold those after the instruction
 * @code32:	Run it in compatibility mode
 * @rep:	It is a repeated string instruction: run it to its end
 *
 * Vector 1 is the normal case.
 */
void native_step(struct native_ctx *ctx, uint64_t rip, uint64_t rflags, bool code32, bool rep,
		 struct native_result *ret);

#endif
