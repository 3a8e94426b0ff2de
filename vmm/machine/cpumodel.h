/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU models: one CPUID table whichever back end runs. */
#ifndef VMM_MACHINE_CPUMODEL_H
#define VMM_MACHINE_CPUMODEL_H

#include "base/err.h"
#include "vmm/hv.h"

/**
 * cpumodel_fill() - CPUID of a model
 * @name:	"base": x86-64-v2 of AMD's kind, the same bits on every host and back end
 * @n_vcpus:	For the topology leaves
 * @tsc_khz:	Guest TSC frequency
 * @ret:	Filled whole
 *
 * Return: 0; -EINVAL unknown model.
 */
int cpumodel_fill(const char *name, unsigned n_vcpus, uint32_t tsc_khz, struct hv_cpuid_table *ret,
		  struct err *err);

#endif
