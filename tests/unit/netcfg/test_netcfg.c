/* SPDX-License-Identifier: Apache-2.0 */
/* Taking interfaces over and giving them back, in network namespaces of the test's own. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "look.h"
#include "netcfg/netcfg.h"

#define VNET_HDR 12
#define FRAME	 60

/* As `ip` and `tc` are called; a line that begins with '-' may fail. */
static void run(const char *const *commands)
{
	for (; *commands; commands++) {
		bool may_fail = **commands == '-';
		char line[512];

		snprintf(line, sizeof(line), "%s >/dev/null 2>&1", *commands + may_fail);
		if (system(line) != 0 && !may_fail)
			fail_msg("%s", *commands);
	}
}

/* A pair "eth0", which is taken, and "peer", and loopback. */
static int setup(void **state)
{
	static const char *const commands[] = {
		"ip link set lo up",
		"ip link add eth0 address 02:00:00:00:00:01 mtu 1400 "
		"type veth peer name peer",
		"ip link set eth0 up", NULL
	};

	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	run(commands);
	return 0;
}

static struct netcfg *take(void)
{
	struct netcfg *net = NULL;
	struct err err = { 0 };

	if (netcfg_take(&net, &err) < 0)
		fail_msg("%s", err.msg);
	return net;
}

static void refuses(int code, const char *text)
{
	struct netcfg *net = NULL;
	struct err err = { 0 };

	assert_int_equal(netcfg_take(&net, &err), code);
	assert_null(net);
	assert_non_null(strstr(err.msg, text));
}

static bool has_addr(const struct netcfg_link *l, const char *text, unsigned prefix)
{
	uint8_t bytes[16];
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	assert_int_equal(inet_pton(family, text, bytes), 1);
	for (unsigned i = 0; i < l->n_addrs; i++) {
		if (l->addrs[i].family == family && l->addrs[i].prefix == prefix &&
		    !memcmp(l->addrs[i].bytes, bytes, family == AF_INET ? 4 : 16))
			return true;
	}
	return false;
}

/* Place of a route, or -1. @via: NULL for none. */
static int route_at(const struct netcfg_link *l, const char *dst, unsigned prefix, const char *via)
{
	uint8_t to[16] = { 0 }, by[16];
	int family = strchr(dst, ':') ? AF_INET6 : AF_INET;
	size_t len = family == AF_INET ? 4 : 16;

	assert_int_equal(inet_pton(family, dst, to), 1);
	if (via)
		assert_int_equal(inet_pton(family, via, by), 1);
	for (unsigned i = 0; i < l->n_routes; i++) {
		const struct netcfg_route *r = &l->routes[i];

		if (r->dst.family == family && r->dst.prefix == prefix &&
		    !memcmp(r->dst.bytes, to, len) && r->has_gateway == !!via &&
		    (!via || !memcmp(r->gateway.bytes, by, len)))
			return (int)i;
	}
	return -1;
}

static void loopback_is_nothing_to_take(void **state)
{
	static const char *const down[] = { "ip link set eth0 down", NULL };
	struct netcfg *net;

	run(down);
	net = take();
	assert_int_equal(net->n_links, 0);
	assert_string_equal(net->skipped, "");
	netcfg_free(net);
	netcfg_free(NULL);
}

static void takes_what_the_engine_configured(void **state)
{
	static const char *const commands[] = {
		"ip addr add 10.1.2.3/24 dev eth0", "ip addr add 10.9.0.1 peer 10.9.0.2 dev eth0",
		"ip -6 addr add fd00:1::3/64 dev eth0 nodad",
		"ip route add default via 10.1.2.1 metric 77",
		"ip route add 10.50.0.0/16 via 10.60.0.1 dev eth0 onlink",
		"ip route add 10.70.0.0/16 dev eth0", "ip -6 route add default via fd00:1::1",
		"ip -6 route add fd00:2::/48 dev eth0",
		/* Not the guest's: by the kernel or a router, in another table, of another type. */
		"ip route add 10.80.0.0/16 dev eth0 proto kernel",
		"ip route add 10.81.0.0/16 dev eth0 proto ra",
		"ip route add 10.82.0.0/16 dev eth0 table 99",
		"ip route add unreachable 10.83.0.0/16", "ip route add 10.84.0.0/16 dev lo", NULL
	};
	static const uint8_t mac[] = { 2, 0, 0, 0, 0, 1 };
	const struct netcfg_link *l;
	struct netcfg *net;
	int at;

	run(commands);
	net = take();
	assert_int_equal(net->n_links, 1);
	l = &net->links[0];
	assert_string_equal(l->name, "eth0");
	assert_memory_equal(l->mac, mac, sizeof(mac));
	assert_int_equal(l->mtu, 1400);
	assert_true(l->tap_fd >= 0);
	/* A link-local address each stack makes for itself. */
	assert_int_equal(l->n_addrs, 3);
	assert_true(has_addr(l, "10.1.2.3", 24));
	assert_true(has_addr(l, "10.9.0.1", 32));
	assert_true(has_addr(l, "fd00:1::3", 64));
	assert_true(route_at(l, "10.9.0.2", 32, NULL) >= 0);
	assert_true(route_at(l, "10.70.0.0", 16, NULL) >= 0);
	assert_true(route_at(l, "fd00:2::", 48, NULL) >= 0);
	assert_true(route_at(l, "::", 0, "fd00:1::1") >= 0);
	at = route_at(l, "0.0.0.0", 0, "10.1.2.1");
	assert_true(at >= 0);
	assert_int_equal(l->routes[at].metric, 77);
	assert_false(l->routes[at].onlink);
	at = route_at(l, "10.50.0.0", 16, "10.60.0.1");
	assert_true(at >= 0 && l->routes[at].onlink);
	assert_int_equal(l->n_routes, 6);
	/* A gateway is reached by what was added before it. */
	for (unsigned i = 1; i < l->n_routes; i++)
		assert_true(l->routes[i].has_gateway >= l->routes[i - 1].has_gateway);
	netcfg_free(net);
}

static void keeps_interfaces_in_order(void **state)
{
	static const char *const commands[] = { "ip link add zz type veth peer name zz-peer",
						"ip link add aa type veth peer name aa-peer",
						"ip link set zz up", "ip link set aa up", NULL };
	struct netcfg *net;

	run(commands);
	net = take();
	assert_int_equal(net->n_links, 3);
	assert_string_equal(net->links[0].name, "eth0");
	assert_string_equal(net->links[1].name, "zz");
	assert_string_equal(net->links[2].name, "aa");
	assert_true(net->links[0].index < net->links[1].index);
	netcfg_free(net);
}

static void leaves_what_is_no_ethernet(void **state)
{
	static const char *const commands[] = { "ip tuntap add dev flat mode tun",
						"ip link set flat up", NULL };
	struct netcfg *net;

	run(commands);
	net = take();
	assert_int_equal(net->n_links, 1);
	assert_string_equal(net->skipped, "flat");
	netcfg_free(net);
}

static void refuses_more_than_fits(void **state)
{
	char line[128];
	const char *const one[] = { line, NULL };

	for (int i = 0; i <= NETCFG_MAX_ROUTES; i++) {
		snprintf(line, sizeof(line), "ip route add 10.%d.0.0/16 dev eth0", 100 + i);
		run(one);
	}
	refuses(-E2BIG, "interface 'eth0' has more than 32 routes");
	snprintf(line, sizeof(line), "ip route flush dev eth0");
	run(one);
	for (int i = 0; i <= NETCFG_MAX_ADDRS; i++) {
		snprintf(line, sizeof(line), "ip addr add 10.0.%d.1/32 dev eth0", i);
		run(one);
	}
	refuses(-E2BIG, "interface 'eth0' has more than 16 addresses");
	snprintf(line, sizeof(line), "ip addr flush dev eth0");
	run(one);
	for (int i = 0; i < NETCFG_MAX_LINKS; i++) {
		snprintf(line, sizeof(line),
			 "ip link add e%d type veth peer name p%d && ip link set e%d up", i, i, i);
		run(one);
	}
	refuses(-E2BIG, "more than 4 network interfaces");
}

/* How many of our filters are at the ingress of eth0, or -1 when it has no ingress at all. */
static int n_filters(void)
{
	FILE *f = popen("tc qdisc show dev eth0 ingress | grep -c ingress; "
			"tc filter show dev eth0 ingress 2>/dev/null | grep -c mirred",
			"r");
	int qdiscs = 0, filters = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d %d", &qdiscs, &filters), 2);
	pclose(f);
	return qdiscs ? filters : -1;
}

static void serves_one_machine_and_gives_back(void **state)
{
	struct netcfg *net = take();
	struct err err = { 0 };

	assert_int_equal(n_filters(), 1);
	refuses(-EBUSY, "interface 'eth0' serves another container already");
	/* Of a machine that runs nothing is taken. */
	assert_int_equal(netcfg_release(&err), 0);
	assert_int_equal(n_filters(), 1);
	netcfg_free(net);
	assert_int_equal(netcfg_release(&err), 0);
	assert_int_equal(n_filters(), -1);
	assert_int_equal(netcfg_release(&err), 0);
	/* The next one finds what a killed one left, and takes its place. */
	netcfg_free(take());
	net = take();
	assert_int_equal(n_filters(), 1);
	netcfg_free(net);
}

static void leaves_the_filters_of_others(void **state)
{
	static const char *const commands[] = {
		"tc qdisc add dev eth0 ingress",
		"tc filter add dev eth0 ingress prio 5 protocol ip u32 match u32 0 0 action mirred "
		"egress redirect dev lo",
		NULL
	};
	struct err err = { 0 };

	run(commands);
	netcfg_free(take());
	assert_int_equal(netcfg_release(&err), 0);
	assert_int_equal(n_filters(), 1);
}

static int packet_socket(const char *name)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* Whether @frame is among what has come, behind @hdr bytes. */
static bool came(int fd, size_t hdr, const uint8_t *frame)
{
	uint8_t buf[2048];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) >= 0) {
		if (n == (ssize_t)(hdr + FRAME) && !memcmp(buf + hdr, frame, FRAME))
			return true;
	}
	return false;
}

/*
 * From one to the other. Ethernet may lose frames, and the kernel does so until it has got round to
 * an interface that came up: it is sent until it arrives.
 */
static void carries(int from, int to, const uint8_t *frame, size_t from_hdr, size_t to_hdr)
{
	bool here = false;

	for (unsigned n = 0; !here && look_again(&n);) {
		(void)!write(from, frame + VNET_HDR - from_hdr, from_hdr + FRAME);
		here = came(to, to_hdr, frame + VNET_HDR);
	}
	assert_true(here);
}

static void packets_go_both_ways(void **state)
{
	static const char *const up[] = { "ip link set peer up", NULL };
	uint8_t frame[VNET_HDR + FRAME] = { 0 }, *ether = frame + VNET_HDR;
	struct netcfg *net = take();
	int fd, tap = net->links[0].tap_fd;

	run(up);
	fd = packet_socket("peer");
	memset(ether, 0xff, 6);
	ether[6] = 2;
	ether[12] = 0x88;
	ether[13] = 0xb5; /* for experiments */
	memset(ether + 14, 0x5a, FRAME - 14);
	carries(fd, tap, frame, 0, VNET_HDR);
	ether[6] = 6;
	carries(tap, fd, frame, VNET_HDR, 0);
	close(fd);
	netcfg_free(net);
}

static void refuses_bad_names(void **state)
{
	static const char *const names[] = { "", "a-name-that-is-longer-than-any-interface",
					     "sixteen-letters-" };
	uint8_t mac[NETCFG_MAC_LEN];
	unsigned mtu;
	struct err err;

	for (size_t i = 0; i < 3; i++) {
		err = (struct err){ 0 };
		assert_int_equal(netcfg_tap_open(names[i], &err), -EINVAL);
		assert_non_null(strstr(err.msg, "is no name of an interface"));
		assert_int_equal(netcfg_link_query(names[i], mac, &mtu, NULL), -EINVAL);
	}
	assert_int_equal(netcfg_tap_open("a/b", &err), -EINVAL);
	assert_int_equal(netcfg_link_query("none", mac, &mtu, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "address of interface 'none'"));
	assert_int_equal(netcfg_link_query("eth0", mac, &mtu, &err), 0);
	assert_int_equal(mtu, 1400);
	assert_int_equal(mac[5], 1);
}

static void a_tap_has_one_user(void **state)
{
	int fd = netcfg_tap_open("tap0", NULL);
	struct err err = { 0 };

	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(netcfg_tap_open("tap0", &err), -EBUSY);
	assert_non_null(strstr(err.msg, "open tap 'tap0'"));
	close(fd);
	/* It went with its descriptor. */
	assert_int_equal(if_nametoindex("tap0"), 0);
}

static void says_who_may_not(void **state)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct netcfg *net = NULL;
		struct err err = { 0 };

		/* A namespace of users that owns none of networks. */
		if (unshare(CLONE_NEWUSER) < 0)
			_exit(77);
		_exit(netcfg_take(&net, &err) == -EPERM && !net && err.msg[0] ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != 77)
		assert_int_equal(WEXITSTATUS(status), 0);
}

#define CASE(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(loopback_is_nothing_to_take),
		CASE(takes_what_the_engine_configured),
		CASE(keeps_interfaces_in_order),
		CASE(leaves_what_is_no_ethernet),
		CASE(refuses_more_than_fits),
		CASE(serves_one_machine_and_gives_back),
		CASE(leaves_the_filters_of_others),
		CASE(packets_go_both_ways),
		CASE(refuses_bad_names),
		CASE(a_tap_has_one_user),
		CASE(says_who_may_not),
	};

	if (system("ip -V >/dev/null 2>&1 && tc -V >/dev/null 2>&1") != 0)
		return test_skip("iproute2 is not installed");
	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		return test_skip("there is no /dev/net/tun");
	if (geteuid() != 0)
		return test_skip("needs root");
	if (unshare(CLONE_NEWNET) < 0)
		return test_skip("no network namespaces here");
	return cmocka_run_group_tests_name("netcfg", tests, NULL, NULL);
}
