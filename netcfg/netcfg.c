/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a namespace's interfaces over, and giving them back. */
#include "netcfg/netcfg.h"

#include <errno.h>
#include <linux/if_link.h>
#include <net/if_arp.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet6.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"
#include "priv.h"

#define TAP_PREFIX  "husk"
#define TAP_MAX_MTU 65521

CLEANUP_DEFINE(struct nl_cache, nl_cache_free);
CLEANUP_DEFINE(struct rtnl_link, rtnl_link_put);

static int errno_of(int nl_error)
{
	static const struct {
		int nl, errnum;
	} map[] = { { NLE_NOMEM, ENOMEM },	{ NLE_PERM, EPERM },  { NLE_NOACCESS, EACCES },
		    { NLE_NODEV, ENODEV },	{ NLE_BUSY, EBUSY },  { NLE_EXIST, EEXIST },
		    { NLE_OPNOTSUPP, ENOTSUP }, { NLE_INVAL, EINVAL } };

	for (unsigned i = 0; i < ARRAY_LEN(map); i++)
		if (map[i].nl == -nl_error)
			return -map[i].errnum;
	return -EIO;
}

int netcfg_nl_err(struct err *err, int nl_error, const char *fmt, ...)
{
	char what[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(err, errno_of(nl_error), "%s: %s", what, nl_geterror(nl_error));
}

int netcfg_connect(struct nl_sock **ret, struct err *err)
{
	CLEANUP(nl_socket_freep) struct nl_sock *sk = nl_socket_alloc();
	int r = sk ? nl_connect(sk, NETLINK_ROUTE) : -NLE_NOMEM;

	if (r < 0)
		return netcfg_nl_err(err, r, "rtnetlink");
	*ret = STEAL_PTR(sk);
	return 0;
}

static int list_links(struct nl_sock **ret_sk, struct nl_cache **ret, struct err *err)
{
	int r = netcfg_connect(ret_sk, err);

	if (r < 0)
		return r;
	r = rtnl_link_alloc_cache(*ret_sk, AF_UNSPEC, ret);
	return r < 0 ? netcfg_nl_err(err, r, "list interfaces") : 0;
}

static bool is_our_tap(struct rtnl_link *link)
{
	return !strncmp(rtnl_link_get_name(link), TAP_PREFIX, strlen(TAP_PREFIX)) &&
	       rtnl_link_get_type(link) && !strcmp(rtnl_link_get_type(link), "tun");
}

/* What a machine could take over. */
static bool is_taken(struct rtnl_link *link)
{
	unsigned flags = rtnl_link_get_flags(link);

	return (flags & IFF_UP) && !(flags & IFF_LOOPBACK) &&
	       rtnl_link_get_arptype(link) == ARPHRD_ETHER && !is_our_tap(link);
}

/* ---- taking ---- */

static void describe(struct rtnl_link *from, struct netcfg_link *link)
{
	struct nl_addr *mac = rtnl_link_get_addr(from);

	snprintf(link->name, sizeof(link->name), "%s", rtnl_link_get_name(from));
	link->mtu = MIN(rtnl_link_get_mtu(from), (unsigned)TAP_MAX_MTU);
	if (mac && nl_addr_get_len(mac) == NETCFG_MAC_LEN)
		memcpy(link->mac, nl_addr_get_binary_addr(mac), NETCFG_MAC_LEN);
}

/* Up, with room for the interface's packets, and silent: the stack shall send nothing by it. */
static int set_up_tap(struct nl_sock *sk, const char *name, unsigned mtu, int *ret_index,
		      struct err *err)
{
	CLEANUP(rtnl_link_putp) struct rtnl_link *tap = NULL;
	CLEANUP(rtnl_link_putp) struct rtnl_link *change = rtnl_link_alloc();
	CLEANUP(rtnl_link_putp) struct rtnl_link *silent = rtnl_link_alloc();
	int r = change && silent ? rtnl_link_get_kernel(sk, 0, name, &tap) : -NLE_NOMEM;

	if (r < 0)
		return netcfg_nl_err(err, r, "look up tap '%s'", name);
	*ret_index = rtnl_link_get_ifindex(tap);
	/* A kernel without IPv6 knows nothing of this. */
	(void)rtnl_link_inet6_set_addr_gen_mode(silent, IN6_ADDR_GEN_MODE_NONE);
	(void)rtnl_link_change(sk, tap, silent, 0);
	rtnl_link_set_mtu(change, mtu);
	rtnl_link_set_flags(change, IFF_UP);
	r = rtnl_link_change(sk, tap, change, 0);
	return r < 0 ? netcfg_nl_err(err, r, "set tap '%s' up", name) : 0;
}

static int join(struct nl_sock *sk, int index, struct nl_cache *links, struct netcfg_link *link,
		struct err *err)
{
	char tap[IFNAMSIZ];
	int tap_index = 0, r;

	snprintf(tap, sizeof(tap), TAP_PREFIX "%d", index);
	r = link->tap_fd = netcfg_tap_open(tap, err);
	if (r == -EBUSY)
		return err_set(err, -EBUSY,
			       "interface '%s' serves another container already: each is a machine, "
			       "and two machines cannot have one address; give each container a "
			       "network (a pod: a container) of its own",
			       link->name);
	if (r >= 0)
		r = netcfg_unredirect(sk, index, links, err);
	if (r >= 0)
		r = set_up_tap(sk, tap, link->mtu, &tap_index, err);
	if (r >= 0)
		r = netcfg_redirect(sk, tap_index, index, err);
	if (r >= 0)
		r = netcfg_redirect(sk, index, tap_index, err);
	return r;
}

static int take(struct nl_sock *sk, struct nl_cache *links, struct rtnl_link *from,
		struct netcfg *net, struct err *err)
{
	int index = rtnl_link_get_ifindex(from), r;
	struct netcfg_link *link;

	if (net->n_links == NETCFG_MAX_LINKS)
		return err_set(err, -E2BIG, "more than %d network interfaces", NETCFG_MAX_LINKS);
	link = &net->links[net->n_links++];
	link->tap_fd = -1;
	link->index = index;
	describe(from, link);
	r = netcfg_read_addrs(sk, index, link, err);
	if (r >= 0)
		r = netcfg_read_routes(sk, index, link, err);
	return r < 0 ? r : join(sk, index, links, link, err);
}

static int by_index(const void *a, const void *b)
{
	return ((const struct netcfg_link *)a)->index - ((const struct netcfg_link *)b)->index;
}

int netcfg_take(struct netcfg **ret, struct err *err)
{
	CLEANUP(netcfg_freep) struct netcfg *net = calloc(1, sizeof(*net));
	CLEANUP(nl_socket_freep) struct nl_sock *sk = NULL;
	CLEANUP(nl_cache_freep) struct nl_cache *links = NULL;
	int r = net ? list_links(&sk, &links, err) : err_set(err, -ENOMEM, "network");
	struct nl_object *o;

	if (r < 0)
		return r;
	for (o = nl_cache_get_first(links); o && r >= 0; o = nl_cache_get_next(o)) {
		struct rtnl_link *link = (struct rtnl_link *)o;
		unsigned flags = rtnl_link_get_flags(link);

		if (is_taken(link))
			r = take(sk, links, link, net, err);
		else if ((flags & IFF_UP) && !(flags & IFF_LOOPBACK) && !is_our_tap(link))
			snprintf(net->skipped, sizeof(net->skipped), "%s",
				 rtnl_link_get_name(link));
	}
	if (r < 0)
		return r;
	qsort(net->links, net->n_links, sizeof(net->links[0]), by_index);
	*ret = STEAL_PTR(net);
	return 0;
}

void netcfg_free(struct netcfg *net)
{
	for (unsigned i = 0; net && i < net->n_links; i++)
		fd_close(net->links[i].tap_fd);
	free(net);
}

/* ---- giving back ---- */

int netcfg_release(struct err *err)
{
	CLEANUP(nl_socket_freep) struct nl_sock *sk = NULL;
	CLEANUP(nl_cache_freep) struct nl_cache *links = NULL;
	int r = list_links(&sk, &links, err);
	struct nl_object *o;

	for (o = r < 0 ? NULL : nl_cache_get_first(links); o && r >= 0; o = nl_cache_get_next(o))
		if (is_taken((struct rtnl_link *)o))
			r = netcfg_unredirect(sk, rtnl_link_get_ifindex((struct rtnl_link *)o),
					      links, err);
	return r;
}
