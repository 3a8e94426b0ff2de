/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt flag, AC, cache and TLB instructions, HLT, hypercalls. */
#include "soft/desc.h"

#include <sched.h>

#include "soft/exec.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"

#define PAUSES_TO_YIELD 32

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

static unsigned iopl(const struct cpu *cpu)
{
	return (cpu->rflags & FL_IOPL) >> 12;
}

/* ---- flags ---- */

enum insn_result exec_cli(struct cpu *cpu, const struct insn *in)
{
	if (cpu->cpl > iopl(cpu))
		return gp(cpu);
	cpu->rflags &= ~FL_IF;
	return INSN_DONE;
}

/* Whether the instruction behind this one is surely not HLT. */
static bool next_is_no_hlt(struct cpu *cpu)
{
	const struct tlb_entry *e = tlb_slot(cpu, cpu->next_rip);

	return cpu_is_64bit(cpu) && tlb_hit(cpu->next_rip, e->tag_x, 1) &&
	       *(const uint8_t *)tlb_host(e, cpu->next_rip) != 0xf4;
}

/*
 * With nothing pending the shadow makes a difference to HLT only: what arrives between the two must
 * wake it. Else any moment from here on is as good for an interrupt as one instruction later.
 */
enum insn_result exec_sti(struct cpu *cpu, const struct insn *in)
{
	bool pending = atomic_load_explicit(&cpu->events, memory_order_acquire);

	if (cpu->cpl > iopl(cpu))
		return gp(cpu);
	if (cpu->rflags & FL_IF)
		return INSN_DONE;
	cpu->rflags |= FL_IF;
	if (!pending && next_is_no_hlt(cpu))
		return INSN_DONE;
	cpu->shadow = 1; /* until soft.c, looking at events, has run one more instruction */
	if (pending)
		cpu_attention(cpu);
	return INSN_STOP;
}

enum insn_result exec_pushf(struct cpu *cpu, const struct insn *in)
{
	if (cpu_vm86_denied(cpu))
		return gp(cpu);
	return stack_push(cpu, in->op_size, cpu->rflags & ~(FL_VM | FL_RF)) ? INSN_DONE
									    : INSN_FAULT;
}

enum insn_result exec_popf(struct cpu *cpu, const struct insn *in)
{
	uint64_t sp = cpu->gpr[HV_RSP], val;
	uint32_t old = cpu->rflags;

	if (cpu_vm86_denied(cpu))
		return gp(cpu);
	if (!stack_read(cpu, sp, in->op_size, &val))
		return INSN_FAULT;
	stack_set(cpu, sp + in->op_size);
	cpu_load_flags(cpu, val, in->op_size, cpu->cpl, false);
	return (old ^ cpu->rflags) & ~(FL_ARITH | FL_DF | FL_ID) ? INSN_STOP : INSN_DONE;
}

static enum insn_result set_ac(struct cpu *cpu, uint32_t ac)
{
	if (cpu->cpl != 0)
		return ud(cpu);
	cpu->rflags = (cpu->rflags & ~FL_AC) | ac;
	mmu_mode_changed(cpu);
	return INSN_DONE;
}

enum insn_result exec_clac(struct cpu *cpu, const struct insn *in)
{
	return set_ac(cpu, 0);
}

enum insn_result exec_stac(struct cpu *cpu, const struct insn *in)
{
	return set_ac(cpu, FL_AC);
}

/* ---- PAUSE, HLT and what a hypervisor would take ---- */

/*
 * A spinning vCPU may wait for one whose host thread has no processor: let that one run. The
 * counter is not reset by other code, so this is now and then for short waits, and often for long
 * ones.
 */
enum insn_result exec_pause(struct cpu *cpu, const struct insn *in)
{
	if (cpu->vm->n_cpus > 1 && ++cpu->n_pauses >= PAUSES_TO_YIELD) {
		cpu->n_pauses = 0;
		sched_yield();
	}
	return INSN_DONE;
}

enum insn_result exec_hlt(struct cpu *cpu, const struct insn *in)
{
	if (cpu->cpl != 0)
		return gp(cpu);
	cpu->halted = true;
	cpu->shadow = 0;
	cpu_attention(cpu);
	return INSN_STOP;
}

/* KVM's hypercalls: none is advertised, so each is refused as KVM refuses an unknown one. */
enum insn_result exec_vmcall(struct cpu *cpu, const struct insn *in)
{
	if (cpu->cpl != 0)
		cpu->gpr[HV_RAX] = (uint64_t)-1; /* -KVM_EPERM */
	else
		cpu->gpr[HV_RAX] = (uint64_t)-1000; /* -KVM_ENOSYS */
	return INSN_DONE;
}

enum insn_result exec_monitor(struct cpu *cpu, const struct insn *in)
{
	return ud(cpu);
}

enum insn_result exec_mwait(struct cpu *cpu, const struct insn *in)
{
	return ud(cpu);
}

/* ---- caches: there are none to speak of ---- */

enum insn_result exec_invd(struct cpu *cpu, const struct insn *in)
{
	return cpu->cpl != 0 ? gp(cpu) : INSN_DONE;
}

enum insn_result exec_wbinvd(struct cpu *cpu, const struct insn *in)
{
	return cpu->cpl != 0 ? gp(cpu) : INSN_DONE;
}

enum insn_result exec_clflush(struct cpu *cpu, const struct insn *in)
{
	uint64_t val;

	/* It faults like a read of one byte. */
	return mem_read(cpu, in->seg, insn_ea(cpu, in), 1, &val) ? INSN_DONE : INSN_FAULT;
}

/* ---- TLB ---- */

enum insn_result exec_invlpg(struct cpu *cpu, const struct insn *in)
{
	uint64_t ea = insn_ea(cpu, in), va;

	if (cpu->cpl != 0)
		return gp(cpu);
	va = ea + cpu->seg_base[in->seg];
	if (cpu->mode != CPU_LONG64)
		va = (uint32_t)va;
	mmu_invlpg(cpu, va);
	return INSN_STOP;
}

enum insn_result exec_invpcid(struct cpu *cpu, const struct insn *in)
{
	uint64_t type = reg_read(cpu, in, in->reg, cpu->mode == CPU_LONG64 ? 8 : 4);
	uint64_t desc[2];

	if (cpu->cpl != 0)
		return gp(cpu);
	if (!mem_read_buf(cpu, in->seg, insn_ea(cpu, in), 16, desc))
		return INSN_FAULT;
	if (type > 3 || (type < 2 && (desc[0] >> 12)))
		return gp(cpu);
	if (type < 2 && !(cpu->cr4 & CR4_PCIDE) && (desc[0] & 0xfff))
		return gp(cpu);
	if (type == 0 && !mmu_canonical(desc[1]))
		return gp(cpu);
	switch (type) {
	case 0: mmu_invpcid_addr(cpu, desc[0] & 0xfff, desc[1]); break;
	case 1: mmu_invpcid_single(cpu, desc[0] & 0xfff); break;
	case 2: mmu_flush_all(cpu, true); break;
	default: mmu_flush_all(cpu, false); break;
	}
	return INSN_STOP;
}
