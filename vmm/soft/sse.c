/* SPDX-License-Identifier: Apache-2.0 */
/* SSE and MMX instructions: gates, operands, exceptions; plain C for the common moves, host stubs
 * for the rest. FXSAVE and MXCSR. Ref: Intel SDM 1 chapters 9-11, 3A 13. */
#include "soft/stub.h"

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
static bool operand_va(struct cpu *cpu, const struct insn *in, uint64_t *ret)
{
	if (!seg_linear(cpu, in->seg, insn_ea(cpu, in), in->mem_size,
			(in->mem_rw & INSN_MEM_W) != 0, ret))
		return false;
	if ((in->mem_rw & INSN_MEM_ALIGNED) && (*ret & (in->mem_size - 1U))) {
		cpu_raise_err(cpu, VEC_GP, 0);
		return false;
	}
	return true;
}

static bool seg_result(struct cpu *cpu, const struct insn *in, bool ok)
{
	if (unlikely(!ok) && cpu->exc.noncanonical && in->seg == HV_SS)
		cpu->exc.vector = VEC_SS;
	return ok;
}

/* Host address of the operand for reading: the page itself on a TLB hit, else a copy in @buf. */
static const void *operand_read(struct cpu *cpu, const struct insn *in, uint8_t *buf)
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

/* ---- the common moves in C ---- */

enum fast_result { FAST_NO, FAST_DONE, FAST_FAULT };

/* Load @n bytes into XMM @r; the rest becomes 0, or stays if @keep. */
static enum fast_result load_xmm(struct cpu *cpu, const struct insn *in, unsigned n, bool keep)
{
	uint8_t buf[16];
	const void *src = insn_is_mem(in) ? operand_read(cpu, in, buf) : xmm(cpu, in->rm);
	uint8_t val[16] = { 0 };

	if (!src)
		return FAST_FAULT;
	memcpy(val, src, n);
	memcpy(xmm(cpu, in->reg), val, keep ? n : 16);
	return FAST_DONE;
}

static enum fast_result store_xmm(struct cpu *cpu, const struct insn *in, unsigned n)
{
	const uint8_t *src = xmm(cpu, in->reg);
	uint64_t va;
	bool ok;

	if (!insn_is_mem(in)) {
		memcpy(xmm(cpu, in->rm), src, n);
		return FAST_DONE;
	}
	if (!operand_va(cpu, in, &va))
		return FAST_FAULT;
	switch (n) {
	case 4: ok = mmu_write(cpu, va, src, 4); break;
	case 8: ok = mmu_write(cpu, va, src, 8); break;
	default: ok = mmu_write(cpu, va, src, 16); break;
	}
	return seg_result(cpu, in, ok) ? FAST_DONE : FAST_FAULT;
}

enum logic { LOGIC_AND, LOGIC_ANDN, LOGIC_OR, LOGIC_XOR };

static enum fast_result logic_xmm(struct cpu *cpu, const struct insn *in, enum logic op)
{
	uint8_t buf[16];
	const void *src = insn_is_mem(in) ? operand_read(cpu, in, buf) : xmm(cpu, in->rm);
	uint64_t a[2], b[2];

	if (!src)
		return FAST_FAULT;
	memcpy(a, xmm(cpu, in->reg), 16);
	memcpy(b, src, 16);
	for (unsigned i = 0; i < 2; i++) {
		switch (op) {
		case LOGIC_AND: a[i] &= b[i]; break;
		case LOGIC_ANDN: a[i] = ~a[i] & b[i]; break;
		case LOGIC_OR: a[i] |= b[i]; break;
		case LOGIC_XOR: a[i] ^= b[i]; break;
		}
	}
	memcpy(xmm(cpu, in->reg), a, 16);
	return FAST_DONE;
}

/* MOVD, MOVQ between general and XMM registers. */
static enum fast_result movd_load(struct cpu *cpu, const struct insn *in)
{
	unsigned n = in->rex & 8 ? 8 : 4;
	uint64_t val[2] = { 0, 0 };

	if (insn_is_mem(in))
		return load_xmm(cpu, in, n, false);
	val[0] = reg_read(cpu, in, in->rm, n);
	memcpy(xmm(cpu, in->reg), val, 16);
	return FAST_DONE;
}

static enum fast_result movd_store(struct cpu *cpu, const struct insn *in)
{
	unsigned n = in->rex & 8 ? 8 : 4;
	uint64_t val = 0;

	if (insn_is_mem(in))
		return store_xmm(cpu, in, n);
	memcpy(&val, xmm(cpu, in->reg), n);
	reg_write(cpu, in, in->rm, n, val);
	return FAST_DONE;
}

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

static enum fast_result fast(struct cpu *cpu, const struct insn *in)
{
	bool mem = insn_is_mem(in);

	switch (opcode_with_prefix(in)) {
	case P_NONE | 0x10:
	case P_66 | 0x10:
	case P_NONE | 0x28:
	case P_66 | 0x28:
	case P_66 | 0x6f:
	case P_F3 | 0x6f: return load_xmm(cpu, in, 16, false);
	case P_NONE | 0x11:
	case P_66 | 0x11:
	case P_NONE | 0x29:
	case P_66 | 0x29:
	case P_66 | 0x7f:
	case P_F3 | 0x7f:
	case P_NONE | 0x2b:
	case P_66 | 0x2b:
	case P_66 | 0xe7: return store_xmm(cpu, in, 16);
	case P_F3 | 0x10: return load_xmm(cpu, in, 4, !mem);
	case P_F2 | 0x10: return load_xmm(cpu, in, 8, !mem);
	case P_F3 | 0x11: return store_xmm(cpu, in, 4);
	case P_F2 | 0x11: return store_xmm(cpu, in, 8);
	case P_F3 | 0x7e: return load_xmm(cpu, in, 8, false);
	case P_66 | 0xd6: return mem ? store_xmm(cpu, in, 8) : FAST_NO;
	case P_66 | 0x6e: return movd_load(cpu, in);
	case P_66 | 0x7e: return movd_store(cpu, in);
	case P_NONE | 0x54:
	case P_66 | 0x54:
	case P_66 | 0xdb: return logic_xmm(cpu, in, LOGIC_AND);
	case P_NONE | 0x55:
	case P_66 | 0x55:
	case P_66 | 0xdf: return logic_xmm(cpu, in, LOGIC_ANDN);
	case P_NONE | 0x56:
	case P_66 | 0x56:
	case P_66 | 0xeb: return logic_xmm(cpu, in, LOGIC_OR);
	case P_NONE | 0x57:
	case P_66 | 0x57:
	case P_66 | 0xef: return logic_xmm(cpu, in, LOGIC_XOR);
	case P_NONE | 0x13:
	case P_66 | 0x13: return store_xmm(cpu, in, 8);
	case P_66 | 0x12: return load_xmm(cpu, in, 8, true);
	default: return FAST_NO;
	}
}

/* ---- stubs ---- */

/* MASKMOVDQU and MASKMOVQ: bytes of reg whose mask bit in rm is set go to DS:rDI. */
static enum insn_result maskmov(struct cpu *cpu, const struct insn *in)
{
	bool mmx = in->reg_class == INSN_CLASS_MMX;
	unsigned n = mmx ? 8 : 16;
	uint64_t ea = cpu->gpr[HV_RDI] & size_mask(in->addr_size), va;
	uint8_t data[16], mask[16];

	if (mmx)
		fx_enter_mmx(cpu);
	memcpy(data, mmx ? cpu->fx + FX_ST + 16 * (in->reg & 7) : xmm(cpu, in->reg), n);
	memcpy(mask, mmx ? cpu->fx + FX_ST + 16 * (in->rm & 7) : xmm(cpu, in->rm), n);
	if (!seg_linear(cpu, in->seg, ea, n, true, &va))
		return INSN_FAULT;
	/* Rights to all of it first, as the bytes go one by one. */
	mmu_rmw_slow(cpu, va, n);
	if (cpu->exc.pending)
		return seg_result(cpu, in, false) ? INSN_DONE : INSN_FAULT;
	for (unsigned i = 0; i < n; i++) {
		if ((mask[i] & 0x80) && !mmu_write(cpu, va + i, &data[i], 1))
			return INSN_FAULT;
	}
	return INSN_DONE;
}

/* After the instruction: flags it raised, or the exception that they make. */
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
	uint32_t mxcsr = le32_load(cpu->fx + FX_MXCSR);

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

static enum insn_result by_stub(struct cpu *cpu, const struct insn *in, unsigned uses)
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
		if (!sse_allowed(cpu, true, false))
			return INSN_FAULT;
		if (in->map == INSN_MAP_0F) {
			enum fast_result f = fast(cpu, in);

			if (f != FAST_NO)
				return f == FAST_DONE ? INSN_DONE : INSN_FAULT;
			if (in->opcode == 0xf7)
				return maskmov(cpu, in);
		}
		return by_stub(cpu, in, stub_uses(in));
	}
	uses = stub_uses(in);
	if (!sse_allowed(cpu, xmm_used, is_emms || (uses & STUB_MMX)))
		return INSN_FAULT;
	if (is_emms) {
		cpu->fx[FX_FTW] = 0;
		cpu->fx[FX_FSW + 1] &= (uint8_t) ~(FSW_TOP >> 8);
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
	if (val & ~(uint64_t)MXCSR_VALID)
		return gp(cpu);
	le32_store(cpu->fx + FX_MXCSR, (uint32_t)val);
	return INSN_DONE;
}

enum insn_result exec_stmxcsr(struct cpu *cpu, const struct insn *in)
{
	if (!sse_allowed(cpu, true, false))
		return INSN_FAULT;
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
	memcpy(cpu->fx, img, len);
	return INSN_DONE;
}
