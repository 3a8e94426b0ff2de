/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of snapshots: a hash of everything that what is in one depends on. Files count by their
 * identity (device, inode, size, times), not by their content, which would take longer to read than
 * a restore.
 */
#ifndef RUNTIME_SNAPKEY_H
#define RUNTIME_SNAPKEY_H

#include "base/sha256.h"
#include "guest.h"
#include "vmm/vm.h"

struct snapkey_machine {
	const struct vm_config *vc; /* kernel, cmdline, sizes */
	const struct vm_identity *id;
	const char *kernel_path; /* modules lie beside it */
};

/* After regular init: serves every container on such a machine. */
int snapkey_early(const struct snapkey_machine *m, char ret[SHA256_HEX + 1], struct err *err);

/* In the command loop: serves one root file system with its mounts. @early: the key above. */
int snapkey_late(const char *early, const struct guest_config *gc, char ret[SHA256_HEX + 1],
		 struct err *err);

#endif
