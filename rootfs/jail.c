/* SPDX-License-Identifier: Apache-2.0 */
/* The file server's jail. */
#include "rootfs/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/checked.h"
#include "base/fd.h"

#define CAP_BIT(cap) (1ULL << (cap))

/* To serve files of all owners, and to make them on behalf of their owners. */
#define CAPS_FILE                                                                               \
	(CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_FOWNER) |                 \
	 CAP_BIT(CAP_FSETID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_MKNOD) | \
	 CAP_BIT(CAP_SETFCAP))

#define CLONE_THREAD_FLAGS                                                                  \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
	 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* clang-format off */
#define ALLOW(call, why) { .nr = SYS_##call, .name = #call, .reason = why }
#define ALLOW_EQ(call, n, v, why) \
	{ .nr = SYS_##call, .name = #call, .reason = why, .op = JAIL_ARG_EQ, .arg = n, .value = v }
#define ALLOW_MASKED(call, n, m, v, why) \
	{ .nr = SYS_##call, .name = #call, .reason = why, .op = JAIL_ARG_MASKED, .arg = n, .mask = m, .value = v }

static const struct jail_syscall syscalls[] = {
	ALLOW(openat2, "every component by name, beneath a held directory"),
	ALLOW(openat, "a held O_PATH descriptor for real, through the descriptor directory"),
	ALLOW(close, "nodes and handles that end"),
	ALLOW(statx, "attributes; identity of nodes"),
	ALLOW(fstatfs, "STATFS"),
	ALLOW(readlinkat, "READLINK; names of nodes when they are saved"),
	ALLOW(symlinkat, "SYMLINK"),
	ALLOW(mkdirat, "MKDIR"),
	ALLOW(mknodat, "MKNOD"),
	ALLOW(linkat, "LINK, and naming a file made without a name"),
	ALLOW(unlinkat, "UNLINK, RMDIR"),
	ALLOW(renameat, "RENAME: libc prefers it without flags"),
	ALLOW(renameat2, "RENAME2"),
	ALLOW(fchmodat, "SETATTR of the mode"),
	ALLOW(fchownat, "SETATTR of the owner"),
	ALLOW(utimensat, "SETATTR of times"),
	ALLOW(ftruncate, "SETATTR of the size"),
	ALLOW(fallocate, "FALLOCATE"),
	ALLOW(preadv, "READ"),
	ALLOW(preadv2, "READ of what is cached"),
	ALLOW(pwritev, "WRITE"),
	ALLOW(pwritev2, "WRITE at the end"),
	ALLOW(copy_file_range, "COPY_FILE_RANGE"),
	ALLOW(lseek, "LSEEK; positions in directories"),
	ALLOW(getdents64, "READDIR, READDIRPLUS"),
	ALLOW(fsync, "FSYNC, FSYNCDIR"),
	ALLOW(fdatasync, "FSYNC of data"),
	ALLOW(syncfs, "SYNCFS"),
	ALLOW(getxattr, "GETXATTR; owners kept in attributes"),
	ALLOW(setxattr, "SETXATTR; owners kept in attributes"),
	ALLOW(listxattr, "LISTXATTR"),
	ALLOW(removexattr, "REMOVEXATTR"),
	ALLOW_EQ(ioctl, 1, FS_IOC_GETFLAGS, "lsattr"),
	ALLOW_EQ(ioctl, 1, FS_IOC_SETFLAGS, "chattr"),
	ALLOW(name_to_handle_at, "parking nodes; verifying restored ones"),
	ALLOW(open_by_handle_at, "parked nodes; needs the capability"),
	ALLOW(umask, "the requester's, where default ACLs decide"),
	ALLOW(setfsuid, "making files as the requester"),
	ALLOW(setfsgid, "making files as the requester"),
	ALLOW(setgroups, "making files as the requester"),
	ALLOW(capset, "giving capabilities up and back around that"),
	ALLOW(futex, "locks; sleeping until there is work"),
	ALLOW(sched_yield, "letting the guest run before watching for work"),
	ALLOW(clock_gettime, "watching for work, where the vDSO cannot tell"),
	ALLOW_EQ(fcntl, 1, F_GETFL, "libc"),
	ALLOW(mmap, "the allocator"),
	ALLOW(munmap, "the allocator"),
	ALLOW(mremap, "the allocator"),
	ALLOW(mprotect, "the allocator"),
	ALLOW(madvise, "the allocator; a thread's stack when it ends"),
	ALLOW(brk, "the allocator"),
	ALLOW(write, "interrupting the guest; the log"),
	ALLOW(tgkill, "waking a virtual CPU"),
	ALLOW(getpid, "waking a virtual CPU"),
	ALLOW(gettid, "libc"),
	ALLOW(rt_sigprocmask, "libc, around the end of a thread"),
	ALLOW(rt_sigreturn, "return from a handler"),
	ALLOW(restart_syscall, "interrupted waits"),
	ALLOW(exit, "the end of a thread"),
	ALLOW(exit_group, "the end"),
	/* Before the workers are all there; nothing else can be made than a thread. */
	{ .nr = SYS_clone3, .name = "clone3", .reason = "libc then uses clone, whose flags can be seen", .error = ENOSYS },
	ALLOW_MASKED(clone, 0, ~0ULL, CLONE_THREAD_FLAGS, "starting the other workers"),
	ALLOW_EQ(unshare, 0, CLONE_FS, "each worker's own umask"),
	ALLOW(fchdir, "each worker's own directory"),
	ALLOW(set_robust_list, "a new thread"),
	ALLOW(rseq, "a new thread"),
	ALLOW_EQ(prctl, 0, PR_SET_NAME, "a new thread's name"),
	ALLOW(capget, "a new worker"),
	ALLOW(sched_getaffinity, "libc, for a new thread's stack"),
};
/* clang-format on */

const struct jail_syscall *jail_syscalls(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(syscalls);
	return syscalls;
}

/* The new root on top of the old one, then the old one goes: nothing is left to climb to. */
static int root_change(int tree_fd, struct err *err)
{
	AUTO_FD int root = -1;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(err, errno, "make mounts private");
	if (syscall(SYS_move_mount, tree_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(err, errno, "attach the container's tree");
	root = openat(tree_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || fchdir(root) < 0)
		return err_errno(err, errno, "enter the container's tree");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_errno(err, errno, "change root to the container's tree");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 || chroot(".") < 0)
		return err_errno(err, errno, "leave the host's root");
	return fd_steal(&root);
}

static int fd_compare(const void *a, const void *b)
{
	return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

/* Close all but the sorted ones. */
static int fds_close_but(int *keep, size_t n, struct err *err)
{
	unsigned from = 0;

	qsort(keep, n, sizeof(*keep), fd_compare);
	for (size_t i = 0; i <= n; i++) {
		unsigned to = i < n ? (unsigned)keep[i] : ~0U;

		if (i < n && keep[i] < 0)
			continue;
		if (to > from && syscall(SYS_close_range, from, i < n ? to - 1 : to, 0) < 0)
			return err_errno(err, errno, "close descriptors");
		from = to + 1;
	}
	return 0;
}

int jail_enter(const struct jail_config *config, int keep_fd, struct err *err)
{
	AUTO_FREE int *keep = malloc((config->n_keep_fds + 2) * sizeof(*keep));
	AUTO_FD int root = -1;
	int r;

	if (!keep)
		return err_set(err, -ENOMEM, "jail");
	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(err, errno, "unshare mount namespace");
	root = root_change(config->tree_fd, err);
	if (root < 0)
		return root;
	for (size_t i = 0; i < config->n_keep_fds; i++)
		keep[i] = config->keep_fds[i];
	keep[config->n_keep_fds] = root;
	keep[config->n_keep_fds + 1] = keep_fd;
	r = fds_close_but(keep, config->n_keep_fds + 2, err);
	return r < 0 ? r : fd_steal(&root);
}

static int caps_limit(uint64_t keep, struct err *err)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];
	uint64_t have;

	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++) {
		/* EPERM: without CAP_SETPCAP there is nothing to inherit either. */
		if (!(keep & CAP_BIT(cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
		    errno != EINVAL && errno != EPERM)
			return err_errno(err, errno, "drop capability %u", cap);
	}
	if (syscall(SYS_capget, &h, d) < 0)
		return err_errno(err, errno, "read capabilities");
	have = (d[0].permitted | (uint64_t)d[1].permitted << 32) & keep;
	for (unsigned i = 0; i < 2; i++) {
		d[i].permitted = d[i].effective = (uint32_t)(have >> 32 * i);
		d[i].inheritable = 0;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &h, d) < 0)
		return err_errno(err, errno, "limit capabilities");
	return 0;
}

int jail_close(const struct jail_config *config, struct err *err)
{
	uint64_t keep = config->unprivileged ? 0 : CAPS_FILE;
	int r;

	if (config->file_handles && !config->unprivileged)
		keep |= CAP_BIT(CAP_DAC_READ_SEARCH);
	r = caps_limit(keep, err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, errno, "set no_new_privs");
	return 0;
}
