/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU model `base`.
 *
 * AMD's name keeps Linux from building its page-table isolation; family 15 model 107 from probing
 * microcode MSRs. No XSAVE and so no AVX: the state of a vCPU is FXSAVE's 512 bytes.
 * Ref: AMD APM volume 3 appendix E; Intel SDM 2A CPUID; linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "machine/cpumodel.h"

#include <errno.h>
#include <string.h>

/* clang-format off */

/* leaf 1 EDX */
#define F1D_FPU		(1U << 0)
#define F1D_VME		(1U << 1)
#define F1D_DE		(1U << 2)
#define F1D_PSE		(1U << 3)
#define F1D_TSC		(1U << 4)
#define F1D_MSR		(1U << 5)
#define F1D_PAE		(1U << 6)
#define F1D_CX8		(1U << 8)
#define F1D_APIC	(1U << 9)
#define F1D_SEP		(1U << 11)
#define F1D_MTRR	(1U << 12)
#define F1D_PGE		(1U << 13)
#define F1D_CMOV	(1U << 15)
#define F1D_PAT		(1U << 16)
#define F1D_PSE36	(1U << 17)
#define F1D_CLFLUSH	(1U << 19)
#define F1D_MMX		(1U << 23)
#define F1D_FXSR	(1U << 24)
#define F1D_SSE		(1U << 25)
#define F1D_SSE2	(1U << 26)
#define F1D_HTT		(1U << 28)

/* leaf 1 ECX */
#define F1C_SSE3	(1U << 0)
#define F1C_PCLMUL	(1U << 1)
#define F1C_SSSE3	(1U << 9)
#define F1C_CX16	(1U << 13)
#define F1C_PCID	(1U << 17)
#define F1C_SSE4_1	(1U << 19)
#define F1C_SSE4_2	(1U << 20)
#define F1C_X2APIC	(1U << 21)
#define F1C_POPCNT	(1U << 23)
#define F1C_TSC_DEADLINE (1U << 24)
#define F1C_AES		(1U << 25)
#define F1C_RDRAND	(1U << 30)
#define F1C_HYPERVISOR	(1U << 31)

/* leaf 6 EAX */
#define F6A_ARAT	(1U << 2)

/* leaf 7 */
#define F7B_FSGSBASE	(1U << 0)
#define F7B_SMEP	(1U << 7)
#define F7B_ERMS	(1U << 9)
#define F7B_INVPCID	(1U << 10)
#define F7B_RDSEED	(1U << 18)
#define F7B_SMAP	(1U << 20)
#define F7D_FSRM	(1U << 4)

/* leaf 0x80000001 */
#define FE1C_LAHF	(1U << 0)
#define FE1C_CMP_LEGACY	(1U << 1)
#define FE1D_SYSCALL	(1U << 11)
#define FE1D_NX		(1U << 20)
#define FE1D_PDPE1GB	(1U << 26)
#define FE1D_RDTSCP	(1U << 27)
#define FE1D_LM		(1U << 29)

/* leaf 0x80000007 EDX */
#define FE7D_INVARIANT_TSC (1U << 8)

/* leaf 0x40000001 EAX: kvm's paravirtual features */
#define FKVM_NOP_IO_DELAY	(1U << 1)
#define FKVM_CLOCKSOURCE2	(1U << 3)
#define FKVM_CLOCK_STABLE	(1U << 24)

#define BASE_1D (F1D_FPU | F1D_DE | F1D_PSE | F1D_TSC | F1D_MSR | F1D_PAE | F1D_CX8 | F1D_APIC | \
		 F1D_SEP | F1D_MTRR | F1D_PGE | F1D_CMOV | F1D_PAT | F1D_PSE36 | F1D_CLFLUSH | \
		 F1D_MMX | F1D_FXSR | F1D_SSE | F1D_SSE2)
#define BASE_1C (F1C_SSE3 | F1C_PCLMUL | F1C_SSSE3 | F1C_CX16 | F1C_PCID | F1C_SSE4_1 | F1C_SSE4_2 | \
		 F1C_X2APIC | F1C_POPCNT | F1C_TSC_DEADLINE | F1C_AES | F1C_RDRAND | F1C_HYPERVISOR)
#define BASE_7B (F7B_FSGSBASE | F7B_SMEP | F7B_ERMS | F7B_INVPCID | F7B_RDSEED | F7B_SMAP)
#define BASE_E1D (FE1D_SYSCALL | FE1D_NX | FE1D_PDPE1GB | FE1D_RDTSCP | FE1D_LM)
/* AMD repeats these bits of leaf 1 EDX in leaf 0x80000001. */
#define REPEATED_1D (F1D_FPU | F1D_VME | F1D_DE | F1D_PSE | F1D_TSC | F1D_MSR | F1D_PAE | F1D_CX8 | \
		     F1D_APIC | F1D_MTRR | F1D_PGE | F1D_CMOV | F1D_PAT | F1D_PSE36 | F1D_MMX | \
		     F1D_FXSR)

#define MAX_BASIC	0xdU
#define MAX_EXTENDED	0x80000008U
#define MAX_HYPERVISOR	0x40000001U
#define FAMILY_MODEL	0x00060fb1U /* family 15, model 107, stepping 1 */
#define PHYS_BITS	40U
#define VIRT_BITS	48U
#define CLFLUSH_UNITS	8U /* of 8 bytes: 64-byte lines */

/* clang-format on */

static void add(struct hv_cpuid_table *t, uint32_t leaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
		uint32_t edx)
{
	t->entries[t->n++] =
		(struct hv_cpuid){ .leaf = leaf, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx };
}

static void add_sub(struct hv_cpuid_table *t, uint32_t leaf, uint32_t subleaf, uint32_t eax,
		    uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	add(t, leaf, eax, ebx, ecx, edx);
	t->entries[t->n - 1].subleaf = subleaf;
	t->entries[t->n - 1].has_subleaf = true;
}

static uint32_t text4(const char *text)
{
	return (uint32_t)(uint8_t)text[0] | (uint32_t)(uint8_t)text[1] << 8 |
	       (uint32_t)(uint8_t)text[2] << 16 | (uint32_t)(uint8_t)text[3] << 24;
}

/* Bits an APIC id needs for @n vCPUs. */
static uint32_t id_bits(unsigned n)
{
	uint32_t bits = 0;

	while ((1U << bits) < n)
		bits++;
	return bits;
}

static void add_basic(struct hv_cpuid_table *t, unsigned n_vcpus)
{
	uint32_t htt = n_vcpus > 1 ? F1D_HTT : 0;

	add(t, 0, MAX_BASIC, text4("Auth"), text4("cAMD"), text4("enti"));
	add(t, 1, FAMILY_MODEL, CLFLUSH_UNITS << 8 | n_vcpus << 16, BASE_1C, BASE_1D | htt);
	add(t, 6, F6A_ARAT, 0, 0, 0);
	add_sub(t, 7, 0, 0, BASE_7B, 0, F7D_FSRM);
	/* Topology: one thread a core, all cores in one package. */
	add_sub(t, 0xb, 0, 0, 1, 0x100, 0);
	add_sub(t, 0xb, 1, id_bits(n_vcpus), n_vcpus, 0x201, 0);
}

static void add_hypervisor(struct hv_cpuid_table *t)
{
	add(t, 0x40000000, MAX_HYPERVISOR, text4("KVMK"), text4("VMKV"), text4("M\0\0\0"));
	add(t, 0x40000001, FKVM_NOP_IO_DELAY | FKVM_CLOCKSOURCE2 | FKVM_CLOCK_STABLE, 0, 0, 0);
}

static void add_extended(struct hv_cpuid_table *t, unsigned n_vcpus)
{
	static const char brand[48] = "husk virtual x86-64-v2 processor";
	uint32_t cmp_legacy = n_vcpus > 1 ? FE1C_CMP_LEGACY : 0;

	add(t, 0x80000000, MAX_EXTENDED, text4("Auth"), text4("cAMD"), text4("enti"));
	add(t, 0x80000001, FAMILY_MODEL, 0, FE1C_LAHF | cmp_legacy,
	    BASE_E1D | (BASE_1D & REPEATED_1D));
	for (unsigned i = 0; i < 3; i++)
		add(t, 0x80000002 + i, text4(brand + 16 * i), text4(brand + 16 * i + 4),
		    text4(brand + 16 * i + 8), text4(brand + 16 * i + 12));
	/* L1: 32 KiB each, 8-way; TLBs of 64 entries. L2: 512 KiB, 8-way. L3: 16 MiB, 16-way. */
	add(t, 0x80000005, 0xff40ff40, 0xff40ff40, 32U << 24 | 8 << 16 | 1 << 8 | 64,
	    32U << 24 | 8 << 16 | 1 << 8 | 64);
	add(t, 0x80000006, 0, 0x42004200, 512U << 16 | 6 << 12 | 1 << 8 | 64,
	    32U << 18 | 8 << 12 | 1 << 8 | 64);
	add(t, 0x80000007, 0, 0, 0, FE7D_INVARIANT_TSC);
	add(t, 0x80000008, PHYS_BITS | VIRT_BITS << 8, 0, id_bits(n_vcpus) << 12 | (n_vcpus - 1),
	    0);
}

int cpumodel_fill(const char *name, unsigned n_vcpus, uint32_t tsc_khz, struct hv_cpuid_table *ret,
		  struct err *err)
{
	if (strcmp(name, "base") != 0)
		return err_set(err, -EINVAL, "unknown CPU model '%s' (there is: base)", name);
	*ret = (struct hv_cpuid_table){ .tsc_khz = tsc_khz };
	add_basic(ret, n_vcpus);
	add_hypervisor(ret);
	add_extended(ret, n_vcpus);
	return 0;
}
