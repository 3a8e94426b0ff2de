/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differential test: random instructions on the host CPU, and interpreted in blocks,
 * translated, and one at a time.
 *
 * usage: diff [-n cases] [-s seed] [-f first] [-v]
 * -v: x87, MMX and SSE instead of integer instructions.
 * A mismatch prints bytes, registers and what differs; the exit status is 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "flat_mmu.h"
#include "gen.h"
#include "native.h"
#include "soft/block_priv.h"
#include "soft/exec.h"
#include "soft/flags.h"
#include "soft/stub.h"

#define SLOT_BYTES   512
#define SLOTS	     ((CODE_PAGES - 1) * 4096 / SLOT_BYTES)
#define FILLER	     0xf4 /* HLT: whatever runs on behind the case stops there */
#define CMP_FLAGS    (FL_ARITH | FL_DF)
#define MAX_MISMATCH 10

struct outcome {
	uint64_t gpr[16], rip;
	uint32_t rflags;
	unsigned vector; /* 1: none */
	uint64_t error, cr2;
	uint8_t mem[DATA_RW];
	uint8_t fx[512];
};

static struct cpu cpu;
static struct soft_vm vm;
static struct hv_cpuid_table cpuid;
static bool vector_mode;
static struct range {
	uint64_t from, to;
} taken[1000];
static unsigned n_taken;

/* Everything the decoder knows and the host has. */
static void host_cpuid(void)
{
	static const uint32_t leaves[] = { 1, 7, 0x80000001 };

	for (unsigned i = 0; i < 3; i++) {
		struct hv_cpuid *e = &cpuid.entries[cpuid.n++];

		e->leaf = leaves[i];
		__asm__ volatile("cpuid"
				 : "=a"(e->eax), "=b"(e->ebx), "=c"(e->ecx), "=d"(e->edx)
				 : "a"(leaves[i]), "c"(0));
	}
}

/* Where this process itself has memory: a lot, and anywhere, with a sanitizer. */
static void find_taken(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	uint64_t from, to;

	while (f && n_taken < ARRAY_LEN(taken) && fscanf(f, "%lx-%lx%*[^\n]", &from, &to) == 2)
		if (from != DATA_VA && from != DATA_VA + DATA_RW && from != CODE_VA)
			taken[n_taken++] = (struct range){ from, to };
	if (!f || n_taken == ARRAY_LEN(taken))
		abort();
	fclose(f);
}

static bool is_taken(uint64_t va)
{
	for (unsigned i = 0; i < n_taken; i++)
		if (va >= taken[i].from && va < taken[i].to)
			return true;
	return false;
}

static void init(void)
{
	host_cpuid();
	cpu.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
	flat_init(&cpu, &vm, &cpuid);
	cpu.seg[HV_CS].attr = 0xcfb;
	memset((void *)CODE_ALIAS, FILLER, CODE_PAGES * 4096);
	native_init();
	find_taken();
}

static void reset_memory(const struct test_case *c)
{
	memcpy((void *)DATA_VA, gen_pattern(c->pattern), DATA_RW);
}

static unsigned run_native(const struct test_case *c, struct outcome *o)
{
	static struct native_ctx ctx;
	struct native_result res = { .rip = c->rip, .rflags = c->rflags };
	unsigned n = 0;
	uint64_t next = c->rip;

	reset_memory(c);
	memcpy(ctx.gpr, c->gpr, sizeof(ctx.gpr));
	memcpy(ctx.fx, c->fx, sizeof(ctx.fx));
	ctx.use_fx = vector_mode;
	do {
		uint64_t at = res.rip;

		native_step(&ctx, res.rip, res.rflags & ~0x100ULL, c->code32,
			    gen_is_string(&c->in[n]), &res);
		if (vector_mode) {
			memcpy(ctx.fx, res.fx, sizeof(ctx.fx));
			__builtin_ia32_ldmxcsr(
				MXCSR_MASKS); /* the signal's return has put the case's back */
		}
		next = at + c->in[n].len;
		n++;
	} while (n < c->n && res.vector == 1 && res.rip == next);
	memcpy(o->gpr, res.gpr, sizeof(o->gpr));
	o->rip = res.rip;
	o->rflags = (uint32_t)res.rflags;
	o->vector = (unsigned)res.vector;
	o->error = res.error;
	o->cr2 = res.cr2;
	memcpy(o->mem, (void *)DATA_VA, DATA_RW);
	memcpy(o->fx, res.fx, sizeof(o->fx));
	return n;
}

static void load_cpu(const struct test_case *c)
{
	memcpy(cpu.gpr, c->gpr, sizeof(cpu.gpr));
	cpu.rip = c->rip;
	cpu.rflags = (uint32_t)c->rflags;
	cpu.cc.op = CC_EXPLICIT;
	cpu.exc.pending = false;
	cpu.exc.noncanonical = false;
	cpu.mode = c->code32 ? CPU_COMPAT32 : CPU_LONG64;
	cpu.halted = false;
	memcpy(cpu.fx, c->fx, sizeof(cpu.fx));
}

static void save_cpu(struct outcome *o)
{
	memcpy(o->gpr, cpu.gpr, sizeof(o->gpr));
	o->rip = cpu.rip;
	o->rflags = flags_sync(&cpu);
	o->vector = cpu.exc.pending ? cpu.exc.vector : 1;
	o->error = cpu.exc.error;
	o->cr2 = cpu.exc.cr2;
	memcpy(o->mem, (void *)DATA_VA, DATA_RW);
	mxcsr_sync(&cpu);
	memcpy(o->fx, cpu.fx, sizeof(o->fx));
}

static void run_step(const struct test_case *c, unsigned n, struct outcome *o)
{
	reset_memory(c);
	load_cpu(c);
	cpu.step = true;
	for (unsigned i = 0; i < n && !cpu.exc.pending; i++) {
		uint64_t at = cpu.rip;

		do { /* a string instruction with a big count takes several turns */
			cpu.budget = 1;
			cpu_exec(&cpu);
		} while (gen_is_string(&c->in[i]) && cpu.rip == at && !cpu.exc.pending);
	}
	save_cpu(o);
}

/* Runs on into the filler behind the case, which raises something at the right address. */
static void run_block(const struct test_case *c, const struct outcome *native, struct outcome *o)
{
	reset_memory(c);
	load_cpu(c);
	cpu.step = false;
	cpu.budget = 1000;
	cpu_exec(&cpu);
	save_cpu(o);
	if (native->vector == 1 && o->rip == native->rip)
		o->vector = 1;
}

/* The host kernel says "present" of all its own addresses, and maps code pages when it likes. */
static uint64_t error_mask(uint64_t cr2)
{
	return cr2 >= 0x7ffffffff000 || cr2 - CODE_VA < CODE_PAGES * 4096 ? ~(uint64_t)PF_P : ~0ULL;
}

/* All but the instruction and data pointers, and what FXSAVE leaves alone. */
static bool same_fx(const struct outcome *a, const struct outcome *b, bool code32)
{
	if (memcmp(a->fx, b->fx, 5) || memcmp(a->fx + FX_MXCSR, b->fx + FX_MXCSR, 4))
		return false;
	for (unsigned i = 0; i < 8; i++)
		if (memcmp(a->fx + FX_ST + 16 * i, b->fx + FX_ST + 16 * i, 10))
			return false;
	return !memcmp(a->fx + FX_XMM, b->fx + FX_XMM, code32 ? 128 : 256);
}

static bool same(uint32_t undefined, const struct test_case *c, const struct outcome *a,
		 const struct outcome *b)
{
	uint32_t flags = CMP_FLAGS & ~undefined;

	if (memcmp(a->gpr, b->gpr, (c->code32 ? 8 : 16) * 8) || a->rip != b->rip ||
	    ((a->rflags ^ b->rflags) & flags) || a->vector != b->vector)
		return false;
	if (a->vector == VEC_PF &&
	    (((a->error ^ b->error) & error_mask(a->cr2)) || a->cr2 != b->cr2))
		return false;
	if (vector_mode && !same_fx(a, b, c->code32))
		return false;
	return !memcmp(a->mem, b->mem, DATA_RW);
}

static void print_outcome(const char *name, const struct outcome *o)
{
	printf("  %-7s rip %lx flags %x vector %u error %lx cr2 %lx\n   ", name, o->rip, o->rflags,
	       o->vector, o->error, o->cr2);
	for (unsigned i = 0; i < 16; i++)
		printf(" %lx", o->gpr[i]);
	printf("\n");
}

static void report(const struct test_case *c, const struct outcome *a, const struct outcome *b,
		   const char *mode, uint64_t seed, uint32_t undefined)
{
	printf("MISMATCH (%s, %s mode, seed 0x%lx), undefined flags %x:", mode,
	       c->code32 ? "32-bit" : "64-bit", seed, undefined);
	for (unsigned i = 0; i < c->len; i++)
		printf(" %02x", c->bytes[i]);
	printf("\n  start   rip %lx flags %lx memory pattern %u\n   ", c->rip, c->rflags,
	       c->pattern);
	for (unsigned i = 0; i < 16; i++)
		printf(" %lx", c->gpr[i]);
	printf("\n");
	print_outcome("host", a);
	print_outcome("soft", b);
	for (unsigned i = 0; vector_mode && i < 416; i++) {
		if (a->fx[i] != b->fx[i] && (i < FX_FOP || i >= FX_MXCSR))
			printf("  fx[%u]: start %02x host %02x soft %02x\n", i, c->fx[i], a->fx[i],
			       b->fx[i]);
	}
	for (unsigned i = 0; i < DATA_RW; i++) {
		if (a->mem[i] != b->mem[i]) {
			printf("  memory differs first at %lx: %02x, %02x\n", DATA_VA + i,
			       a->mem[i], b->mem[i]);
			break;
		}
	}
}

/* Where the case's code goes: slots in turn, some of them over a page border. */
static uint64_t place(struct rng *r, uint64_t i)
{
	uint64_t slot = CODE_VA + i % SLOTS * SLOT_BYTES;

	if (i % SLOTS == 0)
		block_flush(&cpu);
	if (i % 8 == 7 && rnd_below(r, 2))
		return slot + SLOT_BYTES - 1 - rnd_below(r, 20);
	return slot + 200;
}

/* Whether the outcome can be compared. */
static bool comparable(const struct test_case *c, unsigned n, const struct outcome *native)
{
	/* what POPA has popped when it faults differs between vendors */
	if (native->vector != 1 && c->in[n - 1].exec == exec_popa)
		return false;
	/* and so does what MASKMOV looks at, and when */
	if (native->vector != 1 && c->in[n - 1].opcode == 0xf7 && c->in[n - 1].exec == exec_sse)
		return false;
	/* DPPS and DPPD raise step by step; ours are found at the end */
	if (native->vector == VEC_XM && c->in[n - 1].map == INSN_MAP_0F3A &&
	    (c->in[n - 1].opcode & 0xfe) == 0x40)
		return false;
	/* over the end of the 32-bit space: #GP or not as the processor likes, SDM 3A 5.3 */
	if (native->vector == VEC_PF && c->code32 && native->cr2 > 0xffffffffU - 16)
		return false;
	/* undefined: a 16-bit double shift by more than 16 */
	if (c->in[n - 1].exec == exec_shd && c->in[n - 1].op_size == 2 &&
	    (c->gpr[HV_RCX] & 31) > 16)
		return false;
	/* blocks would run on after a jump into the case itself */
	return native->vector != 1 || native->rip < c->rip || native->rip >= c->rip + c->len;
}

static uint64_t n_compared, n_translated; /* cases; those that led to host code */

static bool compare_case(struct rng *r, const struct test_case *c, uint64_t i)
{
	static struct outcome native, soft;
	unsigned n;
	uint32_t undefined;
	bool ok = true;
	size_t used;

	run_step(c, c->n, &soft);
	if (soft.vector == VEC_PF && is_taken(soft.cr2))
		return true; /* for the host CPU there is something */
	n = run_native(c, &native);
	undefined = c->undefined[native.vector == 1 ? n : n - 1];
	if (!comparable(c, n, &native))
		return true;
	n_compared++;
	if (rnd_below(r, 2))
		flat_flush(&cpu);
	cpu.code->jit_threshold = rnd_below(r, 2) ? 1 : INT32_MAX; /* at once, or never */
	cpu.code->jit_trace_threshold = rnd_below(r, 2) ? 1 : INT32_MAX;
	used = cpu.code->jit_used;
	run_block(c, &native, &soft);
	n_translated += cpu.code->jit_used != used;
	if (!same(undefined, c, &native, &soft)) {
		report(c, &native, &soft, cpu.code->jit_threshold == 1 ? "translated" : "blocks", i,
		       undefined);
		ok = false;
	}
	run_step(c, n, &soft);
	if (!same(undefined, c, &native, &soft)) {
		report(c, &native, &soft, "step", i, undefined);
		ok = false;
	}
	return ok;
}

static bool run_case(const struct form_list *lists, uint64_t i, uint64_t seed)
{
	struct rng r = { .s = seed ^ i * 0x2545f4914f6cdd1dULL };
	struct test_case c;
	uint8_t *code;
	bool ok;

	gen_case(&r, &lists[rnd_below(&r, 4) == 0], place(&r, i), 1 + rnd_below(&r, GEN_MAX_SEQ),
		 &c);
	code = (uint8_t *)(c.rip - CODE_VA + CODE_ALIAS);
	memcpy(code, c.bytes, c.len);
	ok = compare_case(&r, &c, i);
	memset(code, FILLER, c.len);
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t n = 200000, seed = 1, first = 0;
	struct form_list lists[2];
	struct decode_env env;
	unsigned bad = 0;
	struct rng r;
	int opt;

	while ((opt = getopt(argc, argv, "n:s:f:v")) != -1) {
		switch (opt) {
		case 'n': n = strtoull(optarg, NULL, 0); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'v': vector_mode = true; break;
		case 'f': first = strtoull(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	init();
	r.s = seed;
	gen_init_patterns(&r);
	env = (struct decode_env){ decode_features(&cpuid), CPU_LONG64 };
	gen_forms(&lists[0], &env, vector_mode ? gen_accept_vector : gen_accept_integer);
	env.mode = CPU_COMPAT32;
	gen_forms(&lists[1], &env, vector_mode ? gen_accept_vector : gen_accept_integer);
	printf("%zu forms in 64-bit mode, %zu in 32-bit mode\n", lists[0].n, lists[1].n);
	fflush(stdout);
	for (uint64_t i = first; i < first + n && bad < MAX_MISMATCH; i++)
		bad += !run_case(lists, i, seed);
	printf("%lu cases, %lu of them compared, %lu translated, %u mismatches\n", n, n_compared,
	       n_translated, bad);
	free(lists[0].forms);
	free(lists[1].forms);
	flat_done(&cpu);
	return bad != 0;
}
