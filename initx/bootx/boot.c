/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the loader hands over, by PVH, Multiboot 1 or Multiboot 2: memory, modules, command line,
 * RSDP. Refs: xen start_info.h version 1; Multiboot 0.6.96 section 3.3; Multiboot2 2.0 section 3.6.
 */
#include "internal.h"

#define MEMMAP_MAX   512
#define MB1_HAS_MEM  0x001U
#define MB1_HAS_CMD  0x004U
#define MB1_HAS_MODS 0x008U
#define MB1_HAS_MMAP 0x040U
#define MB2_CMDLINE  1
#define MB2_MODULE   3
#define MB2_MMAP     6
#define MB2_RSDP_OLD 14
#define MB2_RSDP_NEW 15
#define MB2_MAX_LEN  0x100000U
#define EBDA_POINTER 0x40e
#define LOW_RESERVED 0x1000ULL /* page 0 is nobody's */

/* ---- regions ---- */

static bool stronger(uint32_t a, uint32_t b)
{
	return a != BOOTX_USABLE && (b == BOOTX_USABLE || b >= BOOTX_LOADER || a < BOOTX_LOADER);
}

static void insert(struct boot *b, unsigned at, uint64_t start, uint64_t end, uint32_t kind)
{
	if (start >= end)
		return;
	if (b->n_regions == BOOTX_MAX_REGIONS)
		refuse("the memory map has more than %u regions", (uint64_t)BOOTX_MAX_REGIONS);
	memmove(&b->regions[at + 1], &b->regions[at], (b->n_regions - at) * sizeof(b->regions[0]));
	b->regions[at] = (struct bootx_region){ .start = start, .len = end - start, .kind = kind };
	b->n_regions++;
}

static void drop(struct boot *b, unsigned at)
{
	b->n_regions--;
	memmove(&b->regions[at], &b->regions[at + 1], (b->n_regions - at) * sizeof(b->regions[0]));
}

static void merge(struct boot *b)
{
	for (unsigned i = 0; i + 1 < b->n_regions;) {
		struct bootx_region *r = &b->regions[i];

		if (r->kind != r[1].kind || r->start + r->len != r[1].start) {
			i++;
			continue;
		}
		r->len += r[1].len;
		drop(b, i + 1);
	}
}

void regions_mark(struct boot *b, uint64_t start, uint64_t len, uint32_t kind)
{
	uint64_t end = start + len < start ? ~0ULL : start + len;
	unsigned i = 0;

	while (start < end) {
		struct bootx_region r;
		uint64_t r_end, stop;

		while (i < b->n_regions && b->regions[i].start + b->regions[i].len <= start)
			i++;
		if (i == b->n_regions || b->regions[i].start >= end) {
			insert(b, i, start, end, kind);
			break;
		}
		r = b->regions[i];
		if (r.start > start) {
			insert(b, i, start, r.start, kind);
			start = r.start;
			continue;
		}
		r_end = r.start + r.len;
		stop = r_end < end ? r_end : end;
		if (r.kind != kind && stronger(kind, r.kind)) {
			drop(b, i);
			insert(b, i, stop, r_end, r.kind);
			insert(b, i, start, stop, kind);
			insert(b, i, r.start, start, r.kind);
		}
		start = stop;
	}
	merge(b);
}

bool regions_are(const struct boot *b, uint64_t start, uint64_t len, uint32_t kind)
{
	for (unsigned i = 0; i < b->n_regions; i++) {
		const struct bootx_region *r = &b->regions[i];

		if (r->kind == kind && start >= r->start && start - r->start < r->len &&
		    len <= r->len - (start - r->start))
			return true;
	}
	return false;
}

static uint32_t kind_of(uint32_t e820_type)
{
	return e820_type >= BOOTX_USABLE && e820_type <= BOOTX_BAD ? e820_type : BOOTX_RESERVED;
}

static void add_region(struct boot *b, uint64_t start, uint64_t len, uint32_t type)
{
	uint32_t kind = kind_of(type);
	uint64_t end = start + len < start ? ~0ULL - (PAGE - 1) : start + len;

	/* Whole pages: usable ones shrink, others grow. */
	start = kind == BOOTX_USABLE ? page_up(start) : page_down(start);
	end = kind == BOOTX_USABLE ? page_down(end) : page_up(end);
	if (end > start)
		regions_mark(b, start, end - start, kind);
}

/* ---- modules ---- */

static void add_module(struct boot *b, uint64_t start, uint64_t len)
{
	if (!len || b->n_modules == MAX_MODULES)
		return;
	if (start >= DM_LEN || len > DM_LEN - start)
		refuse("the boot module at %x lies above 4 GiB", start);
	b->modules[b->n_modules++] = (struct module){ .start = start, .len = len };
}

/* ---- protocols ---- */

/* What the loader points to, if it is in the direct map. */
static const uint8_t *table(uint64_t at, uint64_t len)
{
	if (at >= DM_LEN || len > DM_LEN - at)
		refuse("the loader's table at %x lies above 4 GiB", at);
	return phys_ptr(at);
}

static void read_pvh(struct boot *b, const uint8_t *info)
{
	uint64_t mods = le64(info + 16), map = le64(info + 40);
	uint32_t n_mods = le32(info + 12), n_map = le32(info + 48);

	b->cmdline = le64(info + 24);
	b->rsdp = le64(info + 32);
	for (uint32_t i = 0; i < n_mods && i < MAX_MODULES; i++) {
		const uint8_t *m = table(mods + i * 32ULL, 32);

		add_module(b, le64(m), le64(m + 8));
	}
	if (le32(info + 4) < 1)
		refuse("the loader's PVH information has no memory map");
	for (uint32_t i = 0; i < n_map && i < MEMMAP_MAX; i++) {
		const uint8_t *e = table(map + i * 24ULL, 24);

		add_region(b, le64(e), le64(e + 8), le32(e + 16));
	}
}

static void read_mb1(struct boot *b, const uint8_t *info)
{
	uint32_t flags = le32(info), n_mods = le32(info + 20), mods = le32(info + 24);
	uint32_t map_len = le32(info + 44), map = le32(info + 48);

	if (flags & MB1_HAS_CMD)
		b->cmdline = le32(info + 16);
	for (uint32_t i = 0; (flags & MB1_HAS_MODS) && i < n_mods && i < MAX_MODULES; i++) {
		const uint8_t *m = table(mods + i * 16ULL, 16);

		add_module(b, le32(m), le32(m + 4) - (uint64_t)le32(m));
	}
	if (flags & MB1_HAS_MMAP) {
		for (uint64_t at = 0, n = 0; at + 24 <= map_len && n < MEMMAP_MAX; n++) {
			const uint8_t *e = table(map + at, 24);

			add_region(b, le64(e + 4), le64(e + 12), le32(e + 20));
			at += le32(e) + 4ULL;
		}
	} else if (flags & MB1_HAS_MEM) {
		add_region(b, 0, le32(info + 4) * 1024ULL, BOOTX_USABLE);
		add_region(b, 0x100000, le32(info + 8) * 1024ULL, BOOTX_USABLE);
	}
}

static void read_mb2_mmap(struct boot *b, const uint8_t *tag, uint32_t len)
{
	uint32_t size = le32(tag + 8);

	for (uint64_t at = 16, n = 0; size >= 20 && at + size <= len && n < MEMMAP_MAX; n++) {
		add_region(b, le64(tag + at), le64(tag + at + 8), le32(tag + at + 16));
		at += size;
	}
}

static void read_mb2(struct boot *b, const uint8_t *info)
{
	uint32_t total = le32(info);

	for (uint32_t at = 8; at + 8 <= total && total <= MB2_MAX_LEN;) {
		const uint8_t *tag = info + at;
		uint32_t type = le32(tag), len = le32(tag + 4);

		if (len < 8 || len > total - at || !type)
			break;
		if (type == MB2_CMDLINE)
			b->cmdline = ptr_phys(tag + 8);
		else if (type == MB2_MODULE)
			add_module(b, le32(tag + 8), le32(tag + 12) - (uint64_t)le32(tag + 8));
		else if (type == MB2_MMAP && len >= 16)
			read_mb2_mmap(b, tag, len);
		else if (type == MB2_RSDP_NEW || (type == MB2_RSDP_OLD && !b->rsdp))
			b->rsdp = ptr_phys(tag + 8);
		at += (len + 7) & ~7U;
	}
}

/* Multiboot 1 does not say where the ACPI tables are: look where a BIOS puts them. */
static uint64_t scan_rsdp(uint64_t start, uint64_t len)
{
	for (uint64_t at = start & ~15ULL; at < start + len; at += 16) {
		const uint8_t *p = phys_ptr(at);
		uint8_t sum = 0;

		if (memcmp(p, "RSD PTR ", 8) != 0)
			continue;
		for (unsigned i = 0; i < 20; i++)
			sum += p[i];
		if (!sum)
			return at;
	}
	return 0;
}

void boot_read(struct boot *b, uint32_t magic, uint64_t info, uint64_t loader)
{
	uint64_t ebda;

	*b = (struct boot){ .protocol = magic, .loader = loader };
	switch (magic) {
	case PROTO_PVH: read_pvh(b, phys_ptr(info)); break;
	case PROTO_MB1: read_mb1(b, phys_ptr(info)); break;
	case PROTO_MB2: read_mb2(b, phys_ptr(info)); break;
	default: refuse("entered with %x, neither PVH nor Multiboot", (uint64_t)magic);
	}
	if (b->cmdline)
		table(b->cmdline, 1);
	if (!b->rsdp) {
		ebda = (uint64_t)le16(phys_ptr(EBDA_POINTER)) << 4;
		b->rsdp = ebda ? scan_rsdp(ebda, 1024) : 0;
		if (!b->rsdp)
			b->rsdp = scan_rsdp(0xe0000, 0x20000);
	}
	/* What is in use. The low megabyte holds the loader's tables and our command line. */
	regions_mark(b, 0, LOW_RESERVED, BOOTX_RESERVED);
	regions_mark(b, loader, LARGE_PAGE, BOOTX_LOADER);
	for (unsigned i = 0; i < b->n_modules; i++)
		regions_mark(b, page_down(b->modules[i].start),
			     page_up(b->modules[i].start + b->modules[i].len) -
				     page_down(b->modules[i].start),
			     BOOTX_MODULE);
	if (b->cmdline)
		regions_mark(b, page_down(b->cmdline), 2 * PAGE, BOOTX_MODULE);
	regions_mark(b, page_down(info), 2 * PAGE, BOOTX_MODULE);
}
