/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompression of the payload inside a bzImage.
 *
 * The output's size stands in the payload's last four bytes (gzip has it by its own format, the
 * others get it appended by the kernel's build). It bounds the allocation; output that differs from
 * it is refused. Ref: linux v6.1 Documentation/x86/boot.rst (payload_length), scripts/Makefile.lib
 * (size_append).
 */
#include "boot/boot.h"

#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/checked.h"

#define UNPACKED_MAX	  (1 * GIB)
#define SIZE_TRAILER	  4

#define LZ4_MAGIC_LEN	  4
#define LZ4_BLOCK_HEADER  4
#define LZ4_BLOCK_OUT_MAX (8 * MIB)
#define XZ_MEMORY_MAX	  (256 * MIB)

struct unpack {
	const uint8_t *in;
	size_t in_len; /* without the size trailer, except for gzip */
	uint8_t *out;
	size_t out_len;
};

/* Each returns bytes produced, or -1 for damaged input. */
typedef ssize_t (*unpack_fn)(const struct unpack *u);

/* "Legacy" frames: a magic, then blocks of at most 8 MiB, each behind its compressed size. */
static ssize_t unpack_lz4(const struct unpack *u)
{
	size_t at = LZ4_MAGIC_LEN, done = 0;

	while (u->in_len - at >= LZ4_BLOCK_HEADER) {
		uint32_t size = le32_load(u->in + at);
		size_t room = MIN(u->out_len - done, (size_t)LZ4_BLOCK_OUT_MAX);
		int n;

		at += LZ4_BLOCK_HEADER;
		if (size == 0 || size > u->in_len - at)
			return -1;
		n = LZ4_decompress_safe((const char *)u->in + at, (char *)u->out + done, (int)size,
					(int)room);
		if (n < 0)
			return -1;
		at += size;
		done += (size_t)n;
	}
	return at == u->in_len ? (ssize_t)done : -1;
}

static ssize_t unpack_gzip(const struct unpack *u)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)u->in,
		       .avail_in = (uInt)u->in_len,
		       .next_out = u->out,
		       .avail_out = (uInt)u->out_len };
	int r;

	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return -1;
	r = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return r == Z_STREAM_END ? (ssize_t)z.total_out : -1;
}

static ssize_t unpack_zstd(const struct unpack *u)
{
	size_t n = ZSTD_decompress(u->out, u->out_len, u->in, u->in_len);

	return ZSTD_isError(n) ? -1 : (ssize_t)n;
}

static ssize_t unpack_xz(const struct unpack *u)
{
	uint64_t memlimit = XZ_MEMORY_MAX;
	size_t in_pos = 0, out_pos = 0;
	lzma_ret r = lzma_stream_buffer_decode(&memlimit, 0, NULL, u->in, &in_pos, u->in_len,
					       u->out, &out_pos, u->out_len);

	return r == LZMA_OK ? (ssize_t)out_pos : -1;
}

static const struct {
	const char *name;
	uint8_t magic[6];
	size_t magic_len;
	unpack_fn fn; /* NULL: known and not supported */
	bool trailer_is_input;
} formats[] = {
	{ "LZ4", { 0x02, 0x21, 0x4c, 0x18 }, 4, unpack_lz4, false },
	{ "gzip", { 0x1f, 0x8b }, 2, unpack_gzip, true },
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, unpack_zstd, false },
	{ "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, unpack_xz, false },
	{ "bzip2", { 'B', 'Z', 'h' }, 3, NULL, false },
	{ "LZMA", { 0x5d, 0, 0 }, 3, NULL, false },
	{ "LZO", { 0x89, 'L', 'Z', 'O' }, 4, NULL, false },
};

static int run(const char *name, unsigned format, const struct unpack *u, struct err *err)
{
	ssize_t n = formats[format].fn(u);

	if (n != (ssize_t)u->out_len)
		return err_set(err, -EBADMSG, "'%s' is damaged: its %s payload does not unpack",
			       name, formats[format].name);
	return 0;
}

static int find_format(const char *name, const uint8_t *in, size_t len, unsigned *ret,
		       struct err *err)
{
	for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
		if (len < formats[i].magic_len ||
		    memcmp(in, formats[i].magic, formats[i].magic_len) != 0)
			continue;
		if (!formats[i].fn)
			return err_set(err, -EOPNOTSUPP,
				       "'%s' is compressed with %s, which is not "
				       "supported (LZ4, gzip, zstd and xz are)",
				       name, formats[i].name);
		*ret = i;
		return 0;
	}
	return err_set(err, -EBADMSG, "'%s' is damaged: its payload is in no known format", name);
}

int boot_unpack(const char *name, const uint8_t *in, size_t in_len, struct boot_image *ret,
		struct err *err)
{
	struct unpack u = { .in = in };
	AUTO_FREE uint8_t *out = NULL;
	unsigned format = 0;
	int r;

	if (in_len < SIZE_TRAILER + LZ4_MAGIC_LEN || in_len > UINT32_MAX / 2)
		return err_set(err, -EBADMSG, "'%s' is damaged: its payload has %zu bytes", name,
			       in_len);
	r = find_format(name, in, in_len, &format, err);
	if (r < 0)
		return r;
	u.out_len = le32_load(in + in_len - SIZE_TRAILER);
	u.in_len = formats[format].trailer_is_input ? in_len : in_len - SIZE_TRAILER;
	if (u.out_len == 0 || u.out_len > UNPACKED_MAX)
		return err_set(err, -EBADMSG, "'%s' is damaged: it would unpack to %zu bytes", name,
			       u.out_len);
	u.out = out = malloc(u.out_len);
	if (!out)
		return err_set(err, -ENOMEM, "no memory to unpack '%s'", name);
	r = run(name, format, &u, err);
	if (r < 0)
		return r;
	*ret = (struct boot_image){
		.name = name, .fd = -1, .data = STEAL_PTR(out), .size = u.out_len
	};
	return 0;
}
