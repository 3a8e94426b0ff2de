/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed files, unpacked into memory with a bound. */
#include "image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"

#define FIRST_GUESS ((size_t)256 * 1024)

struct buffer {
	uint8_t *p;
	size_t len, cap, max;
};

static void buffer_done(struct buffer *b)
{
	free(b->p);
}

/* Twice the room. -E2BIG when it may not grow. */
static int grow(struct buffer *b)
{
	size_t cap = b->cap ? b->cap * 2 : FIRST_GUESS;
	uint8_t *p;

	/* One byte beyond the limit tells "too large" from "just fits". */
	cap = MIN(cap, b->max + 1);
	if (cap == b->cap)
		return -E2BIG;
	p = realloc(b->p, cap);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

static int unpack_gz(const uint8_t *in, size_t len, struct buffer *b)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)len };
	int status = Z_OK, r = 0;

	if (inflateInit2(&z, 15 + 32) != Z_OK)
		return -ENOMEM;
	while (status == Z_OK && r == 0) {
		if (b->len == b->cap) {
			r = grow(b);
			continue;
		}
		z.next_out = b->p + b->len;
		z.avail_out = (uInt)(b->cap - b->len);
		status = inflate(&z, Z_NO_FLUSH);
		b->len = b->cap - z.avail_out;
	}
	inflateEnd(&z);
	return r ? r : status == Z_STREAM_END ? 0 : -EBADMSG;
}

static int unpack_xz(const uint8_t *in, size_t len, struct buffer *b)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_ret status = lzma_stream_decoder(&z, (uint64_t)256 << 20, LZMA_CONCATENATED);
	int r = 0;

	z.next_in = in;
	z.avail_in = len;
	while (status == LZMA_OK && r == 0) {
		if (b->len == b->cap) {
			r = grow(b);
			continue;
		}
		z.next_out = b->p + b->len;
		z.avail_out = b->cap - b->len;
		status = lzma_code(&z, LZMA_FINISH);
		b->len = b->cap - z.avail_out;
	}
	lzma_end(&z);
	return r ? r : status == LZMA_STREAM_END ? 0 : -EBADMSG;
}

static int unpack_zst(const uint8_t *in, size_t len, struct buffer *b)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer src = { in, len, 0 };
	size_t hint = 1;
	int r = 0;

	if (!z)
		return -ENOMEM;
	while (r == 0 && hint && !ZSTD_isError(hint)) {
		ZSTD_outBuffer dst;
		size_t before = src.pos, had = b->len;

		if (b->len == b->cap) {
			r = grow(b);
			continue;
		}
		dst = (ZSTD_outBuffer){ b->p, b->cap, b->len };
		hint = ZSTD_decompressStream(z, &dst, &src);
		b->len = dst.pos;
		if (hint && src.pos == before && b->len == had)
			break; /* input ended inside a frame */
	}
	ZSTD_freeDStream(z);
	return r ? r : hint ? -EBADMSG : 0;
}

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

static int read_all(const char *path, size_t max, struct buffer *b, struct err *err)
{
	int AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "open '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "'%s' is not a regular file", path);
	if ((uint64_t)st.st_size > max)
		return err_set(err, -E2BIG, "'%s' is larger than %zu bytes", path, max);
	b->cap = (size_t)st.st_size;
	b->p = malloc(b->cap + 1);
	if (!b->p)
		return err_set(err, -ENOMEM, "'%s'", path);
	n = fd_read_full(fd, b->p, b->cap);
	if (n < 0)
		return err_errno(err, (int)-n, "read '%s'", path);
	b->len = (size_t)n;
	return 0;
}

int unpack_file(const char *path, size_t max, uint8_t **ret, size_t *ret_len, struct err *err)
{
	CLEANUP(buffer_done) struct buffer in = { 0 };
	CLEANUP(buffer_done) struct buffer out = { .max = max };
	int (*unpack)(const uint8_t *, size_t, struct buffer *) = NULL;
	int r = read_all(path, max, &in, err);

	if (r < 0)
		return r;
	if (ends_in(path, ".gz"))
		unpack = unpack_gz;
	else if (ends_in(path, ".xz"))
		unpack = unpack_xz;
	else if (ends_in(path, ".zst"))
		unpack = unpack_zst;
	if (unpack) {
		r = unpack(in.p, in.len, &out);
		if (r == 0 && out.len > max)
			r = -E2BIG;
		if (r == -EBADMSG)
			return err_set(err, r, "'%s' is damaged", path);
		if (r < 0)
			return err_set(err, r, "'%s' does not unpack into %zu bytes", path, max);
	}
	*ret_len = unpack ? out.len : in.len;
	*ret = unpack ? STEAL_PTR(out.p) : STEAL_PTR(in.p);
	return 0;
}
