/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiboot 1: ELF images, and flat ones whose header says where they go. The initrd is handed over
 * as the one module. Ref: Multiboot Specification 0.6.96, sections 3.1-3.3.
 */
#include "boot/boot.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "machine/layout.h"

#define HEADER_MAGIC	 0x1badb002U
#define BOOT_MAGIC	 0x2badb002U
#define SEARCH_LEN	 8192
#define HEADER_LEN	 12
#define HEADER_ADDR_LEN	 32

#define FLAG_REQUIRED	 0x0000ffffU
#define FLAG_PAGE_ALIGN	 0x00000001U
#define FLAG_MEMORY_INFO 0x00000002U
#define FLAG_VIDEO	 0x00000004U
#define FLAG_ADDRESSES	 0x00010000U
#define FLAGS_KNOWN	 (FLAG_PAGE_ALIGN | FLAG_MEMORY_INFO | FLAG_VIDEO)

#define INFO_MEMORY	 0x001U
#define INFO_CMDLINE	 0x004U
#define INFO_MODS	 0x008U
#define INFO_MMAP	 0x040U
#define INFO_LOADER_NAME 0x200U
#define MODS_OFF	 0x100
#define LOADER_NAME_OFF	 0x120
#define MOD_STRING_OFF	 0x140
#define MOD_STRING_MAX	 0xa0
#define MMAP_OFF	 0x200
#define MMAP_ENTRY	 24
#define CMDLINE_MAX	 4095

bool boot_multiboot_probe(const uint8_t *head, size_t len, struct boot_multiboot *ret)
{
	len = MIN(len, (size_t)SEARCH_LEN);
	for (size_t at = 0; at + HEADER_LEN <= len; at += 4) {
		const uint8_t *h = head + at;
		uint32_t flags = le32_load(h + 4);

		if (le32_load(h) != HEADER_MAGIC || HEADER_MAGIC + flags + le32_load(h + 8) != 0)
			continue;
		*ret = (struct boot_multiboot){ .off = at, .flags = flags };
		if (!(flags & FLAG_ADDRESSES))
			return true;
		if (at + HEADER_ADDR_LEN > len)
			return false;
		ret->header_addr = le32_load(h + 12);
		ret->load_addr = le32_load(h + 16);
		ret->load_end = le32_load(h + 20);
		ret->bss_end = le32_load(h + 24);
		ret->entry = le32_load(h + 28);
		return true;
	}
	return false;
}

/* A flat image: the header's addresses say where the file goes. */
static int load_flat(const struct boot_request *req, const struct boot_image *img,
		     const struct boot_multiboot *mb, struct boot_extent *ret, struct err *err)
{
	uint64_t skip = mb->header_addr - mb->load_addr;
	uint64_t off, len, end;

	if (mb->header_addr < mb->load_addr || skip > mb->off)
		return err_set(err, -EBADMSG,
			       "'%s' is damaged: Multiboot load address out of range", img->name);
	off = mb->off - skip;
	if (mb->load_end && mb->load_end < mb->load_addr)
		return err_set(err, -EBADMSG, "'%s' is damaged: Multiboot load end out of range",
			       img->name);
	len = mb->load_end ? mb->load_end - mb->load_addr : img->size - off;
	end = MAX(mb->load_addr + len, (uint64_t)mb->bss_end);
	if (!boot_range_ok(req->mem, mb->load_addr, end - mb->load_addr))
		return err_set(err, -EBADMSG,
			       "'%s' wants memory at %#x-%#llx, which this guest does not have",
			       img->name, mb->load_addr, (unsigned long long)end);
	*ret = (struct boot_extent){ .start = mb->load_addr, .end = end, .entry = mb->entry };
	return boot_image_load(img, off, req->mem, mb->load_addr, len, err);
}

static void put_mmap(uint8_t *page, const struct memmap *map)
{
	le32_store(page + 44, map->n * MMAP_ENTRY);
	le32_store(page + 48, LAYOUT_START_INFO + MMAP_OFF);
	for (unsigned i = 0; i < map->n; i++) {
		uint8_t *e = page + MMAP_OFF + (size_t)i * MMAP_ENTRY;

		le32_store(e, MMAP_ENTRY - 4);
		le64_store(e + 4, map->e[i].addr);
		le64_store(e + 12, map->e[i].len);
		le32_store(e + 20, map->e[i].type);
	}
}

static void put_module(uint8_t *page, const struct boot_request *req, gpa_t gpa, uint64_t len)
{
	le32_store(page + 20, 1);
	le32_store(page + 24, LAYOUT_START_INFO + MODS_OFF);
	le32_store(page + MODS_OFF, (uint32_t)gpa);
	le32_store(page + MODS_OFF + 4, (uint32_t)(gpa + len));
	le32_store(page + MODS_OFF + 8, LAYOUT_START_INFO + MOD_STRING_OFF);
	strncpy((char *)page + MOD_STRING_OFF, req->initrd->name, MOD_STRING_MAX - 1);
}

static int write_info(const struct boot_request *req, gpa_t rd_gpa, uint64_t rd_len)
{
	const struct gmem_region *low = gmem_region_find(req->mem, 0, 1);
	uint8_t page[GMEM_PAGE_SIZE] = { 0 };
	uint32_t flags = INFO_MEMORY | INFO_CMDLINE | INFO_MMAP | INFO_LOADER_NAME;

	if (!low)
		return -EFAULT;
	le32_store(page + 4, LAYOUT_EBDA / KIB);
	le32_store(page + 8, (uint32_t)((low->len - LAYOUT_HIGH_RAM) / KIB));
	le32_store(page + 16, LAYOUT_CMDLINE);
	put_mmap(page, req->map);
	memcpy(page + LOADER_NAME_OFF, "husk", 5);
	le32_store(page + 64, LAYOUT_START_INFO + LOADER_NAME_OFF);
	if (rd_len) {
		put_module(page, req, rd_gpa, rd_len);
		flags |= INFO_MODS;
	}
	le32_store(page, flags);
	return gmem_write(req->mem, LAYOUT_START_INFO, page, sizeof(page));
}

int boot_multiboot_load(const struct boot_request *req, const struct boot_image *img,
			const struct boot_multiboot *mb, struct boot_entry *ret, struct err *err)
{
	struct boot_extent extent = { 0 };
	gpa_t rd_gpa = 0;
	uint64_t rd_len = 0;
	int r;

	if (mb->flags & FLAG_REQUIRED & ~FLAGS_KNOWN)
		return err_set(err, -EOPNOTSUPP, "'%s' requires unknown Multiboot features %#x",
			       img->name, mb->flags & FLAG_REQUIRED & ~FLAGS_KNOWN);
	r = mb->flags & FLAG_ADDRESSES ? load_flat(req, img, mb, &extent, err)
				       : boot_elf_load(img, req->mem, &extent, err);
	if (r == 0)
		r = boot_cmdline_load(req, CMDLINE_MAX, err);
	if (r == 0)
		r = boot_initrd_load(req, extent.end, LAYOUT_HOLE_START, &rd_gpa, &rd_len, err);
	if (r < 0)
		return r;
	if (extent.entry > UINT32_MAX)
		return err_set(err, -EBADMSG, "'%s' has a Multiboot entry above 4 GiB", img->name);
	if (write_info(req, rd_gpa, rd_len) < 0)
		return err_set(err, -EINVAL, "the guest has too little memory for '%s'", img->name);
	*ret = (struct boot_entry){ .mode = BOOT_MODE_PROTECTED,
				    .rip = extent.entry,
				    .rax = BOOT_MAGIC,
				    .rbx = LAYOUT_START_INFO };
	return 0;
}
