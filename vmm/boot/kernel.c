/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at kernel files outside a VM. */
#include "vmm/kernel.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"
#include "boot/boot.h"

#define HEAD_LEN	    0x290
#define HDR_VERSION_POINTER 0x20e /* to the version's text, less 0x200 */

/* The text runs to the first blank; what follows names the builder. */
static void read_version(const struct boot_image *img, const uint8_t *head, char *ret)
{
	unsigned pointer = le16_load(head + HDR_VERSION_POINTER);
	uint64_t off = (uint64_t)pointer + 0x200;
	size_t len;

	ret[0] = '\0';
	if (pointer == 0 || off >= img->size)
		return;
	len = (size_t)MIN(img->size - off, (uint64_t)KERNEL_VERSION_MAX - 1);
	if (boot_image_read(img, off, ret, len, NULL) < 0)
		len = 0;
	ret[len] = '\0';
	ret[strcspn(ret, " \t\n")] = '\0';
}

int kernel_inspect(const struct vm_file *file, struct kernel_info *ret, struct err *err)
{
	struct kernel_info info = { 0 };
	uint8_t head[HEAD_LEN] = { 0 };
	struct boot_image img = { 0 };
	struct boot_elf elf;
	size_t len;
	int r = boot_image_open_head(file, &img, head, HEAD_LEN, &len, err);

	if (r < 0)
		return r;
	if (boot_bzimage_probe(head, len)) {
		info.is_bzimage = true;
		read_version(&img, head, info.version);
	} else if (boot_elf_probe(head, len)) {
		r = boot_elf_parse(&img, &elf, err);
	} else {
		r = boot_say_foreign(img.name, head, len, err);
	}
	if (r == 0)
		*ret = info;
	return r;
}

int kernel_unpack(const struct vm_file *file, int out_fd, struct err *err)
{
	CLEANUP(boot_image_done) struct boot_image elf = { .fd = -1 };
	struct boot_image img = { 0 };
	int r = boot_image_open(file, &img, err);

	if (r == 0)
		r = boot_bzimage_unpack(&img, &elf, NULL, 0, err);
	if (r < 0)
		return r;
	if (elf.size < 4 || !boot_elf_probe(elf.data, 4))
		return err_set(err, -EBADMSG, "'%s' is damaged: no ELF kernel inside", img.name);
	r = fd_write_full(out_fd, elf.data, elf.size);
	return r < 0 ? err_errno(err, -r, "write the unpacked kernel") : 0;
}
