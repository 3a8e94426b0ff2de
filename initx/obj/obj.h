/* SPDX-License-Identifier: Apache-2.0 */
/* Images to files: static ELF executables and flat payloads. */
#ifndef INITX_OBJ_OBJ_H
#define INITX_OBJ_OBJ_H

#include "target/target.h"

/* Where the code of an executable is linked; the header's page lies below. */
#define OBJ_ELF_BASE 0x400000ULL

/**
 * obj_write_elf() - Static executable; no segment is both writable and executable
 *
 * Return: NULL and the file in @sb, or what went wrong.
 */
const char *obj_write_elf(struct image *im, const struct ir_prog *p, const struct target *t,
			  struct strbuf *sb);

/**
 * obj_write_payload() - Flat image: code, constants, zeroed globals; runs at any page-aligned
 * address
 * @relocs:	Offsets of the u64 to which the loader adds the address
 *
 * Return: NULL and the image in @sb, or what went wrong.
 */
const char *obj_write_payload(struct image *im, const struct ir_prog *p, const struct target *t,
			      struct strbuf *sb, uint32_t **ret_relocs, uint32_t *ret_n_relocs);

#endif
