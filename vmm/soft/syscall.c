/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of privilege without descriptors: SYSCALL, SYSRET, SYSENTER, SYSEXIT, software
 * interrupts; SWAPGS and the FS/GS base instructions.
 *
 * SYSCALL follows AMD's rules (legal in legacy and compatibility mode too); SYSENTER Intel's (legal
 * in long mode). SYSRET does not check RCX, as on AMD: the fetch at level 3 then faults.
 */
#include "soft/desc.h"

#include "soft/exec.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"

/* Attributes of the flat segments these instructions load. */
#define ATTR_CODE64(dpl) (uint16_t)(0x9b | (dpl) << HV_SEG_DPL_SHIFT | HV_SEG_L | HV_SEG_G)
#define ATTR_CODE32(dpl) (uint16_t)(0x9b | (dpl) << HV_SEG_DPL_SHIFT | HV_SEG_DB | HV_SEG_G)
#define ATTR_DATA(dpl)	 (uint16_t)(0x93 | (dpl) << HV_SEG_DPL_SHIFT | HV_SEG_DB | HV_SEG_G)

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

void cpu_enter_flat64(struct cpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl)
{
	cpu->seg[HV_CS] = (struct hv_segment){ .limit = 0xffffffff,
					       .selector = cs,
					       .attr = ATTR_CODE64(cpl) };
	cpu->seg[HV_SS] =
		(struct hv_segment){ .limit = 0xffffffff, .selector = ss, .attr = ATTR_DATA(cpl) };
	cpu_set_cpl(cpu, cpl);
	mmu_mode_changed(cpu);
}

static void enter_flat(struct cpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl, bool code64)
{
	if (likely(code64 && cpu->mode == CPU_LONG64)) {
		cpu_enter_flat64(cpu, cs, ss, cpl);
		return;
	}
	seg_set_flat(cpu, HV_CS, cs, code64 ? ATTR_CODE64(cpl) : ATTR_CODE32(cpl));
	seg_set_flat(cpu, HV_SS, ss, ATTR_DATA(cpl));
	cpu_set_cpl(cpu, cpl);
	cpu_mode_update(cpu);
}

enum insn_result exec_syscall(struct cpu *cpu, const struct insn *in)
{
	uint16_t cs = (uint16_t)(cpu->star >> 32) & 0xfffc;

	if (!(cpu->efer & EFER_SCE) || !cpu_is_protected(cpu))
		return ud(cpu);
	if (cpu_is_long(cpu)) {
		cpu->gpr[HV_RCX] = cpu->next_rip;
		cpu->gpr[HV_R11] = cpu->rflags & ~FL_RF;
		cpu->rip = cpu->mode == CPU_LONG64 ? cpu->lstar : cpu->cstar;
		cpu->rflags = (cpu->rflags & ~(uint32_t)cpu->sfmask & ~FL_RF) | FL_ONE;
		enter_flat(cpu, cs, (uint16_t)(cs + 8), 0, true);
	} else {
		cpu->gpr[HV_RCX] = (uint32_t)cpu->next_rip;
		cpu->rip = (uint32_t)cpu->star;
		cpu->rflags &= ~(FL_VM | FL_IF | FL_RF);
		enter_flat(cpu, cs, (uint16_t)(cs + 8), 0, false);
	}
	return INSN_BRANCH;
}

enum insn_result exec_sysret(struct cpu *cpu, const struct insn *in)
{
	uint16_t base = (uint16_t)(cpu->star >> 48) & 0xfffc;
	bool code64 = in->op_size == 8;
	uint32_t old = cpu->rflags;

	if (!(cpu->efer & EFER_SCE) || !cpu_is_protected(cpu))
		return ud(cpu);
	if (cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	if (cpu_is_long(cpu)) {
		cpu->rip = code64 ? cpu->gpr[HV_RCX] : (uint32_t)cpu->gpr[HV_RCX];
		cpu->rflags = ((uint32_t)cpu->gpr[HV_R11] & 0x3c7fd7) | FL_ONE;
		enter_flat(cpu, (uint16_t)((base + (code64 ? 16 : 0)) | 3),
			   (uint16_t)((base + 8) | 3), 3, code64);
	} else {
		cpu->rip = (uint32_t)cpu->gpr[HV_RCX];
		cpu->rflags |= FL_IF;
		enter_flat(cpu, base | 3, (uint16_t)((base + 8) | 3), 3, false);
	}
	if (!(cpu->dr7 & 0xff))
		cpu->rflags &= ~FL_RF;
	if (cpu->rflags & (FL_TF | FL_RF))
		cpu_attention(cpu);
	if (cpu->rflags & ~old & FL_IF)
		cpu_interrupts_opened(cpu);
	return INSN_BRANCH;
}

enum insn_result exec_sysenter(struct cpu *cpu, const struct insn *in)
{
	uint16_t cs = (uint16_t)cpu->sysenter_cs & 0xfffc;
	bool lng = cpu_is_long(cpu);

	if (cs == 0 || !(cpu->cr0 & CR0_PE))
		return fault(cpu, VEC_GP, 0);
	cpu->rflags &= ~(FL_VM | FL_IF | FL_RF);
	cpu->gpr[HV_RSP] = lng ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
	cpu->rip = lng ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
	enter_flat(cpu, cs, (uint16_t)(cs + 8), 0, lng);
	return INSN_BRANCH;
}

enum insn_result exec_sysexit(struct cpu *cpu, const struct insn *in)
{
	uint16_t cs = (uint16_t)cpu->sysenter_cs & 0xfffc;
	bool code64 = in->op_size == 8;

	if (cs == 0 || cpu->cpl != 0 || !(cpu->cr0 & CR0_PE))
		return fault(cpu, VEC_GP, 0);
	if (code64 && (!mmu_canonical(cpu->gpr[HV_RCX]) || !mmu_canonical(cpu->gpr[HV_RDX])))
		return fault(cpu, VEC_GP, 0);
	cs = (uint16_t)(cs + (code64 ? 32 : 16));
	cpu->rip = code64 ? cpu->gpr[HV_RDX] : (uint32_t)cpu->gpr[HV_RDX];
	cpu->gpr[HV_RSP] = code64 ? cpu->gpr[HV_RCX] : (uint32_t)cpu->gpr[HV_RCX];
	enter_flat(cpu, cs | 3, (uint16_t)((cs + 8) | 3), 3, code64);
	return INSN_BRANCH;
}

/* ---- software interrupts ---- */

static enum insn_result soft_int(struct cpu *cpu, uint8_t vector)
{
	if (!cpu->exc.pending)
		cpu->exc = (struct cpu_exc){ .pending = true, .soft = true, .vector = vector };
	return INSN_FAULT;
}

enum insn_result exec_int(struct cpu *cpu, const struct insn *in)
{
	if (cpu_vm86_denied(cpu))
		return fault(cpu, VEC_GP, 0);
	return soft_int(cpu, (uint8_t)in->imm);
}

enum insn_result exec_int3(struct cpu *cpu, const struct insn *in)
{
	return soft_int(cpu, VEC_BP);
}

enum insn_result exec_into(struct cpu *cpu, const struct insn *in)
{
	return cpu->rflags & FL_OF ? soft_int(cpu, VEC_OF) : INSN_DONE;
}

/* INT1 (ICEBP): a #DB trap that no gate DPL stops and that sets nothing in DR6. */
enum insn_result exec_int1(struct cpu *cpu, const struct insn *in)
{
	cpu_raise(cpu, VEC_DB);
	cpu->exc.trap = true;
	return INSN_FAULT;
}

/* ---- bases ---- */

enum insn_result exec_swapgs(struct cpu *cpu, const struct insn *in)
{
	uint64_t gs = cpu->seg[HV_GS].base;

	if (cpu->cpl != 0)
		return fault(cpu, VEC_GP, 0);
	cpu->seg[HV_GS].base = cpu->seg_base[HV_GS] = cpu->kernel_gs_base;
	cpu->kernel_gs_base = gs;
	return INSN_DONE;
}

enum insn_result exec_fsgsbase(struct cpu *cpu, const struct insn *in)
{
	unsigned op = in->modrm >> 3 & 7;
	enum hv_seg seg = op & 1 ? HV_GS : HV_FS;
	uint64_t val;

	if (!(cpu->cr4 & CR4_FSGSBASE))
		return ud(cpu);
	if (op < 2) {
		reg_write(cpu, in, in->rm, in->op_size, cpu->seg[seg].base);
		return INSN_DONE;
	}
	val = reg_read(cpu, in, in->rm, in->op_size);
	if (!mmu_canonical(val))
		return fault(cpu, VEC_GP, 0);
	cpu->seg[seg].base = cpu->seg_base[seg] = val;
	return INSN_DONE;
}
