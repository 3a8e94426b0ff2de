/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local APIC: xAPIC page and x2APIC MSRs, timer in three modes, IPIs.
 *
 * Theory of operation. One per vCPU, all joined in a struct lapic_bus. Registers belong to
 * lapic->lock; no lock is held while calling another LAPIC, the bus's eoi() or the owner's
 * callbacks, except that the IOAPIC holds its own while it delivers to LAPICs (order: IOAPIC, then
 * LAPIC). The owner's thread polls the timer (lapic_poll) and takes vectors (lapic_ack); irq()
 * tells it, from any thread, that a vector may be there. Time is the guest's clock in ns, TSC
 * values are the guest's. Refs: Intel SDM 3A chapter 10; AMD APM 2 chapter 16.
 */
#ifndef DEVICES_LAPIC_H
#define DEVICES_LAPIC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/hv.h"

#define APIC_BASE_BSP	(1ULL << 8)
#define APIC_BASE_EXTD	(1ULL << 10) /* x2APIC */
#define APIC_BASE_EN	(1ULL << 11)
#define APIC_BASE_RESET 0xfee00000ULL
#define LAPIC_NEVER	(~0ULL)

/* Delivery modes of ICR, LVTs and redirection entries. */
enum lapic_delivery {
	LAPIC_FIXED,
	LAPIC_LOWEST,
	LAPIC_SMI,
	LAPIC_RESERVED3,
	LAPIC_NMI,
	LAPIC_INIT,
	LAPIC_SIPI,
	LAPIC_EXTINT,
};

/* What a LAPIC asks of its vCPU. Called without the LAPIC's lock, from any thread. */
struct lapic_ops {
	void (*irq)(void *opaque); /* lapic_ack() may have a vector */
	void (*nmi)(void *opaque);
	void (*init)(void *opaque);
	void (*sipi)(void *opaque, uint8_t vector);
	void (*extint)(void *opaque);			   /* an ExtINT message: ask the PIC */
	uint64_t (*now)(void *opaque);			   /* guest clock in ns */
	uint64_t (*tsc_to_ns)(void *opaque, uint64_t tsc); /* when the TSC reaches it, rounded up */
};

struct lapic;

struct lapic_bus {
	struct lapic *lapics[HV_MAX_VCPUS]; /* by number, complete before guest code runs */
	unsigned n;
	void (*eoi)(void *opaque, uint8_t vector); /* level-triggered interrupt done; may be NULL */
	void *eoi_opaque;
};

struct lapic {
	pthread_mutex_t lock;
	struct lapic_bus *bus;
	const struct lapic_ops *ops;
	void *opaque;
	uint32_t id;
	/* guarded by lock */
	uint32_t regs[HV_LAPIC_N_REGS];
	uint64_t base_msr;
	uint64_t tsc_deadline;
	uint64_t timer_start; /* guest clock */
	/* when lapic_poll() must be called next, guest clock; written under lock */
	_Atomic uint64_t next_event;
};

int lapic_init(struct lapic *lapic, struct lapic_bus *bus, uint32_t id, const struct lapic_ops *ops,
	       void *opaque, struct err *err);
void lapic_done(struct lapic *lapic);

/* Power-on (@init false: APIC base too) or INIT state. */
void lapic_reset(struct lapic *lapic, bool init);

/* The xAPIC page. @off + @size may be anything in the page. Own thread. */
uint64_t lapic_mmio_read(struct lapic *lapic, unsigned off, unsigned size);
void lapic_mmio_write(struct lapic *lapic, unsigned off, unsigned size, uint64_t val);

/* MSRs 0x800-0x83f in x2APIC mode. false: #GP. */
bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t *ret);
bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t val);

/* IA32_APIC_BASE and IA32_TSC_DEADLINE. false: #GP. */
bool lapic_base_write(struct lapic *lapic, uint64_t val, unsigned phys_bits);
void lapic_deadline_write(struct lapic *lapic, uint64_t val);
uint64_t lapic_deadline_read(struct lapic *lapic);

uint8_t lapic_tpr_read(struct lapic *lapic); /* CR8 */
void lapic_tpr_write(struct lapic *lapic, uint8_t cr8);

/* Fire what is due at @now. Return: guest clock of the next event, or LAPIC_NEVER. Own thread. */
uint64_t lapic_poll(struct lapic *lapic, uint64_t now);

/* Whether a vector could be delivered now, and take it (-1: none). Own thread. */
bool lapic_has_irq(struct lapic *lapic);
int lapic_ack(struct lapic *lapic);

/* Whether the PIC's output reaches this CPU: LINT0 as ExtINT, or the APIC switched off. */
bool lapic_accepts_extint(struct lapic *lapic);

struct lapic_msg {
	uint32_t dest;
	bool logical;
	bool broadcast_all; /* @dest is the sender's "all ones" */
	enum lapic_delivery mode;
	uint8_t vector;
	bool level; /* trigger mode: sets TMR, so that EOI is broadcast */
};

/**
 * lapic_bus_send() - Deliver a message from the IOAPIC or an IPI
 *
 * Context: any thread; takes LAPIC locks one at a time.
 * Return: whether any LAPIC matched.
 */
bool lapic_bus_send(struct lapic_bus *bus, const struct lapic_msg *msg);

void lapic_get_state(struct lapic *lapic, struct hv_lapic_state *ret);
/* -EINVAL names the field. The timer is re-armed from the state. */
int lapic_set_state(struct lapic *lapic, const struct hv_lapic_state *state, unsigned phys_bits,
		    struct err *err);

#endif
