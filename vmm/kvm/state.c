/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A KVM vCPU's architectural state, out of the kernel and into it, in the layout of vmm/hv.h.
 *
 * The order of the calls matters. Out: MP_STATE first, since asking for it makes KVM take in
 * pending APIC events; VCPU_EVENTS last. In: MP_STATE, registers, then the LAPIC (after SREGS,
 * which hold its base, and before the MSRs, whose deadline arms its timer), events last, since
 * setting registers drops pending exceptions.
 */
#define LOG_MODULE "vmm/kvm"
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "kvm/kvm.h"

/* clang-format off */
#define MSR_TSC			0x10
#define MSR_SYSENTER_CS		0x174
#define MSR_SYSENTER_ESP	0x175
#define MSR_SYSENTER_EIP	0x176
#define MSR_MISC_ENABLE		0x1a0
#define MSR_MTRR_VAR0		0x200
#define MSR_MTRR_FIX64K		0x250
#define MSR_MTRR_FIX16K_8	0x258
#define MSR_MTRR_FIX16K_A	0x259
#define MSR_MTRR_FIX4K_C0	0x268
#define MSR_PAT			0x277
#define MSR_MTRR_DEF_TYPE	0x2ff
#define MSR_TSC_DEADLINE	0x6e0
#define MSR_STAR		0xc0000081
#define MSR_LSTAR		0xc0000082
#define MSR_CSTAR		0xc0000083
#define MSR_SFMASK		0xc0000084
#define MSR_KERNEL_GS_BASE	0xc0000102
#define MSR_TSC_AUX		0xc0000103
#define MSR_KVM_WALL_CLOCK	0x4b564d00
#define MSR_KVM_SYSTEM_TIME	0x4b564d01

#define APIC_ID		(0x20 / 16)
#define APIC_ISR	(0x100 / 16)
#define APIC_IRR	(0x200 / 16)
#define APIC_TMICT	(0x380 / 16)
#define APIC_TMCCT	(0x390 / 16)
#define APIC_TDCR	(0x3e0 / 16)
#define APIC_LVT_TIMER	(0x320 / 16)
#define APIC_LVT_DEADLINE (2U << 17) /* timer mode field */
#define APIC_LVT_MODE	(3U << 17)

#define XSAVE_BV	512 /* offset of XSTATE_BV */
#define XSTATE_FP_SSE	3ULL
#define XSAVE_HEADER	64
/* clang-format on */

#define N_MSRS 64

union msr_list {
	struct kvm_msrs k;
	char room[sizeof(struct kvm_msrs) + N_MSRS * sizeof(struct kvm_msr_entry)];
};

/* An MSR and where it is kept. */
struct msr_place {
	uint32_t msr;
	uint32_t offset;
};

#define PLACE(msr, member)                                  \
	{                                                   \
		msr, offsetof(struct hv_vcpu_state, member) \
	}

/* What programs and kernels change all the time. */
static const struct msr_place core_msrs[] = {
	PLACE(MSR_STAR, star),
	PLACE(MSR_LSTAR, lstar),
	PLACE(MSR_CSTAR, cstar),
	PLACE(MSR_SFMASK, sfmask),
	PLACE(MSR_KERNEL_GS_BASE, kernel_gs_base),
	PLACE(MSR_SYSENTER_CS, sysenter_cs),
	PLACE(MSR_SYSENTER_ESP, sysenter_esp),
	PLACE(MSR_SYSENTER_EIP, sysenter_eip),
};

/* What one instruction may read as well. */
static const struct msr_place read_msrs[] = {
	PLACE(MSR_TSC, tsc),
	PLACE(MSR_PAT, pat),
	PLACE(MSR_TSC_AUX, tsc_aux),
};

/* The rest; the deadline behind the TSC. Some are absent on some hosts. */
static const struct msr_place other_msrs[] = {
	PLACE(MSR_TSC_AUX, tsc_aux),
	PLACE(MSR_PAT, pat),
	PLACE(MSR_MISC_ENABLE, misc_enable),
	PLACE(MSR_MTRR_DEF_TYPE, mtrr_def_type),
	PLACE(MSR_MTRR_FIX64K, mtrr_fixed[0]),
	PLACE(MSR_MTRR_FIX16K_8, mtrr_fixed[1]),
	PLACE(MSR_MTRR_FIX16K_A, mtrr_fixed[2]),
	PLACE(MSR_MTRR_FIX4K_C0 + 0, mtrr_fixed[3]),
	PLACE(MSR_MTRR_FIX4K_C0 + 1, mtrr_fixed[4]),
	PLACE(MSR_MTRR_FIX4K_C0 + 2, mtrr_fixed[5]),
	PLACE(MSR_MTRR_FIX4K_C0 + 3, mtrr_fixed[6]),
	PLACE(MSR_MTRR_FIX4K_C0 + 4, mtrr_fixed[7]),
	PLACE(MSR_MTRR_FIX4K_C0 + 5, mtrr_fixed[8]),
	PLACE(MSR_MTRR_FIX4K_C0 + 6, mtrr_fixed[9]),
	PLACE(MSR_MTRR_FIX4K_C0 + 7, mtrr_fixed[10]),
	PLACE(MSR_MTRR_VAR0 + 0, mtrr_var[0]),
	PLACE(MSR_MTRR_VAR0 + 1, mtrr_var[1]),
	PLACE(MSR_MTRR_VAR0 + 2, mtrr_var[2]),
	PLACE(MSR_MTRR_VAR0 + 3, mtrr_var[3]),
	PLACE(MSR_MTRR_VAR0 + 4, mtrr_var[4]),
	PLACE(MSR_MTRR_VAR0 + 5, mtrr_var[5]),
	PLACE(MSR_MTRR_VAR0 + 6, mtrr_var[6]),
	PLACE(MSR_MTRR_VAR0 + 7, mtrr_var[7]),
	PLACE(MSR_MTRR_VAR0 + 8, mtrr_var[8]),
	PLACE(MSR_MTRR_VAR0 + 9, mtrr_var[9]),
	PLACE(MSR_MTRR_VAR0 + 10, mtrr_var[10]),
	PLACE(MSR_MTRR_VAR0 + 11, mtrr_var[11]),
	PLACE(MSR_MTRR_VAR0 + 12, mtrr_var[12]),
	PLACE(MSR_MTRR_VAR0 + 13, mtrr_var[13]),
	PLACE(MSR_MTRR_VAR0 + 14, mtrr_var[14]),
	PLACE(MSR_MTRR_VAR0 + 15, mtrr_var[15]),
	PLACE(MSR_KVM_WALL_CLOCK, kvm_wall_clock),
	PLACE(MSR_KVM_SYSTEM_TIME, kvm_system_time),
	PLACE(MSR_TSC, tsc),
	PLACE(MSR_TSC_DEADLINE, lapic.tsc_deadline),
};

static uint64_t *place_of(const struct msr_place *p, struct hv_vcpu_state *s)
{
	return (uint64_t *)(void *)((char *)s + p->offset);
}

/* KVM stops at the first MSR that it does not have: skip it and go on. */
static int get_msrs(struct hv_vcpu *vcpu, const struct msr_place *places, unsigned n,
		    struct hv_vcpu_state *s, struct err *err)
{
	for (unsigned at = 0; at < n;) {
		union msr_list list = { .room = { 0 } };
		int r;

		list.k.nmsrs = n - at;
		for (unsigned i = at; i < n; i++)
			list.k.entries[i - at].index = places[i].msr;
		r = kvm_vcpu_ioctl(vcpu, KVM_GET_MSRS, &list, "MSRs", err);
		if (r < 0)
			return r;
		for (unsigned i = 0; i < (unsigned)r; i++)
			*place_of(&places[at + i], s) = list.k.entries[i].data;
		at += (unsigned)r;
		if (at < n)
			*place_of(&places[at++], s) = 0;
	}
	return 0;
}

/* A value that is 0 may be refused: the MSR is then not there. */
static int set_msrs(struct hv_vcpu *vcpu, const struct msr_place *places, unsigned n,
		    const struct hv_vcpu_state *s, struct err *err)
{
	struct hv_vcpu_state *from = (struct hv_vcpu_state *)(uintptr_t)s;

	for (unsigned at = 0; at < n;) {
		union msr_list list = { .room = { 0 } };
		int r;

		list.k.nmsrs = n - at;
		for (unsigned i = at; i < n; i++)
			list.k.entries[i - at] =
				(struct kvm_msr_entry){ .index = places[i].msr,
							.data = *place_of(&places[i], from) };
		r = kvm_vcpu_ioctl(vcpu, KVM_SET_MSRS, &list, "MSRs", err);
		if (r < 0)
			return r;
		at += (unsigned)r;
		if (at < n && *place_of(&places[at], from) && places[at].msr != MSR_MISC_ENABLE)
			return err_set(err, -EINVAL, "KVM refuses %#llx for MSR %#x",
				       (unsigned long long)*place_of(&places[at], from),
				       places[at].msr);
		at += at < n;
	}
	return 0;
}

int kvm_get_msr(struct hv_vcpu *vcpu, uint32_t msr, uint64_t *ret)
{
	union msr_list list = { .room = { 0 } };

	list.k.nmsrs = 1;
	list.k.entries[0].index = msr;
	if (vcpu->vm->ioctl(vcpu->fd, KVM_GET_MSRS, &list) != 1)
		return -EINVAL;
	*ret = list.k.entries[0].data;
	return 0;
}

int kvm_set_msr(struct hv_vcpu *vcpu, uint32_t msr, uint64_t val)
{
	union msr_list list = { .room = { 0 } };

	list.k.nmsrs = 1;
	list.k.entries[0] = (struct kvm_msr_entry){ .index = msr, .data = val };
	return vcpu->vm->ioctl(vcpu->fd, KVM_SET_MSRS, &list) == 1 ? 0 : -EINVAL;
}

/* ---- registers ---- */

static const size_t reg_offsets[HV_N_GPR] = {
	[HV_RAX] = offsetof(struct kvm_regs, rax), [HV_RCX] = offsetof(struct kvm_regs, rcx),
	[HV_RDX] = offsetof(struct kvm_regs, rdx), [HV_RBX] = offsetof(struct kvm_regs, rbx),
	[HV_RSP] = offsetof(struct kvm_regs, rsp), [HV_RBP] = offsetof(struct kvm_regs, rbp),
	[HV_RSI] = offsetof(struct kvm_regs, rsi), [HV_RDI] = offsetof(struct kvm_regs, rdi),
	[HV_R8] = offsetof(struct kvm_regs, r8),   [HV_R9] = offsetof(struct kvm_regs, r9),
	[HV_R10] = offsetof(struct kvm_regs, r10), [HV_R11] = offsetof(struct kvm_regs, r11),
	[HV_R12] = offsetof(struct kvm_regs, r12), [HV_R13] = offsetof(struct kvm_regs, r13),
	[HV_R14] = offsetof(struct kvm_regs, r14), [HV_R15] = offsetof(struct kvm_regs, r15),
};

static void regs_from_kvm(const struct kvm_regs *k, struct hv_vcpu_state *s)
{
	for (unsigned i = 0; i < HV_N_GPR; i++)
		memcpy(&s->gpr[i], (const char *)k + reg_offsets[i], sizeof(s->gpr[i]));
	s->rip = k->rip;
	s->rflags = k->rflags;
}

static void regs_to_kvm(const struct hv_vcpu_state *s, struct kvm_regs *k)
{
	for (unsigned i = 0; i < HV_N_GPR; i++)
		memcpy((char *)k + reg_offsets[i], &s->gpr[i], sizeof(s->gpr[i]));
	k->rip = s->rip;
	k->rflags = s->rflags;
}

static void segment_from_kvm(const struct kvm_segment *k, struct hv_segment *s)
{
	*s = (struct hv_segment){ .base = k->base, .limit = k->limit, .selector = k->selector };
	s->attr = (uint16_t)(k->type | k->s << 4 | k->dpl << 5 | k->present << 7 | k->avl << 8 |
			     k->l << 9 | k->db << 10 | k->g << 11 |
			     (k->unusable ? HV_SEG_UNUSABLE : 0));
}

static void segment_to_kvm(const struct hv_segment *s, struct kvm_segment *k)
{
	*k = (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->attr & HV_SEG_TYPE,
		.s = (s->attr & HV_SEG_S) != 0,
		.dpl = (s->attr & HV_SEG_DPL) >> HV_SEG_DPL_SHIFT,
		.present = (s->attr & HV_SEG_P) != 0,
		.avl = (s->attr & HV_SEG_AVL) != 0,
		.l = (s->attr & HV_SEG_L) != 0,
		.db = (s->attr & HV_SEG_DB) != 0,
		.g = (s->attr & HV_SEG_G) != 0,
		/* A null selector is as unusable as one that was never loaded. */
		.unusable = (s->attr & HV_SEG_UNUSABLE) || !(s->attr & HV_SEG_P),
	};
}

static void sregs_from_kvm(const struct kvm_sregs *k, struct hv_vcpu_state *s)
{
	const struct kvm_segment *segs[HV_N_SEG] = {
		[HV_ES] = &k->es, [HV_CS] = &k->cs, [HV_SS] = &k->ss,	 [HV_DS] = &k->ds,
		[HV_FS] = &k->fs, [HV_GS] = &k->gs, [HV_LDTR] = &k->ldt, [HV_TR] = &k->tr,
	};

	for (unsigned i = 0; i < HV_N_SEG; i++)
		segment_from_kvm(segs[i], &s->seg[i]);
	s->gdt = (struct hv_table){ .base = k->gdt.base, .limit = k->gdt.limit };
	s->idt = (struct hv_table){ .base = k->idt.base, .limit = k->idt.limit };
	s->cr0 = k->cr0;
	s->cr2 = k->cr2;
	s->cr3 = k->cr3;
	s->cr4 = k->cr4;
	s->cr8 = k->cr8;
	s->efer = k->efer;
	s->lapic.base_msr = k->apic_base;
}

static void sregs_to_kvm(const struct hv_vcpu_state *s, struct kvm_sregs *k)
{
	struct kvm_segment *segs[HV_N_SEG] = {
		[HV_ES] = &k->es, [HV_CS] = &k->cs, [HV_SS] = &k->ss,	 [HV_DS] = &k->ds,
		[HV_FS] = &k->fs, [HV_GS] = &k->gs, [HV_LDTR] = &k->ldt, [HV_TR] = &k->tr,
	};

	memset(k, 0, sizeof(*k));
	for (unsigned i = 0; i < HV_N_SEG; i++)
		segment_to_kvm(&s->seg[i], segs[i]);
	k->gdt.base = s->gdt.base;
	k->gdt.limit = s->gdt.limit;
	k->idt.base = s->idt.base;
	k->idt.limit = s->idt.limit;
	k->cr0 = s->cr0;
	k->cr2 = s->cr2;
	k->cr3 = s->cr3;
	k->cr4 = s->cr4;
	k->cr8 = s->cr8;
	k->efer = s->efer;
	k->apic_base = s->lapic.base_msr;
}

static int get_xsave(struct hv_vcpu *vcpu, struct hv_vcpu_state *s, struct err *err)
{
	unsigned long request =
		vcpu->vm->xsave_size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
	int r = kvm_vcpu_ioctl(vcpu, request, vcpu->xsave, "FPU state", err);

	if (r == 0)
		memcpy(s->fxsave, vcpu->xsave, sizeof(s->fxsave));
	return r;
}

/* @keep: of what was fetched last, all that has no place in our layout; else that is reset. */
static int set_xsave(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, bool keep,
		     struct err *err)
{
	uint8_t *bv = (uint8_t *)vcpu->xsave + XSAVE_BV;

	if (!keep)
		memset(vcpu->xsave, 0, vcpu->vm->xsave_size);
	memcpy(vcpu->xsave, s->fxsave, sizeof(s->fxsave));
	le64_store(bv, le64_load(bv) | XSTATE_FP_SSE);
	return kvm_vcpu_ioctl(vcpu, KVM_SET_XSAVE, vcpu->xsave, "FPU state", err);
}

/* ---- events ---- */

static void events_from_kvm(const struct kvm_vcpu_events *k, struct hv_vcpu_state *s)
{
	s->interrupt_shadow = k->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? 2
			      : k->interrupt.shadow & KVM_X86_SHADOW_INT_STI  ? 1
									      : 0;
	s->nmi_pending = k->nmi.pending || k->nmi.injected;
	s->nmi_masked = k->nmi.masked;
	s->exc_pending = k->exception.injected;
	s->exc_vector = k->exception.nr;
	s->exc_has_error = k->exception.has_error_code;
	s->exc_error = k->exception.error_code;
	s->sipi_vector = k->sipi_vector & 0xff;
	/* An interrupt on its way in goes back to where it waits: it will be taken again. */
	if (k->interrupt.injected && !k->interrupt.soft) {
		unsigned word = k->interrupt.nr / 32;
		uint32_t bit = 1U << k->interrupt.nr % 32;

		if (s->lapic.regs[APIC_ISR + word] & bit) {
			s->lapic.regs[APIC_ISR + word] &= ~bit;
			s->lapic.regs[APIC_IRR + word] |= bit;
		}
	}
}

static void events_to_kvm(const struct hv_vcpu_state *s, struct kvm_vcpu_events *k)
{
	*k = (struct kvm_vcpu_events){
		.exception = { .injected = s->exc_pending,
			       .nr = s->exc_vector,
			       .has_error_code = s->exc_has_error,
			       .error_code = s->exc_error },
		.nmi = { .pending = s->nmi_pending, .masked = s->nmi_masked },
		.sipi_vector = s->sipi_vector,
		.flags = KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING,
	};
	k->interrupt.shadow = s->interrupt_shadow == 2	 ? KVM_X86_SHADOW_INT_MOV_SS
			      : s->interrupt_shadow == 1 ? KVM_X86_SHADOW_INT_STI
							 : 0;
	/* SIPI_VECTOR's flag is left out unless it is waited for: KVM would take it for a new one.
	 */
}

static uint32_t mp_from_kvm(uint32_t k)
{
	switch (k) {
	case KVM_MP_STATE_UNINITIALIZED: return HV_MP_INIT;
	case KVM_MP_STATE_INIT_RECEIVED: return HV_MP_WAIT_SIPI;
	case KVM_MP_STATE_HALTED: return HV_MP_HALTED;
	default: return HV_MP_RUNNABLE;
	}
}

static uint32_t mp_to_kvm(uint32_t s)
{
	switch (s) {
	case HV_MP_INIT: return KVM_MP_STATE_UNINITIALIZED;
	case HV_MP_WAIT_SIPI: return KVM_MP_STATE_INIT_RECEIVED;
	case HV_MP_HALTED: return KVM_MP_STATE_HALTED;
	default: return KVM_MP_STATE_RUNNABLE;
	}
}

/* ---- LAPIC ---- */

/* KVM counts the timer down in ns, divided as the guest says. */
static uint64_t timer_start(const struct hv_vcpu *vcpu, const struct hv_vcpu_state *s)
{
	uint32_t tdcr = s->lapic.regs[APIC_TDCR];
	unsigned shift = (((tdcr & 3) | (tdcr >> 1 & 4)) + 1) & 7;
	uint64_t now = (uint64_t)((unsigned __int128)s->tsc * 1000000 / vcpu->vm->tsc_khz);
	uint64_t gone = (uint64_t)(s->lapic.regs[APIC_TMICT] - s->lapic.regs[APIC_TMCCT]) << shift;

	if (!s->lapic.regs[APIC_TMICT] ||
	    (s->lapic.regs[APIC_LVT_TIMER] & APIC_LVT_MODE) == APIC_LVT_DEADLINE)
		return 0;
	return now > gone ? now - gone : 1;
}

static int get_lapic(struct hv_vcpu *vcpu, struct hv_vcpu_state *s, struct err *err)
{
	struct kvm_lapic_state k = { 0 };
	int r = kvm_vcpu_ioctl(vcpu, KVM_GET_LAPIC, &k, "LAPIC", err);

	for (unsigned i = 0; i < HV_LAPIC_N_REGS; i++)
		s->lapic.regs[i] = le32_load(k.regs + (size_t)i * 16);
	return r;
}

static int set_lapic(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, struct err *err)
{
	struct kvm_lapic_state k = { 0 };

	for (unsigned i = 0; i < HV_LAPIC_N_REGS; i++)
		le32_store(k.regs + (size_t)i * 16, s->lapic.regs[i]);
	return kvm_vcpu_ioctl(vcpu, KVM_SET_LAPIC, &k, "LAPIC", err);
}

/* ---- whole ---- */

static int get_debugregs(struct hv_vcpu *vcpu, struct hv_vcpu_state *s, struct err *err)
{
	struct kvm_debugregs k = { 0 };
	int r = kvm_vcpu_ioctl(vcpu, KVM_GET_DEBUGREGS, &k, "debug registers", err);

	for (unsigned i = 0; i < ARRAY_LEN(s->dr); i++)
		s->dr[i] = k.db[i];
	s->dr6 = k.dr6;
	s->dr7 = k.dr7;
	return r;
}

static int set_debugregs(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, struct err *err)
{
	struct kvm_debugregs k = { .dr6 = s->dr6, .dr7 = s->dr7 };

	for (unsigned i = 0; i < ARRAY_LEN(s->dr); i++)
		k.db[i] = s->dr[i];
	return kvm_vcpu_ioctl(vcpu, KVM_SET_DEBUGREGS, &k, "debug registers", err);
}

int kvm_get_core(struct hv_vcpu *vcpu, struct hv_vcpu_state *s, struct err *err)
{
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_vcpu_events events = { 0 };
	int r;

	r = kvm_vcpu_ioctl(vcpu, KVM_GET_MP_STATE, &mp, "run state", err);
	if (r == 0)
		r = kvm_vcpu_ioctl(vcpu, KVM_GET_REGS, &regs, "registers", err);
	if (r == 0)
		r = kvm_vcpu_ioctl(vcpu, KVM_GET_SREGS, &sregs, "system registers", err);
	if (r == 0)
		r = get_xsave(vcpu, s, err);
	if (r == 0)
		r = get_debugregs(vcpu, s, err);
	if (r == 0)
		r = get_msrs(vcpu, core_msrs, ARRAY_LEN(core_msrs), s, err);
	if (r == 0)
		r = get_msrs(vcpu, read_msrs, ARRAY_LEN(read_msrs), s, err);
	if (r == 0)
		r = kvm_vcpu_ioctl(vcpu, KVM_GET_VCPU_EVENTS, &events, "events", err);
	if (r < 0)
		return r;
	s->mp_state = mp_from_kvm(mp.mp_state);
	regs_from_kvm(&regs, s);
	sregs_from_kvm(&sregs, s);
	events_from_kvm(&events, s);
	return 0;
}

static int set_events(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, struct err *err)
{
	struct kvm_vcpu_events events;

	events_to_kvm(s, &events);
	if (s->mp_state == HV_MP_WAIT_SIPI)
		events.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	return kvm_vcpu_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &events, "events", err);
}

static int set_registers(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, bool keep,
			 struct err *err)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	int r;

	regs_to_kvm(s, &regs);
	sregs_to_kvm(s, &sregs);
	r = kvm_vcpu_ioctl(vcpu, KVM_SET_REGS, &regs, "registers", err);
	if (r == 0)
		r = kvm_vcpu_ioctl(vcpu, KVM_SET_SREGS, &sregs, "system registers", err);
	if (r == 0)
		r = set_xsave(vcpu, s, keep, err);
	return r < 0 ? r : set_debugregs(vcpu, s, err);
}

int kvm_set_core(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, struct err *err)
{
	struct kvm_mp_state mp = { .mp_state = mp_to_kvm(s->mp_state) };
	int r = kvm_vcpu_ioctl(vcpu, KVM_SET_MP_STATE, &mp, "run state", err);

	if (r == 0)
		r = set_registers(vcpu, s, true, err);
	if (r == 0)
		r = set_msrs(vcpu, core_msrs, ARRAY_LEN(core_msrs), s, err);
	return r < 0 ? r : set_events(vcpu, s, err);
}

void kvm_get_state(struct hv_vcpu *vcpu, struct hv_vcpu_state *ret)
{
	struct kvm_mp_state mp;
	struct err err = { 0 };
	int r;

	*ret = (struct hv_vcpu_state){ 0 };
	/* Taken in first; the LAPIC before the events, which may put an interrupt back into it. */
	r = kvm_vcpu_ioctl(vcpu, KVM_GET_MP_STATE, &mp, "run state", &err);
	if (r == 0)
		r = get_lapic(vcpu, ret, &err);
	if (r == 0)
		r = kvm_get_core(vcpu, ret, &err);
	if (r == 0)
		r = get_msrs(vcpu, other_msrs, ARRAY_LEN(other_msrs), ret, &err);
	if (r < 0)
		log_err("%s", err.msg);
	ret->lapic.timer_start_ns = timer_start(vcpu, ret);
}

/*
 * The guest's kvm-clock shows the time of its TSC: one origin for both, so that neither needs
 * saving. The first vCPU sets it.
 */
static int set_clock(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, struct err *err)
{
	struct kvm_clock_data clock = { 0 };

	if (vcpu->id != 0)
		return 0;
	clock.clock = (uint64_t)((unsigned __int128)s->tsc * 1000000 / vcpu->vm->tsc_khz);
	if (vcpu->vm->ioctl(vcpu->vm->fd, KVM_SET_CLOCK, &clock) < 0)
		return err_errno(err, errno, "set the VM's clock");
	return 0;
}

static int check(const struct hv_vcpu_state *s, struct err *err)
{
	if (s->mp_state > HV_MP_INIT)
		return err_set(err, -EINVAL, "vcpu.mp_state is not valid");
	if (s->interrupt_shadow > 2)
		return err_set(err, -EINVAL, "vcpu.interrupt_shadow is not valid");
	if (s->exc_pending && s->exc_vector > 31)
		return err_set(err, -EINVAL, "vcpu.exc_vector is not valid");
	if (s->sipi_vector > 0xff)
		return err_set(err, -EINVAL, "vcpu.sipi_vector is not valid");
	if (s->cr8 > 15)
		return err_set(err, -EINVAL, "vcpu.cr8 is not valid");
	return 0;
}

int kvm_set_state(struct hv_vcpu *vcpu, const struct hv_vcpu_state *s, struct err *err)
{
	struct kvm_mp_state mp = { .mp_state = mp_to_kvm(s->mp_state) };
	int r = check(s, err);

	if (r == 0)
		r = kvm_vcpu_ioctl(vcpu, KVM_SET_MP_STATE, &mp, "run state", err);
	if (r == 0)
		r = set_registers(vcpu, s, false, err);
	if (r == 0)
		r = set_lapic(vcpu, s, err);
	if (r == 0)
		r = set_msrs(vcpu, core_msrs, ARRAY_LEN(core_msrs), s, err);
	if (r == 0)
		r = set_msrs(vcpu, other_msrs, ARRAY_LEN(other_msrs), s, err);
	if (r == 0)
		r = set_events(vcpu, s, err);
	vcpu->entries_stale = true;
	vcpu->run->kvm_valid_regs = 0;
	if (r == 0)
		r = set_clock(vcpu, s, err);
	/* Says "was stopped" to the guest's watchdog; refused while it has no kvm-clock. */
	if (r == 0 && vcpu->vm->has_clock_ctrl)
		vcpu->vm->ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, NULL);
	return r;
}
