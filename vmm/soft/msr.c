/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers. An MSR that is not listed raises #GP, as does a value that the real
 * register refuses.
 */
#include "soft/sys.h"

#include "devices/lapic.h"
#include "soft/clock.h"
#include "soft/desc.h"
#include "soft/exec.h"
#include "soft/mmu.h"

#define MSR_TSC			 0x10
#define MSR_PLATFORM_ID		 0x17
#define MSR_APIC_BASE		 0x1b
#define MSR_TSC_ADJUST		 0x3b
#define MSR_UCODE_REV		 0x8b
#define MSR_MTRRCAP		 0xfe
#define MSR_SYSENTER_CS		 0x174
#define MSR_SYSENTER_ESP	 0x175
#define MSR_SYSENTER_EIP	 0x176
#define MSR_MISC_ENABLE		 0x1a0
#define MSR_DEBUGCTL		 0x1d9
#define MSR_LAST_BRANCH		 0x1db /* and three more */
#define MSR_MTRR_VAR0		 0x200
#define MSR_PAT			 0x277
#define MSR_MTRR_DEF		 0x2ff
#define MSR_TSC_DEADLINE	 0x6e0
#define MSR_X2APIC_FIRST	 0x800
#define MSR_X2APIC_LAST		 0x83f
#define MSR_EFER		 0xc0000080
#define MSR_STAR		 0xc0000081
#define MSR_LSTAR		 0xc0000082
#define MSR_CSTAR		 0xc0000083
#define MSR_SFMASK		 0xc0000084
#define MSR_FS_BASE		 0xc0000100
#define MSR_GS_BASE		 0xc0000101
#define MSR_KERNEL_GS_BASE	 0xc0000102
#define MSR_TSC_AUX		 0xc0000103
#define MSR_AMD_PERF_FIRST	 0xc0010000
#define MSR_AMD_PERF_LAST	 0xc0010007
#define MSR_AMD_SYSCFG		 0xc0010010
#define MSR_AMD_HWCR		 0xc0010015
#define MSR_AMD_INT_PENDING	 0xc0010055
#define MSR_AMD_DE_CFG		 0xc0011029

#define CPUID_1_EDX_MTRR	 (1U << 12)
#define CPUID_1_ECX_DEADLINE	 (1U << 24)
#define CPUID_8000_0001_EDX_NX	 (1U << 20)
#define CPUID_8000_0001_EDX_SCE	 (1U << 11)
#define CPUID_8000_0001_EDX_LM	 (1U << 29)
#define CPUID_8000_0001_EDX_TSCP (1U << 27)

/* ---- EFER ---- */

static bool efer_write(struct cpu *cpu, uint64_t val)
{
	uint64_t ok = EFER_LMA; /* read-only, but writing it as it is is fine */
	uint64_t old = cpu->efer;

	if (cpuid_bit(cpu, 0x80000001, 3, CPUID_8000_0001_EDX_SCE))
		ok |= EFER_SCE;
	if (cpuid_bit(cpu, 0x80000001, 3, CPUID_8000_0001_EDX_LM))
		ok |= EFER_LME;
	if (cpuid_bit(cpu, 0x80000001, 3, CPUID_8000_0001_EDX_NX))
		ok |= EFER_NXE;
	if (val & ~ok)
		return false;
	if (((val ^ old) & EFER_LME) && (cpu->cr0 & CR0_PG))
		return false;
	cpu->efer = (val & ~(uint64_t)EFER_LMA) | (old & EFER_LMA);
	if ((val ^ old) & EFER_NXE)
		mmu_paging_changed(cpu);
	return true;
}

/* ---- MTRR, PAT ---- */

bool pat_valid(uint64_t val)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned t = (unsigned)(val >> (8 * i)) & 0xff;

		if (t > 7 || t == 2 || t == 3)
			return false;
	}
	return true;
}

/* Index of a fixed-range MTRR, or -1. */
static int mtrr_fixed_index(uint32_t msr)
{
	switch (msr) {
	case 0x250: return 0;
	case 0x258: return 1;
	case 0x259: return 2;
	default: return msr >= 0x268 && msr <= 0x26f ? (int)(msr - 0x268 + 3) : -1;
	}
}

static uint64_t *mtrr_ptr(struct cpu *cpu, uint32_t msr)
{
	int fixed = mtrr_fixed_index(msr);

	if (!(cpu->features_1_edx & CPUID_1_EDX_MTRR))
		return NULL;
	if (fixed >= 0)
		return &cpu->mtrr_fixed[fixed];
	if (msr >= MSR_MTRR_VAR0 && msr < MSR_MTRR_VAR0 + 2 * HV_N_MTRR_VAR)
		return &cpu->mtrr_var[msr - MSR_MTRR_VAR0];
	return msr == MSR_MTRR_DEF ? &cpu->mtrr_def_type : NULL;
}

static bool mtrr_type_ok(unsigned type)
{
	return type <= 6 && type != 2 && type != 3;
}

/* Memory types and reserved bits, as the registers check them. */
static bool mtrr_value_ok(const struct cpu *cpu, uint32_t msr, uint64_t val)
{
	uint64_t beyond = ~((1ULL << cpu->phys_bits) - 1);

	if (msr == MSR_MTRR_DEF)
		return !(val & ~0xcffULL) && mtrr_type_ok(val & 0xff);
	if (mtrr_fixed_index(msr) >= 0) {
		for (unsigned i = 0; i < 8; i++) {
			if (!mtrr_type_ok(val >> (8 * i) & 0xff))
				return false;
		}
		return true;
	}
	if (msr & 1) /* mask */
		return !(val & (beyond | 0x7ff));
	return !(val & (beyond | 0xf00)) && mtrr_type_ok(val & 0xff);
}

/* ---- plain 64-bit registers ---- */

static uint64_t *plain_ptr(struct cpu *cpu, uint32_t msr)
{
	switch (msr) {
	case MSR_STAR: return &cpu->star;
	case MSR_SFMASK: return &cpu->sfmask;
	case MSR_SYSENTER_CS: return &cpu->sysenter_cs;
	case MSR_MISC_ENABLE: return &cpu->misc_enable;
	default: return NULL;
	}
}

/* Registers that hold an address: canonical or #GP. */
static uint64_t *address_ptr(struct cpu *cpu, uint32_t msr)
{
	switch (msr) {
	case MSR_LSTAR: return &cpu->lstar;
	case MSR_CSTAR: return &cpu->cstar;
	case MSR_SYSENTER_ESP: return &cpu->sysenter_esp;
	case MSR_SYSENTER_EIP: return &cpu->sysenter_eip;
	case MSR_FS_BASE: return &cpu->seg[HV_FS].base;
	case MSR_GS_BASE: return &cpu->seg[HV_GS].base;
	case MSR_KERNEL_GS_BASE: return &cpu->kernel_gs_base;
	default: return NULL;
	}
}

/* Configuration and branch-trace registers that kernels read and write back: reads give 0, writes
 * vanish. */
static bool is_inert(uint32_t msr)
{
	return (msr >= MSR_AMD_PERF_FIRST && msr <= MSR_AMD_PERF_LAST) || msr == MSR_AMD_SYSCFG ||
	       msr == MSR_AMD_HWCR || msr == MSR_AMD_INT_PENDING || msr == MSR_AMD_DE_CFG ||
	       msr == MSR_UCODE_REV || msr == MSR_PLATFORM_ID || msr == MSR_DEBUGCTL ||
	       (msr >= MSR_LAST_BRANCH && msr <= MSR_LAST_BRANCH + 3);
}

static bool has_tsc_aux(const struct cpu *cpu)
{
	return cpuid_bit(cpu, 0x80000001, 3, CPUID_8000_0001_EDX_TSCP);
}

/* ---- reading ---- */

bool msr_read(struct cpu *cpu, uint32_t msr, uint64_t *ret)
{
	uint64_t *p;

	if ((p = plain_ptr(cpu, msr)) || (p = address_ptr(cpu, msr)) || (p = mtrr_ptr(cpu, msr))) {
		*ret = *p;
		return true;
	}
	if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		return lapic_msr_read(cpu->lapic, msr, ret);
	switch (msr) {
	case MSR_TSC: *ret = cpu_tsc(cpu); return true;
	case MSR_APIC_BASE: *ret = cpu->lapic->base_msr; return true;
	case MSR_EFER: *ret = cpu->efer; return true;
	case MSR_PAT: *ret = cpu->pat; return true;
	case MSR_MTRRCAP:
		*ret = 0x500 | HV_N_MTRR_VAR; /* fixed ranges, write-combining */
		return cpu->features_1_edx & CPUID_1_EDX_MTRR;
	case MSR_TSC_DEADLINE:
		*ret = lapic_deadline_read(cpu->lapic);
		return cpu->features_1_ecx & CPUID_1_ECX_DEADLINE;
	case MSR_TSC_AUX: *ret = cpu->tsc_aux; return has_tsc_aux(cpu);
	case MSR_UCODE_REV: *ret = 0x01000065ULL; return true;
	default: break;
	}
	if (kvmclock_has_msr(cpu, msr)) {
		*ret = kvmclock_read(cpu, msr);
		return true;
	}
	*ret = 0;
	return is_inert(msr);
}

/* ---- writing ---- */

void apic_base_changed(struct cpu *cpu)
{
	uint64_t base = cpu->lapic->base_msr;
	bool xapic = (base & (APIC_BASE_EN | APIC_BASE_EXTD)) == APIC_BASE_EN;
	uint64_t page = xapic ? base & ~0xfffULL : ~0ULL;

	if (page == cpu->apic_page)
		return;
	cpu->apic_page = page;
	mmu_flush_all(cpu, true);
}

static bool apic_base_write(struct cpu *cpu, uint64_t val)
{
	if (!(cpu->features_1_ecx & (1U << 21)) && (val & APIC_BASE_EXTD))
		return false;
	if (!lapic_base_write(cpu->lapic, val, cpu->phys_bits))
		return false;
	apic_base_changed(cpu);
	return true;
}

static bool write_special(struct cpu *cpu, uint32_t msr, uint64_t val, bool *ret_ok)
{
	*ret_ok = true;
	switch (msr) {
	case MSR_TSC:
		cpu->tsc_offset += val - cpu_tsc(cpu);
		lapic_deadline_write(cpu->lapic,
				     lapic_deadline_read(cpu->lapic)); /* arms it anew */
		return true;
	case MSR_APIC_BASE: *ret_ok = apic_base_write(cpu, val); return true;
	case MSR_EFER: *ret_ok = efer_write(cpu, val); return true;
	case MSR_PAT:
		*ret_ok = pat_valid(val);
		if (*ret_ok)
			cpu->pat = val;
		return true;
	case MSR_TSC_DEADLINE:
		*ret_ok = cpu->features_1_ecx & CPUID_1_ECX_DEADLINE;
		if (*ret_ok)
			lapic_deadline_write(cpu->lapic, val);
		/* One that has passed fires at once, not at the next look at the clock. */
		if (*ret_ok && val && val <= cpu_tsc(cpu))
			cpu_attention(cpu);
		return true;
	case MSR_TSC_AUX:
		*ret_ok = has_tsc_aux(cpu) && !(val >> 32);
		if (*ret_ok)
			cpu->tsc_aux = val;
		return true;
	default: return false;
	}
}

bool msr_write(struct cpu *cpu, uint32_t msr, uint64_t val)
{
	uint64_t *p = plain_ptr(cpu, msr);
	bool ok;

	if (p) {
		*p = val;
		return true;
	}
	p = address_ptr(cpu, msr);
	if (p) {
		if (!mmu_canonical(val))
			return false;
		*p = val;
		if (msr == MSR_FS_BASE)
			cpu->seg_base[HV_FS] = val;
		if (msr == MSR_GS_BASE)
			cpu->seg_base[HV_GS] = val;
		return true;
	}
	p = mtrr_ptr(cpu, msr);
	if (p) {
		if (!mtrr_value_ok(cpu, msr, val))
			return false;
		*p = val;
		return true;
	}
	if (write_special(cpu, msr, val, &ok))
		return ok;
	if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		return lapic_msr_write(cpu->lapic, msr, val);
	if (kvmclock_has_msr(cpu, msr)) {
		kvmclock_write(cpu, msr, val);
		return true;
	}
	return is_inert(msr);
}

/* ---- instructions ---- */

static enum insn_result gp(struct cpu *cpu)
{
	cpu_raise_err(cpu, VEC_GP, 0);
	return INSN_FAULT;
}

enum insn_result exec_rdmsr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val;

	if (cpu->cpl != 0 || !msr_read(cpu, (uint32_t)cpu->gpr[HV_RCX], &val))
		return gp(cpu);
	cpu->gpr[HV_RAX] = (uint32_t)val;
	cpu->gpr[HV_RDX] = val >> 32;
	return INSN_DONE;
}

enum insn_result exec_wrmsr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val = (uint32_t)cpu->gpr[HV_RAX] | cpu->gpr[HV_RDX] << 32;

	if (cpu->cpl != 0 || !msr_write(cpu, (uint32_t)cpu->gpr[HV_RCX], val))
		return gp(cpu);
	return INSN_STOP;
}
