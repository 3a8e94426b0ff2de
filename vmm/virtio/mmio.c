/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mmio transport, version 2. */
#include "virtio/virtio.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

enum {
	REG_MAGIC = 0x000,
	REG_VERSION = 0x004,
	REG_DEVICE_ID = 0x008,
	REG_VENDOR_ID = 0x00c,
	REG_DEVICE_FEATURES = 0x010,
	REG_DEVICE_FEATURES_SEL = 0x014,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030,
	REG_QUEUE_NUM_MAX = 0x034,
	REG_QUEUE_NUM = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC_LOW = 0x080,
	REG_QUEUE_DESC_HIGH = 0x084,
	REG_QUEUE_DRIVER_LOW = 0x090,
	REG_QUEUE_DRIVER_HIGH = 0x094,
	REG_QUEUE_DEVICE_LOW = 0x0a0,
	REG_QUEUE_DEVICE_HIGH = 0x0a4,
	REG_SHM_SEL = 0x0ac,
	REG_SHM_LEN_LOW = 0x0b0,
	REG_SHM_LEN_HIGH = 0x0b4,
	REG_SHM_BASE_LOW = 0x0b8,
	REG_SHM_BASE_HIGH = 0x0bc,
	REG_CONFIG_GENERATION = 0x0fc,
	REG_CONFIG = 0x100,
};

#define MAGIC		   0x74726976U /* "virt" */
#define VERSION		   2U
#define VENDOR_ID	   0x4b535548U /* "HUSK" */

#define STATUS_ACKNOWLEDGE 0x01U
#define STATUS_DRIVER	   0x02U
#define STATUS_DRIVER_OK   0x04U
#define STATUS_FEATURES_OK 0x08U
#define STATUS_NEEDS_RESET 0x40U
#define STATUS_FAILED	   0x80U

#define ISR_QUEUE	   0x1U
#define ISR_CONFIG	   0x2U

#define CONFIG_MAX	   64

bool virtio_is_active(const struct virtio *v)
{
	return (v->status & STATUS_DRIVER_OK) && !(v->status & STATUS_NEEDS_RESET);
}

void virtio_pulse(struct virtio *v)
{
	pthread_mutex_lock(&v->irq_lock);
	irq_pulse(&v->env.irq);
	pthread_mutex_unlock(&v->irq_lock);
}

static void interrupt(struct virtio *v, uint32_t why)
{
	v->isr |= why;
	virtio_pulse(v);
}

bool virtio_must_interrupt(struct virtio *v, struct vq *vq)
{
	if (!vq_should_interrupt(vq))
		return false;
	v->isr |= ISR_QUEUE;
	return true;
}

void virtio_interrupt(struct virtio *v, struct vq *vq)
{
	if (virtio_must_interrupt(v, vq))
		virtio_pulse(v);
}

void virtio_config_changed(struct virtio *v)
{
	v->config_gen++;
	if (v->status & STATUS_DRIVER_OK)
		interrupt(v, ISR_CONFIG);
}

void virtio_fail(struct virtio *v, const char *why)
{
	device_fail(&v->dev, "%s", why);
	if (v->status & STATUS_NEEDS_RESET)
		return;
	v->status |= STATUS_NEEDS_RESET;
	if (v->status & STATUS_DRIVER_OK)
		interrupt(v, ISR_CONFIG);
}

bool virtio_pop(struct virtio *v, unsigned queue, struct vq_chain *ret)
{
	struct err err = { 0 };
	int r = vq_pop(&v->vqs[queue], ret, &err);

	if (r < 0)
		virtio_fail(v, err.msg);
	return r > 0;
}

void virtio_kick(struct virtio *v, unsigned queue)
{
	v->kicked |= 1U << queue;
	loop_event_set(&v->kick);
}

static void on_kick(void *opaque)
{
	struct virtio *v = opaque;
	uint32_t kicked;

	pthread_mutex_lock(&v->dev.lock);
	kicked = v->kicked | v->kicked_outside;
	v->kicked = 0;
	for (unsigned i = 0; i < v->vops->n_queues; i++) {
		if ((kicked & (1U << i)) && virtio_is_active(v) && v->vqs[i].active)
			v->vops->notify(v, i);
	}
	pthread_mutex_unlock(&v->dev.lock);
}

bool virtio_notify_event(struct virtio *v, unsigned queue, gpa_t window, struct hv_ioevent *ret,
			 int *ret_fd)
{
	if (v->vops->notify_at_once || queue >= v->vops->n_queues)
		return false;
	*ret = (struct hv_ioevent){ .gpa = window + REG_QUEUE_NOTIFY, .value = queue, .size = 4 };
	*ret_fd = v->kick.fd;
	return true;
}

void virtio_notified_outside(struct virtio *v, unsigned queue)
{
	v->kicked_outside |= 1U << queue;
}

/* ---- status ---- */

static void forget(struct virtio *v)
{
	v->status = v->isr = v->kicked = 0;
	v->features_sel = v->driver_features_sel = v->queue_sel = 0;
	v->driver_features = 0;
	v->shm_sel = 0;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		vq_reset(&v->vqs[i]);
}

void virtio_reset_done(struct virtio *v)
{
	v->resetting = false;
	forget(v);
}

static void reset(struct virtio *v)
{
	bool done;

	if (v->resetting)
		return;
	/* Nothing new is taken up from here on. */
	v->status |= STATUS_NEEDS_RESET;
	done = !v->vops->reset || v->vops->reset(v);
	v->resetting = !done;
	if (done)
		forget(v);
}

void virtio_mmio_reset(struct device *dev)
{
	reset((struct virtio *)dev);
}

static bool features_ok(const struct virtio *v)
{
	return !(v->driver_features & ~v->vops->features) &&
	       (v->driver_features & VIRTIO_F_VERSION_1);
}

static int activate_queues(struct virtio *v)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < v->vops->n_queues; i++) {
		if (v->vqs[i].ready)
			r = vq_activate(&v->vqs[i], v->env.mem, virtio_has(v, VIRTIO_F_EVENT_IDX));
	}
	return r;
}

static void activate(struct virtio *v)
{
	if (activate_queues(v) < 0) {
		virtio_fail(v, "queue addresses or sizes out of range");
		return;
	}
	if (v->vops->activate)
		v->vops->activate(v);
}

static void write_status(struct virtio *v, uint32_t val)
{
	uint32_t known = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK |
			 STATUS_FEATURES_OK | STATUS_FAILED;
	uint32_t old = v->status & ~STATUS_NEEDS_RESET;
	uint32_t added;

	if (val == 0) {
		reset(v);
		return;
	}
	if (v->resetting)
		return;
	val &= known;
	added = val & ~old;
	if ((val & old) != old || ((added & STATUS_DRIVER) && !(val & STATUS_ACKNOWLEDGE)) ||
	    ((added & STATUS_FEATURES_OK) && !(val & STATUS_DRIVER)) ||
	    ((added & STATUS_DRIVER_OK) && !(old & STATUS_FEATURES_OK))) {
		device_fail(&v->dev, "status %#x after %#x", val, old);
		return;
	}
	if ((added & STATUS_FEATURES_OK) && !features_ok(v)) {
		device_fail(&v->dev, "features %#llx were not offered",
			    (unsigned long long)v->driver_features);
		val &= ~STATUS_FEATURES_OK;
	}
	v->status = (v->status & STATUS_NEEDS_RESET) | val;
	if (added & STATUS_DRIVER_OK)
		activate(v);
}

/* ---- registers ---- */

static struct vq *selected(struct virtio *v)
{
	return v->queue_sel < v->vops->n_queues ? &v->vqs[v->queue_sel] : NULL;
}

/* Length and base of all ones: there is no such region. */
static uint32_t read_shm(const struct virtio *v, uint64_t off)
{
	bool there = v->shm_sel == 0 && v->shm_len;

	switch (off) {
	case REG_SHM_LEN_LOW: return there ? (uint32_t)v->shm_len : UINT32_MAX;
	case REG_SHM_LEN_HIGH: return there ? (uint32_t)(v->shm_len >> 32) : UINT32_MAX;
	case REG_SHM_BASE_LOW: return there ? (uint32_t)v->shm_gpa : UINT32_MAX;
	default: return there ? (uint32_t)(v->shm_gpa >> 32) : UINT32_MAX;
	}
}

static uint32_t read_reg(struct virtio *v, uint64_t off)
{
	struct vq *vq = selected(v);

	switch (off) {
	case REG_MAGIC: return MAGIC;
	case REG_VERSION: return VERSION;
	case REG_DEVICE_ID: return v->vops->id;
	case REG_VENDOR_ID: return VENDOR_ID;
	case REG_DEVICE_FEATURES:
		return v->features_sel < 2 ? (uint32_t)(v->vops->features >> 32 * v->features_sel)
					   : 0;
	case REG_QUEUE_NUM_MAX: return vq ? v->vops->queue_max : 0;
	case REG_QUEUE_READY: return vq && vq->ready;
	case REG_INTERRUPT_STATUS: return v->isr;
	case REG_STATUS: return v->status;
	case REG_CONFIG_GENERATION: return v->config_gen;
	case REG_SHM_LEN_LOW:
	case REG_SHM_LEN_HIGH:
	case REG_SHM_BASE_LOW:
	case REG_SHM_BASE_HIGH: return read_shm(v, off);
	default: return 0;
	}
}

static void read_config(struct virtio *v, uint64_t off, unsigned size, uint64_t *ret_val)
{
	uint8_t buf[CONFIG_MAX] = { 0 };
	uint8_t out[8] = { 0 };

	*ret_val = 0;
	if (off >= v->vops->config_len || size > v->vops->config_len - off)
		return;
	if (v->vops->config)
		v->vops->config(v, buf);
	memcpy(out, buf + off, size);
	*ret_val = le64_load(out);
}

void virtio_mmio_read(struct device *dev, uint64_t off, unsigned size, uint64_t *ret_val)
{
	struct virtio *v = (struct virtio *)dev;

	if (off >= REG_CONFIG) {
		read_config(v, off - REG_CONFIG, size, ret_val);
	} else if (size == 4 && IS_ALIGNED(off, 4)) {
		*ret_val = read_reg(v, off);
	} else {
		*ret_val = 0;
		device_fail(dev, "read of %u bytes at %#x", size, (unsigned)off);
	}
}

static void write_driver_features(struct virtio *v, uint32_t val)
{
	unsigned shift = 32 * v->driver_features_sel;

	if (v->driver_features_sel > 1 || !(v->status & STATUS_DRIVER) ||
	    (v->status & STATUS_FEATURES_OK)) {
		device_fail(&v->dev, "features written in status %#x", v->status);
		return;
	}
	v->driver_features &= ~((uint64_t)UINT32_MAX << shift);
	v->driver_features |= (uint64_t)val << shift;
}

static void set_half(uint64_t *addr, bool high, uint32_t val)
{
	if (high)
		*addr = (*addr & UINT32_MAX) | (uint64_t)val << 32;
	else
		*addr = (*addr & ~(uint64_t)UINT32_MAX) | val;
}

/* Queue fields: only between FEATURES_OK and DRIVER_OK. */
static void write_queue(struct virtio *v, uint64_t off, uint32_t val)
{
	struct vq *vq = selected(v);
	uint32_t phase = v->status & (STATUS_FEATURES_OK | STATUS_DRIVER_OK | STATUS_NEEDS_RESET);

	if (!vq || phase != STATUS_FEATURES_OK) {
		/* Linux clears QueueReady when it removes a device it has reset: no fault. */
		if (vq && off != REG_QUEUE_READY)
			device_fail(&v->dev, "queue %u changed in status %#x", v->queue_sel,
				    v->status);
		return;
	}
	switch (off) {
	case REG_QUEUE_NUM:
		if (val == 0 || val > v->vops->queue_max || (val & (val - 1)))
			device_fail(&v->dev, "queue size %u", val);
		else
			vq->size = (uint16_t)val;
		break;
	case REG_QUEUE_READY: vq->ready = val & 1; break;
	case REG_QUEUE_DESC_LOW: set_half(&vq->desc_gpa, false, val); break;
	case REG_QUEUE_DESC_HIGH: set_half(&vq->desc_gpa, true, val); break;
	case REG_QUEUE_DRIVER_LOW: set_half(&vq->avail_gpa, false, val); break;
	case REG_QUEUE_DRIVER_HIGH: set_half(&vq->avail_gpa, true, val); break;
	case REG_QUEUE_DEVICE_LOW: set_half(&vq->used_gpa, false, val); break;
	case REG_QUEUE_DEVICE_HIGH: set_half(&vq->used_gpa, true, val); break;
	default: break;
	}
}

static void notify(struct virtio *v, unsigned queue)
{
	if (v->vops->notify_at_once)
		v->vops->notify_at_once(v, queue);
	else
		virtio_kick(v, queue);
}

static void write_notify(struct virtio *v, uint32_t val)
{
	if (virtio_is_active(v) && val < v->vops->n_queues && v->vqs[val].active)
		notify(v, val);
	else
		device_fail(&v->dev, "notification of queue %u in status %#x", val, v->status);
}

static void write_reg(struct virtio *v, uint64_t off, uint32_t val)
{
	switch (off) {
	case REG_DEVICE_FEATURES_SEL: v->features_sel = val; break;
	case REG_DRIVER_FEATURES: write_driver_features(v, val); break;
	case REG_DRIVER_FEATURES_SEL: v->driver_features_sel = val; break;
	case REG_QUEUE_SEL: v->queue_sel = val; break;
	case REG_QUEUE_NOTIFY: write_notify(v, val); break;
	case REG_SHM_SEL: v->shm_sel = val; break;
	case REG_INTERRUPT_ACK: v->isr &= ~val; break;
	case REG_STATUS: write_status(v, val); break;
	default: write_queue(v, off, val); break;
	}
}

void virtio_mmio_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct virtio *v = (struct virtio *)dev;

	if (off >= REG_CONFIG || size != 4 || !IS_ALIGNED(off, 4))
		device_fail(dev, "write of %u bytes at %#x", size, (unsigned)off);
	else
		write_reg(v, off, (uint32_t)val);
}

/* ---- life ---- */

int virtio_init(struct virtio *v, const struct device_ops *ops, const struct virtio_ops *vops,
		const struct virtio_env *env)
{
	device_init(&v->dev, ops);
	v->vops = vops;
	v->env = *env;
	pthread_mutex_init(&v->irq_lock, NULL);
	return loop_event_init(env->loop, &v->kick, on_kick, v);
}

void virtio_done(struct virtio *v)
{
	loop_event_done(&v->kick);
	pthread_mutex_destroy(&v->irq_lock);
}

#define F(member, type) STATE_FIELD(struct virtio, member, type, 1)

const struct state_desc virtio_state = {
	.name = "virtio",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			F(status, STATE_U32),
			F(isr, STATE_U32),
			F(features_sel, STATE_U32),
			F(driver_features_sel, STATE_U32),
			F(queue_sel, STATE_U32),
			F(driver_features, STATE_U64),
			F(config_gen, STATE_U32),
			STATE_SUB(struct virtio, vqs, &vq_state, VIRTIO_MAX_QUEUES, 1),
			{ .type = STATE_END },
		},
};

int virtio_post_load(struct virtio *v, struct err *err)
{
	if (v->driver_features & ~v->vops->features)
		return err_set(err, -EBADMSG, "%s: features %#llx are not offered",
			       v->dev.ops->name, (unsigned long long)v->driver_features);
	v->resetting = false;
	if (!virtio_is_active(v))
		return 0;
	if (activate_queues(v) < 0)
		return err_set(err, -EBADMSG, "%s: queues out of range", v->dev.ops->name);
	/* A notification may have been on its way when the state was saved. */
	for (unsigned i = 0; i < v->vops->n_queues; i++)
		virtio_kick(v, i);
	return 0;
}
