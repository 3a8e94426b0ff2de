/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux by its 64-bit entry: bzImage (unpacked here, the guest's own decompressor never runs) and
 * vmlinux.
 *
 * The kernel runs where it was linked: no KASLR, and so no relocation. Entered with RSI pointing to
 * boot_params and 4 GiB identity-mapped.
 * Ref: linux v6.1 Documentation/x86/boot.rst, zero-page.rst.
 */
#include "boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/checked.h"
#include "machine/layout.h"

/* boot_params */
#define BP_SIZE		    4096
#define BP_ACPI_RSDP	    0x070
#define BP_E820_ENTRIES	    0x1e8
#define BP_HEADER	    0x1f1
#define BP_E820_TABLE	    0x2d0
#define BP_E820_ENTRY	    20

/* Setup header, offsets in the file and in boot_params alike. */
#define HDR_SETUP_SECTS	    0x1f1
#define HDR_VID_MODE	    0x1fa
#define HDR_BOOT_FLAG	    0x1fe
#define HDR_JUMP_LEN	    0x201 /* the header ends at 0x202 + this byte */
#define HDR_MAGIC	    0x202
#define HDR_VERSION	    0x206
#define HDR_LOADER	    0x210
#define HDR_LOADFLAGS	    0x211
#define HDR_RD_IMAGE	    0x218
#define HDR_RD_SIZE	    0x21c
#define HDR_CMDLINE_PTR	    0x228
#define HDR_INITRD_ADDR_MAX 0x22c
#define HDR_ALIGNMENT	    0x230
#define HDR_XLOADFLAGS	    0x236
#define HDR_CMDLINE_SIZE    0x238
#define HDR_PAYLOAD_OFFSET  0x248
#define HDR_PAYLOAD_LENGTH  0x24c
#define HDR_SETUP_DATA	    0x250
#define HDR_END_MAX	    0x290
#define HDR_LEN		    (HDR_END_MAX - BP_HEADER)

#define BOOT_FLAG	    0xaa55
#define VERSION_PAYLOAD	    0x208
#define VERSION_XLOAD	    0x20c
#define LOADER_UNDEFINED    0xff
#define LOADED_HIGH	    0x01
#define XLF_KERNEL_64	    0x01
#define CMDLINE_DEFAULT	    2047
#define SECTOR		    512
#define DEFAULT_SECTS	    4

/* setup_data node with a seed for the kernel's random pool. */
#define SETUP_RNG_SEED	    9
#define SEED_BYTES	    32
#define SETUP_DATA_HEADER   16
#define LAYOUT_SETUP_DATA   0xa000ULL

bool boot_bzimage_probe(const uint8_t *head, size_t len)
{
	return len >= HDR_END_MAX && le16_load(head + HDR_BOOT_FLAG) == BOOT_FLAG &&
	       memcmp(head + HDR_MAGIC, "HdrS", 4) == 0;
}

/* @head: the file's first HDR_END_MAX bytes. */
static int check_header(const struct boot_image *img, const uint8_t *head, struct err *err)
{
	unsigned version = le16_load(head + HDR_VERSION);

	if (version < VERSION_PAYLOAD)
		return err_set(err, -EOPNOTSUPP, "'%s' is too old a kernel: boot protocol %u.%02u",
			       img->name, version >> 8, version & 0xff);
	if (version >= VERSION_XLOAD && !(le16_load(head + HDR_XLOADFLAGS) & XLF_KERNEL_64))
		return err_set(err, -EBADMSG, "'%s' is a 32-bit kernel, this machine is x86-64",
			       img->name);
	return 0;
}

int boot_bzimage_unpack(const struct boot_image *img, struct boot_image *ret, uint8_t *ret_header,
			size_t header_len, struct err *err)
{
	uint8_t head[HDR_END_MAX];
	AUTO_FREE uint8_t *payload = NULL;
	uint64_t off, len;
	unsigned sects;
	int r = boot_image_read(img, 0, head, sizeof(head), err);

	if (r == 0)
		r = check_header(img, head, err);
	if (r < 0)
		return r;
	sects = head[HDR_SETUP_SECTS] ? head[HDR_SETUP_SECTS] : DEFAULT_SECTS;
	off = (uint64_t)(sects + 1) * SECTOR + le32_load(head + HDR_PAYLOAD_OFFSET);
	len = le32_load(head + HDR_PAYLOAD_LENGTH);
	if (off > img->size || len > img->size - off)
		return err_set(err, -EBADMSG,
			       "'%s' is truncated: it has %llu bytes and should have %llu",
			       img->name, (unsigned long long)img->size,
			       (unsigned long long)(off + len));
	payload = malloc(len ? len : 1);
	if (!payload)
		return err_set(err, -ENOMEM, "no memory to read '%s'", img->name);
	r = boot_image_read(img, off, payload, len, err);
	if (r == 0)
		r = boot_unpack(img->name, payload, len, ret, err);
	if (r == 0 && ret_header)
		memcpy(ret_header, head + BP_HEADER, MIN(header_len, (size_t)HDR_LEN));
	return r;
}

int boot_bzimage_load(const struct boot_request *req, const struct boot_image *img,
		      struct boot_entry *ret, struct err *err)
{
	CLEANUP(boot_image_done) struct boot_image elf = { .fd = -1 };
	uint8_t header[HDR_LEN] = { 0 };
	int r = boot_bzimage_unpack(img, &elf, header, sizeof(header), err);

	if (r < 0)
		return r;
	if (elf.size < 4 || !boot_elf_probe(elf.data, 4))
		return err_set(err, -EBADMSG, "'%s' is damaged: no ELF kernel inside", img->name);
	return boot_vmlinux_load(req, &elf, header, ret, err);
}

static void fill_header(uint8_t *bp, const uint8_t *header)
{
	if (header) {
		/* The field at HDR_JUMP_LEN tells how much of it this version of the protocol has.
		 */
		size_t len = 0x202 - BP_HEADER + (size_t)header[HDR_JUMP_LEN - BP_HEADER];

		len = MIN((size_t)HDR_LEN, len);
		memcpy(bp + BP_HEADER, header, len);
	} else {
		le16_store(bp + HDR_BOOT_FLAG, BOOT_FLAG);
		memcpy(bp + HDR_MAGIC, "HdrS", 4);
		le16_store(bp + HDR_VERSION, VERSION_XLOAD);
		le32_store(bp + HDR_ALIGNMENT, 0x1000000);
		le32_store(bp + HDR_CMDLINE_SIZE, CMDLINE_DEFAULT);
		le32_store(bp + HDR_INITRD_ADDR_MAX, 0x7fffffff);
		bp[HDR_LOADFLAGS] = LOADED_HIGH;
	}
	bp[HDR_LOADER] = LOADER_UNDEFINED;
	bp[HDR_LOADFLAGS] = LOADED_HIGH; /* no KASLR: the kernel is not relocated */
	le16_store(bp + HDR_VID_MODE, 0xffff);
	le32_store(bp + HDR_CMDLINE_PTR, LAYOUT_CMDLINE);
}

static void fill_e820(uint8_t *bp, const struct memmap *map)
{
	bp[BP_E820_ENTRIES] = (uint8_t)map->n;
	for (unsigned i = 0; i < map->n; i++) {
		uint8_t *e = bp + BP_E820_TABLE + (size_t)i * BP_E820_ENTRY;

		le64_store(e, map->e[i].addr);
		le64_store(e + 8, map->e[i].len);
		le32_store(e + 16, map->e[i].type);
	}
}

/* A seed makes the guest's random pool ready at once. Without one the guest only waits longer. */
static int add_seed(struct gmem *mem, uint8_t *bp)
{
	uint8_t node[SETUP_DATA_HEADER + SEED_BYTES] = { 0 };

	if (getrandom(node + SETUP_DATA_HEADER, SEED_BYTES, GRND_NONBLOCK) != SEED_BYTES)
		return 0;
	le32_store(node + 8, SETUP_RNG_SEED);
	le32_store(node + 12, SEED_BYTES);
	le64_store(bp + HDR_SETUP_DATA, LAYOUT_SETUP_DATA);
	return gmem_write(mem, LAYOUT_SETUP_DATA, node, sizeof(node));
}

int boot_vmlinux_load(const struct boot_request *req, const struct boot_image *img,
		      const uint8_t *header, struct boot_entry *ret, struct err *err)
{
	uint8_t bp[BP_SIZE] = { 0 };
	struct boot_extent extent = { 0 };
	gpa_t rd_gpa = 0;
	uint64_t rd_len = 0;
	uint32_t cmdline_max, initrd_max;
	int r = boot_elf_load(img, req->mem, &extent, err);

	if (r < 0)
		return r;
	fill_header(bp, header);
	cmdline_max = le32_load(bp + HDR_CMDLINE_SIZE);
	initrd_max = le32_load(bp + HDR_INITRD_ADDR_MAX);
	r = boot_cmdline_load(req, cmdline_max ? cmdline_max : CMDLINE_DEFAULT, err);
	if (r == 0)
		r = boot_initrd_load(req, extent.end, (gpa_t)initrd_max + 1, &rd_gpa, &rd_len, err);
	if (r < 0)
		return r;
	le32_store(bp + HDR_RD_IMAGE, (uint32_t)rd_gpa);
	le32_store(bp + HDR_RD_SIZE, (uint32_t)rd_len);
	le64_store(bp + BP_ACPI_RSDP, req->rsdp);
	fill_e820(bp, req->map);
	r = add_seed(req->mem, bp);
	if (r == 0)
		r = gmem_write(req->mem, LAYOUT_BOOT_PARAMS, bp, sizeof(bp));
	if (r < 0)
		return err_set(err, r, "the guest has too little memory for '%s'", img->name);
	*ret = (struct boot_entry){ .mode = BOOT_MODE_LONG,
				    .rip = extent.entry,
				    .rsi = LAYOUT_BOOT_PARAMS,
				    .rsp = LAYOUT_STACK_TOP };
	return 0;
}
