/* SPDX-License-Identifier: Apache-2.0 */
/* The objects behind struct hv_vm and struct hv_vcpu: shared by soft.c, loop.c and state.c. */
#ifndef SOFT_VM_H
#define SOFT_VM_H

#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pic.h"
#include "soft/clock.h"
#include "soft/cpu.h"

struct hv_vcpu {
	struct cpu cpu; /* first: interp handlers address it */
	struct lapic lapic;
	_Atomic uint32_t sleeping; /* in HLT, or waiting for SIPI */
	bool made;		   /* vcpu_new() has completed it */
};

/* What the interrupt controllers outside the vCPUs are saved as. */
struct irqchip {
	struct ioapic ioapic;
	struct pic pic;
};

struct hv_vm {
	struct soft_vm vm;
	struct soft_clock clock;
	struct lapic_bus lapics;
	struct irqchip irqchip;
	struct hv_vcpu *vcpus[HV_MAX_VCPUS];
};

static inline struct hv_vcpu *vcpu_of(struct cpu *cpu)
{
	return (struct hv_vcpu *)cpu;
}

/* ---- state.c ---- */

void vcpu_reset(struct hv_vcpu *vcpu);		   /* power-on */
void vcpu_init(struct hv_vcpu *vcpu);		   /* INIT */
void vcpu_take_init(struct hv_vcpu *vcpu);	   /* INIT and SIPI that others have sent */
void soft_get_state(struct hv_vcpu *vcpu, struct hv_vcpu_state *ret);
int soft_set_state(struct hv_vcpu *vcpu, const struct hv_vcpu_state *state, struct err *err);

/* ---- loop.c ---- */

void soft_run(struct hv_vcpu *vcpu, struct hv_exit *ret_exit);

#endif
