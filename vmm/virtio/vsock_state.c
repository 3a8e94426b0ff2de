/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock: what a saved machine keeps of its connections.
 *
 * Theory of operation. A connection that the guest has opened lives on: after a restore the backend
 * is asked for another descriptor for its port, and when it has none the guest gets a reset for
 * that connection only. Bytes that the guest has handed over are the saved machine's to deliver,
 * and count as delivered in the restored one; bytes that the guest has not taken yet stay on the
 * host. Connections that the host has opened end. With more connections than are kept, a transport
 * reset event ends all.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "virtio/vsock_priv.h"

enum {
	SAVED_NO_RECV = 1,
	SAVED_NO_SEND = 2,
	SAVED_IN_ENDED = 4,
	SAVED_OUT_SHUT = 8,
	SAVED_BY_HOST = 16,
	SAVED_ALL = 31
};

#define OWES_SAVED (OWES_RESPONSE | OWES_CREDIT | OWES_SHUTDOWN | OWES_RST)

static void pre_save(void *obj)
{
	struct vsock *vs = obj;

	memset(vs->saved, 0, sizeof(vs->saved));
	vs->n_saved = 0;
	for (const struct conn *c = vs->round; c; c = c->next) {
		if (c->dropped || (c->owes & OWES_REQUEST))
			continue;
		if (vs->n_saved++ >= VSOCK_SAVED_MAX)
			continue;
		vs->saved[vs->n_saved - 1] = (struct vsock_saved){
			.guest_port = c->guest_port,
			.host_port = c->host_port,
			.flags = (c->guest_no_recv ? SAVED_NO_RECV : 0U) |
				 (c->guest_no_send ? SAVED_NO_SEND : 0U) |
				 (c->in_ended ? SAVED_IN_ENDED : 0U) |
				 (c->out_shut ? SAVED_OUT_SHUT : 0U) |
				 (c->by_host ? SAVED_BY_HOST : 0U),
			.owes = c->owes & OWES_SAVED,
			.fwd_cnt = c->fwd_cnt + c->buf_len,
			.fwd_told = c->fwd_told,
			.tx_cnt = c->tx_cnt,
			.peer_alloc = c->peer_alloc,
			.peer_fwd = c->peer_fwd,
		};
	}
}

static int conn_load(struct vsock *vs, const struct vsock_saved *s, struct err *err)
{
	bool by_host = s->flags & SAVED_BY_HOST;
	struct conn *c;
	int fd;

	if (s->flags & ~(uint32_t)SAVED_ALL || s->owes & ~OWES_SAVED ||
	    vsock_conn_find(vs, s->guest_port, s->host_port))
		return err_set(err, -EBADMSG, "virtio-vsock: connection %u to %u is not valid",
			       s->guest_port, s->host_port);
	fd = by_host || !vs->backend.connect
		     ? -ECONNREFUSED
		     : vs->backend.connect(vs->backend.opaque, s->host_port);
	c = fd < 0 ? NULL : vsock_conn_new(vs, s->guest_port, s->host_port, fd);
	if (!c) {
		vsock_reset_stranger(vs, s->guest_port, s->host_port);
		return 0;
	}
	c->state = CONN_OPEN;
	c->guest_no_recv = s->flags & SAVED_NO_RECV;
	c->guest_no_send = s->flags & SAVED_NO_SEND;
	c->in_ended = s->flags & SAVED_IN_ENDED;
	c->out_shut = s->flags & SAVED_OUT_SHUT;
	if (c->out_shut)
		shutdown(c->fd, SHUT_WR);
	/* The guest learns its credit anew: what was buffered has gone. */
	c->owes = s->owes | OWES_CREDIT;
	c->fwd_cnt = s->fwd_cnt;
	c->fwd_told = s->fwd_told;
	c->tx_cnt = s->tx_cnt;
	c->peer_alloc = s->peer_alloc;
	c->peer_fwd = s->peer_fwd;
	return 0;
}

static int post_load(void *obj, struct err *err)
{
	struct vsock *vs = obj;
	int r = 0;

	if (vs->n_saved > VSOCK_SAVED_MAX)
		vs->tell_reset = true;
	for (uint32_t i = 0; !vs->tell_reset && i < vs->n_saved && r == 0; i++)
		r = conn_load(vs, &vs->saved[i], err);
	return r < 0 ? r : virtio_post_load(&vs->v, err);
}

#define F(member) STATE_FIELD(struct vsock_saved, member, STATE_U32, 1)

static const struct state_desc saved_desc = {
	.name = "connection",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			F(guest_port),
			F(host_port),
			F(flags),
			F(owes),
			F(fwd_cnt),
			F(fwd_told),
			F(tx_cnt),
			F(peer_alloc),
			F(peer_fwd),
			{ .type = STATE_END },
		},
};

const struct state_desc vsock_state_desc = {
	.name = "virtio-vsock",
	.version = 1,
	.min_version = 1,
	.fields =
		(const struct state_field[]){
			STATE_SUB(struct vsock, v, &virtio_state, 1, 1),
			STATE_FIELD(struct vsock, next_port, STATE_U32, 1),
			STATE_FIELD(struct vsock, n_saved, STATE_U32, 1),
			STATE_SUB(struct vsock, saved, &saved_desc, VSOCK_SAVED_MAX, 1),
			{ .type = STATE_END },
		},
	.pre_save = pre_save,
	.post_load = post_load,
};

uint32_t virtio_vsock_received(struct device *dev, uint32_t host_port)
{
	struct vsock *vs = (struct vsock *)dev;
	uint32_t n = 0;

	pthread_mutex_lock(&dev->lock);
	for (const struct conn *c = host_port ? vs->round : NULL; c; c = c->next) {
		if (!c->by_host && c->host_port == host_port)
			n = c->fwd_cnt + c->buf_len;
	}
	pthread_mutex_unlock(&dev->lock);
	return n;
}
