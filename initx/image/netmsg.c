/* SPDX-License-Identifier: Apache-2.0 */
/* Writer of network records: see proto.h, struct initx_net. */
#include "initx/netmsg.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/checked.h"

#define MAC_LEN 6

struct netmsg {
	uint8_t buf[INITX_NET_MAX];
	size_t len;
};

int netmsg_new(struct netmsg **ret, struct err *err)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : err_set(err, -ENOMEM, "network message");
}

void netmsg_free(struct netmsg *m)
{
	free(m);
}

const uint8_t *netmsg_bytes(const struct netmsg *m, size_t *ret_len)
{
	*ret_len = m->len;
	return m->buf;
}

/* Room for @len bytes at the end, padded to netlink's 4; NULL when the message is full. */
static uint8_t *put(struct netmsg *m, size_t len)
{
	uint8_t *p = m->buf + m->len;

	len = ALIGN_UP(len, (size_t)NLMSG_ALIGNTO);
	if (len > sizeof(m->buf) - m->len)
		return NULL;
	m->len += len;
	return p;
}

static bool put_attr(struct netmsg *m, uint16_t type, const void *data, size_t len)
{
	uint8_t *p = put(m, RTA_LENGTH(len));

	if (!p)
		return false;
	le16_store(p, (uint16_t)RTA_LENGTH(len));
	le16_store(p + 2, type);
	memcpy(p + RTA_LENGTH(0), data, len);
	return true;
}

/* Record and netlink header, and the family's fixed part, whose interface index is at @index_at. */
static bool begin(struct netmsg *m, const char *ifname, uint16_t type, uint16_t flags,
		  const void *fixed, size_t fixed_len, size_t index_at)
{
	uint8_t *rec = put(m, sizeof(struct initx_net)), *head, *body;

	head = rec ? put(m, NLMSG_HDRLEN) : NULL;
	body = head ? put(m, fixed_len) : NULL;
	if (!body)
		return false;
	memcpy(rec + offsetof(struct initx_net, ifname), ifname, strlen(ifname));
	le32_store(rec + offsetof(struct initx_net, index_at), (uint32_t)(NLMSG_HDRLEN + index_at));
	le16_store(head + offsetof(struct nlmsghdr, nlmsg_type), type);
	le16_store(head + offsetof(struct nlmsghdr, nlmsg_flags),
		   NLM_F_REQUEST | NLM_F_ACK | flags);
	memcpy(body, fixed, fixed_len);
	return true;
}

/* Lengths of the record; with @ok false everything since begin() goes. */
static int finish(struct netmsg *m, size_t start, bool ok, struct err *err)
{
	uint32_t len = (uint32_t)(m->len - start - sizeof(struct initx_net));

	if (!ok) {
		memset(m->buf + start, 0, m->len - start);
		m->len = start;
		return err_set(err, -E2BIG, "network message of more than %u bytes", INITX_NET_MAX);
	}
	le32_store(m->buf + start + offsetof(struct initx_net, len), len);
	le32_store(m->buf + start + sizeof(struct initx_net), len);
	return 0;
}

static int check_name(const char *ifname, struct err *err)
{
	if (!*ifname || strlen(ifname) >= IFNAMSIZ)
		return err_set(err, -EINVAL, "'%s' is no name of an interface", ifname);
	return 0;
}

static size_t addr_len(const struct netmsg_addr *a)
{
	return a->family == AF_INET6 ? 16 : 4;
}

static int check_addr(const char *ifname, const struct netmsg_addr *a, struct err *err)
{
	if ((a->family != AF_INET && a->family != AF_INET6) || a->prefix > 8 * addr_len(a))
		return err_set(err, -EINVAL, "bad family or prefix of an address");
	return check_name(ifname, err);
}

int netmsg_link(struct netmsg *m, const char *ifname, unsigned mtu, const uint8_t *mac,
		struct err *err)
{
	struct ifinfomsg info = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	size_t start = m->len;
	uint8_t word[4];
	int r = check_name(ifname, err);
	bool ok;

	if (r < 0)
		return r;
	le32_store(word, mtu);
	ok = begin(m, ifname, RTM_NEWLINK, 0, &info, sizeof(info),
		   offsetof(struct ifinfomsg, ifi_index)) &&
	     (!mtu || put_attr(m, IFLA_MTU, word, 4)) &&
	     (!mac || put_attr(m, IFLA_ADDRESS, mac, MAC_LEN));
	return finish(m, start, ok, err);
}

int netmsg_address(struct netmsg *m, const char *ifname, const struct netmsg_addr *addr,
		   struct err *err)
{
	struct ifaddrmsg info = { .ifa_family = (uint8_t)addr->family,
				  .ifa_prefixlen = (uint8_t)addr->prefix,
				  .ifa_flags = addr->family == AF_INET6 ? IFA_F_NODAD : 0 };
	size_t start = m->len;
	int r = check_addr(ifname, addr, err);
	bool ok;

	if (r < 0)
		return r;
	ok = begin(m, ifname, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &info, sizeof(info),
		   offsetof(struct ifaddrmsg, ifa_index)) &&
	     put_attr(m, IFA_LOCAL, addr->bytes, addr_len(addr)) &&
	     put_attr(m, IFA_ADDRESS, addr->bytes, addr_len(addr));
	return finish(m, start, ok, err);
}

int netmsg_route(struct netmsg *m, const char *ifname, const struct netmsg_route *route,
		 struct err *err)
{
	static const uint8_t index[4];
	const struct netmsg_addr *dst = &route->dst, *gateway = route->gateway;
	struct rtmsg info = { .rtm_family = (uint8_t)dst->family,
			      .rtm_dst_len = (uint8_t)dst->prefix,
			      .rtm_table = RT_TABLE_MAIN,
			      .rtm_protocol = RTPROT_BOOT,
			      .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
			      .rtm_type = RTN_UNICAST,
			      .rtm_flags = route->onlink ? RTNH_F_ONLINK : 0 };
	/* The interface is the first attribute. */
	size_t start = m->len, index_at = sizeof(info) + RTA_LENGTH(0);
	int r = check_addr(ifname, dst, err);
	uint8_t metric[4];
	bool ok;

	if (r == 0 && gateway && gateway->family != dst->family)
		r = err_set(err, -EINVAL, "route and gateway are of two families");
	if (r < 0)
		return r;
	le32_store(metric, route->metric);
	ok = begin(m, ifname, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &info, sizeof(info),
		   index_at) &&
	     put_attr(m, RTA_OIF, index, sizeof(index)) &&
	     (!dst->prefix || put_attr(m, RTA_DST, dst->bytes, addr_len(dst))) &&
	     (!gateway || put_attr(m, RTA_GATEWAY, gateway->bytes, addr_len(gateway))) &&
	     (!route->metric || put_attr(m, RTA_PRIORITY, metric, sizeof(metric)));
	return finish(m, start, ok, err);
}

int netmsg_rename(struct netmsg *m, const char *ifname, const char *to, struct err *err)
{
	struct ifinfomsg info = { 0 };
	size_t start = m->len;
	int r = check_name(ifname, err);
	bool ok;

	if (r == 0)
		r = check_name(to, err);
	if (r < 0)
		return r;
	ok = begin(m, ifname, RTM_NEWLINK, 0, &info, sizeof(info),
		   offsetof(struct ifinfomsg, ifi_index)) &&
	     put_attr(m, IFLA_IFNAME, to, strlen(to) + 1);
	return finish(m, start, ok, err);
}
