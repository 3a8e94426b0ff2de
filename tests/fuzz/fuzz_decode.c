/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes and runs whatever comes on the software CPU: the first byte picks mode and level, the
 * second how to run, the rest is code. No input may crash the CPU, read outside guest memory or
 * keep it from stopping.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "soft/block.h"
#include "soft/desc.h"
#include "soft/mmu.h"
#include "soft/vm.h"

#define RAM	 (4 * MIB)
#define TABLES	 0x3f0000ULL
#define CODE	 0x100fc0ULL /* near a page's end */
#define MAX_CODE 512
#define STEPS	 40
#define BUDGET	 200

static uint64_t io_read(void *opaque, uint16_t port, unsigned size)
{
	return port * 0x0101010101010101ULL;
}

static void io_write(void *opaque, uint16_t port, unsigned size, uint64_t val)
{
}

static uint64_t mmio_read(void *opaque, gpa_t gpa, unsigned size)
{
	return gpa;
}

static void mmio_write(void *opaque, gpa_t gpa, unsigned size, uint64_t val)
{
}

static const struct hv_bus_ops bus = { io_read, io_write, mmio_read, mmio_write };
static struct hv_cpuid_table cpuid;
static struct gmem *mem;
static struct hv_vm *vm;
static struct hv_vcpu *vcpu;
static struct hv_vcpu_state fresh;

static void init(void)
{
	struct hv_vm_config config = { .bus = &bus, .n_vcpus = 1, .cpuid = &cpuid };
	static const struct hv_cpuid all[] = {
		{ .leaf = 1, .ecx = ~0U, .edx = ~0U },
		{ .leaf = 7, .has_subleaf = true, .ebx = ~0U, .ecx = ~0U, .edx = ~0U },
		{ .leaf = 0x80000001, .ecx = ~0U, .edx = ~0U },
		{ .leaf = 0x80000008, .eax = 0x3028 },
	};

	memcpy(cpuid.entries, all, sizeof(all));
	cpuid.n = ARRAY_LEN(all);
	cpuid.tsc_khz = 1000000;
	if (gmem_new(&mem, NULL) || gmem_add_anon(mem, 0, RAM, GMEM_RAM, NULL))
		abort();
	config.mem = mem;
	if (hv_soft_ops.vm_new(&config, &vm, NULL) || hv_soft_ops.vcpu_new(vm, 0, &vcpu, NULL))
		abort();
	hv_soft_ops.get_state(vcpu, &fresh);
}

/* Identity tables for 64-bit mode, user-accessible. */
static void make_tables(void)
{
	uint64_t *t = gmem_ptr(mem, TABLES, 3 * GMEM_PAGE_SIZE);

	memset(t, 0, 3 * GMEM_PAGE_SIZE);
	t[0] = (TABLES + GMEM_PAGE_SIZE) | 7;
	t[512] = (TABLES + 2 * GMEM_PAGE_SIZE) | 7;
	for (unsigned i = 0; i < 4; i++) /* the last two reach beyond memory */
		t[1024 + i] = i * 2 * MIB | 0x87;
}

static void enter_mode(struct cpu *cpu, unsigned how)
{
	unsigned cpl = how & 4 ? 3 : 0, mode = how & 3;

	for (unsigned i = HV_ES; i <= HV_GS; i++)
		cpu->seg[i] = (struct hv_segment){ .limit = mode == 3 ? 0xffff : 0xffffffff,
						   .attr = (uint16_t)(0xc93 | cpl << 5) };
	cpu->seg[HV_CS].attr = (uint16_t)((mode == 0 ? 0xa9b : 0xc9b) | cpl << 5);
	cpu->cr0 = CR0_ET | CR0_NE | (mode == 3 ? 0 : CR0_PE) | (mode < 2 ? CR0_PG : 0);
	cpu->cr3 = TABLES;
	cpu->cr4 = CR4_PAE | CR4_OSFXSR | (how & 8 ? CR4_SMAP | CR4_SMEP : 0);
	cpu->efer = mode < 2 ? EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE : 0;
	cpu->cpl = mode == 3 ? 0 : (uint8_t)cpl;
	if (mode == 3) { /* the code lies above 1 MiB: reach it by the segment's base */
		cpu->seg[HV_CS].base = cpu->seg_base[HV_CS] = CODE & ~0xfffULL;
		cpu->seg[HV_CS].attr &= (uint16_t)~HV_SEG_DB;
	}
	cpu_mode_update(cpu);
	mmu_paging_changed(cpu);
	cpu->rip = mode == 3 ? CODE & 0xfff : CODE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cpu *cpu;

	if (!vm)
		init();
	if (size < 3 || size > MAX_CODE + 2)
		return -1;
	if (hv_soft_ops.set_state(vcpu, &fresh, NULL))
		abort();
	cpu = &vcpu->cpu;
	make_tables();
	gmem_write(mem, CODE, data + 2, size - 2);
	enter_mode(cpu, data[0]);
	for (unsigned i = 0; i < HV_N_GPR; i++)
		cpu->gpr[i] = i & 1 ? 0x200000 + i * 0x1001 : data[2 + i % (size - 2)];
	cpu->gpr[HV_RSP] = 0x180000;
	cpu->step = data[1] & 1;
	cpu->rflags = FL_ONE | (data[1] & 2 ? FL_TF : 0) | (data[1] & 4 ? FL_AC : 0);
	/* faults are skipped over, so that the rest of the input has its turn */
	for (unsigned i = 0; i < STEPS && !cpu->halted; i++) {
		atomic_store(&cpu->stop_at, 0);
		cpu->budget = BUDGET;
		cpu_exec(cpu);
		if (cpu->exc.pending) {
			cpu->exc = (struct cpu_exc){ 0 };
			cpu->rip++;
		}
		if (cpu->budget > 0 && cpu->rip - CODE >= MAX_CODE)
			break;
	}
	return 0;
}
