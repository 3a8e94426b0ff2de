/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container init against a scripted kernel (script_kernel.h), as far as its command loop: the
 * phases, and what it says of each system call that fails.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "initx/netmsg.h"
#include "script_kernel.h"

/* Calls the program as regular init does, with the regions it has mapped. */
static const char caller[] = "package main\n"
			     "func region(phys int64, size int64) uintptr {\n"
			     "	return uintptr(Syscall(SYS_MMAP, 0, size, 3, 1, -1, phys))\n"
			     "}\n"
			     "func main(sp uintptr) int64 {\n"
			     "	return program(region(INITX_MAILBOX_PHYS, INITX_MAILBOX_SIZE),\n"
			     "		region(INITX_TIMESLICE_PHYS, INITX_TIMESLICE_SIZE),\n"
			     "		region(INITX_CONFIG_PHYS, INITX_CONFIG_SIZE))\n"
			     "}\n";

#define MAX_FILES 20

/* The program's main() under another name: the caller above has that one. */
static void rename_main(char *text)
{
	char *at = strstr(text, "func main("), *rest = at + strlen("func main(");

	assert_non_null(at);
	memmove(at + strlen("func program("), rest, strlen(rest) + 1);
	memcpy(at, "func program(", strlen("func program("));
}

static void run(struct kernel *k, struct rtg_run_result *ret)
{
	static const char *const flags[] = { "rootfs", "hostname", "network", "readonly_root" };
	static const struct rtg_config configs[] = { { "hostname", "box" } };
	CLEANUP(netmsg_freep) struct netmsg *net = NULL;
	struct rtg_blob blob = { .key = "network" };
	const char *const *files = guest_program_files(GUEST_CONTAINER);
	struct rtg_source src[MAX_FILES + 1] = { { "caller", caller, strlen(caller) } };
	struct rtg_options opt = { .flags = flags,
				   .n_flags = ARRAY_LEN(flags),
				   .configs = configs,
				   .n_configs = 1,
				   .blobs = &blob,
				   .n_blobs = 1,
				   .consts = guest_consts,
				   .n_consts = n_guest_consts,
				   .syscall = script_syscall,
				   .syscall_opaque = k };
	char *texts[MAX_FILES];
	size_t n = 0;
	struct rtg_output out;
	struct err err = { 0 };

	assert_int_equal(netmsg_new(&net, NULL), 0);
	assert_int_equal(netmsg_link(net, "eth0", 0, NULL, NULL), 0);
	blob.data = netmsg_bytes(net, &blob.len);
	for (; files[n]; n++) {
		texts[n] = script_source(files[n]);
		if (n == 0)
			rename_main(texts[n]);
		src[n + 1] = (struct rtg_source){ files[n], texts[n], strlen(texts[n]) };
	}
	if (rtg_interpret(&opt, src, n + 1, 50000000, ret, &out, &err) < 0)
		fail_msg("%s\n%s", err.msg, out.diagnostics);
	rtg_output_done(&out);
	free(ret->out);
	ret->out = NULL;
	while (n)
		free(texts[--n]);
}

/* The lines of @want in their order; others may stand between. */
static void assert_steps(const char *log, const char *const *want, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *at = strstr(log, want[i]);

		if (!at)
			fail_msg("no '%s' where it should be in:\n%s", want[i], log);
		log = at + strlen(want[i]);
	}
}

static void goes_through_its_phases_in_order(void **state)
{
	static const char *const want[] = {
		"mkdir /own\n",
		"chdir /own\n",
		"mount proc\n",
		"mount sys\n",
		"mount dev\n",
		"mount dev/shm\n",
		"mount dev/mqueue\n",
		"mknod dev/null\n",
		"mount dev/pts\n",
		"link dev/fd\n",
		"epoll\n",
		"mkdir /mnt\n",
		"mount /mnt\n",
		"mkdir /mnt/proc\n",
		"mount /mnt/proc\n",
		"mount /mnt/sys\n",
		"mount /mnt/dev\n",
		"chdir /mnt\n",
		"mount /\n",
		"chroot .\n",
		"chdir /\n",
		"hostname box\n",
		"netlink\n",
		"mount /\n",
	};
	struct kernel k = { .answers_netlink = true };
	struct rtg_run_result r;

	run(&k, &r);
	assert_null(r.trap);
	assert_steps(k.log, want, ARRAY_LEN(want));
	assert_int_equal(k.mailbox_words[0], INITX_SIG_READY);
	assert_non_null(strstr(k.console, "husk: container init\n"));
}

static void survives_what_it_may_survive(void **state)
{
	static const struct {
		long nr;
		unsigned at;
		int error;
	} cases[] = {
		{ SYS_mkdirat, 1, EEXIST },
		{ SYS_mkdirat, 2, EROFS },
		{ SYS_mount, 2, EBUSY },
		{ SYS_mount, 5, ENODEV },
		{ SYS_mknodat, 1, EEXIST },
		{ SYS_symlinkat, 1, EEXIST },
		{ SYS_signalfd4, 1, ENOMEM },
		{ SYS_bind, 1, EADDRINUSE },
		{ SYS_mount, 11, EINVAL }, /* no move of the root: pivot_root */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct kernel k = { .fail_nr = cases[i].nr,
				    .fail_at = cases[i].at,
				    .fail_errno = cases[i].error,
				    .answers_netlink = true };
		struct rtg_run_result r;

		run(&k, &r);
		assert_null(r.trap);
		assert_true(k.n_uses >= cases[i].at);
		if (strstr(k.log, "reboot"))
			fail_msg("case %zu: %s", i, k.console);
		assert_int_equal(k.mailbox_words[0], INITX_SIG_READY);
	}
}

static void stops_with_phase_and_errno(void **state)
{
	static const struct {
		long nr;
		unsigned at;
		int error;
		const char *said;
		unsigned phase;
		long too;
	} cases[] = {
		{ SYS_mount, 1, EPERM, "phase 54: proc: error 1\n", 54 },
		{ SYS_mount, 2, EPERM, "phase 54: sys: error 1\n", 54 },
		{ SYS_mount, 3, ENOMEM, "phase 54: dev: error 12\n", 54 },
		{ SYS_mount, 4, ENOMEM, "phase 54: dev/shm: error 12\n", 54 },
		{ SYS_mount, 6, ENODEV, "phase 54: dev/pts: error 19\n", 54 },
		{ SYS_mount, 7, ENODEV, "phase 52: mount the root: error 19\n", 52 },
		{ SYS_mount, 8, EINVAL, "phase 54: /mnt/proc: error 22\n", 54 },
		{ SYS_chdir, 1, ENOENT, "phase 54: /own: error 2\n", 54 },
		{ SYS_chdir, 2, EACCES, "phase 55: enter the root: error 13\n", 55 },
		{ SYS_chroot, 1, EPERM, "phase 55: chroot: error 1\n", 55 },
		{ SYS_chdir, 3, ENOENT, "phase 55: chdir: error 2\n", 55 },
		/* neither a move of the root nor pivot_root */
		{ SYS_mount, 11, EINVAL, "phase 55: pivot_root: error 22\n", 55, SYS_pivot_root },
		{ SYS_sethostname, 1, EPERM, "phase 58: hostname: error 1\n", 58 },
		{ SYS_mount, 12, EBUSY, "phase 60: read-only root: error 16\n", 60 },
		{ SYS_read, 1, ENODEV, "phase 61: network: error 19\n", 61 },
		{ SYS_epoll_create1, 1, EMFILE, "phase 70: epoll: error 24\n", 70 },
		{ SYS_mmap, 4, ENOMEM, "phase 70: tables: error 12\n", 70 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct kernel k = { .fail_nr = cases[i].nr,
				    .fail_at = cases[i].at,
				    .fail_errno = cases[i].error,
				    .fail_too = cases[i].too,
				    .answers_netlink = true };
		struct rtg_run_result r;

		run(&k, &r);
		if (!strstr(k.console, cases[i].said))
			fail_msg("case %zu: '%s' said, and:\n%s", i, k.console, k.log);
		assert_string_equal(k.log + strlen(k.log) - 7, "reboot\n");
		assert_int_equal((int32_t)k.mailbox_words[4], -cases[i].error);
		assert_int_equal(k.mailbox_words[5], cases[i].phase);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_through_its_phases_in_order),
		cmocka_unit_test(survives_what_it_may_survive),
		cmocka_unit_test(stops_with_phase_and_errno),
	};

#ifndef __x86_64__
	return test_skip("the script has x86-64's system call numbers");
#endif
	return cmocka_run_group_tests_name("initx/guest/container", tests, NULL, NULL);
}
