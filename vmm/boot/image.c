/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel and initrd files: bounded reads into host and guest memory. */
#include "boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/fd.h"
#include "machine/layout.h"

int boot_image_open(const struct vm_file *file, struct boot_image *ret, struct err *err)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return err_errno(err, errno, "'%s'", file->name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "'%s' is not a regular file", file->name);
	if (st.st_size == 0)
		return err_set(err, -EBADMSG, "'%s' is empty", file->name);
	*ret = (struct boot_image){ .name = file->name,
				    .fd = file->fd,
				    .size = (uint64_t)st.st_size };
	return 0;
}

void boot_image_done(struct boot_image *img)
{
	free(img->data);
	img->data = NULL;
}

static int range_check(const struct boot_image *img, uint64_t off, uint64_t len, struct err *err)
{
	uint64_t end;

	if (ckd_add(&end, off, len))
		return err_set(err, -EBADMSG, "'%s' is damaged: an offset in it is out of range",
			       img->name);
	if (end > img->size)
		return err_set(err, -EBADMSG, "'%s' is truncated: byte %llu of %llu is wanted",
			       img->name, (unsigned long long)end, (unsigned long long)img->size);
	return 0;
}

static int read_at(const struct boot_image *img, uint64_t off, void *buf, size_t len,
		   struct err *err)
{
	ssize_t n;

	if (img->data) {
		memcpy(buf, img->data + off, len);
		return 0;
	}
	n = fd_pread_full(img->fd, buf, len, off);
	if (n < 0)
		return err_errno(err, (int)-n, "read '%s'", img->name);
	if ((size_t)n < len)
		return err_set(err, -EBADMSG, "'%s' shrank while it was read", img->name);
	return 0;
}

int boot_image_read(const struct boot_image *img, uint64_t off, void *buf, size_t len,
		    struct err *err)
{
	int r = range_check(img, off, len, err);

	return r < 0 ? r : read_at(img, off, buf, len, err);
}

int boot_image_open_head(const struct vm_file *file, struct boot_image *ret, void *head, size_t len,
			 size_t *ret_len, struct err *err)
{
	int r = boot_image_open(file, ret, err);

	if (r < 0)
		return r;
	*ret_len = (size_t)MIN(ret->size, (uint64_t)len);
	return boot_image_read(ret, 0, head, *ret_len, err);
}

bool boot_range_ok(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	const struct gmem_region *r;
	uint64_t end;

	if (len == 0 || ckd_add(&end, gpa, len) || gpa < LAYOUT_LOW_END)
		return false;
	if (gpa < LAYOUT_HIGH_RAM && end > LAYOUT_EBDA)
		return false;
	r = gmem_region_find(mem, gpa, len);
	return r && r->kind == GMEM_RAM;
}

int boot_image_load(const struct boot_image *img, uint64_t off, struct gmem *mem, gpa_t gpa,
		    uint64_t len, struct err *err)
{
	int r = range_check(img, off, len, err);

	if (r < 0 || len == 0)
		return r;
	if (!boot_range_ok(mem, gpa, len))
		return err_set(
			err, -EBADMSG,
			"'%s' wants to be at %#llx-%#llx, where the guest has no memory for it",
			img->name, (unsigned long long)gpa, (unsigned long long)(gpa + len - 1));
	r = read_at(img, off, gmem_ptr(mem, gpa, len), len, err);
	if (r == 0)
		gmem_written(mem, gpa, len);
	return r;
}

int boot_initrd_load(const struct boot_request *req, gpa_t floor, gpa_t limit, gpa_t *ret_gpa,
		     uint64_t *ret_len, struct err *err)
{
	const struct gmem_region *low = gmem_region_find(req->mem, 0, 1);
	struct boot_image img;
	gpa_t gpa;
	int r;

	*ret_gpa = *ret_len = 0;
	if (!req->initrd)
		return 0;
	r = boot_image_open(req->initrd, &img, err);
	if (r < 0)
		return r;
	limit = ALIGN_DOWN(MIN(limit, low ? low->len : 0), GMEM_PAGE_SIZE);
	floor = MAX(floor, LAYOUT_HIGH_RAM);
	if (limit < floor || img.size > limit - floor)
		return err_set(err, -E2BIG,
			       "initrd '%s' of %llu bytes does not fit into the guest's memory",
			       img.name, (unsigned long long)img.size);
	gpa = ALIGN_DOWN(limit - img.size, GMEM_PAGE_SIZE);
	if (gpa < floor)
		return err_set(err, -E2BIG, "initrd '%s' does not fit beside the kernel", img.name);
	r = boot_image_load(&img, 0, req->mem, gpa, img.size, err);
	if (r < 0)
		return r;
	*ret_gpa = gpa;
	*ret_len = img.size;
	return 0;
}

int boot_cmdline_load(const struct boot_request *req, size_t max, struct err *err)
{
	size_t len = strlen(req->cmdline);

	max = MIN(max, (size_t)LAYOUT_CMDLINE_MAX - 1);
	if (len > max)
		return err_set(err, -E2BIG,
			       "the kernel command line has %zu characters, '%s' takes %zu", len,
			       req->kernel->name, max);
	return gmem_write(req->mem, LAYOUT_CMDLINE, req->cmdline, len + 1);
}
