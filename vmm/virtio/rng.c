/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng: the host's random numbers.
 * Ref: virtio-v1.2 5.4.
 */
#include "virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/checked.h"

#define REQUEST_MAX  (64 * KIB) /* bytes given to one request */
#define BUDGET	     8		/* requests served before others get a turn */
#define GETRANDOM_AT 256	/* bytes getrandom() never cuts short */

struct rng {
	struct virtio v; /* first */
	struct vq_chain chain;
};

static size_t fill(const struct vq_chain *chain)
{
	uint8_t buf[GETRANDOM_AT];
	size_t want = MIN(chain->write_len, (size_t)REQUEST_MAX), done = 0;

	while (done < want) {
		size_t n = MIN(want - done, sizeof(buf));

		if (getrandom(buf, n, 0) != (ssize_t)n)
			break;
		done += vq_chain_write(chain, done, buf, n);
	}
	return done;
}

static void rng_notify(struct virtio *v, unsigned queue)
{
	struct rng *rng = (struct rng *)v;
	struct vq *vq = &v->vqs[queue];
	unsigned n = 0;

	do {
		vq_disable_notify(vq);
		for (; n < BUDGET && virtio_pop(v, queue, &rng->chain); n++)
			vq_push(vq, &rng->chain, fill(&rng->chain));
	} while (vq_enable_notify(vq) && n < BUDGET);
	if (n == BUDGET)
		virtio_kick(v, queue);
	if (n)
		virtio_interrupt(v, vq);
}

static const struct virtio_ops rng_vops = {
	.id = VIRTIO_ID_RNG,
	.features = VIRTIO_F_COMMON,
	.n_queues = 1,
	.queue_max = 64,
	.notify = rng_notify,
};

static int rng_post_load(void *obj, struct err *err)
{
	return virtio_post_load(obj, err);
}

static const struct state_desc rng_state = {
	.name = "virtio-rng",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_SUB(struct rng, v, &virtio_state, 1, 1),
			{ .type = STATE_END },
		},
	.post_load = rng_post_load,
};

static void rng_free(struct device *dev)
{
	virtio_done((struct virtio *)dev);
	free(dev);
}

static const struct device_ops rng_ops = {
	.name = "virtio-rng",
	.read = virtio_mmio_read,
	.write = virtio_mmio_write,
	.reset = virtio_mmio_reset,
	.state = &rng_state,
	.free = rng_free,
};

int virtio_rng_new(const struct virtio_env *env, struct device **ret, struct err *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));
	int r;

	if (!rng)
		return err_set(err, -ENOMEM, "no memory for virtio-rng");
	r = virtio_init(&rng->v, &rng_ops, &rng_vops, env);
	if (r < 0) {
		device_free(&rng->v.dev);
		return err_errno(err, -r, "attach virtio-rng");
	}
	*ret = &rng->v.dev;
	return 0;
}
