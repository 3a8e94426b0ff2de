/* SPDX-License-Identifier: Apache-2.0 */
/* Making and finding host stubs; stub.h says what they are. */
#include "soft/stub.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "soft/execmem.h"
#include "soft/sys.h"

#define ARENA_SIZE	   (512 * KIB)
#define STUB_MAX	   160 /* bytes; the longest is about 120 */
#define CACHE_SLOTS	   4096

#define CPUID_1_ECX_PCLMUL (1U << 1)
#define CPUID_1_ECX_AES	   (1U << 25)

struct stub_slot {
	uint64_t key; /* 0: empty; keys have a bit set always */
	stub_fn fn;
};

struct stub_cache {
	struct stub_slot slots[CACHE_SLOTS];
	struct execmem mem;
	uint32_t used;
	uint32_t gen; /* changes when all stubs are dropped; never 0 */
};

/* Registers: RDI FXSAVE image, RSI memory operand, R8 struct stub_regs. R9 and R10 are scratch. */
static_assert(offsetof(struct stub_regs, d) == 8 && offsetof(struct stub_regs, c) == 16 &&
		      offsetof(struct stub_regs, flags) == 24 &&
		      offsetof(struct stub_regs, mxcsr_in) == 32 &&
		      offsetof(struct stub_regs, mxcsr_out) == 36 &&
		      offsetof(struct stub_regs, unmasked) == 40 &&
		      offsetof(struct stub_regs, mxcsr_host) == 44,
	      "the code below has these offsets in it");

/* ---- what an instruction needs ---- */

static unsigned uses_0f(uint8_t op)
{
	switch (op) {
	case 0x2e:
	case 0x2f: return STUB_MXCSR | STUB_FLAGS_OUT;
	case 0x70:
	case 0x71:
	case 0x72:
	case 0x73:
	case 0xc4:
	case 0xc5:
	case 0xc6: return STUB_IMM8;
	case 0xc2: return STUB_MXCSR | STUB_IMM8;
	case 0x2a:
	case 0x2c:
	case 0x2d:
	case 0x7c:
	case 0x7d:
	case 0xd0:
	case 0xe6: return STUB_MXCSR;
	default:
		if ((op >= 0x51 && op <= 0x53) || (op >= 0x58 && op <= 0x5f))
			return STUB_MXCSR;
		return 0;
	}
}

static unsigned uses_0f38(uint8_t op)
{
	switch (op) {
	case 0x10:
	case 0x14:
	case 0x15: return STUB_XMM0_IN;
	case 0x17: return STUB_FLAGS_OUT;
	default: return 0;
	}
}

static unsigned uses_0f3a(uint8_t op)
{
	switch (op) {
	case 0x08:
	case 0x09:
	case 0x0a:
	case 0x0b:
	case 0x40:
	case 0x41: return STUB_IMM8 | STUB_MXCSR;
	case 0x60: return STUB_IMM8 | STUB_FLAGS_OUT | STUB_LENGTHS | STUB_XMM0_OUT;
	case 0x61: return STUB_IMM8 | STUB_FLAGS_OUT | STUB_LENGTHS | STUB_ECX_OUT;
	case 0x62: return STUB_IMM8 | STUB_FLAGS_OUT | STUB_XMM0_OUT;
	case 0x63: return STUB_IMM8 | STUB_FLAGS_OUT | STUB_ECX_OUT;
	default: return STUB_IMM8;
	}
}

/* FCMOVcc reads flags, FCOMI and its kin write them. */
static unsigned uses_x87(const struct insn *in)
{
	unsigned esc = in->opcode & 7, reg = in->modrm >> 3 & 7;

	if (in->mod != 3)
		return STUB_X87;
	if ((esc == 2 || esc == 3) && reg < 4)
		return STUB_X87 | STUB_FLAGS_IN;
	if ((esc == 3 || esc == 7) && (reg == 5 || reg == 6))
		return STUB_X87 | STUB_FLAGS_OUT;
	return STUB_X87;
}

unsigned stub_uses(const struct insn *in)
{
	unsigned u = 0;

	if (in->map == INSN_MAP_1)
		return uses_x87(in);
	if (in->map == INSN_MAP_0F)
		u = uses_0f(in->opcode);
	else
		u = in->map == INSN_MAP_0F38 ? uses_0f38(in->opcode) : uses_0f3a(in->opcode);
	if (in->reg_class == INSN_CLASS_MMX || (in->rm_class == INSN_CLASS_MMX && in->mod == 3))
		u |= STUB_MMX;
	return u;
}

static uint64_t stub_key(const struct insn *in, unsigned uses)
{
	bool mem = in->mod != 3;
	uint64_t k = 1ULL << 63;

	if (uses & STUB_MXCSR)
		k |= 1ULL << 37;
	k |= (uint64_t)in->map << 60 | (uint64_t)in->opcode << 48 | (uint64_t)insn_mandatory_prefix(in) << 40;
	k |= (uint64_t)(in->rex >> 3 & 1) << 39 | (uint64_t)mem << 38;
	k |= (uint64_t)(in->modrm >> 3 & 7) << 24;
	/* General registers are always in RAX: their number makes no difference. */
	if (in->reg_class != INSN_CLASS_GPR)
		k |= (uint64_t)in->reg << 16;
	if (!mem && in->rm_class != INSN_CLASS_GPR)
		k |= (uint64_t)in->rm << 8;
	if (in->map == INSN_MAP_1 && !mem)
		k |= (uint64_t)(in->modrm & 7) << 8;
	if (uses & STUB_IMM8)
		k |= (uint8_t)in->imm;
	return k;
}

/* ---- code ---- */

struct emit {
	uint8_t *p;
	unsigned n;
};

static void emit(struct emit *e, const void *bytes, unsigned n)
{
	memcpy(e->p + e->n, bytes, n);
	e->n += n;
}

#define EMIT(e, ...)                                             \
	do {                                                     \
		static const uint8_t bytes_[] = { __VA_ARGS__ }; \
		emit(e, bytes_, sizeof(bytes_));                 \
	} while (0)

static void emit8(struct emit *e, unsigned b)
{
	e->p[e->n++] = (uint8_t)b;
}

/* MOVUPS between XMM @r and its place in the image. */
static void emit_xmm(struct emit *e, unsigned r, bool store)
{
	uint32_t disp = FX_XMM + 16 * r;

	if (r >= 8)
		emit8(e, 0x44);
	emit8(e, 0x0f);
	emit8(e, store ? 0x11 : 0x10);
	emit8(e, 0x87 | (r & 7) << 3);
	emit(e, &disp, 4);
}

static void emit_mm(struct emit *e, unsigned r, bool store)
{
	uint32_t disp = FX_ST + 16 * (r & 7);

	emit8(e, 0x0f);
	emit8(e, store ? 0x7f : 0x6f);
	emit8(e, 0x87 | (r & 7) << 3);
	emit(e, &disp, 4);
}

static void emit_vec(struct emit *e, unsigned class, unsigned r, bool store)
{
	if (class == INSN_CLASS_XMM)
		emit_xmm(e, r, store);
	else if (class == INSN_CLASS_MMX)
		emit_mm(e, r, store);
}

static void emit_flags_out(struct emit *e)
{
	EMIT(e, 0x9c, 0x41, 0x59, 0x4d, 0x89, 0x48, 0x18); /* pushfq; pop r9; mov [r8+24], r9 */
}

/* The instruction itself, in our registers. */
static void emit_insn(struct emit *e, const struct insn *in, unsigned uses)
{
	unsigned reg = in->reg, rm = in->rm, rex = 0x40 | (in->rex & 8);
	bool mem = in->mod != 3;

	if (in->reg_class == INSN_CLASS_GPR)
		reg = 0;
	else if (in->reg_class == INSN_CLASS_NONE)
		reg = in->modrm >> 3 & 7; /* opcode extension */
	else if (in->reg_class == INSN_CLASS_MMX)
		reg &= 7;
	if (in->rm_class == INSN_CLASS_GPR)
		rm = 0;
	else if (in->rm_class == INSN_CLASS_MMX)
		rm &= 7;
	if (insn_mandatory_prefix(in))
		emit8(e, insn_mandatory_prefix(in));
	rex |= reg >= 8 ? 4 : 0;
	rex |= !mem && rm >= 8 ? 1 : 0;
	if (rex != 0x40)
		emit8(e, rex);
	emit8(e, 0x0f);
	if (in->map == INSN_MAP_0F38)
		emit8(e, 0x38);
	else if (in->map == INSN_MAP_0F3A)
		emit8(e, 0x3a);
	emit8(e, in->opcode);
	emit8(e, mem ? (reg & 7) << 3 | 6 : 0xc0 | (reg & 7) << 3 | (rm & 7));
	if (uses & STUB_IMM8)
		emit8(e, (uint8_t)in->imm);
}

static bool has_gpr(const struct insn *in)
{
	return in->reg_class == INSN_CLASS_GPR || (in->rm_class == INSN_CLASS_GPR && in->mod == 3);
}

static void emit_loads(struct emit *e, const struct insn *in, unsigned uses)
{
	bool same = in->reg_class == in->rm_class && in->reg == in->rm;

	EMIT(e, 0x49, 0x89, 0xd0); /* mov r8, rdx */
	if (uses & STUB_MXCSR)
		EMIT(e, 0x41, 0x0f, 0xae, 0x50, 0x20); /* ldmxcsr [r8+32] */
	emit_vec(e, in->reg_class, in->reg, false);
	if (in->mod == 3 && !same)
		emit_vec(e, in->rm_class, in->rm, false);
	if (uses & STUB_XMM0_IN)
		emit_xmm(e, 0, false);
	if (has_gpr(in) || (uses & STUB_LENGTHS))
		EMIT(e, 0x49, 0x8b, 0x00); /* mov rax, [r8] */
	if (uses & STUB_LENGTHS)
		EMIT(e, 0x49, 0x8b, 0x50, 0x08); /* mov rdx, [r8+8] */
}

static void emit_stores(struct emit *e, const struct insn *in, unsigned uses)
{
	bool same = in->reg_class == in->rm_class && in->reg == in->rm;

	emit_vec(e, in->reg_class, in->reg, true);
	if (in->mod == 3 && !same)
		emit_vec(e, in->rm_class, in->rm, true);
	if (uses & STUB_XMM0_OUT)
		emit_xmm(e, 0, true);
	if (has_gpr(in))
		EMIT(e, 0x49, 0x89, 0x00); /* mov [r8], rax */
	if (uses & STUB_ECX_OUT)
		EMIT(e, 0x49, 0x89, 0x48, 0x10); /* mov [r8+16], rcx */
}

static void emit_vector(struct emit *e, const struct insn *in, unsigned uses)
{
	unsigned jump = 0;

	emit_loads(e, in, uses);
	emit_insn(e, in, uses);
	if (uses & STUB_FLAGS_OUT)
		emit_flags_out(e);
	if (uses & STUB_MXCSR) {
		EMIT(e, 0x41, 0x0f, 0xae, 0x58, 0x24); /* stmxcsr [r8+36] */
		EMIT(e, 0x45, 0x8b, 0x50, 0x24);       /* mov r10d, [r8+36] */
		EMIT(e, 0x45, 0x85, 0x50, 0x28);       /* test [r8+40], r10d */
		EMIT(e, 0x75, 0x00);		       /* jnz over the stores */
		jump = e->n;
	}
	emit_stores(e, in, uses);
	if (uses & STUB_MXCSR) {
		e->p[jump - 1] = (uint8_t)(e->n - jump);
		EMIT(e, 0x41, 0x0f, 0xae, 0x50, 0x2c); /* ldmxcsr [r8+44] */
	}
	if (uses & STUB_MMX)
		EMIT(e, 0x0f, 0x77); /* emms: the host's x87 is as C wants it */
	EMIT(e, 0xc3);
}

/* The host's x87 state ends reset, with no exception that could strike later. */
static void emit_x87(struct emit *e, const struct insn *in, unsigned uses)
{
	EMIT(e, 0x49, 0x89, 0xd0);	 /* mov r8, rdx */
	EMIT(e, 0x48, 0x0f, 0xae, 0x0f); /* fxrstor64 [rdi] */
	if (uses & STUB_FLAGS_IN)
		EMIT(e, 0x41, 0xff, 0x70, 0x18, 0x9d); /* push [r8+24]; popfq */
	emit8(e, in->opcode);
	emit8(e, in->mod != 3 ? (in->modrm & 0x38) | 6 : in->modrm);
	if (uses & STUB_FLAGS_OUT)
		emit_flags_out(e);
	EMIT(e, 0x48, 0x0f, 0xae, 0x07);	     /* fxsave64 [rdi] */
	EMIT(e, 0xdb, 0xe3);			     /* fninit */
	EMIT(e, 0x41, 0x0f, 0xae, 0x50, 0x2c, 0xc3); /* ldmxcsr [r8+44]; ret */
}

/* ---- cache ---- */

static stub_fn stub_make(struct stub_cache *c, const struct insn *in, unsigned uses)
{
	struct emit e;
	uint8_t *rx;

	if (c->used + STUB_MAX > ARENA_SIZE) {
		memset(c->slots, 0, sizeof(c->slots));
		c->used = 0;
		c->gen += c->gen == UINT32_MAX ? 2 : 1;
	}
	e = (struct emit){ .p = c->mem.rw + c->used };
	rx = c->mem.rx + c->used;
	if (uses & STUB_X87)
		emit_x87(&e, in, uses);
	else
		emit_vector(&e, in, uses);
	c->used += ALIGN_UP(e.n, 16);
	return (stub_fn)(uintptr_t)rx;
}

static stub_fn stub_find(struct stub_cache *c, const struct insn *in, unsigned uses)
{
	uint64_t key = stub_key(in, uses);
	struct stub_slot *s = &c->slots[(key * 0x9e3779b97f4a7c15ULL) >> 52];
	stub_fn fn;

	if (s->key == key)
		return s->fn;
	fn = stub_make(c, in, uses);
	s = &c->slots[(key * 0x9e3779b97f4a7c15ULL) >> 52];
	*s = (struct stub_slot){ key, fn };
	return fn;
}

stub_fn stub_get(struct cpu *cpu, const struct insn *in, unsigned uses)
{
	struct stub_cache *c = cpu->stubs;
	struct insn *own = (struct insn *)(uintptr_t)in;

	if (likely(in->stub_gen == c->gen && in->stub_uses == uses))
		return in->stub;
	own->stub = stub_find(c, in, uses);
	own->stub_gen = c->gen;
	own->stub_uses = (uint16_t)uses;
	return own->stub;
}

/* ---- life ---- */

static int host_check(const struct cpu *cpu, struct err *err)
{
	if (!__builtin_cpu_supports("sse4.2"))
		return err_set(err, -EOPNOTSUPP, "this host's CPU lacks SSE4.2");
	if (cpuid_bit(cpu, 1, 2, CPUID_1_ECX_AES) && !__builtin_cpu_supports("aes"))
		return err_set(err, -EOPNOTSUPP, "the CPU model has AES, this host's CPU has not");
	if (cpuid_bit(cpu, 1, 2, CPUID_1_ECX_PCLMUL) && !__builtin_cpu_supports("pclmul"))
		return err_set(err, -EOPNOTSUPP,
			       "the CPU model has PCLMULQDQ, this host's CPU has not");
	return 0;
}

void stub_cpu_free(struct cpu *cpu)
{
	struct stub_cache *c = cpu->stubs;

	if (!c)
		return;
	execmem_done(&c->mem);
	free(c);
	cpu->stubs = NULL;
}

int stub_cpu_new(struct cpu *cpu, struct err *err)
{
	int r = host_check(cpu, err);

	if (r < 0)
		return r;
	cpu->stubs = calloc(1, sizeof(*cpu->stubs));
	if (!cpu->stubs)
		return err_set(err, -ENOMEM, "no memory for host stubs");
	cpu->stubs->gen = 1;
	r = execmem_init(&cpu->stubs->mem, "husk-stubs", ARENA_SIZE, NULL, err);
	if (r < 0)
		stub_cpu_free(cpu);
	return r;
}
