/* SPDX-License-Identifier: Apache-2.0 */
/* Which loader a kernel file needs. */
#include "boot/boot.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

#define HEAD_LEN 8192

int boot_say_foreign(const char *name, const uint8_t *head, size_t len, struct err *err)
{
	if (len >= 64 && memcmp(head + 56, "ARM\x64", 4) == 0)
		return err_set(err, -EBADMSG, "'%s' is an arm64 kernel, this machine is x86-64",
			       name);
	if (len >= 64 && memcmp(head + 56, "RSC\x05", 4) == 0)
		return err_set(err, -EBADMSG, "'%s' is a riscv kernel, this machine is x86-64",
			       name);
	if (len >= 2 && head[0] == 0x1f && head[1] == 0x8b)
		return err_set(err, -EBADMSG, "'%s' is a gzip file, not an x86-64 kernel", name);
	return err_set(err, -EBADMSG,
		       "'%s' is not a kernel: neither bzImage, nor ELF, nor Multiboot", name);
}

static int load_elf(const struct boot_request *req, const struct boot_image *img,
		    const uint8_t *head, size_t head_len, struct boot_entry *ret, struct err *err)
{
	struct boot_multiboot mb;
	struct boot_elf elf = { 0 };
	int r = boot_elf_parse(img, &elf, err);

	if (r < 0)
		return r;
	if (req->linux64 && elf.is64)
		return boot_vmlinux_load(req, img, NULL, ret, err);
	if (elf.has_pvh)
		return boot_pvh_load(req, img, &elf, ret, err);
	if (boot_multiboot_probe(head, head_len, &mb))
		return boot_multiboot_load(req, img, &mb, ret, err);
	if (elf.is64)
		return boot_elf64_load(req, img, ret, err);
	return err_set(err, -EBADMSG,
		       "'%s' is a 32-bit ELF file without a PVH note or Multiboot header",
		       img->name);
}

int boot_load(const struct boot_request *req, struct boot_entry *ret, struct err *err)
{
	uint8_t head[HEAD_LEN];
	struct boot_multiboot mb;
	struct boot_image img = { 0 };
	size_t len;
	int r = boot_image_open_head(req->kernel, &img, head, HEAD_LEN, &len, err);

	if (r < 0)
		return r;
	if (boot_bzimage_probe(head, len))
		return boot_bzimage_load(req, &img, ret, err);
	if (boot_elf_probe(head, len))
		return load_elf(req, &img, head, len, ret, err);
	if (boot_multiboot_probe(head, len, &mb))
		return boot_multiboot_load(req, &img, &mb, ret, err);
	return boot_say_foreign(img.name, head, len, err);
}
