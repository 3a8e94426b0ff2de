/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/window: file pages in guest memory, and files that get shorter under them. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "vmm/window.h"

#define AT    (4 * GIB)
#define LEN   (4 * WINDOW_CHUNK)
#define BYTES (WINDOW_CHUNK + 3 * GMEM_PAGE_SIZE)

static struct gmem *mem;
static int fd;
static unsigned n_code_writes;

static void on_code_write(void *opaque, gpa_t gpa, uint64_t len)
{
	n_code_writes++;
}

static int setup(void **state)
{
	fd = memfd_create("window", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, BYTES) < 0 || pwrite(fd, "start", 5, 0) != 5 ||
	    pwrite(fd, "second", 6, WINDOW_CHUNK) != 6 || gmem_new(&mem, NULL) < 0 ||
	    gmem_add_anon(mem, 0, MIB, GMEM_RAM, NULL) < 0)
		return -1;
	mem->code_write = on_code_write;
	return 0;
}

/* Not in setup(): cmocka takes SIGBUS for itself between setup and test. */
static void open_window(void)
{
	assert_int_equal(window_add(mem, AT, LEN, NULL), 0);
}

static int teardown(void **state)
{
	gmem_free(mem);
	return close(fd);
}

static char guest_byte(gpa_t gpa)
{
	char c = 'x';

	assert_int_equal(gmem_read(mem, gpa, &c, 1), 0);
	return c;
}

static void shows_what_is_in_the_file(void **state)
{
	char buf[6];

	open_window();
	assert_int_equal(guest_byte(AT), 0);
	assert_int_equal(window_map(mem, AT, 0, fd, WINDOW_CHUNK, WINDOW_CHUNK, true), 0);
	assert_int_equal(gmem_read(mem, AT, buf, 6), 0);
	assert_memory_equal(buf, "second", 6);
	assert_int_equal(gmem_write(mem, AT, "S", 1), 0);
	assert_int_equal(pread(fd, buf, 6, WINDOW_CHUNK), 6);
	assert_memory_equal(buf, "Second", 6);
	assert_int_equal(window_unmap(mem, AT, 0, LEN), 0);
	assert_int_equal(guest_byte(AT), 0);
}

static void writes_to_a_read_only_mapping_stay_in_the_guest(void **state)
{
	char c;

	open_window();
	assert_int_equal(window_map(mem, AT, 0, fd, 0, WINDOW_CHUNK, false), 0);
	assert_int_equal(gmem_write(mem, AT, "S", 1), 0);
	assert_int_equal(guest_byte(AT), 'S');
	assert_int_equal(pread(fd, &c, 1, 0), 1);
	assert_int_equal(c, 's');
}

static void a_shorter_file_reads_as_zeros(void **state)
{
	open_window();
	assert_int_equal(window_map(mem, AT, 0, fd, 0, 2 * WINDOW_CHUNK, true), 0);
	assert_int_equal(guest_byte(AT + WINDOW_CHUNK), 's');
	assert_int_equal(ftruncate(fd, 1), 0);
	assert_int_equal(guest_byte(AT + WINDOW_CHUNK), 0);
	assert_int_equal(gmem_write(mem, AT + WINDOW_CHUNK + 5, "w", 1), 0);
	assert_int_equal(guest_byte(AT + WINDOW_CHUNK + 5), 'w');
	assert_int_equal(guest_byte(AT), 's');
	/* Mapped again it is the file again. */
	assert_int_equal(ftruncate(fd, BYTES), 0);
	assert_int_equal(pwrite(fd, "n", 1, WINDOW_CHUNK), 1);
	assert_int_equal(window_map(mem, AT, 0, fd, 0, 2 * WINDOW_CHUNK, true), 0);
	assert_int_equal(guest_byte(AT + WINDOW_CHUNK), 'n');
}

static void mending_finds_all_that_is_gone(void **state)
{
	open_window();
	assert_false(window_mend(mem));
	assert_int_equal(window_map(mem, AT, 0, fd, 0, WINDOW_CHUNK, false), 0);
	assert_int_equal(window_map(mem, AT, WINDOW_CHUNK, fd, 0, WINDOW_CHUNK, true), 0);
	assert_false(window_mend(mem));
	assert_int_equal(ftruncate(fd, GMEM_PAGE_SIZE), 0);
	assert_true(window_mend(mem));
	assert_false(window_mend(mem));
	assert_int_equal(guest_byte(AT), 's');
}

static void code_is_dropped_when_the_mapping_changes(void **state)
{
	const struct gmem_region *r;

	open_window();
	r = gmem_region_find(mem, AT, 1);
	n_code_writes = 0;
	r->page_flags[1] = GMEM_PAGE_CODE;
	assert_int_equal(window_map(mem, AT, WINDOW_CHUNK, fd, 0, WINDOW_CHUNK, false), 0);
	assert_int_equal(n_code_writes, 0);
	assert_int_equal(window_map(mem, AT, 0, fd, 0, WINDOW_CHUNK, false), 0);
	assert_int_equal(n_code_writes, 1);
	assert_int_equal(window_unmap(mem, AT, 0, WINDOW_CHUNK), 0);
	assert_int_equal(n_code_writes, 2);
}

static void refuses_what_is_not_whole_chunks_inside(void **state)
{
	static const struct {
		uint64_t off, file_off, len;
	} bad[] = {
		{ 0, 0, 0 },
		{ 0, 0, GMEM_PAGE_SIZE },
		{ GMEM_PAGE_SIZE, 0, WINDOW_CHUNK },
		{ 0, GMEM_PAGE_SIZE, WINDOW_CHUNK },
		{ LEN, 0, WINDOW_CHUNK },
		{ LEN - WINDOW_CHUNK, 0, 2 * WINDOW_CHUNK },
		{ WINDOW_CHUNK, 0, UINT64_MAX & ~(WINDOW_CHUNK - 1) },
		{ UINT64_MAX & ~(WINDOW_CHUNK - 1), 0, WINDOW_CHUNK },
	};

	open_window();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(window_map(mem, AT, bad[i].off, fd, bad[i].file_off, bad[i].len,
					    false),
				 -EINVAL);
	assert_int_equal(window_map(mem, 0, 0, fd, 0, WINDOW_CHUNK, false), -EINVAL);
	assert_int_equal(window_unmap(mem, AT, LEN, WINDOW_CHUNK), -EINVAL);
	assert_int_equal(window_map(mem, AT, 0, -1, 0, WINDOW_CHUNK, false), -EBADF);
}

static void too_many_windows_are_refused(void **state)
{
	struct gmem *many[WINDOW_MAX];
	unsigned n = 0;
	int r = 0;

	open_window();
	while (n < WINDOW_MAX && r == 0) {
		assert_int_equal(gmem_new(&many[n], NULL), 0);
		r = window_add(many[n++], AT, WINDOW_CHUNK, NULL);
	}
	/* One is the fixture's. */
	assert_int_equal(n, WINDOW_MAX);
	assert_int_equal(r, -EMFILE);
	while (n)
		gmem_free(many[--n]);
	assert_int_equal(gmem_new(&many[0], NULL), 0);
	assert_int_equal(window_add(many[0], AT, WINDOW_CHUNK, NULL), 0);
	gmem_free(many[0]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shows_what_is_in_the_file),
		TEST(writes_to_a_read_only_mapping_stay_in_the_guest),
		TEST(a_shorter_file_reads_as_zeros),
		TEST(mending_finds_all_that_is_gone),
		TEST(code_is_dropped_when_the_mapping_changes),
		TEST(refuses_what_is_not_whole_chunks_inside),
		TEST(too_many_windows_are_refused),
	};

	return cmocka_run_group_tests_name("vmm/window", tests, NULL, NULL);
}
