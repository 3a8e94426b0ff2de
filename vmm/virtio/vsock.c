/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock: streams between guest and host, whose host ends are descriptors.
 *
 * Theory of operation. A connection pairs (guest port, host port) with a descriptor. Bytes from the
 * guest go straight to the descriptor; what it does not take waits in the connection's buffer,
 * whose size is the credit the guest has, so a slow reader stops the guest and costs no more
 * memory. Bytes to the guest are read from the descriptor only when the guest has given credit and
 * a receive buffer: nothing is kept on this side. Connections with something to say to the guest (a
 * control packet, or readable data) are served round robin. States:
 *
 *   CONNECTING (host asked, no answer yet) -> OPEN -> gone ; guest's request -> OPEN
 *
 * A connection is gone once it was reset by either side, or both directions have ended and
 * everything was delivered. Limits: MAX_CONNS connections, BUF_BYTES each, MAX_RESETS answers to
 * strangers. What becomes of connections when the machine is saved: vsock_state.c. All of this runs under the device's lock. Ref: virtio-v1.2 5.10.
 */
#include "virtio/vsock_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

static void on_fd(void *opaque, uint32_t events);
static void rx_run(struct vsock *vs);

/* ---- headers ---- */

static void hdr_unpack(const uint8_t *p, struct hdr *h)
{
	h->src_cid = le64_load(p);
	h->dst_cid = le64_load(p + 8);
	h->src_port = le32_load(p + 16);
	h->dst_port = le32_load(p + 20);
	h->len = le32_load(p + 24);
	h->type = le16_load(p + 28);
	h->op = le16_load(p + 30);
	h->flags = le32_load(p + 32);
	h->buf_alloc = le32_load(p + 36);
	h->fwd_cnt = le32_load(p + 40);
}

static void hdr_pack(uint8_t *p, const struct hdr *h)
{
	le64_store(p, h->src_cid);
	le64_store(p + 8, h->dst_cid);
	le32_store(p + 16, h->src_port);
	le32_store(p + 20, h->dst_port);
	le32_store(p + 24, h->len);
	le16_store(p + 28, h->type);
	le16_store(p + 30, h->op);
	le32_store(p + 32, h->flags);
	le32_store(p + 36, h->buf_alloc);
	le32_store(p + 40, h->fwd_cnt);
}

/* ---- connections ---- */

struct conn *vsock_conn_find(struct vsock *vs, uint32_t guest_port, uint32_t host_port)
{
	for (struct conn *c = vs->round; c; c = c->next)
		if (c->guest_port == guest_port && c->host_port == host_port)
			return c;
	return NULL;
}

struct conn *vsock_conn_new(struct vsock *vs, uint32_t guest_port, uint32_t host_port, int fd)
{
	struct conn *c = vs->n_conns < MAX_CONNS ? calloc(1, sizeof(*c)) : NULL;
	int flags = fcntl(fd, F_GETFL);

	if (!c || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		free(c);
		fd_close(fd);
		return NULL;
	}
	*c = (struct conn){ .vs = vs, .guest_port = guest_port, .host_port = host_port, .fd = fd };
	*vs->round_tail = c;
	vs->round_tail = &c->next;
	vs->n_conns++;
	return c;
}

static void conn_free(struct conn *c)
{
	struct vsock *vs = c->vs;
	struct conn **at = &vs->round;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (!c->next)
		vs->round_tail = at;
	vs->n_conns--;
	loop_watch_remove(&c->watch);
	fd_close(c->fd);
	free(c->buf);
	free(c);
}

static void conns_free(struct vsock *vs)
{
	while (vs->round)
		conn_free(vs->round);
	vs->n_resets = 0;
}

void vsock_reset_stranger(struct vsock *vs, uint32_t guest_port, uint32_t host_port)
{
	if (vs->n_resets < MAX_RESETS)
		vs->resets[vs->n_resets++] = (struct reset){ guest_port, host_port };
}

static uint32_t peer_room(const struct conn *c)
{
	uint32_t used = c->tx_cnt - c->peer_fwd;

	return c->peer_alloc > used ? c->peer_alloc - used : 0;
}

static bool wants_input(const struct conn *c)
{
	return c->state == CONN_OPEN && !c->in_ended && !c->guest_no_recv && !c->readable &&
	       !(c->owes & OWES_RST);
}

static void conn_watch(struct conn *c)
{
	uint32_t events = (wants_input(c) ? EPOLLIN : 0) | (c->buf_len ? EPOLLOUT : 0);

	if (!events)
		loop_watch_remove(&c->watch);
	else if (!c->watch.loop)
		(void)loop_watch_add(c->vs->v.env.loop, &c->watch, c->fd, events, on_fd, c);
	else
		loop_watch_set(&c->watch, events);
}

/* Both directions are over and delivered: one RST ends it. */
static void conn_check_end(struct conn *c)
{
	if (c->guest_no_send && !c->buf_len && !c->out_shut) {
		c->out_shut = true;
		shutdown(c->fd, SHUT_WR);
	}
	if (c->out_shut && (c->guest_no_recv || c->in_ended))
		c->owes |= OWES_RST;
}

static void conn_abort(struct conn *c)
{
	c->owes = OWES_RST;
	c->readable = false;
	c->buf_len = 0;
}

/* ---- from the guest ---- */

/* Write what waits. False when the descriptor is broken. */
static bool conn_flush(struct conn *c)
{
	while (c->buf_len) {
		uint32_t n = MIN(c->buf_len, (uint32_t)BUF_BYTES - c->buf_head);
		ssize_t w = write(c->fd, c->buf + c->buf_head, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return errno == EAGAIN;
		c->buf_head = (c->buf_head + (uint32_t)w) % BUF_BYTES;
		c->buf_len -= (uint32_t)w;
		c->fwd_cnt += (uint32_t)w;
	}
	free(c->buf);
	c->buf = NULL;
	c->buf_head = 0;
	return true;
}

/* Tell the guest of its room before it runs dry. */
static void conn_credit(struct conn *c)
{
	if (c->fwd_cnt - c->fwd_told >= BUF_BYTES / 2)
		c->owes |= OWES_CREDIT;
}

/* Keep @len bytes for later. False: more than the guest had credit for, or no memory. */
static bool conn_keep(struct conn *c, const uint8_t *p, uint32_t len)
{
	if (len > BUF_BYTES - c->buf_len)
		return false;
	if (!c->buf)
		c->buf = malloc(BUF_BYTES);
	if (!c->buf)
		return false;
	for (uint32_t done = 0; done < len;) {
		uint32_t at = (c->buf_head + c->buf_len) % BUF_BYTES;
		uint32_t n = MIN(len - done, (uint32_t)BUF_BYTES - at);

		memcpy(c->buf + at, p + done, n);
		c->buf_len += n;
		done += n;
	}
	return true;
}

static bool conn_take(struct conn *c, const uint8_t *p, uint32_t len)
{
	while (len && !c->buf_len) {
		ssize_t w = write(c->fd, p, len);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno == EAGAIN)
			break;
		if (w < 0)
			return false;
		p += w;
		len -= (uint32_t)w;
		c->fwd_cnt += (uint32_t)w;
	}
	return !len || conn_keep(c, p, len);
}

static void on_data(struct vsock *vs, struct conn *c, uint32_t len)
{
	uint32_t done = 0;

	if (c->guest_no_send || c->out_shut || c->state != CONN_OPEN) {
		conn_abort(c);
		return;
	}
	while (done < len) {
		uint32_t n = MIN(len - done, (uint32_t)sizeof(vs->copy));

		if (vq_chain_read(&vs->tx_chain, HDR_LEN + done, vs->copy, n) != n ||
		    !conn_take(c, vs->copy, n)) {
			conn_abort(c);
			return;
		}
		done += n;
	}
	conn_credit(c);
}

static void on_request(struct vsock *vs, const struct hdr *h)
{
	struct conn *c;
	int fd = vs->backend.connect ? vs->backend.connect(vs->backend.opaque, h->dst_port)
				     : -ECONNREFUSED;

	if (fd < 0) {
		vsock_reset_stranger(vs, h->src_port, h->dst_port);
		return;
	}
	c = vsock_conn_new(vs, h->src_port, h->dst_port, fd);
	if (!c) {
		vsock_reset_stranger(vs, h->src_port, h->dst_port);
		return;
	}
	c->state = CONN_OPEN;
	c->owes = OWES_RESPONSE;
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
}

static void on_shutdown(struct conn *c, uint32_t flags)
{
	c->guest_no_recv |= (flags & SHUT_RCV_FLAG) != 0;
	c->guest_no_send |= (flags & SHUT_SEND_FLAG) != 0;
	if (c->guest_no_recv)
		c->readable = false;
	conn_check_end(c);
}

static void on_conn_packet(struct vsock *vs, struct conn *c, const struct hdr *h)
{
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	switch (h->op) {
	case OP_RESPONSE:
		if (c->state == CONN_CONNECTING)
			c->state = CONN_OPEN;
		break;
	case OP_RW: on_data(vs, c, h->len); break;
	case OP_SHUTDOWN: on_shutdown(c, h->flags); break;
	case OP_CREDIT_UPDATE: break;
	case OP_CREDIT_REQUEST: c->owes |= OWES_CREDIT; break;
	case OP_RST: /* what it sent before is still delivered as far as it goes at once */
		conn_flush(c);
		conn_free(c);
		return;
	default: conn_abort(c);
	}
	conn_watch(c);
}

/* One packet of the guest's, in tx_chain. */
static void on_packet(struct vsock *vs)
{
	uint8_t raw[HDR_LEN];
	struct conn *c;
	struct hdr h;

	if (vq_chain_read(&vs->tx_chain, 0, raw, sizeof(raw)) != sizeof(raw)) {
		device_fail(&vs->v.dev, "packet without a header");
		return;
	}
	hdr_unpack(raw, &h);
	if (h.src_cid != GUEST_CID || h.dst_cid != HOST_CID) {
		device_fail(&vs->v.dev, "packet with a forged address");
		return;
	}
	if (h.len > MAX_PACKET || h.len > vs->tx_chain.read_len - HDR_LEN) {
		device_fail(&vs->v.dev, "packet longer than its buffer");
		return;
	}
	c = vsock_conn_find(vs, h.src_port, h.dst_port);
	if (h.type != TYPE_STREAM) {
		if (h.op != OP_RST)
			vsock_reset_stranger(vs, h.src_port, h.dst_port);
	} else if (c && h.op == OP_REQUEST) {
		conn_abort(c);
	} else if (c) {
		on_conn_packet(vs, c, &h);
	} else if (h.op == OP_REQUEST) {
		on_request(vs, &h);
	} else if (h.op != OP_RST) {
		vsock_reset_stranger(vs, h.src_port, h.dst_port);
	}
}

static void tx_run(struct vsock *vs)
{
	struct vq *vq = &vs->v.vqs[QUEUE_TX];
	unsigned n = 0;

	do {
		vq_disable_notify(vq);
		/* Answers have a bounded store: with it full the guest waits. */
		for (; n < BUDGET && vs->n_resets < MAX_RESETS; n++) {
			if (!virtio_pop(&vs->v, QUEUE_TX, &vs->tx_chain))
				break;
			on_packet(vs);
			vq_push(vq, &vs->tx_chain, 0);
		}
	} while (n < BUDGET && vs->n_resets < MAX_RESETS && vq_enable_notify(vq));
	if (n == BUDGET)
		virtio_kick(&vs->v, QUEUE_TX);
	if (n)
		virtio_interrupt(&vs->v, vq);
}

/* ---- to the guest ---- */

static void packet_fill(const struct conn *c, struct hdr *h, enum vsock_op op)
{
	*h = (struct hdr){ .src_cid = HOST_CID,
			   .dst_cid = GUEST_CID,
			   .src_port = c->host_port,
			   .dst_port = c->guest_port,
			   .type = TYPE_STREAM,
			   .op = (uint16_t)op,
			   .buf_alloc = BUF_BYTES,
			   .fwd_cnt = c->fwd_cnt };
}

/* The most urgent control packet. */
static enum vsock_op conn_control(struct conn *c, struct hdr *h)
{
	static const struct {
		uint32_t bit;
		enum vsock_op op;
	} order[] = {
		{ OWES_RST, OP_RST },		{ OWES_REQUEST, OP_REQUEST },
		{ OWES_RESPONSE, OP_RESPONSE }, { OWES_CREDIT, OP_CREDIT_UPDATE },
		{ OWES_SHUTDOWN, OP_SHUTDOWN },
	};

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		if (!(c->owes & order[i].bit))
			continue;
		/* The end follows the last byte. */
		if (order[i].bit == OWES_SHUTDOWN && (c->readable || c->early_valid))
			continue;
		c->owes &= ~order[i].bit;
		packet_fill(c, h, order[i].op);
		if (order[i].op == OP_SHUTDOWN)
			h->flags = SHUT_SEND_FLAG;
		return order[i].op;
	}
	return 0;
}

/*
 * Whether there are bytes to read right now; notices the end. A descriptor that says "readable" and
 * holds nothing is at its end, or was emptied by somebody else.
 */
static bool conn_has_data(struct conn *c)
{
	int n = 0;
	ssize_t r;

	if (c->early_valid)
		return true;
	if (ioctl(c->fd, FIONREAD, &n) == 0 && n > 0)
		return true;
	r = read(c->fd, &c->early, 1);
	if (r == 1) {
		c->early_valid = true;
		return true;
	}
	c->readable = false;
	if (r == 0 || (errno != EAGAIN && errno != EINTR)) {
		c->in_ended = true;
		c->owes |= OWES_SHUTDOWN;
		conn_check_end(c);
	}
	return false;
}

/* Read from the descriptor into the guest's buffer behind the header. Returns bytes. */
static uint32_t read_into_chain(struct conn *c, const struct vq_chain *ch)
{
	size_t room = MIN(MIN(ch->write_len - HDR_LEN, (size_t)peer_room(c)), (size_t)MAX_PACKET);
	size_t n = 0;
	ssize_t r;

	room = MIN(room, sizeof(c->vs->copy));
	if (c->early_valid && room) {
		c->vs->copy[n++] = c->early;
		c->early_valid = false;
	}
	r = room > n ? read(c->fd, c->vs->copy + n, room - n) : 0;
	if (r > 0)
		n += (size_t)r;
	return (uint32_t)vq_chain_write(ch, HDR_LEN, c->vs->copy, n);
}

/* One packet of @c into rx_chain, which is there. Returns bytes used; the connection may be gone.
 */
static size_t conn_send(struct conn *c, const struct vq_chain *ch)
{
	uint8_t raw[HDR_LEN];
	struct hdr h;
	enum vsock_op op = conn_control(c, &h);
	bool gone = op == OP_RST;

	if (!op) {
		packet_fill(c, &h, OP_RW);
		h.len = read_into_chain(c, ch);
		c->tx_cnt += h.len;
	}
	c->fwd_told = c->fwd_cnt;
	hdr_pack(raw, &h);
	vq_chain_write(ch, 0, raw, sizeof(raw));
	if (gone)
		conn_free(c);
	return HDR_LEN + h.len;
}

static bool conn_has_packet(struct conn *c)
{
	if (c->owes & ~OWES_SHUTDOWN)
		return true;
	if (c->state == CONN_OPEN && c->readable && peer_room(c) && conn_has_data(c))
		return true;
	return c->owes && !c->readable && !c->early_valid;
}

/* Next connection with a packet; it goes to the end of the round. */
static struct conn *next_sender(struct vsock *vs)
{
	for (struct conn **at = &vs->round; *at; at = &(*at)->next) {
		struct conn *c = *at;

		if (!conn_has_packet(c))
			continue;
		if (c->next) {
			*at = c->next;
			c->next = NULL;
			*vs->round_tail = c;
			vs->round_tail = &c->next;
		}
		return c;
	}
	return NULL;
}

static size_t send_reset(struct vsock *vs, const struct vq_chain *ch)
{
	struct reset *r = &vs->resets[--vs->n_resets];
	uint8_t raw[HDR_LEN];
	struct hdr h = { .src_cid = HOST_CID,
			 .dst_cid = GUEST_CID,
			 .src_port = r->host_port,
			 .dst_port = r->guest_port,
			 .type = TYPE_STREAM,
			 .op = OP_RST };

	hdr_pack(raw, &h);
	return vq_chain_write(ch, 0, raw, sizeof(raw));
}

static void rx_run(struct vsock *vs)
{
	struct vq *vq = &vs->v.vqs[QUEUE_RX];
	bool full = vs->n_resets == MAX_RESETS, starved = false;
	unsigned n = 0;

	for (; n < BUDGET; n++) {
		struct conn *c = vs->n_resets ? NULL : next_sender(vs);
		size_t used = 0;

		if (!c && !vs->n_resets)
			break;
		if (!virtio_pop(&vs->v, QUEUE_RX, &vs->rx_chain)) {
			starved = true;
			break;
		}
		if (vs->rx_chain.write_len <= HDR_LEN)
			virtio_fail(&vs->v, "vsock receive buffer has no room");
		else
			used = c ? conn_send(c, &vs->rx_chain) : send_reset(vs, &vs->rx_chain);
		vq_push(vq, &vs->rx_chain, used);
	}
	if (n == BUDGET || (starved && vq_enable_notify(vq)))
		virtio_kick(&vs->v, QUEUE_RX);
	if (n)
		virtio_interrupt(&vs->v, vq);
	if (full && vs->n_resets < MAX_RESETS)
		virtio_kick(&vs->v, QUEUE_TX);
	for (struct conn *c = vs->round; c; c = c->next)
		conn_watch(c);
}

static void event_run(struct vsock *vs)
{
	static const uint8_t transport_reset[4];
	struct vq *vq = &vs->v.vqs[QUEUE_EVENT];

	if (!vs->tell_reset)
		return;
	if (!virtio_pop(&vs->v, QUEUE_EVENT, &vs->rx_chain)) {
		if (vq_enable_notify(vq))
			virtio_kick(&vs->v, QUEUE_EVENT);
		return;
	}
	vs->tell_reset = false;
	vq_push(vq, &vs->rx_chain,
		vq_chain_write(&vs->rx_chain, 0, transport_reset, sizeof(transport_reset)));
	virtio_interrupt(&vs->v, vq);
}

/* ---- the host's side ---- */

/* Loop thread: watches are its own. */
static void free_dropped(struct vsock *vs)
{
	for (struct conn *c = vs->round, *next; c; c = next) {
		next = c->next;
		if (c->dropped)
			conn_free(c);
	}
}

static void on_fd(void *opaque, uint32_t events)
{
	struct conn *c = opaque;
	struct vsock *vs = c->vs;

	pthread_mutex_lock(&vs->v.dev.lock);
	if (c->dropped) {
		free_dropped(vs);
		pthread_mutex_unlock(&vs->v.dev.lock);
		return;
	}
	if (c->buf_len && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
		if (!conn_flush(c))
			conn_abort(c);
		conn_credit(c);
		conn_check_end(c);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && wants_input(c))
		c->readable = true;
	conn_watch(c);
	if (virtio_is_active(&vs->v))
		rx_run(vs);
	pthread_mutex_unlock(&vs->v.dev.lock);
}

static void on_added(void *opaque)
{
	struct vsock *vs = opaque;

	pthread_mutex_lock(&vs->v.dev.lock);
	free_dropped(vs);
	if (virtio_is_active(&vs->v))
		rx_run(vs);
	pthread_mutex_unlock(&vs->v.dev.lock);
}

int virtio_vsock_connect(struct device *dev, uint32_t guest_port, int fd, struct err *err)
{
	struct vsock *vs = (struct vsock *)dev;
	struct conn *c;

	pthread_mutex_lock(&dev->lock);
	while (vsock_conn_find(vs, guest_port, vs->next_port))
		vs->next_port = MAX(vs->next_port + 1, FIRST_PORT);
	c = vsock_conn_new(vs, guest_port, vs->next_port, fd);
	vs->next_port = MAX(vs->next_port + 1, FIRST_PORT);
	if (c) {
		c->state = CONN_CONNECTING;
		c->by_host = true;
		c->owes = OWES_REQUEST;
	}
	pthread_mutex_unlock(&dev->lock);
	if (!c)
		return err_set(err, -EMFILE, "too many vsock connections");
	loop_event_set(&vs->added);
	return 0;
}

/* ---- device ---- */

static void vsock_notify(struct virtio *v, unsigned queue)
{
	struct vsock *vs = (struct vsock *)v;

	free_dropped(vs);
	if (queue == QUEUE_TX)
		tx_run(vs);
	if (queue == QUEUE_EVENT)
		event_run(vs);
	else
		rx_run(vs);
}

/*
 * Watches belong to the loop's thread and this is a vCPU's: connections are only marked here, and
 * dropped when the loop looks.
 */
static bool vsock_reset(struct virtio *v)
{
	struct vsock *vs = (struct vsock *)v;

	/* What the host asked for and no driver has seen yet stays. */
	for (struct conn *c = vs->round; c; c = c->next)
		c->dropped |= !(c->owes & OWES_REQUEST);
	vs->n_resets = 0;
	loop_event_set(&vs->added);
	return true;
}

static void vsock_config(struct virtio *v, uint8_t *buf)
{
	(void)v;
	le64_store(buf, GUEST_CID);
}

static const struct virtio_ops vsock_vops = {
	.id = VIRTIO_ID_VSOCK,
	.features = VIRTIO_F_COMMON,
	.n_queues = 3,
	.queue_max = 128,
	.config_len = 8,
	.notify = vsock_notify,
	.reset = vsock_reset,
	.config = vsock_config,
};

static void vsock_free(struct device *dev)
{
	struct vsock *vs = (struct vsock *)dev;

	conns_free(vs);
	loop_event_done(&vs->added);
	virtio_done(&vs->v);
	free(vs);
}

static const struct device_ops vsock_ops = {
	.name = "virtio-vsock",
	.read = virtio_mmio_read,
	.write = virtio_mmio_write,
	.reset = virtio_mmio_reset,
	.state = &vsock_state_desc,
	.free = vsock_free,
};

int virtio_vsock_new(const struct virtio_env *env, const struct vsock_backend *backend,
		     struct device **ret, struct err *err)
{
	struct vsock *vs = calloc(1, sizeof(*vs));
	int r;

	if (!vs)
		return err_set(err, -ENOMEM, "no memory for virtio-vsock");
	vs->round_tail = &vs->round;
	vs->next_port = FIRST_PORT;
	vs->added.fd = -1;
	if (backend)
		vs->backend = *backend;
	r = virtio_init(&vs->v, &vsock_ops, &vsock_vops, env);
	if (r == 0)
		r = loop_event_init(env->loop, &vs->added, on_added, vs);
	if (r < 0) {
		device_free(&vs->v.dev);
		return err_errno(err, -r, "attach virtio-vsock");
	}
	*ret = &vs->v.dev;
	return 0;
}
