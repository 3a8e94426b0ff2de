/* SPDX-License-Identifier: Apache-2.0 */
/* What the three parts of the MMU share: the page walk, the TLB, the accesses. */
#ifndef SOFT_MMU_PRIV_H
#define SOFT_MMU_PRIV_H

#include "soft/mmu.h"

enum walk_rights {
	WALK_W = 1 << 0,
	WALK_U = 1 << 1,
	WALK_NX = 1 << 2,
};

static inline bool mode_is_user(enum tlb_mode mode)
{
	return mode == TLB_USER || mode == TLB_USER_AC;
}

/* What a walk found. */
struct walk {
	gpa_t gpa;	/* of the byte asked for */
	uint8_t rights; /* enum walk_rights, all levels combined */
	uint8_t kind;	/* TLB_* */
	bool dirty;	/* D is set: writes need not walk again */
};

/* One access's page: host == NULL for what is not memory. */
struct mmu_target {
	uint8_t *host;
	gpa_t gpa;
	uint8_t *page_flags;
};

/* ---- mmu_walk.c ---- */

/**
 * mmu_walk() - Translate one address
 * @access:	What for; rights are checked for @mode
 * @probe:	Neither set A and D nor record an exception
 *
 * Return: false with cpu->exc set (unless @probe).
 */
bool mmu_walk(struct cpu *cpu, uint64_t va, enum mmu_access access, enum tlb_mode mode, bool probe,
	      struct walk *ret);

/* Whether a page with @rights may be used in @mode for @access. */
bool mmu_allowed(const struct cpu *cpu, uint8_t rights, enum mmu_access access, enum tlb_mode mode);

/* ---- mmu_tlb.c ---- */

struct tlb_array *tlb_array_get(struct cpu *cpu, enum tlb_mode mode);

/* Remember a translation; only what @w and the page's flags allow gets a tag. */
void tlb_fill(struct cpu *cpu, enum tlb_mode mode, uint64_t va, const struct walk *w,
	      const struct mmu_target *t);

/* ---- mmu.c ---- */

bool mmu_translate(struct cpu *cpu, uint64_t va, enum mmu_access access, enum tlb_mode mode,
		   struct mmu_target *ret);

#endif
