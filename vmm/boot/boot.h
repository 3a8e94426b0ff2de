/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaders: from a kernel file to guest memory and the first vCPU's registers.
 *
 * Theory of operation. boot_load() looks at the file's first bytes, picks the protocol, and that
 * loader checks every number in the file against its size and the guest's memory before it copies.
 * Guest memory is fresh: what no file fills reads as zeros. Files are read by position, so they
 * must be seekable. Files are untrusted input: every failure is one line with the file's name.
 */
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "vmm/gmem.h"
#include "vmm/hv.h"
#include "vmm/vm.h"

/* e820 types */
#define MEMMAP_RAM	1U
#define MEMMAP_RESERVED 2U
#define MEMMAP_MAX	8

struct memmap_entry {
	uint64_t addr, len;
	uint32_t type;
};

struct memmap {
	struct memmap_entry e[MEMMAP_MAX];
	unsigned n;
};

/* What every loader gets. */
struct boot_request {
	struct gmem *mem;
	const struct memmap *map;
	const struct vm_file *kernel;
	const struct vm_file *initrd; /* NULL: none */
	const char *cmdline;
	gpa_t rsdp;
	bool linux64; /* the kernel is known to be Linux: take its 64-bit entry, not PVH */
};

enum boot_mode {
	BOOT_MODE_PROTECTED, /* 32-bit, flat segments, paging off */
	BOOT_MODE_LONG,	     /* 64-bit, 4 GiB identity-mapped */
};

/* What a loader says about the first instruction. Registers that are not named are 0. */
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip, rsp, rax, rbx, rsi, rdi;
};

/* A file, or bytes unpacked from one. */
struct boot_image {
	const char *name;
	int fd;	       /* borrowed; -1: bytes in @data */
	uint8_t *data; /* owned, from malloc */
	uint64_t size;
};

/* A kernel's segments in guest memory. */
struct boot_extent {
	gpa_t start, end;
	uint64_t entry;
};

/* ---- image.c ---- */

int boot_image_open(const struct vm_file *file, struct boot_image *ret, struct err *err);
/* And its first bytes, *ret_len of them: @len, or as many as there are. */
int boot_image_open_head(const struct vm_file *file, struct boot_image *ret, void *head, size_t len,
			 size_t *ret_len, struct err *err);
void boot_image_done(struct boot_image *img);
/* Return: 0; -EBADMSG with a message when the file ends before @off + @len; negative errno. */
int boot_image_read(const struct boot_image *img, uint64_t off, void *buf, size_t len,
		    struct err *err);
/* As boot_image_read(), into guest memory; -EBADMSG too when the range is not RAM for images. */
int boot_image_load(const struct boot_image *img, uint64_t off, struct gmem *mem, gpa_t gpa,
		    uint64_t len, struct err *err);
/* Whether [@gpa, @gpa + @len) is memory where images may go. */
bool boot_range_ok(const struct gmem *mem, gpa_t gpa, uint64_t len);

/**
 * boot_initrd_load() - Put the initrd as high as it goes below 3 GiB and @limit
 * @limit:	First address it may not touch
 * @floor:	End of the kernel
 *
 * Return: 0, @ret_gpa and @ret_len 0 when there is none.
 */
int boot_initrd_load(const struct boot_request *req, gpa_t floor, gpa_t limit, gpa_t *ret_gpa,
		     uint64_t *ret_len, struct err *err);

/* Copy the command line to LAYOUT_CMDLINE; @max without the NUL. */
int boot_cmdline_load(const struct boot_request *req, size_t max, struct err *err);

/* ---- unpack.c ---- */

/**
 * boot_unpack() - Decompress a kernel payload
 * @name:	For messages
 * @in:		LZ4 (legacy), gzip, zstd or xz
 * @ret:	Bytes owned by the caller through boot_image_done()
 */
int boot_unpack(const char *name, const uint8_t *in, size_t in_len, struct boot_image *ret,
		struct err *err);

/* ---- elf.c ---- */

struct boot_elf {
	bool is64;
	uint64_t entry;
	bool has_pvh;
	uint32_t pvh_entry;
};

/* Check the header and look for the PVH note. */
int boot_elf_parse(const struct boot_image *img, struct boot_elf *ret, struct err *err);
/* Load every segment at its physical address. */
int boot_elf_load(const struct boot_image *img, struct gmem *mem, struct boot_extent *ret,
		  struct err *err);
bool boot_elf_probe(const uint8_t *head, size_t len);

/* ---- protocols: linux.c, pvh.c, multiboot.c ---- */

bool boot_bzimage_probe(const uint8_t *head, size_t len);
int boot_bzimage_load(const struct boot_request *req, const struct boot_image *img,
		      struct boot_entry *ret, struct err *err);
/* The vmlinux inside a bzImage. @ret_header: the setup header as in the file, 0x1f1 and up. */
int boot_bzimage_unpack(const struct boot_image *img, struct boot_image *ret, uint8_t *ret_header,
			size_t header_len, struct err *err);
/* An ELF vmlinux by its 64-bit entry; @header NULL: a made-up one. */
int boot_vmlinux_load(const struct boot_request *req, const struct boot_image *img,
		      const uint8_t *header, struct boot_entry *ret, struct err *err);
int boot_pvh_load(const struct boot_request *req, const struct boot_image *img,
		  const struct boot_elf *elf, struct boot_entry *ret, struct err *err);
/* A plain ELF64 program: long mode, RDI and RBX point to a PVH start info. */
int boot_elf64_load(const struct boot_request *req, const struct boot_image *img,
		    struct boot_entry *ret, struct err *err);

struct boot_multiboot {
	uint64_t off; /* of the header in the file */
	uint32_t flags;
	uint32_t header_addr, load_addr, load_end, bss_end, entry;
};
bool boot_multiboot_probe(const uint8_t *head, size_t len, struct boot_multiboot *ret);
int boot_multiboot_load(const struct boot_request *req, const struct boot_image *img,
			const struct boot_multiboot *mb, struct boot_entry *ret, struct err *err);

/* ---- boot.c, entry.c ---- */

/* Name what a file that is no kernel for this machine seems to be. Return: -EBADMSG. */
int boot_say_foreign(const char *name, const uint8_t *head, size_t len, struct err *err);
int boot_load(const struct boot_request *req, struct boot_entry *ret, struct err *err);

/**
 * boot_entry_apply() - Page tables and descriptors into memory, registers into a reset vCPU's state
 * @state:	As get_state() gave it for a fresh vCPU
 */
int boot_entry_apply(const struct boot_entry *entry, struct gmem *mem, struct hv_vcpu_state *state,
		     struct err *err);

/* ---- acpi.c ---- */

struct acpi_virtio_slot {
	gpa_t gpa;
	unsigned gsi;
};

struct acpi_config {
	unsigned n_vcpus;
	const struct acpi_virtio_slot *slots;
	unsigned n_slots;
};

/**
 * acpi_build() - Write the tables at LAYOUT_ACPI
 *
 * Return: 0; -E2BIG when they do not fit.
 */
int acpi_build(struct gmem *mem, const struct acpi_config *config, gpa_t *ret_rsdp,
	       struct err *err);

#endif
