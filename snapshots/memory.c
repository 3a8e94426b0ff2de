/* SPDX-License-Identifier: Apache-2.0 */
/* The file `memory`: writing it sparse, finding its runs, hashing and verifying its chunks. */
#include "snapshots/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "pagemap.h"

#define PAGE SNAP_PAGE
#define GAP  (8 * PAGE) /* zeros that are written rather than making another run */

/* ---- writing ---- */

static bool page_is_zero(const uint8_t *p)
{
	const uint64_t *w = (const uint64_t *)(const void *)p;

	for (size_t i = 0; i < PAGE / sizeof(*w); i += 8) {
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] |
		    w[i + 7])
			return false;
	}
	return true;
}

/* What is written next, as long as it grows. */
struct run {
	int fd;
	const uint8_t *p;
	uint64_t off, len; /* of data */
};

static int run_flush(struct run *run, struct err *err)
{
	while (run->len) {
		ssize_t n = pwrite(run->fd, run->p, run->len, (off_t)run->off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_errno(err, n < 0 ? errno : EIO, "write the snapshot's memory");
		run->p += n;
		run->off += (uint64_t)n;
		run->len -= (uint64_t)n;
	}
	return 0;
}

static int run_add(struct run *run, const uint8_t *p, uint64_t off, struct err *err)
{
	int r;

	if (run->len && p > run->p && off - run->off == (uint64_t)(p - run->p) &&
	    off - (run->off + run->len) <= GAP) {
		run->len = off + PAGE - run->off;
		return 0;
	}
	r = run_flush(run, err);
	*run = (struct run){ .fd = run->fd, .p = p, .off = off, .len = PAGE };
	return r;
}

/* What is being written. */
struct source {
	int pagemap_fd;
	const struct snap_manifest *base;
	size_t base_run; /* the first that does not end before the place looked at */
};

/* Whether a run of the base reaches into the page at @off of the file. */
static bool in_base(struct source *src, uint64_t off)
{
	const struct snap_manifest *m = src->base;

	if (!m)
		return false;
	while (src->base_run < m->n_runs &&
	       m->runs[src->base_run].off + m->runs[src->base_run].len <= off)
		src->base_run++;
	return src->base_run < m->n_runs && m->runs[src->base_run].off <= off;
}

/* Which of @n pages may hold anything but zeros; all, if that is unknown. */
static void look_up(struct source *src, const uint8_t *p, uint64_t off, size_t n, bool *ret)
{
	uint64_t entries[PAGEMAP_BATCH];
	int r = src->pagemap_fd < 0 ? -ENOENT : pagemap_read(src->pagemap_fd, p, n, entries);

	for (size_t i = 0; i < n; i++)
		ret[i] = r < 0 || pagemap_is_own(entries[i]) || in_base(src, off + i * PAGE);
}

static int write_range(struct run *run, const struct snap_range *range, struct source *src,
		       struct err *err)
{
	const uint8_t *p = range->p;
	bool wanted[PAGEMAP_BATCH];
	int r = 0;

	for (uint64_t at = 0; at < range->len && r == 0; at += PAGEMAP_BATCH * PAGE) {
		size_t n = (size_t)MIN((range->len - at) / PAGE, (uint64_t)PAGEMAP_BATCH);

		look_up(src, p + at, range->off + at, n, wanted);
		for (size_t i = 0; i < n && r == 0; i++) {
			uint64_t off = at + i * PAGE;

			if (wanted[i] && !page_is_zero(p + off))
				r = run_add(run, p + off, range->off + off, err);
		}
	}
	return r;
}

int snap_memory_write(int fd, const struct snap_range *ranges, size_t n, int pagemap_fd,
		      const struct snap_manifest *base, struct err *err)
{
	struct source src = { .pagemap_fd = pagemap_fd, .base = base };
	struct run run = { .fd = fd };
	uint64_t end = 0;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		r = write_range(&run, &ranges[i], &src, err);
		end = ranges[i].off + ranges[i].len;
	}
	if (r == 0)
		r = run_flush(&run, err);
	if (r == 0 && ftruncate(fd, (off_t)end) < 0)
		r = err_errno(err, errno, "write the snapshot's memory");
	return r;
}

/* ---- runs ---- */

static int add_run(struct snap_manifest *m, size_t *room, uint64_t off, uint64_t end)
{
	struct snap_run *last = m->n_runs ? &m->runs[m->n_runs - 1] : NULL;

	if (last && last->off + last->len >= off) {
		last->len = end - last->off;
		return 0;
	}
	if (m->n_runs == *room) {
		size_t want = *room ? 2 * *room : 64;
		struct snap_run *grown = realloc(m->runs, want * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		m->runs = grown;
		*room = want;
	}
	m->runs[m->n_runs++] = (struct snap_run){ .off = off, .len = end - off };
	return 0;
}

int snap_memory_runs(int fd, struct snap_manifest *m, struct err *err)
{
	off_t at = 0;
	struct stat st;
	size_t room = 0;

	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at the snapshot's memory");
	m->memory_bytes = (uint64_t)st.st_size;
	for (;;) {
		off_t data = lseek(fd, at, SEEK_DATA);
		off_t hole = data < 0 ? data : lseek(fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO)
			return 0;
		if (hole < 0)
			return err_errno(err, errno, "look at the snapshot's memory");
		at = MIN((off_t)ALIGN_UP((uint64_t)hole, PAGE), st.st_size);
		if (m->n_runs == SNAP_RUNS_MAX)
			return err_set(err, -E2BIG, "the snapshot's memory is in too many pieces");
		if (add_run(m, &room, ALIGN_DOWN((uint64_t)data, PAGE), (uint64_t)at) < 0)
			return err_set(err, -ENOMEM, "no memory for a manifest");
	}
}

/* ---- chunks ---- */

static bool has_data(const struct snap_manifest *m, size_t *run, uint64_t start, uint64_t end)
{
	while (*run < m->n_runs && m->runs[*run].off + m->runs[*run].len <= start)
		(*run)++;
	return *run < m->n_runs && m->runs[*run].off < end;
}

static int chunk_hash(int fd, const struct snap_manifest *m, uint64_t index, uint8_t *buf,
		      uint8_t ret[SHA256_BYTES], struct err *err)
{
	uint64_t off = index * SNAP_CHUNK_BYTES;
	size_t len = (size_t)MIN((uint64_t)SNAP_CHUNK_BYTES, m->memory_bytes - off);
	ssize_t n = fd_pread_full(fd, buf, len, off);

	if (n < 0)
		return err_errno(err, (int)-n, "read the snapshot's memory");
	if ((size_t)n != len)
		return err_set(err, -EBADMSG, "memory: chunk %" PRIu64 " is cut", index);
	sha256_of(buf, len, ret);
	return 0;
}

int snap_memory_hash(int fd, struct snap_manifest *m, struct err *err)
{
	uint64_t n = (m->memory_bytes + SNAP_CHUNK_BYTES - 1) / SNAP_CHUNK_BYTES;
	AUTO_FREE uint8_t *buf = malloc(SNAP_CHUNK_BYTES);
	struct snap_chunk *chunks = calloc(n + 1, sizeof(*chunks));
	size_t run = 0, used = 0;
	int r = buf && chunks ? 0 : err_set(err, -ENOMEM, "no memory for a manifest");

	for (uint64_t i = 0; i < n && r == 0; i++) {
		uint64_t start = i * SNAP_CHUNK_BYTES;

		if (!has_data(m, &run, start, start + SNAP_CHUNK_BYTES))
			continue;
		chunks[used].index = i;
		r = chunk_hash(fd, m, i, buf, chunks[used++].hash, err);
	}
	if (r < 0) {
		free(chunks);
		return r;
	}
	m->chunks = chunks;
	m->n_chunks = used;
	return 0;
}

/* Outside the runs there is nothing but zeros, whether a hole or not. */
static int check_zeros(int fd, uint64_t start, uint64_t end, uint8_t *buf, struct err *err)
{
	while (start < end) {
		off_t data = lseek(fd, (off_t)start, SEEK_DATA);
		size_t len;
		ssize_t n;

		if (data < 0 || (uint64_t)data >= end)
			return 0;
		start = MAX(start, ALIGN_DOWN((uint64_t)data, PAGE));
		len = (size_t)MIN(end - start, (uint64_t)SNAP_CHUNK_BYTES);
		n = fd_pread_full(fd, buf, len, start);
		if (n != (ssize_t)len)
			return err_set(err, -EBADMSG, "memory: cut at byte %" PRIu64, start);
		for (size_t i = 0; i < len; i += PAGE) {
			if (!page_is_zero(buf + i))
				return err_set(err, -EBADMSG,
					       "memory: data at byte %" PRIu64
					       ", outside the runs of the manifest",
					       start + i);
		}
		start += len;
	}
	return 0;
}

static int verify_zeros(int fd, const struct snap_manifest *m, uint8_t *buf, struct err *err)
{
	uint64_t at = 0;
	int r = 0;

	for (size_t i = 0; i < m->n_runs && r == 0; i++) {
		r = check_zeros(fd, at, m->runs[i].off, buf, err);
		at = m->runs[i].off + m->runs[i].len;
	}
	return r < 0 ? r : check_zeros(fd, at, m->memory_bytes, buf, err);
}

int snap_memory_verify(int fd, const struct snap_manifest *m, struct err *err)
{
	AUTO_FREE uint8_t *buf = malloc(SNAP_CHUNK_BYTES);
	uint8_t hash[SHA256_BYTES];
	struct stat st;
	int r = buf ? 0 : err_set(err, -ENOMEM, "no memory to verify a snapshot");

	if (r == 0 && (fstat(fd, &st) < 0 || (uint64_t)st.st_size != m->memory_bytes))
		r = err_set(err, -EBADMSG, "memory: not %" PRIu64 " bytes", m->memory_bytes);
	for (size_t i = 0; i < m->n_chunks && r == 0; i++) {
		r = chunk_hash(fd, m, m->chunks[i].index, buf, hash, err);
		if (r == 0 && memcmp(hash, m->chunks[i].hash, sizeof(hash)) != 0)
			r = err_set(err, -EBADMSG, "memory: chunk %" PRIu64 " is damaged",
				    m->chunks[i].index);
	}
	return r < 0 ? r : verify_zeros(fd, m, buf, err);
}
