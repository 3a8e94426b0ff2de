/* SPDX-License-Identifier: Apache-2.0 */
/* Whether this host's KVM is worth using. */
#ifndef VMM_PROBE_H
#define VMM_PROBE_H

#include <stdint.h>

#include "base/err.h"

enum probe_verdict {
	PROBE_NATIVE,	/* guest kernel code runs on the CPU */
	PROBE_EMULATED, /* KVM works, but interprets guest kernel code */
	PROBE_UNUSABLE, /* no KVM, or not for us */
	PROBE_MAX_,
};

struct probe_result {
	enum probe_verdict verdict;
	uint64_t insn_ps;	  /* time of one simple instruction in ring 0, in ps; 0 unknown */
	uint64_t took_ns;	  /* the probe itself */
	char reason[ERR_MSG_MAX]; /* one sentence */
};

/**
 * probe_kvm() - Run a tiny VM for a few milliseconds and look
 *
 * Context: any thread.
 */
void probe_kvm(struct probe_result *ret);

/* "native", "emulated", "unusable" */
const char *probe_verdict_str(enum probe_verdict verdict);

#endif
