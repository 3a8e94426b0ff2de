/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Try to break out of a running machine from each of its threads, as code that has taken the thread
 * over would: the thread itself makes the calls.
 *
 *	jail-inject PID MARKER	try everything, leave the machine as it was
 *	jail-inject --let PID THREAD	let THREAD make a call that is refused, and be caught
 *
 * A call counts as refused when the kernel sends SIGSYS for it, which is taken away again here; or,
 * for a file server's thread, when the file of the host is not there. MARKER is a file of the host
 * that anybody may read.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRATCH 4096 /* below the thread's stack pointer */
#define REFUSED INT64_MIN
#define MAX_TIDS 64

struct thread {
	pid_t pid, tid;
	char name[32];
	uint64_t syscall_insn, scratch;
	struct user_regs_struct regs;
};

/* What is tried. STRING: the address of @text in the thread's memory. */
#define STRING UINT64_MAX

struct attempt {
	const char *name;
	long nr;
	uint64_t args[6];
	const char *text;
	bool files_may; /* part of a file server's work */
};

#define NEW(flag) { "unshare " #flag, SYS_unshare, { flag } }

static const struct attempt attempts[] = {
	{ "open", SYS_open, { STRING, O_RDONLY }, "/proc/1/mem" },
	{ "openat", SYS_openat, { (uint64_t)AT_FDCWD, STRING, O_RDONLY }, "/etc/shadow", true },
	{ "creat", SYS_creat, { STRING, 0600 }, "/x" },
	{ "socket", SYS_socket, { AF_INET, SOCK_STREAM } },
	{ "socket AF_UNIX", SYS_socket, { AF_UNIX, SOCK_STREAM } },
	{ "socketpair AF_INET", SYS_socketpair, { AF_INET, SOCK_STREAM } },
	{ "connect", SYS_connect, { 0, STRING, 16 }, "" },
	{ "bind", SYS_bind, { 0, STRING, 16 }, "" },
	{ "execve", SYS_execve, { STRING, 0, 0 }, "/bin/sh" },
	{ "execveat", SYS_execveat, { (uint64_t)AT_FDCWD, STRING, 0, 0, 0 }, "/bin/sh" },
	{ "fork", SYS_fork, { 0 } },
	{ "vfork", SYS_vfork, { 0 } },
	{ "clone", SYS_clone, { SIGCHLD } },
	{ "clone of a thread", SYS_clone, { CLONE_VM | CLONE_THREAD | CLONE_SIGHAND } },
	{ "clone3", SYS_clone3, { STRING, 88 }, "" },
	{ "ptrace", SYS_ptrace, { PTRACE_ATTACH, 1 } },
	{ "process_vm_readv", SYS_process_vm_readv, { 1, STRING, 1, STRING, 1 }, "" },
	{ "process_vm_writev", SYS_process_vm_writev, { 1, STRING, 1, STRING, 1 }, "" },
	{ "pidfd_open", SYS_pidfd_open, { 1, 0 } },
	{ "pidfd_getfd", SYS_pidfd_getfd, { 0, 0, 0 } },
	{ "kill", SYS_kill, { 1, SIGTERM } },
	{ "tgkill of another process", SYS_tgkill, { 2, 2, SIGTERM } },
	{ "mount", SYS_mount, { STRING, STRING, STRING, 4096 /* MS_BIND */, 0 }, "/" },
	{ "umount2", SYS_umount2, { STRING, 0 }, "/" },
	{ "pivot_root", SYS_pivot_root, { STRING, STRING }, "/" },
	{ "chroot", SYS_chroot, { STRING }, "/" },
	{ "move_mount", SYS_move_mount, { 0, STRING, 0, STRING, 0 }, "" },
	{ "open_tree", SYS_open_tree, { (uint64_t)AT_FDCWD, STRING, 1 }, "/" },
	{ "fsopen", SYS_fsopen, { STRING, 0 }, "tmpfs" },
	NEW(CLONE_NEWUSER),
	NEW(CLONE_NEWNS),
	NEW(CLONE_NEWNET),
	NEW(CLONE_NEWPID),
	NEW(CLONE_FILES),
	{ "setns", SYS_setns, { 0, 0 } },
	{ "open_by_handle_at", SYS_open_by_handle_at, { (uint64_t)AT_FDCWD, STRING, 0 }, "" },
	{ "mmap executable", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0 } },
	{ "mmap of a file", SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE, 2, 0 } },
	{ "mprotect executable", SYS_mprotect, { 0, 4096, PROT_READ | PROT_EXEC } },
	{ "memfd_create", SYS_memfd_create, { STRING, 0 }, "x" },
	{ "seccomp", SYS_seccomp, { 0, 0, 0 } },
	{ "prctl", SYS_prctl, { PR_SET_DUMPABLE, 1 } },
	{ "bpf", SYS_bpf, { 0, STRING, 8 }, "" },
	{ "perf_event_open", SYS_perf_event_open, { STRING, 0, 0, 0, 0 }, "" },
	{ "userfaultfd", SYS_userfaultfd, { 0 } },
	{ "io_uring_setup", SYS_io_uring_setup, { 8, STRING }, "" },
	{ "keyctl", SYS_keyctl, { 0, 0 } },
	{ "init_module", SYS_init_module, { STRING, 1, STRING }, "" },
	{ "reboot", SYS_reboot, { 0, 0, 0 } },
	{ "setuid", SYS_setuid, { 0 } },
	{ "setrlimit", SYS_setrlimit, { 0, STRING }, "" },
	{ "rt_sigaction", SYS_rt_sigaction, { SIGSYS, 0, 0, 8 } },
	{ "ioctl TIOCSTI", SYS_ioctl, { 0, TIOCSTI, STRING }, "x" },
	{ "ioctl KVM_CREATE_VM", SYS_ioctl, { 0, KVM_CREATE_VM, 0 } },
	{ "fcntl F_SETOWN", SYS_fcntl, { 2, F_SETOWN, 1 } },
	{ "a call of 32 bits", 0x40000000L + SYS_getpid, { 0 } },
};

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* ---- one thread ---- */

static void find_syscall_insn(struct thread *t)
{
	char path[64], line[512];
	uint8_t page[4096];
	FILE *maps;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", t->pid);
	mem = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/%d/maps", t->pid);
	maps = fopen(path, "r");
	if (mem < 0 || !maps)
		die(path);
	while (!t->syscall_insn && fgets(line, sizeof(line), maps)) {
		uint64_t from, to;

		if (!strstr(line, "r-xp") || !strstr(line, "libc") ||
		    sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		for (; from < to && !t->syscall_insn; from += sizeof(page)) {
			if (pread(mem, page, sizeof(page), (off_t)from) != sizeof(page))
				break;
			for (unsigned i = 0; i + 1 < sizeof(page); i++) {
				if (page[i] == 0x0f && page[i + 1] == 0x05) {
					t->syscall_insn = from + i;
					break;
				}
			}
		}
	}
	fclose(maps);
	close(mem);
	if (!t->syscall_insn)
		die("no system call instruction");
}

static int wait_stop(const struct thread *t)
{
	int status;

	if (waitpid(t->tid, &status, __WALL) < 0)
		die("waitpid");
	return WIFSTOPPED(status) ? status : -1;
}

static void thread_take(struct thread *t)
{
	if (ptrace(PTRACE_SEIZE, t->tid, NULL, NULL) < 0 ||
	    ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL) < 0)
		die("ptrace");
	wait_stop(t);
	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &t->regs) < 0)
		die("ptrace registers");
	t->scratch = (t->regs.rsp - SCRATCH) & ~0xfULL;
	find_syscall_insn(t);
}

static void thread_let_go(struct thread *t)
{
	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &t->regs) < 0 ||
	    ptrace(PTRACE_DETACH, t->tid, NULL, NULL) < 0)
		die("ptrace detach");
}

static void put_text(const struct thread *t, const char *text)
{
	char buf[256] = "";

	snprintf(buf, sizeof(buf), "%s", text);
	for (size_t i = 0; i < sizeof(buf); i += 8) {
		uint64_t word;

		memcpy(&word, buf + i, 8);
		if (ptrace(PTRACE_POKEDATA, t->tid, t->scratch + i, word) < 0)
			die("ptrace memory");
	}
}

static void set_call(const struct thread *t, const struct attempt *a)
{
	struct user_regs_struct r = t->regs;
	uint64_t args[6];

	put_text(t, a->text ? a->text : "");
	for (unsigned i = 0; i < 6; i++)
		args[i] = a->args[i] == STRING && a->text ? t->scratch : a->args[i];
	r.orig_rax = UINT64_MAX; /* nothing to restart */
	r.rax = (uint64_t)a->nr;
	r.rdi = args[0];
	r.rsi = args[1];
	r.rdx = args[2];
	r.r10 = args[3];
	r.r8 = args[4];
	r.r9 = args[5];
	r.rip = t->syscall_insn;
	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &r) < 0)
		die("ptrace registers");
}

/* Return: what the call gave, or REFUSED. */
static int64_t thread_call(const struct thread *t, const struct attempt *a)
{
	struct user_regs_struct r;
	int status;

	set_call(t, a);
	/* The trap of the step before may still be due. */
	do {
		if (ptrace(PTRACE_SINGLESTEP, t->tid, NULL, NULL) < 0)
			die("ptrace step");
		status = wait_stop(t);
		if (status < 0) {
			printf("FAIL %s: %s ended the process\n", t->name, a->name);
			exit(1);
		}
		if (WSTOPSIG(status) == SIGSYS)
			return REFUSED;
		if (ptrace(PTRACE_GETREGS, t->tid, NULL, &r) < 0)
			die("ptrace registers");
	} while (r.rip == t->syscall_insn);
	return (int64_t)r.rax;
}

/* ---- attempts ---- */

static unsigned try_all(const struct thread *t, bool is_files)
{
	unsigned bad = 0;

	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		const struct attempt *a = &attempts[i];
		int64_t r = is_files && a->files_may ? REFUSED : thread_call(t, a);

		if (r == REFUSED)
			continue;
		printf("FAIL %s: %s gave %lld\n", t->name, a->name, (long long)r);
		bad++;
	}
	return bad;
}

/* A file of the host by every way that leads up or out. */
static unsigned try_paths(const struct thread *t, const char *marker)
{
	static const char *const ways[] = { "%s", "../../../../../../../..%s", "/proc/1/root%s",
					    "/proc/self/root%s", "/../..%s" };
	unsigned bad = 0;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		char path[256];
		struct attempt a = { "openat", SYS_openat, { (uint64_t)AT_FDCWD, STRING, O_RDONLY },
				     path };
		int64_t r;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(path, sizeof(path), ways[i], marker);
#pragma GCC diagnostic pop
		r = thread_call(t, &a);
		if (r == REFUSED || r == -ENOENT)
			continue;
		printf("FAIL %s: opening %s gave %lld\n", t->name, path, (long long)r);
		bad++;
	}
	return bad;
}

static unsigned list_threads(pid_t pid, struct thread *ret)
{
	char path[64];
	struct dirent *d;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		die(path);
	while ((d = readdir(dir)) && n < MAX_TIDS) {
		struct thread t = { .pid = pid, .tid = atoi(d->d_name) };
		FILE *f;

		if (t.tid <= 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, t.tid);
		f = fopen(path, "r");
		if (!f || !fgets(t.name, sizeof(t.name), f))
			die(path);
		fclose(f);
		t.name[strcspn(t.name, "\n")] = '\0';
		ret[n++] = t;
	}
	closedir(dir);
	return n;
}

/* Make one refused call in the named thread and go away. */
static int let(pid_t pid, const char *name)
{
	static const struct attempt exec = { "execve", SYS_execve, { STRING, 0, 0 }, "/bin/sh" };
	struct thread threads[MAX_TIDS];
	unsigned n = list_threads(pid, threads);

	for (unsigned i = 0; i < n; i++) {
		struct thread *t = &threads[i];

		if (strcmp(t->name, name))
			continue;
		thread_take(t);
		set_call(t, &exec);
		if (ptrace(PTRACE_DETACH, t->tid, NULL, NULL) < 0)
			die("ptrace detach");
		return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct thread threads[MAX_TIDS];
	unsigned n, bad = 0;

	if (argc == 4 && !strcmp(argv[1], "--let"))
		return let(atoi(argv[2]), argv[3]);
	if (argc != 3)
		return 2;
	n = list_threads(atoi(argv[1]), threads);
	for (unsigned i = 0; i < n; i++) {
		bool is_files = !strcmp(threads[i].name, "husk-fs");

		thread_take(&threads[i]);
		bad += try_all(&threads[i], is_files);
		bad += try_paths(&threads[i], argv[2]);
		thread_let_go(&threads[i]);
		printf("%s: %zu calls tried\n", threads[i].name,
		       sizeof(attempts) / sizeof(attempts[0]));
	}
	return bad ? 1 : 0;
}
