/* SPDX-License-Identifier: Apache-2.0 */
/* State of the IOAPIC and the PIC in the kernel, in the form of the soft back end's. */
#ifndef KVM_IRQCHIP_H
#define KVM_IRQCHIP_H

#include "base/err.h"
#include "base/state.h"

struct hv_vm;
struct kvm_chips;

int kvm_chips_new(struct hv_vm *vm, struct kvm_chips **ret, struct err *err);
void kvm_chips_free(struct kvm_chips *chips); /* NULL is fine */

/* Of a struct kvm_chips: saving fetches from the kernel, loading puts there. */
extern const struct state_desc kvm_chips_state_desc;

#endif
