/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86-64 machine: memory, buses, devices and the tables that describe them to a guest.
 *
 * Theory of operation. machine_new() builds it from the configuration in the order of the table in
 * x86_64.c and nothing changes after. It knows neither back end nor threads: interrupts and power
 * requests leave through machine_env.
 */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include "base/cleanup.h"
#include "base/loop.h"
#include "boot/boot.h"
#include "devices/power.h"
#include "machine/mmioalloc.h"
#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

#define MACHINE_MAX_DEVICES 32
#define MACHINE_MAX_VIRTIO  16

struct machine_env {
	struct loop *loop; /* borrowed until machine_free() */
	irq_set_fn irq_set;
	irq_pulse_fn irq_pulse;
	void *irq_opaque;
	struct power_line power;
};

struct machine {
	struct machine_env env;
	const struct vm_config *config; /* borrowed while machine_new() runs, then NULL */
	struct gmem *mem;
	struct bus *io, *mmio;
	struct mmioalloc mmio_space;
	struct memmap map;
	struct hv_cpuid_table cpuid;
	struct device *devs[MACHINE_MAX_DEVICES]; /* in order of making; freed backwards */
	unsigned n_devs;
	struct acpi_virtio_slot slots[MACHINE_MAX_VIRTIO];
	struct virtio *virtio[MACHINE_MAX_VIRTIO]; /* borrowed from devs, one a slot */
	unsigned n_slots;
	unsigned n_fs, n_net; /* of the configuration's, made so far */
	/* Borrowed from devs; the last two may be NULL. */
	struct device *i8042, *pit, *vmgenid, *console, *vsock;
};

int machine_new(const struct vm_config *config, const struct machine_env *env, struct machine **ret,
		struct err *err);
/* The loop does not run. */
void machine_free(struct machine *m);
CLEANUP_DEFINE(struct machine, machine_free);

/**
 * machine_load() - Tables and kernel into memory
 */
int machine_load(struct machine *m, const struct vm_config *config, struct boot_entry *ret,
		 struct err *err);

/* Port and MMIO accesses; the opaque is the machine. */
extern const struct hv_bus_ops machine_bus_ops;

#endif
