/* SPDX-License-Identifier: Apache-2.0 */
/* Working sets: what was touched is recorded and comes back; what is damaged is not used. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "crc32.h"
#include "pagemap.h"
#include "snapshots/workset.h"

#define PAGES 64u
#define HEAD  24u
#define PAGE  4096u

struct fixture {
	char path[64];
	struct snapshot snap;
	int pagemap_fd;
	uint8_t *p; /* the memory, mapped privately */
	struct snap_range ranges[2];
};

/* The mapping in two parts, as RAM around its hole is. */
static void map(struct fixture *f)
{
	f->p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, f->snap.memory_fd, 0);
	assert_true(f->p != MAP_FAILED);
	f->ranges[0] = (struct snap_range){ f->p, 32 * PAGE, 0 };
	f->ranges[1] = (struct snap_range){ f->p + 32 * PAGE, 32 * PAGE, 32 * PAGE };
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	strcpy(f->path, "/tmp/husk-test-workset.XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->snap = SNAPSHOT_NONE;
	f->snap.dir_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->snap.memory_fd = memfd_create("memory", MFD_CLOEXEC);
	f->snap.manifest.memory_bytes = PAGES * PAGE;
	f->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (unsigned i = 0; i < PAGES; i++) {
		uint8_t page[PAGE];

		memset(page, (int)i + 1, sizeof(page));
		fd_write_full(f->snap.memory_fd, page, sizeof(page));
	}
	map(f);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char cmd[128];

	munmap(f->p, PAGES * PAGE);
	fd_close(f->pagemap_fd);
	snap_close(&f->snap);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", f->path);
	free(f);
	return system(cmd);
}

static void touch(struct fixture *f)
{
	f->p[3 * PAGE] = 0xff;
	f->p[4 * PAGE] = 0xff;
	f->p[31 * PAGE] = 0xff;
	f->p[32 * PAGE] = 0xff;
	assert_int_equal(*(volatile uint8_t *)(f->p + 20 * PAGE), 21);
}

static void record(struct fixture *f)
{
	int fd = snap_workset_begin(&f->snap, NULL);

	assert_true(fd >= 0);
	assert_int_equal(snap_workset_record(fd, f->ranges, 2, f->pagemap_fd, NULL), 0);
	fd_close(fd);
}

/* Whether page @n is in a run of that kind. */
static bool has(const struct snap_workset *w, unsigned n, bool written)
{
	for (size_t i = 0; i < w->n; i++) {
		if (n >= w->v[i].page && n - w->v[i].page < w->v[i].n)
			return w->v[i].written == written;
	}
	return false;
}

static unsigned n_written(const struct snap_workset *w)
{
	unsigned n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += w->v[i].written ? w->v[i].n : 0;
	return n;
}

static bool is_own(const struct fixture *f, unsigned n)
{
	uint64_t e;

	assert_int_equal(pagemap_read(f->pagemap_fd, f->p + n * PAGE, 1, &e), 0);
	return pagemap_is_own(e);
}

static void records_what_was_touched(void **state)
{
	struct fixture *f = *state;
	struct snap_workset w = { 0 };

	assert_int_equal(snap_workset_read(&f->snap, &w, NULL), -ENOENT);
	touch(f);
	record(f);
	assert_int_equal(snap_workset_read(&f->snap, &w, NULL), 0);
	assert_int_equal(n_written(&w), 4);
	assert_true(has(&w, 3, true) && has(&w, 4, true) && has(&w, 31, true) && has(&w, 32, true));
	assert_true(has(&w, 20, false));
	snap_workset_done(&w);
}

static void maps_what_was_written(void **state)
{
	struct fixture *f = *state;
	struct snap_workset w = { 0 };

	touch(f);
	record(f);
	munmap(f->p, PAGES * PAGE);
	map(f);
	assert_int_equal(snap_workset_read(&f->snap, &w, NULL), 0);
	while (snap_workset_map(&w, f->ranges, 2))
		;
	for (unsigned i = 0; i < PAGES; i++) {
		/* The run over the border of the mappings is cut there. */
		assert_int_equal(is_own(f, i), i == 3 || i == 4 || i == 31);
		assert_int_equal(f->p[i * PAGE], i + 1);
	}
	snap_workset_done(&w);
}

static void maps_some_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct snap_workset_run runs[PAGES];
	struct snap_workset w = { .v = runs };
	struct snap_range range = { .len = 1ULL << 30 };

	range.p = mmap(NULL, range.len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(range.p != MAP_FAILED);
	for (; w.n < 5; w.n++)
		runs[w.n] = (struct snap_workset_run){ (uint32_t)w.n * 1000, 100, true };
	assert_true(snap_workset_map(&w, &range, 1));
	f->p[0] = 0; /* the guest goes on meanwhile */
	assert_int_equal(w.at, 2);
	assert_true(snap_workset_map(&w, &range, 1));
	assert_false(snap_workset_map(&w, &range, 1));
	assert_int_equal(w.at, 5);
	munmap((void *)(uintptr_t)range.p, range.len);
}

/* Whether the disk is asked, as the kernel says beforehand of the pages that were touched. */
static void check_asked(struct fixture *f, bool can_tell)
{
	static const unsigned firsts[] = { 3, 20, 31 }; /* looked at, or next to it */
	struct snap_workset w = { 0 };
	uint8_t there[PAGES], *p;
	bool all = can_tell;

	p = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, f->snap.memory_fd, 0);
	assert_true(p != MAP_FAILED);
	assert_int_equal(mincore(p, PAGES * PAGE, there), 0);
	munmap(p, PAGES * PAGE);
	assert_int_equal(snap_workset_read(&f->snap, &w, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(firsts); i++)
		all = all && there[firsts[i]] & 1;
	assert_int_equal(w.asked, all);
	snap_workset_done(&w);
}

static void asks_the_disk_for_what_only_it_has(void **state)
{
	struct fixture *f = *state;
	uint8_t page[PAGE] = { 1 };
	char path[80];
	bool can_tell;

	touch(f);
	record(f);
	snprintf(path, sizeof(path), "%s/memory", f->path);
	fd_close(f->snap.memory_fd);
	f->snap.memory_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(fd_write_full(f->snap.memory_fd, page, sizeof(page)), 0);
	/* Some file systems in memory cannot be asked this way. */
	can_tell = preadv2(f->snap.memory_fd, &(struct iovec){ page, 1 }, 1, 0, RWF_NOWAIT) == 1;
	check_asked(f, can_tell);
	/* On a file system in memory it stays where it is. */
	assert_int_equal(fsync(f->snap.memory_fd), 0);
	assert_int_equal(posix_fadvise(f->snap.memory_fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	check_asked(f, can_tell);
}

static void one_records(void **state)
{
	struct fixture *f = *state;
	struct snap_workset w = { 0 };
	int fd = snap_workset_begin(&f->snap, NULL);

	assert_true(fd >= 0);
	assert_int_equal(snap_workset_begin(&f->snap, NULL), -EBUSY);
	/* Who was to record has ended without. */
	fd_close(fd);
	assert_int_equal(snap_workset_read(&f->snap, &w, NULL), -EBADMSG);
	record(f);
	assert_int_equal(snap_workset_read(&f->snap, &w, NULL), 0);
	snap_workset_done(&w);
}

static void mend(uint8_t *p, size_t len)
{
	le32_store(p + 12, (uint32_t)(len - HEAD) / 8);
	le32_store(p + 16, crc32_add(0, p + HEAD, len - HEAD));
	le32_store(p + 20, crc32_add(0, p, 20));
}

static int parse(const uint8_t *p, size_t len)
{
	struct snap_workset w = { 0 };
	struct err err = { 0 };
	int r = snap_workset_parse(p, len, PAGES, &w, &err);

	assert_int_equal(r < 0, err.msg[0] != 0);
	snap_workset_done(&w);
	return r;
}

static void refuses_damage(void **state)
{
	struct fixture *f = *state;
	uint8_t p[256];
	ssize_t len;
	int fd;

	touch(f);
	record(f);
	fd = openat(f->snap.dir_fd, "workset", O_RDONLY | O_CLOEXEC);
	len = read(fd, p, sizeof(p));
	fd_close(fd);
	assert_in_range(len, HEAD + 8, sizeof(p) - 1);
	assert_int_equal(parse(p, (size_t)len), 0);
	for (size_t i = 0; i < (size_t)len; i++) {
		p[i] ^= 1;
		assert_int_equal(parse(p, (size_t)len), -EBADMSG);
		p[i] ^= 1;
		assert_int_equal(parse(p, i), -EBADMSG);
	}
}

static void refuses_what_is_out_of_bounds(void **state)
{
	static const struct {
		uint32_t runs[4];
		unsigned n;
		int want;
	} cases[] = {
		{ { 0, PAGES }, 1, 0 },		 { { 0, PAGES + 1 }, 1, -EBADMSG },
		{ { PAGES, 1 }, 1, -EBADMSG },	 { { UINT32_MAX, UINT32_MAX }, 1, -EBADMSG },
		{ { 5, 0 }, 1, -EBADMSG },	 { { 5, 2, 7, 1 }, 2, 0 },
		{ { 5, 2, 6, 1 }, 2, -EBADMSG }, { { 5, 2, 0, 1 }, 2, -EBADMSG },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t p[HEAD + 16] = "HUSKWSET\1";

		for (unsigned k = 0; k < 2 * cases[i].n; k++)
			le32_store(p + HEAD + 4 * k, cases[i].runs[k]);
		mend(p, HEAD + 8 * cases[i].n);
		assert_int_equal(parse(p, HEAD + 8 * cases[i].n), cases[i].want);
	}
}

static void bounds_what_it_may_cost(void **state)
{
	uint8_t p[HEAD + 8] = "HUSKWSET\1";
	struct snap_workset w = { 0 };

	le32_store(p + HEAD + 4, 1U << 31 | SNAP_WORKSET_WRITTEN);
	mend(p, sizeof(p));
	assert_int_equal(snap_workset_parse(p, sizeof(p), 1U << 20, &w, NULL), 0);
	snap_workset_done(&w);
	le32_store(p + HEAD + 4, 1U << 31 | (SNAP_WORKSET_WRITTEN + 1));
	mend(p, sizeof(p));
	assert_int_equal(snap_workset_parse(p, sizeof(p), 1U << 20, &w, NULL), -EBADMSG);
	le32_store(p + HEAD + 4, SNAP_WORKSET_READ + 1);
	mend(p, sizeof(p));
	assert_int_equal(snap_workset_parse(p, sizeof(p), 1U << 20, &w, NULL), -EBADMSG);
}

/* What a machine records another must be able to read. */
static void records_within_the_bounds(void **state)
{
	struct fixture *f = *state;
	const uint64_t len = 4ULL * SNAP_WORKSET_RUNS * PAGE;
	struct snap_workset w = { 0 };
	uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = snap_workset_begin(&f->snap, NULL);

	assert_true(p != MAP_FAILED && fd >= 0);
	madvise(p, len, MADV_NOHUGEPAGE);
	for (uint64_t at = 0; at < len; at += 2 * PAGE)
		p[at] = 1;
	assert_int_equal(snap_workset_record(fd, &(struct snap_range){ p, len, 0 }, 1,
					     f->pagemap_fd, NULL),
			 0);
	fd_close(fd);
	f->snap.manifest.memory_bytes = len;
	assert_int_equal(snap_workset_read(&f->snap, &w, NULL), 0);
	assert_int_equal(n_written(&w), SNAP_WORKSET_WRITTEN);
	snap_workset_done(&w);
	munmap(p, len);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(records_what_was_touched),
		T(maps_what_was_written),
		T(maps_some_at_a_time),
		T(one_records),
		T(refuses_damage),
		T(refuses_what_is_out_of_bounds),
		T(bounds_what_it_may_cost),
		T(records_within_the_bounds),
		T(asks_the_disk_for_what_only_it_has),
	};

	return cmocka_run_group_tests_name("snapshots/workset", tests, NULL, NULL);
}
