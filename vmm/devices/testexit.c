/* SPDX-License-Identifier: Apache-2.0 */
/* Test-exit port: a guest program's verdict becomes the exit status. */
#include "devices/devices.h"

#include <errno.h>
#include <stdlib.h>

struct testexit {
	struct device dev; /* first */
	struct power_line power;
};

static void testexit_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct testexit *t = (struct testexit *)dev;

	if (off == 0)
		power_request(&t->power, POWER_EVENT_TEST_EXIT, (uint32_t)(val << 1) | 1);
}

static void testexit_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops testexit_ops = {
	.name = "test-exit",
	.write = testexit_write,
	.free = testexit_free,
};

int testexit_new(const struct power_line *power, struct device **ret, struct err *err)
{
	struct testexit *t = calloc(1, sizeof(*t));

	if (!t)
		return err_set(err, -ENOMEM, "no memory for the test-exit port");
	device_init(&t->dev, &testexit_ops);
	t->power = *power;
	*ret = &t->dev;
	return 0;
}
