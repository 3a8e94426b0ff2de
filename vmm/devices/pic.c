/* SPDX-License-Identifier: Apache-2.0 */
/* 8259A pair: initialisation words, priorities with rotation, EOI in all forms. Ref: Intel 8259A.
 */
#include "devices/pic.h"

#include <errno.h>
#include <string.h>

#define CASCADE_LINE 2

#define ICW1_ICW4    0x01
#define ICW1_SINGLE  0x02
#define ICW1	     0x10
#define OCW3	     0x08

/* Priority of a line: 0 is highest. */
static unsigned rank(const struct pic_chip *c, unsigned line)
{
	return (line - c->lowest - 1) & 7;
}

static int best(const struct pic_chip *c, uint8_t lines)
{
	for (unsigned k = 1; k <= 8; k++) {
		unsigned line = (c->lowest + k) & 7;

		if (lines & (1U << line))
			return (int)line;
	}
	return -1;
}

/* The line that may interrupt now, or -1. */
static int candidate(const struct pic_chip *c, bool master)
{
	uint8_t blocking = c->isr;
	int req = best(c, c->irr & (uint8_t)~c->imr);
	int cur;

	if (req < 0 || !c->ready)
		return -1;
	if (c->special_mask)
		blocking &= (uint8_t)~c->imr;
	if (c->special_nested && master)
		blocking &= (uint8_t) ~(1U << CASCADE_LINE);
	cur = best(c, blocking);
	if (cur >= 0 && rank(c, (unsigned)cur) <= rank(c, (unsigned)req))
		return -1;
	return req;
}

/* Carry the slave's output to the master and the master's to the CPU. */
static void update_locked(struct pic *pic)
{
	struct pic_chip *m = &pic->chips[0];

	if (candidate(&pic->chips[1], false) >= 0)
		m->irr |= 1U << CASCADE_LINE;
	else
		m->irr &= (uint8_t) ~(1U << CASCADE_LINE);
	pic->output(pic->opaque, candidate(m, true) >= 0);
}

void pic_set_irq(struct pic *pic, unsigned irq, bool level)
{
	struct pic_chip *c = &pic->chips[irq >> 3 & 1];
	uint8_t bit = (uint8_t)(1U << (irq & 7));

	if (irq >= 16 || irq == CASCADE_LINE)
		return;
	pthread_mutex_lock(&pic->lock);
	if (level && !(c->levels & bit))
		c->irr |= bit;
	if (!level)
		c->irr &= (uint8_t)~bit; /* a request that goes away before INTA is spurious */
	c->levels = level ? c->levels | bit : c->levels & (uint8_t)~bit;
	update_locked(pic);
	pthread_mutex_unlock(&pic->lock);
}

bool pic_output(struct pic *pic)
{
	bool up;

	pthread_mutex_lock(&pic->lock);
	up = candidate(&pic->chips[0], true) >= 0;
	pthread_mutex_unlock(&pic->lock);
	return up;
}

/* INTA for one chip: line that goes into service, or -1 for a spurious request. */
static int chip_ack(struct pic_chip *c, bool master)
{
	int line = candidate(c, master);

	if (line < 0)
		return -1;
	c->irr &= (uint8_t) ~(1U << line);
	if (!c->auto_eoi)
		c->isr |= (uint8_t)(1U << line);
	else if (c->rotate_on_auto_eoi)
		c->lowest = (uint8_t)line;
	return line;
}

int pic_ack(struct pic *pic)
{
	struct pic_chip *m = &pic->chips[0], *s = &pic->chips[1];
	int line, vec;

	pthread_mutex_lock(&pic->lock);
	line = chip_ack(m, true);
	if (line == CASCADE_LINE) {
		int sub = chip_ack(s, false);

		vec = s->base + (sub < 0 ? 7 : sub);
	} else {
		vec = m->base + (line < 0 ? 7 : line);
	}
	update_locked(pic);
	pthread_mutex_unlock(&pic->lock);
	return vec;
}

/* ---- programming ---- */

static void icw1(struct pic_chip *c, uint8_t val)
{
	uint8_t levels = c->levels, base = c->base;

	*c = (struct pic_chip){ .levels = levels, .base = base, .lowest = 7, .icw_step = 2 };
	c->need_icw4 = val & ICW1_ICW4;
	c->single = val & ICW1_SINGLE;
}

static void icw_next(struct pic_chip *c, uint8_t val)
{
	switch (c->icw_step) {
	case 2:
		c->base = val & 0xf8;
		c->icw_step = !c->single ? 3 : c->need_icw4 ? 4 : 0;
		break;
	case 3:
		c->icw3 = val;
		c->icw_step = c->need_icw4 ? 4 : 0;
		break;
	default:
		c->auto_eoi = val & 2;
		c->special_nested = val & 0x10;
		c->icw_step = 0;
		break;
	}
	c->ready = c->icw_step == 0;
}

static void ocw2(struct pic_chip *c, uint8_t val)
{
	unsigned line = val & 7;
	int top = best(c, c->isr);

	switch (val >> 5) {
	case 0: c->rotate_on_auto_eoi = false; break;
	case 4: c->rotate_on_auto_eoi = true; break;
	case 1: /* non-specific EOI, and with rotation */
	case 5:
		if (top < 0)
			break;
		c->isr &= (uint8_t) ~(1U << top);
		if (val >> 5 == 5)
			c->lowest = (uint8_t)top;
		break;
	case 3: c->isr &= (uint8_t) ~(1U << line); break;
	case 7:
		c->isr &= (uint8_t) ~(1U << line);
		c->lowest = (uint8_t)line;
		break;
	case 6: c->lowest = (uint8_t)line; break;
	default: break;
	}
}

static void ocw3(struct pic_chip *c, uint8_t val)
{
	if (val & 4)
		c->poll = true;
	if (val & 2)
		c->read_isr = val & 1;
	if (val & 0x40)
		c->special_mask = val & 0x20;
}

void pic_io_write(struct pic *pic, uint16_t port, uint8_t val)
{
	struct pic_chip *c = &pic->chips[port >> 7 & 1];

	pthread_mutex_lock(&pic->lock);
	if (port & 1) {
		if (c->icw_step)
			icw_next(c, val);
		else
			c->imr = val;
	} else if (val & ICW1) {
		icw1(c, val);
	} else if (val & OCW3) {
		ocw3(c, val);
	} else {
		ocw2(c, val);
	}
	update_locked(pic);
	pthread_mutex_unlock(&pic->lock);
}

uint8_t pic_io_read(struct pic *pic, uint16_t port)
{
	bool slave = port >> 7 & 1;
	struct pic_chip *c = &pic->chips[slave];
	uint8_t val;

	pthread_mutex_lock(&pic->lock);
	if (c->poll) { /* the read is the acknowledge */
		int line = chip_ack(c, !slave);

		c->poll = false;
		val = line < 0 ? 0 : (uint8_t)(0x80 | line);
		update_locked(pic);
	} else if (port & 1) {
		val = c->imr;
	} else {
		val = c->read_isr ? c->isr : c->irr;
	}
	pthread_mutex_unlock(&pic->lock);
	return val;
}

/* ---- life ---- */

void pic_reset(struct pic *pic)
{
	pthread_mutex_lock(&pic->lock);
	for (unsigned i = 0; i < 2; i++)
		pic->chips[i] = (struct pic_chip){ .lowest = 7, .imr = 0xff };
	pthread_mutex_unlock(&pic->lock);
}

int pic_init(struct pic *pic, void (*output)(void *opaque, bool level), void *opaque,
	     struct err *err)
{
	int r = pthread_mutex_init(&pic->lock, NULL);

	if (r)
		return err_errno(err, r, "make the PIC's lock");
	pic->output = output;
	pic->opaque = opaque;
	pic_reset(pic);
	return 0;
}

void pic_done(struct pic *pic)
{
	pthread_mutex_destroy(&pic->lock);
}

static int post_load(void *obj, struct err *err)
{
	struct pic *pic = obj;

	for (unsigned i = 0; i < 2; i++) {
		const struct pic_chip *c = &pic->chips[i];

		if (c->lowest > 7 || c->icw_step == 1 || c->icw_step > 4)
			return err_set(err, -EBADMSG, "pic.chips[%u] is out of range", i);
	}
	return 0;
}

#define F(member, type) STATE_FIELD(struct pic_chip, member, type, 1)

static const struct state_desc chip_desc = {
	.name = "pic-chip",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			F(irr, STATE_U8),
			F(isr, STATE_U8),
			F(imr, STATE_U8),
			F(levels, STATE_U8),
			F(base, STATE_U8),
			F(icw3, STATE_U8),
			F(icw_step, STATE_U8),
			F(lowest, STATE_U8),
			F(need_icw4, STATE_BOOL),
			F(single, STATE_BOOL),
			F(auto_eoi, STATE_BOOL),
			F(rotate_on_auto_eoi, STATE_BOOL),
			F(special_mask, STATE_BOOL),
			F(special_nested, STATE_BOOL),
			F(read_isr, STATE_BOOL),
			F(poll, STATE_BOOL),
			F(ready, STATE_BOOL),
			{ .type = STATE_END },
		},
};

const struct state_desc pic_state_desc = {
	.name = "pic",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_SUB(struct pic, chips, &chip_desc, 2, 1),
			{ .type = STATE_END },
		},
	.post_load = post_load,
};
