/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest kernel's entries, on a KVM that interprets guest kernel code.
 *
 * Such a KVM runs user code on the CPU and gets some ways from there into the kernel wrong. SYSCALL
 * comes to its entry with RIP, RCX, R11 and RFLAGS as they should be, but with ring 3's CS and SS;
 * fetching from the entry's page is then a page fault of ring 3, which KVM delivers. INT n, and
 * ports that the TSS opens to ring 3, are #UD and #GP; CR0.AM is taken for set. So we have to be
 * there when the handlers of #UD, #GP, #PF and #AC begin.
 *
 * Theory of operation. An MSR filter tells of each write to LSTAR and CSTAR, and after each exit
 * the IDT's gates are looked at. The pages of guest memory that entries lie in get memory slots of
 * their own: read-only, with a copy of the page behind it in which an entry's first two bytes are
 * "out %al, $KVM_ENTRY_PORT". The guest runs into that, KVM_RUN returns, the state is put right
 * (kvm_entry_correct()), the software CPU executes what really stands there, and KVM goes on behind
 * it. Everything else on the page runs as before. Guest memory itself is never changed: devices,
 * snapshots and the software CPU see what the guest has written. The guest's writes to the page
 * come as MMIO and go to its memory; copies are compared with it at each exit, so that what devices
 * write is followed too. What a guest can notice is two bytes when it reads its own entries.
 *
 * Slots change only while no vCPU is inside KVM_RUN: it would see memory vanish for a moment. None
 * of this exists on a KVM that runs guest kernel code on the CPU.
 */
#ifndef KVM_ENTRY_H
#define KVM_ENTRY_H

#include "kvm/kvm.h"

#define KVM_ENTRY_PORT 0x77

/**
 * kvm_entry_init() - Watch for entries, if this KVM needs it
 *
 * Context: the VM has no vCPU yet.
 * Return: 0, also when nothing is to be done; -errno: KVM lacks what this needs.
 */
int kvm_entry_init(struct hv_vm *vm, struct err *err);
void kvm_entry_done(struct hv_vm *vm);

/* ---- a vCPU's thread, outside KVM_RUN ---- */

/* KVM_RUN, when no other vCPU changes slots. Return: as ioctl(2). */
int kvm_entry_run(struct hv_vcpu *vcpu);

/* Before each KVM_RUN: have the copies follow guest memory, and see whether entries lead elsewhere.
 */
void kvm_entry_watch(struct hv_vcpu *vcpu);

/* Have the slots follow this vCPU's entries, when they may have changed. */
int kvm_entry_follow(struct hv_vcpu *vcpu, struct err *err);

/* The guest writes to a filtered MSR. */
void kvm_entry_wrmsr(struct hv_vcpu *vcpu);

/* Is the port access that KVM_RUN returned with an entry's? */
bool kvm_entry_hit(struct hv_vcpu *vcpu);

/* Is there an entry's first instruction at @rip? */
bool kvm_entry_at(const struct hv_vcpu *vcpu, uint64_t rip);

/**
 * kvm_entry_correct() - What the state should have been at the entry that was hit
 *
 * After SYSCALL that is ring 0 at LSTAR. After #UD or #GP of ring 3 it is ring 3 at the
 * instruction: the software CPU executes it, and delivers the exception if that is right.
 */
void kvm_entry_correct(struct hv_vcpu *vcpu, struct hv_vcpu_state *state);

#endif
