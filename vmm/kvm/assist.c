/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that KVM can't emulate, executed by the software CPU. */
#include "kvm/assist.h"

#include <errno.h>
#include <stdlib.h>

#include "kvm/entry.h"
#include "soft/single.h"

/* Bits that the software CPU does not know; no instruction that it is given depends on them. */
#define CR4_KNOWN  0x00330ffcULL /* all but VME, PVI, OSXSAVE and newer ones */
#define EFER_KNOWN 0x00000d01ULL /* SCE LME LMA NXE */

#define MAX_STEPS  8

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

/* What KVM has that the software CPU does not know stays as it is. */
static int to_soft(struct hv_vcpu *soft, const struct hv_vcpu_state *s, struct err *err)
{
	struct hv_vcpu_state known = *s;

	known.cr4 &= CR4_KNOWN;
	known.efer &= EFER_KNOWN;
	return hv_soft_ops.set_state(soft, &known, err);
}

static void from_soft(struct hv_vcpu *soft, struct hv_vcpu_state *s)
{
	uint64_t cr4_rest = s->cr4 & ~CR4_KNOWN, efer_rest = s->efer & ~EFER_KNOWN;

	hv_soft_ops.get_state(soft, s);
	s->cr4 |= cr4_rest;
	s->efer |= efer_rest;
}

int kvm_assist_run(struct hv_vcpu *vcpu, enum kvm_assist_reason reason, struct err *err)
{
	struct hv_vcpu_state s = { 0 };
	struct hv_vcpu *soft = vcpu->vm->assist->vcpus[vcpu->id];
	int r = kvm_get_core(vcpu, &s, err);

	if (r == 0 && reason == KVM_ASSIST_ENTRY)
		kvm_entry_correct(vcpu, &s);
	if (r == 0)
		r = to_soft(soft, &s, err);
	if (r < 0)
		return err_wrap(err, r, "an instruction that KVM can't emulate, at %#llx",
				(unsigned long long)s.rip);
	soft_single_tsc(soft, s.tsc);
	/* What is delivered may lead to an entry: what stands there is for us too. */
	for (unsigned i = 0; i == 0 || (i < MAX_STEPS && kvm_entry_at(vcpu, s.rip)); i++) {
		vcpu->stats.n_assists++;
		if (!soft_single(soft))
			return KVM_ASSIST_SHUTDOWN;
		from_soft(soft, &s);
	}
	r = kvm_set_core(vcpu, &s, err);
	return r < 0 ? r : KVM_ASSIST_DONE;
}
