/* SPDX-License-Identifier: Apache-2.0 */
/* Files of code: what they are good for, their sums, loading; image.h has the theory. */
#include <errno.h>
#include <nmmintrin.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "soft/exe.h"
#include "soft/image_priv.h"

/* ---- what it is good for ---- */

/* What host code and stubs may use: CPUID itself is slow where a hypervisor answers it. */
static uint64_t host_features(void)
{
	uint64_t f = 0;

#define HAS(feature, bit) f |= (uint64_t) !!__builtin_cpu_supports(feature) << (bit)
	HAS("sse3", 0);
	HAS("ssse3", 1);
	HAS("sse4.1", 2);
	HAS("sse4.2", 3);
	HAS("popcnt", 4);
	HAS("aes", 5);
	HAS("pclmul", 6);
	HAS("bmi", 7);
	HAS("bmi2", 8);
	HAS("avx", 9);
	HAS("avx2", 10);
#undef HAS
	return f;
}

/* The words before IMAGE_W_GUEST: the same for all machines of this process. */
static int own_key(uint64_t words[IMAGE_KEY_WORDS], struct err *err)
{
	size_t len = 0;
	const uint8_t *id = exe_build_id(&len);

	if (!id)
		return err_set(err, -EOPNOTSUPP, "this program has no build id");
	memset(words, 0, IMAGE_KEY_WORDS * sizeof(words[0]));
	words[IMAGE_W_MAGIC] = IMAGE_MAGIC;
	words[IMAGE_W_VERSION] = IMAGE_VERSION;
	memcpy(&words[IMAGE_W_BUILD], id, MIN(len, 3 * sizeof(words[0])));
	words[IMAGE_W_HOST] = host_features();
	return 0;
}

int image_key(const struct block_cpu *code, uint64_t words[IMAGE_KEY_WORDS], struct err *err)
{
	int r = own_key(words, err);

	if (r < 0)
		return r;
	words[IMAGE_W_GUEST] = code->features;
	words[IMAGE_W_MODE] = code->jit.rw != NULL;
	return 0;
}

__attribute__((target("sse4.2"))) void image_sum_add(struct image_sum *s, const void *p, size_t len)
{
	const uint8_t *at = p;
	uint64_t a = s->v[0], b = s->v[1], c = s->v[2], d = s->v[3], w[4];

	/* Four sums take turns: the unit works on as many at once. */
	for (; len >= sizeof(w); len -= sizeof(w), at += sizeof(w)) {
		memcpy(w, at, sizeof(w));
		a = _mm_crc32_u64(a, w[0]);
		b = _mm_crc32_u64(b, w[1]);
		c = _mm_crc32_u64(c, w[2]);
		d = _mm_crc32_u64(d, w[3]);
	}
	for (; len; len--)
		a = _mm_crc32_u8((uint32_t)a, *at++);
	*s = (struct image_sum){ { a, b, c, d } };
}

void image_sum_words(const struct image_sum *s, uint64_t ret[2])
{
	ret[0] = s->v[0] << 32 | s->v[1];
	ret[1] = s->v[2] << 32 | s->v[3];
}

/* In this form whatever the version: a file of another one is no damaged one. */
__attribute__((target("sse4.2"))) uint64_t image_head_sum(const uint8_t head[IMAGE_HEAD_BYTES])
{
	uint64_t v[2] = { 0 };

	for (unsigned i = 0; i < IMAGE_HEAD_BYTES / 8; i++)
		v[i % 2] = _mm_crc32_u64(v[i % 2],
					 i == IMAGE_W_HEAD_SUM ? 0 : le64_load(head + 8 * i));
	return v[0] << 32 | v[1];
}

/* ---- reading ---- */

#define TAKE_AT_ONCE 16
#define CHECK_BYTES  (1 << 20) /* at once: a multiple of 32, as the sums go */

struct image {
	struct cpu *cpu;
	struct block_cpu *code;
	uint64_t w[IMAGE_WORDS];
	uint8_t *host_code; /* mapped, whole pages: hot, then cold; NULL: none */
	const uint32_t *refs;
	uint64_t next; /* in the arena: what lies before is a block's */
	/* functions of the program, and host code */
	uint64_t fn_base[2], fn_bytes[2];
};

static int damaged(struct err *err)
{
	return err_set(err, -EBADMSG, "code: damaged");
}

static int read_at(int fd, void *p, uint64_t len, uint64_t off, struct err *err)
{
	ssize_t n = fd_pread_full(fd, p, len, off);

	if (n < 0)
		return err_errno(err, (int)-n, "code: read");
	return (uint64_t)n == len ? 0 : damaged(err);
}

static bool lengths_ok(const uint64_t *w, bool jit, uint64_t file_bytes)
{
	const uint64_t hot_max = jit ? JIT_COLD_START : 0,
		       cold_max = jit ? JIT_ARENA_BYTES - JIT_COLD_START : 0;

	return w[IMAGE_W_HOT] <= hot_max && w[IMAGE_W_COLD] <= cold_max &&
	       IS_ALIGNED(w[IMAGE_W_HOT] | w[IMAGE_W_COLD], GMEM_PAGE_SIZE) &&
	       w[IMAGE_W_BLOCKS] <= IMAGE_BLOCKS_MAX && IS_ALIGNED(w[IMAGE_W_ARENA], ARENA_UNIT) &&
	       w[IMAGE_W_ARENA] <=
		       CODE_ARENA_BYTES - ARENA_START - IMAGE_BLOCKS_MAX * sizeof(uint32_t) &&
	       file_bytes == IMAGE_HEAD_BYTES + w[IMAGE_W_HOT] + w[IMAGE_W_COLD] +
				     w[IMAGE_W_ARENA] + w[IMAGE_W_BLOCKS] * sizeof(uint32_t);
}

/* The first @n_key words must be @key's. */
static int read_head(uint64_t w[IMAGE_WORDS], int fd, const uint64_t *key, unsigned n_key,
		     struct err *err)
{
	uint8_t head[IMAGE_HEAD_BYTES];
	struct stat st;
	int r = read_at(fd, head, sizeof(head), 0, err);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "code: look at it");
	for (unsigned i = 0; i < IMAGE_WORDS; i++)
		w[i] = le64_load(head + 8 * i);
	if (w[IMAGE_W_HEAD_SUM] != image_head_sum(head))
		return damaged(err);
	if (memcmp(key, w, n_key * sizeof(*key)) != 0)
		return err_set(err, -ESTALE, "code: of another program or CPU");
	return lengths_ok(w, w[IMAGE_W_MODE], (uint64_t)st.st_size) ? 0 : damaged(err);
}

static bool sum_ok(const struct image_sum *sum, const uint64_t *w)
{
	uint64_t words[2];

	image_sum_words(sum, words);
	return words[0] == w[IMAGE_W_SUM] && words[1] == w[IMAGE_W_SUM + 1];
}

/* Blocks and their list go to where blocks go; host code is mapped, and shared with others. */
static int read_body(struct image *im, int fd, struct err *err)
{
	uint64_t host_len = im->w[IMAGE_W_HOT] + im->w[IMAGE_W_COLD];
	uint8_t *arena = (uint8_t *)im->code + ARENA_START, *refs = arena + im->w[IMAGE_W_ARENA];
	uint64_t refs_len = im->w[IMAGE_W_BLOCKS] * sizeof(uint32_t);
	struct image_sum sum = { { 0 } };
	void *p = NULL;
	int r;

	if (host_len)
		p = mmap(NULL, host_len, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_POPULATE, fd,
			 IMAGE_HEAD_BYTES);
	if (p == MAP_FAILED)
		return err_errno(err, errno, "code: map");
	im->host_code = p;
	im->refs = (const uint32_t *)(const void *)refs;
	r = read_at(fd, arena, im->w[IMAGE_W_ARENA] + refs_len, IMAGE_HEAD_BYTES + host_len, err);
	if (r < 0)
		return r;
	image_sum_add(&sum, im->host_code, host_len);
	image_sum_add(&sum, arena, im->w[IMAGE_W_ARENA]);
	image_sum_add(&sum, refs, refs_len);
	return sum_ok(&sum, im->w) ? 0 : damaged(err);
}

/* ---- offsets to pointers; false: one that leads nowhere ---- */

static inline bool fix_fn(const struct image *im, void *at)
{
	uint64_t v;
	unsigned part;

	memcpy(&v, at, 8);
	part = v >> IMAGE_FN_JIT_BIT;
	v &= ~IMAGE_FN_JIT;
	if (v >= im->fn_bytes[part])
		return false;
	v += im->fn_base[part];
	memcpy(at, &v, 8);
	return true;
}

/* To something of @len bytes in the file's part of the arena. */
static inline bool fix_pointer(const struct image *im, void *at, size_t len)
{
	uint64_t v, end = ARENA_START + im->w[IMAGE_W_ARENA];

	memcpy(&v, at, 8);
	if (v == 0)
		return true;
	if (v < ARENA_START || v > end - len || v % 8)
		return false;
	v += (uintptr_t)im->code;
	memcpy(at, &v, 8);
	return true;
}

static bool fix_exit(const struct image *im, struct op_exit *x, unsigned slots)
{
	for (unsigned dir = 0; slots && dir < 2; dir++) {
		if (!fix_pointer(im, &x->link[dir], 2 * sizeof(struct op)))
			return false;
		if (slots != OP_EXIT_SLOTS || !x->xlink[dir])
			continue;
		x->xhost[dir] = (uintptr_t)gmem_ptr(im->cpu->vm->mem, x->xhost[dir], 1);
		if (!x->xhost[dir] || !fix_pointer(im, &x->xlink[dir], 2 * sizeof(struct op)))
			return false;
	}
	return true;
}

/* @at: where the op's block lies, and before it its decoded instructions. */
static bool fix_op(struct image *im, struct op *op, uint64_t at)
{
	uint64_t insn = (uint64_t)(uintptr_t)op->insn;

	if (!fix_fn(im, &op->fn))
		return false;
	if (op->scale != OP_HAS_INSN)
		return true;
	if (insn < im->next || insn > at || at - insn < sizeof(struct insn))
		return false;
	im->next = insn + sizeof(struct insn);
	return fix_pointer(im, &op->insn, sizeof(struct insn)) &&
	       fix_fn(im, (void *)(uintptr_t)&op->insn->exec);
}

/* The block at @at, which has what is behind the last one to itself. */
static bool fix_block(struct image *im, struct block *b, uint64_t at)
{
	unsigned n = image_n_ops(b), slots = b->layout & BLOCK_SLOTS;
	uint64_t len = sizeof(*b) + (n + 1 + slots) * sizeof(struct op);

	if (len > ARENA_START + im->w[IMAGE_W_ARENA] - at || slots == 2 ||
	    (b->layout & BLOCK_CROSS) || !fix_fn(im, &b->ops[0].fn))
		return false;
	b->ops[0].block = b;
	b->dead = false;
	for (unsigned i = 1; i <= n; i++)
		if (!fix_op(im, &b->ops[i], at))
			return false;
	im->next = at + len;
	return fix_exit(im, (struct op_exit *)(void *)&b->ops[n + 1], slots);
}

/* ---- taking it ---- */

/* Its pointers, and where it will be found. */
static bool take_block(struct image *im, block_ref ref)
{
	const uint64_t at = (uint64_t)ref * ARENA_UNIT, end = ARENA_START + im->w[IMAGE_W_ARENA];
	struct block *b = block_at(im->code, ref);
	const uint8_t *host;

	if (at < im->next || at + sizeof(*b) + 2 * sizeof(struct op) > end || !fix_block(im, b, at))
		return false;
	host = gmem_ptr(im->cpu->vm->mem, b->gpa, b->n_bytes);
	if (!host || (b->gpa & (GMEM_PAGE_SIZE - 1)) + b->n_bytes > GMEM_PAGE_SIZE)
		return false;
	b->key = (uint64_t)(uintptr_t)host ^ CODE_KEY_LONG;
	b->deps = 0;
	__builtin_prefetch(&im->code->hash[hash_slot(b->key)], 1);
	__builtin_prefetch(&im->code->pages[page_slot(b->gpa)], 1);
	return true;
}

/* Into the tables, and their bytes under watch: some at once, since each waits for the tables. */
static bool take_blocks(struct image *im)
{
	const uint64_t n = im->w[IMAGE_W_BLOCKS];

	im->next = ARENA_START;
	for (uint64_t from = 0, to = 0; from < n; from = to) {
		for (; to < n && to - from < TAKE_AT_ONCE; to++)
			if (!take_block(im, im->refs[to]))
				return false;
		for (uint64_t i = from; i < to; i++) {
			struct block *b = block_at(im->code, im->refs[i]);

			block_insert(im->code, b);
			code_page_adopt(im->cpu->vm, b->gpa, b->n_bytes);
		}
	}
	return true;
}

/* Over the start of either part; what is made later goes behind it. */
static int place_host_code(struct image *im, struct err *err)
{
	struct block_cpu *code = im->code;
	const struct {
		uint64_t len;
		uint8_t *to;
	} parts[] = { { im->w[IMAGE_W_HOT], code->jit.rx },
		      { im->w[IMAGE_W_COLD], code->jit.rx + JIT_COLD_START } };

	for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
		if (!parts[i].len)
			continue;
		if (mremap(im->host_code, parts[i].len, parts[i].len, MREMAP_MAYMOVE | MREMAP_FIXED,
			   parts[i].to) == MAP_FAILED)
			return err_errno(err, errno, "code: move");
		im->host_code += parts[i].len;
	}
	code->jit_kept = parts[0].len;
	code->jit_cold_kept = parts[1].len;
	return 0;
}

int block_image_load(struct cpu *cpu, int fd, struct err *err)
{
	struct image im = { .cpu = cpu, .code = cpu->code };
	uint64_t key[IMAGE_KEY_WORDS], host_len;
	int r = image_key(im.code, key, err);

	if (r == 0)
		r = read_head(im.w, fd, key, IMAGE_KEY_WORDS, err);
	if (r < 0)
		return r;
	host_len = im.w[IMAGE_W_HOT] + im.w[IMAGE_W_COLD];
	im.fn_base[0] = im.code->exe_base;
	im.fn_bytes[0] = exe_bytes();
	im.fn_base[1] = (uintptr_t)im.code->jit.rx;
	im.fn_bytes[1] = im.w[IMAGE_W_HOT];
	r = read_body(&im, fd, err);
	if (r == 0 && !take_blocks(&im))
		r = damaged(err);
	if (r == 0)
		r = place_host_code(&im, err);
	else if (im.host_code)
		munmap(im.host_code, host_len);
	if (r < 0) {
		block_flush(cpu);
		return r;
	}
	jit_reset(cpu->code);
	cpu->code->arena_used = ARENA_START + im.w[IMAGE_W_ARENA];
	return 0;
}

int block_image_check(int fd, struct err *err)
{
	AUTO_FREE uint8_t *buf = malloc(CHECK_BYTES);
	uint64_t key[IMAGE_KEY_WORDS], w[IMAGE_WORDS], at = IMAGE_HEAD_BYTES, end, n;
	struct image_sum sum = { { 0 } };
	int r = buf ? own_key(key, err) : err_set(err, -ENOMEM, "code: no memory");

	if (r == 0)
		r = read_head(w, fd, key, IMAGE_W_GUEST, err);
	if (r < 0)
		return r;
	end = at + w[IMAGE_W_HOT] + w[IMAGE_W_COLD] + w[IMAGE_W_ARENA] +
	      w[IMAGE_W_BLOCKS] * sizeof(uint32_t);
	for (; at < end; at += n) {
		n = MIN(end - at, (uint64_t)CHECK_BYTES);
		r = read_at(fd, buf, n, at, err);
		if (r < 0)
			return r;
		image_sum_add(&sum, buf, n);
	}
	return sum_ok(&sum, w) ? 0 : damaged(err);
}
