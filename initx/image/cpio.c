/* SPDX-License-Identifier: Apache-2.0 */
/*
 * newc writer. Ref: linux Documentation/driver-api/early-userspace/buffer-format.rst: 110 bytes of
 * ASCII hex, name, data, each padded to 4.
 */
#include "initx/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/checked.h"

#define HEADER_LEN 110
#define TRAILER	   "TRAILER!!!"
#define PATH_BYTES 4096

struct cpio {
	uint8_t *buf;
	size_t len, cap;
	uint32_t next_ino;
};

int cpio_new(struct cpio **ret, struct err *err)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : err_set(err, -ENOMEM, "initial RAM disk");
}

void cpio_free(struct cpio *c)
{
	if (!c)
		return;
	free(c->buf);
	free(c);
}

static int reserve(struct cpio *c, size_t more, struct err *err)
{
	size_t cap = c->cap ? c->cap : 4096;
	uint8_t *buf;

	if (more > UINT32_MAX || c->len + more > UINT32_MAX)
		return err_set(err, -E2BIG, "initial RAM disk larger than 4 GiB");
	while (cap < c->len + more)
		cap *= 2;
	if (cap == c->cap)
		return 0;
	buf = realloc(c->buf, cap);
	if (!buf)
		return err_set(err, -ENOMEM, "initial RAM disk of %zu bytes", cap);
	c->buf = buf;
	c->cap = cap;
	return 0;
}

/* Room is reserved. */
static void put(struct cpio *c, const void *data, size_t len)
{
	if (len)
		memcpy(c->buf + c->len, data, len);
	c->len += len;
	while (c->len % 4)
		c->buf[c->len++] = 0;
}

static int add_entry(struct cpio *c, const char *path, mode_t mode, dev_t dev, const void *data,
		     size_t len, struct err *err)
{
	size_t name_len = strlen(path) + 1;
	char head[HEADER_LEN + 1];
	unsigned n_links = S_ISDIR(mode) ? 2 : 1;
	int r = reserve(c, HEADER_LEN + name_len + len + 8, err);

	if (r < 0)
		return r;
	snprintf(head, sizeof(head), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		 c->next_ino++, (unsigned)mode, 0u, 0u, n_links, 0u, (unsigned)len, 0u, 0u,
		 major(dev), minor(dev), (unsigned)name_len, 0u);
	memcpy(c->buf + c->len, head, HEADER_LEN);
	c->len += HEADER_LEN;
	put(c, path, name_len);
	put(c, data, len);
	return 0;
}

int cpio_add(struct cpio *c, const char *path, mode_t mode, dev_t dev, const void *data, size_t len,
	     struct err *err)
{
	if (!*path || *path == '/' || strlen(path) >= PATH_BYTES || !strcmp(path, TRAILER))
		return err_set(err, -EINVAL, "bad path '%s' in an initial RAM disk", path);
	if (len && !S_ISREG(mode) && !S_ISLNK(mode))
		return err_set(err, -EINVAL, "'%s' cannot have content", path);
	return add_entry(c, path, mode, dev, data, len, err);
}

int cpio_finish(struct cpio *c, uint8_t **ret, size_t *ret_len, struct err *err)
{
	int r = add_entry(c, TRAILER, 0, 0, NULL, 0, err);

	if (r < 0)
		return r;
	*ret_len = c->len;
	*ret = STEAL_PTR(c->buf);
	c->len = c->cap = 0;
	return 0;
}

int initramfs_make(const void *init, size_t init_len, uint8_t **ret, size_t *ret_len,
		   struct err *err)
{
	CLEANUP(cpio_freep) struct cpio *c = NULL;
	int r = cpio_new(&c, err);

	if (r == 0)
		r = cpio_add(c, "dev", S_IFDIR | 0755, 0, NULL, 0, err);
	if (r == 0)
		r = cpio_add(c, "dev/console", S_IFCHR | 0600, makedev(5, 1), NULL, 0, err);
	if (r == 0)
		r = cpio_add(c, "dev/null", S_IFCHR | 0666, makedev(1, 3), NULL, 0, err);
	if (r == 0)
		r = cpio_add(c, "proc", S_IFDIR | 0755, 0, NULL, 0, err);
	if (r == 0)
		r = cpio_add(c, "init", S_IFREG | 0755, 0, init, init_len, err);
	return r < 0 ? r : cpio_finish(c, ret, ret_len, err);
}
