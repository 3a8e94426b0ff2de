/* SPDX-License-Identifier: Apache-2.0 */
/* bootx-pack: writes the packed payload that bootx verifies and unpacks. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <lz4.h>
#include <lz4hc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/sha256.h"
#include "internal.h"

static const char help[] =
	"usage: bootx-pack [--plain] [--signed] PAYLOAD OUTPUT\n"
	"       bootx-pack --lz4-block SIZE PAYLOAD OUTPUT\n"
	"\n"
	"Packs an ELF program or a Linux kernel for bootx: SHA-256 over what is stored, LZ4.\n"
	"\n"
	"  --plain           do not compress\n"
	"  --signed          say that it is signed, and leave room: sign the first 64 bytes of\n"
	"                    OUTPUT with Ed25519 and put the signature at offset 64\n"
	"  --lz4-block SIZE  PAYLOAD is an LZ4 block already, of SIZE bytes when unpacked\n"
	"  --help            show this";

enum { OPT_PLAIN = 256, OPT_SIGNED, OPT_BLOCK };

static const struct option options[] = {
	{ "plain", no_argument, NULL, OPT_PLAIN },
	{ "signed", no_argument, NULL, OPT_SIGNED },
	{ "lz4-block", required_argument, NULL, OPT_BLOCK },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

struct pack {
	bool plain, is_signed;
	uint64_t block_plain; /* not 0: the input is an LZ4 block */
	uint8_t *in;
	uint64_t in_len;
};

static int fail(const char *what, const char *name, int errnum)
{
	fprintf(stderr, "bootx-pack: %s '%s': %s\n", what, name, strerror(errnum));
	return 1;
}

static int read_file(const char *path, uint8_t **ret, uint64_t *ret_len)
{
	int AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail("open", path, errno);
	if (st.st_size <= 0 || (uint64_t)st.st_size > BOOTX_MAX_PLAIN)
		return fail("read", path, EFBIG);
	*ret = malloc((size_t)st.st_size);
	if (!*ret)
		return fail("read", path, ENOMEM);
	n = fd_read_full(fd, *ret, (size_t)st.st_size);
	if (n < 0)
		return fail("read", path, (int)-n);
	*ret_len = (uint64_t)n;
	return 0;
}

static int write_file(const char *path, const uint8_t *head, const uint8_t *data, uint64_t len)
{
	int AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return fail("create", path, errno);
	r = fd_write_full(fd, head, BOOTX_PACK_LEN);
	if (r == 0)
		r = fd_write_full(fd, data, len);
	return r < 0 ? fail("write", path, -r) : 0;
}

static int pack(const struct pack *p, const char *out)
{
	uint8_t head[BOOTX_PACK_LEN] = { 0 };
	uint32_t flags = p->is_signed ? BOOTX_PACK_SIG : 0;
	AUTO_FREE uint8_t *packed = NULL;
	const uint8_t *stored = p->in;
	uint64_t len = p->in_len;

	if (p->block_plain) {
		flags |= BOOTX_PACK_LZ4;
	} else if (!p->plain) {
		int room = LZ4_compressBound((int)p->in_len), n;

		packed = malloc((size_t)room);
		n = packed ? LZ4_compress_HC((const char *)p->in, (char *)packed, (int)p->in_len,
					     room, LZ4HC_CLEVEL_DEFAULT)
			   : 0;
		if (n <= 0)
			return fail("compress", out, ENOMEM);
		stored = packed;
		len = (uint64_t)n;
		flags |= BOOTX_PACK_LZ4;
	}
	le64_store(head, BOOTX_PACK_MAGIC);
	le32_store(head + 8, flags);
	le64_store(head + 16, len);
	le64_store(head + 24, p->block_plain ? p->block_plain : p->in_len);
	sha256_of(stored, len, head + 32);
	return write_file(out, head, stored, len);
}

int main(int argc, char **argv)
{
	struct pack p = { 0 };
	int c, r;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (c) {
		case OPT_PLAIN: p.plain = true; break;
		case OPT_SIGNED: p.is_signed = true; break;
		case OPT_BLOCK: p.block_plain = strtoull(optarg, NULL, 10); break;
		case 'h': puts(help); return 0;
		default: fputs("bootx-pack: see --help\n", stderr); return 1;
		}
	}
	if (argc - optind != 2) {
		fputs("bootx-pack: two file names are wanted, see --help\n", stderr);
		return 1;
	}
	r = read_file(argv[optind], &p.in, &p.in_len);
	if (r == 0)
		r = pack(&p, argv[optind + 1]);
	free(p.in);
	return r;
}
