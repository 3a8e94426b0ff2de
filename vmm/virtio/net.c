/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net: packets between the guest and a tap.
 *
 * Theory of operation. All I/O is done on the loop's thread, straight between the tap and guest
 * memory; only the 12-byte header goes by way of us, so that it is checked and cannot change while
 * it is used. Both directions have back-pressure:
 *
 *	to the guest	Buffers are taken from the queue until the longest packet fits; then one
 *packet is read. While there are too few, the tap is not watched, packets wait there (and are
 *dropped there), and the driver is asked to tell of new buffers.
 *	from the guest	A packet that the tap does not take now is held, and with it the queue,
 *until the tap can be written to.
 *
 * The buffers that are taken and not used yet go back to the queue before the state is saved.
 * Ref: virtio-v1.2 5.1.
 */
#include "virtio/virtio.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "base/checked.h"

#define QUEUE_RX     0
#define QUEUE_TX     1
#define QUEUE_SIZE   256

#define F_CSUM	     (1ULL << 0)
#define F_GUEST_CSUM (1ULL << 1)
#define F_MTU	     (1ULL << 3)
#define F_MAC	     (1ULL << 5)
#define F_GUEST_TSO4 (1ULL << 7)
#define F_GUEST_TSO6 (1ULL << 8)
#define F_GUEST_ECN  (1ULL << 9)
#define F_HOST_TSO4  (1ULL << 11)
#define F_HOST_TSO6  (1ULL << 12)
#define F_HOST_ECN   (1ULL << 13)
#define F_MRG_RXBUF  (1ULL << 15)
#define F_STATUS     (1ULL << 16)
#define FEATURES                                                                         \
	(VIRTIO_F_COMMON | F_CSUM | F_GUEST_CSUM | F_MAC | F_GUEST_TSO4 | F_GUEST_TSO6 | \
	 F_GUEST_ECN | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN | F_MRG_RXBUF | F_STATUS)

#define CONFIG_LEN	12
#define STATUS_LINK_UP	1

/* struct virtio_net_hdr_v1 */
#define HDR_LEN		12
#define HDR_FLAGS	0
#define HDR_GSO_TYPE	1
#define HDR_NUM_BUFFERS 10
#define HDR_NEEDS_CSUM	1
#define HDR_DATA_VALID	2
#define GSO_NONE	0
#define GSO_TCPV4	1
#define GSO_TCPV6	4
#define GSO_ECN		0x80

#define ETH_LEN		14
#define FRAME_MAX	(65535 + ETH_LEN + 4) /* with a VLAN tag */
#define DEFAULT_FRAME	(1500 + ETH_LEN + 4)
#define POOL_SEGS	(3 * VQ_MAX_SIZE)
#define BUDGET		64 /* packets of one direction before others get a turn */

struct rx_buf {
	uint16_t head, n_segs;
	size_t len;
};

struct net {
	struct virtio v; /* first */
	struct virtio_ops vops;
	int tap_fd;
	uint8_t mac[VM_MAC_LEN];
	uint16_t mtu;
	struct loop_watch watch;
	bool tap_gone;
	bool offload_due; /* the tap has to be told what the driver understands */
	bool starved;	  /* too few receive buffers */
	bool tx_waits;	  /* tx_chain is held until the tap takes it */

	/* Receive buffers that are taken: n_bufs of them, their segments one behind the other. */
	unsigned n_bufs, n_segs;
	size_t pool_len;
	struct rx_buf bufs[VQ_MAX_SIZE];
	struct iovec seg[POOL_SEGS];
	gpa_t seg_gpa[POOL_SEGS];

	struct vq_chain tx_chain, rx_chain;
	struct iovec iov[POOL_SEGS + 2]; /* of the call being made */
};

/* Byte ranges of @seg from @skip on, into @iov. Return: their number. */
static unsigned skip_bytes(struct iovec *iov, const struct iovec *seg, unsigned n, size_t skip)
{
	unsigned to = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t part = MIN(skip, seg[i].iov_len);

		skip -= part;
		if (part == seg[i].iov_len)
			continue;
		iov[to++] = (struct iovec){ .iov_base = (uint8_t *)seg[i].iov_base + part,
					    .iov_len = seg[i].iov_len - part };
	}
	return to;
}

/* Whether a header asks for nothing but what was negotiated. */
static bool hdr_allowed(const struct virtio *v, const uint8_t *hdr, uint64_t csum, uint64_t tso4,
			uint64_t tso6, uint64_t ecn)
{
	uint8_t gso = hdr[HDR_GSO_TYPE];
	uint64_t need = hdr[HDR_FLAGS] & HDR_NEEDS_CSUM ? csum : 0;

	if (gso & GSO_ECN)
		need |= ecn;
	switch (gso & ~GSO_ECN) {
	case GSO_NONE: break;
	case GSO_TCPV4: need |= tso4 | csum; break;
	case GSO_TCPV6: need |= tso6 | csum; break;
	default: return false;
	}
	return (v->driver_features & need) == need;
}

/* ---- the tap ---- */

static void on_tap(void *opaque, uint32_t events);

static void tap_watch(struct net *n)
{
	uint32_t events = 0;

	if (virtio_is_active(&n->v))
		events = (n->starved ? 0 : EPOLLIN) | (n->tx_waits ? EPOLLOUT : 0);
	if (n->tap_gone || !events)
		loop_watch_remove(&n->watch);
	else if (!n->watch.loop)
		(void)loop_watch_add(n->v.env.loop, &n->watch, n->tap_fd, events, on_tap, n);
	else
		loop_watch_set(&n->watch, events);
}

/* What is no tap (in tests) has nothing to leave to the guest. */
static void tap_set_offload(struct net *n)
{
	static const struct {
		uint64_t feature;
		unsigned flag;
	} map[] = { { F_GUEST_CSUM, TUN_F_CSUM },
		    { F_GUEST_TSO4, TUN_F_TSO4 },
		    { F_GUEST_TSO6, TUN_F_TSO6 },
		    { F_GUEST_ECN, TUN_F_TSO_ECN } };
	unsigned long flags = 0;

	n->offload_due = false;
	for (unsigned i = 0; virtio_has(&n->v, F_GUEST_CSUM) && i < ARRAY_LEN(map); i++)
		flags |= virtio_has(&n->v, map[i].feature) ? map[i].flag : 0;
	(void)ioctl(n->tap_fd, TUNSETOFFLOAD, flags);
}

/* ---- to the guest ---- */

/* The longest packet that the tap may give. */
static size_t rx_need(const struct net *n)
{
	if (virtio_has(&n->v, F_GUEST_TSO4 | F_GUEST_TSO6))
		return HDR_LEN + FRAME_MAX;
	return HDR_LEN + (n->mtu ? n->mtu + ETH_LEN + 4 : DEFAULT_FRAME);
}

/* Take one more buffer. Return: false when there is none, or it breaks a rule. */
static bool rx_take(struct net *n)
{
	struct vq_chain *c = &n->rx_chain;

	if (!virtio_pop(&n->v, QUEUE_RX, c))
		return false;
	if (c->n_read || c->write_len < HDR_LEN) {
		virtio_fail(&n->v, "receive buffer that is readable or too short for a header");
		return false;
	}
	memcpy(n->seg + n->n_segs, c->iov, c->n_write * sizeof(c->iov[0]));
	memcpy(n->seg_gpa + n->n_segs, c->gpa, c->n_write * sizeof(c->gpa[0]));
	n->bufs[n->n_bufs++] = (struct rx_buf){ .head = c->head,
						.n_segs = (uint16_t)c->n_write,
						.len = c->write_len };
	n->n_segs += c->n_write;
	n->pool_len += c->write_len;
	return true;
}

/* Have room for any packet, or for as much as this driver ever gives. */
static bool rx_fill(struct net *n)
{
	const struct vq *vq = &n->v.vqs[QUEUE_RX];
	unsigned bufs_max = virtio_has(&n->v, F_MRG_RXBUF) ? vq->size : 1;
	size_t need = rx_need(n);

	for (;;) {
		if (n->n_bufs && (n->pool_len >= need || n->n_bufs == bufs_max ||
				  n->n_segs > POOL_SEGS - VQ_MAX_SIZE))
			return true;
		if (!rx_take(n))
			return false;
	}
}

/* The first taken buffer as a chain. */
static void rx_first(struct net *n)
{
	const struct rx_buf *b = &n->bufs[0];
	struct vq_chain *c = &n->rx_chain;

	c->head = b->head;
	c->n_read = 0;
	c->n_write = b->n_segs;
	c->read_len = 0;
	c->write_len = b->len;
	memcpy(c->iov, n->seg, b->n_segs * sizeof(c->iov[0]));
	memcpy(c->gpa, n->seg_gpa, b->n_segs * sizeof(c->gpa[0]));
}

static void rx_drop_first(struct net *n)
{
	unsigned segs = n->bufs[0].n_segs;

	n->pool_len -= n->bufs[0].len;
	n->n_bufs--;
	n->n_segs -= segs;
	memmove(n->bufs, n->bufs + 1, n->n_bufs * sizeof(n->bufs[0]));
	memmove(n->seg, n->seg + segs, n->n_segs * sizeof(n->seg[0]));
	memmove(n->seg_gpa, n->seg_gpa + segs, n->n_segs * sizeof(n->seg_gpa[0]));
}

/* How many buffers the first @len bytes fill. */
static unsigned rx_count(const struct net *n, size_t len)
{
	unsigned i = 0;

	for (size_t room = 0; i < n->n_bufs && room < len; i++)
		room += n->bufs[i].len;
	return i;
}

/* A packet of @len bytes, header included, is in the taken buffers: it is the driver's now. */
static void rx_deliver(struct net *n, uint8_t *hdr, size_t len)
{
	struct vq *vq = &n->v.vqs[QUEUE_RX];
	unsigned count = rx_count(n, len);

	if (!virtio_has(&n->v, F_GUEST_CSUM))
		hdr[HDR_FLAGS] &= (uint8_t)~HDR_DATA_VALID;
	le16_store(hdr + HDR_NUM_BUFFERS, (uint16_t)count);
	for (unsigned i = 0; i < count; i++) {
		size_t part = MIN(len, n->bufs[0].len);

		rx_first(n);
		if (i == 0)
			(void)vq_chain_write(&n->rx_chain, 0, hdr, HDR_LEN);
		vq_put(vq, &n->rx_chain, part);
		rx_drop_first(n);
		len -= part;
	}
	/* All buffers of a packet at once: a driver takes the first for all of them. */
	vq_publish(vq);
}

/* Read one packet. Return: 1 delivered or dropped; 0 the tap has none. */
static int rx_packet(struct net *n)
{
	uint8_t hdr[HDR_LEN], beyond;
	unsigned n_iov;
	ssize_t len;

	n->iov[0] = (struct iovec){ .iov_base = hdr, .iov_len = HDR_LEN };
	n_iov = 1 + skip_bytes(n->iov + 1, n->seg, n->n_segs, HDR_LEN);
	/* A byte here is of a packet that was cut. */
	n->iov[n_iov++] = (struct iovec){ .iov_base = &beyond, .iov_len = 1 };
	do
		len = readv(n->tap_fd, n->iov, (int)n_iov);
	while (len < 0 && errno == EINTR);
	if (len < 0) {
		n->tap_gone = errno != EAGAIN;
		return 0;
	}
	if (len > HDR_LEN && (size_t)len <= n->pool_len &&
	    hdr_allowed(&n->v, hdr, F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_TSO6, F_GUEST_ECN))
		rx_deliver(n, hdr, (size_t)len);
	return 1;
}

static void rx_run(struct net *n)
{
	struct vq *vq = &n->v.vqs[QUEUE_RX];
	unsigned packets = 0;

	if (n->offload_due)
		tap_set_offload(n);
	n->starved = false;
	vq_disable_notify(vq);
	while (!n->tap_gone && packets < BUDGET) {
		if (!rx_fill(n)) {
			n->starved = !vq_enable_notify(vq);
			if (n->starved || !virtio_is_active(&n->v))
				break;
			vq_disable_notify(vq);
			continue;
		}
		if (!rx_packet(n))
			break;
		packets++;
	}
	if (packets)
		virtio_interrupt(&n->v, vq);
}

/* ---- from the guest ---- */

/* Send the held packet. Return: false when the tap takes none now. */
static bool tx_packet(struct net *n)
{
	const struct vq_chain *c = &n->tx_chain;
	uint8_t hdr[HDR_LEN];
	unsigned n_iov;
	ssize_t r;

	if (vq_chain_read(c, 0, hdr, HDR_LEN) != HDR_LEN || c->read_len < HDR_LEN + ETH_LEN ||
	    c->read_len > HDR_LEN + FRAME_MAX ||
	    !hdr_allowed(&n->v, hdr, F_CSUM, F_HOST_TSO4, F_HOST_TSO6, F_HOST_ECN)) {
		device_fail(&n->v.dev, "packet of %zu bytes, flags %#x, type %#x", c->read_len,
			    hdr[HDR_FLAGS], hdr[HDR_GSO_TYPE]);
		return true;
	}
	hdr[HDR_FLAGS] &= HDR_NEEDS_CSUM;
	n->iov[0] = (struct iovec){ .iov_base = hdr, .iov_len = HDR_LEN };
	n_iov = 1 + skip_bytes(n->iov + 1, c->iov, c->n_read, HDR_LEN);
	do
		r = writev(n->tap_fd, n->iov, (int)n_iov);
	while (r < 0 && errno == EINTR);
	/* Anything else is a packet that a network may lose. */
	return r >= 0 || errno != EAGAIN;
}

static void tx_run(struct net *n)
{
	struct vq *vq = &n->v.vqs[QUEUE_TX];
	unsigned packets = 0;

	do {
		vq_disable_notify(vq);
		while (packets < BUDGET) {
			if (!n->tx_waits && !virtio_pop(&n->v, QUEUE_TX, &n->tx_chain))
				break;
			n->tx_waits = !n->tap_gone && !tx_packet(n);
			if (n->tx_waits)
				break; /* on_tap() goes on */
			vq_put(vq, &n->tx_chain, 0);
			packets++;
		}
	} while (!n->tx_waits && packets < BUDGET && vq_enable_notify(vq));
	if (packets == BUDGET)
		virtio_kick(&n->v, QUEUE_TX);
	if (packets) {
		vq_publish(vq);
		virtio_interrupt(&n->v, vq);
	}
}

/* ---- device ---- */

static void on_tap(void *opaque, uint32_t events)
{
	struct net *n = opaque;

	pthread_mutex_lock(&n->v.dev.lock);
	if (virtio_is_active(&n->v)) {
		if (events & EPOLLOUT)
			tx_run(n);
		if (events & EPOLLIN)
			rx_run(n);
	}
	/* Its interface was deleted, or the other end closed. */
	if (!(events & EPOLLIN) && events & (EPOLLERR | EPOLLHUP))
		n->tap_gone = true;
	tap_watch(n);
	pthread_mutex_unlock(&n->v.dev.lock);
}

static void net_notify(struct virtio *v, unsigned queue)
{
	struct net *n = (struct net *)v;

	if (queue == QUEUE_RX)
		rx_run(n);
	else
		tx_run(n);
	tap_watch(n);
}

/* On a vCPU's thread, which has no business with the tap. */
static void net_activate(struct virtio *v)
{
	((struct net *)v)->offload_due = true;
	virtio_kick(v, QUEUE_RX);
}

static void forget_chains(struct net *n)
{
	n->tx_waits = n->starved = false;
	n->n_bufs = n->n_segs = 0;
	n->pool_len = 0;
}

static bool net_reset(struct virtio *v)
{
	forget_chains((struct net *)v);
	return true;
}

static void net_config(struct virtio *v, uint8_t *buf)
{
	const struct net *n = (const struct net *)v;

	memcpy(buf, n->mac, VM_MAC_LEN);
	le16_store(buf + 6, STATUS_LINK_UP);
	le16_store(buf + 8, 1); /* max_virtqueue_pairs */
	le16_store(buf + 10, n->mtu);
}

static void net_pre_save(void *obj)
{
	struct net *n = obj;

	vq_unpop(&n->v.vqs[QUEUE_RX], n->n_bufs);
	vq_unpop(&n->v.vqs[QUEUE_TX], n->tx_waits);
	forget_chains(n);
	/* Whoever goes on with this object looks at both queues again. */
	if (virtio_is_active(&n->v)) {
		virtio_kick(&n->v, QUEUE_RX);
		virtio_kick(&n->v, QUEUE_TX);
	}
}

static int net_post_load(void *obj, struct err *err)
{
	struct net *n = obj;

	forget_chains(n);
	n->offload_due = true;
	return virtio_post_load(&n->v, err);
}

/* The address is the configuration's: a saved machine may go on with another one. */
static const struct state_desc net_state = {
	.name = "virtio-net",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_SUB(struct net, v, &virtio_state, 1, 1),
			{ .type = STATE_END },
		},
	.pre_save = net_pre_save,
	.post_load = net_post_load,
};

static void net_free(struct device *dev)
{
	struct net *n = (struct net *)dev;

	loop_watch_remove(&n->watch);
	virtio_done(&n->v);
	free(n);
}

static const struct device_ops net_ops = {
	.name = "virtio-net",
	.read = virtio_mmio_read,
	.write = virtio_mmio_write,
	.reset = virtio_mmio_reset,
	.state = &net_state,
	.free = net_free,
};

int virtio_net_new(const struct virtio_env *env, const struct vm_net *config, struct device **ret,
		   struct err *err)
{
	struct net *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_set(err, -ENOMEM, "no memory for virtio-net");
	n->tap_fd = config->tap_fd;
	n->mtu = config->mtu;
	memcpy(n->mac, config->mac, VM_MAC_LEN);
	n->vops = (struct virtio_ops){ .id = VIRTIO_ID_NET,
				       .features = FEATURES | (n->mtu ? F_MTU : 0),
				       .n_queues = 2,
				       .queue_max = QUEUE_SIZE,
				       .config_len = CONFIG_LEN,
				       .notify = net_notify,
				       .activate = net_activate,
				       .reset = net_reset,
				       .config = net_config };
	r = virtio_init(&n->v, &net_ops, &n->vops, env);
	if (r < 0) {
		device_free(&n->v.dev);
		return err_errno(err, -r, "attach virtio-net");
	}
	*ret = &n->v.dev;
	return 0;
}
