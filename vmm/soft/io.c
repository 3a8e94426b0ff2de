/* SPDX-License-Identifier: Apache-2.0 */
/* Port I/O: IN, OUT, INS, OUTS, with the permission bitmap. Ref: Intel SDM 1 chapter 19. */
#include "soft/desc.h"

#include "devices/pic.h"
#include "soft/exec.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"

#define TSS_IOMAP_BASE 0x66
#define REP_CHUNK      256 /* iterations before events are looked at */

static bool deny(struct cpu *cpu)
{
	cpu_raise_err(cpu, VEC_GP, 0);
	return false;
}

static bool io_allowed(struct cpu *cpu, uint16_t port, unsigned size)
{
	const struct hv_segment *tr = &cpu->seg[HV_TR];
	uint16_t base, bits;
	uint32_t off;

	/* In virtual-8086 mode IOPL does not count. */
	if (cpu->mode != CPU_VM86 && cpu->cpl <= (cpu->rflags & FL_IOPL) >> 12)
		return true;
	if ((tr->attr & HV_SEG_UNUSABLE) || (tr->attr & HV_SEG_TYPE) < DESC_TSS32 ||
	    tr->limit < TSS_IOMAP_BASE + 1)
		return deny(cpu);
	if (!mmu_sys_read(cpu, tr->base + TSS_IOMAP_BASE, &base, 2))
		return false;
	off = (uint32_t)base + port / 8;
	if (off + 1 > tr->limit)
		return deny(cpu);
	if (!mmu_sys_read(cpu, tr->base + off, &bits, 2))
		return false;
	if ((bits >> (port % 8)) & ((1U << size) - 1))
		return deny(cpu);
	return true;
}

/* I/O breakpoints: DR7.RW 2 with CR4.DE. */
static void io_watch(struct cpu *cpu, uint16_t port, unsigned size)
{
	static const uint8_t lens[4] = { 1, 2, 8, 4 };

	if (likely(!(cpu->dr7 & 0xff)) || !(cpu->cr4 & CR4_DE))
		return;
	for (unsigned i = 0; i < 4; i++) {
		unsigned len = lens[cpu->dr7 >> (18 + 4 * i) & 3];
		uint64_t start = cpu->dr[i] & ~(uint64_t)(len - 1);

		if ((cpu->dr7 >> (2 * i) & 3) && (cpu->dr7 >> (16 + 4 * i) & 3) == 2 &&
		    port < start + len && start < (uint64_t)port + size)
			cpu->db_pending |= 1U << i;
	}
}

static uint64_t port_in(struct cpu *cpu, uint16_t port, unsigned size)
{
	const struct hv_vm_config *c = &cpu->vm->config;

	cpu->stats.n_io++;
	io_watch(cpu, port, size);
	if (pic_has_port(port))
		return size == 1 ? pic_io_read(cpu->vm->pic, port) : size_mask(size);
	return c->bus->io_read(c->bus_opaque, port, size) & size_mask(size);
}

static void port_out(struct cpu *cpu, uint16_t port, unsigned size, uint64_t val)
{
	const struct hv_vm_config *c = &cpu->vm->config;

	cpu->stats.n_io++;
	io_watch(cpu, port, size);
	if (pic_has_port(port))
		pic_io_write(cpu->vm->pic, port, (uint8_t)val);
	else
		c->bus->io_write(c->bus_opaque, port, size, val & size_mask(size));
}

static uint16_t port_of(const struct cpu *cpu, const struct insn *in)
{
	return in->opcode & 8 ? (uint16_t)cpu->gpr[HV_RDX] : (uint16_t)in->imm;
}

enum insn_result exec_in(struct cpu *cpu, const struct insn *in)
{
	uint16_t port = port_of(cpu, in);

	if (!io_allowed(cpu, port, in->op_size))
		return INSN_FAULT;
	/* AL, AX or EAX; a byte register here is always AL */
	reg_write(cpu, in, HV_RAX, in->op_size, port_in(cpu, port, in->op_size));
	return INSN_STOP;
}

enum insn_result exec_out(struct cpu *cpu, const struct insn *in)
{
	uint16_t port = port_of(cpu, in);

	if (!io_allowed(cpu, port, in->op_size))
		return INSN_FAULT;
	port_out(cpu, port, in->op_size, cpu->gpr[HV_RAX]);
	return INSN_STOP;
}

/* ---- strings ---- */

static bool has_rep(const struct insn *in)
{
	return in->prefixes & (INSN_PFX_F2 | INSN_PFX_F3);
}

static void reg_add(struct cpu *cpu, unsigned r, unsigned size, int64_t delta)
{
	uint64_t v = cpu->gpr[r] + (uint64_t)delta;

	if (size == 2)
		cpu->gpr[r] = (cpu->gpr[r] & ~0xffffULL) | (v & 0xffff);
	else
		cpu->gpr[r] = size == 4 ? (uint32_t)v : v;
}

/* The destination must be writable before the port is read: reading may have effects. */
static bool check_write(struct cpu *cpu, uint64_t ea, unsigned size)
{
	uint64_t va;

	if (!seg_linear(cpu, HV_ES, ea, size, true, &va))
		return false;
	mmu_rmw_slow(cpu, va, size);
	return !cpu->exc.pending;
}

static bool ins_once(struct cpu *cpu, const struct insn *in, uint16_t port)
{
	uint64_t ea = cpu->gpr[HV_RDI] & size_mask(in->addr_size);

	if (!check_write(cpu, ea, in->op_size))
		return false;
	return mem_write(cpu, HV_ES, ea, in->op_size, port_in(cpu, port, in->op_size));
}

static bool outs_once(struct cpu *cpu, const struct insn *in, uint16_t port)
{
	uint64_t ea = cpu->gpr[HV_RSI] & size_mask(in->addr_size), val;

	if (!mem_read(cpu, in->seg, ea, in->op_size, &val))
		return false;
	port_out(cpu, port, in->op_size, val);
	return true;
}

static enum insn_result string_io(struct cpu *cpu, const struct insn *in, bool input)
{
	int64_t delta = cpu->rflags & FL_DF ? -(int64_t)in->op_size : in->op_size;
	uint16_t port = (uint16_t)cpu->gpr[HV_RDX];
	bool rep = has_rep(in);

	if (!io_allowed(cpu, port, in->op_size))
		return INSN_FAULT;
	for (unsigned n = 0; n < REP_CHUNK; n++) {
		if (rep && (cpu->gpr[HV_RCX] & size_mask(in->addr_size)) == 0)
			return INSN_STOP;
		if (!(input ? ins_once(cpu, in, port) : outs_once(cpu, in, port)))
			return INSN_FAULT;
		reg_add(cpu, input ? HV_RDI : HV_RSI, in->addr_size, delta);
		if (!rep)
			return INSN_STOP;
		reg_add(cpu, HV_RCX, in->addr_size, -1);
	}
	return INSN_REPEAT;
}

enum insn_result exec_ins(struct cpu *cpu, const struct insn *in)
{
	return string_io(cpu, in, true);
}

enum insn_result exec_outs(struct cpu *cpu, const struct insn *in)
{
	return string_io(cpu, in, false);
}
