/* SPDX-License-Identifier: Apache-2.0 */
/* A KVM vCPU: making it, running it, answering its exits, kicking it. */
#define LOG_MODULE "vmm/kvm"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "kvm/assist.h"
#include "kvm/entry.h"
#include "kvm/kvm.h"
#include "vmm/window.h"

/* The kernel's view of a signal set: 64 bits. */
#define KERNEL_SIGSET_LEN 8

static int kick_signal(void)
{
	return SIGRTMIN;
}

int kvm_vcpu_ioctl(struct hv_vcpu *vcpu, unsigned long request, void *arg, const char *what,
		   struct err *err)
{
	int r = vcpu->vm->ioctl(vcpu->fd, request, arg);

	return r < 0 ? err_errno(err, errno, "KVM refuses vCPU %u's %s", vcpu->id, what) : r;
}

/* ---- life ---- */

/* The kick signal is blocked in this thread but inside KVM_RUN. */
static int set_signals(struct hv_vcpu *vcpu, struct err *err)
{
	union {
		struct kvm_signal_mask k;
		uint8_t room[sizeof(struct kvm_signal_mask) + KERNEL_SIGSET_LEN];
	} mask = { .k.len = KERNEL_SIGSET_LEN };
	uint64_t blocked = 0;
	sigset_t kick, old;

	sigemptyset(&kick);
	sigaddset(&kick, kick_signal());
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	sigdelset(&old, kick_signal());
	for (int sig = 1; sig <= 64; sig++) {
		if (sigismember(&old, sig) == 1)
			blocked |= 1ULL << (sig - 1);
	}
	le64_store(mask.k.sigset, blocked);
	return kvm_vcpu_ioctl(vcpu, KVM_SET_SIGNAL_MASK, &mask, "signal mask", err);
}

/* KVM's own default is the host's rate, which the table has where it can't be changed. */
static int set_tsc_khz(struct hv_vcpu *vcpu, struct err *err)
{
	int now = vcpu->vm->ioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
	uint32_t want = vcpu->vm->tsc_khz;

	if (vcpu->vm->quick || (now > 0 && (uint32_t)now == want))
		return 0;
	return kvm_vcpu_ioctl(vcpu, KVM_SET_TSC_KHZ, (void *)(uintptr_t)want, "TSC rate", err);
}

static int set_up_vcpu(struct hv_vcpu *vcpu, struct err *err)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_INIT_RECEIVED };
	int r;

	vcpu->fd = vcpu->vm->ioctl(vcpu->vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)vcpu->id);
	if (vcpu->fd < 0)
		return err_errno(err, errno, "make KVM vCPU %u", vcpu->id);
	vcpu->run = mmap(NULL, vcpu->vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		vcpu->run = NULL;
		return err_errno(err, errno, "map the run area of vCPU %u", vcpu->id);
	}
	vcpu->xsave = calloc(1, vcpu->vm->xsave_size);
	if (!vcpu->xsave)
		return err_set(err, -ENOMEM, "no memory for vCPU %u", vcpu->id);
	r = set_signals(vcpu, err);
	if (r == 0)
		r = set_tsc_khz(vcpu, err);
	if (r == 0)
		r = kvm_cpuid_apply(vcpu, err);
	if (r == 0 && vcpu->id != 0)
		r = kvm_vcpu_ioctl(vcpu, KVM_SET_MP_STATE, &mp, "run state", err);
	if (r == 0 && !vcpu->vm->quick)
		r = kvm_assist_prepare(vcpu, err);
	return r;
}

int kvm_vcpu_new(struct hv_vm *vm, unsigned id, struct hv_vcpu **ret, struct err *err)
{
	struct hv_vcpu *vcpu = calloc(1, sizeof(*vcpu));
	int r;

	if (!vcpu)
		return err_set(err, -ENOMEM, "no memory for vCPU %u", id);
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->fd = -1;
	vcpu->pid = getpid();
	vcpu->tid = gettid();
	vcpu->entries_stale = true;
	for (unsigned i = 0; i < KVM_N_ENTRIES; i++)
		vcpu->entry[i].gpa = vcpu->gates[i] = KVM_NO_ENTRY;
	r = set_up_vcpu(vcpu, err);
	if (r < 0) {
		kvm_vcpu_free(vcpu);
		return r;
	}
	pthread_mutex_lock(&vm->lock);
	vm->vcpus[id] = vcpu;
	pthread_mutex_unlock(&vm->lock);
	*ret = vcpu;
	return 0;
}

void kvm_vcpu_free(struct hv_vcpu *vcpu)
{
	if (!vcpu)
		return;
	pthread_mutex_lock(&vcpu->vm->lock);
	if (vcpu->vm->vcpus[vcpu->id] == vcpu)
		vcpu->vm->vcpus[vcpu->id] = NULL;
	pthread_mutex_unlock(&vcpu->vm->lock);
	if (vcpu->run)
		munmap(vcpu->run, vcpu->vm->run_size);
	fd_close(vcpu->fd);
	free(vcpu->xsave);
	free(vcpu);
}

/* ---- exits ---- */

static void handle_io(struct hv_vcpu *vcpu)
{
	const struct hv_vm_config *c = &vcpu->vm->config;
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;

	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint64_t val = 0;

		vcpu->stats.n_io++;
		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&val, data, size);
			c->bus->io_write(c->bus_opaque, run->io.port, size, val);
		} else {
			val = c->bus->io_read(c->bus_opaque, run->io.port, size);
			memcpy(data, &val, size);
		}
	}
}

/*
 * KVM takes for MMIO what it cannot read, a page of a window whose file was cut (our own access
 * raises the signal that mends it), and writes to a page with a system call entry.
 */
static bool memory_access(struct hv_vcpu *vcpu)
{
	struct gmem *mem = vcpu->vm->config.mem;
	struct kvm_run *run = vcpu->run;
	uint32_t len = MIN(run->mmio.len, (uint32_t)sizeof(run->mmio.data));

	if (!gmem_ptr(mem, run->mmio.phys_addr, len))
		return false;
	if (run->mmio.is_write)
		gmem_write(mem, run->mmio.phys_addr, run->mmio.data, len);
	else
		gmem_read(mem, run->mmio.phys_addr, run->mmio.data, len);
	return true;
}

/* An access across a page's end arrives in pieces of any length: in parts that the bus knows. */
static void handle_mmio(struct hv_vcpu *vcpu)
{
	const struct hv_vm_config *c = &vcpu->vm->config;
	struct kvm_run *run = vcpu->run;
	unsigned len = MIN(run->mmio.len, (uint32_t)sizeof(run->mmio.data));

	vcpu->stats.n_mmio++;
	if (memory_access(vcpu))
		return;
	for (unsigned at = 0, size; at < len; at += size) {
		uint64_t gpa = run->mmio.phys_addr + at, val = 0;

		size = 1U << (31 - __builtin_clz(len - at));
		if (run->mmio.is_write) {
			memcpy(&val, run->mmio.data + at, size);
			c->bus->mmio_write(c->bus_opaque, gpa, size, val);
		} else {
			val = c->bus->mmio_read(c->bus_opaque, gpa, size);
			memcpy(run->mmio.data + at, &val, size);
		}
	}
}

static bool exit_error(struct hv_exit *ret, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static bool exit_error(struct hv_exit *ret, const char *fmt, ...)
{
	va_list ap;
	char msg[ERR_MSG_MAX];

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	ret->reason = HV_EXIT_ERROR;
	err_set(&ret->err, -EIO, "%s", msg);
	return true;
}

static bool assist(struct hv_vcpu *vcpu, enum kvm_assist_reason reason, struct hv_exit *ret)
{
	struct err err = { 0 };
	int r = kvm_assist_run(vcpu, reason, &err);

	if (r == KVM_ASSIST_DONE)
		return false;
	ret->reason = r == KVM_ASSIST_SHUTDOWN ? HV_EXIT_SHUTDOWN : HV_EXIT_ERROR;
	ret->err = err;
	return true;
}

static bool handle_internal_error(struct hv_vcpu *vcpu, struct hv_exit *ret)
{
	uint32_t sub = vcpu->run->internal.suberror;

	if (sub != KVM_INTERNAL_ERROR_EMULATION)
		return exit_error(ret, "KVM failed inside, suberror %u", sub);
	if (vcpu->vm->quick) {
		ret->reason = HV_EXIT_ERROR;
		err_set(&ret->err, KVM_EMULATION_ERROR, "KVM can't emulate an instruction");
		return true;
	}
	return assist(vcpu, KVM_ASSIST_UNKNOWN, ret);
}

static bool handle_system_event(struct hv_vcpu *vcpu, struct hv_exit *ret)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
	case KVM_SYSTEM_EVENT_RESET:
	case KVM_SYSTEM_EVENT_CRASH: ret->reason = HV_EXIT_SHUTDOWN; return true;
	default: return exit_error(ret, "KVM system event %u", vcpu->run->system_event.type);
	}
}

/* Return: true to leave run(). */
static bool handle_exit(struct hv_vcpu *vcpu, struct hv_exit *ret)
{
	const struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (kvm_entry_hit(vcpu))
			return assist(vcpu, KVM_ASSIST_ENTRY, ret);
		handle_io(vcpu);
		return false;
	case KVM_EXIT_X86_WRMSR: kvm_entry_wrmsr(vcpu); return false;
	case KVM_EXIT_MMIO: handle_mmio(vcpu); return false;
	case KVM_EXIT_HLT: vcpu->stats.n_hlt++; return false;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN: return false;
	case KVM_EXIT_SHUTDOWN: ret->reason = HV_EXIT_SHUTDOWN; return true;
	case KVM_EXIT_SYSTEM_EVENT: return handle_system_event(vcpu, ret);
	case KVM_EXIT_INTERNAL_ERROR: return handle_internal_error(vcpu, ret);
	case KVM_EXIT_FAIL_ENTRY:
		return exit_error(ret, "the CPU refuses to enter the guest, reason %#llx",
				  (unsigned long long)
					  run->fail_entry.hardware_entry_failure_reason);
	default: return exit_error(ret, "KVM exit %u is not known", run->exit_reason);
	}
}

/* ---- running ---- */

/* KVM_RUN was interrupted: by a kick, or by a stray signal. Return: true when it was a kick. */
static bool take_kick(struct hv_vcpu *vcpu)
{
	const struct timespec now = { 0 };
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, kick_signal());
	while (sigtimedwait(&kick, NULL, &now) > 0)
		;
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	return atomic_exchange(&vcpu->kicked, false);
}

void kvm_vcpu_run(struct hv_vcpu *vcpu, struct hv_exit *ret)
{
	struct hv_vm *vm = vcpu->vm;

	*ret = (struct hv_exit){ 0 };
	if (kvm_dirty_follow(vm, &ret->err) < 0) {
		ret->reason = HV_EXIT_ERROR;
		return;
	}
	for (;;) {
		int r;

		kvm_entry_watch(vcpu);
		r = kvm_entry_follow(vcpu, &ret->err);
		if (r < 0) {
			ret->reason = HV_EXIT_ERROR;
			return;
		}
		r = kvm_entry_run(vcpu);
		if (r == 0) {
			if (handle_exit(vcpu, ret))
				return;
			continue;
		}
		if (errno == EFAULT && window_mend(vcpu->vm->config.mem))
			continue;
		if (errno != EINTR && errno != EAGAIN) {
			ret->reason = HV_EXIT_ERROR;
			err_errno(&ret->err, errno, "run vCPU %u", vcpu->id);
			return;
		}
		if (take_kick(vcpu)) {
			vcpu->stats.n_kicks++;
			ret->reason = HV_EXIT_INTERRUPTED;
			return;
		}
	}
}

void kvm_vcpu_kick(struct hv_vcpu *vcpu)
{
	atomic_store(&vcpu->kicked, true);
	kvm_vcpu_interrupt(vcpu);
}

void kvm_vcpu_interrupt(struct hv_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	/* By thread id: the thread may have ended since. */
	syscall(SYS_tgkill, vcpu->pid, vcpu->tid, kick_signal());
}

void kvm_vcpu_get_stats(struct hv_vcpu *vcpu, struct hv_stats *ret)
{
	*ret = vcpu->stats;
}
