/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IOAPIC with 24 pins (82093AA, as a PC's chipset has it).
 *
 * Lock order: ioapic->lock, then a LAPIC's. Pins take a level: an edge-triggered entry fires when
 * it rises, a level-triggered one while it is up and remote IRR is clear. The polarity bit is
 * stored only: "up" is what the device means by active.
 */
#ifndef DEVICES_IOAPIC_H
#define DEVICES_IOAPIC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"
#include "devices/lapic.h"

#define IOAPIC_BASE   0xfec00000ULL
#define IOAPIC_N_PINS HV_N_GSI

struct ioapic {
	pthread_mutex_t lock;
	struct lapic_bus *bus;
	/* guarded by lock */
	uint8_t select;
	uint8_t id;
	uint32_t levels; /* pins that are up */
	uint64_t redir[IOAPIC_N_PINS];
};

extern const struct state_desc ioapic_state_desc;

int ioapic_init(struct ioapic *io, struct lapic_bus *bus, struct err *err);
void ioapic_done(struct ioapic *io);
void ioapic_reset(struct ioapic *io);

void ioapic_set_pin(struct ioapic *io, unsigned pin, bool level); /* any thread */
void ioapic_eoi(struct ioapic *io, uint8_t vector);		  /* broadcast by a LAPIC */

/* The 4 KiB window at IOAPIC_BASE. vCPU threads. */
uint64_t ioapic_mmio_read(struct ioapic *io, unsigned off, unsigned size);
void ioapic_mmio_write(struct ioapic *io, unsigned off, unsigned size, uint64_t val);

#endif
