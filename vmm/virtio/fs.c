/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-fs: FUSE messages from the guest's queues to a file server, answers back.
 *
 * Theory of operation. Queue 0 is for urgent requests (FORGET), the others for the rest. A
 * notification is served at once on the vCPU thread that made it: the chain is checked, put into a
 * slot and handed to the backend, whose own threads do the work; so a request costs one hand-off
 * there and one interrupt back. While a single request with a small answer is out the vCPU waits
 * for it a moment, with the lock let go. done() comes from a backend's thread, takes the device's
 * lock and returns the chain. Invariants:
 *  1. There is a slot for every descriptor of every queue, so slots never run out.
 *  2. A slot is with the backend, in the free list, or was never used: those have no memory yet.
 *  3. A reset ends when the last slot is back; only then is the backend told to forget.
 * Ref: virtio-v1.2 5.11.
 */
#include "virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/watch.h"
#include "vmm/window.h"

static_assert(FS_WINDOW_CHUNK == WINDOW_CHUNK, "what backends are told");

#define FS_QUEUE_SIZE	256
#define FS_MAX_QUEUES	(VIRTIO_MAX_QUEUES - 1)
#define FS_TAG_LEN	36
#define FS_CONFIG_LEN	(FS_TAG_LEN + 4)
#define QUEUE_HIPRIO	0

/* No message is longer: 1 MiB of data and its header. */
#define FS_MAX_MESSAGE	(1 * MIB + 64 * KIB)

/*
 * What is worth waiting for on the vCPU: most requests, writes among them, have a process waiting.
 * Large answers are mostly read ahead: the guest has better things to do meanwhile.
 */
#define FS_WAIT_OUT_LEN (8 * KIB)
#define FS_WAIT_NS	200000

struct fs;

struct fs_slot {
	struct fs_request req; /* first */
	struct fs *fs;
	unsigned queue;
	struct fs_slot *next; /* guarded by the device's lock */
	struct vq_chain chain;
};

struct fs {
	struct virtio v; /* first; its lock guards all below but n_done */
	struct virtio_ops vops;
	const struct fs_backend *backend;
	char tag[FS_TAG_LEN];
	struct fs_slot *slots, *free; /* those of n_used that are free again */
	unsigned n_slots, n_used;
	unsigned n_out;		 /* slots with the backend */
	struct fs_window window; /* if v.shm_len */
	struct watch watch;
	_Atomic uint32_t n_done; /* counts on when the lock is free again */
};

static void fs_done(struct fs_request *req, size_t used)
{
	struct fs_slot *slot = (struct fs_slot *)(void *)req;
	struct fs *fs = slot->fs;
	struct virtio *v = &fs->v;
	struct vq *vq = &v->vqs[slot->queue];
	bool interrupt;

	pthread_mutex_lock(&v->dev.lock);
	vq_push(vq, &slot->chain, used);
	interrupt = virtio_must_interrupt(v, vq);
	slot->next = fs->free;
	fs->free = slot;
	fs->n_out--;
	if (v->resetting && !fs->n_out) {
		fs->backend->reset(fs->backend->opaque);
		virtio_reset_done(v);
	}
	pthread_mutex_unlock(&v->dev.lock);
	fs->n_done++;
	/* Last, and without the lock: it may have to wake the vCPU, which then wants the device. */
	if (interrupt)
		virtio_pulse(v);
}

struct fs_wait {
	const struct fs *fs;
	uint32_t seen;
};

static bool fs_is_done(const void *arg)
{
	const struct fs_wait *w = arg;

	return atomic_load_explicit(&w->fs->n_done, memory_order_acquire) != w->seen;
}

/*
 * What needs no lock, and must not hold it: waking takes a while and the woken will want it. The
 * guest will most probably halt until its one request is answered: hold its vCPU here for a moment,
 * so that the answer is there when it goes on.
 */
static void fs_let_serve(struct fs *fs, bool wake, uint64_t wait_ns, uint32_t seen)
{
	struct fs_wait wait = { .fs = fs, .seen = seen };
	enum watch_result result = WATCH_MISSED;

	if (!wake && !wait_ns)
		return;
	pthread_mutex_unlock(&fs->v.dev.lock);
	if (wake)
		fs->backend->wake(fs->backend->opaque);
	if (wait_ns)
		result = watch_run(wait_ns, fs_is_done, &wait);
	pthread_mutex_lock(&fs->v.dev.lock);
	if (wait_ns)
		watch_learn(&fs->watch, result);
}

static bool fs_submit(struct fs *fs, struct fs_slot *slot, unsigned queue)
{
	struct vq_chain *c = &slot->chain;

	slot->queue = queue;
	slot->req = (struct fs_request){
		.in = c->iov,
		.n_in = c->n_read,
		.in_len = c->read_len,
		.out = c->iov + c->n_read,
		.n_out = c->n_write,
		.out_len = c->write_len,
		.hiprio = queue == QUEUE_HIPRIO,
		.done = fs_done,
	};
	fs->n_out++;
	return fs->backend->submit(fs->backend->opaque, &slot->req);
}

/* A slot for the next request; it stays where it is until it is submitted. NULL: none. */
static struct fs_slot *next_slot_locked(struct fs *fs)
{
	if (!fs->free && fs->n_used < fs->n_slots) {
		fs->free = &fs->slots[fs->n_used++];
		fs->free->fs = fs;
	}
	return fs->free;
}

/* Hand over what is in a queue. Return: the backend wants to be woken. */
static bool fs_take(struct fs *fs, unsigned queue, size_t *out_len)
{
	struct virtio *v = &fs->v;
	struct fs_slot *slot;
	bool wake = false;

	while ((slot = next_slot_locked(fs)) && virtio_pop(v, queue, &slot->chain)) {
		*out_len += slot->chain.write_len;
		if (slot->chain.read_len > FS_MAX_MESSAGE ||
		    slot->chain.write_len > FS_MAX_MESSAGE) {
			virtio_fail(v, "a message of more than a megabyte");
			break;
		}
		fs->free = slot->next;
		wake |= fs_submit(fs, slot, queue);
	}
	return wake;
}

/* @vcpu: the caller is one, and may be held for a moment. */
static void fs_take_all(struct fs *fs, unsigned queue, bool vcpu)
{
	struct virtio *v = &fs->v;
	struct vq *vq = &v->vqs[queue];
	uint32_t seen = fs->n_done;
	bool wake = false, wait;
	size_t out_len = 0;

	do
		wake |= fs_take(fs, queue, &out_len);
	while (next_slot_locked(fs) && virtio_is_active(v) && vq_enable_notify(vq));
	wait = vcpu && queue != QUEUE_HIPRIO && vq->n_out == 1 && out_len <= FS_WAIT_OUT_LEN;
	fs_let_serve(fs, wake, wait ? watch_budget(&fs->watch) : 0, seen);
}

static void fs_notify(struct virtio *v, unsigned queue)
{
	fs_take_all((struct fs *)v, queue, false);
}

static void fs_notify_at_once(struct virtio *v, unsigned queue)
{
	fs_take_all((struct fs *)v, queue, true);
}

static bool fs_reset(struct virtio *v)
{
	struct fs *fs = (struct fs *)v;

	if (fs->n_out)
		return false;
	fs->backend->reset(fs->backend->opaque);
	return true;
}

static void fs_config(struct virtio *v, uint8_t *buf)
{
	struct fs *fs = (struct fs *)v;

	memcpy(buf, fs->tag, FS_TAG_LEN);
	le32_store(buf + FS_TAG_LEN, fs->vops.n_queues - 1);
}

static int fs_post_load(void *obj, struct err *err)
{
	return virtio_post_load(obj, err);
}

static const struct state_desc fs_state = {
	.name = "virtio-fs",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_SUB(struct fs, v, &virtio_state, 1, 1),
			{ .type = STATE_END },
		},
	.post_load = fs_post_load,
};

static void fs_quiesce(struct device *dev)
{
	struct fs *fs = (struct fs *)dev;

	if (fs->backend->quiesce)
		fs->backend->quiesce(fs->backend->opaque);
}

static void fs_resume(struct device *dev)
{
	struct fs *fs = (struct fs *)dev;

	if (fs->backend->resume)
		fs->backend->resume(fs->backend->opaque);
}

static void fs_free(struct device *dev)
{
	struct fs *fs = (struct fs *)dev;

	virtio_done(&fs->v);
	free(fs->slots);
	free(fs);
}

static const struct device_ops fs_ops = {
	.name = "virtio-fs",
	.read = virtio_mmio_read,
	.write = virtio_mmio_write,
	.reset = virtio_mmio_reset,
	.quiesce = fs_quiesce,
	.resume = fs_resume,
	.state = &fs_state,
	.free = fs_free,
};

static const struct virtio_ops fs_vops = {
	.id = VIRTIO_ID_FS,
	.features = VIRTIO_F_COMMON,
	.queue_max = FS_QUEUE_SIZE,
	.config_len = FS_CONFIG_LEN,
	.notify = fs_notify,
	.notify_at_once = fs_notify_at_once,
	.reset = fs_reset,
	.config = fs_config,
};

/* ---- window ---- */

static int fs_window_map(void *opaque, uint64_t off, int fd, uint64_t file_off, uint64_t len,
			 bool writable)
{
	const struct virtio *v = opaque;

	return window_map(v->env.mem, v->shm_gpa, off, fd, file_off, len, writable);
}

static int fs_window_unmap(void *opaque, uint64_t off, uint64_t len)
{
	const struct virtio *v = opaque;

	return window_unmap(v->env.mem, v->shm_gpa, off, len);
}

static void window_make(struct fs *fs, gpa_t gpa, uint64_t len)
{
	fs->v.shm_gpa = gpa;
	fs->v.shm_len = len;
	fs->window = (struct fs_window){ .opaque = &fs->v,
					 .map = fs_window_map,
					 .unmap = fs_window_unmap };
	fs->backend->set_window(fs->backend->opaque, &fs->window);
}

/* ---- life ---- */

static int slots_make(struct fs *fs)
{
	fs->n_slots = FS_QUEUE_SIZE * fs->vops.n_queues;
	fs->slots = calloc(fs->n_slots, sizeof(*fs->slots));
	return fs->slots ? 0 : -ENOMEM;
}

int virtio_fs_new(const struct virtio_env *env, const struct vm_fs *config, gpa_t window,
		  struct device **ret, struct err *err)
{
	unsigned n_queues = config->n_queues ? config->n_queues : 1;
	size_t len = config->tag ? strlen(config->tag) : 0;
	struct fs *fs;
	int r;

	if (len == 0 || len > FS_TAG_LEN)
		return err_set(err, -EINVAL, "virtio-fs tag '%s': 1 to %d bytes are possible",
			       config->tag ? config->tag : "", FS_TAG_LEN);
	if (n_queues > FS_MAX_QUEUES)
		return err_set(err, -EINVAL, "virtio-fs: %u request queues, at most %d", n_queues,
			       FS_MAX_QUEUES);
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return err_set(err, -ENOMEM, "no memory for virtio-fs");
	fs->vops = fs_vops;
	fs->vops.n_queues = 1 + n_queues;
	fs->backend = config->backend;
	memcpy(fs->tag, config->tag, len);
	watch_init(&fs->watch, FS_WAIT_NS);
	r = virtio_init(&fs->v, &fs_ops, &fs->vops, env);
	if (r == 0)
		r = slots_make(fs);
	if (r < 0) {
		device_free(&fs->v.dev);
		return err_errno(err, -r, "attach virtio-fs");
	}
	if (config->window_len)
		window_make(fs, window, config->window_len);
	*ret = &fs->v.dev;
	return 0;
}
