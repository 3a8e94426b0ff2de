/* SPDX-License-Identifier: Apache-2.0 */
/* What all emulated devices share: life and death, and the guest's faults. */
#include "vmm/device.h"

#include <stdarg.h>
#include <stdio.h>

#define LOG_FAULT_MAX 200

void device_init(struct device *dev, const struct device_ops *ops)
{
	dev->ops = ops;
	pthread_mutex_init(&dev->lock, NULL);
	dev->limit = (struct log_limit){ 0 };
	dev->n_guest_faults = 0;
}

void device_free(struct device *dev)
{
	if (!dev)
		return;
	pthread_mutex_destroy(&dev->lock);
	dev->ops->free(dev);
}

void device_fail(struct device *dev, const char *fmt, ...)
{
	char msg[LOG_FAULT_MAX];
	va_list ap;

	dev->n_guest_faults++;
	if (!log_limit_pass(&dev->limit))
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	log_line(LOG_LEVEL_DEBUG, dev->ops->name, "guest fault: %s", msg);
}
