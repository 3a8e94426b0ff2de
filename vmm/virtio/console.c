/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console with one port.
 *
 * Theory of operation. Bytes from the guest move to an output ring as far as it has room; a request
 * that did not fit whole waits, and with it the queue, until the ring drains. Bytes from the host
 * are read into a small buffer only while it is empty, and given to the guest when it offers room:
 * neither direction loses or hoards. Ref: virtio-v1.2 5.3.
 */
#include "virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/charout.h"

#define QUEUE_RX   0
#define QUEUE_TX   1

#define F_SIZE	   (1ULL << 0)
#define CONFIG_LEN 12
#define RX_SIZE	   4096
#define TX_COPY	   4096
#define BUDGET	   32
#define STALL_MS   1000

struct console {
	struct virtio v; /* first */
	uint16_t cols, rows;
	uint8_t rx[RX_SIZE];
	uint32_t rx_head, rx_count;

	struct charout out;
	bool tx_waits; /* tx_chain is held, tx_done bytes of it are out */
	size_t tx_done;
	struct vq_chain tx_chain, rx_chain;

	int in_fd;
	bool in_ended;
	struct loop_watch in_watch;
};

/* ---- from the guest ---- */

/* Move the held request's bytes to the ring. Returns whether it is finished. */
static bool tx_move(struct console *c)
{
	uint8_t buf[TX_COPY];

	while (c->tx_done < c->tx_chain.read_len) {
		size_t want = MIN(sizeof(buf), charout_room(&c->out));
		size_t n;

		if (want == 0)
			return false;
		n = vq_chain_read(&c->tx_chain, (size_t)c->tx_done, buf, want);
		c->tx_done += charout_put(&c->out, buf, n);
	}
	return true;
}

static void tx_run(struct console *c)
{
	struct vq *vq = &c->v.vqs[QUEUE_TX];
	unsigned n = 0;

	do {
		vq_disable_notify(vq);
		while (n < BUDGET) {
			if (!c->tx_waits && !virtio_pop(&c->v, QUEUE_TX, &c->tx_chain))
				break;
			c->tx_waits = !tx_move(c);
			if (c->tx_waits)
				break; /* on_room() goes on */
			c->tx_done = 0;
			vq_push(vq, &c->tx_chain, 0);
			n++;
		}
	} while (!c->tx_waits && n < BUDGET && vq_enable_notify(vq));
	if (n == BUDGET)
		virtio_kick(&c->v, QUEUE_TX);
	if (n)
		virtio_interrupt(&c->v, vq);
}

/* The ring has room again (lock held). */
static void on_room(void *opaque)
{
	struct console *c = opaque;

	if (virtio_is_active(&c->v))
		virtio_kick(&c->v, QUEUE_TX);
}

/* ---- to the guest ---- */

static void on_input(void *opaque, uint32_t events);

/* Watch the host's side exactly while the buffer is empty and a driver is there. */
static void rx_watch(struct console *c)
{
	bool want = c->in_fd >= 0 && !c->in_ended && c->rx_count == 0 && virtio_is_active(&c->v);

	if (want && !c->in_watch.loop)
		(void)loop_watch_add(c->v.env.loop, &c->in_watch, c->in_fd, EPOLLIN, on_input, c);
	else if (!want)
		loop_watch_remove(&c->in_watch);
}

static void rx_run(struct console *c)
{
	struct vq *vq = &c->v.vqs[QUEUE_RX];
	bool pushed = false;

	while (c->rx_count && virtio_pop(&c->v, QUEUE_RX, &c->rx_chain)) {
		size_t n = vq_chain_write(&c->rx_chain, 0, c->rx + c->rx_head, c->rx_count);

		c->rx_head += (uint32_t)n;
		c->rx_count -= (uint32_t)n;
		vq_push(vq, &c->rx_chain, n);
		pushed = true;
		if (n == 0)
			break;
	}
	if (c->rx_count && vq_enable_notify(vq))
		virtio_kick(&c->v, QUEUE_RX);
	if (pushed)
		virtio_interrupt(&c->v, vq);
	rx_watch(c);
}

static void on_input(void *opaque, uint32_t events)
{
	struct console *c = opaque;
	ssize_t n;

	pthread_mutex_lock(&c->v.dev.lock);
	if (c->rx_count == 0 && virtio_is_active(&c->v)) {
		n = read(c->in_fd, c->rx, sizeof(c->rx));
		if (n > 0) {
			c->rx_head = 0;
			c->rx_count = (uint32_t)n;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			c->in_ended = true;
		}
		rx_run(c);
	} else {
		rx_watch(c);
	}
	pthread_mutex_unlock(&c->v.dev.lock);
}

/* ---- device ---- */

static void console_notify(struct virtio *v, unsigned queue)
{
	if (queue == QUEUE_RX)
		rx_run((struct console *)v);
	else
		tx_run((struct console *)v);
}

/* On a vCPU thread, where watches must not be touched: have the loop thread look. */
static void console_activate(struct virtio *v)
{
	virtio_kick(v, QUEUE_RX);
}

static bool console_reset(struct virtio *v)
{
	struct console *c = (struct console *)v;

	c->tx_waits = false;
	c->tx_done = 0;
	return true;
}

static void console_config(struct virtio *v, uint8_t *buf)
{
	const struct console *c = (const struct console *)v;

	le16_store(buf, c->cols);
	le16_store(buf + 2, c->rows);
	le32_store(buf + 4, 1); /* max_nr_ports */
}

static const struct virtio_ops console_vops = {
	.id = VIRTIO_ID_CONSOLE,
	.features = VIRTIO_F_COMMON | F_SIZE,
	.n_queues = 2,
	.queue_max = 64,
	.config_len = CONFIG_LEN,
	.notify = console_notify,
	.activate = console_activate,
	.reset = console_reset,
	.config = console_config,
};

/* A held request is unpopped: whoever loads this state takes it up again
 * where it was. */
static void console_pre_save(void *obj)
{
	struct console *c = obj;

	if (c->tx_waits) {
		vq_unpop(&c->v.vqs[QUEUE_TX], 1);
		c->tx_waits = false;
	}
}

static int console_post_load(void *obj, struct err *err)
{
	struct console *c = obj;

	if (c->rx_head > RX_SIZE || c->rx_count > RX_SIZE - c->rx_head || !charout_valid(&c->out))
		return err_set(err, -EBADMSG, "virtio-console: ring indices out of range");
	c->tx_waits = false;
	if (c->out.count && c->out.fd >= 0)
		loop_event_set(&c->out.kick);
	return virtio_post_load(&c->v, err);
}

#define F(member, type) STATE_FIELD(struct console, member, type, 1)

static const struct state_desc console_state = {
	.name = "virtio-console",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_SUB(struct console, v, &virtio_state, 1, 1),
			F(cols, STATE_U16),
			F(rows, STATE_U16),
			F(rx, STATE_BYTES),
			F(rx_head, STATE_U32),
			F(rx_count, STATE_U32),
			F(tx_done, STATE_U64),
			CHAROUT_STATE_FIELDS(struct console, out),
			{ .type = STATE_END },
		},
	.pre_save = console_pre_save,
	.post_load = console_post_load,
};

static void console_quiesce(struct device *dev)
{
	charout_flush(&((struct console *)dev)->out, STALL_MS);
}

static void console_free(struct device *dev)
{
	struct console *c = (struct console *)dev;

	loop_watch_remove(&c->in_watch);
	charout_done(&c->out);
	virtio_done(&c->v);
	free(c);
}

static const struct device_ops console_ops = {
	.name = "virtio-console",
	.read = virtio_mmio_read,
	.write = virtio_mmio_write,
	.reset = virtio_mmio_reset,
	.quiesce = console_quiesce,
	.state = &console_state,
	.free = console_free,
};

int virtio_console_new(const struct virtio_env *env, const struct console_backend *backend,
		       struct device **ret, struct err *err)
{
	struct console *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(err, -ENOMEM, "no memory for virtio-console");
	c->in_fd = backend->in_fd;
	c->cols = 80;
	c->rows = 25;
	r = virtio_init(&c->v, &console_ops, &console_vops, env);
	if (r == 0)
		r = charout_init(&c->out, env->loop, backend->out_fd, &c->v.dev.lock, on_room, c);
	if (r < 0) {
		device_free(&c->v.dev);
		return err_errno(err, -r, "attach virtio-console");
	}
	*ret = &c->v.dev;
	return 0;
}

void virtio_console_resize(struct device *dev, unsigned cols, unsigned rows)
{
	struct console *c = (struct console *)dev;

	pthread_mutex_lock(&dev->lock);
	c->cols = (uint16_t)MIN(cols, 0xffffU);
	c->rows = (uint16_t)MIN(rows, 0xffffU);
	virtio_config_changed(&c->v);
	pthread_mutex_unlock(&dev->lock);
}
