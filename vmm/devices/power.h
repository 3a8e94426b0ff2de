/* SPDX-License-Identifier: Apache-2.0 */
/* How a device asks for the machine's end: by value in each device that can. */
#ifndef VMM_DEVICES_POWER_H
#define VMM_DEVICES_POWER_H

#include <stdint.h>

enum power_event {
	POWER_EVENT_OFF,
	POWER_EVENT_RESET,
	POWER_EVENT_TEST_EXIT, /* value: the exit status */
};

struct power_line {
	/* Context: a vCPU thread with a device's lock held; only notes it and kicks. */
	void (*request)(void *opaque, enum power_event event, uint32_t value);
	void *opaque;
};

static inline void power_request(const struct power_line *line, enum power_event event,
				 uint32_t value)
{
	line->request(line->opaque, event, value);
}

#endif
