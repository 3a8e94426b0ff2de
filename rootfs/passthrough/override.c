/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owners, modes and devices kept in an extended attribute, for a server without privileges.
 *
 * On the host every file belongs to the server's user and is open to it; what the guest set is in
 * user.containers.override_stat, the form other container tools read and write. Symbolic links
 * cannot carry user attributes: they belong to root. Devices, FIFOs and sockets are empty regular
 * files whose attribute says what they are.
 */
#include "passthrough/attr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/checked.h"
#include "passthrough/open.h"

static const struct {
	const char *name;
	mode_t type;
} type_names[] = {
	{ "file", S_IFREG }, { "dir", S_IFDIR },     { "symlink", S_IFLNK }, { "pipe", S_IFIFO },
	{ "fifo", S_IFIFO }, { "socket", S_IFSOCK }, { "block", S_IFBLK },   { "char", S_IFCHR },
};

static const char *type_name(mode_t type)
{
	for (size_t i = 0; i < ARRAY_LEN(type_names); i++) {
		if (type_names[i].type == type)
			return type_names[i].name;
	}
	return NULL;
}

int override_format(const struct statx *stx, char *buf, size_t size)
{
	mode_t type = stx->stx_mode & S_IFMT;
	const char *name = type_name(type);
	int n = snprintf(buf, size, "%u:%u:0%o", stx->stx_uid, stx->stx_gid, stx->stx_mode & 07777);

	/* Only what the host's own type does not say already. */
	if (!name || type == S_IFREG || type == S_IFDIR || type == S_IFLNK)
		return n;
	n += snprintf(buf + n, size - (size_t)n, ":%s", name);
	if (type == S_IFBLK || type == S_IFCHR)
		n += snprintf(buf + n, size - (size_t)n, "-%u-%u", stx->stx_rdev_major,
			      stx->stx_rdev_minor);
	return n;
}

static int number_parse(const char **p, int base, uint32_t max, uint32_t *ret)
{
	char *end;
	unsigned long v;

	if (**p < '0' || **p > '9')
		return -EBADMSG;
	errno = 0;
	v = strtoul(*p, &end, base);
	if (errno || v > max)
		return -EBADMSG;
	*p = end;
	*ret = (uint32_t)v;
	return 0;
}

static int type_parse(const char *p, mode_t *ret_type, uint32_t *ret_major, uint32_t *ret_minor)
{
	for (size_t i = 0; i < ARRAY_LEN(type_names); i++) {
		size_t n = strlen(type_names[i].name);

		if (strncmp(p, type_names[i].name, n) != 0 || (p[n] && p[n] != '-'))
			continue;
		*ret_type = type_names[i].type;
		p += n;
		if (!*p)
			return 0;
		p++;
		if (number_parse(&p, 10, UINT32_MAX, ret_major) < 0 || *p++ != '-' ||
		    number_parse(&p, 10, UINT32_MAX, ret_minor) < 0 || *p)
			return -EBADMSG;
		return 0;
	}
	return -EBADMSG;
}

int override_parse(const char *text, struct statx *stx)
{
	uint32_t uid, gid, mode, major = 0, minor = 0;
	mode_t type = stx->stx_mode & S_IFMT;

	if (number_parse(&text, 10, UINT32_MAX, &uid) < 0 || *text++ != ':' ||
	    number_parse(&text, 10, UINT32_MAX, &gid) < 0 || *text++ != ':' ||
	    number_parse(&text, 8, 0177777, &mode) < 0)
		return -EBADMSG;
	if (*text == ':' && type_parse(text + 1, &type, &major, &minor) < 0)
		return -EBADMSG;
	if (*text && *text != ':')
		return -EBADMSG;
	/* A directory is a directory and so on; only a regular file may stand for something else.
	 */
	if (!S_ISREG(stx->stx_mode) || type == S_IFDIR || type == S_IFLNK)
		type = stx->stx_mode & S_IFMT;
	stx->stx_uid = uid;
	stx->stx_gid = gid;
	stx->stx_mode = (uint16_t)(type | (mode & 07777));
	stx->stx_rdev_major = major;
	stx->stx_rdev_minor = minor;
	return 0;
}

static int override_read(int fd, char *buf, size_t size)
{
	ssize_t n = getxattr(gate_name_of(fd).s, OVERRIDE_XATTR, buf, size - 1);

	if (n < 0)
		return -errno;
	buf[n] = 0;
	return 0;
}

void override_apply(const struct fuse_server *srv, int fd, struct statx *stx)
{
	char text[OVERRIDE_TEXT_MAX];

	if (srv->opt.owner != FUSE_OWNER_XATTR)
		return;
	/* Without the attribute: root's, with the host's mode. */
	stx->stx_uid = stx->stx_gid = 0;
	if (!S_ISLNK(stx->stx_mode) && override_read(fd, text, sizeof(text)) == 0)
		override_parse(text, stx);
}

int override_store(int fd, const struct statx *stx)
{
	char text[OVERRIDE_TEXT_MAX];
	int n = override_format(stx, text, sizeof(text));

	if (S_ISLNK(stx->stx_mode))
		return 0;
	if (setxattr(gate_name_of(fd).s, OVERRIDE_XATTR, text, (size_t)n, 0) < 0)
		return -errno;
	return 0;
}

int override_kill_priv(int fd)
{
	struct statx stx = { .stx_mode = S_IFREG };
	char text[OVERRIDE_TEXT_MAX];
	uint16_t mode;

	if (override_read(fd, text, sizeof(text)) < 0 || override_parse(text, &stx) < 0)
		return 0;
	mode = stx.stx_mode & (uint16_t)~S_ISUID;
	if (mode & S_IXGRP)
		mode &= (uint16_t)~S_ISGID;
	if (mode == stx.stx_mode)
		return 0;
	stx.stx_mode = mode;
	return override_store(fd, &stx);
}

int attr_stat(const struct fuse_server *srv, int fd, struct statx *ret)
{
	if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, FUSE_STATX_MASK, ret) < 0)
		return -errno;
	override_apply(srv, fd, ret);
	return 0;
}
