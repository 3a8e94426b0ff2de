/* SPDX-License-Identifier: Apache-2.0 */
/*
 * husk's init in a machine: how commands start and end beside one another, what else the doorbell
 * does, programs of the payload loop, and what a driver's reset leaves standing. Each case has a
 * machine of its own.
 *
 * Needs the same as test_guest.c; skips itself otherwise.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "guest_vm.h"
#include "initx/netmsg.h"
#include "test.h"

static struct guest_vm *g;
static uint32_t next_id = 1;

static struct guest_vm_options options(void)
{
	return (struct guest_vm_options){ .kernel = getenv("HUSK_TEST_KERNEL"),
					  .modules = getenv("HUSK_TEST_MODULES"),
					  .busybox = "/bin/busybox",
					  .verbose = getenv("HUSK_TEST_VERBOSE") != NULL };
}

/* A shell script as a command with its own id; its record may get more items. */
static struct command *script_new(const char *script, uint32_t id)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	const char *envp[] = { "PATH=/bin", NULL };
	struct command *c;

	assert_int_equal(command_new("/bin/busybox", argv, envp, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	return c;
}

static void add_output(struct command *c, int *ret_fd)
{
	uint32_t stdio[6] = { INITX_STDIO_NULL, 0, INITX_STDIO_PIPE, 0, INITX_STDIO_STDOUT, 0 };

	stdio[3] = guest_vm_port(g, ret_fd);
	assert_int_equal(command_item_u32(c, INITX_ITEM_STDIO, stdio, 6, NULL), 0);
}

/* Everything that comes until the end of the stream. */
static void read_text(int fd, char *out, size_t size)
{
	ssize_t n = fd_read_full(fd, out, size - 1);

	out[n > 0 ? n : 0] = '\0';
}

static void *send_slow(void *opaque)
{
	return (void *)(intptr_t)guest_vm_send(g, opaque);
}

/* A child that hangs on its way to exec (it opens a FIFO) keeps no other command from starting. */
static void a_slow_start_blocks_nobody(void **state)
{
	static const char *const sysctl[] = { "../../tmp/fifo", "x" };
	CLEANUP(command_freep) struct command *slow = script_new("exit 8", next_id);
	uint32_t id = next_id++;
	const uint32_t is_there[] = { INITX_BELL_KILL, id, 0, 0 };
	struct guest_done d;
	pthread_t thread;
	char out[64];
	void *r;

	assert_true(guest_vm_shell(g, "mkfifo /tmp/fifo", out, sizeof(out), &d));
	assert_int_equal(command_item_strings(slow, INITX_ITEM_SYSCTL, NULL, 0, sysctl, 2, NULL),
			 0);
	assert_int_equal(pthread_create(&thread, NULL, send_slow, slow), 0);
	while (guest_vm_bell(g, is_there, 4) == -ESRCH)
		sched_yield();
	for (int i = 0; i < 3; i++) {
		assert_true(guest_vm_shell(g, "echo beside it", out, sizeof(out), &d));
		assert_string_equal(out, "beside it\n");
	}
	assert_false(guest_vm_wait(g, id, 0, &d));
	assert_true(guest_vm_shell(g, "cat /tmp/fifo; rm /tmp/fifo", out, sizeof(out), &d));
	assert_string_equal(out, "x");
	pthread_join(thread, &r);
	assert_int_equal((intptr_t)r, 0);
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.result, 8);
}

/* Killed before its exec: the start has not failed, the process has ended. */
static void a_slow_start_can_be_killed(void **state)
{
	static const char *const sysctl[] = { "../../tmp/fifo", "x" };
	CLEANUP(command_freep) struct command *slow = script_new("exit 8", next_id);
	uint32_t id = next_id++;
	const uint32_t kill_it[] = { INITX_BELL_KILL, id, SIGKILL, 0 };
	struct guest_done d;
	pthread_t thread;
	char out[64];
	void *r;

	assert_true(guest_vm_shell(g, "mkfifo /tmp/fifo", out, sizeof(out), &d));
	assert_int_equal(command_item_strings(slow, INITX_ITEM_SYSCTL, NULL, 0, sysctl, 2, NULL),
			 0);
	assert_int_equal(pthread_create(&thread, NULL, send_slow, slow), 0);
	while (guest_vm_bell(g, kill_it, 4) == -ESRCH)
		sched_yield();
	pthread_join(thread, &r);
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.term_signal, SIGKILL);
	assert_true(guest_vm_shell(g, "rm /tmp/fifo", out, sizeof(out), &d));
}

/* The end says how much output there is, though a child lives on and holds the pipe. */
static void the_end_counts_its_output(void **state)
{
	uint32_t id = next_id++, last = next_id++;
	CLEANUP(command_freep)
	struct command *c = script_new("sleep 1000 & echo 0123456789; echo $!", id);
	struct guest_done d;
	int AUTO_FD fd = -1;
	char out[64] = { 0 }, script[96];

	add_output(c, &fd);
	assert_int_equal(guest_vm_send(g, c), 0);
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_true(d.sent[0] > 11 && d.sent[0] < sizeof(out) && d.sent[1] == 0);
	assert_int_equal(fd_read_full(fd, out, d.sent[0]), d.sent[0]);
	assert_int_equal(strncmp(out, "0123456789\n", 11), 0);
	assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0), 0);
	snprintf(script, sizeof(script), "kill -9 %d", atoi(out + 11));
	CLEANUP(command_freep) struct command *end = script_new(script, last);
	assert_int_equal(guest_vm_send(g, end), 0);
	assert_true(guest_vm_wait(g, last, GUEST_WAIT_MS, &d));
	assert_int_equal(fd_read_full(fd, out, 1), 0);
}

static void maps_the_users_of_a_new_namespace(void **state)
{
	static const char uids[] = "0 1000 10\n", gids[] = "0 2000 10\n";
	const uint32_t flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID;
	uint32_t id = next_id++;
	CLEANUP(command_freep)
	struct command *c =
		script_new("echo $(cat /proc/self/uid_map) $(cat /proc/self/gid_map) $(id -u) "
			   "$(id -g); touch /dev/shm/theirs; exit $?",
			   id);
	struct guest_done d;
	int AUTO_FD fd = -1;
	char out[128];

	add_output(c, &fd);
	assert_int_equal(command_item_u32(c, INITX_ITEM_UNSHARE, &flags, 1, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_UIDMAP, uids, sizeof(uids) - 1, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_GIDMAP, gids, sizeof(gids) - 1, NULL), 0);
	assert_int_equal(guest_vm_send(g, c), 0);
	read_text(fd, out, sizeof(out));
	assert_string_equal(out, "0 1000 10 0 2000 10 0 0\n");
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.result, 0);
	assert_true(guest_vm_shell(g, "stat -c '%u %g' /dev/shm/theirs; rm /dev/shm/theirs", out,
				   sizeof(out), &d));
	assert_string_equal(out, "1000 2000\n");
}

/* Maps the kernel refuses: the namespace step fails, with what the child can know. */
static void refuses_bad_maps(void **state)
{
	const uint32_t flags = CLONE_NEWUSER;
	uint32_t id = next_id++;
	CLEANUP(command_freep) struct command *c = script_new("exit 0", id);
	struct guest_done d;

	assert_int_equal(command_item_u32(c, INITX_ITEM_UNSHARE, &flags, 1, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_UIDMAP, "nonsense", 8, NULL), 0);
	assert_int_equal(guest_vm_send(g, c), -EINVAL);
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.stage, INITX_STEP_NAMESPACES);
}

static void hands_descriptors_over(void **state)
{
	uint32_t id = next_id++, fds[4] = { 5, 0, 3, 0 };
	CLEANUP(command_freep)
	struct command *c =
		script_new("read x <&3; echo \"got $x\" >&5; ls /proc/self/fd | wc -l >&5", id);
	struct guest_done d;
	int AUTO_FD five = -1;
	int AUTO_FD three = -1;
	char out[64];

	fds[1] = guest_vm_port(g, &five);
	fds[3] = guest_vm_port(g, &three);
	assert_int_equal(command_item_u32(c, INITX_ITEM_FDS, fds, 4, NULL), 0);
	assert_int_equal(guest_vm_send(g, c), 0);
	assert_int_equal(fd_write_full(three, "bytes\n", 6), 0);
	read_text(five, out, sizeof(out));
	assert_string_equal(out, "got bytes\n6\n"); /* 0 to 2, 3, 5 and the directory */
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.result, 0);
}

static void refuses_bad_descriptors(void **state)
{
	uint32_t id = next_id++, fds[2] = { INITX_FDS_BELOW, 0 };
	CLEANUP(command_freep) struct command *c = script_new("exit 0", id);
	uint32_t many[2 * INITX_FDS_MAX + 2] = { 0 };
	CLEANUP(command_freep) struct command *too_many = script_new("exit 0", next_id++);
	int AUTO_FD fd = -1;

	fds[1] = guest_vm_port(g, &fd);
	assert_int_equal(command_item_u32(c, INITX_ITEM_FDS, fds, 2, NULL), 0);
	assert_int_equal(guest_vm_send(g, c), -EINVAL);
	assert_int_equal(command_item_u32(too_many, INITX_ITEM_FDS, many, ARRAY_LEN(many), NULL),
			 0);
	assert_int_equal(guest_vm_send(g, too_many), -EINVAL);
}

/* IPv4 and IPv6 on the loopback interface, which every guest has. */
static void sets_the_network_up(void **state)
{
	static const struct netmsg_addr v4 = { AF_INET, { 10, 9, 8, 7 }, 24 };
	static const struct netmsg_addr v6 = { AF_INET6, { 0xfd, 0x11, [15] = 0x22 }, 64 };
	static const struct netmsg_route net = { .dst = { AF_INET, { 10, 99 }, 16 } };
	static const struct netmsg_route net6 = { .dst = { AF_INET6, { 0xfd, 0x33 }, 48 } };
	CLEANUP(netmsg_freep) struct netmsg *m = NULL;
	uint32_t words[2] = { INITX_BELL_NET };
	const uint8_t *bytes;
	struct guest_done d;
	uint8_t answer[4];
	char out[512];
	size_t len;

	assert_int_equal(netmsg_new(&m, NULL), 0);
	assert_int_equal(netmsg_link(m, "lo", 9000, NULL, NULL), 0);
	assert_int_equal(netmsg_address(m, "lo", &v4, NULL), 0);
	assert_int_equal(netmsg_address(m, "lo", &v6, NULL), 0);
	assert_int_equal(netmsg_route(m, "lo", &net, NULL), 0);
	assert_int_equal(netmsg_route(m, "lo", &net6, NULL), 0);
	bytes = netmsg_bytes(m, &len);
	words[1] = (uint32_t)len;
	for (int twice = 0; twice < 2; twice++) { /* after a restore it is all there already */
		assert_int_equal(guest_vm_ask(g, words, 2, bytes, len, answer, 4), 0);
		assert_int_equal((int)le32_load(answer), 0);
	}
	assert_true(
		guest_vm_shell(g,
			       "cat /sys/class/net/lo/mtu; grep -c 10.9.8.7 /proc/net/fib_trie; "
			       "grep -c ^fd110000000000000000000000000022 /proc/net/if_inet6; "
			       "grep -c '^lo.0000630A' /proc/net/route; "
			       "grep -c ^fd330000000000000000000000000000 /proc/net/ipv6_route",
			       out, sizeof(out), &d));
	assert_string_equal(out, "9000\n2\n1\n1\n1\n");
}

static void reports_bad_networks(void **state)
{
	static const struct netmsg_addr v4 = { AF_INET, { 10, 9, 8, 7 }, 24 };
	CLEANUP(netmsg_freep) struct netmsg *m = NULL;
	uint32_t words[2] = { INITX_BELL_NET };
	uint8_t broken[64] = "lo";
	const uint8_t *bytes;
	uint8_t answer[4];
	size_t len;

	assert_int_equal(netmsg_new(&m, NULL), 0);
	assert_int_equal(netmsg_address(m, "none0", &v4, NULL), 0);
	bytes = netmsg_bytes(m, &len);
	words[1] = (uint32_t)len;
	assert_int_equal(guest_vm_ask(g, words, 2, bytes, len, answer, 4), 0);
	assert_int_equal((int)le32_load(answer), -ENODEV);
	words[1] = sizeof(broken);
	le32_store(broken + offsetof(struct initx_net, len), 4096);
	assert_int_equal(guest_vm_ask(g, words, 2, broken, sizeof(broken), answer, 4), 0);
	assert_int_equal((int)le32_load(answer), -EINVAL);
	words[1] = INITX_NET_MAX + 1; /* the connection ends */
	assert_int_equal(guest_vm_ask(g, words, 2, NULL, 0, answer, 4), -EIO);
}

static void says_how_it_is(void **state)
{
	static const uint32_t words[] = { INITX_BELL_STAT };
	uint8_t s[sizeof(struct initx_stat)];

	assert_int_equal(guest_vm_ask(g, words, 1, NULL, 0, s, sizeof(s)), 0);
	assert_int_equal(le32_load(s), 0);
	assert_true(le32_load(s + 4) > 1);
	assert_in_range(le64_load(s + 8), 256 * MIB, 512 * MIB);
	assert_in_range(le64_load(s + 16), 1 * MIB, le64_load(s + 8));
	assert_in_range(le64_load(s + 24), 0, 3600);
}

/* Several messages on one connection; one that stops in the middle costs only itself. */
static void a_doorbell_that_stops_is_dropped(void **state)
{
	static const uint32_t half[] = { INITX_BELL_KILL, 1 };
	uint8_t answer[4];
	struct guest_done d;
	char out[16];

	assert_int_equal(guest_vm_ask(g, half, 2, NULL, 0, answer, 4), -EIO);
	assert_true(guest_vm_shell(g, "echo on", out, sizeof(out), &d));
	assert_string_equal(out, "on\n");
}

/* What the driver forgets, the device forgets too: listening goes on. */
static void survives_a_reset_of_vsock(void **state)
{
	uint32_t id = next_id++;
	CLEANUP(command_freep)
	struct command *c = script_new(
		"cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport && dev=$(ls -d virtio*) && "
		"echo $dev >unbind && echo $dev >bind",
		id);
	struct guest_done d;
	char out[16];

	guest_vm_send(g, c); /* its bell may be lost in the reset */
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.result, 0);
	assert_true(guest_vm_shell(g, "echo again", out, sizeof(out), &d));
	assert_string_equal(out, "again\n");
}

/*
 * A process that may (the RAM disk's root holds every capability) writes to the mailbox and the
 * timeslice page: at words and elsewhere, in every width, what init would say among it. The machine
 * lives on. (Every offset: tests/unit/vmm/test_mailbox.c.)
 */
static void lives_with_a_hostile_mailbox_writer(void **state)
{
	static const char script[] =
		"mknod /tmp/mem c 1 1 && ln -sf /tmp/mem /dev/mem && "
		"devmem 0xf0000018 32 777777 && devmem 0xf0000000 32 0x444f4e45 && "
		"for base in 0xf0000000 0xf0001000; do for width in 8 16 32 64; do "
		"for off in 0 1 4 8 16 24 28 36 37 40 2048 4088; do "
		"for v in 0 0xffffffff 0x444f4e45 0x55534552; do "
		"devmem $((base + off)) $width $v 2>/dev/null; "
		"done; devmem $((base + off)) $width >/dev/null 2>&1; done; done; done; "
		"rm /dev/mem /tmp/mem; echo wrote";
	struct guest_done d;
	char out[64];

	assert_true(guest_vm_shell(g, script, out, sizeof(out), &d));
	assert_string_equal(out, "wrote\n");
	assert_true(guest_vm_wait(g, 777777, 0, &d)); /* it did get there */
	assert_true(guest_vm_shell(g, "echo alive", out, sizeof(out), &d));
	assert_string_equal(out, "alive\n");
}

/* ---- the payload loop ---- */

static void write_file(const char *path, const void *data, size_t len, int want)
{
	const struct rtg_config configs[] = { { "path", path }, { "mode", "0x180" } };
	const struct guest_values v = { .configs = configs, .n_configs = 2 };

	assert_int_equal(guest_vm_program(g, GUEST_WRITER, &v, data, len), want);
}

static void runs_programs_before_container_init(void **state)
{
	static const char *const flags[] = { "binfmt", "network", "hosts" };
	static const char line[] = ":hello:M::HELLO::/bin/busybox:";
	static const struct rtg_config configs[] = { { "hosts", "127.0.0.1 localhost\n" } };
	static const struct netmsg_addr v4 = { AF_INET, { 10, 1, 1, 1 }, 8 };
	CLEANUP(netmsg_freep) struct netmsg *m = NULL;
	struct rtg_blob blobs[2] = { { "binfmt", line, sizeof(line) - 1 }, { .key = "network" } };
	struct guest_values v = { flags, ARRAY_LEN(flags), configs, 1, blobs, 2 };
	static const uint32_t seed[17] = { INITX_BELL_SEED, 9 }, now[] = { INITX_BELL_TIME };
	static uint8_t content[23456];
	struct guest_done d;
	char out[256];

	assert_int_equal(guest_vm_program(g, GUEST_NOTHING, NULL, NULL, 0), 0);
	assert_int_equal(guest_vm_program(g, GUEST_CLOCK, NULL, NULL, 0), 0);
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 7 >> 2);
	write_file("/tmp/written", content, sizeof(content), 0);
	write_file("/none/written", content, 10, -ENOENT);
	assert_int_equal(netmsg_new(&m, NULL), 0);
	assert_int_equal(netmsg_address(m, "lo", &v4, NULL), 0);
	blobs[1].data = netmsg_bytes(m, &blobs[1].len);
	assert_int_equal(guest_vm_program(g, GUEST_CONTAINER, &v, NULL, 0), 0);
	/* at its snapshot point: clock and seed come before any process */
	guest_renew_time(guest_vm_config(g));
	assert_int_equal(guest_vm_bell(g, now, 1), 0);
	assert_int_equal(guest_vm_bell(g, seed, 17), 0);
	assert_true(guest_vm_shell(g,
				   "wc -c </tmp/written; stat -c %a /tmp/written; cat /etc/hosts; "
				   "grep -c 10.1.1.1 /proc/net/fib_trie; "
				   "grep interp /proc/sys/fs/binfmt_misc/hello",
				   out, sizeof(out), &d));
	assert_string_equal(out, "23456\n600\n127.0.0.1 localhost\n2\ninterpreter /bin/busybox\n");
}

static int setup(void **state)
{
	struct guest_vm_options opt = options();

	g = guest_vm_start(&opt);
	return g ? 0 : -1;
}

static int setup_payloads(void **state)
{
	struct guest_vm_options opt = options();

	opt.payloads = true;
	g = guest_vm_start(&opt);
	return g ? 0 : -1;
}

static int teardown(void **state)
{
	guest_vm_free(g);
	g = NULL;
	return 0;
}

static void sets_limits(void **state)
{
	static const uint32_t some[] = { INITX_BELL_LIMITS, 31, 0x4000000, 1 },
			      none[] = { INITX_BELL_LIMITS, UINT32_MAX, UINT32_MAX, UINT32_MAX },
			      left[] = { INITX_BELL_LIMITS, 0, 0, 0 };
	static const char show[] = "mkdir -p /tmp/cg; mount -t cgroup2 none /tmp/cg; cd "
				   "/tmp/cg/container; cat pids.max memory.max; cd /; "
				   "umount /tmp/cg";
	const struct {
		const uint32_t *words;
		const char *wanted;
	} steps[] = { { some, "31\n4362076160\n" },
		      { left, "31\n4362076160\n" },
		      { none, "max\nmax\n" } };
	char out[64];
	struct guest_done d;

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		assert_int_equal(guest_vm_bell(g, steps[i].words, 4), 0);
		assert_true(guest_vm_shell(g, show, out, sizeof(out), &d));
		assert_memory_equal(out, steps[i].wanted, strlen(steps[i].wanted));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_slow_start_blocks_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_start_can_be_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_counts_its_output, setup, teardown),
		cmocka_unit_test_setup_teardown(maps_the_users_of_a_new_namespace, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_bad_maps, setup, teardown),
		cmocka_unit_test_setup_teardown(hands_descriptors_over, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_bad_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(sets_the_network_up, setup, teardown),
		cmocka_unit_test_setup_teardown(reports_bad_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(says_how_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(sets_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(a_doorbell_that_stops_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_a_reset_of_vsock, setup, teardown),
		cmocka_unit_test_setup_teardown(lives_with_a_hostile_mailbox_writer, setup,
						teardown),
		cmocka_unit_test_setup_teardown(runs_programs_before_container_init, setup_payloads,
						teardown),
	};

	setlinebuf(stdout);
	signal(SIGPIPE, SIG_IGN);
	if (!getenv("HUSK_TEST_KERNEL") || !getenv("HUSK_TEST_MODULES"))
		return test_skip("HUSK_TEST_KERNEL and HUSK_TEST_MODULES are not set");
	if (access("/bin/busybox", X_OK) < 0)
		return test_skip("no /bin/busybox (apt-get install busybox-static)");
	return cmocka_run_group_tests_name("initx/guest", tests, NULL, NULL);
}
