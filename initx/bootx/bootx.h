/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bootx and its payloads agree on: the declared entry, the information handed over, and the
 * packed payload file. Freestanding; a payload includes only this.
 */
#ifndef BOOTX_BOOTX_H
#define BOOTX_BOOTX_H

#include <stddef.h>
#include <stdint.h>

/* ---- hand-over ---- */

#define BOOTX_INFO_MAGIC   0x66697862U /* "bxif" */
#define BOOTX_INFO_VERSION 1
#define BOOTX_MAX_REGIONS  64

enum bootx_region_kind {
	BOOTX_USABLE = 1,
	BOOTX_RESERVED = 2,
	BOOTX_ACPI = 3,
	BOOTX_NVS = 4,
	BOOTX_BAD = 5,
	BOOTX_LOADER =
		0x100, /* bootx itself and its tables: stay in place while its mappings are used */
	BOOTX_PAYLOAD = 0x101, /* the payload's frames and stack */
	BOOTX_MODULE = 0x102,  /* boot modules, the payload's file among them */
};

struct bootx_region {
	uint64_t start, len; /* physical, bytes */
	uint32_t kind, reserved;
};

/*
 * RDI at the entry points to one, read-only by convention, in the direct map. State at the entry:
 * ring 0, long mode with four levels, interrupts off, CR0.WP and EFER.NXE on, SSE usable, a GDT, a
 * TSS and an IDT whose handlers print the fault and end the machine.
 */
struct bootx_info {
	uint32_t magic, version;
	uint32_t protocol; /* the magic number that bootx was entered with */
	uint32_t n_regions;
	uint64_t cmdline;		     /* NUL-terminated, virtual address */
	uint64_t rsdp;			     /* physical address, 0 unknown */
	uint64_t direct_map, direct_map_len; /* physical 0 is at this virtual address */
	uint64_t stack_bottom, stack_top;    /* below the bottom lies a guard page */
	uint64_t image_start, image_end;     /* virtual hull of the payload's segments */
	uint64_t loader_phys;		     /* where bootx is, 2 MiB */
	uint64_t module2, module2_len;	     /* a second boot module, physical; 0 none */
	uint64_t tsc;
	char cpu_vendor[16];
	uint32_t cpu_signature, cpu_ecx, cpu_edx, reserved;
	struct bootx_region regions[BOOTX_MAX_REGIONS]; /* sorted, no overlaps */
};

/* Never returns. */
typedef void bootx_entry_fn(const struct bootx_info *info);

/* ---- declaring an entry ---- */

#define BOOTX_CONFIG_MAGIC  0x6766636cU /* "lcfg" */
#define BOOTX_DEFAULT_STACK 16		/* pages */
#define BOOTX_MAX_STACK	    1024

struct bootx_config {
	uint32_t magic;
	uint32_t stack_pages;
	uint32_t flags; /* 0 */
	uint32_t reserved;
	bootx_entry_fn *entry;
};

/**
 * BOOTX_ENTRY() - Declare where bootx enters this program
 * @fn:		A bootx_entry_fn; anything else does not compile
 * @pages:	Stack, in pages of 4 KiB
 */
#define BOOTX_ENTRY(fn, pages)                                                                 \
	_Static_assert(__builtin_types_compatible_p(__typeof__(&(fn)), bootx_entry_fn *),      \
		       "the entry's prototype is void " #fn "(const struct bootx_info *)");    \
	_Static_assert((pages) > 0 && (pages) <= BOOTX_MAX_STACK, "stack pages out of range"); \
	__attribute__((section(".loader_config"), used))                                       \
	const struct bootx_config bootx_config_ = { BOOTX_CONFIG_MAGIC, (pages), 0, 0, (fn) }

/* ---- the packed payload ---- */

/*
 * A file of BOOTX_PACK_LEN bytes of header, then the stored bytes. The hash covers the stored
 * bytes: what is not verified is not decompressed. The signature covers the header up to it.
 *
 *   0  magic "HUSKPAY1"      8  u32 flags            12  u32 reserved, 0
 *  16  u64 stored length    24  u64 plain length     32  SHA-256 of the stored bytes
 *  64  Ed25519 signature of bytes 0-63, or zeros
 */
#define BOOTX_PACK_MAGIC  0x315941504b535548ULL
#define BOOTX_PACK_LEN	  128U
#define BOOTX_PACK_SIGNED 64U /* how much of the header the signature covers */
#define BOOTX_PACK_LZ4	  1U  /* stored bytes are one LZ4 block */
#define BOOTX_PACK_SIG	  2U  /* signed */
#define BOOTX_MAX_PLAIN	  (512ULL << 20)

/* ---- how bootx ends ---- */

/* What it writes to the test-exit port; a VMM that has none halts. */
enum bootx_exit { BOOTX_EXIT_REFUSED = 20, BOOTX_EXIT_FAULT = 21, BOOTX_EXIT_GUARD = 22 };

#endif
