/* SPDX-License-Identifier: Apache-2.0 */
/* A software VM without a machine around it: RAM, one or more vCPUs, a bus that only remembers. */
#ifndef TESTS_SOFT_FIXTURE_H
#define TESTS_SOFT_FIXTURE_H

#include "test.h"

#include <string.h>

#include "base/checked.h"
#include "soft/desc.h"
#include "soft/mmu.h"
#include "soft/vm.h"
#include "vmm/gmem.h"

#define FIX_RAM	    (16 * MIB)
#define FIX_TABLES  0x100000 /* page tables are taken from here upward */
#define FIX_TSC_KHZ 2000000

struct fixture {
	struct gmem *mem;
	struct hv_cpuid_table cpuid;
	struct hv_vm *vm;
	struct hv_vcpu *vcpus[HV_MAX_VCPUS];
	unsigned n_vcpus;
	gpa_t next_table;
	/* what the bus saw last */
	gpa_t mmio_gpa;
	uint64_t mmio_val;
	unsigned mmio_size, n_mmio_reads, n_mmio_writes;
	uint16_t port;
	uint64_t port_val;
};

static uint64_t fix_io_read(void *opaque, uint16_t port, unsigned size)
{
	struct fixture *f = opaque;

	f->port = port;
	return f->port_val;
}

static void fix_io_write(void *opaque, uint16_t port, unsigned size, uint64_t val)
{
	struct fixture *f = opaque;

	f->port = port;
	f->port_val = val;
}

static uint64_t fix_mmio_read(void *opaque, gpa_t gpa, unsigned size)
{
	struct fixture *f = opaque;

	f->n_mmio_reads++;
	f->mmio_gpa = gpa;
	f->mmio_size = size;
	return 0x1122334455667788ULL;
}

static void fix_mmio_write(void *opaque, gpa_t gpa, unsigned size, uint64_t val)
{
	struct fixture *f = opaque;

	f->n_mmio_writes++;
	f->mmio_gpa = gpa;
	f->mmio_size = size;
	f->mmio_val = val;
}

static const struct hv_bus_ops fix_bus = { fix_io_read, fix_io_write, fix_mmio_read,
					   fix_mmio_write };

static const struct hv_cpuid fix_cpuid[] = {
	{ .leaf = 1, .eax = 0x60fb1, .ecx = 0x01a22203 | 1 << 17, .edx = 0x0783fbff },
	{ .leaf = 7, .has_subleaf = true, .ebx = 0x00140481 | 1 << 20 | 1, .ecx = 4 },
	{ .leaf = 0x80000001, .edx = 0x2c100800 },
	{ .leaf = 0x80000008, .eax = 0x3028 },
	{ .leaf = 0x40000001, .eax = 9 },
};

static int fixture_new(void **state, unsigned n_vcpus)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	struct err err = { 0 };
	struct hv_vm_config config = { .bus = &fix_bus, .bus_opaque = f, .n_vcpus = n_vcpus };

	memcpy(f->cpuid.entries, fix_cpuid, sizeof(fix_cpuid));
	f->cpuid.n = ARRAY_LEN(fix_cpuid);
	f->cpuid.tsc_khz = FIX_TSC_KHZ;
	f->n_vcpus = n_vcpus;
	f->next_table = FIX_TABLES;
	if (gmem_new(&f->mem, &err) || gmem_add_anon(f->mem, 0, FIX_RAM, GMEM_RAM, &err))
		return -1;
	config.mem = f->mem;
	config.cpuid = &f->cpuid;
	if (hv_soft_ops.vm_new(&config, &f->vm, &err))
		return -1;
	for (unsigned i = 0; i < n_vcpus; i++) {
		if (hv_soft_ops.vcpu_new(f->vm, i, &f->vcpus[i], &err))
			return -1;
	}
	*state = f;
	return 0;
}

static int __attribute__((unused)) fixture_setup(void **state)
{
	return fixture_new(state, 1);
}

static int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < f->n_vcpus; i++)
		hv_soft_ops.vcpu_free(f->vcpus[i]);
	hv_soft_ops.vm_free(f->vm);
	gmem_free(f->mem);
	test_free(f);
	return 0;
}

static inline struct cpu *fix_cpu(struct fixture *f)
{
	return &f->vcpus[0]->cpu;
}

static inline gpa_t fix_table(struct fixture *f)
{
	gpa_t t = f->next_table;

	f->next_table += GMEM_PAGE_SIZE;
	return t;
}

static inline uint64_t *fix_u64(struct fixture *f, gpa_t gpa)
{
	return gmem_ptr(f->mem, gpa, 8);
}

/* 64-bit mode at level @cpl with flat segments, paging by @cr3. */
static inline void fix_long_mode(struct fixture *f, uint64_t cr3, unsigned cpl)
{
	struct cpu *cpu = fix_cpu(f);

	cpu->cr3 = cr3;
	cpu->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR;
	cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	cpu->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_ET | CR0_NE;
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		cpu->seg[i] = (struct hv_segment){ .limit = 0xffffffff,
						   .attr = (uint16_t)(0xc93 | cpl << 5) };
	cpu->seg[HV_CS].attr = (uint16_t)(0xa9b | cpl << 5);
	cpu->cpl = (uint8_t)cpl;
	cpu_mode_update(cpu);
	mmu_paging_changed(cpu);
}

#endif
