/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's network: from what an engine prepared in a namespace to the machine's devices and
 * what its init is told; and the taps of `husk vm`.
 *
 * Theory of operation. The machine's process has joined the namespace of config.json and hooks have
 * run when network_take() makes the taps. Init gets addresses and routes when it is in its command
 * loop, after a restore too: nothing of them is in a snapshot. An empty namespace, or none at all,
 * gives the guest its own loopback and no more. So has the container that holds a pod's namespaces:
 * an interface serves one machine, that of the container beside it.
 */
#ifndef RUNTIME_NETWORK_H
#define RUNTIME_NETWORK_H

#include "base/cleanup.h"
#include "base/err.h"
#include "oci/config.h"
#include "vmm/vm.h"

struct network;

/* Say so when config.json has no network for the guest. */
void network_warn(const struct oci_config *config);

/**
 * network_take() - Take over the interfaces of the namespace that config.json names
 * @ret:	NULL when there are none for the guest; network_free() closes the taps
 *
 * Context: the machine's process, in that namespace. Warns of what the guest does not get.
 * Return: 0; what netcfg_take() says; -E2BIG more than a message to init holds.
 */
int network_take(const struct oci_config *config, struct network **ret, struct err *err);
void network_free(struct network *net);
CLEANUP_DEFINE(struct network, network_free);

/* The machine's devices. Borrowed from @net (NULL: none). */
void network_devices(const struct network *net, struct vm_config *vc);
/* What init is to do with them: network records (initx/netmsg.h). Borrowed from @net. */
const uint8_t *network_records(const struct network *net, size_t *ret_len);

/**
 * network_release() - Leave the namespace of config.json as it was found
 *
 * Context: the machine has ended; in a process that may still enter the namespace.
 * Return: 0, also when the namespace is gone; negative errno.
 */
int network_release(const struct oci_config *config, struct err *err);

/**
 * network_open() - Open what --net names
 * @spec:	"tap=NAME[,mac=MAC]"
 * @ret:	Its tap_fd belongs to the caller
 *
 * Return: 0; -EINVAL what it means is unclear; what the tap says.
 */
int network_open(const char *spec, struct vm_net *ret, struct err *err);

#endif
