/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues against a hostile driver. */
#include "virtio/queue.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

#define DESC_SIZE	   16
#define DESC_F_NEXT	   1
#define DESC_F_WRITE	   2
#define DESC_F_INDIRECT	   4

#define AVAIL_FLAGS	   0
#define AVAIL_IDX	   2
#define AVAIL_RING	   4
#define AVAIL_NO_INTERRUPT 1

#define USED_FLAGS	   0
#define USED_IDX	   2
#define USED_RING	   4
#define USED_ELEM	   8
#define USED_NO_NOTIFY	   1

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* A table being walked: the ring's own or an indirect one. */
struct table {
	const uint8_t *p;
	unsigned n;
};

static const struct state_field vq_fields[] = {
	STATE_FIELD(struct vq, size, STATE_U16, 1),
	STATE_FIELD(struct vq, ready, STATE_BOOL, 1),
	STATE_FIELD(struct vq, desc_gpa, STATE_U64, 1),
	STATE_FIELD(struct vq, avail_gpa, STATE_U64, 1),
	STATE_FIELD(struct vq, used_gpa, STATE_U64, 1),
	STATE_FIELD(struct vq, next_avail, STATE_U16, 1),
	STATE_FIELD(struct vq, next_used, STATE_U16, 1),
	STATE_FIELD(struct vq, signalled, STATE_U16, 1),
	STATE_FIELD(struct vq, signalled_valid, STATE_BOOL, 1),
	{ .type = STATE_END },
};

const struct state_desc vq_state = {
	.name = "virtqueue",
	.version = 1,
	.min_version = 1,
	.fields = vq_fields,
};

/* The guest may write at any time: one access each, never torn. */
static uint16_t load16(const uint8_t *p)
{
	return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

static void store16(struct vq *vq, uint8_t *p, gpa_t gpa, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, v, __ATOMIC_RELEASE);
	gmem_written(vq->mem, gpa, sizeof(v));
}

static uint8_t *used_event_ptr(const struct vq *vq)
{
	return vq->avail + AVAIL_RING + 2 * (size_t)vq->size;
}

static size_t avail_event_off(const struct vq *vq)
{
	return USED_RING + USED_ELEM * (size_t)vq->size;
}

void vq_reset(struct vq *vq)
{
	*vq = (struct vq){ 0 };
}

static void *ring_ptr(struct gmem *mem, gpa_t gpa, uint64_t len, unsigned align)
{
	const struct gmem_region *r = gmem_region_find(mem, gpa, len);

	if (!IS_ALIGNED(gpa, align) || !r || r->kind != GMEM_RAM)
		return NULL;
	return r->hva + (gpa - r->gpa);
}

int vq_activate(struct vq *vq, struct gmem *mem, bool event_idx)
{
	if (vq->size == 0 || vq->size > VQ_MAX_SIZE || (vq->size & (vq->size - 1)))
		return -EINVAL;
	if (!IS_ALIGNED(vq->desc_gpa, 16) || !IS_ALIGNED(vq->avail_gpa, 2) ||
	    !IS_ALIGNED(vq->used_gpa, 4))
		return -EINVAL;
	vq->desc = ring_ptr(mem, vq->desc_gpa, DESC_SIZE * (uint64_t)vq->size, 16);
	vq->avail = ring_ptr(mem, vq->avail_gpa, AVAIL_RING + 2 * (uint64_t)vq->size + 2, 2);
	vq->used = ring_ptr(mem, vq->used_gpa, avail_event_off(vq) + 2, 4);
	if (!vq->desc || !vq->avail || !vq->used)
		return -EFAULT;
	vq->mem = mem;
	vq->event_idx = event_idx;
	vq->n_out = 0;
	vq->broken = false;
	vq->active = true;
	return 0;
}

static int broken(struct vq *vq, struct err *err, const char *what)
{
	vq->broken = true;
	return err_set(err, -EPROTO, "%s", what);
}

static struct desc desc_load(const struct table *t, unsigned i)
{
	struct desc d;

	/* One copy; the guest may change its own afterwards. */
	memcpy(&d, t->p + (size_t)i * DESC_SIZE, sizeof(d));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return d;
}

/* Add one data descriptor. Returns NULL or what is wrong. */
static const char *add_segment(struct vq *vq, struct vq_chain *c, const struct desc *d)
{
	unsigned n = c->n_read + c->n_write;
	void *p;

	if (n == VQ_MAX_SIZE)
		return "descriptor chain too long";
	if (d->len == 0)
		return "descriptor of length 0";
	p = gmem_ptr(vq->mem, d->addr, d->len);
	if (!p)
		return "descriptor outside guest memory";
	if (!(d->flags & DESC_F_WRITE) && c->n_write)
		return "readable descriptor behind a writable one";
	c->iov[n] = (struct iovec){ .iov_base = p, .iov_len = d->len };
	c->gpa[n] = d->addr;
	if (d->flags & DESC_F_WRITE) {
		c->n_write++;
		c->write_len += d->len;
	} else {
		c->n_read++;
		c->read_len += d->len;
	}
	return NULL;
}

static const char *enter_indirect(struct vq *vq, const struct desc *d, struct table *ret)
{
	if (d->flags & DESC_F_NEXT)
		return "indirect descriptor with a next one";
	if (d->len == 0 || d->len % DESC_SIZE || d->len / DESC_SIZE > vq->size)
		return "indirect table of a bad length";
	ret->p = gmem_ptr(vq->mem, d->addr, d->len);
	ret->n = d->len / DESC_SIZE;
	return ret->p ? NULL : "indirect table outside guest memory";
}

/* Returns NULL or what is wrong. */
static const char *walk(struct vq *vq, struct vq_chain *c)
{
	struct table t = { .p = vq->desc, .n = vq->size };
	bool indirect = false;
	unsigned i = c->head;

	for (unsigned n = 0; n <= vq->size; n++) {
		struct desc d = desc_load(&t, i);
		const char *wrong;

		if (d.flags & DESC_F_INDIRECT) {
			wrong = indirect ? "indirect table inside another"
					 : enter_indirect(vq, &d, &t);
			if (wrong)
				return wrong;
			indirect = true;
			i = 0;
			continue;
		}
		wrong = add_segment(vq, c, &d);
		if (wrong || !(d.flags & DESC_F_NEXT))
			return wrong;
		i = d.next;
		if (i >= t.n)
			return "descriptor index out of range";
	}
	return "descriptor chain with a loop";
}

int vq_pop(struct vq *vq, struct vq_chain *ret, struct err *err)
{
	const char *wrong;
	uint16_t avail, head;

	if (!vq->active || vq->broken)
		return 0;
	avail = (uint16_t)(load16(vq->avail + AVAIL_IDX) - vq->next_avail);
	if (avail == 0)
		return 0;
	if (avail > vq->size)
		return broken(vq, err, "available index too far ahead");
	if (vq->n_out >= vq->size)
		return broken(vq, err, "more requests than descriptors");
	head = load16(vq->avail + AVAIL_RING + 2 * (size_t)(vq->next_avail & (vq->size - 1)));
	if (head >= vq->size)
		return broken(vq, err, "head index out of range");
	ret->head = head;
	ret->n_read = ret->n_write = 0;
	ret->read_len = ret->write_len = 0;
	wrong = walk(vq, ret);
	if (wrong)
		return broken(vq, err, wrong);
	vq->next_avail++;
	vq->n_out++;
	return 1;
}

/* Account for what the device wrote into the chain. */
static void account_written(struct vq *vq, const struct vq_chain *c, size_t used)
{
	for (unsigned i = c->n_read; used && i < c->n_read + c->n_write; i++) {
		size_t n = MIN(used, c->iov[i].iov_len);

		gmem_written(vq->mem, c->gpa[i], n);
		used -= n;
	}
}

void vq_put(struct vq *vq, const struct vq_chain *chain, size_t used)
{
	size_t off = USED_RING + USED_ELEM * (size_t)(vq->next_used & (vq->size - 1));

	if (!vq->active)
		return;
	used = MIN(used, chain->write_len);
	account_written(vq, chain, used);
	le32_store(vq->used + off, chain->head);
	le32_store(vq->used + off + 4, (uint32_t)used);
	gmem_written(vq->mem, vq->used_gpa + off, USED_ELEM);
	vq->next_used++;
	vq->n_out--;
}

void vq_publish(struct vq *vq)
{
	if (vq->active)
		store16(vq, vq->used + USED_IDX, vq->used_gpa + USED_IDX, vq->next_used);
}

void vq_push(struct vq *vq, const struct vq_chain *chain, size_t used)
{
	vq_put(vq, chain, used);
	vq_publish(vq);
}

void vq_unpop(struct vq *vq, unsigned n)
{
	vq->next_avail = (uint16_t)(vq->next_avail - n);
	vq->n_out = (uint16_t)(vq->n_out - n);
}

bool vq_should_interrupt(struct vq *vq)
{
	uint16_t old = vq->signalled, now = vq->next_used, event;
	bool valid = vq->signalled_valid;

	if (!vq->active)
		return false;
	/* The used index must be seen before we look at what the driver wants. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!vq->event_idx)
		return !(load16(vq->avail + AVAIL_FLAGS) & AVAIL_NO_INTERRUPT);
	vq->signalled = now;
	vq->signalled_valid = true;
	event = load16(used_event_ptr(vq));
	return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

void vq_disable_notify(struct vq *vq)
{
	if (vq->active && !vq->event_idx)
		store16(vq, vq->used + USED_FLAGS, vq->used_gpa + USED_FLAGS, USED_NO_NOTIFY);
}

bool vq_enable_notify(struct vq *vq)
{
	size_t off = avail_event_off(vq);

	if (!vq->active || vq->broken)
		return false;
	if (vq->event_idx)
		store16(vq, vq->used + off, vq->used_gpa + off, vq->next_avail);
	else
		store16(vq, vq->used + USED_FLAGS, vq->used_gpa + USED_FLAGS, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(vq->avail + AVAIL_IDX) != vq->next_avail;
}

static size_t copy(const struct iovec *iov, unsigned n, size_t off, uint8_t *buf, size_t len,
		   bool to_guest)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		part = MIN(iov[i].iov_len - off, len - done);
		if (to_guest)
			memcpy((uint8_t *)iov[i].iov_base + off, buf + done, part);
		else
			memcpy(buf + done, (const uint8_t *)iov[i].iov_base + off, part);
		done += part;
		off = 0;
	}
	return done;
}

size_t vq_chain_read(const struct vq_chain *chain, size_t off, void *buf, size_t len)
{
	return copy(chain->iov, chain->n_read, off, buf, len, false);
}

size_t vq_chain_write(const struct vq_chain *chain, size_t off, const void *buf, size_t len)
{
	return copy(chain->iov + chain->n_read, chain->n_write, off, (uint8_t *)(uintptr_t)buf, len,
		    true);
}
