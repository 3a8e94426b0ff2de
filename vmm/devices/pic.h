/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC's pair of 8259A interrupt controllers, edge-triggered.
 *
 * The output goes to the boot CPU through output(), called with pic->lock held: it may only post an
 * event. The vCPU then takes the vector with pic_ack() on its own thread.
 */
#ifndef DEVICES_PIC_H
#define DEVICES_PIC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"

struct pic_chip {
	uint8_t irr, isr, imr;
	uint8_t levels; /* input lines, for edges */
	uint8_t base;	/* ICW2 */
	uint8_t icw3;
	uint8_t icw_step; /* next ICW expected: 0 none, 2, 3 or 4 */
	uint8_t lowest;	  /* priority rotation: line with the lowest priority */
	bool need_icw4, single, auto_eoi, rotate_on_auto_eoi, special_mask, special_nested;
	bool read_isr, poll;
	bool ready; /* initialised by ICW1-4: before, no interrupts */
};

struct pic {
	pthread_mutex_t lock;
	void (*output)(void *opaque, bool level);
	void *opaque;
	struct pic_chip chips[2]; /* guarded by lock; 0 master, 1 slave on line 2 */
};

extern const struct state_desc pic_state_desc;

int pic_init(struct pic *pic, void (*output)(void *opaque, bool level), void *opaque,
	     struct err *err);
void pic_done(struct pic *pic);
void pic_reset(struct pic *pic);

void pic_set_irq(struct pic *pic, unsigned irq, bool level); /* 0-15, any thread */
bool pic_output(struct pic *pic);
int pic_ack(struct pic *pic); /* vector; the spurious one if the request has gone; -1 never */

/* Ports 0x20, 0x21, 0xa0, 0xa1; others are not the PIC's. */
static inline bool pic_has_port(uint16_t port)
{
	return (port & 0xff7e) == 0x20;
}

uint8_t pic_io_read(struct pic *pic, uint16_t port);
void pic_io_write(struct pic *pic, uint16_t port, uint8_t val);

#endif
