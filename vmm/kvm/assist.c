/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that KVM can't emulate, executed by the software CPU. */
#include "kvm/assist.h"

#include <errno.h>
#include <stdlib.h>

#include "kvm/kvm.h"
#include "soft/single.h"

/* Bits that the software CPU does not know; no instruction that it is given depends on them. */
#define CR4_KNOWN  0x00330ffcULL /* all but VME, PVI, OSXSAVE and newer ones */
#define EFER_KNOWN 0x00000d01ULL /* SCE LME LMA NXE */

struct kvm_assist {
	struct hv_vm *vm;		     /* soft's */
	struct hv_vcpu *vcpus[HV_MAX_VCPUS]; /* soft's; each made and used by its own thread */
};

static int assist_new(struct hv_vm *kvm, struct kvm_assist **ret, struct err *err)
{
	struct hv_vm_config config = kvm->config;
	struct kvm_assist *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return err_set(err, -ENOMEM, "no memory for the software CPU");
	config.soft_mode = HV_SOFT_STEP;
	r = hv_soft_ops.vm_new(&config, &a->vm, err);
	if (r < 0) {
		free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void kvm_assist_free(struct kvm_assist *a)
{
	if (!a)
		return;
	for (unsigned i = 0; i < HV_MAX_VCPUS; i++) {
		if (a->vcpus[i])
			hv_soft_ops.vcpu_free(a->vcpus[i]);
	}
	hv_soft_ops.vm_free(a->vm);
	free(a);
}

int kvm_assist_prepare(struct hv_vcpu *vcpu, struct err *err)
{
	struct hv_vm *vm = vcpu->vm;
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	if (!vm->assist)
		r = assist_new(vm, &vm->assist, err);
	/* vcpu_new() under the lock: the first one decides nothing for the others. */
	if (r == 0 && !vm->assist->vcpus[vcpu->id])
		r = hv_soft_ops.vcpu_new(vm->assist->vm, vcpu->id, &vm->assist->vcpus[vcpu->id],
					 err);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int kvm_assist_run(struct hv_vcpu *vcpu, struct err *err)
{
	struct hv_vcpu_state s = { 0 };
	struct hv_vcpu *soft = vcpu->vm->assist->vcpus[vcpu->id];
	uint64_t cr4_rest, efer_rest;
	int r = kvm_get_core(vcpu, &s, err);

	cr4_rest = s.cr4 & ~CR4_KNOWN;
	efer_rest = s.efer & ~EFER_KNOWN;
	s.cr4 &= CR4_KNOWN;
	s.efer &= EFER_KNOWN;
	if (r == 0)
		r = hv_soft_ops.set_state(soft, &s, err);
	if (r < 0)
		return err_wrap(err, r, "an instruction that KVM can't emulate, at %#llx",
				(unsigned long long)s.rip);
	vcpu->stats.n_assists++;
	if (!soft_single(soft))
		return KVM_ASSIST_SHUTDOWN;
	hv_soft_ops.get_state(soft, &s);
	s.cr4 |= cr4_rest;
	s.efer |= efer_rest;
	r = kvm_set_core(vcpu, &s, err);
	return r < 0 ? r : KVM_ASSIST_DONE;
}
