/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that a caller hands to a container's process (--preserve-fds).
 *
 * A guest cannot hold a descriptor of the host: the process gets the end of a stream under the same
 * number, and bytes are moved between that stream and the descriptor.
 */
#ifndef RUNTIME_KEPT_H
#define RUNTIME_KEPT_H

#include "base/err.h"
#include "pump.h"

#define KEPT_FIRST 3
#define KEPT_MAX   64

/**
 * kept_check() - Whether descriptors 3 to 2+@n are open, and pipes or connected stream sockets
 *
 * From here on they close when this process executes another program (a hook).
 * Return: 0; -EINVAL, -EBADF or -EOPNOTSUPP with the number and what it is.
 */
int kept_check(unsigned n, struct err *err);

/* One of them, in the guest's process. */
struct kept {
	struct pump in, out; /* to the guest, from it */
	uint32_t port;	     /* where the guest connects to it */
};

/**
 * kept_start() - Begin to move bytes
 * @kept:	Zeroed; stays in place until kept_stop()
 * @fd, @ours:	Of the caller, and our end of the stream; taken over
 * @progress:	As for pump_start(), of what the guest writes
 */
void kept_start(struct kept *kept, struct loop *loop, int fd, int ours, void (*progress)(void *opaque),
		void *opaque);
void kept_stop(struct kept *kept);

#endif
