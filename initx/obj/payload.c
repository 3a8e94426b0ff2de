/* SPDX-License-Identifier: Apache-2.0 */
/* Payload writer: everything in one piece, addresses relative to its start. */
#include "obj/obj.h"

const char *obj_write_payload(struct image *im, const struct ir_prog *p, const struct target *t,
			      struct strbuf *sb, uint32_t **ret_relocs, uint32_t *ret_n_relocs)
{
	uint64_t ro = (im->code.bytes.len + 15) & ~(uint64_t)15;
	uint64_t bss = (ro + im->ro.len + 15) & ~(uint64_t)15;
	const char *e = image_patch(im, p, t, 0, ro, bss);

	if (e)
		return e;
	strbuf_put(sb, im->code.bytes.s, im->code.bytes.len);
	strbuf_zeros(sb, ro - sb->len);
	strbuf_put(sb, im->ro.s, im->ro.len);
	strbuf_zeros(sb, bss + im->bss_size - sb->len);
	*ret_relocs = arena_alloc(p->arena, im->abs.n * sizeof(**ret_relocs));
	*ret_n_relocs = im->abs.n;
	for (uint32_t i = 0; i < im->abs.n; i++)
		(*ret_relocs)[i] = (uint32_t)ro + im->abs.v[i];
	return NULL;
}
