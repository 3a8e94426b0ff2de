/* SPDX-License-Identifier: Apache-2.0 */
/* Network records: what the writer makes of links, addresses and routes, and what it refuses. */
#include "test.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/checked.h"
#include "initx/netmsg.h"

static const struct netmsg_addr v4 = { AF_INET, { 10, 1, 2, 3 }, 24 };
static const struct netmsg_addr v6 = { AF_INET6, { 0xfd, [15] = 7 }, 64 };
static struct netmsg *m;

static int setup(void **state)
{
	return netmsg_new(&m, NULL);
}

static int teardown(void **state)
{
	netmsg_free(m);
	return 0;
}

/* The only record: its request, whose header has to be right. */
static const uint8_t *request(uint16_t type, uint32_t *ret_index_at)
{
	size_t len;
	const uint8_t *p = netmsg_bytes(m, &len);

	assert_true(len > sizeof(struct initx_net) + NLMSG_HDRLEN && len % 4 == 0);
	assert_string_equal((const char *)p, "eth0");
	*ret_index_at = le32_load(p + offsetof(struct initx_net, index_at));
	assert_int_equal(le32_load(p + offsetof(struct initx_net, len)), len - 24);
	p += sizeof(struct initx_net);
	assert_int_equal(le32_load(p), len - 24);
	assert_int_equal(le16_load(p + 4), type);
	assert_int_equal(le16_load(p + 6) & (NLM_F_REQUEST | NLM_F_ACK), NLM_F_REQUEST | NLM_F_ACK);
	return p;
}

static void writes_a_link(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 };
	uint32_t at;
	const uint8_t *p;

	assert_int_equal(netmsg_link(m, "eth0", 1400, mac, NULL), 0);
	p = request(RTM_NEWLINK, &at);
	assert_int_equal(at, NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_index));
	assert_int_equal(le16_load(p + 32 + 2), IFLA_MTU);
	assert_int_equal(le32_load(p + 32 + 4), 1400);
	assert_int_equal(le16_load(p + 40 + 2), IFLA_ADDRESS);
	assert_memory_equal(p + 40 + 4, mac, 6);
}

static void writes_addresses_of_both_families(void **state)
{
	uint32_t at;
	const uint8_t *p;

	assert_int_equal(netmsg_address(m, "eth0", &v4, NULL), 0);
	p = request(RTM_NEWADDR, &at);
	assert_int_equal(at, NLMSG_HDRLEN + offsetof(struct ifaddrmsg, ifa_index));
	assert_int_equal(p[16], AF_INET);
	assert_int_equal(p[17], 24);
	assert_memory_equal(p + 28, v4.bytes, 4);
	netmsg_free(m);
	assert_int_equal(netmsg_new(&m, NULL), 0);
	assert_int_equal(netmsg_address(m, "eth0", &v6, NULL), 0);
	p = request(RTM_NEWADDR, &at);
	assert_int_equal(p[16], AF_INET6);
	assert_memory_equal(p + 28, v6.bytes, 16);
}

static void writes_a_default_route(void **state)
{
	static const struct netmsg_route route = {
		.dst = { .family = AF_INET }, .gateway = &v4, .onlink = true, .metric = 0x12345
	};
	uint32_t at;
	const uint8_t *p;

	assert_int_equal(netmsg_route(m, "eth0", &route, NULL), 0);
	p = request(RTM_NEWROUTE, &at);
	assert_int_equal(le16_load(p + at - 2), RTA_OIF);
	assert_int_equal(le16_load(p + at + 4 + 2), RTA_GATEWAY); /* no destination */
	assert_memory_equal(p + at + 8, v4.bytes, 4);
	assert_int_equal(le32_load(p + 24) & RTNH_F_ONLINK, RTNH_F_ONLINK);
	assert_int_equal(le16_load(p + at + 12 + 2), RTA_PRIORITY);
	assert_int_equal(le32_load(p + at + 16), 0x12345);
}

static void writes_a_name(void **state)
{
	uint32_t at;
	const uint8_t *p;

	assert_int_equal(netmsg_rename(m, "eth0", "net1", NULL), 0);
	p = request(RTM_NEWLINK, &at);
	assert_int_equal(at, 20);
	assert_int_equal(le16_load(p + 32), 9);
	assert_int_equal(le16_load(p + 34), IFLA_IFNAME);
	assert_string_equal((const char *)p + 36, "net1");
}

static void refuses_bad_values(void **state)
{
	static const struct netmsg_addr family = { AF_UNIX, { 0 }, 0 };
	static const struct netmsg_addr prefix = { AF_INET, { 0 }, 33 };
	static const struct netmsg_route mixed = { .dst = { AF_INET, { 10 }, 8 }, .gateway = &v6 };
	size_t len;

	assert_int_equal(netmsg_link(m, "", 0, NULL, NULL), -EINVAL);
	assert_int_equal(netmsg_link(m, "a-name-too-long-for-one", 0, NULL, NULL), -EINVAL);
	assert_int_equal(netmsg_address(m, "eth0", &family, NULL), -EINVAL);
	assert_int_equal(netmsg_address(m, "eth0", &prefix, NULL), -EINVAL);
	assert_int_equal(netmsg_route(m, "eth0", &mixed, NULL), -EINVAL);
	assert_int_equal(netmsg_rename(m, "eth0", "a-name-too-long-for-one", NULL), -EINVAL);
	netmsg_bytes(m, &len);
	assert_int_equal(len, 0);
}

static void ends_at_its_bound_with_whole_records(void **state)
{
	const uint8_t *p;
	size_t len, at = 0;
	int r;

	do {
		r = netmsg_address(m, "eth0", &v6, NULL);
	} while (r == 0);
	assert_int_equal(r, -E2BIG);
	p = netmsg_bytes(m, &len);
	assert_true(len <= INITX_NET_MAX && len > INITX_NET_MAX / 2);
	while (at < len)
		at += sizeof(struct initx_net) +
		      le32_load(p + at + offsetof(struct initx_net, len));
	assert_int_equal(at, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(writes_a_link, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_addresses_of_both_families, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_a_default_route, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_bad_values, setup, teardown),
		cmocka_unit_test_setup_teardown(ends_at_its_bound_with_whole_records, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("initx/image/netmsg", tests, NULL, NULL);
}
