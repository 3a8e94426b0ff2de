/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bootx's parsers on the host: a payload that nobody vouches for, and the loaders' tables. Physical memory
 * is a mapping where the direct map is; what follows a payload in it is not there, so that reading past
 * the end is seen. Mappings, rights and the way into the payload are only checked for sense.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#define MEMORY	 (32ULL << 20) /* usable, from 1 MiB on */
#define LOADER	 0x400000ULL
#define PAYLOAD	 DM_LEN /* it ends just below; here nothing is mapped */
#define GUARD	 0x100000ULL
#define MAX_FILE 0x80000U
#define INFO	 0x9000ULL
#define CMDLINE	 0x8000ULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static jmp_buf end;
const uint8_t bootx_key[32];

void refuse(const char *fmt, ...)
{
	longjmp(end, 1);
}

void enter_payload(bootx_entry_fn *entry, const struct bootx_info *info, uint64_t stack_top)
{
	if (info->magic != BOOTX_INFO_MAGIC || info->image_start > info->image_end ||
	    info->n_regions > BOOTX_MAX_REGIONS)
		abort();
	longjmp(end, 1);
}

void enter_linux(uint64_t entry, uint64_t boot_params_in_rsi)
{
	if (entry >= DM_LEN || boot_params_in_rsi >= DM_LEN)
		abort();
	longjmp(end, 1);
}

void leave_low(const struct boot *b, uint32_t entry, uint32_t ebx)
{
	longjmp(end, 1);
}

void map_pages_at(struct boot *b, uint64_t va, uint64_t phys, uint64_t len, uint64_t rights)
{
	if (phys >= DM_LEN || len > DM_LEN - phys || (phys | va | len) & (PAGE - 1) ||
	    (rights & MAP_W && !(rights & MAP_NX)))
		abort();
}

void map_identity(struct boot *b)
{
}

void fault_set_guard(uint64_t bottom)
{
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	void *at = (void *)DM_BASE;

	if (mmap(at, DM_LEN + GUARD, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != at ||
	    mprotect(phys_ptr(DM_LEN), GUARD, PROT_NONE) < 0)
		abort();
	strcpy(phys_ptr(CMDLINE), "test=fuzz");
	return 0;
}

/* As bootx_main() has it. */
static void boot_payload(const uint8_t *data, size_t size)
{
	struct boot boot = { .protocol = PROTO_PVH, .loader = LOADER, .cmdline = CMDLINE };
	struct module m = { .start = PAYLOAD - size, .len = size };
	struct image img;

	memcpy(phys_ptr(m.start), data, size);
	boot.modules[boot.n_modules++] = m;
	regions_mark(&boot, 0x100000, MEMORY, BOOTX_USABLE);
	regions_mark(&boot, LOADER, LARGE_PAGE, BOOTX_LOADER);
	pack_open(&boot, &m, &img);
	if (linux_probe(&img))
		linux_boot(&boot, &img);
	if (elf_probe(&img))
		elf_boot(&boot, &img);
}

static void check_regions(const struct boot *b)
{
	for (unsigned i = 1; i < b->n_regions; i++) {
		if (b->regions[i].start < b->regions[i - 1].start + b->regions[i - 1].len)
			abort();
	}
	for (unsigned i = 0; i < b->n_modules; i++) {
		if (b->modules[i].start + b->modules[i].len > DM_LEN)
			abort();
	}
}

/* The first byte chooses: a payload, or the tables of a loader. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t protocols[] = { PROTO_PVH, PROTO_MB1, PROTO_MB2 };
	static struct boot boot;

	if (size < 2 || size > MAX_FILE)
		return 0;
	if (setjmp(end))
		return 0;
	if (data[0] % 4 == 0) {
		boot_payload(data + 1, size - 1);
		return 0;
	}
	memset(phys_ptr(INFO), 0, 2 * PAGE);
	memcpy(phys_ptr(INFO), data + 1, size - 1 < 2 * PAGE ? size - 1 : 2 * PAGE);
	boot_read(&boot, protocols[data[0] % 4 - 1], INFO, LOADER);
	check_regions(&boot);
	return 0;
}
