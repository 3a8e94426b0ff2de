/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt messages: the ICR, destinations, and delivery to LAPICs. */
#include "devices/lapic_priv.h"

#include "base/checked.h"

#define XAPIC_BROADCAST	 0xffU
#define X2APIC_BROADCAST 0xffffffffU

static bool logical_match(struct lapic *l, uint32_t dest)
{
	uint32_t ldr = lapic_ldr(l);

	if (l->base_msr & APIC_BASE_EXTD)
		return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
	ldr >>= 24;
	if (l->regs[LAPIC_DFR] >> 28 == 0xf)
		return ldr & dest & 0xff;
	return (ldr & 0xf0) == (dest & 0xf0) && (ldr & dest & 0x0f); /* cluster model */
}

static bool matches(struct lapic *l, const struct lapic_msg *msg)
{
	bool yes;

	if (msg->broadcast_all)
		return true;
	if (!msg->logical)
		return l->id == msg->dest;
	pthread_mutex_lock(&l->lock);
	yes = logical_match(l, msg->dest);
	pthread_mutex_unlock(&l->lock);
	return yes;
}

/* One message into one LAPIC. */
static void accept(struct lapic *l, enum lapic_delivery mode, uint8_t vector, bool level)
{
	bool irq;

	switch (mode) {
	case LAPIC_FIXED:
	case LAPIC_LOWEST:
		pthread_mutex_lock(&l->lock);
		lapic_accept_locked(l, vector, level);
		pthread_mutex_unlock(&l->lock);
		irq = lapic_has_irq(l);
		if (irq)
			l->ops->irq(l->opaque);
		break;
	case LAPIC_NMI: l->ops->nmi(l->opaque); break;
	case LAPIC_INIT: l->ops->init(l->opaque); break;
	case LAPIC_SIPI: l->ops->sipi(l->opaque, vector); break;
	case LAPIC_EXTINT: l->ops->extint(l->opaque); break;
	case LAPIC_SMI:
	case LAPIC_RESERVED3: break; /* there is no SMM */
	}
}

static bool takes_fixed(struct lapic *l)
{
	bool yes;

	pthread_mutex_lock(&l->lock);
	yes = lapic_sw_enabled(l);
	pthread_mutex_unlock(&l->lock);
	return yes;
}

/* Lowest priority: the matching LAPIC with the smallest task priority. */
static struct lapic *lowest(struct lapic_bus *bus, const struct lapic_msg *msg)
{
	struct lapic *best = NULL;

	for (unsigned i = 0; i < bus->n; i++) {
		struct lapic *l = bus->lapics[i];

		if (!l || !matches(l, msg) || !takes_fixed(l))
			continue;
		if (!best || (l->regs[LAPIC_TPR] & 0xff) < (best->regs[LAPIC_TPR] & 0xff))
			best = l;
	}
	return best;
}

bool lapic_bus_send(struct lapic_bus *bus, const struct lapic_msg *msg)
{
	bool any = false;

	if (msg->mode == LAPIC_LOWEST) {
		struct lapic *l = lowest(bus, msg);

		if (l)
			accept(l, msg->mode, msg->vector, msg->level);
		return l != NULL;
	}
	for (unsigned i = 0; i < bus->n; i++) {
		struct lapic *l = bus->lapics[i];

		if (!l || !matches(l, msg))
			continue;
		accept(l, msg->mode, msg->vector, msg->level);
		any = true;
	}
	return any;
}

static void send_error(struct lapic *l)
{
	pthread_mutex_lock(&l->lock);
	lapic_error_locked(l, ESR_SEND_VECTOR);
	pthread_mutex_unlock(&l->lock);
	if (lapic_has_irq(l))
		l->ops->irq(l->opaque);
}

/*
 * @low: ICR bits 31:0; @dest: destination field. In INIT messages with level trigger and no assert
 * ("level de-assert") nothing happens on processors since the Pentium 4.
 */
void lapic_icr_send(struct lapic *l, uint32_t low, uint32_t dest, bool x2apic)
{
	struct lapic_msg msg = {
		.dest = dest,
		.logical = low & ICR_LOGICAL,
		.broadcast_all = dest == (x2apic ? X2APIC_BROADCAST : XAPIC_BROADCAST),
		.mode = (enum lapic_delivery)((low >> 8) & 7),
		.vector = (uint8_t)low,
	};
	uint32_t shorthand = low & ICR_SHORTHAND;

	if (msg.mode == LAPIC_INIT && (low & ICR_LEVEL) && !(low & ICR_ASSERT))
		return;
	if ((msg.mode == LAPIC_FIXED || msg.mode == LAPIC_LOWEST) && msg.vector < 16) {
		send_error(l);
		return;
	}
	if (msg.mode == LAPIC_EXTINT || msg.mode == LAPIC_RESERVED3)
		return; /* not for IPIs */
	if (shorthand == ICR_SELF) {
		if (msg.mode == LAPIC_FIXED || msg.mode == LAPIC_NMI)
			accept(l, msg.mode, msg.vector, false);
		return;
	}
	if (shorthand == 0) {
		lapic_bus_send(l->bus, &msg);
		return;
	}
	for (unsigned i = 0; i < l->bus->n; i++) {
		struct lapic *other = l->bus->lapics[i];

		if (other && (shorthand == ICR_ALL || other != l))
			accept(other, msg.mode, msg.vector, false);
	}
}
