/* SPDX-License-Identifier: Apache-2.0 */
/* What every emulated device is to the machine: register windows, reset, state. */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/state.h"

struct device;

/*
 * @off is relative to the window's start and @off + @size lies inside it; @size is 1, 2, 4 or 8.
 * Called on vCPU threads with dev->lock held. The guest chooses off, size and value: a device answers
 * what the hardware would and never fails the VM.
 */
struct device_ops {
	const char *name; /* stable: also the snapshot section */
	void (*read)(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val);
	void (*write)(struct device *dev, uint64_t off, unsigned size, uint64_t val);
	void (*reset)(struct device *dev);
	void (*quiesce)(struct device *dev); /* optional: no I/O in flight on return */
	void (*resume)(struct device *dev);  /* optional: undo quiesce */
	const struct state_desc *state;	     /* mandatory for anything with state; of the whole object */
	void (*free)(struct device *dev);
};

/* Embedded first in each device's struct. */
struct device {
	const struct device_ops *ops;
	pthread_mutex_t lock;	/* guards the device's registers */
	struct log_limit limit; /* guarded by lock */
	uint64_t n_guest_faults; /* guarded by lock */
};

void device_init(struct device *dev, const struct device_ops *ops);
void device_free(struct device *dev); /* NULL is fine; calls ops->free */

/**
 * device_fail() - Note that the guest broke this device's rules
 *
 * Counts, and logs at a limited rate. Context: dev->lock held.
 */
void device_fail(struct device *dev, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
