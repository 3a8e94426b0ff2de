/* SPDX-License-Identifier: Apache-2.0 */
/* General implementations: near branches. */
#include "soft/exec.h"

#include "soft/decode.h"
#include "soft/flags.h"
#include "soft/interp/operand.h"

static enum insn_result branch(struct cpu *cpu, uint64_t rip, unsigned size)
{
	if (!branch_check(cpu, &rip, size))
		return INSN_FAULT;
	cpu->rip = rip;
	return INSN_BRANCH;
}

enum insn_result exec_jmp(struct cpu *cpu, const struct insn *in)
{
	uint64_t target = cpu->next_rip + in->imm;

	if (in->form == FORM_RM && !rm_read(cpu, in, in->op_size, &target))
		return INSN_FAULT;
	return branch(cpu, target, in->op_size);
}

enum insn_result exec_jcc(struct cpu *cpu, const struct insn *in)
{
	if (!fl_cond(cpu->rflags, in->opcode & 15))
		return INSN_DONE;
	return branch(cpu, cpu->next_rip + in->imm, in->op_size);
}

enum insn_result exec_call(struct cpu *cpu, const struct insn *in)
{
	uint64_t target = cpu->next_rip + in->imm;

	if (in->form == FORM_RM && !rm_read(cpu, in, in->op_size, &target))
		return INSN_FAULT;
	/* a bad stack comes before a bad target */
	if (!stack_probe(cpu, cpu->gpr[HV_RSP] - in->op_size, in->op_size) ||
	    !branch_check(cpu, &target, in->op_size) ||
	    !stack_push(cpu, in->op_size, cpu->next_rip))
		return INSN_FAULT;
	cpu->rip = target;
	return INSN_BRANCH;
}

enum insn_result exec_ret(struct cpu *cpu, const struct insn *in)
{
	uint64_t sp = cpu->gpr[HV_RSP], target;

	if (!stack_read(cpu, sp, in->op_size, &target) || !branch_check(cpu, &target, in->op_size))
		return INSN_FAULT;
	stack_set(cpu, sp + in->op_size + in->imm);
	cpu->rip = target;
	return INSN_BRANCH;
}

enum insn_result exec_loop(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->addr_size;
	uint64_t count = cpu->gpr[HV_RCX] & size_mask(size), target = cpu->next_rip + in->imm;
	bool taken;

	if (in->opcode == 0xe3) {
		taken = count == 0;
	} else {
		count = (count - 1) & size_mask(size);
		taken = count != 0;
		if (in->opcode != 0xe2)
			taken = taken && !(cpu->rflags & FL_ZF) == (in->opcode == 0xe0);
	}
	if (taken && !branch_check(cpu, &target, in->op_size))
		return INSN_FAULT;
	if (in->opcode != 0xe3)
		reg_write(cpu, in, HV_RCX, size, count);
	if (!taken)
		return INSN_DONE;
	cpu->rip = target;
	return INSN_BRANCH;
}
