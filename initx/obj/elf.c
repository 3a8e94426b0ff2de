/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF writer: one read-only segment with the headers and constants, one with code, one for globals.
 * Ref: System V gABI chapters 4 and 5.
 */
#include "obj/obj.h"

#include <elf.h>
#include <string.h>

#include "base/checked.h"

struct segment {
	uint32_t flags;
	uint64_t off, addr, file_len, mem_len;
};

/* Fields are written one by one in little-endian order: the host may differ. */
static void put16(struct strbuf *sb, uint16_t v)
{
	uint8_t b[2];

	le16_store(b, v);
	strbuf_put(sb, b, 2);
}

static void put32(struct strbuf *sb, uint32_t v)
{
	uint8_t b[4];

	le32_store(b, v);
	strbuf_put(sb, b, 4);
}

static void put64(struct strbuf *sb, uint64_t v)
{
	uint8_t b[8];

	le64_store(b, v);
	strbuf_put(sb, b, 8);
}

static void put_ehdr(struct strbuf *sb, const struct target *t, uint64_t entry, uint16_t n_phdrs)
{
	static const uint8_t ident[EI_NIDENT] = { 0x7f,	      'E',	   'L',	      'F',
						  ELFCLASS64, ELFDATA2LSB, EV_CURRENT };

	strbuf_put(sb, ident, sizeof(ident));
	put16(sb, ET_EXEC);
	put16(sb, t->elf_machine);
	put32(sb, EV_CURRENT);
	put64(sb, entry);
	put64(sb, sizeof(Elf64_Ehdr)); /* program headers */
	put64(sb, 0);		       /* no sections */
	put32(sb, t->elf_flags);
	put16(sb, sizeof(Elf64_Ehdr));
	put16(sb, sizeof(Elf64_Phdr));
	put16(sb, n_phdrs);
	put16(sb, 0);
	put16(sb, 0);
	put16(sb, 0);
}

static void put_phdr(struct strbuf *sb, uint32_t type, const struct segment *s, uint64_t align)
{
	put32(sb, type);
	put32(sb, s->flags);
	put64(sb, s->off);
	put64(sb, s->addr);
	put64(sb, s->addr);
	put64(sb, s->file_len);
	put64(sb, s->mem_len);
	put64(sb, align);
}

const char *obj_write_elf(struct image *im, const struct ir_prog *p, const struct target *t,
			  struct strbuf *sb)
{
	uint64_t page = t->page;
	uint64_t head = sizeof(Elf64_Ehdr) + 4 * sizeof(Elf64_Phdr);
	uint64_t ro_off = ALIGN_UP(head, (uint64_t)16);
	uint64_t code_off = ALIGN_UP(ro_off + im->ro.len, page);
	uint64_t code = OBJ_ELF_BASE + code_off, ro = OBJ_ELF_BASE + ro_off;
	uint64_t bss = ALIGN_UP(code + im->code.bytes.len, page);
	struct segment seg_ro = { PF_R, 0, OBJ_ELF_BASE, ro_off + im->ro.len, ro_off + im->ro.len };
	struct segment seg_code = { PF_R | PF_X, code_off, code, im->code.bytes.len,
				    im->code.bytes.len };
	struct segment seg_bss = { PF_R | PF_W, 0, bss, 0, im->bss_size };
	struct segment stack = { .flags = PF_R | PF_W };
	const char *e = image_patch(im, p, t, code, ro, bss);

	if (e)
		return e;
	put_ehdr(sb, t, code + im->entry_off, im->bss_size ? 4 : 3);
	put_phdr(sb, PT_LOAD, &seg_ro, page);
	put_phdr(sb, PT_LOAD, &seg_code, page);
	if (im->bss_size)
		put_phdr(sb, PT_LOAD, &seg_bss, page);
	put_phdr(sb, PT_GNU_STACK, &stack, 16);
	strbuf_zeros(sb, ro_off - sb->len);
	strbuf_put(sb, im->ro.s, im->ro.len);
	strbuf_zeros(sb, code_off - sb->len);
	strbuf_put(sb, im->code.bytes.s, im->code.bytes.len);
	return NULL;
}
