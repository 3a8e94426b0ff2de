/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differential test of blocks and traces: random programs of several functions on several pages,
 * run in stretches of random length in blocks and translated, each stretch once more one
 * instruction at a time from the same state. At the end of each stretch, wherever that is,
 * registers, flags, memory and exception must be the same. Between stretches code changes, the TLB
 * is emptied and translations get a new generation.
 *
 * usage: diff_trace [-n programs] [-s seed]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flat_mmu.h"
#include "gen.h"
#include "soft/block_priv.h"
#include "soft/flags.h"

#define N_FUNCTIONS 8
#define N_PAGES	    6
#define N_PATCHES   16
#define STRETCHES   300
#define HLT	    0xf4
#define NONE	    256 /* no vector */

/* Registers: RBX walks through memory, RBP is a frame, R15 counts the outer loop. */
static const uint8_t work[] = { 0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14 };

struct program {
	struct rng r;
	uint64_t entry[N_FUNCTIONS];
	uint64_t at;		   /* where the next byte goes */
	uint64_t patch[N_PATCHES]; /* immediate bytes of instructions that may change */
	unsigned n_patches;
};

struct outcome {
	uint64_t gpr[16], rip, error, cr2;
	uint32_t rflags;
	unsigned vector;
	uint8_t mem[DATA_RW];
};

static struct cpu cpu;
static struct soft_vm vm;
static struct hv_cpuid_table cpuid;

/* ---- programs ---- */

static void byte(struct program *p, unsigned b)
{
	*(uint8_t *)(p->at++ - CODE_VA + CODE_ALIAS) = (uint8_t)b;
}

static void bytes(struct program *p, const char *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		byte(p, (uint8_t)s[i]);
}

static void imm32(struct program *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		byte(p, v >> (8 * i) & 0xff);
}

static unsigned reg(struct program *p)
{
	return work[rnd_below(&p->r, sizeof(work))];
}

/* REX.W or not, opcode, two registers. */
static void op_rr(struct program *p, unsigned opcode, unsigned a, unsigned b)
{
	byte(p, 0x40 | rnd_below(&p->r, 2) << 3 | (a >> 3) << 2 | b >> 3);
	if (opcode > 0xff)
		byte(p, opcode >> 8);
	byte(p, opcode & 0xff);
	byte(p, 0xc0 | (a & 7) << 3 | (b & 7));
}

/* Opcode with [RBP or RSP or RBX + disp8]. */
static void op_rm(struct program *p, unsigned opcode, unsigned a)
{
	static const uint8_t bases[] = { 5, 5, 4, 3 };
	unsigned base = bases[rnd_below(&p->r, 4)];
	int disp = base == 4 ? (int)rnd_below(&p->r, 6) * 8 + 8 : (int)rnd_below(&p->r, 160) - 80;

	byte(p, 0x40 | rnd_below(&p->r, 2) << 3 | (a >> 3) << 2);
	byte(p, opcode);
	byte(p, 0x40 | (a & 7) << 3 | base);
	if (base == 4)
		byte(p, 0x24);
	byte(p, (uint8_t)disp);
}

static void group1_imm(struct program *p)
{
	unsigned r = reg(p);

	byte(p, 0x40 | rnd_below(&p->r, 2) << 3 | r >> 3);
	byte(p, 0x81);
	byte(p, 0xc0 | rnd_below(&p->r, 8) << 3 | (r & 7));
	if (p->n_patches < N_PATCHES && !rnd_below(&p->r, 4))
		p->patch[p->n_patches++] = p->at;
	imm32(p, (uint32_t)rnd(&p->r) >> rnd_below(&p->r, 32));
}

/* Shifts and rotations by one: their flags are defined, but for AF. */
static void shift(struct program *p)
{
	static const uint8_t digits[] = { 0, 1, 4, 5, 7 };
	unsigned r = reg(p);

	byte(p, 0x40 | rnd_below(&p->r, 2) << 3 | r >> 3);
	byte(p, 0xd1);
	byte(p, 0xc0 | digits[rnd_below(&p->r, 5)] << 3 | (r & 7));
}

static void straight(struct program *p)
{
	static const uint16_t rr[] = { 0x01, 0x09, 0x11, 0x19, 0x21,   0x29,   0x31,
				       0x39, 0x85, 0x89, 0x89, 0x0fb6, 0x0fbf, 0x63 };
	static const uint8_t rm[] = { 0x8b, 0x8b, 0x89, 0x89, 0x03, 0x01, 0x3b, 0x39, 0x33, 0x13 };
	unsigned r = reg(p);

	switch (rnd_below(&p->r, 12)) {
	case 0:
	case 1: op_rr(p, rr[rnd_below(&p->r, sizeof(rr) / 2)], r, reg(p)); break;
	case 2:
	case 3:
	case 4: op_rm(p, rm[rnd_below(&p->r, sizeof(rm))], r); break;
	case 5: group1_imm(p); break;
	case 6: shift(p); break;
	case 7: /* INC or DEC */
		byte(p, 0x40 | rnd_below(&p->r, 2) << 3 | r >> 3);
		byte(p, 0xff);
		byte(p, 0xc0 | rnd_below(&p->r, 2) << 3 | (r & 7));
		break;
	case 8: op_rr(p, 0x0f40 | rnd_below(&p->r, 16), r, reg(p)); break; /* CMOV */
	case 9: op_rr(p, 0x0f90 | rnd_below(&p->r, 16), 0, r); break;	   /* SETcc */
	case 10: bytes(p, "\x9c\x58\x83\xe0\xef", 5); break; /* PUSHF, POP RAX, without AF */
	default: bytes(p, "\x50\x41\x54\x59\x5a", 5); break; /* PUSH RAX, R12, POP RCX, RDX */
	}
}

static void relative(struct program *p, uint64_t target)
{
	imm32(p, (uint32_t)(target - p->at - 4));
}

/* Jcc over a few instructions, now and then with another one behind it. */
static void branch(struct program *p)
{
	uint64_t from;
	int8_t over;

	if (rnd_below(&p->r, 2))
		op_rr(p, 0x39, reg(p), reg(p));
	byte(p, 0x70 | rnd_below(&p->r, 16));
	from = p->at;
	byte(p, 0);
	for (unsigned n = rnd_below(&p->r, 4); n; n--)
		straight(p);
	if (p->at - from > 100)
		abort();
	over = (int8_t)(p->at - from - 1);
	memcpy((void *)(from - CODE_VA + CODE_ALIAS), &over, 1);
}

/* CALL to where the return address is replaced: goes on behind. */
static void retpoline(struct program *p)
{
	bytes(p, "\x4c\x8d\x1d\x0b\x00\x00\x00", 7); /* lea r11, [rip + 11]: behind it all */
	bytes(p, "\xe8\x01\x00\x00\x00", 5);	     /* call over the HLT */
	byte(p, HLT);
	bytes(p, "\x4c\x89\x1c\x24\xc3", 5); /* mov [rsp], r11; ret */
}

/* CALL of code that returns one byte further on every eighth turn, over the NOP. */
static void odd_return(struct program *p)
{
	bytes(p, "\xe8\x03\x00\x00\x00\x90\xeb\x0e", 8); /* call; nop; jmp over the rest */
	bytes(p, "\x4c\x8d\x1c\x24\x41\xf6\xc7\x07", 8); /* lea r11, [rsp]; test r15b, 7 */
	bytes(p, "\x75\x03\x49\xff\x03\xc3", 6);	 /* jne; inc qword [r11]; ret */
}

static void call(struct program *p, unsigned callee)
{
	if (rnd_below(&p->r, 5)) {
		byte(p, 0xe8);
		relative(p, p->entry[callee]);
		return;
	}
	byte(p, 0x49); /* mov r11, imm64; call r11 */
	byte(p, 0xbb);
	imm32(p, (uint32_t)p->entry[callee]);
	imm32(p, 0);
	bytes(p, "\x41\xff\xd3", 3);
}

static void body(struct program *p, unsigned self)
{
	for (unsigned n = 2 + rnd_below(&p->r, 8); n; n--) {
		switch (rnd_below(&p->r, 8)) {
		case 0:
		case 1: branch(p); break;
		case 2:
			if (self + 1 < N_FUNCTIONS)
				call(p, self + 1 + rnd_below(&p->r, N_FUNCTIONS - self - 1));
			break;
		case 3:
			if (!rnd_below(&p->r, 4))
				retpoline(p);
			else if (!rnd_below(&p->r, 4))
				odd_return(p);
			break;
		default: straight(p); break;
		}
	}
}

/* Function 0 is the program: a loop of R15 turns. */
static void make_program(struct program *p)
{
	uint64_t top;

	p->n_patches = 0;
	memset((void *)CODE_ALIAS, HLT, N_PAGES * 4096);
	for (unsigned i = 0; i < N_FUNCTIONS; i++)
		p->entry[i] =
			CODE_VA + rnd_below(&p->r, N_PAGES) * 4096 + 600 * (i % 6) +
			(rnd_below(&p->r, 6) ? 0 : 4096 - 600 * (i % 6) - rnd_below(&p->r, 40));
	for (unsigned i = 0; i < N_FUNCTIONS; i++) {
		p->at = p->entry[i];
		top = p->at;
		if (i && rnd_below(&p->r, 2)) {
			byte(p, 0x53); /* PUSH RBX ... POP RBX */
			body(p, i);
			byte(p, 0x5b);
		} else {
			body(p, i);
		}
		if (i) {
			byte(p, 0xc3);
			continue;
		}
		bytes(p, "\x48\x83\xc3\x05", 4); /* add rbx, 5 */
		bytes(p, "\x49\xff\xcf", 3);	 /* dec r15 */
		bytes(p, "\x0f\x85", 2);
		relative(p, top);
		byte(p, HLT);
	}
}

/* ---- running ---- */

static void init(void)
{
	cpu.mode = CPU_LONG64;
	flat_init(&cpu, &vm, &cpuid);
	cpu.seg[HV_CS].attr = 0xafb;
}

static void save(struct outcome *o)
{
	memcpy(o->gpr, cpu.gpr, sizeof(o->gpr));
	o->rip = cpu.rip;
	o->rflags = flags_sync(&cpu) & ~FL_AF;
	o->vector = cpu.exc.pending ? cpu.exc.vector : NONE;
	o->error = cpu.exc.error;
	o->cr2 = cpu.exc.cr2;
	memcpy(o->mem, (void *)DATA_VA, DATA_RW);
}

static void load(const struct outcome *o)
{
	memcpy(cpu.gpr, o->gpr, sizeof(cpu.gpr));
	cpu.rip = o->rip;
	cpu.rflags = o->rflags;
	cpu.cc.op = CC_EXPLICIT;
	cpu.exc = (struct cpu_exc){ 0 };
	memcpy((void *)DATA_VA, o->mem, DATA_RW);
}

static void start(struct program *p, struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	for (unsigned i = 0; i < DATA_RW; i++)
		o->mem[i] = (uint8_t)(rnd(&p->r) >> 40);
	for (unsigned i = 0; i < 16; i++)
		o->gpr[i] = rnd(&p->r) >> rnd_below(&p->r, 64);
	o->gpr[HV_RSP] = DATA_VA + 4096 + 8 * rnd_below(&p->r, 40) - 64;
	o->gpr[HV_RBP] = DATA_VA + 4096 + rnd_below(&p->r, 400) - 200;
	o->gpr[HV_RBX] = DATA_VA + 200 + rnd_below(&p->r, 8192 - 200);
	o->gpr[HV_R15] = 200 + rnd_below(&p->r, 4000);
	o->rip = p->entry[0];
	o->rflags = FL_ONE | FL_IF;
}

/* @n instructions or until something is raised; returns how many there were. */
static int64_t run(bool step, int64_t n)
{
	uint64_t before = cpu.stats.n_insns;

	cpu.step = step;
	cpu.budget = n;
	atomic_store(&cpu.stop_at, 0);
	cpu_exec(&cpu);
	return (int64_t)(cpu.stats.n_insns - before);
}

static void kill_code(uint64_t va)
{
	cpu.code->queue[0] = (struct inval){ va & ~63ULL, 64 };
	cpu.code->n_queue = 1;
	atomic_store(&cpu.code->pending, true);
}

static void disturb(struct program *p)
{
	uint64_t va;

	switch (rnd_below(&p->r, 12)) {
	case 0: flat_flush(&cpu); break;
	case 1: cpu.code_gen[0]++; break;
	case 2: kill_code(p->entry[rnd_below(&p->r, N_FUNCTIONS)] + rnd_below(&p->r, 64)); break;
	case 3:
		if (!p->n_patches)
			break;
		va = p->patch[rnd_below(&p->r, p->n_patches)];
		*(uint8_t *)(va - CODE_VA + CODE_ALIAS) ^= 1U << rnd_below(&p->r, 8);
		kill_code(va);
		break;
	default: break;
	}
}

static void report(const struct outcome *from, const struct outcome *fast,
		   const struct outcome *slow, int64_t n)
{
	printf("MISMATCH from %lx after %ld instructions\n", from->rip, (long)n);
	printf("  rip %lx %lx flags %x %x vector %u %u error %lx %lx cr2 %lx %lx\n", fast->rip,
	       slow->rip, fast->rflags, slow->rflags, fast->vector, slow->vector, fast->error,
	       slow->error, fast->cr2, slow->cr2);
	for (unsigned i = 0; i < 16; i++)
		if (fast->gpr[i] != slow->gpr[i])
			printf("  r%u %lx, should be %lx\n", i, fast->gpr[i], slow->gpr[i]);
	for (unsigned i = 0; i < DATA_RW; i++)
		if (fast->mem[i] != slow->mem[i])
			printf("  [%lx] %02x, should be %02x\n", DATA_VA + i, fast->mem[i],
			       slow->mem[i]);
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip &&
	       a->rflags == b->rflags && a->vector == b->vector &&
	       (a->vector == NONE || (a->error == b->error && a->cr2 == b->cr2)) &&
	       !memcmp(a->mem, b->mem, DATA_RW);
}

static bool run_program(uint64_t seed)
{
	static struct outcome from, fast, slow;
	struct program p = { .r = { .s = seed * 0x9e3779b97f4a7c15ULL + 1 } };

	block_flush(&cpu);
	make_program(&p);
	start(&p, &from);
	cpu.code->jit_threshold = 1 + (int32_t)rnd_below(&p.r, 20);
	cpu.code->jit_trace_threshold = 1 + (int32_t)rnd_below(&p.r, 100);
	for (unsigned i = 0; i < STRETCHES; i++) {
		int64_t n;

		load(&from);
		n = run(false, 1 + rnd_below(&p.r, 2000));
		save(&fast);
		load(&from);
		if (run(true, n) != n || n == 0) {
			if (n == 0 && fast.vector != NONE)
				return true;
			printf("seed %lu: other number of instructions than %ld\n", seed, (long)n);
			return false;
		}
		if (fast.vector != NONE && !cpu.exc.pending)
			run(true, 1); /* the one that raises does not count */
		save(&slow);
		if (!same(&fast, &slow)) {
			printf("seed %lu, stretch %u: ", seed, i);
			report(&from, &fast, &slow, n);
			return false;
		}
		if (fast.vector != NONE)
			return true;
		from = fast;
		disturb(&p);
	}
	return true;
}

int main(int argc, char **argv)
{
	uint64_t n = 1000, seed = 1;
	unsigned bad = 0;
	int opt;

	while ((opt = getopt(argc, argv, "n:s:")) != -1) {
		switch (opt) {
		case 'n': n = strtoull(optarg, NULL, 0); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	init();
	for (uint64_t i = 0; i < n && bad < 10; i++)
		bad += !run_program(seed + i);
	printf("%lu programs, %lu instructions, %u mismatches\n", n,
	       (unsigned long)cpu.stats.n_insns, bad);
	flat_done(&cpu);
	return bad != 0;
}
