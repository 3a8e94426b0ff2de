/* SPDX-License-Identifier: Apache-2.0 */
/* Debug port 0xe9: each byte written is shown; a read gives 0xe9, so that guests can find it. */
#include "devices/devices.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/charout.h"

#define DEBUGPORT_ID 0xe9
#define STALL_MS     1000

struct debugport {
	struct device dev; /* first */
	struct charout out;
};

static void debugport_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	*ret_val = DEBUGPORT_ID;
}

static void debugport_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	uint8_t byte = (uint8_t)val;

	/* A full ring drops: a debug port never makes its guest wait. */
	(void)charout_put(&((struct debugport *)dev)->out, &byte, 1);
}

static void debugport_quiesce(struct device *dev)
{
	charout_flush(&((struct debugport *)dev)->out, STALL_MS);
}

static void debugport_free(struct device *dev)
{
	charout_done(&((struct debugport *)dev)->out);
	free(dev);
}

static const struct device_ops debugport_ops = {
	.name = "debugport",
	.read = debugport_read,
	.write = debugport_write,
	.quiesce = debugport_quiesce,
	.free = debugport_free,
};

int debugport_new(struct loop *loop, int fd, struct device **ret, struct err *err)
{
	struct debugport *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(err, -ENOMEM, "no memory for the debug port");
	device_init(&d->dev, &debugport_ops);
	r = charout_init(&d->out, loop, fd, &d->dev.lock, NULL, NULL);
	if (r < 0) {
		device_free(&d->dev);
		return err_errno(err, -r, "attach the debug port");
	}
	*ret = &d->dev;
	return 0;
}
