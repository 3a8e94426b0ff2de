/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and routes of an interface. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/cache.h>
#include <netlink/route/addr.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <string.h>

#include "priv.h"

/* False: a family that is not ours. */
static bool get_addr(const struct nl_addr *from, struct netcfg_addr *ret)
{
	size_t len = nl_addr_get_len(from);

	*ret = (struct netcfg_addr){ .family = nl_addr_get_family(from),
				     .prefix = nl_addr_get_prefixlen(from) };
	if ((ret->family != AF_INET && ret->family != AF_INET6) || len > sizeof(ret->bytes))
		return false;
	memcpy(ret->bytes, nl_addr_get_binary_addr(from), len);
	return true;
}

static int add_route(struct netcfg_link *link, const struct netcfg_route *route, struct err *err)
{
	if (link->n_routes == NETCFG_MAX_ROUTES)
		return err_set(err, -E2BIG, "interface '%s' has more than %d routes", link->name,
			       NETCFG_MAX_ROUTES);
	link->routes[link->n_routes++] = *route;
	return 0;
}

/* ---- addresses ---- */

static int take_addr(struct rtnl_addr *from, struct netcfg_link *link, struct err *err)
{
	struct nl_addr *local = rtnl_addr_get_local(from), *peer = rtnl_addr_get_peer(from);
	struct netcfg_route to_peer = { 0 };
	struct netcfg_addr addr;
	int r = 0;

	/* A link-local address is made by each stack from the MAC, which both have. */
	if (!local || !get_addr(local, &addr) ||
	    (addr.family == AF_INET6 && rtnl_addr_get_scope(from) == RT_SCOPE_LINK))
		return 0;
	if (link->n_addrs == NETCFG_MAX_ADDRS)
		return err_set(err, -E2BIG, "interface '%s' has more than %d addresses", link->name,
			       NETCFG_MAX_ADDRS);
	if (peer && nl_addr_cmp(peer, local) && get_addr(peer, &to_peer.dst)) {
		addr.prefix = addr.family == AF_INET ? 32 : 128;
		r = add_route(link, &to_peer, err);
	}
	link->addrs[link->n_addrs++] = addr;
	return r;
}

int netcfg_read_addrs(struct nl_sock *sk, int index, struct netcfg_link *link, struct err *err)
{
	struct nl_cache *cache;
	int r = rtnl_addr_alloc_cache(sk, &cache);

	if (r < 0)
		return netcfg_nl_err(err, r, "list addresses");
	for (struct nl_object *o = nl_cache_get_first(cache); o && r >= 0; o = nl_cache_get_next(o))
		if (rtnl_addr_get_ifindex((struct rtnl_addr *)o) == index)
			r = take_addr((struct rtnl_addr *)o, link, err);
	nl_cache_free(cache);
	return r;
}

/* ---- routes ---- */

/* The kernel and router advertisements give the guest its own. */
static bool is_configured(struct rtnl_route *route)
{
	uint8_t by = rtnl_route_get_protocol(route);

	return rtnl_route_get_table(route) == RT_TABLE_MAIN &&
	       rtnl_route_get_type(route) == RTN_UNICAST && by != RTPROT_KERNEL &&
	       by != RTPROT_RA && by != RTPROT_REDIRECT && rtnl_route_get_nnexthops(route) > 0;
}

static int take_route(struct rtnl_route *from, int index, struct netcfg_link *link, struct err *err)
{
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(from, 0);
	struct nl_addr *dst = rtnl_route_get_dst(from), *gateway = rtnl_route_nh_get_gateway(hop);
	struct netcfg_route route = { .metric = rtnl_route_get_priority(from),
				      .onlink = rtnl_route_nh_get_flags(hop) & RTNH_F_ONLINK };

	if (rtnl_route_nh_get_ifindex(hop) != index)
		return 0;
	route.dst.family = rtnl_route_get_family(from);
	if (dst && nl_addr_get_len(dst) && !get_addr(dst, &route.dst))
		return 0;
	route.has_gateway = gateway && get_addr(gateway, &route.gateway);
	/* IPv4 by way of IPv6 is not passed on. */
	if (route.has_gateway && route.gateway.family != route.dst.family)
		return 0;
	return add_route(link, &route, err);
}

int netcfg_read_routes(struct nl_sock *sk, int index, struct netcfg_link *link, struct err *err)
{
	struct nl_cache *cache;
	int r = rtnl_route_alloc_cache(sk, AF_UNSPEC, 0, &cache);

	if (r < 0)
		return netcfg_nl_err(err, r, "list routes");
	/* Those on the link first: a gateway may be reached by one of them. */
	for (int gateways = 0; gateways < 2; gateways++) {
		struct nl_object *o = nl_cache_get_first(cache);

		for (; o && r >= 0; o = nl_cache_get_next(o)) {
			struct rtnl_route *route = (struct rtnl_route *)o;
			bool has = is_configured(route) &&
				   rtnl_route_nh_get_gateway(rtnl_route_nexthop_n(route, 0));

			if (is_configured(route) && has == gateways)
				r = take_route(route, index, link, err);
		}
	}
	nl_cache_free(cache);
	return r;
}
