/* SPDX-License-Identifier: Apache-2.0 */
/* Port and MMIO windows: sorted array, binary search, one lock per device. */
#include "vmm/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/checked.h"
#include "vmm/device.h"

struct window {
	uint64_t base;
	uint64_t len;
	struct device *dev;
};

struct bus {
	struct window *windows; /* sorted by base, disjoint */
	unsigned n, room;
};

int bus_new(struct bus **ret, struct err *err)
{
	struct bus *bus = calloc(1, sizeof(*bus));

	if (!bus)
		return err_set(err, -ENOMEM, "no memory for a bus");
	*ret = bus;
	return 0;
}

void bus_free(struct bus *bus)
{
	if (!bus)
		return;
	free(bus->windows);
	free(bus);
}

/* Index of the first window whose base lies above @addr. */
static unsigned first_above(const struct bus *bus, uint64_t addr)
{
	unsigned lo = 0, hi = bus->n;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (bus->windows[mid].base > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static int make_room(struct bus *bus)
{
	unsigned room = bus->room ? bus->room * 2 : 16;
	struct window *w;

	if (bus->n < bus->room)
		return 0;
	w = reallocarray(bus->windows, room, sizeof(*w));
	if (!w)
		return -ENOMEM;
	bus->windows = w;
	bus->room = room;
	return 0;
}

int bus_add(struct bus *bus, uint64_t base, uint64_t len, struct device *dev, struct err *err)
{
	uint64_t last;
	unsigned at;

	if (len == 0 || ckd_add(&last, base, len - 1))
		return err_set(err, -EINVAL, "bus window %#llx of %llu bytes is not a range",
			       (unsigned long long)base, (unsigned long long)len);
	at = first_above(bus, base);
	if ((at < bus->n && bus->windows[at].base <= last) ||
	    (at > 0 && base - bus->windows[at - 1].base < bus->windows[at - 1].len))
		return err_set(err, -EEXIST, "bus window %#llx+%#llx of '%s' overlaps another",
			       (unsigned long long)base, (unsigned long long)len, dev->ops->name);
	if (make_room(bus) < 0)
		return err_set(err, -ENOMEM, "no memory for a bus window");
	for (unsigned i = bus->n; i > at; i--)
		bus->windows[i] = bus->windows[i - 1];
	bus->windows[at] = (struct window){ .base = base, .len = len, .dev = dev };
	bus->n++;
	return 0;
}

/* The window that holds all of [@addr, @addr + @size). */
static const struct window *window_find(const struct bus *bus, uint64_t addr, unsigned size)
{
	unsigned at = first_above(bus, addr);
	const struct window *w = at ? &bus->windows[at - 1] : NULL;

	if (!w || addr - w->base >= w->len || size > w->len - (addr - w->base))
		return NULL;
	return w;
}

uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned size)
{
	const struct window *w = window_find(bus, addr, size);
	uint64_t mask = size >= 8 ? UINT64_MAX : (1ULL << (size * 8)) - 1;
	uint64_t val = mask;

	if (!w || !w->dev->ops->read)
		return mask;
	pthread_mutex_lock(&w->dev->lock);
	w->dev->ops->read(w->dev, addr - w->base, size, &val);
	pthread_mutex_unlock(&w->dev->lock);
	return val & mask;
}

void bus_write(struct bus *bus, uint64_t addr, unsigned size, uint64_t val)
{
	const struct window *w = window_find(bus, addr, size);

	if (!w || !w->dev->ops->write)
		return;
	if (size < 8)
		val &= (1ULL << (size * 8)) - 1;
	pthread_mutex_lock(&w->dev->lock);
	w->dev->ops->write(w->dev, addr - w->base, size, val);
	pthread_mutex_unlock(&w->dev->lock);
}
