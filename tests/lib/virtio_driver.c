/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio driver for tests. */
#include "virtio_driver.h"

#include <string.h>

#include "base/checked.h"
#include "look.h"

#define STATUS_READY 15
#define DESC_NEXT    1
#define DESC_WRITE   2

static gpa_t ring(unsigned queue)
{
	return DRIVER_RINGS + queue * 0x4000ULL;
}

static void on_irq(void *opaque, unsigned gsi, bool level)
{
	struct driver *d = opaque;

	if (level)
		__atomic_fetch_add(&d->n_irqs, 1, __ATOMIC_SEQ_CST);
}

int driver_init(struct driver *d)
{
	*d = (struct driver){ 0 };
	if (gmem_new(&d->mem, NULL) < 0 || loop_new(&d->loop, NULL) < 0)
		return -1;
	return gmem_add_anon(d->mem, 0, DRIVER_RAM, GMEM_RAM, NULL);
}

void driver_done(struct driver *d)
{
	driver_stop_loop(d);
	device_free(d->dev);
	loop_free(d->loop);
	gmem_free(d->mem);
}

struct virtio_env driver_env(struct driver *d)
{
	return (struct virtio_env){ .mem = d->mem,
				    .loop = d->loop,
				    .irq = { .set = on_irq, .opaque = d, .gsi = 5 } };
}

static void *run_loop(void *opaque)
{
	loop_run(opaque);
	return NULL;
}

void driver_start_loop(struct driver *d)
{
	d->running = pthread_create(&d->thread, NULL, run_loop, d->loop) == 0;
}

void driver_stop_loop(struct driver *d)
{
	if (!d->running)
		return;
	loop_stop(d->loop);
	pthread_join(d->thread, NULL);
	d->running = false;
}

uint32_t driver_rd(struct driver *d, unsigned off)
{
	uint64_t val = 0;

	pthread_mutex_lock(&d->dev->lock);
	d->dev->ops->read(d->dev, off, 4, &val);
	pthread_mutex_unlock(&d->dev->lock);
	return (uint32_t)val;
}

void driver_wr(struct driver *d, unsigned off, uint32_t val)
{
	pthread_mutex_lock(&d->dev->lock);
	d->dev->ops->write(d->dev, off, 4, val);
	pthread_mutex_unlock(&d->dev->lock);
}

uint8_t *driver_ram(struct driver *d, gpa_t gpa)
{
	return gmem_ptr(d->mem, gpa, 1);
}

void driver_negotiate(struct driver *d, uint64_t features)
{
	for (unsigned status = 0; status <= 3; status += status ? 2 : 1)
		driver_wr(d, DRIVER_STATUS, status);
	for (unsigned i = 0; i < 2; i++) {
		driver_wr(d, DRIVER_FEATURES_SEL, i);
		driver_wr(d, DRIVER_FEATURES, (uint32_t)(features >> 32 * i));
	}
	driver_wr(d, DRIVER_STATUS, 11);
}

void driver_set_queue(struct driver *d, unsigned queue)
{
	d->avail[queue] = 0;
	memset(driver_ram(d, ring(queue)), 0, 0x4000);
	driver_wr(d, DRIVER_QUEUE_SEL, queue);
	driver_wr(d, DRIVER_QUEUE_NUM, DRIVER_SIZE);
	driver_wr(d, DRIVER_DESC, (uint32_t)ring(queue));
	driver_wr(d, DRIVER_AVAIL, (uint32_t)ring(queue) + 0x1000);
	driver_wr(d, DRIVER_USED, (uint32_t)ring(queue) + 0x2000);
	driver_wr(d, DRIVER_QUEUE_READY, 1);
}

void driver_bring_up(struct driver *d, uint64_t features, unsigned n_queues)
{
	driver_negotiate(d, features | VIRTIO_F_VERSION_1);
	for (unsigned q = 0; q < n_queues; q++)
		driver_set_queue(d, q);
	driver_wr(d, DRIVER_STATUS, STATUS_READY);
}

void driver_desc(struct driver *d, unsigned queue, unsigned i, gpa_t gpa, uint32_t len, bool write,
		 bool next)
{
	uint8_t *p = driver_ram(d, ring(queue) + 16 * (gpa_t)i);

	le64_store(p, gpa);
	le32_store(p + 8, len);
	le16_store(p + 12, (uint16_t)((write ? DESC_WRITE : 0) | (next ? DESC_NEXT : 0)));
	le16_store(p + 14, (uint16_t)(i + 1));
}

void driver_offer(struct driver *d, unsigned queue, unsigned i)
{
	uint8_t *avail = driver_ram(d, ring(queue) + 0x1000);

	le16_store(avail + 4 + 2 * (size_t)(d->avail[queue] % DRIVER_SIZE), (uint16_t)i);
	d->avail[queue]++;
	__atomic_store_n((uint16_t *)(void *)(avail + 2), d->avail[queue], __ATOMIC_SEQ_CST);
}

unsigned driver_used(struct driver *d, unsigned queue)
{
	uint16_t *p = (uint16_t *)(void *)driver_ram(d, ring(queue) + 0x2002);

	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

uint32_t driver_used_id(struct driver *d, unsigned queue, unsigned i)
{
	return le32_load(driver_ram(d, ring(queue) + 0x2004 + 8 * (gpa_t)(i % DRIVER_SIZE)));
}

uint32_t driver_used_len(struct driver *d, unsigned queue, unsigned i)
{
	return le32_load(driver_ram(d, ring(queue) + 0x2004 + 8 * (gpa_t)(i % DRIVER_SIZE) + 4));
}

/* Whether @got says at least @n of @queue before long. */
static bool wait_for(unsigned (*got)(struct driver *, unsigned), struct driver *d, unsigned queue, unsigned n)
{
	unsigned looks = 0;

	while (got(d, queue) < n)
		if (!look_again(&looks))
			return false;
	return true;
}

bool driver_wait_used(struct driver *d, unsigned queue, unsigned n)
{
	return wait_for(driver_used, d, queue, n) && driver_used(d, queue) == n;
}

static unsigned n_irqs(struct driver *d, unsigned queue)
{
	(void)queue;
	return __atomic_load_n(&d->n_irqs, __ATOMIC_SEQ_CST);
}

bool driver_wait_irqs(struct driver *d, unsigned n)
{
	return wait_for(n_irqs, d, 0, n);
}
