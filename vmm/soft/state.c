/* SPDX-License-Identifier: Apache-2.0 */
/* The vCPU's architectural state: reset, INIT, SIPI, and exchange with struct hv_vcpu_state. */
#include "soft/vm.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "soft/block.h"
#include "soft/desc.h"
#include "soft/mmu.h"
#include "soft/sys.h"

#define PAT_RESET     0x0007040600070406ULL
#define MXCSR_INIT    0x1f80
#define FCW_INIT      0x037f

#define FX_FCW	      0
#define FX_MXCSR      24
#define FX_MXCSR_MASK 28
#define MXCSR_MASK    0xffffU

/* ---- reset ---- */

static void reset_segments(struct cpu *cpu)
{
	for (unsigned i = 0; i < HV_N_SEG; i++)
		cpu->seg[i] = (struct hv_segment){ .limit = 0xffff, .attr = 0x93 };
	cpu->seg[HV_CS] = (struct hv_segment){
		.base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .attr = 0x9b
	};
	cpu->seg[HV_LDTR].attr = HV_SEG_P | DESC_LDT;
	cpu->seg[HV_TR].attr = HV_SEG_P | DESC_TSS32_BUSY;
	cpu->gdt = cpu->idt = (struct hv_table){ .limit = 0xffff };
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		cpu->seg_base[i] = cpu->seg[i].base;
}

/* What RESET and INIT have in common. */
static void reset_common(struct hv_vcpu *v)
{
	struct cpu *cpu = &v->cpu;
	const struct hv_cpuid *id = cpuid_find(cpu, 1, 0);

	memset(cpu->gpr, 0, sizeof(cpu->gpr));
	cpu->gpr[HV_RDX] = id ? id->eax : 0;
	cpu->rip = 0xfff0;
	cpu->rflags = FL_ONE;
	cpu->cc.op = 0;
	cpu->cr0 = CR0_ET | CR0_NW | CR0_CD;
	cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->efer = 0;
	reset_segments(cpu);
	memset(cpu->dr, 0, sizeof(cpu->dr));
	cpu->dr6 = 0xffff0ff0;
	cpu->dr7 = 0x400;
	cpu->dr_data = 0;
	cpu->db_pending = 0;
	cpu->cpl = 0;
	cpu->halted = false;
	cpu->shadow = 0;
	cpu->nmi_masked = false;
	cpu->exc = (struct cpu_exc){ 0 };
	cpu->mode = CPU_REAL16;
	cpu_mode_update(cpu);
	mmu_paging_changed(cpu);
	apic_base_changed(cpu);
}

void vcpu_reset(struct hv_vcpu *v)
{
	struct cpu *cpu = &v->cpu;

	lapic_reset(&v->lapic, false);
	reset_common(v);
	memset(cpu->fx, 0, sizeof(cpu->fx));
	le16_store(cpu->fx + FX_FCW, FCW_INIT);
	le32_store(cpu->fx + FX_MXCSR, MXCSR_INIT);
	le32_store(cpu->fx + FX_MXCSR_MASK, MXCSR_MASK);
	cpu->pat = PAT_RESET;
	cpu->misc_enable = 1; /* fast strings */
	cpu->mp_state = cpu->id == 0 ? HV_MP_RUNNABLE : HV_MP_WAIT_SIPI;
}

void vcpu_init(struct hv_vcpu *v)
{
	lapic_reset(&v->lapic, true);
	reset_common(v);
	atomic_fetch_and(&v->cpu.events, ~(uint32_t)(CPU_EV_NMI | CPU_EV_IRQ));
	/* The boot CPU goes on at the reset vector, the others wait. */
	v->cpu.mp_state = v->cpu.id == 0 ? HV_MP_RUNNABLE : HV_MP_WAIT_SIPI;
}

static void vcpu_sipi(struct hv_vcpu *v, uint8_t vec)
{
	struct cpu *cpu = &v->cpu;

	seg_set_real(cpu, HV_CS, (uint16_t)(vec << 8));
	cpu->rip = 0;
	cpu->halted = false;
	cpu->mp_state = HV_MP_RUNNABLE;
	cpu_mode_update(cpu);
}

void vcpu_take_init(struct hv_vcpu *v)
{
	struct cpu *cpu = &v->cpu;
	uint32_t ev = atomic_fetch_and(&cpu->events, ~(uint32_t)(CPU_EV_INIT | CPU_EV_SIPI));

	if (ev & CPU_EV_INIT)
		vcpu_init(v);
	if ((ev & CPU_EV_SIPI) && cpu->mp_state == HV_MP_WAIT_SIPI)
		vcpu_sipi(v, (uint8_t)__atomic_load_n(&cpu->sipi_vector, __ATOMIC_ACQUIRE));
}

/* ---- saving ---- */

/* All vCPUs of a stop give their time at the same moment. */
static uint64_t stop_time(struct soft_clock *c)
{
	uint64_t t;

	pthread_mutex_lock(&c->lock);
	if (!c->stopped_at) {
		c->stopped_at = clock_monotonic_ns();
		c->restored = false;
	}
	t = c->stopped_at;
	pthread_mutex_unlock(&c->lock);
	return t;
}

static void get_msrs(struct cpu *cpu, struct hv_vcpu_state *s)
{
	s->star = cpu->star;
	s->lstar = cpu->lstar;
	s->cstar = cpu->cstar;
	s->sfmask = cpu->sfmask;
	s->kernel_gs_base = cpu->kernel_gs_base;
	s->tsc_aux = cpu->tsc_aux;
	s->sysenter_cs = cpu->sysenter_cs;
	s->sysenter_esp = cpu->sysenter_esp;
	s->sysenter_eip = cpu->sysenter_eip;
	s->pat = cpu->pat;
	s->misc_enable = cpu->misc_enable;
	s->mtrr_def_type = cpu->mtrr_def_type;
	memcpy(s->mtrr_fixed, cpu->mtrr_fixed, sizeof(s->mtrr_fixed));
	memcpy(s->mtrr_var, cpu->mtrr_var, sizeof(s->mtrr_var));
	s->kvm_system_time = cpu->kvm_system_time;
	s->kvm_wall_clock = cpu->kvm_wall_clock;
}

static void get_events(struct cpu *cpu, struct hv_vcpu_state *s)
{
	uint32_t ev = atomic_load(&cpu->events);

	s->mp_state = cpu->mp_state;
	if (cpu->mp_state == HV_MP_RUNNABLE && cpu->halted)
		s->mp_state = HV_MP_HALTED;
	s->interrupt_shadow = cpu->shadow;
	s->nmi_pending = (ev & CPU_EV_NMI) != 0;
	s->nmi_masked = cpu->nmi_masked;
	/* Software interrupts run again from their instruction: RIP still points at it. */
	s->exc_pending = cpu->exc.pending && !cpu->exc.soft && !cpu->exc.trap;
	s->exc_vector = cpu->exc.vector;
	s->exc_has_error = cpu->exc.has_error;
	s->exc_error = cpu->exc.error;
	if (s->exc_pending && cpu->exc.vector == VEC_PF)
		s->cr2 = cpu->exc.cr2;
	if (s->exc_pending && cpu->exc.vector == VEC_DB)
		s->dr6 |= cpu->exc.dr6;
	s->sipi_vector = cpu->sipi_vector;
}

void soft_get_state(struct hv_vcpu *v, struct hv_vcpu_state *s)
{
	struct cpu *cpu = &v->cpu;
	struct soft_clock *c = cpu->vm->clock;
	uint64_t ns = stop_time(c) + atomic_load(&c->offset);

	/* Sent by a vCPU that stopped later than this one: the state has no other place for them. */
	vcpu_take_init(v);
	*s = (struct hv_vcpu_state){ .rip = cpu->rip, .rflags = flags_sync(cpu) };
	memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
	memcpy(s->seg, cpu->seg, sizeof(s->seg));
	s->gdt = cpu->gdt;
	s->idt = cpu->idt;
	s->cr0 = cpu->cr0;
	s->cr2 = cpu->cr2;
	s->cr3 = cpu->cr3;
	s->cr4 = cpu->cr4;
	s->cr8 = lapic_tpr_read(&v->lapic);
	s->efer = cpu->efer;
	memcpy(s->dr, cpu->dr, sizeof(s->dr));
	s->dr6 = cpu->dr6;
	s->dr7 = cpu->dr7;
	memcpy(s->fxsave, cpu->fx, sizeof(s->fxsave));
	get_msrs(cpu, s);
	s->tsc = soft_clock_ns_to_tsc(c, ns) + cpu->tsc_offset;
	get_events(cpu, s);
	lapic_get_state(&v->lapic, &s->lapic);
	/* The saved origin of a count-down is on the clock that the saved TSC shows. */
	if (s->lapic.timer_start_ns)
		s->lapic.timer_start_ns += soft_clock_tsc_to_ns(c, s->tsc) - ns;
}

/* ---- loading ---- */

#define REFUSE(cond, field)                                                          \
	do {                                                                         \
		if (cond)                                                            \
			return err_set(err, -EINVAL, "vcpu." field " is not valid"); \
	} while (0)

static bool pat_and_mtrr_ok(const struct hv_vcpu_state *s)
{
	return pat_valid(s->pat);
}

static int check_control(const struct cpu *cpu, const struct hv_vcpu_state *s, struct err *err)
{
	bool paging = s->cr0 & CR0_PG, lma = s->efer & EFER_LMA;

	REFUSE(s->cr0 >> 32 || (paging && !(s->cr0 & CR0_PE)), "cr0");
	REFUSE(s->cr4 & ~(uint64_t)(CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |
				    CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP |
				    CR4_FSGSBASE | CR4_PCIDE | CR4_SMEP | CR4_SMAP),
	       "cr4");
	REFUSE(s->efer & ~(uint64_t)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE), "efer");
	REFUSE(lma != (paging && (s->efer & EFER_LME)), "efer");
	REFUSE(lma && !(s->cr4 & CR4_PAE), "cr4");
	REFUSE(s->cr3 >> cpu->phys_bits, "cr3");
	REFUSE(s->cr8 > 15, "cr8");
	REFUSE(s->rflags >> 32, "rflags");
	REFUSE((s->rflags & FL_VM) && (lma || !(s->cr0 & CR0_PE)), "rflags");
	REFUSE(lma && (s->seg[HV_CS].attr & (HV_SEG_L | HV_SEG_DB)) == (HV_SEG_L | HV_SEG_DB),
	       "seg");
	return 0;
}

static int check_events(const struct hv_vcpu_state *s, struct err *err)
{
	REFUSE(s->mp_state > HV_MP_INIT, "mp_state");
	REFUSE(s->interrupt_shadow > 2, "interrupt_shadow");
	REFUSE(s->exc_pending && s->exc_vector > 31, "exc_vector");
	REFUSE(s->sipi_vector > 0xff, "sipi_vector");
	REFUSE(le32_load(s->fxsave + FX_MXCSR) & ~MXCSR_MASK, "fxsave");
	REFUSE(!pat_and_mtrr_ok(s), "pat");
	return 0;
}

static void set_msrs(struct cpu *cpu, const struct hv_vcpu_state *s)
{
	cpu->star = s->star;
	cpu->lstar = s->lstar;
	cpu->cstar = s->cstar;
	cpu->sfmask = s->sfmask;
	cpu->kernel_gs_base = s->kernel_gs_base;
	cpu->tsc_aux = s->tsc_aux;
	cpu->sysenter_cs = s->sysenter_cs;
	cpu->sysenter_esp = s->sysenter_esp;
	cpu->sysenter_eip = s->sysenter_eip;
	cpu->pat = s->pat;
	cpu->misc_enable = s->misc_enable;
	cpu->mtrr_def_type = s->mtrr_def_type;
	memcpy(cpu->mtrr_fixed, s->mtrr_fixed, sizeof(s->mtrr_fixed));
	memcpy(cpu->mtrr_var, s->mtrr_var, sizeof(s->mtrr_var));
	cpu->kvm_system_time = s->kvm_system_time;
	cpu->kvm_wall_clock = s->kvm_wall_clock;
}

static void set_events(struct cpu *cpu, const struct hv_vcpu_state *s)
{
	cpu->mp_state = s->mp_state == HV_MP_HALTED ? HV_MP_RUNNABLE : s->mp_state;
	cpu->halted = s->mp_state == HV_MP_HALTED;
	cpu->shadow = s->interrupt_shadow;
	cpu->nmi_masked = s->nmi_masked;
	cpu->sipi_vector = s->sipi_vector;
	cpu->exc = (struct cpu_exc){
		.pending = s->exc_pending,
		.vector = s->exc_vector,
		.has_error = s->exc_has_error,
		.error = s->exc_error,
		.cr2 = s->cr2,
	};
	if (s->nmi_pending)
		atomic_fetch_or(&cpu->events, CPU_EV_NMI);
	else
		atomic_fetch_and(&cpu->events, ~(uint32_t)CPU_EV_NMI);
	/* Whether anything is pending is found out by looking. */
	atomic_fetch_or(&cpu->events, CPU_EV_IRQ | (cpu->id == 0 ? CPU_EV_EXTINT : 0));
	cpu_attention(cpu);
}

/*
 * The first state of a stop that carries a TSC sets the VM's clock; the others follow it, so that
 * TSCs which agreed when they were saved agree again.
 */
static void set_clock(struct cpu *cpu, uint64_t tsc)
{
	struct soft_clock *c = cpu->vm->clock;
	uint64_t now = stop_time(c);

	pthread_mutex_lock(&c->lock);
	if (!c->restored) {
		atomic_store(&c->offset, soft_clock_tsc_to_ns(c, tsc) - now);
		c->restored = true;
	}
	pthread_mutex_unlock(&c->lock);
	cpu->tsc_offset = tsc - soft_clock_ns_to_tsc(c, now + atomic_load(&c->offset));
	/* What is left of rounding must not look like a TSC that was written. */
	if (cpu->tsc_offset + 4 < 8)
		cpu->tsc_offset = 0;
}

static void set_registers(struct cpu *cpu, const struct hv_vcpu_state *s)
{
	memcpy(cpu->gpr, s->gpr, sizeof(s->gpr));
	cpu->rip = s->rip;
	cpu->rflags = ((uint32_t)s->rflags & 0x003f7fd7) | FL_ONE;
	cpu->cc.op = 0;
	for (unsigned i = 0; i < HV_N_SEG; i++) {
		cpu->seg[i] = s->seg[i];
		cpu->seg[i].attr &= 0x1fff;
	}
	cpu->gdt = s->gdt;
	cpu->idt = s->idt;
	cpu->cr0 = s->cr0 | CR0_ET;
	cpu->cr2 = s->cr2;
	cpu->cr3 = s->cr3;
	cpu->cr4 = s->cr4;
	cpu->efer = s->efer;
	memcpy(cpu->dr, s->dr, sizeof(s->dr));
	cpu->dr6 = (s->dr6 & 0xe00f) | 0xffff0ff0;
	cpu->dr7 = (s->dr7 & 0xffff2bff) | 0x400;
	cpu->db_pending = 0;
	memcpy(cpu->fx, s->fxsave, sizeof(s->fxsave));
	le32_store(cpu->fx + FX_MXCSR_MASK, MXCSR_MASK);
	cpu->cpl = s->cr0 & CR0_PE ? (s->seg[HV_SS].attr & HV_SEG_DPL) >> HV_SEG_DPL_SHIFT : 0;
	if (cpu->rflags & FL_VM)
		cpu->cpl = 3;
}

int soft_set_state(struct hv_vcpu *v, const struct hv_vcpu_state *s, struct err *err)
{
	struct cpu *cpu = &v->cpu;
	struct hv_lapic_state lapic = s->lapic;
	int r = check_control(cpu, s, err);

	if (r == 0)
		r = check_events(s, err);
	if (r < 0)
		return r;
	set_clock(cpu, s->tsc);
	lapic.regs[0x80 / 16] = (uint32_t)((lapic.regs[0x80 / 16] & 0x0f) | s->cr8 << 4);
	r = lapic_set_state(&v->lapic, &lapic, cpu->phys_bits, err);
	if (r < 0)
		return r;
	set_registers(cpu, s);
	set_msrs(cpu, s);
	cpu->mode = CPU_MODE_NONE; /* makes the update recompute the bases */
	cpu_mode_update(cpu);
	mmu_paging_changed(cpu);
	if (cpu->paging == MMU_PAE && !mmu_load_pdptes(cpu, cpu->cr3))
		memset(cpu->pdpte, 0, sizeof(cpu->pdpte));
	apic_base_changed(cpu);
	dr_changed(cpu);
	set_events(cpu, s);
	block_flush(cpu);
	return 0;
}
