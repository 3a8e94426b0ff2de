/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's network, as rtnetlink requests that its init only passes on: links, addresses and
 * routes of both families. Sent with INITX_BELL_NET, at any time (after a restore with new
 * addresses, too), or built into container init as the blob "network".
 */
#ifndef INITX_NETMSG_H
#define INITX_NETMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "initx/proto.h"

struct netmsg;

struct netmsg_addr {
	int family;	   /* AF_INET or AF_INET6 */
	uint8_t bytes[16]; /* in network order; the first 4 for AF_INET */
	unsigned prefix;   /* 0 to 32 or 128 */
};

struct netmsg_route {
	struct netmsg_addr dst;		   /* prefix 0: the default route */
	const struct netmsg_addr *gateway; /* NULL: the link itself */
	bool onlink;	 /* the gateway is on the link, whatever the addresses say */
	uint32_t metric; /* 0: the kernel's choice */
};

int netmsg_new(struct netmsg **ret, struct err *err);
void netmsg_free(struct netmsg *m);
CLEANUP_DEFINE(struct netmsg, netmsg_free);

/**
 * netmsg_link() - Set a link up
 * @mtu:	0: leave
 * @mac:	6 bytes, or NULL: leave
 *
 * Return: 0; -EINVAL a bad name; -E2BIG more than INITX_NET_MAX bytes in all. So the others, too:
 * with -EINVAL for a bad family or prefix.
 */
int netmsg_link(struct netmsg *m, const char *ifname, unsigned mtu, const uint8_t *mac,
		struct err *err);
/* Add an address (kept when it is there already). */
int netmsg_address(struct netmsg *m, const char *ifname, const struct netmsg_addr *addr,
		   struct err *err);
int netmsg_route(struct netmsg *m, const char *ifname, const struct netmsg_route *route,
		 struct err *err);
/* Give a link another name. It must be down, as it is before netmsg_link(). */
int netmsg_rename(struct netmsg *m, const char *ifname, const char *to, struct err *err);

/* The finished records. Borrowed until the next change. */
const uint8_t *netmsg_bytes(const struct netmsg *m, size_t *ret_len);

#endif
