/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87: control instructions in C on the FXSAVE image, arithmetic by host stubs.
 *
 * The instruction and data pointers of the image are always the guest's own: control instructions
 * that store or load them never run on the host, and after each stub they are set here. An unmasked
 * exception waits in FSW.ES until the next waiting instruction raises #MF; CR0.NE is not asked, as
 * nothing here has the external error line of old. Ref: Intel SDM 1 chapter 8; AMD APM 1 chapter 6.
 */
#include "soft/stub.h"

#include "base/checked.h"
#include "soft/exec.h"
#include "soft/interp/operand.h"
#include "soft/mmu.h"

#define FCW_INIT     0x037f
#define FCW_WRITABLE 0x1f3f

static unsigned fsw(const struct cpu *cpu)
{
	return le16_load(cpu->fx + FX_FSW);
}

static unsigned fcw(const struct cpu *cpu)
{
	return le16_load(cpu->fx + FX_FCW);
}

/* ES and B follow from flags and masks. */
static void update_es(struct cpu *cpu)
{
	unsigned sw = fsw(cpu) & ~(unsigned)(FSW_ES | FSW_B);

	if (sw & ~fcw(cpu) & FSW_EXC)
		sw |= FSW_ES | FSW_B;
	le16_store(cpu->fx + FX_FSW, (uint16_t)sw);
}

bool fx_pending_mf(struct cpu *cpu)
{
	if (!(fsw(cpu) & FSW_ES))
		return false;
	cpu_raise(cpu, VEC_MF);
	return true;
}

/* Rotate the registers so that slot 0 is physical register 0, which makes TOP 0. */
void fx_top_to_zero(struct cpu *cpu)
{
	unsigned top = (fsw(cpu) & FSW_TOP) >> 11;
	uint8_t tmp[128];

	if (!top)
		return;
	memcpy(tmp, cpu->fx + FX_ST, 128);
	for (unsigned i = 0; i < 8; i++)
		memcpy(cpu->fx + FX_ST + 16 * ((i + top) & 7), tmp + 16 * i, 16);
	le16_store(cpu->fx + FX_FSW, (uint16_t)(fsw(cpu) & ~(unsigned)FSW_TOP));
}

void fx_enter_mmx(struct cpu *cpu)
{
	fx_top_to_zero(cpu);
	cpu->fx[FX_FTW] = 0xff;
}

static void do_fninit(struct cpu *cpu)
{
	fx_top_to_zero(cpu);
	le16_store(cpu->fx + FX_FCW, FCW_INIT);
	le16_store(cpu->fx + FX_FSW, 0);
	cpu->fx[FX_FTW] = 0;
	memset(cpu->fx + FX_FOP, 0, FX_MXCSR - FX_FOP);
}

/* ---- environment images ---- */

/* Two-bit tag of physical register @phys. */
static unsigned full_tag(const struct cpu *cpu, unsigned phys)
{
	const uint8_t *st = cpu->fx + FX_ST + 16 * ((phys - ((fsw(cpu) & FSW_TOP) >> 11)) & 7);
	unsigned exp = le16_load(st + 8) & 0x7fff;
	uint64_t man = le64_load(st);

	if (!(cpu->fx[FX_FTW] & (1U << phys)))
		return 3;
	if (exp == 0 && man == 0)
		return 1;
	return exp == 0x7fff || exp == 0 || !(man >> 63) ? 2 : 0;
}

static unsigned full_tags(const struct cpu *cpu)
{
	unsigned tags = 0;

	for (unsigned i = 0; i < 8; i++)
		tags |= full_tag(cpu, i) << (2 * i);
	return tags;
}

/* 14 or 28 bytes, protected-mode form (real mode packs the pointers differently; selectors are 0).
 */
static unsigned env_build(const struct cpu *cpu, unsigned op_size, uint8_t *buf)
{
	unsigned w = op_size == 2 ? 2 : 4;
	const uint32_t vals[7] = {
		fcw(cpu),
		fsw(cpu),
		full_tags(cpu),
		le32_load(cpu->fx + FX_FIP),
		(uint32_t)(le16_load(cpu->fx + FX_FOP) & 0x7ff) << 16,
		le32_load(cpu->fx + FX_FDP),
		0,
	};

	for (unsigned i = 0; i < 7; i++) {
		/* unused upper halves read as ones */
		uint32_t v = w == 4 && (i < 3 || i == 6) ? vals[i] | 0xffff0000 : vals[i];

		memcpy(buf + i * w, &v, w);
	}
	return 7 * w;
}

static void env_load(struct cpu *cpu, unsigned op_size, const uint8_t *buf)
{
	unsigned w = op_size == 2 ? 2 : 4, tags;
	uint32_t vals[7] = { 0 };

	for (unsigned i = 0; i < 7; i++)
		memcpy(&vals[i], buf + i * w, w);
	le16_store(cpu->fx + FX_FCW, (uint16_t)((vals[0] & FCW_WRITABLE) | 0x40));
	le16_store(cpu->fx + FX_FSW, (uint16_t)vals[1]);
	tags = vals[2];
	cpu->fx[FX_FTW] = 0;
	for (unsigned i = 0; i < 8; i++) {
		if ((tags >> (2 * i) & 3) != 3)
			cpu->fx[FX_FTW] |= (uint8_t)(1U << i);
	}
	le64_store(cpu->fx + FX_FIP, vals[3]);
	le16_store(cpu->fx + FX_FOP, (uint16_t)(vals[4] >> 16 & 0x7ff));
	le64_store(cpu->fx + FX_FDP, vals[5]);
	update_es(cpu);
}

/* All @n bytes, or none: the last part is written first. */
static bool put(struct cpu *cpu, const struct insn *in, const uint8_t *buf, unsigned n)
{
	uint64_t ea = insn_ea(cpu, in);

	for (unsigned end = n; end > 0;) {
		unsigned len = end > 64 ? 64 : end, from = end - len;

		if (!mem_write_buf(cpu, in->seg, ea + from, len, buf + from))
			return false;
		end = from;
	}
	return true;
}

static bool get(struct cpu *cpu, const struct insn *in, uint8_t *buf, unsigned n)
{
	uint64_t ea = insn_ea(cpu, in);

	for (unsigned off = 0; off < n; off += 64) {
		unsigned len = n - off < 64 ? n - off : 64;

		if (!mem_read_buf(cpu, in->seg, ea + off, len, buf + off))
			return false;
	}
	return true;
}

static enum insn_result do_fnstenv(struct cpu *cpu, const struct insn *in)
{
	uint8_t buf[28];
	unsigned n = env_build(cpu, in->op_size, buf);

	if (!put(cpu, in, buf, n))
		return INSN_FAULT;
	le16_store(cpu->fx + FX_FCW, (uint16_t)(fcw(cpu) | FSW_EXC)); /* masks all */
	update_es(cpu);
	return INSN_DONE;
}

static enum insn_result do_fldenv(struct cpu *cpu, const struct insn *in)
{
	uint8_t buf[28];

	if (!get(cpu, in, buf, in->op_size == 2 ? 14 : 28))
		return INSN_FAULT;
	unsigned old_top = (fsw(cpu) & FSW_TOP) >> 11;
	uint8_t st[128], tmp[128];

	/* Registers stay where they are physically, the image is by stack position. */
	memcpy(st, cpu->fx + FX_ST, 128);
	env_load(cpu, in->op_size, buf);
	for (unsigned i = 0; i < 8; i++)
		memcpy(tmp + 16 * ((i + old_top) & 7), st + 16 * i, 16);
	for (unsigned i = 0; i < 8; i++)
		memcpy(cpu->fx + FX_ST + 16 * i,
		       tmp + 16 * ((i + ((fsw(cpu) & FSW_TOP) >> 11)) & 7), 16);
	return INSN_DONE;
}

static enum insn_result do_fnsave(struct cpu *cpu, const struct insn *in)
{
	uint8_t buf[108];
	unsigned n = env_build(cpu, in->op_size, buf);

	for (unsigned i = 0; i < 8; i++, n += 10)
		memcpy(buf + n, cpu->fx + FX_ST + 16 * i, 10);
	if (!put(cpu, in, buf, n))
		return INSN_FAULT;
	do_fninit(cpu);
	return INSN_DONE;
}

static enum insn_result do_frstor(struct cpu *cpu, const struct insn *in)
{
	unsigned env = in->op_size == 2 ? 14 : 28;
	uint8_t buf[108];

	if (!get(cpu, in, buf, env + 80))
		return INSN_FAULT;
	env_load(cpu, in->op_size, buf);
	for (unsigned i = 0; i < 8; i++)
		memcpy(cpu->fx + FX_ST + 16 * i, buf + env + 10 * i, 10);
	return INSN_DONE;
}

/* ---- control instructions ---- */

enum x87_control {
	X87_ARITH,
	X87_FNINIT,
	X87_FNCLEX,
	X87_FNSTSW,
	X87_FNSTSW_AX,
	X87_FNSTCW,
	X87_FNSTENV,
	X87_FNSAVE,
	X87_FLDCW,
	X87_FLDENV,
	X87_FRSTOR,
	X87_NOP,
};

static enum x87_control classify(const struct insn *in)
{
	unsigned esc = in->opcode & 7, reg = in->modrm >> 3 & 7;

	if (in->mod == 3) {
		if (esc == 3 && in->modrm == 0xe3)
			return X87_FNINIT;
		if (esc == 3 && in->modrm == 0xe2)
			return X87_FNCLEX;
		if (esc == 3 && (in->modrm == 0xe0 || in->modrm == 0xe1 || in->modrm == 0xe4))
			return X87_NOP; /* FENI, FDISI, FSETPM */
		return esc == 7 && in->modrm == 0xe0 ? X87_FNSTSW_AX : X87_ARITH;
	}
	if (esc == 1 && reg >= 4)
		return reg == 4	  ? X87_FLDENV
		       : reg == 5 ? X87_FLDCW
		       : reg == 6 ? X87_FNSTENV
				  : X87_FNSTCW;
	if (esc == 5 && (reg == 4 || reg >= 6))
		return reg == 4 ? X87_FRSTOR : reg == 6 ? X87_FNSAVE : X87_FNSTSW;
	return X87_ARITH;
}

static bool is_waiting(enum x87_control c)
{
	return c == X87_ARITH || c == X87_FLDCW || c == X87_FLDENV || c == X87_FRSTOR;
}

static enum insn_result do_fldcw(struct cpu *cpu, const struct insn *in)
{
	uint64_t val;

	if (!rm_read(cpu, in, 2, &val))
		return INSN_FAULT;
	le16_store(cpu->fx + FX_FCW, (uint16_t)((val & FCW_WRITABLE) | 0x40));
	update_es(cpu);
	return INSN_DONE;
}

static enum insn_result store16(struct cpu *cpu, const struct insn *in, unsigned val)
{
	return rm_write(cpu, in, 2, val) ? INSN_DONE : INSN_FAULT;
}

/* ---- arithmetic ---- */

static void set_pointers(struct cpu *cpu, const struct insn *in)
{
	le16_store(cpu->fx + FX_FOP, (uint16_t)((in->opcode & 7) << 8 | in->modrm));
	le64_store(cpu->fx + FX_FIP, cpu->rip);
	if (insn_is_mem(in))
		le64_store(cpu->fx + FX_FDP, insn_ea(cpu, in));
}

/* The operand must be writable, and faults as a write does. */
static bool check_store(struct cpu *cpu, const struct insn *in)
{
	uint64_t va;

	if (!seg_linear(cpu, in->seg, insn_ea(cpu, in), in->mem_size, true, &va))
		return false;
	mmu_rmw_slow(cpu, va, in->mem_size);
	if (!cpu->exc.pending)
		return true;
	if (cpu->exc.noncanonical && in->seg == HV_SS)
		cpu->exc.vector = VEC_SS;
	return false;
}

static enum insn_result arith(struct cpu *cpu, const struct insn *in)
{
	_Alignas(16) uint8_t buf[16] = { 0 };
	_Alignas(16) uint8_t fx[512];
	unsigned uses = stub_uses(in);
	bool store = insn_is_mem(in) && (in->mem_rw & INSN_MEM_W);
	uint64_t fip = le64_load(cpu->fx + FX_FIP), fdp = le64_load(cpu->fx + FX_FDP);
	struct stub_regs r = { .mxcsr_host = MXCSR_MASKS,
			       .flags = (cpu->rflags & FL_ARITH) | FL_ONE | FL_IF };

	/* A store that an unmasked exception keeps from happening leaves what is there. */
	if (store && !check_store(cpu, in))
		return INSN_FAULT;
	if (insn_is_mem(in) && !mem_read_buf(cpu, in->seg, insn_ea(cpu, in), in->mem_size, buf))
		return INSN_FAULT;
	mxcsr_sync(cpu);
	memcpy(fx, cpu->fx, sizeof(fx));
	stub_get(cpu, in, uses)(fx, buf, &r);
	if (store && !mem_write_buf(cpu, in->seg, insn_ea(cpu, in), in->mem_size, buf))
		return INSN_FAULT;
	memcpy(cpu->fx, fx, sizeof(fx));
	le64_store(cpu->fx + FX_FIP, fip);
	le64_store(cpu->fx + FX_FDP, fdp);
	set_pointers(cpu, in);
	if (uses & STUB_FLAGS_OUT)
		set_arith(cpu, FL_ARITH, (uint32_t)r.flags);
	return INSN_DONE;
}

enum insn_result exec_x87(struct cpu *cpu, const struct insn *in)
{
	enum x87_control c = classify(in);

	if (cpu->cr0 & (CR0_EM | CR0_TS)) {
		cpu_raise(cpu, VEC_NM);
		return INSN_FAULT;
	}
	if (is_waiting(c) && fx_pending_mf(cpu))
		return INSN_FAULT;
	switch (c) {
	case X87_FNINIT: do_fninit(cpu); return INSN_DONE;
	case X87_FNCLEX:
		le16_store(cpu->fx + FX_FSW, (uint16_t)(fsw(cpu) & 0x7f00));
		return INSN_DONE;
	case X87_FNSTSW_AX: reg_write(cpu, in, HV_RAX, 2, fsw(cpu)); return INSN_DONE;
	case X87_FNSTSW: return store16(cpu, in, fsw(cpu));
	case X87_FNSTCW: return store16(cpu, in, fcw(cpu));
	case X87_FNSTENV: return do_fnstenv(cpu, in);
	case X87_FNSAVE: return do_fnsave(cpu, in);
	case X87_FLDCW: return do_fldcw(cpu, in);
	case X87_FLDENV: return do_fldenv(cpu, in);
	case X87_FRSTOR: return do_frstor(cpu, in);
	case X87_NOP: return INSN_DONE;
	case X87_ARITH: break;
	}
	return arith(cpu, in);
}

enum insn_result exec_fwait(struct cpu *cpu, const struct insn *in)
{
	if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) {
		cpu_raise(cpu, VEC_NM);
		return INSN_FAULT;
	}
	return fx_pending_mf(cpu) ? INSN_FAULT : INSN_DONE;
}
