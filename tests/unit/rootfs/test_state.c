/* SPDX-License-Identifier: Apache-2.0 */
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
#include "fuse_client.h"

static struct fuse_client c;
static uint64_t dir, file, fh, dfh, other, other_fh;
static void *saved;
static size_t saved_len;
static uint32_t lost;
/* The content of unlinked files, as far as it is given room. */
static uint8_t *content;
static size_t content_len;
static uint64_t content_max;

static const char *at(const char *rel)
{
	static char buf[4][128];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/root/%s", c.dir, rel);
	return buf[i];
}

/* A directory with a file, open for writing; the directory open too; a second file, open. */
static int setup(void **state)
{
	struct fuse_mkdir_in mk = { .mode = 0755 };

	saved = NULL;
	content_len = 0;
	content_max = UINT64_MAX;
	if (fc_open(&c, NULL) < 0 || fc_init(&c) < 0 ||
	    fc_call(&c, FUSE_MKDIR, 1, &mk, sizeof(mk), "dir", 4) < 0)
		return -1;
	dir = fc_lookup(&c, 1, "dir", NULL);
	if (fc_create(&c, dir, "file", O_RDWR, 0644, &file, &fh) < 0 ||
	    fc_write(&c, file, fh, 0, "content", 7) < 0 ||
	    fc_open_node(&c, dir, O_DIRECTORY, &dfh) < 0 ||
	    fc_create(&c, 1, "other", O_RDWR, 0644, &other, &other_fh) < 0)
		return -1;
	return 0;
}

static int teardown(void **state)
{
	free(saved);
	free(content);
	content = NULL;
	fc_close(&c);
	return 0;
}

static int on_content(void *opaque, const void *p, size_t len, struct err *err)
{
	if (*(int *)opaque < 0)
		return err_set(err, *(int *)opaque, "no");
	content = realloc(content, content_len + len);
	assert_non_null(content);
	memcpy(content + content_len, p, len);
	content_len += len;
	return 0;
}

/* @answer: what writing content gives. */
static int try_to_save(int answer)
{
	const struct fuse_sink sink = { .write = on_content,
					.opaque = &answer,
					.max = content_max };
	struct err err = { 0 };
	int r;

	fuse_server_quiesce(c.srv);
	r = fuse_server_save(c.srv, &sink, &saved, &saved_len, &lost, &err);
	fuse_server_resume(c.srv);
	assert_true(r == 0 || err.msg[0]);
	return r;
}

static void save(void)
{
	assert_int_equal(try_to_save(0), 0);
}

/* Into the server as it is. An answer that is no success says why. */
static int take(const void *p, size_t len, const void *stream, size_t stream_len,
		enum fuse_verify verify, struct fuse_restore_result *res)
{
	const struct fuse_saved s = { p, len, stream, stream_len, verify };
	struct err err = { 0 };
	int r = fuse_server_restore(c.srv, &s, res, &err);

	assert_true(r == 0 || err.msg[0]);
	return r;
}

static int restore(enum fuse_verify verify, struct fuse_restore_result *res)
{
	assert_int_equal(fc_restart(&c, NULL), 0);
	return take(saved, saved_len, content, content_len, verify, res);
}

static void everything_goes_on(void **state)
{
	struct fuse_restore_result res;
	struct fuse_stats before, after;
	struct fuse_read_in rd = { .fh = dfh, .size = 4096 };

	fuse_server_stats(c.srv, &before);
	save();
	assert_int_equal(lost, 0);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_nodes, 3);
	assert_int_equal(res.n_handles, 3);
	assert_int_equal(res.n_stale_nodes + res.n_stale_handles, 0);
	fuse_server_stats(c.srv, &after);
	assert_int_equal(before.n_lookups, after.n_lookups);
	/* No INIT, same ids. */
	assert_int_equal(fc_read(&c, file, fh, 0, 100), 0);
	assert_memory_equal(c.out, "content", 7);
	assert_int_equal(fc_write(&c, file, fh, 7, "!", 1), 0);
	assert_int_equal(fc_call(&c, FUSE_READDIR, dir, &rd, sizeof(rd), NULL, 0), 0);
	assert_true(c.out_len > 0);
	assert_int_equal(fc_lookup(&c, dir, "file", NULL), file);
	assert_int_equal(fc_release(&c, file, fh, false), 0);
	fc_forget(&c, file, 2);
	fc_forget(&c, dir, 2);
	assert_int_equal(fc_release(&c, dir, dfh, true), 0);
	fuse_server_stats(c.srv, &after);
	assert_int_equal(after.n_nodes, 2);
	assert_int_equal(after.n_handles, 1);
}

static void renamed_files_are_found_by_their_new_name(void **state)
{
	struct fuse_restore_result res;

	assert_int_equal(rename(at("dir"), at("moved")), 0);
	save();
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes, 0);
	assert_int_equal(fc_read(&c, file, fh, 0, 100), 0);
}

static void another_file_of_the_name_is_stale(void **state)
{
	struct fuse_restore_result res;
	int fd;

	save();
	assert_int_equal(unlink(at("dir/file")), 0);
	fd = open(at("dir/file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "WRONG!!", 7), 7);
	close(fd);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes, 1);
	assert_int_equal(res.n_stale_handles, 1);
	assert_int_equal(fc_read(&c, file, fh, 0, 100), -ESTALE);
	assert_int_equal(fc_write(&c, file, fh, 0, "x", 1), -ESTALE);
	/* The stale ids can be given back. */
	assert_int_equal(fc_release(&c, file, fh, false), 0);
	fc_forget(&c, file, 1);
	assert_true(fc_lookup(&c, dir, "file", NULL) != file);
}

static void a_link_in_place_of_a_directory_is_stale(void **state)
{
	struct fuse_restore_result res;
	int r;

	save();
	assert_int_equal(rename(at("dir"), at("elsewhere")), 0);
	assert_int_equal(symlink("elsewhere", at("dir")), 0);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes, 2);
	fc_lookup(&c, dir, "file", &r);
	assert_int_equal(r, -ESTALE);
	assert_int_equal(fc_read(&c, other, other_fh, 0, 10), 0);
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

static void files_are_found_by_another_of_their_names(void **state)
{
	struct fuse_restore_result res;

	assert_int_equal(fc_write(&c, other, other_fh, 0, "linked", 6), 0);
	assert_int_equal(link(at("other"), at("dir/another")), 0);
	assert_int_equal(unlink(at("other")), 0);
	save();
	assert_int_equal(lost, 0);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes + res.n_stale_handles, 0);
	assert_int_equal(fc_write(&c, other, other_fh, 6, "!", 1), 0);
	assert_int_equal(fc_lookup(&c, dir, "another", NULL), other);
}

/* Change the tree behind the server, or look at it. */
static void change(const char *how)
{
	char text[512];

	snprintf(text, sizeof(text), "cd %s/root && %s", c.dir, how);
	if (system(text) != 0)
		fail_msg("%s", how);
}

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
			assert_int_equal(
				fc_read(&c, other, other_fh, places[i] + (2 << 20), 1 << 16), 0);
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

static void copies_pass_where_copies_are_meant(void **state)
{
	struct fuse_restore_result res;
	struct timespec ts[2];
	struct stat st;
	int fd;

	save();
	assert_int_equal(stat(at("dir/file"), &st), 0);
	assert_int_equal(unlink(at("dir/file")), 0);
	fd = open(at("dir/file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "content", 7), 7);
	ts[0] = st.st_atim;
	ts[1] = st.st_mtim;
	assert_int_equal(futimens(fd, ts), 0);
	close(fd);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes, 1);
	assert_int_equal(restore(FUSE_VERIFY_COPY, &res), 0);
	assert_int_equal(res.n_stale_nodes, 0);
	assert_int_equal(fc_read(&c, file, fh, 0, 100), 0);
	assert_memory_equal(c.out, "content", 7);
}

static void damaged_states_are_refused(void **state)
{
	struct fuse_restore_result res;
	struct fuse_stats st;
	uint8_t *copy;
	int e;

	fuse_server_note(c.srv);
	fc_lookup(&c, dir, "file", &e);
	fc_lookup(&c, dir, "none", &e);
	save();
	assert_int_equal(fc_restart(&c, NULL), 0);
	copy = malloc(saved_len + 1);
	assert_non_null(copy);
	for (size_t len = 0; len < saved_len; len++) {
		/* An exactly sized copy shows reads behind the end to the sanitizer. */
		uint8_t *cut = malloc(len ? len : 1);

		assert_non_null(cut);
		memcpy(cut, saved, len);
		assert_int_equal(take(cut, len, NULL, 0, FUSE_VERIFY_SAME, &res), -EBADMSG);
		free(cut);
	}
	memcpy(copy, saved, saved_len);
	copy[saved_len] = 0;
	assert_int_equal(take(copy, saved_len + 1, NULL, 0, FUSE_VERIFY_SAME, &res), -EBADMSG);
	copy[4] = 99;
	assert_int_equal(take(copy, saved_len, NULL, 0, FUSE_VERIFY_SAME, &res), -ESTALE);
	/* Every byte changed in turn: refused, or taken with nothing worse than stale entries. */
	for (size_t i = 0; i < saved_len; i++) {
		memcpy(copy, saved, saved_len);
		copy[i] ^= 0xff;
		take(copy, saved_len, NULL, 0, FUSE_VERIFY_SAME, &res);
		fuse_server_reset(c.srv);
	}
	fuse_server_stats(c.srv, &st);
	assert_int_equal(st.n_nodes, 1);
	assert_int_equal(st.n_handles, 0);
	free(copy);
}

static void a_used_server_is_not_restored(void **state)
{
	struct fuse_restore_result res;

	save();
	assert_int_equal(take(saved, saved_len, NULL, 0, FUSE_VERIFY_SAME, &res), -EINVAL);
	assert_int_equal(fc_read(&c, file, fh, 0, 10), 0);
}

/* Whether what the guest has cached of the file is still good: what OPEN says. */
static bool keeps(uint64_t node)
{
	struct fuse_open_in in = { .flags = O_RDONLY };
	struct fuse_open_out o;

	assert_int_equal(fc_call(&c, FUSE_OPEN, node, &in, sizeof(in), NULL, 0), 0);
	memcpy(&o, c.out, sizeof(o));
	assert_int_equal(fc_release(&c, node, o.fh, false), 0);
	return o.open_flags & FOPEN_KEEP_CACHE;
}

static void cached_content_is_kept_as_long_as_the_file_is(void **state)
{
	struct fuse_restore_result res;
	struct timespec times[2];
	struct stat st;
	int fd;

	keeps(file);
	assert_true(keeps(file));
	save();
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_true(keeps(file));
	/* Another content of the same size and time. */
	assert_int_equal(stat(at("dir/file"), &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	fd = open(at("dir/file"), O_WRONLY);
	assert_int_equal(pwrite(fd, "CONTENT", 7, 0), 7);
	close(fd);
	assert_int_equal(utimensat(AT_FDCWD, at("dir/file"), times, 0), 0);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	assert_int_equal(res.n_stale_nodes, 0);
	assert_false(keeps(file));
	assert_true(keeps(file));
	/* A copy of the tree is another file in every case. */
	assert_int_equal(restore(FUSE_VERIFY_COPY, &res), 0);
	assert_false(keeps(file));
}

static void names_that_lead_elsewhere_are_not_kept(void **state)
{
	struct fuse_restore_result res;
	int err;

	keeps(file);
	save();
	assert_int_equal(rename(at("dir/file"), at("dir/old")), 0);
	assert_int_equal(link(at("other"), at("dir/file")), 0);
	assert_int_equal(restore(FUSE_VERIFY_SAME, &res), 0);
	/* The node was another file; who looks the name up gets the one that is there. */
	assert_int_equal(res.n_stale_nodes, 1);
	assert_int_equal(fc_lookup(&c, dir, "file", &err), other);
}

/* Names and attributes: what the tables say of the tree after a change, to a guest that was told before it. */
static bool holds_after(const char *how, enum fuse_verify verify)
{
	struct fuse_restore_result res = { .holds = true };

	if (how[0])
		change(how);
	assert_int_equal(restore(verify, &res), 0);
	return res.holds;
}

static void tell(void)
{
	struct fuse_getattr_in in = { 0 };
	int err;

	fuse_server_note(c.srv);
	assert_int_equal(fc_lookup(&c, 1, "dir", &err), dir);
	assert_int_equal(fc_lookup(&c, dir, "file", &err), file);
	/* A name that is not there, as a guest is told that it may remember. */
	assert_int_equal(fc_lookup(&c, dir, "none", &err), 0);
	assert_int_equal(err, -ENOENT);
	assert_int_equal(fc_call(&c, FUSE_GETATTR, 1, &in, sizeof(in), NULL, 0), 0);
	save();
}

static void what_was_told_is_compared(void **state)
{
	static const char *const changes[] = {
		"echo more >>dir/file",
		"touch -d 2001-01-01 dir/file",
		"chmod 600 dir/file",
		"ln dir/file third",
		"echo new >n && mv n dir/file",
		"rm dir/file",
		"mv dir old && cp -a old dir",
		"touch dir/none",
		"mkdir other-dir",
	};
	tell();
	assert_true(holds_after("", FUSE_VERIFY_SAME));
	/* What it was not told of may change. */
	assert_true(holds_after("echo more >>other", FUSE_VERIFY_SAME));
	for (unsigned i = 0; i < ARRAY_LEN(changes); i++) {
		free(saved);
		saved = NULL;
		teardown(state);
		assert_int_equal(setup(state), 0);
		tell();
		if (holds_after(changes[i], FUSE_VERIFY_SAME))
			fail_msg("'%s' was not seen", changes[i]);
	}
}

static void what_was_told_last_counts(void **state)
{
	int err;

	(void)state;
	fuse_server_note(c.srv);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(fc_lookup(&c, dir, "none", &err), 0);
	change("touch dir/none");
	assert_int_not_equal(fc_lookup(&c, dir, "none", &err), 0);
	save();
	assert_true(holds_after("", FUSE_VERIFY_SAME));
	/* Noted until it was saved, and no longer. */
	free(saved);
	saved = NULL;
	save();
	assert_false(holds_after("", FUSE_VERIFY_SAME));
}

static void what_was_not_noted_does_not_hold(void **state)
{
	struct fuse_mkdir_in mk = { .mode = 0755 };
	int err;

	save();
	assert_false(holds_after("", FUSE_VERIFY_SAME));
	/* A guest that changes the tree itself was told of that, too. */
	free(saved);
	saved = NULL;
	teardown(state);
	assert_int_equal(setup(state), 0);
	fuse_server_note(c.srv);
	assert_int_equal(fc_call(&c, FUSE_MKDIR, 1, &mk, sizeof(mk), "own", 4), 0);
	save();
	assert_false(holds_after("", FUSE_VERIFY_SAME));
	/* More than is kept. */
	free(saved);
	saved = NULL;
	teardown(state);
	assert_int_equal(setup(state), 0);
	fuse_server_note(c.srv);
	for (unsigned i = 0; i < 5000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "none%u", i);
		fc_lookup(&c, 1, name, &err);
	}
	save();
	assert_false(holds_after("", FUSE_VERIFY_SAME));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_goes_on),
		TEST(renamed_files_are_found_by_their_new_name),
		TEST(another_file_of_the_name_is_stale),
		TEST(a_link_in_place_of_a_directory_is_stale),
		TEST(unlinked_open_files_keep_their_content),
		TEST(files_are_found_by_another_of_their_names),
		TEST(large_unlinked_files_keep_their_content_and_holes),
		TEST(every_handle_of_an_unlinked_file_goes_on),
		TEST(what_unlinked_files_are_is_kept),
		TEST(removed_directories_are_empty_and_removed),
		TEST(other_unlinked_files_are_what_they_were),
		TEST(owners_in_attributes_go_with_the_file),
		TEST(content_that_finds_no_room_fails_the_save),
		TEST(damaged_content_is_refused),
		TEST(forged_content_is_refused_or_harmless),
		TEST(copies_pass_where_copies_are_meant),
		TEST(damaged_states_are_refused),
		TEST(a_used_server_is_not_restored),
		TEST(cached_content_is_kept_as_long_as_the_file_is),
		TEST(names_that_lead_elsewhere_are_not_kept),
		TEST(what_was_told_is_compared),
		TEST(what_was_told_last_counts),
		TEST(what_was_not_noted_does_not_hold),
	};

	return cmocka_run_group_tests_name("rootfs/state", tests, NULL, NULL);
}
