/* SPDX-License-Identifier: Apache-2.0 */
/* What a hostile guest does: garbage everywhere. The machine may end the VM; the VMM must not fall
 * over. */
#include "lib/guest.h"

static uint64_t state = 0x9e3779b97f4a7c15ULL;
static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static bool ends_the_vm(unsigned port)
{
	return port == 0xf4 || port == 0x64 || port == 0x92 || port == 0xcf9 ||
	       (port >= 0x600 && port < 0x620);
}

GUEST_TEST(every_port)
{
	for (unsigned port = 0; port < 0x10000; port++) {
		uint32_t v;

		__asm__ volatile("inb %w1, %b0" : "=a"(v) : "d"(port));
		__asm__ volatile("inw %w1, %w0" : "=a"(v) : "d"(port));
		__asm__ volatile("inl %w1, %0" : "=a"(v) : "d"(port));
		if (ends_the_vm(port) || port == 0xe9)
			continue;
		__asm__ volatile("outb %b0, %w1" ::"a"((uint32_t)next()), "d"(port));
		if (ends_the_vm(port + 1) || ends_the_vm(port + 3) || port + 3 >= 0x10000)
			continue;
		__asm__ volatile("outw %w0, %w1" ::"a"((uint32_t)next()), "d"(port));
		__asm__ volatile("outl %0, %w1" ::"a"((uint32_t)next()), "d"(port));
	}
}

GUEST_TEST(every_msr)
{
	static const uint32_t ranges[][2] = { { 0, 0x2000 },
					      { 0xc0000000, 0xc0000400 },
					      { 0xc0010000, 0xc0011100 },
					      { 0x4b564d00, 0x4b564e00 },
					      { 0x40000000, 0x40000200 } };

	for (unsigned r = 0; r < 5; r++)
		for (uint32_t msr = ranges[r][0]; msr < ranges[r][1]; msr++) {
			if (msr == MSR_EFER || (msr >= 0x800 && msr < 0x840) || msr == 0x1b)
				continue; /* in the tests of their own */
			TRY("rdmsr", ::"c"(msr) : "rax", "rdx");
			for (int i = 0; i < 3; i++)
				TRY("wrmsr", ::"c"(msr), "a"((uint32_t)next()),
				    "d"(i ? (uint32_t)next() : 0));
		}
}

GUEST_TEST(every_mmio_register)
{
	static const uint64_t windows[] = { 0xd0000000, 0xd0001000, 0xd0002000, 0xd0003000,
					    0xd0004000, 0xd0005000, 0xd0006000, 0xd0007000,
					    0xfec00000, 0xf0000000, 0xf0001000, 0xfed00000,
					    0xe0000000, 0xffff0000 };

	for (unsigned w = 0; w < sizeof(windows) / sizeof(windows[0]); w++)
		for (unsigned off = 0; off < 4096; off++) {
			volatile uint8_t *p = (uint8_t *)windows[w] + off;
			uint64_t v = next();

			(void)*p;
			(void)*(volatile uint16_t *)p;
			(void)*(volatile uint32_t *)p;
			(void)*(volatile uint64_t *)p;
			*p = (uint8_t)v;
			*(volatile uint16_t *)p = (uint16_t)v;
			*(volatile uint32_t *)p = (uint32_t)v;
			*(volatile uint64_t *)p = v;
			if ((off & 63) == 0)
				TRY("movups (%0), %%xmm0\n\tmovups %%xmm0, (%0)\n\tlock; addl $1, "
				    "(%0)\n\t"
				    "xchgq %%rax, (%0)",
				    ::"r"(p)
				    : "rax", "memory");
		}
}

GUEST_TEST(every_lapic_register)
{
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	for (int round = 0; round < 4; round++)
		for (unsigned off = 0; off < 4096; off += 4) {
			if ((off & ~0xfU) == 0x300)
				continue; /* a random IPI may be INIT to itself */
			XAPIC(off) = (uint32_t)next() & 0xfff0ffff;
			(void)XAPIC(off);
		}
}

GUEST_TEST(control_registers_and_segments)
{
	for (int i = 0; i < 2000; i++) {
		uint64_t v = next();

		TRY("movq %0, %%cr4",
		    ::"r"((READ_CR(4) & ~0xfff00000ULL) | (v & 0xffff0000fff00000ULL)));
		TRY("movq %0, %%cr8", ::"r"(v & 0x1f));
		TRY("movq %0, %%dr7", ::"r"(v & 0xffffffff0000dc00ULL));
		TRY("movw %w0, %%fs", ::"r"(v));
		TRY("movw %w0, %%gs", ::"r"(v >> 16));
		TRY("lldt %w0", ::"r"(v >> 32));
		TRY("lar %w0, %%eax\n\tlsl %w0, %%eax\n\tverr %w0\n\tverw %w0", ::"r"(v) : "rax");
	}
	WRITE_DR(7, 0x400);
}

GUEST_TEST(random_instructions)
{
	/* Random bytes as code, 20000 times; whatever they do to this VM, the VMM lives. */
	uint8_t *p = (uint8_t *)0x3000000;

	for (int i = 0; i < 20000; i++) {
		for (int j = 0; j < 32; j += 8)
			*(uint64_t *)(p + j) = next();
		p[32] = 0xcc;
		TRY("movq %%rsp, %%rbx\n\tjmp *%0\n9:\tmovq %%rbx, %%rsp", ::"r"(p)
		    : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
		      "r13", "r14", "r15", "memory");
	}
}

/* Handlers that go back to what faulted: #UD while counts last, then behind the UD2. */
static volatile uint64_t n_faults __attribute__((used));
extern char fault_again[];
__asm__(".text\nfault_again:\n\t"
	"incq n_faults(%rip)\n\t"
	"cmpq $300000, n_faults(%rip)\n\t"
	"jb 1f\n\t"
	"addq $2, (%rsp)\n"
	"1:\tiretq\n");

GUEST_TEST(a_fault_again_and_again)
{
	uintptr_t at = (uintptr_t)fault_again;
	struct idt_gate *g = &idt[6];

	g->off0 = (uint16_t)at;
	g->off1 = (uint16_t)(at >> 16);
	g->off2 = (uint32_t)(at >> 32);
	__asm__ volatile("ud2" ::: "memory");
	CHECK_EQ(n_faults, 300000);
}

GUEST_TEST(triple_fault)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	__asm__ volatile("lidt %0; ud2" ::"m"(none));
}

GUEST_TEST(reset_by_keyboard_controller)
{
	outb(0x64, 0xfe);
	__asm__ volatile("cli; hlt");
}

const struct test_entry guest_tests[] = {
	ENTRY(every_port),
	ENTRY(every_msr),
	ENTRY(every_mmio_register),
	ENTRY(every_lapic_register),
	ENTRY(control_registers_and_segments),
	ENTRY(random_instructions),
	ENTRY(a_fault_again_and_again),
	ENTRY(triple_fault),
	ENTRY(reset_by_keyboard_controller),
	{ 0 },
};
