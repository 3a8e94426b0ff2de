/* SPDX-License-Identifier: Apache-2.0 */
/* Bus windows: overlap, straddling accesses, nobody there. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/bus.h"
#include "vmm/device.h"

struct probe {
	struct device dev;
	uint64_t off, val;
	unsigned size, n_writes;
};

static void probe_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	(void)dev;
	*ret_val = 0x1122334455667700ULL + off * 16 + size;
}

static void probe_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct probe *p = (struct probe *)dev;

	p->off = off;
	p->size = size;
	p->val = val;
	p->n_writes++;
}

static void probe_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops probe_ops = {
	.name = "probe",
	.read = probe_read,
	.write = probe_write,
	.free = probe_free,
};

struct fixture {
	struct bus *bus;
	struct probe *dev;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || bus_new(&f->bus, NULL) < 0)
		return -1;
	f->dev = calloc(1, sizeof(*f->dev));
	if (!f->dev)
		return -1;
	device_init(&f->dev->dev, &probe_ops);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bus_free(f->bus);
	device_free(&f->dev->dev);
	free(f);
	return 0;
}

static void refuses_overlap_and_empty_windows(void **state)
{
	struct fixture *f = *state;
	struct device *dev = &f->dev->dev;

	assert_int_equal(bus_add(f->bus, 0x100, 0, dev, NULL), -EINVAL);
	assert_int_equal(bus_add(f->bus, UINT64_MAX, 2, dev, NULL), -EINVAL);
	assert_int_equal(bus_add(f->bus, 0x100, 8, dev, NULL), 0);
	assert_int_equal(bus_add(f->bus, 0x107, 1, dev, NULL), -EEXIST);
	assert_int_equal(bus_add(f->bus, 0xff, 2, dev, NULL), -EEXIST);
	assert_int_equal(bus_add(f->bus, 0x0, 0x1000, dev, NULL), -EEXIST);
	assert_int_equal(bus_add(f->bus, 0x100, 8, dev, NULL), -EEXIST);
	assert_int_equal(bus_add(f->bus, 0x108, 1, dev, NULL), 0);
	assert_int_equal(bus_add(f->bus, 0xff, 1, dev, NULL), 0);
	assert_int_equal(bus_add(f->bus, UINT64_MAX, 1, dev, NULL), 0);
}

static void answers_all_ones_where_nobody_is(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(bus_add(f->bus, 0x100, 8, &f->dev->dev, NULL), 0);
	assert_int_equal(bus_read(f->bus, 0x99, 1), 0xff);
	assert_int_equal(bus_read(f->bus, 0xff, 2), 0xffff);
	assert_int_equal(bus_read(f->bus, 0x106, 4), 0xffffffff);
	assert_true(bus_read(f->bus, 0x108, 8) == UINT64_MAX);
	bus_write(f->bus, 0x106, 4, 1);
	bus_write(f->bus, UINT64_MAX, 4, 1);
	assert_int_equal(f->dev->n_writes, 0);
}

static void passes_offset_size_and_masked_value(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 40; i++) /* beyond the first allocation */
		assert_int_equal(bus_add(f->bus, 0x1000 - i * 16, 8, &f->dev->dev, NULL), 0);
	bus_write(f->bus, 0x1000 - 39 * 16 + 3, 1, 0x1ff);
	assert_int_equal(f->dev->n_writes, 1);
	assert_int_equal(f->dev->off, 3);
	assert_int_equal(f->dev->size, 1);
	assert_int_equal(f->dev->val, 0xff);
	assert_int_equal(bus_read(f->bus, 0x1004, 4), 0x55667744);
	assert_int_equal(bus_read(f->bus, 0x1002, 2), 0x7722);
}

static void counts_guest_faults(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 100; i++)
		device_fail(&f->dev->dev, "fault %u", i);
	assert_int_equal(f->dev->dev.n_guest_faults, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(refuses_overlap_and_empty_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_all_ones_where_nobody_is, setup, teardown),
		cmocka_unit_test_setup_teardown(passes_offset_size_and_masked_value, setup,
						teardown),
		cmocka_unit_test_setup_teardown(counts_guest_faults, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm/bus", tests, NULL, NULL);
}
