/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Specialised handlers of the system instructions that every system call of a 64-bit kernel runs.
 * They leave lazy flags lazy. Whatever raises, or has more to it, goes the general way.
 */
#include "soft/clock.h"
#include "soft/desc.h"
#include "soft/exec.h"
#include "soft/interp/fast.h"

#define IOPL(cpu) (((cpu)->rflags & FL_IOPL) >> 12)

HANDLER(cli)
{
	if (unlikely(cpu->cpl > IOPL(cpu)))
		return op_slow(cpu, op);
	cpu->rflags &= ~FL_IF;
	NEXT;
}

/* As exec_sti(): with nothing pending, only HLT can tell the shadow. */
HANDLER(sti)
{
	const struct op *next = op + 1;

	if (unlikely(cpu->cpl > IOPL(cpu) || !op->left ||
		     (next->fn == op_general && next->insn->exec == exec_hlt) ||
		     atomic_load_explicit(&cpu->events, memory_order_acquire)))
		return op_slow(cpu, op);
	cpu->rflags |= FL_IF;
	NEXT;
}

HANDLER(pushf_64)
{
	uint64_t va = cpu->gpr[HV_RSP] - 8;
	WRITE_PTR(p, va, 3);

	host_set(3, p, flags_sync(cpu) & ~(FL_VM | FL_RF));
	cpu->gpr[HV_RSP] = va;
	NEXT;
}

FAST const struct op *set_ac(struct cpu *cpu, const struct op *op, uint32_t ac)
{
	if (unlikely(cpu->cpl != 0))
		return op_slow(cpu, op);
	cpu->rflags = (cpu->rflags & ~FL_AC) | ac;
	mmu_mode_changed(cpu);
	NEXT;
}

HANDLER(clac)
{
	return set_ac(cpu, op, 0);
}

HANDLER(stac)
{
	return set_ac(cpu, op, FL_AC);
}

HANDLER(swapgs)
{
	uint64_t gs = cpu->seg[HV_GS].base;

	if (unlikely(cpu->cpl != 0))
		return op_slow(cpu, op);
	cpu->seg[HV_GS].base = cpu->seg_base[HV_GS] = cpu->kernel_gs_base;
	cpu->kernel_gs_base = gs;
	NEXT;
}

FAST const struct op *read_tsc(struct cpu *cpu, const struct op *op, bool aux)
{
	uint64_t tsc;

	if (unlikely((cpu->cr4 & CR4_TSD) && cpu->cpl != 0))
		return op_slow(cpu, op);
	tsc = cpu_tsc(cpu);
	cpu->gpr[HV_RAX] = (uint32_t)tsc;
	cpu->gpr[HV_RDX] = tsc >> 32;
	if (aux)
		cpu->gpr[HV_RCX] = (uint32_t)cpu->tsc_aux;
	NEXT;
}

HANDLER(rdtsc)
{
	return read_tsc(cpu, op, false);
}

HANDLER(rdtscp)
{
	return read_tsc(cpu, op, true);
}

/* As exec_syscall() and exec_sysret() between 64-bit code. */
HANDLER(syscall_64)
{
	uint16_t cs = (uint16_t)(cpu->star >> 32) & 0xfffc;
	uint32_t fl;

	if (unlikely(!(cpu->efer & EFER_SCE) || (cpu->dr7 & 0xff)))
		return op_slow(cpu, op);
	fl = flags_sync(cpu) & ~FL_RF;
	cpu->gpr[HV_RCX] = cpu->page_va + op->off + op->len;
	cpu->gpr[HV_R11] = fl;
	cpu->rflags = (fl & ~(uint32_t)cpu->sfmask) | FL_ONE;
	cpu_enter_flat64(cpu, cs, (uint16_t)(cs + 8), 0);
	return op_jump(cpu, cpu->lstar);
}

HANDLER(sysret_64)
{
	uint16_t base = (uint16_t)(cpu->star >> 48) & 0xfffc;
	uint32_t fl = ((uint32_t)cpu->gpr[HV_R11] & 0x3c7fd7) | FL_ONE;

	if (unlikely(!(cpu->efer & EFER_SCE) || cpu->cpl != 0 || (cpu->dr7 & 0xff) ||
		     (fl & (FL_TF | FL_RF)) ||
		     atomic_load_explicit(&cpu->events, memory_order_acquire)))
		return op_slow(cpu, op);
	cpu->rflags = fl;
	cpu->cc.op = CC_EXPLICIT;
	cpu_enter_flat64(cpu, (uint16_t)((base + 16) | 3), (uint16_t)((base + 8) | 3), 3);
	return op_jump(cpu, cpu->gpr[HV_RCX]);
}

op_fn fast_system(const struct insn *in)
{
	static const struct {
		insn_exec_fn exec;
		op_fn fn;
	} table[] = {
		{ exec_cli, cli },	 { exec_sti, sti },
		{ exec_clac, clac },	 { exec_stac, stac },
		{ exec_swapgs, swapgs }, { exec_rdtsc, rdtsc },
		{ exec_rdtscp, rdtscp }, { exec_syscall, syscall_64 },
	};

	if (in->exec == exec_pushf)
		return in->op_size == 8 ? pushf_64 : NULL;
	if (in->exec == exec_sysret)
		return in->op_size == 8 ? sysret_64 : NULL;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (in->exec == table[i].exec)
			return table[i].fn;
	return NULL;
}
