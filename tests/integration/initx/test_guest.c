/* SPDX-License-Identifier: Apache-2.0 */
/*
 * husk's init in a machine: boot, commands, their ends and streams. Each case has a machine of its
 * own.
 *
 * Needs HUSK_TEST_KERNEL (a bzImage or vmlinux), HUSK_TEST_MODULES (its /lib/modules/VERSION) and a
 * static busybox; skips itself otherwise.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "guest_vm.h"
#include "test.h"

static struct guest_vm *g;
static uint32_t next_id = 1;
static bool use_root;
static time_t made; /* the machine */
static char root_dir[] = "/tmp/husk-guest-XXXXXX";

/* Run a program without streams; its end. */
static struct guest_done run(const char *path, const char *const *argv)
{
	CLEANUP(command_freep) struct command *c = NULL;
	struct guest_done done = { 0 };
	uint32_t id = next_id++;

	assert_int_equal(command_new(path, argv, NULL, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	guest_vm_send(g, c);
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &done));
	return done;
}

static struct guest_done shell(const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };

	return run("/bin/sh", argv);
}

/*
 * One phase of regular or container init: the milestone it stamps (0: it comes before the page for
 * them is mapped), and what it leaves behind.
 */
struct phase {
	const char *name;
	uint32_t stamp;
	const char *look, *want;
	bool root_only; /* only with a root directory of the host's */
};

static const struct phase phases[] = {
	{ "phase_1_device_for_memory", 0, "ls /dev/mem 2>/dev/null; echo gone", "gone\n", false },
	{ "phase_2_first_mounts", 0,
	  "grep -q ' /proc proc ' /proc/mounts && test -r /proc/self/stat && echo read", "read\n",
	  false },
	{ "phase_2_shared_memory", 0, "echo x >/dev/shm/x && cat /dev/shm/x; stat -c %a /dev/shm",
	  "x\n1777\n", false },
	{ "phase_3_modules", 0,
	  "for m in virtio_mmio vmw_vsock_virtio_transport virtio_rng fuse; do "
	  "test -d /sys/module/$m && echo $m; done",
	  "virtio_mmio\nvmw_vsock_virtio_transport\nvirtio_rng\nfuse\n", false },
	{ "phase_4_console", 0, "for i in 0 1 2; do basename $(readlink /proc/1/fd/$i); done",
	  "console\nconsole\nconsole\n", false },
	{ "phase_4_session", 0, "cut -d' ' -f6 /proc/1/stat", "1\n", false },
	{ "phase_5_regions", INITX_TS_INIT_CONFIG, "grep -c /dev/mem /proc/1/maps", "3\n", false },
	{ "phase_5_executable_area", INITX_TS_INIT_AREA,
	  "grep -q rwxp /proc/1/maps && echo there; grep -c rwxp /proc/self/maps", "there\n0\n",
	  false },
	{ "phase_6_clock", INITX_TS_INIT_TIME, NULL, NULL, false },
	{ "phase_7_payload_loop", INITX_TS_INIT_LOOP, "cat /proc/1/comm", "init\n", false },
	{ "phase_50_start", INITX_TS_START, "echo on", "on\n", false },
	{ "phase_52_root", INITX_TS_VIRTIOFS, "grep -c ' / virtiofs ' /proc/mounts", "1\n", true },
	{ "phase_54_filesystems", INITX_TS_FILESYSTEMS,
	  "for d in /proc /sys /dev /dev/shm /dev/mqueue; do grep -q \" $d \" /proc/mounts && "
	  "echo $d; done",
	  "/proc\n/sys\n/dev\n/dev/shm\n/dev/mqueue\n", true },
	{ "phase_55_root_moved", INITX_TS_VIRTIOFS,
	  "ls -d /mnt /init 2>/dev/null; readlink /proc/1/root; cat /etc/plain", "/\ntext\n",
	  true },
	{ "phase_56_terminals", INITX_TS_DEVPTS,
	  "test -c /dev/pts/ptmx && for l in fd stdin ptmx; do readlink /dev/$l; done",
	  "/proc/self/fd\n"
	  "/proc/self/fd/0\npts/ptmx\n",
	  false },
	{ "phase_58_hostname", INITX_TS_HOSTNAME, "hostname", "guest-test\n", false },
	{ "phase_59_loopback", INITX_TS_NETWORK,
	  "cat /sys/class/net/lo/flags; grep -c 127.0.0.1 /proc/net/fib_trie", "0x9\n2\n", false },
	{ "phase_65_complete", INITX_TS_COMPLETE, "echo on", "on\n", false },
	{ "phase_70_command_loop", INITX_TS_LOOP, "ls -l /proc/1/fd | grep -c eventpoll", "1\n",
	  false },
};

static void passes_a_phase(void **state)
{
	const struct phase *p = *state;
	struct guest_done d;
	char out[512];

	assert_true(!p->stamp || guest_vm_passed(g, p->stamp));
	assert_true(guest_vm_shell(g, p->look ? p->look : "date +%s", out, sizeof(out), &d));
	if (p->look)
		assert_string_equal(out, p->want);
	else
		assert_in_range(strtoll(out, NULL, 10), made - 1, time(NULL) + 1);
}

static void reports_exit_codes(void **state)
{
	assert_int_equal(shell("exit 0").result, 0);
	assert_int_equal(shell("exit 1").result, 1);
	assert_int_equal(shell("exit 255").result, 255);
	assert_int_equal(shell("exit 7").term_signal, 0);
}

static void reports_deadly_signals(void **state)
{
	static const int harmless[] = { SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP,
					SIGTTIN, SIGTTOU, SIGURG,  SIGWINCH };

	for (int sig = 1; sig <= 64; sig++) {
		bool kills = true;
		char script[64];
		struct guest_done d;

		for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
			kills &= sig != harmless[i];
		if (!kills)
			continue;
		snprintf(script, sizeof(script), "exec busybox kill -%d $$", sig);
		d = shell(script);
		assert_int_equal(d.term_signal, sig);
		assert_int_equal(d.result, 128 + sig);
	}
}

static void says_why_a_program_does_not_start(void **state)
{
	struct guest_done d = run("/bin/missing", NULL);

	assert_int_equal(d.result, -ENOENT);
	assert_int_equal(d.stage, INITX_STEP_EXEC);
	d = run("/etc/plain", NULL);
	assert_int_equal(d.result, -EACCES);
	assert_int_equal(d.stage, INITX_STEP_EXEC);
	d = run("missing-too", NULL);
	assert_int_equal(d.result, -ENOENT);
}

static void searches_the_path(void **state)
{
	const char *argv[] = { "true", NULL };

	assert_int_equal(run("true", argv).result, 0);
}

static void relays_output(void **state)
{
	struct guest_done d;
	char out[256];

	assert_true(guest_vm_shell(g, "echo one; echo two >&2; exit 3", out, sizeof(out), &d));
	assert_string_equal(out, "one\ntwo\n");
	assert_int_equal(d.result, 3);
}

static void makes_the_usual_places(void **state)
{
	struct guest_done d;
	char out[1024];

	assert_true(guest_vm_shell(
		g,
		"hostname; cat /proc/self/comm; test -c /dev/null && test -d /sys/kernel "
		"&& test -d /dev/pts && test -w /dev/shm && echo x >/dev/stdout && "
		"test ! -e /dev/mem && echo fine",
		out, sizeof(out), &d));
	assert_string_equal(out, "guest-test\ncat\nx\nfine\n");
}

static void takes_many_arguments(void **state)
{
	enum { N = 30000 };
	const char **argv = calloc(N + 4, sizeof(*argv));
	struct guest_done d;

	argv[0] = "sh";
	argv[1] = "-c";
	argv[2] = "test $# = 30000 && exit 9";
	for (int i = 0; i <= N; i++)
		argv[3 + i] = i == N + 1 ? NULL : "x";
	argv[3 + N + 1 - 1] = "x";
	argv[3 + N] = NULL;
	/* $0 takes one of them */
	argv[2] = "test $# = 29999 && exit 9";
	d = run("/bin/sh", argv);
	free(argv);
	assert_int_equal(d.result, 9);
}

static void takes_no_arguments(void **state)
{
	assert_int_equal(run("/bin/true", NULL).result, 0);
}

struct block_rule {
	const char *name;
	uint32_t path_len, argc, envc;
};

static const struct block_rule block_rules[] = {
	{ "refuses_a_block_without_a_path", 0, 0, 0 },
	{ "refuses_a_block_with_a_long_path", 5000, 0, 0 },
	{ "refuses_a_block_with_too_many_arguments", 4, 70000, 0 },
	{ "refuses_a_block_with_too_large_an_environment", 4, 0, 70000 },
	{ "refuses_a_block_with_too_many_strings", 4, 65535, 65535 },
	{ "refuses_a_block_whose_path_has_no_end", 3, 1, 1 },
};

static void refuses_a_block(void **state)
{
	const struct block_rule *bad = *state;
	uint8_t *slot = guest_vm_config(g) + INITX_COMMAND_OFFSET;
	static const uint32_t bell[] = { INITX_BELL_BELL };

	memset(slot + 4, 0x41, 4096);
	memcpy(slot + 16, "/bin", 5);
	le32_store(slot + 4, bad->path_len);
	le32_store(slot + 8, bad->argc);
	le32_store(slot + 12, bad->envc);
	le32_store(slot, INITX_COMMAND_MAGIC);
	assert_int_equal(guest_vm_bell(g, bell, 1), -EINVAL);
	assert_int_equal(guest_vm_bell(g, bell, 1), -EAGAIN); /* the slot is free again */
	assert_int_equal(shell("exit 4").result, 4);
}

struct record_rule {
	const char *name;
	unsigned at; /* in the record, 16 and up: in its only item */
	uint32_t value;
	int want;
};

static const struct record_rule record_rules[] = {
	{ "refuses_a_record_of_another_version", 4, 2, -EINVAL },
	{ "refuses_a_record_shorter_than_its_header", 8, 15, -EINVAL },
	{ "refuses_a_record_longer_than_the_slot", 8, 0x400000, -EINVAL },
	{ "refuses_a_record_without_an_id", 12, 0, -EINVAL },
	{ "refuses_an_unknown_item_that_is_required", 16, 0x1ffff, -EINVAL },
	{ "refuses_item_0_that_is_required", 16, 0x10000, -EINVAL },
	{ "refuses_an_item_longer_than_its_record", 20, 0x1000, -EINVAL },
	{ "refuses_an_item_whose_length_wraps", 20, 0xfffffff8, -EINVAL },
	{ "refuses_an_item_too_short_for_its_type", 20, 8, -EINVAL },
	{ "skips_an_unknown_item", 16, 0xffff, 0 },
};

static void refuses_a_record(void **state)
{
	const struct record_rule *bad = *state;
	static const uint32_t bell[] = { INITX_BELL_BELL }, ids[3] = { 0 };
	uint8_t *slot = guest_vm_config(g) + INITX_COMMAND_OFFSET;
	CLEANUP(command_freep) struct command *c = NULL;
	uint32_t id = next_id++;
	struct guest_done d;
	size_t len;

	assert_int_equal(command_new("/bin/true", NULL, NULL, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	command_bytes(c, &len);
	assert_int_equal(command_item_u32(c, INITX_ITEM_IDS, ids, 3, NULL), 0);
	assert_int_equal(command_place(c, guest_vm_config(g), NULL), 0);
	le32_store(slot + len - sizeof(struct initx_record) + bad->at, bad->value);
	assert_int_equal(guest_vm_bell(g, bell, 1), bad->want);
	if (!bad->want)
		assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(shell("exit 4").result, 4);
}

static void refuses_an_id_in_use(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;
	const char *argv[] = { "sh", "-c", "sleep 1000", NULL };
	uint32_t id = next_id++, kill_it[] = { INITX_BELL_KILL, id, SIGKILL, INITX_KILL_GROUP };
	struct guest_done d;

	assert_int_equal(command_new("/bin/sh", argv, NULL, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	assert_int_equal(guest_vm_send(g, c), 0);
	assert_int_equal(guest_vm_send(g, c), -EEXIST);
	assert_int_equal(guest_vm_bell(g, kill_it, 4), 0);
	/* two ends have come under this id: the refusal's, then the command's */
	do {
		assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	} while (d.result == -EEXIST && guest_vm_forget(g, id));
	assert_int_equal(d.term_signal, SIGKILL);
}

static void runs_many_at_once(void **state)
{
	enum { N = 64 };
	const char *argv[] = { "sh", "-c", "read x </etc/plain; sleep 0.3; exit 5", NULL };
	uint32_t first = next_id;
	struct guest_done d;

	for (int i = 0; i < N; i++) {
		CLEANUP(command_freep) struct command *c = NULL;

		assert_int_equal(command_new("/bin/sh", argv, NULL, &c, NULL), 0);
		assert_int_equal(command_record(c, next_id++, NULL), 0);
		assert_int_equal(guest_vm_send(g, c), 0);
	}
	for (uint32_t i = 0; i < N; i++) {
		assert_true(guest_vm_wait(g, first + i, GUEST_WAIT_MS, &d));
		assert_int_equal(d.result, 5);
	}
}

struct usage {
	int fds, pages; /* of init */
	long available; /* KiB, of the whole guest */
};

static struct usage usage(void)
{
	struct guest_done d;
	struct usage u;
	char out[96];

	assert_true(guest_vm_shell(g,
				   "sync; echo 3 >/proc/sys/vm/drop_caches; ls /proc/1/fd | wc -l; "
				   "cut -d' ' -f1 /proc/1/statm; "
				   "sed -n 's/MemAvailable: *\\([0-9]*\\).*/\\1/p' /proc/meminfo",
				   out, sizeof(out), &d));
	assert_int_equal(sscanf(out, "%d %d %ld", &u.fds, &u.pages, &u.available), 3);
	return u;
}

/* Before may have had a connection that was closing. */
static bool is_within(const struct usage *u, const struct usage *limit)
{
	return u->fds <= limit->fds && u->pages <= limit->pages &&
	       u->available > limit->available - 1024;
}

/* Neither init nor the kernel keeps anything of a command that has ended. */
static void leaks_nothing(void **state)
{
	int n = getenv("HUSK_TEST_LONG") ? 1000 : 100;
	struct usage before = { 0 }, after;
	struct guest_done d;
	char out[64];

	for (int i = -20; i < n; i++) { /* the first ones fill the kernel's caches */
		if (i == 0)
			before = usage();
		assert_true(guest_vm_shell(g, "echo $$ >/dev/null; exit 6", out, sizeof(out), &d));
		assert_int_equal(d.result, 6);
	}
	/* the last doorbell connection may still be closing */
	after = usage();
	for (int i = 0; i < 20 && !is_within(&after, &before); i++)
		after = usage();
	printf("available: %ld KiB, %ld KiB after %d commands\n", before.available, after.available,
	       n);
	printf("init: %d and %d descriptors, %d and %d pages\n", before.fds, after.fds,
	       before.pages, after.pages);
	assert_true(is_within(&after, &before));
}

static void kills_a_process_group(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;
	const char *argv[] = { "sh", "-c", "sleep 1000 & sleep 1000", NULL };
	uint32_t id = next_id++;
	uint32_t kill_group[] = { INITX_BELL_KILL, id, SIGKILL, INITX_KILL_GROUP };
	struct guest_done d;
	char out[64];

	assert_int_equal(command_new("/bin/sh", argv, NULL, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	assert_int_equal(guest_vm_send(g, c), 0);
	assert_int_equal(guest_vm_bell(g, kill_group, 4), 0);
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.term_signal, SIGKILL);
	assert_true(guest_vm_shell(g, "ps | grep -c 'sleep 1[0]00'", out, sizeof(out), &d));
	assert_string_equal(out, "0\n");
	assert_int_equal(guest_vm_bell(g, kill_group, 4), -ESRCH);
}

static void makes_a_pid_namespace(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;
	const char *argv[] = { "sh", "-c", "test $$ = 1 && exit 11", NULL };
	uint32_t id = next_id++, flags = 0x20000000 | 0x20000;
	struct guest_done d;

	assert_int_equal(command_new("/bin/sh", argv, NULL, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	assert_int_equal(command_item_u32(c, INITX_ITEM_UNSHARE, &flags, 1, NULL), 0);
	assert_int_equal(guest_vm_send(g, c), 0);
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.result, 11);
}

/* Mount item: flags, source, target, type, data. */
static void add_mount(struct command *c, uint64_t flags, const char *source, const char *target,
		      const char *type, const char *data)
{
	const uint32_t words[] = { (uint32_t)flags, (uint32_t)(flags >> 32) };
	const char *strings[] = { source, target, type, data };

	assert_int_equal(command_item_strings(c, INITX_ITEM_MOUNT, words, 2, strings, 4, NULL), 0);
}

/* A container with namespaces of its own, and a second process in it. */
static void enters_the_namespaces_of_a_command(void **state)
{
	CLEANUP(command_freep) struct command *a = NULL, *b = NULL;
	const char *wait_argv[] = { "sh", "-c", "sleep 1000", NULL };
	const char *look_argv[] = {
		"sh", "-c",
		"hostname; ps -o pid,args | grep -c 'sleep 100[0]'; cat /tmp/mark; "
		"cat /proc/sys/kernel/domainname; cat /proc/sys/kernel/msgmax; "
		"cat /secret 2>/dev/null; ls /hidden; test -c /dev/extra && echo node; "
		"echo x 2>/dev/null >/etc/plain || echo read-only",
		NULL
	};
	const char *envp[] = { "PATH=/bin", NULL };
	const char *masked[] = { "/hidden" }, *readonly[] = { "/etc" };
	const char *sysctl[] = { "kernel.msgmax", "4321" }, *device[] = { "/dev/extra" };
	static const uint32_t node[] = { 0020000 | 0600, 1, 3, 0, 0, 0 };
	const uint32_t flags = 0x20000000 | 0x20000 | 0x4000000 | 0x8000000;
	uint32_t ida = next_id++, idb = next_id++;
	const uint32_t enter[] = { flags, ida };
	uint32_t stdio[6] = { INITX_STDIO_NULL, 0, INITX_STDIO_PIPE, 0, INITX_STDIO_STDOUT, 0 };
	uint32_t kill_it[] = { INITX_BELL_KILL, ida, SIGKILL, 0 };
	uint32_t status_port;
	int AUTO_FD fd = -1;
	int AUTO_FD status_fd = -1;
	uint8_t status[16];
	struct guest_done d;
	char out[512];
	ssize_t n;

	assert_true(
		guest_vm_shell(g, "mkdir -p /hidden; echo no >/hidden/file", out, sizeof(out), &d));
	assert_int_equal(command_new("/bin/busybox", wait_argv, envp, &a, NULL), 0);
	assert_int_equal(command_record(a, ida, NULL), 0);
	assert_int_equal(command_item_u32(a, INITX_ITEM_UNSHARE, &flags, 1, NULL), 0);
	add_mount(a, 0, "proc", "/proc", "proc", "");
	add_mount(a, 0, "tmpfs", "/tmp", "tmpfs", "mode=1777");
	assert_int_equal(command_item_strings(a, INITX_ITEM_SYSCTL, NULL, 0, sysctl, 2, NULL), 0);
	assert_int_equal(command_item_strings(a, INITX_ITEM_DEVICE, node, 6, device, 1, NULL), 0);
	assert_int_equal(command_item_strings(a, INITX_ITEM_MASKED, NULL, 0, masked, 1, NULL), 0);
	assert_int_equal(command_item_strings(a, INITX_ITEM_READONLY, NULL, 0, readonly, 1, NULL),
			 0);
	assert_int_equal(command_item(a, INITX_ITEM_HOSTNAME, "inner", 5, NULL), 0);
	assert_int_equal(command_item(a, INITX_ITEM_DOMAINNAME, "domain", 6, NULL), 0);
	assert_int_equal(guest_vm_send(g, a), 0);
	stdio[3] = guest_vm_port(g, &fd);
	status_port = guest_vm_port(g, &status_fd);
	assert_int_equal(command_new("/bin/busybox", look_argv, envp, &b, NULL), 0);
	assert_int_equal(command_record(b, idb, NULL), 0);
	assert_int_equal(command_item_u32(b, INITX_ITEM_ENTER, enter, 2, NULL), 0);
	assert_int_equal(command_item_u32(b, INITX_ITEM_STDIO, stdio, 6, NULL), 0);
	assert_int_equal(command_item_u32(b, INITX_ITEM_STATUS, &status_port, 1, NULL), 0);
	assert_int_equal(guest_vm_send(g, b), 0);
	n = fd_read_full(fd, out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = '\0';
	assert_string_equal(out,
			    "inner\n1\ncat: can't open '/tmp/mark': No such file or directory\n"
			    "domain\n4321\nnode\nread-only\n");
	/* the end came over its own stream as well */
	assert_int_equal(fd_read_full(status_fd, status, sizeof(status)), 16);
	assert_int_equal(le32_load(status), idb);
	assert_int_equal(le32_load(status + 4), 0);
	assert_true(guest_vm_wait(g, idb, GUEST_WAIT_MS, &d));
	assert_int_equal(guest_vm_bell(g, kill_it, 4), 0);
	assert_true(guest_vm_wait(g, ida, GUEST_WAIT_MS, &d));
	assert_int_equal(d.term_signal, SIGKILL);
	/* nothing of it shows outside */
	assert_true(
		guest_vm_shell(g,
			       "hostname; cat /hidden/file; test -e /dev/extra && rm /dev/extra; "
			       "echo x >/etc/new && rm /etc/new && echo writable; rm -r /hidden",
			       out, sizeof(out), &d));
	assert_string_equal(out, "guest-test\nno\nwritable\n");
}

/* A classic BPF program that makes mkdir(2) fail with EPERM and allows the rest. */
static void installs_a_seccomp_program(void **state)
{
	/* sock_filter: u16 code, u8 jt, u8 jf, u32 k */
	static const uint64_t program[] = {
		0x0000000000000020, /* ld [0]: the system call's number */
		0x0000005301000015, /* jeq 83 (mkdir): next, else over one */
		0x0005000100000006, /* ret ERRNO | EPERM */
		0x7fff000000000006, /* ret ALLOW */
	};
	CLEANUP(command_freep) struct command *c = NULL;
	const char *argv[] = { "sh", "-c", "mkdir /tmp/never 2>/dev/null && exit 1; exit 12",
			       NULL };
	uint8_t item[8 + sizeof(program)] = { 0 };
	uint32_t id = next_id++;
	struct guest_done d;

	le32_store(item + 4, ARRAY_LEN(program));
	for (size_t i = 0; i < ARRAY_LEN(program); i++)
		le64_store(item + 8 + 8 * i, program[i]);
	assert_int_equal(command_new("/bin/sh", argv, NULL, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_NO_NEW_PRIVS, NULL, 0, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_SECCOMP, item, sizeof(item), NULL), 0);
	assert_int_equal(guest_vm_send(g, c), 0);
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.result, 12);
}

static void sets_identity_and_place(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;
	const char *argv[] = {
		"sh", "-c",
		"echo $(id -u) $(id -g) $(pwd) $(umask) $FOO $(grep NoNewPrivs /proc/self/status) "
		"$(grep CapEff /proc/self/status) $(ulimit -n)",
		NULL
	};
	const char *envp[] = { "FOO=bar", "PATH=/bin", NULL };
	uint32_t id = next_id++, ids[] = { 1000, 1001, 027 };
	uint32_t stdio[6] = { INITX_STDIO_NULL, 0, INITX_STDIO_PIPE, 0, INITX_STDIO_STDOUT, 0 };
	uint64_t caps[5] = { 0 };
	uint8_t limit[24] = { 7 };
	struct guest_done d;
	int AUTO_FD fd = -1;
	char out[256];
	ssize_t n;

	le64_store(limit + 8, 77);
	le64_store(limit + 16, 99);
	stdio[3] = guest_vm_port(g, &fd);
	assert_int_equal(command_new("/bin/busybox", argv, envp, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	assert_int_equal(command_item_u32(c, INITX_ITEM_STDIO, stdio, 6, NULL), 0);
	assert_int_equal(command_item_u32(c, INITX_ITEM_IDS, ids, 3, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_CWD, "/tmp", 4, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_NO_NEW_PRIVS, NULL, 0, NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_CAPS, caps, sizeof(caps), NULL), 0);
	assert_int_equal(command_item(c, INITX_ITEM_RLIMIT, limit, sizeof(limit), NULL), 0);
	assert_int_equal(guest_vm_send(g, c), 0);
	n = fd_read_full(fd, out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = '\0';
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_string_equal(out,
			    "1000 1001 /tmp 0027 bar NoNewPrivs: 1 CapEff: 0000000000000000 77\n");
}

static void gives_a_terminal(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;
	const char *argv[] = { "sh", "-c", "tty; stty size; read x; stty size; echo got $x", NULL };
	const char *envp[] = { "PATH=/bin", NULL };
	uint32_t id = next_id++, port;
	uint32_t stdio[6] = { INITX_STDIO_TERMINAL, 0, INITX_STDIO_TERMINAL, 0,
			      INITX_STDIO_TERMINAL, 0 };
	struct guest_done d;
	int AUTO_FD fd = -1;
	char out[512] = { 0 };
	ssize_t n;

	port = guest_vm_port(g, &fd);
	uint32_t terminal[] = { 30, 100, port }, size[] = { INITX_BELL_WINS, id, 31, 101 };

	assert_int_equal(command_new("/bin/busybox", argv, envp, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	assert_int_equal(command_item_u32(c, INITX_ITEM_TERMINAL, terminal, 3, NULL), 0);
	assert_int_equal(command_item_u32(c, INITX_ITEM_STDIO, stdio, 6, NULL), 0);
	assert_int_equal(guest_vm_send(g, c), 0);
	n = 0;
	while (!strstr(out, "30 100")) { /* it has looked at the first size */
		ssize_t k = read(fd, out + n, sizeof(out) - 1 - (size_t)n);

		assert_true(k > 0);
		n += k;
	}
	assert_int_equal(guest_vm_bell(g, size, 4), 0);
	assert_int_equal(fd_write_full(fd, "hello\n", 6), 0);
	while (!strstr(out, "got hello")) {
		ssize_t k = read(fd, out + n, sizeof(out) - 1 - (size_t)n);

		assert_true(k > 0);
		n += k;
	}
	assert_non_null(strstr(out, "/dev/pts/"));
	assert_non_null(strstr(out, "31 101"));
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.result, 0);
}

struct writer {
	int fd;
	size_t len;
};

static void *write_input(void *opaque)
{
	struct writer *w = opaque;
	uint8_t buf[8192];

	for (size_t at = 0; at < w->len; at += sizeof(buf)) {
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (uint8_t)((at + i) * 31 >> 3);
		if (fd_write_full(w->fd, buf, sizeof(buf)) < 0)
			break;
	}
	fd_close(w->fd);
	return NULL;
}

static void loses_nothing_with_a_slow_reader(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;
	const char *argv[] = { "cat", NULL };
	uint32_t id = next_id++;
	int in = -1;
	int AUTO_FD out = -1;
	uint32_t stdio[6] = { INITX_STDIO_PIPE, 0, INITX_STDIO_PIPE, 0, INITX_STDIO_STDOUT, 0 };
	size_t len = getenv("HUSK_TEST_LONG") ? 100 * MIB : 8 * MIB, got = 0;
	struct writer w;
	struct guest_done d;
	pthread_t thread;
	static uint8_t buf[65536];

	stdio[1] = guest_vm_port(g, &in);
	stdio[3] = guest_vm_port(g, &out);
	assert_int_equal(command_new("/bin/busybox", argv, NULL, &c, NULL), 0);
	assert_int_equal(command_record(c, id, NULL), 0);
	assert_int_equal(command_item_u32(c, INITX_ITEM_STDIO, stdio, 6, NULL), 0);
	assert_int_equal(guest_vm_send(g, c), 0);
	w = (struct writer){ in, len };
	assert_int_equal(pthread_create(&thread, NULL, write_input, &w), 0);
	for (;;) {
		ssize_t n = read(out, buf, got < 1 * MIB ? 1000 : sizeof(buf));

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != (uint8_t)((got + (size_t)i) * 31 >> 3))
				fail_msg("byte %zu differs", got + (size_t)i);
		got += (size_t)n;
		if (got < 64 * KIB) /* slow at first: everything backs up */
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	pthread_join(thread, NULL);
	assert_int_equal(got, len);
	assert_true(guest_vm_wait(g, id, GUEST_WAIT_MS, &d));
	assert_int_equal(d.result, 0);
}

static void answers_the_doorbell(void **state)
{
	uint32_t seed[17] = { INITX_BELL_SEED, 1, 2, 3 };
	static const uint32_t time_words[] = { INITX_BELL_TIME },
			      sync_words[] = { INITX_BELL_SYNC }, unknown[] = { 0x12345678 };

	assert_int_equal(guest_vm_bell(g, time_words, 1), 0);
	assert_int_equal(guest_vm_bell(g, sync_words, 1), 0);
	assert_int_equal(guest_vm_bell(g, seed, 17), 0);
	assert_int_equal(guest_vm_bell(g, unknown, 1), -EINVAL);
}

static void idles_without_cpu_time(void **state)
{
	struct timespec before, after;
	double used = 1;

	/* In one stretch of some: how soon it has settled is the machine's. */
	for (int i = 0; i < 20 && used >= 0.2; i++) {
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
		sleep(2);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
		used = (double)(after.tv_sec - before.tv_sec) +
		       (double)(after.tv_nsec - before.tv_nsec) / 1e9;
		printf("idle: %.3f s of CPU time\n", used);
	}
	assert_true(used < 0.2);
}

/* A root directory with busybox in it. */
static int make_root(void)
{
	char cmd[512];

	if (!mkdtemp(root_dir))
		return -1;
	snprintf(cmd, sizeof(cmd),
		 "cd %s && mkdir bin tmp etc proc sys dev root && cp /bin/busybox bin && "
		 "ln -s busybox bin/sh && ln -s busybox bin/true && echo text >etc/plain && "
		 "chmod 1777 tmp && chmod 755 .",
		 root_dir);
	return system(cmd);
}

/* The root directory is the same for all machines: a case leaves it as it was. */
static int group_setup(void **state)
{
	return use_root ? make_root() : 0;
}

static int group_teardown(void **state)
{
	char cmd[128];

	if (!use_root)
		return 0;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root_dir);
	return system(cmd) ? -1 : 0;
}

static int setup(void **state)
{
	struct guest_vm_options opt = { .kernel = getenv("HUSK_TEST_KERNEL"),
					.modules = getenv("HUSK_TEST_MODULES"),
					.busybox = "/bin/busybox",
					.root = use_root ? root_dir : NULL,
					.verbose = getenv("HUSK_TEST_VERBOSE") != NULL };

	made = time(NULL);
	g = guest_vm_start(&opt);
	if (g)
		printf("command loop after %.1f ms\n", (double)guest_vm_boot_ns(g) / 1e6);
	return g ? 0 : -1;
}

static int teardown(void **state)
{
	guest_vm_free(g);
	g = NULL;
	return 0;
}

#define CASE(f)                              \
	{                                    \
#f, f, setup, teardown, NULL \
	}
#define CASE_OF(f, row)                                        \
	{                                                      \
		(row)->name, f, setup, teardown, (void *)(row) \
	}
#define MAX_CASES 80

int main(int argc, char **argv)
{
	static const struct CMUnitTest common[] = {
		CASE(reports_exit_codes),
		CASE(reports_deadly_signals),
		CASE(says_why_a_program_does_not_start),
		CASE(searches_the_path),
		CASE(relays_output),
		CASE(makes_the_usual_places),
		CASE(takes_many_arguments),
		CASE(takes_no_arguments),
		CASE(refuses_an_id_in_use),
		CASE(runs_many_at_once),
		CASE(leaks_nothing),
		CASE(kills_a_process_group),
		CASE(makes_a_pid_namespace),
		CASE(enters_the_namespaces_of_a_command),
		CASE(installs_a_seccomp_program),
		CASE(sets_identity_and_place),
		CASE(gives_a_terminal),
		CASE(loses_nothing_with_a_slow_reader),
		CASE(answers_the_doorbell),
		CASE(idles_without_cpu_time),
	};
	struct CMUnitTest tests[MAX_CASES];
	size_t n = 0;

	use_root = argc > 1 && !strcmp(argv[1], "--root");
	setlinebuf(stdout);
	signal(SIGPIPE, SIG_IGN);
	if (!getenv("HUSK_TEST_KERNEL") || !getenv("HUSK_TEST_MODULES"))
		return test_skip("HUSK_TEST_KERNEL and HUSK_TEST_MODULES are not set");
	if (access("/bin/busybox", X_OK) < 0)
		return test_skip("no /bin/busybox (apt-get install busybox-static)");
	for (size_t i = 0; i < ARRAY_LEN(phases); i++)
		if (phases[i].root_only == use_root)
			tests[n++] = (struct CMUnitTest)CASE_OF(passes_a_phase, &phases[i]);
	for (size_t i = 0; i < ARRAY_LEN(common); i++)
		tests[n++] = common[i];
	for (size_t i = 0; !use_root && i < ARRAY_LEN(block_rules); i++)
		tests[n++] = (struct CMUnitTest)CASE_OF(refuses_a_block, &block_rules[i]);
	for (size_t i = 0; !use_root && i < ARRAY_LEN(record_rules); i++)
		tests[n++] = (struct CMUnitTest)CASE_OF(refuses_a_record, &record_rules[i]);
	return _cmocka_run_group_tests("initx/guest", tests, n, group_setup, group_teardown);
}
