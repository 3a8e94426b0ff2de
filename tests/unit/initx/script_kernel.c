/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted kernel: what each system call notes and gives. */
#include "test.h"

#include "script_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

static void note(struct kernel *k, const char *what, const char *arg)
{
	size_t at = strlen(k->log);

	snprintf(k->log + at, sizeof(k->log) - at, "%s%s%s\n", what, arg ? " " : "",
		 arg ? arg : "");
}

static const char *text(struct rtg_machine *m, uint64_t addr)
{
	const char *s = addr ? rtg_machine_ptr(m, addr, 1) : "";

	return s ? s : "(bad address)";
}

static int64_t do_mmap(struct kernel *k, struct rtg_machine *m, const uint64_t *a)
{
	uint64_t p = rtg_machine_map(m, a[1]);

	if (!p)
		return -ENOMEM;
	if (a[5] == INITX_MAILBOX_PHYS)
		k->mailbox = p;
	else if (a[5] == INITX_TIMESLICE_PHYS)
		k->timeslice = p;
	else if (a[5] == INITX_CONFIG_PHYS)
		k->config = p;
	if (p == k->config && k->program)
		memcpy(rtg_machine_ptr(m, p, k->program_len), k->program, k->program_len);
	k->n_maps++;
	return (int64_t)p;
}

static void save_mailbox(struct kernel *k, struct rtg_machine *m)
{
	const uint8_t *p = k->mailbox ? rtg_machine_ptr(m, k->mailbox, 32) : NULL;

	for (int i = 0; p && i < 8; i++)
		k->mailbox_words[i] = le32_load(p + 4 * i);
}

/* struct nlmsgerr with error 0. */
static int64_t netlink_answer(struct rtg_machine *m, uint64_t addr)
{
	uint8_t *p = rtg_machine_ptr(m, addr, 36);

	if (!p)
		return -EFAULT;
	memset(p, 0, 36);
	le32_store(p, 36);
	le16_store(p + 4, NLMSG_ERROR);
	return 36;
}

bool script_syscall(void *opaque, struct rtg_machine *m, int64_t nr, const uint64_t a[6],
		    int64_t *ret)
{
	struct kernel *k = opaque;

	*ret = 0;
	if ((nr == k->fail_nr && ++k->n_uses == k->fail_at) || (k->fail_too && nr == k->fail_too)) {
		*ret = -k->fail_errno;
		note(k, "FAIL", NULL);
		return true;
	}
	switch (nr) {
	case SYS_mkdirat: note(k, "mkdir", text(m, a[1])); break;
	case SYS_mknodat: note(k, "mknod", text(m, a[1])); break;
	case SYS_mount: note(k, "mount", text(m, a[1])); break;
	case SYS_unlinkat: note(k, "unlink", text(m, a[1])); break;
	case SYS_init_module: note(k, "module", NULL); break;
	case SYS_openat:
		note(k, "open", text(m, a[1]));
		*ret = 5;
		break;
	case SYS_setsid: note(k, "setsid", NULL); break;
	case SYS_dup3: note(k, "dup", NULL); break;
	case SYS_mmap: *ret = do_mmap(k, m, a); break;
	case SYS_madvise: note(k, a[2] == 10 ? "dontfork" : "madvise", NULL); break;
	case SYS_clock_settime: note(k, "clock", NULL); break;
	case SYS_reboot:
		note(k, "reboot", NULL);
		save_mailbox(k, m);
		return false;
	case SYS_chdir: note(k, "chdir", text(m, a[0])); break;
	case SYS_chroot: note(k, "chroot", text(m, a[0])); break;
	case SYS_pivot_root: note(k, "pivot_root", text(m, a[0])); break;
	case SYS_symlinkat: note(k, "link", text(m, a[2])); break;
	case SYS_sethostname: note(k, "hostname", text(m, a[0])); break;
	case SYS_socket: note(k, a[0] == AF_NETLINK ? "netlink" : "socket", NULL); break;
	case SYS_read: *ret = k->answers_netlink ? netlink_answer(m, a[1]) : 0; break;
	case SYS_epoll_create1: note(k, "epoll", NULL); break;
	case SYS_epoll_pwait: /* in the command loop */ save_mailbox(k, m); return false;
	case SYS_nanosleep: /* nothing to do any more: init waits for a program */
		save_mailbox(k, m);
		return k->n_sleeps++ < 3;
	case SYS_write:
		strncat(k->console, text(m, a[1]),
			MIN(a[2], sizeof(k->console) - 1 - strlen(k->console)));
		*ret = (int64_t)a[2];
		break;
	default: break;
	}
	return true;
}

char *script_source(const char *name)
{
	char path[512];
	char *buf = calloc(1, 65536);
	int AUTO_FD fd = -1;

	snprintf(path, sizeof(path), "%s/%s", GUEST_DIR, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && fd_read_full(fd, buf, 65535) > 0);
	return buf;
}
