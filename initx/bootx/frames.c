/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for payloads and tables: from the top of what is usable below 4 GiB. */
#include "internal.h"

#define LOWEST 0x100000ULL /* the first megabyte is left to others */

uint64_t frames_take(struct boot *b, uint64_t len, uint64_t align, uint32_t kind)
{
	len = page_up(len);
	for (unsigned i = b->n_regions; i-- > 0;) {
		const struct bootx_region *r = &b->regions[i];
		uint64_t end = r->start + r->len < DM_LEN ? r->start + r->len : DM_LEN;
		uint64_t start;

		if (r->kind != BOOTX_USABLE || r->start >= DM_LEN || end - r->start < len)
			continue;
		start = (end - len) & ~(align - 1);
		if (start < r->start || start < LOWEST)
			continue;
		regions_mark(b, start, len, kind);
		memset(phys_ptr(start), 0, len);
		return start;
	}
	refuse("no %u KiB of memory below 4 GiB", len / 1024);
}

bool frames_take_at(struct boot *b, uint64_t start, uint64_t len, uint32_t kind)
{
	if (start < LOWEST || len > DM_LEN || start > DM_LEN - len ||
	    !regions_are(b, page_down(start), page_up(start + len) - page_down(start),
			 BOOTX_USABLE))
		return false;
	regions_mark(b, page_down(start), page_up(start + len) - page_down(start), kind);
	return true;
}
