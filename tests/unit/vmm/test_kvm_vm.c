/* SPDX-License-Identifier: Apache-2.0 */
/* The KVM back end on the KVM at hand: exits, kicks, state, interrupt controllers, dirty log,
 * assist. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "boot/boot.h"
#include "kvm/kvm.h"
#include "machine/cpumodel.h"
#include "machine/layout.h"
#include "test.h"
#include "vmm/probe.h"
#include "vmm/vm.h"
#include "vmm/window.h"

#define CODE	   0x10000
#define RAM	   0x100000
#define MAX_LOG	   16
#define DEADLINE_S 100
#define WINDOW	   0x40000000

struct fixture {
	struct gmem *mem;
	struct hv_cpuid_table cpuid;
	struct hv_vm *vm;
	struct hv_vcpu *vcpu;
	struct {
		bool write, mmio;
		uint64_t addr, val;
		unsigned size;
	} log[MAX_LOG];
	unsigned n_log;
	int irq_fd;
	int started[2]; /* pipe: the guest wrote to port 1 */
};

static void note(struct fixture *f, bool write, bool mmio, uint64_t addr, unsigned size,
		 uint64_t val)
{
	if (f->n_log < MAX_LOG) {
		f->log[f->n_log].write = write;
		f->log[f->n_log].mmio = mmio;
		f->log[f->n_log].addr = addr;
		f->log[f->n_log].size = size;
		f->log[f->n_log++].val = val;
	}
}

/* Port 0 ends the run. */
static void io_write(void *opaque, uint16_t port, unsigned size, uint64_t val)
{
	struct fixture *f = opaque;

	if (port == 0)
		hv_kvm_ops.kick(f->vcpu);
	else if (port == 1)
		assert_int_equal(write(f->started[1], "", 1), 1);
	else
		note(f, true, false, port, size, val);
}

static uint64_t io_read(void *opaque, uint16_t port, unsigned size)
{
	note(opaque, false, false, port, size, 0);
	return 0x1122334455667788ULL >> (64 - 8 * size);
}

static void mmio_write(void *opaque, gpa_t gpa, unsigned size, uint64_t val)
{
	note(opaque, true, true, gpa, size, val);
}

static uint64_t mmio_read(void *opaque, gpa_t gpa, unsigned size)
{
	note(opaque, false, true, gpa, size, 0);
	return 0xa0a1a2a3a4a5a6a7ULL;
}

static const struct hv_bus_ops bus = { io_read, io_write, mmio_read, mmio_write };

static int make(bool with_window, void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct hv_vm_config config = { .bus = &bus, .bus_opaque = f, .n_vcpus = 1 };

	if (!f || pipe(f->started) < 0 || gmem_new(&f->mem, NULL) < 0 ||
	    gmem_add_anon(f->mem, 0, RAM, GMEM_RAM, NULL) < 0 ||
	    (with_window && window_add(f->mem, WINDOW, WINDOW_CHUNK, NULL) < 0) ||
	    cpumodel_fill("base", 1, vm_tsc_khz(&hv_kvm_ops), &f->cpuid, NULL) < 0)
		return -1;
	config.mem = f->mem;
	config.cpuid = &f->cpuid;
	if (hv_kvm_ops.vm_new(&config, &f->vm, NULL) < 0 ||
	    hv_kvm_ops.vcpu_new(f->vm, 0, &f->vcpu, NULL) < 0)
		return -1;
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return make(false, state);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hv_kvm_ops.vcpu_free(f->vcpu);
	hv_kvm_ops.vm_free(f->vm);
	gmem_free(f->mem);
	close(f->started[0]);
	close(f->started[1]);
	free(f);
	return 0;
}

/* 64-bit ring 0 at CODE. */
static void load(struct fixture *f, const void *code, size_t len, struct hv_vcpu_state *s)
{
	const struct boot_entry entry = { .mode = BOOT_MODE_LONG, .rip = CODE, .rsp = 0x20000 };
	struct err err = { 0 };

	assert_int_equal(gmem_write(f->mem, CODE, code, len), 0);
	hv_kvm_ops.get_state(f->vcpu, s);
	assert_int_equal(boot_entry_apply(&entry, f->mem, s, &err), 0);
	s->cr4 |= 0x600;
	assert_int_equal(hv_kvm_ops.set_state(f->vcpu, s, &err), 0);
}

static void run(struct fixture *f, struct hv_vcpu_state *s)
{
	struct hv_exit exit;

	hv_kvm_ops.run(f->vcpu, &exit);
	if (exit.reason != HV_EXIT_INTERRUPTED)
		print_error("exit %u: %s\n", exit.reason, exit.err.msg);
	assert_int_equal(exit.reason, HV_EXIT_INTERRUPTED);
	hv_kvm_ops.get_state(f->vcpu, s);
}

#define LOAD(f, s, ...)                                         \
	do {                                                    \
		static const uint8_t code_[] = { __VA_ARGS__ }; \
		load(f, code_, sizeof(code_), s);               \
	} while (0)

static void port_accesses_reach_the_bus(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;

	/* mov $0x12345678, %eax; out %eax, $0x40; in $0x44, %ax; out %al, $0 */
	LOAD(f, &s, 0xb8, 0x78, 0x56, 0x34, 0x12, 0xe7, 0x40, 0x66, 0xe5, 0x44, 0xe6, 0);
	run(f, &s);
	assert_int_equal(f->n_log, 2);
	assert_int_equal(f->log[0].addr, 0x40);
	assert_int_equal(f->log[0].size, 4);
	assert_int_equal(f->log[0].val, 0x12345678);
	assert_int_equal(f->log[1].size, 2);
	assert_int_equal(s.gpr[HV_RAX], 0x12341122);
}

static void registers_are_exact_after_the_access_that_ends_a_run(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;

	LOAD(f, &s, 0x90, 0xe6, 0, 0x90); /* nop; out %al, $0; nop */
	run(f, &s);
	assert_int_equal(s.rip, CODE + 3);
}

static void string_port_accesses_come_one_by_one(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;

	/* mov $CODE, %esi; mov $3, %ecx; mov $0x50, %edx; rep outsb; out %al, $0 */
	LOAD(f, &s, 0xbe, 0, 0, 1, 0, 0xb9, 3, 0, 0, 0, 0xba, 0x50, 0, 0, 0, 0xf3, 0x6e, 0xe6, 0);
	run(f, &s);
	assert_int_equal(f->n_log, 3);
	assert_int_equal(f->log[0].val, 0xbe);
	assert_int_equal(f->log[2].val, 0);
	assert_int_equal(s.gpr[HV_RCX], 0);
}

static void memory_without_a_slot_reaches_the_bus(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;

	/* mov $0x40000000, %ebx; mov %rax, 8(%rbx); mov (%rbx), %ecx; out %al, $0 */
	LOAD(f, &s, 0xbb, 0, 0, 0, 0x40, 0x48, 0x89, 0x43, 8, 0x8b, 0x0b, 0xe6, 0);
	run(f, &s);
	assert_int_equal(f->n_log, 2);
	assert_true(f->log[0].mmio && f->log[0].write);
	assert_int_equal(f->log[0].addr, 0x40000008);
	assert_int_equal(f->log[0].size, 8);
	assert_int_equal(f->log[1].size, 4);
	assert_int_equal(s.gpr[HV_RCX], 0xa4a5a6a7);
}

/* A fixture of its own: cmocka takes SIGBUS for itself between setup and test. */
static void a_file_cut_under_its_window_reads_as_zeros(void **state)
{
	int fd = memfd_create("window", MFD_CLOEXEC);
	struct hv_vcpu_state s;
	struct fixture *f;
	void *own;

	assert_int_equal(make(true, &own), 0);
	f = own;
	assert_int_equal(ftruncate(fd, WINDOW_CHUNK), 0);
	assert_int_equal(pwrite(fd, "file", 4, 4096), 4);
	assert_int_equal(window_map(f->mem, WINDOW, 0, fd, 0, WINDOW_CHUNK, true), 0);
	/* mov $WINDOW + 0x1000, %ebx; mov (%rbx), %ecx; movb $'F', (%rbx); mov (%rbx), %edx; out
	 * %al, $0 */
	LOAD(f, &s, 0xbb, 0, 0x10, 0, 0x40, 0x8b, 0x0b, 0xc6, 0x03, 'F', 0x8b, 0x13, 0xe6, 0);
	run(f, &s);
	assert_int_equal(s.gpr[HV_RCX], 0x656c6966);
	assert_int_equal(s.gpr[HV_RDX], 0x656c6946);
	assert_int_equal(ftruncate(fd, 4096), 0);
	s.rip = CODE;
	assert_int_equal(hv_kvm_ops.set_state(f->vcpu, &s, NULL), 0);
	run(f, &s);
	assert_int_equal(s.gpr[HV_RCX], 0);
	assert_int_equal(s.gpr[HV_RDX], 'F');
	close(fd);
	teardown(&own);
}

static void a_kick_before_the_run_is_not_lost(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;

	LOAD(f, &s, 0xeb, 0xfe); /* 1: jmp 1b */
	hv_kvm_ops.kick(f->vcpu);
	run(f, &s);
	assert_int_equal(s.rip, CODE);
}

static void *kick_when_it_runs(void *opaque)
{
	struct fixture *f = opaque;
	char byte;

	if (read(f->started[0], &byte, 1) == 1)
		hv_kvm_ops.kick(f->vcpu);
	return NULL;
}

static void a_kick_ends_a_run_and_a_halt(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;
	pthread_t thread;

	LOAD(f, &s, 0xe6, 1, 0xeb, 0xfe); /* out %al, $1; 1: jmp 1b */
	assert_int_equal(pthread_create(&thread, NULL, kick_when_it_runs, f), 0);
	run(f, &s);
	pthread_join(thread, NULL);
	LOAD(f, &s, 0xe6, 1, 0xf4); /* out %al, $1; hlt */
	assert_int_equal(pthread_create(&thread, NULL, kick_when_it_runs, f), 0);
	run(f, &s);
	pthread_join(thread, NULL);
}

static void a_triple_fault_is_a_shutdown(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;
	struct hv_exit exit;

	LOAD(f, &s, 0x0f, 0x0b); /* ud2, and no IDT */
	hv_kvm_ops.run(f->vcpu, &exit);
	assert_int_equal(exit.reason, HV_EXIT_SHUTDOWN);
}

static void state_comes_back_as_it_was_set(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state a, b;
	struct err err = { 0 };

	LOAD(f, &a, 0x90);
	for (unsigned i = 0; i < HV_N_GPR; i++)
		a.gpr[i] = 0x1111111111111111ULL * i;
	a.rflags = 0x246;
	a.cr2 = 0x123456789000;
	a.cr8 = 5;
	a.dr[0] = 0x1234;
	a.star = 0x0023001000000000;
	a.lstar = 0xffffffff81000000;
	a.sfmask = 0x47700;
	a.kernel_gs_base = 0xffff888000000000;
	a.sysenter_eip = 0xffffffff81001000;
	a.fxsave[32] = 0x5a;  /* ST0 */
	a.fxsave[160] = 0xa5; /* XMM0 */
	a.interrupt_shadow = 1;
	a.nmi_masked = 1;
	a.mtrr_fixed[2] = 0x0606060606060606;
	a.lapic.regs[0xf0 / 16] = 0x1ff;
	a.lapic.regs[0x80 / 16] = 0x50; /* the task priority again */
	if (hv_kvm_ops.set_state(f->vcpu, &a, &err) < 0)
		fail_msg("%s", err.msg);
	hv_kvm_ops.get_state(f->vcpu, &b);
	assert_memory_equal(a.gpr, b.gpr, sizeof(a.gpr));
	assert_int_equal(a.rip, b.rip);
	assert_int_equal(a.rflags, b.rflags);
	assert_memory_equal(a.seg, b.seg, sizeof(a.seg));
	assert_int_equal(a.cr2, b.cr2);
	assert_int_equal(a.cr8, b.cr8);
	assert_int_equal(a.efer, b.efer);
	assert_int_equal(a.dr[0], b.dr[0]);
	assert_int_equal(a.star, b.star);
	assert_int_equal(a.lstar, b.lstar);
	assert_int_equal(a.sfmask, b.sfmask);
	assert_int_equal(a.kernel_gs_base, b.kernel_gs_base);
	assert_int_equal(a.sysenter_eip, b.sysenter_eip);
	assert_int_equal(a.fxsave[32], b.fxsave[32]);
	assert_int_equal(a.fxsave[160], b.fxsave[160]);
	assert_int_equal(a.mtrr_fixed[2], b.mtrr_fixed[2]);
	assert_int_equal(b.lapic.regs[0xf0 / 16], 0x1ff);
	assert_int_equal(a.nmi_masked, b.nmi_masked);
	assert_int_equal(a.mp_state, b.mp_state);
	assert_true(b.tsc >= a.tsc);
}

static void refuses_state_that_is_not_valid(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;
	struct err err = { 0 };

	LOAD(f, &s, 0x90);
	s.mp_state = 17;
	assert_int_equal(hv_kvm_ops.set_state(f->vcpu, &s, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "mp_state"));
}

/* The section must mean the same to both back ends: one saves, the other's table reads it. */
static void interrupt_controllers_survive_a_save_and_load(void **state)
{
	struct fixture *f = *state;
	const struct state_desc *d = hv_kvm_ops.irqchip_state;
	uint8_t a[1024], b[1024];
	size_t len = state_size(d);
	struct err err = { 0 };

	assert_int_equal(len, state_size(hv_soft_ops.irqchip_state));
	assert_true(len <= sizeof(a));
	hv_kvm_ops.set_gsi(f->vm, 9, true);
	state_save(d, hv_kvm_ops.irqchip_obj(f->vm), a);
	hv_kvm_ops.set_gsi(f->vm, 9, false);
	state_save(d, hv_kvm_ops.irqchip_obj(f->vm), b);
	assert_memory_not_equal(a, b, len);
	if (state_load(d, hv_kvm_ops.irqchip_obj(f->vm), a, len, &err) < 0)
		fail_msg("%s", err.msg);
	state_save(d, hv_kvm_ops.irqchip_obj(f->vm), b);
	assert_memory_equal(a, b, len);
}

static void the_dirty_log_has_what_the_guest_wrote(void **state)
{
	struct fixture *f = *state;
	const uint8_t *flags = f->mem->regions[0].page_flags;
	struct hv_vcpu_state s;

	f->mem->dirty_log = true;
	/* mov %al, 0x30000; out %al, $0 */
	LOAD(f, &s, 0x88, 0x04, 0x25, 0, 0, 3, 0, 0xe6, 0);
	memset(f->mem->regions[0].page_flags, 0, RAM / 4096);
	run(f, &s);
	hv_kvm_ops.dirty_sync(f->vm);
	assert_true(flags[0x30] & GMEM_PAGE_DIRTY);
	assert_false(flags[0x31] & GMEM_PAGE_DIRTY);
}

static void an_ioeventfd_takes_the_write_that_matches(void **state)
{
	struct fixture *f = *state;
	const struct hv_ioevent event = { .gpa = 0x40000050, .value = 1, .size = 4 };
	int fd = eventfd(0, EFD_NONBLOCK);
	struct hv_vcpu_state s;
	uint64_t n = 0;

	assert_int_equal(hv_kvm_ops.ioeventfd(f->vm, &event, fd, true, NULL), 0);
	/* mov $0x40000050, %ebx; movl $1, (%rbx); movl $2, (%rbx); out %al, $0 */
	LOAD(f, &s, 0xbb, 0x50, 0, 0, 0x40, 0xc7, 3, 1, 0, 0, 0, 0xc7, 3, 2, 0, 0, 0, 0xe6, 0);
	run(f, &s);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	assert_int_equal(f->n_log, 1);
	assert_int_equal(f->log[0].val, 2);
	assert_int_equal(hv_kvm_ops.ioeventfd(f->vm, &event, fd, false, NULL), 0);
	assert_true(hv_kvm_ops.ioeventfd(f->vm, &event, fd, false, NULL) < 0);
	close(fd);
}

#define IRQ_PIN 20 /* not one of the PIC's */

static void *signal_when_it_runs(void *opaque)
{
	struct fixture *f = opaque;
	const uint64_t one = 1;
	char byte;

	if (read(f->started[0], &byte, 1) == 1)
		assert_int_equal(write(f->irq_fd, &one, sizeof(one)), sizeof(one));
	return NULL;
}

static void an_irqfd_interrupts_the_guest(void **state)
{
	struct fixture *f = *state;
	/* Vector 0x40 to CODE + 0x100, which writes port 0. */
	const uint8_t gate[16] = { 0x00, 0x01, 0x10, 0, 0, 0x8e, 1, 0 };
	const uint8_t handler[] = { 0xe6, 0 };
	const uint64_t idt = 0x30000;
	struct hv_vcpu_state s;
	pthread_t thread;

	f->irq_fd = eventfd(0, 0);
	assert_int_equal(hv_kvm_ops.irqfd(f->vm, IRQ_PIN, f->irq_fd, true, NULL), 0);
	/* mov $0xfec00000, %ebx; the pin's entry: vector 0x40; out %al, $1; sti; 1: hlt; jmp 1b */
	LOAD(f, &s, 0xbb, 0, 0, 0xc0, 0xfe, 0xc7, 3, 0x10 + 2 * IRQ_PIN, 0, 0, 0, 0xc7, 0x43, 0x10,
	     0x40, 0, 0, 0, 0xe6, 1, 0xfb, 0xf4, 0xeb, 0xfd);
	assert_int_equal(gmem_write(f->mem, CODE + 0x100, handler, sizeof(handler)), 0);
	assert_int_equal(gmem_write(f->mem, idt + 0x40 * 16, gate, sizeof(gate)), 0);
	s.idt = (struct hv_table){ .base = idt, .limit = 0xfff };
	s.lapic.regs[0xf0 / 16] = 0x1ff;
	assert_int_equal(hv_kvm_ops.set_state(f->vcpu, &s, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, signal_when_it_runs, f), 0);
	run(f, &s);
	pthread_join(thread, NULL);
	assert_int_equal(s.rip, CODE + 0x102);
	close(f->irq_fd);
}

/* ---- ring 3 ---- */

#define TABLES	   0x40000 /* a page a level, from the top */
#define GDT	   0x44000
#define IDT	   0x45000
#define TSS	   0x46000
#define ENTRY	   0x12040
#define HANDLERS   0x13000 /* 16 bytes a vector */
#define USER	   0x60000
#define USER_STACK 0x62000

static void put64(struct fixture *f, gpa_t gpa, uint64_t val)
{
	assert_int_equal(gmem_write(f->mem, gpa, &val, sizeof(val)), 0);
}

static void set_gate(struct fixture *f, unsigned vector, unsigned dpl)
{
	uint64_t to = HANDLERS + vector * 16;

	put64(f, IDT + vector * 16,
	      (to & 0xffff) | 8 << 16 | (0x8eULL | dpl << 5) << 40 | (to >> 16) << 48);
	put64(f, IDT + vector * 16 + 8, 0);
}

/* Low memory by 4 KiB pages, of which ring 3 has USER's and its stack's. */
static void set_tables(struct fixture *f)
{
	static const uint64_t gdt[] = { 0,
					0x00af9b000000ffff,
					0x00cf93000000ffff,
					0,
					0x00cff3000000ffff,
					0x00affb000000ffff,
					0x00008b0000000067 | (uint64_t)TSS << 16,
					0 };

	for (unsigned level = 0; level < 3; level++)
		put64(f, TABLES + level * 4096, (TABLES + (level + 1) * 4096) | 7);
	for (uint64_t gpa = 0; gpa < RAM; gpa += 4096)
		put64(f, TABLES + 3 * 4096 + gpa / 512,
		      gpa | (gpa == USER || gpa == USER_STACK - 4096 ? 7 : 3));
	assert_int_equal(gmem_write(f->mem, GDT, gdt, sizeof(gdt)), 0);
	put64(f, TSS + 4, 0x20000);
	/* An exception that comes through: its vector + 0x80 as a port, and the end. */
	for (uint8_t v = 0; v < 32; v++) {
		const uint8_t report[] = { 0xe6, (uint8_t)(0x80 + v), 0xe6, 0 };

		set_gate(f, v, 0);
		assert_int_equal(gmem_write(f->mem, HANDLERS + v * 16, report, 4), 0);
	}
	set_gate(f, 0x80, 3);
}

static void enter_ring_3(struct fixture *f, struct hv_vcpu_state *s)
{
	/*
	 * mov $0xc0000082, %ecx; mov $ENTRY, %eax; xor %edx, %edx; wrmsr
	 * dec %ecx; mov $0x001b0008, %edx; xor %eax, %eax; wrmsr
	 * mov $0xc0000084, %ecx; mov $0x200, %eax; xor %edx, %edx; wrmsr
	 * push $0x23; push $USER_STACK; push $0x202; push $0x2b; push $USER; iretq
	 */
	static const uint8_t code[] = {
		0xb9, 0x82, 0,	  0,	0xc0, 0xb8, 0x40, 0x20, 0x01, 0,    0x31, 0xd2,
		0x0f, 0x30, 0xff, 0xc9, 0xba, 0x08, 0,	  0x1b, 0,    0x31, 0xc0, 0x0f,
		0x30, 0xb9, 0x84, 0,	0,    0xc0, 0xb8, 0,	2,    0,    0,	  0x31,
		0xd2, 0x0f, 0x30, 0x6a, 0x23, 0x68, 0,	  0x20, 6,    0,    0x68, 2,
		2,    0,    0,	  0x6a, 0x2b, 0x68, 0,	  0,	6,    0,    0x48, 0xcf,
	};

	load(f, code, sizeof(code), s);
	set_tables(f);
	s->cr3 = TABLES;
	s->efer |= 1;
	s->gdt = (struct hv_table){ .base = GDT, .limit = 0x3f };
	s->idt = (struct hv_table){ .base = IDT, .limit = 0xfff };
	s->seg[HV_CS].selector = 8;
	s->seg[HV_SS].selector = 0x10;
	s->seg[HV_TR] =
		(struct hv_segment){ .base = TSS, .limit = 0x67, .selector = 0x30, .attr = 0x8b };
	s->rip = CODE;
	assert_int_equal(hv_kvm_ops.set_state(f->vcpu, s, NULL), 0);
}

static void system_calls_run_in_ring_0_and_return(void **state)
{
	/*
	 * mov %cs, %eax; out %eax, $0x40; mov %ss, %eax; out %eax, $0x41; incb ENTRY + 0x30
	 * cmp $3, %ebx; je 1f; sysretq; 1: out %al, $0
	 */
	static const uint8_t entry[] = { 0x8c, 0xc8, 0xe7, 0x40, 0x8c, 0xd0, 0xe7, 0x41, 0xfe,
					 0x04, 0x25, 0x70, 0x20, 1,    0,    0x83, 0xfb, 3,
					 0x74, 3,    0x48, 0x0f, 0x07, 0xe6, 0 };
	/* mov $1, %ebx; 1: syscall; inc %ebx; jmp 1b */
	static const uint8_t user[] = { 0xbb, 1, 0, 0, 0, 0x0f, 0x05, 0xff, 0xc3, 0xeb, 0xfa };
	struct fixture *f = *state;
	struct hv_vcpu_state s;
	uint8_t now[sizeof(entry)], n = 0;

	enter_ring_3(f, &s);
	assert_int_equal(gmem_write(f->mem, ENTRY, entry, sizeof(entry)), 0);
	assert_int_equal(gmem_write(f->mem, USER, user, sizeof(user)), 0);
	run(f, &s);
	assert_int_equal(f->n_log, 6);
	for (unsigned i = 0; i < f->n_log; i++) {
		assert_int_equal(f->log[i].addr, 0x40 + (i & 1));
		assert_int_equal(f->log[i].val, i & 1 ? 0x10 : 8);
	}
	assert_int_equal(s.gpr[HV_RCX], USER + 7);
	assert_int_equal(s.gpr[HV_R11], 0x206); /* PF: EBX is 3 */
	assert_int_equal(s.gpr[HV_RSP], USER_STACK);
	assert_int_equal(s.lstar, ENTRY);
	/* Memory has what the guest wrote, beside its entry too. */
	assert_int_equal(gmem_read(f->mem, ENTRY, now, sizeof(now)), 0);
	assert_memory_equal(now, entry, sizeof(entry));
	assert_int_equal(gmem_read(f->mem, ENTRY + 0x30, &n, 1), 0);
	assert_int_equal(n, 3);
}

static void system_calls_keep_segment_bases(void **state)
{
	/*
	 * swapgs; mov %gs:0, %r8; swapgs; mov %fs:0, %r9; inc %edx; cmp $3, %edx; je 1f; sysretq
	 * 1: out %al, $0
	 */
	static const uint8_t entry[] = { 0x0f, 0x01, 0xf8, 0x65, 0x4c, 0x8b, 0x04, 0x25, 0,
					 0,    0,    0,	   0x0f, 0x01, 0xf8, 0x64, 0x4c, 0x8b,
					 0x0c, 0x25, 0,	   0,	 0,    0,    0xff, 0xc2, 0x83,
					 0xfa, 3,    0x74, 3,	 0x48, 0x0f, 0x07, 0xe6, 0 };
	/* xor %edx, %edx; mov %fs:0, %rax; syscall; mov %fs:0, %rbx; mov %gs:0, %rsi; syscall; ud2
	 */
	static const uint8_t user[] = { 0x31, 0xd2, 0x64, 0x48, 0x8b, 0x04, 0x25, 0,	0,
					0,    0,    0x0f, 0x05, 0x64, 0x48, 0x8b, 0x1c, 0x25,
					0,    0,    0,	  0,	0x65, 0x48, 0x8b, 0x34, 0x25,
					0,    0,    0,	  0,	0x0f, 0x05, 0x0f, 0x05 };
	struct fixture *f = *state;
	struct hv_vcpu_state s;

	enter_ring_3(f, &s);
	s.seg[HV_FS] = (struct hv_segment){ .base = USER + 0x800, .attr = HV_SEG_UNUSABLE };
	s.seg[HV_GS] = (struct hv_segment){ .base = USER + 0x808, .attr = HV_SEG_UNUSABLE };
	s.kernel_gs_base = USER + 0x810;
	assert_int_equal(hv_kvm_ops.set_state(f->vcpu, &s, NULL), 0);
	put64(f, USER + 0x800, 0x11);
	put64(f, USER + 0x808, 0x22);
	put64(f, USER + 0x810, 0x33);
	assert_int_equal(gmem_write(f->mem, ENTRY, entry, sizeof(entry)), 0);
	assert_int_equal(gmem_write(f->mem, USER, user, sizeof(user)), 0);
	run(f, &s);
	assert_int_equal(f->n_log, 0);
	assert_int_equal(s.gpr[HV_RAX], 0x11);
	assert_int_equal(s.gpr[HV_RBX], 0x11);
	assert_int_equal(s.gpr[HV_RSI], 0x22);
	assert_int_equal(s.gpr[HV_R8], 0x33);
	assert_int_equal(s.gpr[HV_R9], 0x11);
	assert_int_equal(s.seg[HV_FS].base, USER + 0x800);
	assert_int_equal(s.kernel_gs_base, USER + 0x810);
}

/* As a kernel does it for a program: by WRFSBASE, by WRMSR, and by loading a selector. */
static void ring_3_sees_the_base_that_its_kernel_sets(void **state)
{
	/*
	 * inc %edx; cmp $2, %edx; je 2f; ja 3f; mov $USER + 0x808, %eax; wrfsbase %rax; sysretq
	 * 2: mov %rcx, %r9; mov %edx, %r10d; mov $0xc0000100, %ecx; mov $USER + 0x810, %eax
	 *    xor %edx, %edx; wrmsr; mov %r10d, %edx; mov %r9, %rcx; sysretq
	 * 3: rdfsbase %r8; out %al, $0
	 */
	static const uint8_t entry[] = {
		0xff, 0xc2, 0x83, 0xfa, 0x02, 0x74, 0x0f, 0x77, 0x2a, 0xb8, 0x08, 0x08,
		0x06, 0x00, 0xf3, 0x48, 0x0f, 0xae, 0xd0, 0x48, 0x0f, 0x07, 0x49, 0x89,
		0xc9, 0x41, 0x89, 0xd2, 0xb9, 0x00, 0x01, 0x00, 0xc0, 0xb8, 0x10, 0x08,
		0x06, 0x00, 0x31, 0xd2, 0x0f, 0x30, 0x44, 0x89, 0xd2, 0x4c, 0x89, 0xc9,
		0x48, 0x0f, 0x07, 0xf3, 0x49, 0x0f, 0xae, 0xc0, 0xe6, 0x00,
	};
	/* xor %edx, %edx; syscall; mov %fs:0, %rsi; syscall; mov %fs:0, %rdi; syscall */
	static const uint8_t user[] = { 0x31, 0xd2, 0x0f, 0x05, 0x64, 0x48, 0x8b, 0x34, 0x25,
					0,    0,    0,	  0,	0x0f, 0x05, 0x64, 0x48, 0x8b,
					0x3c, 0x25, 0,	  0,	0,    0,    0x0f, 0x05 };
	struct fixture *f = *state;
	struct hv_vcpu_state s;

	enter_ring_3(f, &s);
	s.cr4 |= 1 << 16;
	assert_int_equal(hv_kvm_ops.set_state(f->vcpu, &s, NULL), 0);
	put64(f, USER + 0x808, 0x22);
	put64(f, USER + 0x810, 0x33);
	assert_int_equal(gmem_write(f->mem, ENTRY, entry, sizeof(entry)), 0);
	assert_int_equal(gmem_write(f->mem, USER, user, sizeof(user)), 0);
	run(f, &s);
	assert_int_equal(f->n_log, 0);
	assert_int_equal(s.gpr[HV_RSI], 0x22);
	assert_int_equal(s.gpr[HV_RDI], 0x33);
	assert_int_equal(s.gpr[HV_R8], USER + 0x810);
}

static void interrupts_of_ring_3_reach_their_gates(void **state)
{
	/* int $0x80; mov $7, %eax; int $0x81, whose gate is not there */
	static const uint8_t user[] = { 0xcd, 0x80, 0xb8, 7, 0, 0, 0, 0xcd, 0x81 };
	static const uint8_t handler[] = { 0xe6, 0x42, 0x48, 0xcf }; /* out %al, $0x42; iretq */
	struct fixture *f = *state;
	struct hv_vcpu_state s;

	enter_ring_3(f, &s);
	assert_int_equal(gmem_write(f->mem, USER, user, sizeof(user)), 0);
	assert_int_equal(gmem_write(f->mem, HANDLERS + 0x800, handler, sizeof(handler)), 0);
	run(f, &s);
	assert_int_equal(f->n_log, 2);
	assert_int_equal(f->log[0].addr, 0x42);
	assert_int_equal(f->log[1].addr, 0x80 + 13);
	assert_int_equal(s.gpr[HV_RAX], 7);
}

#define XSAVE_BV	  512
#define XSAVE_YMM	  576
#define XSTATE_FP_SSE_AVX 7ULL

/* What the software CPU does not know of is the guest's all the same. */
static void an_assist_keeps_the_upper_halves_of_vector_registers(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;
	struct err err = { 0 };
	uint8_t *x = f->vcpu->xsave, ymm[16];
	const uint64_t bv = XSTATE_FP_SSE_AVX;

	LOAD(f, &s, 0x90);
	memset(x, 0, f->vm->xsave_size);
	memset(x + XSAVE_YMM, 0x5a, sizeof(ymm));
	memcpy(x + XSAVE_BV, &bv, sizeof(bv));
	if (f->vm->ioctl(f->vcpu->fd, KVM_SET_XSAVE, x) < 0)
		skip(); /* a CPU without AVX */
	assert_int_equal(kvm_get_core(f->vcpu, &s, &err), 0);
	s.fxsave[160] = 0xa5; /* XMM0 */
	assert_int_equal(kvm_set_core(f->vcpu, &s, &err), 0);
	memset(x, 0, f->vm->xsave_size);
	assert_int_equal(kvm_get_core(f->vcpu, &s, &err), 0);
	assert_int_equal(s.fxsave[160], 0xa5);
	memset(ymm, 0x5a, sizeof(ymm));
	assert_memory_equal(x + XSAVE_YMM, ymm, sizeof(ymm));
}

/* Natively or by the assist, the guest sees the same. */
static void what_kvm_cannot_emulate_still_runs(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s;
	struct probe_result probe;
	struct hv_stats stats;

	/* mov $0xf0f0, %ecx; popcnt %ecx, %eax; movd %eax, %xmm3; paddd %xmm3, %xmm3; movd %xmm3,
	 * %ebx; out %al, $0 */
	LOAD(f, &s, 0xb9, 0xf0, 0xf0, 0, 0, 0xf3, 0x0f, 0xb8, 0xc1, 0x66, 0x0f, 0x6e, 0xd8, 0x66,
	     0x0f, 0xfe, 0xdb, 0x66, 0x0f, 0x7e, 0xdb, 0xe6, 0);
	run(f, &s);
	assert_int_equal(s.gpr[HV_RAX], 8);
	assert_int_equal(s.gpr[HV_RBX], 16);
	probe_kvm(&probe);
	hv_kvm_ops.get_stats(f->vcpu, &stats);
	if (probe.verdict == PROBE_NATIVE)
		assert_int_equal(stats.n_assists, 0);
}

/* Of a KVM that lacks RDTSCP the software CPU tells the time, and it is one time. */
static void the_time_goes_on_in_an_assist(void **state)
{
	struct fixture *f = *state;
	struct hv_vcpu_state s, before;
	uint64_t last = 0, now;

	for (unsigned i = 0; i < 3; i++) {
		const uint64_t until = clock_monotonic_ns() + 200 * NSEC_PER_MSEC;

		/* rdtscp; out %al, $0 */
		LOAD(f, &s, 0x0f, 0x01, 0xf9, 0xe6, 0);
		hv_kvm_ops.get_state(f->vcpu, &before);
		run(f, &s);
		const uint64_t told = s.gpr[HV_RDX] << 32 | (uint32_t)s.gpr[HV_RAX];

		assert_true(told > last);
		assert_true(before.tsc <= told && told <= s.tsc);
		last = told;
		do
			now = clock_monotonic_ns();
		while (now < until);
	}
}

static void the_probe_judges_in_time(void **state)
{
	struct probe_result probe;

	for (int i = 0; i < 20 && (i == 0 || probe.took_ns > 1000000000ULL); i++) {
		probe_kvm(&probe);
		assert_int_not_equal(probe.verdict, PROBE_UNUSABLE);
		assert_true(probe.reason[0]);
	}
	assert_true(probe.took_ns < 1000000000ULL); /* at least once, on a busy host */
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(port_accesses_reach_the_bus),
		T(registers_are_exact_after_the_access_that_ends_a_run),
		T(string_port_accesses_come_one_by_one),
		T(memory_without_a_slot_reaches_the_bus),
		T(a_file_cut_under_its_window_reads_as_zeros),
		T(a_kick_before_the_run_is_not_lost),
		T(a_kick_ends_a_run_and_a_halt),
		T(a_triple_fault_is_a_shutdown),
		T(state_comes_back_as_it_was_set),
		T(refuses_state_that_is_not_valid),
		T(interrupt_controllers_survive_a_save_and_load),
		T(the_dirty_log_has_what_the_guest_wrote),
		T(an_ioeventfd_takes_the_write_that_matches),
		T(an_irqfd_interrupts_the_guest),
		T(system_calls_run_in_ring_0_and_return),
		T(system_calls_keep_segment_bases),
		T(ring_3_sees_the_base_that_its_kernel_sets),
		T(interrupts_of_ring_3_reach_their_gates),
		T(an_assist_keeps_the_upper_halves_of_vector_registers),
		T(what_kvm_cannot_emulate_still_runs),
		T(the_time_goes_on_in_an_assist),
		T(the_probe_judges_in_time),
	};
	struct err err = { 0 };
	int fd = kvm_open(KVM_PATH, kvm_ioctl, &err);

	if (fd < 0) {
		fprintf(stderr, "skipped: %s\n", err.msg);
		return getenv("REQUIRE_KVM") ? 1 : 77;
	}
	close(fd);
	alarm(DEADLINE_S);
	return cmocka_run_group_tests_name("vmm/kvm_vm", tests, NULL, NULL);
}
