/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes, and which of them a guest may have.
 *
 *	guest name		on the host
 *	user.*			the same, except user.husk.* and the owner attribute: hidden
 *	security.capability	the same; user.husk.security.capability without privileges
 *	security.* (others)	with the option only
 *	trusted.*		user.husk.trusted.*: the guest's root is not the host's
 *	system.posix_acl_*	with the option only
 *
 * What is hidden cannot be set either: a guest's user could otherwise forge what only its root may.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/xattr.h>

#include "passthrough/attr.h"
#include "passthrough/creds.h"
#include "passthrough/open.h"

#define HIDDEN_PREFIX	 "user.husk."
#define TRUSTED_PREFIX	 "trusted."
#define SECURITY_PREFIX	 "security."
#define CAPABILITY_XATTR "security.capability"

#define XNAME_MAX	 255

struct xname {
	char s[XNAME_MAX + 1];
};

static bool has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static int xname_remap(const char *guest, struct xname *ret)
{
	if (strlen(guest) + strlen(HIDDEN_PREFIX) > XNAME_MAX)
		return -ERANGE;
	snprintf(ret->s, sizeof(ret->s), HIDDEN_PREFIX "%.240s", guest);
	return 0;
}

/* The host's name for the guest's. Return: 0; -EOPNOTSUPP not for guests; -ENOSYS none at all. */
static int xname_map(const struct fuse_server *srv, const char *guest, struct xname *ret)
{
	const struct fuse_options *o = &srv->opt;
	bool in_xattr = o->owner == FUSE_OWNER_XATTR;

	if (o->no_xattr)
		return -ENOSYS;
	if (!guest[0] || strlen(guest) > XNAME_MAX)
		return -ERANGE;
	if (has_prefix(guest, "user.")) {
		if (has_prefix(guest, HIDDEN_PREFIX) || strcmp(guest, OVERRIDE_XATTR) == 0)
			return -EPERM;
	} else if (has_prefix(guest, TRUSTED_PREFIX)) {
		return xname_remap(guest, ret);
	} else if (has_prefix(guest, SECURITY_PREFIX)) {
		if (!o->security_labels && strcmp(guest, CAPABILITY_XATTR) != 0)
			return -EOPNOTSUPP;
		if (in_xattr)
			return xname_remap(guest, ret);
	} else if (strcmp(guest, "system.posix_acl_access") == 0 ||
		   strcmp(guest, "system.posix_acl_default") == 0) {
		if (!(srv->session.flags & FUSE_POSIX_ACL))
			return -EOPNOTSUPP;
	} else {
		return -EOPNOTSUPP;
	}
	snprintf(ret->s, sizeof(ret->s), "%s", guest);
	return 0;
}

/* The guest's name for the host's, or NULL when it is not to be seen. */
static const char *xname_unmap(const struct fuse_server *srv, const char *host)
{
	bool in_xattr = srv->opt.owner == FUSE_OWNER_XATTR;
	struct xname scratch;

	if (has_prefix(host, HIDDEN_PREFIX TRUSTED_PREFIX))
		return host + strlen(HIDDEN_PREFIX);
	if (in_xattr && has_prefix(host, HIDDEN_PREFIX SECURITY_PREFIX))
		return host + strlen(HIDDEN_PREFIX);
	if (has_prefix(host, TRUSTED_PREFIX) || (in_xattr && has_prefix(host, SECURITY_PREFIX)))
		return NULL;
	return xname_map(srv, host, &scratch) == 0 ? host : NULL;
}

int fuse_op_setxattr(struct fuse_call *c)
{
	const struct fuse_setxattr_in *in = &c->arg.setxattr;
	bool kill = c->srv->session.flags & FUSE_SETXATTR_EXT &&
		    in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
	struct xname name;
	int r = xname_map(c->srv, c->name, &name);

	if (r < 0)
		return r;
	if (in->size != c->blob_len)
		return -EINVAL;
	if (in->size > FUSE_XATTR_MAX)
		return -E2BIG;
	if (kill) {
		/* As the requester, who is not in the file's group: the host drops the bit. */
		r = creds_enter(c, 0);
		if (r < 0)
			return r;
		creds_set_fsetid(c->w, false);
	}
	r = setxattr(gate_name_of(c->node->fd).s, name.s, c->blob, in->size, (int)in->flags) < 0
		    ? -errno
		    : 0;
	if (kill)
		creds_leave(c);
	return r;
}

static int xattr_answer(struct fuse_call *c, size_t len)
{
	struct fuse_getxattr_out out = { .size = (uint32_t)len };

	if (!c->arg.getxattr.size)
		return fuse_reply(c, &out, sizeof(out));
	if (len > c->arg.getxattr.size)
		return -ERANGE;
	return fuse_reply(c, c->w->out_buf, len);
}

int fuse_op_getxattr(struct fuse_call *c)
{
	struct xname name;
	ssize_t n;
	int r = xname_map(c->srv, c->name, &name);

	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	n = getxattr(gate_name_of(c->node->fd).s, name.s, c->w->out_buf, FUSE_XATTR_MAX);
	return n < 0 ? -errno : xattr_answer(c, (size_t)n);
}

int fuse_op_listxattr(struct fuse_call *c)
{
	char *list = (char *)c->w->out_buf;
	size_t kept = 0;
	ssize_t n;

	if (c->srv->opt.no_xattr)
		return -ENOSYS;
	n = listxattr(gate_name_of(c->node->fd).s, list, FUSE_XATTR_MAX);
	if (n < 0)
		return -errno;
	for (ssize_t i = 0; i < n;) {
		size_t len = strnlen(list + i, (size_t)(n - i));
		const char *guest;

		if (len == (size_t)(n - i))
			break; /* not terminated: not from this kernel */
		guest = xname_unmap(c->srv, list + i);
		if (guest) {
			size_t keep = strlen(guest) + 1;

			memmove(list + kept, guest, keep);
			kept += keep;
		}
		i += (ssize_t)len + 1;
	}
	return xattr_answer(c, kept);
}

int fuse_op_removexattr(struct fuse_call *c)
{
	struct xname name;
	int r = xname_map(c->srv, c->name, &name);

	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	return removexattr(gate_name_of(c->node->fd).s, name.s) < 0 ? -errno : 0;
}
