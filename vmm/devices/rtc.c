/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC146818 real-time clock and its battery-backed memory.
 *
 * Theory of operation. Time is the host's wall clock plus an offset that a guest changes by setting
 * the clock. Reads compute the registers from it, so nothing ticks; which of the periodic, alarm
 * and update events have happened follows from the time that passed since register C was last read.
 * A host timer is armed only while an enabled event is to come and the interrupt is not up already,
 * so a guest that does not read register C gets no more of them. Daylight saving, square wave and
 * the divider's reset are not modelled.
 * Ref: Motorola MC146818A data sheet.
 */
#include "devices/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/clock.h"

#define CMOS_SIZE 128

enum {
	REG_SEC = 0,
	REG_ALARM_SEC = 1,
	REG_MIN = 2,
	REG_ALARM_MIN = 3,
	REG_HOUR = 4,
	REG_ALARM_HOUR = 5,
	REG_WDAY = 6,
	REG_MDAY = 7,
	REG_MONTH = 8,
	REG_YEAR = 9,
	REG_A = 10,
	REG_B = 11,
	REG_C = 12,
	REG_D = 13,
	REG_CENTURY = 0x32,
};

#define REG_A_DEFAULT 0x26 /* 32.768 kHz, 1024 Hz rate */
#define REG_A_RATE    0x0f
#define REG_A_UIP     0x80
#define REG_B_24H     0x02
#define REG_B_BINARY  0x04
#define REG_B_SET     0x80
#define REG_C_UF      0x10 /* update ended, alarm, periodic: the enables in B have the same places */
#define REG_C_AF      0x20
#define REG_C_PF      0x40
#define REG_C_EVENTS  (REG_C_UF | REG_C_AF | REG_C_PF)
#define REG_C_IRQF    0x80
#define REG_D_VALID   0x80
#define ALARM_ANY     0xc0	/* an alarm register with these bits matches every value */
#define UPDATE_NS     244000ULL /* how long before its end an update shows in UIP */
#define DAY_S	      86400ULL
#define NEVER	      UINT64_MAX

struct rtc {
	struct device dev; /* first */
	struct irq_line irq;
	struct loop_timer timer;
	uint8_t index;
	uint8_t cmos[CMOS_SIZE];
	uint64_t offset_s;	   /* added to the host's clock, modulo 2^64 */
	uint64_t since_ns;	   /* guest time from which events count */
	uint8_t frozen[CMOS_SIZE]; /* the time registers while REG_B_SET holds them */
};

static uint8_t encode(const struct rtc *rtc, int val)
{
	if (rtc->cmos[REG_B] & REG_B_BINARY)
		return (uint8_t)val;
	return (uint8_t)(val / 10 % 10 * 16 + val % 10);
}

static int decode(const struct rtc *rtc, uint8_t val)
{
	if (rtc->cmos[REG_B] & REG_B_BINARY)
		return val;
	return (val >> 4) * 10 + (val & 15);
}

static bool is_time_reg(unsigned reg)
{
	return (reg <= REG_YEAR && reg != 1 && reg != 3 && reg != 5) || reg == REG_CENTURY;
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
	if (rtc->cmos[REG_B] & REG_B_24H)
		return encode(rtc, hour);
	return (uint8_t)(encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0));
}

static int decode_hour(const struct rtc *rtc, uint8_t val)
{
	if (rtc->cmos[REG_B] & REG_B_24H)
		return decode(rtc, val);
	return decode(rtc, val & 0x7f) % 12 + (val & 0x80 ? 12 : 0);
}

/* Nanoseconds since 1970 as the guest's clock has it, modulo 2^64. */
static uint64_t guest_ns(const struct rtc *rtc)
{
	return clock_realtime_ns() + rtc->offset_s * NSEC_PER_SEC;
}

static uint8_t time_reg(const struct rtc *rtc, unsigned reg)
{
	time_t now = (time_t)(clock_realtime_ns() / NSEC_PER_SEC + rtc->offset_s);
	struct tm tm = { 0 };

	if (!gmtime_r(&now, &tm))
		return 0;
	switch (reg) {
	case REG_SEC: return encode(rtc, tm.tm_sec);
	case REG_MIN: return encode(rtc, tm.tm_min);
	case REG_HOUR: return encode_hour(rtc, tm.tm_hour);
	case REG_WDAY: return encode(rtc, tm.tm_wday + 1);
	case REG_MDAY: return encode(rtc, tm.tm_mday);
	case REG_MONTH: return encode(rtc, tm.tm_mon + 1);
	case REG_YEAR: return encode(rtc, tm.tm_year % 100);
	default: return encode(rtc, (tm.tm_year + 1900) / 100);
	}
}

/* ---- events ---- */

/* 0: the divider's tap is off. */
static uint64_t period_ns(const struct rtc *rtc)
{
	unsigned rate = rtc->cmos[REG_A] & REG_A_RATE;

	if (rate == 0)
		return 0;
	/* The two fastest taps of this divider are the eighth and ninth. */
	return NSEC_PER_SEC / (32768U >> ((rate < 3 ? rate + 7 : rate) - 1));
}

/* An alarm register's value: -1 for any. What no time register can hold never matches. */
static int alarm_field(const struct rtc *rtc, unsigned reg)
{
	uint8_t val = rtc->cmos[reg];

	if ((val & ALARM_ANY) == ALARM_ANY)
		return -1;
	return reg == REG_ALARM_HOUR ? decode_hour(rtc, val) : decode(rtc, val);
}

static bool matches(int field, unsigned now)
{
	return field < 0 || (unsigned)field == now;
}

/* Seconds from the day's second @from to the next match at or behind it, in the days to come too.
 */
static uint64_t alarm_distance(const struct rtc *rtc, unsigned from)
{
	int hour = alarm_field(rtc, REG_ALARM_HOUR), min = alarm_field(rtc, REG_ALARM_MIN);
	int sec = alarm_field(rtc, REG_ALARM_SEC);

	for (unsigned m = from / 60; m <= from / 60 + DAY_S / 60; m++) {
		unsigned first = m == from / 60 ? from % 60 : 0;

		if (!matches(hour, m / 60 % 24) || !matches(min, m % 60))
			continue;
		if (sec < 0 || ((unsigned)sec >= first && sec < 60))
			return m * 60 + (sec < 0 ? first : (unsigned)sec) - from;
	}
	return NEVER;
}

/* When each event happens first after since_ns, in guest time; NEVER: not while things are so. */
struct rtc_events {
	uint64_t periodic, alarm, update;
};

static struct rtc_events next_events(const struct rtc *rtc)
{
	uint64_t period = period_ns(rtc), second = rtc->since_ns / NSEC_PER_SEC + 1;
	struct rtc_events e = { NEVER, NEVER, NEVER };
	uint64_t distance;

	if (period)
		e.periodic = (rtc->since_ns / period + 1) * period;
	if (rtc->cmos[REG_B] & REG_B_SET)
		return e;
	e.update = second * NSEC_PER_SEC;
	distance = alarm_distance(rtc, (unsigned)(second % DAY_S));
	if (distance != NEVER)
		e.alarm = (second + distance) * NSEC_PER_SEC;
	return e;
}

/* Register C as it is now, but for IRQF. */
static uint8_t events_now(const struct rtc *rtc)
{
	struct rtc_events e = next_events(rtc);
	uint64_t now = guest_ns(rtc);

	return (uint8_t)(rtc->cmos[REG_C] | (e.periodic <= now ? REG_C_PF : 0) |
			 (e.alarm <= now ? REG_C_AF : 0) | (e.update <= now ? REG_C_UF : 0));
}

/* Have the interrupt follow what has happened, and wait for what is to come. */
static void update_irq(struct rtc *rtc)
{
	uint8_t wanted = rtc->cmos[REG_B] & REG_C_EVENTS;
	bool up = events_now(rtc) & wanted;
	struct rtc_events e;
	uint64_t next, now;

	irq_set(&rtc->irq, up);
	loop_timer_set(&rtc->timer, 0);
	if (!wanted || up)
		return;
	e = next_events(rtc);
	next = MIN(wanted & REG_C_PF ? e.periodic : NEVER, wanted & REG_C_AF ? e.alarm : NEVER);
	next = MIN(next, wanted & REG_C_UF ? e.update : NEVER);
	now = guest_ns(rtc);
	if (next != NEVER)
		loop_timer_set(&rtc->timer, clock_monotonic_ns() + (next > now ? next - now : 1));
}

static void on_timer(void *opaque)
{
	struct rtc *rtc = opaque;

	pthread_mutex_lock(&rtc->dev.lock);
	update_irq(rtc);
	pthread_mutex_unlock(&rtc->dev.lock);
}

/* Reading register C takes the events. */
static uint8_t take_events(struct rtc *rtc)
{
	uint8_t c = events_now(rtc) & REG_C_EVENTS;

	if (c & rtc->cmos[REG_B])
		c |= REG_C_IRQF;
	rtc->cmos[REG_C] = 0;
	rtc->since_ns = guest_ns(rtc);
	update_irq(rtc);
	return c;
}

/* Events up to now are noted; from now on others count, in the new terms. */
static void count_anew(struct rtc *rtc)
{
	rtc->cmos[REG_C] = events_now(rtc) & REG_C_EVENTS;
	rtc->since_ns = guest_ns(rtc);
}

/* ---- registers ---- */

/* The guest ends setting the clock: work out the new offset. */
static void set_time(struct rtc *rtc)
{
	const uint8_t *r = rtc->frozen;
	struct tm tm = {
		.tm_sec = decode(rtc, r[REG_SEC]),
		.tm_min = decode(rtc, r[REG_MIN]),
		.tm_hour = decode_hour(rtc, r[REG_HOUR]),
		.tm_mday = decode(rtc, r[REG_MDAY]),
		.tm_mon = decode(rtc, r[REG_MONTH]) - 1,
		.tm_year = decode(rtc, r[REG_CENTURY]) * 100 + decode(rtc, r[REG_YEAR]) - 1900,
	};

	rtc->offset_s = (uint64_t)timegm(&tm) - clock_realtime_ns() / NSEC_PER_SEC;
}

static uint8_t read_reg(struct rtc *rtc, unsigned reg)
{
	if (is_time_reg(reg))
		return rtc->cmos[REG_B] & REG_B_SET ? rtc->frozen[reg] : time_reg(rtc, reg);
	if (reg == REG_A && !(rtc->cmos[REG_B] & REG_B_SET) &&
	    guest_ns(rtc) % NSEC_PER_SEC >= NSEC_PER_SEC - UPDATE_NS)
		return rtc->cmos[REG_A] | REG_A_UIP;
	if (reg == REG_C)
		return take_events(rtc);
	if (reg == REG_D)
		return REG_D_VALID;
	return rtc->cmos[reg];
}

static void write_reg_b(struct rtc *rtc, uint8_t val)
{
	bool was_set = rtc->cmos[REG_B] & REG_B_SET;

	count_anew(rtc);
	if (!was_set && (val & REG_B_SET)) {
		for (unsigned reg = 0; reg < CMOS_SIZE; reg++) {
			if (is_time_reg(reg))
				rtc->frozen[reg] = time_reg(rtc, reg);
		}
	}
	rtc->cmos[REG_B] = val;
	if (was_set && !(val & REG_B_SET)) {
		set_time(rtc);
		rtc->since_ns = guest_ns(rtc);
	}
	update_irq(rtc);
}

static void write_reg(struct rtc *rtc, unsigned reg, uint8_t val)
{
	if (is_time_reg(reg)) {
		if (rtc->cmos[REG_B] & REG_B_SET)
			rtc->frozen[reg] = val;
		return;
	}
	switch (reg) {
	case REG_A:
	case REG_ALARM_SEC:
	case REG_ALARM_MIN:
	case REG_ALARM_HOUR:
		count_anew(rtc);
		rtc->cmos[reg] = reg == REG_A ? val & (uint8_t)~REG_A_UIP : val;
		update_irq(rtc);
		break;
	case REG_B: write_reg_b(rtc, val); break;
	case REG_C:
	case REG_D: break;
	default: rtc->cmos[reg] = val; break;
	}
}

static void rtc_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	struct rtc *rtc = (struct rtc *)dev;

	if (size == 1 && off == 1)
		*ret_val = read_reg(rtc, rtc->index);
}

static void rtc_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct rtc *rtc = (struct rtc *)dev;

	if (off == 0)
		rtc->index = val & (CMOS_SIZE - 1); /* bit 7 masks NMI */
	else
		write_reg(rtc, rtc->index, (uint8_t)val);
	if (off == 0 && size == 2)
		write_reg(rtc, rtc->index, (uint8_t)(val >> 8));
}

static void rtc_free(struct device *dev)
{
	loop_timer_done(&((struct rtc *)dev)->timer);
	free(dev);
}

static int rtc_post_load(void *obj, struct err *err)
{
	struct rtc *rtc = obj;

	if (rtc->index >= CMOS_SIZE)
		return err_set(err, -EBADMSG, "rtc: index out of range");
	update_irq(rtc);
	return 0;
}

static const struct state_desc rtc_state = {
	.name = "rtc-cmos",
	.version = 2,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_FIELD(struct rtc, index, STATE_U8, 1),
			STATE_FIELD(struct rtc, cmos, STATE_BYTES, 1),
			STATE_FIELD(struct rtc, offset_s, STATE_U64, 1),
			STATE_FIELD(struct rtc, frozen, STATE_BYTES, 1),
			STATE_FIELD(struct rtc, since_ns, STATE_U64, 2),
			{ .type = STATE_END },
		},
	.post_load = rtc_post_load,
};

static const struct device_ops rtc_ops = {
	.name = "rtc-cmos",
	.read = rtc_read,
	.write = rtc_write,
	.state = &rtc_state,
	.free = rtc_free,
};

/* Memory sizes where a BIOS leaves them: KiB above 1 MiB, 64 KiB units above 16 MiB. */
static void set_memory_size(struct rtc *rtc, uint64_t ram_bytes)
{
	uint64_t ext_kib = ram_bytes > MIB ? (ram_bytes - MIB) / KIB : 0;
	uint64_t high_64k = ram_bytes > 16 * MIB ? (ram_bytes - 16 * MIB) / (64 * KIB) : 0;

	le16_store(&rtc->cmos[0x15], 640);
	le16_store(&rtc->cmos[0x17], (uint16_t)MIN(ext_kib, 0xffffU));
	le16_store(&rtc->cmos[0x30], (uint16_t)MIN(ext_kib, 0xffffU));
	le16_store(&rtc->cmos[0x34], (uint16_t)MIN(high_64k, 0xffffU));
}

int rtc_new(uint64_t ram_bytes, struct loop *loop, const struct irq_line *irq, struct device **ret,
	    struct err *err)
{
	struct rtc *rtc = calloc(1, sizeof(*rtc));
	int r;

	if (!rtc)
		return err_set(err, -ENOMEM, "no memory for the real-time clock");
	device_init(&rtc->dev, &rtc_ops);
	rtc->irq = *irq;
	r = loop_timer_init(loop, &rtc->timer, on_timer, rtc);
	if (r < 0) {
		device_free(&rtc->dev);
		return err_errno(err, -r, "make a timer");
	}
	rtc->cmos[REG_A] = REG_A_DEFAULT;
	rtc->cmos[REG_B] = REG_B_24H;
	rtc->since_ns = guest_ns(rtc);
	set_memory_size(rtc, ram_bytes);
	*ret = &rtc->dev;
	return 0;
}
