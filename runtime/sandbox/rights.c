/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities, no_new_privs, limits. */
#include "sandbox/rights.h"

#include <errno.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/checked.h"
#include "sandbox/sandbox.h"

/*
 * To serve files of all owners, and to make them on behalf of their owners. Not
 * CAP_DAC_READ_SEARCH: it opens files by handle, and so ones outside the tree.
 */
static const cap_value_t file_caps[] = { CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
					 CAP_SETGID, CAP_SETUID,       CAP_MKNOD,  CAP_SETFCAP };

static bool is_kept(cap_value_t cap, const cap_value_t *keep, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (keep[i] == cap)
			return true;
	}
	return false;
}

/* Without CAP_SETPCAP the bounding set cannot be changed, and there is nothing in it to gain. */
static int limit_bounding(const cap_value_t *keep, size_t n, struct err *err)
{
	for (cap_value_t cap = 0; cap < cap_max_bits(); cap++) {
		if (!is_kept(cap, keep, n) && cap_drop_bound(cap) < 0 && errno != EPERM)
			return err_errno(err, errno, "drop capability %d", cap);
	}
	return 0;
}

/* Those of @keep that the thread has. */
static int limit_own(const cap_value_t *keep, size_t n, struct err *err)
{
	cap_t have = cap_get_proc(), want = cap_init();
	int r = have && want ? 0 : -1;

	for (size_t i = 0; i < n && r == 0; i++) {
		cap_flag_value_t has = CAP_CLEAR;

		r = cap_get_flag(have, keep[i], CAP_PERMITTED, &has);
		if (r == 0)
			r = cap_set_flag(want, CAP_PERMITTED, 1, &keep[i], has);
		if (r == 0)
			r = cap_set_flag(want, CAP_EFFECTIVE, 1, &keep[i], has);
	}
	if (r == 0)
		r = cap_set_proc(want);
	if (r < 0)
		err_errno(err, errno, "limit capabilities");
	cap_free(have);
	cap_free(want);
	return r < 0 ? -EPERM : 0;
}

static int caps_limit(const cap_value_t *keep, size_t n, struct err *err)
{
	int r = limit_bounding(keep, n, err);

	if (r == 0 && cap_reset_ambient() < 0)
		r = err_errno(err, errno, "empty the ambient capabilities");
	return r < 0 ? r : limit_own(keep, n, err);
}

int caps_drop(struct err *err)
{
	return caps_limit(NULL, 0, err);
}

int caps_keep_files(struct err *err)
{
	return caps_limit(file_caps, ARRAY_LEN(file_caps), err);
}

int rights_no_new(struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, errno, "no_new_privs");
	return 0;
}

static int limit_none(int what, const char *name, struct err *err)
{
	const struct rlimit none = { 0 };

	return setrlimit(what, &none) < 0 ? err_errno(err, errno, "limit of %s", name) : 0;
}

int limits_process(struct err *err)
{
	/* A core file would hold the guest's memory. */
	int r = limit_none(RLIMIT_CORE, "core files", err);

	return r < 0 ? r : limit_none(RLIMIT_MSGQUEUE, "message queues", err);
}

int sandbox_stop_forks(struct err *err)
{
	return limit_none(RLIMIT_NPROC, "processes", err);
}
