/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder against the host CPU: every opcode of the four maps with every kind of ModRM and
 * prefixes, in 64-, 32- and 16-bit code, and random strings of prefixes. Compared are the length
 * and what is an invalid opcode, not what instructions do.
 *
 * The length is where the host CPU stops fetching: with that many bytes in front of a page that
 * cannot be executed it finds the instruction whole, with one byte less it does not. Behind the
 * bytes of interest, in memory and in registers there is nothing but zeros and pointers to zeros.
 *
 * usage: diff_decode [-a] [-n RANDOM_CASES] [-s SEED]
 * -a: every kind of ModRM for each opcode; minutes.
 */
#include <asm/ldt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "native.h"
#include "soft/cpu.h"
#include "soft/decode.h"
#include "soft/exec.h"

#define CODE_VA	     0x20000000UL /* one page of code, then one that cannot be executed */
#define DATA_VA	     0x10000000UL
#define DATA_BYTES   (16 * 4096UL)
#define BORDER	     (CODE_VA + 4096)
#define PF_FETCH     16U
/* Opcode, ModRM, SIB, displacement, immediate: what is invalid and too long may be either. */
#define MAX_REST     11
#define MAX_MISMATCH 20
#define LDT_CODE16   (0 << 3 | 7)

struct mode {
	const char *name;
	enum cpu_mode mode;
	uint16_t cs;
	uint64_t base;
};
static const struct mode modes[] = {
	{ "64-bit", CPU_LONG64, 0x33, 0 },
	{ "32-bit", CPU_COMPAT32, 0x23, 0 },
	{ "16-bit", CPU_COMPAT16, LDT_CODE16, CODE_VA },
};

static struct decode_env env;
static const struct mode *mode;
static uint8_t *alias; /* the code page again, to write it */
static uint64_t n_cases, n_invalid, n_skipped, n_foreign;
static unsigned n_bad;
static bool all;

static void host_features(void)
{
	static const uint32_t leaves[] = { 1, 7, 0x80000001 };
	static struct hv_cpuid_table table;

	for (unsigned i = 0; i < ARRAY_LEN(leaves); i++) {
		struct hv_cpuid *e = &table.entries[table.n++];

		e->leaf = leaves[i];
		__asm__ volatile("cpuid"
				 : "=a"(e->eax), "=b"(e->ebx), "=c"(e->ecx), "=d"(e->edx)
				 : "a"(leaves[i]), "c"(0));
	}
	env.features = decode_features(&table);
}

static void *map(uint64_t va, size_t len, int prot, int flags, int fd)
{
	void *p = mmap((void *)va, len, prot, flags | (va ? MAP_FIXED_NOREPLACE : 0), fd, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static void init(void)
{
	struct user_desc d = { .base_addr = CODE_VA, .limit = 0xffff, .contents = 2 };
	int fd = memfd_create("code", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 4096) < 0 || syscall(SYS_modify_ldt, 1, &d, sizeof(d)) < 0)
		abort();
	map(CODE_VA, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd);
	map(BORDER, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	alias = map(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	map(DATA_VA, DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	native_init();
	host_features();
}

/* Run what lies in the last @n bytes of the code page; whether it was found whole. */
static bool found_whole(const uint8_t *bytes, unsigned n, int *ret_vector)
{
	static struct native_ctx ctx;
	struct native_result res;

	memcpy(alias + 4096 - n, bytes, n);
	memset((void *)DATA_VA, 0, DATA_BYTES);
	memset(&ctx, 0, sizeof(ctx));
	for (unsigned i = 0; i < 16; i++)
		ctx.gpr[i] = mode->mode == CPU_COMPAT16 ? 0x8000 : DATA_VA + 0x8000;
	ctx.gpr[1] = 1; /* RCX: one turn of a REP */
	ctx.gpr[4] = DATA_VA + 0x8000;
	ctx.use_fx = 1;
	le16_store(ctx.fx, 0x37f);
	le32_store(ctx.fx + 24, 0x1f80);
	ctx.cs = mode->cs;
	native_data_segments();
	native_step(&ctx, BORDER - n - mode->base, 0, false, false, &res);
	__builtin_ia32_ldmxcsr(0x1f80);
	*ret_vector = res.vector;
	/* The kernel steps in for SGDT and its like, and then runs on. */
	return !(res.vector == 14 && (res.error & PF_FETCH) && res.rip == BORDER - n - mode->base);
}

/* What would leave this program's hands, or wait. */
static bool must_not_run(const uint8_t *b, unsigned op, unsigned map)
{
	unsigned modrm = b[op + 1], reg = modrm >> 3 & 7;

	if (map == 0)
		return b[op] == 0xcd ||				  /* INT */
		       (b[op] == 0x8e && (reg == 4 || reg == 5)); /* FS, GS: thread-local storage */
	if (map != 1)
		return false;
	switch (b[op]) {
	case 0x05: /* SYSCALL, SYSENTER */
	case 0x34:
	case 0xa1: /* POP FS, POP GS, LFS, LGS */
	case 0xa9:
	case 0xb4:
	case 0xb5: return true;
	case 0x01: /* hypercalls, MWAITX, WRPKRU */
		return modrm == 0xc1 || modrm == 0xd9 || modrm == 0xfb || modrm == 0xef;
	case 0xae: /* WRFSBASE and its like; TPAUSE and its like */
		return modrm >= 0xc0 && (reg < 4 || reg == 6);
	default: return false;
	}
}

/*
 * Instructions that the host CPU may have and the model has not, or that every vendor takes in its
 * own way: nothing can be said of them here.
 */
static bool is_foreign(const uint8_t *b, unsigned op, unsigned map)
{
	bool lock = memchr(b, 0xf0, op);
	uint8_t c = b[op], modrm = b[op + 1];

	switch (map) {
	case 0:
		/* EVEX, VEX, XOP */
		return c == 0x62 || c == 0xc4 || c == 0xc5 || (c == 0x8f && (modrm & 0x38));
	case 1:
		switch (c) {
		case 0x00: return lock && (modrm & 0x38) == 0x28; /* AMD's VERW takes LOCK */
		case 0x20: /* LOCK MOV CR0 is CR8 if AltMovCr8 is there */
		case 0x22: return lock;
		case 0x01: return modrm >= 0xc0;
		case 0x0e: /* FEMMS, 3DNow! */
		case 0x0f:
		case 0x24: /* MOV to and from test registers */
		case 0x26:
		case 0x36: /* RDUDBG, GETSEC */
		case 0x37:
		case 0x78: /* SSE4A */
		case 0x79:
		case 0x2b:
		case 0x09: /* WBNOINVD */
		case 0xaa: /* RSM */
		case 0xae:
		case 0x1e: /* of CET */
		case 0xc7:
		case 0xb8: return true;
		default: return false;
		}
	case 2: return c >= 0xc8 || c == 0x80 || c == 0x81 || c == 0x82;
	default: return c == 0xcc || c == 0xce || c == 0xcf || c == 0xc2;
	}
}

/* Level 3 cannot tell: these look at the level before anything else, or the kernel steps in. */
static bool invalid_when_run(const struct insn *in)
{
	static const insn_exec_fn list[] = { exec_ud,	   exec_mov_cr,	  exec_mov_dr, exec_swapgs,
					     exec_clac,	   exec_stac,	  exec_sysret, exec_sysexit,
					     exec_monitor, exec_mwait,	  exec_xgetbv, exec_xsetbv,
					     exec_vmcall,  exec_fsgsbase, exec_rdpmc };

	for (unsigned i = 0; i < ARRAY_LEN(list); i++)
		if (in->exec == list[i])
			return true;
	return false;
}

/*
 * 16-bit near branches in 64-bit code, which AMD's processors and ours have, while Intel's ignore
 * the prefix; UD0 and UD1, which have a ModRM byte with Intel's and ours.
 */
static bool differs_by_vendor(const uint8_t *b, unsigned op, unsigned map, const struct insn *in)
{
	uint8_t c = b[op], reg = b[op + 1] >> 3 & 7;

	if (map == 1 && (c == 0xb9 || c == 0xff))
		return in->exec != exec_ud; /* not decoded to its end */
	if (mode->mode != CPU_LONG64 || !(in->prefixes & INSN_PFX_66) || (in->rex & 8) ||
	    __builtin_cpu_is("amd"))
		return false;
	if (map == 1)
		return (c & 0xf0) == 0x80;
	return map == 0 &&
	       ((c & 0xf0) == 0x70 || (c & 0xfc) == 0xe0 || c == 0xe8 || c == 0xe9 || c == 0xeb ||
		c == 0xc2 || c == 0xc3 || (c == 0xff && (reg == 2 || reg == 4)));
}

static void report(const uint8_t *b, const char *what, int got, int want)
{
	printf("MISMATCH %s code:", mode->name);
	for (unsigned i = 0; i < INSN_MAX_LEN; i++)
		printf(" %02x", b[i]);
	printf(": %s: host %d, decoder %d\n", what, got, want);
	n_bad++;
}

static bool same_in(const uint8_t b[16], enum cpu_mode x, enum cpu_mode y)
{
	struct decode_env e = env;
	enum decode_result rx, ry;
	struct insn ix, iy;

	e.mode = x;
	rx = decode_insn(&e, b, 16, &ix);
	e.mode = y;
	ry = decode_insn(&e, b, 16, &iy);
	return rx == ry && (rx != DECODE_OK || !memcmp(&ix, &iy, sizeof(ix)));
}

/* Modes that this program cannot be in decode as one that it can. */
static void check_sisters(const uint8_t b[16])
{
	if (mode->mode == CPU_COMPAT32 && !same_in(b, CPU_COMPAT32, CPU_PROT32))
		report(b, "protected mode", 0, 0);
	if (mode->mode == CPU_COMPAT16 &&
	    (!same_in(b, CPU_COMPAT16, CPU_PROT16) || !same_in(b, CPU_REAL16, CPU_VM86)))
		report(b, "protected or real mode", 0, 0);
}

/* @op: where the last opcode byte is; the rest of the 16 bytes is zero. */
static void check(const uint8_t b[16], unsigned op, unsigned map)
{
	enum decode_result res;
	struct insn in;
	int vector;

	n_cases++;
	check_sisters(b);
	env.mode = mode->mode;
	res = decode_insn(&env, b, 16, &in);
	if (must_not_run(b, op, map) || differs_by_vendor(b, op, map, &in)) {
		n_skipped++;
		return;
	}
	if (res == DECODE_GP) { /* too long */
		found_whole(b, 16, &vector);
		if (vector != 13 && !(vector == 6 && is_foreign(b, op, map)))
			report(b, "too long", vector, 13);
		return;
	}
	if (res == DECODE_UD || (res == DECODE_OK && in.exec == exec_ud)) {
		n_invalid++;
		found_whole(b, INSN_MAX_LEN, &vector);
		if (vector != 6) {
			if (is_foreign(b, op, map) ||
			    (vector == 13 && op + MAX_REST > INSN_MAX_LEN))
				n_foreign++;
			else
				report(b, "vector", vector, 6);
		}
		return;
	}
	if (res != DECODE_OK) {
		report(b, "result", 0, (int)res);
		return;
	}
	if (!found_whole(b, in.len, &vector)) {
		report(b, "longer than", in.len + 1, in.len);
		return;
	}
	if (vector == 6) {
		if (!invalid_when_run(&in))
			report(b, "vector", 6, 0);
		return;
	}
	if (found_whole(b, in.len - 1, &vector) && vector != 6)
		report(b, "shorter than", in.len - 1, in.len);
}

/* ---- cases ---- */

static const uint8_t prefix_sets[][3] = {
	/* the first number counts */
	{ 0 },
	{ 1, 0x66 },
	{ 1, 0xf2 },
	{ 1, 0xf3 },
	{ 1, 0xf0 },
	{ 1, 0x67 },
	{ 1, 0x65 },
	{ 1, 0x40 },
	{ 1, 0x48 },
	{ 1, 0x45 },
	{ 2, 0x66, 0xf2 },
	{ 2, 0x66, 0xf3 },
	{ 2, 0x66, 0x48 },
	{ 2, 0xf2, 0x48 },
	{ 2, 0xf3, 0x48 },
	{ 2, 0xf0, 0xf2 },
	{ 2, 0x66, 0x67 },
	{ 2, 0xf0, 0x48 },
	{ 2, 0xf0, 0x66 },
};

static bool is_prefix(uint8_t b)
{
	static const uint8_t list[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
					0x66, 0x67, 0xf0, 0xf2, 0xf3 };

	return memchr(list, b, sizeof(list)) || (mode->mode == CPU_LONG64 && (b & 0xf0) == 0x40);
}

static unsigned put_opcode(uint8_t *b, unsigned map, unsigned opcode)
{
	static const uint8_t escapes[4][3] = {
		{ 0 }, { 1, 0x0f }, { 2, 0x0f, 0x38 }, { 2, 0x0f, 0x3a }
	};
	unsigned n = escapes[map][0];

	memcpy(b, escapes[map] + 1, n);
	b[n] = (uint8_t)opcode;
	return n;
}

/*
 * One register and one memory operand, or, with -a, all registers, and memory with each number of
 * displacement bytes, with and without SIB.
 */
static bool modrm_matters(unsigned modrm)
{
	unsigned mod = modrm >> 6, rm = modrm & 7;

	if (!all)
		return rm == 4 && (mod == 1 || mod == 3);
	return mod == 3 || rm == 0 || rm == 4 || rm == 5 || (mod == 0 && rm == 6);
}

static void sweep(void)
{
	for (unsigned p = 0; p < ARRAY_LEN(prefix_sets); p++) {
		for (unsigned i = 0; i < 4 * 256 * 256 && n_bad < MAX_MISMATCH; i++) {
			unsigned map = i >> 16, opcode = i >> 8 & 255, modrm = i & 255;
			uint8_t b[16] = { 0 };
			unsigned n = prefix_sets[p][0];

			if (!modrm_matters(modrm) ||
			    (map == 0 && (is_prefix((uint8_t)opcode) || opcode == 0x0f)) ||
			    (map == 1 && (opcode == 0x38 || opcode == 0x3a)))
				continue;
			memcpy(b, prefix_sets[p] + 1, n);
			n += put_opcode(b + n, map, opcode);
			b[n + 1] = (uint8_t)modrm;
			check(b, n, map);
		}
	}
}

static uint64_t rnd(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* Many prefixes in any order: what counts is the last of a kind, REX right before the opcode. */
static void random_prefixes(uint64_t n, uint64_t seed)
{
	static const uint8_t list[] = { 0x26, 0x2e, 0x36, 0x3e, 0x65, 0x66, 0x67, 0xf2,
					0xf3, 0xf0, 0x40, 0x48, 0x4f, 0x41, 0x66, 0x66 };

	for (uint64_t i = 0; i < n && n_bad < MAX_MISMATCH; i++) {
		unsigned n_prefixes = (unsigned)(rnd(&seed) % 15), map = (unsigned)(rnd(&seed) % 4);
		uint8_t b[16 + 4] = { 0 }, opcode = (uint8_t)rnd(&seed);
		unsigned k = 0;

		if (map == 0 && (is_prefix(opcode) || opcode == 0x0f))
			continue;
		if (map == 1 && (opcode == 0x38 || opcode == 0x3a))
			continue;
		while (k < n_prefixes) {
			b[k] = list[rnd(&seed) % sizeof(list)];
			if (mode->mode != CPU_LONG64 && (b[k] & 0xf0) == 0x40)
				b[k] = 0x3e;
			k++;
		}
		k += put_opcode(b + k, map, opcode);
		b[k + 1] = (uint8_t)rnd(&seed);
		if (k < INSN_MAX_LEN)
			check(b, k, map);
	}
}

int main(int argc, char **argv)
{
	uint64_t n = 50000, seed = 1;
	int opt;

	while ((opt = getopt(argc, argv, "an:s:")) != -1) {
		switch (opt) {
		case 'a': all = true; break;
		case 'n': n = strtoull(optarg, NULL, 0); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	init();
	for (unsigned i = 0; i < ARRAY_LEN(modes) && n_bad < MAX_MISMATCH; i++) {
		mode = &modes[i];
		sweep();
		random_prefixes(n, seed);
		printf("%s code: %lu cases so far, %lu of them invalid, %lu not run, %lu foreign\n",
		       mode->name, n_cases, n_invalid, n_skipped, n_foreign);
	}
	return n_bad != 0;
}
