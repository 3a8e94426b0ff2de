/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks and where they are kept: shared by block.c, build.c and code_pages.c only. */
#ifndef SOFT_BLOCK_PRIV_H
#define SOFT_BLOCK_PRIV_H

#include <pthread.h>

#include "base/checked.h"
#include "soft/block.h"
#include "soft/decode.h"
#include "soft/execmem.h"
#include "soft/op.h"

#define BLOCK_MAX_INSNS 64
#define BLOCK_MAX_BYTES 256

/* A place in the arena, in units of ARENA_UNIT; 0: none. */
typedef uint32_t block_ref;

/* @user's translation has another block's code in it. */
struct block_dep {
	struct block *user;
	block_ref next; /* struct block_dep */
};

/* Lies right before a cache line: its head shares one with its first op. */
struct block {
	uint64_t key; /* host address of the first byte, mode bits on top */
	gpa_t gpa;
	block_ref hash_next, page_next;
	block_ref deps;	  /* translations that this block is a part of */
	uint16_t n_bytes; /* in the first page; what lies behind is looked at on each entry */
	bool dead;
	uint8_t layout;	 /* enum block_layout */
	struct op ops[]; /* head first */
};

/* What is behind the ops of the instructions, and where the block is at home. */
enum block_layout {
	BLOCK_SLOTS = 3,      /* struct op_exit: ops that it takes */
	BLOCK_FALLS = 1 << 2, /* an op that only goes on comes before it */
	BLOCK_CROSS = 1 << 3, /* one instruction that goes on in the next page */
	BLOCK_UPPER = 1 << 4, /* decoded in the upper half of the address space */
};

#define ARENA_UNIT 32
_Static_assert(offsetof(struct block, ops) == ARENA_UNIT, "ops begin a cache line");

/* cpu->code_key: modes whose code may be in blocks. Everything else runs one instruction at a time.
 */
#define CODE_KEY_NONE	 0
#define CODE_KEY_LONG	 (1ULL << 56)
#define CODE_KEY_FLAT	 (2ULL << 56) /* 32-bit code, all of CS, DS, ES, SS flat */
#define CODE_KEY_CS32	 (3ULL << 56) /* 32-bit code, CS flat: memory operands by the general way */

#define BLOCK_KEY_HOST	 0x00ffffffffffffffULL /* of block.key: the host address */

#define JUMP_CACHE_BITS	 14
#define BLOCK_HASH_BITS	 15
#define PAGE_HASH_BITS	 12
#define SLOW_CACHE_BITS	 8
#define INVAL_QUEUE	 32

struct jump_entry {
	uint64_t key;
	const struct op *head;
};

/* Heads by virtual address, of 64-bit code; right while cpu->code_gen is @gen (mmu_tlb.c). */
#define TARGET_CACHE_BITS 11
struct target_entry {
	uint64_t rip, gen;
	const struct op *head;
	uint64_t unused;
};

/*
 * Code pages that have lost their place in the TLB to data, which would lose its place in turn.
 * Right while cpu->code_gen is @gen (mmu_tlb.c).
 */
#define CODE_TLB_BITS 6
struct code_tlb_entry {
	uint64_t page;
	uint64_t gen;
	const uint8_t *host;
};

struct slow_entry {
	const struct op *op;
	struct insn in;
};

struct inval {
	gpa_t gpa;
	uint64_t len;
};

struct block_cpu {
	struct jump_entry jumps[1 << JUMP_CACHE_BITS];
	struct target_entry targets[1 << TARGET_CACHE_BITS];
	block_ref hash[1 << BLOCK_HASH_BITS];
	block_ref pages[1 << PAGE_HASH_BITS];
	struct slow_entry slow[1 << SLOW_CACHE_BITS];
	size_t arena_used; /* of CODE_ARENA_BYTES; this struct is at the arena's start */
	size_t save_end;   /* what lies behind is not saved; 0: all is */
	uint32_t flushes;  /* a change means that all block pointers are stale */
	/* block_idle_until(): since when the vCPU has done next to nothing, instructions executed
	 * then, and how long that is to last; host time. */
	uint64_t idle_since, idle_insns, idle_ns;
	struct code_tlb_entry pages_seen[1 << CODE_TLB_BITS];
	uint64_t features;
	struct execmem jit;    /* translated code */
	int32_t jit_threshold; /* entries before a block is translated */
	int32_t jit_trace_threshold;
	size_t jit_used, jit_cold_used;
	size_t jit_kept, jit_cold_kept; /* bytes at the start of each part that are a file's */
	uintptr_t exe_base;		/* for host code: exe.h */

	_Atomic bool pending;
	pthread_mutex_t lock;		 /* guards the queue */
	struct inval queue[INVAL_QUEUE]; /* guarded by lock */
	unsigned n_queue;		 /* guarded by lock; more than fit: forget everything */
	bool enough;			 /* guarded by lock; what is made later is not to be saved */
};

/* What forgetting all blocks clears; where blocks begin. */
#define BLOCK_TABLES_BYTES offsetof(struct block_cpu, arena_used)
#define ARENA_START	   ALIGN_UP(sizeof(struct block_cpu), GMEM_PAGE_SIZE)

static inline void *block_at(const struct block_cpu *code, block_ref ref)
{
	return ref ? (uint8_t *)(uintptr_t)code + (size_t)ref * ARENA_UNIT : NULL;
}

static inline block_ref block_ref_of(const struct block_cpu *code, const void *p)
{
	return (block_ref)((size_t)((const uint8_t *)p - (const uint8_t *)code) / ARENA_UNIT);
}

static inline uint64_t block_key(const struct cpu *cpu, const void *host)
{
	return (uint64_t)(uintptr_t)host ^ cpu->code_key;
}

static inline unsigned jump_slot(uint64_t host)
{
	return (host ^ host >> JUMP_CACHE_BITS) & ((1U << JUMP_CACHE_BITS) - 1);
}

static inline unsigned target_slot(uint64_t rip)
{
	return (rip ^ rip >> GMEM_PAGE_SHIFT) & ((1U << TARGET_CACHE_BITS) - 1);
}

static inline unsigned hash_slot(uint64_t key)
{
	return (key * 0x9e3779b97f4a7c15ULL) >> (64 - BLOCK_HASH_BITS);
}

static inline unsigned page_slot(gpa_t gpa)
{
	return (gpa >> GMEM_PAGE_SHIFT) * 0x9e3779b1U >> (32 - PAGE_HASH_BITS) &
	       ((1U << PAGE_HASH_BITS) - 1);
}

static inline struct block *block_lookup(const struct block_cpu *code, uint64_t key)
{
	struct block *b = block_at(code, code->hash[hash_slot(key)]);

	while (b && b->key != key)
		b = block_at(code, b->hash_next);
	return b;
}

/* ---- build.c ---- */

/**
 * block_build() - Decode from @host on
 *
 * Return: the block, entered in no table yet; NULL with cpu->exc set (second page of the only
 * instruction), or NULL without when memory for code has run out: flush and try again.
 */
struct block *block_build(struct cpu *cpu, uint64_t rip, const uint8_t *host, gpa_t gpa);

/* Decode the instruction at rip (linear address @va), over a page border if need be. false: exc is
 * set. */
bool block_decode_one(struct cpu *cpu, uint64_t va, struct insn *ret);

/* struct op.scale of an op whose instruction stands in the arena. */
#define OP_HAS_INSN 0xff

/* @bytes in the arena; NULL: no memory. */
void *block_alloc(struct block_cpu *code, size_t bytes);

/* Which of @n instructions set flags that nobody reads; @general: those without a handler. */
void block_dead_flags(const struct insn *in, unsigned n, const bool *general, bool *ret_dead);

/* ---- code_pages.c ---- */

/* About to decode [gpa, gpa + len) in one page: make sure that writes to it are noticed. */
void code_page_track(struct cpu *cpu, gpa_t gpa, unsigned len);
/* The same for a block that is there already, before any vCPU has run. */
void code_page_adopt(struct soft_vm *vm, gpa_t gpa, unsigned len);
/* The page changes too often to keep blocks of it; counts down. */
bool code_page_is_hot(struct cpu *cpu, gpa_t gpa);

/* ---- block.c ---- */

/* An empty arena with its tables, perhaps only to be written to a file; NULL: no memory. */
struct block_cpu *block_arena_new(bool runs);
void block_arena_free(struct block_cpu *code);
/* Put a block into the tables. */
void block_insert(struct block_cpu *code, struct block *b);
/* Apply what others have queued: code that was written. Own thread or vCPU stopped. */
void block_take_queue(struct block_cpu *code);
void block_kill(struct block_cpu *code, struct block *b);
/* From now on @user is killed when @b is; false: no memory. */
bool block_depend(struct block_cpu *code, struct block *b, struct block *user);

#endif
