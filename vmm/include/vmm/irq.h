/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt lines as devices see them: a GSI that is raised, lowered or pulsed. */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <stdbool.h>

/* Set the level of a global system interrupt. Context: any thread; locks inside. */
typedef void (*irq_set_fn)(void *opaque, unsigned gsi, bool level);

/* By value in each device. */
struct irq_line {
	irq_set_fn set;
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
	irq_set(line, true);
	irq_set(line, false);
}

#endif
