/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF payloads: programs that declare an entry in .loader_config, mapped with their own rights; and
 * kernels with a PVH note, loaded where they say and entered in 32-bit mode. Refs: System V ABI,
 * x86-64 supplement 1.0; xen docs/misc/pvh.pandoc.
 */
#include "internal.h"

#define EM_X86_64	  62
#define ET_EXEC		  2
#define PT_LOAD		  1
#define PT_NOTE		  4
#define PF_X		  1U
#define PF_W		  2U
#define EHDR_LEN	  64U
#define PHDR_LEN	  56U
#define SHDR_LEN	  64U
#define MAX_PHDRS	  32
#define MAX_SHDRS	  4096
#define NOTE_PHYS32_ENTRY 18
#define STACK_AREA	  0xffffa00000000000ULL
#define START_INFO_LEN	  56

struct segment {
	uint32_t type, flags;
	uint64_t off, vaddr, paddr, file_len, mem_len;
};

struct elf {
	const struct image *img;
	unsigned n;
	struct segment segs[MAX_PHDRS];
};

static const uint8_t *range(const struct image *img, uint64_t off, uint64_t len)
{
	if (off > img->len || len > img->len - off)
		refuse("the payload's ELF file is damaged or cut short");
	return img->data + off;
}

bool elf_probe(const struct image *img)
{
	return img->len >= EHDR_LEN && memcmp(img->data, "\177ELF", 4) == 0;
}

static void parse(const struct image *img, struct elf *e)
{
	const uint8_t *h = img->data;
	uint64_t phoff = le64(h + 32);
	unsigned n = le16(h + 56);

	*e = (struct elf){ .img = img };
	if (h[4] != 2 || h[5] != 1 || le16(h + 18) != EM_X86_64)
		refuse("the payload is not an x86-64 ELF file");
	if (le16(h + 16) != ET_EXEC)
		refuse("the payload is relocatable; link it static, not PIE");
	if (le16(h + 54) != PHDR_LEN || n > MAX_PHDRS)
		refuse("the payload's ELF file is damaged or cut short");
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *p = range(img, phoff + i * PHDR_LEN, PHDR_LEN);
		struct segment s = { .type = le32(p),
				     .flags = le32(p + 4),
				     .off = le64(p + 8),
				     .vaddr = le64(p + 16),
				     .paddr = le64(p + 24),
				     .file_len = le64(p + 32),
				     .mem_len = le64(p + 40) };

		if (s.type != PT_LOAD && s.type != PT_NOTE)
			continue;
		range(img, s.off, s.file_len);
		if (s.type == PT_LOAD &&
		    (s.mem_len < s.file_len || s.mem_len > DM_LEN ||
		     s.vaddr + s.mem_len < s.vaddr || s.paddr + s.mem_len < s.paddr))
			refuse("the payload's ELF file is damaged or cut short");
		if (s.type == PT_NOTE || s.mem_len)
			e->segs[e->n++] = s;
	}
}

/* Content of the section of that name; NULL: there is none. */
static const uint8_t *section(const struct image *img, const char *name, uint64_t *ret_len)
{
	const uint8_t *h = img->data;
	uint64_t shoff = le64(h + 40);
	unsigned n = le16(h + 60), names = le16(h + 62);
	const uint8_t *str;
	uint64_t str_len;

	if (!shoff || le16(h + 58) != SHDR_LEN || names >= n || n > MAX_SHDRS)
		return NULL;
	str = range(img, shoff + names * SHDR_LEN, SHDR_LEN);
	str_len = le64(str + 32);
	str = range(img, le64(str + 24), str_len);
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *s = range(img, shoff + i * SHDR_LEN, SHDR_LEN);
		uint64_t at = le32(s), len = strlen(name) + 1;

		if (at >= str_len || len > str_len - at || memcmp(str + at, name, len) != 0)
			continue;
		*ret_len = le64(s + 32);
		return range(img, le64(s + 24), *ret_len);
	}
	return NULL;
}

/* ---- declared entries ---- */

static bool is_code(const struct elf *e, uint64_t va)
{
	for (unsigned i = 0; i < e->n; i++) {
		const struct segment *s = &e->segs[i];

		if (s->type == PT_LOAD && (s->flags & PF_X) && va - s->vaddr < s->mem_len)
			return true;
	}
	return false;
}

static void check_config(const struct elf *e, const uint8_t *data, uint64_t len,
			 struct bootx_config *ret)
{
	if (len < sizeof(*ret))
		refuse("the payload's .loader_config is too short");
	memcpy(ret, data, sizeof(*ret));
	if (ret->magic != BOOTX_CONFIG_MAGIC)
		refuse("the payload's .loader_config has the magic %x instead of %x",
		       (uint64_t)ret->magic, (uint64_t)BOOTX_CONFIG_MAGIC);
	if (!ret->stack_pages || ret->stack_pages > BOOTX_MAX_STACK || ret->flags)
		refuse("the payload's .loader_config wants %u stack pages, flags %x",
		       (uint64_t)ret->stack_pages, (uint64_t)ret->flags);
	if (!is_code(e, (uint64_t)ret->entry))
		refuse("the payload's entry %x is not in its code", (uint64_t)ret->entry);
}

static void map_segment(struct boot *b, const struct elf *e, const struct segment *s)
{
	uint64_t skip = s->vaddr & (PAGE - 1), len = page_up(skip + s->mem_len), phys;
	uint64_t rights = s->flags & PF_W ? MAP_W | MAP_NX : s->flags & PF_X ? 0 : MAP_NX;

	if ((s->flags & PF_W) && (s->flags & PF_X))
		refuse("the payload's segment at %x is both writable and executable", s->vaddr);
	if (((int64_t)(s->vaddr << 16) >> 16) != (int64_t)s->vaddr)
		refuse("the payload's segment at %x has no valid address", s->vaddr);
	phys = frames_take(b, len, PAGE, BOOTX_PAYLOAD);
	memcpy((uint8_t *)phys_ptr(phys) + skip, e->img->data + s->off, s->file_len);
	map_pages_at(b, s->vaddr - skip, phys, len, rights);
}

static void read_cpu(struct bootx_info *info)
{
	uint32_t eax = 0, ebx, ecx, edx, lo, hi;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
	memcpy(info->cpu_vendor, &ebx, 4);
	memcpy(info->cpu_vendor + 4, &edx, 4);
	memcpy(info->cpu_vendor + 8, &ecx, 4);
	eax = 1;
	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
	info->cpu_signature = eax;
	info->cpu_ecx = ecx;
	info->cpu_edx = edx;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	info->tsc = (uint64_t)hi << 32 | lo;
}

static void boot_declared(struct boot *b, const struct elf *e, const struct bootx_config *config)
{
	static const char nothing[1];
	uint64_t stack_len = config->stack_pages * PAGE, bottom = STACK_AREA + PAGE;
	struct bootx_info *info = phys_ptr(frames_take(b, sizeof(*info), PAGE, BOOTX_LOADER));
	uint64_t low = ~0ULL, high = 0;

	for (unsigned i = 0; i < e->n; i++) {
		const struct segment *s = &e->segs[i];

		if (s->type != PT_LOAD)
			continue;
		map_segment(b, e, s);
		low = s->vaddr < low ? s->vaddr : low;
		high = s->vaddr + s->mem_len > high ? s->vaddr + s->mem_len : high;
	}
	map_pages_at(b, bottom, frames_take(b, stack_len, PAGE, BOOTX_PAYLOAD), stack_len,
		     MAP_W | MAP_NX);
	fault_set_guard(bottom);
	*info = (struct bootx_info){
		.magic = BOOTX_INFO_MAGIC,
		.version = BOOTX_INFO_VERSION,
		.protocol = b->protocol,
		.cmdline = b->cmdline ? (uint64_t)phys_ptr(b->cmdline) : (uint64_t)nothing,
		.rsdp = b->rsdp,
		.direct_map = DM_BASE,
		.direct_map_len = DM_LEN,
		.stack_bottom = bottom,
		.stack_top = bottom + stack_len,
		.image_start = low,
		.image_end = high,
		.loader_phys = b->loader,
		.module2 = b->n_modules > 1 ? b->modules[1].start : 0,
		.module2_len = b->n_modules > 1 ? b->modules[1].len : 0,
	};
	read_cpu(info);
	info->n_regions = b->n_regions;
	memcpy(info->regions, b->regions, b->n_regions * sizeof(b->regions[0]));
	enter_payload(config->entry, info, bottom + stack_len);
}

/* ---- PVH ---- */

static uint64_t pvh_entry(const struct elf *e)
{
	for (unsigned i = 0; i < e->n; i++) {
		const struct segment *s = &e->segs[i];

		if (s->type != PT_NOTE)
			continue;
		for (uint64_t at = 0; s->file_len - at >= 12;) {
			const uint8_t *n = e->img->data + s->off + at;
			uint64_t name = (le32(n) + 3ULL) & ~3ULL,
				 desc = (le32(n + 4) + 3ULL) & ~3ULL;

			if (name + desc > s->file_len - at - 12)
				break;
			if (le32(n + 8) == NOTE_PHYS32_ENTRY && le32(n) == 4 &&
			    memcmp(n + 12, "Xen", 4) == 0 && le32(n + 4) >= 4)
				return le32(n + 12 + name);
			at += 12 + name + desc;
		}
	}
	return 0;
}

static void load_physical(struct boot *b, const struct elf *e)
{
	uint64_t low = ~0ULL, high = 0;

	for (unsigned i = 0; i < e->n; i++) {
		const struct segment *s = &e->segs[i];

		if (s->type != PT_LOAD)
			continue;
		low = s->paddr < low ? s->paddr : low;
		high = s->paddr + s->mem_len > high ? s->paddr + s->mem_len : high;
	}
	if (low >= high || !frames_take_at(b, low, high - low, BOOTX_PAYLOAD))
		refuse("the kernel wants to be at %x-%x, which is not free", low, high);
	memset(phys_ptr(low), 0, high - low);
	for (unsigned i = 0; i < e->n; i++) {
		const struct segment *s = &e->segs[i];

		if (s->type == PT_LOAD)
			memcpy(phys_ptr(s->paddr), e->img->data + s->off, s->file_len);
	}
}

static uint64_t pvh_start_info(struct boot *b)
{
	uint64_t page = frames_take(b, PAGE, PAGE, BOOTX_LOADER);
	uint8_t *p = phys_ptr(page);
	struct {
		uint32_t magic, version, flags, n_mods;
		uint64_t mods, cmdline, rsdp, map;
		uint32_t n_map, reserved;
	} info = { .magic = PROTO_PVH, .version = 1, .cmdline = b->cmdline, .rsdp = b->rsdp };

	if (b->n_modules > 1) {
		info.n_mods = 1;
		info.mods = page + 64;
		memcpy(p + 64, &b->modules[1].start, 8);
		memcpy(p + 72, &b->modules[1].len, 8);
	}
	info.map = page + 128;
	info.n_map = b->n_regions;
	for (unsigned i = 0; i < b->n_regions; i++) {
		const struct bootx_region *r = &b->regions[i];
		uint32_t kind = r->kind >= BOOTX_LOADER ? BOOTX_USABLE : r->kind;

		memcpy(p + 128 + 24 * i, &r->start, 8);
		memcpy(p + 136 + 24 * i, &r->len, 8);
		memcpy(p + 144 + 24 * i, &kind, 4);
	}
	memcpy(p, &info, START_INFO_LEN);
	return page;
}

static void boot_pvh(struct boot *b, const struct elf *e, uint64_t entry)
{
	load_physical(b, e);
	leave_low(b, (uint32_t)entry, (uint32_t)pvh_start_info(b));
}

void elf_boot(struct boot *b, const struct image *img)
{
	struct bootx_config config;
	struct elf e;
	const uint8_t *data;
	uint64_t len, entry;

	parse(img, &e);
	data = section(img, ".loader_config", &len);
	if (data) {
		check_config(&e, data, len, &config);
		boot_declared(b, &e, &config);
	}
	entry = pvh_entry(&e);
	if (entry)
		boot_pvh(b, &e, entry);
	refuse("the payload declares no entry: no .loader_config, no PVH note");
}
