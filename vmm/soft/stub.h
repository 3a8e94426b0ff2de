/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host stubs: small pieces of host code that run one guest SSE, MMX or x87 instruction.
 *
 * Theory of operation. A stub is made from the *decoded* instruction, never from guest bytes: the
 * same opcode with the same vector registers, a general register operand in RAX, a memory operand
 * at [RSI]. It loads what it needs from the FXSAVE image at RDI, runs the instruction, stores back
 * and returns. Stubs are keyed by everything that goes into their code and live in one arena per
 * vCPU of fixed size; when that is full, all are dropped and made again as needed. W^X: the arena
 * is a memfd mapped twice, once writable and once executable; guest and decoder never see the
 * writable view.
 */
#ifndef SOFT_STUB_H
#define SOFT_STUB_H

#include "soft/cpu.h"
#include "soft/insn.h"

/* What a stub works on beside the FXSAVE image and the memory operand; offsets are in stub.c. */
struct stub_regs {
	uint64_t a, d, c;    /* RAX, RDX, RCX where the instruction uses them */
	uint64_t flags;	     /* RFLAGS in and out */
	uint32_t mxcsr_in;   /* all exceptions masked, flags clear */
	uint32_t mxcsr_out;  /* with the flags that the instruction raised */
	uint32_t unmasked;   /* flag bits that must not come up: else nothing is stored */
	uint32_t mxcsr_host; /* put back at the end */
};

typedef void (*stub_fn)(uint8_t *fx, void *mem, struct stub_regs *regs);

/* What the stub of an instruction does: for the callers' bookkeeping. */
enum stub_use {
	STUB_MXCSR = 1 << 0,	 /* floating point: MXCSR counts */
	STUB_FLAGS_OUT = 1 << 1, /* sets the arithmetic flags */
	STUB_FLAGS_IN = 1 << 2,
	STUB_MMX = 1 << 3,
	STUB_XMM0_IN = 1 << 4, /* XMM0 as a third operand */
	STUB_XMM0_OUT = 1 << 5,
	STUB_LENGTHS = 1 << 6, /* RAX and RDX hold string lengths */
	STUB_ECX_OUT = 1 << 7,
	STUB_IMM8 = 1 << 8,
	STUB_X87 = 1 << 9,
};

unsigned stub_uses(const struct insn *in);

/**
 * stub_get() - Find or make the stub of an instruction
 * @uses:	stub_uses(@in), perhaps without STUB_MXCSR
 *
 * The last one is remembered in *@in, which is cached data of this vCPU in spite of its const.
 *
 * Return: never NULL.
 */
stub_fn stub_get(struct cpu *cpu, const struct insn *in, unsigned uses);

/* Return: -EOPNOTSUPP when the host lacks SSE4.2, or AES or PCLMUL that the guest is promised;
 * -errno. */
int stub_cpu_new(struct cpu *cpu, struct err *err);
void stub_cpu_free(struct cpu *cpu);

/* ---- FXSAVE image in cpu->fx ---- */

#define FX_FCW	    0
#define FX_FSW	    2
#define FX_FTW	    4 /* abridged: one bit a physical register */
#define FX_FOP	    6
#define FX_FIP	    8
#define FX_FDP	    16
#define FX_MXCSR    24
#define FX_MASK	    28
#define FX_ST	    32
#define FX_XMM	    160

#define FSW_ES	    0x0080
#define FSW_B	    0x8000
#define FSW_EXC	    0x003f
#define FSW_TOP	    0x3800
#define MXCSR_VALID 0xffffU
#define MXCSR_FLAGS 0x003fU
#define MXCSR_MASKS 0x1f80U

/*
 * While MXCSR's control bits have their reset value, the host's are the same, and instructions run
 * with the host's MXCSR as it is: the flags they raise gather there. This brings them into cpu->fx;
 * needed before anything looks at or changes MXCSR, and when the thread leaves run().
 */
static inline void mxcsr_sync(struct cpu *cpu)
{
	uint32_t flags = __builtin_ia32_stmxcsr() & MXCSR_FLAGS, mxcsr;

	if (!flags)
		return;
	__builtin_memcpy(&mxcsr, cpu->fx + FX_MXCSR, 4);
	mxcsr |= flags;
	__builtin_memcpy(cpu->fx + FX_MXCSR, &mxcsr, 4);
	__builtin_ia32_ldmxcsr(MXCSR_MASKS);
}

/* sse.c: a quicker implementation of a decoded instruction whose exec is exec_sse(), or that one.
 */
insn_exec_fn sse_pick(const struct insn *in);
/* Whether it neither reads nor writes flags. */
bool sse_keeps_flags(const struct insn *in);

/* x87.c: MMX instructions begin by putting TOP to 0 and all tags to valid. */
void fx_enter_mmx(struct cpu *cpu);
void fx_top_to_zero(struct cpu *cpu);
/* Whether an unmasked x87 exception waits: #MF recorded, returns true. */
bool fx_pending_mf(struct cpu *cpu);

#endif
