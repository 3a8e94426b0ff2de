/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-in MMU: what mmu.c and exception.c give, for a machine without page tables. */
#include "flat_mmu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "soft/block_priv.h"
#include "soft/mmu.h"
#include "soft/stub.h"

static struct tlb_array array;
static struct tlb_entry *const tlb = array.e;

void flat_flush(struct cpu *cpu)
{
	for (unsigned i = 0; i < TLB_ENTRIES; i++)
		tlb[i].tag_r = tlb[i].tag_w = tlb[i].tag_x = tlb_no_tag(i);
}

static void map_windows(void)
{
	void *p;
	int fd;

	p = mmap((void *)DATA_VA, DATA_PAGES * 4096, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (p == MAP_FAILED)
		abort();
	for (unsigned i = 0; i < 4096; i++)
		((uint8_t *)(DATA_VA + DATA_RW))[i] = (uint8_t)(i * 37 + 11);
	if (mprotect((void *)(DATA_VA + DATA_RW), 4096, PROT_READ) < 0)
		abort();
	fd = memfd_create("code", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, CODE_PAGES * 4096) < 0)
		abort();
	p = mmap((void *)CODE_VA, CODE_PAGES * 4096, PROT_READ | PROT_EXEC,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (p == MAP_FAILED)
		abort();
	p = mmap((void *)CODE_ALIAS, CODE_PAGES * 4096, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (p == MAP_FAILED)
		abort();
	close(fd);
}

void flat_init(struct cpu *cpu, struct soft_vm *vm, const struct hv_cpuid_table *cpuid)
{
	static struct gmem no_mem;

	vm->mem = &no_mem;
	vm->config.cpuid = cpuid;
	vm->cpus[0] = cpu;
	cpu->vm = vm;
	cpu->cpl = 3;
	cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_MP;
	if (stub_cpu_new(cpu, NULL) < 0 || block_vm_new(vm, NULL) < 0 ||
	    block_cpu_new(cpu, NULL) < 0)
		abort();
	for (unsigned i = 0; i <= HV_GS; i++)
		cpu->seg[i] = (struct hv_segment){ .limit = 0xffffffff, .attr = 0xcf3 };
	map_windows();
	cpu->tlb = tlb;
	cpu->code_gen[0] = cpu->code_gen[1] = 1; /* nothing is ever mapped anew */
	flat_flush(cpu);
}

void flat_done(struct cpu *cpu)
{
	block_cpu_free(cpu);
	stub_cpu_free(cpu);
	block_vm_free(cpu->vm);
}

static bool in_data(uint64_t va)
{
	return va - DATA_VA < DATA_PAGES * 4096;
}

static bool in_code(uint64_t va)
{
	return va - CODE_VA < CODE_PAGES * 4096;
}

static bool writable(uint64_t va)
{
	return va - DATA_VA < DATA_RW;
}

/* The first byte that may not be accessed decides. */
static bool check(struct cpu *cpu, uint64_t va, unsigned size, bool write)
{
	for (unsigned i = 0; i < size; i++) {
		uint64_t a = va + i;

		if (!mmu_canonical(a)) {
			cpu_raise_err(cpu, VEC_GP, 0);
			cpu->exc.noncanonical = true;
			return false;
		}
		if (!in_data(a) && !in_code(a)) {
			cpu_raise_pf(cpu, a, PF_U | (write ? PF_W : 0));
			return false;
		}
		if (write && !writable(a)) {
			cpu_raise_pf(cpu, a, PF_U | PF_W | PF_P);
			return false;
		}
	}
	return true;
}

static void fill(uint64_t va)
{
	uint64_t page = va & ~4095UL;
	unsigned i = (va >> 12) & (TLB_ENTRIES - 1);

	tlb[i].tag_r = page;
	tlb[i].tag_x = in_code(va) ? page : tlb_no_tag(i);
	tlb[i].tag_w = writable(va) ? page : tlb_no_tag(i);
	tlb[i].addend = 0;
}

bool mmu_read_slow(struct cpu *cpu, uint64_t va, void *dst, unsigned size)
{
	if (!check(cpu, va, size, false))
		return false;
	memcpy(dst, (void *)va, size);
	fill(va);
	return true;
}

bool mmu_write_slow(struct cpu *cpu, uint64_t va, const void *src, unsigned size)
{
	if (!check(cpu, va, size, true))
		return false;
	memcpy((void *)va, src, size);
	fill(va);
	return true;
}

void *mmu_rmw_slow(struct cpu *cpu, uint64_t va, unsigned size)
{
	if (!check(cpu, va, size, true))
		return NULL;
	return (va & 4095) + size > 4096 ? NULL : (void *)va;
}

void mmu_rmw_done(struct cpu *cpu, uint64_t va, unsigned size)
{
}

const uint8_t *mmu_fetch(struct cpu *cpu, uint64_t va, gpa_t *ret_gpa)
{
	if (!mmu_canonical(va)) {
		cpu_raise_err(cpu, VEC_GP, 0);
		return NULL;
	}
	if (!in_code(va)) {
		cpu_raise_pf(cpu, va, PF_U | PF_I | (in_data(va) ? PF_P : 0));
		return NULL;
	}
	fill(va);
	*ret_gpa = va;
	return (const uint8_t *)va;
}

void *mmu_page_span(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned *ret_len)
{
	if (!check(cpu, va, 1, access == MMU_WRITE))
		return NULL;
	*ret_len = 4096 - (va & 4095);
	return (void *)va;
}

void mmu_protect_code_page(struct cpu *cpu, gpa_t gpa)
{
}

void cpu_raise_err(struct cpu *cpu, enum cpu_vector vec, uint32_t error)
{
	if (cpu->exc.pending)
		return;
	cpu->exc = (struct cpu_exc){
		.pending = true, .has_error = true, .vector = vec, .error = error
	};
}

void cpu_raise(struct cpu *cpu, enum cpu_vector vec)
{
	cpu_raise_err(cpu, vec, 0);
	cpu->exc.has_error = false;
}

void cpu_raise_pf(struct cpu *cpu, uint64_t va, uint32_t error)
{
	if (cpu->exc.pending)
		return;
	cpu_raise_err(cpu, VEC_PF, error);
	cpu->exc.cr2 = va;
}
