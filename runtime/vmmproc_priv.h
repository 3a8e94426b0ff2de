/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM process: what its two halves share. */
#ifndef RUNTIME_VMMPROC_PRIV_H
#define RUNTIME_VMMPROC_PRIV_H

#include "base/loop.h"
#include "guest.h"
#include "vmmproc.h"

struct conn;

struct vmmproc {
	const struct vmmproc_config *config;
	struct loop *loop;
	struct guest *guest;
	struct loop_watch parent, listener, signals;
	struct loop_timer boot_timer;
	unsigned boot_seconds;
	int parent_fd, listen_fd, signal_fd;
	int stdio[3];
	unsigned null_fds;   /* of them: 1 << i */
	int tty;	     /* the terminal's slave, for its size */
	unsigned rows, cols; /* that the container's process was started with */
	bool ready, started, ended;
	struct conn *starter; /* the connection that asked for START, while it waits */
	uint32_t last_id;
	uint64_t last_tag;
	unsigned n_conns;
	struct conn *conns;
	unsigned status;
};

/* ---- vmmproc.c ---- */

/* End the process with @status, when its loop is back; the first one asked for counts. */
void vmmproc_finish(struct vmmproc *vp, unsigned status);
/* Tell the guest the terminal's size, where it is another than it knows. */
void vmmproc_pass_size(struct vmmproc *vp);

/* ---- vmmserve.c ---- */

/* The listener's watch. @opaque: the VMM process. */
void conn_accept(void *opaque, uint32_t events);
/* Also takes it out of its list. */
void conn_close(struct conn *c);
/* Do what the connection in vp->starter has asked for: the guest is ready. */
void vmmproc_start_process(struct vmmproc *vp);
/* Those events that are for connections. Their opaque: the VMM process. */
void conn_set_events(struct guest_events *events);

#endif
