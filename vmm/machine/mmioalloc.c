/* SPDX-License-Identifier: Apache-2.0 */
/* Guest physical address space outside RAM. */
#include "machine/mmioalloc.h"

#include <errno.h>

#include "base/checked.h"

int mmioalloc_reserve(struct mmioalloc *a, uint64_t base, uint64_t len, const char *name,
		      struct err *err)
{
	unsigned at = a->n;
	uint64_t last;

	if (len == 0 || ckd_add(&last, base, len - 1))
		return err_set(err, -EINVAL, "window '%s' at %#llx is no range", name,
			       (unsigned long long)base);
	if (a->n == MMIOALLOC_MAX)
		return err_set(err, -E2BIG, "more than %d windows", MMIOALLOC_MAX);
	for (unsigned i = 0; i < a->n; i++) {
		if (base <= a->used[i].base + (a->used[i].len - 1) && a->used[i].base <= last)
			return err_set(err, -EEXIST, "window '%s' at %#llx overlaps '%s'", name,
				       (unsigned long long)base, a->used[i].name);
	}
	for (; at > 0 && a->used[at - 1].base > base; at--)
		a->used[at] = a->used[at - 1];
	a->used[at].base = base;
	a->used[at].len = len;
	a->used[at].name = name;
	a->n++;
	return 0;
}

int mmioalloc_take(struct mmioalloc *a, uint64_t from, uint64_t to, uint64_t len, const char *name,
		   uint64_t *ret_base, struct err *err)
{
	uint64_t at = ALIGN_UP(from, len);
	int r;

	for (unsigned i = 0; i < a->n; i++) {
		uint64_t end = a->used[i].base + a->used[i].len;

		if (at + len <= a->used[i].base)
			break;
		if (end > at)
			at = ALIGN_UP(end, len);
	}
	if (at < from || at > to || to - at < len)
		return err_set(err, -ENOSPC, "no address space left for '%s'", name);
	r = mmioalloc_reserve(a, at, len, name, err);
	if (r == 0)
		*ret_base = at;
	return r;
}
