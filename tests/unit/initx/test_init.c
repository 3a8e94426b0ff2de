/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular init against a scripted kernel (script_kernel.h): its phases, and what it says of each
 * system call that fails.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "script_kernel.h"

static void run(struct kernel *k, struct rtg_run_result *ret)
{
	static const char *const flags[] = { "modules" };
	static const uint8_t modules[64] = { 2, [16] = 2, [20] = 4, [24] = 'a', [32] = 1,  2,
					     3, 4,	  [48] = 2, [52] = 0,	[56] = 'b' };
	static const struct rtg_blob blob = { "modules", modules, sizeof(modules) };
	static const struct rtg_config configs[] = { { "MAILBOX_PHYS_ADDR", "0xf0000000" },
						     { "TIMESLICE_PHYS_ADDR", "0xf0001000" },
						     { "CONFIG_PHYS_ADDR", "0xf0003000" } };
	AUTO_FREE char *init = script_source("init.rtg"), *common = script_source("common.rtg");
	AUTO_FREE char *perform = script_source("perform.rtg");
	struct rtg_source src[] = { { "init.rtg", init, strlen(init) },
				    { "perform.rtg", perform, strlen(perform) },
				    { "common.rtg", common, strlen(common) } };
	struct rtg_options opt = { .flags = flags,
				   .n_flags = 1,
				   .configs = configs,
				   .n_configs = 3,
				   .blobs = &blob,
				   .n_blobs = 1,
				   .consts = guest_consts,
				   .n_consts = n_guest_consts,
				   .syscall = script_syscall,
				   .syscall_opaque = k };
	struct rtg_output out;
	struct err err = { 0 };

	if (rtg_interpret(&opt, src, ARRAY_LEN(src), 50000000, ret, &out, &err) < 0)
		fail_msg("%s\n%s", err.msg, out.diagnostics);
	rtg_output_done(&out);
	free(ret->out);
	ret->out = NULL;
}

static void goes_through_its_phases_in_order(void **state)
{
	struct kernel k = { 0 };
	struct rtg_run_result r;

	run(&k, &r);
	assert_null(r.trap);
	assert_string_equal(k.log,
			    "mkdir /dev\nmknod /dev/mem\n"
			    "mount /dev\nmkdir /proc\nmount /proc\nmkdir /dev/shm\n"
			    "mount /dev/shm\nmknod /dev/mem\n"
			    "module\nmodule\n"
			    "open /dev/console\nsetsid\ndup\ndup\ndup\n"
			    "open /dev/mem\ndontfork\ndontfork\ndontfork\nunlink /dev/mem\n");
	assert_int_equal(k.mailbox_words[0], INITX_SIG_READY);
	assert_int_equal(k.mailbox_words[5], 7);
	assert_string_equal(k.console, "");
}

/* Errors that are part of normal life. */
static void survives_what_it_may_survive(void **state)
{
	static const struct {
		long nr;
		unsigned at;
		int error;
	} cases[] = {
		{ SYS_mknodat, 1, EEXIST },	{ SYS_mount, 1, EBUSY },
		{ SYS_mount, 2, EBUSY },	{ SYS_mount, 3, ENODEV },
		{ SYS_init_module, 1, EEXIST }, { SYS_init_module, 2, ENOEXEC },
		{ SYS_openat, 1, ENODEV },	{ SYS_ioctl, 1, EPERM },
		{ SYS_madvise, 1, EINVAL },	{ SYS_setsid, 1, EPERM },
		{ SYS_dup3, 2, EBADF },		{ SYS_openat, 1, EIO },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct kernel k = { .fail_nr = cases[i].nr,
				    .fail_at = cases[i].at,
				    .fail_errno = cases[i].error };
		struct rtg_run_result r;

		run(&k, &r);
		assert_null(r.trap);
		assert_true(k.n_uses >= cases[i].at);
		assert_null(strstr(k.log, "reboot"));
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
	} cases[] = {
		{ SYS_mknodat, 1, EACCES, "init: phase 1: /dev/mem: error 13\n" },
		{ SYS_mount, 1, ENODEV, "init: phase 2: devtmpfs: error 19\n" },
		{ SYS_mount, 2, ENODEV, "init: phase 2: proc: error 19\n" },
		{ SYS_openat, 2, EPERM, "init: phase 5: /dev/mem: error 1\n" },
		{ SYS_mmap, 1, EPERM, "init: phase 5: mailbox: error 1\n" },
		{ SYS_mmap, 2, EPERM, "init: phase 5: timeslice page: error 1\n" },
		{ SYS_mmap, 3, EPERM, "init: phase 5: config region: error 1\n" },
		{ SYS_mmap, 4, ENOMEM, "init: phase 5: executable area: error 12\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct kernel k = { .fail_nr = cases[i].nr,
				    .fail_at = cases[i].at,
				    .fail_errno = cases[i].error };
		struct rtg_run_result r;

		run(&k, &r);
		assert_string_equal(k.console, cases[i].said);
		assert_string_equal(k.log + strlen(k.log) - 7, "reboot\n");
		if (!k.mailbox)
			continue;
		assert_int_equal((int32_t)k.mailbox_words[4], -cases[i].error);
		assert_int_equal(k.mailbox_words[5], 5);
	}
}

/* Blocks that must not be run: answered with -EINVAL, and init goes on waiting. */
static void refuses_bad_programs(void **state)
{
	static const uint32_t bad[][5] = {
		/* code_len, n_relocs, flags, a relocation */
		{ 0, 0, 0, 0 },	 { 0x400001, 0, 0, 0 },	   { 16, 0x100001, 0, 0 }, { 16, 0, 1, 0 },
		{ 16, 1, 0, 9 }, { 16, 1, 0, 0xffffffff }, { 0x3fffff, 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint8_t block[64] = { 0 };
		struct kernel k = { .program = block, .program_len = sizeof(block) };
		struct rtg_run_result r;

		le32_store(block, INITX_PROGRAM_MAGIC);
		le32_store(block + 4, bad[i][0]);
		le32_store(block + 8, bad[i][1]);
		le32_store(block + 20, bad[i][2]);
		le32_store(block + 40, bad[i][3]);
		run(&k, &r);
		assert_null(r.trap);
		assert_int_equal((int32_t)k.mailbox_words[2], -EINVAL);
		assert_int_equal(k.mailbox_words[0], INITX_SIG_READY);
	}
}

/* A good one is copied, relocated and called: the call itself is beyond an interpreter. */
static void calls_a_good_program(void **state)
{
	uint8_t block[64] = { 0 };
	struct kernel k = { .program = block, .program_len = sizeof(block) };
	struct rtg_run_result r;

	le32_store(block, INITX_PROGRAM_MAGIC);
	le32_store(block + 4, 16);
	le32_store(block + 8, 1);
	le64_store(block + 24, 1700000000);
	le32_store(block + 40, 8);
	run(&k, &r);
	assert_string_equal(r.trap, "call of something that is no function");
	assert_non_null(strstr(k.log, "clock\n"));
}

/* Without a clock the program is run all the same: it can be set later, by the doorbell. */
static void survives_a_clock_that_cannot_be_set(void **state)
{
	static const int errors[] = { EPERM, EINVAL };

	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		uint8_t block[64] = { 0 };
		struct kernel k = { .program = block,
				    .program_len = sizeof(block),
				    .fail_nr = SYS_clock_settime,
				    .fail_at = 1,
				    .fail_errno = errors[i] };
		struct rtg_run_result r;

		le32_store(block, INITX_PROGRAM_MAGIC);
		le32_store(block + 4, 16);
		le64_store(block + 24, 1700000000);
		run(&k, &r);
		assert_int_equal(k.n_uses, 2); /* on start, and with the program */
		assert_null(strstr(k.log, "reboot"));
		assert_string_equal(r.trap, "call of something that is no function");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_through_its_phases_in_order),
		cmocka_unit_test(survives_what_it_may_survive),
		cmocka_unit_test(stops_with_phase_and_errno),
		cmocka_unit_test(refuses_bad_programs),
		cmocka_unit_test(calls_a_good_program),
		cmocka_unit_test(survives_a_clock_that_cannot_be_set),
	};

#ifndef __x86_64__
	return test_skip("the script has x86-64's system call numbers");
#endif
	return cmocka_run_group_tests_name("initx/guest/init", tests, NULL, NULL);
}
