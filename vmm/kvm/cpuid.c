/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID for KVM guests: the machine's table, masked by what KVM says it can run.
 *
 * Only feature words are masked; the rest (names, topology, caches) is the model's. The vendor is
 * the host's, since CPUs differ in instructions that KVM leaves to them (SYSCALL, SYSENTER).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "kvm/kvm.h"

enum reg { EAX = 1, EBX = 2, ECX = 4, EDX = 8 };

/* Feature words: a bit stays only if KVM has it too. */
static const struct {
	uint32_t leaf, subleaf;
	unsigned regs;
} masked[] = {
	{ 1, 0, ECX | EDX },	      { 6, 0, EAX },
	{ 7, 0, EBX | ECX | EDX },    { 7, 1, EAX | EBX | ECX | EDX },
	{ 0x80000001, 0, ECX | EDX }, { 0x80000007, 0, EDX },
	{ 0x80000008, 0, EBX },	      { 0x40000001, 0, EAX },
};

/* Bits of leaf 1 that KVM does not list and every KVM has: HTT is topology, not an instruction. */
#define LEAF1_EDX_TOPOLOGY   (1U << 28)
#define LEAF8_1_ECX_TOPOLOGY (1U << 1) /* CMP_LEGACY */

#define VENDOR_EBX_AMD	     0x68747541U

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *t, uint32_t leaf,
					   uint32_t subleaf)
{
	for (uint32_t i = 0; i < t->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function == leaf &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
			return e;
	}
	return NULL;
}

static void mask_features(struct kvm_cpuid_entry2 *e, const struct kvm_cpuid2 *supported)
{
	static const struct kvm_cpuid_entry2 nothing;
	const struct kvm_cpuid_entry2 *s;

	for (unsigned i = 0; i < ARRAY_LEN(masked); i++) {
		if (masked[i].leaf != e->function || masked[i].subleaf != e->index)
			continue;
		s = find(supported, e->function, e->index);
		if (!s)
			s = &nothing;
		if (masked[i].regs & EAX)
			e->eax &= s->eax;
		if (masked[i].regs & EBX)
			e->ebx &= s->ebx;
		if (masked[i].regs & ECX)
			e->ecx &= s->ecx | (e->function == 0x80000001 ? LEAF8_1_ECX_TOPOLOGY : 0);
		if (masked[i].regs & EDX)
			e->edx &= s->edx | (e->function == 1 ? LEAF1_EDX_TOPOLOGY : 0);
	}
}

/* The host's vendor; its family too where the model's would mean something else. */
static void take_vendor(struct kvm_cpuid_entry2 *e, const struct kvm_cpuid2 *supported)
{
	const struct kvm_cpuid_entry2 *host = find(supported, 0, 0);
	const struct kvm_cpuid_entry2 *family = find(supported, 1, 0);

	if (!host)
		return;
	if (e->function == 0 || (e->function == 0x80000000 && host->ebx == VENDOR_EBX_AMD)) {
		e->ebx = host->ebx;
		e->ecx = host->ecx;
		e->edx = host->edx;
	} else if (e->function == 1 && family && host->ebx != VENDOR_EBX_AMD) {
		e->eax = family->eax;
	}
}

int kvm_cpuid_build(const struct hv_cpuid_table *table, const struct kvm_cpuid2 *supported,
		    struct kvm_cpuid2 **ret, struct err *err)
{
	struct kvm_cpuid2 *t = calloc(1, sizeof(*t) + table->n * sizeof(struct kvm_cpuid_entry2));

	if (!t)
		return err_set(err, -ENOMEM, "no memory for the CPUID table");
	t->nent = table->n;
	for (unsigned i = 0; i < table->n; i++) {
		const struct hv_cpuid *from = &table->entries[i];
		struct kvm_cpuid_entry2 *e = &t->entries[i];

		*e = (struct kvm_cpuid_entry2){
			.function = from->leaf,
			.index = from->subleaf,
			.flags = from->has_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = from->eax,
			.ebx = from->ebx,
			.ecx = from->ecx,
			.edx = from->edx,
		};
		if (!supported)
			continue;
		mask_features(e, supported);
		take_vendor(e, supported);
	}
	*ret = t;
	return 0;
}

int kvm_cpuid_init(struct hv_vm *vm, struct err *err)
{
	AUTO_FREE struct kvm_cpuid2 *supported =
		calloc(1, sizeof(*supported) + KVM_N_CPUID * sizeof(struct kvm_cpuid_entry2));

	/* Asking takes longer than all the rest of a VM. */
	if (vm->quick)
		return kvm_cpuid_build(vm->config.cpuid, NULL, &vm->cpuid, err);
	if (!supported)
		return err_set(err, -ENOMEM, "no memory for the CPUID table");
	supported->nent = KVM_N_CPUID;
	if (vm->ioctl(vm->sys_fd, KVM_GET_SUPPORTED_CPUID, supported) < 0)
		return err_errno(err, errno, "ask KVM for its CPUID");
	return kvm_cpuid_build(vm->config.cpuid, supported, &vm->cpuid, err);
}

int kvm_cpuid_apply(struct hv_vcpu *vcpu, struct err *err)
{
	const struct kvm_cpuid2 *t = vcpu->vm->cpuid;
	size_t len = sizeof(*t) + t->nent * sizeof(t->entries[0]);
	AUTO_FREE struct kvm_cpuid2 *own = malloc(len);

	if (!own)
		return err_set(err, -ENOMEM, "no memory for the CPUID table");
	own->nent = t->nent;
	own->padding = 0;
	for (uint32_t i = 0; i < t->nent; i++) {
		struct kvm_cpuid_entry2 *e = &own->entries[i];

		*e = t->entries[i];
		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) | vcpu->id << 24;
		else if (e->function == 0xb)
			e->edx = vcpu->id;
	}
	return kvm_vcpu_ioctl(vcpu, KVM_SET_CPUID2, own, "CPUID", err);
}
