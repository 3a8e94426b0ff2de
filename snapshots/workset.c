/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Working sets.
 *
 * Little-endian: "HUSKWSET", u32 version, u32 number of runs, u32 CRC-32 of the runs, u32 CRC-32 of
 * the 20 bytes before; then for each run a u32 page number and a u32 number of pages, whose topmost
 * bit says that they were written.
 */
#include "snapshots/workset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "crc32.h"
#include "pagemap.h"
#include "store_priv.h"

#define MAGIC	"HUSKWSET"
#define VERSION 1
#define HEAD	24
#define RUN	8
#define WRITTEN (1U << 31)
#define BYTES	(HEAD + RUN * SNAP_WORKSET_RUNS)
#define SLICE	128 /* pages: a third of a millisecond */
#define LOOKS	32

/* ---- reading ---- */

static bool head_ok(const uint8_t *p, size_t len)
{
	return len >= HEAD && len <= BYTES && !memcmp(p, MAGIC, 8) && le32_load(p + 8) == VERSION &&
	       le32_load(p + 12) == (len - HEAD) / RUN && (len - HEAD) % RUN == 0 &&
	       le32_load(p + 16) == crc32_add(0, p + HEAD, len - HEAD) &&
	       le32_load(p + 20) == crc32_add(0, p, 20);
}

/* @left: of pages that are read, and written */
static bool take_run(const uint8_t *p, uint64_t *from, uint64_t end, uint64_t left[2],
		     struct snap_workset_run *ret)
{
	uint32_t n = le32_load(p + 4);

	*ret = (struct snap_workset_run){ .page = le32_load(p),
					  .n = n & ~WRITTEN,
					  .written = n & WRITTEN };
	if (ret->page < *from || ret->n == 0 || (uint64_t)ret->page + ret->n > end ||
	    ret->n > left[ret->written])
		return false;
	*from = (uint64_t)ret->page + ret->n;
	left[ret->written] -= ret->n;
	return true;
}

int snap_workset_parse(const uint8_t *p, size_t len, uint64_t n_pages, struct snap_workset *ret,
		       struct err *err)
{
	uint64_t left[2] = { SNAP_WORKSET_READ, SNAP_WORKSET_WRITTEN }, from = 0;
	AUTO_FREE struct snap_workset_run *v = NULL;
	size_t n;

	if (!head_ok(p, len))
		return err_set(err, -EBADMSG, "workset: damaged");
	n = (len - HEAD) / RUN;
	v = calloc(n + 1, sizeof(*v));
	if (!v)
		return err_set(err, -ENOMEM, "workset: no memory");
	for (size_t i = 0; i < n; i++) {
		if (!take_run(p + HEAD + i * RUN, &from, n_pages, left, &v[i]))
			return err_set(err, -EBADMSG, "workset: run %zu is damaged", i);
	}
	*ret = (struct snap_workset){ .v = STEAL_PTR(v), .n = n };
	return 0;
}

/* Whether the first page of a run can be read without waiting for a disk. */
static bool run_is_cached(int memory_fd, const struct snap_workset_run *run)
{
	uint8_t byte;
	const struct iovec v = { &byte, 1 };

	return preadv2(memory_fd, &v, 1, (off_t)(run->page * SNAP_PAGE), RWF_NOWAIT) == 1;
}

/* Looks at some of them: asking for each that is there already takes longer than the rest of all.
 */
static bool is_cached(int memory_fd, const struct snap_workset *w)
{
	size_t step = w->n / LOOKS + 1;

	for (size_t i = 0; i < w->n; i += step) {
		if (!run_is_cached(memory_fd, &w->v[i]))
			return false;
	}
	return true;
}

void snap_workset_done(struct snap_workset *w)
{
	free(w->v);
	*w = (struct snap_workset){ 0 };
}

int snap_workset_read(const struct snapshot *s, struct snap_workset *ret, struct err *err)
{
	AUTO_FREE uint8_t *p = NULL;
	size_t len = 0;
	int r = store_slurp(s->dir_fd, STORE_WORKSET, BYTES, &p, &len, err);

	if (r == 0)
		r = snap_workset_parse(p, len, s->manifest.memory_bytes / SNAP_PAGE, ret, err);
	if (r == 0)
		ret->asked = is_cached(s->memory_fd, ret);
	return r;
}

/* ---- recording ---- */

int snap_workset_begin(const struct snapshot *s, struct err *err)
{
	AUTO_FD int fd =
		openat(s->dir_fd, STORE_WORKSET, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_errno(err, errno, "make 'workset'");
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, -EBUSY, "another machine records the working set");
	return fd_steal(&fd);
}

/* The file as it grows. */
struct recording {
	uint8_t *p;
	size_t n;
	uint64_t left[2]; /* as take_run() has it */
};

static void add_page(struct recording *rec, uint64_t page, bool written)
{
	uint8_t *last = rec->p + HEAD + rec->n * RUN - RUN;
	uint32_t flag = written ? WRITTEN : 0;

	if (page >= UINT32_MAX || !rec->left[written])
		return;
	if (rec->n && (le32_load(last + 4) & WRITTEN) == flag &&
	    (uint64_t)le32_load(last) + (le32_load(last + 4) & ~WRITTEN) == page) {
		le32_store(last + 4, le32_load(last + 4) + 1);
	} else {
		if (rec->n == SNAP_WORKSET_RUNS)
			return;
		le32_store(last + RUN, (uint32_t)page);
		le32_store(last + RUN + 4, 1 | flag);
		rec->n++;
	}
	rec->left[written]--;
}

static int add_range(struct recording *rec, const struct snap_range *range, int pagemap_fd)
{
	uint64_t e[PAGEMAP_BATCH], n_pages = range->len / SNAP_PAGE;

	for (uint64_t at = 0; at < n_pages; at += PAGEMAP_BATCH) {
		size_t n = (size_t)MIN(n_pages - at, (uint64_t)PAGEMAP_BATCH);
		int r = pagemap_read(pagemap_fd, (const uint8_t *)range->p + at * SNAP_PAGE, n, e);

		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i++) {
			if (pagemap_is_own(e[i]) || e[i] & PAGEMAP_PRESENT)
				add_page(rec, range->off / SNAP_PAGE + at + i,
					 pagemap_is_own(e[i]));
		}
	}
	return 0;
}

int snap_workset_record(int fd, const struct snap_range *ranges, size_t n, int pagemap_fd,
			struct err *err)
{
	AUTO_FREE uint8_t *p = calloc(1, BYTES);
	struct recording rec = { p, 0, { SNAP_WORKSET_READ, SNAP_WORKSET_WRITTEN } };
	size_t len;
	int r = p ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && r == 0; i++)
		r = add_range(&rec, &ranges[i], pagemap_fd);
	if (r < 0)
		return err_errno(err, -r, "look at the guest's memory");
	len = HEAD + rec.n * RUN;
	memcpy(p, MAGIC, 8);
	le32_store(p + 8, VERSION);
	le32_store(p + 12, (uint32_t)rec.n);
	le32_store(p + 16, crc32_add(0, p + HEAD, len - HEAD));
	le32_store(p + 20, crc32_add(0, p, 20));
	if (ftruncate(fd, 0) < 0 || pwrite(fd, p, len, 0) != (ssize_t)len)
		return err_errno(err, errno, "write the working set");
	return 0;
}

/* ---- using ---- */

/* Advise about a run. One across two mappings is left to faults in the second. */
static void advise(const struct snap_workset_run *run, const struct snap_range *ranges, size_t n,
		   int advice)
{
	uint64_t off = run->page * SNAP_PAGE, len = run->n * SNAP_PAGE;

	for (size_t i = 0; i < n; i++) {
		uint64_t end = ranges[i].off + ranges[i].len;

		if (off < ranges[i].off || off >= end)
			continue;
		(void)madvise((char *)(uintptr_t)ranges[i].p + (off - ranges[i].off),
			      MIN(len, end - off), advice);
		return;
	}
}

bool snap_workset_map(struct snap_workset *w, const struct snap_range *ranges, size_t n)
{
	uint64_t pages = 0;

	for (; !w->asked && w->at < w->n; w->at++)
		advise(&w->v[w->at], ranges, n, MADV_WILLNEED);
	if (!w->asked)
		w->at = 0;
	w->asked = true;
	for (; w->at < w->n && pages < SLICE; w->at++) {
		if (!w->v[w->at].written)
			continue;
		advise(&w->v[w->at], ranges, n, MADV_POPULATE_WRITE);
		pages += w->v[w->at].n;
	}
	return w->at < w->n;
}
