/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of network tests and measurements. Every byte is checked.
 *
 *	netpeer serve PORT		TCP and UDP, both families, until it is killed; prints
 *"listening" netpeer ADDRESS PORT up N	send N bytes netpeer ADDRESS PORT down N	receive N
 *bytes netpeer ADDRESS PORT turns N	N times one byte each way netpeer ADDRESS PORT many N	N
 *connections, 1000 bytes each way netpeer ADDRESS PORT udp SIZE	100 datagrams of SIZE bytes
 *there and back
 *
 * A client prints "figure WHAT SECONDS" when all was as it should be.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PERIOD	 65521 /* prime: what is lost or doubled shows */
#define UDP_N	 100
#define UDP_MAX	 65507
#define LIMIT_S	 60

/* What a client wants, one byte and the number in eight. */
#define UP	 'u'
#define DOWN	 'd'
#define TURNS	 't'
#define CALL_LEN 9

static unsigned char pattern[2 * PERIOD];

static void die(const char *what)
{
	fprintf(stderr, "netpeer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void fill_pattern(void)
{
	uint32_t x = 12345;

	for (unsigned i = 0; i < PERIOD; i++) {
		x = x * 1103515245 + 12345;
		pattern[i] = pattern[i + PERIOD] = (unsigned char)(x >> 16);
	}
}

static void write_full(int fd, const void *p, size_t n)
{
	while (n) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);

		if (w <= 0)
			die("send");
		p = (const char *)p + w;
		n -= (size_t)w;
	}
}

static void read_full(int fd, void *p, size_t n)
{
	while (n) {
		ssize_t r = recv(fd, p, n, 0);

		if (r <= 0)
			die(r ? "receive" : "the other end closed");
		p = (char *)p + r;
		n -= (size_t)r;
	}
}

static void send_pattern(int fd, uint64_t n)
{
	for (uint64_t at = 0; at < n;) {
		size_t part = n - at < PERIOD ? (size_t)(n - at) : PERIOD;
		ssize_t w = send(fd, pattern + at % PERIOD, part, MSG_NOSIGNAL);

		if (w <= 0)
			die("send");
		at += (uint64_t)w;
	}
}

static void receive_pattern(int fd, uint64_t n)
{
	static unsigned char buf[PERIOD];

	for (uint64_t at = 0; at < n;) {
		size_t part = n - at < PERIOD ? (size_t)(n - at) : PERIOD;
		ssize_t r = recv(fd, buf, part, 0);

		if (r <= 0)
			die(r ? "receive" : "the other end closed");
		if (memcmp(buf, pattern + at % PERIOD, (size_t)r)) {
			errno = EBADMSG;
			die("data are not what was sent");
		}
		at += (uint64_t)r;
	}
}

static void set_up(int fd)
{
	struct timeval limit = { .tv_sec = LIMIT_S };
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* ---- the server ---- */

static void serve_call(int fd)
{
	unsigned char call[CALL_LEN], c;
	uint64_t n;

	set_up(fd);
	read_full(fd, call, sizeof(call));
	memcpy(&n, call + 1, sizeof(n));
	if (call[0] == UP) {
		receive_pattern(fd, n);
		write_full(fd, "k", 1);
	} else if (call[0] == DOWN) {
		send_pattern(fd, n);
	}
	while (call[0] == TURNS && n--) {
		read_full(fd, &c, 1);
		write_full(fd, &c, 1);
	}
	exit(0);
}

static int bound(int type, uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0), off = 0, on = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		die("bind");
	return fd;
}

static void echo(int fd)
{
	static unsigned char buf[UDP_MAX];
	struct sockaddr_in6 from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

	if (n >= 0)
		sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
}

static int serve(uint16_t port)
{
	struct pollfd p[2] = { { .fd = bound(SOCK_STREAM, port), .events = POLLIN },
			       { .fd = bound(SOCK_DGRAM, port), .events = POLLIN } };

	signal(SIGCHLD, SIG_IGN);
	if (listen(p[0].fd, 128) < 0)
		die("listen");
	puts("listening");
	fflush(stdout);
	while (poll(p, 2, -1) > 0) {
		if (p[0].revents) {
			int fd = accept(p[0].fd, NULL, NULL);

			if (fd >= 0 && fork() == 0)
				serve_call(fd);
			close(fd);
		}
		if (p[1].revents)
			echo(p[1].fd);
	}
	return 1;
}

/* ---- the client ---- */

struct peer {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr;
	socklen_t len;
	int type;
};

static int connected(const struct peer *to)
{
	int fd = socket(to->addr.any.sa_family, to->type, 0);

	if (fd < 0 || connect(fd, &to->addr.any, to->len) < 0)
		die("connect");
	set_up(fd);
	return fd;
}

static int call(const struct peer *to, char what, uint64_t n)
{
	unsigned char msg[CALL_LEN] = { (unsigned char)what };
	int fd = connected(to);

	memcpy(msg + 1, &n, sizeof(n));
	write_full(fd, msg, sizeof(msg));
	return fd;
}

static void go_up(const struct peer *to, uint64_t n)
{
	int fd = call(to, UP, n);
	char c;

	send_pattern(fd, n);
	read_full(fd, &c, 1);
	close(fd);
}

static void go_down(const struct peer *to, uint64_t n)
{
	int fd = call(to, DOWN, n);

	receive_pattern(fd, n);
	close(fd);
}

static void take_turns(const struct peer *to, uint64_t n)
{
	int fd = call(to, TURNS, n);
	unsigned char c = 0;

	for (uint64_t i = 0; i < n; i++) {
		unsigned char sent = (unsigned char)i;

		write_full(fd, &sent, 1);
		read_full(fd, &c, 1);
		if (c != sent)
			exit(1);
	}
	close(fd);
}

static void connect_many(const struct peer *to, uint64_t n)
{
	while (n--) {
		go_up(to, 1000);
		go_down(to, 1000);
	}
}

/* A network may lose datagrams, this one should not lose many. */
static void send_datagrams(const struct peer *to, uint64_t size)
{
	static unsigned char buf[UDP_MAX];
	struct timeval limit = { .tv_sec = 2 };
	unsigned back = 0;
	int fd = connected(to);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	for (unsigned i = 0; i < UDP_N; i++) {
		if (send(fd, pattern + i, size, 0) != (ssize_t)size)
			die("send");
		back += recv(fd, buf, sizeof(buf), 0) == (ssize_t)size &&
			!memcmp(buf, pattern + i, size);
		if (i + 1 - back > 5)
			die("datagrams are lost");
	}
	close(fd);
}

static const struct what {
	const char *name;
	int type;
	uint64_t max;
	void (*fn)(const struct peer *to, uint64_t n);
} whats[] = {
	{ "up", SOCK_STREAM, UINT64_MAX, go_up },
	{ "down", SOCK_STREAM, UINT64_MAX, go_down },
	{ "turns", SOCK_STREAM, UINT64_MAX, take_turns },
	{ "many", SOCK_STREAM, UINT64_MAX, connect_many },
	{ "udp", SOCK_DGRAM, UDP_MAX, send_datagrams },
};

static struct peer peer(const char *address, const char *port)
{
	struct peer p = { .len = sizeof(p.addr.v4) };

	p.addr.v4.sin_family = AF_INET;
	p.addr.v4.sin_port = htons((uint16_t)atoi(port));
	if (inet_pton(AF_INET, address, &p.addr.v4.sin_addr) == 1)
		return p;
	p.addr.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
					   .sin6_port = htons((uint16_t)atoi(port)) };
	p.len = sizeof(p.addr.v6);
	if (inet_pton(AF_INET6, address, &p.addr.v6.sin6_addr) != 1)
		die("address");
	return p;
}

static int client(char **argv)
{
	struct peer to = peer(argv[1], argv[2]);
	uint64_t n = strtoull(argv[4], NULL, 10);
	struct timespec a, b;

	for (unsigned i = 0; i < sizeof(whats) / sizeof(whats[0]); i++) {
		if (strcmp(argv[3], whats[i].name) || n > whats[i].max)
			continue;
		to.type = whats[i].type;
		clock_gettime(CLOCK_MONOTONIC, &a);
		whats[i].fn(&to, n);
		clock_gettime(CLOCK_MONOTONIC, &b);
		printf("figure %s-%llu %.6f\n", argv[3], (unsigned long long)n,
		       (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec));
		return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	fill_pattern();
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve((uint16_t)atoi(argv[2]));
	if (argc == 5)
		return client(argv);
	fputs("usage: netpeer serve PORT | netpeer ADDRESS PORT WHAT N\n", stderr);
	return 1;
}
