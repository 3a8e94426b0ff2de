/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt lines as devices see them: a GSI that is raised, lowered or pulsed. */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <stdbool.h>

/* Set the level of a global system interrupt. Context: any thread; locks inside. */
typedef void (*irq_set_fn)(void *opaque, unsigned gsi, bool level);

/* One edge. Context: any thread, also one that has none of the back end's descriptors. */
typedef void (*irq_pulse_fn)(void *opaque, unsigned gsi);

/* By value in each device. */
struct irq_line {
	irq_set_fn set;
	irq_pulse_fn pulse; /* NULL: set, high and low */
	void *opaque;
	unsigned gsi;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
	line->set(line->opaque, line->gsi, level);
}

/* One edge: what virtio-mmio uses (its pins are declared edge-triggered in the DSDT). */
static inline void irq_pulse(const struct irq_line *line)
{
	if (line->pulse) {
		line->pulse(line->opaque, line->gsi);
		return;
	}
	irq_set(line, true);
	irq_set(line, false);
}

#endif
