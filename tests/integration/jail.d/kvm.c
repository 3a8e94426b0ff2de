/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that makes each of its machine's threads do on KVM what they may: instructions that some
 * hosts' KVM cannot emulate, interrupts of devices from a vCPU and from a timer; then it says that
 * a snapshot may be taken and that it is ready, as a container's init does, again and again, until it is ended.
 */
#include "guest.h"

#define MAILBOX 0xf0000000UL
#define ALIKE	0x414c494bU
#define READY	0xdeadbeefU
#define COM1	0x3f8
#define PIT	0x40
#define RTC	0x70

static void try_instructions(void)
{
	static const uint64_t in = 0x1234;

	TRY("crc32q %[in], %%rax\n\t", : : [in] "m"(in) : "rax", "memory");
	TRY("popcntq %[in], %%rax\n\t", : : [in] "m"(in) : "rax", "memory");
	TRY("movbeq %[in], %%rax\n\t", : : [in] "m"(in) : "rax", "memory");
	TRY("pdepq %[in], %%rax, %%rax\n\t", : : [in] "m"(in) : "rax", "memory");
	TRY("paddd %%xmm0, %%xmm0\n\t", : : : "memory");
	TRY("rdrand %%rax\n\t", : : : "rax", "memory");
}

static void interrupt(void)
{
	outb(COM1 + 1, 2); /* of an empty transmitter: at once, by the vCPU */
	outb(COM1 + 4, 8);
	outb(PIT + 3, 0x34); /* every millisecond, by the timer's thread */
	outb(PIT, 0xa9);
	outb(PIT, 0x04);
	outb(RTC, 0x8b);
	outb(RTC + 1, 0x42); /* periodic */
}

GUEST_TEST(ready)
{
	try_instructions();
	interrupt();
	for (;;) {
		for (uint64_t from = rdtsc(); rdtsc() - from < 50000000;)
			inb(0x61);
		*(volatile uint32_t *)MAILBOX = ALIKE;
		*(volatile uint32_t *)MAILBOX = READY;
		outb(COM1, '.');
	}
}

const struct test_entry guest_tests[] = { ENTRY(ready), { 0 } };
