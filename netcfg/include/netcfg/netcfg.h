/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network that an engine prepared in a namespace, handed to a virtual machine.
 *
 * Theory of operation. netcfg_take() looks at the calling thread's network namespace. Beside each
 * Ethernet interface that is up it makes a tap, and redirects what arrives at either to the other
 * (u32 and mirred at the ingress of both): the machine gets the packets before the namespace's own
 * stack sees them, so that stack answers nothing although its addresses stay where the engine put
 * them. The machine's guest takes MAC, MTU, addresses and routes of the interface.
 *
 *	engine's side --- eth0 ===ingress=redirect==> husk2 --- descriptor --- guest
 *	                  eth0 <==redirect=ingress=== husk2
 *
 * A tap is named for the index of its interface: a second machine in one namespace is refused. Taps
 * go with their descriptors. What is left at the interface then throws packets away, until
 * netcfg_release() takes it off or the interface goes.
 */
#ifndef NETCFG_NETCFG_H
#define NETCFG_NETCFG_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define NETCFG_MAX_LINKS  4
#define NETCFG_MAX_ADDRS  16
#define NETCFG_MAX_ROUTES 32
#define NETCFG_MAC_LEN	  6

struct netcfg_addr {
	int family;	   /* AF_INET or AF_INET6 */
	uint8_t bytes[16]; /* network order; the first 4 for AF_INET */
	unsigned prefix;
};

struct netcfg_route {
	struct netcfg_addr dst, gateway;
	bool has_gateway; /* else all of @dst is on the link */
	bool onlink;	  /* the gateway is, whatever the addresses say */
	uint32_t metric;
};

struct netcfg_link {
	int index;
	char name[IFNAMSIZ];
	uint8_t mac[NETCFG_MAC_LEN];
	unsigned mtu;
	int tap_fd; /* as netcfg_tap_open() gives it */
	struct netcfg_addr addrs[NETCFG_MAX_ADDRS];
	unsigned n_addrs;
	struct netcfg_route routes[NETCFG_MAX_ROUTES]; /* in an order in which they can be added */
	unsigned n_routes;
};

struct netcfg {
	struct netcfg_link links[NETCFG_MAX_LINKS]; /* by interface index */
	unsigned n_links;
	char skipped[IFNAMSIZ]; /* an interface that is up and no Ethernet; empty: none */
};

/**
 * netcfg_take() - Take over the interfaces of the calling thread's network namespace
 * @ret:	No links when there is nothing but loopback; netcfg_free() closes the taps
 *
 * Needs CAP_NET_ADMIN over the namespace.
 * Return: 0; -EBUSY another machine has them; -E2BIG over a limit; what the kernel says.
 */
int netcfg_take(struct netcfg **ret, struct err *err);
void netcfg_free(struct netcfg *net);
CLEANUP_DEFINE(struct netcfg, netcfg_free);

/**
 * netcfg_release() - Take off what machines that have ended left at the interfaces
 *
 * Redirections to taps that are there stay. Context: as netcfg_take(), at any time.
 * Return: 0; what the kernel says.
 */
int netcfg_release(struct err *err);

/**
 * netcfg_tap_open() - Open a tap, or make one that lives as long as its descriptor
 *
 * Packets begin with a virtio network header of 12 bytes; the descriptor does not block.
 * Return: a descriptor; -EBUSY somebody has it; -EINVAL a bad name; what the kernel says.
 */
int netcfg_tap_open(const char *name, struct err *err);

/* The MAC address and MTU of an interface. */
int netcfg_link_query(const char *name, uint8_t ret_mac[NETCFG_MAC_LEN], unsigned *ret_mtu,
		      struct err *err);

#endif
