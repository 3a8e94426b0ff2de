/* SPDX-License-Identifier: Apache-2.0 */
/* Linux bzImages, by the 64-bit boot protocol. Ref: linux Documentation/arch/x86/boot.rst. */
#include "internal.h"

#define SETUP_SECTS   0x1f1
#define HEADER	      0x202
#define VERSION	      0x206
#define LOADER_TYPE   0x210
#define LOAD_FLAGS    0x211
#define RAMDISK	      0x218
#define RAMDISK_LEN   0x21c
#define CMDLINE_PTR   0x228
#define ALIGNMENT     0x230
#define RELOCATABLE   0x234
#define XLOADFLAGS    0x236
#define CMDLINE_SIZE  0x238
#define PREF_ADDRESS  0x258
#define INIT_SIZE     0x260
#define HEADER_END    0x268
#define E820_ENTRIES  0x1e8
#define E820_TABLE    0x2d0
#define RSDP_ADDR     0x070
#define MIN_VERSION   0x20c
#define XLF_KERNEL_64 1
#define LOADER_OTHER  0xff
#define CAN_LOAD_HIGH 1
#define ENTRY_64      0x200
#define MAX_ALIGNMENT 0x40000000U

bool linux_probe(const struct image *img)
{
	return img->len > HEADER_END && le16(img->data + 0x1fe) == 0xaa55 &&
	       memcmp(img->data + HEADER, "HdrS", 4) == 0;
}

static uint64_t place(struct boot *b, const uint8_t *h, uint64_t need)
{
	uint64_t preferred = le64(h + PREF_ADDRESS), align = le32(h + ALIGNMENT);

	if (frames_take_at(b, preferred, need, BOOTX_PAYLOAD))
		return preferred;
	if (!h[RELOCATABLE])
		refuse("the kernel wants to be at %x, which is not free", preferred);
	if (align < PAGE || align > MAX_ALIGNMENT || (align & (align - 1)))
		refuse("the kernel's alignment is %x", align);
	return frames_take(b, need, align, BOOTX_PAYLOAD);
}

static void put_e820(const struct boot *b, uint8_t *params)
{
	for (unsigned i = 0; i < b->n_regions; i++) {
		const struct bootx_region *r = &b->regions[i];
		uint32_t kind = r->kind >= BOOTX_LOADER ? BOOTX_USABLE : r->kind;
		uint8_t *e = params + E820_TABLE + 20 * i;

		memcpy(e, &r->start, 8);
		memcpy(e + 8, &r->len, 8);
		memcpy(e + 16, &kind, 4);
	}
	params[E820_ENTRIES] = (uint8_t)b->n_regions;
}

static void put_cmdline(struct boot *b, uint8_t *params)
{
	const char *text = b->cmdline ? phys_ptr(b->cmdline) : "";
	uint64_t len = strlen(text), at = frames_take(b, len + 1, PAGE, BOOTX_MODULE);
	uint32_t at32 = (uint32_t)at;

	if (len > le32(params + CMDLINE_SIZE))
		refuse("the command line is longer than the kernel's %u",
		       (uint64_t)le32(params + CMDLINE_SIZE));
	memcpy(phys_ptr(at), text, len + 1);
	memcpy(params + CMDLINE_PTR, &at32, 4);
}

void linux_boot(struct boot *b, const struct image *img)
{
	const uint8_t *h = img->data;
	uint64_t setup = ((h[SETUP_SECTS] ? h[SETUP_SECTS] : 4) + 1) * 512ULL;
	uint64_t head_end = 0x202ULL + h[0x201], len, need, at, zero;
	uint8_t *params;

	if (le16(h + VERSION) < MIN_VERSION || !(le16(h + XLOADFLAGS) & XLF_KERNEL_64))
		refuse("the kernel is too old, or not for 64 bits");
	if (setup >= img->len || head_end > setup)
		refuse("the kernel's file is damaged or cut short");
	len = img->len - setup;
	need = le32(h + INIT_SIZE) > len ? le32(h + INIT_SIZE) : len;
	at = place(b, h, need);
	memcpy(phys_ptr(at), h + setup, len);
	zero = frames_take(b, PAGE, PAGE, BOOTX_MODULE);
	params = phys_ptr(zero);
	memcpy(params + SETUP_SECTS, h + SETUP_SECTS, head_end - SETUP_SECTS);
	params[LOADER_TYPE] = LOADER_OTHER;
	params[LOAD_FLAGS] |= CAN_LOAD_HIGH;
	memcpy(params + RSDP_ADDR, &b->rsdp, 8);
	if (b->n_modules > 1) {
		uint32_t rd[2] = { (uint32_t)b->modules[1].start, (uint32_t)b->modules[1].len };

		memcpy(params + RAMDISK, rd, sizeof(rd));
	}
	put_cmdline(b, params);
	map_identity(b);
	put_e820(b, params);
	enter_linux(at + ENTRY_64, zero);
}
