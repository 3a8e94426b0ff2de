/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which guest pages hold decoded code, and telling all vCPUs when it is written.
 *
 * Theory of operation. Each page has a bitmap of 64-byte granules that some vCPU may have decoded.
 * A vCPU that is about to decode marks the granules and GMEM_PAGE_CODE, and has all write
 * translations of the page taken away, before it reads the bytes; so any write after that comes to
 * block_code_written(), which clears the granules and queues the range for every vCPU. A vCPU takes
 * its queue at its next block boundary. Invariants:
 *  1. Nobody waits for another vCPU while holding the lock.
 *  2. A block in any vCPU's cache has its granules set, or a range that covers it is in that vCPU's
 * queue.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "soft/block_priv.h"

struct code_page {
	_Atomic uint64_t granules;
	_Atomic bool protected; /* write translations are gone since the granules were first set */
	uint16_t gen;		/* guarded by lock: how often the page was unmarked */
	uint16_t hits;		/* guarded by lock */
	_Atomic uint32_t cool;	/* uncached executions to go */
};

#define HOT_HITS 48

struct code_cache {
	struct gmem *mem;
	pthread_mutex_t lock, split_lock;
	struct code_page *pages[GMEM_MAX_REGIONS];
};

static size_t pages_bytes(const struct gmem_region *r)
{
	return (r->len >> GMEM_PAGE_SHIFT) * sizeof(struct code_page);
}

static struct code_page *find_page(struct code_cache *cc, gpa_t gpa, uint8_t **flags)
{
	for (unsigned i = 0; i < cc->mem->n_regions; i++) {
		const struct gmem_region *r = &cc->mem->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->len) {
			uint64_t n = (gpa - r->gpa) >> GMEM_PAGE_SHIFT;

			*flags = &r->page_flags[n];
			return &cc->pages[i][n];
		}
	}
	return NULL;
}

/* Bits of the granules that [off, off + len) of a page touches; len is not 0. */
static uint64_t granule_mask(unsigned off, unsigned len)
{
	unsigned first = off / 64, last = (off + len - 1) / 64;

	return (~0ULL >> (63 - (last - first))) << first;
}

void code_page_track(struct cpu *cpu, gpa_t gpa, unsigned len)
{
	struct code_cache *cc = cpu->vm->code;
	uint64_t mask = granule_mask(gpa & (GMEM_PAGE_SIZE - 1), len);
	uint8_t *flags;
	struct code_page *p = find_page(cc, gpa, &flags);
	bool done;
	uint16_t gen;

	if (!p || (atomic_load(&p->protected) && (atomic_load(&p->granules) & mask) == mask))
		return;
	pthread_mutex_lock(&cc->lock);
	atomic_fetch_or(&p->granules, mask);
	__atomic_fetch_or(flags, GMEM_PAGE_CODE, __ATOMIC_SEQ_CST);
	done = atomic_load(&p->protected);
	gen = p->gen;
	pthread_mutex_unlock(&cc->lock);
	if (done)
		return;
	mmu_protect_code_page(cpu, gpa & ~(GMEM_PAGE_SIZE - 1));
	pthread_mutex_lock(&cc->lock);
	if (p->gen == gen)
		atomic_store(&p->protected, true);
	pthread_mutex_unlock(&cc->lock);
}

void code_page_adopt(struct soft_vm *vm, gpa_t gpa, unsigned len)
{
	uint8_t *flags;
	struct code_page *p = find_page(vm->code, gpa, &flags);

	uint64_t mask = granule_mask(gpa & (GMEM_PAGE_SIZE - 1), len);
	uint64_t had = atomic_load_explicit(&p->granules, memory_order_relaxed);

	if ((had & mask) == mask)
		return;
	atomic_fetch_or(&p->granules, mask);
	if (had)
		return;
	/* No vCPU has run: there is no translation to take away. */
	__atomic_fetch_or(flags, GMEM_PAGE_CODE, __ATOMIC_SEQ_CST);
	atomic_store(&p->protected, true);
}

bool code_page_is_hot(struct cpu *cpu, gpa_t gpa)
{
	uint8_t *flags;
	struct code_page *p = find_page(cpu->vm->code, gpa, &flags);

	if (!p || atomic_load_explicit(&p->cool, memory_order_relaxed) == 0)
		return false;
	atomic_fetch_sub_explicit(&p->cool, 1, memory_order_relaxed);
	return true;
}

static void queue_for(struct cpu *cpu, gpa_t gpa, uint64_t len)
{
	struct block_cpu *code = cpu->code;

	if (!code)
		return;
	pthread_mutex_lock(&code->lock);
	if (code->n_queue < INVAL_QUEUE)
		code->queue[code->n_queue] = (struct inval){ gpa, len };
	if (code->n_queue <= INVAL_QUEUE)
		code->n_queue++;
	pthread_mutex_unlock(&code->lock);
	atomic_store(&code->pending, true);
	cpu_attention(cpu);
}

/* One page's part of a write. Returns whether decoded code was hit. */
static bool page_written(struct code_cache *cc, gpa_t gpa, unsigned len)
{
	uint64_t mask = granule_mask(gpa & (GMEM_PAGE_SIZE - 1), len);
	uint8_t *flags;
	struct code_page *p = find_page(cc, gpa, &flags);
	bool hit;

	if (!p || !(atomic_load(&p->granules) & mask))
		return false;
	pthread_mutex_lock(&cc->lock);
	hit = atomic_load(&p->granules) & mask;
	if (hit && !(atomic_fetch_and(&p->granules, ~mask) & ~mask)) {
		__atomic_fetch_and(flags, (uint8_t)~GMEM_PAGE_CODE, __ATOMIC_SEQ_CST);
		atomic_store(&p->protected, false);
		p->gen++;
	}
	if (hit && p->hits < UINT16_MAX && ++p->hits >= HOT_HITS && p->hits % 8 == 0)
		atomic_store(&p->cool, 500U << (p->hits / HOT_HITS > 5 ? 5 : p->hits / HOT_HITS));
	pthread_mutex_unlock(&cc->lock);
	return hit;
}

void block_code_written(struct soft_vm *vm, gpa_t gpa, uint64_t len)
{
	struct code_cache *cc = vm->code;

	if (!cc)
		return;
	while (len) {
		uint64_t room = GMEM_PAGE_SIZE - (gpa & (GMEM_PAGE_SIZE - 1));
		uint64_t n = len < room ? len : room;

		if (page_written(cc, gpa, n))
			for (unsigned i = 0; i < HV_MAX_VCPUS; i++)
				if (vm->cpus[i]) /* whole granules: they are no longer watched */
					queue_for(vm->cpus[i], gpa & ~63ULL,
						  ((gpa & 63) + n + 63) & ~63ULL);
		gpa += n;
		len -= n;
	}
}

bool block_split_lock(struct cpu *cpu)
{
	pthread_mutex_lock(&cpu->vm->code->split_lock);
	return true;
}

void block_split_unlock(struct cpu *cpu)
{
	pthread_mutex_unlock(&cpu->vm->code->split_lock);
}

int block_vm_new(struct soft_vm *vm, struct err *err)
{
	struct code_cache *cc = calloc(1, sizeof(*cc));

	if (!cc)
		return err_set(err, -ENOMEM, "code cache");
	cc->mem = vm->mem;
	pthread_mutex_init(&cc->lock, NULL);
	pthread_mutex_init(&cc->split_lock, NULL);
	vm->code = cc;
	for (unsigned i = 0; i < vm->mem->n_regions; i++) {
		void *p = mmap(NULL, pages_bytes(&vm->mem->regions[i]), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED) {
			block_vm_free(vm);
			return err_set(err, -ENOMEM, "code page table");
		}
		cc->pages[i] = p;
	}
	return 0;
}

void block_vm_free(struct soft_vm *vm)
{
	struct code_cache *cc = vm->code;

	if (!cc)
		return;
	for (unsigned i = 0; i < cc->mem->n_regions; i++)
		if (cc->pages[i])
			munmap(cc->pages[i], pages_bytes(&cc->mem->regions[i]));
	pthread_mutex_destroy(&cc->lock);
	pthread_mutex_destroy(&cc->split_lock);
	free(cc);
	vm->code = NULL;
}
