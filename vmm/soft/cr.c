/* SPDX-License-Identifier: Apache-2.0 */
/* Control and debug registers. Ref: Intel SDM 3A 2.5, 3B 17.2; AMD APM 2 3.1. */
#include "soft/desc.h"

#include "devices/lapic.h"
#include "soft/exec.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"
#include "soft/sys.h"

#define CPUID_7_EBX_FSGSBASE (1U << 0)
#define CPUID_7_EBX_SMEP     (1U << 7)
#define CPUID_7_EBX_SMAP     (1U << 20)
#define CPUID_1_ECX_PCID     (1U << 17)
#define CPUID_7_ECX_UMIP     (1U << 2)

static enum insn_result fault(struct cpu *cpu, enum cpu_vector vec, uint32_t error)
{
	cpu_raise_err(cpu, vec, error);
	return INSN_FAULT;
}

static enum insn_result ud(struct cpu *cpu)
{
	cpu_raise(cpu, VEC_UD);
	return INSN_FAULT;
}

/* ---- CR0 ---- */

static bool cr0_valid(const struct cpu *cpu, uint64_t val)
{
	bool paging_on = (val & CR0_PG) && !(cpu->cr0 & CR0_PG);
	bool paging_off = !(val & CR0_PG) && (cpu->cr0 & CR0_PG);

	if (val >> 32)
		return false;
	if ((val & CR0_PG) && !(val & CR0_PE))
		return false;
	if ((val & CR0_NW) && !(val & CR0_CD))
		return false;
	if (paging_on && (cpu->efer & EFER_LME) &&
	    (!(cpu->cr4 & CR4_PAE) || (cpu->seg[HV_CS].attr & HV_SEG_L)))
		return false;
	if (paging_off && (cpu->mode == CPU_LONG64 || (cpu->cr4 & CR4_PCIDE)))
		return false;
	return true;
}

bool cr0_write(struct cpu *cpu, uint64_t val)
{
	const uint64_t writable = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM |
				  CR0_NW | CR0_CD | CR0_PG;
	uint64_t old = cpu->cr0;

	if (!cr0_valid(cpu, val))
		return false;
	val = (val & writable) | CR0_ET;
	if ((val & CR0_PG) && !(old & CR0_PG) && !(cpu->efer & EFER_LME) && (cpu->cr4 & CR4_PAE) &&
	    !mmu_load_pdptes(cpu, cpu->cr3))
		return false;
	cpu->cr0 = val;
	if ((old ^ val) & CR0_PG) {
		if ((val & CR0_PG) && (cpu->efer & EFER_LME))
			cpu->efer |= EFER_LMA;
		else
			cpu->efer &= ~(uint64_t)EFER_LMA;
	}
	if ((old ^ val) & (CR0_PG | CR0_WP))
		mmu_paging_changed(cpu);
	if ((old ^ val) & CR0_PE) {
		/* Level 0 either way; back in real mode the caches keep their values. */
		cpu_set_cpl(cpu, 0);
	}
	cpu_mode_update(cpu);
	return true;
}

/* ---- CR3, CR4 ---- */

bool cr3_write(struct cpu *cpu, uint64_t val)
{
	if (cpu_is_long(cpu)) {
		uint64_t rsvd = ~((1ULL << cpu->phys_bits) - 1);

		if (cpu->cr4 & CR4_PCIDE)
			rsvd &= ~(1ULL << 63);
		if (val & rsvd)
			return false;
	} else {
		val = (uint32_t)val;
		if (cpu->paging == MMU_PAE && !mmu_load_pdptes(cpu, val))
			return false;
	}
	mmu_cr3_written(cpu, val);
	return true;
}

static uint64_t cr4_allowed(const struct cpu *cpu)
{
	uint64_t ok = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |
		      CR4_OSFXSR | CR4_OSXMMEXCPT;

	if (cpu->features_7_ebx & CPUID_7_EBX_FSGSBASE)
		ok |= CR4_FSGSBASE;
	if (cpu->features_7_ebx & CPUID_7_EBX_SMEP)
		ok |= CR4_SMEP;
	if (cpu->features_7_ebx & CPUID_7_EBX_SMAP)
		ok |= CR4_SMAP;
	if (cpu->features_1_ecx & CPUID_1_ECX_PCID)
		ok |= CR4_PCIDE;
	if (cpuid_bit(cpu, 7, 2, CPUID_7_ECX_UMIP))
		ok |= CR4_UMIP;
	return ok;
}

static bool cr4_write(struct cpu *cpu, uint64_t val)
{
	const uint64_t paging_bits = CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP;
	uint64_t old = cpu->cr4;

	if (val & ~cr4_allowed(cpu))
		return false;
	if (cpu_is_long(cpu) && !(val & CR4_PAE))
		return false;
	if ((val & ~old & CR4_PCIDE) && (!cpu_is_long(cpu) || (cpu->cr3 & 0xfff)))
		return false;
	if ((cpu->cr0 & CR0_PG) && !cpu_is_long(cpu) && (val & CR4_PAE) &&
	    ((old ^ val) & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) &&
	    !mmu_load_pdptes(cpu, cpu->cr3))
		return false;
	cpu->cr4 = val;
	if ((old ^ val) & paging_bits)
		mmu_paging_changed(cpu);
	return true;
}

/* ---- MOV to and from control registers ---- */

static bool cr_read(struct cpu *cpu, unsigned n, uint64_t *ret)
{
	switch (n) {
	case 0: *ret = cpu->cr0; return true;
	case 2: *ret = cpu->cr2; return true;
	case 3: *ret = cpu->cr3; return true;
	case 4: *ret = cpu->cr4; return true;
	case 8: *ret = lapic_tpr_read(cpu->lapic); return true;
	default: return false;
	}
}

static bool cr_write(struct cpu *cpu, unsigned n, uint64_t val)
{
	switch (n) {
	case 0: return cr0_write(cpu, val);
	case 2: cpu->cr2 = val; return true;
	case 3: return cr3_write(cpu, val);
	case 4: return cr4_write(cpu, val);
	default:
		if (val > 15)
			return false;
		lapic_tpr_write(cpu->lapic, (uint8_t)val);
		return true;
	}
}

enum insn_result exec_mov_cr(struct cpu *cpu, const struct insn *in)
{
	bool lng = cpu->mode == CPU_LONG64;
	unsigned n = in->reg;
	uint64_t val;

	/* AMD's LOCK MOV CR0 for CR8 is refused by the decoder as any misplaced LOCK. */
	if (n != 0 && n != 2 && n != 3 && n != 4 && !(n == 8 && lng))
		return ud(cpu);
	if (cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	if (in->opcode == 0x20) {
		if (!cr_read(cpu, n, &val))
			return ud(cpu);
		reg_write(cpu, in, in->rm, lng ? 8 : 4, val);
		return INSN_DONE;
	}
	val = reg_read(cpu, in, in->rm, lng ? 8 : 4);
	if (!cr_write(cpu, n, val))
		return fault(cpu, VEC_GP, 0);
	return INSN_STOP;
}

enum insn_result exec_clts(struct cpu *cpu, const struct insn *in)
{
	if (cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	cpu->cr0 &= ~(uint64_t)CR0_TS;
	return INSN_STOP;
}

enum insn_result exec_smsw(struct cpu *cpu, const struct insn *in)
{
	if ((cpu->cr4 & CR4_UMIP) && cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	if (insn_is_mem(in))
		return rm_write(cpu, in, 2, cpu->cr0 & 0xffff) ? INSN_DONE : INSN_FAULT;
	reg_write(cpu, in, in->rm, in->op_size, cpu->cr0);
	return INSN_DONE;
}

enum insn_result exec_lmsw(struct cpu *cpu, const struct insn *in)
{
	uint64_t val;

	if (cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	if (!rm_read(cpu, in, 2, &val))
		return INSN_FAULT;
	/* PE can be set but not cleared this way. */
	val = (cpu->cr0 & ~(uint64_t)(CR0_MP | CR0_EM | CR0_TS)) |
	      (val & (CR0_PE | CR0_MP | CR0_EM | CR0_TS));
	if (!cr0_write(cpu, val))
		return fault(cpu, VEC_GP, 0);
	return INSN_STOP;
}

/* ---- debug registers ---- */

void dr_changed(struct cpu *cpu)
{
	uint8_t data = 0;

	for (unsigned i = 0; i < 4; i++) {
		unsigned rw = (unsigned)(cpu->dr7 >> (16 + 4 * i)) & 3;

		if ((cpu->dr7 >> (2 * i) & 3) && (rw == 1 || rw == 3))
			data |= (uint8_t)(1U << i);
	}
	if (data || cpu->dr_data)
		mmu_flush_all(cpu, true); /* watched pages lose their tags, others get them back */
	cpu->dr_data = data;
	if (cpu->dr7 & 0xff)
		cpu_attention(cpu); /* instruction breakpoints: soft.c steps */
}

static bool dr_write(struct cpu *cpu, unsigned n, uint64_t val)
{
	if (n < 4) {
		cpu->dr[n] = val;
		if (cpu->dr7 & 0xff)
			dr_changed(cpu);
		return true;
	}
	if (val >> 32)
		return false;
	if (n == 6) {
		cpu->dr6 = (val & 0xe00f) | 0xffff0ff0;
	} else {
		cpu->dr7 = (val & 0xffff2bff) | 0x400;
		dr_changed(cpu);
	}
	return true;
}

enum insn_result exec_mov_dr(struct cpu *cpu, const struct insn *in)
{
	unsigned size = cpu->mode == CPU_LONG64 ? 8 : 4;
	unsigned n = in->reg;

	if (n >= 8 || ((n == 4 || n == 5) && (cpu->cr4 & CR4_DE)))
		return ud(cpu);
	if (cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	if (n == 4 || n == 5)
		n += 2;
	if (cpu->dr7 & (1U << 13)) { /* GD */
		cpu_raise(cpu, VEC_DB);
		cpu->exc.dr6 = 1U << 13;
		return INSN_FAULT;
	}
	if (in->opcode == 0x21) {
		reg_write(cpu, in, in->rm, size, n < 4 ? cpu->dr[n] : n == 6 ? cpu->dr6 : cpu->dr7);
		return INSN_DONE;
	}
	if (!dr_write(cpu, n, reg_read(cpu, in, in->rm, size)))
		return fault(cpu, VEC_GP, 0);
	return INSN_STOP;
}
