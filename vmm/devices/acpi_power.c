/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleep and reset registers that the FADT points to: S5 powers off, the reset value resets.
 * Ref: ACPI 6.4 4.8.3.7 (sleep control and status), 4.8.3.6 (reset register).
 */
#include "devices/devices.h"

#include <errno.h>
#include <stdlib.h>

#define SLP_EN	      0x20
#define SLP_TYP_SHIFT 2
#define SLP_TYP_MASK  7

struct acpi_power {
	struct device dev; /* first */
	struct power_line power;
};

static void acpi_power_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	*ret_val = 0; /* never asleep while someone reads */
}

static void acpi_power_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct acpi_power *p = (struct acpi_power *)dev;
	unsigned type = (val >> SLP_TYP_SHIFT) & SLP_TYP_MASK;

	if (off == ACPI_POWER_SLEEP_CONTROL && (val & SLP_EN) && type == ACPI_POWER_S5_TYPE)
		power_request(&p->power, POWER_EVENT_OFF, 0);
	else if (off == ACPI_POWER_RESET && (val & 0xff) == ACPI_POWER_RESET_VALUE)
		power_request(&p->power, POWER_EVENT_RESET, 0);
}

static void acpi_power_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops acpi_power_ops = {
	.name = "acpi-power",
	.read = acpi_power_read,
	.write = acpi_power_write,
	.free = acpi_power_free,
};

int acpi_power_new(const struct power_line *power, struct device **ret, struct err *err)
{
	struct acpi_power *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(err, -ENOMEM, "no memory for the ACPI registers");
	device_init(&p->dev, &acpi_power_ops);
	p->power = *power;
	*ret = &p->dev;
	return 0;
}
