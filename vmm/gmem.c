/* SPDX-License-Identifier: Apache-2.0 */
/* Guest physical memory: regions of host memory, checked access, write accounting. */
#include "vmm/gmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "vmm/window.h"

#define HUGE_PAGE_SIZE (2 * MIB)

int gmem_new(struct gmem **ret, struct err *err)
{
	struct gmem *mem = calloc(1, sizeof(*mem));

	if (!mem)
		return err_set(err, -ENOMEM, "no memory for the guest memory map");
	*ret = mem;
	return 0;
}

static void region_release(struct gmem_region *r)
{
	if (r->kind == GMEM_WINDOW)
		window_forget(r);
	if (r->owned && r->hva)
		munmap(r->hva, r->len);
	if (r->page_flags)
		munmap(r->page_flags, r->len >> GMEM_PAGE_SHIFT);
	*r = (struct gmem_region){ 0 };
}

void gmem_free(struct gmem *mem)
{
	if (!mem)
		return;
	for (unsigned i = 0; i < mem->n_regions; i++)
		region_release(&mem->regions[i]);
	free(mem);
}

static bool ranges_overlap(gpa_t a, uint64_t a_len, gpa_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int region_check(const struct gmem *mem, gpa_t gpa, uint64_t len, struct err *err)
{
	uint64_t end;

	if (len == 0 || !IS_ALIGNED(gpa, GMEM_PAGE_SIZE) || !IS_ALIGNED(len, GMEM_PAGE_SIZE) ||
	    ckd_add(&end, gpa, len))
		return err_set(err, -EINVAL, "guest memory region %#llx+%#llx is not page-aligned",
			       (unsigned long long)gpa, (unsigned long long)len);
	if (mem->n_regions == GMEM_MAX_REGIONS)
		return err_set(err, -E2BIG, "more than %d guest memory regions", GMEM_MAX_REGIONS);
	for (unsigned i = 0; i < mem->n_regions; i++) {
		const struct gmem_region *r = &mem->regions[i];

		if (ranges_overlap(gpa, len, r->gpa, r->len))
			return err_set(err, -EEXIST,
				       "guest memory region %#llx+%#llx overlaps %#llx+%#llx",
				       (unsigned long long)gpa, (unsigned long long)len,
				       (unsigned long long)r->gpa, (unsigned long long)r->len);
	}
	return 0;
}

/*
 * Anonymous memory whose start is aligned for huge pages: mapped larger, then trimmed. Small ranges
 * are mapped as they are.
 */
static void *map_anon(uint64_t len)
{
	const int prot = PROT_READ | PROT_WRITE;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint64_t pad = len >= HUGE_PAGE_SIZE ? HUGE_PAGE_SIZE : 0;
	uint64_t whole, head;
	uint8_t *p;

	if (ckd_add(&whole, len, pad))
		return NULL;
	p = mmap(NULL, whole, prot, flags, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (!pad)
		return p;
	head = ALIGN_UP((uintptr_t)p, HUGE_PAGE_SIZE) - (uintptr_t)p;
	if (head)
		munmap(p, head);
	if (pad - head)
		munmap(p + head + len, pad - head);
	return p + head;
}

static void region_insert(struct gmem *mem, const struct gmem_region *r)
{
	unsigned i = mem->n_regions;

	for (; i > 0 && mem->regions[i - 1].gpa > r->gpa; i--)
		mem->regions[i] = mem->regions[i - 1];
	mem->regions[i] = *r;
	mem->n_regions++;
}

/* @r->hva is mapped; taken over also on failure. */
static int region_add(struct gmem *mem, struct gmem_region *r, struct err *err)
{
	/* One byte a page, touched only where something is tracked. */
	r->page_flags = mmap(NULL, r->len >> GMEM_PAGE_SHIFT, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->page_flags == MAP_FAILED) {
		r->page_flags = NULL;
		region_release(r);
		return err_set(err, -ENOMEM, "no memory for page flags");
	}
	/* Advice only. */
	(void)madvise(r->hva, r->len, MADV_DONTDUMP);
	region_insert(mem, r);
	return 0;
}

int gmem_add_anon(struct gmem *mem, gpa_t gpa, uint64_t len, enum gmem_kind kind, struct err *err)
{
	struct gmem_region r = { .gpa = gpa, .len = len, .kind = kind, .owned = true };
	int ret = region_check(mem, gpa, len, err);

	if (ret < 0)
		return ret;
	r.hva = map_anon(len);
	if (!r.hva)
		return err_set(err, -ENOMEM, "the host has no room for %llu MiB of guest memory",
			       (unsigned long long)(len / MIB));
	/* A host without huge pages runs as well, slower. */
	(void)madvise(r.hva, len, MADV_HUGEPAGE);
	return region_add(mem, &r, err);
}

int gmem_add_file(struct gmem *mem, gpa_t gpa, uint64_t len, enum gmem_kind kind, int fd,
		  uint64_t off, struct err *err)
{
	struct gmem_region r = { .gpa = gpa, .len = len, .kind = kind, .owned = true };
	int ret = region_check(mem, gpa, len, err);
	void *p;

	if (ret < 0)
		return ret;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, (off_t)off);
	if (p == MAP_FAILED)
		return err_errno(err, errno, "map a snapshot's memory");
	r.hva = p;
	return region_add(mem, &r, err);
}

void gmem_written(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	const struct gmem_region *r = len ? gmem_region_find(mem, gpa, len) : NULL;
	bool code = false;
	uint64_t first, last;

	if (!r)
		return;
	first = (gpa - r->gpa) >> GMEM_PAGE_SHIFT;
	last = (gpa - r->gpa + len - 1) >> GMEM_PAGE_SHIFT;
	/* The bytes must be visible before the flag is looked at; pairs with the CPU's own fence.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint64_t page = first; page <= last; page++) {
		uint8_t *flags = &r->page_flags[page];

		if (mem->dirty_log)
			__atomic_fetch_or(flags, GMEM_PAGE_DIRTY, __ATOMIC_RELAXED);
		if (__atomic_load_n(flags, __ATOMIC_RELAXED) & GMEM_PAGE_CODE)
			code = true;
	}
	if (code && mem->code_write)
		mem->code_write(mem->code_write_opaque, gpa, len);
}

int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len)
{
	const void *p;

	if (len == 0)
		return 0;
	p = gmem_ptr(mem, gpa, len);
	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

int gmem_write(struct gmem *mem, gpa_t gpa, const void *buf, size_t len)
{
	void *p;

	if (len == 0)
		return 0;
	p = gmem_ptr(mem, gpa, len);
	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	gmem_written(mem, gpa, len);
	return 0;
}

int gmem_fill(struct gmem *mem, gpa_t gpa, int byte, size_t len)
{
	void *p;

	if (len == 0)
		return 0;
	p = gmem_ptr(mem, gpa, len);
	if (!p)
		return -EFAULT;
	memset(p, byte, len);
	gmem_written(mem, gpa, len);
	return 0;
}

uint64_t gmem_ram_bytes(const struct gmem *mem)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < mem->n_regions; i++) {
		if (mem->regions[i].kind == GMEM_RAM)
			sum += mem->regions[i].len;
	}
	return sum;
}
