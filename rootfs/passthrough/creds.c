/* SPDX-License-Identifier: Apache-2.0 */
/* Whose rights a worker thread uses. Raw system calls: libc's would change every thread. */
#include "passthrough/creds.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define CAP_BIT(cap) (1ULL << (cap))

/* What the kernel takes from, and gives back to, the effective set as fsuid leaves and enters 0. */
#define CAPS_FILE                                                                   \
	(CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_MKNOD) | CAP_BIT(CAP_DAC_OVERRIDE) |      \
	 CAP_BIT(CAP_DAC_READ_SEARCH) | CAP_BIT(CAP_FOWNER) | CAP_BIT(CAP_FSETID) | \
	 CAP_BIT(CAP_LINUX_IMMUTABLE) | CAP_BIT(CAP_MAC_OVERRIDE))
#define CAPS_REQUESTER \
	(CAP_BIT(CAP_MKNOD) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_DAC_READ_SEARCH))

static int caps_get(uint64_t *ret_permitted)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	*ret_permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
	return 0;
}

static int caps_set_effective(const struct fuse_creds *cr, uint64_t effective)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ .effective = (uint32_t)effective, .permitted = (uint32_t)cr->permitted },
		{ .effective = (uint32_t)(effective >> 32),
		  .permitted = (uint32_t)(cr->permitted >> 32) },
	};

	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

/* Both return the id in force before the call, which is how a failure is noticed. */
static uid_t fsuid_set(uid_t uid)
{
	return (uid_t)syscall(SYS_setfsuid, uid);
}

static gid_t fsgid_set(gid_t gid)
{
	return (gid_t)syscall(SYS_setfsgid, gid);
}

void creds_init(struct fuse_creds *cr)
{
	*cr = (struct fuse_creds){ .umask = (mode_t)-1, .fsetid = true };
	cr->home_uid = cr->uid = fsuid_set((uid_t)-1);
	cr->home_gid = cr->gid = fsgid_set((gid_t)-1);
	if (caps_get(&cr->permitted) < 0)
		cr->permitted = 0;
	cr->can_switch = (cr->permitted & (CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID))) ==
			 (CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID));
	/* Supplementary groups of whoever started us must not help or hinder a guest's user. */
	if (cr->can_switch)
		syscall(SYS_setgroups, 0, NULL);
}

void creds_set_fsetid(struct fuse_worker *w, bool on)
{
	struct fuse_creds *cr = &w->creds;
	uint64_t effective = cr->permitted;

	if (cr->fsetid == on)
		return;
	if (!on)
		effective &= ~CAP_BIT(CAP_FSETID);
	if (caps_set_effective(cr, effective) == 0)
		cr->fsetid = on;
}

static int creds_switch(struct fuse_call *c)
{
	struct fuse_creds *cr = &c->w->creds;

	if (!cr->can_switch)
		return -EPERM;
	if (c->has_group) {
		if (syscall(SYS_setgroups, 1, &c->group) < 0)
			return -EPERM;
		cr->has_group = true;
	}
	if (c->hdr.gid != cr->gid) {
		fsgid_set(c->hdr.gid);
		if (fsgid_set((gid_t)-1) != c->hdr.gid)
			return -EPERM;
		cr->gid = c->hdr.gid;
	}
	if (c->hdr.uid != cr->uid) {
		fsuid_set(c->hdr.uid);
		if (fsuid_set((uid_t)-1) != c->hdr.uid)
			return -EPERM;
		cr->uid = c->hdr.uid;
		/* Leaving 0 took the file capabilities; give back those the guest has judged. */
		caps_set_effective(cr,
				   (cr->permitted & ~CAPS_FILE) | (cr->permitted & CAPS_REQUESTER));
		cr->fsetid = false;
	}
	return 0;
}

int creds_enter(struct fuse_call *c, uint32_t umask_bits)
{
	struct fuse_creds *cr = &c->w->creds;
	mode_t mask = umask_bits & 0777;
	int r = 0;

	if (cr->umask != mask) {
		umask(mask);
		cr->umask = mask;
	}
	if (c->srv->opt.owner == FUSE_OWNER_XATTR)
		return 0;
	if (c->hdr.uid == cr->uid)
		creds_set_fsetid(c->w, true); /* an earlier write may have put it off */
	if (c->hdr.uid != cr->uid || c->hdr.gid != cr->gid || c->has_group)
		r = creds_switch(c);
	if (r < 0)
		creds_leave(c);
	return r;
}

/*
 * Who is not in the group of a setgid directory must not make setgid executables there. From Linux
 * 6.1 on (7.37) the guest's kernel sees to that before it asks us, and knows all of the requester's
 * groups, so a bit that comes through is right: the thread joins the directory's group to keep it.
 */
#define SGID_CHECKED_MINOR 37

int creds_enter_making(struct fuse_call *c, uint32_t umask_bits, uint32_t mode)
{
	struct statx stx;

	if (mode & S_ISGID && !c->has_group && c->srv->session.minor >= SGID_CHECKED_MINOR &&
	    c->w->creds.can_switch && c->srv->opt.owner == FUSE_OWNER_REAL &&
	    statx(c->node->fd, "", AT_EMPTY_PATH, STATX_GID, &stx) == 0) {
		c->has_group = true;
		c->group = stx.stx_gid;
	}
	return creds_enter(c, umask_bits);
}

void creds_leave(struct fuse_call *c)
{
	struct fuse_creds *cr = &c->w->creds;
	bool switched = cr->uid != cr->home_uid;

	if (switched) {
		fsuid_set(cr->home_uid);
		cr->uid = cr->home_uid;
		if (cr->home_uid != 0)
			caps_set_effective(cr, cr->permitted);
		cr->fsetid = true;
	}
	if (cr->gid != cr->home_gid) {
		fsgid_set(cr->home_gid);
		cr->gid = cr->home_gid;
	}
	if (cr->has_group) {
		syscall(SYS_setgroups, 0, NULL);
		cr->has_group = false;
	}
}

void creds_write_begin(struct fuse_worker *w, int fd, bool kill)
{
	struct fuse_creds *cr = &w->creds;
	struct statx stx;

	creds_set_fsetid(w, !kill);
	if (!kill || !cr->can_switch ||
	    statx(fd, "", AT_EMPTY_PATH, STATX_MODE | STATX_GID, &stx) < 0 ||
	    (stx.stx_mode & (S_ISGID | S_IXGRP)) != S_ISGID)
		return;
	fsgid_set(stx.stx_gid);
	cr->gid = fsgid_set((gid_t)-1);
}

void creds_write_end(struct fuse_worker *w)
{
	struct fuse_creds *cr = &w->creds;

	if (cr->gid == cr->home_gid)
		return;
	fsgid_set(cr->home_gid);
	cr->gid = cr->home_gid;
}
