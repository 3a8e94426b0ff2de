/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 8254 interval timer and the speaker gate.
 *
 * Theory of operation. A channel's count is computed from the time since it was loaded; nothing
 * ticks. Only channel 0 has a host timer, armed while its output is to rise: once for modes 0, 1, 4
 * and 5, again and again for modes 2 and 3. Bad host latency makes late ticks, never a flood: the
 * next deadline is always in the future.
 * Ref: Intel 8254 data sheet.
 */
#include "devices/devices.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"

#define PIT_HZ	     1193182ULL
#define PIT_CHANNELS 3
#define MIN_PERIOD   (100 * NSEC_PER_USEC) /* shortest tick given to a guest */

#define GATE_CH2     0x01
#define GATE_SPEAKER 0x02
#define GATE_REFRESH 0x10
#define GATE_OUT2    0x20

enum { ACCESS_LATCH, ACCESS_LO, ACCESS_HI, ACCESS_LOHI };

struct pit_channel {
	uint32_t reload; /* 1..65536 */
	uint64_t start;	 /* ns, when the count was loaded or the gate rose; saved as age */
	uint8_t mode, access;
	bool bcd, gate, loaded;
	bool write_high, read_high; /* which half comes next */
	uint8_t write_low;
	bool latched, status_latched;
	uint16_t latch;
	uint8_t status;
};

struct pit {
	struct device dev; /* first */
	struct irq_line irq;
	struct loop_timer timer;
	struct pit_channel ch[PIT_CHANNELS];
	uint64_t saved_at; /* ns, the moment of saving: start fields are relative to it */
	uint8_t speaker;   /* port 0x61's stored bits */
};

static uint64_t ticks_since(uint64_t start)
{
	uint64_t age = clock_monotonic_ns() - start;

	return age / NSEC_PER_SEC * PIT_HZ + age % NSEC_PER_SEC * PIT_HZ / NSEC_PER_SEC;
}

static uint64_t ticks_to_ns(uint64_t ticks)
{
	return (ticks * NSEC_PER_SEC + PIT_HZ - 1) / PIT_HZ;
}

static bool is_periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static uint16_t count_now(const struct pit_channel *c)
{
	uint64_t ticks;

	if (!c->loaded)
		return 0;
	if (!c->gate && c->mode != 1 && c->mode != 5)
		return (uint16_t)c->reload;
	ticks = ticks_since(c->start);
	if (is_periodic(c)) {
		uint64_t in_period = ticks % c->reload;

		if (c->mode == 3)
			in_period = in_period * 2 % c->reload;
		return (uint16_t)(c->reload - in_period);
	}
	return (uint16_t)(c->reload - ticks);
}

static uint16_t to_register(const struct pit_channel *c, uint16_t n)
{
	if (!c->bcd)
		return n;
	n %= 10000;
	return (uint16_t)(n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10);
}

static uint32_t from_register(const struct pit_channel *c, uint16_t n)
{
	if (!c->bcd)
		return n ? n : 65536;
	n = (uint16_t)((n >> 12) * 1000 + (n >> 8 & 15) * 100 + (n >> 4 & 15) * 10 + (n & 15));
	return n ? n : 10000;
}

static bool output_now(const struct pit_channel *c)
{
	uint64_t ticks = c->loaded ? ticks_since(c->start) : 0;

	switch (c->mode) {
	case 0:
	case 1: return c->loaded && ticks >= c->reload;
	case 2: return !c->loaded || !c->gate || ticks % c->reload != c->reload - 1;
	case 3: return !c->loaded || !c->gate || ticks % c->reload < (c->reload + 1) / 2;
	default: return !c->loaded || ticks != c->reload;
	}
}

/* Arm the host timer for channel 0's next rising edge. */
static void arm(struct pit *pit)
{
	const struct pit_channel *c = &pit->ch[0];
	uint64_t now = clock_monotonic_ns();
	uint64_t period, n;

	if (!c->loaded) {
		loop_timer_set(&pit->timer, 0);
		return;
	}
	period = ticks_to_ns(c->reload);
	if (is_periodic(c)) {
		period = MAX(period, MIN_PERIOD);
		n = (now - c->start) / period + 1;
		loop_timer_set(&pit->timer, c->start + n * period);
	} else if (now - c->start < period) {
		loop_timer_set(&pit->timer, c->start + period);
	} else {
		loop_timer_set(&pit->timer, 0);
	}
}

static void on_timer(void *opaque)
{
	struct pit *pit = opaque;

	pthread_mutex_lock(&pit->dev.lock);
	if (pit->ch[0].loaded) {
		irq_pulse(&pit->irq);
		arm(pit);
	}
	pthread_mutex_unlock(&pit->dev.lock);
}

static void load_count(struct pit *pit, unsigned n, uint16_t val)
{
	struct pit_channel *c = &pit->ch[n];

	c->reload = from_register(c, val);
	c->start = clock_monotonic_ns();
	c->loaded = true;
	if (n == 0)
		arm(pit);
}

static void write_channel(struct pit *pit, unsigned n, uint8_t val)
{
	struct pit_channel *c = &pit->ch[n];

	switch (c->access) {
	case ACCESS_LO: load_count(pit, n, val); break;
	case ACCESS_HI: load_count(pit, n, (uint16_t)(val << 8)); break;
	default:
		if (!c->write_high) {
			c->write_low = val;
			c->write_high = true;
			if (c->mode == 0)
				c->loaded = false; /* counting stops between the halves */
		} else {
			c->write_high = false;
			load_count(pit, n, (uint16_t)(val << 8 | c->write_low));
		}
		break;
	}
}

static void latch_count(struct pit_channel *c)
{
	if (c->latched)
		return;
	c->latch = to_register(c, count_now(c));
	c->latched = true;
}

static void latch_status(struct pit_channel *c)
{
	if (c->status_latched)
		return;
	c->status = (uint8_t)((output_now(c) ? 0x80 : 0) | (c->loaded ? 0 : 0x40) | c->access << 4 |
			      c->mode << 1 | (c->bcd ? 1 : 0));
	c->status_latched = true;
}

static void write_control(struct pit *pit, uint8_t val)
{
	unsigned n = val >> 6;
	struct pit_channel *c;

	if (n == 3) { /* read-back */
		for (unsigned i = 0; i < PIT_CHANNELS; i++) {
			if (!(val & (2U << i)))
				continue;
			if (!(val & 0x20))
				latch_count(&pit->ch[i]);
			if (!(val & 0x10))
				latch_status(&pit->ch[i]);
		}
		return;
	}
	c = &pit->ch[n];
	if ((val >> 4 & 3) == ACCESS_LATCH) {
		latch_count(c);
		return;
	}
	c->access = val >> 4 & 3;
	c->mode = val >> 1 & 7;
	if (c->mode > 5)
		c->mode &= 3; /* 6 and 7 are 2 and 3 */
	c->bcd = val & 1;
	c->loaded = c->write_high = c->read_high = c->latched = c->status_latched = false;
	if (n == 0)
		arm(pit);
}

static uint8_t read_channel(struct pit_channel *c)
{
	uint16_t val;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	val = c->latched ? c->latch : to_register(c, count_now(c));
	high = c->access == ACCESS_HI || (c->access == ACCESS_LOHI && c->read_high);
	if (c->access == ACCESS_LOHI)
		c->read_high = !c->read_high;
	if (c->access != ACCESS_LOHI || high)
		c->latched = false;
	return (uint8_t)(high ? val >> 8 : val);
}

static void pit_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	struct pit *pit = (struct pit *)dev;

	if (size == 1 && off < PIT_CHANNELS)
		*ret_val = read_channel(&pit->ch[off]);
}

static void pit_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct pit *pit = (struct pit *)dev;

	if (size != 1)
		return;
	if (off < PIT_CHANNELS)
		write_channel(pit, (unsigned)off, (uint8_t)val);
	else
		write_control(pit, (uint8_t)val);
}

static void pit_reset(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;

	for (unsigned i = 0; i < PIT_CHANNELS; i++)
		pit->ch[i] = (struct pit_channel){
			.reload = 65536, .access = ACCESS_LOHI, .mode = 3, .gate = i != 2
		};
	pit->speaker = 0;
	arm(pit);
}

static void pit_pre_save(void *obj)
{
	((struct pit *)obj)->saved_at = clock_monotonic_ns();
}

static int pit_post_load(void *obj, struct err *err)
{
	struct pit *pit = obj;
	uint64_t now = clock_monotonic_ns();

	for (unsigned i = 0; i < PIT_CHANNELS; i++) {
		struct pit_channel *c = &pit->ch[i];

		if (c->reload == 0 || c->reload > 65536 || c->mode > 5 || c->access > ACCESS_LOHI)
			return err_set(err, -EBADMSG, "pit: channel %u out of range", i);
		c->start = now - (pit->saved_at - c->start);
	}
	pit->saved_at = now;
	arm(pit);
	return 0;
}

#define F(member, type) STATE_FIELD(struct pit_channel, member, type, 1)

static const struct state_desc channel_state = {
	.name = "pit-channel",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			F(reload, STATE_U32),
			F(start, STATE_U64),
			F(mode, STATE_U8),
			F(access, STATE_U8),
			F(bcd, STATE_BOOL),
			F(gate, STATE_BOOL),
			F(loaded, STATE_BOOL),
			F(write_high, STATE_BOOL),
			F(read_high, STATE_BOOL),
			F(write_low, STATE_U8),
			F(latched, STATE_BOOL),
			F(status_latched, STATE_BOOL),
			F(latch, STATE_U16),
			F(status, STATE_U8),
			{ .type = STATE_END },
		},
};

static const struct state_desc pit_state = {
	.name = "pit",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_SUB(struct pit, ch, &channel_state, PIT_CHANNELS, 1),
			STATE_FIELD(struct pit, saved_at, STATE_U64, 1),
			STATE_FIELD(struct pit, speaker, STATE_U8, 1),
			{ .type = STATE_END },
		},
	.pre_save = pit_pre_save,
	.post_load = pit_post_load,
};

static void pit_free(struct device *dev)
{
	loop_timer_done(&((struct pit *)dev)->timer);
	free(dev);
}

static const struct device_ops pit_ops = {
	.name = "pit",
	.read = pit_read,
	.write = pit_write,
	.reset = pit_reset,
	.state = &pit_state,
	.free = pit_free,
};

int pit_new(struct loop *loop, const struct irq_line *irq, struct device **ret, struct err *err)
{
	struct pit *pit = calloc(1, sizeof(*pit));
	int r;

	if (!pit)
		return err_set(err, -ENOMEM, "no memory for the interval timer");
	device_init(&pit->dev, &pit_ops);
	pit->irq = *irq;
	r = loop_timer_init(loop, &pit->timer, on_timer, pit);
	if (r < 0) {
		device_free(&pit->dev);
		return err_errno(err, -r, "make a timer");
	}
	pit_reset(&pit->dev);
	*ret = &pit->dev;
	return 0;
}

/* ---- port 0x61 ---- */

struct pit_gate {
	struct device dev; /* first; holds nothing: all state is the PIT's, under its lock */
	struct pit *pit;
};

static void gate_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	struct pit *pit = ((struct pit_gate *)dev)->pit;
	bool refresh = clock_monotonic_ns() / 15085 & 1; /* the DRAM refresh toggle */

	pthread_mutex_lock(&pit->dev.lock);
	*ret_val = (uint64_t)((pit->speaker & (GATE_CH2 | GATE_SPEAKER)) |
			      (refresh ? GATE_REFRESH : 0) |
			      (output_now(&pit->ch[2]) ? GATE_OUT2 : 0));
	pthread_mutex_unlock(&pit->dev.lock);
}

static void gate_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct pit *pit = ((struct pit_gate *)dev)->pit;
	struct pit_channel *c = &pit->ch[2];
	bool gate = val & GATE_CH2;

	pthread_mutex_lock(&pit->dev.lock);
	pit->speaker = val & (GATE_CH2 | GATE_SPEAKER);
	if (gate && !c->gate)
		c->start = clock_monotonic_ns();
	c->gate = gate;
	pthread_mutex_unlock(&pit->dev.lock);
}

static void gate_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops gate_ops = {
	.name = "pit-gate",
	.read = gate_read,
	.write = gate_write,
	.free = gate_free,
};

int pit_gate_new(struct device *pit, struct device **ret, struct err *err)
{
	struct pit_gate *gate = calloc(1, sizeof(*gate));

	if (!gate)
		return err_set(err, -ENOMEM, "no memory for the timer gate");
	device_init(&gate->dev, &gate_ops);
	gate->pit = (struct pit *)pit;
	*ret = &gate->dev;
	return 0;
}
