/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces of the machine's process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "sandbox/sandbox.h"

/* Whether namespaces can be made without a user namespace around them. */
static bool may_make(void)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t has = CAP_CLEAR;

	if (caps)
		cap_get_flag(caps, CAP_SYS_ADMIN, CAP_EFFECTIVE, &has);
	cap_free(caps);
	return has == CAP_SET;
}

static void prepare(struct sandbox_namespaces *ns)
{
	ns->uid = geteuid();
	ns->gid = getegid();
	if (ns->flags && !may_make())
		ns->flags |= CLONE_NEWUSER;
}

static int report(const struct sandbox_namespaces *ns, int errnum, struct err *err)
{
	if (ns->flags & CLONE_NEWUSER)
		return err_errno(err, errnum,
				 "make namespaces (without CAP_SYS_ADMIN this needs user "
				 "namespaces: see sysctl user.max_user_namespaces)");
	return err_errno(err, errnum, "make namespaces");
}

/* Raw: libc has no fork with flags. Nothing but this thread exists, and it holds no lock. */
static long fork_into(const struct sandbox_namespaces *ns)
{
	struct clone_args args = { .flags = (uint64_t)ns->flags, .exit_signal = SIGCHLD };

	if (ns->cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)ns->cgroup_fd;
	}
	return syscall(SYS_clone3, &args, sizeof(args));
}

pid_t sandbox_fork(struct sandbox_namespaces *ns, struct err *err)
{
	long pid;

	prepare(ns);
	pid = fork_into(ns);
	if (pid < 0 && ns->cgroup_fd >= 0) {
		ns->cgroup_fd = -1;
		pid = fork_into(ns);
	}
	/* Where a filter does not know clone3(). */
	if (pid < 0 && errno == ENOSYS)
		pid = syscall(SYS_clone, (unsigned long)ns->flags | SIGCHLD, NULL, NULL, NULL, 0UL);
	return pid < 0 ? report(ns, errno, err) : (pid_t)pid;
}

static int write_file(const char *path, const char *text)
{
	int AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));
}

/* One id of each kind, and those as they are: an ordinary user may map no other. */
static int map_ids(const struct sandbox_namespaces *ns, struct err *err)
{
	char uids[40], gids[40];
	int r;

	snprintf(uids, sizeof(uids), "%u %u 1", ns->uid, ns->uid);
	snprintf(gids, sizeof(gids), "%u %u 1", ns->gid, ns->gid);
	r = write_file("/proc/self/setgroups", "deny");
	if (r == 0)
		r = write_file("/proc/self/uid_map", uids);
	if (r == 0)
		r = write_file("/proc/self/gid_map", gids);
	return r < 0 ? err_errno(err, -r, "map ids of a user namespace") : 0;
}

int sandbox_namespaces_enter(const struct sandbox_namespaces *ns, struct err *err)
{
	int r = ns->flags & CLONE_NEWUSER ? map_ids(ns, err) : 0;

	if (r < 0)
		return r;
	if (ns->flags & CLONE_NEWNS && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_errno(err, errno, "keep mounts of this process from the host's%s",
				 errno == EINVAL ? " (no mount point is at '/': in a chroot, "
						   "bind its directory onto itself first)"
						 : "");
	return 0;
}

int sandbox_unshare(struct sandbox_namespaces *ns, struct err *err)
{
	prepare(ns);
	if (unshare(ns->flags) < 0)
		return report(ns, errno, err);
	return sandbox_namespaces_enter(ns, err);
}
