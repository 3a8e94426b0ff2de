/* SPDX-License-Identifier: Apache-2.0 */
/* Files that have no name any more, saved and restored. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/sha256.h"
#include "fuse/wire.h"
#include "state_fixture.h"

static void unlink_it(uint64_t parent, uint32_t opcode, const char *name)
{
	assert_int_equal(fc_call(&c, opcode, parent, NULL, 0, name, strlen(name) + 1), 0);
}

static struct stat stat_of(uint64_t node)
{
	struct fuse_getattr_in in = { 0 };
	struct fuse_attr_out a;

	assert_int_equal(fc_call(&c, FUSE_GETATTR, node, &in, sizeof(in), NULL, 0), 0);
	memcpy(&a, c.out, sizeof(a));
	return (struct stat){ .st_mode = a.attr.mode,
			      .st_nlink = a.attr.nlink,
			      .st_uid = a.attr.uid,
			      .st_gid = a.attr.gid,
			      .st_size = (off_t)a.attr.size,
			      .st_blocks = (blkcnt_t)a.attr.blocks,
			      .st_rdev = a.attr.rdev };
}

static void unlinked_open_files_keep_their_content(void **state)
{
	const struct timespec times[2] = { { .tv_sec = 1000 }, { .tv_sec = 2000, .tv_nsec = 3 } };
	struct fuse_restore_result res;
	struct stat st;
	int r;

	assert_int_equal(fc_write(&c, other, other_fh, 0, "orphan", 6), 0);
	assert_int_equal(utimensat(AT_FDCWD, at("other"), times, 0), 0);
	assert_int_equal(fc_call(&c, FUSE_UNLINK, 1, NULL, 0, "other", 6), 0);
	save();
	assert_int_equal(lost, 0);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes + res.n_stale_handles, 0);
	assert_int_equal(fc_read(&c, other, other_fh, 0, 10), 0);
	assert_int_equal(c.out_len, 6);
	assert_memory_equal(c.out, "orphan", 6);
	/* Nor is it a file that can't be given one, as those of O_TMPFILE can. */
	assert_int_equal(fc_call(&c, FUSE_LINK, 1, &(struct fuse_link_in){ .oldnodeid = other },
				 sizeof(struct fuse_link_in), "linked", 7),
			 0);
	assert_int_equal(stat(at("linked"), &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(st.st_mtim.tv_nsec, 3);
	assert_int_equal(fc_write(&c, other, other_fh, 6, "!", 1), 0);
	/* It still has no name, this one or another. */
	fc_lookup(&c, 1, "other", &r);
	assert_int_equal(r, -ENOENT);
	fc_lookup(&c, 1, ".husk-restored", &r);
	assert_int_equal(r, -ENOENT);
}

static void large_unlinked_files_keep_their_content_and_holes(void **state)
{
	static const uint64_t places[] = { 0, 20 << 20, (1ULL << 36) + 5 };
	struct fuse_restore_result res;
	static uint8_t block[3 << 20];
	struct stat before, after;

	(void)state;
	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 7 + (i >> 12));
	for (unsigned i = 0; i < ARRAY_LEN(places); i++)
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(fc_write(&c, other, other_fh, places[i] + (k << 20),
						  block + (k << 20), 1 << 20),
					 0);
	unlink_it(1, FUSE_UNLINK, "other");
	before = stat_of(other);
	save();
	assert_int_equal(lost, 0);
	/* Holes are no content. */
	assert_in_range(content_len, 9 << 20, 10 << 20);
	/* Twice: a checkpoint serves any number of containers. */
	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
		assert_int_equal(res.n_stale_nodes + res.n_stale_handles, 0);
		after = stat_of(other);
		assert_int_equal(after.st_size, before.st_size);
		assert_int_equal(after.st_nlink, 0);
		assert_true(after.st_blocks <= before.st_blocks + 64);
		for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
			assert_int_equal(fc_read(&c, other, other_fh, places[i] + (2 << 20),
						 1 << 16),
					 0);
			assert_int_equal(c.out_len, 1 << 16);
			assert_memory_equal(c.out, block + (2 << 20), 1 << 16);
		}
		assert_int_equal(fc_read(&c, other, other_fh, 10 << 20, 4096), 0);
		for (unsigned i = 0; i < 4096; i++)
			assert_int_equal(c.out[i], 0);
		assert_int_equal(fc_write(&c, other, other_fh, 0, "mine", 4), 0);
	}
}

static void every_handle_of_an_unlinked_file_goes_on(void **state)
{
	struct fuse_restore_result res;
	uint64_t second;

	(void)state;
	assert_int_equal(fc_open_node(&c, other, O_RDONLY, &second), 0);
	assert_int_equal(chmod(at("other"), 04751), 0);
	unlink_it(1, FUSE_UNLINK, "other");
	assert_int_equal(fc_write(&c, other, other_fh, 0, "shared", 6), 0);
	assert_int_equal(chmod(at("dir/file"), 0400), 0);
	save();
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_handles, 0);
	assert_int_equal(fc_write(&c, other, other_fh, 6, "!", 1), 0);
	assert_int_equal(fc_read(&c, other, second, 0, 10), 0);
	assert_int_equal(c.out_len, 7);
	assert_memory_equal(c.out, "shared!", 7);
	assert_int_equal(fc_write(&c, other, second, 0, "x", 1), -EBADF);
}

static void what_unlinked_files_are_is_kept(void **state)
{
	struct fuse_restore_result res;
	/* One that every file system has, for who may set it: cap_chown. */
	static const char body[40] = "security.capability\0\0\0\0\2\1"; /* the rest is 0 */
	struct fuse_setxattr_in x = { .size = 20 };
	struct fuse_getxattr_in gx = { .size = 64 };
	bool root = geteuid() == 0;
	struct stat st;

	(void)state;
	assert_int_equal(fc_write(&c, other, other_fh, 0, "x", 1), 0);
	if (root)
		assert_int_equal(chown(at("other"), 12, 34), 0);
	if (root)
		assert_int_equal(fc_call(&c, FUSE_SETXATTR, other, &x, sizeof(x), body,
					 sizeof(body)),
				 0);
	assert_int_equal(chmod(at("other"), 06751), 0);
	unlink_it(1, FUSE_UNLINK, "other");
	save();
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	st = stat_of(other);
	assert_int_equal(st.st_mode, S_IFREG | 06751);
	if (!root)
		return;
	assert_int_equal(st.st_uid << 8 | st.st_gid, 12 << 8 | 34);
	assert_int_equal(fc_call(&c, FUSE_GETXATTR, other, &gx, sizeof(gx), body, 20), 0);
	assert_int_equal(c.out_len, 20);
	assert_memory_equal(c.out, body + 20, 20);
}

static void removed_directories_are_empty_and_removed(void **state)
{
	struct fuse_read_in rd = { .size = 4096 };
	struct fuse_mkdir_in mk = { .mode = 0755 };
	struct fuse_restore_result res;
	uint64_t outer, inner, inner_fh;
	struct stat st;
	int r;

	(void)state;
	assert_int_equal(fc_call(&c, FUSE_MKDIR, dir, &mk, sizeof(mk), "outer", 6), 0);
	outer = fc_lookup(&c, dir, "outer", NULL);
	assert_int_equal(fc_call(&c, FUSE_MKDIR, outer, &mk, sizeof(mk), "inner", 6), 0);
	inner = fc_lookup(&c, outer, "inner", NULL);
	assert_int_equal(fc_open_node(&c, inner, O_DIRECTORY, &inner_fh), 0);
	assert_int_equal(chmod(at("dir/outer/inner"), 02710), 0);
	unlink_it(outer, FUSE_RMDIR, "inner");
	unlink_it(dir, FUSE_RMDIR, "outer");
	save();
	assert_int_equal(lost, 0);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes + res.n_stale_handles, 0);
	st = stat_of(inner);
	assert_int_equal(st.st_mode, S_IFDIR | 02710);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(stat_of(outer).st_mode, S_IFDIR | 0755);
	/* What Linux says of a directory that is gone. */
	rd.fh = inner_fh;
	assert_int_equal(fc_call(&c, FUSE_READDIR, inner, &rd, sizeof(rd), NULL, 0), -ENOENT);
	assert_int_equal(fc_call(&c, FUSE_MKDIR, inner, &mk, sizeof(mk), "new", 4), -ENOENT);
	fc_lookup(&c, inner, "new", &r);
	assert_int_equal(r, -ENOENT);
	fc_lookup(&c, dir, "outer", &r);
	assert_int_equal(r, -ENOENT);
	change("test -z \"$(find . -name '.husk*')\"");
	/* They end like others. */
	assert_int_equal(fc_release(&c, inner, inner_fh, true), 0);
	fc_forget(&c, inner, 2);
}

static void other_unlinked_files_are_what_they_were(void **state)
{
	struct fuse_mknod_in fifo = { .mode = S_IFIFO | 0640 }, sock = { .mode = S_IFSOCK | 0600 },
			     null = { .mode = S_IFCHR | 0666, .rdev = 0x103 };
	struct fuse_restore_result res;
	uint64_t id[4];

	(void)state;
	assert_int_equal(fc_call(&c, FUSE_MKNOD, dir, &fifo, sizeof(fifo), "f", 2), 0);
	assert_int_equal(fc_call(&c, FUSE_MKNOD, dir, &sock, sizeof(sock), "s", 2), 0);
	assert_int_equal(fc_call(&c, FUSE_SYMLINK, dir, NULL, 0, "l\0../target", 12), 0);
	if (fc_call(&c, FUSE_MKNOD, dir, &null, sizeof(null), "n", 2) != 0)
		assert_int_equal(fc_call(&c, FUSE_MKNOD, dir, &fifo, sizeof(fifo), "n", 2), 0);
	for (unsigned i = 0; i < 4; i++) {
		const char name[2] = { "fsln"[i] };

		id[i] = fc_lookup(&c, dir, name, NULL);
		unlink_it(dir, FUSE_UNLINK, name);
	}
	unlink_it(dir, FUSE_UNLINK, "file");
	unlink_it(1, FUSE_RMDIR, "dir");
	save();
	assert_int_equal(lost, 0);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes + res.n_stale_handles, 0);
	assert_int_equal(stat_of(id[0]).st_mode, S_IFIFO | 0640);
	assert_int_equal(stat_of(id[1]).st_mode, S_IFSOCK | 0600);
	assert_int_equal(stat_of(id[2]).st_nlink, 0);
	if (S_ISCHR(stat_of(id[3]).st_mode))
		assert_int_equal(stat_of(id[3]).st_rdev, 0x103);
	assert_int_equal(fc_call(&c, FUSE_READLINK, id[2], NULL, 0, NULL, 0), 0);
	assert_int_equal(c.out_len, 9);
	assert_memory_equal(c.out, "../target", 9);
	assert_int_equal(fc_read(&c, file, fh, 0, 10), 0);
	assert_memory_equal(c.out, "content", 7);
	change("test \"$(ls -A)\" = other");
}

static void owners_in_attributes_go_with_the_file(void **state)
{
	const struct fuse_options opt = { .owner = FUSE_OWNER_XATTR };
	struct fuse_mknod_in fifo = { .mode = S_IFIFO | 0640 };
	struct fuse_setattr_in set = { .valid = FATTR_UID | FATTR_GID, .uid = 7, .gid = 9 };
	struct fuse_restore_result res;
	struct stat st;
	uint64_t id;

	teardown(state);
	assert_int_equal(fc_open(&c, &opt), 0);
	assert_int_equal(fc_init(&c), 0);
	assert_int_equal(fc_call(&c, FUSE_MKNOD, 1, &fifo, sizeof(fifo), "f", 2), 0);
	id = fc_lookup(&c, 1, "f", NULL);
	assert_int_equal(fc_call(&c, FUSE_SETATTR, id, &set, sizeof(set), NULL, 0), 0);
	unlink_it(1, FUSE_UNLINK, "f");
	save();
	assert_int_equal(lost, 0);
	assert_int_equal(fc_restart(&c, &opt), 0);
	assert_int_equal(take(saved, saved_len, NULL, 0, FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes, 0);
	st = stat_of(id);
	assert_int_equal(st.st_mode, S_IFIFO | 0640);
	assert_int_equal(st.st_uid, 7);
	assert_int_equal(st.st_gid, 9);
}

static void content_that_finds_no_room_fails_the_save(void **state)
{
	(void)state;
	assert_int_equal(fc_write(&c, other, other_fh, 0, "0123456789", 10), 0);
	unlink_it(1, FUSE_UNLINK, "other");
	content_max = 57;
	assert_int_equal(try_to_save(0), -E2BIG);
	content_max = 58; /* two heads of 24 bytes */
	assert_int_equal(try_to_save(-ENOSPC), -ENOSPC);
	content_len = 0;
	assert_int_equal(try_to_save(0), 0);
}

static void damaged_content_is_refused(void **state)
{
	struct fuse_restore_result res;
	struct fuse_stats st;
	uint8_t *copy;

	(void)state;
	assert_int_equal(fc_write(&c, other, other_fh, 0, "0123456789", 10), 0);
	assert_int_equal(fc_write(&c, other, other_fh, 1 << 20, "0123456789", 10), 0);
	unlink_it(1, FUSE_UNLINK, "other");
	save();
	copy = malloc(content_len + 1);
	assert_non_null(copy);
	assert_int_equal(fc_restart(&c, NULL), 0);
	assert_int_equal(take(saved, saved_len, NULL, 0, FUSE_VERIFY_SAME, &res), -EBADMSG);
	assert_int_equal(take(saved, saved_len, content, content_len - 1, FUSE_VERIFY_SAME, &res),
			 -EBADMSG);
	for (size_t i = 0; i < content_len; i += 5) {
		memcpy(copy, content, content_len);
		copy[i] ^= 0x11;
		assert_int_equal(take(saved, saved_len, copy, content_len, FUSE_VERIFY_SAME, &res),
				 -EBADMSG);
	}
	free(copy);
	fuse_server_stats(c.srv, &st);
	assert_int_equal(st.n_nodes, 1);
	change("test -z \"$(find . -name '.husk*')\"");
}

/* Damage of which the hash says nothing: whoever writes a checkpoint can write that, too. */
static void forged_content_is_refused_or_harmless(void **state)
{
	uint8_t hash[SHA256_BYTES];
	struct fuse_restore_result res;
	uint8_t *copy, *tables;

	(void)state;
	assert_int_equal(fc_write(&c, other, other_fh, 0, "0123456789", 10), 0);
	assert_int_equal(fc_write(&c, other, other_fh, 1 << 20, "0123456789", 10), 0);
	unlink_it(1, FUSE_UNLINK, "other");
	save();
	tables = malloc(saved_len);
	assert_non_null(tables);
	assert_int_equal(fc_restart(&c, NULL), 0);
	for (size_t i = 0; i < content_len * 2; i++) {
		size_t len = i < content_len ? content_len : i - content_len;

		copy = malloc(len ? len : 1); /* exactly: reads behind show */
		assert_non_null(copy);
		memcpy(copy, content, len);
		memcpy(tables, saved, saved_len);
		if (i < content_len)
			copy[i] ^= 0x81;
		sha256_of(copy, len, hash);
		le64_store(tables + 32, len);
		memcpy(tables + 40, hash, sizeof(hash));
		if (take(tables, saved_len, copy, len, FUSE_VERIFY_SAME, &res) == 0)
			fuse_server_reset(c.srv);
		else
			assert_true(i < content_len || len < content_len);
		free(copy);
	}
	/* Of the tables, too. */
	for (size_t i = 0; i < saved_len; i++) {
		memcpy(tables, saved, saved_len);
		tables[i] ^= 0x81;
		if (take(tables, saved_len, content, content_len, FUSE_VERIFY_SAME, &res) == 0)
			fuse_server_reset(c.srv);
	}
	free(tables);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unlinked_open_files_keep_their_content),
		TEST(large_unlinked_files_keep_their_content_and_holes),
		TEST(every_handle_of_an_unlinked_file_goes_on),
		TEST(what_unlinked_files_are_is_kept),
		TEST(removed_directories_are_empty_and_removed),
		TEST(other_unlinked_files_are_what_they_were),
		TEST(owners_in_attributes_go_with_the_file),
		TEST(content_that_finds_no_room_fails_the_save),
		TEST(damaged_content_is_refused),
		TEST(forged_content_is_refused_or_harmless),
	};

	return cmocka_run_group_tests_name("rootfs/nameless", tests, NULL, NULL);
}
