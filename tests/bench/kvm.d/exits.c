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
#define N_REQUESTS	400

/* Where virtio-mmio windows may be: husk's, and those of QEMU's microvm. */
static const struct {
	uint64_t first, step;
	unsigned n;
} windows[] = { { 0xd0000000, 0x1000, 4 }, { 0xfeb00000, 0x200, 24 } };

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

static void figure(const char *name, uint64_t best_ticks, unsigned n)
{
	guest_print("gbench ");
	guest_print(name);
	guest_print(" ");
	print_number(ticks_to_ns(best_ticks) / n);
	guest_print("\n");
}

/* The window of a device; 0: any, also a window without a device. */
static volatile uint32_t *find_window(uint32_t device)
{
	for (unsigned i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		for (unsigned k = 0; k < windows[i].n; k++) {
			volatile uint32_t *w =
				(volatile uint32_t *)(windows[i].first + k * windows[i].step);

			if (w[0] == VIRTIO_MAGIC && (!device || w[2] == device))
				return w;
		}
	}
	return NULL;
}

static uint64_t best(void (*access)(void), unsigned n)
{
	uint64_t ret = ~0ULL;

	for (unsigned r = 0; r < N_ROUNDS; r++) {
		uint64_t start = rdtsc(), took;

		for (unsigned i = 0; i < n; i++)
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

/* ---- virtio-rng: a request of 8 bytes there and back ---- */

#define DEVICE_RNG   4
#define QUEUE_SIZE   8
#define VECTOR_RNG   0x51
#define IOAPIC(i)    (*(volatile uint32_t *)0xfec00000UL = (i), (volatile uint32_t *)0xfec00010UL)
#define APIC_EOI_REG 0xb0

/* Indices into the window, as 32-bit words. */
enum {
	V_FEATURES_SEL = 0x24 / 4,
	V_FEATURES = 0x20 / 4,
	V_QUEUE_NUM = 0x38 / 4,
	V_QUEUE_READY = 0x44 / 4,
	V_NOTIFY = 0x50 / 4,
	V_ISR = 0x60 / 4,
	V_ACK = 0x64 / 4,
	V_STATUS = 0x70 / 4,
	V_DESC = 0x80 / 4,
	V_AVAIL = 0x90 / 4,
	V_USED = 0xa0 / 4,
};

static volatile struct {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
} desc[QUEUE_SIZE] __attribute__((aligned(4096)));
static volatile struct {
	uint16_t flags, idx, ring[QUEUE_SIZE], used_event;
} avail __attribute__((aligned(4096)));
static volatile struct {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[QUEUE_SIZE];
	uint16_t avail_event;
} used __attribute__((aligned(4096)));
static volatile uint64_t number;
static volatile uint32_t n_rng_irqs;

static void rng_set_up(void)
{
	window[V_STATUS] = 0;
	window[V_STATUS] = 1;
	window[V_STATUS] = 3;
	window[V_FEATURES_SEL] = 1;
	window[V_FEATURES] = 1; /* VERSION_1 */
	window[V_FEATURES_SEL] = 0;
	window[V_FEATURES] = 0;
	window[V_STATUS] = 11;
	window[0x30 / 4] = 0;
	window[V_QUEUE_NUM] = QUEUE_SIZE;
	window[V_DESC] = (uint32_t)(uintptr_t)desc;
	window[V_DESC + 1] = 0;
	window[V_AVAIL] = (uint32_t)(uintptr_t)&avail;
	window[V_AVAIL + 1] = 0;
	window[V_USED] = (uint32_t)(uintptr_t)&used;
	window[V_USED + 1] = 0;
	window[V_QUEUE_READY] = 1;
	window[V_STATUS] = 15;
	desc[0].addr = (uintptr_t)&number;
	desc[0].len = sizeof(number);
	desc[0].flags = 2; /* device writes */
}

static void rng_submit(void)
{
	__asm__ volatile("" ::: "memory");
	avail.idx++;
	__asm__ volatile("mfence" ::: "memory");
	window[V_NOTIFY] = 0;
}

static void rng_polled(void)
{
	uint16_t want = (uint16_t)(used.idx + 1);

	rng_submit();
	while (used.idx != want)
		__asm__ volatile("pause");
}

static void rng_irq(struct trap_frame *frame)
{
	(void)frame;
	n_rng_irqs++;
	window[V_ACK] = window[V_ISR];
	apic_write(APIC_EOI_REG, 0);
}

static void rng_interrupted(void)
{
	uint32_t want = n_rng_irqs + 1;

	rng_submit();
	while (n_rng_irqs != want)
		__asm__ volatile("sti; hlt; cli");
}

static void rng_figures(void)
{
	window = find_window(DEVICE_RNG);
	if (!window)
		return;
	rng_set_up();
	avail.flags = 1; /* no interrupts */
	figure("rng_polled", best(rng_polled, N_REQUESTS), N_REQUESTS);
	avail.flags = 0;
	trap_handlers[VECTOR_RNG] = rng_irq;
	window[V_ACK] = window[V_ISR];
	outb(0x21, 0xff); /* nothing through the PIC */
	outb(0xa1, 0xff);
	for (unsigned pin = 5; pin < 24; pin++)
		*IOAPIC(0x10 + 2 * pin) = VECTOR_RNG; /* edge, high, to APIC 0 */
	figure("rng_interrupt", best(rng_interrupted, N_REQUESTS), N_REQUESTS);
}

GUEST_TEST(exits)
{
	wrmsr(MSR_SYSTEM_TIME, (uintptr_t)&clock | 1);
	CHECK(clock.mul);
	apic_enable();
	figure("loop", best(nothing, N_ACCESSES), N_ACCESSES);
	figure("cpuid", best(cpuid_exit, N_ACCESSES), N_ACCESSES);
	figure("apic_read", best(apic_read_exit, N_ACCESSES), N_ACCESSES);
	figure("port_read", best(port_read, N_ACCESSES), N_ACCESSES);
	window = find_window(0);
	if (window)
		figure("mmio_read", best(mmio_read, N_ACCESSES), N_ACCESSES);
	rng_figures();
	guest_print("gbench done 0\n");
}

/* Nothing at all: from the start of the program to the first instruction and back. */
GUEST_TEST(start)
{
}

const struct test_entry guest_tests[] = { ENTRY(exits), ENTRY(start), { 0 } };
