/* SPDX-License-Identifier: Apache-2.0 */
/* Timeslice page: the guest marks a moment by storing its number. Has no state. */
#include "devices/devices.h"

#include <errno.h>
#include <stdlib.h>

struct timeslice {
	struct device dev; /* first */
	struct guest_backend backend;
};

static void timeslice_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	(void)dev;
	(void)off;
	(void)size;
	*ret_val = 0;
}

static void timeslice_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct timeslice *t = (struct timeslice *)dev;

	if (off || size != 4) {
		device_fail(dev, "write of %u bytes outside the event word", size);
		return;
	}
	if (t->backend.timeslice)
		t->backend.timeslice(t->backend.opaque, (uint32_t)val);
}

static void timeslice_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops timeslice_ops = {
	.name = "timeslice",
	.read = timeslice_read,
	.write = timeslice_write,
	.free = timeslice_free,
};

int timeslice_new(const struct guest_backend *backend, struct device **ret, struct err *err)
{
	struct timeslice *t = calloc(1, sizeof(*t));

	if (!t)
		return err_set(err, -ENOMEM, "no memory for the timeslice page");
	device_init(&t->dev, &timeslice_ops);
	t->backend = *backend;
	*ret = &t->dev;
	return 0;
}
