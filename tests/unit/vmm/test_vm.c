/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's threads and its end, with a back end that has no CPU. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/devices.h"
#include "fake_hv.h"
#include "look.h"
#include "machine/layout.h"
#include "vmm/vm.h"

struct fixture {
	struct vm_config config;
	struct console_backend serial;
	int in[2], out[2];
	struct vm *vm;
	unsigned n_runs;					/* atomic */
	unsigned n_entered[VM_THREAD_STARTER + 1], n_runs_then; /* atomic */
	int refuse;						/* a thread, or -1 */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || pipe2(f->in, O_CLOEXEC) < 0 || pipe2(f->out, O_CLOEXEC) < 0)
		return -1;
	f->serial = (struct console_backend){ .in_fd = f->in[0], .out_fd = f->out[1] };
	f->config = (struct vm_config){ .hv = &fake_hv_ops,
					.ram_bytes = 16 * MIB,
					.n_vcpus = 1,
					.kernel = { .fd = fake_kernel(), .name = "test.elf" },
					.initrd = { .fd = -1 },
					.cmdline = "hello",
					.virtio_rng = true };
	f->config.serial = &f->serial;
	*state = f;
	return f->config.kernel.fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vm_free(f->vm);
	close(f->config.kernel.fd);
	for (int i = 0; i < 2; i++) {
		close(f->in[i]);
		close(f->out[i]);
	}
	free(f);
	return 0;
}

static void start(struct fixture *f, fake_script_fn script)
{
	struct err err = { 0 };

	fake_hv_script(script, f);
	if (vm_new(&f->config, &f->vm, &err) < 0 || vm_start(f->vm, &err) < 0)
		fail_msg("%s", err.msg);
}

static enum hv_exit_reason say_hello_and_exit(struct fake_vcpu *vcpu, void *opaque)
{
	for (const char *p = "hello\n"; *p; p++)
		fake_out(vcpu, LAYOUT_PORT_COM1, 1, (uint8_t)*p);
	fake_out(vcpu, LAYOUT_PORT_TEST_EXIT, 4, 21);
	return HV_EXIT_INTERRUPTED;
}

static void test_exit_value_comes_back_and_output_is_flushed(void **state)
{
	struct fixture *f = *state;
	struct vm_exit end;
	char out[7] = "";

	start(f, say_hello_and_exit);
	vm_wait(f->vm, &end);
	assert_int_equal(end.reason, VM_EXIT_TEST);
	assert_int_equal(end.value, 43);
	assert_int_equal(read(f->out[0], out, 6), 6);
	assert_string_equal(out, "hello\n");
}

static enum hv_exit_reason power_off(struct fake_vcpu *vcpu, void *opaque)
{
	fake_out(vcpu, LAYOUT_PORT_ACPI, 1, 5 << 2 | 0x20);
	return HV_EXIT_INTERRUPTED;
}

static enum hv_exit_reason keyboard_reset(struct fake_vcpu *vcpu, void *opaque)
{
	fake_out(vcpu, LAYOUT_PORT_I8042 + 4, 1, 0xfe);
	return HV_EXIT_INTERRUPTED;
}

static enum hv_exit_reason acpi_reset(struct fake_vcpu *vcpu, void *opaque)
{
	fake_out(vcpu, LAYOUT_PORT_ACPI + 2, 1, 1);
	return HV_EXIT_INTERRUPTED;
}

static enum hv_exit_reason triple_fault(struct fake_vcpu *vcpu, void *opaque)
{
	return HV_EXIT_SHUTDOWN;
}

static enum hv_exit_reason internal_error(struct fake_vcpu *vcpu, void *opaque)
{
	return HV_EXIT_ERROR;
}

static void each_way_to_end_has_its_reason(void **state)
{
	struct fixture *f = *state;
	static const struct {
		fake_script_fn script;
		enum vm_exit_reason reason;
	} cases[] = {
		{ power_off, VM_EXIT_POWER_OFF },  { keyboard_reset, VM_EXIT_RESET },
		{ acpi_reset, VM_EXIT_RESET },	   { triple_fault, VM_EXIT_TRIPLE_FAULT },
		{ internal_error, VM_EXIT_ERROR },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct vm_exit end;

		start(f, cases[i].script);
		assert_true(look_readable(vm_exit_fd(f->vm)));
		vm_wait(f->vm, &end);
		assert_int_equal(end.reason, cases[i].reason);
		vm_free(f->vm);
		f->vm = NULL;
	}
}

static enum hv_exit_reason count_and_idle(struct fake_vcpu *vcpu, void *opaque)
{
	struct fixture *f = opaque;

	__atomic_fetch_add(&f->n_runs, 1, __ATOMIC_SEQ_CST);
	fake_idle(vcpu);
	return HV_EXIT_INTERRUPTED;
}

static void quiesce_stops_every_vcpu_and_resume_lets_go(void **state)
{
	struct fixture *f = *state;
	struct vm_exit end;
	unsigned n;

	f->config.n_vcpus = 4;
	start(f, count_and_idle);
	for (unsigned i = 0; i < 20; i++) {
		vm_quiesce(f->vm);
		n = __atomic_load_n(&f->n_runs, __ATOMIC_SEQ_CST);
		assert_int_equal(__atomic_load_n(&f->n_runs, __ATOMIC_SEQ_CST), n);
		vm_resume(f->vm);
		while (__atomic_load_n(&f->n_runs, __ATOMIC_SEQ_CST) < n + 1)
			sched_yield();
	}
	vm_stop(f->vm);
	vm_wait(f->vm, &end);
	assert_int_equal(end.reason, VM_EXIT_STOPPED);
}

static void ends_when_freed_while_quiesced_or_running(void **state)
{
	struct fixture *f = *state;

	f->config.n_vcpus = 2;
	start(f, count_and_idle);
	vm_free(f->vm);
	f->vm = NULL;
}

static void boots_an_elf64_program_in_long_mode(void **state)
{
	struct fixture *f = *state;
	const struct hv_vcpu_state *s;
	struct vm_exit end;

	start(f, power_off);
	vm_wait(f->vm, &end);
	s = fake_hv_boot_state();
	assert_int_equal(s->rip, 0x100000);
	assert_int_equal(s->efer, 0x500);
	assert_int_equal(s->cr3, LAYOUT_PML4);
	assert_true(s->seg[HV_CS].attr & HV_SEG_L);
	assert_int_equal(s->gpr[HV_RDI], LAYOUT_START_INFO);
}

static enum hv_exit_reason touch_everything(struct fake_vcpu *vcpu, void *opaque)
{
	void *bus_opaque;
	const struct hv_bus_ops *bus = fake_vcpu_bus(vcpu, &bus_opaque);

	for (unsigned port = 0; port < 0x10000; port++) {
		for (unsigned size = 1; size <= 4; size *= 2) {
			/* Those end the machine, which is theirs to do. */
			if (port + size > LAYOUT_PORT_TEST_EXIT && port < LAYOUT_PORT_TEST_EXIT + 4)
				continue;
			if (port + size > LAYOUT_PORT_ACPI && port < LAYOUT_PORT_ACPI + 4)
				continue;
			(void)bus->io_read(bus_opaque, (uint16_t)port, size);
			bus->io_write(bus_opaque, (uint16_t)port, size, 0x0123456789abcdefULL);
			bus->io_write(bus_opaque, (uint16_t)port, size, ~0ULL);
		}
	}
	for (gpa_t gpa = LAYOUT_VIRTIO; gpa < LAYOUT_VIRTIO + 0x3000; gpa++) {
		for (unsigned size = 1; size <= 8; size *= 2) {
			(void)bus->mmio_read(bus_opaque, gpa, size);
			bus->mmio_write(bus_opaque, gpa, size, gpa * 2654435761U);
		}
	}
	fake_out(vcpu, LAYOUT_PORT_TEST_EXIT, 1, 0);
	return HV_EXIT_INTERRUPTED;
}

static void survives_every_port_and_register(void **state)
{
	struct fixture *f = *state;
	struct vm_exit end;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	f->serial.out_fd = null;
	f->config.virtio_console = &f->serial;
	f->serial.in_fd = -1;
	start(f, touch_everything);
	vm_wait(f->vm, &end);
	/* 0xfe at port 0x64 may have been among the bytes: a reset is as good an end. */
	assert_true(end.reason == VM_EXIT_TEST || end.reason == VM_EXIT_RESET);
	vm_free(f->vm);
	f->vm = NULL;
	close(null);
}

static enum hv_exit_reason wait_for_input(struct fake_vcpu *vcpu, void *opaque)
{
	struct fixture *f = opaque;
	char line[8] = "";
	unsigned n = 0;

	fake_out(vcpu, LAYOUT_PORT_COM1 + 1, 1, 1); /* receive interrupt */
	while (n < 3) {
		if (fake_in(vcpu, LAYOUT_PORT_COM1 + 5, 1) & 1)
			line[n++] = (char)fake_in(vcpu, LAYOUT_PORT_COM1, 1);
	}
	f->n_runs = !strcmp(line, "ok\n");
	fake_out(vcpu, LAYOUT_PORT_TEST_EXIT, 1, f->n_runs);
	return HV_EXIT_INTERRUPTED;
}

static void serial_input_reaches_the_guest_with_an_interrupt(void **state)
{
	struct fixture *f = *state;
	struct vm_exit end;

	start(f, wait_for_input);
	assert_int_equal(write(f->in[1], "ok\n", 3), 3);
	vm_wait(f->vm, &end);
	assert_int_equal(end.value, 3);
	assert_true(fake_hv_edges(LAYOUT_GSI_COM1) >= 1);
}

/* A back end that takes notifications off the vCPUs' hands: asked for each queue, also if it
 * refuses. */
static struct hv_ioevent asked[8];
static unsigned n_asked;

static int take_ioeventfd(struct hv_vm *vm, const struct hv_ioevent *event, int fd, bool on,
			  struct err *err)
{
	assert_true(on && fd >= 0 && n_asked < ARRAY_LEN(asked));
	asked[n_asked++] = *event;
	return n_asked % 2 ? 0 : err_set(err, -ENOSPC, "no room");
}

static void notifications_take_the_short_cut(void **state)
{
	struct fixture *f = *state;
	struct hv_ops ops = fake_hv_ops;

	ops.ioeventfd = take_ioeventfd;
	f->config.hv = &ops;
	f->config.virtio_console = &f->serial;
	n_asked = 0;
	assert_int_equal(vm_new(&f->config, &f->vm, NULL), 0);
	/* The console's two queues, then the one of rng. */
	assert_int_equal(n_asked, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(asked[i].gpa, LAYOUT_VIRTIO + (i / 2) * LAYOUT_VIRTIO_SIZE + 0x50);
		assert_int_equal(asked[i].value, i % 2);
		assert_int_equal(asked[i].size, 4);
	}
	vm_free(f->vm);
	f->vm = NULL;
}

static void refuses_what_cannot_be(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	f->config.ram_bytes = 0;
	assert_int_equal(vm_new(&f->config, &f->vm, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "memory"));
	f->config.ram_bytes = 4096 * GIB;
	assert_int_equal(vm_new(&f->config, &f->vm, NULL), -EINVAL);
	f->config.ram_bytes = 16 * MIB;
	f->config.n_vcpus = 0;
	assert_int_equal(vm_new(&f->config, &f->vm, NULL), -EINVAL);
	f->config.n_vcpus = HV_MAX_VCPUS + 1;
	assert_int_equal(vm_new(&f->config, &f->vm, NULL), -EINVAL);
	f->config.n_vcpus = 1;
	f->config.cpu_model = "quantum";
	assert_int_equal(vm_new(&f->config, &f->vm, &err), -EINVAL);
}

/* ---- before a snapshot ---- */

static void nothing_to_forget(struct hv_vcpu *vcpu)
{
}

static void a_rehearsal_has_the_new_generation_too(void **state)
{
	struct fixture *f = *state;
	struct hv_ops with_code = fake_hv_ops;
	struct vm_memory_part parts[VM_MEMORY_PARTS];
	uint8_t before[VMGENID_BYTES];
	const uint8_t *id;

	with_code.code_forget = nothing_to_forget;
	f->config.hv = &with_code;
	start(f, count_and_idle);
	vm_memory(f->vm, parts);
	id = (const uint8_t *)parts[0].p + LAYOUT_VMGENID;
	memcpy(before, id, sizeof(before));
	assert_true(vm_rehearse(f->vm));
	assert_memory_not_equal(id, before, sizeof(before));
	assert_int_equal(fake_hv_edges(LAYOUT_GSI_GED), 1);
	vm_free(f->vm);
	/* Without code there is nothing to rehearse for. */
	f->config.hv = &fake_hv_ops;
	start(f, count_and_idle);
	assert_false(vm_rehearse(f->vm));
	assert_int_equal(fake_hv_edges(LAYOUT_GSI_GED), 0);
}

static int enter_thread(void *opaque, enum vm_thread thread, struct err *err)
{
	struct fixture *f = opaque;

	__atomic_fetch_add(&f->n_entered[thread], 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&f->n_runs_then, __atomic_load_n(&f->n_runs, __ATOMIC_SEQ_CST),
			   __ATOMIC_SEQ_CST);
	return (int)thread == f->refuse ? err_set(err, -EPERM, "no rights to drop") : 0;
}

static void every_thread_is_entered_once_before_the_guest_runs(void **state)
{
	struct fixture *f = *state;

	f->config.n_vcpus = 3;
	f->config.enter_thread = enter_thread;
	f->config.thread_opaque = f;
	f->refuse = -1;
	start(f, count_and_idle);
	assert_int_equal(f->n_entered[VM_THREAD_DEVICES], 1);
	assert_int_equal(f->n_entered[VM_THREAD_VCPU], 3);
	assert_int_equal(f->n_entered[VM_THREAD_STARTER], 1);
	assert_int_equal(f->n_runs_then, 0);
}

static void does_not_start_when_a_thread_cannot_be_entered(void **state)
{
	struct fixture *f = *state;

	f->config.enter_thread = enter_thread;
	f->config.thread_opaque = f;
	for (f->refuse = VM_THREAD_DEVICES; f->refuse <= VM_THREAD_STARTER; f->refuse++) {
		struct err err = { 0 };

		fake_hv_script(count_and_idle, f);
		assert_int_equal(vm_new(&f->config, &f->vm, &err), 0);
		assert_int_equal(vm_start(f->vm, &err), -EPERM);
		assert_string_equal(err.msg, "no rights to drop");
		vm_free(f->vm);
		f->vm = NULL;
		assert_int_equal(f->n_runs, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_exit_value_comes_back_and_output_is_flushed),
		T(each_way_to_end_has_its_reason),
		T(quiesce_stops_every_vcpu_and_resume_lets_go),
		T(ends_when_freed_while_quiesced_or_running),
		T(boots_an_elf64_program_in_long_mode),
		T(survives_every_port_and_register),
		T(serial_input_reaches_the_guest_with_an_interrupt),
		T(notifications_take_the_short_cut),
		T(refuses_what_cannot_be),
		T(a_rehearsal_has_the_new_generation_too),
		T(every_thread_is_entered_once_before_the_guest_runs),
		T(does_not_start_when_a_thread_cannot_be_entered),
	};

	return cmocka_run_group_tests_name("vmm/vm", tests, NULL, NULL);
}
