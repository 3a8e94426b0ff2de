/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID, time-stamp and random-number instructions. */
#include "soft/sys.h"

#include <sys/random.h>

#include "devices/lapic.h"
#include "soft/clock.h"
#include "soft/exec.h"
#include "soft/interp/operand.h"

#define CPUID_1_EDX_APIC (1U << 9)

const struct hv_cpuid *cpuid_find(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	const struct hv_cpuid_table *t = cpu->vm->config.cpuid;

	for (unsigned i = 0; i < t->n && i < HV_MAX_CPUID; i++) {
		const struct hv_cpuid *e = &t->entries[i];

		if (e->leaf == leaf && (!e->has_subleaf || e->subleaf == subleaf))
			return e;
	}
	return NULL;
}

bool cpuid_bit(const struct cpu *cpu, uint32_t leaf, unsigned reg, uint32_t bits)
{
	const struct hv_cpuid *e = cpuid_find(cpu, leaf, 0);
	uint32_t val;

	if (!e)
		return false;
	val = reg == 0 ? e->eax : reg == 1 ? e->ebx : reg == 2 ? e->ecx : e->edx;
	return (val & bits) == bits;
}

void cpuid_init(struct cpu *cpu)
{
	const struct hv_cpuid *e = cpuid_find(cpu, 1, 0);

	if (e) {
		cpu->features_1_ecx = e->ecx;
		cpu->features_1_edx = e->edx;
	}
	e = cpuid_find(cpu, 7, 0);
	if (e)
		cpu->features_7_ebx = e->ebx;
	e = cpuid_find(cpu, 0x80000008, 0);
	cpu->phys_bits = e ? (uint8_t)e->eax : 36;
	if (cpu->phys_bits < 32 || cpu->phys_bits > 52)
		cpu->phys_bits = 40;
}

enum insn_result exec_cpuid(struct cpu *cpu, const struct insn *in)
{
	static const struct hv_cpuid none;
	uint32_t leaf = (uint32_t)cpu->gpr[HV_RAX];
	const struct hv_cpuid *e = cpuid_find(cpu, leaf, (uint32_t)cpu->gpr[HV_RCX]);
	struct hv_cpuid r = e ? *e : none;

	if (leaf == 1) {
		r.ebx = (r.ebx & 0x00ffffff) | cpu->id << 24;
		if (!(cpu->lapic->base_msr & APIC_BASE_EN))
			r.edx &= ~CPUID_1_EDX_APIC;
		if (cpu->cr4 & CR4_OSXSAVE)
			r.ecx |= 1U << 27;
	} else if (leaf == 0xb && e) {
		r.edx = cpu->id;
		if (!e->has_subleaf)
			r.ecx = (r.ecx & ~0xffU) | (cpu->gpr[HV_RCX] & 0xff);
	} else if (leaf == 0x8000001e && e) {
		r.eax = cpu->id;
	}
	cpu->gpr[HV_RAX] = r.eax;
	cpu->gpr[HV_RBX] = r.ebx;
	cpu->gpr[HV_RCX] = r.ecx;
	cpu->gpr[HV_RDX] = r.edx;
	return INSN_DONE;
}

static enum insn_result gp(struct cpu *cpu)
{
	cpu_raise_err(cpu, VEC_GP, 0);
	return INSN_FAULT;
}

static enum insn_result ud(struct cpu *cpu)
{
	cpu_raise(cpu, VEC_UD);
	return INSN_FAULT;
}

enum insn_result exec_rdtsc(struct cpu *cpu, const struct insn *in)
{
	uint64_t tsc;

	if ((cpu->cr4 & CR4_TSD) && cpu->cpl != 0)
		return gp(cpu);
	tsc = cpu_tsc(cpu);
	cpu->gpr[HV_RAX] = (uint32_t)tsc;
	cpu->gpr[HV_RDX] = tsc >> 32;
	return INSN_DONE;
}

enum insn_result exec_rdtscp(struct cpu *cpu, const struct insn *in)
{
	enum insn_result r = exec_rdtsc(cpu, in);

	if (r == INSN_DONE)
		cpu->gpr[HV_RCX] = (uint32_t)cpu->tsc_aux;
	return r;
}

/* No counters exist. */
enum insn_result exec_rdpmc(struct cpu *cpu, const struct insn *in)
{
	return gp(cpu);
}

enum insn_result exec_rdpid(struct cpu *cpu, const struct insn *in)
{
	reg_write(cpu, in, in->rm, in->op_size, cpu->tsc_aux);
	return INSN_DONE;
}

/* XSAVE is never advertised: the decoder refuses these before they get here. */
enum insn_result exec_xgetbv(struct cpu *cpu, const struct insn *in)
{
	return ud(cpu);
}

enum insn_result exec_xsetbv(struct cpu *cpu, const struct insn *in)
{
	return ud(cpu);
}

/* Random bits from the host's kernel: CF says whether there were any. */
static enum insn_result random_reg(struct cpu *cpu, const struct insn *in)
{
	uint64_t val = 0;
	bool ok = getrandom(&val, sizeof(val), GRND_NONBLOCK) == (ssize_t)sizeof(val);

	reg_write(cpu, in, in->rm, in->op_size, ok ? val : 0);
	set_arith(cpu, FL_ARITH, ok ? FL_CF : 0);
	return INSN_DONE;
}

enum insn_result exec_rdrand(struct cpu *cpu, const struct insn *in)
{
	return random_reg(cpu, in);
}

enum insn_result exec_rdseed(struct cpu *cpu, const struct insn *in)
{
	return random_reg(cpu, in);
}
