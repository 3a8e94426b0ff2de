/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bootx's inside.
 *
 * Theory of operation. start.S leaves bootx in 64-bit code at high addresses, with the first 4 GiB
 * of memory in a direct map. bootx_main() reads what the loader handed over, takes the first boot
 * module for its payload, verifies and unpacks it, gives each of its segments frames and rights,
 * gives it a stack with an unmapped page below, and jumps. Linux bzImages and PVH kernels are
 * payloads too: they get what their own protocols say. There is one CPU and no interrupt; whatever
 * fails ends the machine by refuse(), with one line. Frames are taken from the top of the highest
 * memory below 4 GiB that nothing else uses, and are never given back.
 */
#ifndef BOOTX_INTERNAL_H
#define BOOTX_INTERNAL_H

#include <stdbool.h>

#include "bootx.h"

#define PAGE	   4096ULL
#define LARGE_PAGE 0x200000ULL
#ifndef DM_BASE /* tests have it elsewhere */
#define DM_BASE 0xffff800000000000ULL
#endif
#define DM_LEN	    0x100000000ULL
#define HIGH_BASE   0xffffffffc0000000ULL
#define LINK_BOOT   0x400000ULL

#define MAX_MODULES 8

#define PROTO_MB1   0x2badb002U
#define PROTO_MB2   0x36d76289U
#define PROTO_PVH   0x336ec578U

/* ---- mem.c: what the compiler expects, and the direct map ---- */

void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
void *memmove(void *dst, const void *src, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

static inline void *phys_ptr(uint64_t phys)
{
	return (void *)(DM_BASE + phys);
}

static inline uint64_t ptr_phys(const void *p)
{
	return (uint64_t)p - DM_BASE;
}

static inline uint64_t page_up(uint64_t v)
{
	return (v + PAGE - 1) & ~(PAGE - 1);
}

static inline uint64_t page_down(uint64_t v)
{
	return v & ~(PAGE - 1);
}

/* ---- out.c ---- */

/* %s, %x, %u with a uint64_t, %c; nothing else. */
void out_printf(const char *fmt, ...);
void refuse(const char *fmt, ...) __attribute__((noreturn));
void machine_end(uint32_t status) __attribute__((noreturn));

/* ---- boot.c: what the loader handed over ---- */

struct module {
	uint64_t start, len; /* physical */
};

struct boot {
	uint32_t protocol;
	uint64_t loader;	/* physical address of bootx */
	uint64_t cmdline, rsdp; /* physical, 0 none */
	unsigned n_modules, n_regions;
	struct module modules[MAX_MODULES];
	struct bootx_region regions[BOOTX_MAX_REGIONS];
};

void boot_read(struct boot *b, uint32_t magic, uint64_t info, uint64_t loader);

/* Sorted and without overlaps; where two say different, the more restrictive one counts. */
void regions_mark(struct boot *b, uint64_t start, uint64_t len, uint32_t kind);
bool regions_are(const struct boot *b, uint64_t start, uint64_t len, uint32_t kind);

/* ---- frames.c ---- */

/* Zeroed memory below 4 GiB at a multiple of @align, marked as @kind. Refuses when there is none.
 */
uint64_t frames_take(struct boot *b, uint64_t len, uint64_t align, uint32_t kind);
/* Exactly there, if it is usable. Not zeroed. */
bool frames_take_at(struct boot *b, uint64_t start, uint64_t len, uint32_t kind);

/* ---- map.c ---- */

#define MAP_W  2ULL
#define MAP_NX (1ULL << 63)

/* One page or, aligned so, many. Refuses what is mapped already. */
void map_pages_at(struct boot *b, uint64_t va, uint64_t phys, uint64_t len, uint64_t rights);
/* The first 4 GiB one to one, all rights: Linux wants to start so. */
void map_identity(struct boot *b);
/* Print how @va is translated, level by level. */
void map_print_walk(uint64_t va);

/* ---- fault.c ---- */

void fault_init(void);
/* A page fault in [@bottom - PAGE, @bottom) is the payload's stack overflowing. */
void fault_set_guard(uint64_t bottom);

/* ---- pack.c ---- */

struct image {
	const uint8_t *data;
	uint64_t len;
};

/* The payload in a module: verified and unpacked if it is packed. Refuses what it does not like. */
void pack_open(struct boot *b, const struct module *m, struct image *ret);

/* Length written, or -1: damaged. */
int64_t lz4_block(const uint8_t *src, uint64_t src_len, uint8_t *dst, uint64_t dst_len);
void sha512_parts(const void *const *parts, const uint64_t *lens, unsigned n, uint8_t ret[64]);
bool ed25519_verify(const uint8_t key[32], const uint8_t sig[64], const void *msg, uint64_t len);

/* The key built in; all zeros: none, and signatures are not asked for. */
extern const uint8_t bootx_key[32];

/* ---- main.c ---- */

/* Out of long mode and to a kernel's 32-bit entry. */
void leave_low(const struct boot *b, uint32_t entry, uint32_t ebx) __attribute__((noreturn));

/* ---- elf.c, linux.c ---- */

bool elf_probe(const struct image *img);
void elf_boot(struct boot *b, const struct image *img) __attribute__((noreturn));
bool linux_probe(const struct image *img);
void linux_boot(struct boot *b, const struct image *img) __attribute__((noreturn));

/* ---- start.S ---- */

extern char boot_start[], boot_end[], rw_end[];
extern uint64_t table_l4[512], table_l3_low[512];
extern char fault_entries[];
void leave_to_32(uint32_t entry, uint32_t ebx) __attribute__((noreturn));
void enter_payload(bootx_entry_fn *entry, const struct bootx_info *info, uint64_t stack_top)
	__attribute__((noreturn));
void enter_linux(uint64_t entry, uint64_t boot_params_in_rsi) __attribute__((noreturn));

static inline uint32_t le32(const void *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t le64(const void *p)
{
	uint64_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint16_t le16(const void *p)
{
	uint16_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

#endif
