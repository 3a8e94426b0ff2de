/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PVH: an ELF kernel with a Xen note that names a 32-bit entry; and plain ELF64 programs, which get
 * the same start info in long mode.
 * Ref: xen docs/misc/pvh.pandoc, xen/include/public/arch-x86/hvm/start_info.h (version 1).
 */
#include "boot/boot.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "machine/layout.h"

#define START_INFO_MAGIC   0x336ec578U
#define START_INFO_VERSION 1
#define START_INFO_LEN	   56
#define MODLIST_OFF	   0x100
#define MODLIST_LEN	   32
#define MEMMAP_OFF	   0x200
#define MEMMAP_ENTRY	   24
#define CMDLINE_MAX	   4095

static int write_start_info(const struct boot_request *req, gpa_t rd_gpa, uint64_t rd_len)
{
	uint8_t page[GMEM_PAGE_SIZE] = { 0 };

	le32_store(page, START_INFO_MAGIC);
	le32_store(page + 4, START_INFO_VERSION);
	le32_store(page + 12, rd_len ? 1 : 0);
	le64_store(page + 16, rd_len ? LAYOUT_START_INFO + MODLIST_OFF : 0);
	le64_store(page + 24, LAYOUT_CMDLINE);
	le64_store(page + 32, req->rsdp);
	le64_store(page + 40, LAYOUT_START_INFO + MEMMAP_OFF);
	le32_store(page + 48, req->map->n);
	le64_store(page + MODLIST_OFF, rd_gpa);
	le64_store(page + MODLIST_OFF + 8, rd_len);
	for (unsigned i = 0; i < req->map->n; i++) {
		uint8_t *e = page + MEMMAP_OFF + (size_t)i * MEMMAP_ENTRY;

		le64_store(e, req->map->e[i].addr);
		le64_store(e + 8, req->map->e[i].len);
		le32_store(e + 16, req->map->e[i].type);
	}
	return gmem_write(req->mem, LAYOUT_START_INFO, page, sizeof(page));
}

static int load_common(const struct boot_request *req, const struct boot_image *img,
		       struct boot_extent *ret, struct err *err)
{
	gpa_t rd_gpa = 0;
	uint64_t rd_len = 0;
	int r = boot_elf_load(img, req->mem, ret, err);

	if (r == 0)
		r = boot_cmdline_load(req, CMDLINE_MAX, err);
	if (r == 0)
		r = boot_initrd_load(req, ret->end, LAYOUT_HOLE_START, &rd_gpa, &rd_len, err);
	if (r == 0 && write_start_info(req, rd_gpa, rd_len) < 0)
		r = err_set(err, -EINVAL, "the guest has too little memory for '%s'", img->name);
	return r;
}

int boot_pvh_load(const struct boot_request *req, const struct boot_image *img,
		  const struct boot_elf *elf, struct boot_entry *ret, struct err *err)
{
	struct boot_extent extent = { 0 };
	int r = load_common(req, img, &extent, err);

	if (r < 0)
		return r;
	*ret = (struct boot_entry){ .mode = BOOT_MODE_PROTECTED,
				    .rip = elf->pvh_entry,
				    .rbx = LAYOUT_START_INFO };
	return 0;
}

int boot_elf64_load(const struct boot_request *req, const struct boot_image *img,
		    struct boot_entry *ret, struct err *err)
{
	struct boot_extent extent = { 0 };
	int r = load_common(req, img, &extent, err);

	if (r < 0)
		return r;
	*ret = (struct boot_entry){ .mode = BOOT_MODE_LONG,
				    .rip = extent.entry,
				    .rsp = LAYOUT_STACK_TOP,
				    .rdi = LAYOUT_START_INFO,
				    .rbx = LAYOUT_START_INFO };
	return 0;
}
