/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM costs by the back end's own interface. Prints, for each round, nanoseconds:
 *
 *	create N	from nothing to the first instruction of a VM of 64 MiB with one vCPU
 *	line N		from setting a halted guest's interrupt line to the first port write of its handler
 *	irqfd N		the same, by a write to an eventfd
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "boot/boot.h"
#include "kvm/kvm.h"
#include "machine/cpumodel.h"
#include "vmm/vm.h"

#define CODE	0x10000
#define HANDLER (CODE + 0x100)
#define IDT	0x30000
#define RAM	(64 << 20)
#define PIN	20   /* none of the PIC's */
#define REPEATS 40   /* interrupts a round, each way */
#define SETTLE	1000 /* us for the guest to halt */

enum { PORT_DONE = 0x10, PORT_IRQ = 0x11 };

struct bench {
	struct gmem *mem;
	struct hv_vm *vm;
	struct hv_vcpu *vcpu;
	struct hv_vcpu_state state;
	uint64_t done_ns; /* the guest's write to PORT_DONE */
	uint64_t irq_ns;  /* and to PORT_IRQ; 0: not yet */
	int irq_fd;
};

static uint64_t read_nothing(void *opaque, uint16_t port, unsigned size)
{
	return 0;
}

static void on_write(void *opaque, uint16_t port, unsigned size, uint64_t val)
{
	struct bench *b = opaque;
	uint64_t now = clock_monotonic_ns();

	if (port == PORT_IRQ) {
		__atomic_store_n(&b->irq_ns, now, __ATOMIC_RELEASE);
		return;
	}
	b->done_ns = now;
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

static int make(struct bench *b, const uint8_t *code, size_t len, struct err *err)
{
	const struct boot_entry entry = { .mode = BOOT_MODE_LONG, .rip = CODE, .rsp = CODE };
	struct hv_vm_config config = { .bus = &bus, .bus_opaque = b, .n_vcpus = 1 };
	struct hv_cpuid_table cpuid;
	int r = gmem_new(&b->mem, err);

	if (r == 0)
		r = gmem_add_anon(b->mem, 0, RAM, GMEM_RAM, err);
	if (r == 0)
		r = cpumodel_fill("base", 1, vm_tsc_khz(&hv_kvm_ops), &cpuid, err);
	config.mem = b->mem;
	config.cpuid = &cpuid;
	if (r == 0)
		r = hv_kvm_ops.vm_new(&config, &b->vm, err);
	if (r == 0)
		r = hv_kvm_ops.vcpu_new(b->vm, 0, &b->vcpu, err);
	if (r < 0)
		return r;
	hv_kvm_ops.get_state(b->vcpu, &b->state);
	r = boot_entry_apply(&entry, b->mem, &b->state, err);
	return r < 0 ? r : gmem_write(b->mem, CODE, code, len);
}

static void unmake(struct bench *b)
{
	if (b->vcpu)
		hv_kvm_ops.vcpu_free(b->vcpu);
	if (b->vm)
		hv_kvm_ops.vm_free(b->vm);
	gmem_free(b->mem);
}

static int create(struct err *err)
{
	static const uint8_t code[] = { 0xe6, PORT_DONE, 0xf4 }; /* out %al; hlt */
	uint64_t start = clock_monotonic_ns();
	struct bench b = { 0 };
	struct hv_exit exit;
	int r = make(&b, code, sizeof(code), err);

	if (r == 0)
		r = hv_kvm_ops.set_state(b.vcpu, &b.state, err);
	if (r == 0) {
		hv_kvm_ops.run(b.vcpu, &exit);
		printf("create %llu\n", (unsigned long long)(b.done_ns - start));
	}
	unmake(&b);
	return r;
}

/* ---- interrupts ---- */

static void by_line(struct bench *b)
{
	hv_kvm_ops.set_gsi(b->vm, PIN, true);
	hv_kvm_ops.set_gsi(b->vm, PIN, false);
}

static void by_eventfd(struct bench *b)
{
	if (eventfd_write(b->irq_fd, 1) < 0)
		perror("eventfd");
}

static uint64_t interrupt(struct bench *b, void (*signal)(struct bench *b))
{
	uint64_t start, seen;

	usleep(SETTLE);
	__atomic_store_n(&b->irq_ns, 0, __ATOMIC_RELEASE);
	start = clock_monotonic_ns();
	signal(b);
	while ((seen = __atomic_load_n(&b->irq_ns, __ATOMIC_ACQUIRE)) == 0)
		;
	return seen - start;
}

static void *signal_all(void *opaque)
{
	struct bench *b = opaque;

	for (unsigned i = 0; i < REPEATS; i++) {
		printf("line %llu\n", (unsigned long long)interrupt(b, by_line));
		printf("irqfd %llu\n", (unsigned long long)interrupt(b, by_eventfd));
	}
	hv_kvm_ops.kick(b->vcpu);
	return NULL;
}

static int interrupts(struct err *err)
{
	/* mov $0xfec00000, %ebx; the pin's entry: vector 0x40; sti; 1: hlt; jmp 1b */
	static const uint8_t code[] = { 0xbb, 0, 0, 0xc0, 0xfe, 0xc7, 3, 0x10 + 2 * PIN, 0, 0, 0,
					0xc7, 0x43, 0x10, 0x40, 0, 0, 0, 0xfb, 0xf4, 0xeb, 0xfd };
	/* out %al, PORT_IRQ; mov $0xfee000b0, %ebx; movl $0, (%rbx); iretq */
	static const uint8_t handler[] = { 0xe6, PORT_IRQ, 0xbb, 0xb0, 0, 0xe0, 0xfe, 0xc7, 3,
					   0,	 0,	   0,	 0,    0x48, 0xcf };
	static const uint8_t gate[16] = { 0x00, 0x01, 0x10, 0, 0, 0x8e, 1, 0 };
	struct bench b = { .irq_fd = eventfd(0, EFD_CLOEXEC) };
	pthread_t thread;
	struct hv_exit exit;
	int r = make(&b, code, sizeof(code), err);

	static_assert(HANDLER == 0x10100, "as the gate has it");
	b.state.idt = (struct hv_table){ .base = IDT, .limit = 0xfff };
	b.state.lapic.regs[0xf0 / 16] = 0x1ff;
	if (r == 0)
		r = gmem_write(b.mem, HANDLER, handler, sizeof(handler));
	if (r == 0)
		r = gmem_write(b.mem, IDT + 0x40 * sizeof(gate), gate, sizeof(gate));
	if (r == 0)
		r = hv_kvm_ops.set_state(b.vcpu, &b.state, err);
	if (r == 0)
		r = hv_kvm_ops.irqfd(b.vm, PIN, b.irq_fd, true, err);
	if (r == 0)
		r = -pthread_create(&thread, NULL, signal_all, &b);
	if (r == 0) {
		hv_kvm_ops.run(b.vcpu, &exit);
		pthread_join(thread, NULL);
	}
	unmake(&b);
	close(b.irq_fd);
	return r;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 5;
	struct err err = { 0 };

	for (int i = 0; i < rounds; i++) {
		if (create(&err) < 0 || interrupts(&err) < 0) {
			fprintf(stderr, "kvm: %s\n", err.msg);
			return 1;
		}
	}
	return 0;
}
