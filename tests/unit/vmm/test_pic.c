/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "devices/pic.h"

struct host {
	struct pic pic;
	bool output;
};

static void on_output(void *opaque, bool level)
{
	((struct host *)opaque)->output = level;
}

static void program(struct pic *pic, uint8_t icw4)
{
	static const uint16_t cmd[2] = { 0x20, 0xa0 };

	for (unsigned i = 0; i < 2; i++) {
		pic_io_write(pic, cmd[i], 0x11);
		pic_io_write(pic, cmd[i] + 1, i ? 0x28 : 0x20);
		pic_io_write(pic, cmd[i] + 1, i ? 2 : 4);
		pic_io_write(pic, cmd[i] + 1, icw4);
		pic_io_write(pic, cmd[i] + 1, 0);
	}
}

static int setup(void **state)
{
	struct host *h = test_calloc(1, sizeof(*h));

	pic_init(&h->pic, on_output, h, NULL);
	program(&h->pic, 1);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct host *h = *state;

	pic_done(&h->pic);
	test_free(h);
	return 0;
}

static void nothing_before_it_is_programmed(void **state)
{
	struct host *h = *state;

	pic_reset(&h->pic);
	pic_io_write(&h->pic, 0x21, 0);
	pic_set_irq(&h->pic, 0, true);
	assert_false(h->output);
}

static void requests_are_masked_prioritised_and_ended(void **state)
{
	struct host *h = *state;

	pic_io_write(&h->pic, 0x21, 0x08);
	assert_int_equal(pic_io_read(&h->pic, 0x21), 0x08);
	pic_set_irq(&h->pic, 3, true);
	assert_false(h->output);
	pic_set_irq(&h->pic, 4, true);
	pic_set_irq(&h->pic, 1, true);
	assert_true(h->output);
	assert_int_equal(pic_ack(&h->pic), 0x21);
	assert_false(h->output); /* 4 is lower */
	pic_io_write(&h->pic, 0x20, 0x0b);
	assert_int_equal(pic_io_read(&h->pic, 0x20), 0x02); /* ISR */
	pic_io_write(&h->pic, 0x20, 0x0a);
	assert_int_equal(pic_io_read(&h->pic, 0x20), 0x18); /* IRR */
	pic_io_write(&h->pic, 0x20, 0x20);
	assert_int_equal(pic_ack(&h->pic), 0x24);
	pic_io_write(&h->pic, 0x20, 0x64); /* specific EOI */
	pic_io_write(&h->pic, 0x21, 0);
	assert_int_equal(pic_ack(&h->pic), 0x23);
}

static void edges_not_levels(void **state)
{
	struct host *h = *state;

	pic_set_irq(&h->pic, 5, true);
	assert_int_equal(pic_ack(&h->pic), 0x25);
	pic_io_write(&h->pic, 0x20, 0x20);
	pic_set_irq(&h->pic, 5, true);
	assert_false(h->output);
	pic_set_irq(&h->pic, 5, false);
	pic_set_irq(&h->pic, 5, true);
	assert_true(h->output);
	pic_set_irq(&h->pic, 5, false); /* gone before it was taken */
	assert_int_equal(pic_ack(&h->pic), 0x27);
}

static void slave_goes_through_line_2(void **state)
{
	struct host *h = *state;

	pic_set_irq(&h->pic, 12, true);
	assert_true(h->output);
	assert_int_equal(pic_ack(&h->pic), 0x2c);
	pic_set_irq(&h->pic, 3, true);
	assert_false(h->output); /* line 2 is in service */
	pic_set_irq(&h->pic, 1, true);
	assert_int_equal(pic_ack(&h->pic), 0x21);
	pic_io_write(&h->pic, 0x20, 0x61);
	pic_io_write(&h->pic, 0xa0, 0x20);
	pic_io_write(&h->pic, 0x20, 0x62);
	assert_int_equal(pic_ack(&h->pic), 0x23);
}

static void rotation_auto_eoi_and_poll(void **state)
{
	struct host *h = *state;

	pic_io_write(&h->pic, 0x20, 0xc3); /* line 3 lowest: 4 is highest */
	pic_set_irq(&h->pic, 1, true);
	pic_set_irq(&h->pic, 6, true);
	assert_int_equal(pic_ack(&h->pic), 0x26);
	pic_io_write(&h->pic, 0x20, 0x20);
	pic_io_write(&h->pic, 0x20, 0x0c); /* poll */
	assert_int_equal(pic_io_read(&h->pic, 0x20), 0x81);
	program(&h->pic, 3); /* automatic EOI */
	pic_set_irq(&h->pic, 7, false);
	pic_set_irq(&h->pic, 7, true);
	assert_int_equal(pic_ack(&h->pic), 0x27);
	pic_set_irq(&h->pic, 7, false);
	pic_set_irq(&h->pic, 7, true);
	assert_int_equal(pic_ack(&h->pic), 0x27);
}

static void state_survives_save_and_load(void **state)
{
	struct host *h = *state;
	uint8_t one[128], two[128];
	struct err err = { 0 };
	size_t n;

	pic_set_irq(&h->pic, 12, true);
	pic_set_irq(&h->pic, 4, true);
	pic_ack(&h->pic);
	n = state_save(&pic_state_desc, &h->pic, one);
	pic_reset(&h->pic);
	assert_int_equal(state_load(&pic_state_desc, &h->pic, one, n, &err), 0);
	assert_int_equal(state_save(&pic_state_desc, &h->pic, two), n);
	assert_memory_equal(one, two, n);
	for (size_t i = 4; i < n; i++) {
		memcpy(two, one, n);
		two[i] = 0xff; /* refused or harmless, never a crash */
		if (state_load(&pic_state_desc, &h->pic, two, n, &err) == 0) {
			pic_set_irq(&h->pic, 1, true);
			pic_ack(&h->pic);
		}
	}
}

static void any_port_traffic_is_survived(void **state)
{
	struct host *h = *state;
	uint32_t x = 1;

	for (unsigned i = 0; i < 200000; i++) {
		x = x * 1664525 + 1013904223;
		uint16_t port = (uint16_t)((x >> 8 & 0x80) | 0x20 | (x >> 9 & 1));

		if (x >> 30 == 0)
			pic_set_irq(&h->pic, x >> 16 & 31, x >> 15 & 1);
		else if (x >> 30 == 1)
			assert_in_range(pic_ack(&h->pic), 0, 255);
		else if (x >> 30 == 2)
			pic_io_write(&h->pic, port, (uint8_t)(x >> 20));
		else
			pic_io_read(&h->pic, port);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_before_it_is_programmed),
		T(requests_are_masked_prioritised_and_ended),
		T(edges_not_levels),
		T(slave_goes_through_line_2),
		T(rotation_auto_eoi_and_poll),
		T(state_survives_save_and_load),
		T(any_port_traffic_is_survived),
	};

	return cmocka_run_group_tests_name("devices/pic", tests, NULL, NULL);
}
