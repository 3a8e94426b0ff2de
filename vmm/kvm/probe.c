/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does this host's KVM run guest kernel code on the CPU?
 *
 * Some KVMs have no hardware behind them: user code of the guest runs on the CPU, its kernel's
 * instructions are interpreted one by one, and not all of them are known. The device node, the API
 * and its capabilities look the same, so a VM of a few pages is asked: ring 0, long mode, a loop
 * between two port writes whose distance is measured, then instructions of the kinds that
 * interpreters lack.
 */
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "boot/boot.h"
#include "kvm/kvm.h"
#include "machine/cpumodel.h"
#include "machine/layout.h"
#include "vmm/probe.h"
#include "vmm/vm.h"

#define RAM_BYTES  (256 * KIB)
#define CODE_GPA   0x10000ULL
#define PORT_START 0x10
#define PORT_STOP  0x11
#define PORT_END   0x12
#define N_LOOPS	   500 /* two instructions each; as in the code below */
#define N_ROUNDS   3
#define SLOW_PS	   50000  /* 50 ns an instruction: no CPU is that slow, no interpreter that fast */
#define CR4_SSE	   0x600U /* OSFXSR, OSXMMEXCPT */
#define MAX_RUNS   1000	  /* kicks come once; anything more is a fault */

/*
 * round:  out %al, $PORT_START; mov $500, %ecx; 1: dec %ecx; jnz 1b; out %al, $PORT_STOP
 *         dec %ebx; jnz round
 *         popcnt %ecx, %ecx; fninit; pxor %xmm0, %xmm0; xorps %xmm1, %xmm1
 * end:    out %al, $PORT_END; hlt; jmp end
 */
static const uint8_t code[] = {
	0xbb,
	N_ROUNDS,
	0,
	0,
	0, /* mov $3, %ebx */
	0xe6,
	PORT_START, /* round: */
	0xb9,
	N_LOOPS & 0xff,
	N_LOOPS >> 8,
	0,
	0, /* mov $500, %ecx */
	0xff,
	0xc9,
	0x75,
	0xfc, /* 1: dec %ecx; jnz 1b */
	0xe6,
	PORT_STOP,
	0xff,
	0xcb,
	0x75,
	0xef, /* dec %ebx; jnz round */
	0xf3,
	0x0f,
	0xb8,
	0xc9, /* popcnt */
	0xdb,
	0xe3, /* fninit */
	0x0f,
	0x57,
	0xc9, /* xorps */
	0xe6,
	PORT_END,
	0xf4,
	0xeb,
	0xfb, /* end: */
};

struct probe {
	struct hv_vcpu *vcpu;
	uint64_t start_ns, best_ns;
	bool ended, refused;
};

static uint64_t on_read(void *opaque, uint16_t port, unsigned size)
{
	return ~0ULL;
}

static void on_write(void *opaque, uint16_t port, unsigned size, uint64_t val)
{
	struct probe *p = opaque;
	uint64_t now = clock_monotonic_ns();

	if (port == PORT_START)
		p->start_ns = now;
	else if (port == PORT_STOP && now - p->start_ns < p->best_ns)
		p->best_ns = now - p->start_ns;
	else if (port == PORT_END) {
		p->ended = true;
		kvm_vcpu_kick(p->vcpu);
	}
}

static uint64_t on_mmio_read(void *opaque, gpa_t gpa, unsigned size)
{
	return ~0ULL;
}

static void on_mmio_write(void *opaque, gpa_t gpa, unsigned size, uint64_t val)
{
}

static const struct hv_bus_ops probe_bus = {
	.io_read = on_read,
	.io_write = on_write,
	.mmio_read = on_mmio_read,
	.mmio_write = on_mmio_write,
};

static int enter(struct probe *p, struct gmem *mem, struct err *err)
{
	const struct boot_entry entry = { .mode = BOOT_MODE_LONG,
					  .rip = CODE_GPA,
					  .rsp = LAYOUT_STACK_TOP };
	struct hv_vcpu_state state;
	int r;

	kvm_get_state(p->vcpu, &state);
	r = boot_entry_apply(&entry, mem, &state, err);
	if (r == 0)
		r = gmem_write(mem, CODE_GPA, code, sizeof(code));
	state.cr4 |= CR4_SSE;
	return r < 0 ? r : kvm_set_state(p->vcpu, &state, err);
}

static int run(struct probe *p, struct err *err)
{
	for (unsigned i = 0; i < MAX_RUNS && !p->ended; i++) {
		struct hv_exit exit;

		kvm_vcpu_run(p->vcpu, &exit);
		if (exit.reason == HV_EXIT_SHUTDOWN)
			return err_set(err, -EIO, "a test guest ended in a triple fault");
		if (exit.reason == HV_EXIT_ERROR && exit.err.code == KVM_EMULATION_ERROR) {
			p->refused = true;
			return 0;
		}
		if (exit.reason != HV_EXIT_INTERRUPTED) {
			*err = exit.err;
			return err->code;
		}
	}
	return p->ended ? 0 : err_set(err, -EIO, "a test guest did not end");
}

static int try_vm(struct probe *p, struct err *err)
{
	CLEANUP(gmem_freep) struct gmem *mem = NULL;
	struct hv_cpuid_table cpuid;
	struct hv_vm_config config = { .bus = &probe_bus, .bus_opaque = p, .n_vcpus = 1 };
	struct hv_vm *vm = NULL;
	int r = gmem_new(&mem, err);

	if (r == 0)
		r = gmem_add_anon(mem, 0, RAM_BYTES, GMEM_RAM, err);
	if (r == 0)
		r = cpumodel_fill("base", 1, VM_TSC_KHZ, &cpuid, err);
	if (r < 0)
		return r;
	config.mem = mem;
	config.cpuid = &cpuid;
	r = kvm_vm_make(&config, true, &vm, err);
	if (r < 0)
		return r;
	r = kvm_vcpu_new(vm, 0, &p->vcpu, err);
	if (r == 0)
		r = enter(p, mem, err);
	if (r == 0)
		r = run(p, err);
	kvm_vcpu_free(p->vcpu);
	hv_kvm_ops.vm_free(vm);
	return r;
}

static void judge(const struct probe *p, struct probe_result *ret)
{
	bool timed = p->best_ns != UINT64_MAX;

	if (timed)
		ret->insn_ps = p->best_ns * 1000 / (2 * N_LOOPS);
	if (p->refused || ret->insn_ps > SLOW_PS) {
		ret->verdict = PROBE_EMULATED;
		snprintf(ret->reason, sizeof(ret->reason),
			 "KVM is there, but it interprets guest kernel code (%.1f ns an "
			 "instruction%s)",
			 (double)ret->insn_ps / 1000,
			 p->refused ? ", and some it does not know" : "");
		return;
	}
	ret->verdict = PROBE_NATIVE;
	snprintf(ret->reason, sizeof(ret->reason),
		 "KVM runs guest kernel code on the CPU (%.2f ns an instruction)",
		 (double)ret->insn_ps / 1000);
}

void probe_kvm(struct probe_result *ret)
{
	struct probe p = { .best_ns = UINT64_MAX };
	struct err err = { 0 };
	uint64_t start = clock_monotonic_ns();
	sigset_t old;
	int r;

	/* The vCPU blocks its kick signal in this thread, which is the caller's. */
	pthread_sigmask(SIG_BLOCK, NULL, &old);
	r = try_vm(&p, &err);
	pthread_sigmask(SIG_SETMASK, &old, NULL);

	*ret = (struct probe_result){ .verdict = PROBE_UNUSABLE };
	if (r < 0)
		snprintf(ret->reason, sizeof(ret->reason), "%s", err.msg);
	else
		judge(&p, ret);
	ret->took_ns = clock_monotonic_ns() - start;
}

#define CPUID_1_ECX_VMX		(1U << 5)
#define CPUID_8000_0001_ECX_SVM (1U << 2)

bool kvm_interprets(void)
{
	unsigned a, b, c, d;
	struct probe_result probe;

	if (__get_cpuid(1, &a, &b, &c, &d) && (c & CPUID_1_ECX_VMX))
		return false;
	if (__get_cpuid(0x80000001, &a, &b, &c, &d) && (c & CPUID_8000_0001_ECX_SVM))
		return false;
	probe_kvm(&probe);
	return probe.verdict == PROBE_EMULATED;
}

const char *probe_verdict_str(enum probe_verdict verdict)
{
	switch (verdict) {
	case PROBE_NATIVE: return "native";
	case PROBE_EMULATED: return "emulated";
	case PROBE_UNUSABLE: return "unusable";
	case PROBE_MAX_: break;
	}
	return "unknown";
}
