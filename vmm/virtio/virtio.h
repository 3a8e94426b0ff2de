/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What virtio devices share: the MMIO transport (version 2) and its status state machine.
 *
 * Theory of operation. A device embeds struct virtio first and gives virtio_ops. The transport
 * serves registers on vCPU threads; a queue notification only marks the queue and wakes the loop
 * thread, which calls ops->notify() with the device's lock held. A driver that breaks a rule gets
 * DEVICE_NEEDS_RESET (virtio_fail()): queues stop until it resets the device. States, by status
 * bits:
 *
 *   reset -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK (active) ; any -> reset
 *
 * Features are accepted in DRIVER, queue fields in FEATURES_OK, notifications in DRIVER_OK;
 * anything else is ignored and counted. Ref: virtio-v1.2 2.1 (status), 4.2 (MMIO).
 */
#ifndef VMM_VIRTIO_VIRTIO_H
#define VMM_VIRTIO_VIRTIO_H

#include "base/loop.h"
#include "virtio/queue.h"
#include "vmm/backend.h"
#include "vmm/device.h"
#include "vmm/hv.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

#define VIRTIO_MAX_QUEUES      8

#define VIRTIO_ID_NET	       1
#define VIRTIO_ID_CONSOLE      3
#define VIRTIO_ID_RNG	       4
#define VIRTIO_ID_FS	       26

#define VIRTIO_F_INDIRECT_DESC (1ULL << 28)
#define VIRTIO_F_EVENT_IDX     (1ULL << 29)
#define VIRTIO_F_VERSION_1     (1ULL << 32)
/* What the queue code does for every device. */
#define VIRTIO_F_COMMON	       (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)

struct virtio;

/* All are called with the device's lock held. */
struct virtio_ops {
	uint32_t id;	   /* VIRTIO_ID_* */
	uint64_t features; /* offered */
	unsigned n_queues;
	uint16_t queue_max; /* power of two, at most VQ_MAX_SIZE */
	unsigned config_len;
	/* Requests may be waiting in this queue. Context: loop thread. */
	void (*notify)(struct virtio *v, unsigned queue);
	/* For who only hands requests on: instead, where the notification comes in. Context: vCPU. */
	void (*notify_at_once)(struct virtio *v, unsigned queue);
	/* Optional: the driver is ready, queues are active. Context: vCPU thread. */
	void (*activate)(struct virtio *v);
	/*
	 * Optional: forget everything. Returns false when requests are still out with a backend:
	 * the status then reads non-zero until the device calls virtio_reset_done(). vCPU thread.
	 */
	bool (*reset)(struct virtio *v);
	/* Fill the whole configuration space. */
	void (*config)(struct virtio *v, uint8_t *buf);
};

struct virtio_env {
	struct gmem *mem;  /* borrowed */
	struct loop *loop; /* borrowed */
	struct irq_line irq;
};

/* Embedded first in each device. */
struct virtio {
	struct device dev; /* first; its lock guards all below */
	const struct virtio_ops *vops;
	struct virtio_env env;
	pthread_mutex_t irq_lock; /* after the device's: an edge at a time, or one is lost */
	struct loop_event kick;
	uint32_t kicked;	 /* bit a queue */
	uint32_t kicked_outside; /* queues whose notifications may come without setting that bit */

	uint32_t status, isr;
	uint32_t features_sel, driver_features_sel, queue_sel;
	uint64_t driver_features;
	uint32_t config_gen;
	bool resetting;
	/* Shared memory region 0, if the device has one. */
	gpa_t shm_gpa;
	uint64_t shm_len;
	uint32_t shm_sel; /* not saved: drivers write it just before they read what it selects */
	struct vq vqs[VIRTIO_MAX_QUEUES];
};

extern const struct state_desc virtio_state; /* of struct virtio, nested in each device's */

/**
 * virtio_init() - Prepare the embedded part
 * @ops:	Device ops whose read, write and reset are the virtio_mmio_ ones
 */
int virtio_init(struct virtio *v, const struct device_ops *ops, const struct virtio_ops *vops,
		const struct virtio_env *env);
void virtio_done(struct virtio *v);

/**
 * virtio_notify_event() - The register write that a back end may turn into a signal
 * @window:	Where the device's registers are
 * @ret_fd:	Descriptor to signal, the device's own
 *
 * Return: false when there is no such queue, or its notifications must be handled where they come
 * in.
 */
bool virtio_notify_event(struct virtio *v, unsigned queue, gpa_t window, struct hv_ioevent *ret,
			 int *ret_fd);
/* The back end does so for this queue. Before the machine runs. */
void virtio_notified_outside(struct virtio *v, unsigned queue);

/* For struct device_ops. */
void virtio_mmio_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val);
void virtio_mmio_write(struct device *dev, uint64_t off, unsigned size, uint64_t val);
void virtio_mmio_reset(struct device *dev);
/* After state_load(): check and activate the queues again; also wakes every queue once. */
int virtio_post_load(struct virtio *v, struct err *err);

static inline bool virtio_has(const struct virtio *v, uint64_t feature)
{
	return v->driver_features & feature;
}

bool virtio_is_active(const struct virtio *v);
/* Have ops->notify() called for a queue soon. */
void virtio_kick(struct virtio *v, unsigned queue);
/* Interrupt the driver for what was pushed to the queue, if it wants that. */
void virtio_interrupt(struct virtio *v, struct vq *vq);
/*
 * The same in two steps, for those who let the device's lock go in between: decide, with the lock
 * held, and interrupt, which may have to wake a vCPU.
 */
bool virtio_must_interrupt(struct virtio *v, struct vq *vq);
void virtio_pulse(struct virtio *v);
/* The configuration space has changed. */
void virtio_config_changed(struct virtio *v);
/* The driver broke a rule: DEVICE_NEEDS_RESET. */
void virtio_fail(struct virtio *v, const char *why);
/* vq_pop() that turns a violation into virtio_fail(). Return: whether there is a chain. */
bool virtio_pop(struct virtio *v, unsigned queue, struct vq_chain *ret);
void virtio_reset_done(struct virtio *v);

/* ---- devices ---- */

int virtio_console_new(const struct virtio_env *env, const struct console_backend *backend,
		       struct device **ret, struct err *err);
/* Any thread; lock not held. */
void virtio_console_resize(struct device *dev, unsigned cols, unsigned rows);
/* @window: guest address of the window, already made, when config->window_len is not 0 */
int virtio_fs_new(const struct virtio_env *env, const struct vm_fs *config, gpa_t window,
		  struct device **ret, struct err *err);
int virtio_net_new(const struct virtio_env *env, const struct vm_net *config, struct device **ret,
		   struct err *err);
int virtio_rng_new(const struct virtio_env *env, struct device **ret, struct err *err);

#define VIRTIO_ID_VSOCK 19
/* @backend: copied, or NULL: every connection of the guest is refused. */
int virtio_vsock_new(const struct virtio_env *env, const struct vsock_backend *backend,
		     struct device **ret, struct err *err);
/* Connect @fd (a stream; owned by the device also on failure) to a port of the guest. Any thread.
 */
int virtio_vsock_connect(struct device *dev, uint32_t guest_port, int fd, struct err *err);
/* Bytes taken from the guest's stream to @host_port, mod 2^32; 0: there is none. Any thread. */
uint32_t virtio_vsock_received(struct device *dev, uint32_t host_port);

#endif
