/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues against a hostile driver.
 *
 * Theory of operation. vq_activate() checks the three ring addresses once and keeps host pointers;
 * no address is read from the guest again. vq_pop() copies each descriptor once and gives a chain
 * of checked host ranges; vq_push() returns it. Everything the device remembers (next available
 * index, used index) is its own: what the guest writes there is never read back. Invariants:
 *  1. A chain has at most `size` descriptors, readable ones first, each inside one memory region.
 *  2. At most `size` chains are out at a time.
 *  3. The used length never exceeds the chain's writable bytes.
 *  4. After a violation the queue is broken and gives nothing more until it is reset.
 * All functions: the owning device's lock is held.
 * Ref: virtio-v1.2 2.7 (split virtqueues).
 */
#ifndef VMM_VIRTIO_QUEUE_H
#define VMM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/state.h"
#include "vmm/gmem.h"

#define VQ_MAX_SIZE 256

struct vq {
	/* As the driver set them; saved. */
	uint16_t size;
	bool ready;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	/* The device's own; saved. */
	uint16_t next_avail;
	uint16_t next_used;
	uint16_t signalled; /* used index at the last interrupt (event index) */
	bool signalled_valid;

	/* Since activation. */
	bool active, broken, event_idx;
	uint16_t n_out; /* chains popped and not pushed */
	struct gmem *mem;
	uint8_t *desc, *avail, *used; /* host pointers into guest memory */
};

/* One request: n_read segments to read from, then n_write segments to write to. */
struct vq_chain {
	uint16_t head;
	unsigned n_read, n_write;
	size_t read_len, write_len; /* bytes */
	struct iovec iov[VQ_MAX_SIZE];
	gpa_t gpa[VQ_MAX_SIZE]; /* of each segment */
};

extern const struct state_desc vq_state;

/* As after a device reset. */
void vq_reset(struct vq *vq);

/**
 * vq_activate() - Check the rings and start
 * @event_idx:	VIRTIO_F_EVENT_IDX was negotiated
 *
 * Return: 0; -EINVAL bad size or alignment; -EFAULT a ring is not wholly in guest RAM.
 */
int vq_activate(struct vq *vq, struct gmem *mem, bool event_idx);

/**
 * vq_pop() - Next request
 *
 * Return: 1 with *@ret filled; 0 none; -EPROTO the driver broke a rule (@err says which), the queue
 * is broken then.
 */
int vq_pop(struct vq *vq, struct vq_chain *ret, struct err *err);

/**
 * vq_push() - Give a request back
 * @used:	Bytes written from the start of its writable part; cut to write_len
 */
void vq_push(struct vq *vq, const struct vq_chain *chain, size_t used);
/* The same in two steps: what was put is the driver's when it is published, all at once. */
void vq_put(struct vq *vq, const struct vq_chain *chain, size_t used);
void vq_publish(struct vq *vq);

/* Take the last @n chains that were popped back: they will be popped again. */
void vq_unpop(struct vq *vq, unsigned n);

/* Whether the driver wants an interrupt for what was pushed since the last time this said so. */
bool vq_should_interrupt(struct vq *vq);

/* Ask for no notifications while the device is looking anyway. */
void vq_disable_notify(struct vq *vq);
/**
 * vq_enable_notify() - Ask for notifications again
 *
 * Return: true when requests came meanwhile: the device must look once more.
 */
bool vq_enable_notify(struct vq *vq);

/* Copy from the readable or into the writable part; returns bytes copied, less at the end. */
size_t vq_chain_read(const struct vq_chain *chain, size_t off, void *buf, size_t len);
size_t vq_chain_write(const struct vq_chain *chain, size_t off, const void *buf, size_t len);

#endif
