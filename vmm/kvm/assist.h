/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The assist: an instruction that KVM can't emulate is executed by the software CPU.
 *
 * Theory of operation. A VM of the soft back end stands beside the KVM one, on the same memory and
 * the same buses, with one vCPU for each of the VM's: made with it, since a thread that runs guest
 * code has no right to map executable memory. It never runs by itself: it is given
 * the state, executes one instruction (or delivers the exception that it raises), and the state
 * goes back. Its translations and decoded code are forgotten each time, since the guest changes
 * both behind its back. Local APIC and IOAPIC stay KVM's: an instruction that KVM can't emulate and
 * that addresses one of their pages would find another.
 */
#ifndef KVM_ASSIST_H
#define KVM_ASSIST_H

#include "vmm/hv.h"

struct kvm_assist;

enum kvm_assist_result {
	KVM_ASSIST_DONE,     /* go on with KVM_RUN */
	KVM_ASSIST_SHUTDOWN, /* it was a triple fault */
};

/**
 * kvm_assist_prepare() - Make the stand-in of a vCPU
 *
 * Context: the vCPU's thread, before it runs guest code.
 */
int kvm_assist_prepare(struct hv_vcpu *vcpu, struct err *err);

enum kvm_assist_reason {
	KVM_ASSIST_UNKNOWN, /* KVM_RUN failed with KVM_INTERNAL_ERROR_EMULATION */
	KVM_ASSIST_ENTRY,   /* kvm_entry_hit() */
};

/**
 * kvm_assist_run() - Execute the instruction at the vCPU's RIP, or at the entry that was hit
 *
 * Context: the vCPU's thread, KVM_RUN has just returned.
 * Return: enum kvm_assist_result; negative errno when the state can't be carried over.
 */
int kvm_assist_run(struct hv_vcpu *vcpu, enum kvm_assist_reason reason, struct err *err);

void kvm_assist_free(struct kvm_assist *assist); /* NULL is fine */

#endif
