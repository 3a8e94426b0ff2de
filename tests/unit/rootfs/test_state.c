/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest knows of the server, saved and restored. */
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

/* Names and attributes: what the tables say of the tree after a change, to a guest that was told
 * before it. */
static bool holds_after(const char *how, enum fuse_verify verify)
{
	struct fuse_restore_result res = { .holds = true };

	if (how[0])
		change(how);
	assert_int_equal(restore(verify, &res), 0);
	return res.holds;
}

static void again(void **state)
{
	teardown(state);
	assert_int_equal(setup(state), 0);
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
		again(state);
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
	again(state);
	fuse_server_note(c.srv);
	assert_int_equal(fc_call(&c, FUSE_MKDIR, 1, &mk, sizeof(mk), "own", 4), 0);
	save();
	assert_false(holds_after("", FUSE_VERIFY_SAME));
	/* More than is kept. */
	again(state);
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
		TEST(files_are_found_by_another_of_their_names),
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
