/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From nothing to the guest's first instruction, by the back end's own interface: makes VMs of 64
 * MiB with one vCPU, whose first instruction writes a port. Prints "create NANOSECONDS" a round.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "boot/boot.h"
#include "kvm/kvm.h"
#include "machine/cpumodel.h"
#include "vmm/vm.h"

#define CODE 0x10000

struct bench {
	struct hv_vcpu *vcpu;
	uint64_t first_ns;
};

static uint64_t read_nothing(void *opaque, uint16_t port, unsigned size)
{
	return 0;
}

static void on_write(void *opaque, uint16_t port, unsigned size, uint64_t val)
{
	struct bench *b = opaque;

	b->first_ns = clock_monotonic_ns();
	hv_kvm_ops.kick(b->vcpu);
}

static uint64_t read_mmio(void *opaque, gpa_t gpa, unsigned size)
{
	return 0;
}

static void write_mmio(void *opaque, gpa_t gpa, unsigned size, uint64_t val)
{
}

static const struct hv_bus_ops bus = { read_nothing, on_write, read_mmio, write_mmio };

static int one(uint32_t tsc_khz)
{
	static const uint8_t code[] = { 0xe6, 0x10, 0xf4 }; /* out %al, $0x10; hlt */
	const struct boot_entry entry = { .mode = BOOT_MODE_LONG, .rip = CODE, .rsp = CODE };
	uint64_t start = clock_monotonic_ns();
	struct bench b = { 0 };
	struct hv_vm_config config = { .bus = &bus, .bus_opaque = &b, .n_vcpus = 1 };
	struct hv_cpuid_table cpuid;
	struct hv_vcpu_state state;
	struct gmem *mem = NULL;
	struct hv_vm *vm = NULL;
	struct hv_exit exit;
	struct err err = { 0 };
	int r = gmem_new(&mem, &err);

	if (r == 0)
		r = gmem_add_anon(mem, 0, 64 << 20, GMEM_RAM, &err);
	if (r == 0)
		r = cpumodel_fill("base", 1, tsc_khz, &cpuid, &err);
	config.mem = mem;
	config.cpuid = &cpuid;
	if (r == 0)
		r = hv_kvm_ops.vm_new(&config, &vm, &err);
	if (r == 0)
		r = hv_kvm_ops.vcpu_new(vm, 0, &b.vcpu, &err);
	if (r < 0) {
		fprintf(stderr, "create: %s\n", err.msg);
		return 1;
	}
	hv_kvm_ops.get_state(b.vcpu, &state);
	r = boot_entry_apply(&entry, mem, &state, &err);
	if (r == 0)
		r = gmem_write(mem, CODE, code, sizeof(code));
	if (r == 0)
		r = hv_kvm_ops.set_state(b.vcpu, &state, &err);
	if (r == 0)
		hv_kvm_ops.run(b.vcpu, &exit);
	printf("create %llu\n", (unsigned long long)(b.first_ns - start));
	hv_kvm_ops.vcpu_free(b.vcpu);
	hv_kvm_ops.vm_free(vm);
	gmem_free(mem);
	return r < 0;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 5;
	uint32_t tsc_khz = vm_tsc_khz(&hv_kvm_ops);

	for (int i = 0; i < rounds; i++) {
		if (one(tsc_khz))
			return 1;
	}
	return 0;
}
