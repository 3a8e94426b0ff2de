/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM generation id: 128 bits in guest memory that are the same for as long as the machine goes on,
 * and new in each machine that begins where a saved one stopped.
 *
 * Theory of operation. The id lies in memory that the memory map keeps from the guest's kernel; the
 * DSDT says where. A change writes a new one and raises the interrupt of the generic event device,
 * whose method notifies the driver. The kernel takes the id as a seed, so that two copies of a
 * machine do not give out the same random numbers.
 * Ref: Microsoft, "Virtual Machine Generation ID" (2012); ACPI 6.4 5.6.9 (generic event device).
 */
#include "devices/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct vmgenid {
	struct device dev; /* first */
	struct irq_line irq;
	struct gmem *mem;
	gpa_t gpa;
	uint8_t id[VMGENID_BYTES];
};

static int show(struct vmgenid *g, struct err *err)
{
	uint8_t *p = gmem_ptr(g->mem, g->gpa, VMGENID_BYTES);

	if (!p)
		return err_set(err, -EINVAL, "the guest has too little memory for its id");
	memcpy(p, g->id, VMGENID_BYTES);
	gmem_written(g->mem, g->gpa, VMGENID_BYTES);
	return 0;
}

static int draw(struct vmgenid *g, struct err *err)
{
	if (getrandom(g->id, VMGENID_BYTES, 0) != VMGENID_BYTES)
		return err_errno(err, errno, "draw a generation id");
	return show(g, err);
}

int vmgenid_change(struct device *dev, struct err *err)
{
	struct vmgenid *g = (struct vmgenid *)dev;
	int r;

	pthread_mutex_lock(&dev->lock);
	r = draw(g, err);
	if (r == 0)
		irq_pulse(&g->irq);
	pthread_mutex_unlock(&dev->lock);
	return r;
}

static int vmgenid_post_load(void *obj, struct err *err)
{
	return show(obj, err);
}

static const struct state_desc vmgenid_state = {
	.name = "vmgenid",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_FIELD(struct vmgenid, id, STATE_BYTES, 1),
			{ .type = STATE_END },
		},
	.post_load = vmgenid_post_load,
};

static void vmgenid_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops vmgenid_ops = {
	.name = "vmgenid",
	.state = &vmgenid_state,
	.free = vmgenid_free,
};

int vmgenid_new(struct gmem *mem, gpa_t gpa, const struct irq_line *irq, struct device **ret,
		struct err *err)
{
	struct vmgenid *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return err_set(err, -ENOMEM, "no memory for the generation id");
	device_init(&g->dev, &vmgenid_ops);
	g->irq = *irq;
	g->mem = mem;
	g->gpa = gpa;
	r = draw(g, err);
	if (r < 0) {
		device_free(&g->dev);
		return r;
	}
	*ret = &g->dev;
	return 0;
}
