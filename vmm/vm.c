/* SPDX-License-Identifier: Apache-2.0 */
/* One virtual machine: its threads and its end. */
#define LOG_MODULE "vmm/vm"
#include "vmm/vm.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "machine/layout.h"
#include "machine/machine.h"
#include "virtio/virtio.h"
#include "vm_priv.h"

const char *vm_exit_reason_str(enum vm_exit_reason reason)
{
	switch (reason) {
	case VM_EXIT_NONE: return "running";
	case VM_EXIT_POWER_OFF: return "power off";
	case VM_EXIT_RESET: return "reset";
	case VM_EXIT_TRIPLE_FAULT: return "triple fault";
	case VM_EXIT_TEST: return "test exit";
	case VM_EXIT_STOPPED: return "stopped";
	case VM_EXIT_ERROR: return "error";
	case VM_EXIT_MAX_: break;
	}
	return "unknown";
}

static void kick_all_locked(struct vm *vm)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		if (vm->vcpus[i].hv)
			vm->ops->kick(vm->vcpus[i].hv);
	}
}

/* The first reason wins. Any thread. */
static void request_exit(struct vm *vm, enum vm_exit_reason reason, uint32_t value,
			 const struct err *err)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&vm->lock);
	if (vm->exit.reason == VM_EXIT_NONE) {
		vm->exit.reason = reason;
		vm->exit.value = value;
		if (err)
			vm->exit.err = *err;
		kick_all_locked(vm);
		pthread_cond_broadcast(&vm->cond);
		if (write(vm->exit_fd, &one, sizeof(one)) < 0)
			log_debug("exit event: %s", err_str(errno));
	}
	pthread_mutex_unlock(&vm->lock);
}

static void on_power(void *opaque, enum power_event event, uint32_t value)
{
	static const enum vm_exit_reason reasons[] = {
		[POWER_EVENT_OFF] = VM_EXIT_POWER_OFF,
		[POWER_EVENT_RESET] = VM_EXIT_RESET,
		[POWER_EVENT_TEST_EXIT] = VM_EXIT_TEST,
	};

	request_exit(opaque, reasons[event], value, NULL);
}

static void on_irq(void *opaque, unsigned gsi, bool level)
{
	struct vm *vm = opaque;

	/* Devices are made before the back end's VM and may set their lines then. */
	if (vm->hv)
		vm->ops->set_gsi(vm->hv, gsi, level);
}

static void on_irq_pulse(void *opaque, unsigned gsi)
{
	static const uint64_t one = 1;
	struct vm *vm = opaque;

	if (vm->irq_fds[gsi] < 0) {
		on_irq(vm, gsi, true);
		on_irq(vm, gsi, false);
	} else if (write(vm->irq_fds[gsi], &one, sizeof(one)) < 0) {
		log_debug("interrupt %u: %s", gsi, err_str(errno));
	}
}

/* ---- making ---- */

static int make_hv(struct vm *vm, const struct vm_config *config, struct err *err)
{
	struct hv_vm_config hv = { .mem = vm->machine->mem,
				   .bus = &machine_bus_ops,
				   .bus_opaque = vm->machine,
				   .cpuid = &vm->machine->cpuid,
				   .n_vcpus = config->n_vcpus,
				   .soft_mode = config->soft_mode };

	return vm->ops->vm_new(&hv, &vm->hv, err);
}

/* A notification that only wakes the device thread needs no exit, where the back end can do
 * without. */
static void short_cut_queue(struct vm *vm, struct virtio *v, unsigned queue, gpa_t window)
{
	struct err err = { 0 };
	struct hv_ioevent event;
	int fd;

	if (!virtio_notify_event(v, queue, window, &event, &fd))
		return;
	if (vm->ops->ioeventfd(vm->hv, &event, fd, true, &err) < 0)
		log_debug("%s: queue %u is notified by exits: %s", v->dev.ops->name, queue,
			  err.msg);
	else
		virtio_notified_outside(v, queue);
}

static void take_short_cuts(struct vm *vm)
{
	const struct machine *m = vm->machine;

	for (unsigned i = 0; vm->ops->ioeventfd && i < m->n_slots; i++) {
		for (unsigned queue = 0; queue < VIRTIO_MAX_QUEUES; queue++)
			short_cut_queue(vm, m->virtio[i], queue, m->slots[i].gpa);
	}
}

/* A file server's threads have no descriptor of the back end: what they interrupt by is an eventfd.
 */
static int make_irq_fds(struct vm *vm, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; vm->ops->irqfd && r == 0 && i < vm->machine->n_slots; i++) {
		unsigned gsi = vm->machine->slots[i].gsi;

		if (vm->machine->virtio[i]->vops->id != VIRTIO_ID_FS)
			continue;
		vm->irq_fds[gsi] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (vm->irq_fds[gsi] < 0)
			return err_errno(err, errno, "create an eventfd");
		r = vm->ops->irqfd(vm->hv, gsi, vm->irq_fds[gsi], true, err);
	}
	return r;
}

int vm_new(const struct vm_config *config, struct vm **ret, struct err *err)
{
	CLEANUP(vm_freep) struct vm *vm = calloc(1, sizeof(*vm));
	struct machine_env env = { .irq_set = on_irq, .irq_pulse = on_irq_pulse, .irq_opaque = vm };
	int r;

	if (!vm)
		return err_set(err, -ENOMEM, "no memory for the VM");
	vm->exit_fd = -1;
	for (unsigned i = 0; i < HV_N_GSI; i++)
		vm->irq_fds[i] = -1;
	vm->enter_thread = config->enter_thread;
	vm->thread_opaque = config->thread_opaque;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->cond, NULL);
	vm->ops = config->hv;
	vm->exit_fd = eventfd(0, EFD_CLOEXEC);
	if (vm->exit_fd < 0)
		return err_errno(err, errno, "create an eventfd");
	r = loop_new(&vm->loop, err);
	if (r < 0)
		return r;
	env.loop = vm->loop;
	env.power = (struct power_line){ .request = on_power, .opaque = vm };
	r = machine_new(config, &env, &vm->machine, err);
	if (r < 0)
		return r;
	vm->n_vcpus = config->n_vcpus;
	r = config->saved ? vm_restore_begin(vm, config->saved, err)
			  : machine_load(vm->machine, config, &vm->entry, err);
	if (r == 0)
		r = make_hv(vm, config, err);
	if (r == 0)
		r = make_irq_fds(vm, err);
	if (r < 0)
		return r;
	take_short_cuts(vm);
	if (vm->restore)
		vm_restore_make(vm);
	*ret = STEAL_PTR(vm);
	return 0;
}

void vm_free(struct vm *vm)
{
	struct vm_exit ignored;

	if (!vm)
		return;
	if (vm->has_loop_thread) {
		vm_stop(vm);
		vm_wait(vm, &ignored);
	}
	vm_restore_stop(vm);
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		if (vm->vcpus[i].hv)
			vm->ops->vcpu_free(vm->vcpus[i].hv);
	}
	if (vm->hv)
		vm->ops->vm_free(vm->hv);
	vm->hv = NULL;
	for (unsigned i = 0; i < HV_N_GSI; i++)
		fd_close(vm->irq_fds[i]);
	vm_restore_free(vm->restore);
	machine_free(vm->machine);
	loop_free(vm->loop);
	fd_close(vm->exit_fd);
	pthread_cond_destroy(&vm->cond);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

/* ---- threads ---- */

/* The calling thread has all it needs. Return: 0; negative errno, and the machine ends. */
static int enter_thread(struct vm *vm, enum vm_thread thread)
{
	struct err err = { 0 };
	int r = vm->enter_thread ? vm->enter_thread(vm->thread_opaque, thread, &err) : 0;

	if (r < 0)
		request_exit(vm, VM_EXIT_ERROR, 0, &err);
	return r;
}

static int vcpu_make(struct vcpu *vcpu, struct hv_vcpu **ret, struct err *err)
{
	struct vm *vm = vcpu->vm;
	AUTO_FREE struct hv_vcpu_state *state = NULL;
	int r;

	if (vm->restore)
		return vm_restore_vcpu(vm, vcpu->id, ret, err);
	r = vm->ops->vcpu_new(vm->hv, vcpu->id, ret, err);
	if (r < 0 || vcpu->id != 0)
		return r;
	state = calloc(1, sizeof(*state));
	if (!state)
		return err_set(err, -ENOMEM, "no memory for a vCPU's state");
	vm->ops->get_state(*ret, state);
	r = boot_entry_apply(&vm->entry, vm->machine->mem, state, err);
	return r < 0 ? r : vm->ops->set_state(*ret, state, err);
}

/* Parks while quiesced. Returns false when the machine has ended. */
static bool vcpu_may_run(struct vm *vm)
{
	bool run;

	pthread_mutex_lock(&vm->lock);
	while ((vm->n_quiesce || !vm->started) && vm->exit.reason == VM_EXIT_NONE) {
		vm->n_parked++;
		pthread_cond_broadcast(&vm->cond);
		pthread_cond_wait(&vm->cond, &vm->lock);
		vm->n_parked--;
	}
	run = vm->exit.reason == VM_EXIT_NONE;
	pthread_mutex_unlock(&vm->lock);
	return run;
}

static void vcpu_handle_exit(struct vcpu *vcpu, const struct hv_exit *exit)
{
	switch (exit->reason) {
	case HV_EXIT_INTERRUPTED: break;
	case HV_EXIT_SHUTDOWN: request_exit(vcpu->vm, VM_EXIT_TRIPLE_FAULT, vcpu->id, NULL); break;
	case HV_EXIT_ERROR:
	case HV_EXIT_MAX_: request_exit(vcpu->vm, VM_EXIT_ERROR, vcpu->id, &exit->err); break;
	}
}

static void *vcpu_main(void *opaque)
{
	struct vcpu *vcpu = opaque;
	struct vm *vm = vcpu->vm;
	struct hv_vcpu *hv = NULL;
	struct err err = { 0 };
	char name[16];
	int r;

	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	pthread_setname_np(pthread_self(), name);
	r = vm->restore && vm_restore_makes(vm, vcpu->id) ? 0 : vcpu_make(vcpu, &hv, &err);
	if (r < 0)
		request_exit(vm, VM_EXIT_ERROR, vcpu->id, &err);
	else
		enter_thread(vm, VM_THREAD_VCPU);
	pthread_mutex_lock(&vm->lock);
	vcpu->hv = hv;
	vm->n_ready++;
	vm->n_live++;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);

	while (vcpu_may_run(vm)) {
		struct hv_exit exit = { 0 };

		vm->ops->run(vcpu->hv, &exit);
		vcpu_handle_exit(vcpu, &exit);
	}

	pthread_mutex_lock(&vm->lock);
	vm->n_live--;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
	return NULL;
}

static void *loop_main(void *opaque)
{
	struct vm *vm = opaque;
	int r;

	pthread_setname_np(pthread_self(), "devices");
	r = enter_thread(vm, VM_THREAD_DEVICES);
	pthread_mutex_lock(&vm->lock);
	vm->n_ready++;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
	if (r == 0)
		loop_run(vm->loop);
	return NULL;
}

static int start_threads(struct vm *vm, struct err *err)
{
	int r = pthread_create(&vm->loop_thread, NULL, loop_main, vm);

	if (r)
		return err_errno(err, r, "start the device thread");
	vm->has_loop_thread = true;
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];

		vcpu->vm = vm;
		vcpu->id = i;
		r = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
		if (r)
			return err_errno(err, r, "start a vCPU thread");
		vcpu->has_thread = true;
	}
	return 0;
}

int vm_start(struct vm *vm, struct err *err)
{
	sigset_t all, old;
	bool failed;
	int r;

	/* Signals are the caller's business, on its own threads; but see vmm/window.h. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* What devices raise before the interrupt controllers have their state would be lost. */
	if (vm->restore)
		loop_pause(vm->loop);
	r = start_threads(vm, err);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0) {
		if (vm->restore)
			loop_resume(vm->loop);
		vm_stop(vm);
		return r;
	}
	pthread_mutex_lock(&vm->lock);
	while (vm->n_ready < vm->n_vcpus + 1)
		pthread_cond_wait(&vm->cond, &vm->lock);
	failed = vm->exit.reason != VM_EXIT_NONE;
	pthread_mutex_unlock(&vm->lock);
	if (vm->restore && !failed)
		r = vm_restore_finish(vm, err);
	if (vm->restore)
		loop_resume(vm->loop);
	if (r < 0) {
		vm_stop(vm);
		return r;
	}
	enter_thread(vm, VM_THREAD_STARTER);
	pthread_mutex_lock(&vm->lock);
	vm->started = vm->exit.reason == VM_EXIT_NONE;
	if (!vm->started)
		r = err_set(err, vm->exit.err.code ? vm->exit.err.code : -EIO, "%s",
			    vm->exit.err.msg);
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

void vm_stop(struct vm *vm)
{
	request_exit(vm, VM_EXIT_STOPPED, 0, NULL);
}

int vm_exit_fd(const struct vm *vm)
{
	return vm->exit_fd;
}

static void quiesce_devices(struct vm *vm)
{
	for (unsigned i = 0; i < vm->machine->n_devs; i++) {
		struct device *dev = vm->machine->devs[i];

		if (dev->ops->quiesce)
			dev->ops->quiesce(dev);
	}
}

void vm_wait(struct vm *vm, struct vm_exit *ret)
{
	pthread_mutex_lock(&vm->lock);
	while (vm->exit.reason == VM_EXIT_NONE)
		pthread_cond_wait(&vm->cond, &vm->lock);
	*ret = vm->exit;
	pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		if (vm->vcpus[i].has_thread)
			pthread_join(vm->vcpus[i].thread, NULL);
		vm->vcpus[i].has_thread = false;
	}
	if (!vm->has_loop_thread)
		return;
	loop_stop(vm->loop);
	pthread_join(vm->loop_thread, NULL);
	vm->has_loop_thread = false;
	quiesce_devices(vm);
}

/* ---- holding still ---- */

void vm_hold(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->n_quiesce++;
	kick_all_locked(vm);
	pthread_mutex_unlock(&vm->lock);
}

void vm_release(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->n_quiesce--;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
}

void vm_quiesce(struct vm *vm)
{
	vm_hold(vm);
	pthread_mutex_lock(&vm->lock);
	while (vm->n_parked < vm->n_live)
		pthread_cond_wait(&vm->cond, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
	loop_pause(vm->loop);
	quiesce_devices(vm);
}

void vm_resume(struct vm *vm)
{
	for (unsigned i = vm->machine->n_devs; i-- > 0;) {
		struct device *dev = vm->machine->devs[i];

		if (dev->ops->resume)
			dev->ops->resume(dev);
	}
	loop_resume(vm->loop);
	vm_release(vm);
}

void vm_console_resize(struct vm *vm, unsigned cols, unsigned rows)
{
	if (vm->machine->console)
		virtio_console_resize(vm->machine->console, cols, rows);
}

int vm_vsock_connect(struct vm *vm, uint32_t guest_port, int fd, struct err *err)
{
	if (!vm->machine->vsock) {
		fd_close(fd);
		return err_set(err, -ENODEV, "the machine has no vsock device");
	}
	return virtio_vsock_connect(vm->machine->vsock, guest_port, fd, err);
}

uint32_t vm_vsock_received(struct vm *vm, uint32_t host_port)
{
	return vm->machine->vsock ? virtio_vsock_received(vm->machine->vsock, host_port) : 0;
}

uint8_t *vm_config_region(struct vm *vm)
{
	return gmem_ptr(vm->machine->mem, LAYOUT_CONFIG, LAYOUT_CONFIG_SIZE);
}

void vm_config_written(struct vm *vm, uint32_t off, uint32_t len)
{
	gmem_written(vm->machine->mem, LAYOUT_CONFIG + off, len);
}

static_assert(VM_CONFIG_BYTES == LAYOUT_CONFIG_SIZE, "size of the config region");

void vm_stats(struct vm *vm, struct hv_stats *ret)
{
	*ret = (struct hv_stats){ 0 };
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		struct hv_stats one = { 0 };

		if (!vm->vcpus[i].hv)
			continue;
		vm->ops->get_stats(vm->vcpus[i].hv, &one);
		ret->n_insns += one.n_insns;
		ret->n_io += one.n_io;
		ret->n_mmio += one.n_mmio;
		ret->n_hlt += one.n_hlt;
		ret->n_kicks += one.n_kicks;
		ret->n_irqs += one.n_irqs;
		ret->n_assists += one.n_assists;
	}
}
