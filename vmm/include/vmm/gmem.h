/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest physical memory: the only door to it for devices, loaders and snapshots.
 *
 * Theory of operation. A map holds a few regions of host memory (RAM below the 3 GiB hole, RAM above
 * 4 GiB, the config region). It is filled before the first vCPU runs and never changes after, so
 * look-ups take no lock. Invariants:
 *  1. Regions are page-aligned, do not overlap, and are sorted by guest physical address.
 *  2. Whoever writes guest memory from the host calls gmem_written() afterwards for exactly the bytes
 *     written (gmem_write() and gmem_fill() do): it feeds the dirty log and tells the software CPU
 *     about code that changed under it.
 *  3. Guest memory changes at any time under a reader: copy once, then look only at the copy.
 */
#ifndef VMM_GMEM_H
#define VMM_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

typedef uint64_t gpa_t;

#define GMEM_PAGE_SHIFT	 12
#define GMEM_PAGE_SIZE	 (1ULL << GMEM_PAGE_SHIFT)
#define GMEM_MAX_REGIONS 8

/* Bits of a page's flag byte; atomics, any thread. */
#define GMEM_PAGE_CODE	0x01 /* the software CPU holds decoded blocks of this page */
#define GMEM_PAGE_DIRTY 0x02 /* written since the dirty log was last cleared */
#define GMEM_PAGE_WTLB	0x04 /* a write translation of this page may be cached by some vCPU */

enum gmem_kind {
	GMEM_RAM,    /* usable RAM, listed in e820 */
	GMEM_SHARED, /* real memory outside e820: the config region */
	GMEM_WINDOW, /* pages of host files (vmm/window.h): never part of a snapshot */
};

struct gmem_region {
	gpa_t gpa;
	uint64_t len; /* bytes */
	uint8_t *hva;
	uint8_t *page_flags; /* one byte a page, GMEM_PAGE_* */
	enum gmem_kind kind;
	bool owned; /* unmapped by gmem_free() */
};

/* Called after a host-side write touched a page marked GMEM_PAGE_CODE. Any thread. */
typedef void (*gmem_code_write_fn)(void *opaque, gpa_t gpa, uint64_t len);

struct gmem {
	struct gmem_region regions[GMEM_MAX_REGIONS];
	unsigned n_regions;
	gmem_code_write_fn code_write;
	void *code_write_opaque;
	bool dirty_log; /* guarded by: changed only while all vCPUs are stopped */
};

/**
 * gmem_new() - Make an empty map
 */
int gmem_new(struct gmem **ret, struct err *err);
void gmem_free(struct gmem *mem);
CLEANUP_DEFINE(struct gmem, gmem_free);

/**
 * gmem_add_anon() - Add a region of fresh zeroed host memory
 * @mem:	Map, before vCPUs run
 * @gpa:	Start, page-aligned
 * @len:	Bytes, page-aligned, not 0
 * @kind:	What the guest is told of it
 *
 * Huge pages are asked for with madvise; the host's swap and overcommit rules apply (NORESERVE).
 * Return: 0; -EINVAL alignment; -EEXIST overlap; -E2BIG too many regions; -ENOMEM.
 */
int gmem_add_anon(struct gmem *mem, gpa_t gpa, uint64_t len, enum gmem_kind kind, struct err *err);

/**
 * gmem_add_file() - Add a region that begins as a copy of a file's content
 * @fd:		The file, at least @off + @len bytes long for as long as the map lives; may be closed
 * @off:	Where in it, page-aligned
 *
 * Mapped privately: nothing is copied before it is written, and the file is never changed.
 * Return: as gmem_add_anon(); what mapping the file gives.
 */
int gmem_add_file(struct gmem *mem, gpa_t gpa, uint64_t len, enum gmem_kind kind, int fd,
		  uint64_t off, struct err *err);

/**
 * gmem_region_find() - Region that holds all of [@gpa, @gpa + @len)
 *
 * Context: any thread, lock-free.
 * Return: borrowed until gmem_free(), or NULL.
 */
static inline const struct gmem_region *gmem_region_find(const struct gmem *mem, gpa_t gpa,
							 uint64_t len)
{
	for (unsigned i = 0; i < mem->n_regions; i++) {
		const struct gmem_region *r = &mem->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->len && len <= r->len - (gpa - r->gpa))
			return r;
	}
	return NULL;
}

/**
 * gmem_ptr() - Host pointer for a guest physical range
 * @mem:	Guest memory map
 * @gpa:	Start, guest physical address in bytes
 * @len:	Length in bytes; 0 is refused
 *
 * The whole range must lie in one region: two that touch are not joined. After writing through the
 * pointer call gmem_written().
 *
 * Context: any thread, lock-free.
 * Return: pointer borrowed until gmem_free(), or NULL if any byte is outside.
 * Ref: virtio-v1.2 2.7.5 (addresses come from the driver: untrusted).
 */
static inline void *gmem_ptr(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	const struct gmem_region *r = len ? gmem_region_find(mem, gpa, len) : NULL;

	return r ? r->hva + (gpa - r->gpa) : NULL;
}

/**
 * gmem_written() - Account for bytes the host has written into guest memory
 *
 * Ranges outside memory are ignored. Context: any thread.
 */
void gmem_written(struct gmem *mem, gpa_t gpa, uint64_t len);

/* Copy in or out of guest memory. Return: 0; -EFAULT if any byte is outside (nothing copied). */
int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len);
int gmem_write(struct gmem *mem, gpa_t gpa, const void *buf, size_t len);
int gmem_fill(struct gmem *mem, gpa_t gpa, int byte, size_t len);

/* Total bytes of GMEM_RAM. */
uint64_t gmem_ram_bytes(const struct gmem *mem);

#endif
