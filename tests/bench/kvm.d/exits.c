/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an exit costs, measured in the guest with the clock that KVM gives it: one line a figure on
 * the debug port, "gbench NAME NANOSECONDS", the best of some rounds of many accesses each.
 */
#include "lib/guest.h"

#define MSR_SYSTEM_TIME 0x4b564d01
#define PORT_COM1_LSR	0x3fd
#define VIRTIO_MAGIC	0x74726976
#define N_ROUNDS	5
#define N_ACCESSES	2000

/* Where a virtio-mmio window may be: husk's first, then those of QEMU's microvm. */
static const uint64_t windows[] = { 0xd0000000, 0xfeb00000, 0xfeb00e00, 0xfeb02e00 };

static volatile struct {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
} clock __attribute__((aligned(64)));

static uint64_t ticks_to_ns(uint64_t ticks)
{
	ticks = clock.shift < 0 ? ticks >> -clock.shift : ticks << clock.shift;
	return (uint64_t)(((unsigned __int128)ticks * clock.mul) >> 32);
}

static void print_number(uint64_t v)
{
	char digits[24];
	unsigned n = sizeof(digits);

	digits[--n] = '\0';
	do
		digits[--n] = (char)('0' + v % 10);
	while ((v /= 10));
	guest_print(digits + n);
}

static void figure(const char *name, uint64_t best_ticks)
{
	guest_print("gbench ");
	guest_print(name);
	guest_print(" ");
	print_number(ticks_to_ns(best_ticks) / N_ACCESSES);
	guest_print("\n");
}

static volatile uint32_t *find_window(void)
{
	for (unsigned i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		volatile uint32_t *w = (volatile uint32_t *)windows[i];

		if (*w == VIRTIO_MAGIC)
			return w;
	}
	return NULL;
}

static uint64_t best(void (*access)(void))
{
	uint64_t ret = ~0ULL;

	for (unsigned r = 0; r < N_ROUNDS; r++) {
		uint64_t start = rdtsc(), took;

		for (unsigned i = 0; i < N_ACCESSES; i++)
			access();
		took = rdtsc() - start;
		ret = took < ret ? took : ret;
	}
	return ret;
}

static volatile uint32_t *window;

static void nothing(void)
{
	__asm__ volatile("");
}

static void port_read(void)
{
	(void)inb(PORT_COM1_LSR);
}

static void mmio_read(void)
{
	(void)window[0];
}

static void cpuid_exit(void)
{
	(void)cpuid(0, 0);
}

static void apic_read_exit(void)
{
	(void)apic_read(0x20);
}

GUEST_TEST(exits)
{
	wrmsr(MSR_SYSTEM_TIME, (uintptr_t)&clock | 1);
	CHECK(clock.mul);
	apic_enable();
	figure("loop", best(nothing));
	figure("cpuid", best(cpuid_exit));
	figure("apic_read", best(apic_read_exit));
	figure("port_read", best(port_read));
	window = find_window();
	if (window)
		figure("mmio_read", best(mmio_read));
	guest_print("gbench done 0\n");
}

/* Nothing at all: from the start of the program to the first instruction and back. */
GUEST_TEST(start)
{
}

const struct test_entry guest_tests[] = { ENTRY(exits), ENTRY(start), { 0 } };
