/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hypervisor back end without a CPU: run() calls a script that the test gives, which touches
 * ports and MMIO as guest code would and says how the run ends.
 *
 * Theory of operation. fake_hv_ops is one static table, so the script is handed over beside it:
 * fake_hv_script() before vm_new(). One test at a time, one VM at a time. A script that returns
 * HV_EXIT_INTERRUPTED is called again; while a script waits in fake_hv_idle() a kick wakes it.
 */
#ifndef TESTS_FAKE_HV_H
#define TESTS_FAKE_HV_H

#include "vmm/hv.h"

struct fake_vcpu;

typedef enum hv_exit_reason (*fake_script_fn)(struct fake_vcpu *vcpu, void *opaque);

extern const struct hv_ops fake_hv_ops;

void fake_hv_script(fake_script_fn fn, void *opaque);
/* An ELF64 program of one byte at 1 MiB, open. Return: it, the caller's; -1. */
int fake_kernel(void);

/* For scripts. */
const struct hv_bus_ops *fake_vcpu_bus(const struct fake_vcpu *vcpu, void **ret_opaque);
void fake_out(struct fake_vcpu *vcpu, uint16_t port, unsigned size, uint64_t val);
uint64_t fake_in(struct fake_vcpu *vcpu, uint16_t port, unsigned size);
/* Sleep until kicked, as HLT does. */
void fake_idle(struct fake_vcpu *vcpu);

/* Rising edges seen on a GSI since the script was set. */
unsigned fake_hv_edges(unsigned gsi);
/* What vm.c set on vCPU 0. */
const struct hv_vcpu_state *fake_hv_boot_state(void);

#endif
