/* SPDX-License-Identifier: Apache-2.0 */
/*
 * husk's init in a machine: boot, commands, their ends and streams.
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
	assert_true(guest_vm_wait(g, id, 30000, &done));
	return done;
}

static struct guest_done shell(const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };

	return run("/bin/sh", argv);
}

static void stamps_its_milestones(void **state)
{
	static const uint32_t ids[] = {
		INITX_TS_INIT_CONFIG, INITX_TS_INIT_AREA, INITX_TS_INIT_LOOP,	INITX_TS_COPY,
		INITX_TS_CALL,	      INITX_TS_START,	  INITX_TS_FILESYSTEMS, INITX_TS_DEVPTS,
		INITX_TS_HOSTNAME,    INITX_TS_NETWORK,	  INITX_TS_COMPLETE,	INITX_TS_LOOP
	};

	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		assert_true(guest_vm_passed(g, ids[i]));
	assert_int_equal(guest_vm_passed(g, INITX_TS_VIRTIOFS), use_root);
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

static void refuses_blocks_that_break_a_rule(void **state)
{
	uint8_t *slot = guest_vm_config(g) + INITX_COMMAND_OFFSET;
	static const uint32_t bell[] = { INITX_BELL_BELL };
	static const uint32_t bad[][3] = {
		{ 0, 0, 0 },	 { 5000, 0, 0 },      { 4, 70000, 0 },
		{ 4, 0, 70000 }, { 4, 65535, 65535 }, { 3, 1, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		memset(slot + 4, 0x41, 4096);
		memcpy(slot + 16, "/bin", 5);
		for (int j = 0; j < 3; j++)
			le32_store(slot + 4 + 4 * j, bad[i][j]);
		le32_store(slot, INITX_COMMAND_MAGIC);
		assert_int_equal(guest_vm_bell(g, bell, 1), -EINVAL);
	}
	assert_int_equal(guest_vm_bell(g, bell, 1), -EAGAIN);
	assert_int_equal(shell("exit 4").result, 4);
}

/* Records: where they begin, and what is wrong with them there. */
static void refuses_records_that_break_a_rule(void **state)
{
	static const struct {
		unsigned at; /* in the record, 16 and up: in its only item */
		uint32_t value;
		int want;
	} bad[] = {
		{ 4, 2, -EINVAL },				 /* version */
		{ 8, 15, -EINVAL },				 /* total below its own header */
		{ 8, 0x400000, -EINVAL },			 /* total behind the slot */
		{ 12, 0, -EINVAL },				 /* id */
		{ 16, 0x1ffff, -EINVAL },			 /* unknown and required */
		{ 16, 0x10000, -EINVAL },			 /* type 0, required */
		{ 20, 0x1000, -EINVAL },			 /* longer than the record */
		{ 20, 0xfffffff8, -EINVAL }, { 20, 8, -EINVAL }, /* too short for its type */
		{ 16, 0xffff, 0 },				 /* unknown, and may be skipped */
	};
	static const uint32_t bell[] = { INITX_BELL_BELL }, ids[3] = { 0 };
	uint8_t *slot = guest_vm_config(g) + INITX_COMMAND_OFFSET;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEANUP(command_freep) struct command *c = NULL;
		uint32_t id = next_id++;
		struct guest_done d;
		size_t len;

		assert_int_equal(command_new("/bin/true", NULL, NULL, &c, NULL), 0);
		assert_int_equal(command_record(c, id, NULL), 0);
		command_bytes(c, &len);
		assert_int_equal(command_item_u32(c, INITX_ITEM_IDS, ids, 3, NULL), 0);
		assert_int_equal(command_place(c, guest_vm_config(g), NULL), 0);
		le32_store(slot + len - sizeof(struct initx_record) + bad[i].at, bad[i].value);
		assert_int_equal(guest_vm_bell(g, bell, 1), bad[i].want);
		if (!bad[i].want)
			assert_true(guest_vm_wait(g, id, 30000, &d));
	}
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
		assert_true(guest_vm_wait(g, id, 30000, &d));
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
		assert_true(guest_vm_wait(g, first + i, 60000, &d));
		assert_int_equal(d.result, 5);
	}
}

static void leaks_nothing(void **state)
{
	struct guest_done d;
	char before[64], after[64], out[64];

	/* init's descriptors, seen from a child of its own */
	assert_true(
		guest_vm_shell(g, "ls /proc/1/fd 2>/dev/null | wc -l", before, sizeof(before), &d));
	for (int i = 0; i < (getenv("HUSK_TEST_LONG") ? 1000 : 100); i++) {
		assert_true(guest_vm_shell(g, "echo $$ >/dev/null; exit 6", out, sizeof(out), &d));
		assert_int_equal(d.result, 6);
	}
	/* the last doorbell connection may still be closing */
	for (int i = 0; i < 20; i++) {
		assert_true(guest_vm_shell(g, "ls /proc/1/fd 2>/dev/null | wc -l", after,
					   sizeof(after), &d));
		if (!strcmp(before, after))
			break;
	}
	assert_string_equal(before, after);
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
	assert_true(guest_vm_wait(g, id, 30000, &d));
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
	assert_true(guest_vm_wait(g, id, 30000, &d));
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
	assert_true(guest_vm_wait(g, idb, 30000, &d));
	assert_int_equal(guest_vm_bell(g, kill_it, 4), 0);
	assert_true(guest_vm_wait(g, ida, 30000, &d));
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
	assert_true(guest_vm_wait(g, id, 30000, &d));
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
	assert_true(guest_vm_wait(g, id, 30000, &d));
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
	assert_true(guest_vm_wait(g, id, 30000, &d));
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
	assert_true(guest_vm_wait(g, id, 30000, &d));
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
	double used;

	sleep(1);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	sleep(getenv("HUSK_TEST_LONG") ? 5 : 2);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	used = (double)(after.tv_sec - before.tv_sec) +
	       (double)(after.tv_nsec - before.tv_nsec) / 1e9;
	printf("idle: %.3f s of CPU time\n", used);
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

static int setup(void **state)
{
	struct guest_vm_options opt = { .kernel = getenv("HUSK_TEST_KERNEL"),
					.modules = getenv("HUSK_TEST_MODULES"),
					.busybox = "/bin/busybox",
					.verbose = getenv("HUSK_TEST_VERBOSE") != NULL };

	if (use_root && make_root() != 0)
		return -1;
	opt.root = use_root ? root_dir : NULL;
	g = guest_vm_start(&opt);
	if (g)
		printf("command loop after %.1f ms\n", (double)guest_vm_boot_ns(g) / 1e6);
	return g ? 0 : -1;
}

static int teardown(void **state)
{
	char cmd[128];

	guest_vm_free(g);
	if (!use_root)
		return 0;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root_dir);
	return system(cmd) ? -1 : 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stamps_its_milestones),
		cmocka_unit_test(reports_exit_codes),
		cmocka_unit_test(reports_deadly_signals),
		cmocka_unit_test(says_why_a_program_does_not_start),
		cmocka_unit_test(searches_the_path),
		cmocka_unit_test(relays_output),
		cmocka_unit_test(makes_the_usual_places),
		cmocka_unit_test(takes_many_arguments),
		cmocka_unit_test(takes_no_arguments),
		cmocka_unit_test(refuses_blocks_that_break_a_rule),
		cmocka_unit_test(refuses_records_that_break_a_rule),
		cmocka_unit_test(refuses_an_id_in_use),
		cmocka_unit_test(runs_many_at_once),
		cmocka_unit_test(leaks_nothing),
		cmocka_unit_test(kills_a_process_group),
		cmocka_unit_test(makes_a_pid_namespace),
		cmocka_unit_test(enters_the_namespaces_of_a_command),
		cmocka_unit_test(installs_a_seccomp_program),
		cmocka_unit_test(sets_identity_and_place),
		cmocka_unit_test(gives_a_terminal),
		cmocka_unit_test(loses_nothing_with_a_slow_reader),
		cmocka_unit_test(answers_the_doorbell),
		cmocka_unit_test(idles_without_cpu_time),
	};

	use_root = argc > 1 && !strcmp(argv[1], "--root");
	setlinebuf(stdout);
	signal(SIGPIPE, SIG_IGN);
	if (!getenv("HUSK_TEST_KERNEL") || !getenv("HUSK_TEST_MODULES"))
		return test_skip("HUSK_TEST_KERNEL and HUSK_TEST_MODULES are not set");
	if (access("/bin/busybox", X_OK) < 0)
		return test_skip("no /bin/busybox (apt-get install busybox-static)");
	return cmocka_run_group_tests_name("initx/guest", tests, setup, teardown);
}
