/* SPDX-License-Identifier: Apache-2.0 */
/* Port and MMIO windows: which device answers at an address. Filled before vCPUs run, then constant. */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdint.h>

#include "base/err.h"

struct device;
struct bus;

int bus_new(struct bus **ret, struct err *err);
void bus_free(struct bus *bus);

/**
 * bus_add() - Attach a window
 * @bus:	Port or MMIO bus
 * @base:	First address
 * @len:	Bytes, not 0
 * @dev:	Borrowed until bus_free()
 *
 * Return: 0; -EEXIST when it overlaps another window; -ENOMEM.
 */
int bus_add(struct bus *bus, uint64_t base, uint64_t len, struct device *dev, struct err *err);

/**
 * bus_read(), bus_write() - One access by a vCPU
 * @size:	1, 2, 4 or 8
 *
 * Nobody there: reads give all ones of @size, writes vanish, as on a PC. An access that straddles the
 * end of a window goes nowhere.
 * Context: vCPU threads.
 */
uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned size);
void bus_write(struct bus *bus, uint64_t addr, unsigned size, uint64_t val);

#endif
