/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock: its connections, for the device (vsock.c) and for saving them (vsock_state.c). */
#ifndef VMM_VIRTIO_VSOCK_PRIV_H
#define VMM_VIRTIO_VSOCK_PRIV_H

#include "base/checked.h"
#include "virtio/virtio.h"

#define QUEUE_RX    0
#define QUEUE_TX    1
#define QUEUE_EVENT 2

#define HOST_CID    2ULL
#define GUEST_CID   3ULL
#define HDR_LEN	    44
#define TYPE_STREAM 1
#define MAX_PACKET  (64 * KIB)
#define MAX_CONNS   1024
#define BUF_BYTES   (64 * KIB)
#define MAX_RESETS  64
#define BUDGET	    32
#define COPY_BYTES  16384
#define FIRST_PORT  0x40000000u

enum vsock_op {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_CREDIT_UPDATE,
	OP_CREDIT_REQUEST,
};

#define SHUT_RCV_FLAG  1u
#define SHUT_SEND_FLAG 2u

struct hdr {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

enum conn_state { CONN_CONNECTING, CONN_OPEN };

/* Control packets a connection owes the guest, as bits. */
#define OWES_REQUEST  1u
#define OWES_RESPONSE 2u
#define OWES_CREDIT   4u
#define OWES_SHUTDOWN 8u
#define OWES_RST      16u

struct vsock;

struct conn {
	struct vsock *vs;
	struct conn *next; /* in the round */
	uint32_t guest_port, host_port;
	enum conn_state state;
	int fd;
	struct loop_watch watch;
	uint32_t owes;
	bool by_host;	  /* the host has asked for it */
	bool dropped;	  /* by a device reset; freed by the loop's thread */
	bool readable;	  /* the descriptor has data or its end */
	bool in_ended;	  /* host's end of file was read */
	bool early_valid; /* one byte read ahead while looking for the end */
	uint8_t early;
	bool guest_no_recv, guest_no_send; /* the guest's shutdown flags */
	bool out_shut;			   /* the descriptor's write side is shut */
	/* from the guest */
	uint8_t *buf;
	uint32_t buf_head, buf_len;
	uint32_t fwd_cnt, fwd_told;
	/* to the guest */
	uint32_t tx_cnt, peer_alloc, peer_fwd;
};

struct reset {
	uint32_t guest_port, host_port;
};

/* What is kept of a connection. The descriptor is not: another one takes its place. */
#define VSOCK_SAVED_MAX 256
struct vsock_saved {
	uint32_t guest_port, host_port;
	uint32_t flags; /* SAVED_ of vsock_state.c */
	uint32_t owes;
	uint32_t fwd_cnt, fwd_told, tx_cnt, peer_alloc, peer_fwd;
};

struct vsock {
	struct virtio v; /* first */
	struct vsock_backend backend;
	struct conn *round, **round_tail; /* all connections */
	unsigned n_conns;
	uint32_t next_port;
	struct reset resets[MAX_RESETS];
	unsigned n_resets;
	bool tell_reset; /* transport reset event is due */
	/* Filled for saving, read after loading. */
	uint32_t n_saved;
	struct vsock_saved saved[VSOCK_SAVED_MAX];
	struct loop_event added;
	struct vq_chain tx_chain, rx_chain;
	uint8_t copy[COPY_BYTES];
};

struct conn *vsock_conn_find(struct vsock *vs, uint32_t guest_port, uint32_t host_port);
/* Takes @fd also on failure. Return: NULL there are too many. */
struct conn *vsock_conn_new(struct vsock *vs, uint32_t guest_port, uint32_t host_port, int fd);
/* Answer a packet that belongs to no connection. */
void vsock_reset_stranger(struct vsock *vs, uint32_t guest_port, uint32_t host_port);

extern const struct state_desc vsock_state_desc;

#endif
