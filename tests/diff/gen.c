/* SPDX-License-Identifier: Apache-2.0 */
/* Case generator of the differential test. */
#include "gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flat_mmu.h"
#include "soft/exec.h"
#include "soft/interp/operand.h"

static uint8_t patterns[GEN_PATTERNS][DATA_RW];

uint64_t rnd(struct rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static uint64_t rnd_value(struct rng *r)
{
	static const uint64_t corners[] = { 0,		1,	    2,		~0ULL,
					    0x7f,	0x80,	    0xff,	0x7fff,
					    0x8000,	0xffff,	    0x7fffffff, 0x80000000,
					    0xffffffff, 1ULL << 63, ~0ULL >> 1 };
	uint64_t v = rnd(r);

	switch (rnd_below(r, 4)) {
	case 0: return corners[rnd_below(r, sizeof(corners) / sizeof(corners[0]))];
	case 1: return v >> rnd_below(r, 64);
	default: return v;
	}
}

/* Somewhere interesting in the data window: its ends, the page borders, or anywhere. */
static uint64_t rnd_pointer(struct rng *r)
{
	switch (rnd_below(r, 16)) {
	case 0: return DATA_VA + rnd_below(r, 24) - 12;
	case 1:
	case 2:
	case 3: return DATA_VA + 4096 + rnd_below(r, 32) - 20;
	case 4:
	case 5: return DATA_VA + DATA_RW + rnd_below(r, 32) - 24;
	case 6: return DATA_VA + DATA_PAGES * 4096 + rnd_below(r, 32) - 24;
	default: return DATA_VA + 64 + rnd_below(r, DATA_RW - 128);
	}
}

const uint8_t *gen_pattern(unsigned i)
{
	return patterns[i];
}

void gen_init_patterns(struct rng *r)
{
	for (unsigned i = 0; i < GEN_PATTERNS; i++) {
		for (unsigned k = 0; k < DATA_RW; k += 8) {
			uint64_t v = rnd_value(r);

			/* pointers to code, so that RET and friends arrive somewhere */
			if (rnd_below(r, 4) == 0)
				v = CODE_VA + (CODE_PAGES - 1) * 4096 + 256 + rnd_below(r, 2048);
			memcpy(&patterns[i][k], &v, 8);
		}
	}
}

/* ---- forms ---- */

static bool is(const struct insn *in, const insn_exec_fn *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (in->exec == list[i])
			return true;
	return false;
}

bool gen_is_string(const struct insn *in)
{
	return in->exec == exec_movs || in->exec == exec_stos || in->exec == exec_lods ||
	       in->exec == exec_scas || in->exec == exec_cmps;
}

uint8_t gen_accept_integer(const struct insn *in)
{
	static const insn_exec_fn mine[] = {
		exec_ud,    exec_nop,	 exec_alu,  exec_test,	  exec_mov,	exec_movx,
		exec_movbe, exec_lea,	 exec_xchg, exec_xadd,	  exec_cmpxchg, exec_cmpxchg8b,
		exec_cmov,  exec_setcc,	 exec_push, exec_pop,	  exec_pusha,	exec_popa,
		exec_enter, exec_leave,	 exec_call, exec_jmp,	  exec_ret,	exec_jcc,
		exec_loop,  exec_shift,	 exec_shd,  exec_incdec,  exec_notneg,	exec_mul,
		exec_imul,  exec_div,	 exec_bt,   exec_bitscan, exec_bswap,	exec_cbw,
		exec_cwd,   exec_flagop, exec_bcd,  exec_bound,	  exec_xlat,	exec_movs,
		exec_stos,  exec_lods,	 exec_scas, exec_cmps,	  exec_crc32,	exec_bmi,
		exec_adx,
	};

	if (in->op == OP_BSWAP && in->op_size == 2)
		return 0; /* undefined */
	/* LOOPE with REPNE differs between vendors, and so do 16-bit near branches in 64-bit mode */
	if (in->op == OP_JCC || in->op == OP_JMP || in->op == OP_CALL || in->op == OP_RET ||
	    in->op == OP_LOOP)
		if ((in->prefixes & (INSN_PFX_F2 | INSN_PFX_F3)) ||
		    ((in->prefixes & INSN_PFX_66) && !__builtin_cpu_is("amd")))
			return 0;
	return is(in, mine, sizeof(mine) / sizeof(mine[0]));
}

/* Control instructions whose results hold host pointers are left out, and what has its own tests.
 */
uint8_t gen_accept_vector(const struct insn *in)
{
	unsigned esc = in->opcode & 7, reg = in->modrm >> 3 & 7;

	if (in->exec == exec_x87) {
		if (in->mod == 3)
			return 1;
		if (esc == 1 && (reg == 4 || reg == 6))
			return 0;				   /* FLDENV, FNSTENV */
		return esc == 5 && (reg == 4 || reg == 6) ? 0 : 1; /* FRSTOR, FNSAVE */
	}
	if (in->reg_class == INSN_CLASS_XMM || in->rm_class == INSN_CLASS_XMM ||
	    in->reg_class == INSN_CLASS_MMX || in->rm_class == INSN_CLASS_MMX)
		return 1;
	/* not LDMXCSR: AMD processors have one more bit there, which the guest's CPU has not */
	return in->exec == exec_stmxcsr || in->exec == exec_fwait;
}

/* Opcode bytes of a form with the given REX bits; returns their number. */
static unsigned emit_opcode(const struct form *f, unsigned rxb, bool rex, unsigned vvvv,
			    bool code32, uint8_t *p)
{
	unsigned n = 0;

	if (f->vex) {
		p[n++] = 0xc4;
		p[n++] = (code32 ? 0xe0 : (~rxb & 7) << 5) | (f->map == INSN_MAP_0F38 ? 2 : 3);
		p[n++] = (f->rexw ? 0x80 : 0) | (~vvvv & 15) << 3 | f->prefix;
		p[n++] = f->opcode;
		return n;
	}
	if (f->prefix)
		p[n++] = f->prefix;
	if (f->lock)
		p[n++] = 0xf0;
	if (rex || f->rexw)
		p[n++] = 0x40 | (f->rexw ? 8 : 0) | rxb;
	if (f->map != INSN_MAP_1)
		p[n++] = 0x0f;
	if (f->map == INSN_MAP_0F38)
		p[n++] = 0x38;
	if (f->map == INSN_MAP_0F3A)
		p[n++] = 0x3a;
	p[n++] = f->opcode;
	return n;
}

static void try_form(struct form_list *list, struct form *f, gen_accept_fn accept)
{
	uint8_t bytes[32] = { 0 };
	bool code32 = list->env.mode != CPU_LONG64;
	unsigned n = emit_opcode(f, 0, false, 0, code32, bytes);
	struct insn in;

	bytes[n] = (f->mem ? 0x00 : 0xc0) | f->reg << 3 | 1;
	if (decode_insn(&list->env, bytes, sizeof(bytes), &in) != DECODE_OK)
		return;
	f->has_modrm = in.has_modrm;
	if (!in.has_modrm && (f->mem || f->reg))
		return;
	f->kind = accept(&in);
	if (!f->kind)
		return;
	if (list->n % 1024 == 0) {
		list->forms = realloc(list->forms, (list->n + 1024) * sizeof(*f));
		if (!list->forms)
			abort();
	}
	list->forms[list->n++] = *f;
}

static bool is_prefix(unsigned map, unsigned op, bool code32)
{
	static const uint8_t list[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
					0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x0f };

	if (map != INSN_MAP_1)
		return map == INSN_MAP_0F && (op == 0x38 || op == 0x3a);
	return memchr(list, op, sizeof(list)) || (!code32 && (op & 0xf0) == 0x40) || op == 0xc4 ||
	       op == 0xc5;
}

/* All encodings of one opcode. */
static void try_opcode(struct form_list *list, unsigned map, unsigned op, gen_accept_fn accept)
{
	static const uint8_t prefixes[4] = { 0, 0x66, 0xf3, 0xf2 };
	bool code32 = list->env.mode != CPU_LONG64;

	for (unsigned v = 0; v < 4 * 2 * 2 * 8 * 2 * 2; v++) {
		struct form f = { .map = map,
				  .opcode = op,
				  .rexw = v >> 2 & 1,
				  .lock = v >> 3 & 1,
				  .reg = v >> 4 & 7,
				  .mem = v >> 7 & 1,
				  .vex = v >> 8 & 1 };

		f.prefix = f.vex ? v & 3 : prefixes[v & 3];
		if ((f.vex && (f.lock || map < INSN_MAP_0F38)) || (f.rexw && code32 && !f.vex) ||
		    (!f.vex && is_prefix(map, op, code32)))
			continue;
		try_form(list, &f, accept);
	}
}

void gen_forms(struct form_list *list, const struct decode_env *env, gen_accept_fn accept)
{
	*list = (struct form_list){ .env = *env };
	for (unsigned map = 0; map < 4; map++)
		for (unsigned op = 0; op < 256; op++)
			try_opcode(list, map, op, accept);
}

/* ---- operands ---- */

/* ModRM, SIB and displacement of a random memory operand. Its 32-bit displacement's offset, if it
 * has one. */
static unsigned emit_memory(struct rng *r, const struct form *f, unsigned rxb, uint8_t *p,
			    int *disp_at)
{
	unsigned reg = f->reg << 3, n = 0, how = rnd_below(r, 16), mod = 1 + rnd_below(r, 2);
	unsigned base = rnd_below(r, 8);

	*disp_at = -1;
	if (how == 0) { /* RIP-relative, or absolute in 32-bit code */
		p[n++] = reg | 5;
		*disp_at = (int)n;
		n += 4;
	} else if (how == 1) { /* absolute */
		p[n++] = reg | 4;
		p[n++] = 0x25;
		*disp_at = (int)n;
		n += 4;
	} else {
		if (rnd_below(r, 4) == 0 && base != 5 && !(base == 4 && !(rxb & 1)))
			mod = 0;
		if (how < 7 || base == 4) {
			p[n++] = mod << 6 | reg | 4;
			p[n++] = rnd_below(r, 32) << 3 | base; /* scale and index */
			if (mod == 0 && base == 5)
				p[0] |= 0x40;
		} else {
			p[n++] = mod << 6 | reg | base;
		}
		if (p[0] >> 6 == 1)
			p[n++] = (uint8_t)rnd(r);
		else if (p[0] >> 6 == 2)
			for (unsigned i = 0; i < 4; i++)
				p[n++] = (uint8_t)(i < 2 ? rnd(r) : 0);
	}
	return n;
}

/* One instruction's bytes; decodes it into @in. Its length, 0 if it does not work out. */
static unsigned emit(struct rng *r, const struct form_list *list, const struct form *f,
		     uint64_t rip, uint8_t *p, struct insn *in)
{
	bool code32 = list->env.mode != CPU_LONG64, rex = !code32 && rnd_below(r, 4);
	unsigned rxb = rex || f->vex || f->rexw ? rnd_below(r, 8) : 0, n = 0, at;
	unsigned vvvv = f->opcode == 0xf0 && f->vex ? 0 : rnd_below(r, code32 ? 8 : 16);
	int disp_at = -1;

	if (code32)
		rxb = 0;
	if (f->mem && !code32 && rnd_below(r, 24) == 0)
		p[n++] = 0x67;
	n += emit_opcode(f, rxb, rex, vvvv, code32, p + n);
	at = n;
	if (f->has_modrm && f->mem)
		n += emit_memory(r, f, rxb, p + n, &disp_at);
	else if (f->has_modrm)
		p[n++] = 0xc0 | f->reg << 3 | rnd_below(r, 8);
	for (unsigned i = n; i < 24; i++)
		p[i] = rnd_below(r, 3) ? (uint8_t)rnd(r) : 0;
	/* near branches by displacement stay near */
	if (in->form == FORM_REL)
		p[n + 2] = p[n + 3] = 0;
	if (decode_insn(&list->env, p, 24, in) != DECODE_OK)
		return 0;
	if (disp_at >= 0) {
		uint32_t disp = (uint32_t)rnd_pointer(r);

		if (in->base == INSN_REG_RIP)
			disp -= (uint32_t)(rip + in->len);
		memcpy(p + at + disp_at, &disp, 4);
		if (decode_insn(&list->env, p, 24, in) != DECODE_OK)
			return 0;
	}
	return in->len;
}

/* ---- state ---- */

static void set_reg(struct test_case *c, unsigned r, uint64_t v)
{
	c->gpr[r] = c->code32 ? (uint32_t)v : v;
}

/* Let the memory operand point at something, by its base register. */
static void aim(struct rng *r, struct test_case *c, const struct insn *in)
{
	uint64_t ea, target = rnd_pointer(r);
	struct cpu fake;

	if (!insn_is_mem(in) || in->base >= 16 || rnd_below(r, 64) == 0)
		return;
	if (in->index == in->base)
		return;
	if (in->prefixes & INSN_PFX_LOCK)
		target &= ~63ULL; /* hosts may trap on split locks */
	if ((in->mem_rw & INSN_MEM_ALIGNED) && rnd_below(r, 8))
		target &= ~15ULL;
	if (in->prefixes & INSN_PFX_LOCK && in->exec == exec_bt)
		c->gpr[in->reg] &= 31;
	memcpy(fake.gpr, c->gpr, sizeof(fake.gpr));
	fake.zero = 0;
	fake.next_rip = c->rip + in->len;
	ea = insn_ea(&fake, in);
	set_reg(c, in->base,
		(c->gpr[in->base] + target - ea) & (in->addr_size == 8 ? ~0ULL : 0xffffffff));
}

/* Values that make an instruction do something more often than not. */
static void bias(struct rng *r, struct test_case *c, const struct insn *in)
{
	if (in->exec == exec_div && rnd_below(r, 4)) {
		uint64_t a = c->gpr[HV_RAX];

		c->gpr[HV_RDX] = in->op == OP_IDIV && (sign_extend(a, in->op_size) < 0) ? ~0ULL : 0;
		if (c->code32)
			c->gpr[HV_RDX] = (uint32_t)c->gpr[HV_RDX];
	} else if (in->exec == exec_bt && rnd_below(r, 8)) {
		set_reg(c, in->reg, (int64_t)(int8_t)rnd(r));
	} else if (gen_is_string(in)) {
		c->gpr[HV_RCX] = rnd_below(r, 24);
		set_reg(c, HV_RSI, rnd_pointer(r));
		set_reg(c, HV_RDI,
			rnd_below(r, 4) ? rnd_pointer(r) : c->gpr[HV_RSI] + rnd_below(r, 9) - 4);
	} else if (in->map == INSN_MAP_0F && in->opcode == 0xf7 && in->exec == exec_sse) {
		set_reg(c, HV_RDI, DATA_VA + 64 + rnd_below(r, DATA_RW - 128));
	} else if (in->exec == exec_loop) {
		c->gpr[HV_RCX] = rnd_below(r, 3);
	} else if (in->exec == exec_xlat) {
		set_reg(c, HV_RBX, rnd_pointer(r));
	} else if (in->exec == exec_shd && in->op_size == 2) {
		c->gpr[HV_RCX] &= ~0x1fULL;
		c->gpr[HV_RCX] |= rnd_below(r, 17);
	} else if ((in->op == OP_CALL || in->op == OP_JMP) && in->form == FORM_RM &&
		   !insn_is_mem(in)) {
		set_reg(c, in->rm,
			rnd_below(r, 4) ? CODE_VA + (CODE_PAGES - 1) * 4096 + 512 : rnd_value(r));
	}
}

/* CMPXCHG succeeds half of the time. */
static void match_memory(struct rng *r, struct test_case *c, const struct insn *in)
{
	struct cpu fake;
	uint64_t ea;

	if ((in->exec != exec_cmpxchg && in->exec != exec_cmpxchg8b) || !insn_is_mem(in) ||
	    rnd_below(r, 2))
		return;
	memcpy(fake.gpr, c->gpr, sizeof(fake.gpr));
	fake.zero = 0;
	fake.next_rip = c->rip + in->len;
	ea = insn_ea(&fake, in);
	if (ea - DATA_VA > DATA_RW - 16 || in->base == HV_RAX || in->index == HV_RAX ||
	    in->base == HV_RDX || in->index == HV_RDX)
		return;
	memcpy(&c->gpr[HV_RAX], gen_pattern(c->pattern) + (ea - DATA_VA), c->code32 ? 4 : 8);
	if (in->exec == exec_cmpxchg8b)
		memcpy(&c->gpr[HV_RDX],
		       gen_pattern(c->pattern) + (ea - DATA_VA) + (in->rex & 8 ? 8 : 4),
		       c->code32 ? 4 : 8);
	if (in->exec == exec_cmpxchg8b && !(in->rex & 8)) {
		c->gpr[HV_RAX] &= 0xffffffff;
		c->gpr[HV_RDX] &= 0xffffffff;
	}
}

/* ---- flags that mean nothing ---- */

static uint32_t undefined_flags(const struct insn *in)
{
	unsigned count = in->form == FORM_RM_I || in->form == FORM_RM_R_I ? in->imm : 1;

	if (in->form == FORM_RM_CL || in->form == FORM_RM_R_CL)
		count = 99;
	count &= in->op_size == 8 ? 63 : 31;
	switch (in->op) {
	case OP_AND:
	case OP_OR:
	case OP_XOR:
	case OP_TEST: return FL_AF;
	case OP_SHL:
	case OP_SHR:
	case OP_SAL:
	case OP_SAR:
		return FL_AF | (count != 1 ? FL_OF : 0) |
		       (count > in->op_size * 8U || count == 99 % 32 ? FL_CF : 0);
	case OP_ROL:
	case OP_ROR:
	case OP_RCL:
	case OP_RCR: return count != 1 ? FL_OF : 0;
	case OP_SHLD:
	case OP_SHRD: return FL_AF | (count != 1 ? FL_OF : 0);
	case OP_MUL:
	case OP_IMUL1:
	case OP_IMUL: return FL_SF | FL_ZF | FL_AF | FL_PF;
	case OP_DIV:
	case OP_IDIV: return FL_ARITH;
	case OP_BSF:
	case OP_BSR: return FL_ARITH & ~FL_ZF;
	case OP_TZCNT:
	case OP_LZCNT: return FL_OF | FL_SF | FL_AF | FL_PF;
	case OP_BT:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC: return FL_OF | FL_SF | FL_AF | FL_PF;
	default: break;
	}
	if (in->exec == exec_bmi)
		return in->opcode == 0xf7 ? FL_AF | FL_SF | FL_PF : FL_AF | FL_PF;
	if (in->exec == exec_bcd)
		return in->opcode >= 0xd4  ? FL_OF | FL_AF | FL_CF
		       : in->opcode < 0x30 ? FL_OF
					   : FL_OF | FL_SF | FL_ZF | FL_PF;
	return 0;
}

static bool reads_flags(const struct insn *in)
{
	return in->op == OP_ADC || in->op == OP_SBB || in->op == OP_RCL || in->op == OP_RCR ||
	       in->op == OP_JCC || in->op == OP_SETCC || in->op == OP_CMOV || in->op == OP_LOOP ||
	       in->exec == exec_flagop || in->exec == exec_bcd || in->exec == exec_adx;
}

static bool sets_all_flags(const struct insn *in)
{
	return (in->op >= OP_ADD && in->op <= OP_CMP) || in->op == OP_TEST || in->op == OP_NEG ||
	       in->op == OP_XADD || in->op == OP_CMPXCHG || in->op == OP_POPCNT;
}

static bool is_branch(const struct insn *in)
{
	return in->op == OP_JCC || in->op == OP_JMP || in->op == OP_CALL || in->op == OP_RET ||
	       in->op == OP_LOOP;
}

static uint64_t rnd_double(struct rng *r)
{
	static const uint64_t corners[] = {
		0,
		1ULL << 63,
		0x7ff0000000000000,
		0xfff0000000000000,
		0x7ff8000000000000,
		0x7ff0000000000001,
		0x3ff0000000000000,
		0x4000000000000000,
		1,
		0x000fffffffffffff,
		0x0010000000000000,
		0x7fefffffffffffff,
		0x43e0000000000000,
		0x41e0000000000000,
	};

	switch (rnd_below(r, 4)) {
	case 0: return corners[rnd_below(r, sizeof(corners) / sizeof(corners[0]))];
	case 1: return 0x3ff0000000000000ULL + (rnd(r) >> 6); /* of moderate size */
	case 2: return 0x3f8000003f800000ULL + (rnd(r) & 0x03ffffff03ffffffULL); /* two floats */
	default: return rnd_value(r);
	}
}

/* x87 and SSE registers; now and then with unmasked exceptions and odd rounding. */
static void random_fx(struct rng *r, struct test_case *c)
{
	uint16_t fcw = 0x37f, fsw = (uint16_t)(rnd_below(r, 8) << 11);
	uint32_t mxcsr = 0x1f80;

	if (rnd_below(r, 4) == 0)
		fcw = (uint16_t)((rnd(r) & 0x0f3f) | 0x40);
	if (rnd_below(r, 4) == 0)
		mxcsr = (uint32_t)rnd(r) & 0xffff;
	/* overflow and underflow always masked: what sse.c says it does not do exactly */
	mxcsr |= rnd_below(r, 8) ? 0x0c00 : 0x1f80;
	memcpy(c->fx, &fcw, 2);
	memcpy(c->fx + 2, &fsw, 2);
	c->fx[4] = rnd_below(r, 3) ? (uint8_t)rnd(r) : 0xff;
	memcpy(c->fx + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t man = rnd(r) | (rnd_below(r, 8) ? 1ULL << 63 : 0);
		uint16_t exp =
			(uint16_t)(rnd_below(r, 4) ? 0x3fff + rnd_below(r, 64) - 32 : rnd(r));

		if (rnd_below(r, 8) == 0)
			man = exp = 0;
		memcpy(c->fx + 32 + 16 * i, &man, 8);
		memcpy(c->fx + 40 + 16 * i, &exp, 2);
	}
	for (unsigned i = 0; i < 32; i++) {
		uint64_t v = rnd_double(r);

		memcpy(c->fx + 160 + 8 * i, &v, 8);
	}
}

static void random_state(struct rng *r, struct test_case *c)
{
	random_fx(r, c);
	for (unsigned i = 0; i < 16; i++)
		set_reg(c, i, rnd_below(r, 3) ? rnd_value(r) : rnd_pointer(r));
	if (rnd_below(r, 16))
		set_reg(c, HV_RSP, rnd_pointer(r) & (rnd_below(r, 2) ? ~7ULL : ~0ULL));
	if (rnd_below(r, 4))
		set_reg(c, HV_RBP, rnd_pointer(r));
	c->rflags = (rnd(r) & FL_ARITH) | FL_ONE | FL_IF | (rnd_below(r, 6) == 0 ? FL_DF : 0);
	c->pattern = rnd_below(r, GEN_PATTERNS);
}

void gen_case(struct rng *r, const struct form_list *list, uint64_t rip, unsigned max,
	      struct test_case *ret)
{
	uint32_t taint = 0;

	memset(ret, 0, sizeof(*ret));
	ret->code32 = list->env.mode != CPU_LONG64;
	ret->rip = rip;
	random_state(r, ret);
	while (ret->n < max) {
		const struct form *f = &list->forms[rnd_below(r, (unsigned)list->n)];
		struct insn *in = &ret->in[ret->n];
		uint8_t buf[32];
		unsigned len = emit(r, list, f, rip + ret->len, buf, in);

		if (!len || (taint && reads_flags(in)))
			continue;
		if (ret->n && in->exec == exec_shd && in->op_size == 2)
			continue;
		if (in->exec == exec_shd && in->op_size == 2 && in->form == FORM_RM_R_I &&
		    (in->imm & 31) > 16)
			continue;
		memcpy(ret->bytes + ret->len, buf, len);
		ret->len += len;
		ret->n++;
		bias(r, ret, in);
		aim(r, ret, in);
		match_memory(r, ret, in);
		if (sets_all_flags(in))
			taint = 0;
		taint |= undefined_flags(in);
		ret->undefined[ret->n] = taint;
		if (is_branch(in) || (in->exec == exec_shd && in->op_size == 2))
			break;
	}
}
