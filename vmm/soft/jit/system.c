/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates: the system instructions of every system call, as interp/fast_system.c has them.
 * Whatever would raise, or has more to it, goes to the handler before anything has changed.
 */
#include "soft/clock.h"
#include "soft/exec.h"
#include "soft/jit/jit_priv.h"
#include "soft/mmu.h"

/* OP dword [rdi + disp], imm: digit of group 1. */
static void alu_cpu(struct jit *j, unsigned digit, int32_t disp, uint32_t imm)
{
	emit8(&j->e, 0x81);
	emit_mem(&j->e, digit, RDI, disp);
	emit32(&j->e, imm);
	j->flags_live = false;
}

static void kernel_only(struct jit *j)
{
	emit8(&j->e, 0x80); /* cmp byte [rdi + cpl], 0 */
	emit_mem(&j->e, 7, RDI, CPU_DISP(cpl));
	emit8(&j->e, 0);
	jit_exit_to(j, COND_NE, JIT_HANDLER);
	j->flags_live = false;
}

static void set_rflags(struct jit *j, uint32_t bit, bool to)
{
	alu_cpu(j, to ? 1 : 4, CPU_DISP(rflags), to ? bit : ~bit);
}

static bool sti(struct jit *j)
{
	if (j->i + 1 >= j->n || j->in[j->i + 1].exec == exec_hlt)
		return false;
	kernel_only(j);
	alu_cpu(j, 7, CPU_DISP(events), 0);
	jit_exit_to(j, COND_NE, JIT_HANDLER);
	set_rflags(j, FL_IF, true);
	return true;
}

static bool set_ac(struct jit *j, bool to)
{
	kernel_only(j);
	set_rflags(j, FL_AC, to);
	jit_call(j, (uintptr_t)mmu_mode_changed);
	jit_drop_windows(j);
	return true;
}

static bool swapgs(struct jit *j)
{
	struct emit *e = &j->e;

	kernel_only(j);
	emit_rm(e, 3, 0x8b, RAX, RDI, CPU_DISP(seg[HV_GS].base));
	emit_rm(e, 3, 0x8b, RCX, RDI, CPU_DISP(kernel_gs_base));
	emit_rm(e, 3, 0x89, RAX, RDI, CPU_DISP(kernel_gs_base));
	emit_rm(e, 3, 0x89, RCX, RDI, CPU_DISP(seg[HV_GS].base));
	emit_rm(e, 3, 0x89, RCX, RDI, CPU_DISP(seg_base[HV_GS]));
	return true;
}

static void read_tsc(struct cpu *cpu)
{
	uint64_t tsc = cpu_tsc(cpu);

	cpu->gpr[HV_RAX] = (uint32_t)tsc;
	cpu->gpr[HV_RDX] = tsc >> 32;
}

static bool rdtsc(struct jit *j)
{
	emit8(&j->e, 0xf7); /* test dword [rdi + cr4], TSD */
	emit_mem(&j->e, 0, RDI, CPU_DISP(cr4));
	emit32(&j->e, CR4_TSD);
	jit_exit_to(j, COND_NE, JIT_HANDLER);
	jit_call(j, (uintptr_t)read_tsc);
	jit_drop(j, HV_RAX);
	jit_drop(j, HV_RDX);
	return true;
}

static bool pushf(struct jit *j, const struct insn *in)
{
	unsigned sp;

	if (in->op_size != 8)
		return false;
	jit_call(j, (uintptr_t)flags_sync);
	j->cc = j->guess = CC_EXPLICIT;
	emit_rr(&j->e, 2, 0x8b, RBX, RAX);
	emit_alu_imm(&j->e, 2, 4, RBX, (int32_t) ~(FL_VM | FL_RF));
	sp = jit_push_address(j);
	emit_rm(&j->e, 3, 0x89, RBX, RAX, 0);
	jit_move_sp(j, sp, -8);
	return true;
}

bool jit_system(struct jit *j, const struct insn *in)
{
	if (in->exec == exec_cli) {
		kernel_only(j);
		set_rflags(j, FL_IF, false);
		return true;
	}
	if (in->exec == exec_sti)
		return sti(j);
	if (in->exec == exec_clac || in->exec == exec_stac)
		return set_ac(j, in->exec == exec_stac);
	if (in->exec == exec_swapgs)
		return swapgs(j);
	if (in->exec == exec_rdtsc)
		return rdtsc(j);
	return in->exec == exec_pushf && pushf(j, in);
}
