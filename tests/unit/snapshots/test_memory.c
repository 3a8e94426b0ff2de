/* SPDX-License-Identifier: Apache-2.0 */
/* The file `memory`: sparse where there are zeros, the same bytes, and damage found. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "snapshots/memory.h"

#define PAGE 4096u
#define LEN  (8u << 20)

struct fixture {
	uint8_t *mem, *low;
	int fd, pagemap;
	struct snap_manifest m;
};

static int setup(void **state)
{
	char path[] = "/tmp/husk-test-memory.XXXXXX";
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->fd = mkstemp(path);
	unlink(path);
	f->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	f->mem = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f->low = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return f->fd < 0 || f->mem == MAP_FAILED || f->low == MAP_FAILED;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	snap_manifest_done(&f->m);
	munmap(f->mem, LEN);
	munmap(f->low, PAGE);
	fd_close(f->fd);
	fd_close(f->pagemap);
	free(f);
	return 0;
}

static void fill(struct fixture *f)
{
	f->low[7] = 9;
	memset(f->mem + 3 * PAGE, 0x11, 2 * PAGE);
	/* a gap of one page, one of many, and the very last byte */
	f->mem[6 * PAGE] = 1;
	memset(f->mem + (5u << 20), 0x22, PAGE);
	f->mem[7 * PAGE] = 0; /* touched, yet zero */
	f->mem[LEN - 1] = 3;
}

static void write_all(struct fixture *f, int pagemap)
{
	const struct snap_range ranges[] = { { f->low, PAGE, 0 }, { f->mem, LEN, PAGE } };

	assert_int_equal(snap_memory_write(f->fd, ranges, 2, pagemap, NULL, NULL), 0);
}

static void describe(struct fixture *f)
{
	assert_int_equal(snap_memory_runs(f->fd, &f->m, NULL), 0);
	assert_int_equal(snap_memory_hash(f->fd, &f->m, NULL), 0);
}

static void expect_same(struct fixture *f)
{
	uint8_t *got = malloc(PAGE + LEN);
	struct stat st;

	assert_non_null(got);
	assert_int_equal(fstat(f->fd, &st), 0);
	assert_int_equal(st.st_size, PAGE + LEN);
	assert_int_equal(fd_pread_full(f->fd, got, PAGE + LEN, 0), PAGE + LEN);
	assert_memory_equal(got, f->low, PAGE);
	assert_memory_equal(got + PAGE, f->mem, LEN);
	free(got);
	assert_in_range(st.st_blocks * 512, 1, 40 * PAGE);
}

static void writes_the_same_bytes_with_holes(void **state)
{
	fill(*state);
	write_all(*state, ((struct fixture *)*state)->pagemap);
	expect_same(*state);
}

static void needs_no_page_map(void **state)
{
	fill(*state);
	write_all(*state, -1);
	expect_same(*state);
}

static void writes_nothing_but_a_length_for_zeros(void **state)
{
	struct fixture *f = *state;

	write_all(f, f->pagemap);
	describe(f);
	assert_int_equal(f->m.memory_bytes, PAGE + LEN);
	assert_int_equal(f->m.n_runs, 0);
	assert_int_equal(f->m.n_chunks, 0);
	assert_int_equal(snap_memory_verify(f->fd, &f->m, NULL), 0);
}

static void runs_cover_all_data(void **state)
{
	struct fixture *f = *state;
	uint64_t sum = 0;

	fill(f);
	write_all(f, f->pagemap);
	describe(f);
	for (size_t i = 0; i < f->m.n_runs; i++)
		sum += f->m.runs[i].len;
	assert_in_range(sum, 5 * PAGE, 40 * PAGE);
	/* chunks of 2 MiB: the first, the one at 5 MiB, and the last with its odd page */
	assert_int_equal(f->m.n_chunks, 3);
	assert_int_equal(snap_memory_verify(f->fd, &f->m, NULL), 0);
}

static void finds_damage(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	uint8_t byte;

	fill(f);
	write_all(f, f->pagemap);
	describe(f);
	assert_int_equal(pread(f->fd, &byte, 1, (5 << 20) + PAGE + 77), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(f->fd, &byte, 1, (5 << 20) + PAGE + 77), 1);
	assert_int_equal(snap_memory_verify(f->fd, &f->m, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "chunk 2"));
	byte ^= 0x10;
	assert_int_equal(pwrite(f->fd, &byte, 1, (5 << 20) + PAGE + 77), 1);
	assert_int_equal(snap_memory_verify(f->fd, &f->m, NULL), 0);
	/* in a hole of a chunk without data */
	assert_int_equal(pwrite(f->fd, "x", 1, 3 << 20), 1);
	assert_int_equal(snap_memory_verify(f->fd, &f->m, &err), -EBADMSG);
	assert_int_equal(pwrite(f->fd, "", 1, 3 << 20), 1);
	assert_int_equal(snap_memory_verify(f->fd, &f->m, NULL), 0);
	assert_int_equal(ftruncate(f->fd, LEN), 0);
	assert_int_equal(snap_memory_verify(f->fd, &f->m, NULL), -EBADMSG);
}

static void says_that_the_disk_is_full(void **state)
{
	struct fixture *f = *state;
	const struct snap_range range = { f->mem, LEN, 0 };
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	struct err err = { 0 };

	fill(f);
	assert_true(fd >= 0);
	assert_int_equal(snap_memory_write(fd, &range, 1, -1, NULL, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "No space"));
	close(fd);
}

/* A private mapping of a first file, partly written over and partly never touched. */
static void follows_a_base_without_touching_all(void **state)
{
	struct fixture *f = *state;
	struct snap_range range = { NULL, PAGE + LEN, 0 };
	uint8_t *map;
	int first = f->fd;
	char path[] = "/tmp/husk-test-memory.XXXXXX";

	fill(f);
	write_all(f, f->pagemap);
	describe(f);
	map = mmap(NULL, PAGE + LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, first, 0);
	assert_true(map != MAP_FAILED);
	f->fd = mkstemp(path);
	unlink(path);
	/* one page of data goes, one of zeros gets data, one is only read */
	memset(map + PAGE + 3 * PAGE, 0, PAGE);
	map[PAGE + (2u << 20)] = 0x44;
	f->mem[0] = map[PAGE + (5u << 20)];
	f->mem[0] = 0;
	range.p = map;
	assert_int_equal(snap_memory_write(f->fd, &range, 1, f->pagemap, &f->m, NULL), 0);
	close(first);
	memset(f->mem + 3 * PAGE, 0, PAGE);
	f->mem[2u << 20] = 0x44;
	munmap(map, PAGE + LEN);
	expect_same(f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(writes_the_same_bytes_with_holes),
		T(needs_no_page_map),
		T(writes_nothing_but_a_length_for_zeros),
		T(runs_cover_all_data),
		T(follows_a_base_without_touching_all),
		T(finds_damage),
		T(says_that_the_disk_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
