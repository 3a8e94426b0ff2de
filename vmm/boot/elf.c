/* SPDX-License-Identifier: Apache-2.0 */
/* ELF executables: header checks, segments, the PVH note. */
#include "boot/boot.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"

#define PHNUM_MAX	 64
#define NOTES_MAX	 4096 /* bytes of one note segment that are looked at */
#define XEN_PHYS32_ENTRY 18

/* A program header of either class. */
struct segment {
	uint32_t type;
	uint64_t off, paddr, filesz, memsz;
};

struct header {
	bool is64;
	uint64_t entry, phoff;
	unsigned phnum;
};

bool boot_elf_probe(const uint8_t *head, size_t len)
{
	return len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_AARCH64: return "arm64";
	case EM_ARM: return "arm";
	case EM_RISCV: return "riscv";
	case EM_PPC64: return "ppc64";
	case EM_S390: return "s390";
	case EM_MIPS: return "mips";
	default: return "another architecture";
	}
}

static int check_ident(const struct boot_image *img, const uint8_t *e, struct err *err)
{
	unsigned type = le16_load(e + 16), machine = le16_load(e + 18);
	bool is64 = e[EI_CLASS] == ELFCLASS64;

	if (e[EI_DATA] != ELFDATA2LSB)
		return err_set(err, -EBADMSG, "'%s' is a big-endian ELF file, not one for x86-64",
			       img->name);
	if (!is64 && e[EI_CLASS] != ELFCLASS32)
		return err_set(err, -EBADMSG, "'%s' is damaged: bad ELF class", img->name);
	if (machine != EM_X86_64 && machine != EM_386)
		return err_set(err, -EBADMSG, "'%s' is for %s, this machine is x86-64", img->name,
			       machine_name(machine));
	if (type != ET_EXEC)
		return err_set(err, -EBADMSG,
			       "'%s' is an ELF file but not a kernel: it is no "
			       "executable with fixed addresses",
			       img->name);
	return 0;
}

static int read_header(const struct boot_image *img, struct header *ret, struct err *err)
{
	uint8_t e[sizeof(Elf64_Ehdr)] = { 0 };
	unsigned phentsize, want;
	int r = boot_image_read(img, 0, e, sizeof(Elf32_Ehdr), err);

	if (r == 0)
		r = check_ident(img, e, err);
	if (r == 0 && e[EI_CLASS] == ELFCLASS64)
		r = boot_image_read(img, 0, e, sizeof(e), err);
	if (r < 0)
		return r;
	ret->is64 = e[EI_CLASS] == ELFCLASS64;
	ret->entry = ret->is64 ? le64_load(e + 24) : le32_load(e + 24);
	ret->phoff = ret->is64 ? le64_load(e + 32) : le32_load(e + 28);
	phentsize = le16_load(e + (ret->is64 ? 54 : 42));
	ret->phnum = le16_load(e + (ret->is64 ? 56 : 44));
	want = ret->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (phentsize != want || ret->phnum == 0 || ret->phnum > PHNUM_MAX)
		return err_set(err, -EBADMSG, "'%s' is damaged: %u program headers of %u bytes",
			       img->name, ret->phnum, phentsize);
	return 0;
}

static int read_segment(const struct boot_image *img, const struct header *h, unsigned n,
			struct segment *ret, struct err *err)
{
	uint8_t p[sizeof(Elf64_Phdr)];
	size_t size = h->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	uint64_t off;
	int r;

	if (ckd_add(&off, h->phoff, n * size))
		return err_set(err, -EBADMSG, "'%s' is damaged: program headers out of range",
			       img->name);
	r = boot_image_read(img, off, p, size, err);
	if (r < 0)
		return r;
	if (h->is64)
		*ret = (struct segment){ .type = le32_load(p),
					 .off = le64_load(p + 8),
					 .paddr = le64_load(p + 24),
					 .filesz = le64_load(p + 32),
					 .memsz = le64_load(p + 40) };
	else
		*ret = (struct segment){ .type = le32_load(p),
					 .off = le32_load(p + 4),
					 .paddr = le32_load(p + 12),
					 .filesz = le32_load(p + 16),
					 .memsz = le32_load(p + 20) };
	return 0;
}

/* Look through one note segment for Xen's PHYS32_ENTRY. Damaged notes just end the search. */
static int scan_notes(const struct boot_image *img, const struct segment *seg, struct boot_elf *ret,
		      struct err *err)
{
	uint8_t notes[NOTES_MAX];
	size_t len = (size_t)MIN(seg->filesz, (uint64_t)NOTES_MAX), at = 0;
	int r = boot_image_read(img, seg->off, notes, len, err);

	while (r == 0 && len - at >= 12) {
		uint64_t namesz = le32_load(notes + at), descsz = le32_load(notes + at + 4);
		uint32_t type = le32_load(notes + at + 8);
		uint64_t name = at + 12, desc = name + ALIGN_UP(namesz, 4);

		if (desc + descsz > len)
			break;
		if (type == XEN_PHYS32_ENTRY && namesz == 4 && !memcmp(notes + name, "Xen", 4) &&
		    descsz >= 4) {
			ret->has_pvh = true;
			ret->pvh_entry = le32_load(notes + desc);
		}
		at = (size_t)MIN(desc + ALIGN_UP(descsz, 4), (uint64_t)len);
	}
	return r;
}

int boot_elf_parse(const struct boot_image *img, struct boot_elf *ret, struct err *err)
{
	struct boot_elf elf = { 0 };
	struct header h;
	int r = read_header(img, &h, err);

	if (r < 0)
		return r;
	elf.is64 = h.is64;
	elf.entry = h.entry;
	for (unsigned i = 0; i < h.phnum; i++) {
		struct segment seg;

		r = read_segment(img, &h, i, &seg, err);
		if (r == 0 && seg.type == PT_NOTE)
			r = scan_notes(img, &seg, &elf, err);
		if (r < 0)
			return r;
	}
	*ret = elf;
	return 0;
}

static int load_segment(const struct boot_image *img, struct gmem *mem, const struct segment *seg,
			struct err *err)
{
	if (seg->filesz > seg->memsz)
		return err_set(err, -EBADMSG,
			       "'%s' is damaged: a segment's file part is larger "
			       "than the segment",
			       img->name);
	if (!boot_range_ok(mem, seg->paddr, seg->memsz))
		return err_set(err, -EBADMSG,
			       "'%s' wants memory at %#llx+%#llx, which this guest does not have",
			       img->name, (unsigned long long)seg->paddr,
			       (unsigned long long)seg->memsz);
	return boot_image_load(img, seg->off, mem, seg->paddr, seg->filesz, err);
}

int boot_elf_load(const struct boot_image *img, struct gmem *mem, struct boot_extent *ret,
		  struct err *err)
{
	struct boot_extent extent = { .start = UINT64_MAX };
	struct header h;
	int r = read_header(img, &h, err);

	for (unsigned i = 0; r == 0 && i < h.phnum; i++) {
		struct segment seg;

		r = read_segment(img, &h, i, &seg, err);
		if (r < 0 || seg.type != PT_LOAD || seg.memsz == 0)
			continue;
		r = load_segment(img, mem, &seg, err);
		extent.start = MIN(extent.start, seg.paddr);
		extent.end = MAX(extent.end, seg.paddr + seg.memsz);
	}
	if (r < 0)
		return r;
	if (extent.end == 0)
		return err_set(err, -EBADMSG, "'%s' has nothing to load", img->name);
	extent.entry = h.entry;
	*ret = extent;
	return 0;
}
