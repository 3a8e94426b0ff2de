/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that each role may make, and why.
 *
 * SECURITY.md shows them: tests/integration/jail.d/security_table compares, and writes.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>

#include "base/checked.h"
#include "sandbox/sandbox.h"

#define V   (1U << SANDBOX_VCPU)
#define D   (1U << SANDBOX_DEVICES)
#define C   (1U << SANDBOX_CONTROL)
#define F   (1U << SANDBOX_FILES)
#define P   (1U << SANDBOX_PROXY)
#define VM  (V | D | C | F)
#define ALL (VM | P)

/* clang-format off */
#define CALL(call) .nr = SYS_##call, .name = #call
#define EQ(n, v) { SANDBOX_ARG_EQ, (n), 0, (v) }
#define MASKED(n, m, v) { SANDBOX_ARG_MASKED, (n), (m), (v) }
#define SELF(n) { SANDBOX_ARG_SELF, (n), 0, 0 }

#define NOT_EXEC(n) MASKED(n, PROT_EXEC, 0)
#define NEW_MEMORY NOT_EXEC(2), MASKED(3, MAP_ANONYMOUS, MAP_ANONYMOUS)

#define ALLOW(r, call, why) { CALL(call), .roles = (r), .condition = "", .reason = why }
#define ALLOW_IF(r, call, text, why, ...) \
	{ CALL(call), .roles = (r), .condition = text, .reason = why, .args = { __VA_ARGS__ } }
/* What seldom happens: after failures, under memory pressure, on other hosts. */
#define RARE(r, call, why) { CALL(call), .roles = (r), .condition = "", .reason = why, .rare = true }
#define RARE_IF(r, call, text, why, ...) \
	{ CALL(call), .roles = (r), .condition = text, .reason = why, .args = { __VA_ARGS__ }, .rare = true }

#define ASSIST(request) \
	ALLOW_IF(V, ioctl, #request, "state, for instructions that KVM can't emulate", EQ(1, request))

#define SAVE(request) \
	ALLOW_IF(C, ioctl, #request, "the machine's state, for a snapshot", EQ(1, request))

static const struct sandbox_rule rules[] = {
	/* threads and the end */
	ALLOW(VM, futex, "locks; sleeping until there is work"),
	ALLOW(V | F, getrusage, "whether another thread wanted the processor that watching used"),
	ALLOW(V, sched_yield, "a vCPU of the software CPU that waits for another"),
	ALLOW(V | D, exit, "the end of a thread"),
	RARE(F, exit, "the end of a thread, where the server can't have all of its threads"),
	ALLOW(C | P, exit_group, "the end of the process"),
	ALLOW(V | D | F, exit_group, "the end of the process after a crash"),
	ALLOW(V | D, rt_sigprocmask, "libc, around the end of a thread"),
	RARE(F, rt_sigprocmask, "libc, around the end of a thread"),
	ALLOW(V, rt_sigreturn, "a page of a file's window (DAX) that the file no longer has"),
	RARE(D | F, rt_sigreturn, "the same, where a guest puts a device's buffer there"),
	ALLOW(P, restart_syscall, "a wait that a stop signal interrupted"),
	RARE(V, restart_syscall, "the same, of a vCPU with a timer"),
	RARE(C, restart_syscall, "the same, while a console takes no more"),
	ALLOW_IF(V | C, tgkill, "of this process", "waking a KVM vCPU", SELF(0)),
	RARE_IF(D | F | P, tgkill, "of this process", "libc's abort, when the program finds itself in error", SELF(0)),
	RARE(C | P, rt_sigprocmask, "libc's abort"),
	RARE(ALL, getpid, "libc's abort"),
	RARE(ALL, gettid, "libc's abort"),
	RARE(ALL, clock_gettime, "time, on hosts whose vDSO cannot tell it"),

	/* memory: never executable; a file's only for the file server */
	ALLOW_IF(ALL, mmap, "anonymous, not executable", "the allocator; holes in a file's window", NEW_MEMORY),
	ALLOW_IF(F, mmap, "in a given place, not executable", "file pages in a window of the guest (DAX)", NOT_EXEC(2), MASKED(3, MAP_FIXED, MAP_FIXED)),
	ALLOW(D | C | P, munmap, "the allocator; the guest's memory at the end"),
	RARE(V | F, munmap, "the allocator, when a driver resets a device with large tables"),
	ALLOW_IF(D | F, mprotect, "not executable", "the allocator", NOT_EXEC(2)),
	RARE_IF(V, mprotect, "not executable", "the allocator, when a vCPU needs memory for a device's request", NOT_EXEC(2)),
	RARE_IF(C, mprotect, "not executable", "the allocator, when the heap cannot grow in its place", NOT_EXEC(2)),
	ALLOW_IF(V | D, madvise, "MADV_DONTNEED", "a thread's stack when it ends; memory of decoded code", EQ(2, MADV_DONTNEED)),
	RARE_IF(F, madvise, "MADV_DONTNEED", "a thread's stack when it ends", EQ(2, MADV_DONTNEED)),
	RARE_IF(C, madvise, "MADV_DONTNEED", "the allocator, for what another thread allocated", EQ(2, MADV_DONTNEED)),
	RARE(C | F, mremap, "the allocator, when tables of more than 128 KiB grow"),
	ALLOW(C, brk, "the allocator"),
	RARE(P, brk, "the allocator, when the heap ends just there"),

	/* descriptors that are open */
	ALLOW(D | C | P, read, "consoles, streams, events, signals"),
	ALLOW(V | D | C | P, write, "consoles, streams, events, the log"),
	RARE(F, write, "the log; interrupting a KVM guest"),
	ALLOW(D | C | F | P, close, "streams, nodes and handles that end"),
	ALLOW(D | C, epoll_wait, "the event loop"),
	ALLOW(D | C, epoll_ctl, "the event loop"),
	ALLOW(C, timerfd_settime, "the event loop's timers"),
	RARE(V | D, timerfd_settime, "timers of the serial port, the PIT and consoles"),
	ALLOW_IF(D | C, fcntl, "F_GETFL", "streams that do not block", EQ(1, F_GETFL)),
	ALLOW_IF(D | C, fcntl, "F_SETFL", "streams that do not block", EQ(1, F_SETFL)),
	ALLOW_IF(C, fcntl, "F_DUPFD_CLOEXEC", "both directions of a terminal", EQ(1, F_DUPFD_CLOEXEC)),
	ALLOW(D | C, shutdown, "the end of one direction of a stream"),
	ALLOW_IF(D, ioctl, "FIONREAD", "whether a stream has more", EQ(1, FIONREAD)),
	ALLOW(P, poll, "waiting"),
	RARE(C, poll, "a console that takes no more, at the machine's end"),

	/* the control socket, streams of processes */
	ALLOW(C, accept4, "connections of verbs"),
	ALLOW(C | P, recvfrom, "how long a request is"),
	ALLOW(C | P, recvmsg, "requests"),
	ALLOW(C, sendmsg, "answers"),
	ALLOW(P, sendmsg, "signals and window sizes"),
	ALLOW(C, sendto, "telling create that the guest is ready"),
	ALLOW_IF(C, socketpair, "AF_UNIX", "streams of a process", EQ(0, AF_UNIX)),
	ALLOW_IF(C | P, ioctl, "TIOCGWINSZ", "the size of a terminal", EQ(1, TIOCGWINSZ)),
	ALLOW_IF(P, ioctl, "TIOCSWINSZ", "the size of a terminal", EQ(1, TIOCSWINSZ)),
	ALLOW_IF(P, ioctl, "TCGETS", "the caller's terminal", EQ(1, TCGETS)),
	ALLOW_IF(P, ioctl, "TCSETS", "the caller's terminal, raw and back", EQ(1, TCSETS)),
	ALLOW_IF(P, fcntl, "F_SETFL", "a socket and a terminal that do not block", EQ(1, F_SETFL)),

	/* a snapshot, into files that are open */
	ALLOW(C, pread64, "which pages the guest has touched"),
	ALLOW(C, pwrite64, "pages; state"),
	ALLOW(C, ftruncate, "the length of guest memory"),
	RARE_IF(C, madvise, "MADV_WILLNEED", "pages that another guest of the snapshot has read, and the host no longer holds", EQ(2, MADV_WILLNEED)),
	ALLOW_IF(C, madvise, "MADV_POPULATE_WRITE", "pages that another guest of the snapshot has written", EQ(2, MADV_POPULATE_WRITE)),
	ALLOW(C, getrandom, "what no other guest of the snapshot has"),

	/* the guest */
	ALLOW(V, getrandom, "the software CPU's RDRAND"),
	ALLOW(D, getrandom, "virtio-rng"),
	ALLOW(D, readv, "packets from a tap"),
	ALLOW(D, writev, "packets to a tap"),
	ALLOW_IF(D, ioctl, "TUNSETOFFLOAD", "what the guest takes from a tap", EQ(1, TUNSETOFFLOAD)),
	ALLOW_IF(V, ioctl, "KVM_RUN", "running the guest", EQ(1, KVM_RUN)),
	ALLOW(V, rt_sigtimedwait, "taking the signal that ended KVM_RUN"),
	ASSIST(KVM_GET_REGS), ASSIST(KVM_SET_REGS),
	ASSIST(KVM_GET_SREGS), ASSIST(KVM_SET_SREGS),
	ASSIST(KVM_GET_MSRS), ASSIST(KVM_SET_MSRS),
	ASSIST(KVM_GET_XSAVE), ASSIST(KVM_SET_XSAVE),
	ASSIST(KVM_GET_DEBUGREGS), ASSIST(KVM_SET_DEBUGREGS),
	ASSIST(KVM_GET_VCPU_EVENTS), ASSIST(KVM_SET_VCPU_EVENTS),
	ASSIST(KVM_GET_MP_STATE), ASSIST(KVM_SET_MP_STATE),
	RARE_IF(V, ioctl, "KVM_GET_XSAVE2", "the same, on CPUs with more state", EQ(1, KVM_GET_XSAVE2)),
	RARE_IF(V, ioctl, "KVM_SET_USER_MEMORY_REGION", "a KVM that interprets: pages with system call entries",
		EQ(1, KVM_SET_USER_MEMORY_REGION)),
	SAVE(KVM_GET_REGS), SAVE(KVM_GET_SREGS), SAVE(KVM_GET_MSRS), SAVE(KVM_GET_XSAVE),
	SAVE(KVM_GET_DEBUGREGS), SAVE(KVM_GET_VCPU_EVENTS), SAVE(KVM_GET_MP_STATE),
	SAVE(KVM_GET_LAPIC), SAVE(KVM_GET_IRQCHIP),
	RARE_IF(C, ioctl, "KVM_GET_XSAVE2", "the same, on CPUs with more state", EQ(1, KVM_GET_XSAVE2)),
	ALLOW_IF(V | D, ioctl, "KVM_IRQ_LINE", "interrupting the guest", EQ(1, KVM_IRQ_LINE)),

	/* files: the root is the container's tree, and nothing else is there */
	ALLOW(F, openat2, "every component by name, beneath a held directory; a program and its libraries, in the root"),
	ALLOW(F, openat, "a held O_PATH descriptor for real, through the descriptor directory"),
	ALLOW(F, statx, "attributes; identity of nodes"),
	ALLOW(F, fstatfs, "STATFS"),
	ALLOW(F, readlinkat, "READLINK"),
	ALLOW(F, symlinkat, "SYMLINK"),
	ALLOW(F, mkdirat, "MKDIR"),
	ALLOW(F, mknodat, "MKNOD"),
	ALLOW(F, linkat, "LINK, and naming a file made without a name"),
	ALLOW(F, unlinkat, "UNLINK, RMDIR"),
	ALLOW(F, renameat, "RENAME: libc prefers it without flags"),
	ALLOW(F, renameat2, "RENAME2"),
	ALLOW(F, fchmodat, "SETATTR of the mode"),
	ALLOW(F, fchownat, "SETATTR of the owner"),
	ALLOW(F, utimensat, "SETATTR of times"),
	ALLOW(F, ftruncate, "SETATTR of the size"),
	ALLOW(F, fallocate, "FALLOCATE"),
	ALLOW(F, preadv, "READ"),
	ALLOW(F, preadv2, "READ of what is cached"),
	ALLOW(F, pwritev, "WRITE"),
	ALLOW(F, pwritev2, "WRITE at the end"),
	ALLOW(F, copy_file_range, "COPY_FILE_RANGE"),
	ALLOW(F, lseek, "LSEEK; positions in directories"),
	ALLOW(F, getdents64, "READDIR, READDIRPLUS"),
	ALLOW(F, fsync, "FSYNC, FSYNCDIR"),
	ALLOW(F, fdatasync, "FSYNC of data"),
	ALLOW(F, syncfs, "SYNCFS"),
	ALLOW(F, getxattr, "GETXATTR; owners kept in attributes"),
	ALLOW(F, setxattr, "SETXATTR; owners kept in attributes"),
	ALLOW(F, listxattr, "LISTXATTR"),
	ALLOW(F, removexattr, "REMOVEXATTR"),
	ALLOW_IF(F, ioctl, "FS_IOC_GETFLAGS", "lsattr", EQ(1, FS_IOC_GETFLAGS)),
	ALLOW_IF(F, ioctl, "FS_IOC_FSGETXATTR", "chattr asks first", EQ(1, FS_IOC_FSGETXATTR)),
	ALLOW_IF(F, ioctl, "FS_IOC_SETFLAGS", "chattr", EQ(1, FS_IOC_SETFLAGS)),
	ALLOW(F, name_to_handle_at, "whether a restored node is the file it was"),
	ALLOW(F, umask, "the requester's, where default ACLs decide"),
	ALLOW(F, setfsuid, "making files as the requester"),
	ALLOW(F, setfsgid, "making files as the requester"),
	ALLOW(F, setgroups, "making files as the requester"),
	ALLOW(F, capset, "giving capabilities up and back around that"),
};
/* clang-format on */

const struct sandbox_rule *sandbox_rules(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(rules);
	return rules;
}

const char *sandbox_role_str(enum sandbox_role role)
{
	static const char *const names[SANDBOX_MAX_] = { "vCPU", "devices", "control", "files",
							 "proxy" };

	return role < SANDBOX_MAX_ ? names[role] : "?";
}
