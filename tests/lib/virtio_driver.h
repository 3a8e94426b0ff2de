/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio driver for tests: memory, a loop on a thread of its own, one device, its rings. Each
 * queue has DRIVER_SIZE entries and 0x4000 bytes for its rings; descriptors are used as the test
 * says.
 */
#ifndef TESTS_LIB_VIRTIO_DRIVER_H
#define TESTS_LIB_VIRTIO_DRIVER_H

#include <pthread.h>

#include "virtio/virtio.h"

#define DRIVER_RAM	  (4 * MIB)
#define DRIVER_RINGS	  0x10000
#define DRIVER_DATA	  0x100000 /* from here on memory is the test's */
#define DRIVER_SIZE	  64
#define DRIVER_MAX_QUEUES 3

enum driver_register {
	DRIVER_DEVICE_FEATURES = 0x010,
	DRIVER_DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	DRIVER_QUEUE_SEL = 0x030,
	DRIVER_QUEUE_NUM_MAX = 0x034,
	DRIVER_QUEUE_NUM = 0x038,
	DRIVER_QUEUE_READY = 0x044,
	DRIVER_QUEUE_NOTIFY = 0x050,
	DRIVER_INTERRUPT_STATUS = 0x060,
	DRIVER_INTERRUPT_ACK = 0x064,
	DRIVER_STATUS = 0x070,
	DRIVER_DESC = 0x080,
	DRIVER_AVAIL = 0x090,
	DRIVER_USED = 0x0a0,
	DRIVER_GENERATION = 0x0fc,
	DRIVER_CONFIG = 0x100,
};

struct driver {
	struct gmem *mem;
	struct loop *loop;
	pthread_t thread;
	bool running;
	struct device *dev; /* the test makes it, driver_done() frees it */
	unsigned n_irqs;    /* atomic */
	uint16_t avail[DRIVER_MAX_QUEUES];
};

int driver_init(struct driver *d);
void driver_done(struct driver *d);
/* What a device's constructor wants. */
struct virtio_env driver_env(struct driver *d);
void driver_start_loop(struct driver *d);
void driver_stop_loop(struct driver *d);

uint32_t driver_rd(struct driver *d, unsigned off);
void driver_wr(struct driver *d, unsigned off, uint32_t val);
uint8_t *driver_ram(struct driver *d, gpa_t gpa);
/* Reset, and ask for @features: up to FEATURES_OK. */
void driver_negotiate(struct driver *d, uint64_t features);
/* The queue's addresses and size, and ready. */
void driver_set_queue(struct driver *d, unsigned queue);
/* Reset, negotiate @features (and VERSION_1), set the queues up, DRIVER_OK. */
void driver_bring_up(struct driver *d, uint64_t features, unsigned n_queues);

/* Descriptor @i; @next: it is continued in @i + 1. */
void driver_desc(struct driver *d, unsigned queue, unsigned i, gpa_t gpa, uint32_t len, bool write,
		 bool next);
/* Make the chain that begins at descriptor @i available. */
void driver_offer(struct driver *d, unsigned queue, unsigned i);
unsigned driver_used(struct driver *d, unsigned queue);
/* Of used element @i: the chain's first descriptor, and the bytes written. */
uint32_t driver_used_id(struct driver *d, unsigned queue, unsigned i);
uint32_t driver_used_len(struct driver *d, unsigned queue, unsigned i);
/* Whether the queue's used index is @n before long. */
bool driver_wait_used(struct driver *d, unsigned queue, unsigned n);
/* Whether @n interrupts come before long; they follow the used index, they don't come with it. */
bool driver_wait_irqs(struct driver *d, unsigned n);

#endif
