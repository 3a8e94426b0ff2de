/* SPDX-License-Identifier: Apache-2.0 */
/* The guest in a virtual machine: what its two halves share. */
#ifndef RUNTIME_GUEST_PRIV_H
#define RUNTIME_GUEST_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "bell.h"
#include "guest.h"
#include "guestcmd.h"
#include "initx/proto.h"
#include "kept.h"
#include "network.h"
#include "pump.h"
#include "sandbox/sandbox.h"
#include "share.h"
#include "snapshot.h"
#include "vmm/vm.h"

#define GUEST_PORTS	3072
#define GUEST_PORT_BITS 31
#define GUEST_SIGNALS	1024
#define BELL_TIMEOUT	(60 * NSEC_PER_SEC) /* what may take a while: files are read */
#define QUICK_TIMEOUT	(15 * NSEC_PER_SEC) /* what init answers at once */

/* A process of the guest. */
struct guest_proc {
	struct guest_proc *next;
	struct guest *guest;
	uint32_t id;
	struct guest_proc *next_start; /* of those that wait for their start */
	struct command *command;       /* until it is sent */
	uint32_t ports[3];	       /* of its streams, 0 for none */
	bool running, ended, terminal;
	unsigned status;
	uint32_t sent[2]; /* bytes of output it had sent when it ended, mod 2^32 */
	struct pump in, out[2];
	struct kept *kept;
	unsigned n_kept;
	uint64_t ended_at; /* ns */
};

/* One word of the mailbox, as it came. */
struct guest_signal {
	uint32_t value, id, stage, term_signal, sent[2];
	int32_t result;
};

/* What a checkpoint says of the container's process, until it is started. */
struct guest_restored {
	bool terminal;
	uint32_t ports[3];
	int ours[3]; /* ends of its streams */
};

struct guest {
	const struct guest_config *config_in; /* borrowed during boot only */
	const struct oci_config *config;
	struct guestcmd_filter filter;
	struct loop *loop;
	struct guest_events events;

	struct vm *vm;
	struct sandbox *sandbox;
	struct share *share;
	struct network *net; /* or NULL */
	struct console_backend console;
	struct guest_backend channel;
	struct vsock_backend vsock;
	struct loop_watch vm_exit;
	bool started, paused;
	bool settling; /* container init is in its loop; what it is told first is on its way, or
			  there */
	struct snapshot_plan snap;
	bool held; /* the vCPUs: for a checkpoint, or restored and not started */
	uint32_t last_id;
	struct guest_restored restored;
	/* The machine, for a checkpoint's manifest. */
	const char *hv_name;
	struct vm_identity identity;
	uint64_t ram_bytes;
	unsigned n_vcpus, most_vcpus;
	uint64_t unlinked_max; /* bytes of files without a name in a checkpoint */
	bool pids_set; /* the limit of processes, since the configuration */
	_Atomic uint32_t hold; /* the signal behind which the vCPUs stop, once; 0: none */
	/* For a checkpoint: the vCPUs stop at the next HELD; guarded by lock. */
	enum { HOLD_NONE, HOLD_ASKED, HOLD_REACHED } hold_state;
	struct loop_event held_event; /* they have */
	struct loop_timer hold_timer; /* until when they are waited for */
	bool holding;		      /* that is under way; for whom, and where to: */
	uint64_t hold_tag;
	struct guest_checkpoint hold_to;
	bool killed_held; /* it goes on no more */
	/* What the guest reads from the mailbox: vCPU threads, the device's lock. */
	uint64_t clock_ns;   /* whose high half it reads next */
	atomic_bool renewed; /* a restored guest has not asked yet for: */
	uint32_t seed[INITX_SEED_WORDS];
	unsigned n_seed; /* left */
	struct loop_event restored_event;
	struct loop_timer warm; /* when more of the working set is mapped */
	bool stale;	/* files of the snapshot are not there any more, or are others */

	struct bells bells;
	struct guest_proc *procs;
	struct guest_proc *starts;  /* those whose command waits */
	struct guest_proc *in_slot; /* whose command init has not taken yet */
	struct loop_timer drain;    /* output of a process that has ended went on its way */

	pthread_mutex_t lock;
	struct loop_event signal_event;
	struct guest_signal signals[GUEST_SIGNALS]; /* ring; guarded by lock, as all below */
	unsigned first_signal, n_signals;
	struct guest_port {
		uint32_t number; /* random: only who was told it can connect */
		int fd;		 /* what the next connection gets, -1: free */
	} ports[GUEST_PORTS];
};

/* ---- guest_boot.c ---- */

/* Build the machine and start it. */
int guest_machine_start(struct guest *g, const struct guest_config *config, struct err *err);
/* The machine holds at a point where a snapshot is due: take it, and let the guest go on. */
void guest_snapshot_point(struct guest *g);

/* ---- guest_ports.c ---- */

/* Any thread: the other end of a stream, once. @opaque: the guest. */
int guest_port_connect(void *opaque, uint32_t port);
/* A port whose next connection becomes the other end of *ret_fd. 0: none is free. */
uint32_t guest_port_new(struct guest *g, int *ret_fd);
void guest_port_forget(struct guest *g, uint32_t port);

/* ---- guest_vm.c ---- */

/*
 * For a machine that goes on from a snapshot, or of which one was taken: others have the same time and
 * random numbers. What init takes before it does anything else. The machine does not run.
 */
int guest_renew_ahead(struct guest *g, struct err *err);
/*
 * Give the guest the time, and random numbers that no other guest has.
 * @fn: gets the guest for its opaque; guest_renew_result() says what its arguments mean.
 */
int guest_renew(struct guest *g, bell_fn fn, struct err *err);
/* Return: 0; negative errno. */
int guest_renew_result(int result, const uint8_t *answers, struct err *err);

struct guest_proc *guest_proc_find(struct guest *g, uint32_t id);
/* NULL: no memory. */
struct guest_proc *guest_proc_new(struct guest *g, uint32_t id);
/* Pump between the caller's descriptors and our ends; takes all over. */
void guest_proc_connect(struct guest_proc *p, const int fds[3], bool terminal,
			const uint32_t ports[3], const int ours[3]);

/* ---- guest_limits.c ---- */

int guest_limits_update(struct guest *g, const struct oci_resources *res, uint64_t tag,
			struct err *err);

/* ---- guest_checkpoint.c ---- */

int guest_checkpoint_init(struct guest *g);
/* vCPU threads: HELD was signalled. */
void guest_checkpoint_held(struct guest *g);
int guest_checkpoint(struct guest *g, const struct guest_checkpoint *to, uint64_t tag,
		     struct err *err);
void guest_checkpoint_end(struct guest *g, bool stop);
/* Kill the container while one is being made. Return: whether there was one. */
bool guest_checkpoint_kill(struct guest *g);
/* Before the machine is built: the ports that its streams will ask for. */
int guest_restore_container(struct guest *g, struct err *err);
/* Let the restored container's process go on, with these streams. */
int guest_restored_start(struct guest *g, const struct guest_process *gp, struct err *err);

#endif
