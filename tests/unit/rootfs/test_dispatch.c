/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuse/wire.h"
#include "fuse_client.h"

static struct fuse_client c;

static int setup(void **state)
{
	return fc_open(&c, NULL);
}

static int teardown(void **state)
{
	fc_close(&c);
	return 0;
}

static int init_with(uint32_t major, uint32_t minor, uint32_t flags, uint32_t flags2,
		     struct fuse_init_out *ret)
{
	struct fuse_init_in in = { .major = major,
				   .minor = minor,
				   .max_readahead = 4096,
				   .flags = flags,
				   .flags2 = flags2 };
	int r = fc_call(&c, FUSE_INIT, 0, &in, sizeof(in), NULL, 0);

	if (r == 0)
		memcpy(ret, c.out, sizeof(*ret));
	return r;
}

static void nothing_works_before_init(void **state)
{
	struct fuse_getattr_in in = { 0 };

	assert_int_equal(fc_call(&c, FUSE_GETATTR, 1, &in, sizeof(in), NULL, 0), -EIO);
	assert_int_equal(fc_init(&c), 0);
	assert_int_equal(fc_call(&c, FUSE_GETATTR, 1, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(c.out_len, sizeof(struct fuse_attr_out));
	assert_int_equal(fc_call(&c, FUSE_DESTROY, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(fc_call(&c, FUSE_GETATTR, 1, &in, sizeof(in), NULL, 0), -EIO);
}

static void init_agrees_on_a_version(void **state)
{
	struct fuse_init_out out;

	assert_int_equal(init_with(7, 30, 0, 0, &out), -EPROTO);
	assert_int_equal(init_with(6, 99, 0, 0, &out), -EPROTO);
	assert_int_equal(init_with(7, 31, 0, 0, &out), 0);
	assert_int_equal(out.major, 7);
	assert_int_equal(init_with(8, 1, 0, 0, &out), 0);
	assert_int_equal(out.major, 7);
	assert_int_equal(init_with(7, 99, 0, 0, &out), 0);
	assert_int_equal(out.minor, FUSE_WIRE_MINOR);
	assert_int_equal(out.max_write, 1 << 20);
	assert_int_equal(out.max_pages, 256);
}

static void init_takes_only_what_is_offered(void **state)
{
	struct fuse_init_out out;

	assert_int_equal(init_with(7, 38, 0, 0, &out), 0);
	assert_int_equal(out.flags, 0);
	assert_int_equal(out.flags2, 0);
	/* flags2 means nothing without FUSE_INIT_EXT */
	assert_int_equal(init_with(7, 38, FUSE_DO_READDIRPLUS, ~0U, &out), 0);
	assert_int_equal(out.flags, FUSE_DO_READDIRPLUS);
	assert_int_equal(out.flags2, 0);
	assert_int_equal(init_with(7, 38, ~0U, ~0U, &out), 0);
	assert_true(out.flags & FUSE_HANDLE_KILLPRIV_V2);
	assert_false(out.flags & FUSE_WRITEBACK_CACHE);
	assert_false(out.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS));
	assert_false(out.flags & FUSE_POSIX_ACL);
	assert_false(out.flags & FUSE_MAP_ALIGNMENT);
}

static void short_init_of_old_kernels_is_understood(void **state)
{
	struct {
		uint32_t major, minor, max_readahead, flags;
	} in = { 7, 31, 4096, FUSE_ASYNC_READ };

	assert_int_equal(fc_call(&c, FUSE_INIT, 0, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(c.out_len, sizeof(struct fuse_init_out));
}

static void second_init_forgets_everything(void **state)
{
	struct fuse_stats st;
	uint64_t node, fh;

	assert_int_equal(fc_init(&c), 0);
	assert_int_equal(fc_create(&c, 1, "a", O_RDWR, 0644, &node, &fh), 0);
	fuse_server_stats(c.srv, &st);
	assert_int_equal(st.n_nodes, 2);
	assert_int_equal(st.n_handles, 1);
	assert_int_equal(fc_init(&c), 0);
	fuse_server_stats(c.srv, &st);
	assert_int_equal(st.n_nodes, 1);
	assert_int_equal(st.n_handles, 0);
	assert_int_equal(fc_read(&c, node, fh, 0, 10), -ESTALE);
}

static void names_are_checked(void **state)
{
	char longest[257];
	int r;

	memset(longest, 'n', 256);
	longest[256] = 0;
	assert_int_equal(fc_init(&c), 0);
	fc_lookup(&c, 1, "..", &r);
	assert_int_equal(r, -EINVAL);
	fc_lookup(&c, 1, ".", &r);
	assert_int_equal(r, -EINVAL);
	fc_lookup(&c, 1, "a/b", &r);
	assert_int_equal(r, -EINVAL);
	fc_lookup(&c, 1, "/etc", &r);
	assert_int_equal(r, -EINVAL);
	fc_lookup(&c, 1, "", &r);
	assert_int_equal(r, -ENOENT);
	fc_lookup(&c, 1, longest, &r);
	assert_int_equal(r, -ENAMETOOLONG);
	longest[255] = 0;
	fc_lookup(&c, 1, longest, &r);
	assert_int_equal(r, -ENOENT);
	/* No terminator; something after it. */
	assert_int_equal(fc_call(&c, FUSE_LOOKUP, 1, NULL, 0, "abc", 3), -EINVAL);
	assert_int_equal(fc_call(&c, FUSE_LOOKUP, 1, NULL, 0, "abc\0d", 6), -EINVAL);
	assert_int_equal(fc_call(&c, FUSE_UNLINK, 1, NULL, 0, "..", 3), -EINVAL);
	assert_int_equal(fc_call(&c, FUSE_RMDIR, 1, NULL, 0, ".", 2), -EINVAL);
	assert_int_equal(fc_call(&c, FUSE_RENAME, 1, &(struct fuse_rename_in){ 1 }, 8, "a\0..", 5),
			 -EINVAL);
}

static void declined_operations_say_enosys(void **state)
{
	static const uint32_t ops[] = { FUSE_FLUSH,  FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW,
					FUSE_ACCESS, FUSE_BMAP,	 FUSE_POLL,  0,
					7,	     19,	 54,	     4096,
					UINT32_MAX };

	assert_int_equal(fc_init(&c), 0);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		assert_int_equal(fc_call(&c, ops[i], 1, NULL, 0, NULL, 0), -ENOSYS);
}

static void silent_operations_are_not_answered(void **state)
{
	struct fuse_interrupt_in intr = { .unique = 1 };
	struct fuse_batch_forget_in batch = { .count = 5 };

	assert_int_equal(fc_init(&c), 0);
	assert_int_equal(fc_forget(&c, 12345, 1), 1);
	assert_int_equal(fc_call(&c, FUSE_INTERRUPT, 0, &intr, sizeof(intr), NULL, 0), 1);
	/* It claims five and holds none. */
	assert_int_equal(fc_call(&c, FUSE_BATCH_FORGET, 0, &batch, sizeof(batch), NULL, 0), 1);
	assert_int_equal(fc_call(&c, FUSE_FORGET, 1, NULL, 0, NULL, 0), 1);
}

static void lengths_that_lie_are_refused(void **state)
{
	struct fuse_in_header h = { .opcode = FUSE_GETATTR, .nodeid = 1, .unique = 9 };
	struct fuse_out_header out;
	uint8_t msg[64] = { 0 };
	struct fuse_stats st;

	assert_int_equal(fc_init(&c), 0);
	for (uint32_t len = 0; len < 40; len++) {
		h.len = 56;
		memcpy(msg, &h, sizeof(h));
		assert_int_equal(fc_raw(&c, msg, len, &out, sizeof(out)), 0);
	}
	for (uint32_t claim = 0; claim < 200; claim++) {
		size_t n;

		h.len = claim;
		memcpy(msg, &h, sizeof(h));
		n = fc_raw(&c, msg, 56, &out, sizeof(out));
		assert_int_equal(n, sizeof(out));
		assert_int_equal(out.unique, 9);
		/* Even the right length fails: there is no room for the attributes. */
		assert_int_equal(out.error, claim < 40 || claim > 56 ? -EIO
					    : claim < 56	     ? -EINVAL
								     : -EIO);
	}
	/* No room for a header: nothing is written. */
	h.len = 56;
	memcpy(msg, &h, sizeof(h));
	assert_int_equal(fc_raw(&c, msg, 56, &out, 15), 0);
	fuse_server_stats(c.srv, &st);
	assert_true(st.n_malformed > 40);
}

static void extensions_are_bounded(void **state)
{
	struct fuse_in_header h = { .opcode = FUSE_MKDIR, .nodeid = 1, .unique = 3 };
	struct fuse_mkdir_in in = { .mode = 0755 };
	struct fuse_wire_ext_header ext[2] = { { 16, FUSE_WIRE_EXT_GROUPS }, { 1, 0 } };
	uint8_t msg[128];
	struct {
		struct fuse_out_header h;
		struct fuse_entry_out e;
	} out;
	static const struct {
		uint32_t size;
		uint16_t words;
		int error;
	} cases[] = { { 16, 2, 0 },	    { 16, 1, -EINVAL },	   { 8, 2, -EINVAL },
		      { 0, 2, -EINVAL },    { 15, 2, -EINVAL },	   { 1 << 30, 2, -EINVAL },
		      { 16, 200, -EINVAL }, { 16, 65535, -EINVAL } };

	assert_int_equal(fc_init(&c), 0);
	h.uid = c.uid;
	h.gid = c.gid;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[8] = "dir-0\0\0";
		size_t n = 0;

		name[4] = (char)('0' + i);
		h.total_extlen = cases[i].words;
		ext[0].size = cases[i].size;
		/* [1] doubles as "one group, gid 0" */
		ext[1] = (struct fuse_wire_ext_header){ 1, c.gid };
		h.len = sizeof(h) + sizeof(in) + 6 + 16;
		memcpy(msg, &h, sizeof(h));
		n += sizeof(h);
		memcpy(msg + n, &in, sizeof(in));
		n += sizeof(in);
		memcpy(msg + n, name, 6);
		n += 6;
		memcpy(msg + n, ext, 16);
		n += 16;
		fc_raw(&c, msg, n, &out, sizeof(out));
		if (cases[i].error == 0 && out.h.error == -EPERM)
			continue; /* unprivileged: groups cannot be set */
		assert_int_equal(out.h.error, cases[i].error);
	}
}

static void scattered_messages_are_the_same(void **state)
{
	static const size_t chunks[] = { 1, 3, 7, 40, 64, 4096 };
	char data[5000];
	uint64_t node, fh;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31);
	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		char name[16];

		snprintf(name, sizeof(name), "file%zu", i);
		c.chunk = chunks[i];
		assert_int_equal(fc_init(&c), 0);
		assert_int_equal(fc_create(&c, 1, name, O_RDWR, 0644, &node, &fh), 0);
		assert_int_equal(fc_write(&c, node, fh, 11, data, sizeof(data)), 0);
		assert_int_equal(fc_read(&c, node, fh, 11, 65536), 0);
		assert_int_equal(c.out_len, sizeof(data));
		assert_memory_equal(c.out, data, sizeof(data));
		assert_int_equal(fc_release(&c, node, fh, false), 0);
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_works_before_init),
		TEST(init_agrees_on_a_version),
		TEST(init_takes_only_what_is_offered),
		TEST(short_init_of_old_kernels_is_understood),
		TEST(second_init_forgets_everything),
		TEST(names_are_checked),
		TEST(declined_operations_say_enosys),
		TEST(silent_operations_are_not_answered),
		TEST(lengths_that_lie_are_refused),
		TEST(extensions_are_bounded),
		TEST(scattered_messages_are_the_same),
	};

	return cmocka_run_group_tests_name("rootfs/dispatch", tests, NULL, NULL);
}
