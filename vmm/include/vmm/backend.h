/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seams to what stands behind a virtio device: declared here by the caller, implemented elsewhere
 * (the console by runtime, files by rootfs) and joined in runtime.
 *
 * Theory of operation. A device hands a request over and forgets it until the backend calls done(),
 * from any thread, once and only once for each request. The device bounds what is outstanding by
 * the size of its queues. Memory behind the iovecs is the guest's: it may change at any time under
 * the reader, so headers are copied once and only the copy is believed.
 */
#ifndef VMM_BACKEND_H
#define VMM_BACKEND_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* ---- virtio-fs ---- */

#define FS_REQUEST_SCRATCH 64

/*
 * One FUSE message and the room for its reply, both scattered in guest memory. The request object
 * and the arrays belong to the device and live until done() is called.
 */
struct fs_request {
	const struct iovec *in; /* what the guest sent: fuse_in_header and what follows */
	unsigned n_in;
	size_t in_len;
	const struct iovec *out; /* where the reply goes; none for FORGET and its like */
	unsigned n_out;
	size_t out_len;
	bool hiprio; /* came by the high-priority queue */
	/*
	 * Give the request back. @used: bytes of reply written from the start of @out, at most
	 * out_len. Context: any thread; the request is gone on return.
	 */
	void (*done)(struct fs_request *req, size_t used);
	/* The backend's, while it has the request. */
	alignas(8) unsigned char scratch[FS_REQUEST_SCRATCH];
};

/*
 * The guest's window onto file pages, made by the device. Offsets and lengths are multiples of
 * FS_WINDOW_CHUNK. Both return 0 or a negative errno. Context: any thread, vCPUs may run.
 */
#define FS_WINDOW_CHUNK (2ULL << 20)
struct fs_window {
	void *opaque;
	int (*map)(void *opaque, uint64_t off, int fd, uint64_t file_off, uint64_t len,
		   bool writable);
	int (*unmap)(void *opaque, uint64_t off, uint64_t len);
};

struct fs_backend {
	void *opaque;
	/* Needed when the device has a window: here it is, borrowed. Before the first request. */
	void (*set_window)(void *opaque, const struct fs_window *window);
	/*
	 * Take a request; must not block for long. Context: a vCPU or loop thread, the device's
	 * lock held. Return: true to have wake() called.
	 */
	bool (*submit)(void *opaque, struct fs_request *req);
	/* Wake what serves the requests submitted. Context: a vCPU or loop thread, no lock held. */
	void (*wake)(void *opaque);
	/* The guest reset the device: forget every node and handle. No request is outstanding. */
	void (*reset)(void *opaque);
	/* Return when nothing is in flight: every submitted request was done(). No submit follows.
	 */
	void (*quiesce)(void *opaque);
	/* Undo quiesce. */
	void (*resume)(void *opaque);
};

/* ---- console ---- */

/*
 * A byte stream to and from the host's side of a console. Descriptors are borrowed for the life of
 * the VM; -1 for a direction that leads nowhere. Back-pressure: what the host does not take is kept
 * in a bounded ring, then the guest waits.
 */
struct console_backend {
	int in_fd;  /* bytes for the guest; end of file just ends them */
	int out_fd; /* bytes from the guest */
};

/* ---- guest channel ---- */

/* Words the guest has written to its mailbox; what they mean is the guest protocol's business. */
#define GUEST_MAILBOX_WORDS 10

/*
 * What the guest's init tells: the mailbox and the timeslice page. The guest stands still inside
 * its store until signal() returns, and the config region may be changed meanwhile. Context: vCPU
 * threads, the device's lock held: must not block for long, must not access the devices.
 */
struct guest_backend {
	void *opaque;
	/* Word 0 was written; @words: all words as latched, index = offset / 4. */
	void (*signal)(void *opaque, uint32_t value, const uint32_t words[GUEST_MAILBOX_WORDS]);
	/* Optional: a milestone. */
	void (*timeslice)(void *opaque, uint32_t id);
	/* Optional: the guest reads the mailbox at an offset that is a multiple of 4. */
	uint32_t (*read)(void *opaque, uint32_t off);
};

/* ---- vsock ---- */

struct vsock_backend {
	void *opaque;
	/*
	 * The guest connects to a port of the host. Returns a stream's descriptor, which the device
	 * owns from then on, or a negative errno to refuse. Context: the device loop thread, the
	 * device's lock held.
	 */
	int (*connect)(void *opaque, uint32_t port);
};

#endif
