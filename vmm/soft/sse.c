/* SPDX-License-Identifier: Apache-2.0 */
/* SSE and MMX instructions: gates, operands, exceptions; plain C for the common moves, host stubs
 * for the rest. FXSAVE and MXCSR. Ref: Intel SDM 1 chapters 9-11, 3A 13. */
#include "soft/stub.h"

#include <emmintrin.h>

#include "base/checked.h"
#include "soft/exec.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"

#define MXCSR_HOST 0x1f80U

static enum insn_result nm(struct cpu *cpu)
{
	cpu_raise(cpu, VEC_NM);
	return INSN_FAULT;
}

static enum insn_result gp(struct cpu *cpu)
{
	cpu_raise_err(cpu, VEC_GP, 0);
	return INSN_FAULT;
}

static uint8_t *xmm(struct cpu *cpu, unsigned r)
{
	return cpu->fx + FX_XMM + 16 * r;
}

/* CR0 and CR4 gates. false: exception recorded. */
static bool sse_allowed(struct cpu *cpu, bool xmm_used, bool mmx_used)
{
	if ((cpu->cr0 & CR0_EM) || (xmm_used && !(cpu->cr4 & CR4_OSFXSR))) {
		cpu_raise(cpu, VEC_UD);
		return false;
	}
	if (cpu->cr0 & CR0_TS) {
		cpu_raise(cpu, VEC_NM);
		return false;
	}
	return !mmx_used || !fx_pending_mf(cpu);
}

/* ---- memory operands ---- */

/* The linear address, with segment rules and alignment. */
static inline bool operand_va(struct cpu *cpu, const struct insn *in, uint64_t *ret)
{
	uint64_t va = insn_ea(cpu, in) + cpu->seg_base[in->seg];

	/* before the limit, as processors do */
	if (unlikely((in->mem_rw & INSN_MEM_ALIGNED) && (va & (in->mem_size - 1U)))) {
		cpu_raise_err(cpu, VEC_GP, 0);
		return false;
	}
	*ret = va;
	if (likely(cpu->mode == CPU_LONG64))
		return true;
	return seg_linear(cpu, in->seg, insn_ea(cpu, in), in->mem_size,
			  (in->mem_rw & INSN_MEM_W) != 0, ret);
}

static bool seg_result(struct cpu *cpu, const struct insn *in, bool ok)
{
	if (unlikely(!ok) && cpu->exc.noncanonical && in->seg == HV_SS)
		cpu->exc.vector = VEC_SS;
	return ok;
}

/* Host address of the operand for reading: the page itself on a TLB hit, else a copy in @buf. */
static inline const void *operand_read(struct cpu *cpu, const struct insn *in, uint8_t *buf)
{
	const struct tlb_entry *e;
	uint64_t va;

	if (!operand_va(cpu, in, &va))
		return NULL;
	e = tlb_slot(cpu, va);
	if (tlb_hit(va, e->tag_r, in->mem_size))
		return tlb_host(e, va);
	return seg_result(cpu, in, mmu_read_slow(cpu, va, buf, in->mem_size)) ? buf : NULL;
}

/* ---- the common instructions in C ---- */

/*
 * Each of these is the exec function of one kind of instruction, chosen by sse_pick(). The first
 * thing they do is the gate that all SSE instructions have.
 */
static inline bool gate(struct cpu *cpu)
{
	if (likely(!(cpu->cr0 & (CR0_EM | CR0_TS)) && (cpu->cr4 & CR4_OSFXSR)))
		return true;
	return sse_allowed(cpu, true, false);
}

static inline __m128i reg_load(struct cpu *cpu, unsigned r)
{
	return _mm_load_si128((const __m128i *)(const void *)xmm(cpu, r));
}

static inline void reg_store(struct cpu *cpu, unsigned r, __m128i v)
{
	_mm_store_si128((__m128i *)(void *)xmm(cpu, r), v);
}

/* Source operand, 16 bytes. false: exception recorded. */
static inline bool source(struct cpu *cpu, const struct insn *in, __m128i *ret)
{
	uint8_t buf[16];
	const void *src;

	if (in->mod == 3) {
		*ret = reg_load(cpu, in->rm);
		return true;
	}
	src = operand_read(cpu, in, buf);
	if (unlikely(!src))
		return false;
	*ret = _mm_loadu_si128(src);
	return true;
}

static enum insn_result sse_load16(struct cpu *cpu, const struct insn *in)
{
	__m128i v;

	if (!gate(cpu) || !source(cpu, in, &v))
		return INSN_FAULT;
	reg_store(cpu, in->reg, v);
	return INSN_DONE;
}

/* MOVSS, MOVSD, MOVQ, MOVD from memory: the rest becomes 0. */
static enum insn_result sse_load_low(struct cpu *cpu, const struct insn *in)
{
	uint64_t val[2] = { 0, 0 };
	uint8_t buf[16];
	const void *src;

	if (!gate(cpu))
		return INSN_FAULT;
	src = operand_read(cpu, in, buf);
	if (unlikely(!src))
		return INSN_FAULT;
	if (in->mem_size == 4)
		memcpy(val, src, 4);
	else
		memcpy(val, src, 8);
	memcpy(xmm(cpu, in->reg), val, 16);
	return INSN_DONE;
}

/* MOVLPS, MOVLPD, MOVHPS, MOVHPD from memory: the other half stays. */
static enum insn_result sse_load_half(struct cpu *cpu, const struct insn *in)
{
	uint8_t buf[16];
	const void *src;

	if (!gate(cpu))
		return INSN_FAULT;
	src = operand_read(cpu, in, buf);
	if (unlikely(!src))
		return INSN_FAULT;
	memcpy(xmm(cpu, in->reg) + (in->opcode == 0x16 ? 8 : 0), src, 8);
	return INSN_DONE;
}

/* MOVSS and MOVSD between registers; MOVQ clears the upper half. */
static enum insn_result sse_move_low(struct cpu *cpu, const struct insn *in)
{
	bool store = in->opcode == 0x11;
	unsigned dst = store ? in->rm : in->reg, src = store ? in->reg : in->rm;

	if (!gate(cpu))
		return INSN_FAULT;
	memcpy(xmm(cpu, dst), xmm(cpu, src), in->prefixes & INSN_PFX_F3 ? 4 : 8);
	return INSN_DONE;
}

static enum insn_result sse_movq_reg(struct cpu *cpu, const struct insn *in)
{
	if (!gate(cpu))
		return INSN_FAULT;
	reg_store(cpu, in->reg, _mm_move_epi64(reg_load(cpu, in->rm)));
	return INSN_DONE;
}

static enum insn_result sse_store16(struct cpu *cpu, const struct insn *in)
{
	uint64_t va;

	if (!gate(cpu) || !operand_va(cpu, in, &va))
		return INSN_FAULT;
	return seg_result(cpu, in, mmu_write(cpu, va, xmm(cpu, in->reg), 16)) ? INSN_DONE
									      : INSN_FAULT;
}

static enum insn_result sse_store16_reg(struct cpu *cpu, const struct insn *in)
{
	if (!gate(cpu))
		return INSN_FAULT;
	reg_store(cpu, in->rm, reg_load(cpu, in->reg));
	return INSN_DONE;
}

/* MOVSS, MOVSD, MOVQ, MOVD, MOVLPS, MOVHPS to memory. */
static enum insn_result sse_store_low(struct cpu *cpu, const struct insn *in)
{
	const uint8_t *src = xmm(cpu, in->reg) + (in->opcode == 0x17 ? 8 : 0);
	uint64_t va;
	bool ok;

	if (!gate(cpu) || !operand_va(cpu, in, &va))
		return INSN_FAULT;
	ok = in->mem_size == 4 ? mmu_write(cpu, va, src, 4) : mmu_write(cpu, va, src, 8);
	return seg_result(cpu, in, ok) ? INSN_DONE : INSN_FAULT;
}

/* MOVD, MOVQ between general and XMM registers. */
static enum insn_result sse_movd_from_gpr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val[2] = { cpu->gpr[in->rm], 0 };

	if (!gate(cpu))
		return INSN_FAULT;
	if (!(in->rex & 8))
		val[0] = (uint32_t)val[0];
	memcpy(xmm(cpu, in->reg), val, 16);
	return INSN_DONE;
}

static enum insn_result sse_movd_to_gpr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val;

	if (!gate(cpu))
		return INSN_FAULT;
	memcpy(&val, xmm(cpu, in->reg), 8);
	cpu->gpr[in->rm] = in->rex & 8 ? val : (uint32_t)val;
	return INSN_DONE;
}

static enum insn_result sse_pmovmskb(struct cpu *cpu, const struct insn *in)
{
	if (!gate(cpu))
		return INSN_FAULT;
	cpu->gpr[in->reg] = (uint32_t)_mm_movemask_epi8(reg_load(cpu, in->rm));
	return INSN_DONE;
}

/* Integer operations with one result and no flags. */
#define SSE_BINARY(name, expr)                                                     \
	static enum insn_result sse_##name(struct cpu *cpu, const struct insn *in) \
	{                                                                          \
		__m128i a, b;                                                      \
                                                                                   \
		if (!gate(cpu) || !source(cpu, in, &b))                            \
			return INSN_FAULT;                                         \
		a = reg_load(cpu, in->reg);                                        \
		reg_store(cpu, in->reg, (expr));                                   \
		return INSN_DONE;                                                  \
	}

SSE_BINARY(and, _mm_and_si128(a, b))
SSE_BINARY(andn, _mm_andnot_si128(a, b))
SSE_BINARY(or, _mm_or_si128(a, b))
SSE_BINARY(xor, _mm_xor_si128(a, b))
SSE_BINARY(pcmpeqb, _mm_cmpeq_epi8(a, b))
SSE_BINARY(pcmpeqd, _mm_cmpeq_epi32(a, b))
SSE_BINARY(pminub, _mm_min_epu8(a, b))
SSE_BINARY(pmaxub, _mm_max_epu8(a, b))
SSE_BINARY(psubb, _mm_sub_epi8(a, b))
SSE_BINARY(paddd, _mm_add_epi32(a, b))
SSE_BINARY(paddq, _mm_add_epi64(a, b))
SSE_BINARY(punpcklbw, _mm_unpacklo_epi8(a, b))
SSE_BINARY(punpcklwd, _mm_unpacklo_epi16(a, b))
SSE_BINARY(punpckldq, _mm_unpacklo_epi32(a, b))
SSE_BINARY(punpcklqdq, _mm_unpacklo_epi64(a, b))
SSE_BINARY(punpckhqdq, _mm_unpackhi_epi64(a, b))

/* Opcode and mandatory prefix in one number. */
#define P_NONE 0x000
#define P_66   0x100
#define P_F3   0x200
#define P_F2   0x300

static unsigned opcode_with_prefix(const struct insn *in)
{
	unsigned p = in->prefixes & INSN_PFX_F3	  ? P_F3
		     : in->prefixes & INSN_PFX_F2 ? P_F2
		     : in->prefixes & INSN_PFX_66 ? P_66
						  : P_NONE;

	return p | in->opcode;
}

static insn_exec_fn pick_integer(unsigned op)
{
	switch (op) {
	case P_NONE | 0x54:
	case P_66 | 0x54:
	case P_66 | 0xdb: return sse_and;
	case P_NONE | 0x55:
	case P_66 | 0x55:
	case P_66 | 0xdf: return sse_andn;
	case P_NONE | 0x56:
	case P_66 | 0x56:
	case P_66 | 0xeb: return sse_or;
	case P_NONE | 0x57:
	case P_66 | 0x57:
	case P_66 | 0xef: return sse_xor;
	case P_66 | 0x60: return sse_punpcklbw;
	case P_66 | 0x61: return sse_punpcklwd;
	case P_66 | 0x62: return sse_punpckldq;
	case P_66 | 0x6c:
	case P_66 | 0x14: return sse_punpcklqdq; /* UNPCKLPD too */
	case P_66 | 0x6d:
	case P_66 | 0x15: return sse_punpckhqdq;
	case P_66 | 0x74: return sse_pcmpeqb;
	case P_66 | 0x76: return sse_pcmpeqd;
	case P_66 | 0xd4: return sse_paddq;
	case P_66 | 0xd7: return sse_pmovmskb;
	case P_66 | 0xda: return sse_pminub;
	case P_66 | 0xde: return sse_pmaxub;
	case P_66 | 0xf8: return sse_psubb;
	case P_66 | 0xfe: return sse_paddd;
	default: return exec_sse;
	}
}

insn_exec_fn sse_pick(const struct insn *in)
{
	bool mem = in->mod != 3;
	unsigned op = opcode_with_prefix(in);

	if (in->map != INSN_MAP_0F)
		return exec_sse;
	if (in->reg_class == INSN_CLASS_MMX || in->rm_class == INSN_CLASS_MMX)
		return exec_sse;
	switch (op) {
	case P_NONE | 0x10:
	case P_66 | 0x10:
	case P_NONE | 0x28:
	case P_66 | 0x28:
	case P_66 | 0x6f:
	case P_F3 | 0x6f: return sse_load16;
	case P_NONE | 0x11:
	case P_66 | 0x11:
	case P_NONE | 0x29:
	case P_66 | 0x29:
	case P_66 | 0x7f:
	case P_F3 | 0x7f:
	case P_NONE | 0x2b:
	case P_66 | 0x2b:
	case P_66 | 0xe7: return mem ? sse_store16 : sse_store16_reg;
	case P_F3 | 0x10:
	case P_F2 | 0x10: return mem ? sse_load_low : sse_move_low;
	case P_F3 | 0x11:
	case P_F2 | 0x11: return mem ? sse_store_low : sse_move_low;
	case P_F3 | 0x7e: return mem ? sse_load_low : sse_movq_reg;
	case P_66 | 0xd6: return mem ? sse_store_low : exec_sse;
	case P_66 | 0x6e: return mem ? sse_load_low : sse_movd_from_gpr;
	case P_66 | 0x7e: return mem ? sse_store_low : sse_movd_to_gpr;
	case P_NONE | 0x12:
	case P_66 | 0x12:
	case P_NONE | 0x16:
	case P_66 | 0x16: return mem ? sse_load_half : exec_sse;
	case P_NONE | 0x13:
	case P_66 | 0x13:
	case P_NONE | 0x17:
	case P_66 | 0x17: return sse_store_low;
	default: return pick_integer(op);
	}
}

bool sse_keeps_flags(const struct insn *in)
{
	if (in->exec == exec_sse)
		return !(stub_uses(in) & (STUB_FLAGS_OUT | STUB_FLAGS_IN));
	return sse_pick(in) == in->exec &&
	       (in->reg_class == INSN_CLASS_XMM || in->rm_class == INSN_CLASS_XMM);
}

/* ---- stubs ---- */

/* MASKMOVDQU and MASKMOVQ: bytes of reg whose mask bit in rm is set go to DS:rDI. */
static enum insn_result maskmov(struct cpu *cpu, const struct insn *in)
{
	bool mmx = in->reg_class == INSN_CLASS_MMX;
	unsigned n = mmx ? 8 : 16;
	uint64_t ea = cpu->gpr[HV_RDI] & size_mask(in->addr_size), va;
	uint8_t data[16], mask[16];

	if (!seg_linear(cpu, in->seg, ea, n, true, &va))
		return INSN_FAULT;
	/* Rights to all of it first, as the bytes go one by one. */
	mmu_rmw_slow(cpu, va, n);
	if (cpu->exc.pending)
		return seg_result(cpu, in, false) ? INSN_DONE : INSN_FAULT;
	if (mmx)
		fx_enter_mmx(cpu);
	memcpy(data, mmx ? cpu->fx + FX_ST + 16 * (in->reg & 7) : xmm(cpu, in->reg), n);
	memcpy(mask, mmx ? cpu->fx + FX_ST + 16 * (in->rm & 7) : xmm(cpu, in->rm), n);
	for (unsigned i = 0; i < n; i++) {
		if ((mask[i] & 0x80) && !mmu_write(cpu, va + i, &data[i], 1))
			return INSN_FAULT;
	}
	return INSN_DONE;
}

/*
 * After the instruction: flags it raised, or the exception that they make. It ran with all of them
 * masked; what differs when they are not is that an unmasked underflow counts exact results too and
 * that PE then means something else. Those two are not told apart.
 */
static bool mxcsr_commit(struct cpu *cpu, const struct stub_regs *r)
{
	uint32_t old = le32_load(cpu->fx + FX_MXCSR);
	uint32_t raised = r->mxcsr_out & MXCSR_FLAGS;

	if (raised & r->unmasked) {
		/* IE, DE and ZE come before the result, the others after it. */
		if (raised & r->unmasked & 7)
			raised &= 7;
		le32_store(cpu->fx + FX_MXCSR, old | raised);
		cpu_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
		return false;
	}
	if (raised)
		le32_store(cpu->fx + FX_MXCSR, old | raised);
	return true;
}

static void regs_prepare(struct cpu *cpu, const struct insn *in, unsigned uses, struct stub_regs *r)
{
	uint32_t mxcsr;

	if (uses & STUB_MXCSR)
		mxcsr_sync(cpu);
	mxcsr = le32_load(cpu->fx + FX_MXCSR);
	r->mxcsr_in = (mxcsr | MXCSR_MASKS) & ~MXCSR_FLAGS & MXCSR_VALID;
	r->mxcsr_host = MXCSR_HOST;
	r->unmasked = uses & STUB_MXCSR ? ~mxcsr >> 7 & MXCSR_FLAGS : 0;
	if (uses & STUB_LENGTHS) {
		bool wide = in->rex & 8;

		r->a = wide ? cpu->gpr[HV_RAX] : (uint64_t)(int32_t)cpu->gpr[HV_RAX];
		r->d = wide ? cpu->gpr[HV_RDX] : (uint64_t)(int32_t)cpu->gpr[HV_RDX];
	} else if (in->reg_class == INSN_CLASS_GPR) {
		r->a = cpu->gpr[in->reg];
	} else if (in->rm_class == INSN_CLASS_GPR && in->mod == 3) {
		r->a = cpu->gpr[in->rm];
	}
}

static void regs_commit(struct cpu *cpu, const struct insn *in, unsigned uses,
			const struct stub_regs *r)
{
	if (in->reg_class == INSN_CLASS_GPR && (in->mem_rw & INSN_REG_W))
		cpu->gpr[in->reg] = r->a;
	if (in->rm_class == INSN_CLASS_GPR && in->mod == 3 && (in->mem_rw & INSN_RM_W))
		cpu->gpr[in->rm] = r->a;
	if (uses & STUB_ECX_OUT)
		cpu->gpr[HV_RCX] = r->c;
	if (uses & STUB_FLAGS_OUT)
		set_arith(cpu, FL_ARITH, (uint32_t)r->flags);
}

static enum insn_result run_stub(struct cpu *cpu, const struct insn *in, unsigned uses)
{
	_Alignas(16) uint8_t buf[16] = { 0 };
	bool store = insn_is_mem(in) && (in->mem_rw & INSN_MEM_W);
	struct stub_regs r;
	const void *mem = buf;
	uint64_t va = 0;

	if (store) {
		if (!operand_va(cpu, in, &va))
			return INSN_FAULT;
	} else if (insn_is_mem(in)) {
		mem = operand_read(cpu, in, buf);
		if (!mem)
			return INSN_FAULT;
	}
	if (uses & STUB_MMX)
		fx_enter_mmx(cpu);
	/* The usual control bits: nothing to switch, and flags gather in the host's MXCSR. */
	if ((uses & STUB_MXCSR) &&
	    (le32_load(cpu->fx + FX_MXCSR) & ~MXCSR_FLAGS & MXCSR_VALID) == MXCSR_MASKS)
		uses &= ~(unsigned)STUB_MXCSR;
	regs_prepare(cpu, in, uses, &r);
	/* Only loads get the guest's page itself: a stub never writes through that pointer. */
	stub_get(cpu, in, uses)(cpu->fx, (void *)(uintptr_t)mem, &r);
	if ((uses & STUB_MXCSR) && !mxcsr_commit(cpu, &r))
		return INSN_FAULT;
	if (store)
		return seg_result(cpu, in, mmu_write_slow(cpu, va, buf, in->mem_size)) ? INSN_DONE
										       : INSN_FAULT;
	regs_commit(cpu, in, uses, &r);
	return INSN_DONE;
}

/* With the x87 state as it was when the operand faults after all; a SIMD exception comes too late.
 */
static enum insn_result by_stub(struct cpu *cpu, const struct insn *in, unsigned uses)
{
	enum insn_result res;
	uint8_t x87[FX_XMM];

	if (!(uses & STUB_MMX))
		return run_stub(cpu, in, uses);
	memcpy(x87, cpu->fx, sizeof(x87));
	res = run_stub(cpu, in, uses);
	if (res == INSN_FAULT && cpu->exc.vector != VEC_XM && cpu->exc.vector != VEC_UD)
		memcpy(cpu->fx, x87, sizeof(x87));
	return res;
}

/* What MMX writes has all ones in sign and exponent of the x87 register. */
static void mmx_finish(struct cpu *cpu, const struct insn *in)
{
	unsigned regs[2] = { in->reg & 7, in->rm & 7 };
	bool written[2] = { in->reg_class == INSN_CLASS_MMX,
			    in->rm_class == INSN_CLASS_MMX && in->mod == 3 &&
				    (in->mem_rw & INSN_MEM_W || in->reg_class == INSN_CLASS_NONE) };

	if (in->reg_class == INSN_CLASS_MMX && (in->mem_rw & (INSN_MEM_W | INSN_RM_W)))
		written[0] = false;
	for (unsigned i = 0; i < 2; i++) {
		if (written[i])
			le16_store(cpu->fx + FX_ST + 16 * regs[i] + 8, 0xffff);
	}
}

enum insn_result exec_sse(struct cpu *cpu, const struct insn *in)
{
	bool is_emms = in->map == INSN_MAP_0F && in->opcode == 0x77;
	bool xmm_used = in->reg_class == INSN_CLASS_XMM || in->rm_class == INSN_CLASS_XMM;
	enum insn_result res;
	unsigned uses;

	if (likely(xmm_used && in->reg_class != INSN_CLASS_MMX && in->rm_class != INSN_CLASS_MMX)) {
		if (!gate(cpu))
			return INSN_FAULT;
		if (in->map == INSN_MAP_0F && in->opcode == 0xf7)
			return maskmov(cpu, in);
		return by_stub(cpu, in, stub_uses(in));
	}
	uses = stub_uses(in);
	if (!sse_allowed(cpu, xmm_used, is_emms || (uses & STUB_MMX)))
		return INSN_FAULT;
	if (is_emms) {
		fx_top_to_zero(cpu);
		cpu->fx[FX_FTW] = 0;
		return INSN_DONE;
	}
	res = in->map == INSN_MAP_0F && in->opcode == 0xf7 ? maskmov(cpu, in)
							   : by_stub(cpu, in, uses);
	if (res == INSN_DONE && (uses & STUB_MMX) && in->opcode != 0xf7)
		mmx_finish(cpu, in);
	return res;
}

/* ---- MXCSR ---- */

enum insn_result exec_ldmxcsr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val;

	if (!sse_allowed(cpu, true, false) || !rm_read(cpu, in, 4, &val))
		return INSN_FAULT;
	mxcsr_sync(cpu);
	if (val & ~(uint64_t)MXCSR_VALID)
		return gp(cpu);
	le32_store(cpu->fx + FX_MXCSR, (uint32_t)val);
	return INSN_DONE;
}

enum insn_result exec_stmxcsr(struct cpu *cpu, const struct insn *in)
{
	if (!sse_allowed(cpu, true, false))
		return INSN_FAULT;
	mxcsr_sync(cpu);
	return rm_write(cpu, in, 4, le32_load(cpu->fx + FX_MXCSR)) ? INSN_DONE : INSN_FAULT;
}

/* ---- FXSAVE, FXRSTOR ---- */

#define FXSAVE_SIZE  512
#define FXSAVE_USED  416 /* what FXSAVE writes: up to the end of XMM15 */
#define FXSAVE_XMM32 288 /* end of XMM7 */

static bool fx_operand(struct cpu *cpu, const struct insn *in, bool write, uint64_t *ret_va)
{
	if (cpu->cr0 & (CR0_EM | CR0_TS)) {
		nm(cpu);
		return false;
	}
	if (!seg_linear(cpu, in->seg, insn_ea(cpu, in), FXSAVE_SIZE, write, ret_va))
		return false;
	if (*ret_va & 15) {
		gp(cpu);
		return false;
	}
	return true;
}

/* In the 32-bit form the pointers are 32 bits and a selector each; ours are kept as 64 bits. */
static void pointers_narrow(uint8_t *img)
{
	memset(img + FX_FIP + 4, 0, 4);
	memset(img + FX_FDP + 4, 0, 4);
}

enum insn_result exec_fxsave(struct cpu *cpu, const struct insn *in)
{
	unsigned len = cpu_is_64bit(cpu) ? FXSAVE_USED : FXSAVE_XMM32;
	uint8_t img[FXSAVE_SIZE];
	uint64_t va;

	if (!fx_operand(cpu, in, true, &va))
		return INSN_FAULT;
	mxcsr_sync(cpu);
	memcpy(img, cpu->fx, len);
	img[5] = 0;
	le32_store(img + FX_MASK, MXCSR_VALID);
	if (!(in->rex & 8))
		pointers_narrow(img);
	/* The last part first: both pages are then known to be writable. */
	for (unsigned end = len; end > 0;) {
		unsigned n = end % 64 ? end % 64 : 64;

		end -= n;
		if (!seg_result(cpu, in, mmu_write(cpu, va + end, img + end, n)))
			return INSN_FAULT;
	}
	return INSN_DONE;
}

enum insn_result exec_fxrstor(struct cpu *cpu, const struct insn *in)
{
	unsigned len = cpu_is_64bit(cpu) ? FXSAVE_USED : FXSAVE_XMM32;
	uint8_t img[FXSAVE_SIZE];
	uint64_t va;

	if (!fx_operand(cpu, in, false, &va))
		return INSN_FAULT;
	for (unsigned off = 0; off < len; off += 64) {
		unsigned n = len - off < 64 ? len - off : 64;

		if (!seg_result(cpu, in, mmu_read(cpu, va + off, img + off, n)))
			return INSN_FAULT;
	}
	if (le32_load(img + FX_MXCSR) & ~MXCSR_VALID)
		return gp(cpu);
	if (!(in->rex & 8))
		pointers_narrow(img);
	img[5] = 0;
	le32_store(img + FX_MASK, MXCSR_VALID);
	mxcsr_sync(cpu);
	memcpy(cpu->fx, img, len);
	return INSN_DONE;
}
