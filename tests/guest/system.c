/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What system registers and descriptors refuse, and what long mode has not. Ref: Intel SDM 3A 2, 4.1,
 * 5, 8.7; AMD APM 2 3, 4, 12.2.
 */
#include "lib/guest.h"

#define EFER_LME 0x100
#define FREE	 (SEL_FREE / 8)
#define TRY_FAR(insn, sel_)                                                \
	do {                                                               \
		struct {                                                   \
			uint32_t off;                                      \
			uint16_t sel;                                      \
		} __attribute__((packed)) p_ = { 0x1000, (sel_) };         \
		TRY(insn " *%0", ::"m"(p_) : "memory", "cc");              \
	} while (0)

/* A 16-byte system descriptor in the first two free slots. */
static void set_system(unsigned attr, uint64_t base, uint32_t limit)
{
	gdt[FREE] = (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)attr << 40 |
		    (base >> 24 & 0xff) << 56;
	gdt[FREE + 1] = base >> 32;
	__asm__ volatile("" ::: "memory");
}

static void set_gate(unsigned attr, uint16_t sel, uint64_t off)
{
	gdt[FREE] = (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)attr << 40 |
		    (off >> 16 & 0xffff) << 48;
	gdt[FREE + 1] = off >> 32;
	__asm__ volatile("" ::: "memory");
}

GUEST_TEST(long_mode_has_no_tasks)
{
	uint16_t tr;

	TRY_FAR("ljmp", SEL_TSS); /* busy */
	CHECK_TRAP_ERR(GP, SEL_TSS);
	for (unsigned type = 0; type < 16; type++) {
		if (type == 0xc) /* a call gate */
			continue;
		set_system(0x80 | type, (uintptr_t)&tss, sizeof(tss) - 1);
		TRY_FAR("ljmp", SEL_FREE);
		CHECK_TRAP_ERR(GP, SEL_FREE);
		TRY_FAR("lcall", SEL_FREE);
		CHECK_TRAP_ERR(GP, SEL_FREE);
		/* In the IDT only 64-bit interrupt and trap gates are good. */
		idt_set(0x81, 0, 0x80 | type);
		TRY("int $0x81", :);
		if (type == 0xe || type == 0xf)
			CHECK_TRAP(0x81);
		else
			CHECK_TRAP_ERR(GP, 0x81 * 8 + 2);
		/* And only an available 64-bit TSS for LTR, an LDT for LLDT. */
		TRY("ltr %w0", ::"r"(SEL_FREE));
		if (type == 9) {
			CHECK_TRAP(NO_TRAP);
			CHECK_EQ(gdt[FREE] >> 40 & 15, 11);
		} else {
			CHECK_TRAP_ERR(GP, SEL_FREE);
		}
		TRY("lldt %w0", ::"r"(SEL_FREE));
		if (type == 2)
			CHECK_TRAP(NO_TRAP);
		else
			CHECK_TRAP_ERR(GP, SEL_FREE);
	}
	__asm__ volatile("str %0" : "=r"(tr));
	CHECK_EQ(tr, SEL_FREE);
	TRY("movq %%rsp, %%rbx\n\tpushfq\n\torq $0x4000, (%%rsp)\n\tpopfq\n\tiretq", ::: "rbx", "memory", "cc");
	CHECK_TRAP_ERR(GP, 0);
	__asm__ volatile("pushfq; andq $~0x4000, (%%rsp); popfq" ::: "memory", "cc");
}

GUEST_TEST(tss_and_ldt_of_16_bytes)
{
	set_system(0x89, 0x8000000000000000, 0x67);
	TRY("ltr %w0", ::"r"(SEL_FREE));
	CHECK_TRAP_ERR(GP, SEL_FREE); /* the base is not canonical */
	set_system(0x09, (uintptr_t)&tss, 0x67);
	TRY("ltr %w0", ::"r"(SEL_FREE));
	CHECK_TRAP_ERR(NP, SEL_FREE);
	set_system(0x02, 0, 0x67);
	TRY("lldt %w0", ::"r"(SEL_FREE));
	CHECK_TRAP_ERR(NP, SEL_FREE);
	gdt[GDT_N - 1] = 0x89ULL << 40 | 0x67; /* no room for its upper half */
	TRY("ltr %w0", ::"r"((GDT_N - 1) * 8));
	CHECK_TRAP_ERR(GP, (GDT_N - 1) * 8);
	TRY("ltr %w0", ::"r"(SEL_FREE | 4));
	CHECK_TRAP_ERR(GP, SEL_FREE | 4);
}

/* ---- call gates ---- */

static volatile uint64_t gate_rsp, gate_frame[4];
__asm__(".pushsection .text\n"
	"gate_target: movq %rsp, gate_rsp\n movq (%rsp), %rax\n movq %rax, gate_frame\n"
	" movq 8(%rsp), %rax\n movq %rax, gate_frame+8\n lretq\n"
	"gate_from_3: movq %rsp, gate_rsp\n movq (%rsp), %rax\n movq %rax, gate_frame\n"
	" movq 8(%rsp), %rax\n movq %rax, gate_frame+8\n movq 16(%rsp), %rax\n movq %rax, gate_frame+16\n"
	" movq 24(%rsp), %rax\n movq %rax, gate_frame+24\n lretq\n"
	"user_gate: lcall *gate_ptr\n int $0x80\n"
	".popsection");
extern const char gate_target[], gate_from_3[], user_gate[];
struct {
	uint32_t off;
	uint16_t sel;
} __attribute__((packed)) gate_ptr = { 0, SEL_FREE | 3 };

GUEST_TEST(call_gates_of_16_bytes)
{
	uint64_t rsp;

	set_gate(0x8c, SEL_CODE64, (uintptr_t)gate_target);
	TRY_FAR("lcall", SEL_FREE);
	CHECK_TRAP(NO_TRAP);
	CHECK_EQ(gate_frame[1], SEL_CODE64); /* 8-byte slots, same level */
	TRY_FAR("lcall", SEL_FREE | 3);
	CHECK_TRAP_ERR(GP, SEL_FREE); /* RPL over the gate's DPL */
	set_gate(0x0c, SEL_CODE64, (uintptr_t)gate_target);
	TRY_FAR("lcall", SEL_FREE);
	CHECK_TRAP_ERR(NP, SEL_FREE);
	set_gate(0x8c, SEL_CODE32, (uintptr_t)gate_target); /* only to 64-bit code */
	TRY_FAR("lcall", SEL_FREE);
	CHECK_TRAP_ERR(GP, SEL_CODE32);
	set_gate(0x8c, 0, (uintptr_t)gate_target);
	TRY_FAR("lcall", SEL_FREE);
	CHECK_TRAP_ERR(GP, 0);
	set_gate(0x8c, SEL_CODE64, 0x8000000000000000);
	TRY_FAR("lcall", SEL_FREE);
	CHECK_TRAP_ERR(GP, 0);
	set_gate(0x8c, SEL_CODE64, (uintptr_t)gate_target);
	gdt[FREE + 1] |= 0x1fULL << 40; /* the upper half's type must be 0 */
	TRY_FAR("lcall", SEL_FREE);
	CHECK_TRAP_ERR(GP, SEL_FREE);
	/* From ring 3: the stack of RSP0, SS null, the caller's stack on it. */
	user_open();
	set_gate(0xec, SEL_CODE64, (uintptr_t)gate_from_3);
	rsp = (uintptr_t)user_stack + sizeof(user_stack);
	CHECK_EQ(run_user(user_gate, 0), 0x80);
	CHECK_EQ(gate_rsp, tss.rsp[0] - 32);
	CHECK_EQ(gate_frame[0], (uintptr_t)user_gate + 7);
	CHECK_EQ(gate_frame[1], SEL_USER64);
	CHECK_EQ(gate_frame[2], rsp);
	CHECK_EQ(gate_frame[3], SEL_UDATA);
	CHECK_EQ(trap.cs, SEL_USER64);
	CHECK_EQ(trap.rsp, rsp);
}

/* ---- LAR, LSL, VERR, VERW ---- */

static bool lar(uint16_t sel, uint32_t *ret)
{
	uint32_t v = 0xdead;
	bool zf;

	__asm__ volatile("larl %2, %0\n\tsetz %b1" : "+r"(v), "=&q"(zf) : "r"((uint32_t)sel) : "cc", "memory");
	*ret = v;
	return zf;
}

static bool lsl(uint16_t sel, uint32_t *ret)
{
	uint32_t v = 0xdead;
	bool zf;

	__asm__ volatile("lsll %2, %0\n\tsetz %b1" : "+r"(v), "=&q"(zf) : "r"((uint32_t)sel) : "cc", "memory");
	*ret = v;
	return zf;
}

static bool verify(uint16_t sel, bool write)
{
	bool zf;

	if (write)
		__asm__ volatile("verw %w1\n\tsetz %0" : "=q"(zf) : "r"(sel) : "cc", "memory");
	else
		__asm__ volatile("verr %w1\n\tsetz %0" : "=q"(zf) : "r"(sel) : "cc", "memory");
	return zf;
}

GUEST_TEST(descriptors_are_looked_at)
{
	uint32_t v;

	CHECK(lar(SEL_CODE64, &v));
	CHECK_EQ(v & ~0xf0000U, 0x00a09b00); /* the limit's bits are undefined */
	CHECK(lsl(SEL_DATA, &v));
	CHECK_EQ(v, 0xffffffff);
	CHECK(!lar(0, &v));
	CHECK_EQ(v, 0xdead); /* unchanged */
	CHECK(!lsl(0xfff8, &v));
	CHECK(!lar(SEL_DATA | 3, &v)); /* RPL over DPL */
	CHECK(lar(SEL_UDATA, &v));
	for (unsigned type = 0; type < 16; type++) {
		static const uint16_t lar_ok = 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12;
		static const uint16_t lsl_ok = 1 << 2 | 1 << 9 | 1 << 11;

		set_system(0x80 | type, 0, 0x1234);
		CHECK_EQ(lar(SEL_FREE, &v), lar_ok >> type & 1);
		CHECK_EQ(lsl(SEL_FREE, &v), lsl_ok >> type & 1);
		CHECK(!verify(SEL_FREE, false));
		CHECK(!verify(SEL_FREE, true));
	}
	CHECK(verify(SEL_DATA, false));
	CHECK(verify(SEL_DATA, true));
	CHECK(verify(SEL_CODE64, false));
	CHECK(!verify(SEL_CODE64, true));
	CHECK(!verify(SEL_DATA | 3, false));
	CHECK(!verify(0, false));
	gdt[FREE] = 0x00cf99000000ffff; /* execute-only */
	CHECK(!verify(SEL_FREE, false));
	gdt[FREE] = 0x00cf91000000ffff; /* read-only */
	CHECK(verify(SEL_FREE, false));
	CHECK(!verify(SEL_FREE, true));
	gdt[FREE] = 0x00cf9f000000ffff; /* conforming: for any level */
	CHECK(verify(SEL_FREE | 3, false));
	/* Not present does not matter here. */
	gdt[FREE] = 0x00cf13000000ffff;
	CHECK(lar(SEL_FREE, &v));
}

/* ---- control registers ---- */

static void cr4_refuses(uint64_t bits)
{
	uint64_t old = READ_CR(4);

	TRY("movq %0, %%cr4", ::"r"(old | bits));
	CHECK_TRAP_ERR(GP, 0);
	CHECK_EQ(READ_CR(4), old);
}

GUEST_TEST(control_registers_refuse)
{
	uint64_t cr0 = READ_CR(0), cr3 = READ_CR(3), phys = cpuid(0x80000008, 0).eax & 0xff;

	TRY("movq %0, %%cr0", ::"r"(cr0 | 1ULL << 32));
	CHECK_TRAP_ERR(GP, 0);
	TRY("movq %0, %%cr0", ::"r"(cr0 & ~(1ULL << 31))); /* PG off in 64-bit code */
	CHECK_TRAP_ERR(GP, 0);
	TRY("movq %0, %%cr0", ::"r"((cr0 & ~(1ULL << 30)) | 1ULL << 29)); /* NW without CD */
	CHECK_TRAP_ERR(GP, 0);
	CHECK_EQ(READ_CR(0), cr0);
	TRY("movq %0, %%cr3", ::"r"(cr3 | 1ULL << phys));
	CHECK_TRAP_ERR(GP, 0);
	TRY("movq %0, %%cr3", ::"r"(cr3 | 1ULL << 63)); /* without PCIDs */
	CHECK_TRAP_ERR(GP, 0);
	CHECK_EQ(READ_CR(3), cr3);
	for (unsigned bit = 23; bit < 64; bit++)
		if (bit != 24 && bit != 25 && bit != 27 && bit != 28 && bit != 32)
			cr4_refuses(1ULL << bit);
	cr4_refuses(1ULL << 15);
	if (!(cpuid(7, 0).ecx & 1 << 2))
		cr4_refuses(1 << 11); /* UMIP */
	if (!(cpuid(7, 0).ecx & 1 << 16))
		cr4_refuses(1 << 12); /* LA57 */
	if (!(cpuid(1, 0).ecx & 1 << 26))
		cr4_refuses(1 << 18); /* OSXSAVE */
	if (!(cpuid(1, 0).edx & 1 << 1))
		cr4_refuses(3); /* VME, PVI */
	if (cpuid(1, 0).ecx & 1 << 17) {
		WRITE_CR(3, cr3 | 8);
		cr4_refuses(CR4_PCIDE); /* the low bits of CR3 must be 0 */
		WRITE_CR(3, cr3);
	}
}

GUEST_TEST(efer_refuses)
{
	uint64_t efer = rdmsr(MSR_EFER);
	static const unsigned bad[] = { 1, 9, 13, 16, 31, 33, 63 };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t v = efer | 1ULL << bad[i];

		TRY("wrmsr", ::"a"((uint32_t)v), "d"((uint32_t)(v >> 32)), "c"(MSR_EFER));
		CHECK_TRAP_ERR(GP, 0);
	}
	TRY("wrmsr", ::"a"((uint32_t)efer & ~EFER_LME), "d"(0), "c"(MSR_EFER)); /* with paging on */
	CHECK_TRAP_ERR(GP, 0);
	CHECK_EQ(rdmsr(MSR_EFER), efer);
	wrmsr(MSR_EFER, efer & ~(uint64_t)(1 << 10)); /* LMA is read-only, and ignored */
	CHECK_EQ(rdmsr(MSR_EFER), efer);
}

static void msr_refuses(uint32_t msr, uint64_t v)
{
	uint64_t old = rdmsr(msr);

	TRY("wrmsr", ::"a"((uint32_t)v), "d"((uint32_t)(v >> 32)), "c"(msr));
	if (trap.vector != GP || trap.error)
		guest_fail("wrmsr", (int)msr, "#GP(0)", trap.vector, GP);
	CHECK_EQ(rdmsr(msr), old);
}

GUEST_TEST(msrs_refuse)
{
	static const uint32_t addresses[] = { 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102,
					      0x175, 0x176 };

	for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		msr_refuses(addresses[i], 0x800000000000);
		msr_refuses(addresses[i], 0xffff7fffffffffff);
		wrmsr(addresses[i], 0xffff800000000000);
		CHECK_EQ(rdmsr(addresses[i]), 0xffff800000000000);
	}
	wrmsr(0xc0000101, 0);
	msr_refuses(0x277, 0x0007040600070402); /* PAT: types 2, 3 and over 7 */
	msr_refuses(0x277, 0x0307040600070406);
	msr_refuses(0x277, 0x0007040600080406);
	msr_refuses(0x2ff, 0x1000); /* MTRRs */
	msr_refuses(0x2ff, 0x802);
	msr_refuses(0x200, 0x100003);
	msr_refuses(0x1b, rdmsr(0x1b) | 1);
}

GUEST_TEST(lmsw_sets_pe_and_never_clears_it)
{
	uint64_t cr0 = READ_CR(0), v;

	__asm__ volatile("lmsw %w0" ::"r"(0x8));
	CHECK_EQ(READ_CR(0), (cr0 & ~6ULL) | 9);
	__asm__ volatile("smswq %0" : "=r"(v));
	CHECK_EQ(v & 0xffff, READ_CR(0) & 0xffff);
	__asm__ volatile("clts");
	CHECK(!(READ_CR(0) & CR0_TS));
}

GUEST_TEST(tables_have_canonical_bases)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) old, bad = { 0xffff, 0x800000000000 }, now;

	__asm__ volatile("sgdt %0" : "=m"(old));
	TRY("lgdt %0", ::"m"(bad));
	CHECK_TRAP_ERR(GP, 0);
	TRY("lidt %0", ::"m"(bad));
	CHECK_TRAP_ERR(GP, 0);
	__asm__ volatile("sgdt %0" : "=m"(now));
	CHECK_EQ(now.base, old.base);
	CHECK_EQ(now.limit, old.limit);
}

/* ---- instructions that may be there or not ---- */

GUEST_TEST(what_cpuid_denies_is_invalid)
{
	bool svm = cpuid(0x80000001, 0).ecx >> 2 & 1;

	if (!(cpuid(1, 0).ecx >> 5 & 1)) { /* VMX */
		TRY(".byte 0x0f, 0x01, 0xc2", :);
		CHECK_TRAP(UD);
		TRY(".byte 0x0f, 0x01, 0xc4", :);
		CHECK_TRAP(UD);
		TRY(".byte 0x0f, 0x78, 0xc0", :);
		CHECK_TRAP(UD);
	}
	for (unsigned i = 0xd8; i < 0xe0 && !svm; i++) {
		static uint8_t code[] = { 0x0f, 0x01, 0, 0xc3 };

		code[2] = (uint8_t)i;
		if (i == 0xd9) /* VMMCALL: a hypercall */
			continue;
		TRY("call *%0", ::"r"(code) : "rax", "memory");
		CHECK_TRAP(UD);
		__asm__ volatile("addq $8, %%rsp" ::: "memory"); /* the call's return address */
	}
	TRY(".byte 0x0f, 0xaa", :); /* RSM outside of it */
	CHECK_TRAP(UD);
	TRY(".byte 0x0f, 0x37", :); /* GETSEC */
	CHECK_TRAP(UD);
	if (!(cpuid(1, 0).ecx >> 26 & 1)) { /* XSAVE */
		TRY("xorl %%ecx, %%ecx\n\txgetbv", ::: "rax", "rcx", "rdx");
		CHECK_TRAP(UD);
		TRY("xorl %%ecx, %%ecx\n\txsetbv", ::: "rcx");
		CHECK_TRAP(UD);
		TRY(".byte 0xc5, 0xf8, 0x77", :); /* VZEROUPPER */
		CHECK_TRAP(UD);
	}
	if (!(cpuid(1, 0).ecx >> 3 & 1)) {
		TRY("monitor", :);
		CHECK_TRAP(UD);
		TRY("mwait", :);
		CHECK_TRAP(UD);
	}
	if (!(cpuid(7, 0).ecx >> 22 & 1)) {
		TRY(".byte 0xf3, 0x0f, 0xc7, 0xf8", ::: "rax"); /* RDPID */
		CHECK_TRAP(UD);
	}
}

GUEST_TEST(invpcid_refuses)
{
	struct {
		uint64_t pcid, va;
	} d = { 0, 0 };

	if (!(cpuid(7, 0).ebx >> 10 & 1))
		return;
	for (uint64_t type = 0; type < 4; type++) {
		TRY("invpcid %0, %1", ::"m"(d), "r"(type));
		CHECK_TRAP(NO_TRAP);
	}
	TRY("invpcid %0, %1", ::"m"(d), "r"(4ULL));
	CHECK_TRAP_ERR(GP, 0);
	d.pcid = 0x1000; /* reserved */
	TRY("invpcid %0, %1", ::"m"(d), "r"(0ULL));
	CHECK_TRAP_ERR(GP, 0);
	d.pcid = 1; /* without CR4.PCIDE */
	TRY("invpcid %0, %1", ::"m"(d), "r"(1ULL));
	CHECK_TRAP_ERR(GP, 0);
	d.pcid = 0;
	d.va = 0x800000000000;
	TRY("invpcid %0, %1", ::"m"(d), "r"(0ULL));
	CHECK_TRAP_ERR(GP, 0);
	TRY("invlpg (%0)", ::"r"(0x800000000000ULL)); /* does nothing */
	CHECK_TRAP(NO_TRAP);
}

/* ---- SYSENTER, SYSEXIT ---- */

__asm__(".pushsection .text\n"
	"on_sysenter: pushfq\n popq sysenter_flags\n movq %rsp, sysenter_rsp\n movl $0x99, %edi\n"
	" jmp user_leave\n"
	"user_sysenter: sysenter\n ud2\n"
	"after_sysexit: int $0x80\n"
	"user_int90: int $0x90\n"
	".popsection");
extern const char on_sysenter[], user_sysenter[], after_sysexit[], user_int90[];
volatile uint64_t sysenter_flags, sysenter_rsp;

static void do_sysexit(struct trap_frame *f)
{
	__asm__ volatile("sysexitq" ::"d"(after_sysexit), "c"((uintptr_t)user_stack + 4096));
}

GUEST_TEST(sysenter_and_sysexit)
{
	uint64_t top = (uintptr_t)page_alloc() + 4096;

	user_open();
	wrmsr(0x174, 0);
	CHECK_EQ(run_user(user_sysenter, 0), GP);
	CHECK_EQ(trap.error, 0);
	TRY("sysexitq", :);
	CHECK_TRAP_ERR(GP, 0);
	/* CS, SS behind it, then 32-bit code and data, 64-bit code and data. */
	wrmsr(0x174, SEL_CODE64);
	wrmsr(0x175, top);
	wrmsr(0x176, (uintptr_t)on_sysenter);
	CHECK_EQ(run_user(user_sysenter, FLAG_IF), 0x99);
	CHECK_EQ(sysenter_rsp, top);
	CHECK(!(sysenter_flags & FLAG_IF));
	TRY("sysexitq", ::"d"(0x800000000000ULL), "c"(0ULL));
	CHECK_TRAP_ERR(GP, 0);
	trap_handlers[0x90] = do_sysexit;
	idt_set(0x90, 0, 0xee);
	wrmsr(0x174, SEL_DATA); /* + 32: the user's 64-bit code */
	CHECK_EQ(run_user(user_int90, 0), 0x80);
	CHECK_EQ(trap.cs, (SEL_DATA + 32) | 3);
	CHECK_EQ(trap.ss, (SEL_DATA + 40) | 3);
	CHECK_EQ(trap.rsp, (uintptr_t)user_stack + 4096);
}
const struct test_entry guest_tests[] = {
	ENTRY(long_mode_has_no_tasks),
	ENTRY(tss_and_ldt_of_16_bytes),
	ENTRY(call_gates_of_16_bytes),
	ENTRY(descriptors_are_looked_at),
	ENTRY(control_registers_refuse),
	ENTRY(efer_refuses),
	ENTRY(msrs_refuse),
	ENTRY(lmsw_sets_pe_and_never_clears_it),
	ENTRY(tables_have_canonical_bases),
	ENTRY(what_cpuid_denies_is_invalid),
	ENTRY(invpcid_refuses),
	ENTRY(sysenter_and_sysexit),
	{ 0 },
};
