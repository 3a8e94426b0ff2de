/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a file of code: image.h says how. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "soft/exe.h"
#include "soft/image_priv.h"

#define TRANSLATE_MIN 12 /* entries before a block is worth its room in the file */

struct saving {
	struct cpu *cpu;
	struct block_cpu *from, *to;
	struct block **old, **fresh; /* owned; the same blocks in both arenas */
	uint32_t n;
	bool failed; /* a pointer that nothing is known of */
};

/* ---- which ---- */

static bool made_in_time(const struct block_cpu *code, const struct block *b)
{
	return !code->save_end ||
	       (size_t)((const uint8_t *)b - (const uint8_t *)code) < code->save_end;
}

static bool wanted(const struct saving *s, const struct block *b)
{
	const uint8_t *host = (const uint8_t *)(uintptr_t)(b->key & BLOCK_KEY_HOST);

	return !b->dead && !(b->layout & BLOCK_CROSS) && made_in_time(s->from, b) &&
	       (b->key & ~BLOCK_KEY_HOST) == CODE_KEY_LONG &&
	       gmem_ptr(s->cpu->vm->mem, b->gpa, b->n_bytes) == host;
}

static int by_address(const void *a, const void *b)
{
	const struct block *const *x = a, *const *y = b;

	return (*x > *y) - (*x < *y);
}

/* In the order in which they were made, which is about that in which they run. */
static bool collect(struct saving *s)
{
	s->old = malloc(IMAGE_BLOCKS_MAX * sizeof(struct block *));
	s->fresh = malloc(IMAGE_BLOCKS_MAX * sizeof(struct block *));
	if (!s->old || !s->fresh)
		return false;
	for (unsigned i = 0; i < 1U << BLOCK_HASH_BITS; i++)
		for (struct block *b = block_at(s->from, s->from->hash[i]); b;
		     b = block_at(s->from, b->hash_next))
			if (wanted(s, b) && s->n < IMAGE_BLOCKS_MAX)
				s->old[s->n++] = b;
	if (s->n)
		qsort(s->old, s->n, sizeof(struct block *), by_address);
	return true;
}

/* ---- once more ---- */

/* How often it has been entered, up to the threshold of translation. */
static int32_t entries_of(const struct block_cpu *code, const struct block *b)
{
	return b->ops[1].fn == jit_warm ? code->jit_threshold - b->ops[0].disp
					: code->jit_threshold;
}

static struct op_exit *exit_of(const struct block *b)
{
	return (struct op_exit *)(uintptr_t)&b->ops[1 + image_n_ops(b)];
}

static void build_all(struct saving *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		struct block *old = s->old[i], *b;
		const uint8_t *host = (const uint8_t *)(uintptr_t)(old->key & BLOCK_KEY_HOST);
		uint64_t rip = old->gpa & (GMEM_PAGE_SIZE - 1);

		if (old->layout & BLOCK_UPPER)
			rip |= 1ULL << 63;
		b = block_build(s->cpu, rip, host, old->gpa);
		if (!b) /* what has room must do */
			break;
		/* The bytes are others by now: somebody is about to be told. */
		if (b->layout != old->layout || b->n_bytes != old->n_bytes ||
		    b->ops[0].left != old->ops[0].left)
			continue;
		b->key = old->key;
		block_insert(s->to, b);
		s->old[n] = old;
		s->fresh[n++] = b;
	}
	s->n = n;
}

/* What @head of the old arena is in the new one; NULL: it is not there. */
static const struct op *same_block(const struct saving *s, const struct op *head)
{
	const struct block *b = head ? block_lookup(s->to, head->block->key) : NULL;

	return b ? b->ops : NULL;
}

static void link_all(struct saving *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		unsigned slots = s->fresh[i]->layout & BLOCK_SLOTS;
		const struct op_exit *x = exit_of(s->old[i]);
		struct op_exit *to = exit_of(s->fresh[i]);

		for (unsigned dir = 0; slots && dir < 2; dir++) {
			to->link[dir] = same_block(s, x->link[dir]);
			if (slots != OP_EXIT_SLOTS)
				continue;
			to->xlink[dir] = same_block(s, x->xlink[dir]);
			if (to->xlink[dir])
				to->xhost[dir] = to->xlink[dir]->block->gpa;
		}
	}
}

static void translate_all(struct saving *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		if (entries_of(s->from, s->old[i]) < TRANSLATE_MIN)
			continue;
		s->cpu->page_va = s->fresh[i]->layout & BLOCK_UPPER ? 1ULL << 63 : 0;
		jit_translate(s->cpu, s->fresh[i]);
	}
}

/* ---- pointers to offsets ---- */

static void convert_fn(struct saving *s, void *at)
{
	const struct execmem *jit = &s->to->jit;
	uint64_t v;

	memcpy(&v, at, 8);
	if (jit->rx && v - (uintptr_t)jit->rx < jit->size)
		v = (v - (uintptr_t)jit->rx) | IMAGE_FN_JIT;
	else if (v)
		v -= s->to->exe_base;
	s->failed |= !(v & IMAGE_FN_JIT) && v >= exe_bytes();
	memcpy(at, &v, 8);
}

static void convert_pointer(struct saving *s, void *at)
{
	uint64_t v;

	memcpy(&v, at, 8);
	if (v)
		v -= (uintptr_t)s->to;
	memcpy(at, &v, 8);
}

static void convert_exit(struct saving *s, struct block *b)
{
	unsigned slots = b->layout & BLOCK_SLOTS;
	struct op_exit *x = exit_of(b);

	for (unsigned dir = 0; slots && dir < 2; dir++) {
		convert_pointer(s, &x->link[dir]);
		if (slots == OP_EXIT_SLOTS)
			convert_pointer(s, &x->xlink[dir]);
	}
}

static void convert_block(struct saving *s, struct block *b)
{
	convert_fn(s, &b->ops[0].fn);
	for (unsigned i = 1, n = image_n_ops(b); i <= n; i++) {
		struct op *op = &b->ops[i];

		convert_fn(s, &op->fn);
		if (op->scale != OP_HAS_INSN)
			continue;
		convert_fn(s, (void *)(uintptr_t)&op->insn->exec);
		convert_pointer(s, &op->insn);
	}
	convert_exit(s, b);
	b->ops[0].block = NULL;
	b->key = 0;
	b->hash_next = b->page_next = 0;
}

/* ---- out ---- */

static int put(int fd, const void *p, size_t len, struct err *err)
{
	int r = fd_write_full(fd, p, len);

	return r < 0 ? err_errno(err, -r, "write the snapshot's code") : 0;
}

static int write_file(struct saving *s, int fd, struct err *err)
{
	uint32_t *refs = (uint32_t *)(void *)s->old;
	struct block_cpu *to = s->to;
	uint64_t hot = ALIGN_UP(to->jit_used, GMEM_PAGE_SIZE), cold = 0;
	uint64_t w[IMAGE_WORDS] = { 0 };
	uint8_t head[IMAGE_HEAD_BYTES] = { 0 };
	struct image_sum sum = { { 0 } };
	int r = image_key(s->from, w, err);

	if (r < 0)
		return r;
	if (to->jit.rw)
		cold = ALIGN_UP(to->jit_cold_used - JIT_COLD_START, GMEM_PAGE_SIZE);

	const struct {
		enum image_word length;
		const void *p;
		size_t len;
	} parts[] = {
		{ IMAGE_W_HOT, to->jit.rw, hot },
		{ IMAGE_W_COLD, to->jit.rw + JIT_COLD_START, cold },
		{ IMAGE_W_ARENA, (const uint8_t *)to + ARENA_START, to->arena_used - ARENA_START },
		{ IMAGE_W_BLOCKS, refs, s->n * sizeof(*refs) },
	};

	for (uint32_t i = 0; i < s->n; i++) /* the list is needed no more */
		refs[i] = block_ref_of(to, s->fresh[i]);
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		w[parts[i].length] = parts[i].len;
	w[IMAGE_W_BLOCKS] = s->n;
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		image_sum_add(&sum, parts[i].p, parts[i].len);
	image_sum_words(&sum, &w[IMAGE_W_SUM]);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++)
		le64_store(head + 8 * i, w[i]);
	le64_store(head + 8 * IMAGE_W_HEAD_SUM, image_head_sum(head));
	r = put(fd, head, sizeof(head), err);
	for (unsigned i = 0; i < ARRAY_LEN(parts) && r == 0; i++)
		r = put(fd, parts[i].p, parts[i].len, err);
	return r;
}

/* ---- all together ---- */

static bool arena_new(struct saving *s)
{
	struct block_cpu *to = s->to = block_arena_new(false);

	if (!to)
		return false;
	to->features = s->from->features;
	to->jit_threshold = s->from->jit_threshold;
	to->jit_trace_threshold = s->from->jit_trace_threshold;
	if (s->from->jit.rw) { /* never run here */
		to->jit.rw = to->jit.rx = (uint8_t *)to + CODE_ARENA_BYTES;
		to->jit.size = JIT_ARENA_BYTES;
		jit_reset(to);
	}
	return true;
}

static void done(struct saving *s)
{
	if (s->to)
		block_arena_free(s->to);
	free(s->old);
	free(s->fresh);
}

/* With the vCPU as it is when it runs 64-bit code, and the new arena for its own. */
static bool make(struct saving *s)
{
	struct cpu *cpu = s->cpu;
	uint64_t code_key = cpu->code_key, page_va = cpu->page_va;
	struct cpu_exc exc = cpu->exc;
	uint8_t mode = cpu->mode;

	cpu->code = s->to;
	cpu->code_key = CODE_KEY_LONG;
	cpu->mode = CPU_LONG64;
	build_all(s);
	link_all(s);
	if (s->to->jit.rw)
		translate_all(s);
	for (uint32_t i = 0; i < s->n; i++)
		convert_block(s, s->fresh[i]);
	cpu->code = s->from;
	cpu->code_key = code_key;
	cpu->page_va = page_va;
	cpu->exc = exc;
	cpu->mode = mode;
	return !s->failed;
}

int block_image_save(struct cpu *cpu, int fd, struct err *err)
{
	struct saving s = { .cpu = cpu, .from = cpu->code };
	int r;

	block_take_queue(s.from);
	if (!collect(&s) || !arena_new(&s) || !make(&s))
		r = err_set(err, -ENOMEM, "no memory for the snapshot's code");
	else
		r = write_file(&s, fd, err);
	done(&s);
	return r;
}
