/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/lapic_priv.h"

#define N 4

struct host {
	struct lapic_bus bus;
	struct lapic lapics[N];
	struct ioapic ioapic;
	uint64_t now;
	unsigned n_irq[N], n_nmi[N], n_init[N], n_sipi[N], n_extint[N];
	uint8_t sipi_vector;
};

static struct host *host_of(struct lapic *l)
{
	return (struct host *)(void *)((char *)(l - l->id) - offsetof(struct host, lapics));
}

#define ON(event)                               \
	static void on_##event(void *opaque)    \
	{                                       \
		struct lapic *l = opaque;       \
                                                \
		host_of(l)->n_##event[l->id]++; \
	}

ON(irq)
ON(nmi)
ON(init)
ON(extint)

static void on_sipi(void *opaque, uint8_t vector)
{
	struct lapic *l = opaque;

	host_of(l)->n_sipi[l->id]++;
	host_of(l)->sipi_vector = vector;
}

static uint64_t on_now(void *opaque)
{
	return host_of(opaque)->now;
}

static uint64_t on_tsc_to_ns(void *opaque, uint64_t tsc)
{
	return (tsc + 1) / 2; /* 2 GHz */
}

static const struct lapic_ops ops = { on_irq,	 on_nmi, on_init,     on_sipi,
				      on_extint, on_now, on_tsc_to_ns };

static void on_eoi(void *opaque, uint8_t vector)
{
	ioapic_eoi(opaque, vector);
}

static int setup(void **state)
{
	struct host *h = test_calloc(1, sizeof(*h));

	h->now = 1000;
	for (unsigned i = 0; i < N; i++) {
		lapic_init(&h->lapics[i], &h->bus, i, &ops, &h->lapics[i], NULL);
		h->bus.lapics[i] = &h->lapics[i];
		lapic_mmio_write(&h->lapics[i], 0xf0, 4, 0x1ff); /* software-enabled */
	}
	h->bus.n = N;
	ioapic_init(&h->ioapic, &h->bus, NULL);
	h->bus.eoi = on_eoi;
	h->bus.eoi_opaque = &h->ioapic;
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct host *h = *state;

	for (unsigned i = 0; i < N; i++)
		lapic_done(&h->lapics[i]);
	ioapic_done(&h->ioapic);
	test_free(h);
	return 0;
}

static void wr(struct lapic *l, unsigned off, uint32_t val)
{
	lapic_mmio_write(l, off, 4, val);
}

static uint32_t rd(struct lapic *l, unsigned off)
{
	return (uint32_t)lapic_mmio_read(l, off, 4);
}

static void x2(struct lapic *l)
{
	assert_true(lapic_base_write(l, l->base_msr | APIC_BASE_EXTD, 40));
}

static void reset_values_are_the_manuals(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[1];

	lapic_reset(l, false);
	assert_int_equal(rd(l, 0x20), 1 << 24);
	assert_int_equal(rd(l, 0x30), 0x50014);
	assert_int_equal(rd(l, 0xe0), 0xffffffff);
	assert_int_equal(rd(l, 0xf0), 0xff);
	for (unsigned off = 0x320; off <= 0x370; off += 0x10)
		assert_int_equal(rd(l, off), LVT_MASKED);
	assert_true(l->base_msr == (APIC_BASE_RESET | APIC_BASE_EN));
	assert_true(h->lapics[0].base_msr & APIC_BASE_BSP);
}

static void higher_priority_goes_first_and_nests(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[0];

	wr(l, 0x300, 0x31 | ICR_SELF);
	wr(l, 0x300, 0x52 | ICR_SELF);
	assert_int_equal(lapic_ack(l), 0x52);
	assert_int_equal(rd(l, 0xa0), 0x50); /* PPR */
	assert_int_equal(lapic_ack(l), -1);  /* 0x31 waits */
	wr(l, 0x300, 0x5f | ICR_SELF);
	assert_int_equal(lapic_ack(l), -1); /* same class waits too */
	wr(l, 0x300, 0x60 | ICR_SELF);
	assert_int_equal(lapic_ack(l), 0x60);
	wr(l, 0xb0, 0);
	wr(l, 0xb0, 0);
	assert_int_equal(lapic_ack(l), 0x5f);
	wr(l, 0xb0, 0);
	assert_int_equal(lapic_ack(l), 0x31);
	wr(l, 0xb0, 0);
	assert_int_equal(rd(l, 0xa0), 0);
}

static void tpr_holds_back_and_lets_go(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[0];
	unsigned before;

	lapic_tpr_write(l, 5);
	assert_int_equal(rd(l, 0x80), 0x50);
	wr(l, 0x300, 0x51 | ICR_SELF);
	assert_false(lapic_has_irq(l));
	before = h->n_irq[0];
	lapic_tpr_write(l, 4);
	assert_true(h->n_irq[0] > before);
	assert_int_equal(lapic_ack(l), 0x51);
	assert_int_equal(lapic_tpr_read(l), 4);
}

static void software_disable_masks_lvts_and_refuses(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[0];

	wr(l, 0x320, 0x40);
	wr(l, 0xf0, 0xff);
	assert_int_equal(rd(l, 0x320), 0x40 | LVT_MASKED);
	wr(l, 0x320, 0x40);
	assert_int_equal(rd(l, 0x320), 0x40 | LVT_MASKED);
	wr(l, 0x300, 0x41 | ICR_SELF);
	assert_false(lapic_has_irq(l));
	wr(l, 0xf0, 0x1ff);
	assert_false(lapic_has_irq(l));
}

static void ipis_reach_whom_they_should(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[0];

	wr(l, 0x310, 2U << 24);
	wr(l, 0x300, 0x41);
	assert_int_equal(lapic_ack(&h->lapics[2]), 0x41);
	assert_int_equal(lapic_ack(&h->lapics[1]), -1);
	wr(l, 0x300, 0x42 | ICR_ALL);
	/* number 2 is still in service with a vector of the same class */
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(lapic_ack(&h->lapics[i]), i == 2 ? -1 : 0x42);
	wr(&h->lapics[2], 0xb0, 0);
	assert_int_equal(lapic_ack(&h->lapics[2]), 0x42);
	wr(l, 0x300, 0x53 | ICR_OTHERS);
	assert_int_equal(lapic_ack(l), -1);
	for (unsigned i = 1; i < N; i++)
		assert_int_equal(lapic_ack(&h->lapics[i]), 0x53);
	wr(l, 0x310, 0xffU << 24); /* physical broadcast */
	wr(l, 0x300, 0x64);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(lapic_ack(&h->lapics[i]), 0x64);
}

static void logical_destinations_flat_and_cluster(void **state)
{
	struct host *h = *state;

	for (unsigned i = 0; i < N; i++)
		wr(&h->lapics[i], 0xd0, 1U << (24 + i));
	wr(&h->lapics[0], 0x310, 0x0aU << 24);
	wr(&h->lapics[0], 0x300, 0x41 | ICR_LOGICAL);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(lapic_ack(&h->lapics[i]), i & 1 ? 0x41 : -1);
	for (unsigned i = 0; i < N; i++) {
		wr(&h->lapics[i], 0xe0, 0x0fffffff);
		wr(&h->lapics[i], 0xd0, ((i >> 1) << 4 | 1U << (i & 1)) << 24);
	}
	wr(&h->lapics[0], 0x310, 0x13U << 24); /* cluster 1, both members */
	wr(&h->lapics[0], 0x300, 0x52 | ICR_LOGICAL);
	assert_int_equal(lapic_ack(&h->lapics[0]), -1);
	assert_int_equal(lapic_ack(&h->lapics[2]), 0x52);
	assert_int_equal(lapic_ack(&h->lapics[3]), 0x52);
}

static void lowest_priority_picks_one(void **state)
{
	struct host *h = *state;
	unsigned got = 0;

	lapic_tpr_write(&h->lapics[0], 3);
	lapic_tpr_write(&h->lapics[1], 2);
	wr(&h->lapics[2], 0xf0, 0xff); /* disabled: not a candidate */
	lapic_tpr_write(&h->lapics[3], 1);
	wr(&h->lapics[0], 0x310, 0xffU << 24);
	wr(&h->lapics[0], 0x300, 0x61 | LAPIC_LOWEST << 8);
	for (unsigned i = 0; i < N; i++)
		got |= (lapic_ack(&h->lapics[i]) == 0x61) << i;
	assert_int_equal(got, 8);
}

static void init_sipi_nmi_are_signalled(void **state)
{
	struct host *h = *state;

	wr(&h->lapics[0], 0x310, 1U << 24);
	wr(&h->lapics[0], 0x300, LAPIC_INIT << 8 | ICR_LEVEL | ICR_ASSERT);
	wr(&h->lapics[0], 0x300, LAPIC_INIT << 8 | ICR_LEVEL); /* de-assert: nothing */
	assert_int_equal(h->n_init[1], 1);
	wr(&h->lapics[0], 0x300, LAPIC_SIPI << 8 | 0x9a);
	assert_int_equal(h->n_sipi[1], 1);
	assert_int_equal(h->sipi_vector, 0x9a);
	wr(&h->lapics[0], 0x300, LAPIC_NMI << 8);
	assert_int_equal(h->n_nmi[1], 1);
	assert_int_equal(h->n_nmi[0] + h->n_nmi[2] + h->n_nmi[3], 0);
}

static void errors_are_latched_by_a_write(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[0];

	wr(l, 0x370, 0x77);
	wr(l, 0x300, 0x05 | ICR_SELF); /* vectors below 16 can't be sent */
	assert_int_equal(rd(l, 0x280), 0);
	wr(l, 0x280, 0);
	assert_int_equal(rd(l, 0x280), ESR_SEND_VECTOR);
	assert_int_equal(lapic_ack(l), 0x77);
	wr(l, 0x280, 0);
	assert_int_equal(rd(l, 0x280), 0);
	rd(l, 0x40); /* no register there */
	wr(l, 0x280, 0);
	assert_int_equal(rd(l, 0x280), ESR_ILLEGAL_REG);
}

static void one_shot_and_periodic_timers(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[0];

	wr(l, 0x3e0, 0x3); /* divide by 16 */
	wr(l, 0x320, 0x40);
	wr(l, 0x380, 100);
	assert_true(lapic_poll(l, h->now) == 1000 + 1600);
	h->now += 800;
	assert_int_equal(rd(l, 0x390), 50);
	h->now += 799;
	lapic_poll(l, h->now);
	assert_int_equal(lapic_ack(l), -1);
	h->now += 1;
	assert_true(lapic_poll(l, h->now) == LAPIC_NEVER);
	assert_int_equal(lapic_ack(l), 0x40);
	assert_int_equal(rd(l, 0x390), 0);
	wr(l, 0xb0, 0);
	wr(l, 0x3e0, 0xb); /* by 1 */
	wr(l, 0x320, 0x41 | LVT_PERIODIC);
	wr(l, 0x380, 1000);
	h->now += 3500; /* three periods late: one interrupt, then in step */
	assert_true(lapic_poll(l, h->now) == h->now + 500);
	assert_int_equal(lapic_ack(l), 0x41);
	assert_int_equal(rd(l, 0x390), 500);
	wr(l, 0xb0, 0);
	wr(l, 0x320, 0x41 | LVT_PERIODIC | LVT_MASKED);
	h->now += 2000;
	lapic_poll(l, h->now);
	assert_int_equal(lapic_ack(l), -1);
	wr(l, 0x380, 0);
	assert_true(lapic_poll(l, h->now) == LAPIC_NEVER);
}

static void tsc_deadline_fires_once(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[0];

	lapic_deadline_write(l, 5000);
	assert_true(lapic_deadline_read(l) == 0); /* not in that mode */
	wr(l, 0x320, 0x40 | LVT_TSCDEADLINE);
	wr(l, 0x380, 100); /* ignored in that mode */
	lapic_deadline_write(l, 5001);
	assert_true(lapic_poll(l, 1000) == 2501);
	assert_true(lapic_deadline_read(l) == 5001);
	assert_true(lapic_poll(l, 2501) == LAPIC_NEVER);
	assert_int_equal(lapic_ack(l), 0x40);
	assert_true(lapic_deadline_read(l) == 0);
	lapic_deadline_write(l, 9000);
	wr(l, 0x320, 0x40); /* leaving the mode disarms */
	assert_true(lapic_poll(l, 100000) == LAPIC_NEVER);
}

static void x2apic_mode_and_its_faults(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[3];
	uint64_t v;

	assert_false(lapic_msr_read(l, 0x802, &v));
	x2(l);
	assert_true(lapic_msr_read(l, 0x802, &v) && v == 3);
	assert_true(lapic_msr_read(l, 0x80d, &v) && v == 1U << 3);
	assert_false(lapic_msr_write(l, 0x802, 1));
	assert_false(lapic_msr_write(l, 0x80d, 1));
	assert_false(lapic_msr_read(l, 0x80e, &v)); /* no DFR */
	assert_false(lapic_msr_read(l, 0x80b, &v)); /* EOI: write-only */
	assert_false(lapic_msr_write(l, 0x80b, 1)); /* and only 0 */
	assert_true(lapic_msr_write(l, 0x80b, 0));
	assert_false(lapic_msr_write(l, 0x808, 0x100));
	assert_true(lapic_msr_write(l, 0x83f, 0x45));
	assert_int_equal(lapic_ack(l), 0x45);
	assert_true(lapic_msr_write(l, 0x80b, 0));
	x2(&h->lapics[1]);
	assert_true(lapic_msr_write(l, 0x830, 1ULL << 32 | 0x46));
	assert_int_equal(lapic_ack(&h->lapics[1]), 0x46);
	assert_true(lapic_msr_read(l, 0x830, &v) && v == (1ULL << 32 | 0x46));
	assert_true(lapic_msr_write(l, 0x830, 2ULL << 32 | ICR_LOGICAL | 0x57));
	assert_int_equal(lapic_ack(&h->lapics[1]), 0x57);
	assert_false(lapic_base_write(l, APIC_BASE_RESET | APIC_BASE_EN, 40)); /* back to xAPIC */
	assert_false(lapic_base_write(l, APIC_BASE_RESET | APIC_BASE_EXTD, 40));
	assert_true(lapic_base_write(l, APIC_BASE_RESET, 40));
	assert_false(lapic_base_write(l, APIC_BASE_RESET | APIC_BASE_EN | APIC_BASE_EXTD, 40));
	assert_false(lapic_base_write(l, 1ULL << 41 | APIC_BASE_EN, 40));
}

static void state_survives_save_and_load(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[0];
	struct hv_lapic_state one, two;
	struct err err = { 0 };

	wr(l, 0x320, 0x40 | LVT_TSCDEADLINE);
	lapic_deadline_write(l, 4000);
	wr(l, 0x300, 0x33 | ICR_SELF);
	wr(l, 0x300, 0x55 | ICR_SELF);
	lapic_ack(l);
	wr(l, 0x300, 0x05 | ICR_SELF);
	lapic_get_state(l, &one);
	lapic_reset(l, false);
	assert_int_equal(lapic_set_state(l, &one, 40, &err), 0);
	lapic_get_state(l, &two);
	assert_memory_equal(&one, &two, sizeof(one));
	assert_true(lapic_poll(l, 1000) == 2000);
	wr(l, 0xb0, 0);
	assert_int_equal(lapic_ack(l), 0x33);
	one.regs[LAPIC_IRR] = 1;
	assert_int_equal(lapic_set_state(l, &one, 40, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "IRR"));
	one.regs[LAPIC_IRR] = 0;
	one.base_msr = APIC_BASE_EXTD;
	assert_int_equal(lapic_set_state(l, &one, 40, &err), -EINVAL);
}

/* ---- IOAPIC, with these LAPICs behind it ---- */

static void io_wr(struct host *h, unsigned index, uint32_t val)
{
	ioapic_mmio_write(&h->ioapic, 0, 4, index);
	ioapic_mmio_write(&h->ioapic, 0x10, 4, val);
}

static uint32_t io_rd(struct host *h, unsigned index)
{
	ioapic_mmio_write(&h->ioapic, 0, 4, index);
	return (uint32_t)ioapic_mmio_read(&h->ioapic, 0x10, 4);
}

static void redirect(struct host *h, unsigned pin, uint32_t low, uint32_t high)
{
	io_wr(h, 0x11 + 2 * pin, high);
	io_wr(h, 0x10 + 2 * pin, low);
}

static void edges_fire_once_and_not_while_masked(void **state)
{
	struct host *h = *state;

	assert_int_equal(io_rd(h, 1), 0x170011);
	assert_int_equal(io_rd(h, 0x10), 0x10000);
	redirect(h, 5, 0x45, 2U << 24);
	ioapic_set_pin(&h->ioapic, 5, true);
	ioapic_set_pin(&h->ioapic, 5, true);
	assert_int_equal(lapic_ack(&h->lapics[2]), 0x45);
	wr(&h->lapics[2], 0xb0, 0);
	assert_int_equal(lapic_ack(&h->lapics[2]), -1);
	ioapic_set_pin(&h->ioapic, 5, false);
	redirect(h, 5, 0x45 | 0x10000, 2U << 24);
	ioapic_set_pin(&h->ioapic, 5, true);
	assert_int_equal(lapic_ack(&h->lapics[2]), -1);
	ioapic_set_pin(&h->ioapic, 99, true); /* no such pin */
}

static void levels_stay_until_eoi_and_come_again(void **state)
{
	struct host *h = *state;
	struct lapic *l = &h->lapics[1];

	redirect(h, 9, 0x49 | 0x8000, 1U << 24);
	ioapic_set_pin(&h->ioapic, 9, true);
	assert_int_equal(lapic_ack(l), 0x49);
	assert_int_equal(io_rd(h, 0x22), 0x49 | 0x8000 | 0x4000); /* remote IRR */
	assert_int_equal(lapic_ack(l), -1);
	wr(l, 0xb0, 0); /* still up: again */
	assert_int_equal(lapic_ack(l), 0x49);
	ioapic_set_pin(&h->ioapic, 9, false);
	wr(l, 0xb0, 0);
	assert_int_equal(lapic_ack(l), -1);
	assert_int_equal(io_rd(h, 0x22), 0x49 | 0x8000);
	/* Masked while up: delivered when the mask goes. */
	redirect(h, 9, 0x49 | 0x18000, 1U << 24);
	ioapic_set_pin(&h->ioapic, 9, true);
	assert_int_equal(lapic_ack(l), -1);
	io_wr(h, 0x22, 0x49 | 0x8000);
	assert_int_equal(lapic_ack(l), 0x49);
}

static void ioapic_state_survives_save_and_load(void **state)
{
	struct host *h = *state;
	uint8_t one[512], two[512];
	struct err err = { 0 };
	size_t n;

	redirect(h, 9, 0x49 | 0x8000, 1U << 24);
	ioapic_set_pin(&h->ioapic, 9, true);
	n = state_save(&ioapic_state_desc, &h->ioapic, one);
	ioapic_reset(&h->ioapic);
	assert_int_equal(state_load(&ioapic_state_desc, &h->ioapic, one, n, &err), 0);
	assert_int_equal(state_save(&ioapic_state_desc, &h->ioapic, two), n);
	assert_memory_equal(one, two, n);
	one[5] = 0x80; /* id */
	assert_int_equal(state_load(&ioapic_state_desc, &h->ioapic, one, n, &err), -EBADMSG);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reset_values_are_the_manuals),
		T(higher_priority_goes_first_and_nests),
		T(tpr_holds_back_and_lets_go),
		T(software_disable_masks_lvts_and_refuses),
		T(ipis_reach_whom_they_should),
		T(logical_destinations_flat_and_cluster),
		T(lowest_priority_picks_one),
		T(init_sipi_nmi_are_signalled),
		T(errors_are_latched_by_a_write),
		T(one_shot_and_periodic_timers),
		T(tsc_deadline_fires_once),
		T(x2apic_mode_and_its_faults),
		T(state_survives_save_and_load),
		T(edges_fire_once_and_not_while_masked),
		T(levels_stay_until_eoi_and_come_again),
		T(ioapic_state_survives_save_and_load),
	};

	return cmocka_run_group_tests_name("devices/lapic", tests, NULL, NULL);
}
