/* SPDX-License-Identifier: Apache-2.0 */
/* The form of a file of code: shared by image.c and image_save.c only. */
#ifndef SOFT_IMAGE_PRIV_H
#define SOFT_IMAGE_PRIV_H

#include "soft/block_priv.h"
#include "soft/image.h"
#include "soft/jit/jit.h"

/*
 * The file: a page of little-endian words of 64 bits; host code that runs, and host code that
 * seldom does, both whole pages; the arena from ARENA_START on; u32 block_ref of each block. Blocks
 * lie in the order of the list, each behind its decoded instructions. In the arena stand for
 * pointers: to the arena, offsets from struct block_cpu, 0 for NULL; to functions, offsets from
 * exe_base(), with IMAGE_FN_JIT from the start of host code; to guest memory, its physical address.
 */
#define IMAGE_MAGIC   0x45444f434b535548ULL /* "HUSKCODE" */
#define IMAGE_VERSION 2
enum image_word {
	IMAGE_W_MAGIC,
	IMAGE_W_VERSION,
	IMAGE_W_BUILD,			  /* three words */
	IMAGE_W_HOST = IMAGE_W_BUILD + 3, /* features of the host's CPU */
	IMAGE_W_GUEST,			  /* of the guest's, as decoded */
	IMAGE_W_MODE,			  /* whether there is host code */
	IMAGE_KEY_WORDS,		  /* so far, the same where it is loaded */
	IMAGE_W_HOT = IMAGE_KEY_WORDS,	  /* lengths in bytes */
	IMAGE_W_COLD,
	IMAGE_W_ARENA,
	IMAGE_W_BLOCKS,			    /* their number */
	IMAGE_W_SUM,			    /* of all behind this page, two words */
	IMAGE_W_HEAD_SUM = IMAGE_W_SUM + 2, /* of the page, this word being 0 */
	IMAGE_WORDS,
};
#define IMAGE_HEAD_BYTES GMEM_PAGE_SIZE
#define IMAGE_BLOCKS_MAX (1U << 18)
#define IMAGE_FN_JIT_BIT 63
#define IMAGE_FN_JIT	 (1ULL << IMAGE_FN_JIT_BIT)

/* What the file must have been made by and for. Return: 0; -EOPNOTSUPP. */
int image_key(const struct block_cpu *code, uint64_t words[IMAGE_KEY_WORDS], struct err *err);

/* Checksum of several pieces: any change of up to 32 bits in a row changes it. */
struct image_sum {
	uint64_t v[4];
};
void image_sum_add(struct image_sum *s, const void *p, size_t len);
void image_sum_words(const struct image_sum *s, uint64_t ret[2]);
/* Of the header, without its own. */
uint64_t image_head_sum(const uint8_t head[IMAGE_HEAD_BYTES]);

/* Ops that the block's handlers may reach, head excluded; then comes struct op_exit. */
static inline unsigned image_n_ops(const struct block *b)
{
	return b->ops[0].left + !!(b->layout & BLOCK_FALLS);
}

#endif
