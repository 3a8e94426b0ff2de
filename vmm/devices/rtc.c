/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC146818 real-time clock and its battery-backed memory.
 *
 * Theory of operation. Time is the host's wall clock plus an offset that a guest changes by setting
 * the clock. Reads compute the registers from it, so nothing ticks. Interrupt enables are stored
 * and never honoured: the machine's tables give the device no interrupt. Ref: Motorola MC146818A
 * data sheet.
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
	REG_MIN = 2,
	REG_HOUR = 4,
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
#define REG_A_UIP     0x80
#define REG_B_24H     0x02
#define REG_B_BINARY  0x04
#define REG_B_SET     0x80
#define REG_D_VALID   0x80

struct rtc {
	struct device dev; /* first */
	uint8_t index;
	uint8_t cmos[CMOS_SIZE];
	uint64_t offset_s;	   /* added to the host's clock, modulo 2^64 */
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
	if (reg == REG_C)
		return 0;
	if (reg == REG_D)
		return REG_D_VALID;
	return rtc->cmos[reg];
}

static void write_reg_b(struct rtc *rtc, uint8_t val)
{
	bool was_set = rtc->cmos[REG_B] & REG_B_SET;

	if (!was_set && (val & REG_B_SET)) {
		for (unsigned reg = 0; reg < CMOS_SIZE; reg++) {
			if (is_time_reg(reg))
				rtc->frozen[reg] = time_reg(rtc, reg);
		}
	}
	rtc->cmos[REG_B] = val;
	if (was_set && !(val & REG_B_SET))
		set_time(rtc);
}

static void write_reg(struct rtc *rtc, unsigned reg, uint8_t val)
{
	if (is_time_reg(reg)) {
		if (rtc->cmos[REG_B] & REG_B_SET)
			rtc->frozen[reg] = val;
		return;
	}
	switch (reg) {
	case REG_A: rtc->cmos[REG_A] = val & (uint8_t)~REG_A_UIP; break;
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
	free(dev);
}

static int rtc_post_load(void *obj, struct err *err)
{
	struct rtc *rtc = obj;

	if (rtc->index >= CMOS_SIZE)
		return err_set(err, -EBADMSG, "rtc: index out of range");
	return 0;
}

static const struct state_desc rtc_state = {
	.name = "rtc-cmos",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_FIELD(struct rtc, index, STATE_U8, 1),
			STATE_FIELD(struct rtc, cmos, STATE_BYTES, 1),
			STATE_FIELD(struct rtc, offset_s, STATE_U64, 1),
			STATE_FIELD(struct rtc, frozen, STATE_BYTES, 1),
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

int rtc_new(uint64_t ram_bytes, struct device **ret, struct err *err)
{
	struct rtc *rtc = calloc(1, sizeof(*rtc));

	if (!rtc)
		return err_set(err, -ENOMEM, "no memory for the real-time clock");
	device_init(&rtc->dev, &rtc_ops);
	rtc->cmos[REG_A] = REG_A_DEFAULT;
	rtc->cmos[REG_B] = REG_B_24H;
	set_memory_size(rtc, ram_bytes);
	*ret = &rtc->dev;
	return 0;
}
