/* SPDX-License-Identifier: Apache-2.0 */
/* The architectural state's table: what a snapshot holds of a vCPU. */
#include "vmm/hv.h"

static const struct state_desc segment_desc = {
	.name = "segment",
	.version = 1,
	.min_version = 1,
	.fields = (const struct state_field[]){
		STATE_FIELD(struct hv_segment, base, STATE_U64, 1),
		STATE_FIELD(struct hv_segment, limit, STATE_U32, 1),
		STATE_FIELD(struct hv_segment, selector, STATE_U16, 1),
		STATE_FIELD(struct hv_segment, attr, STATE_U16, 1),
		{ .type = STATE_END },
	},
};

static const struct state_desc table_desc = {
	.name = "descriptor-table",
	.version = 1,
	.min_version = 1,
	.fields = (const struct state_field[]){
		STATE_FIELD(struct hv_table, base, STATE_U64, 1),
		STATE_FIELD(struct hv_table, limit, STATE_U16, 1),
		{ .type = STATE_END },
	},
};

static const struct state_desc lapic_desc = {
	.name = "lapic",
	.version = 1,
	.min_version = 1,
	.fields = (const struct state_field[]){
		STATE_FIELD(struct hv_lapic_state, regs, STATE_U32, 1),
		STATE_FIELD(struct hv_lapic_state, base_msr, STATE_U64, 1),
		STATE_FIELD(struct hv_lapic_state, tsc_deadline, STATE_U64, 1),
		STATE_FIELD(struct hv_lapic_state, timer_start_ns, STATE_U64, 1),
		{ .type = STATE_END },
	},
};

#define F(member, type) STATE_FIELD(struct hv_vcpu_state, member, type, 1)

const struct state_desc hv_vcpu_state_desc = {
	.name = "vcpu",
	.version = 1,
	.min_version = 1,
	.fields = (const struct state_field[]){
		F(gpr, STATE_U64),
		F(rip, STATE_U64),
		F(rflags, STATE_U64),
		STATE_SUB(struct hv_vcpu_state, seg, &segment_desc, HV_N_SEG, 1),
		STATE_SUB(struct hv_vcpu_state, gdt, &table_desc, 1, 1),
		STATE_SUB(struct hv_vcpu_state, idt, &table_desc, 1, 1),
		F(cr0, STATE_U64),
		F(cr2, STATE_U64),
		F(cr3, STATE_U64),
		F(cr4, STATE_U64),
		F(cr8, STATE_U64),
		F(efer, STATE_U64),
		F(dr, STATE_U64),
		F(dr6, STATE_U64),
		F(dr7, STATE_U64),
		F(fxsave, STATE_BYTES),
		F(star, STATE_U64),
		F(lstar, STATE_U64),
		F(cstar, STATE_U64),
		F(sfmask, STATE_U64),
		F(kernel_gs_base, STATE_U64),
		F(tsc_aux, STATE_U64),
		F(sysenter_cs, STATE_U64),
		F(sysenter_esp, STATE_U64),
		F(sysenter_eip, STATE_U64),
		F(pat, STATE_U64),
		F(misc_enable, STATE_U64),
		F(mtrr_def_type, STATE_U64),
		F(mtrr_fixed, STATE_U64),
		F(mtrr_var, STATE_U64),
		F(tsc, STATE_U64),
		F(kvm_system_time, STATE_U64),
		F(kvm_wall_clock, STATE_U64),
		F(mp_state, STATE_U32),
		F(interrupt_shadow, STATE_U8),
		F(nmi_pending, STATE_U8),
		F(nmi_masked, STATE_U8),
		F(exc_pending, STATE_U8),
		F(exc_vector, STATE_U8),
		F(exc_has_error, STATE_U8),
		F(exc_error, STATE_U32),
		F(sipi_vector, STATE_U32),
		STATE_SUB(struct hv_vcpu_state, lapic, &lapic_desc, 1, 1),
		{ .type = STATE_END },
	},
};
