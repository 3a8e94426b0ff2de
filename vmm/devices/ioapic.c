/* SPDX-License-Identifier: Apache-2.0 */
/* IOAPIC: redirection table, delivery, remote IRR. Ref: Intel 82093AA datasheet. */
#include "devices/ioapic.h"

#include <errno.h>
#include <string.h>

#define REG_SELECT     0x00
#define REG_WINDOW     0x10

#define INDEX_ID       0x00
#define INDEX_VERSION  0x01
#define INDEX_ARB      0x02
#define INDEX_REDIR    0x10

#define VERSION_VALUE  0x00170011U /* 24 entries, version 1.1 */

#define RTE_LOGICAL    (1ULL << 11)
#define RTE_STATUS     (1ULL << 12)
#define RTE_REMOTE_IRR (1ULL << 14)
#define RTE_LEVEL      (1ULL << 15)
#define RTE_MASKED     (1ULL << 16)
#define RTE_READ_ONLY  (RTE_STATUS | RTE_REMOTE_IRR)
#define RTE_WRITABLE   (0xff0000000001ffffULL & ~RTE_READ_ONLY)

static enum lapic_delivery rte_mode(uint64_t rte)
{
	return (enum lapic_delivery)((rte >> 8) & 7);
}

static void deliver_locked(struct ioapic *io, unsigned pin)
{
	uint64_t rte = io->redir[pin];
	struct lapic_msg msg = {
		.dest = (uint32_t)(rte >> 56),
		.logical = rte & RTE_LOGICAL,
		.broadcast_all = rte >> 56 == 0xff,
		.mode = rte_mode(rte),
		.vector = (uint8_t)rte,
		.level = rte & RTE_LEVEL,
	};

	if (msg.mode == LAPIC_SIPI || msg.mode == LAPIC_RESERVED3)
		return; /* not from an IOAPIC */
	if (msg.level && msg.mode != LAPIC_FIXED && msg.mode != LAPIC_LOWEST)
		msg.level = false; /* NMI, INIT and ExtINT are edges whatever the entry says */
	if (lapic_bus_send(io->bus, &msg) && msg.level)
		io->redir[pin] |= RTE_REMOTE_IRR;
}

/* A level-triggered pin that is up and not yet in service. */
static void service_level_locked(struct ioapic *io, unsigned pin)
{
	uint64_t rte = io->redir[pin];

	if ((io->levels & (1U << pin)) && (rte & RTE_LEVEL) &&
	    !(rte & (RTE_MASKED | RTE_REMOTE_IRR)))
		deliver_locked(io, pin);
}

void ioapic_set_pin(struct ioapic *io, unsigned pin, bool level)
{
	uint32_t bit;
	bool rises;

	if (pin >= IOAPIC_N_PINS)
		return;
	bit = 1U << pin;
	pthread_mutex_lock(&io->lock);
	rises = level && !(io->levels & bit);
	io->levels = level ? io->levels | bit : io->levels & ~bit;
	if (io->redir[pin] & RTE_LEVEL)
		service_level_locked(io, pin);
	else if (rises && !(io->redir[pin] & RTE_MASKED))
		deliver_locked(io, pin);
	pthread_mutex_unlock(&io->lock);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	pthread_mutex_lock(&io->lock);
	for (unsigned pin = 0; pin < IOAPIC_N_PINS; pin++) {
		uint64_t *rte = &io->redir[pin];

		if ((uint8_t)*rte != vector || !(*rte & RTE_LEVEL))
			continue;
		*rte &= ~RTE_REMOTE_IRR;
		service_level_locked(io, pin);
	}
	pthread_mutex_unlock(&io->lock);
}

static uint32_t index_read_locked(const struct ioapic *io, unsigned index)
{
	switch (index) {
	case INDEX_ID: return (uint32_t)io->id << 24;
	case INDEX_VERSION: return VERSION_VALUE;
	case INDEX_ARB: return (uint32_t)io->id << 24;
	default: break;
	}
	if (index >= INDEX_REDIR && index < INDEX_REDIR + 2 * IOAPIC_N_PINS) {
		uint64_t rte = io->redir[(index - INDEX_REDIR) / 2];

		return index & 1 ? (uint32_t)(rte >> 32) : (uint32_t)rte;
	}
	return 0;
}

static void redir_write_locked(struct ioapic *io, unsigned index, uint32_t val)
{
	unsigned pin = (index - INDEX_REDIR) / 2;
	uint64_t old = io->redir[pin];
	uint64_t new =
		index & 1 ? (old & 0xffffffff) | (uint64_t)val << 32 : (old & ~0xffffffffULL) | val;

	new = (new &RTE_WRITABLE) | (old & RTE_READ_ONLY);
	if (!(new &RTE_LEVEL))
		new &= ~RTE_REMOTE_IRR;
	io->redir[pin] = new;
	service_level_locked(io, pin);
}

static void index_write_locked(struct ioapic *io, unsigned index, uint32_t val)
{
	if (index == INDEX_ID)
		io->id = (uint8_t)(val >> 24) & 0x0f;
	else if (index >= INDEX_REDIR && index < INDEX_REDIR + 2 * IOAPIC_N_PINS)
		redir_write_locked(io, index, val);
}

uint64_t ioapic_mmio_read(struct ioapic *io, unsigned off, unsigned size)
{
	uint32_t val = 0;

	if ((off & 15) + size > 4)
		return 0;
	pthread_mutex_lock(&io->lock);
	if ((off & 0xff0) == REG_SELECT)
		val = io->select;
	else if ((off & 0xff0) == REG_WINDOW)
		val = index_read_locked(io, io->select);
	pthread_mutex_unlock(&io->lock);
	val >>= (off & 3) * 8;
	return size == 4 ? val : val & ((1U << (size * 8)) - 1);
}

void ioapic_mmio_write(struct ioapic *io, unsigned off, unsigned size, uint64_t val)
{
	pthread_mutex_lock(&io->lock);
	if (off == REG_SELECT)
		io->select = (uint8_t)val;
	else if (off == REG_WINDOW && size == 4)
		index_write_locked(io, io->select, (uint32_t)val);
	pthread_mutex_unlock(&io->lock);
}

void ioapic_reset(struct ioapic *io)
{
	pthread_mutex_lock(&io->lock);
	io->select = 0;
	io->id = 0;
	io->levels = 0;
	for (unsigned i = 0; i < IOAPIC_N_PINS; i++)
		io->redir[i] = RTE_MASKED;
	pthread_mutex_unlock(&io->lock);
}

int ioapic_init(struct ioapic *io, struct lapic_bus *bus, struct err *err)
{
	int r = pthread_mutex_init(&io->lock, NULL);

	if (r)
		return err_errno(err, r, "make the IOAPIC's lock");
	io->bus = bus;
	ioapic_reset(io);
	return 0;
}

void ioapic_done(struct ioapic *io)
{
	pthread_mutex_destroy(&io->lock);
}

static int post_load(void *obj, struct err *err)
{
	struct ioapic *io = obj;

	if (io->id > 15)
		return err_set(err, -EBADMSG, "ioapic.id is %u, more than 15", io->id);
	for (unsigned i = 0; i < IOAPIC_N_PINS; i++) {
		if (io->redir[i] & ~(RTE_WRITABLE | RTE_READ_ONLY))
			return err_set(err, -EBADMSG, "ioapic.redir[%u] has unknown bits", i);
	}
	io->levels &= (1U << IOAPIC_N_PINS) - 1;
	return 0;
}

const struct state_desc ioapic_state_desc = {
	.name = "ioapic",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_FIELD(struct ioapic, select, STATE_U8, 1),
			STATE_FIELD(struct ioapic, id, STATE_U8, 1),
			STATE_FIELD(struct ioapic, levels, STATE_U32, 1),
			STATE_FIELD(struct ioapic, redir, STATE_U64, 1),
			{ .type = STATE_END },
		},
	.post_load = post_load,
};
