/* SPDX-License-Identifier: Apache-2.0 */
/* One instruction by the software CPU, on behalf of another back end. */
#ifndef SOFT_SINGLE_H
#define SOFT_SINGLE_H

#include <stdbool.h>
#include <stdint.h>

struct hv_vcpu;

/**
 * soft_single() - Execute the instruction at RIP, or deliver the exception that is pending
 * @vcpu:	Of hv_soft_ops, in step mode, set_state() done
 *
 * No interrupt is taken. An exception that the instruction raises is delivered.
 * Context: the vCPU's thread.
 * Return: false after a triple fault.
 */
bool soft_single(struct hv_vcpu *vcpu);

/*
 * Before that: what the vCPU's TSC is now. The state's is of the moment at which this machine stood still first,
 * and it never runs. Context: the vCPU's thread.
 */
void soft_single_tsc(struct hv_vcpu *vcpu, uint64_t tsc);

#endif
